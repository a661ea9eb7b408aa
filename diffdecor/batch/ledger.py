"""What came of every task: `results.jsonl`, a line a task as it ends, and the table of them.

The lines are appended whole, each with one call, by whichever process has done the task; a line
that was torn by a crash is passed over. The table `results.ecsv` is made of them.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from diffdecor.batch.lines import is_beginning, line_of, record_of
from diffdecor.batch.model import THERE, Record, Status, Task, undone
from diffdecor.batch.trouble import is_passing, reason_of
from diffdecor.errors import BusyError, OutputError, OutputExistsError
from diffdecor.fits.atomic import atomic_output, output_held, tidy_output
from diffdecor.pipeline.results_table import (
    BATCH_COLUMNS,
    ResultRow,
    is_results,
    results_text,
    verdict_of,
)

Result = TypeVar("Result")

#: Seconds to wait for others who append, or write the table.
PATIENCE = 30.0
#: Bytes that are read at a time, and those of a line, beyond which it is none of ours.
_BLOCK, _LONGEST = 1 << 20, 1 << 22
#: Bytes that show what a file is.
_LOOKED_AT = 4096
#: What a record that found its output there already takes from the one before.
_OF_WORK = ("started", "wall_seconds", "cpu_seconds", "peak_memory", "host", "tries")


class Ledger:
    """The records in a folder: those that were there, and what others append in the meantime.

    Parameters
    ----------
    folder : Path
        Where `results.jsonl` and `results.ecsv` are, or will be.
    since : int, optional
        Bytes of the file to pass over: for who wants only what is recorded from now on.
    """

    def __init__(self, folder: Path, since: int = 0) -> None:
        self.file = folder / "results.jsonl"
        self.table = folder / "results.ecsv"
        #: The last record of every output, and the byte that its line starts at.
        self._found: dict[str, tuple[int, Record]] = {}
        #: Lines that are none of ours: torn, damaged, or of another version.
        self.unreadable = 0
        #: Bytes that were read, to the end of a line; and the number of the file.
        self._size, self._inode = since, -1

    @property
    def records(self) -> Mapping[str, Record]:
        """The last record of every output."""
        return {output: record for output, (_, record) in self._found.items()}

    @property
    def size(self) -> int:
        """Bytes of the whole lines that were read."""
        return self._size

    def newer(self, output: str, since: int) -> Record | None:
        """Return the last record of an output, if it is behind this many bytes."""
        start, record = self._found.get(output, (-1, None))
        return record if start >= since else None

    def refresh(self) -> None:
        """Read what was appended; a torn last line is left for the next time.

        OutputError if the file cannot be read.
        """
        _patiently(self._read, self.file, "read")

    def _read(self) -> None:
        try:
            with open(self.file, "rb", opener=_opened) as opened:
                found = _regular(self.file, opened.fileno())
                if found.st_size < self._size or self._inode not in {-1, found.st_ino}:
                    self._begin_anew()
                self._inode = found.st_ino
                for start, end, line in _lines(opened, self._size):
                    self._size = end
                    self._take(start, line)
        except (FileNotFoundError, NotADirectoryError):
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Forget everything: the file was removed, or replaced by another."""
        self._found.clear()
        self._size, self._inode, self.unreadable = 0, -1, 0

    def _take(self, start: int, line: bytes) -> None:
        record = record_of(line)
        if record is None:
            self.unreadable += bool(line.strip())
            return
        _, before = self._found.get(record.output, (0, None))
        if (
            before is not None
            and before.status in THERE
            and record.status in THERE
            and before.started
            and not record.started
            and record.key == before.key
        ):
            # It was made by the job before, and found to be there by this one.
            record = replace(record, **{name: getattr(before, name) for name in _OF_WORK})
        self._found[record.output] = start, record

    def check(self) -> None:
        """Refuse files of these names that are something else; call `refresh` before."""
        beginnings = {file: _beginning(file) for file in (self.file, self.table)}
        foreign = {
            self.file: not (self._found or is_beginning(beginnings[self.file])),
            self.table: not is_results(beginnings[self.table]),
        }
        for file, is_foreign in foreign.items():
            if beginnings[file] and is_foreign:
                msg = (
                    f"{file}: exists already, and is not what a batch writes there; move it, or "
                    "give --out-dir another folder"
                )
                raise OutputExistsError(msg)

    def append(self, record: Record) -> None:
        """Append a record as one whole line, which survives a crash of the machine.

        It waits for others who append, half a minute at most. OutputError if it cannot be written:
        then there is nothing of it that counts.
        """
        line = line_of(record)
        with ExitStack() as stack:
            alone = self._wait(lambda: stack.enter_context(output_held(self.file)))
            _patiently(lambda: _append(self.file, line, alone=alone), self.file, "written")

    def _wait(self, hold: Callable[[], object]) -> bool:
        """Take the lock on the file; False if others have it all the time, or none can be made."""
        with suppress(OSError):  # writing will say what is wrong
            self.file.parent.mkdir(parents=True, exist_ok=True)
        for last in _attempts():
            try:
                hold()
            except OSError as error:
                if last or not (isinstance(error, BusyError) or is_passing(error)):
                    return False
            else:
                return True
        return False

    def write_table(
        self,
        manifest: str,
        tasks: Sequence[Task],
        records: Mapping[str, Record],
        since: int | None = None,
    ) -> None:
        """Write the table: a row a task of the manifest, in its order, whatever came of it.

        The given records go before those of the ledger, but where a task is undone and something
        was recorded of it `since` that byte. Rows of other manifests that have their results here
        come after them. The name of the manifest is that without its folder. OutputError if it
        cannot be written.
        """
        folder = self.table.parent

        def write() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            # The last one who writes it must know what all others have recorded before.
            with output_held(self.table):
                self._read()
                text = self._table(manifest, tasks, records, since)
                with atomic_output(self.table, overwrite=True) as file:
                    file.write(text)

        _patiently(write, self.table, "written")

    def _table(
        self,
        manifest: str,
        tasks: Sequence[Task],
        records: Mapping[str, Record],
        since: int | None,
    ) -> bytes:
        """Return what is to be in the table."""
        found = {**self.records, **records}
        for output, record in records.items():
            if record.status == Status.UNDONE and since is not None:
                found[output] = self.newer(output, since) or record
        folder = self.table.parent
        rows = [_row(task, manifest, found.get(task.job.output), folder) for task in tasks]
        ours = {task.job.output for task in tasks}
        rows += [
            _row_of(record, folder)
            for output, record in self.records.items()
            if output not in ours and record.manifest not in {"", manifest}
        ]
        return results_text(rows, BATCH_COLUMNS).encode()

    def tidy(self) -> None:
        """Remove what a process that was killed left beside the two files."""
        for file in (self.file, self.table):
            tidy_output(file)


