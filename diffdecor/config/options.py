"""The machinery of options: how one is declared, parsed and checked.

The other modules of `diffdecor.config` declare the options with it. Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, fields
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from diffdecor.config import kinds
from diffdecor.errors import ConfigError, DiffdecorError

Config = TypeVar("Config")

#: Bytes of a TOML file; options take 4 kB, a stack of a thousand images some 200.
LARGEST_TOML = 1 << 20


class Option(NamedTuple):
    """An option of the command line, of TOML files and of Python."""

    #: FITS keyword that records it; empty for one that does not change the result.
    keyword: str
    default: Any
    kind: kinds.Kind
    #: One sentence for ``--help`` and ``diffdecor help options``.
    help: str
    #: The option before which it is listed, where it is nested.
    before: str = ""
    #: Name in Python and, with ``-`` for ``_``, in TOML and on the command line.
    name: str = ""
    #: The image that it belongs to, if any.
    role: str = ""
    #: Whether ``--help`` shows it; ``diffdecor help options`` shows all.
    daily: bool = False

    @property
    def flag_name(self) -> str:
        """Name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def own_name(self) -> str:
        """Name of the field that holds it."""
        return self.name.removeprefix(f"{self.role}_")

    @property
    def is_switch(self) -> bool:
        """Whether it is a switch."""
        return self.kind is kinds.SWITCH

    @property
    def is_file(self) -> bool:
        """Whether its value is the name of a file."""
        return self.kind.metavar == "FILE"

    def names_file(self, value: object) -> bool:
        """Say whether a value of it is the name of a file."""
        return self.is_file and isinstance(value, str) and value not in self.kind.words

    def value_in(self, config: object) -> Any:  # noqa: ANN401
        """Return the value that a config has for it."""
        holder = getattr(config, self.role) if self.role else config
        return getattr(holder, self.own_name)


def option(
    keyword: str,
    default: object,
    kind: kinds.Kind,
    text: str,
    before: str = "",
    *,
    daily: bool = False,
) -> Any:  # noqa: ANN401
    """Declare an option as a dataclass field."""
    about = Option(keyword, default, kind, text, before, daily=daily)
    return field(default=default, metadata={"option": about})


def nested(
    kind: Callable[..., Any], role: str, *, without: tuple[str, ...] = (), **texts: str
) -> Any:  # noqa: ANN401
    """Declare a field that holds the options of one image, of a dataclass with a field `role`.

    They are called ``{role}_{name}``; those `without` are left out, `texts` go into their help.
    """
    about = {"nested": kind, "role": role, "without": without, "texts": {"role": role, **texts}}
    return field(default_factory=partial(kind, role=role), metadata=about)


class Checked:
    """Parses and checks every option of a dataclass when one is made."""

    def __post_init__(self) -> None:
        """Parse every value; None stays None where that is the default."""
        role = getattr(self, "role", "")  # of an image, whose options are called by it
        for item in options(type(self)):
            value = item.value_in(self)
            if item.role or (value is None and item.default is None):
                continue  # those with a role are checked by their own dataclass
            try:
                parsed = item.kind.parse(value)
            except ValueError as error:
                name = f"{role}_{item.name}" if role else item.name
                (one,) = value if isinstance(value, tuple) and len(value) == 1 else (value,)
                msg = f"{item._replace(name=name).flag_name} is {kinds.shown(one)}: {error}"
                raise ConfigError(msg) from None
            object.__setattr__(self, item.name, parsed)


def options(config_type: type) -> tuple[Option, ...]:
    """Return the options declared in `config_type`, in their order, with those of the images."""
    return _options(config_type)  # mypy takes no class with fields for hashable


@cache
def _options(config_type: type) -> tuple[Option, ...]:
    found: list[Option] = []
    later: list[Option] = []
    for item in fields(config_type):
        if "nested" in item.metadata:
            for one in _of_image(**item.metadata):
                (later if one.before else found).append(one)
        elif "option" in item.metadata:
            found += [one for one in later if one.before == item.name]
            found.append(item.metadata["option"]._replace(name=item.name))
    return tuple(found)


def _of_image(
    nested: type, role: str, without: tuple[str, ...], texts: dict[str, str]
) -> list[Option]:
    """Return the options of one image."""
    return [
        item._replace(
            keyword=f"DD{role[0].upper()}{item.keyword}",
            help=item.help.format(**texts),
            name=f"{role}_{item.name}",
            role=role,
        )
        for item in options(nested)
        if item.name not in without
    ]


def documented(config_type: type[Config]) -> type[Config]:
    """Add the declared options to the docstring of a config, as its parameters."""
    lines = ["", "    Parameters", "    ----------"]
    for item in options(config_type):
        lines += [f"    {item.name} : {_type_name(item)}", f"        {item.help.replace('--', '')}"]
    head, mark, errors = (config_type.__doc__ or "").partition("\n    Raises")
    config_type.__doc__ = head + "\n".join(lines) + "\n" + mark + errors
    return config_type


def _type_name(item: Option) -> str:
    if item.kind.choices:
        return "{" + ", ".join(f'"{choice}"' for choice in item.kind.choices) + "}"
    return "bool" if item.is_switch else item.kind.metavar


def recorded_options(config_type: type) -> tuple[Option, ...]:
    """Return the options that shape the result, and so are recorded in its header."""
    return tuple(item for item in options(config_type) if item.keyword)


def read_toml(file: str, what: str, error_type: type[DiffdecorError]) -> dict[str, Any]:
    """Return the tables and values of a TOML file; `what` it is, for the message of the error."""
    import tomllib

    try:
        with Path(file).open("rb") as opened:
            text = opened.read(LARGEST_TOML + 1)
        if len(text) <= LARGEST_TOML:
            return tomllib.loads(text.decode("utf-8"))
        problem = f"more than {LARGEST_TOML} bytes are not {what}; name the right file"
    except OSError as error:
        problem = f"cannot read {what}: {error.strerror}"
    except RecursionError:
        problem = f"brackets within brackets are not {what}; no value is more than a list"
    except UnicodeDecodeError:
        problem = f"not text in UTF-8, as TOML is, so it is not {what}; name the right file"
    except ValueError as error:
        problem = f"not valid TOML: {error}"
    msg = f"{file}: {problem}"
    raise error_type(msg)
