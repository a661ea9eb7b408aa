"""Holes and borders: filling before the filter, and saying afterwards what the filter saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.convolve import KernelField, convolve
from diffdecor.core.planes import ComputedPlane, Plane

WINDOWS = (3, 12, 48)
"""Half widths of the windows in which the local level is looked for, pixels."""
_ENOUGH = 8
"""Good pixels that make a local level."""


def local_fill(
    values: NDArray[np.float64], bad: NDArray[np.bool_], background: float
) -> NDArray[np.float64]:
    """Replace bad pixels by the mean of the good ones around them.

    The mean is that of the smallest of the square windows `WINDOWS` with at least 8 good pixels;
    without any, `background`. A constant level stays that level, so nothing rings.

    Parameters
    ----------
    values : array (ny, nx)
        Pixels; bad ones may hold anything.
    bad : array (ny, nx)
        True where a pixel is to be replaced.
    background : float
        Level where there is no good pixel near.

    Returns
    -------
    array (ny, nx)
        A filled copy.
    """
    filled = np.where(bad, background, values)
    rows, columns = np.nonzero(bad)
    if not rows.size:
        return filled
    # Only what lies under some window is looked at: often a column or two of bad pixels.
    around = tuple(
        slice(max(0, int(places.min()) - WINDOWS[-1]), int(places.max()) + WINDOWS[-1] + 1)
        for places in (rows, columns)
    )
    y, x = rows - around[0].start, columns - around[1].start
    # Sums are taken about the background, which keeps their rounding far below the noise.
    totals = _window_sums(np.where(bad[around], 0.0, filled[around] - background))
    counts = _window_sums((~bad[around]).astype(np.float64))
    level = np.zeros(rows.size)
    known = np.zeros(rows.size, dtype=bool)
    for half_width in WINDOWS:
        number = counts(y, x, half_width)
        found = ~known & (number >= _ENOUGH)
        level[found] = totals(y, x, half_width)[found] / number[found]
        known |= found
    filled[rows, columns] += level
    return filled


class _window_sums:  # noqa: N801  called like a function
    """Sums over square windows around given pixels, clipped at the border (summed-area table)."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.table = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
        self.table[1:, 1:] = values.cumsum(axis=0).cumsum(axis=1)

    def __call__(
        self, rows: NDArray[np.intp], columns: NDArray[np.intp], half_width: int
    ) -> NDArray[np.float64]:
        ny, nx = (size - 1 for size in self.table.shape)
        y0, y1 = np.maximum(rows - half_width, 0), np.minimum(rows + half_width + 1, ny)
        x0, x1 = np.maximum(columns - half_width, 0), np.minimum(columns + half_width + 1, nx)
        table = self.table
        return np.asarray(table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0])


def locally_filled(plane: Plane, bad: Plane, background: float) -> ComputedPlane:
    """Return a plane whose bad pixels are filled with the local level as its rows are read.

    Parameters
    ----------
    plane : plane (ny, nx)
        The pixels.
    bad : plane (ny, nx)
        True where a pixel is to be filled.
    background : float
        Level where there is no good pixel near.

    Returns
    -------
    ComputedPlane
        Float64 rows that do not depend on how the plane is cut into bands.
    """
    ny, nx = plane.shape
    reach = WINDOWS[-1]

    def read(rows: slice) -> NDArray[np.float64]:
        start, stop = max(0, rows.start - reach), min(ny, rows.stop + reach)
        inner = slice(rows.start - start, rows.stop - start)
        holes = np.asarray(bad[start:stop], dtype=bool)
        if not holes[inner].any():
            return np.asarray(plane[rows], dtype=np.float64)
        return local_fill(np.asarray(plane[start:stop], np.float64), holes, background)[inner]

    return ComputedPlane((ny, nx), read)


def constant_filled(plane: Plane, value: float) -> ComputedPlane:
    """Return a plane whose non-finite pixels are replaced by one value as its rows are read.

    Parameters
    ----------
    plane : plane (ny, nx)
        The pixels.
    value : float
        What replaces them.

    Returns
    -------
    ComputedPlane
        Float64 rows.
    """
    ny, nx = plane.shape

    def read(rows: slice) -> NDArray[np.float64]:
        values = np.asarray(plane[rows], dtype=np.float64)
        return np.where(np.isfinite(values), values, value)

    return ComputedPlane((ny, nx), read)


def energy_kernels(filters: KernelField) -> KernelField:
    """Return the share of each filter's energy that every pixel under it contributes.

    Parameters
    ----------
    filters : KernelField
        Filters that vary over the image.

    Returns
    -------
    KernelField
        Their squares, of unit sum, about their mean over the nodes: the share of energy varies
        far less than the filter, and one kernel serves the whole image.
    """
    energy = (filters.stamps**2).mean(axis=(0, 1))
    return KernelField.constant(energy / energy.sum(), filters.origin)


def near_filled(filled: Plane, energy: KernelField, share: float) -> NDArray[np.bool_]:
    """Return the pixels that take more than a share of their filter's energy from filled ones.

    Parameters
    ----------
    filled : plane (ny, nx)
        True where a pixel was filled.
    energy : KernelField
        From `energy_kernels`.
    share : float
        The share that is tolerated.

    Returns
    -------
    array (ny, nx)
        True near filled pixels; these themselves are not counted.
    """
    bands = [
        (band > share) & ~np.asarray(filled[rows], dtype=bool)
        for rows, band in convolve(filled, energy, edges="zero")
    ]
    return np.concatenate(bands)


def incomplete_border(energy: KernelField, share: float) -> tuple[int, int, int, int]:
    """Return how many pixels at each border lack more than a share of their filter's energy.

    Parameters
    ----------
    energy : KernelField
        From `energy_kernels`.
    share : float
        The share that is tolerated.

    Returns
    -------
    tuple of int
        Pixels at the left, right, bottom and top border.
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
