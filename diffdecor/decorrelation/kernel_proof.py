"""The proof of a fitted kernel: what it leaves of pixels that it was not fitted to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.pair_fit import PairEquations, pair_equations
from diffdecor.core.statistics import robust_sigma
from diffdecor.decorrelation.comparison import EXACT, FITS_BRIGHT
from diffdecor.decorrelation.kernel_area import AreaFit
from diffdecor.decorrelation.kernel_windows import Pixels

#: Largest residual of a kernel that is given, in units of the noise of the difference.
LIMIT = 0.1
#: The same in units of the noise that either image has in the difference; and where the residual
#: is that of the rounding, to which another image would add its noise.
EXPLAINED, _EXPLAINED_IF_EXACT = 0.4, 0.8
#: Bright pixels are this many times the scatter above the level; fewer of them are not judged.
_BRIGHT, _ENOUGH = 10.0, 20
#: Half the width of changes of both kernels, windows that are looked at, and what one kernel
#: leaves at most, in units of what both leave.
_HALF_WIDTH, _WINDOWS, _OF_TWO = 5, 3, 1.4
#: Residuals differ from window to window by more than noise.
UNEVEN = 1.5
#: Largest share of pixels that are far off, and where the others are explained exactly.
_MOST, _MOST_IF_EXACT = 0.2, 0.6
#: Residual of a difference that is rounded to steps, in units of the error of rounding.
_ROUNDED = 1.3
#: Values that show whether a difference is rounded to steps.
_SAMPLE = 20_000


@dataclass(frozen=True)
class Proof:
    """What a kernel leaves of an area, in the unit of the difference."""

    #: Root mean square of the residual of pixels that were held out, outliers left out.
    residual: float
    #: Scatter of the difference.
    noise: float
    #: Usual residual in units of the noise that one of the images has in the difference.
    share: float
    #: Usual deviation of bright pixels; NaN where there are none.
    bright: float
    #: Share of the pixels that are far off.
    outliers: float
    pixels: int
    #: Residual in units of that with a kernel on the other image, too.
    of_two: float
    #: Residual in windows where it is large, in units of that where it is small.
    unevenness: float

    @property
    def is_of_two(self) -> bool:
        """Whether both images went through kernels."""
        return self.of_two > _OF_TWO

    def problem(self, *, exact: bool) -> str:
        """Say why the kernel is not to be used; empty if it is.

        Pixels that are far off are suspicious unless it is exact in the others: backgrounds with
        steps are not polynomials.
        """
        if not np.isfinite(self.residual) or not self.pixels or not self.noise > 0:
            return "there are too few usable pixels to verify a kernel"
        limits = (
            (self.residual / self.noise, LIMIT, "times the noise of the difference"),
            (
                self.share,
                _EXPLAINED_IF_EXACT if exact else EXPLAINED,
                "times the noise that one of the images has in the difference",
            ),
            (
                self.of_two,
                _OF_TWO,
                "times what it leaves with a kernel on the other image, too: both went through one",
            ),
            (self.bright / self.noise, FITS_BRIGHT, "times the noise on bright pixels"),
            (self.outliers, _MOST_IF_EXACT if exact else _MOST, "of the pixels unexplained"),
        )
        for value, most, what in limits:
            if value > most:
                return f"the best kernel leaves {value:.2g} (at most {most:g}) {what}"
        return ""


def prove(fit: AreaFit) -> Proof:
    """Measure what a fit leaves of the pixels that were held out."""
    known, weights = np.isfinite(fit.residual), fit.unseen.weights
    total = float(weights[known].sum())
    squares = float((fit.residual[known] ** 2 * weights[known]).sum())
    whole = (fit.other_equations if len(fit.held_out) else fit.equations).pixels
    least = min(fit.equations.contributions(fit.solution, fit.terms))
    return Proof(
        residual=float(np.sqrt(squares / total)) if total > 0 else np.nan,
        noise=noise_of(fit.pixels),
        share=fit.left / least if least > 0 else np.inf,
        bright=_bright(fit),
        outliers=1 - fit.unseen.pixels / whole if whole else 1.0,
        pixels=int(np.count_nonzero(known)),
        of_two=_of_two(fit),
        unevenness=_unevenness(fit),
    )


def _of_two(fit: AreaFit) -> float:
    """Compare what is left with what is left when the other image has a kernel, too.

    Small changes of both kernels are fitted to what is left of a few windows. Of a difference that
    was whitened, or made of convolved images, they explain far more than a change of one.
    """
    half = min(_HALF_WIDTH, fit.pixels.reach)
    deviation = fit.equations.deviation(fit.solution, fit.terms)
    counts = np.count_nonzero(fit.equations.weights, axis=(1, 2))
    shares = []
    for number in np.argsort(-counts)[:_WINDOWS].tolist():
        equations = _changes(fit.pixels, number, deviation[number], half)
        only = equations and equations.solve(only_middle_of=0 if fit.side == "template" else 1)
        both = equations and equations.solve()
        if only and both and both.residual > 0:
            shares.append(only.residual / both.residual)
    return float(np.median(shares)) if shares else 1.0


def _changes(
    pixels: Pixels, number: int, deviation: NDArray[np.float64], half: int
) -> PairEquations | None:
    """Return the equations of changes of both kernels that explain the deviation of a window."""
    start, stop = pixels.reach - half, pixels.reach + pixels.side + half
    images = [one[number, start:stop, start:stop] for one in (pixels.science, pixels.template)]
    target = np.zeros(images[0].shape)
    good: NDArray[np.bool_] = np.isfinite(images[0]) & np.isfinite(images[1])
    inner = (slice(half, half + pixels.side),) * 2
    good[inner] &= np.isfinite(deviation)
    target[inner] = np.nan_to_num(deviation)
    if not good.any():
        return None
    science, template = (np.where(good, one, 0.0) for one in images)
    return pair_equations(science, template, target, good, half)


def _unevenness(fit: AreaFit) -> float:
    """Compare the usual residuals of windows, large with small ones; 1 for one window."""
    known = [one[np.isfinite(one)] for one in fit.residual]
    usual = [robust_sigma(one) for one in known if one.size >= _ENOUGH]
    if not usual:
        return 1.0
    small, large = np.percentile(usual, [10, 90])
    return float(large / small) if small > 0 else np.inf


def _bright(fit: AreaFit) -> float:
    """Return the usual deviation of bright pixels, those that are far off included."""
    shown = fit.held_out if len(fit.held_out) else fit.pixels
    inner = slice(shown.reach, shown.reach + shown.side)
    science = shown.science[:, inner, inner]
    deviation = fit.unseen.deviation(fit.solution, fit.family.values(shown))
    known = np.isfinite(deviation) & np.isfinite(science)
    if not known.any():
        return np.nan
    above = science - np.median(science[known])
    bright = known & (above > _BRIGHT * robust_sigma(above[known]))
    enough = np.count_nonzero(bright) >= _ENOUGH
    return float(np.median(np.abs(deviation[bright]))) / 0.6745 if enough else np.nan


def noise_of(pixels: Pixels) -> float:
    """Return the scatter of a difference about the level of each window."""
    values = [
        window[good] - np.median(window[good])
        for window, good in zip(pixels.difference, pixels.good, strict=True)
        if good.any()
    ]
    return robust_sigma(np.concatenate(values)) if values else np.nan


def is_exact(residual: float, noise: float, step: float) -> bool:
    """Say whether a residual is that of rounding to steps, or negligible."""
    return residual <= max(EXACT * noise, _ROUNDED * step / math.sqrt(12.0))


def rounding_of(pixels: Pixels, known: float = 0.0) -> tuple[float, float]:
    """Return the error of rounding of a difference, one sigma, and its step, 0 for other numbers.

    The step may be `known`: where it was dithered it cannot be seen. Other numbers are taken as
    single precision, whatever the file has: so tools compute, from numbers as large as the images.
    """
    values = pixels.difference[pixels.good]
    step = known or _step(values[:: max(1, len(values) // _SAMPLE)])
    inner = slice(pixels.reach, pixels.reach + pixels.side)
    sizes = [
        float(np.nanmedian(np.abs(image[:, inner, inner][pixels.good])))
        for image in (pixels.science, pixels.template)
        if pixels.good.any()
    ]
    single = float(np.spacing(np.float32(max(sizes, default=0.0))))
    return max(step, single) / np.sqrt(12.0), step


def _step(values: NDArray[np.float64]) -> float:
    """Return the step of which all values are multiples, up to a common number; 0 if none is."""
    ordered = np.unique(values)
    gaps = np.diff(ordered)
    if len(gaps) < 2:
        return 0.0
    step = float(gaps.min())
    multiples = gaps / step
    # Of numbers without steps the smallest gap is far smaller than most.
    is_stepped = np.abs(multiples - np.rint(multiples)).max() < 0.01 and np.median(multiples) < 50
    return step if is_stepped else 0.0
