"""Batches on Dask: whatever vanishes, each task is done, and none that is complete again."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from helpers.processes import TESTS, heeding, is_gone, wait_until

from diffdecor.batch.dask import DaskExecutor
from diffdecor.errors import ClusterError, ConfigError

distributed = pytest.importorskip("distributed")

from helpers.dask_cluster import (  # noqa: E402  it needs distributed
    PATIENCE,
    TARGET,
    Cluster,
    has_begun,
    notes,
    order,
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as one:
        one.start_worker()
        yield one


@pytest.fixture
def executor(cluster):
    with DaskExecutor(scheduler_file=cluster.file, target=TARGET) as one:
        yield one


def ended(executor, number, meanwhile=lambda: None):
    """Return what came of so many tasks, by their number."""
    result = []
    until = time.monotonic() + PATIENCE
    while len(result) < number:
        assert time.monotonic() < until
        result += executor.wait(0.2)
        meanwhile()
    assert not executor.wait(0)
    by_number = {one.order.task.number: one for one in result}
    assert len(by_number) == number
    return by_number


def done(folder, numbers):
    """Say whether each task was done, and done once."""
    return all(
        (folder / f"out{n}").read_text() == f"result {n}"
        and [note[0] for note in notes(folder / f"out{n}")].count("done") == 1
        for n in numbers
    )


def test_workers_of_this_machine(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    with DaskExecutor(local=1), DaskExecutor(local=2, target=TARGET) as executor:
        assert executor.slots == 4
        assert executor.can_be_alone
        for number in range(8):
            executor.start(order(tmp_path, number), None)
        results = ended(executor, 8)
        executor.start(order(tmp_path, 8, "hang"), None)
        wait_until(lambda: has_begun(tmp_path / "out8"))
    assert all(one.record.status == "done" for one in results.values())
    assert done(tmp_path, range(8))
    begun = [notes(tmp_path / f"out{number}")[0] for number in range(9)]
    processes = {int(note[1]) for note in begun}
    assert len(processes) == 2
    assert {int(note[2]) for note in begun} == {os.getpid()}
    assert all(map(is_gone, processes))
    assert {path.stem for path in tmp_path.iterdir()} == {f"out{number}" for number in range(9)}
    assert capfd.readouterr() == ("", "")
    assert not caplog.messages


def hanging_batch(folder, where, **environment):
    """A process with four tasks that take for ever."""
    script = (
        "import sys; from pathlib import Path; from diffdecor import signals\n"
        "from diffdecor.batch.dask import DaskExecutor; from helpers.dask_cluster import *\n"
        "signals.heed('SIGINT', 'SIGTERM', 'SIGHUP')\n"
        f"with DaskExecutor({where}, target=TARGET) as executor:\n"
        "    for number in range(4): executor.start(order(Path.cwd(), number, 'hang'), None)\n"
        "    while True: executor.wait(60)\n"
    )
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-W", "default", "-c", script],
        env=os.environ | {"PYTHONPATH": path} | environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=heeding,  # noqa: PLW1509  there are none here that hold locks
    )


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_to_all_processes(tmp_path, name):
    """As Ctrl-C and batch systems send it; nothing is said but by the command, and nothing left."""
    (tmp_path / "tmp").mkdir()
    batch = hanging_batch(tmp_path, "local=2", TMPDIR=str(tmp_path / "tmp"))
    with batch:
        wait_until(lambda: sum(has_begun(tmp_path / f"out{number}") for number in range(4)) == 2)
        number = getattr(signal, name)
        os.killpg(batch.pid, number)
        try:
            assert batch.communicate(timeout=PATIENCE)[0] == b""
        finally:
            batch.kill()
    assert batch.returncode == 128 + number
    begun = [note for number in range(4) for note in notes(tmp_path / f"out{number}")]
    assert [note[0] for note in begun] == ["begun"] * 2
    assert all(is_gone(int(note[1])) for note in begun)
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGKILL, marks=pytest.mark.long), signal.SIGTERM]
)
def test_a_worker_that_vanishes_has_its_task_done_elsewhere(tmp_path, number):
    """Killed, or told to end, as at its walltime."""
    with (
        Cluster(tmp_path) as cluster,
        DaskExecutor(scheduler_file=cluster.file, target=TARGET) as executor,
    ):
        workers = [cluster.start_worker(), cluster.start_worker()]
        go = tmp_path / "go"
        for row in range(2):
            executor.start(order(tmp_path, row, f"wait {go}"), None)
        wait_until(lambda: all(has_begun(tmp_path / f"out{row}") for row in range(2)))
        process, dask_worker = map(int, notes(tmp_path / "out0")[0][1:])
        victim = next(worker for worker in workers if worker.pid == dask_worker)
        for row in range(2, 8):
            executor.start(order(tmp_path, row), None)
        victim.send_signal(number)
        victim.wait(PATIENCE)
        wait_until(lambda: is_gone(process))
        go.touch()
        results = ended(executor, 8)
    assert all(one.record and not one.died for one in results.values())
    assert done(tmp_path, range(8))
    assert len([note for note in notes(tmp_path / "out0") if note[0] == "begun"]) == 2


def test_a_task_whose_workers_vanish_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with (
        Cluster(tmp_path) as cluster,
        DaskExecutor(scheduler_file=cluster.file, target=TARGET) as executor,
    ):
        victim = cluster.start_worker()
        executor.start(order(tmp_path, 0, "hang"), None)
        wait_until(lambda: has_begun(tmp_path / "out0"))
        cluster.kill(victim)
        result = ended(executor, 1)[0]
    assert result.vanished
    assert not result.died
    assert result.record is None


@pytest.mark.long
def test_a_scheduler_that_is_killed_is_waited_for(tmp_path, caplog, capfd):
    caplog.set_level(logging.WARNING, "diffdecor")
    with (
        Cluster(tmp_path) as cluster,
        DaskExecutor(scheduler_file=cluster.file, target=TARGET) as executor,
    ):
        old = [cluster.start_worker(), cluster.start_worker()]
        go = tmp_path / "go"
        executor.start(order(tmp_path, 0), None)
        assert ended(executor, 1)
        for number in range(1, 8):
            manner = f"wait {go}" if number < 3 else ""
            executor.start(order(tmp_path, number, manner), None)
        wait_until(lambda: all(has_begun(tmp_path / f"out{number}") for number in (1, 2)))
        address = cluster.file.read_text()
        cluster.kill(cluster.scheduler)
        for worker in old:
            worker.wait(PATIENCE)  # Dask's do not look for another scheduler
        assert all(is_gone(int(notes(tmp_path / f"out{n}")[0][1])) for n in (1, 2))
        go.touch()
        caplog.clear()
        threading.Timer(1, cluster.start_scheduler).start()
        for _ in range(2):
            executor.wait(0.5)
        wait_until(cluster.file.exists)
        assert cluster.file.read_text() != address
        cluster.start_worker()
        results = ended(executor, 7)
        assert all(one.record and not one.died for one in results.values())
    assert done(tmp_path, range(8))
    assert [len(notes(tmp_path / f"out{number}")) for number in range(8)] == [2, 3, 3, *[2] * 5]
    said = [record.getMessage() for record in caplog.records]
    assert sum("no scheduler" in text for text in said) == 1
    assert sum("scheduler is there" in text for text in said) == 1
    assert capfd.readouterr().err == ""


def test_no_scheduler(tmp_path, unused_port):
    missing = tmp_path / "scheduler.json"
    stale = tmp_path / "stale.json"
    stale.write_text(f'{{"address": "tcp://127.0.0.1:{unused_port}"}}')
    damaged = tmp_path / "damaged.json"
    damaged.write_text('{"addr')
    address = f"tcp://127.0.0.1:{unused_port}"
    for where, named in (
        ({"scheduler": address}, [address]),
        ({"scheduler_file": missing}, [str(missing)]),
        ({"scheduler_file": stale}, [str(stale), address]),
        ({"scheduler_file": damaged}, [str(damaged)]),
    ):
        with (
            pytest.raises(ClusterError, match="no scheduler") as caught,
            DaskExecutor(**where, patience=0.2),
        ):
            pass
        assert caught.value.exit_code == 75
        assert "run the batch again" in str(caught.value)
        assert all(name in str(caught.value) for name in named)


@pytest.mark.parametrize("address", ["", "nonsense://host:8786", "host:port", "tcp://127.0.0.1"])
def test_what_is_no_address_is_not_waited_for(address):
    with (
        pytest.raises(ConfigError, match="not the address of a scheduler"),
        DaskExecutor(scheduler=address),
    ):
        pass


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_scheduler_without_workers_is_given_time(tmp_path, caplog):
    with (
        Cluster(tmp_path) as cluster,
        DaskExecutor(scheduler_file=cluster.file, target=TARGET) as executor,
    ):
        assert executor.slots == 1
        executor.start(order(tmp_path, 0), None)
        wait_until(lambda: executor.wait(0.1) or "no workers" in caplog.text)
        executor.wait(1.5)
        cluster.start_worker()
        assert ended(executor, 1)[0].record
        wait_until(lambda: executor.slots == 2)
        assert not executor.can_be_alone
    assert caplog.text.count("no workers") == 1


def test_what_happens_to_one_task_is_its_own_affair(tmp_path, executor):
    executor.start(order(tmp_path, 0, f"die {int(signal.SIGKILL)}"), None)
    executor.start(order(tmp_path, 1, "hang"), 1.0)
    executor.start(order(tmp_path, 2), None)
    results = ended(executor, 3)
    assert results[0].signal == signal.SIGKILL
    assert "SIGKILL" in results[0].died
    assert results[1].timeout == 1.0
    assert results[1].record is None
    assert results[2].record.output == str(tmp_path / "out2")


def test_a_machine_that_does_not_see_the_files(tmp_path, executor):
    executor.start(order(tmp_path / "elsewhere", 0, tries=2), None)
    record = ended(executor, 1)[0].passing
    assert record.exit_code == 3
    assert record.tries == 2
    assert str(tmp_path / "elsewhere") in record.error
    assert "same file system" in record.error


def test_a_worker_with_another_diffdecor_is_refused(tmp_path, executor, monkeypatch):
    monkeypatch.setattr("diffdecor.batch.dask_worker.identity", lambda: "diffdecor 99")
    executor.start(order(tmp_path, 0), None)
    with pytest.raises(ClusterError, match="the batch is diffdecor 99") as caught:
        ended(executor, 1)
    assert "environment" in str(caught.value)
    assert not (tmp_path / "out0").exists()


def test_a_worker_without_diffdecor_says_so(tmp_path):
    missing = tmp_path / "missing"
    (missing / "diffdecor").mkdir(parents=True)
    error = "raise ModuleNotFoundError(\"No module named 'diffdecor'\")"
    (missing / "diffdecor" / "__init__.py").write_text(error)
    with (
        Cluster(tmp_path) as cluster,
        DaskExecutor(scheduler_file=cluster.file, target=TARGET) as executor,
    ):
        worker = cluster.start_worker(path=str(missing))
        executor.start(order(tmp_path, 0), None)
        with pytest.raises(ClusterError, match="No module named 'diffdecor'; start them"):
            ended(executor, 1)
        assert worker.poll() is None  # it may have other work


def test_what_still_works_is_stopped_at_the_end(tmp_path, cluster):
    with DaskExecutor(scheduler_file=cluster.file, target=TARGET) as executor:
        for number in range(3):
            executor.start(order(tmp_path, number, "hang"), None)
        wait_until(lambda: any(has_begun(tmp_path / f"out{number}") for number in range(3)))
    begun = [note for number in range(3) for note in notes(tmp_path / f"out{number}")]
    assert len(begun) == 1
    assert is_gone(int(begun[0][1]))
    # The worker goes on for others.
    with DaskExecutor(scheduler_file=cluster.file, target=TARGET) as executor:
        executor.start(order(tmp_path, 3), None)
        assert ended(executor, 1)[3].record


def test_nothing_works_for_a_batch_that_was_killed(tmp_path, cluster):
    with hanging_batch(tmp_path, f"scheduler_file={str(cluster.file)!r}") as batch:
        wait_until(lambda: any(has_begun(tmp_path / f"out{number}") for number in range(4)))
        batch.kill()
    begun = [note for number in range(4) for note in notes(tmp_path / f"out{number}")]
    wait_until(lambda: is_gone(int(begun[0][1])))
    assert len(begun) == 1


def test_one_place_is_wanted(monkeypatch):
    for where in ({}, {"scheduler": "tcp://host:8786", "local": 2}):
        with pytest.raises(ConfigError, match="needs one"):
            DaskExecutor(**where)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'diffdecor\[dask\]'"):
        DaskExecutor(local=2)
