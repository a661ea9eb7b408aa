"""``diffdecor report results.ecsv``: a page on a batch, with what failed and why."""

import os
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from helpers.noise import smooth_noise
from helpers.workplace import call, check_failure, described

from diffdecor.batch.ledger import Ledger
from diffdecor.batch.model import FAILED, THERE, Record, Status, Task
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.results_table import BATCH_COLUMNS
from diffdecor.report import results

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

ROWS = [
    ("o0.fits", "done", "", 2.5, "node1"),
    ("o1.fits", "done", "", 3.5, "node2"),
    ("sub/o2.fits", "not white", "max |rho| 0.3 is above 0.02", 2.0, "node1"),
    ("o3.fits", "error", "sci3.fits: no such file; check the name", 0.1, "node1"),
    ("o4.fits", "died", "killed by signal 9 (SIGKILL)", None, "node2"),
    ("o5.fits", "timeout", "took more than 60 s", 60.0, "node1"),
    ("o6.fits", "refused", "<b>doubtful</b> & so", 1.0, "node1"),
    ("o7.fits", "undone", "", None, ""),
]


def write_table(file, rows=ROWS, **more):
    names = ["output", "status", "error", "wall_seconds", "host"]
    columns = list(zip(*rows, strict=True)) or [[]] * len(names)
    table = Table(masked=True)
    for name, values in zip(names, columns, strict=True):
        kind = float if name == "wall_seconds" else str
        table[name] = np.ma.masked_array(
            [kind() if value is None else value for value in values],
            mask=[value in {None, ""} for value in values],
            dtype=kind if values else (float if kind is float else "U1"),
        )
    for name, values in more.items():
        table[name] = values
    table.write(file, format="ascii.ecsv", overwrite=True)
    return file


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Three outputs with what they were made of."""
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "sub").mkdir()
    random = np.random.default_rng(3)
    for number in range(3):
        pixels = smooth_noise(random, (90, 96), 0.6).astype(np.float32)
        fits.writeto(folder / f"d{number}.fits", pixels)
        out = folder / ROWS[number][0]
        assert call("run", folder / f"d{number}.fits", "-o", out, "-q").exit_code == 0
    with fits.open(folder / "sub/o2.fits", mode="update") as hdus:
        hdus[0].header["DDGATE"] = "failed"
        del hdus[0].header["CHECKSUM"], hdus[0].header["DATASUM"]
    return folder


def names_of(page):
    """Return the names in the table of outputs, in their order."""
    return re.findall(r'<th scope="row"><a href="#o\d+">(.*?)</a>', page)


def test_statuses_are_those_of_batches():
    assert frozenset(THERE) == results.THERE
    assert frozenset(FAILED) | {Status.REFUSED} == results.FAILED
    assert {Status.UNDONE, *THERE, *results.FAILED} == set(Status)


def test_a_batch(outputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names are relative to the table
    table = write_table(outputs / "results.ecsv", tries=[1, 1, 3, 1, 2, 2, 1, 0])
    page = tmp_path / "night.html"
    done = call("report", table, "-o", page, "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    text = page.read_text()
    assert names_of(text) == [
        *("o3.fits", "o4.fits", "o5.fits", "o6.fits", "o2.fits", "o7.fits", "o0.fits", "o1.fits"),
    ]
    assert "8 differences, 3 of them decorrelated" in text
    assert "4 failed; 1 not done yet" in text
    assert "5 to look at" in text
    for words in (
        "Failed: sci3.fits: no such file; check the name",
        "Its process died: killed by signal 9 (SIGKILL)",
        "Took too long: took more than 60 s",
        "Refused: &lt;b&gt;doubtful&lt;/b&gt; &amp; so",
        "Not done yet.",
        "not white, 3 tries, 2 s, on node1",
        "<td>node2</td>",
    ):
        assert words in text, words
    assert len(re.findall("<img", text)) == 3
    raw = Table.read(tmp_path / "night.ecsv", format="ascii.ecsv")
    assert sorted(raw["status"]) == sorted(status for _, status, *_ in ROWS)
    assert raw["error"][raw["status"] == "timeout"] == "took more than 60 s"


def test_outputs_of_the_table_that_are_gone(outputs, tmp_path):
    table = write_table(outputs / "gone.ecsv", [*ROWS[:3], ("no.fits", "done", "", 1.0, "n")])
    done = call("report", table, "-o", tmp_path / "p.html", "-q")
    check_failure(done, 3, "no.fits", "no such file")
    assert names_of((tmp_path / "p.html").read_text())[0] == "no.fits"


def test_one_row_and_more_files(outputs, tmp_path):
    one = write_table(outputs / "one.ecsv", ROWS[3:4])
    done = call("report", one, "-o", tmp_path / "one.html", "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    done = call("report", one, outputs / "o0.fits", "-o", tmp_path / "two.html", "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    assert names_of((tmp_path / "two.html").read_text()) == ["o3.fits", "o0.fits"]
    twice = write_table(outputs / "twice.ecsv", ROWS[:2])
    done = call("report", twice, outputs / "o0.fits", "-o", tmp_path / "no.html", "-q")
    check_failure(done, 2, "o0.fits", "named 2 times")


def test_the_table_is_never_overwritten(outputs, tmp_path):
    table = write_table(outputs / "mine.ecsv")
    before = described(outputs)
    for more in ((), ("--overwrite",)):
        done = call("report", table, "-o", outputs / "mine.html", *more, "-q")
        check_failure(done, 2, "mine.ecsv")
    assert described(outputs) == before
    assert not list(tmp_path.iterdir())


def edited(table, old, new):
    table.write_text(table.read_text().replace(old, new))


UNFIT = {
    "no column": (lambda t: edited(t, "status", "state"), "no column status"),
    "no rows": (lambda t: write_table(t, []), "no row"),
    "another status": (lambda t: edited(t, "died", "dead"), "status of row 5"),
    "twice": (lambda t: edited(t, "o1.fits", "o0.fits"), "row 2 is about o0.fits, too"),
    "no output": (lambda t: edited(t, "o1.fits", '""'), "row 2 does not say"),
    "torn": (lambda t: t.write_bytes(t.read_bytes()[:-20]), "cannot be read|can be read|columns"),
    "no table": (lambda t: t.write_text("# %ECSV 1.0\nno more"), "no columns"),
    "bytes": (lambda t: t.write_bytes(b"# %ECSV" + bytes(range(256)) * 99), "no columns|no column"),
    "endless": (lambda t: t.write_bytes(b"# %ECSV 1.0\n" + b"# x\n" * 99999), "no columns"),
    "huge": (lambda t: os.truncate(t, 1 << 33), "more than"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_tables_of_others(outputs, tmp_path, name):
    table = write_table(outputs / "unfit.ecsv")
    damage, problem = UNFIT[name]
    damage(table)
    done = call("report", table, "-o", tmp_path / "p.html", "-q")
    check_failure(done, 3, "unfit.ecsv")
    assert re.search(problem, done.stderr)
    assert not (tmp_path / "p.html").exists()


def test_what_is_no_table_is_an_output():
    for file in ("/dev/null", "no.fits", "x" * 300, "\0", "/"):
        assert not results.is_table(file)


def test_many_rows_are_read_at_once(tmp_path):
    rows = [(f"o{number}.fits", "done", "", 1.0, "n") for number in range(5000)]
    found = results.read_results(str(write_table(tmp_path / "r.ecsv", rows)))
    assert len(found) == 5000
    assert found[str(tmp_path / "o4999.fits")].facts == {"wall_seconds": 1.0, "host": "n"}


def test_the_table_that_a_batch_writes(outputs, tmp_path):
    """With names of commas and quotes; what it says of a job is in the raw values, too."""
    folder = tmp_path / "night"
    folder.mkdir()
    names = ["a, b.fits", 'c "d".fits', "e.fits"]
    statuses = [Status.DONE, Status.ERROR, Status.UNDONE]
    (folder / names[0]).write_bytes((outputs / "o0.fits").read_bytes())
    tasks = [
        Task(
            number=number,
            place=f"line {number + 1}",
            job=Job(difference="d.fits", output=str(folder / name)),
            output=name,
        )
        for number, name in enumerate(names, 1)
    ]
    records = {
        task.job.output: Record(
            output=task.job.output,
            status=status,
            exit_code=0 if status is Status.DONE else 3,
            error="" if status is Status.DONE else 'a "quoted", long\nreason',
            wall_seconds=1.5,
            peak_memory=3 << 20,
            host="node,7",
        )
        for task, status in zip(tasks[:2], statuses[:2], strict=True)
    }
    Ledger(folder).write_table("night.csv", tasks, records)
    page = tmp_path / "night.html"
    done = call("report", folder / "results.ecsv", "-o", page, "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    text = page.read_text()
    assert "3 differences, 1 of them decorrelated" in text
    assert names_of(text) == ["c &#34;d&#34;.fits", "e.fits", "a, b.fits"]
    assert "done, 1.5 s, 3 MB, on node,7" in text
    raw = Table.read(tmp_path / "night.ecsv", format="ascii.ecsv")
    assert raw.colnames == [column.name for column in BATCH_COLUMNS]
    assert list(raw["status"]) == ["error", "undone", "done"]
    assert raw["peak_memory"][2] == 3 << 20
    # The table of the page can be shown again, where the outputs are by the names in it.
    assert results.read_results(str(tmp_path / "night.ecsv"))
