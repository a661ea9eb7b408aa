"""Everything of a decorrelation that is known before its pixels are worked out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.core.kernelfield import KernelField
from diffdecor.core.parallel import cores
from diffdecor.core.planes import (
    CachedPlane,
    Count,
    LazyPlane,
    Plane,
    Target,
    bands,
    copy_planes,
)
from diffdecor.core.psf import adaptive_fwhm
from diffdecor.core.variance import single_holds
from diffdecor.core.whitening import compact_filters
from diffdecor.decorrelation.cells import (
    CellResult,
    cells_for,
    check_number,
    decorrelated_cells,
    fwhm_unit,
    in_pixels,
    middle_of,
    reduced_cells,
)
from diffdecor.decorrelation.filtering import Field, Triple, filtered, result_variance
from diffdecor.decorrelation.mask import inherited_mask, result_mask, unusable_pixels
from diffdecor.decorrelation.metrics import psf_of_result, significance_psf
from diffdecor.decorrelation.nodes import Nodes, Window, largest_spacing, nodes_for
from diffdecor.decorrelation.noise_levels import (
    NoiseLevels,
    block_log_ratios,
    noise_levels,
)
from diffdecor.decorrelation.subtraction import Member, Way, with_known_scales
from diffdecor.decorrelation.validation import (
    as_kernel,
    as_psf,
    check,
    empty_input,
    without_empty_variance,
)
from diffdecor.decorrelation.variances import BLOCK
from diffdecor.images.model import Exposure
from diffdecor.kernels.model import MatchingKernel
from diffdecor.psfs.model import PointSpreadFunction

log = logging.getLogger(__name__)

_BYTES = 64
"""Memory that a thread takes for every pixel of the band of rows it works on, roughly."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Filtering:
    """How the pixels of a difference are to be filtered.

    Parameters
    ----------
    way : Way
        The ways of both images into the difference.
    field : Field
        Filters, and both sides of the noise.
    positions : array (n, 2)
        0-based ``(x, y)`` of every filter.
    fallbacks : int
        Number of positions whose noise levels are not their own.
    detection : KernelField, optional
        PSF that the significance of point sources is measured with, where it is asked for.
    """

    way: Way
    field: Field
    positions: NDArray[np.float64]
    fallbacks: int
    detection: KernelField | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """A decorrelation whose pixels are worked out when they are read.

    Parameters
    ----------
    triple : Triple
        The exposures.
    exposure : Exposure
        The result: its planes are worked out when their rows are read.
    filled : plane (ny, nx)
        True where a pixel holds no sky, and was filled.
    bands : sequence of slice
        Rows that are best read together.
    config : DecorrelationConfig
        Threads and memory.
    filtering : Filtering, optional
        How; None if there is nothing to filter, and the difference stays as it is.
    cells : tuple of CellResult
        The separate cells, where ``blend`` is ``none``.
    """

    triple: Triple
    exposure: Exposure
    filled: Plane
    bands: Sequence[slice]
    config: DecorrelationConfig
    filtering: Filtering | None = None
    cells: tuple[CellResult, ...] = ()

    @property
    def threads(self) -> int:
        """How many bands may be worked on at a time."""
        nx = self.triple.shape[1]
        tallest = max(rows.stop - rows.start for rows in self.bands)
        affordable: int = self.config.max_memory // (_BYTES * tallest * nx)
        return max(1, min(self.config.threads or cores(), affordable))

    def into(self, image: Target, mask: Target | None, variance: Target | None) -> int:
        """Work out all pixels, and put them where they belong.

        Parameters
        ----------
        image, mask, variance : target (ny, nx)
            Where the planes of the result go; None for those that it has not.

        Returns
        -------
        int
            Number of pixels that were filled.
        """
        filled = Count()
        exposure = self.exposure
        pairs: list[tuple[Plane, Target]] = [(exposure.image, image)]
        if exposure.mask is not None and mask is not None:
            pairs.append((exposure.mask, mask))
        if exposure.variance is not None and variance is not None:
            pairs.append((exposure.variance, variance))
        copy_planes([*pairs, (self.filled, filled)], self.bands, self.threads)
        return filled.number


