"""Bad pixels and borders: filled before the filter, and flagged afterwards by what it saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.convolve import Convolution
from diffdecor.core.kernelfield import KernelField
from diffdecor.core.planes import LazyPlane, Plane

#: Half widths of the windows in which the local level is looked for, pixels.
WINDOWS = (3, 12, 48)
#: Good pixels that make a local level.
_ENOUGH = 8
#: Columns whose bad pixels are filled together.
_COLUMNS = 128
#: Rows and columns of some pixels.
Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]


def _local_levels(
    values: NDArray[Any], bad: NDArray[np.bool_], where: Pixels, windows: Sequence[int]
) -> NDArray[np.float64]:
    """Return the level around pixels; NaN where no window has enough of it.

    Only what lies near them is looked at, some columns at a time: often a column of bad pixels.
    """
    rows, columns = where
    levels = np.full(rows.size, np.nan)
    groups = columns // _COLUMNS
    for group in np.unique(groups):
        here = np.flatnonzero(groups == group)
        levels[here] = _levels_near(values, bad, (rows[here], columns[here]), windows)
    return levels


def _levels_near(
    values: NDArray[Any], bad: NDArray[np.bool_], where: Pixels, windows: Sequence[int]
) -> NDArray[np.float64]:
    """Return the level around pixels that lie close together; NaN where it is not known."""
    rows, columns = where
    around = tuple(
        slice(max(0, int(places.min()) - windows[-1]), int(places.max()) + windows[-1] + 1)
        for places in (rows, columns)
    )
    y, x = rows - around[0].start, columns - around[1].start
    good = ~bad[around]
    # Sums are taken about some level of the pixels, which keeps their rounding far below the noise.
    some = values[around][good][: _ENOUGH**2]
    reference = float(some.mean(dtype=np.float64)) if some.size else 0.0
    totals = _WindowSums(np.where(good, values[around] - reference, 0.0))
    counts = _WindowSums(good)
    level = np.full(rows.size, np.nan)
    for half_width in windows:
        number = counts(y, x, half_width)
        found = np.isnan(level) & (number >= _ENOUGH)
        level[found] = reference + totals(y, x, half_width)[found] / number[found]
    return level


class _WindowSums:
    """Sums over square windows around given pixels, clipped at the border (summed-area table)."""

    def __init__(self, values: NDArray[Any]) -> None:
        kind = np.int64 if values.dtype == bool else np.float64
        self.table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), kind)
        inner = self.table[1:, 1:]
        np.cumsum(values, axis=0, dtype=kind, out=inner)
        np.cumsum(inner, axis=1, out=inner)

    def __call__(
        self, rows: NDArray[np.intp], columns: NDArray[np.intp], half_width: int
    ) -> NDArray[Any]:
        ny, nx = (size - 1 for size in self.table.shape)
        y0, y1 = np.maximum(rows - half_width, 0), np.minimum(rows + half_width + 1, ny)
        x0, x1 = np.maximum(columns - half_width, 0), np.minimum(columns + half_width + 1, nx)
        table = self.table
        return np.asarray(table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0])


def locally_filled(plane: Plane, bad: Plane, background: Callable[[], float]) -> LazyPlane:
    """Return a plane whose bad pixels are filled with the local level as its rows are read.

    The level is the mean of the good pixels in the smallest of the square windows `WINDOWS` with at
    least 8 of them, else `background()`. A constant level stays that level, so nothing rings. Rows
    do not depend on how the plane is cut into bands.
    """
    ny, nx = plane.shape
    # Most gaps are small: rows farther away are read at once only if the last gaps were large.
    reach = WINDOWS[1]

    def around(rows: slice, margin: int) -> tuple[NDArray[Any], NDArray[np.bool_], int]:
        """Read rows with a margin; return how many rows of it lie below, too."""
        start = max(0, rows.start - margin)
        wanted = slice(start, min(ny, rows.stop + margin))
        unusable = bad[wanted]
        return plane[wanted], unusable, rows.start - start

    def read(rows: slice) -> NDArray[Any]:
        nonlocal reach
        height, margin = rows.stop - rows.start, reach
        pixels, unusable, below = around(rows, margin)
        filled = pixels[below : below + height]
        y, x = _set_pixels(unusable[below : below + height])
        if not y.size:
            reach = WINDOWS[1]
            return filled
        filled = np.array(filled)
        # These look at what is near each pixel only, so more rows make no difference.
        levels = _local_levels(pixels, unusable, (y + below, x), WINDOWS[:2])
        filled[y, x] = levels
        far = np.isnan(levels)
        reach = WINDOWS[2] if far.any() else WINDOWS[1]
        if far.any():
            y, x = y[far], x[far]
            if margin < WINDOWS[2]:
                pixels, unusable, below = around(rows, WINDOWS[2])
            levels = _local_levels(pixels, unusable, (y + below, x), WINDOWS[2:])
            filled[y, x] = np.where(np.isnan(levels), background(), levels)
        return filled

    return LazyPlane((ny, nx), read)


def _set_pixels(mask: NDArray[np.bool_]) -> Pixels:
    """Return the pixels that are True, looking only at columns that have any."""
    columns = np.flatnonzero(mask.any(axis=0))
    rows, number = np.nonzero(mask[:, columns])
    return rows, columns[number]


def constant_filled(plane: Plane, value: float) -> LazyPlane:
    """Return a plane whose non-finite pixels are replaced by one value as its rows are read."""
    ny, nx = plane.shape

    def read(rows: slice) -> NDArray[Any]:
        values = plane[rows]
        return np.where(np.isfinite(values), values, values.dtype.type(value))

    return LazyPlane((ny, nx), read)


def energy_kernels(filters: KernelField) -> KernelField:
    """Return the share of each filter's energy that every pixel under it contributes.

    This is the mean square of the filters over the nodes, of unit sum: the share of energy varies
    far less than the filter, and one kernel serves the whole image.
    """
    energy = (filters.stamps**2).mean(axis=(0, 1))
    return KernelField.constant(energy / energy.sum(), filters.origin)


def near_filled(filled: Plane, energy: KernelField, share: float) -> LazyPlane:
    """Return where more than a share of the filter's energy comes from filled pixels, as a plane.

    The filled pixels themselves do not count. `energy` is that of `energy_kernels`.
    """
    taken = Convolution((filled, energy), edges="zero")
    ny, nx = filled.shape
    _, _, bottom, top = energy.margins

    def read(rows: slice) -> NDArray[np.bool_]:
        if not filled[max(0, rows.start - bottom) : min(ny, rows.stop + top)].any():
            return np.zeros((rows.stop - rows.start, nx), dtype=bool)
        return np.asarray((taken[rows] > share) & ~filled[rows])

    return LazyPlane((ny, nx), read)


def incomplete_border(energy: KernelField, share: float) -> tuple[int, int, int, int]:
    """Return how many pixels lack more than a share of their filter's energy at each border.

    These are the left, right, bottom and top border; `energy` is that of `energy_kernels`.
    """
    kernel = energy.stamps[0, 0]
    cx, cy = energy.origin
    columns, rows = kernel.sum(axis=0), kernel.sum(axis=1)
    # Pixel x takes plane pixel x - (j - c) with weight j: large j reach to the left.
    return (
        _width(columns[cx + 1 :], share),
        _width(columns[:cx][::-1], share),
        _width(rows[cy + 1 :], share),
        _width(rows[:cy][::-1], share),
    )


def _width(weights: NDArray[np.float64], share: float) -> int:
    """Return how many of the outermost pixels lack more than `share`, given weights by distance."""
    missing = np.cumsum(weights[::-1])[::-1]  # missing[d]: what lies farther than d pixels away
    return int(np.count_nonzero(missing > share))
