"""``diffdecor run``: one triple, or one difference alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from diffdecor._version import __version__
from diffdecor.cli.options import (
    ConfiguredCommand,
    check_named,
    config_file,
    files_given,
    json_facts,
    json_option,
    log_file_option,
    log_json_option,
    overwrite_option,
    print_json,
    start_logging,
    triple_or_difference,
    verbosity_options,
)
from diffdecor.cli.parameters import OUTPUT_FILE
from diffdecor.process import Clock, begin_work, keep_home_clean

if TYPE_CHECKING:
    from diffdecor.cli.configs import Settings
    from diffdecor.pipeline.job import Job, Outcome

#: Of the layout of the JSON object; a field that is added does not change it.
JSON_VERSION = 1
#: What the log in JSON says of a run that has ended.
_LOGGED = ("output", "status", "exit_code", "started", "wall_seconds", "cpu_seconds")
_EXAMPLES = """
\b
Examples:
  diffdecor run sci.fits tmpl.fits diff.fits -o out.fits
      HOTPANTS -hki: the difference carries its kernel, and says where noise and masks are
  diffdecor run sci.fits tmpl.fits diff.fits --kernel kernel.fits -o out.fits
      kernel in a file of its own; without it, and with none in the difference, it is found
  diffdecor run sci.fits tmpl.fits diff.fits -o out.fits \\
      --science-noise sci_sigma.fits --template-noise tmpl_sigma.fits --noise-kind sigma
      noise planes in files of their own
  diffdecor run diff.fits -o out.fits
      nothing but the difference: its noise is measured
"""


@click.command(cls=ConfiguredCommand, epilog=_EXAMPLES)
@triple_or_difference
@click.option("-o", "--output", type=OUTPUT_FILE, metavar="OUTPUT", help="File to write.")
@overwrite_option
@click.option(
    "--plot", type=OUTPUT_FILE, metavar="FILE", help="Draw the difference before and after (PNG)."
)
@config_file
@click.option(
    "--print-config",
    is_flag=True,
    help="Print a TOML file that repeats this run with --config, and stop.",
)
@json_option("Print what was done as JSON: inputs, options, times, warnings, metrics.")
@log_file_option
@log_json_option
@verbosity_options
@click.pass_context
def run(  # noqa: PLR0913  what it has options for
    context: click.Context,
    /,
    *,
    overwrite: bool,
    plot: str | None,
    print_config: bool,
    as_json: bool,
    log_file: str | None,
    log_json: str | None,
    verbose: int,
    quiet: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Decorrelate DIFFERENCE, made from SCIENCE and TEMPLATE with the matching kernel KERNEL.

    Without a kernel file, and with none in DIFFERENCE, the kernel is found from the three images.
    With DIFFERENCE alone, its noise is measured in its own pixels.

    Files may be plain, gzipped or tile-compressed FITS; FILE[EXT], FILE[EXT,VER] and FILE[N] name
    an HDU. Positions are 0-based pixels.
    """
    clock = Clock()
    from diffdecor.cli.configs import as_toml, settings

    chosen = settings(given, files_given(given))
    if print_config and as_json:
        msg = "--print-config and --json exclude each other; leave out one of them"
        raise click.UsageError(msg)
    if print_config:
        click.echo(as_toml(chosen), nl=False)
        return
    check_named(chosen.named, output=True, alone=True)
    job = _job(chosen, given["toml"], plot, overwrite=overwrite)
    about = json_facts(context, **_facts(job))
    start_logging(
        verbose,
        quiet=quiet,
        log_file=log_file,
        log_json=log_json,
        inputs=job.inputs.values(),
        outputs=job.written,
    )
    from diffdecor.errors import DoubtfulError, WhitenessError

    try:
        outcome = _outcome(job, quiet=quiet)
    except DoubtfulError as error:
        json_facts(context, status="doubtful", warning_texts=error.warnings)
        raise
    finally:
        json_facts(context, **clock.read())
    _report(job, outcome, about, as_json=as_json)
    if outcome.failures:
        msg = f"{job.output}: its noise is not white enough: {'; '.join(outcome.failures)}"
        raise WhitenessError(msg)


def _job(chosen: Settings, toml: str | None, plot: str | None, *, overwrite: bool) -> Job:
    from diffdecor.pipeline.job import Job

    return Job(
        **chosen.named,
        configuration=toml,
        decorrelation=chosen.decorrelation,
        files=chosen.files,
        overwrite=overwrite,
        plot=plot,
    )


def _outcome(job: Job, *, quiet: bool) -> Outcome:
    """Run the job, with a progress bar on a terminal, and draw its result if it has a plot."""
    from diffdecor.cli.progress import progress
    from diffdecor.pipeline.run import run_job

    begin_work()
    if job.plot is not None:
        keep_home_clean()
        from diffdecor.report.run_plot import check_plot, write_plot

        check_plot(job, job.plot)
    with progress("filtering", "megapixels", scale=1e6, quiet=quiet) as show:
        outcome = run_job(job, progress=show)
    if job.plot is not None:
        write_plot(job, job.plot)
    return outcome


def _report(job: Job, outcome: Outcome, about: dict[str, Any], *, as_json: bool) -> None:
    """Say in the log file, and in JSON if that is wanted, what was done."""
    from diffdecor.cli.logs import to_file
    from diffdecor.errors import WhitenessError

    found = {
        "status": outcome.status,
        "inputs": outcome.inputs,
        "warning_texts": outcome.warnings,
        "exit_code": WhitenessError.exit_code if outcome.failures else 0,
    }
    cpu = f"{about['cpu_seconds']:.3g} s of processors"
    to_file(
        f"{job.output}: {outcome.status} in {about['wall_seconds']:.3g} s ({cpu})",
        fields={name: (about | found)[name] for name in _LOGGED},
    )
    if as_json:
        print_json({**about, **outcome.metrics, **found})


def _facts(job: Job) -> dict[str, Any]:
    """Return what the JSON says of a job whatever comes of it."""
    from diffdecor.config.options import options

    both = (job.decorrelation, job.files)
    return {
        "version": JSON_VERSION,
        "diffdecor_version": __version__,
        "output": job.output,
        "inputs": job.inputs,
        "options": {
            item.name: item.value_in(config) for config in both for item in options(type(config))
        },
    }
