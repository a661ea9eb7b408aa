"""Noise power as a short cosine series of its logarithm, fitted to measured covariances.

``log R(k) = c_0 + sum over lags l of 2 c_l cos(2 pi k . l)``: the exponential model of Bloomfield
(1973, Biometrika 60, 217) in two dimensions, fitted by Whittle's likelihood. R is positive whatever
the coefficients are. Close to the solution c_l is the correlation at lag l that is left, and the
Fisher information of the coefficients is diagonal, ``var(c_l) = 1/n`` and ``var(c_0) = 2/n`` with n
pairs of pixels.

Coefficients that the data do not support are shrunk to zero, ring by ring of lags of about the same
length: their variance within a ring is estimated from themselves (empirical Bayes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums
from diffdecor.core.fourier import centred

#: Size of the grid of frequencies.
SIZE = 64
#: Largest lag of the covariances that spectra are fitted to, pixels: the grid holds no more.
MAX_LAG = SIZE // 2 - 1
#: Lags up to this are fitted, pixels.
RADIUS = 10.0
#: What is fitted instead where there are too few pixels for so many lags, pixels.
_RADII = (RADIUS, 6.0, 4.0)
#: Share of the L2 norm of a noise kernel that may be cut off.
KERNEL_TAIL = 1e-4
#: Upper ends of the first rings of lags, pixels; beyond, rings are one pixel wide.
_RINGS = (0.0, 1.0, 1.5, 2.0, 3.0)
#: Steps of the fit: their largest number, the size that ends it, and the largest that is made. Most
#: fits take a few; noise correlated over several pixels is far from any guess.
_STEPS, _SMALL_STEP, _LARGEST_STEP = 60, 2e-3, 0.4
#: The last step of a fit that has settled is not larger: shrinkage may still move it slowly.
_SETTLED = 0.05
#: Prior variance of the level, which is never shrunk.
_LEVEL_VARIANCE = 0.3
#: Logarithms of the power are bounded, so that nothing overflows while the fit is far off.
LARGEST_LOG = 30.0

Values = NDArray[np.float64]


def half_plane_lags(radius: float = RADIUS) -> NDArray[np.intp]:
    """Return the lags ``(dy, dx)`` of a half plane up to a radius ``(m, 2)``, ``(0, 0)`` first.

    They are those with ``dy > 0``, or ``dy = 0`` and ``dx >= 0``.
    """
    reach = int(radius + 0.3)
    dy, dx = np.mgrid[0 : reach + 1, -reach : reach + 1].reshape(2, -1)
    length = np.hypot(dy, dx)
    kept = (length <= radius + 0.3) & ((dy > 0) | (dx >= 0))
    order = np.lexsort((dx, dy, length))
    return np.column_stack([dy, dx])[order[kept[order]]]


def at_lags(values: Values, lags: NDArray[np.intp]) -> Values:
    """Return values over a half plane ``(..., L + 1, 2 L + 1)`` at lags ``(m, 2)``."""
    middle = values.shape[-1] // 2
    return np.asarray(values[..., lags[:, 0], middle + lags[:, 1]])


def rings(lags: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the indices of the lags ``(m, 2)`` of every ring, the lag of zero first."""
    length = np.hypot(*lags.T)
    ends = np.array([*_RINGS, *np.arange(_RINGS[-1] + 1, length.max() + 2)])
    ring = np.searchsorted(ends + 1e-9, length)
    return [np.flatnonzero(ring == number) for number in range(ring.max() + 1)]


