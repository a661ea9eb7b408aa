"""Decorrelate a difference image: exposures in, exposure out. The one function to call."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffdecor.cells import (
    CellResult,
    cells_for,
    check_number,
    decorrelate_cells,
    fwhm_unit,
    in_pixels,
    middle_of,
    reduce_cells,
)
from diffdecor.config import DecorrelationConfig
from diffdecor.core.grid import Nodes, Window, largest_spacing, nodes_for
from diffdecor.core.psf import adaptive_fwhm
from diffdecor.core.whitening import compact_filters
from diffdecor.errors import ConfigError, InputError, KernelError
from diffdecor.figures import figures_of, psf_of_result, result_significance
from diffdecor.filtering import Field, Triple, filter_image, result_variance
from diffdecor.flagging import holes, inherited_mask, result_mask
from diffdecor.images import Exposure
from diffdecor.kernels.model import MatchingKernel, StampKernel
from diffdecor.levels import (
    BLOCK,
    NoiseLevels,
    block_log_ratios,
    check_planes,
    noise_levels,
)
from diffdecor.psfs.model import PointSpreadFunction, StampPsf
from diffdecor.ways import Member, Way, with_known_scales

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Result:
    """A decorrelated difference.

    Parameters
    ----------
    exposure : Exposure
        Image and variance (float64), mask with the planes NEAR_FILLED, EDGE, NO_DATA and
        NOISE_FALLBACK added, PSF of the result (None if no PSF is known).
    filters : array (n, 2m + 1, 2m + 1)
        Decorrelation kernels psi, origin in the middle, unit sum.
    positions : array (n, 2)
        0-based ``(x, y)`` of every filter.
    science_level, template_level : array (n,)
        Noise variance of both images at these positions.
    figures : mapping of str to value
        What goes into the header; `diffdecor.cards.FIGURE_CARDS` says what each is.
    significance : array (ny, nx), optional
        Significance of a point source at every pixel, where it was asked for.
    cells : tuple of CellResult
        The separate cells, where ``blend`` is ``none``.
    """

    exposure: Exposure
    filters: NDArray[np.float64]
    positions: NDArray[np.float64]
    science_level: NDArray[np.float64]
    template_level: NDArray[np.float64]
    figures: Mapping[str, object]
    significance: NDArray[np.float64] | None = None
    cells: tuple[CellResult, ...] = ()


def decorrelate(  # noqa: PLR0913  all but four are optional and named
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    kernel: MatchingKernel | ArrayLike | None,
    *,
    config: DecorrelationConfig | None = None,
    preconvolution: PointSpreadFunction | ArrayLike | None = None,
    science_members: Sequence[Member] = (),
    template_members: Sequence[Member] = (),
) -> Result:
    """Whiten the noise of a difference image, and state the variance and PSF of the result.

    The difference is ``D = a_S (A * S) - a_T (B * T) + background``; its transform is multiplied by
    ``psi(k) = sqrt(P(0) / P(k))`` with the noise power ``P = s a_S^2 |A|^2 + t a_T^2 |B|^2``
    (DMTN-021; Zackay et al. 2016), over the whole image or with a filter that follows kernel and
    noise levels.

    Parameters
    ----------
    science, template : Exposure
        The images that were subtracted, with their variance planes. Their pixels are not used.
    difference : Exposure
        Their difference. Its variance plane is used for figures only.
    kernel : MatchingKernel, array (ky, kx) or None
        The matching kernel; an array is a true-convolution stamp with its origin at
        ``(kx // 2, ky // 2)``. None if neither image was convolved but with the members' kernels.
    config : DecorrelationConfig, optional
        Everything else.
    preconvolution : PointSpreadFunction or array (ky, kx), optional
        What the science image was correlated with, for score images; its PSF by default.
    science_members, template_members : sequence of Member
        The images that an image is the weighted sum of, each with a kernel of its own; one member
        is an image that was convolved itself (cross-convolution, PSF homogenisation).

    Returns
    -------
    Result
        None of the inputs is changed.

    Raises
    ------
    ConfigError
        If options contradict each other or what the exposures have.
    InputError
        If shapes disagree or noise levels cannot be known; `KernelError` if the kernel cannot be
        used.
    """
    config = config or DecorrelationConfig()
    kernel = _as_kernel(kernel)
    config = with_known_scales(config, kernel, difference.shape)
    triple = Triple(
        _without_empty_variance(science, config.science_variance),
        _without_empty_variance(template, config.template_variance),
        difference,
        science_stack=tuple(member.exposure for member in science_members),
        template_stack=tuple(member.exposure for member in template_members),
    )
    _check(triple, kernel, config)
    empty = _empty_input(triple)
    if empty:
        log.warning("%s: every pixel is NaN; the difference is returned as it is", empty)
        return _unchanged(triple)
    way = Way(
        kernel,
        config,
        _as_psf(preconvolution) or science.psf,
        science_members=tuple(science_members),
        template_members=tuple(template_members),
    )
    if config.mode == "grid" and config.blend != "interpolate":
        return _by_cells(triple, way, config)
    return _by_nodes(triple, way, config)


def _as_kernel(kernel: MatchingKernel | ArrayLike | None) -> MatchingKernel:
    if kernel is None:
        kernel = np.ones((1, 1))
    if hasattr(kernel, "stamp"):
        return kernel  # type: ignore[return-value]
    stamp = np.array(kernel, dtype=np.float64)
    if stamp.ndim != 2:
        msg = f"a kernel array must be one stamp (ky, kx), not {stamp.shape}"
        raise KernelError(msg)
    origin = (stamp.shape[1] // 2, stamp.shape[0] // 2)
    return StampKernel(stamps=stamp[np.newaxis], origin=origin, name="kernel array")


def _as_psf(psf: PointSpreadFunction | ArrayLike | None) -> PointSpreadFunction | None:
    if psf is None or hasattr(psf, "stamp"):
        return psf  # type: ignore[return-value]
    return StampPsf(psf, name="preconvolution kernel")


def _check(triple: Triple, kernel: MatchingKernel, config: DecorrelationConfig) -> None:
    """Refuse what cannot go together."""
    for exposure in (*triple.exposures[:2], *triple.science_stack, *triple.template_stack):
        if exposure.shape != triple.shape:
            msg = (
                f"{exposure.name} has the shape {exposure.shape} but {triple.difference.name} "
                f"{triple.shape} (ny, nx); give images on one pixel grid"
            )
            raise InputError(msg)
    if any(size > axis for size, axis in zip(kernel.shape, triple.shape, strict=True)):
        msg = (
            f"{kernel.name}: the kernel of {kernel.shape[1]} x {kernel.shape[0]} pixels is larger "
            f"than the image of {triple.shape[1]} x {triple.shape[0]}; is it the right file?"
        )
        raise KernelError(msg)
    if config.kernel_position is not None:
        x, y = config.kernel_position
        ny, nx = triple.shape
        if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
            msg = f"--kernel-position {x:g},{y:g} lies beyond the image of {nx} x {ny} pixels"
            raise ConfigError(msg)
    check_planes(triple.exposures, config.ignore_planes, "--ignore-planes")
    check_planes(triple.exposures, config.fill_planes, "--fill-planes")
    if isinstance(config.cell_centroids, str):
        msg = f"cell centroids must be positions here, not the file {config.cell_centroids}"
        raise ConfigError(msg)
    if config.cell_centroids is not None and config.blend == "interpolate":
        msg = "--cell-centroids needs --blend average, copy, sum or none: nodes lie on a grid"
        raise ConfigError(msg)


def _without_empty_variance(exposure: Exposure, level: float | None) -> Exposure:
    """Leave out a variance plane without data where the level is given: all would be a hole."""
    plane = exposure.variance
    if level is None or plane is None or np.isfinite(plane[0 : plane.shape[0]]).any():
        return exposure
    log.warning(
        "%s: the variance plane has no finite pixel; going on with the level %g that is given",
        exposure.name,
        level,
    )
    return replace(exposure, variance=None)


def _empty_input(triple: Triple) -> str:
    """Return the name of an input image without a single finite pixel, if there is one."""
    for exposure in triple.exposures:
        if not np.isfinite(exposure.image[0 : triple.shape[0]]).any():
            return exposure.name
    return ""


def _unchanged(triple: Triple) -> Result:
    """Return the difference as it is, flagged where it has no data."""
    everything = slice(0, triple.shape[0])
    image = np.array(triple.difference.image[everything], dtype=np.float64)
    mask, planes = inherited_mask(triple)
    planes = planes.adding("NO_DATA")
    mask[~np.isfinite(image)] |= planes.value(["NO_DATA"])
    variance = triple.difference.variance
    exposure = replace(
        triple.difference,
        image=image,
        variance=None if variance is None else np.array(variance[everything], dtype=np.float64),
        mask=mask,
        mask_planes=planes,
    )
    nowhere = np.zeros(0)
    return Result(
        exposure=exposure,
        filters=np.zeros((0, 1, 1)),
        positions=np.zeros((0, 2)),
        science_level=nowhere,
        template_level=nowhere,
        figures={"skipped": True},
    )


def _centre(shape: tuple[int, int], config: DecorrelationConfig) -> tuple[float, float]:
    """Return the position whose kernel stands for the image."""
    if config.kernel_position is not None:
        return config.kernel_position
    return middle_of(Window(0, shape[1], 0, shape[0]), config)


def _by_nodes(triple: Triple, way: Way, config: DecorrelationConfig) -> Result:
    """Decorrelate with one filter, or with filters on nodes and smoothly between them."""
    ny, nx = triple.shape
    if config.mode == "whole":
        x, y = _centre(triple.shape, config)
        nodes = Nodes(np.array([x]), np.array([y]), triple.shape)
        windows = [Window(0, nx, 0, ny)]
    else:
        nodes = _nodes(triple, way, config)
        windows = _windows(nodes, config, _fwhm(triple, config))
    positions = nodes.positions()
    levels = noise_levels(triple.noise_of("science"), triple.noise_of("template"), windows, config)
    sides = way.sides(positions, levels)
    filters = compact_filters(*sides, score=config.score)
    over_image = Field(nodes.x, nodes.y, filters.stamps, *sides, filters.tail)
    bad = holes(triple, way.kernel.boxes, config)
    image = filter_image(triple.difference, bad, over_image.psi, config)
    variance = result_variance(triple, over_image, config)
    return _result(triple, way, over_image, positions, levels, windows, (image, variance))


def _fwhm(triple: Triple, config: DecorrelationConfig) -> float | None:
    """Return the FWHM of the difference's PSF, as LSST scales its grid with."""
    psf = triple.difference.psf or triple.science.psf or triple.template.psf
    return None if psf is None else adaptive_fwhm(psf.stamp(*_centre(triple.shape, config)))


def _nodes(triple: Triple, way: Way, config: DecorrelationConfig) -> Nodes:
    """Return nodes that follow the noise levels, with both sides of every jump of the kernel."""
    if config.grid_step is None:
        spacing = (float(largest_spacing(triple.shape)),) * 2
    else:
        unit = fwhm_unit(config, _fwhm(triple, config))
        spacing = (in_pixels(config.grid_step[0], unit), in_pixels(config.grid_step[1], unit))
        check_number(triple.shape[1] / spacing[0] * triple.shape[0] / spacing[1])
    boxes = way.kernel.boxes
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


def _by_cells(triple: Triple, way: Way, config: DecorrelationConfig) -> Result:
    """Decorrelate cell by cell, as LSST's spatial task does."""
    cells = cells_for(triple.shape, config, _fwhm(triple, config))
    positions = np.array([middle_of(cell.outer, config) for cell in cells])
    windows = [cell.outer for cell in cells]
    levels = noise_levels(triple.noise_of("science"), triple.noise_of("template"), windows, config)
    sides = way.sides(positions, levels)
    filters = compact_filters(*sides, score=config.score)
    in_a_row = Field(
        np.arange(len(cells), dtype=float), np.zeros(1), filters.stamps, *sides, filters.tail
    )
    results = decorrelate_cells(triple, cells, in_a_row, way.kernel.boxes, config)
    planes = reduce_cells(results, triple.shape, config.blend)
    inner = [cell.inner for cell in cells]
    whole = _result(triple, way, in_a_row, positions, levels, inner, planes)
    return replace(whole, cells=tuple(results)) if config.blend == "none" else whole


def _result(
    triple: Triple,
    way: Way,
    filters: Field,
    positions: NDArray[np.float64],
    levels: NoiseLevels,
    windows: Sequence[Window],
    planes: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Result:
    """Put the result together: mask, PSF and figures."""
    config = way.config
    image, variance = planes
    bad = holes(triple, way.kernel.boxes, config)
    fallback = [window for window, other in zip(windows, levels.fallback, strict=True) if other]
    mask, mask_planes = result_mask(triple, way.kernel.boxes, bad, filters.psi, fallback, config)
    exposure = replace(
        triple.difference,
        image=image,
        variance=variance,
        mask=mask,
        mask_planes=mask_planes,
        psf=psf_of_result(triple, filters, positions, score=config.score),
    )
    figures = figures_of(triple, exposure, way, filters, positions, _centre(triple.shape, config))
    figures["fallbacks"] = int(levels.fallback.sum())
    if figures["filled_pixels"] == image.size:
        log.warning(
            "%s: every pixel is masked or without data, so none is changed; --fill-planes says "
            "which planes count",
            triple.difference.name,
        )
    return Result(
        exposure=exposure,
        filters=filters.filters,
        positions=positions,
        science_level=filters.science.level,
        template_level=filters.template.level,
        figures=figures,
        significance=result_significance(exposure, filters, bad, config),
    )
