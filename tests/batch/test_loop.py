"""The loop of a batch: every task gets one record, and no more tries than are allowed."""

from dataclasses import dataclass, field, replace

import pytest
from helpers.batch_targets import order, record
from hypothesis import given, settings
from hypothesis import strategies as st

from diffdecor.batch import loop
from diffdecor.batch.loop import Limits, do_all
from diffdecor.batch.model import Ended, Status

GOOD, BAD = "good", "bad"


class Clock:
    """A time that passes only when somebody waits."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


@dataclass
class FakeExecutor:
    """Ends the tries of a task as it is told: pairs of what happens, and after how many seconds."""

    clock: Clock
    plans: dict
    slots: int = 2
    can_be_alone: bool = True
    log: list = field(default_factory=list)
    running: dict = field(default_factory=dict)
    deaths: set = field(default_factory=set)
    began: list = field(default_factory=list)

    def start(self, order, timeout):
        output = order.task.job.output
        assert output not in self.running
        assert len(self.running) < self.slots
        if self.can_be_alone:
            assert not self.deaths & set(self.running), "one that killed its process is not alone"
            assert not (output in self.deaths and self.running)
        self.began.append((output, order.tries))
        what, seconds = self.plans[output].pop(0) if self.plans[output] else (GOOD, 1.0)
        if timeout is not None and seconds > timeout:
            what, seconds = timeout, timeout
        self.running[output] = (order, what, self.clock.now + seconds, seconds)

    def wait(self, seconds):
        assert seconds > 0
        assert self.running
        first = min(end for _, _, end, _ in self.running.values())
        if first > self.clock.now + seconds:
            self.clock.now += seconds
            return []
        self.clock.now = max(first, self.clock.now)
        ready = [one for one in self.running.values() if one[2] <= self.clock.now]
        return [self.ending(*one) for one in ready]

    def ending(self, order, what, _, seconds):
        output = order.task.job.output
        del self.running[output]
        self.deaths.discard(output)
        if isinstance(what, (int, float)):
            return Ended(order=order, timeout=what)
        if what in {"killed", "ended"}:
            self.deaths.add(output)
            text = "killed by signal 9 (SIGKILL)" if what == "killed" else "ended with code 1"
            return Ended(order=order, died=text, signal=9 * (what == "killed"))
        if what == "busy":
            return Ended(order=order, busy="process 12 of user on host")
        if what == "vanished":
            return Ended(order=order, vanished=True)
        if what == "passing":
            error = f"{output}: cannot be read: Stale file handle"
            return Ended(order=order, passing=record(order, Status.ERROR, 3, error=error))
        status, code = {GOOD: (Status.DONE, 0), BAD: (Status.ERROR, 3)}[what]
        return Ended(
            order=order, record=record(order, status, code, tries=order.tries, wall_seconds=seconds)
        )


class Batch:
    """A batch with a time of its own."""

    def __init__(self, monkeypatch, plans, limits=None, **executor):
        self.clock = Clock()
        monkeypatch.setattr(loop, "time", self.clock)
        self.orders = [order(f"task{number}") for number in range(len(plans))]
        names = [one.task.job.output for one in self.orders]
        given = dict(zip(names, [list(plan) for plan in plans], strict=True))
        self.executor = FakeExecutor(self.clock, given, **executor)
        self.limits = limits or Limits()
        self.appended, ended = [], []
        do_all(self.orders, self.executor, self.limits, ended.append, self.appended.append)
        assert sorted(one.output for one in ended) == sorted(names)
        by_output = {one.output: one for one in ended}
        self.records = [by_output[name] for name in names]
        self.seconds = self.clock.now - 1000.0

    @property
    def statuses(self):
        return [one.status for one in self.records]


@pytest.fixture
def batch(monkeypatch):
    def make(*plans, limits=None, **executor):
        return Batch(monkeypatch, plans, limits, **executor)

    return make


def test_slots_are_used(batch):
    done = batch(*[[(GOOD, 1.0)]] * 10, slots=3)
    assert done.statuses == [Status.DONE] * 10
    assert done.seconds == pytest.approx(4)
    assert not done.appended


def test_nothing_to_do(batch):
    assert batch().records == []


def test_errors_of_input_are_not_tried_again(batch):
    done = batch([(BAD, 1.0)], [])
    assert done.statuses == [Status.ERROR, Status.DONE]
    assert done.records[0].tries == 1


def test_a_death_is_tried_again_alone_and_is_forgiven(batch):
    done = batch([("killed", 1.0)], *[[(GOOD, 5.0)]] * 4)
    assert done.statuses == [Status.DONE] * 5
    assert done.records[0].tries == 2
    assert done.executor.began[-1] == (done.records[0].output, 2)


def test_a_killer_is_told_by_its_second_death(batch):
    done = batch([("killed", 1.0)] * 9, [], [])
    assert done.statuses == [Status.DIED, Status.DONE, Status.DONE]
    killer = done.records[0]
    assert (killer.exit_code, killer.tries) == (137, 2)
    assert killer.error == (
        "its process was killed by signal 9 (SIGKILL), as the system does when "
        "memory is short, at each of 2 tries"
    )
    assert done.appended == [killer]


def test_a_death_without_a_signal(batch):
    done = batch([("ended", 1.0)], limits=Limits(retries=0))
    assert done.records[0].error == "its process ended with code 1"
    assert (done.records[0].exit_code, done.records[0].tries) == (1, 1)


def test_where_none_can_be_alone_others_go_on(batch):
    done = batch([("killed", 1.0)], *[[(GOOD, 1.0)]] * 5, can_be_alone=False)
    assert done.statuses == [Status.DONE] * 6
    assert done.seconds == pytest.approx(4)


def test_a_record_that_its_process_could_not_write_is_written_by_us(monkeypatch, batch, caplog):
    whole = FakeExecutor.ending

    def end(self, *about):
        return replace(whole(self, *about), unrecorded="results.jsonl: the disk is full")

    monkeypatch.setattr(FakeExecutor, "ending", end)
    with caplog.at_level("INFO"):
        done = batch([])
    assert done.appended == done.records
    assert caplog.messages == ["results.jsonl: the disk is full"]


def test_one_that_hangs(batch):
    done = batch([(GOOD, 100.0)] * 9, [], limits=Limits(timeout=10, retries=2))
    assert done.statuses == [Status.TIMEOUT, Status.DONE]
    assert (done.records[0].exit_code, done.records[0].tries) == (124, 3)
    assert done.records[0].error == ("it took longer than 10 s, at each of 3 tries")
    assert done.appended == done.records[:1]


def test_tries_of_several_kinds_are_told(batch):
    done = batch(
        [("passing", 1.0), (GOOD, 100.0), ("ended", 1.0)], limits=Limits(timeout=9, retries=2)
    )
    assert done.records[0].error == (
        "1: /nowhere/task0: cannot be read: Stale file handle; 2: it took longer "
        "than 9 s; 3: its process ended with code 1"
    )


def test_trouble_that_passes(batch):
    done = batch([("passing", 1.0)], [("passing", 1.0)] * 2)
    assert done.statuses == [Status.DONE, Status.ERROR]
    assert done.records[1].error == "/nowhere/task1: cannot be read: Stale file handle"
    assert (done.records[1].exit_code, done.records[1].tries) == (3, 2)
    assert done.appended == done.records[1:]
    assert done.seconds == pytest.approx(3)  # a pause of a second between two tries


def test_a_machine_that_vanishes_says_nothing_of_the_task(batch):
    done = batch([("vanished", 1.0)] * 10, [("vanished", 1.0)] * 11)
    assert done.statuses == [Status.DONE, Status.UNDONE]
    assert [one.exit_code for one in done.records] == [0, 75]
    assert done.records[0].tries == 1
    assert not done.appended


def test_what_another_batch_does_is_waited_for(batch, caplog):
    caplog.set_level("INFO")
    done = batch([("busy", 0.1)] * 8, [("busy", 0.1)] * 3, *[[(GOOD, 3.0)]] * 3)
    assert done.statuses == [Status.DONE] * 5
    # 1, 2, 4, 8, 10, ... seconds between two looks
    assert done.seconds == pytest.approx(1 + 2 + 4 + 8 + 4 * 10, abs=5)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith(
        "waiting for process 12 of user on host, which is writing it"
    )


def test_nobody_is_waited_for_beyond_the_deadline(batch):
    done = batch([("busy", 0.1)] * 999, [(GOOD, 2.0)], limits=Limits(deadline=1100.0))
    assert done.statuses == [Status.UNDONE, Status.DONE]
    assert done.records[0].error == "process 12 of user on host is writing it"
    assert done.records[0].exit_code == 75
    assert not done.appended
    assert done.seconds <= 101


def test_nothing_begins_that_cannot_be_expected_to_end(batch):
    done = batch(*[[(GOOD, 30.0)]] * 9, limits=Limits(deadline=1100.0))
    assert done.statuses == [Status.DONE] * 6 + [Status.UNDONE] * 3
    assert done.seconds == pytest.approx(90)
    assert done.records[-1].error == ("not begun: it cannot be expected to end before the deadline")


def test_what_runs_at_the_deadline_is_stopped(batch):
    """And is no failure of the task, whatever the number of tries."""
    done = batch([(GOOD, 200.0)], [(GOOD, 20.0)], limits=Limits(deadline=1100.0, timeout=500))
    assert done.statuses == [Status.UNDONE, Status.DONE]
    assert done.records[0].error == "stopped at the deadline"
    assert done.seconds == pytest.approx(100)


def test_what_does_not_even_stop_at_the_deadline_is_let_go(monkeypatch, batch):
    monkeypatch.setattr(FakeExecutor, "wait", lambda self, seconds: self.clock.sleep(seconds) or [])
    done = batch([(GOOD, 1.0)], limits=Limits(deadline=1100.0))
    assert done.statuses == [Status.UNDONE]
    assert done.seconds < 120


def test_a_deadline_that_has_passed(batch):
    done = batch([], [], limits=Limits(deadline=999.0))
    assert done.statuses == [Status.UNDONE] * 2
    assert not done.executor.began


def test_the_first_failure_ends_the_rest_on_request(batch):
    done = batch([(BAD, 1.0)], [(GOOD, 5.0)], [], [], limits=Limits(fail_fast=True))
    assert done.statuses == [Status.ERROR, Status.DONE, Status.UNDONE, Status.UNDONE]
    assert done.seconds == pytest.approx(5)


def test_a_death_that_cannot_be_tried_again_is_blamed_on_nobody(batch):
    plans = [(BAD, 1.0)], [("killed", 2.0)], [], []
    done = batch(*plans, limits=Limits(fail_fast=True))
    assert done.statuses == [Status.ERROR] + [Status.UNDONE] * 3
    assert "SIGKILL" in done.records[1].error
    assert not done.appended


ENDS = st.sampled_from(
    [GOOD, BAD, "killed", "ended", "busy", "busy", "passing", "vanished", "vanished"]
)
PLANS = st.lists(st.lists(st.tuples(ENDS, st.floats(0.01, 50)), max_size=14), max_size=12)


@settings(deadline=None, max_examples=300)
@given(
    plans=PLANS,
    slots=st.integers(1, 4),
    can_be_alone=st.booleans(),
    timeout=st.none() | st.floats(1, 60),
    retries=st.integers(0, 3),
    deadline=st.none() | st.floats(990, 1300),
    fail_fast=st.booleans(),
)
def test_every_task_gets_one_record(
    plans, slots, can_be_alone, timeout, retries, deadline, fail_fast
):
    """The executor looks after the rest: no more than there are slots, alone where it has to be."""
    limits = Limits(timeout=timeout, retries=retries, deadline=deadline, fail_fast=fail_fast)
    with pytest.MonkeyPatch.context() as patch:
        done = Batch(patch, plans, limits, slots=slots, can_be_alone=can_be_alone)
    assert all(one.tries <= 1 + retries for one in done.records)
    assert max((tries for _, tries in done.executor.began), default=1) <= 1 + retries
    for one in done.records:
        assert (one.exit_code == 75) == (one.status is Status.UNDONE)
        assert one.error or one.status in {Status.DONE, Status.ERROR}
    own = {Status.DIED, Status.TIMEOUT}
    assert [one for one in done.appended if one.status in own] == [
        one for one in done.appended if one.status is not Status.ERROR
    ]
    assert {one.output for one in done.records if one.status in own} <= {
        one.output for one in done.appended
    }
    if deadline is not None:
        assert done.clock.now <= max(deadline, 1000) + 1
    if deadline is None and not fail_fast:
        undone = [one for one in done.records if one.status is Status.UNDONE]
        assert all("vanished" in one.error for one in undone)
