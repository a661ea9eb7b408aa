"""Is the noise of an image white, and is its variance right? A judgement, and gates for it."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.lag_statistics import (
    Whiteness,
    any_of,
    matched_factor,
    normal_probability,
    whiteness,
    worst_block,
)
from diffdecor.core.periodic import CHANCE, Line, strongest_line
from diffdecor.core.planes import LazyPlane, Plane
from diffdecor.core.psf import gaussian_stamp
from diffdecor.decorrelation.mask import OF_OTHER_PIXELS
from diffdecor.decorrelation.noise_statistics import NoiseStatistics, Sky, measure_noise
from diffdecor.errors import InputError
from diffdecor.images.model import Exposure
from diffdecor.psfs.model import PointSpreadFunction

#: A correlation, and a factor's distance from 1, that hardly matter in practice.
SMALL = 0.03
#: FWHM of the PSF of an image that has none, pixels.
_USUAL_FWHM = 3.0
#: Correlation that is less probable in white noise is real.
REAL = 0.01
#: Sky pixels that a judgement needs, and a window for its place in the range of variances.
_FEWEST, _WINDOW = 1000, 5000
#: Coefficients that the largest is one of.
LAGS = 44


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the noise of an image is like: what `check` returns.

    As a text it is one line of plain words.

    Parameters
    ----------
    statistics : NoiseStatistics
        What was measured.
    psf : array (ny, nx), optional
        PSF at the middle of the image, if it is known.

    Examples
    --------
    >>> import numpy as np
    >>> from diffdecor import check
    >>> noise = np.random.default_rng(2).normal(size=(256, 256))
    >>> judgement = check(noise, fwhm=3.0)
    >>> judgement.verdict
    'white'
    >>> judgement.exceeds(max_rho=0.05, max_factor=0.1)
    []
    >>> correlated = check((noise + np.roll(noise, 1, axis=1)) / 2)
    >>> f"{correlated.verdict}: {correlated.as_dict()['rho_max']:.2f}"
    'correlated: 0.50'
    """

    statistics: NoiseStatistics
    psf: NDArray[np.float64] | None = None

    def __str__(self) -> str:
        """Return it in one line of plain words."""
        return describe(self)

    def exceeds(
        self, *, max_rho: float | None = None, max_factor: float | None = None
    ) -> list[str]:
        """Return why the noise is beyond limits, and beyond chance; empty if it is not.

        The limits are those of the largest correlation within 5 pixels, and of ``|I - 1|``.
        """
        found = self.whiteness
        return failures(found.largest, found.error, self.factor, max_rho, max_factor)

    def as_dict(self) -> dict[str, Any]:
        """Return everything that was measured, by name; NaN where it is not known."""
        found, statistics, line = self.whiteness, self.statistics, self.line
        block, rms, of_block = self.worst_block
        across, nan = statistics.grid[1], math.nan
        return {
            "verdict": self.verdict,
            "sky_pixels": found.pixels,
            "rho_max": found.largest,
            "rho_max_lag": [found.largest_lag[1], found.largest_lag[0]],
            "rho_error": found.error,
            "rho_max_p": found.largest_probability,
            "rho_rms": found.rms,
            "q": found.chi_square,
            "q_lags": found.lags,
            "q_p": found.probability,
            "worst_block": [block % across, block // across] if block >= 0 else None,
            "worst_block_rms": rms,
            "worst_block_p": of_block,
            "factor": self.factor[0],
            "factor_error": self.factor[1],
            "covariance_factor": found.covariance_factor,
            "variance_measured": statistics.variance * statistics.ratio,
            "variance_claimed": statistics.variance if statistics.claimed else nan,
            "variance_ratio": self.variance_ratio,
            "variance_ratio_low": self.variance_range[0],
            "variance_ratio_high": self.variance_range[1],
            "line_period": nan if line is None else line.period,
            "line_amplitude": nan if line is None else line.amplitude,
            "line_significance": nan if line is None else line.significance,
            "line_p": nan if line is None else line.probability,
        }

    @cached_property
    def whiteness(self) -> Whiteness:
        """Correlation of the pixels."""
        return whiteness(self.statistics.sums)

    @cached_property
    def factor(self) -> tuple[float, float]:
        """Matched-filter noise factor I and its error; NaN without a PSF.

        Where no variance is claimed it is relative to independent pixels of the measured one.
        """
        if self.psf is None:
            return math.nan, math.nan
        return matched_factor(self.statistics.sums, self.psf)

    @cached_property
    def worst_block(self) -> tuple[int, float, float]:
        """Number, rms and probability of the least white block of the coarse grid."""
        return worst_block(self.statistics.blocks)

    @cached_property
    def line(self) -> Line | None:
        """The strongest periodic line of the variance, if the field is large enough to tell."""
        statistics = self.statistics
        return strongest_line(statistics.squares, statistics.counts, statistics.cell)

    @property
    def variance_ratio(self) -> float:
        """Claimed over measured variance; NaN where none is claimed."""
        return 1 / self.statistics.ratio if self.statistics.claimed else math.nan

    @property
    def variance_range(self) -> tuple[float, float]:
        """The same of the windows where it is smallest and largest."""
        statistics = self.statistics
        known = statistics.scatter[statistics.pixels >= _WINDOW]
        if not (statistics.claimed and known.size):
            return math.nan, math.nan
        return float(1 / known.max()), float(1 / known.min())

    @property
    def effect(self) -> float:
        """How far correlation alone puts the factor I off 1, whatever the variance claims.

        Many small coefficients may have a large effect. Of an image without a PSF it is that on a
        usual one.
        """
        sums = self.statistics.sums
        psf = gaussian_stamp(_USUAL_FWHM) if self.psf is None else self.psf
        factor = matched_factor(sums, psf)[0]
        return abs(factor / math.sqrt(float(sums.covariance[0, sums.max_lag])) - 1)

    @property
    def probability(self) -> float:
        """Probability that white noise looks like this: by its largest correlation, or by all."""
        return min(self.whiteness.probability, self.whiteness.largest_probability)

    @property
    def verdict(self) -> str:
        """One of ``white``, ``nearly white`` and ``correlated``.

        White noise shows no correlation that is unlikely by chance; if there is some, its size
        decides, and its effect on point sources.
        """
        if self.probability >= REAL:
            return "white"
        small = self.whiteness.largest <= SMALL and self.effect <= SMALL
        return "nearly white" if small else "correlated"


def judge(exposure: Exposure, planes: Collection[str], most: int, threads: int) -> Judgement:
    """Judge the noise of an image in at most about `most` windows of 256 x 256 pixels.

    Pixels in one of the mask `planes` do not count. Raises an InputError if there are too few
    others, or if they have no noise.
    """
    sky = Sky(
        images=[(exposure.image, exposure.variance)],
        usable=unmasked(exposure, {*planes, *OF_OTHER_PIXELS}),
    )
    (statistics,) = measure_noise(sky, most, threads)
    if statistics.sums.pixels < _FEWEST:
        msg = (
            f"{exposure.name}: only {int(statistics.sums.pixels)} pixels of sky that have noise "
            f"(finite, with a variance, not masked, no sources); {_FEWEST} are needed to judge it"
        )
        raise InputError(msg)
    ny, nx = exposure.shape
    return Judgement(statistics, stamp_at(exposure.psf, (nx - 1) / 2, (ny - 1) / 2))


def stamp_at(psf: PointSpreadFunction | None, x: float, y: float) -> NDArray[np.float64] | None:
    """Return the stamp of a PSF at a position, if there is one."""
    return None if psf is None else psf.stamp(x, y)


def unmasked(exposure: Exposure, planes: Collection[str]) -> Plane:
    """Return True where a pixel is in none of the mask planes."""
    mask, (ny, nx) = exposure.mask, exposure.shape
    if mask is None:
        return LazyPlane((ny, nx), lambda rows: np.ones((rows.stop - rows.start, nx), dtype=bool))
    bits = exposure.mask_planes.value(planes)
    return LazyPlane((ny, nx), lambda rows: (mask[rows] & bits) == 0)


def failures(
    largest: float,
    error: float,
    factor: tuple[float, float],
    max_rho: float | None,
    max_factor: float | None,
) -> list[str]:
    """Return why noise does not pass: what exceeds its limit, or is unknown.

    What is beyond a limit by chance passes, unless the limit is below the error: so small a value
    cannot be shown with so few pixels.

    Parameters
    ----------
    largest, error : float
        Largest correlation within 5 pixels, and the error of one coefficient.
    factor : tuple of float
        Matched-filter noise factor I and its error.
    max_rho, max_factor : float or None
        Limits of the correlation and of ``|I - 1|``; None where there is none.

    Returns
    -------
    list of str
        Empty if the noise passes.
    """
    reasons = []
    if max_rho is not None:
        if not error > 0:
            reasons.append("its correlation could not be measured")
        elif largest > max_rho and (
            max_rho < error or any_of(normal_probability(largest / error), LAGS) < REAL
        ):
            reasons.append(f"max |rho| is {largest:.3f} +- {error:.3f}, above {max_rho:g}")
    if max_factor is not None:
        value, its_error = factor
        if not its_error > 0:
            reasons.append("its point-source noise I could not be measured")
        elif abs(value - 1) > max_factor and (
            max_factor < its_error or normal_probability(abs(value - 1) / its_error) < REAL
        ):
            reasons.append(
                f"I is {value:.3f} +- {its_error:.3f}, off 1 by more than {max_factor:g}"
            )
    return reasons


def describe(judgement: Judgement) -> str:
    """Return a judgement in one line of plain words."""
    found, (factor, error) = judgement.whiteness, judgement.factor
    dy, dx = found.largest_lag
    words = [
        f"{judgement.verdict}: max |rho| {found.largest:.4f} +- {found.error:.4f}",
        f"at lag ({dx}, {dy}), p {probability(judgement.probability)}",
    ]
    if judgement.verdict == "correlated" and found.largest <= SMALL:
        percent = f"{100 * judgement.effect:.0f} %"
        words.append(f"small, but all lags together change the noise of point sources by {percent}")
    if error > 0:
        words.append(f"point-source noise I = {factor:.3f} +- {error:.3f}")
    if judgement.statistics.claimed:
        low, high = judgement.variance_range
        over = f" ({low:.2f} to {high:.2f} over the field)" if high > 0 else ""
        words.append(f"claimed/measured variance {judgement.variance_ratio:.3f}{over}")
    else:
        words.append("no variance plane")
    block = judgement.worst_block
    if judgement.verdict == "white" and block[2] < REAL:
        words.append(f"but one block has rms correlation {block[1]:.3f}")
    line = judgement.line
    if line is not None and line.probability < CHANCE:
        words.append(
            f"variance ripples by {100 * line.amplitude:.0f} % with a period of "
            f"{line.period:.1f} pixels"
        )
    return " ".join(words[:2]) + "".join(f", {word}" for word in words[2:])


def probability(value: float) -> str:
    """Return a probability as text."""
    if value < 1e-99:
        return "< 1e-99"
    return f"= {value:.1e}" if value < 0.001 else f"= {value:.3f}"
