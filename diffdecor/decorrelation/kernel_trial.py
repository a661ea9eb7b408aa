"""Trials to explain a difference: one kernel for each of some areas, and the proof of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from diffdecor.core.planes import Progress, Window
from diffdecor.decorrelation.kernel_area import AreaFit, AreaFitter, grown
from diffdecor.decorrelation.kernel_probe import (
    CLEARLY,
    PLACES,
    Probe,
    first_support,
    probe,
)
from diffdecor.decorrelation.kernel_proof import (
    EXPLAINED,
    LIMIT,
    UNEVEN,
    Proof,
    is_exact,
    noise_of,
    prove,
    rounding_of,
)
from diffdecor.decorrelation.kernel_support import significant_support
from diffdecor.decorrelation.kernel_windows import read_pixels, window_grid
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.kernels.model import Box, KernelArea, Side

#: Side of the windows that show how a difference is rounded, pixels.
_LOOKED_AT = 32
#: What a kernel leaves of a window, in units of the noise, that promises nothing for the whole.
_HOPELESS = 0.5
#: What leaves this many times the rounding cannot be explained better.
_ROUNDED = 10.0
#: How much B-splines may leave, whose knots are not known: this many times the rounding of D.
_SPLINES = 15.0
#: A probe that leaves this many times the rounding leaves nothing else.
_ROUNDED_TO_STEPS = 1.5
_TOO_FEW = "there are too few usable pixels to fit a kernel"


@dataclass(frozen=True, eq=False, kw_only=True)
class Trial:
    """What came of a trial: a fit and its proof for every area, and why it is not to be used."""

    fits: Sequence[AreaFit] = ()
    proofs: Sequence[Proof] = ()
    #: Why the kernel is not to be used; empty if it is.
    problem: str = ""
    is_exact: bool = False
    #: The kernel was taken at the source pixel.
    at_source: bool = False
    #: A first look has shown that there is nothing to be found.
    is_hopeless: bool = False

    @classmethod
    def nothing(cls) -> Self:
        """Return the trial that was not made."""
        return cls(problem=_TOO_FEW)

    @property
    def worst(self) -> Proof:
        """The proof with the largest residual in units of the noise."""
        return max(self.proofs, key=lambda one: one.residual / one.noise)

    @property
    def is_uneven(self) -> bool:
        """Whether much is explained, and more left of some windows than of others."""
        promising = all(one.share < _HOPELESS and not one.is_of_two for one in self.proofs)
        return promising and any(one.unevenness > UNEVEN for one in self.proofs)

    @property
    def left(self) -> float:
        """The largest residual in units of the noise."""
        return self.worst.residual / self.worst.noise

    def better_than(self, other: Trial) -> Trial:
        """Return this trial if it is of use, and clearly better than the other; else that one."""
        if self.problem:
            return other
        return self if other.problem or self.left * CLEARLY < other.left else other


class Trials:
    """Tries to explain a difference.

    Parameters
    ----------
    subtraction : Subtraction
        Its images; the kernel does not matter.
    progress : callable, optional
        Told of the areas of a trial.
    """

    def __init__(self, subtraction: Subtraction, progress: Progress | None = None) -> None:
        self._subtraction, self._progress = subtraction, progress
        self.shape = subtraction.shape

    @cached_property
    def _rounded(self) -> tuple[float, float]:
        """Error of rounding of the difference, and its step, by windows spread over it."""
        side = min(_LOOKED_AT, *self.shape)
        places = window_grid(Window.whole(self.shape), side).places
        pixels = read_pixels(self._subtraction, places, side, 0)
        return rounding_of(pixels, self._subtraction.difference.step)

    @property
    def rounding(self) -> float:
        """Error of rounding of the difference, one sigma."""
        return self._rounded[0]

    @property
    def _negligible(self) -> float:
        """What may be left without a closer look: the rounding of floats, which is next to nothing.

        What is hidden in the rounding to steps may be found all the same.
        """
        return 0.0 if self._rounded[1] else self.rounding

    def is_rounded(self, trial: Trial) -> bool:
        """Say whether a trial leaves hardly more than the rounding of the difference."""
        return not trial.problem and trial.worst.residual < _ROUNDED * self.rounding

    def of_whole(self) -> Trial:
        """Try one kernel for the whole image."""
        ny, nx = self.shape
        return self.of_areas([KernelArea(Box(0, nx - 1, 0, ny - 1))])

    def of_splines(self, trial: Trial) -> Trial:
        """Try B-splines in place of the polynomials of a trial of the whole image."""
        (fit,) = trial.fits
        rounding = _SPLINES * self.rounding
        fitter = AreaFitter(
            self._subtraction, fit.family.area, fit.side, None, rounding, splines=True
        )
        found = fitter.fit(grown(significant_support(fit.solution, fit.support), 1))
        return Trial.nothing() if found is None else self._proved(found)

    def of_areas(self, areas: Sequence[KernelArea]) -> Trial:
        """Try one kernel for every area; areas without pixels have none."""
        trials = []
        for number, area in enumerate(areas):
            trials.append(self._of_area(area))
            if trials[-1].problem and trials[-1].problem != _TOO_FEW:
                return trials[-1]
            if self._progress is not None:
                self._progress(number + 1, len(areas))
        found = [one for one in trials if not one.problem]
        if not found:
            return Trial.nothing()
        return Trial(
            fits=[one.fits[0] for one in found],
            proofs=[one.proofs[0] for one in found],
            is_exact=all(one.is_exact for one in found),
            at_source=all(area.at_source for area in areas),
        )

    def explains(self, window: Window) -> bool:
        """Say whether one kernel explains a window to its rounding."""
        box = Box(window.x0, window.x1 - 1, window.y0, window.y1 - 1)
        return self.is_rounded(self._of_area(KernelArea(box), places=1))

    def _of_area(self, area: KernelArea, places: int = PLACES) -> Trial:
        box, subtraction = area.box, self._subtraction
        window = Window(box.xmin, box.xmax + 1, box.ymin, box.ymax + 1).within(self.shape)
        convolved = subtraction.config.convolved
        sides: tuple[Side, ...] = ("template", "science") if convolved == "auto" else (convolved,)
        probes, hopeless = self._probed(window, sides, places)
        if hopeless:
            return Trial(problem=hopeless, is_hopeless=True)
        tried = []
        for one in _plausible(probes):
            fitter = AreaFitter(subtraction, window, one.side, area.blocks, self._negligible)
            fit = fitter.fit(first_support(one, self._negligible))
            if fit is not None:
                tried.append(self._proved(fit))
                if not tried[-1].problem:
                    return tried[-1]
        if not tried:
            return Trial.nothing()
        return min(tried, key=lambda one: one.proofs[0].residual)

    def _probed(
        self, window: Window, sides: Sequence[Side], places: int
    ) -> tuple[Sequence[Probe], str]:
        """Look at windows until one is promising; return its probes, or why none is.

        There may be a step of the sky in the first.
        """
        first = ""
        for place in range(places):
            found = probe(self._subtraction, window, sides, place).values()
            probes = sorted(found, key=lambda one: one.solution.rms)
            hopeless = self._hopeless(probes[0]) if probes else ""
            if not hopeless:
                return probes, ""
            first = first or hopeless
        return (), first

    def _hopeless(self, best: Probe) -> str:
        """Say why the whole image is not worth a fit; empty if it is."""
        noise = noise_of(best.pixels)
        if not noise > 0:
            return "the difference is constant in its middle, or most of its pixels are equal"
        if not best.least > 0:
            return "science image or template is constant in the middle, and shows no kernel"
        if best.solution.rms < _ROUNDED_TO_STEPS * self.rounding:
            return ""
        of_noise, of_image = (
            left / one if one > 0 else np.inf
            for left, one in ((best.solution.rms, noise), (best.left, best.least))
        )
        if of_noise > _HOPELESS:
            return (
                f"the best kernel leaves {of_noise:.2g} times the noise of the difference in its "
                f"middle (at most {LIMIT:g})"
            )
        if of_image > _HOPELESS:
            return (
                f"the best kernel leaves {of_image:.2g} times the noise that one of the images has "
                f"in the middle of the difference (at most {EXPLAINED:g})"
            )
        return ""

    def _proved(self, fit: AreaFit) -> Trial:
        proof = prove(fit)
        exact = is_exact(proof.residual, proof.noise, self._rounded[1])
        problem = proof.problem(exact=exact)
        return Trial(fits=[fit], proofs=[proof], problem=problem, is_exact=exact and not problem)


def _plausible(probes: Sequence[Probe]) -> Sequence[Probe]:
    """Return the sides worth a fit, the more likely first."""
    return [one for one in probes if one.solution.rms <= CLEARLY * probes[0].solution.rms]
