"""A batch on one page: what there is to do, who does it, and what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffdecor import signals
from diffdecor.batch.files import absolute
from diffdecor.batch.ledger import Ledger
from diffdecor.batch.loop import Limits, do_all
from diffdecor.batch.manifest import Manifest, read_manifest
from diffdecor.batch.model import FAILED, THERE, Executor, Order, Record, Status, Task, undone
from diffdecor.batch.recognition import (
    Folders,
    is_there,
    job_key,
    judged,
    recognised,
    tidy,
    why_undone,
)
from diffdecor.batch.shard import Shard, take
from diffdecor.core.planes import Progress
from diffdecor.errors import ClusterError, DiffdecorError, OutputError
from diffdecor.pipeline.run import existing_outcome

#: The table of results is written when this share of the time since it was written last covers it.
_SHARE_OF_TABLE = 0.05
_UNDONE, _FAILED, _NOT_AS_WANTED = 75, 3, 4


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What a batch is of, and how it is done."""

    manifest: str
    #: Options of `run` that hold for all rows, by name, and the file that some may come from.
    shared: Mapping[str, Any] = field(default_factory=dict)
    configuration: str | None = None
    #: Where the results are written; by default beside the manifest.
    out_dir: str | None = None
    #: Files of logs, by the options that name them.
    logs: Mapping[str, str] = field(default_factory=dict)
    shard: Shard | None = None
    #: Do all again, or only what failed.
    redo: bool = False
    retry_failed: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What there is to do."""

    manifest: Manifest
    ledger: Ledger
    #: The tasks that this batch is about: all of the manifest, or those of a shard.
    tasks: Sequence[Task]
    #: What came of those that are finished, or stay as they are, by output.
    records: Mapping[str, Record]
    #: Those to be done.
    waiting: Sequence[Task]


def make_plan(options: BatchOptions) -> Plan:
    """Read the manifest, and find out which tasks are finished; nothing is written.

    Raises `ManifestError` if anything is wrong with it, `InputError` if it cannot be read, and
    `OutputExistsError` if what is there under the names of the results is something else.
    """
    beside = Path(absolute(options.manifest)).parent
    ledger = Ledger(beside if options.out_dir is None else Path(absolute(options.out_dir)))
    manifest = read_manifest(
        options.manifest,
        options.shared,
        configuration=options.configuration,
        own={one.name: str(one) for one in (ledger.table, ledger.file)} | dict(options.logs),
    )
    ledger.refresh()
    ledger.check()
    tasks = manifest.tasks if options.shard is None else take(manifest.tasks, options.shard)
    found, records, waiting, folders = ledger.records, {}, [], Folders()
    for task in tasks:
        record = found.get(task.job.output)
        known = None
        if record is not None and not options.redo:
            known = recognised(task, record, folders)
        if known is None and options.retry_failed and not _has_failed(record):
            known = _undone(task, "it has not failed, only not been done")
        if known is None:
            waiting.append(task)
        else:
            records[task.job.output] = known
    return Plan(manifest=manifest, ledger=ledger, tasks=tasks, records=records, waiting=waiting)


def reasons(plan: Plan, options: BatchOptions) -> list[tuple[Task, str]]:
    """Return the tasks that are to be done, each with the reason."""
    if options.redo:
        return [(task, "--redo") for task in plan.waiting]
    found, folders = plan.ledger.records, Folders()
    return [(task, why_undone(task, found.get(task.job.output), folders)) for task in plan.waiting]


def as_it_stands(plan: Plan) -> dict[str, Record]:
    """Return what has come of every task so far; nothing is done, and nothing written."""
    found, records, folders = plan.ledger.records, dict(plan.records), Folders()
    for task in plan.waiting:
        record = found.get(task.job.output)
        if record is not None and _has_failed(record):
            records[task.job.output] = record
        else:
            records[task.job.output] = _looked_at(task, why_undone(task, record, folders))
    return records


def other_outputs(plan: Plan) -> dict[str, Record]:
    """Return what has come so far of the tasks of the manifest that the plan is not about.

    That the ledger knows them is not enough: they may be of other options than this batch has.
    """
    plan.ledger.refresh()
    ours = {task.job.output for task in plan.tasks}
    others = [task for task in plan.manifest.tasks if task.job.output not in ours]
    found, records, folders = plan.ledger.records, {}, Folders()
    for task in others:
        record = found.get(task.job.output)
        known = None if record is None else recognised(task, record, folders)
        records[task.job.output] = known or _looked_at(task, why_undone(task, record, folders))
    return records


def _looked_at(task: Task, why: str) -> Record:
    """Return the record of a task whose output may be there, though the ledger does not know."""
    job = task.job
    if not Path(job.output).exists():
        return _undone(task, why)
    try:
        outcome = existing_outcome(job)
    except DiffdecorError as error:
        return _undone(task, f"{why} ({error})")
    if outcome is None:
        return _undone(task, "stale: made otherwise, or of other inputs")
    made = Record(output=job.output, status=Status.DONE, exit_code=0, metrics=outcome.metrics)
    return judged(job, made)


def _has_failed(record: Record | None) -> bool:
    return record is not None and record.status in FAILED


def _undone(task: Task, why: str) -> Record:
    return undone(task.job.output, why)


class UnrecordedError(OutputError):
    """A batch is at its end, but what came of it could not be written; `records` has it."""

    def __init__(self, message: str, records: Mapping[str, Record]) -> None:
        """Keep the records, by output."""
        super().__init__(message)
        self.records = records


def run_batch(
    plan: Plan,
    options: BatchOptions,
    executor: Executor,
    on_record: Callable[[Task, Record], None],
    progress: Progress | None = None,
) -> dict[str, Record]:
    """Do what there is to do; return what came of every task of the plan, by output.

    `on_record` is told of every task as it ends, `progress` of their number. The table of results
    is written now and then, and at the end. OutputError if it cannot be written before anything is
    begun, `UnrecordedError` if it, or the ledger, cannot be later: that keeps no task from being
    done.
    """
    run = _Run(plan, options, on_record, progress)
    _tidy(plan)
    if plan.waiting:
        with signals.going_on(), run.table.written_if_stopped():
            run.table.write()
            run.do(executor)
    run.look_again()
    try:
        run.table.write()
    except OutputError as error:
        run.unwritten.append(str(error))
    if run.unwritten:
        raise UnrecordedError(run.unwritten[0], run.records)
    return run.records


class _Run:
    """A batch as it goes on, and what came of it so far."""

    def __init__(
        self,
        plan: Plan,
        options: BatchOptions,
        on_record: Callable[[Task, Record], None],
        progress: Progress | None,
    ) -> None:
        self._plan, self._options = plan, options
        self._on_record, self._progress = on_record, progress
        self._tasks = {task.job.output: task for task in plan.waiting}
        self.records = dict(plan.records)
        self.table = _Table(plan, self.records)
        #: Why something could not be recorded.
        self.unwritten: list[str] = []

    def do(self, executor: Executor) -> None:
        """Have the tasks done."""
        plan, redo = self._plan, self._options.redo
        file, since, name = plan.ledger.file, plan.ledger.size, plan.manifest.file.name
        orders = [
            Order(task=task, ledger=file, since=since, redo=redo, manifest=name)
            for task in plan.waiting
        ]
        self._show()
        try:
            with executor:
                do_all(orders, executor, self._options.limits, self._ended, self._append)
        except ClusterError as error:
            for task in plan.waiting:
                if task.job.output not in self.records:
                    self._ended(_undone(task, str(error)))

    def look_again(self) -> None:
        """See that the outputs are still there, and that nothing is there of the others.

        What was made first may be gone by now, and the last process of a task may have been killed.
        """
        folders = Folders()
        for task in self._plan.tasks:
            if self.records[task.job.output].status not in THERE:
                tidy(task)
            elif not is_there(task, folders):
                self.records[task.job.output] = gone = _undone(
                    task, "its output has vanished since"
                )
                self._on_record(task, gone)

    def _append(self, record: Record) -> None:
        key = job_key(self._tasks[record.output].job)
        try:
            self._plan.ledger.append(
                replace(record, manifest=self._plan.manifest.file.name, key=key)
            )
        except OutputError as error:
            self.unwritten.append(str(error))

    def _ended(self, record: Record) -> None:
        self.records[record.output] = record
        self._on_record(self._tasks[record.output], record)
        self._show()
        self.table.write_if_due()

    def _show(self) -> None:
        if self._progress is not None:
            self._progress(len(self.records) - len(self._plan.records), len(self._tasks))


def _tidy(plan: Plan) -> None:
    """Remove what batches left that were killed, beside what nobody works on any more."""
    plan.ledger.tidy()
    for task in plan.tasks:
        if task.job.output in plan.records:
            tidy(task)


class _Table:
    """The table of results of a plan, with the records that its batch adds to."""

    def __init__(self, plan: Plan, records: Mapping[str, Record]) -> None:
        self._plan, self._records = plan, records
        self._since = plan.ledger.size
        self._written = self._cost = 0.0

    def write(self) -> None:
        """Write it; OutputError if that cannot be."""
        begun = time.monotonic()
        plan = self._plan
        try:
            plan.ledger.write_table(
                plan.manifest.file.name, plan.manifest.tasks, self._records, self._since
            )
        finally:
            self._written = time.monotonic()
            self._cost = self._written - begun

    def write_if_due(self) -> None:
        """Write it if that was long ago; what is in the way of it is said at the end."""
        if (time.monotonic() - self._written) * _SHARE_OF_TABLE > self._cost:
            with suppress(OutputError):
                self.write()

    @contextmanager
    def written_if_stopped(self) -> Iterator[None]:
        """Write it when the block ends by an exception, such as that of a signal."""
        try:
            yield
        except BaseException:
            with signals.answering(), suppress(OutputError):
                self.write()
            raise


def counts(records: Iterable[Record]) -> dict[str, int]:
    """Return how many tasks have each status, in the order of `Status`, without those of none."""
    number = Counter(record.status for record in records)
    return {str(status): number[status] for status in Status if number[status]}


def exit_code(records: Iterable[Record], *, is_recorded: bool = True) -> int:
    """Return what a batch ends with: 75 if a task is undone, else 3, 4, or 0 if all is well.

    It is not well if the results could not be recorded: 3.
    """
    found = {record.status for record in records}
    if Status.UNDONE in found:
        return _UNDONE
    if found & FAILED or not is_recorded:
        return _FAILED
    return _NOT_AS_WANTED if found & {Status.NOT_WHITE, Status.REFUSED} else 0
