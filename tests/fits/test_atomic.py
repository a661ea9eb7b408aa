"""An output is there and complete, or not there at all."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from diffdecor.errors import BusyError, OutputError, OutputExistsError
from diffdecor.fits.atomic import atomic_output, check_output


def _write(path, content=b"new", **options):
    with atomic_output(path, **options) as file:
        file.write(content)


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_complete_file_and_nothing_else(tmp_path):
    _write(tmp_path / "out.fits")
    assert _names(tmp_path) == ["out.fits"]
    assert (tmp_path / "out.fits").read_bytes() == b"new"


def test_it_appears_only_when_it_is_complete(tmp_path):
    with atomic_output(tmp_path / "out.fits") as file:
        file.write(b"half")
        file.flush()
        assert _names(tmp_path) == [".out.fits.part"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_mode_follows_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        _write(tmp_path / "out.fits")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.fits").stat().st_mode) == 0o666 & ~umask


def test_nothing_is_overwritten_unless_asked_for(tmp_path):
    path = tmp_path / "out.fits"
    path.write_bytes(b"old")
    with pytest.raises(OutputExistsError, match=r"out\.fits: exists already; use --overwrite"):
        _write(path)
    assert path.read_bytes() == b"old"
    _write(path, overwrite=True)
    assert path.read_bytes() == b"new"
    assert _names(tmp_path) == ["out.fits"]


@pytest.mark.parametrize("link", [None, "symlink", "hardlink", "dotted", "bracket"])
def test_an_input_is_never_overwritten(tmp_path, link):
    source = tmp_path / "in.fits"
    source.write_bytes(b"old")
    output, argument = source, source
    if link == "symlink":
        output = tmp_path / "out.fits"
        output.symlink_to(source)
    elif link == "hardlink":
        output = tmp_path / "out.fits"
        output.hardlink_to(source)
    elif link == "dotted":
        output = tmp_path / ".." / tmp_path.name / "in.fits"
    elif link == "bracket":
        argument = f"{source}[SCI,2]"
    with pytest.raises(OutputExistsError, match="is an input"):
        _write(output, overwrite=True, inputs=["gone.fits", argument])
    assert source.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing/out.fits", "there is no folder"),
        ("folder", "not a regular file"),
        ("out.fits.gz", "not compressed"),
        ("out.fits.fz", "not compressed"),
        ("file/out.fits", "there is no folder"),
        ("x" * 250 + ".fits", "cannot be written: File name too long"),
    ],
)
def test_outputs_that_cannot_be(tmp_path, name, says):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=says) as caught:
        _write(tmp_path / name, overwrite=True)
    assert not isinstance(caught.value, OutputExistsError)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert _names(tmp_path) == ["file", "folder"]


def test_a_device_is_not_replaced():
    with pytest.raises(OutputError, match="not a regular file"):
        check_output("/dev/null", overwrite=True)


def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    def refuse(*_args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("diffdecor.fits.atomic.os.open", refuse)
    with pytest.raises(OutputError, match=r"out\.fits: cannot be written: Permission denied"):
        _write(tmp_path / "out.fits")


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, SystemExit, ValueError, MemoryError, FileNotFoundError]
)
def test_nothing_is_left_of_a_failed_run(tmp_path, error):
    path = tmp_path / "out.fits"
    path.write_bytes(b"old")

    def fail():
        with atomic_output(path, overwrite=True) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert _names(tmp_path) == ["out.fits"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_errors_of_writing_are_one_clear_line(tmp_path, code, says):
    def write():
        raise OSError(code, os.strerror(code))

    def fail():
        with atomic_output(tmp_path / "out.fits"):
            try:
                write()
            except OSError:  # as astropy does it: without the number
                raise OSError("Not enough space on disk")  # noqa: B904, EM101, TRY003

    with pytest.raises(OutputError, match=rf"out\.fits: cannot be written: {says}") as caught:
        fail()
    assert not isinstance(caught.value, OutputExistsError | BusyError)
    assert _names(tmp_path) == []


def test_errors_of_reading_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_output(tmp_path / "out.fits"):
        (tmp_path / "gone.fits").read_bytes()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_the_last_steps_can_fail_too(tmp_path, monkeypatch, step):
    def fail(*_args):
        raise OSError(errno.EPERM, "Operation not permitted")

    if step == "fsync":
        monkeypatch.setattr("diffdecor.fits.atomic.os.fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="Operation not permitted"):
        _write(tmp_path / "out.fits")
    assert _names(tmp_path) == []


def test_one_writer_at_a_time(tmp_path):
    path = tmp_path / "out.fits"
    with atomic_output(path) as file:
        file.write(b"first")
        with pytest.raises(BusyError, match="another process is writing it now; try again later"):
            _write(path)
        _write(tmp_path / "other.fits")
    assert path.read_bytes() == b"first"


def _in_python(code, *arguments):
    program = textwrap.dedent(code)
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_interrupts,  # noqa: PLW1509  no threads here
    )


def _hear_interrupts():
    """A test run in the background ignores interrupts, and so would all its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


