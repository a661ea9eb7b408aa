"""Find the matching kernel of a difference from its two images: the recipe, on one page.

A difference is linear in its kernel and nearly free of noise, since it was computed from these very
images: the noise of the image that was convolved probes the kernel at all frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffdecor.core.planes import Progress
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.kernels.model import BasisKernel, KernelArea, Side


@dataclass(frozen=True, eq=False, kw_only=True)
class KernelFit:
    """A matching kernel that was found from the images, and the proof of it.

    Parameters
    ----------
    kernel : BasisKernel
        The kernel, its format ``fit``. Its scales are those of the image that was not convolved,
        the same for both images.
    side : {"template", "science"}
        The side that was convolved; of several regions with different sides that of the most.
    family : str
        How it varies: ``constant``, ``polynomials of order 2 in blocks of 21 pixels``.
    residual : float
        Root mean square of what the kernel leaves of the difference in pixels that it was not
        fitted to, in units of the noise of the difference.
    rounding : float
        The same in units of the rounding of the difference; NaN where that is not known.
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
    ``template_scale`` hold where they are given. `areas` are what headers say of where solutions
    were made separately, and held constant. `progress` is told of the steps.

    Raises
    ------
    KernelError
        Where no kernel explains the difference: the error says how far it is off, and why.
    """
    raise NotImplementedError
