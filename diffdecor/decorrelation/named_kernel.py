"""What is wrong with a kernel that does not rebuild the difference: the one that does says it."""

from __future__ import annotations

from dataclasses import replace

from diffdecor.decorrelation.kernel_difference import kernel_difference
from diffdecor.decorrelation.kernel_fit import KernelFit, fit_kernel
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.errors import KernelError
from diffdecor.kernels.model import BasisKernel, KernelArea, MatchingKernel

#: No usual misreading of the kernel rebuilds the difference.
NOTHING_FITS = "none of the usual misreadings fits either"
#: Format of kernels that were fitted to the images.
_FITTED = "fit"
#: What is left where such a kernel does not rebuild the difference: it was proved without noise.
_OTHER_NOISE = (
    "the kernel was found from these very images, and leaves little of the noise that the "
    "difference has: their noise planes, gains or variances claim far less (another unit, or "
    "another kind: --noise-kind), or pixels are off that no mask flags (--difference-mask)"
)


def name_by_fit(subtraction: Subtraction) -> tuple[str, KernelFit | None]:
    """Fit the kernel, and say how the given one, its side and scales differ from it.

    The kernel of the subtraction has the side and the scales of the options; the fit is made
    without them, since they may be what is wrong. Returns the cause in words, and the fit if there
    is one.
    """
    kernel = subtraction.kernel
    if kernel.format == _FITTED:
        return _OTHER_NOISE, None
    if not subtraction.can_be_rebuilt:
        return NOTHING_FITS, None
    options = replace(subtraction.config, convolved="auto", science_scale=None, template_scale=None)
    try:
        fit = fit_kernel(replace(subtraction, config=options), _areas(kernel))
    except KernelError as error:
        return f"{NOTHING_FITS}, nor does any kernel: {_short(error, subtraction)}", None
    text = kernel_difference(kernel, fit, subtraction.shape)
    left = f"fitted to the images, {fit.residual:.2g} sigma left"
    if not text:
        cause = (
            f"{NOTHING_FITS}, and the kernel is right (the one {left}, agrees): its background, or "
            "how it is held constant over blocks, is another one than it says"
        )
        return cause, fit
    more = " (--kernel fit uses that)" if fit.is_exact else ""
    return f"compared with the kernel {left}{more}, the given one {text}", fit


def _areas(kernel: MatchingKernel) -> tuple[KernelArea, ...]:
    """Return regions and blocks of a kernel, which the fit tries first."""
    if not isinstance(kernel, BasisKernel):
        return ()
    regions, at_source = kernel.regions, kernel.evaluated_at == "SOURCE"
    if len(regions) > 1 or at_source or any(region.blocks is not None for region in regions):
        return tuple(KernelArea(region.box, region.blocks, at_source) for region in regions)
    return ()


def _short(error: KernelError, subtraction: Subtraction) -> str:
    """Return what an error says, without the name of the file, which is said before."""
    return str(error).removeprefix(f"{subtraction.difference.name}: ")
