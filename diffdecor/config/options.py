"""The machinery of options: how one is declared, parsed and checked.

The other modules of `diffdecor.config` declare the options with it. Nothing heavy is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import field, fields
from functools import partial
from os import PathLike
from typing import Any, NamedTuple, Self, TypeVar

from diffdecor.errors import ConfigError

Config = TypeVar("Config")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_LEAST_MEMORY = 64 << 20
#: A scale of one over the kernel sum at the image centre.
INVERSE_SUM = "1/k"


class Option(NamedTuple):
    """What is said of an option besides its name, type and default."""

    #: One sentence for ``--help``, the README and the comment of its card.
    help: str
    #: FITS keyword that records it; empty for one that leaves the result as it is.
    keyword: str
    #: Makes a checked value of a text, or of a value given in Python or TOML.
    parse: Callable[[Any], Any]
    #: What stands for the value in the help.
    metavar: str = ""
    #: The values allowed, if they are few.
    choices: tuple[str, ...] = ()
    #: A switch: no value on the command line.
    flag: bool = False
    unit: str = ""
    #: The option before which it is listed, where it is nested.
    before: str = ""


def number(value: object) -> float:
    """Parse a finite number."""
    if isinstance(value, bool):
        msg = "expected a number"
        raise ValueError(msg)  # noqa: TRY004  one kind of error from every parser
    parsed = float(value)  # type: ignore[arg-type]
    if not math.isfinite(parsed):
        msg = "expected a finite number"
        raise ValueError(msg)
    return parsed


def _number_that(accepts: Callable[[float], bool], expected: str) -> Callable[[object], float]:
    def parse(value: object) -> float:
        parsed = number(value)
        if not accepts(parsed):
            msg = f"expected {expected}"
            raise ValueError(msg)
        return parsed

    return parse


positive = _number_that(lambda value: value > 0, "a number above zero")
not_negative = _number_that(lambda value: value >= 0, "zero or more")
_not_zero = _number_that(lambda value: value != 0, "a number other than zero, or 1/k")
share = _number_that(lambda value: 0 < value <= 1, "a share, above 0 and at most 1")


def count(value: object) -> int:
    """Parse a whole number above zero."""
    parsed = number(value)
    if parsed != int(parsed) or parsed < 1:
        msg = "expected a whole number above zero"
        raise ValueError(msg)
    return int(parsed)


def memory(value: object) -> int:
    """Parse a size of memory in bytes, or with one of the units k, M, G (of 1024)."""
    text = str(value).strip().upper().removesuffix("B").removesuffix("I")
    unit = text[-1:] if text[-1:] in _UNITS else ""
    parsed = int(number(text.removesuffix(unit)) * _UNITS[unit])
    if parsed < _LEAST_MEMORY:
        msg = "expected a size like 500M or 2G, at least 64M"
        raise ValueError(msg)
    return parsed


def scale(value: object) -> float | str:
    """Parse a factor of an image: a number, or one over the sum of the kernel."""
    return INVERSE_SUM if value == INVERSE_SUM else _not_zero(value)


def switch(value: object) -> bool:
    """Parse the value of a switch, which must be a boolean already."""
    if not isinstance(value, bool):
        msg = "expected true or false"
        raise ValueError(msg)  # noqa: TRY004
    return value


def items(value: object) -> list[Any]:
    """Return the items of a sequence, or of a text with commas."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, list | tuple):
        return list(value)
    return [value]


def names(value: object) -> tuple[str, ...]:
    """Parse names of mask planes, in upper case."""
    parts = items(value)
    if not all(isinstance(part, str) for part in parts):
        msg = "expected names"
        raise ValueError(msg)
    return tuple(part.upper() for part in parts)


def bits(value: object) -> tuple[int, ...]:
    """Parse bit numbers (or codes) N,N, and values 0xHEX, which stand for their bits."""
    numbers: set[int] = set()
    for part in items(value):
        if isinstance(part, str) and part.lower().startswith("0x"):
            whole = int(part, 16)
            numbers |= {bit for bit in range(whole.bit_length()) if whole >> bit & 1}
        elif isinstance(part, str | int) and not isinstance(part, bool):
            numbers.add(int(part))
        else:
            numbers.add(-1)
    if not numbers <= set(range(32)):
        msg = "expected bit numbers from 0 to 31, or values like 0x40"
        raise ValueError(msg)
    return tuple(sorted(numbers))


def position(value: object) -> tuple[float, float]:
    """Parse a position X,Y."""
    parts = items(value)
    if len(parts) != 2:
        msg = "expected two numbers, X,Y"
        raise ValueError(msg)
    return number(parts[0]), number(parts[1])


def _pair_of(parse: Callable[[object], float]) -> Callable[[object], tuple[float, float]]:
    def pair(value: object) -> tuple[float, float]:
        parts = items(value)
        if len(parts) not in {1, 2}:
            msg = "expected N or NX,NY"
            raise ValueError(msg)
        return parse(parts[0]), parse(parts[-1])

    return pair


size = _pair_of(positive)
border = _pair_of(not_negative)


def path(value: object) -> str:
    """Parse a file name."""
    if not isinstance(value, str | PathLike) or not str(value) or "\0" in str(value):
        msg = "expected a file name"
        raise ValueError(msg)
    return str(value)


def centroids(value: object) -> str | tuple[tuple[float, float], ...]:
    """Parse the name of a file with columns x and y, or take the positions themselves."""
    if isinstance(value, str | PathLike):
        return path(value)
    positions = tuple(position(item) for item in items(value))
    if not positions:
        msg = "expected at least one position"
        raise ValueError(msg)
    return positions


