"""The loop of a batch: which task is begun when, and what becomes of those that do not end well."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from diffdecor import words
from diffdecor.batch.model import FAILED, Ended, Executor, Order, Record, Status
from diffdecor.errors import BusyError

logger = words.logger(__name__)

#: Exit code of what has not been done, and of what took too long (as that of `timeout`).
_UNDONE, _LATE = BusyError.exit_code, 124
#: How often a task may be on a machine that vanishes.
_VANISHED = 10
#: Seconds until a task is tried again that may succeed then: the first time, and at most.
_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
#: Seconds that one which is stopped at the deadline may take to say so.
_GRACE = 15.0
#: Seconds between two looks at the clock.
_LOOKED = 10.0
#: Of so many tasks, the last ones that ended, so large a part took no longer than is expected.
_LAST, _PART = 200, 0.9


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long and how often tasks are tried."""

    #: Seconds that a task may take.
    timeout: float | None = None
    #: How often one is tried again whose process died or took too long.
    retries: int = 1
    #: When all is to be at its end, on the clock of `time.monotonic`.
    deadline: float | None = None
    #: Begin nothing after the first failure.
    fail_fast: bool = False


@dataclass
class _Item:
    """A task on its way to its record."""

    order: Order
    #: How its tries ended that did not end well, in words.
    ends: list[str] = field(default_factory=list)
    vanished: int = 0
    #: How often its output was being written by another process, who that is, in words.
    busy: int = 0
    holder: str = ""
    #: When it may begin again.
    due: float = -inf

    @property
    def output(self) -> str:
        """Absolute path of its output, which tells it apart."""
        return self.order.task.job.output

    @property
    def history(self) -> str:
        """How its tries ended."""
        first, *rest = self.ends
        if not rest:
            return first
        if set(rest) == {first}:
            return f"{first}, at each of {len(self.ends)} tries"
        return "; ".join(f"{number}: {text}" for number, text in enumerate(self.ends, 1))

    def pause(self, times: int) -> None:
        """Let some time pass, the longer the more often it did already."""
        self.due = time.monotonic() + min(_PAUSE * 2.0 ** min(times - 1, 9), _LONGEST_PAUSE)


def do_all(
    orders: Sequence[Order],
    executor: Executor,
    limits: Limits,
    on_end: Callable[[Record], None],
    append: Callable[[Record], None],
    on_start: Callable[[Order], None] = lambda _: None,
) -> None:
    """Have all tasks done by an executor that has been entered; `on_end` gets a record for each.

    What processes have not recorded themselves (deaths, timeouts, trouble that did not pass, what
    they could not record) goes to `append` before. What ends the executor's waiting, such as a
    signal, ends all.
    """
    _Loop(orders, executor, limits, on_end, append, on_start).run()


