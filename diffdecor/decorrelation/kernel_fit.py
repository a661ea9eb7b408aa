"""Find the matching kernel of a difference from its two images: the recipe, on one page.

A difference is linear in its kernel and nearly free of noise, since it was computed from these very
images: the noise of the image that was convolved probes the kernel at all frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diffdecor.core.planes import Progress, Window
from diffdecor.decorrelation.kernel_area import AreaFit, AreaFitter
from diffdecor.decorrelation.kernel_assembly import assembled, peak_of
from diffdecor.decorrelation.kernel_probe import CLEARLY, Probe, first_support, probe
from diffdecor.decorrelation.kernel_proof import Proof, is_exact, prove, rounding_of, worst
from diffdecor.decorrelation.kernel_windows import read_pixels, window_grid
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.errors import KernelError
from diffdecor.kernels.model import BasisKernel, Blocks, Box, KernelArea, Side

#: Side of the windows that show how a difference is rounded, pixels.
_LOOKED_AT = 32


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
    whole = KernelArea(_box(Window.whole(subtraction.shape)))
    try:
        return _fit(subtraction, areas or [whole], progress)
    except KernelError as error:
        if all(area.box == whole.box and area.blocks is None for area in areas):
            raise
        try:  # headers may be those of another image
            return _fit(subtraction, [whole], progress)
        except KernelError:
            raise error from None


def _box(window: Window) -> Box:
    return Box(window.x0, window.x1 - 1, window.y0, window.y1 - 1)


def _fit(
    subtraction: Subtraction, areas: Sequence[KernelArea], progress: Progress | None
) -> KernelFit:
    fits, proofs = [], []
    rounding, step = _rounding(subtraction)
    for number, area in enumerate(areas):
        box = area.box
        window = Window(box.xmin, box.xmax + 1, box.ymin, box.ymax + 1).within(subtraction.shape)
        found = _fit_one(subtraction, window, area.blocks, rounding)
        if found is not None:
            fits.append(found[0])
            proofs.append(found[1])
        if progress is not None:
            progress(number + 1, len(areas))
    name = subtraction.difference.name
    if not fits:
        msg = f"{name}: there are too few usable pixels to fit a kernel"
        raise KernelError(msg)
    proof, first = worst(proofs), fits[0]
    residual = proof.residual / proof.noise
    return KernelFit(
        kernel=assembled(
            subtraction, fits, rounding, at_source=all(area.at_source for area in areas)
        ),
        side=first.side,
        family=first.family.text,
        residual=residual,
        rounding=proof.residual / rounding if rounding > 0 else math.nan,
        error=max(fit.solution.errors[0] / peak_of(fit) for fit in fits),
        pixels=sum(one.pixels for one in proofs),
        is_exact=is_exact(proof.residual, proof.noise, step),
        is_matched=all(fit.support.size == 1 for fit in fits),
    )


def _rounding(subtraction: Subtraction) -> tuple[float, float]:
    """Return how a difference is rounded, by windows spread over it."""
    whole = Window.whole(subtraction.shape)
    side = min(_LOOKED_AT, *subtraction.shape)
    pixels = read_pixels(subtraction, window_grid(whole, side).places, side, 0)
    return rounding_of(pixels)


def _fit_one(
    subtraction: Subtraction, area: Window, blocks: Blocks | None, rounding: float
) -> tuple[AreaFit, Proof] | None:
    """Fit the kernel of one area, and prove it; None with too few pixels to try.

    Raises a `KernelError` where no kernel is good enough.
    """
    convolved = subtraction.config.convolved
    sides: tuple[Side, ...] = ("template", "science") if convolved == "auto" else (convolved,)
    probes = sorted(probe(subtraction, area, sides).values(), key=lambda one: one.solution.rms)
    tried: list[tuple[AreaFit, Proof]] = []
    for one in _plausible(probes):
        fitter = AreaFitter(subtraction, area, one.side, blocks, rounding)
        fit = fitter.fit(first_support(one, rounding))
        if fit is None:
            continue
        tried.append((fit, prove(fit)))
        if not tried[-1][1].problem():
            return tried[-1]
    if not tried:
        return None
    _, proof = min(tried, key=lambda pair: pair[1].residual)
    msg = f"{subtraction.difference.name}: {proof.problem()}"
    raise KernelError(msg)


def _plausible(probes: Sequence[Probe]) -> Sequence[Probe]:
    """Return the sides worth a fit, the more likely first."""
    return [one for one in probes if one.solution.rms <= CLEARLY * probes[0].solution.rms]
