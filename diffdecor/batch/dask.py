"""Tasks on the workers of a Dask scheduler: only orders travel there, and what came of them back.

A worker that vanishes has its task done elsewhere, by Dask itself. A scheduler that vanishes is
waited for; what had been given to it is given to its successor. A task that has been done
meanwhile is found in the ledger, so nothing is done twice.
"""

from __future__ import annotations

import json
import logging
import pickle
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from diffdecor.batch.dask_connection import (
    check_installed,
    connected,
    local_cluster,
    quiet,
)
from diffdecor.batch.model import Ended, Order
from diffdecor.batch.worker import DO
from diffdecor.errors import ClusterError, ConfigError

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

_LOGGER = logging.getLogger(__name__)

#: Seconds that a scheduler is waited for, when the batch begins and when it vanishes later.
PATIENCE = 60.0
#: Seconds of the first attempt to reach it, of the longest one, and between two of them.
_ATTEMPT, _LONGEST, _PAUSE = 2.0, 8.0, 0.5
#: Seconds after which the connection, and the number of workers, are looked at again.
_LOOK = 1.0
#: Seconds for whatever still works at the end.
_STOP = 10.0
#: Tasks that are given per thread of a worker: none has to wait for its next one.
_PER_THREAD = 2


@dataclass(eq=False)
class _Given:
    """A task that is being done."""

    order: Order
    timeout: float | None
    #: None where it could not be sent: the connection is gone.
    future: Future | None = None


