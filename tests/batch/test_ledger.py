"""Records are appended whole by many, and read whatever a crash has left; so is the table."""

import errno
import multiprocessing
import os
import stat
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.batch import ledger as ledger_module
from diffdecor.batch.ledger import Ledger
from diffdecor.batch.lines import line_of
from diffdecor.batch.model import Record, Status
from diffdecor.errors import BusyError, OutputError
from diffdecor.fits.atomic import output_held
from diffdecor.pipeline.results_table import BATCH_COLUMNS


def record(number, **about):
    known = {"output": f"/out/{number}.fits", "status": Status.DONE, "exit_code": 0}
    return Record(**(known | about))


def refreshed(folder, since=0):
    found = Ledger(folder, since)
    found.refresh()
    return found


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(ledger_module, "PATIENCE", 0.2)


def test_nothing_is_there_at_first(tmp_path):
    found = refreshed(tmp_path / "none")
    assert (found.records, found.size, found.unreadable) == ({}, 0, 0)
    assert found.newer("/out/1.fits", 0) is None


def test_what_is_appended_is_read_and_is_news(tmp_path):
    ledger = Ledger(tmp_path / "made" / "anew")
    ledger.append(record(1))
    reader = refreshed(ledger.file.parent)
    assert reader.records == {"/out/1.fits": record(1)}
    assert reader.size == ledger.file.stat().st_size
    since = reader.size
    assert reader.newer("/out/1.fits", since) is None
    assert reader.newer("/out/1.fits", 0) == record(1)
    ledger.append(record(2))
    ledger.append(record(1, tries=2))
    reader.refresh()
    assert reader.newer("/out/1.fits", since).tries == 2
    assert reader.newer("/out/2.fits", since) == record(2)
    assert len(reader.records) == 2
    late = refreshed(ledger.file.parent, since)
    assert late.newer("/out/2.fits", since) == record(2)
    assert names(ledger.file.parent) == ["results.jsonl"]


def test_only_what_was_appended_is_read_again(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)
    ledger.append(record(1))
    ledger.refresh()
    seen = []
    monkeypatch.setattr(ledger_module, "record_of", seen.append)
    ledger.refresh()
    assert seen == []
    ledger.append(record(2))
    ledger.refresh()
    assert len(seen) == 1


def test_a_crash_at_any_byte_loses_no_other_record(tmp_path):
    """The line is torn after every number of bytes, then another one is appended."""
    lines = [line_of(record(number, error="x" * number)) for number in range(3)]
    file = tmp_path / "results.jsonl"
    for torn in range(len(lines[1]) + 1):
        file.write_bytes(lines[0] + lines[1][:torn])
        ledger = refreshed(tmp_path)
        whole = torn == len(lines[1])
        # A torn line is left for the next time: it may be being written.
        assert ledger.size == len(lines[0]) + (torn if whole else 0)
        assert ledger.unreadable == 0
        ledger.append(record(2, error="xx"))
        ledger.refresh()
        # All but its end is the whole of it.
        whole = whole or torn == len(lines[1]) - 1
        expected = {"/out/0.fits", "/out/2.fits"} | ({"/out/1.fits"} if whole else set())
        assert set(ledger.records) == expected
        assert ledger.unreadable == (0 if whole or not torn else 1)
        assert ledger.records == refreshed(tmp_path).records


@given(st.lists(st.binary(max_size=30) | st.integers(0, 5), max_size=12), st.data())
def test_whatever_lies_between_records_is_passed_over(tmp_path_factory, parts, data):
    folder = tmp_path_factory.mktemp("ledger")
    file, expected, text = folder / "results.jsonl", {}, b""
    for place, part in enumerate(parts):
        if isinstance(part, int):
            one = record(part, tries=place)
            text += b"\n" + line_of(one)
            expected[one.output] = one
        else:
            text += part
    # It is read in steps, as it grows.
    ledger = Ledger(folder)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    for end in (*cuts, len(text)):
        file.write_bytes(text[:end]) if not file.exists() else extend(file, text, end)
        ledger.refresh()
    assert ledger.records == expected
    assert ledger.records == refreshed(folder).records


def extend(file, text, end):
    with file.open("ab") as opened:
        opened.write(text[file.stat().st_size : end])


