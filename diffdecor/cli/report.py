"""``diffdecor report``: a page to look at."""

from __future__ import annotations

from typing import Any

import click

from diffdecor.cli.options import (
    SomeOptionsCommand,
    overwrite_option,
    start_logging,
    verbosity_options,
)
from diffdecor.cli.parameters import INPUT_FILE, OUTPUT_FILE
from diffdecor.cli.text import complain
from diffdecor.process import begin_work, keep_home_clean

_EXAMPLES = """
\b
Examples:
  diffdecor report out.fits -o report.html
      what decorrelation did to one difference: a page of pictures and numbers
  diffdecor report night/*.fits -o night.html
      a table of many outputs, outliers first, with pictures of the first 20
  diffdecor report out/results.ecsv -o night.html
      the same of a batch, by its table of results: also what failed, and why
  diffdecor report out/*.fits --difference diffs -o out.html
      the same; the differences as they were are in the folder diffs
  diffdecor report may/*.fits -o may.html --write-thresholds limits.ecsv
  diffdecor report june/*.fits -o june.html --thresholds limits.ecsv
      what is unlike the outputs of earlier nights
"""


@click.command(cls=SomeOptionsCommand, names=("threads", "max_memory"), epilog=_EXAMPLES)
@click.argument("outputs", type=INPUT_FILE, nargs=-1, required=True, metavar="OUTPUT...")
@click.option(
    "-o", "--output", "page", type=OUTPUT_FILE, required=True, metavar="PAGE", help="Page to write."
)
@click.option(
    "--difference",
    type=INPUT_FILE,
    multiple=True,
    metavar="FILE|FOLDER",
    help="The input difference of one OUTPUT, or a folder where input differences are; may be "
    "repeated.  [default: the file of card DDDIF, in this folder or beside OUTPUT]",
)
@click.option(
    "--png", type=INPUT_FILE, metavar="DIR", help="Write each picture to a file in DIR, too."
)
@click.option(
    "--pictures",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Draw the first N of several outputs.",
)
@click.option(
    "--thresholds",
    type=INPUT_FILE,
    metavar="FILE",
    help="What is outside of the ranges in FILE is an outlier.  [default: median +- 5 robust sigma "
    "of these outputs]",
)
@click.option(
    "--write-thresholds",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="Write the ranges of these outputs to FILE (ECSV), for --thresholds.",
)
@overwrite_option
@verbosity_options
@click.pass_context
def report(
    context: click.Context,
    /,
    *,
    verbose: int,
    quiet: bool,
    threads: str | None,
    max_memory: str | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Show what decorrelation did to one or more OUTPUTs of run: PAGE is one HTML file.

    OUTPUT may also be the results.ecsv of a batch: it stands for the outputs of its rows, and those
    that failed or are not done yet are listed with the reason.

    It needs no network and no other file. Beside PAGE its raw values are written (PAGE with .ecsv
    for .html), and a file for MultiQC (diffdecor_mqc.json beside report.html). Outputs that cannot
    be read are listed with the reason; the exit code is 3 then.

    Needs matplotlib and jinja2: pip install 'diffdecor[report]'.
    """
    start_logging(verbose, quiet=quiet)
    from diffdecor.config import DecorrelationConfig
    from diffdecor.report.make import ReportOptions, make_report

    numerics = {"threads": threads, "max_memory": max_memory}
    config = DecorrelationConfig(**{k: v for k, v in numerics.items() if v is not None})  # type: ignore[arg-type]
    begin_work()
    keep_home_clean()
    options = ReportOptions(threads=config.threads, max_memory=config.max_memory, **given)
    errors = make_report(options)
    for error in errors:
        complain(str(error))
    context.exit(max((error.exit_code for error in errors), default=0))
