"""Noise whose correlation is known: from covariances to its power, and back to a lag image.

A *lag image* ``(2 L + 1, 2 L + 1)`` holds the covariance of two pixels that are ``dx`` columns and
``dy`` rows apart at index ``[L + dy, L + dx]``: the variance in the middle, and the same value at
opposite lags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums
from diffdecor.core.spectrum import MAX_LAG, SIZE, LogSpectrum, fit_spectrum

#: Largest lag of the lag images that are written, pixels.
WRITTEN_LAG = 20
#: Fewer pixels tell nothing of a spectrum.
FEWEST_PIXELS = 1000
#: Powers below this share of their mean are raised to it.
_FLOOR = 1e-6

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class NoisePower:
    """The power of some noise: its shape, and its level."""

    #: Power at one place, relative to its mean.
    spectrum: LogSpectrum
    #: Mean power, which is the variance of a pixel.
    variance: float
    #: The variance is in image unit squared; otherwise in units of the variance plane.
    absolute: bool
    #: What messages call it: the file that it is from, mostly.
    name: str = "noise"

    def covariance(self, max_lag: int = WRITTEN_LAG) -> Values:
        """Return the lag image ``(2 max_lag + 1, 2 max_lag + 1)``."""
        return np.asarray(self.spectrum.covariance(max_lag)[0] * self.variance)

    def unit_kernel(self) -> Values:
        """Return what makes noise of this shape and unit variance of white noise ``(n, n)``.

        Its origin is in the middle, and its squares add up to 1.
        """
        (kernel,) = self.spectrum.kernels()
        return np.asarray(kernel / np.sqrt((kernel**2).sum()))


def power_of_sums(sums: LagSums, name: str = "noise") -> NoisePower | None:
    """Return the noise power that is fitted to covariances, None where they tell none.

    They are in image unit squared. Beyond their largest lag there is taken to be no covariance. Too
    few pixels tell no power, and neither do those without noise.
    """
    pixels, variance = float(sums.pixels), float(sums.covariance[0, sums.max_lag])
    if pixels < FEWEST_PIXELS or not 0.0 < variance < np.inf:
        return None
    # Logarithms of powers are bounded, so the level must be taken out.
    fit = fit_spectrum(_to_max_lag(LagSums(sums.products / variance, sums.pairs)))
    if not fit.converged:
        return None
    return NoisePower(
        spectrum=of_unit_variance(fit.spectrum),
        variance=variance,
        absolute=True,
        name=name,
    )


def _to_max_lag(sums: LagSums) -> LagSums:
    """Return sums of one window with lags to `MAX_LAG`: cut off, or without pairs beyond."""
    beyond = max(MAX_LAG - sums.max_lag, 0)
    inside = max(sums.max_lag - MAX_LAG, 0)
    columns = slice(inside, 2 * sums.max_lag + 1 - inside)
    products, pairs = (
        np.pad(values[: MAX_LAG + 1, columns], ((0, beyond), (beyond, beyond)))
        for values in (sums.products, sums.pairs)
    )
    return LagSums(products, pairs)


def of_unit_variance(spectrum: LogSpectrum) -> LogSpectrum:
    """Return a spectrum relative to its mean power, at every place."""
    coefficients = spectrum.coefficients.copy()
    coefficients[:, 0] -= np.log(spectrum.covariance(0)[:, 0, 0])
    return LogSpectrum(spectrum.lags, coefficients)


def spectrum_of_lags(covariance: Values) -> tuple[LogSpectrum, float]:
    """Return the spectrum of noise of a covariance, relative to its mean power.

    Parameters
    ----------
    covariance : array (2 L + 1, 2 L + 1)
        Lag image, the same at opposite lags; L is `MAX_LAG` at most. It is 0 beyond.

    Returns
    -------
    LogSpectrum
        Of one place, with all lags of its grid: the power is that of the covariance.
    float
        Share of the power that had to be moved, because a covariance that was cut off, or measured,
        has negative powers somewhere. What is as small as these is not known, and raised to their
        size; so are powers below a millionth of the mean. The mean stays as it is.
    """
    reach = covariance.shape[0] // 2
    offsets = np.arange(-reach, reach + 1)
    torus = np.zeros((SIZE, SIZE))
    torus[offsets[:, np.newaxis], offsets] = covariance / covariance[reach, reach]
    power = np.fft.fft2(torus).real  # its mean is 1
    raised = np.maximum(power, max(_FLOOR, -float(power.min())))
    moved = float((raised - power).mean())
    return spectrum_of_power((raised / raised.mean())[:, : SIZE // 2 + 1]), moved


def spectrum_of_power(power: Values) -> LogSpectrum:
    """Return the spectrum that has a positive power exactly.

    Parameters
    ----------
    power : array (SIZE, SIZE // 2 + 1)
        On the frequencies of a real transform.

    Returns
    -------
    LogSpectrum
        Of one place, with all lags of its grid.
    """
    series = np.fft.irfft2(np.log(power), (SIZE, SIZE))
    lags = _grid_lags()
    coefficients = series[lags[:, 0], lags[:, 1]]
    # Those that are their own opposites on the grid would be added twice; zero is not.
    is_own = (lags % (SIZE // 2) == 0).all(axis=1)
    is_own[0] = False
    coefficients[is_own] /= 2
    return LogSpectrum(lags, coefficients[np.newaxis])


def _grid_lags() -> NDArray[np.intp]:
    """Return one of every two opposite lags ``(dy, dx)`` of the grid ``(m, 2)``, zero first."""
    half = SIZE // 2
    dy, dx = np.mgrid[0 : half + 1, 1 - half : half + 1].reshape(2, -1)
    kept = (dx >= 0) | ((dy > 0) & (dy < half))
    order = np.lexsort((dx, dy, np.hypot(dy, dx)))
    return np.column_stack([dy, dx])[order[kept[order]]]
