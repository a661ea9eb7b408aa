"""The PSF of the result, and the metrics that describe what was done."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.core.kernelfield import KernelField
from diffdecor.core.noise import AnySide
from diffdecor.core.parallel import cores, ordered_map
from diffdecor.core.planes import LazyPlane, Plane, part_of
from diffdecor.core.psf import (
    adaptive_fwhm,
    corrected_psf,
    crop_stamp,
    flux_half_width,
    half_maximum_fwhm,
    noise_equivalent_area,
)
from diffdecor.core.significance import significance_plane
from diffdecor.core.statistics import clipped_mean
from diffdecor.core.variance import squared_sums
from diffdecor.core.whiteness import (
    Autocorrelation,
    autocorrelation,
    sky_pixels,
    source_pixels,
)
from diffdecor.decorrelation.filtering import Field, Triple
from diffdecor.decorrelation.mask import unusable_pixels
from diffdecor.decorrelation.nodes import Window
from diffdecor.decorrelation.subtraction import Way
from diffdecor.errors import ConfigError
from diffdecor.images.model import Exposure
from diffdecor.psfs.model import PointSpreadFunction, StampPsf

_MEASURED = 1 << 18
"""Pixels of the part of an image whose correlation is measured."""
_WIDEST = 1024
_LAGS = 3
_UNITY = (np.ones((1, 1, 1)), (0, 0))


def _psf_and_way(
    triple: Triple, filters: Field, *, score: bool
) -> tuple[PointSpreadFunction, tuple[NDArray[np.float64], tuple[int, int]]] | None:
    """Return a PSF that is known and the kernels its image went through in the difference.

    The PSF of the difference is taken as it is; but a score image carries the science image's,
    which has yet to be correlated with the preconvolution kernel.
    """

    def through(side: AnySide) -> tuple[NDArray[np.float64], tuple[int, int]]:
        return side.stamps, side.origin

    known = [
        (triple.difference.psf, _UNITY),
        (triple.science.psf, through(filters.science)),
        (triple.template.psf, through(filters.template)),
    ]
    if score:
        known = [*known[1:], (triple.difference.psf, through(filters.science))]
    return next(((psf, way) for psf, way in known if psf is not None), None)


def psf_of_result(
    triple: Triple, filters: Field, positions: NDArray[np.float64], *, score: bool
) -> StampPsf | None:
    """Return the PSF of the result at the position of every filter.

    Parameters
    ----------
    triple : Triple
        The exposures.
    filters : Field
        Filters and both sides.
    positions : array (n, 2)
        0-based positions of the filters.
    score : bool
        Whether the difference is a score image.

    Returns
    -------
    StampPsf or None
        Of unit sum everywhere; None if no PSF is known.
    """
    found = _psf_and_way(triple, filters, score=score)
    if found is None:
        return None
    psf, (stamps, origin) = found
    half_width = filters.filters.shape[-1] // 2
    corrected = []
    for number, (x, y) in enumerate(positions):
        way = stamps[min(number, len(stamps) - 1)]
        corrected.append(
            corrected_psf(
                psf.stamp(float(x), float(y)),
                psf.origin,
                (way, origin),
                (filters.filters[number], (half_width, half_width)),
            )
        )
    width = max(flux_half_width(stamp, origin) for stamp, origin in corrected)
    square = np.array([crop_stamp(stamp, origin, width) for stamp, origin in corrected])
    return StampPsf(square, positions if len(square) > 1 else None, name="PSF of the result")


def significance_psf(
    psf: PointSpreadFunction | None,
    filters: Field,
    config: DecorrelationConfig,
    shape: tuple[int, int],
) -> KernelField | None:
    """Return the PSF that the significance of point sources is measured with, if it is asked for.

    A score image is a matched filter's output already.

    Parameters
    ----------
    psf : PointSpreadFunction, optional
        PSF of the result.
    filters : Field
        Where it is known.
    config : DecorrelationConfig
        Whether significance is asked for.
    shape : tuple of int
        ``(ny, nx)`` of the image.

    Returns
    -------
    KernelField or None
        The PSF over the image.

    Raises
    ------
    ConfigError
        If significance is asked for and no PSF is known.
    """
    if not config.significance or config.score:
        return None
    if not isinstance(psf, StampPsf):
        msg = "--significance needs a PSF: give --difference-psf, --science-psf or --template-psf"
        raise ConfigError(msg)
    stamps = np.asarray(psf.stamps)
    on_grid = len(stamps) == len(filters.x) * len(filters.y) and config.blend == "interpolate"
    if on_grid:
        return filters.kernels(stamps, psf.origin)
    middle = psf.stamp((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    return KernelField.constant(middle, psf.origin)


def result_significance(
    result: Exposure, bad: Plane, psf: KernelField | None, config: DecorrelationConfig
) -> LazyPlane | None:
    """Return the significance of a point source at every pixel, if it is asked for.

    Parameters
    ----------
    result : Exposure
        The result, with planes that hold its pixels.
    bad : plane (ny, nx)
        Pixels that hold no sky.
    psf : KernelField, optional
        From `significance_psf`.
    config : DecorrelationConfig
        Whether it is asked for.

    Returns
    -------
    LazyPlane or None
        Signal-to-noise ratio, worked out as its rows are read.
    """
    if not config.significance or result.variance is None:
        return None
    image, variance = result.image, result.variance
    if psf is not None:
        usable = LazyPlane(result.shape, lambda rows: ~bad[rows])
        return significance_plane(image, variance, usable, psf)

    def ratio(rows: slice) -> NDArray[Any]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(bad[rows], np.nan, image[rows] / np.sqrt(variance[rows]))

    return LazyPlane(result.shape, ratio)


def result_metrics(
    triple: Triple,
    result: Exposure,
    way: Way,
    filters: Field,
    positions: NDArray[np.float64],
    centre: tuple[float, float],
) -> dict[str, object]:
    """Return the metrics of a decorrelation by name.

    Parameters
    ----------
    triple : Triple
        The exposures.
    result : Exposure
        The result.
    way : Way
        The ways into the difference.
    filters : Field
        Filters and both sides.
    positions : array (n, 2)
        0-based positions of the filters.
    centre : tuple of float
        0-based position that stands for the image.

    Returns
    -------
    dict
        By the names of `diffdecor.pipeline.cards.METRIC_CARDS`.
    """
    nearest = int(np.argmin(((positions - centre) ** 2).sum(axis=1)))
    x, y = way.nearest(*(float(value) for value in positions[nearest]))
    at = slice(nearest, nearest + 1)
    science, template = filters.science[at], filters.template[at]
    metrics: dict[str, object] = {
        "skipped": False,
        "side": way.side(x, y),
        "position_x": x + 1,
        "position_y": y + 1,
        "kernel_sum": way.kernel.sum(x, y),
        "science_scale": float(science.scale[0]),
        "template_scale": float(template.scale[0]),
        "science_level": float(science.level[0]),
        "template_level": float(template.level[0]),
        "science_weight": float(squared_sums(filters.filters[at], science)[0]),
        "template_weight": float(squared_sums(filters.filters[at], template)[0]),
        "filters": len(filters.filters),
        "filter_half_width": filters.filters.shape[-1] // 2,
        "filter_tail": filters.tail,
    }
    return metrics | _noise_metrics(triple, result, way) | _psf_metrics(triple, result, x, y)


def _noise_metrics(triple: Triple, result: Exposure, way: Way) -> dict[str, object]:
    """Return variance and correlation, before and after, in the middle of the image."""
    window = _middle(triple.shape)

    def inside(plane: Plane) -> NDArray[Any]:
        return part_of(plane, window.rows, window.columns)

    metrics: dict[str, object] = {}
    bad = inside(unusable_pixels(triple, way.kernel.boxes, way.config))
    exposures = {"before": triple.difference, "after": result}
    for when, exposure in exposures.items():
        if exposure.variance is not None:
            metrics[f"variance_{when}"] = clipped_mean(inside(exposure.variance)[~bad])
    usable = ~bad
    if result.mask is not None:
        usable &= inside(result.mask) == 0
    usable &= ~source_pixels(inside(triple.science.image), usable)
    variance = None if result.variance is None else inside(result.variance)

    def measured(exposure: Exposure) -> Autocorrelation:
        return autocorrelation(*sky_pixels(inside(exposure.image), usable, variance), max_lag=_LAGS)

    found = ordered_map(measured, exposures.values(), way.config.threads or cores())
    for when, correlation in zip(exposures, found, strict=True):
        metrics[f"correlation_x_{when}"] = correlation.at(1, 0)
        metrics[f"correlation_y_{when}"] = correlation.at(0, 1)
        metrics[f"correlation_rms_{when}"] = correlation.rms()
        metrics["correlation_error"] = correlation.error_at(1, 0)
        metrics["sky_pixels"] = correlation.pixels
    return metrics


def _middle(shape: tuple[int, int]) -> Window:
    """Return the middle of an image, large enough for good statistics; rather wide than high."""
    width = min(shape[1], _WIDEST)
    sizes = min(shape[0], _MEASURED // width), width
    (y0, y1), (x0, x1) = (
        ((length - size) // 2, (length + size) // 2)
        for length, size in zip(shape, sizes, strict=True)
    )
    return Window(x0, x1, y0, y1)


def _psf_metrics(triple: Triple, result: Exposure, x: float, y: float) -> dict[str, object]:
    """Return widths and noise-equivalent areas of the PSF, before and after."""
    metrics: dict[str, object] = {}
    before = triple.difference.psf or triple.science.psf or triple.template.psf
    for when, psf in (("before", before), ("after", result.psf)):
        if psf is not None:
            stamp = psf.stamp(x, y)
            metrics[f"fwhm_{when}"] = half_maximum_fwhm(stamp)
            metrics[f"moment_fwhm_{when}"] = adaptive_fwhm(stamp)
            metrics[f"area_{when}"] = noise_equivalent_area(stamp)
    return metrics
