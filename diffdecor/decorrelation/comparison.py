"""A difference beside the one that a kernel makes of its images, and how well both agree."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.planes import Window, in_memory
from diffdecor.core.statistics import robust_sigma
from diffdecor.core.whiteness import local_level
from diffdecor.decorrelation.mask import unusable_pixels
from diffdecor.decorrelation.rebuild import rebuild
from diffdecor.decorrelation.subtraction import ROLES, Subtraction
from diffdecor.kernels.model import MatchingKernel

#: Residual, in units of the noise, of a difference that is rebuilt exactly.
EXACT = 1e-3
#: The same of whole numbers, in units of the error of rounding.
_ROUNDED = 1.3 / math.sqrt(12.0)
#: Residual, in units of the noise, up to which files may belong together.
FITS = 0.5
#: The same on bright pixels, where a tool's interpolation of its kernel is visible.
FITS_BRIGHT = 3.0
#: Pixels are off that deviate by more than this share of the noise; largest share that is named.
_OFF, _MOST_OFF = 0.1, 0.2
#: Sigmas above the local level from which on a pixel is bright.
_BRIGHT = 10.0
#: Pixels that are looked at first, to see whether they are whole numbers.
_SOME = 1 << 10
#: Fewer bright pixels are not judged.
_ENOUGH = 20


@dataclass(frozen=True)
class Fit:
    """How well a rebuilt difference matches the one in the file."""

    #: Root mean square of the deviation in units of the expected noise, all usable pixels.
    residual: float
    #: The same of bright pixels; NaN if there are none.
    bright: float
    pixels: int
    bright_pixels: int

    @property
    def good(self) -> bool:
        """Whether the rebuilt difference can be the one in the file."""
        return self.residual <= FITS and not self.bright > FITS_BRIGHT

    @property
    def worst(self) -> float:
        """The larger of both residuals."""
        return max(self.residual, 0.0 if np.isnan(self.bright) else self.bright)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A difference as it is, and what is needed to compare a rebuilt one with it ``(ny, nx)``."""

    science: NDArray[np.float64]
    template: NDArray[np.float64]
    difference: NDArray[np.float64]
    #: Expected noise of the difference, one sigma.
    noise: NDArray[np.float64]
    #: Pixels that count, and those of them with light of sources.
    good: NDArray[np.bool_]
    bright: NDArray[np.bool_]

    @property
    def pair(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Science image and template."""
        return self.science, self.template

    @cached_property
    def exact(self) -> float:
        """Residual below which a difference is rebuilt exactly, in units of the noise."""
        return max(EXACT, _ROUNDED * self.quantum)

    @cached_property
    def quantum(self) -> float:
        """Step of a difference of whole numbers, in units of the noise; 0 for others."""
        pixels = self.difference[self.good]
        for some in (pixels[:_SOME], pixels):  # the first show it of most differences
            if not some.size or not (some == np.rint(some)).all():
                return 0.0
        return float(np.sqrt(np.mean(self.noise[self.good] ** -2)))

    def within(self, window: Window) -> Comparison:
        """Return the same comparison of the pixels of a window only."""
        good = np.zeros_like(self.good)
        good[window.rows, window.columns] = self.good[window.rows, window.columns]
        return replace(self, good=good)

    def without_holes(self, kernel: MatchingKernel) -> tuple[str, Fit] | None:
        """Return the fit without pixels that are far off, and which these are, in words.

        None unless they are few, and the difference is rebuilt exactly everywhere else.
        """
        model = rebuild(kernel, *self.pair)
        known = self.good & np.isfinite(model)
        if not kernel.has_background and known.any():
            model = model - np.median((model - self.difference)[known])
        deviation = np.where(known, model - self.difference, 0.0) / self.noise
        off = np.abs(deviation) > max(_OFF, 2 * self.exact)
        number, pixels = int(off.sum()), int(known.sum())
        if not 0 < number <= _MOST_OFF * pixels:
            return None
        rest = replace(self, good=self.good & ~off)
        fit = rest.measure(model, level=not kernel.has_background)
        if not fit.worst < self.exact:
            return None
        values, counts = np.unique(self.difference[off], return_counts=True)
        alike = f" (most are {values[counts.argmax()]:g})" if 2 * counts.max() > number > 1 else ""
        text = (
            f"{number} of {pixels} pixels are left out{alike}: flag what is not a difference of "
            "the images in a mask (--difference-mask FILE), or set it to NaN"
        )
        return text, fit

    def fit(self, kernel: MatchingKernel) -> Fit:
        """Measure how well a kernel rebuilds the difference."""
        model = rebuild(kernel, self.science, self.template)
        return self.measure(model, level=not kernel.has_background)

    def measure(self, model: NDArray[np.float64], *, level: bool = False) -> Fit:
        """Measure how well a model matches the difference, with `level` up to its local level."""
        known = self.good & np.isfinite(model)
        with np.errstate(invalid="ignore", over="ignore"):  # of pixels that do not count
            residual = model - self.difference
            if level:
                residual -= local_level(residual, known)
            residual /= self.noise
        shown = known & self.bright
        # What cutting off to whole numbers alone may leave does not count.
        rounded = self.quantum / math.sqrt(3.0)
        left = _rms(residual[known], 1)
        if rounded > 0 and left > self.exact:
            left = max(self.exact, math.sqrt(max(left**2 - rounded**2, 0.0)))
        return Fit(
            residual=left,
            bright=_rms(residual[shown], _ENOUGH),
            pixels=int(known.sum()),
            bright_pixels=int(shown.sum()),
        )


@np.errstate(invalid="ignore")  # signalling NaNs
def compare(subtraction: Subtraction) -> Comparison:
    """Read the planes of a subtraction, and select the pixels that count."""
    images = (*subtraction.pair, subtraction.difference)
    science, template, difference = (in_memory(one.image) for one in images)
    good = ~np.asarray(in_memory(unusable_pixels(subtraction)))
    noise = _noise(subtraction, difference, good)
    good &= (noise > 0) & (noise < np.inf)
    noise[~good] = 1.0
    known = good & np.isfinite(science)
    above = science - local_level(science, known)
    spread = robust_sigma(above[known]) if known.any() else 1.0
    return Comparison(
        science=_in_double(science),
        template=_in_double(template),
        difference=_in_double(difference),
        noise=noise,
        good=good,
        bright=known & (above > _BRIGHT * spread),
    )


def _in_double(pixels: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(pixels, dtype=np.float64)


def _noise(
    subtraction: Subtraction, difference: NDArray[Any], good: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the expected noise of the difference, one sigma at every pixel ``(ny, nx)``.

    If an image has neither variance plane nor level, it is the scatter of the good pixels.
    """
    x, y = somewhere(subtraction.kernel)
    energy = float((subtraction.kernel.stamp(x, y) ** 2).sum())
    gains = np.array(subtraction.scales(x, y)) ** 2
    gains[0 if subtraction.side(x, y) == "science" else 1] *= energy
    parts: list[Any] = []
    for role, exposure, gain in zip(ROLES, subtraction.pair, gains, strict=True):
        level = subtraction.given_level(role)
        if exposure.variance is not None:
            parts.append(gain * _in_double(in_memory(exposure.variance)))
        elif level is not None:
            parts.append(np.full(subtraction.shape, gain * level))
        else:
            pixels = _in_double(difference[good])
            return np.full(subtraction.shape, robust_sigma(pixels) if pixels.size else np.nan)
    total = parts[0] + parts[1]
    return np.asarray(np.sqrt(np.maximum(total, 0.0, out=total), out=total))


def _rms(values: NDArray[np.float64], enough: int) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size >= enough else float("nan")


def somewhere(kernel: MatchingKernel) -> tuple[float, float]:
    """Return a position at which there is a kernel."""
    if not kernel.boxes:
        return 0.0, 0.0
    box = kernel.boxes[-1]
    return (box.xmin + box.xmax) / 2, (box.ymin + box.ymax) / 2
