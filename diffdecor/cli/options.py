"""What commands share. Nothing is imported here that help and usage errors do not need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_TRIPLE = ("science", "template", "difference")


def file_name(text: str) -> str:
    """Take a file name that is not empty, as an unset variable of a shell script is."""
    if not text:
        msg = "expected a file name"
        raise click.BadParameter(msg)
    return text


class ConfiguredCommand(click.Command):
    """A command with the options of both configs, made when it is called or asked for help."""

    @cached_property
    def _sections(self) -> Mapping[str, Sequence[click.Parameter]]:
        from diffdecor.cli.configs import config_options

        return config_options()

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and those of the configs."""
        return [*super().get_params(ctx), *chain(*self._sections.values())]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those of every config under a heading of their own."""
        for title, params in {"Options": super().get_params(ctx), **self._sections}.items():
            # Some versions of click list arguments too.
            records = [p.get_help_record(ctx) for p in params if isinstance(p, click.Option)]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record is not None])


def _kernel_option(command: Command) -> Command:
    return click.option(
        "--kernel",
        type=file_name,
        metavar="KERNEL",
        help="File of the matching kernel.  [default: the difference carries it]",
    )(command)


def triple(command: Command) -> Command:
    """Give a command the files of a subtraction: three images, and the kernel."""
    command = _kernel_option(command)
    for name in reversed(_TRIPLE):
        # `--print-config` does without them.
        image = click.argument(name, type=file_name, required=False, metavar=name.upper())
        command = image(command)
    return command


def triple_or_difference(command: Command) -> Command:
    """Give a command the files of a subtraction, or the difference alone: `images`."""
    names = " ".join(name.upper() for name in _TRIPLE[:-1])
    # Not required: `--print-config` does without them.
    images = click.argument(
        "images", type=file_name, nargs=-1, metavar=f"[{names}] {_TRIPLE[-1].upper()}"
    )
    return images(_kernel_option(command))


def images_by_role(images: Sequence[str]) -> dict[str, str | None]:
    """Return the image files of `triple_or_difference` by their role, None for those left out."""
    if len(images) > len(_TRIPLE):
        surplus = " ".join(images[len(_TRIPLE) :])
        msg = f"Got unexpected extra arguments ({surplus})"
        raise click.UsageError(msg)
    if len(images) not in {1, len(_TRIPLE)}:
        msg = (
            f"Missing argument: SCIENCE, TEMPLATE and DIFFERENCE are needed, or DIFFERENCE alone; "
            f"got {len(images)} of them."
        )
        raise click.UsageError(msg)
    left_out = [None] * (len(_TRIPLE) - len(images))
    return dict(zip(_TRIPLE, [*left_out, *images], strict=True))


def named_files(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the files that `triple` (or the other) and `config_file` name, as a job calls them."""
    if "images" in given:
        given = {**given, **images_by_role(given["images"])}
    elif any(given[name] is None for name in _TRIPLE):
        msg = "Missing argument: SCIENCE, TEMPLATE and DIFFERENCE are needed."
        raise click.UsageError(msg)
    return {name: given[name] for name in (*_TRIPLE, "kernel")} | {"configuration": given["toml"]}


config_file = click.option(
    "--config",
    "toml",
    type=file_name,
    metavar="FILE",
    help="TOML file with options; the command line takes precedence.",
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace the output if it is there already."
)


def json_option(text: str = "Print one JSON object.") -> Callable[[Command], Command]:
    """Give a command ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def verbosity_options(command: Command) -> Command:
    """Give a command ``-v`` and ``-q``, for `start_logging`."""
    quiet = click.option("-q", "--quiet", is_flag=True, help="Only errors on stderr.")
    verbose = click.option(
        "-v", "--verbose", count=True, help="Log more on stderr; twice: everything."
    )
    return verbose(quiet(command))


def start_logging(verbose: int, *, quiet: bool) -> None:
    """Send the log to stderr: warnings only, unless a person is watching or asks for more."""
    import logging

    from diffdecor.cli.logs import OneLine

    # There is no stderr at all where it has been closed.
    level = logging.INFO if sys.stderr and sys.stderr.isatty() else logging.WARNING
    if verbose:
        level = logging.DEBUG if verbose > 1 else logging.INFO
    handler = logging.StreamHandler()
    if quiet:  # warnings still go into the header
        level = logging.WARNING
        handler.setLevel(logging.ERROR)
    handler.setFormatter(OneLine("diffdecor: %(levelname)s: %(message)s"))
    logger = logging.getLogger("diffdecor")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def print_json(values: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON object or list on stdout; what is not finite becomes null."""
    import json

    click.echo(json.dumps(_json_value(values)))


def _json_value(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {name: _json_value(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(part) for part in value]
    return value
