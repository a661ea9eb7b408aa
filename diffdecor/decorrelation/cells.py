"""LSST's treatment of a varying kernel: separate cells, each decorrelated alone, and a reducer."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.planes import CachedPlane, LazyPlane, Plane, Window, bands, windowed
from diffdecor.decorrelation.filtering import FilterGrid, filter_image, propagate_variance
from diffdecor.decorrelation.nodes import Places, check_number, in_pixels, middle_of, size_unit
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.errors import ConfigError

log = logging.getLogger(__name__)

#: LSST's defaults, in units of the PSF FWHM.
CELL_SIZE, GRID_STEP = 41.0, 40.0
#: Share of the pixels that cells leave out by mistake, it seems.
_MOST = 0.5


@dataclass(frozen=True)
class Cell:
    """A cell as LSST's map-reduce defines it: where the result goes, and where it comes from."""

    #: Pixels that the cell serves.
    inner: Window
    #: The cell with its border, from which noise levels are taken.
    outer: Window


def place_cells(subtraction: Subtraction) -> Places:
    """Return the places of LSST's cells, numbered in one row."""
    config, cells = subtraction.config, cells_for(subtraction)
    return Places(
        x=np.arange(len(cells), dtype=np.float64),
        y=np.zeros(1),
        positions=np.array([middle_of(cell.outer, config) for cell in cells]),
        windows=[cell.outer for cell in cells],
        served=[cell.inner for cell in cells],
    )


def cells_for(subtraction: Subtraction) -> list[Cell]:
    """Return the cells of the options: a grid, x outer and y inner, or in centroid order."""
    config, shape = subtraction.config, subtraction.shape
    size = config.cell_size or (CELL_SIZE, CELL_SIZE)
    if isinstance(config.cell_centroids, tuple):
        centroids, border = list(config.cell_centroids), _truncated(config.cell_border)
        cells = cells_at(centroids, _truncated(size), border, shape)
    else:
        unit = size_unit(subtraction)
        step = _rounded(config.grid_step or (GRID_STEP, GRID_STEP), unit)
        check_number(shape[1] / step[0] * shape[0] / step[1])
        border, adjust = _rounded(config.cell_border, unit, least=0), config.adjust_grid
        cells = regular_cells(shape, _rounded(size, unit), step, border, adjust)
    if not cells:
        msg = f"no cell meets the image of {shape[1]} x {shape[0]} pixels; check the centroids"
        raise ConfigError(msg)
    return cells


def _rounded(pair: tuple[float, float], unit: float, least: int = 1) -> tuple[int, int]:
    """Scale sizes and round them, half to even."""
    x, y = (max(least, round(in_pixels(size, unit))) for size in pair)
    return x, y


def _truncated(pair: tuple[float, float]) -> tuple[int, int]:
    return int(in_pixels(pair[0])), int(in_pixels(pair[1]))


def axis_centres(length: int, size: int, step: int, adjust: str) -> tuple[list[float], int]:
    """Return the 0-based centres of LSST's cells along one axis, and the cell size, pixels.

    ``spacing`` moves the centres so that cells fill the axis, ``size`` makes cells as large as the
    step, ``none`` changes neither.
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
    if (stop - start) % 2 == 0:
        return start, stop
    return (start, stop + 1) if stop < length else (max(0, start - 1), stop)


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
    """Return the cells around 0-based centres, without those that miss the image ``(ny, nx)``.

    Size and border are ``(x, y)`` pixels.
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
    adjust: str,
) -> list[Cell]:
    """Return LSST's grid of cells, x outer and y inner; sizes are ``(x, y)`` pixels."""
    ny, nx = shape
    xs, size_x = axis_centres(nx, size[0], step[0], adjust)
    ys, size_y = axis_centres(ny, size[1], step[1], adjust)
    return cells_at([(x, y) for x in xs for y in ys], (size_x, size_y), border, shape)


@dataclass(frozen=True, eq=False)
class CellResult:
    """Result and variance ``(ny, nx)`` in the pixels of one cell."""

    window: Window
    image: Plane
    variance: Plane

    def in_memory(self) -> CellResult:
        """Return the same with arrays."""
        return replace(self, image=np.asarray(self.image), variance=np.asarray(self.variance))


