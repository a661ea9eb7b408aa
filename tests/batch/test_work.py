"""A task is done once, whoever does it, and what came of it is in the record."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import opened

from diffdecor import signals
from diffdecor.batch import ledger as ledger_module
from diffdecor.batch import work
from diffdecor.batch.ledger import Ledger
from diffdecor.batch.model import Order, Record, Status
from diffdecor.batch.recognition import job_key, recognised
from diffdecor.batch.work import do
from diffdecor.errors import InputError
from diffdecor.fits.atomic import output_held
from diffdecor.pipeline.provenance import PART_CARD

pytestmark = pytest.mark.usefixtures("settled")
ROOT = Path(__file__).parents[2]


def lines(order):
    ledger = Ledger(order.ledger.parent)
    ledger.refresh()
    assert ledger.unreadable == 0
    return ledger.records


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_task_is_done_and_recorded(order, tmp_path):
    one = order(output=tmp_path / "out" / "deep" / "1.fits", options={"filters": True}, tries=2)
    ended = do(one)
    record = ended.record
    assert (ended.order, ended.busy, ended.passing, ended.unrecorded) == (one, "", None, "")
    assert (record.status, record.exit_code, record.error) == (Status.DONE, 0, "")
    assert record.metrics["noise_model"] == "white"
    assert (record.tries, record.manifest) == (2, "night.csv")
    assert record.host == os.uname().nodename
    assert record.key == job_key(one.task.job)
    assert record.wall_seconds > 0
    assert record.cpu_seconds > 0
    assert 2**24 < record.peak_memory < 2**34
    began = datetime.fromisoformat(record.started)
    assert abs(time.time() - began.timestamp()) < 600
    assert lines(one) == {record.output: record}
    assert names(tmp_path / "out") == ["deep", "results.jsonl"]
    assert names(tmp_path / "out" / "deep") == ["1.fits"]


def test_done_already_is_recorded_without_what_it_took(order):
    first = do(order()).record
    since = order().ledger.stat().st_size
    again = do(order(since=since)).record
    assert (again.status, again.started, again.wall_seconds) == (Status.DONE, "", None)
    # Cards have a digit less.
    numbers = {n: v for n, v in first.metrics.items() if isinstance(v, float)}
    assert {name: again.metrics[name] for name in numbers} == pytest.approx(numbers, rel=1e-12)
    found = lines(order())[again.output]
    assert (found.started, found.wall_seconds) == (first.started, first.wall_seconds)
    assert len(order().ledger.read_text().splitlines()) == 2


def test_news_of_another_batch_are_returned_as_they_are(order, monkeypatch):
    record = do(order()).record
    monkeypatch.setattr(work, "run_job", None)
    assert do(order()).record == record
    assert do(order(redo=True)).record == record
    assert do(order(tries=2)).record == record  # we died after recording it
    assert len(order().ledger.read_text().splitlines()) == 1


@pytest.mark.parametrize("status", [Status.ERROR, Status.DIED, Status.TIMEOUT])
def test_a_failure_is_news_unless_it_was_our_own_try(order, status):
    one = order()
    output, key = one.task.job.output, job_key(one.task.job)
    failed = Record(output=output, status=status, exit_code=3, key=key, tries=1)
    Ledger(one.ledger.parent).append(failed)
    assert do(one).record == failed
    assert do(order(tries=2)).record.status == Status.DONE
    Ledger(one.ledger.parent).append(replace(failed, key="of other options"))
    assert do(one).record.status == Status.DONE


def test_undone_is_no_news(order):
    one = order()
    undone = Record(output=one.task.job.output, status=Status.UNDONE, exit_code=75)
    Ledger(one.ledger.parent).append(undone)
    assert do(one).record.status == Status.DONE


def test_what_another_batch_has_made_anew_is_not_made_again(order, triple):
    one = order(redo=True)
    do(one)
    made = Path(one.task.job.output).stat().st_ino
    os.utime(triple / "sci.fits", (1e9, 1e9))  # by the look of it, it has changed
    assert do(one).record.status == Status.DONE
    assert Path(one.task.job.output).stat().st_ino == made
    since = one.ledger.stat().st_size
    assert do(order(redo=True, since=since)).record.started
    assert Path(one.task.job.output).stat().st_ino != made


def test_the_output_of_another_process_is_busy(order, tmp_path):
    one = order()
    entered, done = threading.Event(), threading.Event()
    (tmp_path / "out").mkdir()

    def hold():
        with output_held(one.task.job.output):
            entered.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait()
    ended = do(one)
    done.set()
    holder.join()
    assert ended.record is None
    assert ended.busy.startswith(f"process {os.getpid()} of ")
    assert not one.ledger.exists()
    assert do(one).record.status == Status.DONE


def test_the_lock_is_held_for_the_whole_job(order, monkeypatch):
    real, appended = work.run_job, Ledger.append
    seen = []

    def look(*_):
        seen.append((Path(one.task.job.output).parent / ".1.fits.lock").is_symlink())

    one = order()
    monkeypatch.setattr(work, "run_job", lambda job: (look(), real(job), look())[1])
    monkeypatch.setattr(Ledger, "append", lambda *about: (look(), appended(*about)))
    do(one)
    assert seen == [True] * 3


def test_errors_are_recorded_with_the_exit_code_of_run(order, triple, tmp_path):
    (triple / "kernel.fits").unlink()
    record = do(order()).record
    assert (record.status, record.exit_code) == (Status.ERROR, 3)
    assert str(triple / "kernel.fits") in record.error
    assert "\n" not in record.error
    record = do(order(number=2, options={"noise_kind": "sigma"})).record
    assert (record.status, record.exit_code) == (Status.ERROR, 3)
    wrong = order(number=3, options={"write": (f"psi={tmp_path}/p.fits",), "filters": False})
    record = do(wrong).record
    assert (record.status, record.exit_code) == (Status.ERROR, 2)
    assert "--write psi and --no-filters" in record.error  # in words of the command line
    assert len(lines(order())) == 3
    assert names(tmp_path / "out") == ["results.jsonl"]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (MemoryError(), 3, "not enough memory"),
        (RuntimeError("two\nlines"), 1, "internal error: RuntimeError: two lines"),
        (RecursionError("deep"), 1, "internal error: RecursionError: deep"),
        (OSError(errno.ENOSPC, "No space"), 1, "internal error: OSError: "),
    ],
)
def test_whatever_is_raised_is_recorded(order, monkeypatch, error, code, text):
    def fail(_):
        raise error

    monkeypatch.setattr(work, "run_job", fail)
    record = do(order()).record
    assert (record.status, record.exit_code) == (Status.ERROR, code)
    assert text in record.error
    assert lines(order()) == {record.output: record}


def test_what_stops_the_process_is_raised_and_leaves_nothing(order, tmp_path, monkeypatch):
    def stop(_):
        raise SystemExit(143)

    monkeypatch.setattr(work, "run_job", stop)
    with pytest.raises(SystemExit):
        do(order())
    assert names(tmp_path / "out") == []


def test_the_gate_and_what_strict_refuses(order, triple):
    record = do(order(options={"max_rho": 1e-4})).record
    assert (record.status, record.exit_code) == (Status.NOT_WHITE, 4)
    assert "its noise is not white enough: max |rho|" in record.error
    for name in ("sci", "diff"):
        with fits.open(triple / f"{name}.fits", mode="update") as hdus:
            hdus[0].header["CONVD"] = "REF"
    refused = order(number=2, options={"strict": True})
    record = do(refused).record
    assert (record.status, record.exit_code) == (Status.REFUSED, 4)
    assert "(--strict)" in record.error
    assert record.warnings
    assert recognised(refused.task, record) == record
    record = do(order(number=3)).record
    assert record.status == Status.DONE
    assert record.warnings


def test_a_stale_output_is_replaced(order, triple, tmp_path):
    parts = (f"mask={tmp_path}/mask.fits",)
    do(order(options={"write": parts}))
    before = fits.getheader(tmp_path / "mask.fits")["DDDTYPE"]
    record = do(order(options={"write": parts, "dtype": "float64"})).record
    assert record.status == Status.DONE
    assert opened(record.output)["IMAGE"][1].dtype.itemsize == 8
    assert fits.getheader(tmp_path / "mask.fits")["DDDTYPE"] != before
    with fits.open(triple / "diff.fits", mode="update") as hdus:
        hdus[0].data *= np.float32(1 + 2**-20)
    again = do(order(options={"write": parts, "dtype": "float64"}))
    assert again.record.started


@pytest.mark.parametrize("redo", [False, True])
@pytest.mark.parametrize("kind", ["image", "text", "part", "input"])
def test_files_of_others_are_never_overwritten(order, triple, tmp_path, kind, redo):
    output = tmp_path / "out" / "1.fits"
    output.parent.mkdir()
    if kind == "image":
        shutil.copyfile(triple / "sci.fits", output)
    elif kind == "text":
        output.write_text("notes")
    elif kind == "part":
        image = fits.PrimaryHDU(np.zeros((2, 2)), fits.Header({"DDVERS": "1"}))
        image.header[PART_CARD.keyword] = "mask"
        image.writeto(output)
    else:
        output = triple / "diff.fits"
    before = output.read_bytes()
    record = do(order(output=output, redo=redo)).record
    assert record.status == Status.ERROR
    assert record.exit_code in {2, 3}
    assert str(output) in record.error
    assert output.read_bytes() == before


@pytest.mark.parametrize("redo", [False, True])
def test_written_parts_replace_parts_only(order, tmp_path, redo):
    part = tmp_path / "mask.fits"
    one = order(options={"write": (f"mask={part}",)}, redo=redo)
    do(one)
    since = one.ledger.stat().st_size
    part.write_text("notes")
    one = order(options={"write": (f"mask={part}",), "dtype": "float64"}, redo=redo, since=since)
    record = do(one).record
    assert (record.status, record.exit_code) == (Status.ERROR, 2)
    assert part.read_text() == "notes"
    assert "is no output of diffdecor" in record.error


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT])
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_may_pass_is_not_recorded(order, monkeypatch, code, wrapped):
    def fail(_):
        error = OSError(code, os.strerror(code), "/in/sci.fits")
        if not wrapped:
            raise error
        msg = "/in/sci.fits: cannot be read"
        raise InputError(msg) from error

    monkeypatch.setattr(work, "run_job", fail)
    one = order()
    ended = do(one)
    assert ended.record is None
    assert (ended.passing.status, ended.passing.exit_code) == (Status.ERROR, 3)
    assert ended.passing.error.startswith("/in/sci.fits: ")
    assert not one.ledger.exists()
    monkeypatch.undo()
    assert do(one).record.status == Status.DONE


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_vanishes_during_the_work_is_made_again(order, tmp_path, monkeypatch, again):
    real = work.run_job

    def run(job):
        shutil.rmtree(tmp_path / "out")
        if again:  # somebody has made it again, without our lock
            (tmp_path / "out").mkdir()
        return real(job)

    monkeypatch.setattr(work, "run_job", run)
    one = order()
    ended = do(one)
    assert ended.record is None
    assert "folder" in ended.passing.error
    monkeypatch.undo()
    assert do(one).record.status == Status.DONE
    assert names(tmp_path / "out") == ["1.fits", "results.jsonl"]


def test_a_folder_that_vanishes_before_it_can_be_locked(order, tmp_path, monkeypatch):
    real = work._make_folders  # noqa: SLF001

    def make(job):
        real(job)
        (tmp_path / "out").rmdir()

    monkeypatch.setattr(work, "_make_folders", make)
    one = order()
    assert "No such file or directory" in do(one).passing.error
    monkeypatch.undo()
    assert do(one).record.status == Status.DONE


def test_a_folder_that_cannot_be_made(order, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("")
    record = do(order(output=tmp_path / "out" / "file" / "1.fits")).record
    assert (record.status, record.exit_code) == (Status.ERROR, 3)
    assert str(tmp_path / "out" / "file") in record.error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(order, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    one = order(output=folder / "1.fits")
    folder.chmod(0o500)
    record = do(one).record
    assert (record.status, record.exit_code) == (Status.ERROR, 3)
    assert "Permission denied" in record.error
    folder.chmod(0o700)
    assert do(replace(one, tries=2)).record.status == Status.DONE
    # What is done already needs no permission.
    folder.chmod(0o500)
    assert do(replace(one, since=one.ledger.stat().st_size)).record.status == Status.DONE
    folder.chmod(0o700)


def test_an_output_is_not_lost_where_the_ledger_cannot_be_written(order, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, text: real(descriptor, text[:9]))
    one = order()
    ended = do(one)
    assert ended.record.status == Status.DONE
    assert ended.unrecorded == f"{one.ledger}: cannot be written: the disk is full"
    assert Path(one.task.job.output).exists()
    monkeypatch.undo()
    assert one.ledger.read_bytes() == b""
    assert do(one).record.started == ""


def test_a_ledger_that_cannot_be_read_is_no_reason_not_to_work(order, monkeypatch):
    monkeypatch.setattr(ledger_module, "PATIENCE", 0.05)
    one = order()
    one.ledger.mkdir(parents=True)
    ended = do(one)
    assert ended.record.status == Status.DONE
    assert "results.jsonl: cannot be written: Is a directory" in ended.unrecorded


def test_a_signal_after_the_job_is_not_ignored(order):
    do(order())
    assert signals._state.complete is None  # noqa: SLF001


WORK = """
    import os, pickle, sys
    from diffdecor.batch import recognition
    from diffdecor.batch.work import do
    recognition._TICK = 0
    print("ready", flush=True)
    sys.stdin.read(1)
    with open(sys.argv[1], "rb") as file:
        orders = pickle.load(file)
    for order in orders:
        ended = do(order)
        print(ended.record and ended.record.status, ended.busy, flush=True)
