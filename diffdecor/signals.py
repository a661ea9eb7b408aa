"""Signals that stop a process: once, whatever they interrupt, and never when all is done.

A signal raises SystemExit wherever the process is at that moment. What catches it there, or makes
another exception of it, does not matter: `received` says that there was one. Further signals are
ignored while the first is being answered, so that nothing half-written stays behind; and so is a
signal once the output is complete, for then the process ends by itself, and its exit code says so.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: What Ctrl-C sends.
INTERRUPT = int(signal.SIGINT)
#: Seconds that a process has to clean up, or to end after its output is complete.
_GRACE = 5.0


class _State:
    """What happened to this process. It is made while a signal may end us: no imports for it."""

    received: int | None = None
    moment: float = 0.0
    complete: float | None = None
    reported: bool = False
    answering: bool = False
    going_on: bool = False


_state = _State()


def heed(*names: str) -> None:
    """Stop at these signals. Those that are ignored stay so: `nohup` asks for it."""
    for name in names:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def ignore(*names: str) -> None:
    """Ignore these signals, at the end of a process: its exit code is known."""
    for name in names:
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)


def received() -> int | None:
    """Return the number of the signal that stops this process, None if there was none."""
    return _state.received


def is_to_be_reported() -> bool:
    """Say, once, that there was an interrupt, and a person waits for an answer."""
    first = _state.received == INTERRUPT and not _state.reported
    _state.reported = True
    return first


def set_complete(complete: bool) -> None:  # noqa: FBT001  it is what the function is about
    """Say whether the output of this process is complete, or about to become so."""
    _state.complete = time.monotonic() if complete and not _state.going_on else None


@contextmanager
def going_on() -> Iterator[None]:
    """Do more than one output: that one is complete is no reason to ignore a signal."""
    _state.going_on = True
    try:
        yield
    finally:
        _state.going_on = False


def check() -> None:
    """Raise SystemExit if a signal was received, though what it raised was lost."""
    if _state.received is not None and not _state.answering:
        raise SystemExit(128 + _state.received)


@contextmanager
def answering() -> Iterator[None]:
    """Do what is left to be done even if a signal was received: `check` does not stop it."""
    _state.answering = True
    try:
        yield
    finally:
        _state.answering = False


def _stop(number: int, _frame: object) -> None:
    now = time.monotonic()
    if _state.complete is not None and now - _state.complete < _GRACE:
        return
    if _state.received is None:
        _state.received, _state.moment = number, now
        # What is being collected cannot raise it; Python would print it.
        sys.unraisablehook = lambda _: None
        raise SystemExit(128 + number)
    if now - _state.moment > _GRACE:
        os._exit(128 + _state.received)
