"""Measured noise: how the noise power differs from that of white input noise.

``P(x, y; k) = P_model(x, y; k) R(x, y; k)``, where R is fitted to the correlation that is left when
the difference is whitened with the model. Templates are warped coadds, drizzled images are
resampled: their noise is correlated before any kernel is applied, of which the model knows nothing.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.spectrum import (
    SpectrumFit,
    at_lags,
    half_plane_lags,
)
from diffdecor.core.spectrum_field import SpectrumField, fit_deviations
from diffdecor.decorrelation.nodes import Places
from diffdecor.decorrelation.noise_levels import NoiseLevels
from diffdecor.decorrelation.noise_measurement import (
    NoiseMeasurement,
    NotMeasurableError,
    may_vary,
    measure_noise_windows,
)
from diffdecor.decorrelation.subtraction import ROLES, Subtraction
from diffdecor.errors import InputError

log = logging.getLogger(__name__)

#: Sky pixels below which the level of the filter is uncertain.
FEW_PIXELS = 20_000
#: Lags whose correlations decide, pixels.
_DECISIVE = 5.0
#: Gain in chi-square that is significant: 3.5 sigma, whatever the size of the effect.
_SIGNIFICANT = 12.0
#: The same for score images, whose noise is correlated across the borders of windows.
_SCORE_SIGNIFICANT = 36.0
#: Error of the variance that is worth mending.
_LEVEL = 0.02
#: Lags at which only source light is left, pixels, and the sigmas of their mean that show it.
_LIGHT, _LIGHT_SIGMAS = (8.0, 15.0), 3.0


@dataclass(frozen=True)
class NoiseReport:
    """Which noise model was used, and why."""

    #: ``white``, ``measured`` or ``known``.
    model: str
    reason: str = "as asked"
    #: Largest correlation within 5 pixels on windows that were not fitted: white, measured.
    rho_white: float | None = None
    rho_measured: float | None = None
    #: One sigma of ``log psi`` at zero frequency.
    filter_error: float | None = None
    #: Sky pixels that were measured.
    pixels: int | None = None

    @property
    def gain(self) -> str:
        """What it gained, for the log."""
        if self.rho_white is None:
            return ""
        values = f"{self.rho_white:.4f} white, {self.rho_measured:.4f} measured"
        return f" (max |rho| on windows that were not fitted: {values})"

    @property
    def metrics(self) -> dict[str, object]:
        """Fields of `Metrics` that are known."""
        values = {
            "noise_model": self.model,
            "noise_reason": self.reason,
            "held_out_white": self.rho_white,
            "held_out_measured": self.rho_measured,
            "filter_error": self.filter_error,
            "noise_pixels": self.pixels,
        }
        return {name: value for name, value in values.items() if value is not None}


def with_measured_noise(
    subtraction: Subtraction, places: Places, levels: NoiseLevels
) -> tuple[Subtraction, NoiseReport]:
    """Return a subtraction with the noise spectrum that its options ask for, and what it is.

    Raises `InputError` if noise must be measured, there being nothing else, and cannot be.
    """
    if subtraction.spectra is not None:
        return subtraction, NoiseReport("known", "the noise power of the difference is given")
    asked = "measured" if subtraction.is_alone else subtraction.config.noise_model
    unneeded = _not_to_be_measured(subtraction)
    if asked == "white" or (asked == "auto" and unneeded):
        return subtraction, NoiseReport("white", unneeded if asked == "auto" else "as asked")
    name = subtraction.difference.name
    try:
        field, report = _measured(subtraction, places, levels)
    except NotMeasurableError as error:
        if subtraction.is_alone:
            msg = f"{name}: its noise cannot be measured: {error}"
            raise InputError(msg) from None
        level = logging.WARNING if asked == "measured" else logging.INFO
        log.log(level, "%s: noise taken as white, it cannot be measured: %s", name, error)
        return subtraction, NoiseReport("white", str(error))
    log.info("%s: %s noise: %s%s", name, report.model, report.reason, report.gain)
    return (subtraction if field is None else replace(subtraction, spectra=field)), report


def _not_to_be_measured(subtraction: Subtraction) -> str:
    """Return why noise is taken as white unless it is asked for otherwise, if so."""
    config = subtraction.config
    if any(subtraction.given_level(role) is not None for role in ROLES):
        return "the variance is given as a number"
    if config.edges == "zero" and config.fill == "mean":
        return "edges and fill are those of LSST"
    return ""


def _measured(
    subtraction: Subtraction, places: Places, levels: NoiseLevels
) -> tuple[SpectrumField | None, NoiseReport]:
    """Return the noise spectrum relative to the model, None if white noise is as good; and why."""
    found = measure_noise_windows(subtraction, places, levels)
    fit = found.fit()
    if not fit.converged:
        msg = "its covariances are not those of stationary noise"
        raise NotMeasurableError(msg)
    report = _judged(subtraction, fit, _held_out(found, fit))
    if report.model == "white":
        return None, report
    _warn_of_few_pixels(subtraction, fit)
    _warn_of_light(subtraction, found, fit)
    if may_vary(subtraction):
        blocks = found.grid.blocks
        local = fit_deviations(found.by_blocks, blocks.shape, found.expected, fit)
        if local is not None:
            return SpectrumField(*blocks.centres, local), report
    return SpectrumField.constant(fit.spectrum), report


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """What white and measured noise leave on windows that were not fitted, in this order."""

    #: Chi-square of the correlations, and of the variance ``(2,)``.
    correlations: NDArray[np.float64]
    level: NDArray[np.float64]
    #: Residual variance less 1, and correlations at all lags ``(2, m)``.
    residuals: NDArray[np.float64]

    def reason(self, significant: float) -> str:
        """Return why measured noise is to be used, nothing if it is not."""
        white, measured = self.correlations
        if white - measured > significant:
            return "whiter with it"
        white, measured = self.level
        if white - measured > significant and abs(self.residuals[0, 0]) > _LEVEL:
            return "truer in variance with it"
        return ""

    @property
    def largest(self) -> list[float]:
        """Largest correlations."""
        return [float(one) for one in np.abs(self.residuals[:, 1:]).max(axis=1)]


def _held_out(found: NoiseMeasurement, fit: SpectrumFit) -> _HeldOut | None:
    """Fit every second window, as on a chessboard, and judge the others by it; both ways.

    None if there are too few pixels for it.
    """
    lags = half_plane_lags(_DECISIVE)
    row, column = np.indices(found.grid.shape).reshape(2, -1)
    odd = (row + column) % 2 == 1
    if odd.all() or not odd.any():
        return None
    weighted, squares, number = np.zeros((2, len(lags))), np.zeros((2, len(lags))), 0.0
    for fitted in (odd, ~odd):
        trained = replace(found, guess=fit.spectrum).fit(fitted)
        other = found.sums[~fitted].total()
        if not trained.converged:
            return None
        pairs = at_lags(other.pairs, lags)
        power = trained.spectrum.power()[0]
        left = found.left(other, np.array([np.ones_like(power), power]), lags)
        weighted += pairs * left
        squares += pairs * left**2
        number += float(pairs[0])
    return _HeldOut(squares[:, 1:].sum(axis=1), squares[:, 0] / 2, weighted / max(number, 1.0))


def _judged(subtraction: Subtraction, fit: SpectrumFit, held_out: _HeldOut | None) -> NoiseReport:
    """Say whether measured noise is to be used: where it is better on windows not fitted."""
    report = NoiseReport("measured", filter_error=fit.filter_error, pixels=int(fit.pixels))
    if held_out is not None:
        white, measured = held_out.largest
        report = replace(report, rho_white=white, rho_measured=measured)
    if subtraction.is_alone:
        return replace(report, reason="the difference is alone")
    if subtraction.config.noise_model == "measured":
        return report
    if held_out is None:
        return replace(report, model="white", reason="too few pixels to judge by")
    reason = held_out.reason(_SCORE_SIGNIFICANT if subtraction.config.score else _SIGNIFICANT)
    if reason:
        return replace(report, reason=reason)
    return replace(report, model="white", reason="measured noise is no better")


def _warn_of_few_pixels(subtraction: Subtraction, fit: SpectrumFit) -> None:
    if fit.pixels < FEW_PIXELS:
        log.warning(
            "%s: only %d sky pixels; the level of the filter is uncertain by %.0f per cent",
            *(subtraction.difference.name, fit.pixels, 100 * fit.filter_error),
        )


def _warn_of_light(subtraction: Subtraction, found: NoiseMeasurement, fit: SpectrumFit) -> None:
    """Warn of faint light that correlates pixels far apart, and raises the noise level."""
    lags = half_plane_lags(_LIGHT[1])
    lags = lags[np.hypot(*lags.T) >= _LIGHT[0]]
    zero = np.zeros((1, 2), dtype=np.intp)
    total = found.sums.total()
    left = found.left(total, fit.spectrum.power()[0], np.concatenate([zero, lags]))[1:]
    error = 1 / math.sqrt(float(at_lags(total.pairs, lags).sum()))
    if float(left.mean()) > _LIGHT_SIGMAS * error:
        log.warning(
            "%s: pixels %g to %g px apart are correlated by %.4f +- %.4f: unmasked light of "
            "sources or uneven sky; the noise level of the result may be too high",
            *(subtraction.difference.name, *_LIGHT, float(left.mean()), error),
        )
