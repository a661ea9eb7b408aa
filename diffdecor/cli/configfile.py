"""Options out of a TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.options import options
from diffdecor.errors import ConfigError


def read_toml(file: str | Path) -> dict[str, Any]:
    """Return the options set in a TOML file, by Python name.

    Parameters
    ----------
    file : path
        File with ``option-name = value`` lines; ``_`` may stand for ``-``.

    Returns
    -------
    dict
        Values as TOML has them; the config dataclasses check them.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not TOML, or sets an option that does not exist.
    """
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
    known = {item.name for kind in (DecorrelationConfig, FilesConfig) for item in options(kind)}
    for name in values:
        if name not in known:
            msg = (
                f"{file}: {name.replace('_', '-')} cannot be set in a file of options; "
                "diffdecor run --print-config shows what can"
            )
            raise ConfigError(msg)
    return values