"""


def start(tmp_path, orders, name="orders"):
    import pickle
    import textwrap

    (tmp_path / name).write_bytes(pickle.dumps(orders))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORK), str(tmp_path / name)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def planes(path):
    return {
        name: (None if pixels is None else pixels.tobytes(), text(header))
        for name, (header, pixels) in opened(path).items()
    }


def text(header):
    """Return the cards but times, of which the comments of the checksums hold some, too."""
    return [
        (card.keyword, str(card.value))
        for card in header.cards
        if card.keyword not in {"DATE", "CHECKSUM"}
    ]


def test_killed_at_any_moment_and_done_by_the_next(order, tmp_path):
    """Four tasks, killed again and again: in the end all are whole, done once, and alone."""
    orders = [order(number=number) for number in range(1, 5)]
    chance = np.random.default_rng(5)
    finished = {}
    for _ in range(int(os.environ.get("DIFFDECOR_KILLS", "4"))):
        process = start(tmp_path, orders)
        go(process)
        time.sleep(chance.uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for one in orders:
            file = Path(one.task.job.output)
            if file.exists():
                number = file.stat().st_ino
                assert finished.setdefault(file, number) == number
                fits.open(file, checksum=True).close()
    since = orders[0].ledger.stat().st_size if orders[0].ledger.exists() else 0
    for one in orders:
        assert do(replace(one, since=since)).record.status == Status.DONE
    for file, number in finished.items():
        assert file.stat().st_ino == number
    expected = ["1.fits", "2.fits", "3.fits", "4.fits", "results.jsonl"]
    assert names(tmp_path / "out") == expected
    reference = do(order(number=9)).record.output
    for one in orders:
        assert planes(one.task.job.output) == planes(reference)
    assert {record.status for record in lines(orders[0]).values()} == {Status.DONE}


def test_two_processes_on_the_same_tasks_do_each_once(order, tmp_path):
    orders = [order(number=number) for number in range(1, 7)]
    processes = [start(tmp_path, orders[::step], f"o{step}") for step in (1, -1)]
    for process in processes:
        go(process)
    said = [process.communicate()[0].split("\n")[:-1] for process in processes]
    assert all(len(one) == len(orders) for one in said)
    written = [line for line in orders[0].ledger.read_text().splitlines() if '"started":"2' in line]
    assert len(written) == len(orders)
    assert set(lines(orders[0])) == {one.task.job.output for one in orders}
    assert all(len(Path(one.task.job.output).read_bytes()) for one in orders)
    assert isinstance(orders[0], Order)


@pytest.mark.parametrize("ending", ["fits", "fits.gz", "fits.fz"])
@pytest.mark.parametrize("redo", [False, True])
def test_an_output_that_was_cut_off_is_made_anew(ending, redo, order, tmp_path):
    output = tmp_path / "out" / f"o.{ending}"
    assert do(order(output=output)).record.status == Status.DONE
    os.truncate(output, output.stat().st_size - 4000)
    record = do(order(output=output, redo=redo)).record
    assert (record.status, record.error) == (Status.DONE, "")
    with fits.open(output, checksum=True) as hdus:
        assert hdus["IMAGE"].data.size


def test_files_of_others_that_were_cut_off_stay_as_they_are(order, tmp_path, triple):
    output = tmp_path / "out" / "o.fits"
    output.parent.mkdir()
    for size in (0, 100, 4000):
        output.write_bytes((triple / "sci.fits").read_bytes()[:size])
        record = do(order(output=output, redo=True)).record
        assert record.status == Status.ERROR
        assert "is no output of diffdecor" in record.error or not size
        assert output.stat().st_size == size
