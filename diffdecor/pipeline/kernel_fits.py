"""The matching kernel of a job found from its images, where no file has it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from diffdecor.config.kinds import FIT
from diffdecor.core.planes import Progress
from diffdecor.decorrelation.fitting import with_fitted_kernel
from diffdecor.errors import KernelError
from diffdecor.fits.atomic import atomic_output, check_output
from diffdecor.fits.headers import cards_to_header
from diffdecor.pipeline.inputs import Inputs, read_inputs
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.provenance import METRIC_CARDS
from diffdecor.words import of_commands

if TYPE_CHECKING:
    from diffdecor.decorrelation.kernel_fit import KernelFit


def found_kernel(
    inputs: Inputs, progress: Progress | None = None
) -> tuple[Inputs, KernelFit | None]:
    """Return the inputs with a kernel: the one that the images show, if none was read.

    Raises a `KernelError` where they show none.
    """
    if not inputs.is_fitted:
        return inputs, None
    from diffdecor.kernels.areas import kernel_areas

    job, subtraction = inputs.job, inputs.subtraction
    numerics, difference = job.decorrelation, subtraction.difference
    config = replace(
        subtraction.config,
        science_scale=numerics.science_scale,
        template_scale=numerics.template_scale,
    )
    areas = kernel_areas(
        difference.header, difference.shape, job.difference, diffcmd=job.files.diffcmd
    )
    try:
        subtraction, fit = with_fitted_kernel(subtraction, config, areas, progress)
    except KernelError as error:
        if job.kernel == FIT:
            raise
        msg = f"{error} (there is no kernel in the difference, so the images had to show it)"
        raise KernelError(msg) from None
    return replace(inputs, subtraction=subtraction), fit


def fit_metrics(fit: KernelFit | None) -> dict[str, object]:
    """Return what is recorded of a kernel that was found; nothing without one."""
    if fit is None:
        return {}
    return {
        "fit_family": fit.family,
        "fit_residual": fit.residual,
        "fit_rounding": fit.rounding,
        "fit_error": fit.error,
        "fit_pixels": fit.pixels,
        "fit_exact": fit.is_exact,
    }


@of_commands()
def write_fitted_kernel(job: Job, *, progress: Progress | None = None) -> KernelFit:
    """Find the kernel of a job and write it to its output, in the native format.

    The images need no noise planes. Raises a `KernelError` where they show no kernel: nothing is
    written then.
    """
    from diffdecor.kernels.native_write import native_hdus

    job = replace(job, kernel=FIT)
    inputs = read_inputs(job, needs_noise=False)
    named = inputs.files.values()
    check_output(job.output, overwrite=job.overwrite, inputs=named)
    _, fit = found_kernel(inputs, progress)
    assert fit is not None  # noqa: S101  the job wants one
    _ = inputs.sources  # compares what was read with the sums that headers state
    hdus = native_hdus(fit.kernel)
    by_name = {card.name: card.keyword for card in METRIC_CARDS}
    values = {by_name[name]: value for name, value in fit_metrics(fit).items()}
    hdus[0].header.extend(cards_to_header(values, METRIC_CARDS))
    with atomic_output(job.output, overwrite=job.overwrite, inputs=named) as file:
        hdus.writeto(file, checksum=True)
    return fit
