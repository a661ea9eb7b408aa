"""``diffdecor verify``: whether files belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from diffdecor.cli.options import (
    ConfiguredCommand,
    check_named,
    config_file,
    files_given,
    json_facts,
    json_option,
    log_file_option,
    log_json_option,
    print_json,
    start_logging,
    triple,
    verbosity_options,
)
from diffdecor.cli.text import say
from diffdecor.process import begin_work

if TYPE_CHECKING:
    from diffdecor.decorrelation.verification import Verdict

#: Of the layout of the JSON object; a field that is added does not change it.
JSON_VERSION = 1
_EXAMPLES = """
\b
Examples:
  diffdecor verify sci.fits tmpl.fits diff.fits
      HOTPANTS -hki: the difference carries its kernel, and says where noise and masks are
  diffdecor verify sci.fits tmpl.fits diff.fits --kernel kernel.fits
      kernel in a file of its own
  diffdecor verify sci.fits tmpl.fits diff.fits --kernel fit
      is there any kernel that makes this difference of these images?
"""


class _Verify(ConfiguredCommand):
    """A command that makes no result."""

    not_in_help = frozenset({"noise_model", "significance", "max_rho", "write", "strict"})


@click.command(cls=_Verify, epilog=_EXAMPLES)
@triple
@config_file
@json_option()
@log_file_option
@log_json_option
@verbosity_options
@click.pass_context
def verify(
    context: click.Context,
    /,
    *,
    as_json: bool,
    log_file: str | None,
    log_json: str | None,
    verbose: int,
    quiet: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Rebuild DIFFERENCE from SCIENCE, TEMPLATE and KERNEL, and compare.

    Says how much the rebuilt difference deviates, in units of the expected noise, on all and on
    bright pixels. If the files do not belong together the usual misreadings are tried, and the one
    that fits is named; if none does, a kernel is fitted to the images, and what distinguishes the
    given one from it is named. The exit code is 3 then. Without a kernel it is found from the
    images first, or there is an error where none makes this difference of them.
    """
    from diffdecor.cli.configs import settings

    decorrelation, files, named = settings(given, files_given(given))
    check_named(named, output=False)
    from diffdecor.cli.logs import to_file
    from diffdecor.cli.progress import progress
    from diffdecor.pipeline.job import Job
    from diffdecor.pipeline.run import verify_job

    job = Job(
        science=named["science"],
        template=named["template"],
        difference=named["difference"],
        kernel=named.get("kernel"),
        configuration=given["toml"],
        decorrelation=decorrelation,
        files=files,
    )
    start_logging(
        verbose,
        quiet=quiet,
        log_file=log_file,
        log_json=log_json,
        inputs=job.inputs.values(),
    )
    begin_work()
    about = json_facts(context, version=JSON_VERSION)
    with progress("rebuilding", "parts", quiet=quiet) as show:
        verdict = verify_job(job, progress=show)
    lines = _lines(verdict)
    to_file(f"{job.difference}: {'; '.join(lines)}", fields={"file": job.difference})
    if as_json:
        print_json({**about, **_facts(verdict)})
    else:
        for line in lines:
            say(line)
    context.exit(0 if verdict.belongs else 3)


def _facts(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as JSON shows it; of a fitted kernel what is a number or a word."""
    from dataclasses import asdict, replace

    facts = asdict(replace(verdict, fitted=None))
    if verdict.fitted is not None:
        fitted = {name: value for name, value in vars(verdict.fitted).items() if name != "kernel"}
        facts["fitted"] = fitted
    return facts


def _lines(verdict: Verdict) -> list[str]:
    """Return the verdict in words."""
    fit, other = verdict.fit, verdict.alternative
    answer = "yes" if verdict.belongs else "no"
    bright = f"{fit.bright:.3g} sigma on {fit.bright_pixels} bright pixels"
    lines = [
        f"{answer}: rebuilt, it is off by {fit.residual:.3g} sigma ({fit.pixels} pixels), {bright}"
    ]
    if other is not None:
        lines.append(f"it would be {other.residual:.3g} and {other.bright:.3g} sigma if")
    return [*lines, verdict.cause] if verdict.cause else lines
