"""From stamps at given positions to a stamp anywhere: linear on a grid, otherwise the nearest.

`Stamps` are what files hold, at any positions; a `KernelField` is what planes are convolved with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin

Interpolation = Literal["LINEAR", "NEAREST"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Stamps:
    """Small images that belong to positions of a large one: kernels, PSFs, filters.

    Positions on a full rectangular grid are interpolated linearly, and beyond its outermost nodes
    held constant; other positions, and ``interpolation="NEAREST"``, take the nearest stamp.
    """

    #: The stamps ``(n, ky, kx)``, with their origin at the 0-based pixel ``(cx, cy)``.
    stamps: NDArray[np.float64]
    #: 0-based ``(x, y)`` of every stamp ``(n, 2)``; that of a single one does not matter.
    positions: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 2)))
    origin: Origin
    interpolation: Interpolation = "LINEAR"

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ky, kx)`` of every stamp."""
        _, ky, kx = self.stamps.shape
        return ky, kx

    def stamp(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the stamp ``(ky, kx)`` at the 0-based position ``(x, y)``."""
        weights = self.weights(x, y)
        # At most four of what may be thousands; threads of BLAS only wait for so little.
        (used,) = np.nonzero(weights)
        parts = weights[used, np.newaxis, np.newaxis] * self.stamps[used]
        return np.asarray(parts.sum(axis=0), np.float64)

    def weights(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the weight of every stamp ``(n,)`` at ``(x, y)``: from 0 to 1, of unit sum."""
        if self.interpolation == "NEAREST":
            return nearest_weights(self.positions, x, y)
        return _weights(self.positions, self._grid, x, y)

    @cached_property
    def _grid(self) -> _Grid | None:
        return _grid_of(self.positions)


class Kernels(Protocol):
    """Kernels on the nodes of a rectilinear grid, and between them: what `Convolution` takes."""

    @property
    def x(self) -> NDArray[np.float64]:
        """Rising 0-based pixel positions of the columns of nodes."""

    @property
    def y(self) -> NDArray[np.float64]:
        """The same of the rows."""

    @property
    def origin(self) -> Origin:
        """0-based pixel ``(cx, cy)`` of every kernel that is its origin."""

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Pixels the kernels reach to the left, right, bottom and top of the pixel they serve."""

    @property
    def curved(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Between which columns, and rows, of nodes the kernels are quadratic, not linear."""

    def at(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the kernel ``(ky, kx)`` at a 0-based position."""


@dataclass(frozen=True, eq=False)
class KernelField:
    """Kernels ``(ny, nx, ky, kx)`` on the nodes of a rectilinear grid, bilinear between them.

    The 0-based pixel positions `x` and `y` of node columns and rows rise; one of each is a kernel
    that does not vary. Beyond the outermost nodes the kernel is constant. True convolution; stamps
    that do not contain their origin ``(cx, cy)`` are grown to it.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    stamps: NDArray[np.float64]
    origin: Origin

    def __post_init__(self) -> None:
        """Make sure that a tile's margins reach at least to its own pixels."""
        (cx, cy), (ky, kx) = self.origin, self.stamps.shape[-2:]
        left, right = max(0, -cx), max(0, cx - kx + 1)
        below, above = max(0, -cy), max(0, cy - ky + 1)
        if left or right or below or above:
            grown = np.pad(self.stamps, ((0, 0), (0, 0), (below, above), (left, right)))
            object.__setattr__(self, "stamps", grown)
            object.__setattr__(self, "origin", (cx + left, cy + below))

    @classmethod
    def constant(cls, stamp: NDArray[np.float64], origin: Origin) -> KernelField:
        """Return the field of one kernel ``(ky, kx)`` that holds everywhere."""
        node = np.zeros(1)
        return cls(node, node, stamp[np.newaxis, np.newaxis], origin)

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Pixels the kernels reach to the left, right, bottom and top of the pixel they serve."""
        ky, kx = self.stamps.shape[-2:]
        cx, cy = self.origin
        return kx - 1 - cx, cx, ky - 1 - cy, cy

    @property
    def curved(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Between which columns, and rows, of nodes the kernels are quadratic: nowhere here."""
        return np.zeros(len(self.x) - 1, dtype=bool), np.zeros(len(self.y) - 1, dtype=bool)

    def at(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the kernel ``(ky, kx)`` at a 0-based position."""
        *rows, upper = bracket(self.y, y)
        left, right, share = bracket(self.x, x)
        if {upper, share} <= {0.0, 1.0}:  # at a node, as most are
            return np.asarray(self.stamps[rows[int(upper)], right if share else left])
        below, above = (
            (1 - share) * self.stamps[row, left] + share * self.stamps[row, right] for row in rows
        )
        return np.asarray((1 - upper) * below + upper * above)


#: Share of its energy by which the square of a kernel may deviate from a linear one.
_STRAIGHT = 1e-3


class _AsLargeAs:
    """Kernels that are as large as others that they are made from."""

    kernels: KernelField

    @property
    def origin(self) -> Origin:
        """0-based pixel ``(cx, cy)`` of every kernel that is its origin."""
        return self.kernels.origin

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Pixels the kernels reach to the left, right, bottom and top of the pixel they serve."""
        return self.kernels.margins


@dataclass(frozen=True, eq=False)
class SquaredField(_AsLargeAs):
    """The squares, pixel by pixel, of kernels that are bilinear between nodes.

    Halfway between nodes of kernels a and b the square is that of their mean, which is less than
    the mean of the squares by ``((a - b) / 2)^2``.
    """

    kernels: KernelField

    @property
    def x(self) -> NDArray[np.float64]:
        """Rising 0-based pixel positions of the columns of nodes."""
        return self.kernels.x

    @property
    def y(self) -> NDArray[np.float64]:
        """The same of the rows."""
        return self.kernels.y

    @property
    def curved(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Between which columns, and rows, of nodes the squares are not nearly linear."""
        return _bends(self.kernels.stamps)

    def at(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the square ``(ky, kx)`` at a 0-based position."""
        return np.asarray(self.kernels.at(x, y) ** 2)


@dataclass(frozen=True, eq=False)
class QuadraticField(_AsLargeAs):
    """Kernels on nodes, and halfway between those between which they are quadratic."""

    #: Rising 0-based pixel positions of the columns and rows of nodes.
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    #: The kernels there and on lines halfway between.
    kernels: KernelField

    @property
    def curved(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Between which columns, and rows, of nodes there are others halfway."""
        along_x, along_y = (
            np.isin((nodes[:-1] + nodes[1:]) / 2, lines)
            for nodes, lines in ((self.x, self.kernels.x), (self.y, self.kernels.y))
        )
        return along_x, along_y

    def at(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the kernel ``(ky, kx)`` at a 0-based position."""
        return self.kernels.at(x, y)


def _bends(stamps: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return between which columns and rows of nodes the squares of stamps are not linear."""
    energy = np.einsum("yxij,yxij->yx", stamps, stamps)

    def bends(first: Any, second: Any, axis: int) -> NDArray[np.bool_]:  # noqa: ANN401
        # One line of nodes at a time: all differences together would take as much as the stamps.
        lines = zip(
            np.moveaxis(stamps[first], axis, 0), np.moveaxis(stamps[second], axis, 0), strict=True
        )
        quarter = np.array([np.square(a - b).sum(axis=(-2, -1)).max() / 4 for a, b in lines])
        least = np.minimum(energy[first], energy[second]).min(axis=1 - axis)
        return np.asarray(quarter > _STRAIGHT * least)

    return (
        bends(np.s_[:, :-1], np.s_[:, 1:], 1),
        bends(np.s_[:-1], np.s_[1:], 0),
    )


def nearest_weights(positions: NDArray[np.float64], x: float, y: float) -> NDArray[np.float64]:
    """Return the weight ``(n,)`` of every position ``(n, 2)`` at ``(x, y)``: 1 of the nearest."""
    weights = np.zeros(len(positions))
    weights[np.argmin(((positions - (x, y)) ** 2).sum(axis=1))] = 1.0
    return weights


def bilinear_weights(positions: NDArray[np.float64], x: float, y: float) -> NDArray[np.float64]:
    """Return the weight ``(n,)`` of every position ``(n, 2)``, in any order, at ``(x, y)``.

    Linear on a full rectangular grid, evenly spaced or not, and constant beyond it; positions that
    do not form a grid give all weight to the nearest.
    """
    return _weights(positions, _grid_of(positions), x, y)


@dataclass(frozen=True, eq=False)
class _Grid:
    """A full rectangular grid of positions: its lines, and those that every position is on."""

    columns: NDArray[np.float64]
    rows: NDArray[np.float64]
    column: NDArray[np.intp]
    row: NDArray[np.intp]


def _grid_of(positions: NDArray[np.float64]) -> _Grid | None:
    """Return the grid that positions ``(n, 2)`` in any order form; None if they do not."""
    columns, column = np.unique(positions[:, 0], return_inverse=True)
    rows, row = np.unique(positions[:, 1], return_inverse=True)
    nodes = len(columns) * len(rows)
    # A position given twice leaves another node of the grid empty, though the numbers agree.
    if nodes != len(positions) or len(np.unique(row * len(columns) + column)) != nodes:
        return None
    return _Grid(columns, rows, column, row)


def _weights(
    positions: NDArray[np.float64], grid: _Grid | None, x: float, y: float
) -> NDArray[np.float64]:
    if grid is None:
        return nearest_weights(positions, x, y)
    along_x, along_y = _linear_weights(grid.columns, x), _linear_weights(grid.rows, y)
    return np.asarray(along_x[grid.column] * along_y[grid.row], dtype=np.float64)


def at_nodes(
    positions: NDArray[np.float64],
    values: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Interpolate values ``(n, ...)``, as `bilinear_weights` says, to the nodes of a grid.

    Returns ``(ny * nx, ...)``, row by row.
    """
    grid = _grid_of(positions)
    if grid is None:
        places = [(u, v) for v in y.tolist() for u in x.tolist()]
        nearest = [int(np.argmax(nearest_weights(positions, *place))) for place in places]
        return np.asarray(values[nearest])
    number = np.empty((len(grid.rows), len(grid.columns)), dtype=np.intp)
    number[grid.row, grid.column] = np.arange(len(positions))
    found = values[number]
    for axis, (nodes, wanted) in enumerate(((grid.rows, y), (grid.columns, x))):
        first, second, share = (
            np.broadcast_to(one, wanted.shape) for one in bracket(nodes, wanted)
        )
        upper = share.reshape(-1, *(1,) * (found.ndim - 1 - axis))
        lower = found.take(first, axis)
        found = lower + upper * (found.take(second, axis) - lower)
    return np.asarray(found.reshape(-1, *values.shape[1:]))


def _linear_weights(nodes: NDArray[np.float64], position: float) -> NDArray[np.float64]:
    """Return the weight of every node ``(n,)``."""
    weights = np.zeros(len(nodes))
    first, second, share = bracket(nodes, position)
    weights[first] = 1.0 - share
    weights[second] += share
    return weights


def bracket(nodes: NDArray[np.float64], positions: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401
    """Return the indices of the two nodes around each position, and the weight of the second.

    Nodes ``(n,)`` rise; positions are a number or an array, and so are the results. Beyond the
    outermost nodes the nearer one has all the weight; a single node is both, with weight 0.
    """
    if len(nodes) == 1:
        return 0, 0, 0.0
    # On single numbers minimum and maximum take half as long as clip (2 and 5 us, 2026-11).
    second = np.minimum(np.maximum(nodes.searchsorted(positions), 1), len(nodes) - 1)
    first = second - 1
    share = (positions - nodes[first]) / (nodes[second] - nodes[first])
    return first, second, np.minimum(np.maximum(share, 0.0), 1.0)
