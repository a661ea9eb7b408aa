"""LSST's way with a varying kernel: separate cells, each a run of its own, then a reducer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.core.planes import CachedPlane, LazyPlane, Plane, windowed
from diffdecor.decorrelation.filtering import Field, Triple, filtered, result_variance
from diffdecor.decorrelation.mask import unusable_pixels
from diffdecor.decorrelation.nodes import Cell, Window, cells_at, regular_cells
from diffdecor.errors import ConfigError
from diffdecor.kernels.model import Box

CELL_SIZE, GRID_STEP = 41.0, 40.0
"""LSST's defaults, in units of the PSF FWHM."""
MOST_CELLS = 50_000
"""More cells or nodes than that are a mistake in an option."""
_LARGEST = float(1 << 30)


def cells_for(
    shape: tuple[int, int], config: DecorrelationConfig, fwhm: float | None
) -> list[Cell]:
    """Return the cells that a configuration asks for.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the image.
    config : DecorrelationConfig
        Sizes, their unit, centroids.
    fwhm : float, optional
        FWHM of the difference's PSF, pixels, if it is known.

    Returns
    -------
    list of Cell
        In LSST's order: x outer, y inner; or that of the centroids.

    Raises
    ------
    ConfigError
        If sizes are in units of a FWHM that is not known, or no cell meets the image.
    """
    size = config.cell_size or (CELL_SIZE, CELL_SIZE)
    step = config.grid_step or (GRID_STEP, GRID_STEP)
    if isinstance(config.cell_centroids, tuple):
        cells = cells_at(
            list(config.cell_centroids), _truncated(size), _truncated(config.cell_border), shape
        )
    else:
        unit = fwhm_unit(config, fwhm)
        steps = _rounded(step, unit)
        check_number(shape[1] / steps[0] * shape[0] / steps[1])
        cells = regular_cells(
            shape,
            _rounded(size, unit),
            steps,
            _rounded(config.cell_border, unit, least=0),
            config.adjust_grid,  # type: ignore[arg-type]
        )
    if not cells:
        msg = f"no cell meets the image of {shape[1]} x {shape[0]} pixels; check the centroids"
        raise ConfigError(msg)
    return cells


def fwhm_unit(config: DecorrelationConfig, fwhm: float | None) -> float:
    """Return the unit of grid sizes in pixels: the PSF FWHM, or 1.

    Raises
    ------
    ConfigError
        If the FWHM is asked for and not known.
    """
    if not config.scale_by_fwhm:
        return 1.0
    if fwhm is None or not np.isfinite(fwhm):
        msg = (
            "grid sizes are in units of the PSF FWHM, but there is no PSF; give --difference-psf "
            "or --science-psf, or sizes in pixels with --no-scale-by-fwhm"
        )
        raise ConfigError(msg)
    return fwhm


def check_number(cells: float) -> None:
    """Refuse a grid that would keep the computer busy for days, before it is made.

    Parameters
    ----------
    cells : float
        How many cells or nodes it has, roughly.

    Raises
    ------
    ConfigError
        If they are more than anybody can mean.
    """
    if cells > MOST_CELLS:
        msg = (
            f"the grid would have some {cells:.0f} cells or nodes, {MOST_CELLS} are allowed; "
            "give a larger --grid-step, and mind its unit (--no-scale-by-fwhm: pixels)"
        )
        raise ConfigError(msg)


def in_pixels(size: float, unit: float = 1.0) -> float:
    """Return a size in pixels, bounded beyond every image so that it stays a sane number."""
    return min(size * unit, _LARGEST)


def _rounded(pair: tuple[float, float], unit: float, least: int = 1) -> tuple[int, int]:
    """Scale sizes and round them, half to even."""
    x, y = (max(least, round(in_pixels(size, unit))) for size in pair)
    return x, y


def _truncated(pair: tuple[float, float]) -> tuple[int, int]:
    return int(in_pixels(pair[0])), int(in_pixels(pair[1]))


def middle_of(window: Window, config: DecorrelationConfig) -> tuple[float, float]:
    """Return the 0-based position whose kernel stands for a window: its middle.

    Zero edges, which reproduce LSST's code, take its half pixel too much along.
    """
    beyond = 0.0 if config.edges == "zero" else 1.0
    return (window.x0 + window.x1 - beyond) / 2, (window.y0 + window.y1 - beyond) / 2


@dataclass(frozen=True, eq=False)
class CellResult:
    """The result in one cell.

    Parameters
    ----------
    window : Window
        Its pixels.
    image, variance : plane (ny, nx)
        Result and variance in them.
    """

    window: Window
    image: Plane
    variance: Plane

    def in_memory(self) -> CellResult:
        """Return the same with arrays."""
        return replace(self, image=np.asarray(self.image), variance=np.asarray(self.variance))


