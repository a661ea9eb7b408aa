"""What commands share. Nothing is imported here that help and usage errors do not need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from diffdecor.cli.parameters import INPUT_FILE, KERNEL_FILE, OUTPUT_FILE
from diffdecor.cli.text import as_json, discard
from diffdecor.config.kinds import KERNEL_HELP

if TYPE_CHECKING:
    from diffdecor.cli.configs import ConfigOption
    from diffdecor.config.options import Option

Command = TypeVar("Command", bound=Callable[..., Any])

_TRIPLE = ("science", "template", "difference")
_NEEDED = "SCIENCE, TEMPLATE and DIFFERENCE are needed"
#: Where a context keeps what to print in JSON if the command fails, and what is known of it then.
_JSON_ERROR, _JSON_FACTS = "diffdecor.cli.json_error", "diffdecor.cli.json_facts"


class JsonCommand(click.Command):
    """A command that may have ``--json``, which then says what went wrong, too."""

    def json_error(self, values: Mapping[str, Any]) -> Mapping[str, Any] | Sequence[Any]:
        """Return what stdout shows of an error: in the shape of what it shows of success."""
        return values

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401  as in click
    ) -> click.Context:
        """Read the options; a wrong one is an error to be said in JSON already."""
        words = args[: args.index("--")] if "--" in args else args
        has_json = any("--json" in param.opts for param in self.params)
        if parent is not None and has_json and "--json" in words:
            parent.meta[_JSON_ERROR] = self.json_error
        return super().make_context(info_name, args, parent, **extra)


class SomeOptionsCommand(JsonCommand):
    """A command with a few options of the configs, made when it is called."""

    def __init__(self, *args: Any, names: Sequence[str] = (), **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._names = names

    def declared(self) -> Sequence[Option]:
        """Return the options as they are declared: those of the names."""
        from diffdecor.config import DecorrelationConfig, FilesConfig
        from diffdecor.config.options import options

        both = chain(options(DecorrelationConfig), options(FilesConfig))
        return [item for item in both if item.name in self._names]

    @cached_property
    def _of_configs(self) -> Sequence[click.Option]:
        from diffdecor.cli.configs import click_option

        return [click_option(item) for item in self.declared()]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and those of the configs."""
        *own, help_option = super().get_params(ctx)
        return [*own, *self._of_configs, help_option]


class ConfiguredCommand(JsonCommand):
    """A command with the options of both configs, made when it is called or asked for help."""

    #: Names of options that it does not have.
    without: frozenset[str] = frozenset()
    #: Names of options that its help leaves out, though they are of daily use elsewhere.
    not_in_help: frozenset[str] = frozenset()
    #: Help of options that mean something else here than elsewhere, by name.
    other_help: Mapping[str, str] = MappingProxyType({})

    @cached_property
    def _sections(self) -> Mapping[str, Sequence[ConfigOption]]:
        from diffdecor.cli.configs import config_options

        return {
            title: [param for param in params if param.declared.name not in self.without]
            for title, params in config_options().items()
        }

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters and those of the configs."""
        return [*super().get_params(ctx), *chain(*self._sections.values())]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write its own options, and those of daily use of every config under their heading."""
        from diffdecor.cli.configs import daily_records

        # Some versions of click list arguments too.
        own = [p for p in super().get_params(ctx) if isinstance(p, click.Option)]
        records = [record for p in own if (record := p.get_help_record(ctx)) is not None]
        sections = {"Options": records} | {
            title: daily_records(params, ctx, self.not_in_help, self.other_help)
            for title, params in self._sections.items()
        }
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)
        formatter.write_paragraph()
        formatter.write_text(
            "These are the options of daily use; `diffdecor help options` has all."
        )


def _kernel_option(command: Command) -> Command:
    return click.option(
        "--kernel",
        type=KERNEL_FILE,
        metavar="KERNEL",
        help=KERNEL_HELP,
    )(command)


def triple(command: Command) -> Command:
    """Give a command the files of a subtraction: three images, and the kernel."""
    return images_of_triple(_kernel_option(command))


def images_of_triple(command: Command) -> Command:
    """Give a command the three images of a subtraction."""
    for name in reversed(_TRIPLE):
        # A TOML file may name them.
        image = click.argument(name, type=INPUT_FILE, required=False, metavar=name.upper())
        command = image(command)
    return command