@dataclass(frozen=True, eq=False)
class LogSpectrum:
    """Noise powers at n places, relative to a model: cosine series of their logarithms."""

    #: Half-plane lags ``(dy, dx)`` ``(m, 2)``, that of zero first.
    lags: NDArray[np.intp]
    #: Coefficients c_l at every place ``(n, m)``.
    coefficients: Values

    def within(self, radius: float) -> LogSpectrum:
        """Return the spectrum of the lags up to a radius, which come first."""
        number = int(np.count_nonzero(np.hypot(*self.lags.T) <= radius + 0.3))
        return LogSpectrum(self.lags[:number], self.coefficients[:, :number])

    def log_power(self, size: int = SIZE) -> Values:
        """Return ``log R`` on the frequencies of a real transform ``(n, size, size // 2 + 1)``."""
        series = np.zeros((len(self.coefficients), size, size))
        dy, dx = self.lags.T
        # Adding up lets the lag of zero count once, and all others at both signs.
        series[:, dy, dx] += self.coefficients
        series[:, -dy[1:], -dx[1:]] += self.coefficients[:, 1:]
        return np.asarray(np.fft.rfft2(series).real)

    def power(self, size: int = SIZE) -> Values:
        """Return ``R`` on the frequencies of a real transform ``(n, size, size // 2 + 1)``."""
        return np.exp(np.clip(self.log_power(size), -LARGEST_LOG, LARGEST_LOG))

    def kernels(self, tail: float = KERNEL_TAIL) -> Values:
        """Return the noise kernels h, ``|h(k)|^2 = R(k)``: white noise through h has the power R.

        They are symmetric, ``(n, 2 w + 1, 2 w + 1)`` with the origin in the middle, cut where less
        than the share `tail` of their L2 norm lies beyond; the power cut off goes to what is kept.
        """
        power = self.power()
        wrapped = np.fft.irfft2(np.sqrt(power), (SIZE, SIZE))
        whole = centred(wrapped, MAX_LAG)
        offsets = np.abs(np.arange(-MAX_LAG, MAX_LAG + 1))
        square = np.maximum(offsets[:, np.newaxis], offsets)
        energy = (whole**2).max(axis=0)
        beyond = [energy[square > width].sum() for width in range(MAX_LAG)]
        enough = np.flatnonzero(np.array(beyond) <= tail**2 * energy.sum())
        width = int(enough[0]) if enough.size else MAX_LAG
        kept = whole[
            :, MAX_LAG - width : MAX_LAG + width + 1, MAX_LAG - width : MAX_LAG + width + 1
        ]
        zero = np.sqrt(power[:, 0, 0])
        return np.asarray(kept * (zero / kept.sum(axis=(1, 2)))[:, np.newaxis, np.newaxis])

    def covariance(self, max_lag: int = MAX_LAG) -> Values:
        """Return the covariance of noise of power R at all lags ``(n, 2 L + 1, 2 L + 1)``."""
        return centred(np.fft.irfft2(self.power(), (SIZE, SIZE)), max_lag)


def flat_spectrum(radius: float = RADIUS) -> LogSpectrum:
    """Return the spectrum ``R = 1`` of one place."""
    lags = half_plane_lags(radius)
    return LogSpectrum(lags, np.zeros((1, len(lags))))


@dataclass(frozen=True, eq=False)
class SpectrumFit:
    """A spectrum fitted to covariances."""

    spectrum: LogSpectrum
    #: Share of every coefficient that shrinkage has left ``(m,)``.
    kept: Values
    #: Number of pixels.
    pixels: float
    #: Whether the steps have ended.
    converged: bool

    @property
    def effective(self) -> float:
        """Effective number of correlations that were fitted."""
        return float(self.kept[1:].sum())

    @property
    def filter_error(self) -> float:
        """One sigma of ``log psi`` at zero frequency: half that of ``log P(0)``."""
        return float(np.sqrt((2 + 4 * self.effective) / max(self.pixels, 1.0)) / 2)


#: What covariances that are not those of any noise are fitted by.
_NOT_FITTED = SpectrumFit(flat_spectrum(), np.zeros(1), 0.0, converged=False)


def residual_correlations(
    sums: LagSums, expected: Values, lags: NDArray[np.intp], white: float = 0.0
) -> Values:
    """Return the correlations ``(..., m)`` that pixels would have, divided by an expected power.

    Parameters
    ----------
    sums : LagSums
        Sums of pixels; lags beyond half of `size` are not used.
    expected : array (..., size, size // 2 + 1)
        Power that the pixels are expected to have.
    lags : array (m, 2)
        Half-plane lags, that of zero first.
    white : float
        Power of white noise, known exactly, that pixels are thought to have besides: where hardly
        any other is expected, what leaks there from elsewhere must not count.

    Returns
    -------
    array (..., m)
        0 where the expectation is met; at lag zero the variance relative to it, less 1.
    """
    power = covariance_power(sums, expected.shape[-2])
    size = expected.shape[-2]
    relative = relative_excess(power, expected, white)
    return np.asarray(np.fft.irfft2(relative, (size, size))[..., lags[:, 0], lags[:, 1]])


