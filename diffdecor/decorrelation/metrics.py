"""The metrics that describe what was done, as they go into the header."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.parallel import ordered_map
from diffdecor.core.planes import Plane, Window, part_of
from diffdecor.core.psf import adaptive_fwhm, half_maximum_fwhm, noise_equivalent_area
from diffdecor.core.sources import find_sources
from diffdecor.core.statistics import clipped_mean
from diffdecor.core.variance import squared_sums
from diffdecor.core.whiteness import Autocorrelation, autocorrelation, sky_pixels
from diffdecor.decorrelation.filtering import FilterGrid
from diffdecor.decorrelation.nodes import centre_of
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.images.model import Exposure
from diffdecor.kernels.model import Side, nearest_covered

#: Pixels of the part of an image where the correlation is measured, and its largest width.
_MEASURED = 1 << 18
_WIDEST = 1024
_SIDES = f"{{{', '.join(map(repr, get_args(Side)))}}}"
#: Largest lag of the correlation, pixels.
_LAGS = 3


class Metric(NamedTuple):
    """What a metric is: declared once, for its documentation, its card and its unit."""

    keyword: str
    unit: str
    text: str


def _metric(keyword: str, unit: str, text: str, default: object = None) -> Any:  # noqa: ANN401
    """Declare a metric as a field."""
    return field(default=default, metadata={"metric": Metric(keyword, unit, text)})


def _documented(metrics: type[Metrics]) -> type[Metrics]:
    """Add the declared metrics to the docstring, as parameters."""
    lines = ["", "    Parameters", "    ----------"]
    for item in fields(metrics):
        about: Metric = item.metadata["metric"]
        symbol = not about.text[1].isalpha()  # as of "s, noise variance"
        text = about.text if symbol else about.text[0].upper() + about.text[1:]
        unit = f" ({about.unit})" if about.unit else ""
        kind = str(item.type).replace(" | None", ", optional").replace("Side", _SIDES)
        lines += [f"    {item.name} : {kind}", f"        {text}{unit}."]
    head, mark, examples = (metrics.__doc__ or "").partition("\n    Examples")
    metrics.__doc__ = head + "\n".join(lines) + "\n" + mark + examples
    return metrics


@_documented
@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What was done to a difference, and what its noise and PSF were and are.

    None is what was not measured: correlations without sky, widths without a PSF, kernel and scales
    of a difference alone. The output of ``diffdecor run`` has a card of each.

    Examples
    --------
    >>> from diffdecor import Metrics
    >>> metrics = Metrics(rho_before=0.31, rho_after=0.008)
    >>> metrics.rho_after, metrics.factor_after
    (0.008, None)
    >>> metrics.as_dict()
    {'skipped': False, 'rho_before': 0.31, 'rho_after': 0.008}
    """

    # fmt: off
    # A table: keyword of the card, unit, what it is.
    skipped: bool = _metric(
        "DDSKIP", "", "True: no data; the difference is unchanged", default=False)
    side: Side | None = _metric("DDCONVOL", "", "image that was convolved (at the position)")
    position_x: float | None = _metric("DDXPOS", "pixel", "1-based position of the metrics below")
    position_y: float | None = _metric("DDYPOS", "pixel", "1-based position of the metrics below")
    kernel_sum: float | None = _metric("DDKSUM", "", "sum of the matching kernel")
    science_scale: float | None = _metric("DDASCI", "", "a_S, scale of the science side")
    template_scale: float | None = _metric("DDATMP", "", "a_T, scale of the template side")
    science_level: float | None = _metric(
        "DDSNOISE", "image unit2", "s, noise variance, science image")
    template_level: float | None = _metric(
        "DDTNOISE", "image unit2", "t, noise variance, template")
    science_weight: float | None = _metric("DDSWGHT", "", "weight of the science variance")
    template_weight: float | None = _metric("DDTWGHT", "", "weight of the template variance")
    noise_model: str | None = _metric("DDNMODEL", "", "noise model used: white, measured or known")
    noise_reason: str | None = _metric("DDNWHY", "", "why this model was used")
    noise_pixels: int | None = _metric("DDNPIX", "pixel", "sky pixels whose noise was measured")
    held_out_white: float | None = _metric(
        "DDRHOW", "", "max |rho| on windows not fitted, white noise")
    held_out_measured: float | None = _metric(
        "DDRHOM", "", "max |rho| on windows not fitted, measured")
    filter_error: float | None = _metric(
        "DDPSIERR", "", "1 sigma error of log psi at zero frequency")
    filters: int | None = _metric("DDNFILT", "", "number of filters (nodes or cells)")
    nodes_bounded: bool | None = _metric(
        "DDNBOUND", "", "True: noise varies faster than these follow")
    filter_half_width: int | None = _metric("DDHWIDTH", "pixel", "half width of the filters")
    filter_tail: float | None = _metric("DDTAIL", "", "fraction of the filters' L2 norm cut off")
    fallbacks: int | None = _metric("DDNFALL", "", "nodes or cells without their own noise level")
    filled_pixels: int | None = _metric("DDNFILL", "pixel", "pixels filled before filtering")
    variance_before: float | None = _metric(
        "DDVARIN", "image unit2", "mean variance of the difference")
    variance_after: float | None = _metric("DDVAROUT", "image unit2", "mean variance of the result")
    correlation_x_before: float | None = _metric(
        "DDCORX0", "", "x neighbour correlation of the difference")
    correlation_y_before: float | None = _metric(
        "DDCORY0", "", "y neighbour correlation of the difference")
    correlation_x_after: float | None = _metric(
        "DDCORX1", "", "x neighbour correlation of the result")
    correlation_y_after: float | None = _metric(
        "DDCORY1", "", "y neighbour correlation of the result")
    correlation_rms_before: float | None = _metric(
        "DDCORR0", "", "rms correlation to lag 3 of the difference")
    correlation_rms_after: float | None = _metric(
        "DDCORR1", "", "rms correlation to lag 3 of the result")
    correlation_error: float | None = _metric(
        "DDCORERR", "", "1 sigma error of these if noise is white")
    rho_before: float | None = _metric("DDRHO0", "", "max |rho| within 5 pixels, difference")
    rho_after: float | None = _metric("DDRHO1", "", "max |rho| within 5 pixels, result")
    rho_error: float | None = _metric("DDRHOERR", "", "1 sigma error of one rho if noise is white")
    factor_before: float | None = _metric(
        "DDFACT0", "", "matched-filter noise factor I, difference")
    factor_after: float | None = _metric(
        "DDFACT1", "", "matched-filter noise factor I, result")
    factor_error: float | None = _metric("DDFACTER", "", "1 sigma error of that of the result")
    covariance_factor: float | None = _metric(
        "DDCOVFAC", "", "sum of covariance over variance, result")
    chi_before: float | None = _metric(
        "DDCHI0", "", "measured/claimed variance of the difference")
    chi_after: float | None = _metric("DDCHI1", "", "measured/claimed variance of the result")
    chi_error: float | None = _metric("DDCHIERR", "", "1 sigma error of these")
    chi_worst: float | None = _metric("DDCHIMAX", "", "that of the window farthest from 1")
    sky_pixels: int | None = _metric("DDNSKY", "pixel", "source-free pixels that were measured")
    fwhm_before: float | None = _metric("DDFWHM0", "pixel", "PSF FWHM at half maximum, difference")
    fwhm_after: float | None = _metric("DDFWHM1", "pixel", "PSF FWHM at half maximum, result")
    moment_fwhm_before: float | None = _metric(
        "DDFWHMM0", "pixel", "PSF adaptive-moment FWHM, difference")
    moment_fwhm_after: float | None = _metric(
        "DDFWHMM1", "pixel", "PSF adaptive-moment FWHM, result")
    area_before: float | None = _metric("DDNEA0", "pixel", "PSF noise-equivalent area, difference")
    area_after: float | None = _metric("DDNEA1", "pixel", "PSF noise-equivalent area, result")
    # fmt: on

    def as_dict(self) -> dict[str, Any]:
        """Return what was measured, by name; what was not is left out."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def metric_table() -> dict[str, Metric]:
    """Return every metric by its name, in order."""
    return {item.name: item.metadata["metric"] for item in fields(Metrics)}


def measure_metrics(
    subtraction: Subtraction, result: Exposure, unusable: Plane, filters: FilterGrid
) -> dict[str, object]:
    """Return the metrics of what was done, and of the middle of the image, by name.

    Kernel, noise and PSF are those at the filter nearest to the centre of the image.
    """
    offsets = filters.positions - centre_of(subtraction)
    filters_there = filters.only(int(np.argmin((offsets**2).sum(axis=1))))
    x, y = nearest_covered(subtraction.kernel, *filters_there.positions[0].tolist())
    metrics: dict[str, object] = {
        "skipped": False,
        "position_x": x + 1,
        "position_y": y + 1,
        "filters": len(filters.stamps),
        "filter_half_width": filters.half_width,
        "filter_tail": filters.tail,
    }
    if not subtraction.is_alone:
        metrics |= _side_metrics(subtraction, filters_there, x, y)
    noise = _noise_metrics(subtraction, result, unusable)
    return metrics | noise | _psf_metrics(subtraction, result, x, y)


def _side_metrics(
    subtraction: Subtraction, filters_there: FilterGrid, x: float, y: float
) -> dict[str, object]:
    """Return what both images and the kernel are at a position, of the filter there."""
    science, template = filters_there.science, filters_there.template
    return {
        "side": subtraction.side(x, y),
        "kernel_sum": subtraction.kernel.sum(x, y),
        "science_scale": float(science.scale[0]),
        "template_scale": float(template.scale[0]),
        "science_level": float(science.level[0]),
        "template_level": float(template.level[0]),
        "science_weight": float(squared_sums(filters_there.stamps, science)[0]),
        "template_weight": float(squared_sums(filters_there.stamps, template)[0]),
    }


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
    usable &= ~_sources(subtraction, window, usable)
    variance = None if result.variance is None else inside(result.variance)

    def measured(exposure: Exposure) -> Autocorrelation:
        return autocorrelation(*sky_pixels(inside(exposure.image), usable, variance), max_lag=_LAGS)

    found = ordered_map(measured, exposures.values(), subtraction.threads)
    for when, correlation in zip(exposures, found, strict=True):
        metrics[f"correlation_x_{when}"] = correlation.at(1, 0)
        metrics[f"correlation_y_{when}"] = correlation.at(0, 1)
        metrics[f"correlation_rms_{when}"] = correlation.rms()
        metrics["correlation_error"] = correlation.error_at(1, 0)
        metrics["sky_pixels"] = correlation.pixels
    return metrics


def _sources(
    subtraction: Subtraction, window: Window, usable: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the pixels of a window with light of sources, as the best image shows them."""
    if subtraction.science is not None:
        return find_sources(part_of(subtraction.science.image, window), usable)
    difference = subtraction.difference
    sigma = None if difference.variance is None else np.sqrt(part_of(difference.variance, window))
    return find_sources(part_of(difference.image, window), usable, sigma)


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
