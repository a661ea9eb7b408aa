"""What a batch is made of: tasks, what came of each, and where they are done.

The truth is the outputs. A task is done by whoever holds the lock on its output, who records what
came of it in the ledger before the lock is released: so no two batches do the same task, and
nothing is lost when one is killed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from diffdecor.errors import BusyError
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.status import FAILED, THERE, Status

__all__ = ["FAILED", "THERE", "Ended", "Executor", "Order", "Record", "Status", "Task", "undone"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A row of a manifest: a job to be done, its paths absolute."""

    #: Of the row, from 1 on.
    number: int
    #: The line of the manifest that it is in, for messages: "line 12", or "row 11" of FITS tables.
    place: str
    job: Job
    #: The output as the manifest has it.
    output: str
    #: The file that --join makes the output a part of, and the name of the part; empty if none.
    joined: str = ""
    detector: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What came of a task: a line of the ledger. All of it can be written as JSON."""

    #: Absolute path of the output: it tells tasks apart.
    output: str
    status: Status
    #: That `diffdecor run` would have ended with; 124 for a timeout, 128 + the signal of a death.
    exit_code: int
    #: One line.
    error: str = ""
    #: By name, as in the cards of the output.
    metrics: Mapping[str, Any] = field(default_factory=dict)
    #: Texts of the warnings.
    warnings: Sequence[str] = ()
    #: How often it was tried.
    tries: int = 1
    #: UTC, ISO 8601; empty where the output was found to be there already.
    started: str = ""
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    #: Bytes.
    peak_memory: int | None = None
    host: str = ""
    #: Name of the manifest, without its folder.
    manifest: str = ""
    #: Sum of the algorithm, the options and the names of the inputs: `recognition.job_key`.
    key: str = ""
    #: Size and times of every file that was read and written: `recognition.stamp`.
    stamps: Mapping[str, Sequence[int]] = field(default_factory=dict)


def undone(output: str, why: str = "", tries: int = 0) -> Record:
    """Return the record of a task that the next batch is to do."""
    return Record(
        output=output,
        status=Status.UNDONE,
        exit_code=BusyError.exit_code,
        error=why,
        tries=tries,
    )


@dataclass(frozen=True, kw_only=True)
class Order:
    """A task as it is given to a process, with what holds for all of a batch. It is pickled."""

    task: Task
    #: The file of the ledger, ``results.jsonl``.
    ledger: Path
    #: Bytes of the ledger when the batch began: what is recorded behind it is news.
    since: int
    #: Do it even if the output is there already.
    redo: bool = False
    #: Number of this try, from 1 on.
    tries: int = 1
    #: Name of the manifest, without its folder.
    manifest: str = ""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A task that a process no longer works on."""

    order: Order
    #: What came of it, recorded in the ledger already; None if the process died, or was stopped.
    record: Record | None = None
    #: Why the record could not be written into the ledger; the output is there all the same.
    unrecorded: str = ""
    #: Another process holds the lock of the output: who it is.
    busy: str = ""
    #: It failed for what may pass (ESTALE, EIO); nothing has been recorded.
    passing: Record | None = None
    #: Why the process died: "killed by signal 9 (SIGKILL)".
    died: str = ""
    #: The number of that signal, 0 if it was none.
    signal: int = 0
    #: It was stopped after this many seconds.
    timeout: float | None = None
    #: The machine it was on has vanished, which says nothing of the task.
    vanished: bool = False


class Executor(Protocol):
    """Where tasks are done: processes of this machine, or those of a cluster.

    A context: what still works when it ends is stopped, and leaves nothing half-written.
    """

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(self, *error: object) -> None:
        """Stop every process."""

    @property
    def slots(self) -> int:
        """How many tasks it takes at a time; it may change, but is never 0."""

    @property
    def can_be_alone(self) -> bool:
        """Whether a task is alone on its machine when no other one is being done."""

    def start(self, order: Order, timeout: float | None) -> None:
        """Begin a task, which is stopped after `timeout` seconds; there must be a free slot."""

    def wait(self, seconds: float) -> Sequence[Ended]:
        """Return the tasks that have ended, as soon as there is one, or when the time is over."""