def prepare(  # noqa: PLR0913  those of decorrelate()
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    kernel: MatchingKernel | ArrayLike | None,
    *,
    config: DecorrelationConfig | None = None,
    preconvolution: PointSpreadFunction | ArrayLike | None = None,
    science_members: Sequence[Member] = (),
    template_members: Sequence[Member] = (),
) -> Prepared:
    """Measure the noise and make the filters; the pixels are worked out when they are wanted.

    Parameters
    ----------
    science, template, difference, kernel, config, preconvolution, science_members, template_members
        As for `diffdecor.decorrelate`.

    Returns
    -------
    Prepared
        Everything but the pixels.

    Raises
    ------
    ConfigError
        If options contradict each other or what the exposures have.
    InputError
        If shapes disagree or noise levels cannot be known; `KernelError` if the kernel cannot be
        used.
    """
    config = config or DecorrelationConfig()
    kernel = as_kernel(kernel)
    config = with_known_scales(config, kernel, difference.shape)
    triple = Triple(
        without_empty_variance(science, config.science_variance),
        without_empty_variance(template, config.template_variance),
        difference,
        science_stack=tuple(member.exposure for member in science_members),
        template_stack=tuple(member.exposure for member in template_members),
    )
    check(triple, kernel, config)
    empty = empty_input(triple)
    if empty:
        log.warning("%s: every pixel is NaN; the difference is returned as it is", empty)
        return _unchanged(triple, config)
    way = Way(
        kernel,
        config,
        as_psf(preconvolution) or science.psf,
        science_members=tuple(science_members),
        template_members=tuple(template_members),
    )
    if config.mode == "grid" and config.blend != "interpolate":
        return _by_cells(triple, way, config)
    return _by_nodes(triple, way, config)


def _unchanged(triple: Triple, config: DecorrelationConfig) -> Prepared:
    """Return the difference as it is, flagged where it has no data."""
    difference = triple.difference
    before, planes = inherited_mask(triple)
    planes = planes.adding("NO_DATA")

    def read(rows: slice) -> NDArray[np.int32]:
        mask = np.array(before[rows], dtype=np.int32)
        mask[~np.isfinite(difference.image[rows])] |= planes.value(["NO_DATA"])
        return mask

    return Prepared(
        triple=triple,
        exposure=replace(difference, mask=LazyPlane(triple.shape, read), mask_planes=planes),
        filled=LazyPlane(triple.shape, lambda rows: ~np.isfinite(difference.image[rows])),
        bands=bands(triple.shape),
        config=config,
    )


def centre_of(shape: tuple[int, int], config: DecorrelationConfig) -> tuple[float, float]:
    """Return the 0-based position ``(x, y)`` whose kernel stands for the image."""
    if config.kernel_position is not None:
        return config.kernel_position
    return middle_of(Window(0, shape[1], 0, shape[0]), config)


def _by_nodes(triple: Triple, way: Way, config: DecorrelationConfig) -> Prepared:
    """Prepare one filter, or filters on nodes and smoothly between them."""
    ny, nx = triple.shape
    if config.mode == "whole":
        x, y = centre_of(triple.shape, config)
        nodes = Nodes(np.array([x]), np.array([y]), triple.shape)
        windows = [Window(0, nx, 0, ny)]
    else:
        nodes = _nodes(triple, way, config)
        windows = _windows(nodes, config, _fwhm(triple, config))
    positions = nodes.positions()
    levels = noise_levels(triple.noise_of("science"), triple.noise_of("template"), windows, config)
    sides = way.sides(positions, levels)
    filters = compact_filters(*sides, score=config.score, threads=config.threads or cores())
    field = Field(nodes.x, nodes.y, filters.stamps, *sides, filters.tail)
    # From here on a band of rows of every input is wanted for several things, but read once.
    triple = triple.with_possible_pixels(field).remembered(masks=False)
    bad = CachedPlane(unusable_pixels(triple, way.kernel.boxes, config))
    config, dtype = _with_precision(config, field)
    image, parts = filtered(triple.difference, bad, field, config)
    planes = image, result_variance(triple, field, config, dtype)
    prepared = _prepared(triple, way, field, positions, (levels, windows), bad, planes)
    return replace(prepared, bands=parts)


def _with_precision(
    config: DecorrelationConfig, field: Field
) -> tuple[DecorrelationConfig, DTypeLike]:
    """Return options and variance type: double where single precision has no such numbers."""
    power, single = field.power, config.precision == "single"
    if single and not single_holds(np.sqrt(power)):
        config, single = replace(config, precision="double"), False
    return config, np.float32 if single and single_holds(power) else np.float64


def _fwhm(triple: Triple, config: DecorrelationConfig) -> float | None:
    """Return the FWHM of the difference's PSF, as LSST scales its grid with."""
    psf = triple.difference.psf or triple.science.psf or triple.template.psf
    return None if psf is None else adaptive_fwhm(psf.stamp(*centre_of(triple.shape, config)))


