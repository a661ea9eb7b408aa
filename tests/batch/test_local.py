"""Tasks on this machine, in processes that are used again."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.batch_targets import TARGET, found, order
from helpers.processes import is_gone, python, wait_until

from diffdecor.batch.local import LocalExecutor
from diffdecor.batch.loop import Limits, do_all
from diffdecor.batch.model import Order, Status, Task
from diffdecor.config import DecorrelationConfig
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.run import run_job


def until_all_end(executor, number):
    ends = []
    while len(ends) < number:
        ends += executor.wait(60)
    return ends


def test_tasks_are_done_by_as_many_processes():
    before = threading.active_count()
    with LocalExecutor(3, TARGET) as executor:
        assert executor.slots == 3
        assert executor.can_be_alone
        processes = set()
        for _ in range(2):
            for number in range(3):
                executor.start(order("process", number), None)
            # They overlap: nothing is free until all three have been taken.
            processes |= {found(one) for one in until_all_end(executor, 3)}
    assert 1 <= len(processes) <= 3
    assert all(is_gone(one) for one in processes)
    assert threading.active_count() == before


def test_several_work_at_once(tmp_path):
    """Each waits for the other."""
    with LocalExecutor(2, TARGET) as executor:
        for one, other in ("ab", "ba"):
            executor.start(order("meet", one, other, folder=tmp_path), 60)
        assert [one.record.metrics["found"] for one in until_all_end(executor, 2)] == [True, True]


def test_waiting_ends_when_the_time_is_over():
    with LocalExecutor(1, TARGET) as executor:
        assert list(executor.wait(0)) == []
        assert list(executor.wait(0.05)) == []
        executor.start(order("sleep", 60), None)
        assert list(executor.wait(0.3)) == []


def test_deaths_and_timeouts_come_with_their_task():
    with LocalExecutor(3, TARGET) as executor:
        executor.start(order("kill", 9), None)
        executor.start(order("sleep", 60), 0.3)
        executor.start(order("process"), None)
        ends = {Path(one.order.task.output).name: one for one in until_all_end(executor, 3)}
    assert ends["kill-9"].signal == 9
    assert ends["sleep-60"].timeout == 0.3
    assert ends["process"].record


def test_what_still_works_is_stopped_at_the_end(tmp_path):
    with LocalExecutor(2, TARGET) as executor:
        for number in range(2):
            executor.start(order("mark", number, folder=tmp_path), None)
        files = [tmp_path / "0.mark", tmp_path / "1.mark"]
        wait_until(lambda: all(one.exists() and one.read_text() for one in files))
    assert all(is_gone(int(one.read_text())) for one in files)


def test_those_that_heed_nothing_are_killed_all_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr("diffdecor.batch.worker.GRACE", 2.0)
    with LocalExecutor(3, TARGET) as executor:
        for number in range(3):
            executor.start(order("deafmark", number, folder=tmp_path), None)
        files = [tmp_path / f"{number}.mark" for number in range(3)]
        wait_until(lambda: all(one.exists() and one.read_text() for one in files))
        began = time.monotonic()
    assert time.monotonic() - began < 3 * 2.0
    assert all(is_gone(int(one.read_text())) for one in files)


def test_it_ends_before_the_first_process_is_ready():
    with LocalExecutor(2, TARGET) as executor:
        executor.start(order("process"), None)


def test_what_goes_wrong_in_a_thread_is_raised():
    broken = order("process", redo=threading.Lock())  # cannot be sent
    with LocalExecutor(1, TARGET) as executor:
        executor.start(broken, None)
        with pytest.raises(TypeError, match="pickle"):
            executor.wait(60)


def test_a_signal_ends_the_waiting():
    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with LocalExecutor(2, TARGET) as executor:
            executor.start(order("sleep", 60), None)
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            with pytest.raises(StoppedError):
                executor.wait(60)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_batch_with_a_killer_one_that_hangs_and_one_that_fails():
    """The rest is done, and what went wrong is told by its kind."""
    bad = [order("kill", 9), order("sleep", 60), order("error")]
    orders = [*(order("process", number) for number in range(6)), *bad]
    orders += [order("process", number) for number in range(6, 12)]
    records, appended = [], []
    with LocalExecutor(2, TARGET) as executor:
        do_all(orders, executor, Limits(timeout=1.0), records.append, appended.append)
    assert len(records) == len(orders)
    by_name = {Path(one.output).name: one for one in records}
    assert by_name["kill-9"].status is Status.DIED
    assert by_name["kill-9"].exit_code == 137
    assert by_name["sleep-60"].status is Status.TIMEOUT
    assert by_name["sleep-60"].exit_code == 124
    assert by_name["error"].status is Status.ERROR
    assert [by_name[name].tries for name in ("kill-9", "sleep-60", "error")] == [2, 2, 1]
    assert sum(one.status is Status.DONE for one in records) == 12
    assert {one.status for one in appended} == {Status.DIED, Status.TIMEOUT}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_whole_group_leaves_nobody(number, tmp_path):
    """As Ctrl-C sends it: nothing is said but by the parent, and no process stays."""
    done = python(
        "from diffdecor import signals\n"
        "from diffdecor.batch.local import LocalExecutor\n"
        "from helpers.batch_targets import order\n"
        "signals.heed('SIGTERM', 'SIGINT', 'SIGHUP')\n"
        f"with LocalExecutor(2, {TARGET!r}) as executor:\n"
        "    for number in range(2):\n"
        f"        executor.start(order('mark', number, folder={str(tmp_path)!r}), None)\n"
        "    while True: executor.wait(60)\n",
        start_new_session=True,
    )
    files = [tmp_path / "0.mark", tmp_path / "1.mark"]
    wait_until(lambda: all(one.exists() and one.read_text() for one in files))
    os.killpg(done.pid, number)
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out, err) == (128 + number, "", "")
    assert all(is_gone(int(one.read_text())) for one in files)


def real(folder, number, difference):
    output = str(folder / "out" / f"{number}.fits")
    job = Job(
        difference=str(difference), output=output, decorrelation=DecorrelationConfig(threads=1)
    )
    task = Task(number=number, place=f"line {number}", job=job, output=output)
    return Order(task=task, ledger=folder / "results.jsonl", since=0)


def test_real_tasks_give_what_one_run_gives(tmp_path):
    """Whichever process does them, and whatever it has done before."""
    rng = np.random.default_rng(5)
    differences = [tmp_path / f"d{number}.fits" for number in range(4)]
    for number, file in enumerate(differences[:3]):
        pixels = rng.standard_normal((64 + 8 * number, 80), np.float32)
        fits.PrimaryHDU(pixels).writeto(file)
    records, appended = [], []
    with LocalExecutor(2) as executor:
        orders = [real(tmp_path, number, file) for number, file in enumerate(differences)]
        do_all(orders, executor, Limits(), records.append, appended.append)
    records.sort(key=lambda one: one.output)
    assert [one.status for one in records] == [Status.DONE] * 3 + [Status.ERROR]
    assert records[3].error.startswith(f"{differences[3]}: ")
    assert not appended
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 4
    for number, file in enumerate(differences[:3]):
        alone = real(tmp_path / "alone", number, file).task.job
        (tmp_path / "alone" / "out").mkdir(parents=True, exist_ok=True)
        run_job(alone)
        with fits.open(alone.output) as one, fits.open(records[number].output) as other:
            assert [hdu.name for hdu in one] == [hdu.name for hdu in other]
            for hdu, same in zip(one, other, strict=True):
                assert hdu.header.get("DATASUM") == same.header.get("DATASUM")
