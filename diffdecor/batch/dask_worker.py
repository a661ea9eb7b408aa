"""What runs on a Dask worker: each of its threads has a process of ours that does the tasks.

So a crash, a hang or a signal concerns one process and one task, and never the Dask worker, and no
code of ours runs in the threads of Dask. The processes end with the Dask worker: they are stopped
when it closes, and end by themselves when it is killed, for then their connection breaks.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from distributed import Worker as DaskWorker
from distributed import WorkerPlugin, get_worker

from diffdecor import __version__
from diffdecor.batch.model import Ended, Order, Record, Status
from diffdecor.batch.worker import Worker
from diffdecor.pipeline.provenance import ALGORITHM

#: Batches that a Dask worker remembers to have ended: an order may arrive after that.
_REMEMBERED = 1000


class MismatchError(Exception):
    """The diffdecor of a Dask worker is not that of the batch."""


def identity() -> str:
    """Return what must be the same on both sides: options may have been added, results changed."""
    return f"diffdecor {__version__}, algorithm {ALGORITHM}"


def call(*arguments: object) -> bytes:
    """Return a call of `do` as what `pickle.loads` makes it of.

    That function is everywhere: a scheduler needs no diffdecor to pass it on, and a worker without
    it says so, rather than end because it cannot read what it is to do.
    """
    return pickle.dumps(_Call(arguments))


class _Call:
    def __init__(self, arguments: tuple[object, ...]) -> None:
        self._arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., Ended], tuple[object, ...]]:
        return do, self._arguments


def do(order: bytes, timeout: float | None, wanted: str, batch: str, target: str) -> Ended:
    """Do a task, in the process of this thread.

    Parameters
    ----------
    order
        An `Order`, pickled: another version of diffdecor might misunderstand it.
    timeout
        Seconds.
    wanted
        The `identity` of the batch.
    batch
        Its name, for `stop`.
    target
        What does the task, as `Worker` has it.
    """
    if wanted != identity():
        msg = f"{socket.gethostname()} has {identity()}, the batch is {wanted}"
        raise MismatchError(msg)
    one: Order = pickle.loads(order)  # noqa: S301  it comes from the scheduler, as this call does
    folder = one.ledger.parent
    if not folder.is_dir():
        return Ended(order=one, passing=_sees_nothing(one))
    dask_worker = get_worker()
    dask_worker.loop.add_callback(_watch, dask_worker)
    seat = _Seat(batch, Worker(target), dask_worker.get_current_task())
    return _desk.do(one, timeout, seat)


async def stop(batch: str) -> None:
    """Stop the processes of a batch on this Dask worker, and refuse what of it still arrives."""
    await asyncio.to_thread(_desk.end, batch)


@dataclass(eq=False)
class _Seat:
    """The process of a thread, the batch that it works for, and the task that it has in hand."""

    batch: str
    worker: Worker
    key: str = ""


class _Desk:
    """The processes of a Dask worker, by thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seats: dict[int, _Seat] = {}
        #: Whose processes are being stopped.
        self._leaving: set[_Seat] = set()
        #: Batches, in the order in which they ended.
        self._ended: dict[str, None] = {}

    def do(self, order: Order, timeout: float | None, seat: _Seat) -> Ended:
        """Do a task in the process of this thread; one that is stopped says nothing of it."""
        seat = self._taken(seat)
        ended = None if seat.batch in self._ended else seat.worker.do(order, timeout)
        with self._lock:
            seat.key = ""
            is_stopped = not any(one is seat for one in self._seats.values())
        if ended is None or (ended.record is None and is_stopped):
            return Ended(order=order, vanished=True)
        return ended

    def stop(self, chosen: Callable[[_Seat], bool]) -> None:
        """Stop processes, all of them at once; return when they are gone."""
        with self._lock:
            self._leaving |= {seat for seat in self._seats.values() if chosen(seat)}
            self._seats = {t: s for t, s in self._seats.items() if s not in self._leaving}
            stopped = [seat for seat in self._leaving if chosen(seat)]
        if stopped:
            with ThreadPoolExecutor(len(stopped)) as pool:
                list(pool.map(Worker.stop, [seat.worker for seat in stopped]))
        with self._lock:
            self._leaving -= set(stopped)

    def end(self, batch: str) -> None:
        """Stop the processes of a batch, and refuse what of it still arrives."""
        with self._lock:
            self._ended[batch] = None
            for oldest in list(self._ended)[:-_REMEMBERED]:
                del self._ended[oldest]
        self.stop(lambda seat: seat.batch == batch)

    def has(self, key: str) -> bool:
        """Say whether a task is in hand."""
        with self._lock:
            return any(seat.key == key for seat in self._seats.values())

    def _taken(self, wanted: _Seat) -> _Seat:
        """Return the seat of this thread, with its process if it has worked for this batch."""
        thread = threading.get_ident()
        with self._lock:
            seat = self._seats.get(thread)
            if seat is not None and seat.batch == wanted.batch:
                seat.key = wanted.key
                return seat
            self._seats[thread] = wanted
        if seat is not None:
            seat.worker.stop()
        return wanted


_desk = _Desk()


class _Stopping(WorkerPlugin):  # type: ignore[misc]  # untyped where distributed is not installed
    """Stops our processes when a Dask worker closes, and when nobody waits for their task."""

    name = "diffdecor"

    async def teardown(self, worker: DaskWorker) -> None:  # noqa: ARG002  as Dask calls it
        """Stop them all."""
        await asyncio.to_thread(_desk.stop, lambda _: True)

    def transition(self, key: str, start: str, finish: str, **_: object) -> None:
        """Stop the process of a task that is cancelled: its batch may have been killed."""
        if (start, finish) == ("executing", "released") and _desk.has(key):
            # In a thread of its own: it takes seconds, and this one has to answer the scheduler.
            stopping = (lambda seat: seat.key == key,)
            threading.Thread(target=_desk.stop, args=stopping, daemon=True).start()


async def _watch(worker: DaskWorker) -> None:
    """Have our processes stopped when a Dask worker closes.

    It is told so itself, not by its scheduler: that would have every worker that comes later
    import diffdecor, those of others too.
    """
    if _Stopping.name not in worker.plugins:
        await worker.plugin_add(_Stopping(), name=_Stopping.name)


def _sees_nothing(order: Order) -> Record:
    """Return what is said of a machine without the file system of the batch."""
    error = (
        f"{socket.gethostname()} does not see {order.ledger.parent}: the machines of Dask workers "
        "need the same file system as the batch"
    )
    output = order.task.job.output
    return Record(
        output=output,
        status=Status.ERROR,
        exit_code=3,
        error=error,
        tries=order.tries,
        host=socket.gethostname(),
    )