WRITE_SLOWLY = """
    import sys, time
    from diffdecor.fits.atomic import atomic_output
    with atomic_output(sys.argv[1]) as file:
        file.write(b"x" * 100000)
        file.flush()
        print("writing", flush=True)
        time.sleep(60)
"""


def test_another_process_holds_the_lock_and_a_killed_one_does_not(tmp_path):
    path = tmp_path / "out.fits"
    with _in_python(WRITE_SLOWLY, path) as other:
        assert other.stdout.readline() == "writing\n"
        with pytest.raises(BusyError):
            _write(path)
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert _names(tmp_path) == [".out.fits.part"]
    _write(path)  # uses again what the killed job left, and nothing of it is in the file
    assert _names(tmp_path) == ["out.fits"]
    assert path.read_bytes() == b"new"


def test_many_processes_and_one_result(tmp_path):
    code = """
        import sys
        from diffdecor.errors import BusyError, OutputExistsError
        from diffdecor.fits.atomic import atomic_output
        done = 0
        for _ in range(200):
            try:
                with atomic_output(sys.argv[1]) as file:
                    file.write(sys.argv[2].encode() * 50000)
                done += 1
            except (BusyError, OutputExistsError):
                pass
        print(done)
    """
    path = tmp_path / "out.fits"
    jobs = [_in_python(code, path, letter) for letter in "abcd"]
    done = []
    for job in jobs:
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        done.append(int(out))
    assert sum(done) == 1
    content = path.read_bytes()
    assert len(content) == 50000
    assert len(set(content)) == 1
    assert _names(tmp_path) == ["out.fits"]


def _belongs_to_another(part, _source):
    part.write_bytes(b"theirs")
    os.chown(part, 12345, -1)


