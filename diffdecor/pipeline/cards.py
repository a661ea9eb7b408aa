"""The metrics that a decorrelation leaves in the header, each declared once.

The header of the output, the JSON of the command line and the table of the README come from here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A figure and the card that carries it.

    Parameters
    ----------
    name : str
        Name in Python and JSON.
    keyword : str
        FITS keyword.
    unit : str
        Unit, empty for pure numbers and texts.
    comment : str
        What it is.
    """

    name: str
    keyword: str
    unit: str
    comment: str


METRIC_CARDS = (
    Card("skipped", "DDSKIP", "", "True: no data, the difference is as it was"),
    Card("side", "DDCONVOL", "", "image that was convolved; at the position"),
    Card("position_x", "DDXPOS", "pixel", "1-based position of the metrics below"),
    Card("position_y", "DDYPOS", "pixel", "1-based position of the metrics below"),
    Card("kernel_sum", "DDKSUM", "", "sum of the matching kernel"),
    Card("science_scale", "DDASCI", "", "a_S, scale of the science side"),
    Card("template_scale", "DDATMP", "", "a_T, scale of the template side"),
    Card("science_level", "DDSNOISE", "image unit2", "s, noise variance of the science image"),
    Card("template_level", "DDTNOISE", "image unit2", "t, noise variance of the template"),
    Card("science_weight", "DDSWGHT", "", "weight of the science variance"),
    Card("template_weight", "DDTWGHT", "", "weight of the template variance"),
    Card("residual", "DDRESID", "sigma", "rms of the rebuilt difference less the real one"),
    Card("residual_bright", "DDRESIDB", "sigma", "the same on bright pixels"),
    Card("filters", "DDNFILT", "", "number of filters (nodes or cells)"),
    Card("filter_half_width", "DDHWIDTH", "pixel", "arm of the filters"),
    Card("filter_tail", "DDTAIL", "", "share of their L2 norm cut off"),
    Card("fallbacks", "DDNFALL", "", "nodes or cells without a noise level of their own"),
    Card("filled_pixels", "DDNFILL", "pixel", "pixels filled before filtering"),
    Card("variance_before", "DDVARIN", "image unit2", "mean variance, difference as it was"),
    Card("variance_after", "DDVAROUT", "image unit2", "mean variance of the result"),
    Card("correlation_x_before", "DDCORX0", "", "x neighbour correlation, as it was"),
    Card("correlation_y_before", "DDCORY0", "", "y neighbour correlation, as it was"),
    Card("correlation_x_after", "DDCORX1", "", "x neighbour correlation of the result"),
    Card("correlation_y_after", "DDCORY1", "", "y neighbour correlation of the result"),
    Card("correlation_rms_before", "DDCORR0", "", "rms correlation to lag 3, as it was"),
    Card("correlation_rms_after", "DDCORR1", "", "rms correlation to lag 3 of the result"),
    Card("correlation_error", "DDCORERR", "", "1 sigma error of these if noise is white"),
    Card("sky_pixels", "DDNSKY", "pixel", "source-free pixels that were measured"),
    Card("fwhm_before", "DDFWHM0", "pixel", "PSF FWHM at half maximum, as it was"),
    Card("fwhm_after", "DDFWHM1", "pixel", "PSF FWHM at half maximum of the result"),
    Card("moment_fwhm_before", "DDFWHMM0", "pixel", "PSF FWHM of adaptive moments, as it was"),
    Card("moment_fwhm_after", "DDFWHMM1", "pixel", "PSF FWHM of adaptive moments, result"),
    Card("area_before", "DDNEA0", "pixel", "noise-equivalent area of the PSF, as it was"),
    Card("area_after", "DDNEA1", "pixel", "noise-equivalent area of the PSF, result"),
)
