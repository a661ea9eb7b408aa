"""Work done by several threads at a time, its results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

#: Pixels that keep a thread busy: two take as long as one over 2048 x 2048, and longer over fewer,
#: since they wait for each other between many short calls (2026-12).
_PIXELS = 1 << 21

Item = TypeVar("Item")
Done = TypeVar("Done")
Value = TypeVar("Value")


def cores() -> int:
    """Count the processor cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_for(pixels: int, wanted: int | None = None) -> int:
    """Return how many threads to use: as wanted, or one a core that the pixels keep busy."""
    return wanted or max(1, min(cores(), pixels // _PIXELS))


def affordable_threads(threads: int, memory: int, each: int) -> int:
    """Return how many of some threads memory allows, at least 1; every one takes `each` bytes."""
    return max(1, min(threads, memory // each))


def ordered_map(
    function: Callable[[Item], Done], items: Iterable[Item], threads: int
) -> Iterator[Done]:
    """Apply a function to items, several at a time, and yield the results in the items' order.

    At most two results per thread wait to be taken, so memory is bounded. Numpy lets other threads
    run while it works; results combined in order do not depend on the number of threads. An
    exception of the function is raised where its result would be yielded.
    """
    if threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Done]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) == 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def once(make: Callable[[], Value]) -> Callable[[], Value]:
    """Return a function that makes a value at its first call, in any thread, and keeps it."""
    lock = Lock()
    made: list[Value] = []

    def value() -> Value:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return value
