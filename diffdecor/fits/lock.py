"""A lock on an output, for processes on one machine or on many: `held`.

It is a symbolic link beside the output whose text says who holds it. Making one is one step that
only one process can do, on any file system and without locks of the operating system (`flock`),
which network file systems lack. The holder renews its time every half minute. A lock whose process
is gone, or which was not renewed for long by one on another machine, is taken away; and a holder
makes sure that it still has its lock before it does what the lock is for.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import logging
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from diffdecor.errors import BusyError, OutputError

logger = logging.getLogger(__name__)

#: Seconds after which the holder renews its lock, and after which one of another machine is dead.
RENEWED, DEAD = 30.0, 600.0
#: Bytes of the output's name in hidden names: with endings they are at most 255.
_LONGEST_KEPT = 200
_MARK = "diffdecor"
#: What file systems without symbolic links say.
NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}
#: What an error of writing is called.
REASONS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}


@dataclass(frozen=True)
class Owner:
    """Who holds a lock."""

    #: Random; part of the names of all that the holder leaves beside the output.
    token: str
    user: str
    host: str
    #: Tells machines, and containers on them, of one name apart.
    machine: str
    process: int
    #: When the process started, in units of the system: numbers of processes are used again.
    started: str

    def text(self) -> str:
        """Return it as the text of a lock."""
        parts = (self.token, self.user, self.host, self.machine, str(self.process), self.started)
        return ":".join((_MARK, *parts))

    @classmethod
    def of(cls, text: str) -> Owner | None:
        """Return the owner that a text says; None if it is not the text of a lock."""
        mark, *parts = text.split(":")
        if mark != _MARK or len(parts) != 6:
            return None
        token, user, host, machine, process, started = parts
        if not re.fullmatch("[0-9a-z]{1,32}", token) or not re.fullmatch("[0-9]{1,9}", process):
            return None
        return cls(token, user, host, machine, int(process), started)

    @classmethod
    def this(cls) -> Owner:
        """Return this process, with a new token."""
        return replace(_this_process(os.getpid()), token=secrets.token_hex(6))

    def is_gone(self) -> bool | None:
        """Say whether the process has ended; None if it is one of another machine."""
        here = _this_process(os.getpid())
        if (self.host, self.machine) != (here.host, here.machine):
            return None
        started = _started(self.process)
        # Of others' processes the system may not say when they started, only that they are there.
        return started not in {"", self.started}


@dataclass(frozen=True)
class Lock:
    """A lock that this process holds on an output."""

    output: Path
    owner: Owner
    #: False where no lock could be made, and none is needed to be safe, only to save work.
    made: bool = True

    @property
    def part(self) -> Path:
        """A name beside the output that nobody else uses."""
        return beside(self.output, f"{self.owner.token}.part")

    def holder(self) -> Owner | None:
        """Return who has it, this process or another; None if nobody has."""
        text = _read(beside(self.output, "lock"))
        return None if text is None else Owner.of(text)

    def is_held(self) -> bool:
        """Say whether this process still has it: another may have taken it for dead."""
        return not self.made or _read(beside(self.output, "lock")) == self.owner.text()


def beside(output: Path, ending: str) -> Path:
    """Return a hidden name beside an output, short enough for any file system."""
    name = output.name
    if len(os.fsencode(name)) > _LONGEST_KEPT:
        kept = os.fsencode(name)[: _LONGEST_KEPT - 17]
        name = os.fsdecode(kept) + "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return output.with_name(f".{name}.{ending}")


# The locks of this process, by their tokens; and those of its threads, by thread and output.
_all_held: dict[str, Lock] = {}
_of_threads: dict[tuple[int, Path], Lock] = {}


@contextmanager
def held(output: Path, keep: Callable[[os.stat_result], bool]) -> Iterator[Lock]:
    """Hold the lock on an output until the block ends.

    A thread that has it already goes on with it, and releases it where it took it. What a dead
    process left of it is removed, unless `keep` says of a file that it is not to be. Raises
    `BusyError` if another process, or thread, has the lock, `OutputError` if none can be made here.
    """
    place = threading.get_ident(), output
    own = _of_threads.get(place)
    if own is not None and own.owner.process == os.getpid():  # not that of the parent of a fork
        yield own
        return
    lock = Lock(output, Owner.this())
    file = beside(output, "lock")
    ended = threading.Event()
    _all_held[lock.owner.token] = lock
    try:
        try:
            _acquire(file, lock, keep)
        except _UnusableError as error:
            logger.warning("%s: cannot be locked: %s", output, error)
            lock = replace(lock, made=False)
        else:
            threading.Thread(target=_renew, args=(file, lock, ended), daemon=True).start()
        _of_threads[place] = lock
        yield lock
    finally:
        ended.set()
        _of_threads.pop(place, None)
        _release(lock)
        del _all_held[lock.owner.token]


def tidy(output: Path, keep: Callable[[os.stat_result], bool]) -> None:
    """Remove what a dead process left beside an output, if anything."""
    if os.path.lexists(beside(output, "lock")):
        with suppress(OSError), held(output, keep):
            pass


def _release(lock: Lock) -> None:
    # An exception at the very moment when a part was made may have kept it: nothing is in it yet.
    with suppress(OSError):
        found = lock.part.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_size == 0:
            lock.part.unlink()
    with suppress(OSError):  # the folder may have lost its permissions
        if lock.made and lock.is_held():
            beside(lock.output, "lock").unlink()


@atexit.register
def _release_all() -> None:
    """Remove what an exception at the very moment of locking kept from being removed."""
    for lock in list(_all_held.values()):
        if lock.owner.process == os.getpid():
            with suppress(OSError):
                _release(lock)


class _UnusableError(Exception):
    """What is under the name of the lock is nothing that we made, or cannot be removed."""


def _acquire(file: Path, lock: Lock, keep: Callable[[os.stat_result], bool]) -> None:
    while True:
        try:
            _make(file, lock.owner.text())
        except FileExistsError:
            found = _read(file)
            # It may have been released in the meantime.
            if found is not None and _taken_over(file, found, lock, keep):
                return
        except OSError as error:
            raise _cannot_write(lock.output, error) from error
        else:
            return


def _cannot_write(output: Path, error: OSError) -> OutputError:
    reason = REASONS.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"{output}: cannot be written: {reason}")


def _taken_over(file: Path, text: str, lock: Lock, keep: Callable[[os.stat_result], bool]) -> bool:
    """Take over a lock whose holder is dead, and remove what it left; BusyError if it is alive.

    False if it is worth another try.
    """
    owner = Owner.of(text)
    if owner is None:
        msg = f"{file} is not a lock that diffdecor made"
        raise _UnusableError(msg)
    if not _is_dead(file, owner, lock):
        raise busy(lock.output, owner)
    # Only one process may take it over, and only this lock: there may be a new one by now.
    claim = file.with_name(f"{file.name}.{owner.token}")
    try:
        _make(claim, lock.owner.text())
    except FileExistsError:
        claimed = _read(claim)
        other = None if claimed is None else Owner.of(claimed)
        if other is not None and not _is_dead(claim, other, lock):
            raise busy(lock.output, other) from None
        _remove(claim)
        return False
    except OSError as error:
        raise _cannot_write(lock.output, error) from error
    try:
        if _read(file) != text:
            return False
        _remove_left(beside(lock.output, f"{owner.token}.part"), file, keep)
        # In one step, so that being killed leaves nothing that the next process does not find.
        claim.replace(file)
    except OSError as error:
        msg = f"{file}, of a process that has ended, cannot be removed ({error.strerror})"
        raise _UnusableError(msg) from error
    finally:
        _remove(claim)
    return True


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{file}, of a process that has ended, cannot be removed ({error.strerror})"
        raise _UnusableError(msg) from error


def _remove_left(part: Path, file: Path, keep: Callable[[os.stat_result], bool]) -> None:
    """Remove the part file of a dead process, if it is a file of the user whose lock it was."""
    with suppress(FileNotFoundError):
        found = part.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_uid == file.lstat().st_uid and not keep(found):
            part.unlink()


def busy(output: Path, owner: Owner) -> BusyError:
    """Return what to raise where another process writes an output."""
    holder = f"process {owner.process} of {owner.user} on {owner.host}"
    return BusyError(
        f"{output}: another process is writing it now; try again later ({holder})", holder
    )


def _is_dead(file: Path, owner: Owner, lock: Lock) -> bool:
    gone = owner.is_gone()
    if gone is not None:
        return gone
    try:
        renewed = file.lstat().st_mtime
    except FileNotFoundError:
        return True
    # Clocks of two machines may differ: one in the future is as old.
    return abs(_now(lock) - renewed) > DEAD


def _now(lock: Lock) -> float:
    """Return the time of the file system, which may be that of another machine."""
    probe = lock.part
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _renew(file: Path, lock: Lock, ended: threading.Event) -> None:
    while not ended.wait(RENEWED):
        with suppress(OSError, NotImplementedError):
            if lock.is_held():
                os.utime(file, follow_symlinks=False)


def _make(file: Path, text: str) -> None:
    """Make a lock of this text; FileExistsError if there is one."""
    try:
        file.symlink_to(text)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # Memory cards and some network shares: a file, whose text comes in a second step.
        with file.open("x") as plain:
            plain.write(text)


def _read(file: Path) -> str | None:
    """Return the text of a lock, empty if it is something else; None if there is no lock."""
    try:
        return str(file.readlink())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        try:
            found = file.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_size > 4096:
                return ""
            return file.read_text(errors="replace")
        except OSError:
            return None


@lru_cache(maxsize=4)
def _this_process(process: int) -> Owner:
    user = os.environ.get("LOGNAME") or os.environ.get("USER") or str(os.geteuid())
    host, machine = os.uname().nodename, f"{_text('/proc/sys/kernel/random/boot_id')}{_namespace()}"
    user, host, machine = (one.replace(":", "_").replace("/", "_") for one in (user, host, machine))
    return Owner("", user, host, machine, process, _started(process))


def _namespace() -> str:
    """Return what tells containers with process numbers of their own apart, where there are any."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _started(process: int) -> str:
    """Return when a process started; "gone" if there is none, "" where it cannot be told."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return "gone"
    except (PermissionError, OverflowError):
        pass
    # The name of the program, in parentheses, may hold anything; state and start come after it.
    fields = _text(f"/proc/{process}/stat").rpartition(")")[2].split()
    if not fields:
        return ""
    return "gone" if fields[0] in "ZX" else fields[19]
