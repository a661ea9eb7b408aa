"""``diffdecor verify``: whether files belong together."""

from __future__ import annotations

from typing import Any

import click

from diffdecor.cli.options import (
    ConfiguredCommand,
    print_json,
    start_logging,
    verbosity_options,
)
from diffdecor.cli.process import begin_work


@click.command(cls=ConfiguredCommand)
@click.argument("science")
@click.argument("template")
@click.argument("difference")
@click.option(
    "--kernel",
    metavar="KERNEL",
    help="File of the matching kernel.  [default: the difference carries it]",
)
@click.option("--config", "toml", metavar="FILE", help="TOML file with options; these here win.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@verbosity_options
@click.pass_context
def verify(  # noqa: PLR0913  arguments of the command line
    context: click.Context,
    /,
    *,
    science: str,
    template: str,
    difference: str,
    kernel: str | None,
    toml: str | None,
    as_json: bool,
    verbose: int,
    quiet: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Rebuild DIFFERENCE from SCIENCE, TEMPLATE and KERNEL, and compare.

    Says how far the rebuilt difference is off, in units of the expected noise, on all and on bright
    pixels. Where they do not belong together the usual misreadings are tried, and the one that fits
    is named; the exit code is 3 then.
    """
    start_logging(verbose, quiet=quiet)
    from diffdecor.cli.configs import configs

    decorrelation, files = configs(given, toml)
    from dataclasses import asdict

    from diffdecor.pipeline.job import Job
    from diffdecor.pipeline.run import verify_job

    begin_work()
    verdict = verify_job(
        Job(
            science=science,
            template=template,
            difference=difference,
            kernel=kernel,
            decorrelation=decorrelation,
            files=files,
        )
    )
    if as_json:
        print_json(asdict(verdict))
    else:
        fit, other = verdict.fit, verdict.alternative
        click.echo(
            f"{'yes' if verdict.belongs else 'no'}: rebuilt, it is off by {fit.residual:.3g} sigma "
            f"({fit.pixels} pixels), {fit.bright:.3g} sigma on {fit.bright_pixels} bright pixels"
        )
        if other is not None:
            click.echo(f"it would be {other.residual:.3g} and {other.bright:.3g} sigma if")
        if verdict.cause:
            click.echo(verdict.cause)
    context.exit(0 if verdict.belongs else 3)