def decorrelated_cells(
    triple: Triple,
    cells: Sequence[Cell],
    field: Field,
    boxes: Sequence[Box],
    config: DecorrelationConfig,
    dtype: DTypeLike,
) -> list[CellResult]:
    """Decorrelate every cell by itself, always from pristine input, as its rows are read.

    With zero edges a cell sees zeros beyond its border, as in LSST's code; else what lies there.

    Parameters
    ----------
    triple : Triple
        The exposures; their planes had better remember rows, which cells side by side share.
    cells : sequence of Cell
        The cells.
    field : Field
        Filter and noise of every cell, as if in one row.
    boxes : sequence of Box
        Where there is a matching kernel.
    config : DecorrelationConfig
        Everything else.
    dtype : data type
        Type of the variance.

    Returns
    -------
    list of CellResult
        In the order of the cells.
    """
    reach = field.filters.shape[-1] // 2 + max(
        max(member.stamps.shape[1:])
        for side in (field.science, field.template)
        for member in side.members
    )
    results = []
    for number, cell in enumerate(cells):
        window = cell.outer if config.edges == "zero" else _grown(cell.inner, reach, triple.shape)
        at = slice(number, number + 1)
        one = Field(
            np.zeros(1), np.zeros(1), field.filters[at], field.science[at], field.template[at]
        )
        image, variance = _planes(triple.through(window), window, one, boxes, config, dtype)
        results.append(
            CellResult(
                cell.inner,
                _part(image, cell.inner, window),
                _part(variance, cell.inner, window),
            )
        )
    return results


def _planes(
    piece: Triple,
    window: Window,
    one: Field,
    boxes: Sequence[Box],
    config: DecorrelationConfig,
    dtype: DTypeLike,
) -> tuple[LazyPlane, LazyPlane]:
    """Return result and variance of a window.

    They are prepared anew whenever rows are read: there may be thousands of cells.
    """

    def image(rows: slice) -> NDArray[Any]:
        bad = CachedPlane(unusable_pixels(piece, [_shifted(box, window) for box in boxes], config))
        return filtered(piece.difference, bad, one, config)[0][rows]

    def variance(rows: slice) -> NDArray[Any]:
        return result_variance(piece, one, config, dtype)[rows]

    return LazyPlane(piece.shape, image), LazyPlane(piece.shape, variance)


def _part(plane: Plane, inner: Window, window: Window) -> LazyPlane:
    """Return the part of a window's plane that its cell has."""
    rows, columns = (
        slice(start - first, stop - first)
        for start, stop, first in (
            (inner.y0, inner.y1, window.y0),
            (inner.x0, inner.x1, window.x0),
        )
    )
    return windowed(plane, rows, columns)


def _grown(window: Window, reach: int, shape: tuple[int, int]) -> Window:
    """Return a window with a margin, within the image."""
    return Window(
        max(0, window.x0 - reach),
        min(shape[1], window.x1 + reach),
        max(0, window.y0 - reach),
        min(shape[0], window.y1 + reach),
    )


def _shifted(box: Box, window: Window) -> Box:
    """Return a box in the coordinates of a window."""
    return Box(
        box.xmin - window.x0, box.xmax - window.x0, box.ymin - window.y0, box.ymax - window.y0
    )


def reduced_cells(
    cells: Sequence[CellResult], shape: tuple[int, int], blend: str
) -> tuple[LazyPlane, LazyPlane]:
    """Make one image of the cells, as LSST's reducers do; NaN where there is no cell.

    Parameters
    ----------
    cells : sequence of CellResult
        The cells.
    shape : tuple of int
        ``(ny, nx)`` of the image.
    blend : {"average", "copy", "sum", "none"}
        ``copy``: later cells overwrite; ``average`` (and ``none``): mean of the cells whose image
        and variance are not NaN; ``sum``: their sum.

    Returns
    -------
    image, variance : LazyPlane
        The planes; rows of either cost nothing once the other's have been read.
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

    Cells side by side are worked out one after the other: they share the rows that are read.
    """
    here = [cell for cell in cells if cell.window.y0 < rows.stop and rows.start < cell.window.y1]
    found = {}
    for number in sorted(range(len(here)), key=lambda number: here[number].window.y0):
        cell = here[number]
        start, stop = max(rows.start, cell.window.y0), min(rows.stop, cell.window.y1)
        inside = slice(start - cell.window.y0, stop - cell.window.y0)
        place = slice(start - rows.start, stop - rows.start), cell.window.columns
        found[number] = place, np.stack([cell.image[inside], cell.variance[inside]], axis=1)
    return [found[number] for number in range(len(here))]
