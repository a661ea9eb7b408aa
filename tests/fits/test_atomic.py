"""An output is there and complete, or not there at all."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from diffdecor.errors import BusyError, OutputError, OutputExistsError
from diffdecor.fits.atomic import atomic_output, check_output, output_held, tidy_output
from diffdecor.fits.lock import Owner, beside

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")


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
        part, lock = _names(tmp_path)
        assert lock == ".out.fits.lock"
        assert re.fullmatch(r"\.out\.fits\.[0-9a-f]{12}\.part", part)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_mode_follows_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        _write(tmp_path / "out.fits")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.fits").stat().st_mode) == 0o666 & ~umask


def test_an_output_of_fits_is_not_called_like_a_picture(tmp_path):
    with pytest.raises(OutputError, match=r"out\.PNG: the output is a FITS file; name it \.fits"):
        check_output(tmp_path / "out.PNG", packable=True)
    check_output(tmp_path / "out.png")
    check_output(tmp_path / "out", packable=True)


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
        ("out.fits.bz2", "not compressed"),
        ("file/out.fits", "there is no folder"),
        ("x" * 251 + ".fits", "cannot be written: File name too long"),
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


def test_a_folder_that_is_not_there_is_no_file(tmp_path):
    with pytest.raises(OutputError, match="name of a folder"):
        _write(f"{tmp_path}/new/")
    assert _names(tmp_path) == []


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
        (tmp_path / "out.fits").write_bytes(b"old")
    with pytest.raises(OutputError, match="Operation not permitted"):
        _write(tmp_path / "out.fits", overwrite=True)
    assert _names(tmp_path) == ([] if step == "fsync" else ["out.fits"])


def test_one_writer_at_a_time(tmp_path):
    path = tmp_path / "out.fits"
    with atomic_output(path) as file:
        file.write(b"first")
        with pytest.raises(BusyError, match="another process is writing it now; try again later"):
            _write(path)
        _write(tmp_path / "other.fits")
    assert path.read_bytes() == b"first"


def test_an_output_that_is_held_is_written_more_than_once(tmp_path):
    path = tmp_path / "link.fits"
    path.symlink_to("out.fits")  # the lock is that of the file
    with output_held(path) as lock:
        _write(path, b"one")
        _write(tmp_path / "out.fits", b"two", overwrite=True)
        tidy_output(path)
        with pytest.raises(OutputExistsError):
            _write(path, b"three")
        assert lock.is_held()
        assert _names(tmp_path) == [".out.fits.lock", "link.fits", "out.fits"]
    assert path.read_bytes() == b"two"
    assert _names(tmp_path) == ["link.fits", "out.fits"]


def test_holding_an_output_keeps_its_inputs(tmp_path):
    """A lock of the dead may name a file that is an input."""
    path, dead = tmp_path / "out.fits", 2**22 + 1  # no process has this number
    owner = replace(Owner.this(), process=dead)
    beside(path, "lock").symlink_to(owner.text())
    part = beside(path, f"{owner.token}.part")
    part.write_bytes(b"input")
    with output_held(path, inputs=[part]):
        assert part.read_bytes() == b"input"
    beside(path, "lock").symlink_to(owner.text())
    tidy_output(path)
    assert _names(tmp_path) == []


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
    assert len(_names(tmp_path)) == 2  # the lock, and half of the file
    _write(path)
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


def test_file_systems_that_give_new_files_to_somebody_else(tmp_path, monkeypatch):
    """As network shares and memory cards do: what was created just now is ours."""
    monkeypatch.setattr("diffdecor.fits.atomic.os.geteuid", lambda: 12345)
    _write(tmp_path / "out.fits")
    assert _names(tmp_path) == ["out.fits"]


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


# --- what others put in the way


@pytest.mark.parametrize("options", [{}, {"overwrite": True}])
def test_hard_links_and_names_of_parts_are_nothing_to_us(tmp_path, options):
    """The temporary file is always a new one: what looks like one is not touched."""
    source = tmp_path / "in.fits"
    source.write_bytes(b"input")
    (tmp_path / ".out.fits.part").hardlink_to(source)
    (tmp_path / ".out.fits.0123456789ab.part").hardlink_to(source)
    _write(tmp_path / "out.fits", inputs=[source], **options)
    assert source.read_bytes() == b"input"
    assert source.stat().st_nlink == 3
    assert (tmp_path / "out.fits").read_bytes() == b"new"


def test_a_part_that_is_swapped_does_not_become_the_output(tmp_path):
    path = tmp_path / "out.fits"

    def swapped():
        with atomic_output(path) as file:
            file.write(b"ours")
            (part,) = tmp_path.glob(".out.fits.*.part")
            part.rename(tmp_path / "stolen")
            part.write_bytes(b"theirs")

    with pytest.raises(OutputError, match="somebody replaced its temporary file"):
        swapped()
    assert not path.exists()
    (part,) = tmp_path.glob(".out.fits.*.part")
    assert part.read_bytes() == b"theirs"


@pytest.mark.parametrize("links", [True, False])
def test_an_output_that_appears_while_it_is_written_is_kept(tmp_path, monkeypatch, links):
    path = tmp_path / "out.fits"
    if not links:

        def refuse(*_args):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
        _write(tmp_path / "other.fits")
        assert (tmp_path / "other.fits").read_bytes() == b"new"

    def late():
        with atomic_output(path) as file:
            file.write(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(OutputExistsError, match="exists already"):
        late()
    assert path.read_bytes() == b"theirs"
    assert not list(tmp_path.glob(".*"))


def test_inputs_that_cannot_be_are_not_the_fault_of_the_output(tmp_path):
    path = tmp_path / "out.fits"
    path.write_bytes(b"old")
    inputs = ["x" * 300, tmp_path / "out.fits" / "below", tmp_path / "gone.fits"]
    _write(path, overwrite=True, inputs=inputs)
    with pytest.raises(OutputExistsError, match="is an input"):
        _write(path, overwrite=True, inputs=[*inputs, path])


def test_an_input_that_gets_the_name_of_the_output_is_kept(tmp_path):
    path, source = tmp_path / "out.fits", tmp_path / "in.fits"
    source.write_bytes(b"input")

    def moved():
        with atomic_output(path, overwrite=True, inputs=[source]) as file:
            file.write(b"ours")
            path.hardlink_to(source)

    with pytest.raises(OutputExistsError, match="is an input"):
        moved()
    assert source.read_bytes() == b"input"


# --- what an output is


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_what_is_replaced_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "out.fits"
    path.write_bytes(b"old")
    path.chmod(mode)
    with atomic_output(path, overwrite=True) as file:
        file.write(b"new")
        (part,) = tmp_path.glob(".*.part")
        assert stat.S_IMODE(part.stat().st_mode) & ~mode == 0
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_is_replaced_keeps_owner_and_group(tmp_path, monkeypatch):
    path = tmp_path / "out.fits"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    path.chmod(0o664)
    _write(path, overwrite=True)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o664)

    def refuse(*_args):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("diffdecor.fits.atomic.os.fchown", refuse)
    _write(path, overwrite=True)
    found = path.stat()
    # A group of ours gets no more than all get.
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, 0o644)


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_is_followed(tmp_path, there):
    real, link = tmp_path / "folder" / "real.fits", tmp_path / "out.fits"
    real.parent.mkdir()
    link.symlink_to(real)
    if there:
        real.write_bytes(b"old")
        with pytest.raises(OutputExistsError, match="exists already"):
            _write(link)
    _write(link, overwrite=there)
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert _names(tmp_path) == ["folder", "out.fits"]
    assert _names(real.parent) == ["real.fits"]


@pytest.mark.parametrize("redirected", ["file", "pipe"])
def test_standard_output_is_not_replaced(tmp_path, redirected):
    code = """
        import sys
        from diffdecor.fits.atomic import atomic_output
        try:
            with atomic_output(sys.argv[1], overwrite=True) as file:
                file.write(b"new")
        except OSError as error:
            sys.exit(str(error))
    """
    link, target = tmp_path / "stdout", tmp_path / "redirected"
    link.symlink_to("/proc/self/fd/1" if Path("/proc/self/fd/1").exists() else "/dev/fd/1")
    with target.open("wb") as file:
        job = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), link],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=file if redirected == "file" else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert job.returncode == 1
    says = "standard input or output" if redirected == "file" else "not a regular file"
    assert says in job.stderr
    assert link.is_symlink()


@pytest.mark.parametrize("name", ["x" * 250 + ".fits", "é" * 125 + ".fits"])
def test_names_as_long_as_they_may_be(tmp_path, name):
    with atomic_output(tmp_path / name) as file:
        file.write(b"new")
    assert _names(tmp_path) == [name]


@pytest.mark.parametrize("way", ["moved", "a file", "no lock"])
def test_a_folder_that_goes_away_meanwhile(tmp_path, way):
    folder = tmp_path / "folder"
    folder.mkdir()

    def write():
        with atomic_output(folder / "out.fits") as file:
            file.write(b"new")
            if way == "no lock":
                (folder / ".out.fits.lock").unlink()
                return
            folder.rename(tmp_path / "elsewhere")
            if way == "a file":
                folder.touch()
            else:
                folder.mkdir()

    with pytest.raises(OutputError, match=r"out\.fits: ") as caught:
        write()
    assert not isinstance(caught.value, BusyError)
    assert not (folder / "out.fits").exists()


def test_a_link_to_a_folder_that_turns_meanwhile(tmp_path):
    """The output goes where it was begun, and nothing is left."""
    first, second, link = (tmp_path / name for name in ("first", "second", "link"))
    first.mkdir()
    second.mkdir()
    link.symlink_to(first)
    with atomic_output(link / "out.fits") as file:
        file.write(b"new")
        link.unlink()
        link.symlink_to(second)
    assert _names(first) == ["out.fits"]
    assert _names(second) == []
