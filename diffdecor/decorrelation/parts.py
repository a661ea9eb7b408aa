"""Parts of a subtraction: a large image is verified square by square."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from diffdecor.core.planes import Plane, Window, cut, part_of
from diffdecor.decorrelation.comparison import Fit
from diffdecor.decorrelation.subtraction import Subtraction


def squares(shape: tuple[int, int], side: int) -> list[list[Window]]:
    """Cut an image ``(ny, nx)`` into rows of squares."""
    rows, columns = ([(s.start, s.stop) for s in cut(slice(0, length), side)] for length in shape)
    return [[Window(*x, *y) for x in columns] for y in rows]


def part_around(
    subtraction: Subtraction,
    window: Window,
    pixels: Callable[[Plane, Window], Plane] = part_of,
) -> tuple[Subtraction, Window]:
    """Return a part of a subtraction, with what the kernel reaches around it, and its place."""
    around = window.grown(max(subtraction.kernel.shape)).within(subtraction.shape)
    return part(subtraction, around, pixels), window.relative_to(around)


def part(
    subtraction: Subtraction,
    window: Window,
    pixels: Callable[[Plane, Window], Plane] = part_of,
) -> Subtraction:
    """Return the subtraction of a part of the images, whose planes `pixels` cuts out."""
    # The variance of the difference is not needed, so it is not read.
    difference = replace(subtraction.difference, variance=None)
    found = replace(subtraction, difference=difference).with_planes(
        lambda plane: pixels(plane, window)
    )
    return replace(found, kernel=subtraction.kernel.moved(window.x0, window.y0))


def together(fits: Sequence[Fit]) -> Fit:
    """Return the fit of all parts."""

    def rms(values: Sequence[float], numbers: Sequence[int]) -> float:
        known = [(v, n) for v, n in zip(values, numbers, strict=True) if n and not np.isnan(v)]
        total = sum(n for _, n in known)
        return math.sqrt(sum(n * v**2 for v, n in known) / total) if total else math.nan

    pixels, bright = ([getattr(fit, name) for fit in fits] for name in ("pixels", "bright_pixels"))
    return Fit(
        residual=rms([fit.residual for fit in fits], pixels),
        bright=rms([fit.bright for fit in fits], bright),
        pixels=sum(pixels),
        bright_pixels=sum(bright),
    )
