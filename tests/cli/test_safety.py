"""Processes that are killed, run at the same time, or run out of disk or of somebody to talk to."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from helpers.workplace import check_failure, described, json_object, opened, verify

from diffdecor.errors import OutputExistsError
from diffdecor.fits import atomic
from diffdecor.process import do_without_home

# Writes the planes of the output, says so, and goes on when it is told to.
SLOW = """
import sys, time
from pathlib import Path
from diffdecor.cli import main
from diffdecor.fits.write_rows import ResultFile
real, folder = ResultFile.finish, Path(sys.argv.pop(1))
def halfway(file, *hdus):
    (folder / "halfway").touch()
    while not (folder / "go on").exists():
        time.sleep(0.01)
    real(file, *hdus)
ResultFile.finish = halfway
main(prog_name="diffdecor")
"""


def parts(folder):
    """Hidden files beside the output: of a run at work, a lock and a part."""
    return sorted(path.name for path in folder.glob(".*"))


@pytest.fixture
def halfway(work, process):
    """Start a run, and give its process when it has written half of its output."""
    started = []

    def start(**about):
        arguments = ["-c", SLOW, work.folder, *map(str, work.arguments())]
        running = process(*arguments, module=False, **about)
        started.append(running)
        while not (work / "halfway").exists():
            assert running.poll() is None, running.communicate()
            time.sleep(0.01)
        (work / "halfway").unlink()
        assert len(parts(work.folder)) == 2
        assert not work.output.exists()
        return running

    yield start
    for running in started:
        running.kill()
        running.communicate()


def finish(running):
    """Return exit code, stdout and stderr of a process that ends by itself."""
    out, err = running.communicate(timeout=60)
    assert "Traceback" not in (err or "")
    return running.returncode, out, err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_leaves_nothing_behind(work, halfway, name):
    before = described(work.folder)
    running = halfway()
    running.send_signal(getattr(signal, name))
    code, out, err = finish(running)
    expected = {"SIGTERM": (143, ""), "SIGINT": (130, "diffdecor: interrupted\n")}
    assert (code, err) == expected[name]
    assert out == ""
    assert described(work.folder) == before
    work.succeeds()


def test_signals_that_are_ignored_stay_so(work, halfway):
    names = ("SIGTERM", "SIGHUP", "SIGINT")

    def ignore():
        for name in names:
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    running = halfway(preexec_fn=ignore)
    for name in names:
        running.send_signal(getattr(signal, name))
    (work / "go on").touch()
    assert finish(running)[0] == 0
    verify(work.output)


def test_a_killed_run_leaves_no_output_and_does_not_stand_in_the_way(work, halfway):
    running = halfway()
    running.kill()
    assert finish(running)[0] == -signal.SIGKILL
    assert not work.output.exists()
    assert len(parts(work.folder)) == 2
    work.succeeds()
    verify(work.output)
    assert parts(work.folder) == []


def test_one_writer_at_a_time(work, halfway):
    running = halfway()
    work.fails(75, "out.fits", "another process")
    work.fails(75, "out.fits", options=["--overwrite"])
    (work / "go on").touch()
    assert finish(running)[0] == 0
    verify(work.output)
    assert json_object(work.run("--json").stdout)["status"] == "already done"


def test_many_runs_at_once_make_one_output(work, process):
    running = [process(*work.arguments("--json")) for _ in range(3)]
    ends = [finish(one) for one in running]
    codes = [code for code, _, _ in ends]
    assert set(codes) <= {0, 75}
    assert codes.count(0) >= 1
    statuses = [json_object(out)["status"] for code, out, _ in ends if code == 0]
    assert statuses.count("done") == 1
    verify(work.output)
    assert parts(work.folder) == []


@pytest.mark.parametrize("by", ["this job", "another job"])
def test_an_output_that_appears_meanwhile(work, monkeypatch, by, tmp_path):
    other = tmp_path / "other.fits"
    options = () if by == "this job" else ("--variance", "full")
    work.succeeds(*options, output=other)
    real = atomic.held

    def late(*arguments):
        shutil.copy(other, work.output)
        return real(*arguments)

    monkeypatch.setattr(atomic, "held", late)
    result = work.run("--json")
    if by == "this job":
        assert result.exit_code == 0
        assert json_object(result.stdout)["status"] == "already done"
    else:
        check_failure(result, 2, "out.fits", "--overwrite")
    assert work.output.read_bytes() == other.read_bytes()
    assert issubclass(OutputExistsError, OSError)


def test_a_file_that_may_not_grow(work, process):
    before = described(work.folder)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    code, out, err = finish(process(*work.arguments(), preexec_fn=limit))
    assert (code, out) == (3, "")
    assert "out.fits: cannot be written" in err
    assert described(work.folder) == before


def test_a_full_disk(work, process, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        code, out, err = finish(process(*work.arguments(output=disk / "out.fits")))
        assert (code, out) == (3, "")
        assert "out.fits: cannot be written: the disk is full" in err
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(("stream", "good"), [(0, True), (1, True), (2, True), (2, False)])
def test_closed_streams(work, process, stream, good):
    arguments = work.arguments("--json", **({} if good else {"kernel": work / "missing.fits"}))
    running = process(*arguments, preexec_fn=lambda: os.close(stream))
    code, out, _ = finish(running)
    assert code == (0 if good else 3)
    assert work.output.exists() == good
    if good:
        verify(work.output)
        assert (out != "") == (stream != 1)


@pytest.mark.parametrize("arguments", [["--json"], ["--print-config"]])
def test_a_reader_that_has_gone(work, process, arguments):
    read, write = os.pipe()
    os.close(read)
    code, _, err = finish(process(*work.arguments(*arguments), stdout=write))
    os.close(write)
    assert code == 1
    assert err == ""
    assert work.output.exists() == ("--json" in arguments)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("option", ["--json", "--print-config", "--help", "--version"])
def test_a_full_stdout(work, process, option, unbuffered):
    arguments = [option] if option == "--version" else work.arguments(option)
    with open("/dev/full", "w") as full:  # noqa: PTH123
        running = process(*arguments, stdout=full, env={"PYTHONUNBUFFERED": unbuffered})
        code, _, err = finish(running)
    assert code == 3
    assert err == "diffdecor: standard output: cannot be written: No space left on device\n"
    assert work.output.exists() == (option == "--json")


def test_an_error_of_the_system_elsewhere_is_not_of_stdout(work, monkeypatch):
    def failing(*_arguments, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("diffdecor.pipeline.run.prepare", failing)
    result = work.run("--json")
    assert result.exit_code == 1
    assert "internal error: OSError" in result.stderr


def test_odd_names_where_the_locale_has_no_such_characters(work, process):
    environment = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    name = "difference é.fits"
    shutil.move(work / "difference.fits", work / name)
    arguments = work.arguments("--json", difference=work / name)
    code, out, err = finish(process(*arguments, env=environment))
    assert (code, err) == (0, "")
    assert json_object(out)["status"] == "done"
    arguments = work.arguments(difference=work / "missing é.fits")
    code, out, err = finish(process(*arguments, env=environment))
    assert (code, out) == (3, "")
    assert err.startswith("diffdecor: ")
    arguments = ("run", "--print-config", "--science-psf", "é.fits")
    code, _, err = finish(process(*arguments, env=environment))
    assert (code, err) == (0, "")


def test_a_run_in_another_folder_with_relative_names(work, process, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    names = {
        role: f"../work/{role}.fits" for role in ("science", "template", "difference", "kernel")
    }
    code, _, err = finish(process(*work.arguments(**names, output="out.fits"), cwd=folder))
    assert (code, err) == (0, "")
    assert opened(folder / "out.fits")["PRIMARY"][0]["DDSCI"] == "science.fits"


def test_errors_inside_are_told_from_errors_of_the_user(work, monkeypatch):
    def broken(*_arguments, **_options):
        message = "something\nunheard of"
        raise LookupError(message)

    monkeypatch.setattr("diffdecor.pipeline.run.prepare", broken)
    result = work.run()
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "internal error: LookupError: something unheard of; set DIFF" in result.stderr
    assert not work.output.exists()
    monkeypatch.setenv("DIFFDECOR_TRACEBACK", "1")
    assert isinstance(work.run().exception, LookupError)


def test_too_little_memory_is_named(work, monkeypatch):
    def greedy(*_arguments, **_options):
        raise MemoryError

    monkeypatch.setattr("diffdecor.pipeline.run.prepare", greedy)
    result = work.run()
    assert result.exit_code == 3
    assert result.stderr.startswith("diffdecor: not enough memory for these images; ")


def test_a_home_folder_of_somebody_else(monkeypatch):
    """As with cron and `su`: astropy would fail when it is imported."""

    def refuse(_path, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setenv("XDG_CONFIG_HOME", "elsewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "elsewhere")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", refuse)
        do_without_home()
    folder = Path(os.environ["XDG_CONFIG_HOME"])
    assert folder == Path(os.environ["XDG_CACHE_HOME"])
    assert (folder / "astropy").is_dir()
