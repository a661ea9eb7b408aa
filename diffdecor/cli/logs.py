"""The log on stderr, and in a file where one is asked for: one line a message."""

from __future__ import annotations

import codecs
import logging
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import click

from diffdecor.cli.progress import paused
from diffdecor.cli.text import complain, printable
from diffdecor.errors import OutputError, OutputExistsError
from diffdecor.fits.paths import are_same_file, split_extension

_LOGGER = logging.getLogger("diffdecor")
#: Bytes that show whether a file is a text.
_LOOKED_AT = 4096


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


class _File(logging.FileHandler):
    """Appends to a file; where that fails, says so once and ends."""

    def __init__(self, file: str) -> None:
        super().__init__(file, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(_Timed("%(asctime)s %(levelname)s %(message)s"))
        self._name = file
        self._has_ended = False

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        if not self._has_ended:
            super().emit(record)

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
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
) -> None:
    """Send the log to stderr, and to a file, which must be none of the inputs and outputs."""
    # There is no stderr at all where it has been closed.
    level = logging.INFO if sys.stderr and sys.stderr.isatty() else logging.WARNING
    if verbose:
        level = logging.DEBUG if verbose > 1 else logging.INFO
    level = logging.WARNING if quiet else level  # warnings still go into the header
    handler = _Stderr()
    handler.setLevel(logging.ERROR if quiet else level)
    handler.setFormatter(OneLine("diffdecor: %(levelname)s: %(message)s"))
    _stop()
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(level)
    _LOGGER.propagate = False
    if file is not None:
        _LOGGER.addHandler(_opened(file, inputs, outputs))
        _LOGGER.setLevel(min(level, logging.INFO))
        context = click.get_current_context(silent=True)
        if context is not None:
            context.find_root().call_on_close(_stop)


def to_file(text: str, level: str = "INFO") -> None:
    """Add a line to the log file, if there is one, of what is said elsewhere anyway."""
    for handler in _LOGGER.handlers:
        if isinstance(handler, _File):
            number = logging.getLevelNamesMapping()[level]
            handler.handle(_LOGGER.makeRecord(_LOGGER.name, number, "", 0, text, (), None))


def _stop() -> None:
    for handler in _LOGGER.handlers[:]:
        _LOGGER.removeHandler(handler)
        handler.close()


def _opened(file: str, inputs: Iterable[str], outputs: Iterable[str]) -> _File:
    """Open a log file, before any work is done."""
    try:
        _check(file, inputs, outputs)
        return _File(file)
    except OutputError:
        raise
    except OSError as error:
        msg = f"{file}: the log cannot be written: {error.strerror}; name another file"
        raise OutputError(msg) from None


def _check(file: str, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Refuse a log that would change another file of the command."""
    for what, others in (("an input", inputs), ("an output", outputs)):
        paths = (split_extension(other)[0] for other in others)
        if any(are_same_file(file, path) for path in paths):
            msg = f"{file}: is {what}; give --log-file another name"
            raise OutputExistsError(msg)
    path = Path(file)
    if not path.exists():
        return
    if _is_stdout(path):
        msg = f"{file}: is our standard output; give --log-file another name"
        raise OutputError(msg)
    if not path.is_file():
        msg = f"{file}: is not a regular file; name the file that the log is appended to"
        raise OutputError(msg)
    with path.open("rb") as opened:
        text = opened.read(_LOOKED_AT)
    if not _is_text(text):
        msg = f"{file}: is not a text file, so no log is appended to it; name another file"
        raise OutputError(msg)


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
