"""A subtraction whose kernel is found from its images: what can be, what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from diffdecor import words
from diffdecor.config import DecorrelationConfig
from diffdecor.config.kinds import INVERSE_SUM
from diffdecor.core.planes import Progress
from diffdecor.decorrelation.comparison import somewhere
from diffdecor.decorrelation.subtraction import SCALES, Subtraction
from diffdecor.decorrelation.validation import validate
from diffdecor.errors import ConfigError, KernelError
from diffdecor.kernels.model import KernelArea

if TYPE_CHECKING:
    from diffdecor.decorrelation.kernel_fit import KernelFit

log = words.logger(__name__)


def check_fittable(subtraction: Subtraction) -> None:
    """Raise a `ConfigError` if no kernel can be found from the images of a subtraction."""
    name, config = subtraction.difference.name, subtraction.config
    problem = ""
    if subtraction.is_alone:
        problem = "a difference alone has no kernel to be found; give science image and template"
    elif config.score:
        problem = (
            "the kernel of a score image cannot be found from its images; give its file with "
            "--kernel FILE"
        )
    elif not subtraction.can_be_rebuilt:
        problem = (
            "the matching kernel of images that were convolved or stacked themselves cannot be "
            "found from them; give its file with --kernel FILE"
        )
    if problem:
        msg = f"{name}: {problem}"
        raise ConfigError(msg)


def with_fitted_kernel(
    subtraction: Subtraction,
    config: DecorrelationConfig,
    areas: Sequence[KernelArea] = (),
    progress: Progress | None = None,
) -> tuple[Subtraction, KernelFit]:
    """Return a subtraction with the kernel that its images show, and the fit; the log says which.

    `config` are its options as they were given: scales of ``1/k``, which ask for the kernel, are
    left to the fit. Raises what `check_fittable`, `validate` and `fit_kernel` do.
    """
    check_fittable(subtraction)
    from diffdecor.decorrelation.kernel_fit import fit_kernel

    subtraction = validate(replace(subtraction, config=without_inverse_sums(config)))
    name = subtraction.difference.name
    try:
        fit = fit_kernel(subtraction, areas, progress)
    except KernelError as error:
        side = config.convolved
        free = "" if side == "auto" else f"leave --convolved {side} out if that is not certain, or "
        msg = (
            f"{error}; {free}give the kernel with --kernel FILE, or run {name} alone: its noise is "
            "then measured"
        )
        raise KernelError(msg) from None
    _say(name, fit)
    if fit.is_matched and config.noise_model == "white":
        log.warning(
            "%s: the images were matched before they were subtracted, so that their noise is "
            "correlated, which --noise-model white does not see; leave that option out, or give "
            "--template-kernel or --science-kernel",
            name,
        )
    return replace(subtraction, kernel=fit.kernel, config=config), fit


def without_inverse_sums(config: DecorrelationConfig) -> DecorrelationConfig:
    """Return options without scales that ask for the sum of a kernel, which is not known yet."""
    free: dict[str, Any] = {name: None for name in SCALES if getattr(config, name) == INVERSE_SUM}
    return replace(config, **free)


def _say(name: str, fit: KernelFit) -> None:
    """Log what was found; what is not exact is a reason to doubt the result."""
    kernel = fit.kernel
    ky, kx = kernel.shape
    found = (
        f"{name}: found its kernel, of {kx} x {ky} pixels: {fit.side} convolved, {fit.family}, sum "
        f"{kernel.sum(*somewhere(kernel)):.6g}; it leaves {fit.residual:.2g} sigma of the "
        f"difference{rounding_of(fit)} in {fit.pixels} other pixels"
    )
    if fit.is_matched:
        found += "; it is one pixel: the images were matched before"
    if fit.is_exact:
        log.info("%s", found)
    else:
        log.warning(
            "%s, which is more than rounding; --kernel FILE gives the kernel that it was made with",
            found,
        )


def rounding_of(fit: KernelFit) -> str:
    """Return the residual in units of the rounding, in brackets; nothing where it is not known."""
    return f" ({fit.rounding:.2g} of its rounding)" if np.isfinite(fit.rounding) else ""
