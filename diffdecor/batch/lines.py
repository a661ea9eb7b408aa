"""A line of the ledger: a record as JSON, in ASCII, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diffdecor.batch.model import Record, Status
from diffdecor.pipeline.results_table import as_kind, kind_of_metric

#: Of the layout of a line; a field that is added does not change it.
VERSION = 1
#: How every line begins, of any version.
_START = b'{"version":'


def line_of(record: Record) -> bytes:
    """Return the line of a record; what JSON does not know, as infinity, is null."""
    values = {name: plain(getattr(record, name)) for name in _FIELDS}
    # Names of files may hold any bytes: in ASCII their surrogates are escaped, and come back.
    text = json.dumps({"version": VERSION, **values}, allow_nan=False, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def is_beginning(text: bytes) -> bool:
    """Say whether a file that begins so may be a ledger, though no line of it can be read.

    A crash of the machine may have left half a line, or zeros in its place.
    """
    begun = text.lstrip(b"\0 \r\n\t").partition(b"\0")[0]
    return _START.startswith(begun[: len(_START)])


def plain(value: object) -> Any:  # noqa: ANN401
    """Return a value as JSON has it: numbers of numpy as Python's, others as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [plain(one) for one in value]
    item = getattr(value, "item", None)  # of a scalar of numpy
    return plain(item()) if item is not None else str(value)


def record_of(line: bytes) -> Record | None:
    """Return the record of a line; None if it is none, or of another version."""
    try:
        values = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.get("version") != VERSION:
        return None
    known = {name: values[name] for name in _FIELDS if name in values}
    if not all(_FIELDS[name](value) for name, value in known.items()):
        return None
    try:
        known["status"] = Status(values["status"])
        known["warnings"] = tuple(known.get("warnings", ()))
        known["stamps"] = {file: tuple(one) for file, one in known.get("stamps", {}).items()}
        return Record(**known)
    except (KeyError, TypeError, ValueError):
        return None


def _refuse(constant: str) -> None:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return _is_integer(value) and as_kind(value, int) is not None


def _is_number(value: object) -> bool:
    return value is None or as_kind(value, float) is not None


def _are_metrics(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_metric, value, value.values()))


def _is_metric(name: str, value: object) -> bool:
    kind = kind_of_metric(name)
    return kind is None or value is None or as_kind(value, kind) is not None


def _is_stamps(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, list) and all(map(_is_integer, one)) for one in value.values()
    )


#: Fields of a record, and what says whether a value is one of its.
_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "output": _is_text,
    "status": _is_text,
    "exit_code": _is_whole,
    "error": _is_text,
    "metrics": _are_metrics,
    "warnings": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "tries": _is_whole,
    "started": _is_text,
    "wall_seconds": _is_number,
    "cpu_seconds": _is_number,
    "peak_memory": lambda value: value is None or _is_whole(value),
    "host": _is_text,
    "manifest": _is_text,
    "key": _is_text,
    "stamps": _is_stamps,
}