def covariance_power(sums: LagSums, size: int = SIZE) -> Values:
    """Return the power of pixels of these covariances ``(..., size, size // 2 + 1)``."""
    most = min(size // 2 - 1, sums.max_lag)
    half = sums.within(most).covariance
    torus = np.zeros((*half.shape[:-2], size, size))
    torus[..., : most + 1, : most + 1] = half[..., most:]
    torus[..., : most + 1, size - most :] = half[..., :most]
    torus[..., size - most :, :] = torus[..., most:0:-1, -np.arange(size) % size]
    return np.asarray(np.fft.rfft2(torus).real)


def relative_excess(power: Values, expected: Values, white: float = 0.0) -> Values:
    """Return how much a power exceeds the expected one, as a share of that.

    `white` is as for `residual_correlations`.
    """
    if not white:
        return power / expected - 1
    all_power = expected + white
    return expected / all_power * ((power - expected) / all_power)


def shrinkage(
    estimates: Values,
    variances: Values,
    lags: NDArray[np.intp],
    level: float | None = _LEVEL_VARIANCE,
) -> Values:
    """Return what is kept of every coefficient ``(m,)``, from 0 to 1.

    Parameters
    ----------
    estimates : array (..., m)
        Coefficients as measured; leading axes are places with the same prior.
    variances : array (..., m)
        Variances of their errors.
    lags : array (m, 2)
        Their lags.
    level : float or None
        Variance of the true coefficient at lag zero; None to estimate it like all others.

    Returns
    -------
    array (..., m)
        ``tau^2 / (tau^2 + variance)``, with the variance tau^2 of the true coefficients of a ring
        that explains how much more the estimates scatter than their errors.
    """
    kept = np.empty_like(estimates)
    for number, ring in enumerate(rings(lags)):
        own = variances[..., ring]
        excess = float(np.mean(estimates[..., ring] ** 2 - own))
        prior = level if number == 0 and level is not None else max(excess, 0.0)
        kept[..., ring] = prior / (prior + own)
    return kept


def fit_spectrum(
    sums: LagSums,
    expected: Values | None = None,
    start: LogSpectrum | None = None,
    white: float = 0.0,
) -> SpectrumFit:
    """Fit the noise power of pixels to their covariances.

    Parameters
    ----------
    sums : LagSums
        Sums of one window, or of all together, with lags to `MAX_LAG`.
    expected : array (SIZE, SIZE // 2 + 1), optional
        Power that the pixels have where ``R = 1``, by default 1: R is relative to it.
    start : LogSpectrum, optional
        A first guess; it also says which lags are fitted. If the steps do not end with so many,
        shorter ones alone are.
    white : float
        As for `residual_correlations`.

    Returns
    -------
    SpectrumFit
        Not converged, and flat, if the covariances are not those of any noise.
    """
    start = start or flat_spectrum()
    fits = (_fitted(sums, expected, start.within(radius), white) for radius in _RADII)
    return next((fit for fit in fits if fit.converged), _NOT_FITTED)


def _fitted(
    sums: LagSums, expected: Values | None, start: LogSpectrum, white: float
) -> SpectrumFit:
    """Fit a spectrum of the lags of a first guess."""
    lags, coefficients = start.lags, start.coefficients[0].copy()
    pairs = np.maximum(at_lags(sums.pairs, lags), 1e-9)
    variances = np.where(np.arange(len(lags)) == 0, 2.0, 1.0) / pairs
    kept, converged = np.zeros(len(lags)), False
    model = np.ones((SIZE, SIZE // 2 + 1)) if expected is None else expected
    measured = covariance_power(sums)
    for _ in range(_STEPS):
        power = model * LogSpectrum(lags, coefficients[np.newaxis]).power()[0]
        left = np.fft.irfft2(relative_excess(measured, power, white), (SIZE, SIZE))
        found = coefficients + left[lags[:, 0], lags[:, 1]]
        if not np.isfinite(found).all():
            break
        kept = shrinkage(found, variances, lags)
        step = kept * found - coefficients
        largest = float(np.abs(step).max())
        coefficients += step * min(1.0, _LARGEST_STEP / max(largest, _SMALL_STEP))
        converged = largest < _SETTLED
        if largest < _SMALL_STEP:
            break
    spectrum = LogSpectrum(lags, coefficients[np.newaxis])
    return SpectrumFit(spectrum, kept, float(sums.pixels), converged)