def option(default: object, parse: Callable[[Any], Any], keyword: str, **about: Any) -> Any:  # noqa: ANN401
    """Declare an option as a dataclass field; `about` goes to `Option`."""
    return field(
        default=default, metadata={"option": Option(parse=parse, keyword=keyword, **about)}
    )


def choice(default: str | None, keyword: str, choices: tuple[str, ...], **about: Any) -> Any:  # noqa: ANN401
    """Declare an option that has one of a few values."""

    def parse(value: object) -> str:
        if value not in choices:
            msg = f"expected one of {', '.join(choices)}"
            raise ValueError(msg)
        return str(value)

    return option(default, parse, keyword, choices=choices, **about)


def flag(default: bool, keyword: str, **about: Any) -> Any:  # noqa: ANN401, FBT001
    """Declare an option that is a switch."""
    return option(default, switch, keyword, flag=True, **about)


def nested(kind: type[Checked], role: str, *, without: tuple[str, ...] = (), **texts: str) -> Any:  # noqa: ANN401
    """Declare a field that holds the options of one image, of a dataclass with a field `role`.

    They are called ``{role}_{name}``, but those `without`; `texts` go into the help of each.
    """
    about = {"nested": kind, "role": role, "without": without, "texts": texts}
    return field(default_factory=partial(kind, role=role), metadata=about)  # type: ignore[call-arg]


class Checked:
    """Parses and checks every option of a dataclass when one is made."""

    def __post_init__(self) -> None:
        """Parse every value; one that is None stays None where that is the default."""
        role = getattr(self, "role", "")  # of an image, whose options are called by it
        for item in options(type(self)):
            if item.role:  # checked by its own dataclass
                continue
            value = getattr(self, item.name)
            if value is None and item.default is None:
                continue
            try:
                parsed = item.option.parse(value)
            except (TypeError, ValueError, OverflowError) as error:
                name = item._replace(name=f"{role}_{item.name}") if role else item
                msg = f"{name.flag_name} is {value!r}: {error}"
                raise ConfigError(msg) from None
            object.__setattr__(self, item.name, parsed)

    @classmethod
    def of(cls, **values: Any) -> Self:  # noqa: ANN401
        """Return a config of values by the names of options: flat, as on the command line."""
        by_role: dict[str, dict[str, Any]] = {item.role: {} for item in options(cls)}
        for item in options(cls):
            if item.name in values:
                by_role[item.role][item.own_name] = values.pop(item.name)
        for image in fields(cls):  # type: ignore[arg-type]
            if "nested" in image.metadata:
                kind, role = image.metadata["nested"], image.metadata["role"]
                values[image.name] = kind(role=role, **by_role[role])
        return cls(**by_role.get("", {}), **values)


class Declared(NamedTuple):
    """An option as declared: the field it is, and what is said of it."""

    #: Name in Python and, with ``-`` for ``_``, in TOML and on the command line.
    name: str
    default: Any
    option: Option
    #: The image that it belongs to, if any.
    role: str = ""

    @property
    def kind(self) -> str:
        """Type of the value, as docstrings have it."""
        if self.option.flag:
            return "bool"
        if self.option.choices:
            return "{" + ", ".join(f'"{choice}"' for choice in self.option.choices) + "}"
        return self.option.metavar

    @property
    def flag_name(self) -> str:
        """Name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def own_name(self) -> str:
        """Name of the field that holds it."""
        return self.name.removeprefix(f"{self.role}_") if self.role else self.name

    def value_in(self, config: object) -> Any:  # noqa: ANN401
        """Return the value that a config has for it."""
        holder = getattr(config, self.role) if self.role else config
        return getattr(holder, self.own_name)


def documented(config_type: type[Config]) -> type[Config]:
    """Add the declared options to the docstring of a config, as its parameters."""
    lines = ["", "    Parameters", "    ----------"]
    for item in options(config_type):
        lines += [f"    {item.name} : {item.kind}", f"        {item.option.help}"]
    head, mark, errors = (config_type.__doc__ or "").partition("\n    Raises")
    config_type.__doc__ = head + "\n".join(lines) + "\n" + mark + errors
    return config_type


def options(config_type: type) -> tuple[Declared, ...]:
    """Return the options declared in `config_type`, in their order, with those of the images."""
    found: list[Declared] = []
    later: list[Declared] = []
    for item in fields(config_type):
        if "nested" in item.metadata:
            for one in _of_image(**item.metadata):
                (later if one.option.before else found).append(one)
        elif "option" in item.metadata:
            found += [one for one in later if one.option.before == item.name]
            found.append(Declared(item.name, item.default, item.metadata["option"]))
    return tuple(found)


def _of_image(
    nested: type, role: str, without: tuple[str, ...], texts: dict[str, str]
) -> list[Declared]:
    """Return the options of one image."""
    return [
        item._replace(
            name=f"{role}_{item.name}",
            option=item.option._replace(
                help=item.option.help.format(role=role, **{"use": "", **texts}),
                keyword=f"DD{role[0].upper()}{item.option.keyword}",
            ),
            role=role,
        )
        for item in options(nested)
        if item.name not in without
    ]


def recorded_options(config_type: type) -> tuple[Declared, ...]:
    """Return the options that shape the result, and so are recorded in its header."""
    return tuple(item for item in options(config_type) if item.option.keyword)
