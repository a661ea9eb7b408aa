"""Decorrelate a difference image: exposures in, exposure out. The one function to call."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.core.planes import Plane, copy_planes
from diffdecor.decorrelation.cells import CellResult
from diffdecor.decorrelation.metrics import result_metrics, result_significance
from diffdecor.decorrelation.preparation import Prepared, centre_of, prepare
from diffdecor.decorrelation.subtraction import Member
from diffdecor.images.model import Exposure
from diffdecor.kernels.model import MatchingKernel
from diffdecor.psfs.model import PointSpreadFunction

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Result:
    """A decorrelated difference.

    Parameters
    ----------
    exposure : Exposure
        Image and variance (float32, or float64 in double precision), mask with the planes
        NEAR_FILLED, EDGE, NO_DATA and NOISE_FALLBACK added, PSF of the result (None if no PSF is
        known).
    filters : array (n, 2m + 1, 2m + 1)
        Decorrelation kernels psi, origin in the middle, unit sum.
    positions : array (n, 2)
        0-based ``(x, y)`` of every filter.
    science_level, template_level : array (n,)
        Noise variance of both images at these positions.
    metrics : mapping of str to value
        What goes into the header; `diffdecor.pipeline.cards.METRIC_CARDS` says what each is.
    significance : plane (ny, nx), optional
        Significance of a point source at every pixel, where it was asked for.
    cells : tuple of CellResult
        The separate cells, where ``blend`` is ``none``.
    """

    exposure: Exposure
    filters: NDArray[np.float64]
    positions: NDArray[np.float64]
    science_level: NDArray[np.float64]
    template_level: NDArray[np.float64]
    metrics: Mapping[str, object]
    significance: Plane | None = None
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
        Their difference. Its variance plane is used for metrics only.
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
    prepared = prepare(
        science,
        template,
        difference,
        kernel,
        config=config,
        preconvolution=preconvolution,
        science_members=science_members,
        template_members=template_members,
    )
    shape, exposure = difference.shape, prepared.exposure
    image = np.empty(shape, exposure.image[0:1].dtype)
    mask = np.empty(shape, np.int32)
    variance = None if exposure.variance is None else np.empty(shape, exposure.variance[0:1].dtype)
    filled = prepared.into(image, mask, variance)
    planes = replace(exposure, image=image, mask=mask, variance=variance)
    result = result_of(prepared, planes, filled)
    result = replace(result, cells=tuple(cell.in_memory() for cell in result.cells))
    if result.significance is None:
        return result
    ratio = np.empty(shape, np.float32)
    copy_planes([(result.significance, ratio)], prepared.bands, prepared.threads)
    return replace(result, significance=ratio)


def result_of(prepared: Prepared, exposure: Exposure, filled: int) -> Result:
    """Return the result of a decorrelation whose pixels have been worked out.

    Parameters
    ----------
    prepared : Prepared
        The decorrelation.
    exposure : Exposure
        Its exposure, with planes that hold the pixels.
    filled : int
        Number of pixels that were filled.

    Returns
    -------
    Result
        With all metrics; the significance is worked out when its rows are read.
    """
    filtering = prepared.filtering
    if filtering is None:
        return _unchanged(exposure)
    field, config = filtering.field, prepared.config
    centre = centre_of(exposure.shape, config)
    metrics = result_metrics(
        prepared.triple, exposure, filtering.way, field, filtering.positions, centre
    )
    metrics |= {"fallbacks": filtering.fallbacks, "filled_pixels": filled}
    if filled == exposure.shape[0] * exposure.shape[1]:
        log.warning(
            "%s: every pixel is masked or without data, so none is changed; --fill-planes says "
            "which planes count",
            exposure.name,
        )
    return Result(
        exposure=exposure,
        filters=field.filters,
        positions=filtering.positions,
        science_level=field.science.level,
        template_level=field.template.level,
        metrics=metrics,
        significance=result_significance(exposure, prepared.filled, filtering.detection, config),
        cells=prepared.cells,
    )


def _unchanged(exposure: Exposure) -> Result:
    nowhere = np.zeros(0)
    return Result(
        exposure=exposure,
        filters=np.zeros((0, 1, 1)),
        positions=np.zeros((0, 2)),
        science_level=nowhere,
        template_level=nowhere,
        metrics={"skipped": True},
    )
