"""The metrics that describe what was done, as they go into the header."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.parallel import cores, ordered_map
from diffdecor.core.planes import Plane, Window, part_of
from diffdecor.core.psf import adaptive_fwhm, half_maximum_fwhm, noise_equivalent_area
from diffdecor.core.statistics import clipped_mean
from diffdecor.core.variance import squared_sums
from diffdecor.core.whiteness import Autocorrelation, autocorrelation, sky_pixels, source_pixels
from diffdecor.decorrelation.filtering import FilterGrid
from diffdecor.decorrelation.nodes import centre_of
from diffdecor.decorrelation.subtraction import Subtraction, nearest_covered
from diffdecor.images.model import Exposure

#: Pixels of the part of an image where the correlation is measured, and its largest width.
_MEASURED = 1 << 18
_WIDEST = 1024
#: Largest lag of the correlation, pixels.
_LAGS = 3


def measure_metrics(
    subtraction: Subtraction, result: Exposure, unusable: Plane, filters: FilterGrid
) -> dict[str, object]:
    """Return the metrics of a decorrelation by the names of `pipeline.cards.METRIC_CARDS`.

    Kernel, noise and PSF are those at the filter nearest to the centre of the image.
    """
    offsets = filters.positions - centre_of(subtraction)
    filters_there = filters.only(int(np.argmin((offsets**2).sum(axis=1))))
    x, y = nearest_covered(subtraction.kernel, *filters_there.positions[0].tolist())
    science, template = filters_there.science, filters_there.template
    metrics = {
        "skipped": False,
        "side": subtraction.side(x, y),
        "position_x": x + 1,
        "position_y": y + 1,
        "kernel_sum": subtraction.kernel.sum(x, y),
        "science_scale": float(science.scale[0]),
        "template_scale": float(template.scale[0]),
        "science_level": float(science.level[0]),
        "template_level": float(template.level[0]),
        "science_weight": float(squared_sums(filters_there.stamps, science)[0]),
        "template_weight": float(squared_sums(filters_there.stamps, template)[0]),
        "filters": len(filters.stamps),
        "filter_half_width": filters.half_width,
        "filter_tail": filters.tail,
    }
    noise = _noise_metrics(subtraction, result, unusable)
    return metrics | noise | _psf_metrics(subtraction, result, x, y)


def _noise_metrics(
    subtraction: Subtraction, result: Exposure, unusable: Plane
) -> dict[str, object]:
    """Return variance and correlation, before and after, in the middle of the image."""
    window = _middle(subtraction.shape)

    def inside(plane: Plane) -> NDArray[Any]:
        return part_of(plane, window)

    metrics: dict[str, object] = {}
    usable = ~inside(unusable)
    exposures = {"before": subtraction.difference, "after": result}
    for when, exposure in exposures.items():
        if exposure.variance is not None:
            metrics[f"variance_{when}"] = clipped_mean(inside(exposure.variance)[usable])
    if result.mask is not None:
        usable &= inside(result.mask) == 0
    usable &= ~source_pixels(inside(subtraction.science.image), usable)
    variance = None if result.variance is None else inside(result.variance)

    def measured(exposure: Exposure) -> Autocorrelation:
        return autocorrelation(*sky_pixels(inside(exposure.image), usable, variance), max_lag=_LAGS)

    threads = subtraction.config.threads or cores()
    found = ordered_map(measured, exposures.values(), threads)
    for when, correlation in zip(exposures, found, strict=True):
        metrics[f"correlation_x_{when}"] = correlation.at(1, 0)
        metrics[f"correlation_y_{when}"] = correlation.at(0, 1)
        metrics[f"correlation_rms_{when}"] = correlation.rms()
        metrics["correlation_error"] = correlation.error_at(1, 0)
        metrics["sky_pixels"] = correlation.pixels
    return metrics


def _middle(shape: tuple[int, int]) -> Window:
    """Return the middle of an image, large enough for good statistics; wider than high."""
    width = min(shape[1], _WIDEST)
    sizes = min(shape[0], _MEASURED // width), width
    (y0, y1), (x0, x1) = (
        ((length - size) // 2, (length + size) // 2)
        for length, size in zip(shape, sizes, strict=True)
    )
    return Window(x0, x1, y0, y1)


def _psf_metrics(
    subtraction: Subtraction, result: Exposure, x: float, y: float
) -> dict[str, object]:
    """Return widths and noise-equivalent areas of the PSF, before and after."""
    metrics: dict[str, object] = {}
    for when, psf in (("before", subtraction.psf), ("after", result.psf)):
        if psf is not None:
            stamp = psf.stamp(x, y)
            metrics[f"fwhm_{when}"] = half_maximum_fwhm(stamp)
            metrics[f"moment_fwhm_{when}"] = adaptive_fwhm(stamp)
            metrics[f"area_{when}"] = noise_equivalent_area(stamp)
    return metrics
