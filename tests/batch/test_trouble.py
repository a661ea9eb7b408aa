"""What goes wrong in a batch: the rest is done, the record says what it was, and a rerun mends it.

Each batch is one of processes, as an operator starts it.
"""

import os
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager

import numpy as np
import pytest
from astropy.io import fits
from helpers.nights import content, identity
from helpers.workplace import described

#: Has workers do something before or after a job, by the name of its output.
AROUND_JOBS = """
if is_worker:
    import shutil
    from diffdecor.batch import work
    real = work.run_job
    def run_job(job, **named):
        name = os.path.basename(job.output)
        with open(os.environ["DIFFDECOR_TEST_MARKS"], "a") as marks:
            marks.write(name + "\\n")
        before(name, job)
        made = real(job, **named)
        after(name, job)
        return made
    work.run_job = run_job
def before(name, job):
    pass
def after(name, job):
    pass
"""


@pytest.fixture
def marks(tmp_path):
    """Return the names of the outputs that were begun so far; give its file to the processes."""
    file = tmp_path / "marks"

    def read():
        return file.read_text().split() if file.exists() else []

    read.env = {"DIFFDECOR_TEST_MARKS": str(file)}
    return read


def identities(night):
    return {output.name: identity(output) for output in night.there()}


def mended(night, undisturbed, *arguments):
    """Run a batch again after the cure: it does the rest only."""
    before = identities(night)
    made = night.works()
    night.ends(0, "--jobs", 1, *arguments)
    after = identities(night)
    assert {name: after[name] for name in before} == before
    assert {name: content(night / "out" / name) for name in after} == {
        name: undisturbed[name] for name in after
    }
    assert len(after) == len(night.outputs)
    works = night.works()
    assert {name: works[name] for name in before if name in made} == {
        name: made[name] for name in before if name in made
    }
    assert night.hidden() == []
    night.is_true()


@contextmanager
def mounted(folder, *options):
    """Mount a file system there; skip the test where we may not."""
    folder.mkdir(exist_ok=True)
    program = shutil.which("mount")
    done = program and subprocess.run([program, *options, folder], check=False, capture_output=True)
    if not done or done.returncode:
        pytest.skip("nothing can be mounted")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def copied(night, tmp_path, *numbers, role="difference"):
    """Give rows inputs of their own, which may be changed; return these."""
    files = []
    tmp_path.mkdir(exist_ok=True)
    for number in numbers:
        own = tmp_path / f"own{number}.fits"
        shutil.copy(night / night.rows[number][role], own)
        night.rows[number][role] = os.path.relpath(own, night.folder)
        files.append(own)
    night.write()
    return files


def test_one_that_kills_one_that_hangs_and_one_that_fails(night, undisturbed, marks):
    night = night(5)
    good = len(night.rows)
    for number, name in ((0, "fails"), (3, "kills"), (6, "hangs")):
        night.rows.insert(number, night.rows[-1] | {"output": f"out/{name}.fits"})
    night.rows[0]["template"] = "missing.fits"
    night.write()
    hook = """
def before(name, job):
    if name == "kills.fits":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "hangs.fits":
        time.sleep(600)
"""
    options = ("--jobs", 2, "--timeout", "5s")
    _, err = night.ends(3, *options, hook=AROUND_JOBS + hook, env=marks.env)
    assert len(err.splitlines()) == 4
    assert f"{good} done" in err.splitlines()[-1]
    rows, begun = night.table(), marks()
    for name, *expected, reason in (
        ("fails", "error", 3, 1, "missing.fits"),
        ("kills", "died", 137, 2, "SIGKILL"),
        ("hangs", "timeout", 124, 2, "5 s"),
    ):
        row = rows[f"{name}.fits"]
        assert [row["status"], row["exit_code"], row["tries"]] == expected
        assert begun.count(f"{name}.fits") == row["tries"]
        assert reason in row["error"]
    night.is_true()
    assert night.hidden() == []
    assert list(night.statuses().values()).count("done") == good
    assert all(content(one) == undisturbed[one.name] for one in night.there())
    # Those that failed, and no others, where that is asked for.
    night.rows[0]["template"] = night.rows[-1]["template"]
    night.write()
    night.outputs[-1].unlink()
    assert "1 undone" in night.ends(75, "--retry-failed")[1]
    assert night.there() == night.outputs[:-1]
    night.is_true()


