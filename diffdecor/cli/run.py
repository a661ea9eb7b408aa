"""``diffdecor run``: one triple, or one difference alone."""

from __future__ import annotations

from typing import Any

import click

from diffdecor.cli.options import (
    ConfiguredCommand,
    config_file,
    file_name,
    json_option,
    named_files,
    overwrite_option,
    print_json,
    start_logging,
    triple_or_difference,
    verbosity_options,
)
from diffdecor.cli.plots import plotted
from diffdecor.cli.process import begin_work

#: Of the layout of the JSON object; a field that is added does not change it.
JSON_VERSION = 1
_EXAMPLES = """
\b
Examples:
  diffdecor run sci.fits tmpl.fits diff.fits -o out.fits
      HOTPANTS -hki: the difference carries its kernel
  diffdecor run sci.fits tmpl.fits diff.fits --kernel kernel.fits -o out.fits
      kernel in a file of its own
  diffdecor run sci.fits tmpl.fits diff.fits -o out.fits \\
      --science-noise sci_sigma.fits --science-noise-kind sigma \\
      --template-noise tmpl_sigma.fits --template-noise-kind sigma
      noise planes in files of their own
  diffdecor run diff.fits -o out.fits
      nothing but the difference: its noise is measured
"""


@click.command(cls=ConfiguredCommand, epilog=_EXAMPLES)
@triple_or_difference
@click.option("-o", "--output", type=file_name, metavar="OUTPUT", help="File to write.")
@overwrite_option
@click.option(
    "--plot", type=file_name, metavar="FILE", help="Draw the difference before and after (PNG)."
)
@config_file
@click.option("--print-config", is_flag=True, help="Print the options in effect as TOML, and stop.")
@json_option("Print the metrics of the result as JSON.")
@verbosity_options
def run(
    *,
    output: str | None,
    overwrite: bool,
    plot: str | None,
    print_config: bool,
    as_json: bool,
    verbose: int,
    quiet: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Decorrelate DIFFERENCE, made of SCIENCE and TEMPLATE with the matching kernel KERNEL.

    Of DIFFERENCE alone the noise is measured in its own pixels.

    Files may be plain, gzipped or tile-compressed FITS; FILE[EXT], FILE[EXT,VER] and FILE[N] name
    an HDU. Positions are 0-based pixels.
    """
    from diffdecor.cli.configs import as_toml, configs

    decorrelation, files = configs(given)
    if print_config:
        click.echo(as_toml(decorrelation, files), nl=False)
        return
    named = named_files(given)
    if output is None:
        msg = "Missing option '-o' / '--output'."
        raise click.UsageError(msg)
    start_logging(verbose, quiet=quiet)
    from diffdecor.errors import DoubtfulError, WhitenessError
    from diffdecor.pipeline.job import Job
    from diffdecor.pipeline.run import run_job

    begin_work()
    job = Job(**named, output=output, decorrelation=decorrelation, files=files, overwrite=overwrite)
    about = {"version": JSON_VERSION, "output": output}
    try:
        with plotted(job, plot):
            outcome = run_job(job)
    except DoubtfulError as error:
        if as_json:
            print_json({**about, "status": "doubtful", "warning_texts": error.warnings})
        raise
    if as_json:
        texts = {"warning_texts": outcome.warnings}
        print_json({**about, "status": outcome.status, **outcome.metrics, **texts})
    if outcome.failures:
        msg = f"{output}: its noise is not white enough: {'; '.join(outcome.failures)}"
        raise WhitenessError(msg)
