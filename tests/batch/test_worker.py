"""A process that does tasks: how it dies, is stopped, and never outlives who started it."""

import os
import signal
import sys
import threading

import pytest
from helpers.batch_targets import TARGET, found, order
from helpers.processes import is_gone, python, wait_until

from diffdecor.batch.worker import Worker


@pytest.fixture
def worker():
    with Worker(TARGET) as made:
        yield made


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """File in which a process that sleeps leaves its number."""
    monkeypatch.setenv("DIFFDECOR_TEST_MARK", str(tmp_path / "mark"))
    return tmp_path / "mark"


def test_one_process_does_many_tasks(worker):
    first = worker.do(order("process", tries=2), None)
    assert first.order == order("process", tries=2)
    assert (first.died, first.signal, first.timeout, first.busy) == ("", 0, None, "")
    assert found(first) == found(worker.do(order("process"), 60)) != os.getpid()


@pytest.mark.parametrize(
    ("what", "died", "number"),
    [
        (("kill", 9), "killed by signal 9 (SIGKILL)", 9),
        (("kill", 11), "killed by signal 11 (SIGSEGV)", 11),
        (("kill", 15), "killed by signal 15 (SIGTERM)", 15),
        (("exit", 3), "ended with code 3", 0),
        (("exit", 0), "ended with code 0", 0),
        (("fail",), "ended with code 1", 0),
    ],
)
def test_a_process_that_dies_is_replaced(worker, what, died, number):
    before = found(worker.do(order("process"), 60))
    ended = worker.do(order(*what), 60)
    assert ended.record is None
    assert (ended.order, ended.died, ended.signal) == (order(*what), died, number)
    assert found(worker.do(order("process"), 60)) != before


def test_a_task_that_takes_too_long_is_stopped(worker):
    ended = worker.do(order("sleep", 60), 0.3)
    assert (ended.record, ended.timeout, ended.died, ended.signal) == (None, 0.3, "", 0)
    assert worker.do(order("process"), 60).record


@pytest.mark.parametrize("timeout", [1e7, 1e300, float("inf")])
def test_a_task_may_have_a_very_long_time(worker, timeout):
    assert worker.do(order("process"), timeout).record


def test_a_task_that_heeds_no_signal_is_killed(worker, monkeypatch):
    monkeypatch.setattr("diffdecor.batch.worker.GRACE", 0.5)
    assert worker.do(order("deaf", 60), 0.3).timeout == 0.3


def test_what_was_complete_when_the_time_was_over_counts(worker):
    """The record of a task that loses its signal, and ends, is in the ledger already."""
    before = found(worker.do(order("process"), 60))
    ended = worker.do(order("swallow", 60), 0.5)
    assert ended.record
    assert ended.timeout is None
    assert found(worker.do(order("process"), 60)) != before


def test_no_task_is_served_after_a_signal(worker):
    process = found(worker.do(order("process"), 60))
    threading.Timer(0.3, os.kill, (process, signal.SIGTERM)).start()
    assert worker.do(order("swallow", 60), 60).record
    assert is_gone(process)
    assert found(worker.do(order("process"), 60)) != process


def test_a_process_that_died_idle_is_blamed_on_no_task(worker):
    process = found(worker.do(order("process"), 60))
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: is_gone(process))
    assert found(worker.do(order("process"), 60)) != process


def test_interrupts_are_the_business_of_who_started_it(worker):
    assert worker.do(order("interrupt"), 60).record


@pytest.mark.parametrize("target", ["helpers.nowhere:do", "helpers.batch_targets:nothing"])
def test_a_process_that_cannot_start(target):
    with Worker(target) as worker:
        ended = worker.do(order("process"), 60)
    assert ended.died == "ended with code 1 as it started"


