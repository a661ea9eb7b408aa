"""What is done is known by names, sizes and times alone, and whatever changes is noticed."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import gaussian

from diffdecor.batch import recognition
from diffdecor.batch.ledger import Ledger
from diffdecor.batch.model import Record, Status, Task
from diffdecor.batch.recognition import (
    ABSENT,
    UNSURE,
    Folders,
    bare,
    files_beside,
    job_key,
    recognised,
    stamp,
    tidy,
    why_undone,
)
from diffdecor.batch.work import do
from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.fits.lock import Owner, beside
from diffdecor.images.surveys import layout_named
from diffdecor.images.surveys.recognise import STEPS, companion_names, companions_of
from diffdecor.pipeline import run
from diffdecor.pipeline.job import Job

A1 = Path(__file__).parents[1] / "data" / "hotpants-a1"
pytestmark = pytest.mark.usefixtures("settled")


@pytest.fixture
def rich(triple, task, tmp_path):
    """Make a task with a file in every role that one may have."""
    noise = fits.PrimaryHDU(np.full((40, 48), 9.0, np.float32))
    for name in ("noise", "member"):
        noise.writeto(triple / f"{name}.fits")
    fits.PrimaryHDU(np.zeros((40, 48), np.int32)).writeto(triple / "mask.fits")
    fits.PrimaryHDU(gaussian(7, 1.7)).writeto(triple / "psf.fits")
    (triple / "stack.toml").write_text('[[member]]\nnoise = "member.fits"\nnoise-kind="variance"\n')
    options = {
        "science_noise": str(triple / "noise.fits"),
        "science_noise_kind": "variance",
        "science_mask": str(triple / "mask.fits"),
        "science_mask_preset": "nonzero",
        "science_psf": str(triple / "psf.fits"),
        "template_stack": str(triple / "stack.toml"),
        "write": (f"mask={tmp_path}/parts/mask.fits", f"psf={tmp_path}/psf.fits"),
    }

    def make(**more):
        return task(options=options | more)

    return make


def done(order, task):
    ended = do(order(task=task))
    assert ended.record is not None
    return ended.record


INPUTS = ["sci", "tmpl", "diff", "kernel", "noise", "mask", "psf", "member"]


def test_all_files_are_known_and_nothing_is_opened(rich, order, triple, tmp_path, monkeypatch):
    made = rich()
    record = done(order, made)
    assert record.status == Status.DONE
    files = {f"{triple}/{name}.fits" for name in INPUTS} | {f"{triple}/stack.toml"}
    files |= {made.job.output, f"{tmp_path}/parts/mask.fits", f"{tmp_path}/psf.fits"}
    assert set(record.stamps) == files
    monkeypatch.setattr("builtins.open", None)
    monkeypatch.setattr("os.open", None)
    assert recognised(made, record) == record
    assert why_undone(made, record) == ""


def rewrite(file):
    """Replace a file by one that differs in nothing but its time and number."""
    copy = file.with_name("copy")
    shutil.copyfile(file, copy)
    copy.replace(file)


def touch(file):
    found = file.stat()
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1))


def grow(file):
    found = file.stat()
    with file.open("ab") as opened:
        opened.write(bytes(2880))
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def older(file):
    """As where a clock was set back, or an old file was restored."""
    os.utime(file, (0, 0))


@pytest.mark.parametrize("change", [rewrite, touch, grow, older, Path.unlink])
def test_a_change_of_any_file_is_noticed(rich, order, triple, change):
    made = rich()
    record = done(order, made)
    for file in (*(triple / f"{name}.fits" for name in INPUTS), triple / "stack.toml"):
        kept = file.with_name("kept")
        shutil.copy2(file, kept)
        os.link(file, triple / "same")
        change(file)
        assert recognised(made, record) is None
        assert str(file) in why_undone(made, record)
        # As it was, with its number.
        file.unlink(missing_ok=True)
        (triple / "same").rename(file)
        with file.open("r+b") as opened:
            opened.write(kept.read_bytes())
            opened.truncate()
        shutil.copystat(kept, file)
        assert recognised(made, record) is not None


def test_a_change_of_what_was_written_is_noticed(rich, order, tmp_path):
    made = rich()
    record = done(order, made)
    for file in (tmp_path / "parts" / "mask.fits", tmp_path / "psf.fits", Path(made.job.output)):
        touch(file)
        assert why_undone(made, record) == f"stale: {file} has changed"
        record = done(order, made)
        file.unlink()
        why = "missing" if str(file) == made.job.output else f"stale: {file} is missing"
        assert why_undone(made, record) == why
        record = done(order, made)
        assert why_undone(made, record) == ""


@pytest.mark.parametrize(
    "name",
    ["sci_sig.fits", "sci_mask.fits.gz", "diff_rms.fits.fz", "tmpl_msk.fits", "sci.wt.fits",
     "tmpl.mask.fits"],
)  # fmt: skip
def test_a_file_that_would_be_taken_now_is_noticed(order, task, triple, name):
    made = task()
    record = done(order, made)
    (triple / "sci_other.fits").write_bytes(b"?")
    assert why_undone(made, record) == ""
    (triple / name).write_bytes(b"?")
    assert why_undone(made, record) == f"stale: {triple / name} is new"
    # It is looked at once, and known then.
    (triple / name).unlink()
    fits.PrimaryHDU(np.ones((40, 48), np.float32)).writeto(triple / name)
    again = do(order(task=made)).record
    assert again.status == Status.DONE
    assert why_undone(made, again) == ""


def test_names_beside_an_image_follow_the_options(task):
    def names(**options):
        (found,) = files_beside(task(options=options).job).values()
        return set(found)

    assert {"sci_sig.fits", "tmpl_mask.fits.fz", "sci.wt.fits"} <= names()
    assert "sci_sig.fits" not in names(diffcmd=False)
    assert "sci_sig.fits" not in names(science_noise="n.fits")
    assert "sci_msk.fits" not in names(science_mask="n.fits")
    assert "tmpl_sig.fits" in names(science_noise="n.fits")


def test_a_file_that_the_command_of_hotpants_names_is_noticed(order, tmp_path, triple):
    for name, file in {
        "A_sci": "science", "A_tmpl": "template", "A1_diff": "difference",
        "A_sci_msk": "science_mask", "A_tmpl_msk": "template_mask", "A1_mask": "difference_mask",
    }.items():  # fmt: skip
        shutil.copyfile(A1 / f"{file}.fits", triple / f"{name}.fits")
    job = Job(
        science=str(triple / "A_sci.fits"),
        template=str(triple / "A_tmpl.fits"),
        difference=str(triple / "A1_diff.fits"),
        output=str(tmp_path / "out" / "a.fits"),
        decorrelation=DecorrelationConfig(mode="whole", noise_model="white"),
    )
    made = Task(number=1, place="line 2", job=job, output="a.fits")
    record = done(order, made)
    assert str(triple / "A1_noise.fits") in record.stamps
    assert why_undone(made, record) == ""
    # The command says that its noise is there; now it is.
    with fits.open(triple / "A1_diff.fits") as hdus:
        fits.PrimaryHDU(np.full_like(hdus[0].data, 12.0)).writeto(triple / "A1_noise.fits")
    assert why_undone(made, record) == f"stale: {triple / 'A1_noise.fits'} has changed"
    again = done(order, made)
    assert again.started
    assert why_undone(made, again) == ""


def test_the_key_is_of_all_that_shapes_the_result(task, monkeypatch):
    made = task().job
    key = job_key(made)
    assert key == job_key(replace(made, overwrite=True, configuration="c.toml"))
    same = replace(
        made,
        decorrelation=replace(made.decorrelation, threads=3, max_memory=2**29),
        files=replace(made.files, max_rho=0.1, max_factor=0.2),
    )
    assert key == job_key(same)
    others = [
        replace(made, output="/elsewhere.fits"),
        replace(made, kernel="/elsewhere.fits"),
        replace(made, kernel="fit"),
        replace(made, kernel="./fit"),
        replace(made, science=f"{made.science}[1]"),
        replace(made, science=made.template, template=made.science),
        replace(made, decorrelation=replace(made.decorrelation, mode="whole")),
        replace(made, decorrelation=replace(made.decorrelation, cell_centroids="/c.txt")),
        replace(made, files=FilesConfig.of(science_gain=1.0)),
        replace(made, files=FilesConfig.of(science_noise="/n.fits")),
        replace(made, files=FilesConfig.of(strict=True)),
        replace(made, files=FilesConfig.of(write=("mask=/m.fits",))),
        replace(made, files=FilesConfig.of(write=("bad=/m.fits",))),
    ]
    keys = {job_key(other) for other in others}
    assert len(keys | {key}) == len(others) + 1
    fitted = job_key(replace(made, kernel="fit"))
    with monkeypatch.context() as patch:
        patch.chdir("/")
        assert fitted == job_key(replace(made, kernel="fit"))  # it is no file
    monkeypatch.setattr(recognition, "ALGORITHM", 99)
    assert job_key(made) not in keys | {key}


def test_other_options_and_other_algorithms_are_stale(order, task, monkeypatch):
    record = done(order, task())
    other = task(options={"dtype": "float64"})
    text = "stale: options, names of files, or the algorithm have changed"
    assert why_undone(other, record) == text
    monkeypatch.setattr(recognition, "ALGORITHM", 99)
    assert why_undone(task(), record) == text


def test_limits_are_those_of_now(order, task):
    made = task()
    record = done(order, made)
    rho = record.metrics["rho_after"]
    strict = task(options={"max_rho": 1e-4})
    found = recognised(strict, record)
    assert (found.status, found.exit_code) == (Status.NOT_WHITE, 4)
    assert found.error.startswith(f"{made.job.output}: its noise is not white enough: max |rho|")
    # As `run` says of the same output.
    outcome = run.run_job(strict.job)
    assert outcome.status == "already done"
    assert "; ".join(outcome.failures) in found.error
    # It stays so, until the limits are others.
    assert recognised(strict, found) == found
    assert recognised(task(options={"max_rho": rho + 0.01}), found).status == Status.DONE
    assert recognised(made, found) == record
    # What was not measured cannot be judged: `run` refuses such limits.
    assert "a limit is of" in why_undone(task(options={"max_factor": 0.1}), record)


def test_what_strict_refused_is_not_tried_again(order, task, triple):
    for name in ("sci", "diff"):  # both say that they are differences: a warning
        with fits.open(triple / f"{name}.fits", mode="update") as hdus:
            hdus[0].header["CONVD"] = "REF"
    made = task(options={"strict": True})
    record = done(order, made)
    assert (record.status, record.exit_code) == (Status.REFUSED, 4)
    assert record.warnings
    assert not Path(made.job.output).exists()
    assert recognised(made, record) == record
    # But where options or inputs are others it is.
    assert recognised(task(), record) is None
    touch(triple / "tmpl.fits")
    assert recognised(made, record) is None


@pytest.mark.parametrize("status", [Status.ERROR, Status.DIED, Status.TIMEOUT, Status.UNDONE])
def test_what_failed_is_never_done(order, task, status):
    made = task()
    record = replace(done(order, made), status=status, exit_code=9)
    assert recognised(made, record) is None
    expected = "undone" if status == Status.UNDONE else f"failed before: {status}, exit code 9"
    assert why_undone(made, record) == expected


def test_without_a_record(order, task):
    made = task()
    assert why_undone(made, None) == "missing"
    done(order, made)
    assert why_undone(made, None) == "no record of it"


def test_skipped_is_done_too(order, task, triple):
    with fits.open(triple / "diff.fits", mode="update") as hdus:
        hdus[0].data[:] = np.nan
    made = task()
    record = done(order, made)
    assert (record.status, record.exit_code) == (Status.SKIPPED, 0)
    assert recognised(made, record) == record
    assert recognised(task(options={"max_factor": 0.1}), record) is not None


def test_stamps_are_of_files_without_brackets(tmp_path, monkeypatch):
    file = tmp_path / "a.fits"
    file.write_bytes(b"1234")
    found = file.stat()
    expected = (4, found.st_mtime_ns, found.st_ino)
    assert bare(f"{file}[SCI,2]") == str(file)
    assert stamp(str(file)) == expected
    assert stamp(str(tmp_path / "none")) == ABSENT
    assert stamp(str(file / "below")) == ABSENT
    assert stamp("a\0b") == UNSURE
    monkeypatch.chdir(tmp_path)
    assert bare("a.fits") == str(file)
    strange = tmp_path / "b[1]"
    strange.write_bytes(b"")
    assert bare(str(strange)) == str(strange)


@pytest.mark.parametrize(
    ("age", "unsure"), [(0.0, True), (0.05, True), (0.5, False), (-5.0, True), (-1e6, True)]
)
def test_a_file_that_may_change_and_keep_its_time(tmp_path, monkeypatch, age, unsure):
    """Its time is that of the last tick of the clock, or from the future."""
    monkeypatch.undo()
    file, second = tmp_path / "a", 10**9
    file.write_bytes(b"1")
    # Later than the change of the time itself.
    moment = file.stat().st_ctime_ns + 10**7 * second
    fine = moment - round(age * second)
    os.utime(file, ns=(0, fine + (fine % second == 0)))
    assert (stamp(str(file), moment) == UNSURE) == unsure
    # Whole seconds may be those of a coarse clock.
    whole = moment // second * second
    os.utime(file, ns=(0, whole))
    assert stamp(str(file), whole + second) == UNSURE
    assert stamp(str(file), whole + 3 * second) != UNSURE
    assert stamp(str(file)) != UNSURE


def test_a_file_that_got_its_name_a_moment_ago(tmp_path, monkeypatch):
    """As one that was moved here during the work, with an old time."""
    monkeypatch.undo()
    file = tmp_path / "a"
    file.write_bytes(b"1")
    os.utime(file, (1e9, 1e9))
    assert stamp(str(file), file.stat().st_ctime_ns + 1000) == UNSURE


def test_what_changes_in_the_tick_of_its_record_is_noticed(order, task, triple, monkeypatch):
    """The file is replaced by another of its size and time, as soon as it was read."""
    monkeypatch.setattr(recognition, "_TICK", 10**12)  # a clock that hardly ticks
    made = task()
    record = done(order, made)
    assert record.status == Status.DONE
    assert record.stamps[str(triple / "tmpl.fits")] == UNSURE
    assert recognised(made, record) is None
    assert why_undone(made, record).startswith("to be looked at: ")
    # Looking at it settles it, once the clock has gone on.
    monkeypatch.setattr(recognition, "_TICK", 0)
    again = done(order, made)
    assert again.started == ""
    assert recognised(made, again) == again


def test_an_input_that_changes_during_the_work_is_looked_at(order, task, triple, monkeypatch):
    from diffdecor.batch import work

    real = work.run_job

    def run_and_touch(job):
        outcome = real(job)
        touch(triple / "kernel.fits")
        return outcome

    monkeypatch.setattr(work, "run_job", run_and_touch)
    made = task()
    assert recognised(made, done(order, made)) is None


def test_every_folder_is_looked_at_once(order, task, monkeypatch):
    record = done(order, task())
    folders, seen, stated = Folders(), [], []
    real, real_stat = os.listdir, os.stat
    monkeypatch.setattr(os, "listdir", lambda path: seen.append(path) or real(path))
    monkeypatch.setattr(os, "stat", lambda path: stated.append(path) or real_stat(path))
    for _ in range(5):
        assert recognised(task(), record, folders)
    assert len(seen) == len(set(seen)) == 2
    assert len(stated) == len(set(stated)) == 5


def test_a_folder_that_cannot_be_read_has_nothing(tmp_path):
    assert list(Folders().names(str(tmp_path / "none"))) == []


def test_what_a_killed_process_left_is_removed(rich, tmp_path):
    made = rich()
    (tmp_path / "out").mkdir()
    (tmp_path / "parts").mkdir()
    for file in map(Path, made.job.written):
        owner = replace(Owner.this(), process=2**22 + 1)
        beside(file, "lock").symlink_to(owner.text())
        beside(file, f"{owner.token}.part").write_bytes(b"half")
    tidy(made)
    left = [path for path in tmp_path.rglob(".*") if path.is_file() or path.is_symlink()]
    assert left == []
    tidy(made)


def test_records_of_a_ledger_are_known(order, task, tmp_path):
    made = task()
    record = done(order, made)
    ledger = Ledger(tmp_path / "out")
    ledger.refresh()
    assert ledger.records[made.job.output] == record
    assert recognised(made, ledger.records[made.job.output]) == record
    assert isinstance(record, Record)


@pytest.mark.parametrize(
    "image", ["z_refimg.fits", "z_sciimg.fits.fz", "c4d_ooi_r_v1.fits.fz", "a.fits", "m_red.fits"]
)
def test_names_in_any_survey_are_those_that_are_found(tmp_path, image):
    path, layouts = tmp_path / image, [layout_named(name) for step in STEPS for name in step]
    names = companion_names(path)
    assert names
    for name in names:
        file = tmp_path / name
        if name == image:
            continue
        file.write_bytes(b"")
        found = {one for layout in layouts for one in companions_of(path, layout).values()}
        assert found == {str(file)}
        file.unlink()
