"""Stamps as few and as small as what they are needed for allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import sums_beyond
from diffdecor.core.interpolate import Stamps

Lines = NDArray[np.float64]
#: Values ``(ny * nx, m)`` on the nodes of a grid, row by row, given its columns and rows.
Values = Callable[[Lines, Lines], NDArray[np.float64]]
#: Shares of what is at the first node by which numbers may be off a straight line, and by which
#: they are still the same.
_STRAIGHT, _SAME = 5e-4, 1e-6


def linear_lines(values: Values, shape: tuple[int, int], spacing: float) -> tuple[Lines, Lines]:
    """Return lines of nodes between which something that varies over an image is nearly linear.

    `values` returns it ``(ny * nx, m)`` on the nodes of a grid, given its columns and rows; it is
    of norm 1 or so. Between the first pixel, the middle and the last pixel of either axis intervals
    are halved where it is not linear, until they are no longer than `spacing`. One node if it is
    constant.
    """
    known = _Known(values)
    lines = [np.array([0.0, (length - 1) / 2, length - 1]) for length in shape[::-1]]
    grid = known(*lines)
    if np.linalg.norm(grid - grid[0], axis=1).max() <= _SAME:
        return np.zeros(1), np.zeros(1)
    unsure = [set(pairwise(one.tolist())) for one in lines]
    while any(unsure):
        for axis in (0, 1):
            wide = sorted((a, b) for a, b in unsure[axis] if b - a > spacing)
            bent = [(a, (a + b) / 2, b) for a, b in known.bent(wide, axis, lines[1 - axis])]
            lines[axis] = np.union1d(lines[axis], [middle for _, middle, _ in bent])
            unsure[axis] = {part for three in bent for part in pairwise(three)}
    return lines[0], lines[1]


class _Known:
    """Values on the nodes of grids, which are not asked for twice."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._known: dict[tuple[float, float], NDArray[np.float64]] = {}

    def __call__(self, x: Lines, y: Lines) -> NDArray[np.float64]:
        """Return the values on the nodes of a grid ``(ny * nx, m)``."""
        nodes = [(u, v) for v in y.tolist() for u in x.tolist()]
        if not all(node in self._known for node in nodes):
            self._known.update(zip(nodes, self._values(x, y), strict=True))
        return np.array([self._known[node] for node in nodes])

    def bent(
        self, intervals: list[tuple[float, float]], axis: int, across: Lines
    ) -> list[tuple[float, float]]:
        """Return the intervals of an axis (0: x) over which values are not linear."""
        if not intervals:
            return []
        first, last = np.array(intervals).T
        below, middle, above = (
            self._along(one, axis, across) for one in (first, (first + last) / 2, last)
        )
        off = np.linalg.norm(middle - (below + above) / 2, axis=-1).max(axis=1)
        return [one for one, size in zip(intervals, off, strict=True) if size > _STRAIGHT]

    def _along(self, lines: Lines, axis: int, across: Lines) -> NDArray[np.float64]:
        """Return the values ``(nlines, nacross, m)`` on lines across an axis (0: columns)."""
        if axis == 1:
            return self(across, lines).reshape(len(lines), len(across), -1)
        return self(lines, across).reshape(len(across), len(lines), -1).swapaxes(0, 1)


def thinned(stamps: Stamps, tolerance: float) -> tuple[Stamps, float]:
    """Leave out the lines of a grid of stamps that interpolation replaces, and say how well.

    Of stamps on a full rectangular grid, row by row, those columns and rows are left out at which
    linear interpolation between what remains is off by less than `tolerance`, as a share of the L2
    norm. Returns also the largest such share. Other stamps stay as they are.
    """
    x, y = np.unique(stamps.positions[:, 0]), np.unique(stamps.positions[:, 1])
    columns, rows = np.meshgrid(x, y)
    nodes = np.column_stack([columns.ravel(), rows.ravel()])
    if stamps.interpolation != "LINEAR" or not np.array_equal(nodes, stamps.positions):
        return stamps, 0.0
    grid = stamps.stamps.reshape(len(y), len(x), *stamps.stamps.shape[1:])
    # Both axes are thinned: either may take half of what is allowed.
    of_x, off_x = _needed(x, grid.swapaxes(0, 1), tolerance / 2)
    of_y, off_y = _needed(y, grid, tolerance / 2)
    kept = grid[np.ix_(of_y, of_x)]
    columns, rows = np.meshgrid(x[of_x], y[of_y])
    positions = np.column_stack([columns.ravel(), rows.ravel()])
    return (
        replace(stamps, stamps=kept.reshape(-1, *kept.shape[2:]), positions=positions),
        off_x + off_y,
    )


def _needed(
    lines: NDArray[np.float64], grid: NDArray[np.float64], tolerance: float
) -> tuple[list[int], float]:
    """Return the numbers of the lines that are needed, and how far off the others are."""
    norms = np.sqrt(np.square(grid).sum(axis=(-2, -1)))
    kept, worst, first = [0], 0.0, 0
    while first < len(lines) - 1:
        last, off = first + 1, 0.0
        for further in range(first + 2, len(lines)):
            found = _deviation(lines, grid, norms, first, further)
            if found > tolerance:
                break
            last, off = further, found
        kept.append(last)
        worst, first = max(worst, off), last
    return kept, worst


def _deviation(
    lines: NDArray[np.float64],
    grid: NDArray[np.float64],
    norms: NDArray[np.float64],
    first: int,
    last: int,
) -> float:
    """Return the largest share by which stamps between two lines are not interpolated."""
    worst = 0.0
    for number in range(first + 1, last):
        share = (lines[number] - lines[first]) / (lines[last] - lines[first])
        off = grid[first] * (1 - share) + grid[last] * share - grid[number]
        worst = max(
            worst, float((np.sqrt(np.square(off).sum(axis=(-2, -1))) / norms[number]).max())
        )
    return worst


def cropped(stamps: Stamps, lost: float) -> tuple[Stamps, float]:
    """Cut square stamps to their energy, about the origin in their middle; keep their sums.

    At most the share `lost` of the L2 norm of any stamp is cut off. Returns also what it is.
    """
    n, size = len(stamps.stamps), stamps.shape[0]
    middle = size // 2
    if stamps.shape != (size, size) or stamps.origin != (middle, middle) or size % 2 == 0:
        return stamps, 0.0
    distance = np.abs(np.arange(size) - middle)
    beyond = np.array([sums_beyond(one**2, distance, distance) for one in stamps.stamps])
    shares = np.sqrt((beyond / beyond[:, :1]).max(axis=0)) if n else np.zeros(1)
    # Item r is what lies at distance r and more.
    width = max(0, int(np.count_nonzero(shares > lost)) - 1)
    inner = slice(middle - width, middle + width + 1)
    kept = stamps.stamps[:, inner, inner]
    sums, wanted = (one.sum(axis=(1, 2), keepdims=True) for one in (kept, stamps.stamps))
    scaled = kept * np.divide(wanted, sums, out=np.ones_like(sums), where=sums != 0)
    share = float(shares[width + 1]) if width + 1 < len(shares) else 0.0
    return replace(stamps, stamps=scaled, origin=(width, width)), share
