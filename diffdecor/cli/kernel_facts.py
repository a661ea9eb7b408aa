"""What there is to say about a kernel, as lines of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Facts that are given as the smallest, the median and the largest over the image.
_OVER_THE_IMAGE = {"science_scale", "template_scale", "sum", "fwhm", "offset_x", "offset_y"}


def lines_of(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for every fact of `kernels.describe`, or another one, by its name."""
    return [
        f"{name.replace('_', ' '):18} "
        + (_over_the_image(value) if name in _OVER_THE_IMAGE else _shown(value))
        for name, value in facts.items()
    ]


def _over_the_image(found: list[float]) -> str:
    """Return the median, and smallest and largest value where these are others."""
    low, median, high = (f"{value:.6g}" for value in found)
    return median if low == high else f"{median} ({low} to {high} over the image)"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return "  ".join(_shown(part) for part in value)
    return "unknown" if value is None else str(value)
