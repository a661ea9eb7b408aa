"""Stamps as few and as small as what they are needed for allows."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import fast_shape, sums_beyond
from diffdecor.core.interpolate import Stamps

#: Filters of which the transform is looked at.
_TRANSFORMED = 64
#: Smallest transform of a filter that counts: where it is smaller there is hardly any signal left.
_FAINTEST = 0.02


class Lines(NamedTuple):
    """Lines of a grid in the order in which interpolation needs them, and what each improves."""

    #: The first and the last line, then always the one that is farthest off.
    order: list[int]
    #: Largest error with the first 2, 3, ... of them; 0 with all.
    errors: list[float]
    #: The line in the middle, and the largest error with nothing else.
    middle: int
    alone: float

    def needed(self, tolerance: float) -> tuple[list[int], float]:
        """Return the numbers of the fewest lines that are enough, and the largest error."""
        if self.alone <= tolerance:
            return [self.middle], self.alone
        enough = next(n for n, error in enumerate(self.errors) if error <= tolerance)
        return sorted(self.order[: enough + 2]), self.errors[enough]


class Plan(NamedTuple):
    """Which stamps are kept, and how much of them."""

    #: Numbers of the columns and rows of the grid; empty: all stamps, wherever they are.
    columns: list[int]
    rows: list[int]
    #: Number of stamps, and of the pixels of one.
    number: int
    pixels: int
    #: Half width; None: the stamps are not cut.
    width: int | None
    #: Largest error of interpolation, and largest loss by cutting.
    off: float
    lost: float


@dataclass(frozen=True, eq=False)
class Reducible:
    """Stamps, and how far off they are when they are fewer and smaller.

    Errors of interpolation are L2 norms in units of `units` ``(n,)``, one of every stamp.
    """

    stamps: Stamps
    units: NDArray[np.float64]
    #: Largest loss by cutting to every half width; empty if the stamps are not to be cut.
    losses: NDArray[np.float64]
    #: What a loss of 1 counts as an error of interpolation.
    weight: float
    #: Columns and rows, if the stamps are on a full grid, row by row.
    grid: tuple[Lines, Lines] | None

    @classmethod
    def of(
        cls,
        stamps: Stamps,
        units: NDArray[np.float64],
        losses: NDArray[np.float64],
        weight: float = 0.0,
    ) -> Reducible:
        """Find out in which order columns and rows of stamps are needed."""
        x, y = np.unique(stamps.positions[:, 0]), np.unique(stamps.positions[:, 1])
        order = np.lexsort(stamps.positions.T)
        nodes = np.column_stack([one.ravel() for one in np.meshgrid(x, y)])
        is_grid = np.array_equal(nodes, stamps.positions[order])
        if stamps.interpolation != "LINEAR" or not is_grid:
            return cls(stamps, units, losses, weight, None)
        if not np.array_equal(order, np.arange(len(order))):
            stamps = replace(stamps, stamps=stamps.stamps[order], positions=stamps.positions[order])
            units = units[order]
        grid = stamps.stamps.reshape(len(y), len(x), *stamps.shape)
        of_nodes = units.reshape(len(y), len(x))
        columns = _ordered(x, grid.swapaxes(0, 1), of_nodes.T)
        return cls(stamps, units, losses, weight, (columns, _ordered(y, grid, of_nodes)))

    def within(self, tolerance: float, lost: float) -> Plan:
        """Return the fewest and smallest stamps with errors below `tolerance` and losses `lost`."""
        if not len(self.losses):
            return self._plan(tolerance, None, 0.0)
        losses = self.losses.tolist()
        plans = [
            self._plan(tolerance - self.weight * loss, width, loss)
            for width, loss in enumerate(losses)
            if loss <= lost and self.weight * loss <= tolerance
        ]
        return min(plans, key=lambda plan: plan.number * plan.pixels)

    def _plan(self, tolerance: float, width: int | None, lost: float) -> Plan:
        pixels = self.stamps.stamps[0].size if width is None else (2 * width + 1) ** 2
        if self.grid is None:
            return Plan([], [], len(self.stamps.stamps), pixels, width, 0.0, lost)
        # Errors of both axes add up.
        columns, off = self.grid[0].needed(tolerance / 2)
        rows, further = self.grid[1].needed(tolerance - off)
        number = len(columns) * len(rows)
        return Plan(columns, rows, number, pixels, width, off + further, lost)

    def taken(self, plan: Plan) -> Stamps:
        """Return the stamps of a plan."""
        kept = self.stamps
        if plan.columns:
            columns = len(np.unique(kept.positions[:, 0]))
            numbers = np.add.outer(np.array(plan.rows) * columns, plan.columns).ravel()
            kept = replace(kept, stamps=kept.stamps[numbers], positions=kept.positions[numbers])
        return kept if plan.width is None else cropped(kept, plan.width)

    def alone(self, place: tuple[float, float], lost: float) -> tuple[Stamps, Plan]:
        """Return the one stamp at a place, cut like others, and how far these are from it."""
        width, cut = self._width(lost)
        stamp, there = self.stamps.stamp(*place)[np.newaxis], np.array([place])
        one = replace(self.stamps, stamps=stamp, positions=there, interpolation="LINEAR")
        off = max(
            float(np.linalg.norm(other - one.stamps[0])) / unit
            for other, unit in zip(self.stamps.stamps, self.units.tolist(), strict=True)
        )
        if len(self.stamps.stamps) == 1:
            one, off = self.stamps, 0.0
        one = one if width is None else cropped(one, width)
        return one, Plan([], [], 1, one.stamps.size, width, off, cut)

    def _width(self, lost: float) -> tuple[int | None, float]:
        """Return the smallest half width with losses below `lost`, and the loss."""
        if not len(self.losses):
            return None, 0.0
        width = int(np.flatnonzero(self.losses <= lost)[0])
        return width, float(self.losses[width])


def _ordered(
    lines: NDArray[np.float64], grid: NDArray[np.float64], units: NDArray[np.float64]
) -> Lines:
    """Put lines ``(n,)`` of a grid of stamps ``(n, m, ky, kx)`` in the order of their need."""
    last, middle = len(lines) - 1, len(lines) // 2
    others = zip(grid, units, strict=True)
    alone = max(_norm(one - grid[middle], of_line) for one, of_line in others)
    order, errors = [0, last], []
    spans = [_farthest(lines, grid, units, 0, last)]
    while spans[0][0] < 0.0:
        error, worst, *ends = heapq.heappop(spans)
        errors.append(-error)
        order.append(worst)
        for span in ((ends[0], worst), (worst, ends[1])):
            heapq.heappush(spans, _farthest(lines, grid, units, *span))
    errors.append(0.0)
    return Lines(order, errors, middle, alone)


def _farthest(
    lines: NDArray[np.float64],
    grid: NDArray[np.float64],
    units: NDArray[np.float64],
    first: int,
    last: int,
) -> tuple[float, int, int, int]:
    """Return less the error of the line that is worst interpolated between two, and its number.

    0 if there is none between them, or none that is off.
    """
    worst, number = 0.0, first
    for between in range(first + 1, last):
        share = (lines[between] - lines[first]) / (lines[last] - lines[first])
        off = grid[first] * (1 - share)
        off += share * grid[last]
        off -= grid[between]
        found = _norm(off, units[between])
        if found > worst:
            worst, number = found, between
    return -worst, number, first, last


def _norm(line: NDArray[np.float64], units: NDArray[np.float64]) -> float:
    """Return the largest L2 norm of stamps ``(m, ky, kx)`` in units ``(m,)``."""
    squares = np.einsum("nij,nij->n", line, line)
    return float((np.sqrt(squares) / units).max())


def cropped(stamps: Stamps, width: int) -> Stamps:
    """Cut square stamps to a half width about the origin in their middle; keep their sums.

    What is missing is spread evenly: it is mostly smooth, so this changes a convolution least.
    """
    middle = stamps.origin[0]
    inner = slice(middle - width, middle + width + 1)
    kept = stamps.stamps[:, inner, inner]
    missing = stamps.stamps.sum(axis=(1, 2)) - kept.sum(axis=(1, 2))
    spread = missing[:, np.newaxis, np.newaxis] / (2 * width + 1) ** 2
    return replace(stamps, stamps=kept + spread, origin=(width, width))


def lost_flux(stamps: Stamps) -> NDArray[np.float64]:
    """Return the largest share of the absolute sum of PSFs that cutting to half widths loses.

    Empty for stamps that are not square about their origin.
    """

    def share(one: NDArray[np.float64], rings: NDArray[np.intp]) -> NDArray[np.float64]:
        flux = np.abs(one)
        return np.asarray(_outside(flux, rings) / flux.sum())

    return _losses(stamps, share)


def lost_energy(stamps: Stamps) -> NDArray[np.float64]:
    """Return the largest change of filters by `cropped`, as share of their L2 norm.

    Empty for stamps that are not square about their origin.
    """

    def change(one: NDArray[np.float64], rings: NDArray[np.intp]) -> NDArray[np.float64]:
        energy, missing = _outside(one**2, rings), _outside(one, rings)
        energy += (missing / (2 * np.arange(len(missing)) + 1)) ** 2
        return np.asarray(np.sqrt(energy / (one**2).sum()))

    return _losses(stamps, change)


def _losses(
    stamps: Stamps,
    loss: Callable[[NDArray[np.float64], NDArray[np.intp]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return the largest loss of any stamp at every half width ``(m + 1,)``; 0 at the last."""
    ky, kx = stamps.shape
    if ky != kx or kx % 2 == 0 or stamps.origin != (kx // 2, kx // 2):
        return np.zeros(0)
    rings = np.abs(np.arange(kx) - kx // 2)
    return np.asarray(np.max([loss(one, rings) for one in stamps.stamps], axis=0))


def _outside(values: NDArray[np.float64], rings: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the sums of values outside of squares of half width 0, 1, ... up to all."""
    return np.append(sums_beyond(values, rings, rings)[1:], 0.0)


def sigma_unit(stamps: Stamps) -> float:
    """Return the L2 norm of an error of a whitening filter that is one sigma of the result.

    It is the smallest value of the filter's transform, at most 1: the noise that is filtered is the
    stronger the smaller this is, and is that of the result where it is 1.
    """
    some = stamps.stamps[:: -(-len(stamps.stamps) // _TRANSFORMED)]
    transforms = np.abs(np.fft.rfft2(some, fast_shape(*stamps.shape)))
    return float(np.clip(transforms.min(initial=1.0), _FAINTEST, 1.0))
