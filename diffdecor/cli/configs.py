"""The options of both configs, on the command line and in TOML: made from their declarations."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click

from diffdecor._version import __version__
from diffdecor.cli.parameters import KindType
from diffdecor.config import DecorrelationConfig, FilesConfig, ImageOptions, kinds
from diffdecor.config.flat import JOB_FILES, all_options, both_configs
from diffdecor.config.options import Option, options, read_toml
from diffdecor.errors import ConfigError

SECTIONS = {"Decorrelation": DecorrelationConfig, "Files": FilesConfig}
#: Characters of a line of a comment.
_WIDTH = 96


class Settings(NamedTuple):
    """What a command is to do: both configs, and the files of the job by their role."""

    decorrelation: DecorrelationConfig
    files: FilesConfig
    named: Mapping[str, str]


class ConfigOption(click.Option):
    """An option of the command line that is declared in `diffdecor.config`."""

    def __init__(self, item: Option, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.declared = item


def config_options() -> dict[str, list[ConfigOption]]:
    """Return every option of both configs, for the command line, by section of the help."""
    return {
        section: [click_option(item) for item in options(config_type)]
        for section, config_type in SECTIONS.items()
    }


def click_option(item: Option) -> ConfigOption:
    """Return an option of the command line."""
    name, kind, text = item.flag_name, item.kind, help_text(item)
    if item.is_switch:
        names = [f"{name}/--no-{name[2:]}", item.name]
        return ConfigOption(item, names, is_flag=True, default=None, help=text)
    return ConfigOption(
        item,
        [name, item.name],
        type=KindType(kind),
        metavar=kind.metavar or f"[{'|'.join(kind.choices)}]",
        multiple=kind.several,
        help=text,
    )


def help_text(item: Option) -> str:
    """Return the help of an option, with its unit and default."""
    text, mark, default = item.help.partition("  [default")
    if item.kind.unit:
        text = f"{text.rstrip('.')} ({item.kind.unit})."
    if mark or item.default is None:
        return text + mark + default
    return f"{text}  [default: {_shown(item)}]"


def daily_records(
    params: Sequence[ConfigOption],
    ctx: click.Context,
    left_out: frozenset[str],
    other_help: Mapping[str, str],
) -> list[tuple[str, str]]:
    """Return names and help of the options of daily use, the same one of all images together.

    Some are left out, and some have other help, by name.
    """
    rows: dict[str, list[ConfigOption]] = {}
    for param in params:
        item = param.declared
        if item.daily and item.name not in left_out:
            rows.setdefault(item.own_name if item.role else item.name, []).append(param)
    return [
        _of_images([param.declared for param in row])
        if row[0].declared.role
        else _record(row[0], ctx, other_help)
        for row in rows.values()
    ]


def _record(
    param: ConfigOption, ctx: click.Context, other_help: Mapping[str, str]
) -> tuple[str, str]:
    names, text = param.get_help_record(ctx) or ("", "")
    return names, other_help.get(param.declared.name, text)


def _of_images(items: Sequence[Option]) -> tuple[str, str]:
    """Return names and help of an option that several images have."""
    about = next(item for item in options(ImageOptions) if item.name == items[0].own_name)
    text = help_text(about).format(image="that image", role="image's", use="")
    kind, metavar = about.kind, about.kind.metavar
    if kind.choices and not metavar:
        metavar = about.name.rpartition("_")[2].upper()
        text = text.replace(".", f": {', '.join(kind.choices)}.", 1)
    return f"{', '.join(item.flag_name for item in items)} {metavar}", text


def _shown(item: Option) -> str:
    if item.is_switch:
        return item.flag_name[2:] if item.default else f"no-{item.flag_name[2:]}"
    if isinstance(item.default, tuple):
        return ",".join(f"{part:g}" if isinstance(part, float) else part for part in item.default)
    return str(item.default)


def settings(given: Mapping[str, Any], named: Mapping[str, str]) -> Settings:
    """Return what the command line gives, then its TOML file, then the defaults.

    `named` are the files that the command line names, by their role.
    """
    toml = given["toml"]
    values = {} if toml is None else _toml_values(toml)
    files = {item.name: values.pop(item.name) for item in JOB_FILES if item.name in values}
    try:
        both_configs(values)
    except ConfigError as error:
        msg = f"{toml}: {error}"
        raise ConfigError(msg) from None
    return Settings(*both_configs(values | _given(given)), files | dict(named))


def shared_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what holds for all jobs of a batch, by name: the files of each are in its manifest."""
    toml = given["toml"]
    values = {} if toml is None else _toml_values(toml)
    named = [item.name for item in JOB_FILES if item.name in values]
    if named:
        msg = f"{toml}: {named[0]} is for one job; a batch has it in the manifest"
        raise ConfigError(msg)
    try:
        both_configs(values)
    except ConfigError as error:
        msg = f"{toml}: {error}"
        raise ConfigError(msg) from None
    values |= _given(given)
    both_configs(values)
    return values


def _given(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the command line sets, by name."""
    values = {}
    for item in all_options().values():
        value = given.get(item.name)
        if value is not None and not (item.kind.several and not value):
            values[item.name] = value
    return values


def _toml_values(file: str) -> dict[str, Any]:
    """Return what is set in a TOML file, by Python name; ``_`` may stand for ``-`` in it."""
    known = {item.name for item in JOB_FILES} | set(all_options())
    values: dict[str, Any] = {}
    for option, value in read_toml(file, "the configuration", ConfigError).items():
        name, dashed = option.replace("-", "_"), option.replace("_", "-")
        if name in values:
            msg = f"{file}: the option {dashed} is set twice"
            raise ConfigError(msg)
        if name not in known:
            msg = (
                f"{file}: {dashed} cannot be set in a file of options; diffdecor run "
                "--print-config shows what can"
            )
            raise ConfigError(msg)
        values[name] = value
    for item in JOB_FILES:
        if item.name in values:
            values[item.name] = _parsed(item, values[item.name], file)
    return values


def _parsed(item: Option, value: object, file: str) -> str:
    try:
        return str(item.kind.parse(value))
    except ValueError as error:
        msg = f"{file}: {item.name} is {kinds.shown(value)}: {error}"
        raise ConfigError(msg) from None


def as_toml(what: Settings) -> str:
    """Return settings as a TOML file that repeats the job; what is not set is a comment."""
    lines = [
        f"# diffdecor {__version__}. To do the same again: diffdecor run --config THIS_FILE",
        "# What the command line gives goes before what is set here.",
        "",
        "# Files, relative to the folder that the command is called in",
        *_items(JOB_FILES, [what.named.get(item.name) for item in JOB_FILES]),
    ]
    for title, config in zip(SECTIONS, (what.decorrelation, what.files), strict=True):
        items = options(type(config))
        lines += ["", f"# {title}", *_items(items, [item.value_in(config) for item in items])]
    return "\n".join(lines) + "\n"


def _items(items: Sequence[Option], values: Sequence[object]) -> Iterator[str]:
    for item, value in zip(items, values, strict=True):
        yield ""
        text = textwrap.wrap(help_text(item), _WIDTH, break_on_hyphens=False)
        yield from (f"# {line}" for line in text)
        name = item.flag_name[2:]
        yield f"#{name} =" if value is None else f"{name} = {_toml_value(value, name)}"


def _toml_value(value: object, name: str) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(part, name) for part in value) + "]"
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    try:
        # Of names that the locale has no characters for, the bytes are printed as they are.
        text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        msg = f"{name} is {value!r}: a TOML file holds no text that is not UTF-8; rename the file"
        raise ConfigError(msg) from None
    return text
