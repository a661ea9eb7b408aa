"""The options of both configs, on the command line and in TOML: made from their declarations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.options import Declared, options
from diffdecor.errors import ConfigError

Config = TypeVar("Config", DecorrelationConfig, FilesConfig)

SECTIONS = {"Decorrelation": DecorrelationConfig, "Files": FilesConfig}


def config_options() -> list[click.Option]:
    """Return every option of both configs, for the command line."""
    return [
        _click_option(item, section)
        for section, config_type in SECTIONS.items()
        for item in options(config_type)
    ]


class _SectionOption(click.Option):
    """An option that belongs to a section of the help."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.section = section


def _click_option(item: Declared, section: str) -> click.Option:
    about = item.option
    kind: dict[str, Any]
    if about.flag:
        name, kind = f"{item.flag_name}/--no-{item.flag_name[2:]}", {"is_flag": True}
    else:
        name = item.flag_name
        kind = {"type": click.Choice(about.choices) if about.choices else click.STRING}
        if about.metavar:
            kind["metavar"] = about.metavar
    return _SectionOption(
        [name, item.name], section=section, default=None, help=help_text(item), **kind
    )


def help_text(item: Declared) -> str:
    """Return the help of an option, with its unit and default."""
    text, mark, default = item.option.help.partition("  [default")
    if item.option.unit:
        text = f"{text.rstrip('.')} ({item.option.unit})."
    text += mark + default
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


def configs(given: Mapping[str, Any]) -> tuple[DecorrelationConfig, FilesConfig]:
    """Return both configs: what the command line gives, then its TOML file, then the defaults."""
    toml = given["toml"]
    values = {} if toml is None else _read_toml(toml)
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
    return config_type.of(**{name: values[name] for name in names & values.keys()})


def _read_toml(file: str) -> dict[str, Any]:
    """Return the options set in a TOML file, by Python name; ``_`` may stand for ``-`` in it."""
    import tomllib

    try:
        table: Mapping[str, Any] = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{file}: cannot read the configuration: {error.strerror}"
        raise ConfigError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{file}: not valid TOML: {error}"
        raise ConfigError(msg) from error
    values: dict[str, Any] = {}
    for name, value in table.items():
        if values.setdefault(name.replace("-", "_"), value) is not value:
            msg = f"{file}: the option {name.replace('_', '-')} is set twice"
            raise ConfigError(msg)
    known = {item.name for kind in SECTIONS.values() for item in options(kind)}
    for name in values:
        if name not in known:
            msg = (
                f"{file}: {name.replace('_', '-')} cannot be set in a file of options; "
                "diffdecor run --print-config shows what can"
            )
            raise ConfigError(msg)
    return values


def as_toml(*configs: object) -> str:
    """Return configs as a TOML file that ``--config`` reads; options not set are comments."""
    lines = []
    for config in configs:
        for item in options(type(config)):
            value = item.value_in(config)
            name = item.flag_name[2:]
            lines.append(f"# {name} =" if value is None else f"{name} = {_toml_value(value)}")
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(part) for part in value) + "]"
    import json

    return json.dumps(value, ensure_ascii=False)
