"""Find the matching kernel of a difference from its two images: the recipe, on one page.

A difference is linear in its kernel and nearly free of noise, since it was computed from these very
images: the noise of the image that was convolved probes the kernel at all frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffdecor.core.planes import Progress
from diffdecor.decorrelation.kernel_assembly import assembled, peak_of
from diffdecor.decorrelation.kernel_grid import find_grid, grid_areas
from diffdecor.decorrelation.kernel_trial import Trial, Trials
from diffdecor.decorrelation.kernel_windows import read_pixels
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.decorrelation.two_kernels import two_kernels
from diffdecor.errors import KernelError
from diffdecor.kernels.model import BasisKernel, KernelArea, Side

#: Side of the window that shows what else a difference is, pixels.
_LOOKED_AT = 128
_NOT_THEIRS = "it is not the difference of these images as they are"


@dataclass(frozen=True, eq=False, kw_only=True)
class KernelFit:
    """A matching kernel that was found from the images, and the proof of it.

    Parameters
    ----------
    kernel : BasisKernel
        The kernel, its format ``fit``. Its scales are those of the image that was not convolved,
        the same for both images.
    side : {"template", "science"}
        The side that was convolved; of several regions with different sides that of the first.
    family : str
        How it varies: ``constant``, ``polynomials of order 2 in blocks of 21 pixels``.
    residual : float
        Root mean square of what the kernel leaves of the difference in pixels that it was not
        fitted to, in units of the noise of the difference.
    rounding : float
        The same in units of the rounding of the difference.
    error : float
        Error of a pixel of the kernel, in units of its peak.
    pixels : int
        Pixels that it was compared with and not fitted to.
    is_exact : bool
        Whether the residual is that of the rounding, or negligible.
    is_matched : bool
        Whether the kernel is a single pixel: the images were matched before.
    """

    kernel: BasisKernel
    side: Side
    family: str
    residual: float
    rounding: float
    error: float
    pixels: int
    is_exact: bool
    is_matched: bool = False


def fit_kernel(
    subtraction: Subtraction,
    areas: Sequence[KernelArea] = (),
    progress: Progress | None = None,
) -> KernelFit:
    """Find the matching kernel of a difference from its two images.

    The kernel of the subtraction does not matter; its options ``convolved``, ``science_scale`` and
    ``template_scale`` hold where they are given as numbers. `areas` are what headers say of where
    solutions were made separately, and held constant. `progress` is told of the areas.

    Raises
    ------
    KernelError
        Where no kernel explains the difference: the error says how far it is off, and why.
    """
    trials = Trials(subtraction, progress)
    best = trials.of_areas(areas) if areas else trials.of_whole()
    if best.problem and areas:  # the header may be that of another image
        best = trials.of_whole().better_than(best)
    if not trials.is_rounded(best) and (best.is_uneven or best.is_hopeless):
        best = _regions(trials, all_grids=not best.is_hopeless).better_than(best)
    if not trials.is_rounded(best) and best.is_uneven and len(best.fits) == 1:
        best = trials.of_splines(best).better_than(best)
    if best.problem or not best.is_exact:
        other = _what_else(subtraction)
        if best.problem or other:
            problem = best.problem or "one kernel does not explain it"
            msg = f"{subtraction.difference.name}: {problem}; {other or _NOT_THEIRS}"
            raise KernelError(msg)
    return _described(subtraction, trials, best)


def _regions(trials: Trials, *, all_grids: bool) -> Trial:
    """Fit one kernel for every region of a regular grid; nothing where the first has none."""
    grid = find_grid(trials.shape, trials.explains, all_grids=all_grids)
    return Trial.nothing() if grid is None else trials.of_areas(grid_areas(trials.shape, grid))


def _what_else(subtraction: Subtraction) -> str:
    """Say what a difference is that one kernel does not explain, by the window in its middle.

    Empty where two kernels do not explain it either.
    """
    side = min(_LOOKED_AT, *subtraction.shape)
    place = [(length - side) // 2 for length in subtraction.shape[::-1]]
    pixels = read_pixels(subtraction, np.array([place]), side, 0)
    for name, image in (("science image", pixels.science), ("template", pixels.template)):
        if np.array_equal(pixels.difference[pixels.good], image[pixels.good]):
            return f"it is the {name} itself"
    found = two_kernels(pixels.science[0], pixels.template[0], pixels.difference[0], pixels.good[0])
    return "" if found is None else found.text


def _described(subtraction: Subtraction, trials: Trials, trial: Trial) -> KernelFit:
    """Return the kernel of a trial, and the proof of it."""
    fits, proof = trial.fits, trial.worst
    return KernelFit(
        kernel=assembled(subtraction, fits, trials.rounding, at_source=trial.at_source),
        side=fits[0].side,
        family=fits[0].family.text,
        residual=proof.residual / proof.noise,
        rounding=proof.residual / trials.rounding if trials.rounding > 0 else math.nan,
        error=max(fit.solution.errors[0] / peak_of(fit) for fit in fits),
        pixels=sum(one.pixels for one in trial.proofs),
        is_exact=trial.is_exact,
        is_matched=all(fit.support.size == 1 for fit in fits),
    )
