"""Where filters are evaluated: the nodes of a grid, dense where noise levels or kernel change."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor import words
from diffdecor.config import DecorrelationConfig
from diffdecor.core.convolve import best_side
from diffdecor.core.planes import Window
from diffdecor.core.psf import adaptive_fwhm
from diffdecor.decorrelation.block_levels import BLOCK, block_log_ratios
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.errors import ConfigError

log = words.logger(__name__)

#: Smallest spacing of nodes, pixels: about the half width of a filter, which blurs steps anyway.
MIN_SPACING = 16
#: Most nodes of a refined grid: their filters are kept in memory, and written.
MAX_NODES = 4096
#: Smaller images have one in 36 x 36 pixels, or 1024 of them: more would cost more than all the
#: rest, and hardly whiten better (2026-11, levels that step by 10 every 50 pixels).
_PIXELS_PER_NODE, _FEW_NODES = 36 * 36, 1024
#: More cells or nodes than this are a mistake in an option.
MOST_CELLS = 50_000
#: Filters reach about as far as the matching kernel is wide, or these pixels more. From this
#: spacing on it matters that tiles fit their transforms; below it, nodes cost more.
_MORE, _FITTED = 3, 200
#: Deviation of the natural logarithm of a noise level that requires closer nodes.
_STEP = 0.05
#: Sizes are bounded by this, pixels, so that numpy's integers hold them.
_LARGEST = float(1 << 30)


@dataclass(frozen=True, eq=False)
class Places:
    """The n places at which filters are evaluated: nodes row by row, or cells in one row."""

    #: Rising 0-based pixel positions of the columns and rows of nodes, or the numbers of cells.
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    #: 0-based ``(x, y)`` at which the matching kernel is evaluated ``(n, 2)``.
    positions: NDArray[np.float64]
    #: Where the noise level of every place is measured.
    windows: Sequence[Window]
    #: Pixels that take the level, and are flagged if it is a substitute.
    served: Sequence[Window]
    #: Whether noise levels change faster than the places follow.
    bounded: bool = False


def place_nodes(subtraction: Subtraction) -> Places:
    """Return one place for the whole image, or the nodes that the options ask for."""
    if subtraction.config.mode == "whole":
        x, y = np.array(centre_of(subtraction)).reshape(2, 1)
        nodes = Nodes(x, y, subtraction.shape)
        windows = nodes.windows()
    else:
        nodes = _grid_nodes(subtraction)
        windows = _node_windows(nodes, subtraction)
    return Places(nodes.x, nodes.y, nodes.positions(), windows, windows, nodes.bounded)


def _grid_nodes(subtraction: Subtraction) -> Nodes:
    """Return nodes that follow the noise levels, with both sides of every jump of the kernel."""
    boxes, config, shape = subtraction.kernel.boxes, subtraction.config, subtraction.shape
    if config.grid_step is None:
        sides = (min(box.xmax - box.xmin, box.ymax - box.ymin) + 1 for box in boxes)
        most = largest_spacing(shape, min(sides, default=None))
        spacing = (float(_fitting(most, max(subtraction.kernel.shape))),) * 2
    else:
        unit = size_unit(subtraction)
        spacing = (in_pixels(config.grid_step[0], unit), in_pixels(config.grid_step[1], unit))
        check_number(shape[1] / spacing[0] * shape[0] / spacing[1])
    breaks = (
        [edge for box in boxes for edge in (box.xmin - 1, box.xmax)],
        [edge for box in boxes for edge in (box.ymin - 1, box.ymax)],
    )
    nodes = nodes_for(shape, spacing, block_log_ratios(subtraction), breaks)
    if nodes.bounded:
        log.warning(
            "%s: the noise levels change in more places than %d filters follow; they follow the "
            "largest steps. Cut the image into parts, or see whether a noise plane is itself noisy",
            subtraction.difference.name,
            most_nodes(shape),
        )
    return nodes


def _node_windows(nodes: Nodes, subtraction: Subtraction) -> list[Window]:
    """Return the windows in which the noise levels of the nodes are measured."""
    cell_size = subtraction.config.cell_size
    if cell_size is None:
        return nodes.windows()
    unit = size_unit(subtraction)
    half_x, half_y = (max(1, round(in_pixels(size, unit) / 2)) for size in cell_size)
    return [
        Window(int(x) - half_x, int(x) + half_x + 1, int(y) - half_y, int(y) + half_y + 1).within(
            nodes.shape
        )
        for x, y in nodes.positions()
    ]


def centre_of(subtraction: Subtraction) -> tuple[float, float]:
    """Return the 0-based position ``(x, y)`` whose kernel stands for the image."""
    config = subtraction.config
    return config.kernel_position or middle_of(Window.whole(subtraction.shape), config)


def middle_of(window: Window, config: DecorrelationConfig) -> tuple[float, float]:
    """Return the 0-based position whose kernel stands for a window: its middle.

    Zero edges reproduce LSST's code, whose middle lies half a pixel too far along both axes.
    """
    beyond = 0.0 if config.edges == "zero" else 1.0
    return (window.x0 + window.x1 - beyond) / 2, (window.y0 + window.y1 - beyond) / 2


def size_unit(subtraction: Subtraction) -> float:
    """Return the unit of grid sizes in pixels: the PSF FWHM as LSST measures it, or 1."""
    if not subtraction.config.scale_by_fwhm:
        return 1.0
    psf = subtraction.psf
    fwhm = math.nan if psf is None else adaptive_fwhm(psf.stamp(*centre_of(subtraction)))
    if not math.isfinite(fwhm):
        given = "--difference-psf" if subtraction.is_alone else "--difference-psf or --science-psf"
        msg = (
            f"grid sizes are in units of the PSF FWHM, but there is no PSF; give {given}, or sizes "
            "in pixels with --no-scale-by-fwhm"
        )
        raise ConfigError(msg)
    return fwhm


def check_number(cells: float) -> None:
    """Refuse a grid that would take days, before it is made."""
    if cells > MOST_CELLS:
        msg = (
            f"the grid would have about {cells:.0f} cells or nodes, {MOST_CELLS} are allowed; "
            "give a larger --grid-step, and mind its unit (--no-scale-by-fwhm: pixels)"
        )
        raise ConfigError(msg)


def in_pixels(size: float, unit: float = 1.0) -> float:
    """Return a size in pixels, bounded by `_LARGEST`."""
    return min(size * unit, _LARGEST)


@dataclass(frozen=True, eq=False)
class Nodes:
    """A rectilinear grid of nodes in an image of shape ``(ny, nx)``."""

    #: Rising 0-based pixel positions of its columns and rows.
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    shape: tuple[int, int]
    #: Whether levels change faster than `most_nodes` can follow.
    bounded: bool = False

    def positions(self) -> NDArray[np.float64]:
        """Return ``(x, y)`` of every node ``(n, 2)``, row by row."""
        x, y = np.meshgrid(self.x, self.y)
        return np.column_stack([x.ravel(), y.ravel()])

    def windows(self) -> list[Window]:
        """Return the window of pixels nearest to every node, row by row."""
        columns, rows = _nearest(self.x, self.shape[1]), _nearest(self.y, self.shape[0])
        return [Window(*column, *row) for row in rows for column in columns]


def _nearest(nodes: NDArray[np.float64], length: int) -> list[tuple[int, int]]:
    """Return the range of pixels nearest to every node; never empty."""
    middles = np.ceil((nodes[:-1] + nodes[1:]) / 2).astype(int).tolist()
    return list(zip([0, *middles], [*middles, length], strict=True))


def largest_spacing(shape: tuple[int, int], region: int | None = None) -> int:
    """Return the spacing of nodes, pixels, that follows any polynomial kernel of low order closely.

    It is an eighth of the shorter axis, from 64 to 216 pixels, which with the margins of filters of
    half width 20 makes a transform of 256. In large images it is more, up to a 25th of `region`,
    the shortest side of a region in which the kernel is one polynomial (by default the image's).
    """
    shortest = min(shape)
    most = max(216, (shortest if region is None else region) // 25)
    return int(np.clip(shortest // 8, 64, most))


def _fitting(spacing: int, kernel_size: int) -> int:
    """Return a spacing of nodes, or a slightly smaller one whose tiles waste less of transforms."""
    if spacing < _FITTED:
        return spacing
    return best_side(spacing, 2 * (kernel_size + _MORE))


def subdivided(nodes: NDArray[np.float64], length: int, spacing: float) -> NDArray[np.float64]:
    """Return nodes, first and last pixel, and evenly spaced ones between where these are far apart.

    No two of them are more than about `spacing` pixels apart.
    """
    ends = np.unique(np.concatenate([[0.0], nodes, [length - 1.0]]))
    lines = [ends]
    for first, last in itertools.pairwise(ends.tolist()):
        parts = math.ceil((last - first - 1) / spacing)
        lines.append(np.linspace(first, last, max(1, parts) + 1))
    return np.unique(np.concatenate(lines))


def most_nodes(shape: tuple[int, int]) -> int:
    """Return the most nodes of a refined grid in an image ``(ny, nx)``."""
    return int(np.clip(math.prod(shape) // _PIXELS_PER_NODE, _FEW_NODES, MAX_NODES))


def nodes_for(
    shape: tuple[int, int],
    spacing: tuple[float, float],
    levels: NDArray[np.float64],
    breaks: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Nodes:
    """Return nodes that are dense where noise levels step, and sparse elsewhere.

    They are at most `spacing` ``(x, y)`` pixels apart; the first and last lie on the outermost
    pixels. Between two columns of nodes a level is interpolated linearly. Where the logarithms of
    the levels of blocks, `levels` ``(nlevels, by, bx)``, NaN where unknown, deviate from that by
    more than 5 per cent, the interval is halved, down to `MIN_SPACING` and up to `most_nodes`,
    where they deviate most; rows likewise. The kernel may jump after the pixels `breaks` (x, then
    y): nodes lie on either side.
    """
    ny, nx = shape
    first = _lines(nx, spacing[0], breaks[0]), _lines(ny, spacing[1], breaks[1])
    x, y = first
    while True:
        in_x, in_y = _wanted(x, y, levels)
        if not in_x and not in_y:
            return Nodes(x, y, shape)
        if (len(x) + len(in_x)) * (len(y) + len(in_y)) > most_nodes(shape):
            return Nodes(*_worst_first(*first, levels, most_nodes(shape)), shape, bounded=True)
        x, y = _with(x, in_x), _with(y, in_y)


def _wanted(
    x: NDArray[np.float64], y: NDArray[np.float64], levels: NDArray[np.float64]
) -> tuple[dict[float, float], dict[float, float]]:
    """Return the columns and rows at which nodes are missing, with how far levels deviate there."""
    by, bx = ((np.arange(n, dtype=np.float64) + 0.5) * BLOCK - 0.5 for n in levels.shape[1:])
    return _halved(x, y, levels.transpose(0, 2, 1), bx, by), _halved(y, x, levels, by, bx)


def _with(lines: NDArray[np.float64], more: Iterable[float]) -> NDArray[np.float64]:
    """Return lines with others among them."""
    return np.unique(np.concatenate([lines, list(more)]))


def _worst_first(
    x: NDArray[np.float64], y: NDArray[np.float64], levels: NDArray[np.float64], most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Add the lines where levels deviate most, as long as there are no more than `most` nodes.

    Those of at least half the largest deviation are added together, then it is measured again.
    """
    lines, full = [x, y], False
    while not full:
        wanted = [
            (size, axis, place)
            for axis, places in enumerate(_wanted(lines[0], lines[1], levels))
            for place, size in places.items()
        ]
        full = True
        for size, axis, place in sorted(wanted, reverse=True):
            there = (len(lines[axis]) + 1) * len(lines[1 - axis]) <= most
            if there and size >= max(wanted)[0] / 2:
                lines[axis], full = _with(lines[axis], [place]), False
    return lines[0], lines[1]


def _lines(length: int, spacing: float, breaks: Sequence[int]) -> NDArray[np.float64]:
    """Return evenly spaced lines from first to last pixel, and those on either side of breaks."""
    count = max(1, math.ceil((length - 1) / spacing))
    lines = np.linspace(0, length - 1, count + 1).round()
    sides = [side for edge in breaks for side in (edge, edge + 1) if 0 <= side < length]
    return np.unique(np.concatenate([lines, sides]))


def _halved(
    lines: NDArray[np.float64],
    across: NDArray[np.float64],
    levels: NDArray[np.float64],
    centres: NDArray[np.float64],
    centres_across: NDArray[np.float64],
) -> dict[float, float]:
    """Return the middles of intervals of `lines` in which levels are not linear, and how far off.

    The levels are ``(nlevels, along, across)``. They are averaged across each interval of the other
    axis, which reduces their noise.
    """
    new: dict[float, float] = {}
    for start, stop in itertools.pairwise(across if len(across) > 1 else [-np.inf, np.inf]):
        inside = (centres_across >= start) & (centres_across <= stop)
        if inside.any():
            for profile in _nan_mean(levels[:, :, inside]):
                for place, size in _not_linear(lines, centres, profile):
                    new[place] = max(size, new.get(place, 0.0))
    return new


def _not_linear(
    lines: NDArray[np.float64], centres: NDArray[np.float64], profile: NDArray[np.float64]
) -> list[tuple[float, float]]:
    """Return the middles of the intervals in which a profile is not linear, and the deviations."""
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
    off = np.where(known, np.abs(profile - np.interp(centres, lines, at_lines)), 0.0)
    interval = np.clip(np.searchsorted(lines, centres) - 1, 0, len(lines) - 2)
    return [
        (float(np.floor((lines[i] + lines[i + 1]) / 2)), float(off[interval == i].max()))
        for i in np.unique(interval[off > _STEP])
        if lines[i + 1] - lines[i] >= 2 * MIN_SPACING
    ]


def _nan_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean along the last axis of what is not NaN; NaN where all is."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))
