"""Options that commands share: made from their declarations, never written twice."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from diffdecor.config import DecorrelationConfig, FilesConfig, read_toml
from diffdecor.errors import ConfigError
from diffdecor.options import Declared, options

Command = TypeVar("Command", bound=Callable[..., Any])
Config = TypeVar("Config", DecorrelationConfig, FilesConfig)


def file_name(text: str) -> str:
    """Take a file name that is not empty, as an unset variable of a shell script is."""
    if not text:
        msg = "expected a file name"
        raise click.BadParameter(msg)
    return text


class SectionedCommand(click.Command):
    """A command whose help lists its options in sections."""

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


class _SectionOption(click.Option):
    """An option that belongs to a section of the help."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.section = section


def _click_option(item: Declared, section: str) -> Callable[[Command], Command]:
    about = item.option
    kind: dict[str, Any]
    if about.flag:
        name, kind = f"{item.flag_name}/--no-{item.flag_name[2:]}", {"is_flag": True}
    else:
        name = item.flag_name
        kind = {"type": click.Choice(about.choices) if about.choices else click.STRING}
        if about.metavar:
            kind["metavar"] = about.metavar
    return click.option(
        name,
        item.name,
        cls=_SectionOption,
        section=section,
        default=None,
        help=help_text(item),
        **kind,
    )


def help_text(item: Declared) -> str:
    """Return the help of an option, with its unit and default."""
    text = item.option.help
    if item.option.unit:
        text = text.rstrip(".") if text.endswith(".") and "[default" not in text else text
        head, _, default = text.partition("  [default")
        text = f"{head.rstrip('.')} ({item.option.unit})." + (
            f"  [default{default}" if default else ""
        )
    if item.default is None or "[default" in text:
        return text
    return f"{text}  [default: {_shown(item)}]"


def _shown(item: Declared) -> str:
    if item.option.flag:
        name = item.flag_name[2:]
        return name if item.default else f"no-{name}"
    if isinstance(item.default, tuple):
        return ",".join(f"{part:g}" if isinstance(part, float) else part for part in item.default)
    return str(item.default)


SECTIONS = {"Decorrelation": DecorrelationConfig, "Files": FilesConfig}


def config_options(command: Command) -> Command:
    """Give a command every option of both configs."""
    for section, config_type in reversed(SECTIONS.items()):
        for item in reversed(options(config_type)):
            command = _click_option(item, section)(command)
    return command


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
    # There is no stderr at all where it has been closed.
    level = logging.INFO if sys.stderr and sys.stderr.isatty() else logging.WARNING
    if verbose:
        level = logging.DEBUG if verbose > 1 else logging.INFO
    if quiet:
        level = logging.ERROR
    handler = logging.StreamHandler()
    handler.addFilter(_Once())
    handler.setFormatter(logging.Formatter("diffdecor: %(levelname)s: %(message)s"))
    logger = logging.getLogger("diffdecor")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


class _Once(logging.Filter):
    """Lets a message through only once: files are opened several times."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the message is new."""
        message = record.getMessage()
        new = message not in self._seen
        self._seen.add(message)
        return new


def configs(given: Mapping[str, Any], toml: str | None) -> tuple[DecorrelationConfig, FilesConfig]:
    """Return both configs: what the command line gives, then the TOML file, then the defaults."""
    values = {} if toml is None else read_toml(toml)
    try:
        _both(values)
    except ConfigError as error:
        msg = f"{toml}: {error}"
        raise ConfigError(msg) from None
    return _both(values | {name: value for name, value in given.items() if value is not None})


def _both(values: Mapping[str, Any]) -> tuple[DecorrelationConfig, FilesConfig]:
    return _made(DecorrelationConfig, values), _made(FilesConfig, values)


def _made(config_type: type[Config], values: Mapping[str, Any]) -> Config:
    names = {item.name for item in options(config_type)}
    return config_type(**{name: values[name] for name in names & values.keys()})


def as_toml(*configs: object) -> str:
    """Return configs as a TOML file that ``--config`` reads; options not set are comments."""
    lines = []
    for config in configs:
        for item in options(type(config)):
            value = getattr(config, item.name)
            name = item.flag_name[2:]
            lines.append(f"# {name} =" if value is None else f"{name} = {_toml_value(value)}")
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(part) for part in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; what is not finite becomes null."""
    click.echo(json.dumps({name: _json_value(value) for name, value in values.items()}))


def _json_value(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {name: _json_value(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(part) for part in value]
    return value