def limited():
    """Let no file be larger than 60 kB: an output has 90, a record 2."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


@pytest.mark.long
def test_outputs_that_are_too_large(night, undisturbed):
    night = night(2)
    _, err = night.ends(3, "--jobs", 1, preexec_fn=limited)
    assert err.count("cannot be written: File too large") == 2
    assert set(night.statuses().values()) == {"error"}
    assert night.there() == []
    mended(night, undisturbed)


def test_a_disk_that_fills_up(night, undisturbed):
    night = night(3)
    with mounted(night / "out", "-t", "tmpfs", "-o", "size=200k", "tmpfs"):
        _, err = night.ends(3, "--jobs", 1)
        assert err.count("cannot be written: the disk is full") == 1
        assert [str(one) for one in night.statuses().values()] == ["done", "done", "error"]
        assert night.hidden() == []
        remount(night / "out", "size=9m")
        mended(night, undisturbed)


def test_a_disk_of_results_that_fills_up(night, tmp_path):
    night = night(4)
    results = tmp_path / "results"
    with mounted(results, "-t", "tmpfs", "-o", "size=12k", "tmpfs"):
        options = ("--jobs", 1, "--out-dir", results)
        _, err = night.ends(3, *options)
        assert "4 done" in err
        assert "the disk is full" in err
        assert len(night.there()) == 4
        assert not [path.name for path in results.glob(".*")]
        remount(results, "size=9m")
        before = identities(night)
        assert night.ends(0, *options) == ("", "")
        assert identities(night) == before
        assert len((results / "results.jsonl").read_text().splitlines()) >= 4
        assert not [path.name for path in results.glob(".*")]


@pytest.mark.long
def test_a_folder_that_is_read_only(night, undisturbed):
    night = night(2)
    out = night / "out"
    out.mkdir()
    with mounted(out, "--bind", out):
        remount(out, "ro,bind")
        _, err = night.ends(3)
        assert err.count("Read-only file system") == 2
        assert set(night.statuses().values()) == {"error"}
    with mounted(night.folder, "--bind", night.folder):
        remount(night.folder, "ro,bind")
        _, err = night.ends(3)
        assert "results.ecsv: cannot be written: Read-only file system" in err
        assert night.there() == []
        # What writes nothing goes on.
        out, _ = night.ends(3, "--status")
        assert "2  error" in out
    mended(night, undisturbed)


def test_inputs_that_are_removed_or_replaced_meanwhile(night, marks, tmp_path):
    night = night(4)
    replaced, changed, removed = copied(night, tmp_path, 0, 1, 3)
    other = tmp_path / "other.fits"
    shutil.copy(night / night.rows[2]["difference"], other)
    hook = f"""
def before(name, job):
    if name == "2.fits":
        os.rename({str(removed)!r}, {str(removed) + ".gone"!r})
def after(name, job):
    if name == "0.fits":  # it was read, and has not been recorded
        shutil.copy({str(other)!r}, {str(replaced)!r})
    if name == "2.fits":
        shutil.copy({str(other)!r}, {str(changed)!r})
"""
    options = ("--jobs", 1, "--no-verify")
    _, err = night.ends(3, *options, hook=AROUND_JOBS + hook, env=marks.env)
    assert "3 done, 1 error" in err
    assert str(night.table()["3.fits"]["error"]).count(removed.name) == 1
    os.rename(f"{removed}.gone", removed)  # noqa: PTH104
    before = identities(night)
    night.ends(0, *options, hook=AROUND_JOBS, env=marks.env)
    after = identities(night)
    assert after["2.fits"] == before["2.fits"]
    assert {name for name in before if before[name] != after[name]} == {"0.fits", "1.fits"}
    for name in ("0.fits", "1.fits"):
        assert (
            fits.getheader(night / "out" / name)["DDDIFSUM"]
            == (fits.getheader(night / "out" / "2.fits")["DDDIFSUM"])
        )
    night.ends(0, *options)
    assert identities(night) == after


@pytest.mark.long
def test_clocks_that_are_wrong(night, undisturbed, tmp_path):
    """One set back by a day, for a batch and its workers; files of times to come."""
    night = night(3)
    (future,) = copied(night, tmp_path, 0)
    tomorrow = time.time() + 86400
    os.utime(future, (tomorrow, tomorrow))
    hook = """
