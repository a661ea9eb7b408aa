"""Text for a terminal or a log, without the control characters that cards of a file may hold."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

#: What moves the cursor, changes colours or the direction of writing of a terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return a text with every control character but tab and newline as a question mark."""
    return _CONTROL.sub("?", text)


def say(text: str) -> None:
    """Print a line on standard output."""
    click.echo(printable(text))


def complain(text: str) -> None:
    """Print a message of one line on stderr."""
    click.echo(printable("diffdecor: " + " ".join(text.split())), err=True)


def as_json(values: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return one JSON object or list, in one line; what is not finite becomes null."""
    import json

    return json.dumps(_json_value(values))


def _json_value(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {name: _json_value(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(part) for part in value]
    return value


def discard(stream: object) -> None:
    """Discard what is still to be printed: Python itself would fail on it when it exits."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[attr-defined]