class _Loop:
    def __init__(
        self,
        orders: Sequence[Order],
        executor: Executor,
        limits: Limits,
        on_end: Callable[[Record], None],
        append: Callable[[Record], None],
        on_start: Callable[[Order], None],
    ) -> None:
        self._executor, self._limits = executor, limits
        self._on_end, self._append, self._on_start = on_end, append, on_start
        #: Those that can begin.
        self._waiting = deque(_Item(order) for order in orders)
        #: Those that killed a process, or were with one that did: they begin alone, after all.
        self._suspects: deque[_Item] = deque()
        #: Those that may succeed later.
        self._later: list[_Item] = []
        self._running: dict[str, _Item] = {}
        self._is_alone = False
        self._wall_seconds: deque[float] = deque(maxlen=_LAST)
        self._holders: set[str] = set()
        self._has_failed = False

    def run(self) -> None:
        """Begin tasks and take their results until none is left."""
        while self._waiting or self._suspects or self._later or self._running:
            if not self._has_time():
                self._give_up("not begun: it cannot be expected to end before the deadline")
            while len(self._running) < self._executor.slots and (item := self._next()):
                self._begin(item)
            for ended in self._wait():
                item_ended = self._running.pop(ended.order.task.job.output, None)
                if item_ended is not None:
                    self._is_alone = False
                    self._take(item_ended, ended)
            self._let_go()

    def _next(self) -> _Item | None:
        """Return a task that can begin now: fresh ones first, others' last."""
        if self._is_alone:
            return None
        if self._waiting:
            return self._waiting.popleft()
        if self._suspects:
            if self._running:
                return None
            self._is_alone = True
            return self._suspects.popleft()
        now = time.monotonic()
        item = min(self._later, key=lambda one: one.due, default=None)
        if item is None or item.due > now:
            return None
        self._later.remove(item)
        return item

    def _begin(self, item: _Item) -> None:
        item.order = replace(item.order, tries=len(item.ends) + 1)
        self._running[item.output] = item
        self._on_start(item.order)
        self._executor.start(item.order, self._timeout())

    def _timeout(self) -> float | None:
        """Return how many seconds a task has that begins now."""
        timeout, deadline = self._limits.timeout, self._limits.deadline
        if deadline is None:
            return timeout
        return min(inf if timeout is None else timeout, max(deadline - time.monotonic(), 0.0))

    def _wait(self) -> Sequence[Ended]:
        """Wait for a task to end, or until another one may begin."""
        now = time.monotonic()
        ends = [now + _LOOKED]
        if not self._suspects and len(self._running) < self._executor.slots:
            ends += [item.due for item in self._later]
        if self._limits.deadline is not None:
            ends.append(self._limits.deadline + (_GRACE if self._running else 0))
        seconds = max(min(ends) - now, 0.01)
        if self._running:
            return self._executor.wait(seconds)
        if self._later and not (self._waiting or self._suspects):
            time.sleep(seconds)
        return ()

    def _has_time(self) -> bool:
        """Say whether a task that begins now can be expected to end before the deadline."""
        if self._limits.deadline is None:
            return True
        seen = sorted(self._wall_seconds)
        expected = seen[int(_PART * (len(seen) - 1) + 0.5)] if seen else 0.0
        return time.monotonic() + expected < self._limits.deadline

    def _give_up(self, reason: str) -> None:
        """Begin nothing any more."""
        items = [*self._waiting, *self._suspects, *self._later]
        self._waiting.clear()
        self._suspects.clear()
        self._later.clear()
        for item in items:
            self._leave(item, item.holder or reason)

    def _let_go(self) -> None:
        """Wait no longer for what should have been stopped at the deadline."""
        deadline = self._limits.deadline
        if deadline is not None and time.monotonic() > deadline + _GRACE:
            items = list(self._running.values())
            self._running.clear()
            for item in items:
                self._leave(item, "stopped at the deadline")

    def _take(self, item: _Item, ended: Ended) -> None:
        """See to a task that has ended, one way or another."""
        if ended.record is not None:
            if ended.unrecorded:
                logger.info("%s", ended.unrecorded)
                self._append(ended.record)
            self._finish(ended.record)
        elif ended.busy:
            self._put_off(item, ended.busy)
        elif ended.vanished:
            self._move(item)
        elif ended.passing is not None:
            item.ends.append(ended.passing.error)
            item.pause(len(item.ends))
            self._again(item, ended.passing, self._later)
        elif ended.timeout is not None:
            self._stopped(item, ended.timeout)
        else:
            self._died(item, ended)

    def _died(self, item: _Item, ended: Ended) -> None:
        is_verb = ended.died.startswith("ended")
        text = f"its process {'' if is_verb else 'was '}{ended.died or 'lost'}"
        if ended.signal == 9:
            text += ", as the system does when memory is short"
        item.ends.append(text)
        code = 128 + ended.signal if ended.signal else 1
        record = _record(item, Status.DIED, code)
        is_alone = self._executor.can_be_alone
        self._again(item, record, self._suspects if is_alone else self._waiting)

    def _stopped(self, item: _Item, seconds: float) -> None:
        limit = self._limits.timeout
        if limit is None or seconds < limit:
            self._leave(item, "stopped at the deadline")
            return
        item.ends.append(f"it took longer than {limit:g} s")
        self._again(item, _record(item, Status.TIMEOUT, _LATE), self._waiting)

    def _again(self, item: _Item, record: Record, where: deque[_Item] | list[_Item]) -> None:
        """Try a task again, there, if it may be; otherwise this is what came of it."""
        if len(item.ends) > self._limits.retries:
            record = replace(record, tries=len(item.ends))
            self._append(record)
            self._finish(record)
        elif self._is_over():
            self._leave(item, item.history)
        else:
            logger.info("%s: %s; it is tried again", item.output, item.ends[-1])
            where.append(item)

    def _put_off(self, item: _Item, holder: str) -> None:
        """Leave a task to who does it, and look later whether it was done."""
        item.busy += 1
        item.holder = f"{holder} is writing it"
        item.pause(item.busy)
        if self._is_over():
            self._leave(item, item.holder)
            return
        self._later.append(item)
        if holder not in self._holders and not (self._waiting or self._suspects or self._running):
            self._holders.add(holder)
            logger.info("%s: waiting for %s, which is writing it", item.output, holder)

    def _move(self, item: _Item) -> None:
        """Have a task done elsewhere: that its machine is gone says nothing of it."""
        item.vanished += 1
        if item.vanished > _VANISHED or self._is_over():
            self._leave(item, f"the machine it was on vanished, {item.vanished} times")
        else:
            self._waiting.appendleft(item)

    def _is_over(self) -> bool:
        """Say whether nothing begins any more."""
        return self._has_failed or not self._has_time()

    def _finish(self, record: Record) -> None:
        """Give away what came of a task."""
        if record.wall_seconds is not None and record.status not in FAILED:
            self._wall_seconds.append(record.wall_seconds)
        self._on_end(record)
        if record.exit_code and self._limits.fail_fast and not self._has_failed:
            self._has_failed = True
            self._give_up("not begun: another one failed before, and --fail-fast was given")

    def _leave(self, item: _Item, reason: str) -> None:
        """Leave a task undone, for the next batch."""
        record = Record(
            output=item.output,
            status=Status.UNDONE,
            exit_code=_UNDONE,
            error=reason,
            tries=len(item.ends),
        )
        self._on_end(record)


def _record(item: _Item, status: Status, code: int) -> Record:
    """Return the record of a task whose process could not make one."""
    return Record(output=item.output, status=status, exit_code=code, error=item.history)