now, now_ns = time.time, time.time_ns
time.time = lambda: now() - 86400.0
time.time_ns = lambda: now_ns() - 86400 * 10**9
"""
    expected = {name: made for name, made in undisturbed.items() if name in {"1.fits", "2.fits"}}
    for one in (hook, ""):
        assert night.ends(0, "--jobs", 1, hook=one) == ("", "")
        assert {name: content(night / "out" / name) for name in expected} == expected
        assert set(night.works().values()) == {1}
        night.is_true()
    # With the clock set back, a change after that is noticed all the same.
    shutil.copy(night / night.rows[1]["difference"], future)
    os.utime(future, (tomorrow, tomorrow))
    night.ends(0, "--jobs", 1, "--no-verify", hook=hook)
    assert (
        fits.getheader(night / "out" / "0.fits")["DDDIFSUM"]
        == (fits.getheader(night / "out" / "1.fits")["DDDIFSUM"])
    )


@pytest.mark.long
def test_ledgers_that_are_lost_or_damaged(night, undisturbed):
    night = night(4)
    night.ends(0, "--jobs", 2)
    ledger, before = night / "results.jsonl", identities(night)
    whole = ledger.read_bytes()
    half = whole.index(b"\n") // 2
    damaged = {
        "garbage": np.random.default_rng(1).bytes(5000) + b"\n" + whole[half:] + whole[:half],
        "other lines": b"null\n[]\n{}\n\n" + b"[" * 5000 + b"\n" + whole,
        "gone": None,
    }
    for what, text in damaged.items():
        ledger.unlink()
        if text is not None:
            ledger.write_bytes(text)
        (night / "results.ecsv").unlink()
        assert night.ends(0) == ("", ""), what
        assert identities(night) == before, what
        night.is_true()
        assert len({record["output"] for record in night.records() if record}) == 4, what
        assert night.hidden() == []
    for make in (os.mkdir, os.mkfifo):
        for name in ("results.jsonl", "results.ecsv"):
            (night / name).unlink()
            make(night / name)
            night.outputs[0].unlink(missing_ok=True)
            _, err = night.ends(3)
            assert name in err
            assert night.there() == night.outputs[1:]
            os.rmdir(night / name) if make is os.mkdir else (night / name).unlink()  # noqa: PTH106
            (night / name).touch()
    mended(night, undisturbed)


def test_folders_that_vanish_meanwhile(night, undisturbed, marks, tmp_path):
    night = night(4)
    results = tmp_path / "results"
    hook = f"""
def before(name, job):
    if name == "2.fits" and os.path.exists({str(night / "out/1.fits")!r}):
        shutil.rmtree({str(night / "out")!r})
        shutil.rmtree({str(results)!r})
