"""``diffdecor verify``: whether files belong together."""

from __future__ import annotations

from typing import Any

import click

from diffdecor.cli.options import (
    ConfiguredCommand,
    config_file,
    json_option,
    named_files,
    print_json,
    start_logging,
    triple,
    verbosity_options,
)
from diffdecor.cli.process import begin_work
from diffdecor.cli.text import say

_EXAMPLES = """
\b
Examples:
  diffdecor verify sci.fits tmpl.fits diff.fits
      HOTPANTS -hki: the difference carries its kernel, and says where noise and masks are
  diffdecor verify sci.fits tmpl.fits diff.fits --kernel kernel.fits
      kernel in a file of its own
"""


@click.command(cls=ConfiguredCommand, epilog=_EXAMPLES)
@triple
@config_file
@json_option()
@verbosity_options
@click.pass_context
def verify(
    context: click.Context,
    /,
    *,
    as_json: bool,
    verbose: int,
    quiet: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Rebuild DIFFERENCE from SCIENCE, TEMPLATE and KERNEL, and compare.

    Says how much the rebuilt difference deviates, in units of the expected noise, on all and on
    bright pixels. If the files do not belong together the usual misreadings are tried, and the one
    that fits is named; the exit code is 3 then.
    """
    start_logging(verbose, quiet=quiet)
    from diffdecor.cli.configs import configs

    decorrelation, files = configs(given)
    named = named_files(given)
    from dataclasses import asdict

    from diffdecor.pipeline.job import Job
    from diffdecor.pipeline.run import verify_job

    begin_work()
    verdict = verify_job(Job(**named, decorrelation=decorrelation, files=files))
    if as_json:
        print_json(asdict(verdict))
    else:
        fit, other = verdict.fit, verdict.alternative
        say(
            f"{'yes' if verdict.belongs else 'no'}: rebuilt, it is off by {fit.residual:.3g} sigma "
            f"({fit.pixels} pixels), {fit.bright:.3g} sigma on {fit.bright_pixels} bright pixels"
        )
        if other is not None:
            say(f"it would be {other.residual:.3g} and {other.bright:.3g} sigma if")
        if verdict.cause:
            say(verdict.cause)
    context.exit(0 if verdict.belongs else 3)
