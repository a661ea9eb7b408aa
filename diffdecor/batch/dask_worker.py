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
from concurrent.futures import ThreadPoolExecutor

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
    return _desk.do(one, timeout, batch, target)


async def stop(batch: str) -> None:
    """Stop the processes of a batch on this Dask worker, and refuse what of it still arrives."""
    await asyncio.to_thread(_desk.stop, batch)


class _Desk:
    """The processes of a Dask worker, by thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[int, tuple[str, Worker]] = {}
        #: In the order in which they ended.
        self._ended: dict[str, None] = {}

    def do(self, order: Order, timeout: float | None, batch: str, target: str) -> Ended:
        """Do a task in the process of this thread; one that was stopped says nothing of it."""
        worker = self._worker(batch, target)
        if worker is None:
            return Ended(order=order, vanished=True)
        ended = worker.do(order, timeout)
        if ended.died and not self._has(worker):
            return Ended(order=order, vanished=True)
        return ended

    def stop(self, batch: str | None) -> None:
        """Stop the processes of a batch, or all of them, at once."""
        with self._lock:
            if batch is not None:
                self._ended[batch] = None
                for oldest in list(self._ended)[:-_REMEMBERED]:
                    del self._ended[oldest]
            chosen = {
                thread: worker
                for thread, (owner, worker) in self._workers.items()
                if batch in {None, owner}
            }
            for thread in chosen:
                del self._workers[thread]
        if chosen:
            with ThreadPoolExecutor(len(chosen)) as pool:
                list(pool.map(Worker.stop, chosen.values()))

    def _worker(self, batch: str, target: str) -> Worker | None:
        """Return the process of this thread; None if the batch has ended."""
        thread = threading.get_ident()
        with self._lock:
            if batch in self._ended:
                return None
            owner, worker = self._workers.get(thread, ("", None))
            if worker is None or owner != batch:
                other, worker = worker, Worker(target)
                self._workers[thread] = (batch, worker)
            else:
                other = None
        if other is not None:
            other.stop()
        return worker

    def _has(self, worker: Worker) -> bool:
        with self._lock:
            return any(one is worker for _, one in self._workers.values())


_desk = _Desk()


class _Stopping(WorkerPlugin):  # type: ignore[misc]  # untyped where distributed is not installed
    """Stops our processes when a Dask worker closes."""

    name = "diffdecor"

    async def teardown(self, worker: DaskWorker) -> None:  # noqa: ARG002  as Dask calls it
        """Stop them."""
        await asyncio.to_thread(_desk.stop, None)


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
