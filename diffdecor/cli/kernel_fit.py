"""``diffdecor kernel fit``: the matching kernel of a difference, found from its images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from diffdecor.cli.kernel_facts import lines_of
from diffdecor.cli.options import (
    ConfiguredCommand,
    check_named,
    config_file,
    files_given,
    images_of_triple,
    json_facts,
    json_option,
    log_file_option,
    log_json_option,
    overwrite_option,
    print_json,
    start_logging,
    verbosity_options,
)
from diffdecor.cli.parameters import OUTPUT_FILE
from diffdecor.cli.text import say
from diffdecor.process import begin_work

if TYPE_CHECKING:
    from diffdecor.decorrelation.kernel_fit import KernelFit

#: Of the layout of the JSON object; a field that is added does not change it.
JSON_VERSION = 1
_EXAMPLES = """
\b
Examples:
  diffdecor kernel fit sci.fits tmpl.fits diff.fits -o kernel.fits
      then: diffdecor run sci.fits tmpl.fits diff.fits --kernel kernel.fits -o out.fits
  diffdecor kernel fit sci.fits tmpl.fits diff.fits -o kernel.fits --convolved science
      where it is known which image was convolved
"""
#: Options of `run` that say nothing of the images, or of how their difference was made.
_WITHOUT = frozenset(
    (
        *("mode", "score", "noise_model", "variance", "kernel_position", "cell_size", "grid_step"),
        *("cell_border", "adjust_grid", "scale_by_fwhm", "cell_centroids", "blend", "edges"),
        *("fill", "flag_share", "significance", "precision", "preconvolution_kernel"),
        *("kernel_sense", "kernel_center", "region", "verify", "dtype", "filters", "max_rho"),
        *("max_factor", "write", "quantize", "noise_realisation", "strict"),
        *(f"{role}_{own}" for role in ("science", "template") for own in ("kernel", "stack")),
        *(f"{role}_{own}" for role in ("science", "template") for own in ("psf", "noise_power")),
        *("difference_psf", "difference_noise_power"),
    )
)


class _Fit(ConfiguredCommand):
    """A command with those options of `run` that are about the images."""

    without = _WITHOUT


@click.command(
    "fit", cls=_Fit, epilog=_EXAMPLES, short_help="Find the kernel of a difference from its images."
)
@images_of_triple
@click.option(
    "-o", "--output", type=OUTPUT_FILE, required=True, metavar="FILE", help="Kernel file to write."
)
@overwrite_option
@config_file
@json_option()
@log_file_option
@log_json_option
@verbosity_options
@click.pass_context
def fit(
    context: click.Context,
    /,
    *,
    overwrite: bool,
    as_json: bool,
    log_file: str | None,
    log_json: str | None,
    verbose: int,
    quiet: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Find the kernel that made DIFFERENCE of SCIENCE and TEMPLATE, and write it to a file.

    The difference follows from its images but for rounding, so the kernel is exact where its family
    is right. What it leaves of the difference, in pixels that it was not fitted to, says whether it
    is. Where no kernel explains the difference nothing is written, and the exit code is 3. The file
    is in the native format, for --kernel. The images need no noise planes.
    """
    from diffdecor.cli.configs import settings

    chosen = settings(given, files_given(given))
    check_named(chosen.named, output=True)
    from diffdecor.cli.logs import to_file
    from diffdecor.cli.progress import progress
    from diffdecor.config.kinds import FIT
    from diffdecor.pipeline.job import Job
    from diffdecor.pipeline.kernel_fits import write_fitted_kernel

    job = Job(
        **{**chosen.named, "kernel": FIT},
        configuration=given["toml"],
        decorrelation=chosen.decorrelation,
        files=chosen.files,
        overwrite=overwrite,
    )
    start_logging(
        verbose,
        quiet=quiet,
        log_file=log_file,
        log_json=log_json,
        inputs=job.inputs.values(),
        outputs=job.written,
    )
    begin_work()
    about = json_facts(context, version=JSON_VERSION, output=job.output)
    with progress("fitting", "steps", quiet=quiet) as show:
        found = write_fitted_kernel(job, progress=show)
    facts = _facts(found)
    lines = lines_of(facts)
    to_file(f"{job.output}: {'; '.join(' '.join(line.split()) for line in lines)}")
    if as_json:
        print_json({**about, "status": "done", **facts})
        return
    for line in lines:
        say(line)


def _facts(found: KernelFit) -> dict[str, Any]:
    """Return what is said of a kernel that was found, by name."""
    from diffdecor.kernels.describe import describe

    described = describe(found.kernel)
    as_described = (
        *("size", "origin", "regions", "science_scale", "template_scale"),
        *("sum", "fwhm", "offset_x", "offset_y"),
    )
    return {
        "convolved": found.side,
        "family": found.family,
        **{name: described[name] for name in as_described},
        "residual": found.residual,
        "rounding": found.rounding,
        "error": found.error,
        "pixels": found.pixels,
        "exact": found.is_exact,
        "matched": found.is_matched,
    }
