"""From covariances to what pictures show: correlation by lag, and power by frequency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums, opposite
from diffdecor.pipeline.results_table import number_of

#: Largest lag that is shown, pixels.
SHOWN_LAG = 8
#: Side of the grid of frequencies, and width of a bin of the radial power, cycles per pixel.
_SIZE, _BIN = 128, 1 / 64

Values = NDArray[np.float64]


def correlation_of_sums(sums: LagSums) -> Values | None:
    """Return the correlation at every lag ``(2 L + 1, 2 L + 1)`` of sums; None without noise."""
    variance = float(sums.covariance[0, sums.max_lag])
    if not (sums.pixels > 0 and variance > 0):
        return None
    return np.asarray(opposite(sums.covariance) / variance)


def correlation_of_lags(covariance: Values) -> Values | None:
    """Return the correlation of a lag image; None if it is not one."""
    ny, nx = covariance.shape
    middle = covariance[ny // 2, nx // 2]
    if not (ny == nx and ny % 2 and np.isfinite(covariance).all() and middle > 0):
        return None
    return np.asarray(covariance / middle, dtype=np.float64)


def within(correlation: Values, reach: int = SHOWN_LAG) -> Values:
    """Return the correlation at lags up to `reach`, with nothing at lag zero, which is 1."""
    middle = correlation.shape[0] // 2
    shown = min(reach, middle)
    part = correlation[middle - shown : middle + shown + 1, middle - shown : middle + shown + 1]
    part = part.copy()
    part[shown, shown] = np.nan
    return part


@dataclass(frozen=True, eq=False)
class RadialPower:
    """Noise power by spatial frequency; that of independent pixels is 1."""

    frequency: Values
    power: Values


def radial_power(correlation: Values) -> RadialPower:
    """Return the power of noise of a correlation ``(2 L + 1, 2 L + 1)``, relative to its mean.

    The estimate of Blackman and Tukey, with Parzen's window: it is never far below zero.
    """
    reach = correlation.shape[0] // 2
    lags = np.arange(-reach, reach + 1)
    distance = np.hypot(lags[:, np.newaxis], lags) / (reach + 1)
    taper = np.where(
        distance <= 0.5,
        1 - 6 * distance**2 + 6 * distance**3,
        2 * np.clip(1 - distance, 0, None) ** 3,
    )
    torus = np.zeros((_SIZE, _SIZE))
    torus[lags[:, np.newaxis], lags] = correlation * taper
    power = np.fft.fft2(torus).real
    axis = np.fft.fftfreq(_SIZE)
    at = (np.hypot(axis[:, np.newaxis], axis) / _BIN).astype(np.intp)
    number = round(0.5 / _BIN)
    inside = at < number
    counts = np.bincount(at[inside], minlength=number)
    total = np.bincount(at[inside], weights=power[inside], minlength=number)
    middles = np.asarray((np.arange(number) + 0.5) * _BIN, dtype=np.float64)
    return RadialPower(middles, total / counts)


def depth_change(metrics: Mapping[str, Any], measured: Mapping[str, float]) -> float:
    """Return by how many magnitudes fainter a point source can be for the same real significance.

    NaN where it is not known. It compares the real scatter of matched-filter fluxes,
    ``I sqrt(variance * area)``, I relative to the variance plane, or where there was none to the
    variance as `measured`, by ``before`` and ``after``.
    """
    scatter = {}
    for when in ("before", "after"):
        variance = number_of(metrics, f"variance_{when}")
        if math.isnan(variance):
            variance = measured.get(when, math.nan)
        product = variance * number_of(metrics, f"area_{when}")
        scatter[when] = number_of(metrics, f"factor_{when}") * math.sqrt(max(product, 0.0))
    if not (scatter["before"] > 0 and scatter["after"] > 0):
        return math.nan
    return 2.5 * math.log10(scatter["before"] / scatter["after"])
