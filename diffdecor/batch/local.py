"""Tasks done on this machine: a thread for each process, which waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Self

from diffdecor.batch.model import Ended, Order
from diffdecor.batch.worker import DO, GRACE, Worker

#: Seconds after which who waits looks for signals, which Python misses at a wrong moment.
_LOOKED = 1.0


class LocalExecutor:
    """Does several tasks at a time, in processes that do one after another.

    The first process starts alone: the others find what it imports in memory, and compiled.
    """

    can_be_alone = True

    def __init__(self, jobs: int, do: str = DO) -> None:
        self._workers = [Worker(do) for _ in range(jobs)]
        self._threads: list[threading.Thread] = []
        self._orders: SimpleQueue[tuple[Order, float | None] | None] = SimpleQueue()
        self._ended: SimpleQueue[Ended | BaseException] = SimpleQueue()
        self._first = threading.Lock()
        self._is_warm = False

    @property
    def slots(self) -> int:
        """How many tasks it takes at a time."""
        return len(self._workers)

    def __enter__(self) -> Self:
        """Start the threads; processes start with their first task."""
        try:
            for worker in self._workers:
                thread = threading.Thread(target=self._serve, args=(worker,), daemon=True)
                thread.start()
                self._threads.append(thread)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Stop every process, at work or idle."""
        self._stop()

    def start(self, order: Order, timeout: float | None) -> None:
        """Begin a task, which is stopped after `timeout` seconds; there must be a free slot."""
        self._orders.put((order, timeout))

    def wait(self, seconds: float) -> Sequence[Ended]:
        """Return the tasks that have ended, as soon as there is one, or when the time is over."""
        found: list[Ended | BaseException] = []
        end = time.monotonic() + seconds
        while not found and (left := end - time.monotonic()) > 0:
            with suppress(Empty):
                found.append(self._ended.get(timeout=min(left, _LOOKED)))
        with suppress(Empty):
            while True:
                found.append(self._ended.get_nowait())
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return [one for one in found if isinstance(one, Ended)]

    def _serve(self, worker: Worker) -> None:
        """Have the tasks done that come, by one process."""
        try:
            while (given := self._orders.get()) is not None:
                with self._first:
                    if not self._is_warm:
                        worker.start()
                        self._is_warm = True
                self._ended.put(worker.do(*given))
        except BaseException as error:  # noqa: BLE001  it is raised by who waits
            self._ended.put(error)

    def _stop(self) -> None:
        """Stop all processes at once, and see the threads end."""
        for _ in self._threads:
            self._orders.put(None)
        stopping = [threading.Thread(target=worker.stop) for worker in self._workers]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        for thread in self._threads:
            thread.join(GRACE)
        self._threads.clear()
