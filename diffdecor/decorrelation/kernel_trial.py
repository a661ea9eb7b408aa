"""Trials to explain a difference: one kernel for each of some areas, and the proof of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from diffdecor.core.planes import Progress, Window
from diffdecor.decorrelation.kernel_area import AreaFit, AreaFitter
from diffdecor.decorrelation.kernel_probe import CLEARLY, Probe, first_support, probe
from diffdecor.decorrelation.kernel_proof import (
    LIMIT,
    UNEVEN,
    Proof,
    is_exact,
    noise_of,
    prove,
    rounding_of,
)
from diffdecor.decorrelation.kernel_windows import read_pixels, window_grid
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.kernels.model import Box, KernelArea, Side

#: Side of the windows that show how a difference is rounded, pixels.
_LOOKED_AT = 32
#: What a kernel leaves of a window, in units of the noise, that promises nothing for the whole.
_HOPELESS = 0.5
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
        """Whether the residual is larger in some windows than in others, unlike noise."""
        return any(one.unevenness > UNEVEN for one in self.proofs)

    def better_than(self, other: Trial) -> Trial:
        """Return this trial if it is exact, or the first that is of use; else the other."""
        return self if self.is_exact or (other.problem and not self.problem) else other


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
        return rounding_of(read_pixels(self._subtraction, places, side, 0))

    @property
    def rounding(self) -> float:
        """Error of rounding of the difference, one sigma."""
        return self._rounded[0]

    def of_whole(self, *, splines: bool = False) -> Trial:
        """Try one kernel for the whole image."""
        ny, nx = self.shape
        return self.of_areas([KernelArea(Box(0, nx - 1, 0, ny - 1))], splines=splines)

    def of_areas(self, areas: Sequence[KernelArea], *, splines: bool = False) -> Trial:
        """Try one kernel for every area; areas without pixels have none."""
        trials = []
        for number, area in enumerate(areas):
            trials.append(self._of_area(area, splines=splines))
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
        """Say whether one kernel explains a window exactly."""
        box = Box(window.x0, window.x1 - 1, window.y0, window.y1 - 1)
        return self._of_area(KernelArea(box)).is_exact

    def _of_area(self, area: KernelArea, *, splines: bool = False) -> Trial:
        box, subtraction = area.box, self._subtraction
        window = Window(box.xmin, box.xmax + 1, box.ymin, box.ymax + 1).within(self.shape)
        convolved = subtraction.config.convolved
        sides: tuple[Side, ...] = ("template", "science") if convolved == "auto" else (convolved,)
        probes = sorted(
            probe(subtraction, window, sides).values(), key=lambda one: one.solution.rms
        )
        if probes and (hopeless := _hopeless(probes[0])):
            return Trial(problem=hopeless, is_hopeless=True)
        tried = []
        for one in _plausible(probes):
            fitter = AreaFitter(
                subtraction, window, one.side, area.blocks, self.rounding, splines=splines
            )
            fit = fitter.fit(first_support(one, self.rounding))
            if fit is not None:
                tried.append(self._proved(fit))
                if not tried[-1].problem:
                    return tried[-1]
        if not tried:
            return Trial.nothing()
        return min(tried, key=lambda one: one.proofs[0].residual)

    def _proved(self, fit: AreaFit) -> Trial:
        proof = prove(fit)
        return Trial(
            fits=[fit],
            proofs=[proof],
            problem=proof.problem(),
            is_exact=not proof.problem()
            and is_exact(proof.residual, proof.noise, self._rounded[1]),
        )


def _hopeless(best: Probe) -> str:
    """Say why the whole image is not worth a fit; empty if it is."""
    noise = noise_of(best.pixels)
    if best.solution.rms <= _HOPELESS * noise:
        return ""
    share = best.solution.rms / noise if noise > 0 else np.inf
    return (
        f"the best kernel leaves {share:.2g} times the noise of the difference (at most {LIMIT:g})"
    )


def _plausible(probes: Sequence[Probe]) -> Sequence[Probe]:
    """Return the sides worth a fit, the more likely first."""
    return [one for one in probes if one.solution.rms <= CLEARLY * probes[0].solution.rms]
