"""The command line: the group, logging and exit codes. Every command is a thin file beside it.

Commands import what they need when they run, to show help and usage errors at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

import click

from diffdecor import signals
from diffdecor._version import __version__
from diffdecor.cli.groups import Group
from diffdecor.cli.text import complain, discard
from diffdecor.errors import DiffdecorError
from diffdecor.process import do_without_home
from diffdecor.words import of_commands

#: What every command does, in the order of use; each is in the module of its name.
COMMANDS = {
    "run": "Give a difference image white noise, its true variance and PSF.",
    "check": "Say whether an image's noise is white, and its variance right.",
    "verify": "Say whether a difference, its images and kernel belong together.",
    "manifest": "Write a table of jobs for diffdecor batch, from names of files.",
    "batch": "Do many jobs from a table, and go on where it was stopped.",
    "report": "Make a page to look at: before and after, or many outputs.",
    "kernel": "Show, draw, convert or find a matching kernel.",
    "help": "Show the reference by topic: options, cards, masks and more.",
}
EXIT_CODES = {
    0: "done, or done already",
    1: "internal error",
    2: "usage: an option is wrong, or the output exists already",
    3: "bad input, too little memory, or the output cannot be written; of a batch: some jobs "
    "failed",
    4: "the noise exceeds --max-rho or --max-factor, and the output is kept; or there were "
    "warnings with --strict, and nothing is written; of a batch: so it is with some jobs",
    75: "busy: another process is writing this output; of a batch: some jobs are not done; either "
    "way, try again later",
    130: "interrupted; for other signals 128 + their number, such as 143 when terminated",
}


@contextmanager
def _answered(ctx: click.Context | None = None) -> Iterator[None]:
    """Turn every error into one line and the right exit code: nothing else gets out."""
    try:
        with _signals_answered(ctx):
            yield
    except DiffdecorError as error:
        _fail(ctx, str(error), error.exit_code)
    except click.ClickException as error:
        _tell(ctx, error.format_message(), error.exit_code)
        raise
    except (click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt:
        _fail(ctx, "interrupted", 128 + signals.INTERRUPT)
    except BrokenPipeError:
        # The reader of our output has gone.
        discard(sys.stdout)
        raise click.exceptions.Exit(1) from None
    except MemoryError:
        _fail(ctx, "not enough memory for these images; --max-memory does with less", 3)
    except Exception as error:
        if isinstance(error, OSError) and _is_of_stdout(error):
            discard(sys.stdout)
            _fail(ctx, f"standard output: cannot be written: {error.strerror}", 3)
        if os.environ.get("DIFFDECOR_TRACEBACK"):
            raise
        _fail(
            ctx,
            f"internal error: {type(error).__name__}: {error}; set DIFFDECOR_TRACEBACK=1 to "
            "see where, and please report it",
            1,
        )


@contextmanager
def _signals_answered(ctx: click.Context | None) -> Iterator[None]:
    """Turn what a signal interrupted, whatever that made of it, into its exit code."""
    try:
        yield
    except BaseException:
        number = signals.received()
        if number is None:
            raise
        if signals.is_to_be_reported():
            complain("interrupted")
        _tell(ctx, f"stopped by signal {number}", 128 + number)
        raise click.exceptions.Exit(128 + number) from None


class _Group(Group):
    """Imports the command that is called; turns errors into one line and the right exit code."""

    def descriptions(self, _ctx: click.Context) -> dict[str, str]:
        """Return what every command does: to know it, none is imported."""
        return COMMANDS

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Return a command; None if there is none of this name."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"diffdecor.cli.{name}"), name)
        return command

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:  # noqa: ANN401  as in click
        """Read the options, of which some print: the help, the version."""
        with of_commands(), _answered():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  as in click
        """Run the command."""
        with of_commands(), _answered(ctx):
            return super().invoke(ctx)


def _is_of_stdout(error: OSError) -> bool:
    """Say whether an error came from printing, which only `click.echo` does.

    Standard output cannot tell: where it has no buffer, nothing is left to be written.
    """
    import traceback

    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is click.echo.__code__ for frame, _ in frames)


def _fail(ctx: click.Context | None, message: str, code: int) -> NoReturn:
    complain(message)
    _tell(ctx, message, code)
    raise click.exceptions.Exit(code)


def _tell(ctx: click.Context | None, message: str, code: int) -> None:
    """Say what went wrong in the log file and in JSON, where these are wanted."""
    from diffdecor.cli.logs import to_file
    from diffdecor.cli.options import output_of, print_json_error

    to_file(message, "ERROR", {"status": "error", "exit_code": code} | output_of(ctx))
    print_json_error(ctx, message, code)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: " + "; ".join(f"{code} {text}" for code, text in EXIT_CODES.items()) + ".",
)
@click.version_option(__version__, "-V", "--version", prog_name="diffdecor")
def main() -> None:
    """Whiten the noise of difference images, and state their true variance and PSF."""
    signals.heed("SIGTERM", "SIGHUP")
    do_without_home()
