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
from diffdecor.cli.process import do_without_home
from diffdecor.cli.text import complain, discard
from diffdecor.errors import DiffdecorError

#: Every command is in the module of its name.
COMMANDS = ("check", "kernel", "report", "run", "verify")
EXIT_CODES = {
    0: "done, or done already",
    1: "internal error",
    2: "usage: an option is wrong, or the output exists already",
    3: "bad input, too little memory, or the output cannot be written",
    4: "noise exceeds --max-rho or --max-factor; the output is kept. Or there were warnings, with "
    "--strict; nothing is written",
    75: "busy: another process is writing this output; try again later",
    130: "interrupted; after other signals 128 + their number, 143 when terminated",
}


@contextmanager
def _answered() -> Iterator[None]:
    """Turn every error into one line and the right exit code: nothing else gets out."""
    try:
        with _signals_answered():
            yield
    except DiffdecorError as error:
        _fail(str(error), error.exit_code)
    except (click.exceptions.Exit, click.ClickException, click.Abort):
        raise
    except KeyboardInterrupt:
        _fail("interrupted", 128 + signals.INTERRUPT)
    except BrokenPipeError:
        # The reader of our output has gone.
        discard(sys.stdout)
        raise click.exceptions.Exit(1) from None
    except MemoryError:
        _fail("not enough memory for these images; --max-memory does with less", 3)
    except Exception as error:
        if isinstance(error, OSError) and _is_of_stdout(error):
            discard(sys.stdout)
            _fail(f"standard output: cannot be written: {error.strerror}", 3)
        if os.environ.get("DIFFDECOR_TRACEBACK"):
            raise
        _fail(
            f"internal error: {type(error).__name__}: {error}; set DIFFDECOR_TRACEBACK=1 to "
            "see where, and please report it",
            1,
        )


@contextmanager
def _signals_answered() -> Iterator[None]:
    """Turn what a signal interrupted, whatever that made of it, into its exit code."""
    try:
        yield
    except BaseException:
        number = signals.received()
        if number is None:
            raise
        if signals.is_to_be_reported():
            complain("interrupted")
        raise click.exceptions.Exit(128 + number) from None


class _Group(click.Group):
    """Imports the command that is called; turns errors into one line and the right exit code."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Return a command; None if there is none of this name."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"diffdecor.cli.{name}"), name)
        return command

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:  # noqa: ANN401  as in click
        """Read the options, of which some print: the help, the version."""
        with _answered():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  as in click
        """Run the command."""
        with _answered():
            return super().invoke(ctx)


def _is_of_stdout(error: OSError) -> bool:
    """Say whether an error came from printing, which only `click.echo` does.

    Standard output cannot tell: where it has no buffer, nothing is left to be written.
    """
    import traceback

    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is click.echo.__code__ for frame, _ in frames)


def _fail(message: str, code: int) -> NoReturn:
    complain(message)
    raise click.exceptions.Exit(code)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: " + "; ".join(f"{code} {text}" for code, text in EXIT_CODES.items()) + ".",
)
@click.version_option(__version__, prog_name="diffdecor")
def main() -> None:
    """Whiten the noise of difference images, and state their true variance and PSF."""
    signals.heed("SIGTERM", "SIGHUP")
    do_without_home()
