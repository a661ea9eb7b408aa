"""One task, as a process does it: under the lock of its output, and recorded before that is free.

So of several batches only one does a task, and the others learn from the ledger what came of it.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from diffdecor import signals, words
from diffdecor.batch.files import make_folder_of
from diffdecor.batch.ledger import Ledger
from diffdecor.batch.lines import plain
from diffdecor.batch.measured import Meter
from diffdecor.batch.model import THERE, Ended, Order, Record, Status
from diffdecor.batch.recognition import (
    UNSURE,
    bare,
    existing_beside,
    job_key,
    judged,
    named_files,
    recognised,
    stamp,
)
from diffdecor.batch.trouble import is_passing, reason_of
from diffdecor.errors import (
    BusyError,
    DiffdecorError,
    DoubtfulError,
    InputError,
    OutputError,
    OutputExistsError,
)
from diffdecor.fits.atomic import output_held
from diffdecor.fits.lock import Lock, beside
from diffdecor.fits.open import open_fits
from diffdecor.pipeline.collected import collected
from diffdecor.pipeline.job import Job, Outcome
from diffdecor.pipeline.provenance import PART_CARD, VERSION_CARD
from diffdecor.pipeline.run import run_job

log = words.logger(__name__)
#: Bytes in which the first header of an output ends, and those of a card.
_LOOKED_AT, _CARD = 1 << 20, 80


def do(order: Order) -> Ended:
    """Do a task, unless another process does it, or has done it since the batch began.

    Every error is in the record that comes back; only what stops the process is raised.
    """
    with words.of_commands():
        try:
            return _do(order)
        finally:
            # What stops the process next is not ignored because this output is complete.
            signals.set_complete(False)


def _do(order: Order) -> Ended:
    job, lock = order.task.job, None
    with ExitStack() as stack:
        try:
            for file in job.written:  # their folders may have vanished
                make_folder_of(file)
            lock = stack.enter_context(output_held(job.output, inputs=job.inputs.values()))
        except BusyError as error:
            return _busy(order, error)
        except OutputError as error:
            # A folder that has just been made may have vanished again.
            if is_passing(error) or isinstance(error.__cause__, FileNotFoundError):
                return Ended(order=order, passing=_Attempt(order, None).failed(error))
            # An output that is there already needs no lock, and `run_job` says the same otherwise.
            log.info("%s", error)
        ledger = _ledger(order.ledger, order.since)
        news = _news(order, ledger)
        known = None if news is None else _known(order, news)
        if known is not None:
            return Ended(order=order, record=known)
        # What another batch has just made anew is not to be made again.
        redo = order.redo and not (news is not None and news.status in THERE)
        return _try(order, lock, ledger, redo=redo)


def _try(order: Order, lock: Lock | None, ledger: Ledger, *, redo: bool) -> Ended:
    """Do a task under its lock, and record what came of it."""
    record, error = _Attempt(order, lock).record(redo=redo)
    if isinstance(error, BusyError):
        return _busy(order, error)
    if error is not None and _passes(error, order.task.job, lock):
        return Ended(order=order, passing=record)
    try:
        ledger.append(record)
    except OutputError as refused:
        return Ended(order=order, record=record, unrecorded=_one_line(refused))
    return Ended(order=order, record=record)


@lru_cache(maxsize=1)
def _ledger(file: Path, since: int) -> Ledger:
    """Return the ledger as this process knows it, which reads only what is new each time."""
    return Ledger(file.parent, since)


def _busy(order: Order, error: BusyError) -> Ended:
    return Ended(order=order, busy=error.holder or _one_line(error))


def _news(order: Order, ledger: Ledger) -> Record | None:
    """Return what was recorded of a task since the batch began."""
    try:
        ledger.refresh()
    except OutputError as error:  # appending will fail, too
        log.warning("%s", error)
    return ledger.newer(order.task.job.output, order.since)


def _known(order: Order, news: Record) -> Record | None:
    """Return what was recorded, as it stands, if it is of this job and no earlier try of it."""
    if news.status == Status.UNDONE or news.key not in {"", job_key(order.task.job)}:
        return None
    if _is_finished(news):
        return recognised(order.task, news)
    return news if news.tries >= order.tries else None


def _is_finished(record: Record) -> bool:
    return record.status in THERE | {Status.REFUSED}


def _passes(error: Exception, job: Job, lock: Lock | None) -> bool:
    """Say whether an error may be gone when it is tried again, with folders made anew."""
    if is_passing(error):
        return True
    if not isinstance(error, OutputError) or isinstance(error, OutputExistsError):
        return False
    # Without a lock the folder could not even be made.
    has_vanished = not all(Path(file).parent.is_dir() for file in job.written)
    return lock is not None and (has_vanished or not lock.is_held())


@dataclass
class _Attempt:
    """One try of a task."""

    order: Order
    lock: Lock | None

    def __post_init__(self) -> None:
        job = self.order.task.job
        self.moment = _moment(self.lock)
        self.before = {file: stamp(file) for file in map(bare, named_files(job))}
        self.meter = Meter()
        self.warnings: Sequence[str] = ()

    def record(self, *, redo: bool) -> tuple[Record, Exception | None]:
        """Do it; return its record, and the error if it failed."""
        try:
            with collected() as self.warnings:
                outcome = _run(self.order.task.job, redo=redo)
        except Exception as error:  # noqa: BLE001  whatever it is, the other tasks are to be done
            return self.failed(error), error
        return self._done(outcome), None

    def failed(self, error: Exception) -> Record:
        """Return the record of an error."""
        output = self.order.task.job.output
        status, code, text = Status.ERROR, 1, ""
        stamps: Mapping[str, Sequence[int]] = {}
        if isinstance(error, DoubtfulError):
            status, code = Status.REFUSED, error.exit_code
            stamps = self._stamps(error.files, ())
        elif isinstance(error, DiffdecorError):
            code = error.exit_code
        elif isinstance(error, MemoryError):
            code, text = (
                3,
                f"{output}: not enough memory; fewer jobs at a time, or --max-memory, take less",
            )
        elif isinstance(error, OSError) and is_passing(error):
            code, text = 3, f"{error.filename or output}: {reason_of(error)}"
        else:
            text = f"{output}: internal error: {type(error).__name__}: {error}"
        return self._of(status, code, error=_one_line(text or error), stamps=stamps)

    def _done(self, outcome: Outcome) -> Record:
        job = self.order.task.job
        record = self._of(
            Status.DONE,
            0,
            metrics=plain(outcome.metrics),
            stamps=self._stamps([*outcome.inputs.values(), *outcome.sought], job.written),
        )
        if outcome.status == "already done":
            record = replace(
                record, started="", wall_seconds=None, cpu_seconds=None, peak_memory=None, host=""
            )
        return judged(job, record)

    def _of(self, status: Status, code: int, **about: Any) -> Record:  # noqa: ANN401  fields
        return Record(
            output=self.order.task.job.output,
            status=status,
            exit_code=code,
            warnings=tuple(self.warnings),
            tries=self.order.tries,
            manifest=self.order.manifest,
            key=job_key(self.order.task.job),
            **self.meter.read(),
            **about,
        )

    def _stamps(self, inputs: Iterable[str], outputs: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Return the stamps of what was read or sought, as it was before, and of what is written.

        What may have changed since the beginning is `UNSURE`.
        """
        job, found = self.order.task.job, {}
        for file in {*self.before, *map(bare, inputs), *existing_beside(job)}:
            now = stamp(file, self.moment)
            found[file] = now if self.before.get(file, now) == now else UNSURE
        return found | {file: stamp(file) for file in map(bare, outputs)}


