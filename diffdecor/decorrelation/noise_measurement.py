"""What measured noise is fitted to: the covariances of whitened windows."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums
from diffdecor.core.interpolate import at_nodes
from diffdecor.core.spectrum import (
    MAX_LAG,
    LogSpectrum,
    SpectrumFit,
    at_lags,
    fit_spectrum,
    flat_spectrum,
    half_plane_lags,
    residual_correlations,
)
from diffdecor.core.whitening import FLOOR
from diffdecor.decorrelation.nodes import Places
from diffdecor.decorrelation.noise_levels import NoiseLevels
from diffdecor.decorrelation.noise_windows import (
    NoisePlanes,
    WindowGrid,
    WindowSums,
    middle_part,
    place_windows,
    window_sums,
)
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.decorrelation.window_filters import Sides

log = logging.getLogger(__name__)

#: Sky pixels below which noise cannot be measured.
MIN_PIXELS = 5_000
#: Least number of pairs at every short lag, and how far these reach, pixels.
_MIN_PAIRS, _SHORT = 200, 3.0
#: Largest lag of covariances of pixels that are whitened, pixels.
_WHITE_LAG = 16
#: Share of the sky pixels that must be left by the holes around them.
_MIN_SHARE = 0.5
#: Noise power of a score image below which it is not whitened, share of that at zero frequency.
_SCORE_FLOOR = 1e-2
#: White noise added to it in thought, share of its largest power.
_SCORE_WHITE = 0.01
#: Rows and columns of the windows from which the first guess is made, and their largest side,
#: pixels.
_FEW, _FIRST_SIDE = (2, 3), 128


def may_vary(subtraction: Subtraction) -> bool:
    """Say whether the noise spectrum relative to the model may vary over the field."""
    config = subtraction.config
    return config.mode == "grid" and config.blend == "interpolate" and not config.score


class NotMeasurableError(Exception):
    """Noise cannot be measured; the message says why."""


@dataclass(frozen=True, eq=False)
class NoiseMeasurement:
    """What was measured in the windows of a difference."""

    grid: WindowGrid
    #: Noise of both sides at the windows, if it is that of the model.
    sides: Sides
    #: Sums of the blocks of all windows.
    sums: LagSums
    #: Power that they have if the noise is that of the model.
    expected: NDArray[np.float64]
    #: White noise that is added in thought.
    white: float
    #: What the spectrum is about.
    guess: LogSpectrum

    def fit(self, which: NDArray[np.bool_] | None = None) -> SpectrumFit:
        """Fit the spectrum to all windows, or to some of them."""
        sums = self.sums if which is None else self.sums[which]
        return fit_spectrum(sums.total(), self.expected, self.guess, self.white)

    @property
    def by_blocks(self) -> LagSums:
        """Sums of the blocks of all windows, row by row of blocks."""
        return LagSums(self._ordered(self.sums.products), self._ordered(self.sums.pairs))

    def _ordered(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        windows = values.reshape(*self.grid.shape, *values.shape[1:])
        return windows.swapaxes(1, 2).reshape(-1, *values.shape[3:])

    def left(
        self, sums: LagSums, powers: NDArray[np.float64], lags: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return the correlations that spectra of these powers leave in windows."""
        return residual_correlations(sums, self.expected * powers, lags, self.white)


def measure_noise_windows(
    subtraction: Subtraction, places: Places, levels: NoiseLevels
) -> NoiseMeasurement:
    """Measure windows, whitened with the model and then with the spectrum guessed from that.

    Raises `NotMeasurableError` if there are too few sky pixels, or pairs of them.
    """
    grid = place_windows(subtraction.shape, blocks=may_vary(subtraction))
    sides = _sides_at(grid, subtraction, places, levels)
    found = _window_sums(subtraction, grid, sides)
    _check_pairs(found.sums.total())
    return found


