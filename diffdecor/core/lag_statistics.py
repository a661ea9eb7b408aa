"""Is noise white? Statistics of the covariances of its pixels at every lag.

Two questions are kept apart. *Whether* there is correlation is answered by probabilities: of so
large a chi-square, or of so large a largest coefficient, if the noise is white. *How much* there
is, by the coefficients themselves, and by what matters in a search for point sources: the factor
by which matched-filter fluxes scatter more than their errors say.

A statistic is taken over the 44 lags of a half plane that are at most 5 pixels long, of those that
have enough pairs of pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums, opposite
from diffdecor.core.fourier import fast_shape

Values = NDArray[np.float64]

#: Longest lag of the statistics, pixels; rounded as the lags of a disc are.
RADIUS = 5.3
#: Fewest pairs of pixels that a coefficient is taken from.
_FEWEST = 30
#: Largest share of the power at low frequencies that the removal of a level may take.
_MOST_TAKEN = 0.5
#: Sky pixels for every lag of a half plane that the sum of all covariances needs.
_PIXELS_PER_LAG = 40


@dataclass(frozen=True, eq=False, kw_only=True)
class Whiteness:
    """How white the noise of some pixels is; NaN where it cannot be said."""

    #: Number of sky pixels.
    pixels: int
    #: The correlation coefficient of largest size within 5 pixels, its lag ``(dy, dx)``, the error
    #: of one coefficient if the noise is white, and the probability that white noise has a larger
    #: one at any of the lags.
    largest: float
    largest_lag: tuple[int, int]
    error: float
    largest_probability: float
    #: Chi-square of the coefficients within 5 pixels, and their number.
    chi_square: float
    lags: int
    #: Root mean square of the coefficients beyond that of white noise.
    rms: float
    #: Sum of the covariances at all lags over the variance: the variance of large sums of pixels,
    #: in units of that of independent ones. NaN where few pixels do not tell.
    covariance_factor: float

    @property
    def probability(self) -> float:
        """The probability that white noise has a larger chi-square."""
        return chi_square_probability(self.chi_square, self.lags) if self.lags else math.nan


def whiteness(sums: LagSums) -> Whiteness:
    """Return how white noise is, from its sums over pairs ``(L + 1, 2 L + 1)``, L at least 5."""
    rho, pairs, lags = coefficients(sums)
    number = len(rho)
    if not number:
        nan = math.nan
        return Whiteness(
            pixels=int(sums.pixels),
            largest=nan,
            largest_lag=(0, 0),
            error=nan,
            largest_probability=nan,
            chi_square=nan,
            lags=0,
            rms=nan,
            covariance_factor=nan,
        )
    pulls = np.abs(rho) * np.sqrt(pairs)
    at = int(np.argmax(np.abs(rho)))
    chi_square = float(np.sum(pulls**2))
    return Whiteness(
        pixels=int(sums.pixels),
        largest=float(np.abs(rho[at])),
        largest_lag=(int(lags[at, 0]), int(lags[at, 1])),
        error=1 / math.sqrt(float(np.median(pairs))),
        largest_probability=any_of(normal_probability(float(pulls.max())), number),
        chi_square=chi_square,
        lags=number,
        rms=math.sqrt(max(0.0, float(np.mean(rho**2 - 1 / pairs)))),
        covariance_factor=_covariance_factor(sums),
    )


def coefficients(sums: LagSums, radius: float = RADIUS) -> tuple[Values, Values, NDArray[np.intp]]:
    """Return correlation coefficients ``(n,)``, their numbers of pairs, and lags ``(n, 2)``.

    Those of the half plane within a radius that have enough pairs; none of pixels without noise.
    """
    length = sums.max_lag
    dy, dx = np.indices((length + 1, 2 * length + 1))
    dx = dx - length
    known = (sums.pairs > _FEWEST) & (np.hypot(dy, dx) <= radius) & ((dy > 0) | (dx > 0))
    variance = sums.covariance[0, length]
    if not variance > 0:
        known[:] = False
    lags = np.column_stack([dy[known], dx[known]])
    return sums.covariance[known] / variance, sums.pairs[known], lags


def worst_block(blocks: LagSums) -> tuple[int, float, float]:
    """Return the least white of blocks ``(n, L + 1, 2 L + 1)``: which, its rms, its probability.

    The probability is that at least one of the blocks looks this bad although all are white. The
    number is -1, and the others NaN, if no block has enough pixels.
    """
    found = [whiteness(blocks[number]) for number in range(len(blocks.pairs))]
    known = [number for number, one in enumerate(found) if one.lags]
    if not known:
        return -1, math.nan, math.nan
    # Probabilities of several may be too small for a number.
    worst = min(known, key=lambda n: (found[n].probability, -found[n].chi_square / found[n].lags))
    return worst, found[worst].rms, any_of(found[worst].probability, len(known))


def matched_factor(sums: LagSums, psf: Values) -> tuple[float, float]:
    """Return the matched-filter noise factor I, and its error, from sums of significances.

    ``I^2 = sum_l C(l) a(l)``, with the covariance C of ``z = image / sqrt(variance)`` and the
    autocorrelation a of the PSF, ``a(0) = 1``: the variance of a point-source flux over what
    independent pixels of the claimed variance would give.

    Parameters
    ----------
    sums : LagSums
        Sums of z ``(L + 1, 2 L + 1)``.
    psf : array (ny, nx)
        PSF of the image.

    Returns
    -------
    tuple of float
        NaN if there are no pixels, or if the sum is negative.
    """
    length = sums.max_lag
    pairs = opposite(sums.pairs)
    # A lag without pairs is unknown: it counts as uncorrelated.
    known = pairs > _FEWEST
    covariance = np.where(known, opposite(sums.covariance), 0.0)
    overlap = np.where(known, psf_overlap(psf, length), 0.0)
    total = float(np.sum(covariance * overlap))
    if not (sums.pixels > 0 and total > 0):
        return math.nan, math.nan
    # Of a Gaussian field, var sum_l a(l) C(l) = 2 / n sum_l (a * C)(l)^2; pairs of pixels may be
    # fewer at some lags.
    spread = _convolved(overlap, covariance)
    variance = float(np.sum(2 * spread[known] ** 2 / pairs[known]))
    factor = math.sqrt(total)
    return factor, math.sqrt(variance) / (2 * factor)


def psf_overlap(psf: Values, max_lag: int) -> Values:
    """Return the autocorrelation ``(2 L + 1, 2 L + 1)`` of a PSF, 1 at lag zero."""
    shape = fast_shape(psf.shape[0] + max_lag, psf.shape[1] + max_lag)
    transform = np.fft.rfft2(psf, shape)
    whole = np.fft.irfft2(transform.real**2 + transform.imag**2, shape)
    lags = np.arange(-max_lag, max_lag + 1)
    return np.asarray(whole[lags[:, np.newaxis], lags] / whole[0, 0])


def _convolved(first: Values, second: Values) -> Values:
    """Convolve symmetric lag images of one shape ``(m, m)``, cut to it."""
    size = first.shape[0]
    shape = fast_shape(2 * size - 1, 2 * size - 1)
    whole = np.fft.irfft2(np.fft.rfft2(first, shape) * np.fft.rfft2(second, shape), shape)
    start = size // 2
    return np.asarray(whole[start : start + size, start : start + size])


def _covariance_factor(sums: LagSums) -> float:
    covariance = sums.covariance
    # A share of sqrt(4 lags / pixels) of it is its error.
    if sums.pixels < _PIXELS_PER_LAG * covariance.size:
        return math.nan
    return float(opposite(covariance).sum() / covariance[0, sums.max_lag])


def without_bias(sums: LagSums, removed: Values) -> LagSums:
    """Return sums that the removal of a local level has not lowered.

    Parameters
    ----------
    sums : LagSums
        Sums ``(L + 1, 2 L + 1)`` of pixels from which levels were subtracted; what that takes from
        white noise has been added back.
    removed : array (L + 1, 2 L + 1)
        What has been added back, for a variance of 1.

    Returns
    -------
    LagSums
        The sums of noise with the power at low frequencies that they show themselves: what was
        taken is in proportion to it.
    """
    covariance, pairs = sums.covariance, sums.pairs
    variance = float(covariance[0, sums.max_lag])
    share = np.divide(removed, pairs, out=np.zeros_like(pairs), where=pairs > 0)
    # The sum over all lags that shows how much was taken has itself been lowered by that.
    taken = min(float(opposite(share).sum()), _MOST_TAKEN)
    excess = (float(opposite(covariance).sum()) - variance) / (1 - taken)
    return LagSums(sums.products + max(excess, -variance) * removed, pairs)


def normal_probability(sigmas: float) -> float:
    """Return the probability of a normal deviate to be larger than that, of either sign."""
    return math.erfc(sigmas / math.sqrt(2))


def any_of(probability: float, number: int) -> float:
    """Return the probability that at least one of independent cases is so improbable (Sidak)."""
    return 1.0 if probability >= 1 else -math.expm1(number * math.log1p(-probability))


def chi_square_probability(chi_square: float, freedom: int) -> float:
    """Return the probability of a larger chi-square with `freedom` degrees of freedom."""
    from scipy.special import chdtrc  # not for an ordinary run, whose start it would double

    return float(chdtrc(freedom, chi_square))
