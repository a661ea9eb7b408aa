"""The options of both configs: made from their declarations, never written twice."""

from __future__ import annotations

from collections.abc import Mapping
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


def configs(given: Mapping[str, Any], toml: str | None) -> tuple[DecorrelationConfig, FilesConfig]:
    """Return both configs: what the command line gives, then the TOML file, then the defaults."""
    values = {}
    if toml is not None:
        from diffdecor.cli.configfile import read_toml

        values = read_toml(toml)
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
    import json

    return json.dumps(value, ensure_ascii=False)