class DaskExecutor:
    """Has tasks done by Dask: one of three ways says where.

    Parameters
    ----------
    scheduler
        Address of a scheduler, ``tcp://host:8786``.
    scheduler_file
        File that the scheduler writes, ``dask scheduler --scheduler-file FILE``. It is read again
        when the scheduler vanishes: the next one may be elsewhere.
    local
        Number of workers that are started on this machine, to try it out.
    patience
        Seconds that a scheduler is waited for.
    target
        What does a task, as `diffdecor.batch.worker.Worker` has it.

    Raises
    ------
    ConfigError
        Dask is not installed, or not one of the three ways is given.
    """

    def __init__(
        self,
        *,
        scheduler: str | None = None,
        scheduler_file: str | Path | None = None,
        local: int = 0,
        patience: float = PATIENCE,
        target: str = DO,
    ) -> None:
        if sum([scheduler is not None, scheduler_file is not None, local > 0]) != 1:
            msg = "a batch on Dask needs one scheduler, one file of it, or workers of its own"
            raise ConfigError(msg)
        check_installed()
        self._scheduler = scheduler
        self._file = None if scheduler_file is None else Path(scheduler_file).absolute()
        self._local = local
        self._patience = patience
        self._target = target
        #: Tells batches apart that share workers.
        self._batch = uuid4().hex
        self._numbers = count(1)
        self._given: dict[str, _Given] = {}
        #: Keys of what has ended, whichever way.
        self._news: SimpleQueue[str] = SimpleQueue()
        self._open = ExitStack()
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None
        self._threads = 0
        self._looked = 0.0
        self._lacks_workers = False

    def __enter__(self) -> Self:
        """Connect to the scheduler; start it, and its workers, if they are to be local."""
        with ExitStack() as stack:
            stack.enter_context(quiet())
            if self._local:
                folder = stack.enter_context(
                    tempfile.TemporaryDirectory(
                        prefix="diffdecor-dask-", ignore_cleanup_errors=True
                    )
                )
                self._cluster = stack.enter_context(local_cluster(self._local, folder))
            stack.callback(self._disconnect)
            self._connect()
            stack.callback(self._stop)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop what still works, and disconnect."""
        self._open.close()

    @property
    def slots(self) -> int:
        """How many tasks it takes at a time: some for each thread of a worker."""
        self._look()
        return max(1, _PER_THREAD * self._threads)

    @property
    def can_be_alone(self) -> bool:
        """Whether a task is alone on its machine when no other one is being done."""
        return self._local > 0

    def start(self, order: Order, timeout: float | None) -> None:
        """Give a task to the scheduler."""
        self._give(_Given(order, timeout))

    def wait(self, seconds: float) -> Sequence[Ended]:
        """Return the tasks that have ended, as soon as there is one, or when the time is over.

        Raises
        ------
        ClusterError
            There is no scheduler any more, or a worker has another diffdecor.
        """
        until = time.monotonic() + seconds
        while True:
            self._mend()
            self._look()
            ended = self._collect(min(_LOOK, max(0.0, until - time.monotonic())))
            if ended or time.monotonic() >= until:
                return ended

    # ---- The connection

    def _connect(self) -> None:
        """Connect to the scheduler, as soon as there is one."""
        until = time.monotonic() + self._patience
        attempt = min(_ATTEMPT, self._patience)
        is_said = False
        while self._client is None:
            try:
                self._client = connected(self._address(), attempt)
            except (OSError, ValueError, KeyError, TypeError) as error:
                if isinstance(error, ValueError) and self._file is None:
                    msg = f"{self._scheduler!r} is not the address of a scheduler, tcp://host:8786"
                    raise ConfigError(msg) from error
                if time.monotonic() >= until:
                    raise ClusterError(self._unreachable()) from error
                if not is_said:
                    _LOGGER.warning("no scheduler %s: waiting for it", self._place())
                    is_said = True
                time.sleep(_PAUSE)
                attempt = min(2 * attempt, _LONGEST, max(_ATTEMPT, until - time.monotonic()))
            except ImportError as error:
                _refuse_unusable(error)
        if is_said:
            _LOGGER.warning("the scheduler is there")

    def _mend(self) -> None:
        """Connect again if the connection is gone, and give again what had been given."""
        client = self._client
        if client is not None and client.status == "running":
            return
        self._disconnect()
        self._threads, self._looked = 0, 0.0
        self._connect()
        lost = list(self._given.values())
        self._given.clear()
        for given in lost:
            self._give(given)

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            # What is told it may be gone.
            with suppress(Exception):
                client.close(timeout=_ATTEMPT)

    def _address(self) -> Any:  # noqa: ANN401  an address, or a cluster
        """Return where the scheduler is, now."""
        if self._file is None:
            return self._cluster or self._scheduler
        return str(json.loads(self._file.read_text())["address"])

    def _place(self) -> str:
        if self._file is None:
            return f"at {self._scheduler}"
        with suppress(OSError, ValueError, KeyError, TypeError):
            return f"at {self._address()} (of {self._file})"
        return f"has written {self._file}"

    def _unreachable(self) -> str:
        return (
            f"no scheduler {self._place()}, for {self._patience:.0f} s; start it (dask scheduler), "
            "and run the batch again: it goes on with what is missing"
        )

    def _look(self) -> None:
        """Count the threads of the workers, now and then; say so if there are none."""
        now = time.monotonic()
        if self._client is None or (self._looked and now - self._looked < _LOOK):
            return
        self._looked = now
        # What is lost here is noticed by `_mend`.
        with suppress(Exception):
            self._threads = sum(self._client.nthreads(callback_timeout=_ATTEMPT).values())
            if not self._threads and not self._lacks_workers:
                _LOGGER.warning("the scheduler %s has no workers: waiting for one", self._place())
            self._lacks_workers = not self._threads

    # ---- Tasks

    def _give(self, given: _Given) -> None:
        """Send a task; one that cannot be sent is kept for the next scheduler."""
        from diffdecor.batch.dask_worker import call, identity

        key = f"diffdecor-{self._batch}-{next(self._numbers)}"
        self._given[key] = given
        given.future = None
        client = self._client
        if client is None or client.status != "running":
            return
        order = pickle.dumps(given.order)
        wanted = call(order, given.timeout, identity(), self._batch, self._target)
        try:
            given.future = client.submit(pickle.loads, wanted, key=key, pure=False)
            given.future.add_done_callback(lambda future: self._news.put(future.key))
        except Exception:  # noqa: BLE001  Dask has several for a connection that is lost
            given.future = None
            self._disconnect()

    def _collect(self, seconds: float) -> list[Ended]:
        """Return what has ended; wait for the first."""
        ended = []
        with suppress(Empty):
            ended += self._taken(
                self._news.get(timeout=seconds) if seconds else self._news.get(False)
            )
            while True:
                ended += self._taken(self._news.get(block=False))
        return ended

    def _taken(self, key: str) -> list[Ended]:
        """Return what came of a task, if anything: some are given again."""
        given = self._given.pop(key, None)
        if given is None or given.future is None:
            return []  # it was given to a scheduler that has vanished
        ended = self._outcome(given)
        if ended is None:
            self._give(given)
            return []
        return [ended]

    def _outcome(self, given: _Given) -> Ended | None:
        """Return what came of a task; None if nothing did."""
        from distributed import KilledWorker

        future: Any = given.future
        try:
            ended: Ended = future.result(timeout=_STOP)
        except KilledWorker:
            number = given.order.task.number
            _LOGGER.warning("row %d: several Dask workers died while they had it", number)
            return Ended(order=given.order, vanished=True)
        except Exception as error:  # noqa: BLE001  a task may raise any
            if future.status != "error":  # the scheduler, or the worker with the result, is gone
                return None
            _refuse_unusable(error)
            return Ended(order=given.order, died=f"lost by Dask: {type(error).__name__}: {error}")
        return ended

    def _stop(self) -> None:
        """Stop what still works: what waits, and the processes of this batch on all workers."""
        client = self._client
        if client is None or client.status != "running":
            return
        futures = [given.future for given in self._given.values() if given.future is not None]
        self._given.clear()

        def stop() -> None:
            from diffdecor.batch.dask_worker import stop as stop_batch

            # Workers that vanish meanwhile have nothing to be stopped.
            with suppress(Exception):
                client.cancel(futures)
                client.run(stop_batch, self._batch, on_error="ignore")

        # Dask has no timeout for it.
        stopping = threading.Thread(target=stop, daemon=True)
        stopping.start()
        stopping.join(_STOP)


def _refuse_unusable(error: Exception) -> None:
    """Raise if an error says that the cluster cannot be used, whatever the task."""
    from diffdecor.batch.dask_worker import MismatchError

    if isinstance(error, MismatchError | ImportError) or "deserializ" in str(error):
        reason = " ".join(str(error).split())
        msg = (
            f"the workers of Dask cannot do this batch: {reason}; start them in the environment of "
            "this diffdecor, and run the batch again"
        )
        raise ClusterError(msg) from error