"""
    options = ("--jobs", 1, "--out-dir", results)
    _, err = night.ends(75, *options, hook=AROUND_JOBS + hook, env=marks.env)
    assert "2 done, 2 undone" in err
    assert "its output has vanished" in err
    assert sorted(marks()) == ["0.fits", "1.fits", "2.fits", "2.fits", "3.fits"]
    assert [output.name for output in night.there()] == ["2.fits", "3.fits"]
    before = identities(night)
    night.ends(0, *options)
    assert before.items() <= identities(night).items()
    assert {output.name: content(output) for output in night.outputs} == {
        output.name: undisturbed[output.name] for output in night.outputs
    }


@pytest.mark.long
def test_manifests_and_options_that_change(night, undisturbed, tmp_path):
    night = night(4)
    (touched,) = copied(night, tmp_path, 0)
    night.ends(0, "--jobs", 2)
    before = identities(night)
    # A row less, another output; a file that only its time says is new.
    last = night.outputs.pop()
    night.rows.pop()
    night.rows[2]["output"] = "out/elsewhere.fits"
    night.write()
    os.utime(touched)
    assert night.ends(0) == ("", "")
    after = identities(night)
    assert {name: before[name] for name in ("0.fits", "1.fits")} == {
        name: after[name] for name in ("0.fits", "1.fits")
    }
    assert last.exists()
    assert content(night / "out/elsewhere.fits")[1:] == undisturbed["2.fits"][1:]
    night.is_true()
    # Another option, for all or in a column.
    assert night.ends(0, "--dtype", "float64") == ("", "")
    assert not identities(night).items() & after.items()
    wide = identities(night)
    for row, dtype in zip(night.rows, ("float64", "float32", ""), strict=True):
        row["dtype"] = dtype
    night.write()
    assert night.ends(0, "--dtype", "float64") == ("", "")
    narrow = identities(night)
    assert {name for name in wide if wide[name] != narrow[name]} == {"1.fits"}
    assert night.hidden() == []


@pytest.mark.long
def test_files_of_others_are_never_replaced(night, undisturbed):
    night = night(4)
    out = night / "out"
    out.mkdir()
    shutil.copy(night / night.rows[0]["difference"], out / "0.fits")
    (out / "1.fits").write_text("a letter")
    (out / "2.fits").mkdir()
    before = described(out)
    for options in ((), ("--redo",)):
        _, err = night.ends(3, *options)
        assert "1 done, 3 error" in err
        assert before.items() <= described(out).items()
    rows = night.table()
    assert [int(rows[f"{number}.fits"]["exit_code"]) for number in range(3)] == [2, 2, 3]
    for number in (0, 1):
        assert "is no output of diffdecor" in rows[f"{number}.fits"]["error"]
        (out / f"{number}.fits").unlink()
    (out / "2.fits").rmdir()
    mended(night, undisturbed)


def test_what_failed_its_limits_or_was_refused_stays_so(night, marks, tmp_path):
    night = night(3)
    for role in ("science", "difference"):
        (doubted,) = copied(night, tmp_path / role, 0, role=role)
        fits.setval(doubted, "CONVD", value="REF")
    limit, strict = ("--max-rho", "0.0001"), ("--strict", "--jobs", 1)
    about = {"hook": AROUND_JOBS, "env": marks.env}
    _, err = night.ends(4, *limit, *strict, **about)
    assert list(night.statuses().values()) == ["refused", "not white", "not white"]
    assert "1 refused" in err
    before, begun = identities(night), marks()
    assert len(begun) == len(before) + 1 == 3
    for option in ("--retry-failed", "--status"):
        night.ends(4, *limit, *strict, option)
    night.ends(4, *limit, *strict, **about)
    assert (identities(night), marks()) == (before, begun)
    # Other limits are judged anew, without any work.
    night.ends(4, "--max-rho", "0.9", *strict, **about)
    assert list(night.statuses().values()) == ["refused", "done", "done"]
    assert (identities(night), marks()) == (before, begun)
    night.ends(4, *limit, *strict, "--redo", **about)
    assert len(marks()) == 6
    assert not identities(night).items() & before.items()
    night.ends(0, **about)
    assert list(night.statuses().values()) == ["done"] * 3


@pytest.mark.long
def test_what_is_undone_comes_before_what_failed(night, undisturbed, marks):
    night = night(4)
    night.rows[0]["science"] = "missing.fits"
    night.write()
    _, err = night.ends(75, "--jobs", 1, "--fail-fast")
    assert "1 error, 3 undone" in err
    hook = """
def before(name, job):
    if name == "2.fits":
        time.sleep(600)
"""
    options = ("--jobs", 1, "--deadline", "8s")
    _, err = night.ends(75, *options, hook=AROUND_JOBS + hook, env=marks.env)
    assert "1 done, 1 error, 2 undone" in err
    assert "stopped at the deadline" in str(night.table()["2.fits"]["error"])
    assert marks() == ["0.fits", "1.fits", "2.fits"]
    assert night.hidden() == []
    night.is_true()
    night.rows[0]["science"] = night.input("science", 0)
    night.write()
    mended(night, undisturbed)
