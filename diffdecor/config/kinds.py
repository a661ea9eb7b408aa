"""The kinds of values that options take, and their parsers.

Parsers take a text, or a value given in Python or TOML, and raise a ValueError that says, in words
of ours, what is expected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from os import PathLike
from typing import Any, NamedTuple, NoReturn

from diffdecor.core.magnitudes import LARGEST, SMALLEST

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_LEAST_MEMORY = 64 << 20
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*")
#: Characters of a value that a message shows.
_LONGEST = 150
_BITS = "bit numbers from 0 to 31, or values like 0x40"
#: A scale of one over the kernel sum at the image centre.
INVERSE_SUM = "1/k"
#: In place of a kernel file: the kernel is found from the images. A file of this name is ./fit.
FIT = "fit"
#: What the option that names it is, in help.
KERNEL_HELP = (
    "File of the matching kernel, or fit: it is found from the images (a file called fit is "
    "./fit).  [default: the difference carries it; if not, fit]"
)
#: Parts of the result that can be written to files of their own.
WRITTEN = (
    "image", "variance", "sigma", "weight", "mask", "bad", "signif", "fluxerr", "psf", "psi",
    "noisecov", "noisereal",
)  # fmt: skip


def _require(holds: object, expected: str) -> None:
    if not holds:
        _expect(expected)


def _expect(expected: str) -> NoReturn:
    msg = f"expected {expected}"
    raise ValueError(msg) from None


def _finite(value: object) -> float:
    """Parse a finite number: a size may be beyond all images."""
    if isinstance(value, bool):
        _expect("a number")
    try:
        parsed = float(value)  # type: ignore[arg-type]
    except OverflowError:
        parsed = math.inf
    except (TypeError, ValueError):
        has_comma = isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value)
        _expect("a number, with a point in place of the comma" if has_comma else "a number")
    _require(math.isfinite(parsed), "a finite number")
    return parsed


def _integer(text: str, base: int, expected: str) -> int:
    """Parse a whole number, of as many digits as Python takes."""
    try:
        return int(text, base)
    except ValueError:
        _expect(expected)


def shown(value: object) -> str:
    """Return a wrong value as a message shows it: no longer than a line or two."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write numbers of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def number(value: object) -> float:
    """Parse a number that pixels are compared or multiplied with."""
    parsed = _finite(value)
    _require(abs(parsed) <= LARGEST, f"a number of at most {LARGEST:g}")
    return parsed


def _number_that(
    accepts: Callable[[float], bool], expected: str, parse: Callable[[object], float] = number
) -> Callable[[object], float]:
    def checked(value: object) -> float:
        parsed = parse(value)
        _require(accepts(parsed), expected)
        return parsed

    return checked


_positive = _number_that(lambda value: value > 0, "a number above zero", _finite)
_from_zero = _number_that(lambda value: value >= 0, "zero or more", _finite)
not_negative = _number_that(lambda value: value >= 0, "zero or more")
_steps = _number_that(lambda value: 1 <= value <= 1024, "a number from 1 to 1024")
_share = _number_that(lambda value: 0 < value <= 1, "a share, above 0 and at most 1")
_not_zero = _number_that(
    lambda value: abs(value) >= SMALLEST, "a number other than (almost) zero, or 1/k"
)
_gain = _number_that(
    lambda value: 1e-30 <= value <= 1e30, "a number above zero, from 1e-30 to 1e30"
)
_whole = _number_that(
    lambda value: value >= 1 and value == int(value), "a whole number above zero", _finite
)


def _count(value: object) -> int:
    """Parse a whole number above zero."""
    return int(_whole(value))


def _seed(value: object) -> int:
    """Parse a whole number from zero on; in a text it may have any number of digits."""
    expected = "a whole number, zero or more"
    is_whole = isinstance(value, str) and value.isdecimal()
    parsed = _integer(str(value), 10, expected) if is_whole else _finite(value)
    _require(parsed >= 0 and parsed == int(parsed), expected)
    return int(parsed)


def _memory(value: object) -> int:
    """Parse an amount of memory in bytes, or with one of the units k, M, G (powers of 1024)."""
    text = (
        value.strip().upper().removesuffix("B").removesuffix("I") if isinstance(value, str) else ""
    )
    unit = text[-1:] if text[-1:] in _UNITS else ""
    try:
        parsed = _finite(text.removesuffix(unit) or value) * _UNITS[unit]
    except ValueError:
        parsed = math.nan
    _require(_LEAST_MEMORY <= parsed < math.inf, "a size like 500M or 2G, at least 64M")
    return int(parsed)


def _scale(value: object) -> float | str:
    """Parse a factor of an image: a number, or one over the sum of the kernel."""
    return INVERSE_SUM if value == INVERSE_SUM else _not_zero(value)


def _switch(value: object) -> bool:
    """Parse the value of a switch, which must be a boolean already."""
    _require(isinstance(value, bool), "true or false")
    return bool(value)


