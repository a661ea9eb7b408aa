"""Where filters are evaluated: LSST's cells, and the nodes of our own interpolation."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Adjust = Literal["spacing", "size", "none"]
MIN_SPACING = 16
"""Closest nodes, pixels: about the length of a filter's arm, below which steps blur anyway."""
MAX_NODES = 4096
"""Nodes beyond which no more are added: their filters have to be kept, and written."""
_STEP = 0.05
"""Deviation of the (natural) logarithm of a noise level that asks for closer nodes."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: first pixel and one past the last, 0-based."""

    x0: int
    x1: int
    y0: int
    y1: int

    @property
    def rows(self) -> slice:
        """Rows of the window."""
        return slice(self.y0, self.y1)

    @property
    def columns(self) -> slice:
        """Columns of the window."""
        return slice(self.x0, self.x1)


@dataclass(frozen=True)
class Cell:
    """A cell as LSST's map-reduce defines it: where the result goes, and what it is made from.

    Parameters
    ----------
    inner : Window
        Pixels that the cell serves.
    outer : Window
        The cell with its border, from which noise levels are taken.
    """

    inner: Window
    outer: Window


def axis_centres(length: int, size: int, step: int, adjust: Adjust) -> tuple[list[float], int]:
    """Return the centres of LSST's cells along one axis, and the cell size that goes with them.

    Parameters
    ----------
    length : int
        Pixels along the axis.
    size, step : int
        Cell size and grid step, pixels.
    adjust : {"spacing", "size", "none"}
        ``spacing`` moves the centres so that cells fill the axis, ``size`` makes cells as large as
        the step, ``none`` takes both as they are.

    Returns
    -------
    list of float
        Centres, 0-based.
    int
        Cell size, pixels.
    """
    if adjust == "spacing":
        count = length // size + 1
        return np.linspace(size // 2, length - size // 2, count).tolist(), size
    if adjust == "size":
        centres = np.arange(step // 2, length + step // 2, step)
        return centres.astype(float).tolist(), step + 1
    return np.arange(size // 2, length + size // 2, step).astype(float).tolist(), size


def _even_range(start: int, stop: int, length: int) -> tuple[int, int]:
    """Clip a range of pixels to an axis and make its size even, as LSST does."""
    start, stop = max(0, start), min(length, stop)
    if (stop - start) % 2:
        if stop < length:
            stop += 1
        else:
            start = max(0, start - 1)
    return start, stop


def _axis_cell(
    centre: float, size: int, border: int, length: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return inner and outer range of a cell along one axis."""
    first = math.floor(centre) - size // 2
    inner = _even_range(first, first + size, length)
    outer = _even_range(first - border, first + size + border, length)
    return inner, outer


def cells_at(
    centres: list[tuple[float, float]],
    size: tuple[int, int],
    border: tuple[int, int],
    shape: tuple[int, int],
) -> list[Cell]:
    """Return the cells around given centres, without those that miss the image.

    Parameters
    ----------
    centres : list of (x, y)
        0-based positions.
    size, border : tuple of int
        Cell size and margin, ``(x, y)`` pixels.
    shape : tuple of int
        ``(ny, nx)`` of the image.

    Returns
    -------
    list of Cell
        In the order of the centres.
    """
    ny, nx = shape
    cells = []
    for x, y in centres:
        inner_x, outer_x = _axis_cell(x, size[0], border[0], nx)
        inner_y, outer_y = _axis_cell(y, size[1], border[1], ny)
        if inner_x[0] < inner_x[1] and inner_y[0] < inner_y[1]:
            cells.append(Cell(Window(*inner_x, *inner_y), Window(*outer_x, *outer_y)))
    return cells


def regular_cells(
    shape: tuple[int, int],
    size: tuple[int, int],
    step: tuple[int, int],
    border: tuple[int, int],
    adjust: Adjust,
) -> list[Cell]:
    """Return LSST's grid of cells, x outer and y inner.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the image.
    size, step, border : tuple of int
        Cell size, grid step and margin, ``(x, y)`` pixels.
    adjust : {"spacing", "size", "none"}
        See `axis_centres`.

    Returns
    -------
    list of Cell
        The cells.
    """
    ny, nx = shape
    xs, size_x = axis_centres(nx, size[0], step[0], adjust)
    ys, size_y = axis_centres(ny, size[1], step[1], adjust)
    return cells_at([(x, y) for x in xs for y in ys], (size_x, size_y), border, shape)


@dataclass(frozen=True, eq=False)
class Nodes:
    """A rectilinear grid of nodes.

    Parameters
    ----------
    x, y : array (nx,), (ny,)
        Rising 0-based pixel positions of its columns and rows.
    shape : tuple of int
        ``(ny, nx)`` of the image.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    shape: tuple[int, int]

    def positions(self) -> NDArray[np.float64]:
        """Return ``(x, y)`` of every node ``(n, 2)``, row by row."""
        x, y = np.meshgrid(self.x, self.y)
        return np.column_stack([x.ravel(), y.ravel()])

    def windows(self) -> list[Window]:
        """Return for every node the pixels nearer to it than to any other, row by row."""
        columns, rows = _nearest(self.x, self.shape[1]), _nearest(self.y, self.shape[0])
        return [Window(*column, *row) for row in rows for column in columns]


def _nearest(nodes: NDArray[np.float64], length: int) -> list[tuple[int, int]]:
    """Return the range of pixels nearest to every node; never empty."""
    middles = np.ceil((nodes[:-1] + nodes[1:]) / 2).astype(int).tolist()
    return list(zip([0, *middles], [*middles, length], strict=True))


def largest_spacing(shape: tuple[int, int], region: int | None = None) -> int:
    """Return the distance of nodes that follows any polynomial kernel of low order closely.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the image.
    region : int, optional
        Shortest side of a region in which the kernel is one polynomial; by default the image's.

    Returns
    -------
    int
        An eighth of the shorter axis, from 64 to 216 pixels: with what filters of half width 20
        reach over that makes a transform of 256. In large images more, up to a 25th of the region.
    """
    shortest = min(shape)
    most = max(216, (shortest if region is None else region) // 25)
    return int(np.clip(shortest // 8, 64, most))


def nodes_for(
    shape: tuple[int, int],
    spacing: tuple[float, float],
    levels: NDArray[np.float64],
    block: int,
    breaks: tuple[tuple[float, ...], tuple[float, ...]] = ((), ()),
) -> Nodes:
    """Return nodes that lie close where noise levels step, and far apart elsewhere.

    Between two columns of nodes a level is interpolated linearly. Where the levels of small blocks
    of pixels deviate from that by more than 5 per cent, the columns are halved, down to
    `MIN_SPACING` and up to `MAX_NODES`; rows likewise. The kernel may jump at `breaks`: nodes lie
    on either side.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the image.
    spacing : tuple of float
        Largest distance of nodes along x and along y, pixels.
    levels : array (nlevels, by, bx)
        Logarithm of noise levels in blocks of `block` pixels, NaN where unknown.
    block : int
        Size of a block, pixels.
    breaks : tuple of tuples
        Positions (x, then y) of the last pixel before a jump of the kernel.

    Returns
    -------
    Nodes
        The grid; its first and last nodes lie on the outermost pixels.
    """
    ny, nx = shape
    x = _lines(nx, spacing[0], breaks[0])
    y = _lines(ny, spacing[1], breaks[1])
    centres: list[NDArray[np.float64]] = [
        (np.arange(size, dtype=np.float64) + 0.5) * block - 0.5 for size in levels.shape[1:]
    ]
    while True:
        finer_x = _halved(x, y, levels.transpose(0, 2, 1), centres[1], centres[0])
        finer_y = _halved(y, x, levels, centres[0], centres[1])
        finished = len(finer_x) == len(x) and len(finer_y) == len(y)
        if finished or len(finer_x) * len(finer_y) > MAX_NODES:
            return Nodes(x, y, shape)
        x, y = finer_x, finer_y


def _lines(length: int, spacing: float, breaks: tuple[float, ...]) -> NDArray[np.float64]:
    """Return evenly spaced lines from the first to the last pixel, and those beside breaks."""
    count = max(1, math.ceil((length - 1) / spacing))
    lines = np.linspace(0, length - 1, count + 1).round()
    beside = [side for edge in breaks for side in (edge, edge + 1) if 0 <= side < length]
    return np.unique(np.concatenate([lines, beside]))


def _halved(
    lines: NDArray[np.float64],
    across: NDArray[np.float64],
    levels: NDArray[np.float64],
    centres: NDArray[np.float64],
    centres_across: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Halve the intervals of `lines` in which levels ``(nlevels, along, across)`` are not linear.

    Levels are averaged across each interval of the other axis, which takes their noise out.
    """
    new = []
    whole = [-np.inf, np.inf]
    for start, stop in itertools.pairwise(across if len(across) > 1 else whole):
        inside = (centres_across >= start) & (centres_across <= stop)
        if not inside.any():
            continue
        profiles = _nan_mean(levels[:, :, inside])
        for profile in profiles:
            new += _not_linear(lines, centres, profile)
    return np.unique(np.concatenate([lines, new]))


def _not_linear(
    lines: NDArray[np.float64], centres: NDArray[np.float64], profile: NDArray[np.float64]
) -> list[float]:
    """Return the middles of the intervals in which a profile deviates from linear interpolation."""
    known = np.isfinite(profile)
    if known.sum() < 2:
        return []

    def level(start: int, stop: int) -> float:
        inside = known & (centres >= start - 0.5) & (centres <= stop - 0.5)
        if inside.any():
            return float(profile[inside].mean())
        return float(np.interp((start + stop - 1) / 2, centres[known], profile[known]))

    windows = _nearest(lines, int(lines[-1]) + 1)
    at_lines = np.array([level(start, stop) for start, stop in windows])
    wrong = known & (np.abs(profile - np.interp(centres, lines, at_lines)) > _STEP)
    intervals = np.unique(np.clip(np.searchsorted(lines, centres[wrong]) - 1, 0, len(lines) - 2))
    return [
        float(np.floor((lines[i] + lines[i + 1]) / 2))
        for i in intervals
        if lines[i + 1] - lines[i] >= 2 * MIN_SPACING
    ]


def _nan_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean along the last axis of what is not NaN; NaN where there is nothing."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))