def _window_sums(subtraction: Subtraction, grid: WindowGrid, sides: Sides) -> NoiseMeasurement:
    windows, flat = grid.windows, flat_spectrum()
    planes, floor = NoisePlanes.of(subtraction), FLOOR
    if subtraction.config.score:  # what the kernels have taken away cannot be whitened
        floor = _SCORE_FLOOR
    number = len(windows)
    # A few windows, spread over the image, are enough for a first guess.
    few = _few_windows(grid.shape)
    for some, side in ((few, _FIRST_SIDE), (np.arange(number), None)):
        cut = [windows[i] if side is None else middle_part(windows[i], side) for i in some]
        first = window_sums(planes, cut, sides[some], flat, floor=floor)
        total, sky = first.sums.total(), float(first.sky.sum())
        if sky >= MIN_PIXELS:
            break
    _check_pixels(sky)
    if total.pixels >= _MIN_SHARE * sky:
        expected = _expected(sides[some], first, flat, floor)
        white = _SCORE_WHITE * float(expected.max()) if subtraction.config.score else 0.0
        guess = fit_spectrum(total, expected, white=white).spectrum
        lag = MAX_LAG if subtraction.config.score else _WHITE_LAG
        second = window_sums(
            planes, windows, sides, guess, parts=grid.parts, floor=floor, max_lag=lag
        )
        if second.sums.total().pixels >= _MIN_SHARE * second.sky.sum():
            expected = _expected(sides, second, guess, floor)
            return NoiseMeasurement(grid, sides, second.sums, expected, white, guess)
    # Filled pixels are too close to all others for a filter: their covariances as they are remain.
    log.warning(
        "%s: masked pixels leave too few others to be whitened; noise is measured without, and is "
        "uncertain by some 10 per cent",
        subtraction.difference.name,
    )
    raw = window_sums(planes, windows, sides, flat, parts=grid.parts, floor=math.inf)
    expected = _expected(sides, raw, flat, math.inf)
    return NoiseMeasurement(grid, sides, raw.sums, expected, 0.0, flat)


def _few_windows(shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return the numbers of a few windows of a grid, spread over few rows: these are read."""
    rows, columns = (
        (np.arange(some) + 0.5) * number // some
        for some, number in zip(map(min, _FEW, shape), shape, strict=True)
    )
    return (rows[:, np.newaxis] * shape[1] + columns).astype(np.intp).ravel()


def _sides_at(
    grid: WindowGrid, subtraction: Subtraction, places: Places, levels: NoiseLevels
) -> Sides:
    """Return the noise of both sides at the windows, as the model of white noise has it."""
    if len(places.positions) == 1:
        sides = subtraction.noise_sides(places.positions, levels.science, levels.template)
        return Sides(*sides)[np.zeros(len(grid.windows), dtype=np.intp)]
    x, y = np.meshgrid(*grid.centres)

    def at_windows(of_members: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(of_members):
            return np.empty((0, x.size))
        return at_nodes(places.positions, of_members.T, *grid.centres).T

    positions = np.column_stack([x.ravel(), y.ravel()])
    found = (at_windows(each) for each in (levels.science, levels.template))
    return Sides(*subtraction.noise_sides(positions, *found))


def _expected(
    sides: Sides, found: WindowSums, spectrum: LogSpectrum, floor: float
) -> NDArray[np.float64]:
    """Return the mean power of windows, relative to its level, for noise of the model.

    They were whitened as if it were that of the model times a spectrum.
    """
    pixels = found.sums.pixels.sum(axis=(1, 2))
    power = np.tensordot(pixels / pixels.sum(), sides.relative_power(spectrum, floor), axes=1)
    return np.asarray(power / spectrum.power()[0])


def _check_pixels(number: float) -> None:
    if number < MIN_PIXELS:
        msg = f"only {number:.0f} sky pixels, {MIN_PIXELS} are needed"
        raise NotMeasurableError(msg)


def _check_pairs(total: LagSums) -> None:
    """Refuse masks that leave no pairs of pixels at short lags."""
    _check_pixels(float(total.pixels))
    fewest = float(at_lags(total.pairs, half_plane_lags(_SHORT)).min())
    if fewest < _MIN_PAIRS:
        msg = f"the mask leaves only {fewest:.0f} pairs of sky pixels at some lag"
        raise NotMeasurableError(msg)
