"""The log on stderr, and in files where they are asked for: one line a message."""

from __future__ import annotations

import codecs
import logging
import os
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from diffdecor.cli.progress import paused
from diffdecor.cli.text import as_json, complain, printable
from diffdecor.errors import OutputError, OutputExistsError
from diffdecor.fits.paths import are_same_file, split_extension

_LOGGER = logging.getLogger("diffdecor")
#: Bytes that show whether a file is a text.
_LOOKED_AT = 4096
#: Options that name files of logs, and the attribute of a record for fields of the latter.
_TEXT_OPTION, _JSON_OPTION, _FIELDS = "--log-file", "--log-json", "fields"


class OneLine(logging.Formatter):
    """Makes one line of a message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(" ".join(super().format(record).split()))


class _Timed(OneLine):
    """Begins the line with the time, UTC."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]  # not subscripted when it runs
    """Writes to stderr, around the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        with paused():
            super().emit(record)


class _Json(logging.Formatter):
    """Makes a JSON object of a message, with the fields that were given with it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        about = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        # What a record is comes first, and is not replaced by any field.
        return as_json(about | getattr(record, _FIELDS, {}) | about)


class _File(logging.Handler):
    """Appends whole lines to a file; where that fails, says so once and ends.

    Each line is written at once, so that those of several processes do not mix.
    """

    def __init__(self, file: str, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._name = file
        self._has_ended = False
        self._file = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # The last line of a process that was killed, or of a full disk, may have no end.
        size = os.fstat(self._file).st_size
        self._before = b"\n" if size and os.pread(self._file, 1, size - 1) != b"\n" else b""

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        if self._has_ended:
            return
        try:
            text = self.format(record).encode("utf-8", "backslashreplace")
            left = memoryview(self._before + text + b"\n")
            self._before = b""
            while left:
                left = left[os.write(self._file, left) :]
        except Exception:  # noqa: BLE001  as in logging
            self.handleError(record)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().close()

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802  as in logging
        """Say that the log ends here."""
        error = sys.exception()
        reason = getattr(error, "strerror", None) or error
        self._has_ended = True
        with paused():
            complain(f"WARNING: {self._name}: cannot be written: {reason}; the log ends here")


def start(
    verbose: int,
    *,
    quiet: bool,
    file: str | None = None,
    json_file: str | None = None,
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
) -> None:
    """Send the log to stderr, and to files, which must be none of the inputs and outputs."""
    # There is no stderr at all where it has been closed.
    level = logging.INFO if sys.stderr and sys.stderr.isatty() else logging.WARNING
    if verbose:
        level = logging.DEBUG if verbose > 1 else logging.INFO
    level = logging.WARNING if quiet else level  # warnings still go into the header
    handler = _Stderr()
    handler.setLevel(logging.ERROR if quiet else level)
    handler.setFormatter(OneLine("diffdecor: %(levelname)s: %(message)s"))
    stop()
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(level)
    _LOGGER.propagate = False
    inputs, outputs = list(inputs), list(outputs)
    if file is not None:
        _check(_TEXT_OPTION, file, inputs, outputs)
    if json_file is not None:
        _check(_JSON_OPTION, json_file, inputs, outputs, other=file)
    if file is not None:
        _LOGGER.addHandler(_opened(file, _Timed("%(asctime)s %(levelname)s %(message)s")))
    if json_file is not None:
        _LOGGER.addHandler(_opened(json_file, _Json()))
    if file is not None or json_file is not None:
        _LOGGER.setLevel(min(level, logging.INFO))
        context = click.get_current_context(silent=True)
        if context is not None:
            context.find_root().call_on_close(stop)


def to_file(text: str, level: str = "INFO", fields: Mapping[str, Any] | None = None) -> None:
    """Add a line to the log files, if there are any, of what is said elsewhere anyway.

    `fields` are in the file of JSON objects only, as are those of ``extra={"fields": {...}}`` of
    any other record.
    """
    for handler in _LOGGER.handlers:
        if isinstance(handler, _File):
            number = logging.getLevelNamesMapping()[level]
            extra = {_FIELDS: dict(fields or {})}
            record = _LOGGER.makeRecord(_LOGGER.name, number, "", 0, text, (), None, extra=extra)
            handler.handle(record)


def stop() -> None:
    """End the log, and close its files."""
    for handler in _LOGGER.handlers[:]:
        _LOGGER.removeHandler(handler)
        handler.close()


def _opened(file: str, formatter: logging.Formatter) -> _File:
    """Open a log file, before any work is done."""
    try:
        return _File(file, formatter)
    except OSError as error:
        raise _unwritable(file, error) from None


def _unwritable(file: str, error: OSError) -> OutputError:
    return OutputError(f"{file}: the log cannot be written: {error.strerror}; name another file")


def _check(
    option: str,
    file: str,
    inputs: Iterable[str],
    outputs: Iterable[str],
    other: str | None = None,
) -> None:
    """Refuse a log that would change another file of the command, or what is not such a log."""
    for what, others in (("an input", inputs), ("an output", outputs)):
        paths = (split_extension(one)[0] for one in others)
        if any(are_same_file(file, path) for path in paths):
            msg = f"{file}: is {what}; give {option} another name"
            raise OutputExistsError(msg)
    if other is not None and are_same_file(file, other):
        msg = f"{file}: is the other log, too; give {option} another name"
        raise OutputExistsError(msg)
    try:
        problem = _problem(Path(file), option)
    except OSError as error:
        raise _unwritable(file, error) from None
    if problem:
        msg = f"{file}: {problem}"
        raise OutputError(msg)


def _problem(path: Path, option: str) -> str:
    """Say why no log is appended to a file; nothing if it is one, or not there."""
    if not path.exists():
        return ""
    if _is_stdout(path):
        return f"is our standard output; give {option} another name"
    if not path.is_file():
        return "is not a regular file; name the file that the log is appended to"
    with path.open("rb") as opened:
        beginning = opened.read(_LOOKED_AT)
    if not _is_text(beginning):
        return "is not a text file, so no log is appended to it; name another file"
    if option == _JSON_OPTION and beginning.strip() and not beginning.lstrip().startswith(b"{"):
        return "does not hold JSON objects, so none is appended to it; name another file"
    return ""


def _is_stdout(path: Path) -> bool:
    """Say whether what is printed goes to a file: a log would be mixed with it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(1))
    except OSError:  # it is closed
        return False


def _is_text(beginning: bytes) -> bool:
    """Say whether a file that begins so is a text, and not one of FITS cards."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except UnicodeDecodeError:
        return False
    return "\0" not in text and not text.startswith("SIMPLE  =")
