"""What a difference is that no single kernel explains: whether both images went through one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import centred, transfer
from diffdecor.core.pair_fit import PairEquations, PairFit, pair_equations
from diffdecor.core.statistics import robust_sigma
from diffdecor.core.whiteness import autocorrelation, local_level

#: What it may be: psi * (S - K * T), or another difference of white noise; two images that were
#: convolved; images that lie by whole pixels beside it; one kernel with the other sign.
Kind = Literal["decorrelated", "convolved", "moved", "opposite"]

#: Kernels that are tried, half of their width in pixels, and the window that is looked at.
_HALF_WIDTHS, _WINDOW = (7, 10), 128
#: Two kernels leave at most this share of the noise of D, and of what one kernel leaves.
_EXPLAINED, _CLEARLY = 0.2, 0.1
#: Two kernels that leave more of it do not leave enough less where they are larger.
_HOPELESS = 0.6
#: With this residual, in units of the noise, there is nothing left to explain.
_NOTHING_LEFT = 3e-3
#: Largest scatter of the logarithm of a noise power that is called white.
_WHITE = 0.3
#: Share of a kernel that is in one pixel, if it moves an image only.
_SINGLE = 0.8
#: Largest asymmetry of a kernel that is called symmetric.
_SYMMETRIC = 0.1
#: Psi leaves at least this share of every frequency, and raises some.
_WEAKEST = 0.9
#: One kernel explains a difference roughly up to this share of its noise; two of those that vary
#: leave at most this share of what it leaves.
_ROUGHLY, _BETTER = 0.5, 0.5
#: Lags that are compared, pixels; how many times the squares of white noise those of the expected
#: correlations are at least, and the share of them that white noise has left at most.
_LAGS, _CHANCES, _LACKING = 3, 2.0, 0.25
#: A kernel has come down where it is smaller than this share of its peak.
_BORDER = 0.1
#: Pixels beyond this many sigma are not noise.
_CLIPPED = 4.0
#: Points of transforms along either axis.
_POINTS = 64


Transforms = NDArray[np.complex128]


@dataclass(frozen=True, eq=False, kw_only=True)
class TwoKernels:
    """The kernels of a difference ``D = A * S - B * T + level``, and what kind it is of.

    Parameters
    ----------
    kind : {"decorrelated", "convolved", "moved", "opposite"}
        What the difference is.
    science, template : array (k, k)
        The kernels A and B, their origins in the middle.
    residual : float
        What both leave in pixels that they were not fitted to, in units of the noise of D.
    single : float
        What the best single kernel leaves.
    """

    kind: Kind
    science: NDArray[np.float64]
    template: NDArray[np.float64]
    residual: float
    single: float

    @property
    def text(self) -> str:
        """What the difference is, and what to do, in words."""
        if self.kind == "moved":
            image = "science image" if _shift(self.science) else "template"
            x, y = _shift(self.science) or _shift(self.template) or (0, 0)
            return f"its pixels are not those of the {image}: they lie ({x:+d}, {y:+d}) beside them"
        return _TEXTS[self.kind]


_TEXTS: dict[Kind, str] = {
    "decorrelated": (
        "its noise is decorrelated already: both images went through kernels that leave it white, "
        "psi * (S - K * T) or a proper subtraction (ZOGY); give the difference as it was, or leave "
        "it as it is"
    ),
    "convolved": (
        "both images were convolved before they were subtracted: give their kernels "
        "(--science-kernel, --template-kernel)"
    ),
    "opposite": "it has the other sign (template minus science): give it times -1",
}


def two_kernels(
    science: NDArray[np.float64],
    template: NDArray[np.float64],
    difference: NDArray[np.float64],
    good: NDArray[np.bool_],
) -> TwoKernels | None:
    """Say what a difference is that no single kernel explains; None where that stays unknown.

    The arrays ``(ny, nx)`` are a window of the images; of a large one the middle is looked at.
    """
    middle = tuple(_middle(length) for length in good.shape)
    images = [np.asarray(one[middle], dtype=np.float64) for one in (science, template, difference)]
    usable = good[middle] & np.isfinite(images).all(axis=0)
    if not usable.any():
        return None
    images = [np.where(usable, one, 0.0) for one in images]
    noise = robust_sigma(images[2][usable])
    if not noise > 0:
        return None
    for half_width in _HALF_WIDTHS:
        equations = pair_equations(images[0], images[1], images[2], usable, half_width)
        fits = None if equations is None else _fits(equations)
        if fits is None:
            return None
        found = _judged(*fits, images, usable, noise)
        single, both = fits
        if found is not None or both.residual > _HOPELESS * single.residual:
            return found
    return None


def _middle(length: int) -> slice:
    start = max(0, (length - _WINDOW) // 2)
    return slice(start, min(length, start + _WINDOW))


def _fits(equations: PairEquations) -> tuple[PairFit, PairFit] | None:
    """Return the best fit of one kernel, of either image, and that of two."""
    single = [one for number in (0, 1) if (one := equations.solve(only_middle_of=number))]
    both = equations.solve()
    return (min(single, key=lambda fit: fit.residual), both) if single and both else None


def _judged(
    best: PairFit,
    both: PairFit,
    images: list[NDArray[np.float64]],
    usable: NDArray[np.bool_],
    noise: float,
) -> TwoKernels | None:
    """Compare what one kernel leaves with what two leave."""
    kind: Kind
    levels = [_noise(one, usable) for one in images[:2]]
    if best.residual <= _NOTHING_LEFT * noise:
        if not _is_opposite(best):
            return None
        kind, found = "opposite", best
    elif both.residual <= min(_EXPLAINED * noise, _CLEARLY * best.residual):
        kind, found = _kind(both, levels), both
    elif (
        best.residual <= _ROUGHLY * noise
        and both.residual <= _BETTER * best.residual
        and _is_whiter(best, levels, images[2], usable)
    ):
        kind, found = "decorrelated", both
    else:
        return None
    return TwoKernels(
        kind=kind,
        science=found.first,
        template=-found.second,
        residual=found.residual / noise,
        single=best.residual / noise,
    )


def _is_opposite(fit: PairFit) -> bool:
    """Say whether the science image counts negative and the template positive."""
    return float(fit.first.sum()) < 0 < float(fit.second.sum())


def _kind(fit: PairFit, levels: list[float]) -> Kind:
    """Say what two kernels are: what they leave of the noise is white, or one is like psi."""
    if _shift(fit.first) or _shift(fit.second):
        return "moved"
    transforms, power = _power(fit, levels)
    is_white = power.min() > 0 and np.log(power).std() < _WHITE
    if is_white or any(map(_is_like_psi, (fit.first, fit.second), transforms)):
        return "decorrelated"
    return "convolved"


def _shift(kernel: NDArray[np.float64]) -> tuple[int, int] | None:
    """Return how far a kernel ``(k, k)`` moves an image, ``(x, y)``; None if it does more."""
    size = np.abs(kernel)
    row, column = np.unravel_index(int(size.argmax()), size.shape)
    shift = int(column) - kernel.shape[1] // 2, int(row) - kernel.shape[0] // 2
    return shift if size.max() > _SINGLE * size.sum() and shift != (0, 0) else None


def _power(fit: PairFit, levels: list[float]) -> tuple[Transforms, NDArray[np.float64]]:
    """Return the transforms of both kernels, and the power of the noise that they leave."""
    half = fit.first.shape[0] // 2
    kernels = np.array([fit.first, fit.second])
    transforms = transfer(kernels, (half, half), (_POINTS, _POINTS))
    return transforms, np.tensordot(levels, np.abs(transforms) ** 2, axes=1)


def _is_whiter(
    fit: PairFit, levels: list[float], difference: NDArray[np.float64], usable: NDArray[np.bool_]
) -> bool:
    """Say whether a difference lacks the correlation that the kernel gives to its noise.

    Of kernels that vary, too: one kernel explains the difference of a window roughly.
    """
    if not (_is_whole(fit.first) and _is_whole(fit.second)):
        return False  # what is cut off correlates noise otherwise
    covariance = np.fft.irfft2(_power(fit, levels)[1], (_POINTS, _POINTS))
    flat = difference - local_level(difference, usable)
    sky = usable & (np.abs(flat) < _CLIPPED * robust_sigma(flat[usable]))
    measured = autocorrelation(flat, sky, _LAGS)
    lagged = np.ones((2 * _LAGS + 1,) * 2, dtype=bool)
    lagged[_LAGS, _LAGS] = False
    expected = float(np.sum((centred(covariance, _LAGS)[lagged] / covariance[0, 0]) ** 2))
    found = float(np.nansum(measured.values[lagged] ** 2))
    chance = float(lagged.sum()) / max(1.0, float(sky.sum()))
    return expected > _CHANCES * chance and found - chance < _LACKING * expected


def _is_whole(kernel: NDArray[np.float64]) -> bool:
    """Say whether a kernel has come down at the border of its stamp."""
    border = kernel.copy()
    border[1:-1, 1:-1] = 0.0
    return bool(np.abs(border).max() < _BORDER * np.abs(kernel).max())


def _is_like_psi(kernel: NDArray[np.float64], transform: NDArray[np.complex128]) -> bool:
    """Say whether a kernel is the same upside down, and weakens no frequency."""
    asymmetry = np.sqrt(((kernel - kernel[::-1, ::-1]) ** 2).sum() / (kernel**2).sum()) / 2
    gain = np.abs(transform) / np.abs(kernel.sum())
    return bool(asymmetry < _SYMMETRIC and gain.min() > _WEAKEST and gain.max() > 1 / _WEAKEST)


def _noise(image: NDArray[np.float64], usable: NDArray[np.bool_]) -> float:
    """Return the noise variance of an image, from differences of neighbours."""
    square = np.where(usable, image, np.nan)
    total = square[1:, 1:] - square[1:, :-1] - square[:-1, 1:] + square[:-1, :-1]
    known = total[np.isfinite(total)]
    return robust_sigma(known) ** 2 / 4 if known.size else 0.0
