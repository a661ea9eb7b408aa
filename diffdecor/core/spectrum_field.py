"""Noise spectra that vary over the field: local deviations from the spectrum of the whole.

The coefficients of a window are estimated from the covariances of it and its neighbours, and shrunk
towards those of the whole field: how much they may deviate is estimated from all windows. The
deviations are kept only if they predict the covariances of windows that were left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums
from diffdecor.core.interpolate import bracket
from diffdecor.core.spectrum import (
    LARGEST_LOG,
    LogSpectrum,
    SpectrumFit,
    at_lags,
    covariance_power,
    relative_excess,
    rings,
)

#: Lags up to this deviate, pixels.
_RADIUS = 6.0
#: Reaches of the neighbourhoods that are tried, in windows.
_REACHES = (1.5, 2.0, 3.0, 4.0)
#: Gain in deviance that is no accident.
_SIGNIFICANT = 12.0
#: Steps of the fit: a single one is biased where deviations are large.
_STEPS = 4
#: A step is never larger than this.
_LARGEST_STEP = 0.4
#: The grid of frequencies is so many times as coarse as that of the common spectrum.
_COARSER = 2
#: Variance of what is not known.
_UNKNOWN = 1e9

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Neighbourhood:
    """Windows on a grid ``(ny, nx)``, and the weights of their neighbours."""

    #: Weights along y ``(ny, ny)`` and x ``(nx, nx)``.
    along_y: Values
    along_x: Values

    def sums(self, values: Values) -> Values:
        """Return the weighted sums ``(ny, nx, ...)`` of values around every window."""
        ny, nx = values.shape[:2]
        across = self.along_x @ values.reshape(ny, nx, -1)
        return (self.along_y @ across.reshape(ny, -1)).reshape(values.shape)

    def squared(self) -> _Neighbourhood:
        """Return the same with squared weights."""
        return _Neighbourhood(self.along_y**2, self.along_x**2)


def _neighbourhood(shape: tuple[int, int], reach: float) -> _Neighbourhood:
    """Return triangular weights that fall to zero `reach` windows away."""
    along = []
    for number in shape:
        distance = np.abs(np.subtract.outer(np.arange(number), np.arange(number)))
        along.append(np.maximum(1 - distance / reach, 0.0))
    return _Neighbourhood(*along)


def fit_deviations(
    sums: LagSums, shape: tuple[int, int], expected: Values, fit: SpectrumFit
) -> LogSpectrum | None:
    """Fit the noise spectrum of every window of a grid, given that of all together.

    Parameters
    ----------
    sums : LagSums
        Of the windows, row by row ``(ny nx, ...)``.
    shape : tuple of int
        Number of rows and columns of windows ``(ny, nx)``.
    expected : array (SIZE, SIZE // 2 + 1)
        Power that the pixels have where the spectrum is 1 everywhere.
    fit : SpectrumFit
        The spectrum of all windows together.

    Returns
    -------
    LogSpectrum or None
        Spectra at the centres of the windows, row by row; None if they predict windows that were
        left out no better than the common spectrum does.
    """
    if min(shape) < 2:
        return None
    common, coarse = fit.spectrum, expected[::_COARSER, ::_COARSER]
    lags = common.within(_RADIUS).lags
    sums = sums.within(len(coarse) // 2 - 1)
    grid = LagSums(
        sums.products.reshape(*shape, *sums.products.shape[1:]),
        sums.pairs.reshape(*shape, *sums.pairs.shape[1:]),
    )
    # Residuals of the common spectrum, as sums, so that those of neighbours can be added.
    pairs = np.ascontiguousarray(at_lags(grid.pairs, lags))
    series = _Series.of(lags, len(coarse))
    power = coarse * common.power(len(coarse))[0]
    own = series.left(covariance_power(grid, len(coarse)), power) * pairs
    reaches = _best_reaches(own, pairs, lags)
    return _iterated(grid, power, common, series, reaches) if reaches else None


def _best_reaches(
    residuals: Values, pairs: Values, lags: NDArray[np.intp]
) -> list[tuple[NDArray[np.intp], float]]:
    """Return the rings of lags where neighbours predict left-out windows, and the best reach."""
    shape = pairs.shape[0], pairs.shape[1]
    gains = np.array(
        [_left_out_gains(residuals, pairs, _neighbourhood(shape, s), lags) for s in _REACHES]
    )
    best = len(_REACHES) - 1 - np.argmax(gains[::-1], axis=0)  # the widest of equals
    return [
        (ring, _REACHES[which])
        for number, (ring, which) in enumerate(zip(rings(lags), best.tolist(), strict=True))
        if gains[which, number] > _SIGNIFICANT
    ]


def _variances(pairs: Values, squared: Values, lags: NDArray[np.intp]) -> Values:
    """Return the variances of coefficients from weighted sums of pairs: 1/n, twice at lag zero."""
    variance = squared / np.maximum(pairs, 1e-9) ** 2
    variance *= np.where(lags.any(axis=1), 1.0, 2.0)
    return np.where(pairs > 0, variance, _UNKNOWN)


def _left_out_gains(
    residuals: Values, pairs: Values, near: _Neighbourhood, lags: NDArray[np.intp]
) -> list[float]:
    """Return how much better windows are predicted by their neighbours than by the whole field.

    It is a difference of deviances for every ring of lags, positive if it is better.
    """
    weights = np.multiply.outer(np.diag(near.along_y), np.diag(near.along_x))[..., np.newaxis]
    around = near.sums(pairs) - weights * pairs
    squared = near.squared().sums(pairs) - weights**2 * pairs
    estimates = (near.sums(residuals) - weights * residuals) / np.maximum(around, 1e-9)
    variances = _variances(around, squared, lags)
    predicted = np.empty_like(estimates)
    for ring in rings(lags):
        predicted[..., ring] = _kept(estimates[..., ring], variances[..., ring])
    predicted *= estimates
    information = pairs / np.where(lags.any(axis=1), 1.0, 2.0)
    found = residuals / np.maximum(pairs, 1e-9)
    gains = (information * predicted * (2 * found - predicted)).sum(axis=(0, 1))
    return [float(gains[ring].sum()) for ring in rings(lags)]


def _kept(estimates: Values, variances: Values) -> Values:
    """Return what shrinkage leaves of the deviations of one ring in all windows."""
    known = variances < _UNKNOWN
    excess = float(np.mean(estimates[known] ** 2 - variances[known])) if known.any() else 0.0
    prior = max(excess, 0.0)
    return np.where(known, prior / (prior + variances), 0.0)


def _iterated(
    grid: LagSums,
    expected: Values,
    common: LogSpectrum,
    series: _Series,
    reaches: Sequence[tuple[NDArray[np.intp], float]],
) -> LogSpectrum:
    """Return the spectra of all windows ``(ny nx, m)``, every ring from its own neighbourhood.

    `expected` is the power that the common spectrum gives them.
    """
    shape, lags = grid.pairs.shape[:2], series.lags
    deviations = np.zeros((*shape, len(lags)))
    around = {}
    for reach in {reach for _, reach in reaches}:
        near = _neighbourhood((shape[0], shape[1]), reach)
        sums = LagSums(near.sums(grid.products), near.sums(grid.pairs))
        squared = near.squared().sums(at_lags(grid.pairs, lags))
        variances = _variances(at_lags(sums.pairs, lags), squared, lags)
        around[reach] = covariance_power(sums, len(expected)), variances
    for _ in range(_STEPS):
        power = expected * np.exp(series.log_power(deviations))
        left = {reach: series.left(measured, power) for reach, (measured, _) in around.items()}
        for ring, reach in reaches:
            found = deviations[..., ring] + left[reach][..., ring]
            step = _kept(found, around[reach][1][..., ring]) * found - deviations[..., ring]
            deviations[..., ring] += np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
    whole = np.tile(common.coefficients[0], (*shape, 1))
    whole[..., : len(lags)] += deviations
    return LogSpectrum(common.lags, whole.reshape(-1, whole.shape[-1]))


@dataclass(frozen=True, eq=False)
class _Series:
    """Cosine series of few lags on a coarse grid of frequencies: matrices are fastest then."""

    lags: NDArray[np.intp]
    #: Of all lags, at the frequencies of a real transform ``(m, size (size // 2 + 1))``.
    cosines: Values
    size: int

    @classmethod
    def of(cls, lags: NDArray[np.intp], size: int) -> _Series:
        """Return the series of some lags."""
        ky, kx = np.indices((size, size // 2 + 1)).reshape(2, -1)
        return cls(lags, np.cos(2 * np.pi / size * (lags @ np.array([ky, kx]))), size)

    def log_power(self, coefficients: Values) -> Values:
        """Return the sums of the series ``(..., size, size // 2 + 1)``, bounded."""
        twice = coefficients * np.where(self.lags.any(axis=1), 2.0, 1.0)
        sums = np.clip(twice @ self.cosines, -LARGEST_LOG, LARGEST_LOG)
        return sums.reshape(*coefficients.shape[:-1], self.size, -1)

    def left(self, power: Values, expected: Values) -> Values:
        """Return the correlations ``(..., m)`` that are left of a power if another is expected."""
        excess = relative_excess(power, expected)
        excess[..., 1 : (self.size + 1) // 2] *= 2  # these stand for their negative ones, too
        every = excess.reshape(*excess.shape[:-2], -1)
        return np.asarray(every @ self.cosines.T) / self.size**2


@dataclass(frozen=True, eq=False)
class SpectrumField:
    """A noise spectrum R on the nodes of a grid, its logarithm bilinear between them.

    One node holds for the whole field; beyond the outermost nodes the spectrum is constant.
    """

    #: Rising 0-based pixel positions of the columns and rows of nodes.
    x: Values
    y: Values
    #: At the nodes, row by row.
    spectra: LogSpectrum

    @classmethod
    def constant(cls, spectrum: LogSpectrum) -> SpectrumField:
        """Return the field of one spectrum."""
        return cls(np.zeros(1), np.zeros(1), spectrum)

    def kernels(self, positions: Values) -> Values:
        """Return the noise kernels at 0-based positions ``(n, 2)``: ``(n, 2 w + 1, 2 w + 1)``."""
        if len(self.spectra.coefficients) == 1:
            kernel = self.spectra.kernels()
            return np.broadcast_to(kernel, (len(positions), *kernel.shape[1:]))
        nodes = self.spectra.coefficients.reshape(len(self.y), len(self.x), -1)
        left, right, share = (
            np.broadcast_to(one, len(positions)) for one in bracket(self.x, positions[:, 0])
        )
        below, above, upper = (
            np.broadcast_to(one, len(positions)) for one in bracket(self.y, positions[:, 1])
        )
        share, upper = share[:, np.newaxis], upper[:, np.newaxis]
        lower_row, upper_row = (
            (1 - share) * nodes[row, left] + share * nodes[row, right] for row in (below, above)
        )
        coefficients = (1 - upper) * lower_row + upper * upper_row
        return LogSpectrum(self.spectra.lags, coefficients).kernels()
