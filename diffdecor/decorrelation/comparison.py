"""A difference beside the one that a kernel makes of its images, and how well both agree."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.whiteness import local_level
from diffdecor.decorrelation.rebuild import rebuild
from diffdecor.kernels.model import MatchingKernel

#: Residual, in units of the noise, of a difference that is rebuilt exactly.
EXACT = 1e-3
#: The same of whole numbers, in units of the error of rounding.
_ROUNDED = 1.3 / math.sqrt(12.0)
#: Residual, in units of the noise, up to which files may belong together.
FITS = 0.5
#: The same on bright pixels, where a tool's interpolation of its kernel is visible.
FITS_BRIGHT = 3.0
#: Pixels are off that deviate by so many times the noise; the largest share of such that is named.
_OFF, _MOST_OFF = 0.1, 0.2
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
        if not pixels.size or not (pixels == np.rint(pixels)).all():
            return 0.0
        return float(np.sqrt(np.mean(self.noise[self.good] ** -2)))

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
            f"{number} of {pixels} pixels are left out{alike}: flag what is no difference of the "
            "images in a mask (--difference-mask FILE), or set it to NaN"
        )
        return text, fit

    def fit(self, kernel: MatchingKernel) -> Fit:
        """Measure how well a kernel rebuilds the difference."""
        model = rebuild(kernel, self.science, self.template)
        return self.measure(model, level=not kernel.has_background)

    def measure(self, model: NDArray[np.float64], *, level: bool = False) -> Fit:
        """Measure how well a model matches the difference, with `level` up to its local level."""
        known = self.good & np.isfinite(model)
        residual = np.where(known, model - self.difference, 0.0)
        if level:
            residual = np.where(known, residual - local_level(residual, known), 0.0)
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


def _rms(values: NDArray[np.float64], enough: int) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size >= enough else float("nan")


def somewhere(kernel: MatchingKernel) -> tuple[float, float]:
    """Return a position at which there is a kernel."""
    if not kernel.boxes:
        return 0.0, 0.0
    box = kernel.boxes[-1]
    return (box.xmin + box.xmax) / 2, (box.ymin + box.ymax) / 2
