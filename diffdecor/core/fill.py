"""Bad pixels and borders: filled before the filter, and flagged where it reached them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.convolve import Convolution
from diffdecor.core.interpolate import KernelField
from diffdecor.core.planes import LazyPlane, Plane

#: Half widths of the windows whose mean is the local level, pixels. In smooth noise the neighbours
#: of a pixel say best what it would be: in white noise the filter hardly takes anything from it.
WINDOWS = (1, 2, 3, 12, 48)
#: Least number of good pixels for a local level, in the smallest window and in the others.
ENOUGH = (5, 8, 8, 8, 8)
#: Number of the windows that lie within the rows that are always read.
_NEAR = 4
#: Pixels that a reference level is taken of.
_SOME = 64
#: Columns whose bad pixels are filled together.
_COLUMNS = 128
#: Rows and columns of some pixels.
Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]


def _local_levels(
    values: NDArray[Any], bad: NDArray[np.bool_], where: Pixels, windows: Sequence[int]
) -> NDArray[np.float64]:
    """Return the level around pixels, NaN where no window has enough good pixels.

    They are taken a few columns at a time, with only what lies near: bad pixels often are a column.
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
    """Return the level around pixels that lie close together, NaN where it is not known."""
    rows, columns = where
    around = tuple(
        slice(max(0, int(places.min()) - windows[-1]), int(places.max()) + windows[-1] + 1)
        for places in (rows, columns)
    )
    y, x = rows - around[0].start, columns - around[1].start
    good = ~bad[around]
    # Sums are taken about a reference level, which keeps their rounding far below the noise.
    some = values[around][good][:_SOME]
    reference = float(some.mean(dtype=np.float64)) if some.size else 0.0
    total = _summed(np.where(good, values[around] - reference, 0.0))
    count = _summed(good)
    ny, nx = good.shape
    level = np.full(rows.size, np.nan)
    for half_width in windows:
        enough = ENOUGH[WINDOWS.index(half_width)]
        y0, y1 = np.maximum(y - half_width, 0), np.minimum(y + half_width + 1, ny)
        x0, x1 = np.maximum(x - half_width, 0), np.minimum(x + half_width + 1, nx)
        sums, number = (
            table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
            for table in (total, count)
        )
        found = np.isnan(level) & (number >= enough)
        level[found] = reference + sums[found] / number[found]
    return level


def _summed(values: NDArray[Any]) -> NDArray[Any]:
    """Return the summed-area table ``(ny + 1, nx + 1)``: item y, x is the sum of values[:y, :x]."""
    kind = np.int64 if values.dtype == bool else np.float64
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), kind)
    inner = table[1:, 1:]
    np.cumsum(values, axis=0, dtype=kind, out=inner)
    np.cumsum(inner, axis=1, out=inner)
    return table


def locally_filled(plane: Plane, bad: Plane, background: Callable[[], float]) -> LazyPlane:
    """Return a plane whose bad pixels are filled with the local level as its rows are read.

    The level is the mean of the good pixels in the smallest of the square windows `WINDOWS` with
    enough of them (8, of the nearest neighbours 5), else `background()`. A constant level is kept,
    so nothing rings. The result does not depend on how the plane is cut into bands.
    """
    # Most gaps are small: rows farther away are read at first only if the last gaps were large.
    reach = WINDOWS[_NEAR - 1]

    def around(rows: slice, margin: int) -> tuple[NDArray[Any], NDArray[np.bool_], int]:
        """Read rows with a margin; return also how many rows of it lie below."""
        start = max(0, rows.start - margin)
        wanted = slice(start, min(plane.shape[0], rows.stop + margin))
        unusable = bad[wanted]
        return plane[wanted], unusable, rows.start - start

    def read(rows: slice) -> NDArray[Any]:
        nonlocal reach
        height, margin = rows.stop - rows.start, reach
        pixels, unusable, below = around(rows, margin)
        filled = pixels[below : below + height]
        y, x = _set_pixels(unusable[below : below + height])
        if not y.size:
            reach = WINDOWS[_NEAR - 1]
            return filled
        filled = np.array(filled)
        # Only what is near each pixel counts, so more rows make no difference.
        levels = _local_levels(pixels, unusable, (y + below, x), WINDOWS[:_NEAR])
        filled[y, x] = levels
        far = np.isnan(levels)
        reach = WINDOWS[-1] if far.any() else WINDOWS[_NEAR - 1]
        if far.any():
            y, x = y[far], x[far]
            if margin < WINDOWS[-1]:
                pixels, unusable, below = around(rows, WINDOWS[-1])
            levels = _local_levels(pixels, unusable, (y + below, x), WINDOWS[_NEAR:])
            filled[y, x] = np.where(np.isnan(levels), background(), levels)
        return filled

    return LazyPlane(plane.shape, read)