def decorrelate_cells(
    subtraction: Subtraction, unusable: Plane, filters: FilterGrid, places: Places
) -> list[CellResult]:
    """Decorrelate every cell alone, from the unchanged input, as its rows are read.

    With zero edges a cell sees zeros beyond its border, as in LSST's code; else the pixels there.
    Planes should cache the rows read last, which adjacent cells share.
    """
    shape, zero_edges = subtraction.shape, subtraction.config.edges == "zero"
    members = (*filters.science.members, *filters.template.members)
    reach = filters.half_width + max(max(member.stamps.shape[1:]) for member in members)
    results = []
    for number, (inner, outer) in enumerate(zip(places.served, places.windows, strict=True)):
        window = outer if zero_edges else inner.grown(reach).within(shape)
        planes = _planes(subtraction, unusable, filters.only(number), window)
        # The cell within the window that it is computed from.
        cell = inner.relative_to(window)
        results.append(CellResult(inner, *(windowed(plane, cell) for plane in planes)))
    return results


def _planes(
    subtraction: Subtraction, unusable: Plane, one: FilterGrid, window: Window
) -> tuple[LazyPlane, LazyPlane]:
    """Return result and variance of a window.

    They are set up at each read, not kept: there may be thousands of cells.
    """

    def inside(plane: Plane) -> LazyPlane:
        return windowed(plane, window)

    def image(rows: slice) -> NDArray[Any]:
        return filter_image(subtraction.with_planes(inside), inside(unusable), one)[0][rows]

    def variance(rows: slice) -> NDArray[Any]:
        return propagate_variance(subtraction.with_planes(inside), one)[rows]

    return LazyPlane(window.shape, image), LazyPlane(window.shape, variance)


def not_served(cells: Sequence[Window], shape: tuple[int, int], name: str) -> LazyPlane | None:
    """Return True for pixels ``(ny, nx)`` in no cell, which have no result; None if all are in one.

    Warns if these are most of them.
    """

    def rows_of(rows: slice) -> NDArray[np.bool_]:
        missing = np.ones((rows.stop - rows.start, shape[1]), dtype=bool)
        for cell in cells:
            first, last = (max(0, y - rows.start) for y in (cell.y0, cell.y1))
            missing[first:last, cell.columns] = False
        return missing

    plane = LazyPlane(shape, rows_of)
    share = sum(int(plane[rows].sum()) for rows in bands(shape)) / (shape[0] * shape[1])
    if share > _MOST:
        log.warning(
            "%s: no cell serves %.0f%% of the pixels, which have no result (NaN, NO_DATA); give "
            "more centroids, or larger cells",
            name,
            100 * share,
        )
    return plane if share else None


def reduce_cells(
    cells: Sequence[CellResult], shape: tuple[int, int], blend: str
) -> tuple[LazyPlane, LazyPlane]:
    """Make one image and variance ``(ny, nx)`` of the cells, as LSST's reducers do.

    With ``copy`` later cells overwrite; ``average`` (and ``none``) is the mean of the cells whose
    image and variance are not NaN, ``sum`` the sum of all. NaN where there is no cell. Rows of
    either plane cost nothing once the other's have been read.
    """
    both = CachedPlane(LazyPlane(shape, lambda rows: _reduced(cells, rows, shape[1], blend)))
    return (
        LazyPlane(shape, lambda rows: both[rows][:, 0]),
        LazyPlane(shape, lambda rows: both[rows][:, 1]),
    )


def _reduced(cells: Sequence[CellResult], rows: slice, nx: int, blend: str) -> NDArray[np.float64]:
    """Return rows of image and variance made of the cells, ``(n, 2, nx)``."""
    total = np.zeros((rows.stop - rows.start, 2, nx))
    count = np.zeros((len(total), nx), dtype=int)
    for (lines, columns), pixels in _pixels(cells, rows):
        if blend == "copy":
            total[lines, :, columns], count[lines, columns] = pixels, 1
            continue
        known = ~np.isnan(pixels).any(axis=1)
        if blend == "sum":
            known[:] = True
        total[lines, :, columns] += np.where(known[:, np.newaxis], pixels, 0.0)
        count[lines, columns] += known
    divisor = np.where(count > 0, count if blend in {"average", "none"} else 1, np.nan)
    return np.asarray(total / divisor[:, np.newaxis])


def _pixels(
    cells: Sequence[CellResult], rows: slice
) -> list[tuple[tuple[slice, slice], NDArray[Any]]]:
    """Return where cells lie in some rows, and image and variance there, in the cells' order.

    Adjacent cells are computed one after the other: they share the rows that are read.
    """
    here = [cell for cell in cells if cell.window.y0 < rows.stop and rows.start < cell.window.y1]
    found = {}
    for number, cell in sorted(enumerate(here), key=lambda pair: pair[1].window.y0):
        first, last = cell.window.y0, cell.window.y1
        start, stop = max(rows.start, first), min(rows.stop, last)
        inside = slice(start - first, stop - first)
        place = slice(start - rows.start, stop - rows.start), cell.window.columns
        found[number] = place, np.stack([cell.image[inside], cell.variance[inside]], axis=1)
    return [found[number] for number in range(len(here))]
