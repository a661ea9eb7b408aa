"""Decorrelate a difference image: exposures in, exposure out. The recipe, on one page.

`decorrelate` is what users call, `prepare` the recipe: validate -> noise -> filters -> pixels ->
variance -> mask -> PSF; `result_of` adds the metrics. The pixels are computed when they are read,
band by band, so files may be of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import compress
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffdecor import words
from diffdecor.config import DecorrelationConfig
from diffdecor.config.kinds import FIT
from diffdecor.core.planes import CachedPlane, Plane, Window, bands, copy_planes
from diffdecor.decorrelation.before_after import Covariances, measure_before_and_after
from diffdecor.decorrelation.cells import (
    CellResult,
    decorrelate_cells,
    not_served,
    place_cells,
    reduce_cells,
)
from diffdecor.decorrelation.doubts import warn_of_noise
from diffdecor.decorrelation.filtering import (
    claimed_variance,
    filter_image,
    make_filters,
    propagate_variance,
    with_enough_precision,
    with_possible_pixels,
)
from diffdecor.decorrelation.fitting import with_fitted_kernel, without_inverse_sums
from diffdecor.decorrelation.known_noise import with_known_noise
from diffdecor.decorrelation.mask import make_mask, unusable_pixels
from diffdecor.decorrelation.measured_noise import with_measured_noise
from diffdecor.decorrelation.metrics import Metrics, measure_metrics
from diffdecor.decorrelation.nodes import place_nodes
from diffdecor.decorrelation.noise_levels import measure_noise_levels
from diffdecor.decorrelation.preparation import Prepared, leave_unchanged
from diffdecor.decorrelation.psf import correct_psf, point_source_significance, prepare_detection
from diffdecor.decorrelation.subtraction import Member, Subtraction, as_kernel, as_psf
from diffdecor.decorrelation.validation import check_exposures, empty_input, validate
from diffdecor.decorrelation.variance_map import with_own_variance
from diffdecor.images.model import ArrayExposure, Exposure
from diffdecor.kernels.model import MatchingKernel
from diffdecor.psfs.model import PointSpreadFunction

log = words.logger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanesResult:
    """A decorrelated difference whose planes may be in a file; see `Result`."""

    exposure: Exposure
    filters: NDArray[np.float64]
    positions: NDArray[np.float64]
    science_level: NDArray[np.float64]
    template_level: NDArray[np.float64]
    metrics: Metrics
    config: DecorrelationConfig
    significance: Plane | None = None
    flux_error: Plane | None = None
    cells: tuple[CellResult, ...] = ()
    windows: tuple[Window, ...] = ()
    covariances: Covariances | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Result(PlanesResult):
    """A decorrelated difference, in memory.

    Parameters
    ----------
    exposure : Exposure
        Image and variance (float32, or float64 in double precision), mask with the planes
        NEAR_FILLED, EDGE, NO_DATA and NOISE_FALLBACK added, PSF of the result (None if no PSF is
        known). The planes are arrays.
    filters : array (n, 2m + 1, 2m + 1)
        Decorrelation kernels psi, origin in the middle, unit sum.
    positions : array (n, 2)
        0-based ``(x, y)`` of every filter.
    science_level, template_level : array (n,)
        Noise variance of both images at these positions; of a difference alone, its own and 0.
    metrics : Metrics
        What was done, and what noise and PSF were and are.
    config : DecorrelationConfig
        The options it was made with.
    significance : array (ny, nx), optional
        Significance of a point source at every pixel, if requested.
    flux_error : array (ny, nx), optional
        Error of the flux of a point source at every pixel, with the significance; not of score
        images.
    cells : tuple of CellResult
        The separate cells, where ``blend`` is ``none``.
    windows : tuple of Window
        The pixels that each filter serves, where filters are not interpolated.
    covariances : Covariances, optional
        Sums of products of sky pixels at every lag, before and after; None without sky.
    sources : tuple of str
        Names of the exposures and kernels that it was made of. Those that are files are never
        overwritten by `write_result`.

    Examples
    --------
    >>> import numpy as np
    >>> from diffdecor import Exposure, decorrelate
    >>> noise = np.random.default_rng(1).normal(size=(128, 128)).astype("f4")
    >>> science = Exposure(image=noise, variance=1.0)
    >>> result = decorrelate(science, science, science, np.ones((1, 1)))
    >>> result.exposure.image.dtype, result.exposure.image.shape
    (dtype('float32'), (128, 128))
    >>> result.metrics.side, result.metrics.fwhm_after
    ('template', None)
    """

    exposure: ArrayExposure
    significance: NDArray[np.float32] | None = None
    flux_error: NDArray[np.floating[Any]] | None = None
    sources: tuple[str, ...] = ()


def decorrelate(  # noqa: PLR0913  all but four are optional and named
    science: Exposure | None,
    template: Exposure | None,
    difference: Exposure,
    kernel: MatchingKernel | ArrayLike | Literal["fit"] | None,
    *,
    config: DecorrelationConfig | None = None,
    preconvolution: PointSpreadFunction | ArrayLike | None = None,
    science_members: Sequence[Member] = (),
    template_members: Sequence[Member] = (),
) -> Result:
    """Whiten the noise of a difference image, and state the variance and PSF of the result.

    The difference is ``D = a_S (A * S) - a_T (B * T) + background``; its Fourier transform is
    multiplied by ``psi(k) = sqrt(P(0) / P(k))`` with the noise power ``P = s a_S^2 |A|^2 + t a_T^2
    |B|^2`` (DMTN-021; Zackay et al. 2016), over the whole image or with a filter that follows
    kernel and noise levels.

    Parameters
    ----------
    science, template : Exposure or None
        The images that were subtracted, with their variance planes. Their pixels are not used.
        None, both of them, if there is nothing but the difference.
    difference : Exposure
        Their difference. Its variance plane is used for metrics only, unless it is alone: then it
        is what is known of its noise, and is measured in the pixels where there is none.
    kernel : MatchingKernel, array (ky, kx), "fit" or None
        The matching kernel: what `read_kernel` returns, or a `StampKernel`, which knows the side,
        scales, origin, and positions of several stamps. An array is a true-convolution stamp with
        its origin at ``(kx // 2, ky // 2)``, of the template unless `config` says otherwise. None
        if neither image was convolved but with the members' kernels,
        and for a difference alone. With "fit" it is found from the images, whose pixels are used
        then: `fit_kernel` returns the kernel itself, and how good it is.
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
        If shapes disagree or noise levels cannot be known; if a difference alone has too few
        pixels to measure its noise; `KernelError` if the kernel cannot be used.

    Examples
    --------
    White noise; that of the template was convolved with a Gaussian before it was subtracted.

    >>> import numpy as np
    >>> from diffdecor import Exposure, decorrelate
    >>> noise = np.random.default_rng(3).normal(size=(2, 200, 200))
    >>> science, template = noise[0], 3 * noise[1]
    >>> y, x = np.indices((9, 9)) - 4
    >>> kernel = np.exp(-(x**2 + y**2) / 2)
    >>> kernel /= kernel.sum()
    >>> matched = np.fft.irfft2(np.fft.rfft2(template) * np.fft.rfft2(kernel, template.shape))
    >>> difference = science - np.roll(matched, (-4, -4), axis=(0, 1))
    >>> result = decorrelate(
    ...     Exposure(image=science, variance=np.full(science.shape, 1.0)),
    ...     Exposure(image=template, variance=np.full(template.shape, 9.0)),
    ...     Exposure(image=difference),
    ...     kernel,
    ... )
    >>> metrics = result.metrics
    >>> print(f"{metrics.correlation_x_before:.3f} -> {metrics.correlation_x_after:.3f}")
    0.318 -> 0.001
    >>> print(f"{result.exposure.image.var():.2f} {result.exposure.variance.mean():.2f}")
    9.95 10.00
    """
    images = {"science": science, "template": template}
    given = {name: image for name, image in images.items() if image is not None}
    check_exposures(difference=difference, **given)
    config = config or DecorrelationConfig()
    is_fit = isinstance(kernel, str) and kernel == FIT
    subtraction = Subtraction(
        science,
        template,
        difference,
        as_kernel(None if is_fit else kernel),
        config=without_inverse_sums(config) if is_fit else config,
        preconvolution=as_psf(preconvolution),
        science_members=tuple(science_members),
        template_members=tuple(template_members),
    )
    if is_fit:
        from diffdecor.kernels.areas import kernel_areas

        areas = kernel_areas(difference.header, difference.shape, difference.name)
        subtraction, _ = with_fitted_kernel(subtraction, config, areas)
    members = [*subtraction.science_members, *subtraction.template_members]
    parts: list[Any] = [*given.values(), difference, subtraction.kernel]
    parts += [part for one in members for part in (one.exposure, one.kernel) if part is not None]
    result = _in_memory(prepare(subtraction))
    return replace(result, sources=tuple(dict.fromkeys(part.name for part in parts)))


def prepare(subtraction: Subtraction) -> Prepared:
    """Do everything but compute the pixels; raises what `decorrelate` does."""
    # Validate.
    subtraction = validate(subtraction)
    empty = empty_input(subtraction)
    if empty:
        log.warning("%s: every pixel is NaN; the difference is returned as it is", empty)
        return leave_unchanged(subtraction)
    by_cells = subtraction.config.mode == "grid" and subtraction.config.blend != "interpolate"

    # Noise: the variances s and t of both sides (of a difference alone, its own), at one place for
    # the whole image, at the nodes of a grid, or in LSST's cells.
    subtraction = with_own_variance(subtraction)
    places = place_cells(subtraction) if by_cells else place_nodes(subtraction)
    levels = measure_noise_levels(subtraction, places.windows)
    subtraction = with_known_noise(subtraction, places, levels)
    subtraction, noise = with_measured_noise(subtraction, places, levels)

    # Filters: psi(k) = sqrt(P(0) / P(k)), with P = (s a_S^2 |A|^2 + t a_T^2 |B|^2) R.
    filters = make_filters(subtraction, places, levels)

    # Rows of the inputs are read once for all that needs them; keeping those of masks is worth the
    # memory only where cells share them.
    subtraction = with_enough_precision(with_possible_pixels(subtraction, filters), filters)
    subtraction = subtraction.with_planes(CachedPlane, masks=by_cells)
    unusable = CachedPlane(unusable_pixels(subtraction))

    # Pixels: psi * D. Variance: a_S^2 v_S * (psi*A)^2 + a_T^2 v_T * (psi*B)^2.
    cells: list[CellResult] = []
    left_out = None
    if by_cells:
        left_out = not_served(places.served, subtraction.shape, subtraction.difference.name)
        cells = decorrelate_cells(subtraction, unusable, filters, places)
        image, variance = reduce_cells(cells, subtraction.shape, subtraction.config.blend)
        parts = bands(subtraction.shape)
    else:
        image, parts = filter_image(subtraction, unusable, filters)
        variance = propagate_variance(subtraction, filters)

    # Mask: what it was, what was filled or has no data, and what the filter spread of that.
    fallback = list(compress(places.served, levels.fallback))
    mask, mask_planes = make_mask(subtraction, unusable, filters.psi, fallback, left_out)

    # PSF: psi * A * phi_S.
    psf = correct_psf(subtraction, filters)
    return Prepared(
        subtraction=subtraction,
        exposure=replace(
            subtraction.difference,
            image=image,
            variance=variance,
            mask=mask,
            mask_planes=mask_planes,
            psf=psf,
        ),
        filled=unusable,
        bands=parts,
        filters=filters,
        windows=places.served if by_cells else (),
        fallbacks=len(fallback),
        bounded=places.bounded,
        noise=noise,
        detection=prepare_detection(psf, subtraction, filters),
        cells=tuple(cells) if subtraction.config.blend == "none" else (),
    )


def result_of(prepared: Prepared, exposure: Exposure, filled: int) -> PlanesResult:
    """Return the result once its pixels have been computed, with all metrics.

    `exposure` has planes that hold the pixels, of which `filled` were filled. The significance is
    computed when its rows are read.
    """
    filters, subtraction = prepared.filters, prepared.subtraction
    if filters is None:
        return PlanesResult(
            exposure=exposure,
            filters=np.zeros((0, 1, 1)),
            positions=np.zeros((0, 2)),
            science_level=np.zeros(0),
            template_level=np.zeros(0),
            metrics=Metrics(skipped=True),
            config=prepared.config,
        )
    if filled == exposure.shape[0] * exposure.shape[1]:
        log.warning(
            "%s: every pixel is masked or without data, so none is changed; --fill-planes says "
            "which planes count",
            exposure.name,
        )
    metrics: dict[str, Any] = measure_metrics(subtraction, exposure, prepared.filled, filters)
    claimed = None
    if not subtraction.is_alone:
        by_nodes = len(filters.x) * len(filters.y) == len(filters.stamps)
        some = filters if by_nodes else filters.only(len(filters.stamps) // 2)
        claimed = claimed_variance(subtraction, some)
    of_noise, covariances = measure_before_and_after(
        subtraction, exposure, prepared.filled, claimed
    )
    warn_of_noise(subtraction, filters, of_noise, prepared.noise.model)
    metrics |= of_noise
    metrics |= {"fallbacks": prepared.fallbacks, "filled_pixels": filled}
    metrics |= {"nodes_bounded": prepared.bounded}
    metrics |= prepared.noise.metrics
    significance = flux_error = None
    if prepared.config.significance:
        significance, flux_error = point_source_significance(
            exposure, prepared.filled, prepared.detection
        )
    return PlanesResult(
        exposure=exposure,
        filters=filters.stamps,
        positions=filters.positions,
        science_level=filters.science.level,
        template_level=filters.template.level,
        metrics=Metrics(**metrics),
        config=prepared.config,
        significance=significance,
        flux_error=flux_error,
        cells=prepared.cells,
        windows=tuple(prepared.windows),
        covariances=covariances,
    )


def _in_memory(prepared: Prepared) -> Result:
    """Compute the pixels, and return the result with arrays for planes."""
    exposure = prepared.exposure
    shape = exposure.shape
    image = np.empty(shape, exposure.image[0:1].dtype)
    mask = np.empty(shape, exposure.mask_planes.dtype)
    variance = None if exposure.variance is None else np.empty(shape, exposure.variance[0:1].dtype)
    filled = prepared.into(image, mask, variance)
    planes = ArrayExposure.of(replace(exposure, image=image, mask=mask, variance=variance))
    found = result_of(prepared, planes, filled)
    of_sources = {
        "significance": (found.significance, np.dtype(np.float32)),
        "flux_error": (found.flux_error, image.dtype),
    }
    arrays: dict[str, Any] = {
        name: np.empty(shape, dtype)
        for name, (plane, dtype) in of_sources.items()
        if plane is not None
    }
    pairs = [(getattr(found, name), target) for name, target in arrays.items()]
    copy_planes(pairs, prepared.bands, prepared.threads)
    arrays |= {"exposure": planes, "cells": tuple(cell.in_memory() for cell in found.cells)}
    return Result(**{item.name: getattr(found, item.name) for item in fields(found)} | arrays)
