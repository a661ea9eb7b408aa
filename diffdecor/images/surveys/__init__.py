"""How the surveys lay out their images, and what the bits of their masks mean: a file for each.

A new survey is a module here, and its name among the choices in `diffdecor.config.files`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffdecor.images.surveys.model import Layout, Preset

_ELSEWHERE = {"nonzero": "plain"}


def layout_named(name: str) -> Layout:
    """Return the layout of a name; only its own module is imported."""
    found: Layout = import_module(f"{__name__}.{name.replace('-', '_')}").LAYOUT
    return found


def preset_named(name: str) -> Preset:
    """Return the preset of a name, from the module of what comes before a dash."""
    home = _ELSEWHERE.get(name, name.partition("-")[0])
    found: Preset = import_module(f"{__name__}.{home}").PRESETS[name]
    return found
