"""What commands share. Nothing is imported here that help and usage errors do not need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def file_name(text: str) -> str:
    """Take a file name that is not empty, as an unset variable of a shell script is."""
    if not text:
        msg = "expected a file name"
        raise click.BadParameter(msg)
    return text


class ConfiguredCommand(click.Command):
    """A command with every option of both configs, in sections of their own.

    There are many of them: they are made when the command is called or asked for its help.
    """

    @cached_property
    def _config_options(self) -> list[click.Option]:
        from diffdecor.cli.configs import config_options

        return config_options()

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and those of the configs."""
        return [*super().get_params(ctx), *self._config_options]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those of every config under a heading of their own."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for param in self.get_params(ctx):
            if not isinstance(param, click.Option):
                continue  # some versions of click list arguments too
            record = param.get_help_record(ctx)
            if record is not None:
                section = getattr(param, "section", "Options")
                sections.setdefault(section, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def verbosity_options(command: Command) -> Command:
    """Give a command ``-v`` and ``-q``, which set up logging to stderr."""

    def set_up(_ctx: click.Context, _param: click.Parameter, value: int) -> int:
        return value

    command = click.option(
        "-q", "--quiet", is_flag=True, help="Only errors on stderr.", callback=set_up
    )(command)
    return click.option("-v", "--verbose", count=True, help="More on stderr; twice: everything.")(
        command
    )


def start_logging(verbose: int, *, quiet: bool) -> None:
    """Send the log to stderr: warnings only, unless a person is watching or asks for more."""
    import logging

    # There is no stderr at all where it has been closed.
    level = logging.INFO if sys.stderr and sys.stderr.isatty() else logging.WARNING
    if verbose:
        level = logging.DEBUG if verbose > 1 else logging.INFO
    if quiet:
        level = logging.ERROR
    handler = logging.StreamHandler()
    handler.addFilter(_only_once())
    handler.setFormatter(logging.Formatter("diffdecor: %(levelname)s: %(message)s"))
    logger = logging.getLogger("diffdecor")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def _only_once() -> Callable[[Any], bool]:
    """Return a filter that lets a message through only once: files are opened several times."""
    seen: set[str] = set()

    def is_new(record: Any) -> bool:  # noqa: ANN401  a LogRecord
        message = record.getMessage()
        new = message not in seen
        seen.add(message)
        return new

    return is_new


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; what is not finite becomes null."""
    import json

    click.echo(json.dumps({name: _json_value(value) for name, value in values.items()}))


def _json_value(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {name: _json_value(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(part) for part in value]
    return value
