"""A process that does one task after another; its imports cost as much as a small task.

It is a program of its own rather than a `multiprocessing.Process`: those import the caller's main
module again, and processes that are daemons, as those of Dask are, may have none of them.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Self

from diffdecor.batch.model import Ended, Order

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What does a task in the process.
DO = "diffdecor.batch.work:do"
#: Seconds between SIGTERM and SIGKILL, and until what even that does not end is left alone.
GRACE = 5.0
#: Seconds between one SIGTERM and the next.
_ASKED_AGAIN = 0.5
#: Seconds in which a process has imported what it needs, from a slow network file system too.
_START = 600.0
#: Seconds that are as good as for ever.
_LONGEST = 2e6
_BOOT = (
    "import sys; from multiprocessing.connection import Connection; "
    "connection = Connection(int(sys.argv[1])); sys.path[:] = connection.recv(); "
    "from diffdecor.batch.serve import serve; serve(connection, sys.argv[2])"
)
#: Signals that a process answers by an exit code, as `diffdecor.signals` has it.
_ANSWERED = {128 + number: number for number in (signal.SIGTERM, signal.SIGHUP)}


class Worker:
    """Does tasks in a process of its own, and replaces it when it dies.

    A context: at its end the process is stopped. `do` is ``module:function`` of an `Order` that
    returns an `Ended`. One thread uses it; any may stop it.
    """

    def __init__(self, do: str = DO) -> None:
        self._target = do
        self._process: _Process | None = None
        self._is_stopped = False
        #: Held while a process is made, and while it is said that none is to be made any more.
        self._making = threading.Lock()
        self._used = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process if there is none, and wait until it is ready, or it failed."""
        with self._used, self._ended_by_exceptions(), suppress(_DeadError):
            self._ready()

    def do(self, order: Order, timeout: float | None) -> Ended:
        """Have a task done; return what came of it, or that its process died or took too long.

        The time that a new process needs to start does not count.
        """
        with self._used, self._ended_by_exceptions():
            try:
                process = self._ready()
                ended, is_last = process.answer(order, timeout)
            except _DeadError as dead:
                self._process = None
                if dead.is_late:
                    return Ended(order=order, timeout=timeout)
                return Ended(order=order, died=str(dead), signal=dead.signal)
            if is_last:
                process.bury()
                self._process = None
            return ended

    def stop(self) -> None:
        """End the process, if need be by SIGKILL; from any thread. It is not started again."""
        with self._making:
            self._is_stopped = True
            process = self._process
        if process is None:
            return
        process.end()
        # Whoever waits for it has to see first that it is gone.
        if self._used.acquire(timeout=GRACE):
            try:
                process.bury()
            finally:
                self._used.release()

    def _ready(self) -> _Process:
        """Return the process, a new one if there is none or it died while it was idle."""
        if self._process is not None and self._process.has_ended():
            self._process.bury()
            self._process = None
        if self._process is None:
            with self._making:
                if self._is_stopped:
                    msg = "stopped"
                    raise _DeadError(msg)
                try:
                    process = self._process = _Process(self._target)
                except OSError as error:
                    msg = f"not started: {error.strerror or error}"
                    raise _DeadError(msg) from error
            try:
                process.prepare()
            except _DeadError:
                self._process = None
                raise
        return self._process

    @contextmanager
    def _ended_by_exceptions(self) -> Iterator[None]:
        """End the process at an exception: what it answers later belongs to no order."""
        try:
            yield
        except BaseException:
            if self._process is not None:
                self._process.end()
                self._process.bury()
                self._process = None
            raise


class _DeadError(Exception):
    """A process is gone, and why: killed by which signal, or 0; or because it took too long."""

    def __init__(self, text: str, number: int = 0, *, is_late: bool = False) -> None:
        super().__init__(text)
        self.signal = number
        self.is_late = is_late


