"""The matching kernel of a job: in its file, in the difference, or to be found from the images."""

from __future__ import annotations

import logging
import os

from diffdecor.config.kinds import FIT, INVERSE_SUM
from diffdecor.decorrelation.subtraction import SCALES
from diffdecor.errors import ConfigError, InputError, NoKernelError
from diffdecor.fits.open import OpenFiles
from diffdecor.fits.paths import split_extension
from diffdecor.images.model import Exposure
from diffdecor.kernels.model import MatchingKernel
from diffdecor.kernels.registry import KernelOptions, read_opened_kernel
from diffdecor.pipeline.job import Job

log = logging.getLogger(__name__)


def read_kernel(
    job: Job, difference: Exposure, files: OpenFiles, *, has_own: bool = False
) -> MatchingKernel | None:
    """Read the kernel, with what the options know better; None if the images are to show it.

    That is so if it is wanted, or if there is none in the difference. An image that `has_own`
    kernels or members shows none.
    """
    if job.kernel == FIT:
        _check_wanted(job, has_own=has_own)
        _warn_of_unused(job, job.difference, "one that is found")
        return None
    try:
        kernel = _read(job, files)
    except NoKernelError as error:
        if job.kernel is not None:
            raise
        _say_to_be_found(job, error)
        _warn_of_unused(job, job.difference, "one that is found")
        return None
    except InputError as error:
        if job.kernel is not None:
            raise
        msg = f"{error} (--kernel fit leaves it aside, and finds the kernel from the images)"
        raise type(error)(msg) from None
    _check_kernel(job, kernel, difference)
    return kernel


def _check_wanted(job: Job, *, has_own: bool) -> None:
    """Refuse to find a kernel where the images do not show it; say what else `fit` may mean."""
    if has_own:
        msg = (
            f"{job.difference}: --kernel fit and kernels or stacks of the images exclude each "
            "other, for what they do to the difference is the same; give the file of the kernel"
        )
        raise ConfigError(msg)
    _check_score(job, "--kernel fit cannot be")
    if os.path.isfile(FIT):  # noqa: PTH113  as elsewhere
        log.info(
            "%s: --kernel fit is not a file; ./fit would be the one that is here", job.difference
        )


def _check_score(job: Job, problem: str) -> None:
    if job.decorrelation.score:
        msg = (
            f"{job.difference}: {problem}: the images do not show the kernel of a score image; "
            "give its file with --kernel FILE"
        )
        raise ConfigError(msg)


def _say_to_be_found(job: Job, error: NoKernelError) -> None:
    """Say why the kernel is to be found from the images, and refuse where they do not show it."""
    _check_score(job, "there is no kernel in it, and none can be found")
    log.info("%s; it is to be found from the images, as with --kernel fit", error.why)


def _read(job: Job, files: OpenFiles) -> MatchingKernel:
    """Read the kernel in its file, or in the difference."""
    given = {name: getattr(job.decorrelation, name) for name in (*SCALES, "convolved")}
    given = {name: value for name, value in given.items() if value not in {INVERSE_SUM, "auto"}}
    given |= {"sense": job.files.kernel_sense, "center": job.files.kernel_center}
    # The kernel that a difference carries is in another HDU than its pixels.
    file = str(split_extension(job.difference)[0]) if job.kernel is None else job.kernel
    kernel = read_opened_kernel(file, job.difference, KernelOptions(**given), files)
    if job.kernel is None and kernel.format == "stamp":
        why = f"{job.difference}: there is no kernel in the difference"
        msg = f"{why}; give the kernel file with --kernel"
        raise NoKernelError(msg, why)
    return kernel


def _check_kernel(job: Job, kernel: MatchingKernel, difference: Exposure) -> None:
    """Refuse a kernel that cannot be that of the difference; warn of what is not known of it."""
    if kernel.format != "stamp":
        _warn_of_unused(job, kernel.name, f"a {kernel.format} kernel")
    log.info("%s: %s kernel of %d x %d pixels", kernel.name, kernel.format, *kernel.shape[::-1])
    made_for = kernel.image_shape
    if made_for is not None and made_for != difference.shape and not job.files.force:
        msg = (
            f"{kernel.name}: this kernel was made for an image of {made_for[1]} x {made_for[0]} "
            f"pixels, but {difference.name} has {difference.shape[1]} x {difference.shape[0]}; "
            "a cut-out needs its own kernel, which --kernel fit finds (--force to use this one all "
            "the same)"
        )
        raise InputError(msg)


def _warn_of_unused(job: Job, name: str, what: str) -> None:
    """Warn of options of stamps, where there is another kernel."""
    if job.files.kernel_sense or job.files.kernel_center:
        log.warning(
            "%s: --kernel-sense and --kernel-center are for plain stamps, not for %s; not used",
            name,
            what,
        )
