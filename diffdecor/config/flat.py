"""All options of a job by their names, as the command line, TOML and manifests have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from diffdecor.config import DecorrelationConfig, FilesConfig, kinds
from diffdecor.config.options import Option, options

#: The files of a job: the command line names them, and so may a TOML file or a manifest.
JOB_FILES = tuple(
    Option("", None, kind, text, name=name)
    for name, kind, text in (
        ("science", kinds.FILE, "Science image."),
        ("template", kinds.FILE, "Template."),
        ("difference", kinds.FILE, "Difference; without the other two images, a difference alone."),
        (
            "kernel",
            kinds.KERNEL,
            kinds.KERNEL_HELP,
        ),
        ("output", kinds.OUTPUT, "File to write."),
    )
)


@cache
def all_options() -> Mapping[str, Option]:
    """Return every option of both configs by its name."""
    both = (options(DecorrelationConfig), options(FilesConfig))
    return {item.name: item for items in both for item in items}


def own_values(
    config_type: type[DecorrelationConfig | FilesConfig], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return those of some values that a config has options for."""
    return {item.name: values[item.name] for item in options(config_type) if item.name in values}


def both_configs(values: Mapping[str, Any]) -> tuple[DecorrelationConfig, FilesConfig]:
    """Return both configs with these values; ConfigError if one is not allowed."""
    numerics = own_values(DecorrelationConfig, values)
    return DecorrelationConfig(**numerics), FilesConfig.of(**own_values(FilesConfig, values))


def similar_names(name: str, names: Iterable[str]) -> str:
    """Return what to ask of a name that there is not: ``"; did you mean gain?"``, or nothing."""
    from difflib import get_close_matches

    like = get_close_matches(name, list(names))
    return f"; did you mean {' or '.join(like)}?" if like else ""
