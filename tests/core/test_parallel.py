"""Work done by several threads at a time."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, current_thread

import pytest

from diffdecor.core import parallel
from diffdecor.core.parallel import cores, ordered_map, threads_for

FEW = [1, 2, 5]


@pytest.mark.parametrize("threads", FEW)
def test_results_come_in_the_order_of_the_items(threads):
    assert [*ordered_map(lambda item: item**2, range(50), threads)] == [n**2 for n in range(50)]
    assert [*ordered_map(str, [], threads)] == []


def test_a_late_result_does_not_let_others_overtake():
    later = Event()

    def work(item):
        if item == 0:
            assert later.wait(10)
        if item == 2:
            later.set()
        return item

    assert [*ordered_map(work, range(20), 2)] == [*range(20)]


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_work_at_the_same_time(threads):
    together = Barrier(threads, timeout=10)
    names = ordered_map(
        lambda _: together.wait() >= 0 and current_thread().name, range(threads), threads
    )
    assert len(set(names)) == threads


def test_one_thread_is_the_caller():
    assert set(ordered_map(lambda _: current_thread(), range(3), 1)) == {current_thread()}


@pytest.mark.parametrize("threads", FEW)
def test_no_more_than_two_results_per_thread_wait(threads):
    begun = []

    def items():
        for item in range(100):
            begun.append(item)
            yield item

    for taken, _ in enumerate(ordered_map(str, items(), threads)):
        assert len(begun) <= taken + 2 * threads
    assert len(begun) == 100


@pytest.mark.parametrize("threads", FEW)
def test_an_exception_comes_out_in_its_turn(threads):
    found = []
    with pytest.raises(ZeroDivisionError):
        found.extend(0 for _ in ordered_map(lambda item: 1 // (item - 3), range(50), threads))
    taken = iter(ordered_map(lambda item: 6 // (item - 3), range(50), threads))
    assert [next(taken) for _ in range(3)] == [-2, -3, -6]
    with pytest.raises(ZeroDivisionError):
        next(taken)


def test_items_after_an_exception_are_not_begun(monkeypatch):
    """Others are at work when it comes out; those that wait for a thread are cancelled."""
    begun, out = [], Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, *arguments, **named):
            out.set()
            super().shutdown(*arguments, **named)

    def work(item):
        begun.append(item)
        if item == 0:
            raise ZeroDivisionError
        assert out.wait(10)

    monkeypatch.setattr(parallel, "ThreadPoolExecutor", Pool)
    with pytest.raises(ZeroDivisionError):
        [*ordered_map(work, range(50), 2)]
    assert set(begun) <= {0, 1, 2}


def test_there_is_a_core():
    assert cores() >= 1


def test_small_images_keep_few_threads_busy(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 8)
    assert [threads_for(size * size) for size in (1, 2000, 4096, 10_000)] == [1, 1, 8, 8]
    assert threads_for(1, wanted=5) == 5
