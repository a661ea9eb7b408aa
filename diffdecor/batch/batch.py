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
from diffdecor.batch.ledger import Ledger
from diffdecor.batch.loop import Limits, do_all
from diffdecor.batch.manifest import Manifest, read_manifest
from diffdecor.batch.model import FAILED, Executor, Order, Record, Status, Task
from diffdecor.batch.recognition import Folders, job_key, judged, recognised, tidy, why_undone
from diffdecor.batch.shard import Shard, take
from diffdecor.core.planes import Progress
from diffdecor.errors import BusyError, ClusterError, DiffdecorError
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

    Raises `ManifestError` if anything is wrong with it, `InputError` if it cannot be read.
    """
    manifest = read_manifest(options.manifest, options.shared, configuration=options.configuration)
    ledger = Ledger(Path(options.out_dir or manifest.file.parent).absolute())
    ledger.refresh()
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
    return Record(output=task.job.output, status=Status.UNDONE, exit_code=_UNDONE, error=why)


def run_batch(
    plan: Plan,
    options: BatchOptions,
    executor: Executor,
    on_record: Callable[[Task, Record], None],
    progress: Progress | None = None,
) -> dict[str, Record]:
    """Do what there is to do; return what came of every task of the plan, by output.

    `on_record` is told of every task as it ends, `progress` of their number. The table of results
    is written now and then, and at the end.
    """
    ledger, name, records = plan.ledger, plan.manifest.file.name, dict(plan.records)
    tasks = {task.job.output: task for task in plan.waiting}
    orders = [
        Order(task=task, ledger=ledger.file, since=ledger.size, redo=options.redo, manifest=name)
        for task in plan.waiting
    ]
    _tidy(plan)
    with _table_of(plan, records) as write_if_due:

        def append(record: Record) -> None:
            key = job_key(tasks[record.output].job)
            ledger.append(replace(record, manifest=name, key=key))

        def ended(record: Record) -> None:
            records[record.output] = record
            on_record(tasks[record.output], record)
            if progress is not None:
                progress(len(records) - len(plan.records), len(tasks))
            write_if_due()

        if progress is not None:
            progress(0, len(tasks))
        if orders:
            try:
                with executor:
                    do_all(orders, executor, options.limits, ended, append)
            except ClusterError as error:
                for task in plan.waiting:
                    if task.job.output not in records:
                        ended(_undone(task, str(error)))
    return records


def _tidy(plan: Plan) -> None:
    """Remove what batches left that were killed, beside what nobody works on any more."""
    plan.ledger.tidy()
    for task in plan.tasks:
        if task.job.output in plan.records:
            tidy(task)


@contextmanager
def _table_of(plan: Plan, records: Mapping[str, Record]) -> Iterator[Callable[[], None]]:
    """Write the table of results when the block ends; give what writes it before, if it is due."""
    name, tasks = plan.manifest.file.name, plan.manifest.tasks
    written = cost = 0.0

    def write() -> None:
        nonlocal written, cost
        begun = time.monotonic()
        plan.ledger.refresh()  # other batches of the manifest may have done something
        plan.ledger.write_table(name, tasks, {**plan.ledger.records, **records})
        written = time.monotonic()
        cost = written - begun

    def write_if_due() -> None:
        if (time.monotonic() - written) * _SHARE_OF_TABLE > cost:
            with suppress(BusyError):  # another batch writes it
                write()

    try:
        yield write_if_due
    finally:
        with signals.answering():
            write()


def counts(records: Iterable[Record]) -> dict[str, int]:
    """Return how many tasks have each status, in the order of `Status`, without those of none."""
    number = Counter(record.status for record in records)
    return {str(status): number[status] for status in Status if number[status]}


def exit_code(records: Iterable[Record]) -> int:
    """Return what a batch ends with: 75 if a task is undone, else 3, 4, or 0 if all is well."""
    found = {record.status for record in records}
    if Status.UNDONE in found:
        return _UNDONE
    if found & FAILED:
        return _FAILED
    return _NOT_AS_WANTED if found & {Status.NOT_WHITE, Status.REFUSED} else 0