# What may lie where the temporary file is to be, how it comes there, and what is said about it.
FOREIGN = {
    "input": (lambda part, source: part.hardlink_to(source), "an input"),
    "moved input": (lambda part, source: source.rename(part), "an input"),
    "hard link": (lambda part, source: part.hardlink_to(source.with_name("other")), "hard link"),
    "symlink": (lambda part, source: part.symlink_to(source), "symbolic link"),
    "dangling": (lambda part, source: part.symlink_to(source.with_name("gone")), "symbolic link"),
    "FIFO": (lambda part, _: os.mkfifo(part), "not a regular file"),
    "folder": (lambda part, _: part.mkdir(), "not a regular file"),
    "owner": (_belongs_to_another, "another user"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_our_own_temporary_file_is_neither_written_nor_removed(tmp_path, kind):
    if kind == "owner" and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    make, says = FOREIGN[kind]
    source, other, part = (tmp_path / name for name in ("in.fits", "other", ".out.fits.part"))
    source.write_bytes(b"input")
    other.write_bytes(b"other")
    make(part, source)
    before = {path: path.lstat() for path in tmp_path.iterdir()}
    inputs = [f"{part if kind == 'moved input' else source}[SCI]"]
    with pytest.raises(OutputError, match=rf"out\.fits: cannot be written: .*{says}") as caught:
        _write(tmp_path / "out.fits", inputs=inputs)
    assert str(part) in str(caught.value)
    after = {path: path.lstat() for path in tmp_path.iterdir()}
    kept = ("st_mode", "st_ino", "st_size", "st_mtime_ns", "st_uid", "st_nlink")
    assert {path: [getattr(found, name) for name in kept] for path, found in after.items()} == {
        path: [getattr(found, name) for name in kept] for path, found in before.items()
    }


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_the_temporary_file_is_not_what_the_shell_redirects_to(tmp_path, stream):
    part = tmp_path / ".out.fits.part"
    part.write_bytes(b"printed before")
    code = """
        import os, sys
        from diffdecor.fits.atomic import atomic_output
        os.dup2(os.open(sys.argv[1] + "/.out.fits.part", os.O_RDWR), int(sys.argv[2]))
        try:
            with atomic_output(sys.argv[1] + "/out.fits"):
                pass
        except OSError as error:
            sys.exit("standard input or output" in str(error) and 7)
    """
    job = _in_python(code, tmp_path, stream)
    job.communicate(timeout=60)
    assert job.returncode == 7
    assert part.read_bytes() == b"printed before"
    assert _names(tmp_path) == [".out.fits.part"]


def test_file_systems_that_give_new_files_to_somebody_else(tmp_path, monkeypatch):
    """As network shares and memory cards do: what was created just now is ours."""
    monkeypatch.setattr("diffdecor.fits.atomic.os.geteuid", lambda: 12345)
    _write(tmp_path / "out.fits")
    assert _names(tmp_path) == ["out.fits"]


def test_a_lock_on_a_file_that_was_renamed_meanwhile_does_not_count(tmp_path, monkeypatch):
    path = tmp_path / "out.fits"
    part = tmp_path / ".out.fits.part"
    original = fcntl.flock
    opened = []

    def flock(file, how):
        if not opened:  # between open and lock, another process finishes its own
            part.rename(tmp_path / "another.fits")
        opened.append(file)
        return original(file, how)

    monkeypatch.setattr("diffdecor.fits.atomic.fcntl.flock", flock)
    _write(path)
    assert len(opened) == 2
    assert path.read_bytes() == b"new"
    assert (tmp_path / "another.fits").read_bytes() == b""


def test_file_systems_without_locks_are_written_all_the_same(tmp_path, monkeypatch, caplog):
    def flock(*_args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("diffdecor.fits.atomic.fcntl.flock", flock)
    _write(tmp_path / "out.fits")
    assert "cannot be locked here" in caplog.text


def test_a_full_disk_leaves_no_file(tmp_path):
    code = """
        import resource, signal, sys
        import numpy as np
        from diffdecor.errors import OutputError
        from diffdecor.images.write import result_file
        from diffdecor.images.model import Exposure
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            with result_file(sys.argv[1], Exposure(image=np.ones((1000, 1000)))) as file:
                file.image[0:1000] = np.ones((1000, 1000))
        except OutputError as error:
            print(error)
    """
    path = tmp_path / "out.fits"
    job = _in_python(code, path)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    assert out == f"{path}: cannot be written: File too large; nothing is left of it\n"
    assert _names(tmp_path) == []


def test_an_interrupted_process_leaves_no_file(tmp_path):
    path = tmp_path / "out.fits"
    with _in_python(WRITE_SLOWLY, path) as job:
        assert job.stdout.readline() == "writing\n"
        time.sleep(0.1)
        job.send_signal(signal.SIGINT)
        job.communicate(timeout=20)
    assert job.returncode != 0
    assert _names(tmp_path) == []