def _items(value: object) -> list[Any]:
    """Return the items of a sequence, or of a text with commas."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _names(value: object) -> tuple[str, ...]:
    """Parse names of mask planes, in upper case."""
    parts = _items(value)
    _require(all(isinstance(part, str) for part in parts), "names")
    return tuple(part.upper() for part in parts)


def _bits(value: object) -> tuple[int, ...]:
    """Parse bit numbers (or codes) N,N, and values 0xHEX, which stand for their bits."""
    numbers: set[int] = set()
    for part in _items(value):
        if isinstance(part, str) and part.lower().startswith("0x"):
            whole = _integer(part, 16, _BITS)
            numbers |= {bit for bit in range(whole.bit_length()) if whole >> bit & 1}
        elif isinstance(part, str | int) and not isinstance(part, bool):
            numbers.add(_integer(part, 10, _BITS) if isinstance(part, str) else part)
        else:
            numbers.add(-1)
    _require(numbers <= set(range(32)), _BITS)
    return tuple(sorted(numbers))


def _position(value: object) -> tuple[float, float]:
    """Parse a position X,Y."""
    parts = _items(value)
    _require(len(parts) == 2, "two numbers, X,Y")
    return _finite(parts[0]), _finite(parts[1])


def _region(value: object) -> str:
    """Parse a part of an image X0:X1,Y0:Y1, as numpy counts; return it in this form."""
    # A number of thousands of digits is not made a text of.
    x0, x1, y0, y1 = region_bounds(value if isinstance(value, str) else "")
    return f"{x0}:{x1},{y0}:{y1}"


def region_bounds(text: str) -> tuple[int, int, int, int]:
    """Return ``(x0, x1, y0, y1)`` of a part of an image."""
    match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*", text, re.ASCII)
    _require(match and len(text) < 100, "X0:X1,Y0:Y1, whole numbers from 0 on")
    x0, x1, y0, y1 = map(int, match.groups() if match else ())
    _require(x0 < x1 and y0 < y1, "X0 below X1 and Y0 below Y1: there is no pixel in it")
    return x0, x1, y0, y1


def _pair_of(parse: Callable[[object], float]) -> Callable[[object], tuple[float, float]]:
    def pair(value: object) -> tuple[float, float]:
        parts = _items(value)
        _require(len(parts) in {1, 2}, "N or NX,NY")
        return parse(parts[0]), parse(parts[-1])

    return pair


def path(value: object) -> str:
    """Parse a file name."""
    _require(value != "", "a file name, but it is empty (a shell variable that is not set?)")
    _require(
        isinstance(value, str | PathLike) and str(value) and "\0" not in str(value), "a file name"
    )
    return str(value)


def output_path(value: object) -> str:
    """Parse the name of a file that is to be written."""
    file = path(value)
    _require(
        file != "-",
        "the name of a file, for standard output is not written to; write a file, then pass it on: "
        "-o FILE && cat FILE",
    )
    return file


def _centroids(value: object) -> str | tuple[tuple[float, float], ...]:
    """Parse the name of a file with columns x and y, or take the positions themselves."""
    if isinstance(value, str | PathLike):
        return path(value)
    positions = tuple(_position(item) for item in _items(value))
    _require(positions, "at least one position")
    return positions


def _written(value: object) -> tuple[str, ...]:
    """Parse one or several texts NAME=FILE: what is to be written to a file of its own."""
    texts = list(value) if isinstance(value, list | tuple) else [value]
    names = []
    for text in texts:
        name, mark, file = text.partition("=") if isinstance(text, str) else ("", "", "")
        _require(mark and file and name in WRITTEN, f"NAME=FILE, NAME one of {', '.join(WRITTEN)}")
        output_path(file)
        names.append(name)
    _require(texts, "NAME=FILE")
    _require(len(set(names)) == len(names), "every NAME once")
    return tuple(str(text) for text in texts)


class Kind(NamedTuple):
    """What values an option takes."""

    #: Makes a checked value of a text, or of a value given in Python or TOML.
    parse: Callable[[Any], Any]
    #: What stands for the value in the help.
    metavar: str = ""
    unit: str = ""
    #: The values allowed, if they are few.
    choices: tuple[str, ...] = ()
    #: It may be given several times on the command line.
    several: bool = False
    #: Words that an option of files takes besides: no file is meant by them.
    words: tuple[str, ...] = ()


def one_of(*choices: str, metavar: str = "") -> Kind:
    """Return the kind of option that has one of a few values."""

    def parse(value: object) -> str:
        _require(value in choices, f"one of {', '.join(choices)}")
        return str(value)

    return Kind(parse, metavar, choices=choices)


#: No value on the command line.
SWITCH = Kind(_switch)
FILE = Kind(path, "FILE")
OUTPUT = Kind(output_path, "FILE")
KERNEL = Kind(path, "FILE", words=(FIT,))
POSITION = Kind(_position, "X,Y", "0-based pixels")
REGION = Kind(_region, "X0:X1,Y0:Y1", "0-based pixels, X1 and Y1 not included")
CENTROIDS = Kind(_centroids, "FILE", "0-based pixels")
PLANES = Kind(_names, "A,B")
BITS = Kind(_bits, "N,N|0xHEX")
VARIANCE = Kind(not_negative, "V", "image unit squared")
SCALE = Kind(_scale, "A")
SIZE = Kind(_pair_of(_positive), "N|NX,NY", "PSF FWHM or pixels")
BORDER = SIZE._replace(parse=_pair_of(_from_zero))
SHARE = Kind(_share, "R")
LIMIT = Kind(not_negative, "R")
FWHM = Kind(_positive, "W", "pixels")
COUNT = Kind(_count, "N")
SEED = Kind(_seed, "SEED")
WRITES = Kind(_written, "NAME=FILE", several=True)
MEMORY = Kind(_memory, "SIZE")
GAIN = Kind(_gain, "G", "electrons per image unit")
READ_NOISE = Kind(not_negative, "R", "electrons")
QUANTUM = Kind(_steps, "L", "steps per sigma")
LEVEL = Kind(number, "B", "image unit")
