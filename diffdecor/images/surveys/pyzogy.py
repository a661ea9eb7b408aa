"""PyZOGY: masks."""

from __future__ import annotations

from diffdecor.images.surveys.model import Preset, named

PRESETS = {"pyzogy": Preset("PyZOGY", named("BAD"))}
