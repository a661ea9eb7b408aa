"""Nodes between which something that varies over an image is linear."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

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