def _set_pixels(mask: NDArray[np.bool_]) -> Pixels:
    """Return the pixels that are True, looking only at columns that have any."""
    columns = np.flatnonzero(mask.any(axis=0))
    rows, number = np.nonzero(mask[:, columns])
    return rows, columns[number]


def constant_filled(plane: Plane, value: float) -> LazyPlane:
    """Return a plane whose non-finite pixels are replaced by one value as its rows are read."""

    def read(rows: slice) -> NDArray[Any]:
        values = plane[rows]
        return np.where(np.isfinite(values), values, values.dtype.type(value))

    return LazyPlane(plane.shape, read)


def energy_kernels(filters: KernelField) -> KernelField:
    """Return the share of each filter's energy that every pixel under it contributes.

    This is the mean square of the filters over the nodes, of unit sum: it varies far less than the
    filter, so one kernel serves the whole image.
    """
    energy = (filters.stamps**2).mean(axis=(0, 1))
    return KernelField.constant(energy / energy.sum(), filters.origin)


def near_filled(filled: Plane, energy: KernelField, share: float) -> LazyPlane:
    """Return where more than a share of the filter's energy comes from filled pixels, as a plane.

    The filled pixels themselves are excluded. `energy` is that of `energy_kernels`.
    """
    taken = Convolution((filled, energy), edges="zero")
    ny, nx = filled.shape
    _, _, bottom, top = energy.margins

    def read(rows: slice) -> NDArray[np.bool_]:
        if not filled[max(0, rows.start - bottom) : min(ny, rows.stop + top)].any():
            return np.zeros((rows.stop - rows.start, nx), dtype=bool)
        return np.asarray((taken[rows] > share) & ~filled[rows])

    return LazyPlane((ny, nx), read)


def incomplete_border(filters: KernelField, share: float) -> tuple[int, int, int, int]:
    """Return the widths of the left, right, bottom and top border, where filters reach outside.

    There more than the square of a quarter of the share of any filter's energy lies beyond the
    border: light adds up where noise adds in squares, so a flux may be off by four times its root.
    The next pixel belongs to it, for the light of a source is wider than that: beside it fluxes are
    right to the share, and next to a corner to twice that, whichever image was convolved.
    """
    kernels = filters.stamps.reshape(-1, *filters.stamps.shape[-2:])
    cx, cy = filters.origin
    limit = (share / 4) ** 2

    def beyond(weights: NDArray[np.float64], total: NDArray[np.float64]) -> int:
        # weights[:, d:] are those of pixels more than d away.
        outside = np.cumsum(weights[:, ::-1], axis=1) / total
        width = int(np.count_nonzero(outside > limit, axis=1).max(initial=0))
        return width + 1 if width else 0

    columns, rows = (np.square(kernels).sum(axis=axis) for axis in (1, 2))
    total = columns.sum(axis=1, keepdims=True)
    # Pixel x takes plane pixel x - (j - c) with weight j: large j reach to the left.
    left, right = beyond(columns[:, cx + 1 :], total), beyond(columns[:, :cx][:, ::-1], total)
    return left, right, beyond(rows[:, cy + 1 :], total), beyond(rows[:, :cy][:, ::-1], total)