def _moment(lock: Lock | None) -> int:
    """Return the present (ns), by our clock or that of the file system: the earlier one."""
    now = time.time_ns()
    if lock is not None:
        with suppress(OSError):
            now = min(now, beside(lock.output, "lock").lstat().st_mtime_ns)
    return now


def _run(job: Job, *, redo: bool) -> Outcome:
    """Run a job; an output of other inputs or options is replaced, but nothing of others."""
    overwrite = redo and not file_of_others(job)
    try:
        return run_job(replace(job, overwrite=overwrite))
    except OutputExistsError:
        if overwrite:
            raise
        other = file_of_others(job)
        if other:
            msg = (
                f"{other}: exists already, and is no output of diffdecor; move it, or name another"
            )
            raise OutputExistsError(msg) from None
    log.info("%s: was made otherwise, or of other inputs; it is made anew", job.output)
    return run_job(replace(job, overwrite=True))


def file_of_others(job: Job) -> str:
    """Return a file that would be overwritten, though it is no output of a run; empty if none.

    An output that was cut off, as by a copy that was broken off, is one all the same.
    """
    for file in job.written:
        if not Path(file).exists():
            continue
        keywords = _keywords(file)
        is_part = PART_CARD.keyword in keywords
        if VERSION_CARD.keyword not in keywords or is_part != (file != job.output):
            return file
    return ""


def _keywords(file: str) -> Collection[str]:
    """Return the keywords of the first header of a FITS file, none if there is no whole one."""
    try:
        with open_fits(file) as (hdus, _):
            return set(hdus[0].header)
    except InputError as error:
        if is_passing(error):
            raise
    content = _beginning(file).decode("ascii", "replace")
    starts = range(0, len(content), _CARD) if content.startswith("SIMPLE  =") else ()
    found = [content[start : start + _CARD][:8].rstrip() for start in starts]
    return set(found[: found.index("END")]) if "END" in found else ()


def _beginning(file: str) -> bytes:
    """Return how a file begins, unpacked if it is gzipped; nothing if it cannot be read."""
    try:
        if not Path(file).is_file():
            return b""
        with Path(file).open("rb") as opened:
            content = opened.read(_LOOKED_AT)
        is_packed = content.startswith(b"\x1f\x8b")
        return zlib.decompressobj(31).decompress(content, _LOOKED_AT) if is_packed else content
    except (OSError, zlib.error):
        return b""


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