def _nodes(triple: Triple, way: Way, config: DecorrelationConfig) -> Nodes:
    """Return nodes that follow the noise levels, with both sides of every jump of the kernel."""
    boxes = way.kernel.boxes
    if config.grid_step is None:
        sides = [
            side for box in boxes for side in (box.xmax - box.xmin + 1, box.ymax - box.ymin + 1)
        ]
        spacing = (float(largest_spacing(triple.shape, min(sides, default=None))),) * 2
    else:
        unit = fwhm_unit(config, _fwhm(triple, config))
        spacing = (in_pixels(config.grid_step[0], unit), in_pixels(config.grid_step[1], unit))
        check_number(triple.shape[1] / spacing[0] * triple.shape[0] / spacing[1])
    breaks = (
        tuple(float(edge) for box in boxes for edge in (box.xmin - 1, box.xmax)),
        tuple(float(edge) for box in boxes for edge in (box.ymin - 1, box.ymax)),
    )
    levels = block_log_ratios(triple.noise_of("science"), triple.noise_of("template"), config)
    return nodes_for(triple.shape, spacing, levels, BLOCK, breaks)


def _windows(nodes: Nodes, config: DecorrelationConfig, fwhm: float | None) -> list[Window]:
    """Return the windows in which the noise levels of the nodes are measured."""
    if config.cell_size is None:
        return nodes.windows()
    unit = fwhm_unit(config, fwhm)
    half_x, half_y = (max(1, round(in_pixels(size, unit) / 2)) for size in config.cell_size)
    ny, nx = nodes.shape
    return [
        Window(
            max(0, int(x) - half_x),
            min(nx, int(x) + half_x + 1),
            max(0, int(y) - half_y),
            min(ny, int(y) + half_y + 1),
        )
        for x, y in nodes.positions()
    ]


def _by_cells(triple: Triple, way: Way, config: DecorrelationConfig) -> Prepared:
    """Prepare separate cells, as LSST's spatial task has them."""
    cells = cells_for(triple.shape, config, _fwhm(triple, config))
    positions = np.array([middle_of(cell.outer, config) for cell in cells])
    windows = [cell.outer for cell in cells]
    levels = noise_levels(triple.noise_of("science"), triple.noise_of("template"), windows, config)
    sides = way.sides(positions, levels)
    filters = compact_filters(*sides, score=config.score, threads=config.threads or cores())
    in_a_row = Field(
        np.arange(len(cells), dtype=float), np.zeros(1), filters.stamps, *sides, filters.tail
    )
    boxes = way.kernel.boxes
    config, dtype = _with_precision(config, in_a_row)
    triple = triple.with_possible_pixels(in_a_row)
    remembered = triple.remembered(masks=True)
    results = decorrelated_cells(remembered, cells, in_a_row, boxes, config, dtype)
    planes = reduced_cells(results, triple.shape, config.blend)
    inner = [cell.inner for cell in cells]
    bad = unusable_pixels(triple, boxes, config)
    prepared = _prepared(triple, way, in_a_row, positions, (levels, inner), bad, planes)
    return replace(prepared, cells=tuple(results)) if config.blend == "none" else prepared


def _prepared(
    triple: Triple,
    way: Way,
    field: Field,
    positions: NDArray[np.float64],
    noise: tuple[NoiseLevels, Sequence[Window]],
    bad: Plane,
    planes: tuple[Plane, Plane],
) -> Prepared:
    """Put together what is known: planes, mask, PSF."""
    config, (levels, windows) = way.config, noise
    fallback = [window for window, other in zip(windows, levels.fallback, strict=True) if other]
    mask, mask_planes = result_mask(triple, way.kernel.boxes, bad, field.psi, fallback, config)
    psf = psf_of_result(triple, field, positions, score=config.score)
    exposure = replace(
        triple.difference,
        image=planes[0],
        variance=planes[1],
        mask=mask,
        mask_planes=mask_planes,
        psf=psf,
    )
    filtering = Filtering(
        way=way,
        field=field,
        positions=positions,
        fallbacks=int(levels.fallback.sum()),
        detection=significance_psf(psf, field, config, triple.shape),
    )
    return Prepared(
        triple=triple,
        exposure=exposure,
        filled=bad,
        bands=bands(triple.shape),
        config=config,
        filtering=filtering,
    )
