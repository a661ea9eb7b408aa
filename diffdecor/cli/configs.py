"""The options of both configs, on the command line and in TOML: made from their declarations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.options import Option, options, read_toml
from diffdecor.errors import ConfigError

SECTIONS = {"Decorrelation": DecorrelationConfig, "Files": FilesConfig}


def config_options() -> dict[str, list[click.Option]]:
    """Return every option of both configs, for the command line, by section of the help."""
    return {
        section: [click_option(item) for item in options(config_type)]
        for section, config_type in SECTIONS.items()
    }


def click_option(item: Option) -> click.Option:
    """Return an option of the command line."""
    name, kind, text = item.flag_name, item.kind, help_text(item)
    if item.is_switch:
        names = [f"{name}/--no-{name[2:]}", item.name]
        return click.Option(names, is_flag=True, default=None, help=text)
    return click.Option(
        [name, item.name],
        type=click.Choice(kind.choices) if kind.choices else click.STRING,
        metavar=kind.metavar or None,
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


def _shown(item: Option) -> str:
    if item.is_switch:
        return item.flag_name[2:] if item.default else f"no-{item.flag_name[2:]}"
    if isinstance(item.default, tuple):
        return ",".join(f"{part:g}" if isinstance(part, float) else part for part in item.default)
    return str(item.default)


def configs(given: Mapping[str, Any]) -> tuple[DecorrelationConfig, FilesConfig]:
    """Return both configs: what the command line gives, then its TOML file, then the defaults."""
    toml = given["toml"]
    values = {} if toml is None else _toml_options(toml)
    try:
        _both(values)
    except ConfigError as error:
        msg = f"{toml}: {error}"
        raise ConfigError(msg) from None
    return _both(values | {name: value for name, value in given.items() if value not in {None, ()}})


def _both(values: Mapping[str, Any]) -> tuple[DecorrelationConfig, FilesConfig]:
    numerics, files = (
        {item.name: values[item.name] for item in options(config_type) if item.name in values}
        for config_type in SECTIONS.values()
    )
    return DecorrelationConfig(**numerics), FilesConfig.of(**files)


def _toml_options(file: str) -> dict[str, Any]:
    """Return the options set in a TOML file, by Python name; ``_`` may stand for ``-`` in it."""
    known = {item.name for config_type in SECTIONS.values() for item in options(config_type)}
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
    return values


def as_toml(*configs: DecorrelationConfig | FilesConfig) -> str:
    """Return configs as a TOML file that ``--config`` reads; options not set are comments."""
    lines = []
    for config in configs:
        for item in options(type(config)):
            name, value = item.flag_name[2:], item.value_in(config)
            lines.append(f"# {name} =" if value is None else f"{name} = {_toml_value(value)}")
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(part) for part in value) + "]"
    return json.dumps(value, ensure_ascii=False)