def test_lines_of_any_length_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "_BLOCK", 64)
    monkeypatch.setattr(ledger_module, "_LONGEST", 1000)
    file = tmp_path / "results.jsonl"
    file.write_bytes(line_of(record(1)) + b"{" * 5000 + b"\n" + line_of(record(2)))
    ledger = refreshed(tmp_path)
    assert set(ledger.records) == {"/out/1.fits", "/out/2.fits"}
    assert ledger.unreadable == 1
    assert ledger.size == file.stat().st_size


@pytest.mark.parametrize("how", ["removed", "shortened", "replaced"])
def test_a_file_that_is_another_is_read_anew(tmp_path, how):
    ledger = Ledger(tmp_path)
    for number in (1, 2):
        ledger.append(record(number))
    ledger.refresh()
    other = line_of(record(3))
    if how == "removed":
        ledger.file.unlink()
    elif how == "shortened":
        ledger.file.write_bytes(other)
    else:
        (tmp_path / "new").write_bytes(other * 5)
        (tmp_path / "new").replace(ledger.file)
    ledger.refresh()
    assert set(ledger.records) == ({"/out/3.fits"} if how != "removed" else set())


def test_an_output_that_was_there_keeps_what_making_it_took(tmp_path):
    ledger = Ledger(tmp_path)
    made = record(1, started="2026", wall_seconds=3.0, host="h", tries=2, key="k")
    ledger.append(made)
    found = record(1, key="k", stamps={"/in": (1, 2, 3)})
    ledger.append(found)
    ledger.refresh()
    expected = replace(made, stamps=found.stamps)
    assert ledger.records["/out/1.fits"] == expected
    ledger.append(record(1, key="other"))  # of other options: not made by that job
    ledger.refresh()
    assert ledger.records["/out/1.fits"].started == ""


def append_many(folder, start, number):
    ledger = Ledger(Path(folder))
    for place in range(start, start + number):
        ledger.append(record(place, error="x" * (place % 7) * 500))


def test_many_processes_and_threads_append_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=append_many, args=(tmp_path, 100 * n, 40)) for n in range(2)]
    threads = [
        threading.Thread(target=append_many, args=(tmp_path, 100 * n, 40)) for n in range(2, 5)
    ]
    for one in (*workers, *threads):
        one.start()
    for one in (*workers, *threads):
        one.join()
    ledger = refreshed(tmp_path)
    expected = {f"/out/{100 * n + place}.fits" for n in range(5) for place in range(40)}
    assert set(ledger.records) == expected
    assert ledger.unreadable == 0
    assert names(tmp_path) == ["results.jsonl"]


@contextmanager
def held_elsewhere(path):
    """Have another thread hold the lock on a file; gives what releases it."""
    entered, done = threading.Event(), threading.Event()

    def hold():
        with output_held(path):
            entered.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait()
    try:
        yield done.set
    finally:
        done.set()
        holder.join()