def triple_or_difference(command: Command) -> Command:
    """Give a command the files of a subtraction, or the difference alone: `images`."""
    names = " ".join(name.upper() for name in _TRIPLE[:-1])
    # Not required: a TOML file may name them.
    images = click.argument(
        "images", type=INPUT_FILE, nargs=-1, metavar=f"[{names}] {_TRIPLE[-1].upper()}"
    )
    return images(_kernel_option(command))


def files_given(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that the command line names, by their role: images, kernel, output."""
    images = given.get("images")
    if images is None:
        found = {name: given[name] for name in _TRIPLE}
    elif len(images) > len(_TRIPLE):
        surplus = " ".join(images[len(_TRIPLE) :])
        msg = f"Got unexpected extra arguments ({surplus})"
        raise click.UsageError(msg)
    elif len(images) == 2:
        msg = f"Missing argument: {_NEEDED}, or DIFFERENCE alone; got 2 of them."
        raise click.UsageError(msg)
    else:
        found = dict(zip(reversed(_TRIPLE), reversed(images), strict=False))
    found |= {name: given.get(name) for name in ("kernel", "output")}
    return {role: file for role, file in found.items() if file is not None}


def check_named(named: Mapping[str, str], *, output: bool, alone: bool = False) -> None:
    """Refuse to work without the files that a job needs; a difference may be `alone`."""
    missing = [name for name in _TRIPLE if name not in named]
    if missing and not (alone and missing == list(_TRIPLE[:-1])):
        others = f", or DIFFERENCE alone; got {3 - len(missing)} of them" if alone else ""
        msg = f"Missing argument: {_NEEDED}{others}."
        raise click.UsageError(msg)
    if output and "output" not in named:
        msg = "Missing option '-o' / '--output'."
        raise click.UsageError(msg)


config_file = click.option(
    "--config",
    "toml",
    type=INPUT_FILE,
    metavar="FILE",
    help="TOML file with options and files; the command line takes precedence.",
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace the output if it is there already."
)
log_file_option = click.option(
    "--log-file",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="Append what is done, with UTC times, to FILE, whatever -q says.",
)
log_json_option = click.option(
    "--log-json",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="The same as JSON, one object a line: time, level, message and what it is about.",
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


def start_logging(
    verbose: int,
    *,
    quiet: bool,
    log_file: str | None = None,
    log_json: str | None = None,
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
) -> None:
    """Send the log to stderr: warnings only, unless a person is watching or asks for more.

    It also goes to `log_file` and `log_json`, which must be none of the other files of the command.
    """
    from diffdecor.cli.logs import start

    start(
        verbose,
        quiet=quiet,
        file=log_file,
        json_file=log_json,
        inputs=inputs,
        outputs=outputs,
    )


def json_facts(ctx: click.Context, **facts: Any) -> dict[str, Any]:  # noqa: ANN401
    """Remember what the JSON of this command says, also if it fails; return all of it so far."""
    known: dict[str, Any] = ctx.meta.setdefault(_JSON_FACTS, {})
    known.update(facts)
    return known


def output_of(ctx: click.Context | None) -> dict[str, Any]:
    """Return the output that a command is about, as far as it is known, for its log."""
    facts = {} if ctx is None else json_facts(ctx)
    return {name: facts[name] for name in ("output",) if name in facts}


def print_json_error(ctx: click.Context | None, message: str, code: int) -> None:
    """Print the error of a command in JSON, if that is wanted, and nothing has been printed yet."""
    shape = None if ctx is None else ctx.meta.get(_JSON_ERROR)
    if ctx is None or shape is None:
        return
    values = {"version": 1, "status": "error"} | json_facts(ctx)
    try:
        print_json(shape(values | {"error": message, "exit_code": code}))
    except OSError:  # there is an error already
        discard(sys.stdout)


def print_json(values: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON object or list on stdout; what is not finite becomes null."""
    ctx = click.get_current_context(silent=True)
    if ctx is not None:
        ctx.meta.pop(_JSON_ERROR, None)  # no second one
    click.echo(as_json(values))