def _patiently(action: Callable[[], Result], file: Path, done: str) -> Result:
    """Do what may fail because others are at it, or for what passes; OutputError if it fails."""
    for last in _attempts():
        try:
            return action()
        except OSError as error:
            if last or not (isinstance(error, BusyError) or is_passing(error)):
                msg = f"{file}: cannot be {done}: {_reason(error, file)}"
                if isinstance(error, BusyError):  # the next time it may be free
                    raise BusyError(msg, error.holder) from error
                raise OutputError(msg) from error
    raise AssertionError  # the last attempt returns or raises


def _reason(error: OSError, file: Path) -> str:
    """Return why a file cannot be used; an error of ours says it, after the name of the file."""
    if not isinstance(error, OutputError):
        return reason_of(error)
    return str(error).removeprefix(f"{file}: ").removeprefix("cannot be written: ")


def _attempts() -> Iterator[bool]:
    """Wait longer and longer between attempts; True is the last one."""
    end, pause = time.monotonic() + PATIENCE, 0.002
    while time.monotonic() < end:
        yield False
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  not a secret
        pause = min(2 * pause, 0.25)
    yield True


def _lines(opened: BinaryIO, start: int) -> Iterator[tuple[int, int, bytes]]:
    """Give every whole line from a byte on, with its first byte and that behind it.

    Of one that is too long there is only something that is none of ours.
    """
    opened.seek(start)
    end, kept = start, b""
    while block := opened.read(_BLOCK):
        *whole, rest = block.split(b"\n")
        for line in whole:
            end += len(line) + 1
            yield start, end, kept + line
            start, kept = end, b""
        end += len(rest)
        kept = kept + rest if end - start <= _LONGEST else b"?"


def _beginning(file: Path) -> bytes:
    """Return how a file begins; nothing if it cannot be read: writing will say what is wrong."""
    try:
        with open(file, "rb", opener=_opened) as opened:
            _regular(file, opened.fileno())
            return opened.read(_LOOKED_AT)
    except OSError:
        return b""


def _opened(file: str, flags: int) -> int:
    # Opening a pipe blocks until something writes to it.
    return os.open(file, flags | os.O_NONBLOCK)


def _regular(file: Path, descriptor: int) -> os.stat_result:
    """Return the state of an open file; OutputError if it is a pipe, a device, or a folder."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        msg = f"{file}: is not a regular file; remove it"
        raise OutputError(msg)
    return found


def _append(file: Path, line: bytes, *, alone: bool) -> None:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(file, flags, 0o666)
    try:
        size = _regular(file, descriptor).st_size
        # What was torn before stays apart; where others may be writing there may be such by now.
        if not alone or (size and os.pread(descriptor, 1, size - 1) != b"\n"):
            line = b"\n" + line
        try:
            _write_whole(descriptor, line)
            os.fsync(descriptor)
        except OSError:
            if alone:
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _write_whole(descriptor: int, line: bytes) -> None:
    """Write a line with one call, which is atomic among processes of one machine."""
    if os.write(descriptor, line) < len(line):  # there was no room for more
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _row(task: Task, manifest: str, record: Record | None, folder: Path) -> ResultRow:
    """Return the row of a task."""
    if record is None:
        record = undone(task.job.output)
    record = replace(record, output=task.job.output, manifest=manifest)
    return _row_of(record, folder, task.number)


def _row_of(record: Record, folder: Path, number: int | None = None) -> ResultRow:
    there = record.status in THERE
    return ResultRow(
        output=_from(folder, record.output),
        status=record.status,
        error=record.error,
        metrics=record.metrics,
        of_batch={
            "exit_code": record.exit_code,
            "verdict": verdict_of(record.metrics) if there else None,
            "row": number,
            "manifest": record.manifest or None,
            "tries": record.tries,
            "started": record.started or None,
            "wall_seconds": record.wall_seconds,
            "cpu_seconds": record.cpu_seconds,
            "peak_memory": record.peak_memory,
            "host": record.host or None,
        },
    )


def _from(folder: Path, file: str) -> str:
    """Return the name of a file from a folder that it lies in, or below; else the whole name."""
    above = os.path.join(os.path.abspath(folder), "")  # noqa: PTH100, PTH118  fast: of many rows
    return file.removeprefix(above)
