"""Options in messages: as the command line writes them, or as arguments of Python.

Errors, warnings and verdicts name an option as the command line does, with two dashes. Unless a
command is at work they are shown with the arguments and fields that Python programs know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# Not that of `typing`, as in the package itself.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import Logger, LogRecord

#: Values that messages name together with their option, besides numbers.
_VALUES = (
    "variance", "sigma", "ivar", "weight", "background", "measured", "white", "template",
    "science", "plain", "ps1", "lsst", "ztf", "meerlicht", "decam", "decam-bits", "decam-codes",
    "hst", "jwst", "hotpants", "ccddata", "interpolate", "fit",
)  # fmt: skip
_IMAGES = ("science", "template", "difference")
#: Options of an image that are fields of the config in Python, too.
_OF_CONFIG = ("variance", "scale")
#: Arguments that have another name.
_OTHERS = {
    "preconvolution-kernel": "preconvolution",
    "kernel-center": "center",  # of read_kernel
    "kernel-sense": "sense",
}

#: One item for every command that is at work: lists change at once, whatever other threads do.
_commands: list[None] = []


@contextmanager
def of_commands() -> Iterator[None]:
    """Have messages name options as the command line does, until the block ends."""
    _commands.append(None)
    try:
        yield
    finally:
        _commands.pop()


def spoken(text: str) -> str:
    """Return a message as who reads it names the options in it."""
    return text if _commands or "--" not in text else in_python(text)


def in_python(text: str) -> str:
    """Return a message with the arguments of Python instead of the options in it."""
    return _option().sub(_argument, text)


@cache
def _option() -> re.Pattern[str]:
    """Match an option, and its value: a word or several, numbers, 1/k, or what stands for any.

    It is compiled when it is needed, which takes a millisecond: commands do without.
    """
    word = "(?:" + "|".join(sorted(_VALUES, key=len, reverse=True)) + ")"
    return re.compile(
        r"(?<![\w./-])--(?P<no>no-)?(?P<name>[a-z]+(?:-[a-z]+)*)"
        rf"(?: (?P<value>{word}(?:\|{word})*(?![\w-])|1/k|-?\d[\d.e+-]*(?:,-?\d[\d.e+-]*)*"
        r"|(?P<any>(?:FILE|NAME,\.\.\.|[A-Z])(?!\w))))?"
    )


def _argument(found: re.Match[str]) -> str:
    """Return what an option is called in Python, and its value."""
    name, value = found["name"], found["value"]
    role, _, own = name.partition("-")
    if name in _OTHERS:
        name = _OTHERS[name]
    elif role in _IMAGES and own:
        if own == "psf" or (own == "noise" and found["any"]):
            name = f"{role}.{'psf' if own == 'psf' else 'variance'}"
        elif own in {"kernel", "stack"}:
            name = f"{role}_members"
        elif own not in _OF_CONFIG:
            name = own  # an argument of read_exposure, for whichever image
    name = name.replace("-", "_")
    if found["no"]:
        return f"`{name}=False`"
    if value is None or found["any"]:
        return f"`{name}`"
    if "|" in value or value == "1/k" or not re.match(r"-?\d", value):
        return " or ".join(f'`{name}="{one}"`' for one in value.split("|"))
    numbers = value.split(",")
    return f"`{name}=({', '.join(numbers)})`" if len(numbers) > 1 else f"`{name}={value}`"


def logger(name: str) -> Logger:
    """Return the logger of a module, whose messages name options as who reads them does."""
    import logging

    found = logging.getLogger(name)
    found.addFilter(_in_words)
    return found


def _in_words(record: LogRecord) -> bool:
    """Put a record into the words of who reads it; it is kept."""
    text = record.getMessage()
    said = spoken(text)
    if said != text:
        record.msg, record.args = said, None
    return True