@pytest.mark.usefixtures("impatient")
def test_who_waits_in_vain_for_the_lock_appends_all_the_same(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.append(record(1))
    with held_elsewhere(ledger.file):
        ledger.append(record(2))
    assert set(refreshed(tmp_path).records) == {"/out/1.fits", "/out/2.fits"}


def test_what_passes_is_tried_again(tmp_path, monkeypatch):
    ledger, calls = Ledger(tmp_path), []
    real = os.write

    def fail(descriptor, line):
        calls.append(line)
        if len(calls) < 4:
            real(descriptor, line[:10])
            raise OSError(errno.EIO if len(calls) % 2 else errno.ESTALE, "no")
        return real(descriptor, line)

    monkeypatch.setattr(os, "write", fail)
    ledger.append(record(1))
    assert len(calls) == 4
    assert ledger.file.read_bytes() == line_of(record(1))


def test_a_full_disk_leaves_nothing_torn(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)
    ledger.append(record(1))
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: real(descriptor, line[:20]))
    with pytest.raises(OutputError, match=r"results\.jsonl: cannot be written: the disk is full"):
        ledger.append(record(2))
    monkeypatch.undo()
    assert ledger.file.read_bytes() == line_of(record(1))
    assert names(tmp_path) == ["results.jsonl"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(tmp_path):
    ledger = Ledger(tmp_path)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(OutputError, match="cannot be written: Permission denied"):
            ledger.append(record(1))
        with pytest.raises(OutputError, match="cannot be written: Permission denied"):
            ledger.write_table("m.csv", [], {})
    finally:
        tmp_path.chmod(stat.S_IRWXU)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_ledger_that_is_no_file(tmp_path, kind):
    ledger = Ledger(tmp_path)
    (ledger.file.mkdir if kind == "folder" else lambda: os.mkfifo(ledger.file))()
    with pytest.raises(OutputError, match=r"results\.jsonl: cannot be written: \w+"):
        ledger.append(record(1))
    if kind == "folder":
        with pytest.raises(OutputError, match=r"results\.jsonl: cannot be read: Is a directory"):
            ledger.refresh()


def test_what_a_killed_process_left_is_removed(tmp_path):
    from diffdecor.fits.lock import Owner, beside

    ledger = Ledger(tmp_path)
    for file in (ledger.file, ledger.table):
        owner = replace(Owner.this(), process=2**22 + 1)
        beside(file, "lock").symlink_to(owner.text())
        beside(file, f"{owner.token}.part").write_bytes(b"half")
    ledger.tidy()
    assert names(tmp_path) == []


def test_the_table_has_a_row_for_every_task_of_the_manifest(tmp_path, task):
    folder = tmp_path / "out"
    ledger = Ledger(folder)
    tasks = [task(number) for number in (3, 1, 2)]
    tasks.append(task(4, output=tmp_path / "elsewhere.fits"))
    done = Record(
        output=tasks[0].job.output,
        status=Status.DONE,
        exit_code=0,
        metrics={"rho_after": 0.01, "rho_error": 0.02, "noise_model": "white"},
        wall_seconds=1.25,
        peak_memory=2**31,
        started="2026-11-30T00:00:00.000Z",
        host="h",
        manifest="a.csv",
    )
    records = {
        done.output: done,
        tasks[1].job.output: Record(
            output=tasks[1].job.output, status=Status.ERROR, exit_code=3, error="no, file", tries=3
        ),
        tasks[3].job.output: replace(done, output=tasks[3].job.output, metrics={"skipped": True}),
    }
    # Of another manifest with the same folder, and of a row that is no longer there.
    other = replace(done, output=str(folder / "other.fits"), manifest="b.csv")
    ledger.append(other)
    ledger.append(replace(done, output=str(folder / "gone.fits")))
    ledger.refresh()
    ledger.write_table("a.csv", tasks, records)
    table = Table.read(ledger.table)
    assert table.colnames == [column.name for column in BATCH_COLUMNS]
    outputs = ["3.fits", "1.fits", "2.fits", str(tmp_path / "elsewhere.fits"), "other.fits"]
    assert table["output"].tolist() == outputs
    assert table["status"].tolist() == ["done", "error", "undone", "done", "done"]
    assert table["exit_code"].tolist() == [0, 3, 75, 0, 0]
    assert table["verdict"].tolist() == ["white", None, None, "skipped", "white"]
    assert table["row"].tolist() == [3, 1, 2, 4, None]
    assert table["manifest"].tolist() == ["a.csv"] * 4 + ["b.csv"]
    assert table["tries"].tolist() == [1, 3, 0, 1, 1]
    assert table["noise_model"].tolist()[:2] == ["white", None]
    assert table["error"].tolist()[:2] == [None, "no, file"]
    assert table["peak_memory"].tolist()[0] == 2**31
    assert str(table["wall_seconds"].unit) == "s"
    # Two manifests in one folder do not destroy each other's rows.
    ledger.write_table("b.csv", [task(1, output=other.output)], {other.output: other})
    table = Table.read(ledger.table)
    assert table["output"].tolist() == ["other.fits", "gone.fits"]


def test_a_table_that_others_write_is_waited_for(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)
    with held_elsewhere(ledger.table) as release:
        threading.Timer(0.1, release).start()
        ledger.write_table("a.csv", [], {})
    assert len(Table.read(ledger.table)) == 0
    monkeypatch.setattr(ledger_module, "PATIENCE", 0.05)
    with (
        held_elsewhere(ledger.table),
        pytest.raises(OutputError, match=r"results\.ecsv: cannot be written: another process is"),
    ):
        ledger.write_table("a.csv", [], {})


def test_a_table_that_others_keep_locked_is_worth_another_run(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "PATIENCE", 0.05)
    lock = tmp_path / ".results.ecsv.lock"
    lock.symlink_to("diffdecor:abc:joe:elsewhere:machine:77:123")
    with pytest.raises(BusyError, match="process 77 of joe on elsewhere") as raised:
        Ledger(tmp_path).write_table("night.csv", [], {})
    assert raised.value.exit_code == 75