class _Process:
    """A process, and our end of the connection to it.

    No other process has the other end: so each of the two learns that the other one is gone.
    """

    def __init__(self, target: str) -> None:
        """Start it; OSError if that cannot be."""
        ours, theirs = _socket_pair()
        try:
            with theirs, _interrupts_kept_off():
                self._process = subprocess.Popen(  # noqa: S603  our own program
                    [*_interpreter(), "-c", _BOOT, str(theirs.fileno()), target],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    # Whatever a library prints is no output of ours.
                    stdout=2 if _is_open(2) else subprocess.DEVNULL,
                    stderr=None if _is_open(2) else subprocess.DEVNULL,
                )
        except BaseException:
            ours.close()
            raise
        self._connection = Connection(ours.detach())

    def has_ended(self) -> bool:
        """Say whether it is gone."""
        return self._process.poll() is not None

    def prepare(self) -> None:
        """Wait until it is ready."""
        try:
            self._connection.send(_path())
            if not self._connection.poll(_START):
                self.end()
                self.bury()
                msg = f"not ready after {_START:.0f} s"
                raise _DeadError(msg)
            self._connection.recv()
        except (EOFError, OSError) as error:
            text, number = self.bury()
            msg = f"{text} as it started"
            raise _DeadError(msg, number) from error

    def answer(self, order: Order, timeout: float | None) -> tuple[Ended, bool]:
        """Have a task done; return what came of it, and whether the process does no other one."""
        is_late = False
        with suppress(EOFError, OSError):
            self._connection.send(order)
            is_late = not self._connection.poll(_polled(timeout))
            if is_late:
                self.end()
            # One that was complete as its time was over has been recorded, and counts.
            if not is_late or self._connection.poll(0):
                ended, is_last = self._connection.recv()
                return ended, is_last or is_late
        raise _DeadError(*self.bury(), is_late=is_late)

    def end(self) -> None:
        """Ask it to end; make it end if it does not."""
        last = time.monotonic() + GRACE
        while not self.has_ended() and time.monotonic() < last:
            # A signal at the very moment when Python begins to wait is heeded only at the next one.
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ASKED_AGAIN)
        if self.has_ended():
            return
        self._process.kill()
        # A file system that hangs may keep it for ever.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)

    def bury(self) -> tuple[str, int]:
        """Close the connection; return how the process ended, and the signal or 0."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        self.end()
        self._connection.close()
        return _how(self._process.returncode)


def _polled(seconds: float | None) -> float | None:
    """Return a time that the system can wait: it counts milliseconds in 32 bits."""
    return None if seconds is None or seconds > _LONGEST else seconds


def _how(code: int | None) -> tuple[str, int]:
    """Return in words how a process ended, and the number of the signal that ended it, or 0."""
    if code is None:
        return "hanging, and cannot be killed", 0
    number = -code if code < 0 else _ANSWERED.get(code, 0)
    if not number:
        return f"ended with code {code}", 0
    names = {one.value: one.name for one in signal.Signals}
    name = f" ({names[number]})" if number in names else ""
    return f"killed by signal {number}{name}", number


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets, neither of them in the place of a closed standard stream."""
    pair = socket.socketpair()
    with pair[0], pair[1]:
        ours, theirs = (fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 3) for one in pair)
    return socket.socket(fileno=ours), socket.socket(fileno=theirs)


@contextmanager
def _interrupts_kept_off() -> Iterator[None]:
    """Block Ctrl-C in this thread, and in a process that it starts until that ignores it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interpreter() -> list[str]:
    """Return how Python is called: with the options that this process has.

    Our own folder, which may be any, is no place for modules (-P): `_path` is sent later.
    """
    flags = sys.flags
    given = {
        "I": flags.isolated,
        "E": flags.ignore_environment,
        "s": flags.no_user_site,
        "S": flags.no_site,
        "B": flags.dont_write_bytecode,
        "O": flags.optimize == 1,
        "OO": flags.optimize > 1,
        "P": True,
    }
    letters = [f"-{name}" for name, is_set in given.items() if is_set]
    warned = [f"-W{text}" for text in sys.warnoptions]
    extra = [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in _xoptions()]
    return [sys.executable, *letters, *warned, *extra]


def _xoptions() -> list[tuple[str, str | bool]]:
    return list(sys._xoptions.items())  # noqa: SLF001  documented, as of CPython


def _path() -> list[str]:
    """Return where this process finds modules, absolute, with this package whatever happens."""
    try:
        here = str(Path.cwd())
    except OSError:  # the folder has gone
        here = ""
    found = [str(Path(here, one)) for one in sys.path if here or Path(one).is_absolute()]
    home = str(Path(__file__).resolve().parents[2])
    return found if home in found else [*found, home]


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