def test_a_program_that_is_not_there(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Worker(TARGET) as worker:
        assert worker.do(order("process"), 60).died == "not started: No such file or directory"


def test_it_is_stopped_from_another_thread(worker, mark):
    ends = []
    thread = threading.Thread(target=lambda: ends.append(worker.do(order("sleep", 60), None)))
    thread.start()
    wait_until(lambda: mark.exists() and mark.read_text())
    worker.stop()
    thread.join(30)
    assert ends[0].died == "killed by signal 15 (SIGTERM)"
    assert is_gone(int(mark.read_text()))
    assert worker.do(order("process"), 60).died == "stopped"
    worker.stop()


def test_an_exception_leaves_no_answer_for_the_next_task(worker):
    """As a signal makes one in the main thread, which waits."""

    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(StoppedError):
            worker.do(order("sleep", 60), None)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert worker.do(order("process"), 60).order == order("process")


def test_what_libraries_print_is_no_output_of_ours():
    done = python(
        "from diffdecor.batch.worker import Worker\nfrom helpers.batch_targets import order\n"
        f"with Worker({TARGET!r}) as worker: worker.do(order('noise'), 60)\n"
    )
    out, err = done.communicate(timeout=60)
    assert out == ""
    assert set(err.splitlines()) == {"from Python", "from C"}


@pytest.mark.parametrize(
    "flags", [["-I"], ["-P"], ["-E", "-s"], ["-W", "error"], ["-X", "utf8", "-O"], ["-B"]], ids=str
)
def test_it_starts_as_python_was_started(flags, tmp_path):
    """In a folder that hides modules, too."""
    (tmp_path / "queue.py").write_text("raise SystemExit('not ours')\n")
    done = python(
        "import os, sys\n"
        "from diffdecor.batch.worker import Worker\nfrom helpers.batch_targets import order\n"
        f"with Worker({TARGET!r}) as worker: found = worker.do(order('where'), 60)\n"
        "assert found.record, found.died\n"
        "isolated, utf8, warned, threads = found.record.metrics['found']\n"
        "assert (isolated, utf8, warned) == (sys.flags.isolated, sys.flags.utf8_mode,"
        " sys.warnoptions)\n"
        "print(threads)\n",
        *flags,
        cwd=tmp_path if "-P" in flags or "-I" in flags else None,
        env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"},
    )
    out, err = done.communicate(timeout=60)
    assert out == "1\n", err


def test_it_starts_in_a_folder_that_has_gone(tmp_path):
    (tmp_path / "gone").mkdir()
    done = python(
        "import os\n"
        "from diffdecor.batch.worker import Worker\nfrom helpers.batch_targets import order\n"
        f"os.chdir({str(tmp_path / 'gone')!r}); os.rmdir({str(tmp_path / 'gone')!r})\n"
        f"with Worker({TARGET!r}) as worker: print(worker.do(order('process'), 60).died)\n"
    )
    out, err = done.communicate(timeout=60)
    assert out == "\n", err


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_it_starts_without_standard_streams(closed, tmp_path):
    """As under some daemons."""
    said = tmp_path / "said"
    done = python(
        "import os, pathlib\n"
        "from diffdecor.batch.worker import Worker\nfrom helpers.batch_targets import order\n"
        f"for one in {closed}: os.close(one)\n"
        f"with Worker({TARGET!r}) as worker: found = worker.do(order('noise'), 60)\n"
        f"pathlib.Path({str(said)!r}).write_text(found.died or 'done')\n"
    )
    done.communicate(timeout=60)
    assert said.read_text() == "done"


@pytest.mark.parametrize("what", ["sleep", "deaf"])
def test_no_process_outlives_who_started_it(what):
    """However that ended: at work and idle, and none keeps another from knowing."""
    done = python(
        "import threading, time\n"
        "from diffdecor.batch.worker import Worker\nfrom helpers.batch_targets import order\n"
        f"workers = [Worker({TARGET!r}) for _ in range(3)]\n"
        "def ask(): print(*[one.do(order('process'), 60).record.metrics['found']"
        " for one in workers], flush=True)\n"
        "ask()\n"
        "for one in workers[:2]:\n"
        f"    threading.Thread(target=one.do, args=(order({what!r}, 60), None)).start()\n"
        "time.sleep(1)\nprint(flush=True)\ntime.sleep(60)\n"
    )
    processes = [int(number) for number in done.stdout.readline().split()]
    done.stdout.readline()
    assert len(set(processes)) == 3
    done.kill()
    wait_until(lambda: all(map(is_gone, processes)), 20)
    done.communicate()


def test_who_ends_while_a_process_starts_leaves_none_behind(tmp_path):
    """Nor does that process complain."""
    done = python(
        "import os\nfrom diffdecor.batch.worker import Worker\n"
        "from helpers.batch_targets import order\n"
        "Worker('helpers.slow_target:do').do(order('process'), None)\n",
        env=os.environ | {"DIFFDECOR_TEST_MARK": str(tmp_path / "mark")},
    )
    mark = tmp_path / "mark"
    wait_until(lambda: mark.exists() and mark.read_text())
    done.kill()
    wait_until(lambda: is_gone(int(mark.read_text())), 20)
    assert done.communicate()[1] == ""
