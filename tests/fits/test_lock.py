"""One process at a time holds a lock; those of dead processes are removed, and nothing else is."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.errors import BusyError, OutputError
from diffdecor.fits import lock as lock_module
from diffdecor.fits.lock import DEAD, Owner, beside, held, tidy


def keep_nothing(_found):
    return False


def hold(path, keep=keep_nothing):
    with held(path, keep):
        return sorted(one.name for one in path.parent.iterdir())


def hold_elsewhere(path):
    """Hold the lock in another thread of this process."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(hold, path).result()


def ended_process():
    """The number of a process that is gone."""
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], check=True,
                          capture_output=True, text=True)  # fmt: skip
    return int(done.stdout)


def planted(path, **about):
    """Make the lock of another process beside an output; return its owner."""
    owner = replace(Owner.this(), **about)
    beside(path, "lock").symlink_to(owner.text())
    return owner


def hidden(path):
    return sorted(one.name for one in path.parent.glob(".*"))


def test_the_lock_is_there_while_it_is_held(tmp_path):
    path = tmp_path / "out.fits"
    assert hold(path) == [".out.fits.lock"]
    assert hidden(path) == []


def test_a_living_process_keeps_its_lock(tmp_path):
    path = tmp_path / "out.fits"
    with held(path, keep_nothing) as lock:
        with pytest.raises(BusyError, match=rf"try again later \(process {os.getpid()} of"):
            hold_elsewhere(path)
        assert lock.is_held()
    assert hidden(path) == []


def test_the_thread_that_has_a_lock_goes_on_with_it(tmp_path):
    path = tmp_path / "out.fits"
    with held(path, keep_nothing) as outer:
        for _ in range(2):
            with held(path, keep_nothing) as inner:
                assert inner is outer
            assert outer.is_held()
            tidy(path, keep_nothing)
            assert outer.is_held()
        with pytest.raises(BusyError) as error:
            hold_elsewhere(path)
        assert error.value.holder == f"process {os.getpid()} of {outer.owner.user} on " + (
            outer.owner.host
        )
        with held(tmp_path / "other.fits", keep_nothing) as other:
            assert other is not outer
    assert hidden(path) == []
    with held(path, keep_nothing) as again:
        assert again.owner.token != outer.owner.token


def test_a_lock_is_forgotten_though_taking_it_failed(tmp_path):
    path = tmp_path / "out.fits"
    planted(path)
    for _ in range(2):
        with pytest.raises(BusyError):
            hold(path)
    beside(path, "lock").unlink()
    with pytest.raises(RuntimeError), held(path, keep_nothing):
        raise RuntimeError
    assert hold(path) == [".out.fits.lock"]
    assert hidden(path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_has_not_the_lock_of_its_parent(tmp_path):
    path = tmp_path / "out.fits"
    with held(path, keep_nothing) as lock:
        process = os.fork()
        if not process:
            try:
                hold(path)
            except BusyError:
                os._exit(75)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 75
        assert lock.is_held()


@pytest.mark.parametrize("dead", ["gone", "another start", "zombie"])
def test_a_dead_process_on_this_machine_has_no_lock(tmp_path, dead):
    path = tmp_path / "out.fits"
    zombie = None
    if dead == "gone":
        owner = planted(path, process=ended_process())
    elif dead == "another start":
        if not Owner.this().started:
            pytest.skip("this system does not say when a process started")
        owner = planted(path, started="17")
    else:
        if not Path("/proc/self/stat").exists():
            pytest.skip("this system does not say what a process does")
        zombie = subprocess.Popen([sys.executable, "-c", ""])
        while "Z" not in Path(f"/proc/{zombie.pid}/stat").read_text().rpartition(")")[2].split()[0]:
            time.sleep(0.01)
        owner = planted(path, process=zombie.pid)
    beside(path, f"{owner.token}.part").write_bytes(b"half")
    assert hold(path) == [".out.fits.lock"]
    assert hidden(path) == []
    if zombie:
        zombie.wait()


@pytest.mark.parametrize("age", [0.0, DEAD - 60, DEAD + 60])
def test_a_lock_of_another_machine_lives_while_it_is_renewed(tmp_path, age):
    path = tmp_path / "out.fits"
    planted(path, host="elsewhere", process=1)
    moment = time.time() - age
    os.utime(beside(path, "lock"), (moment, moment), follow_symlinks=False)
    if age < DEAD:
        with pytest.raises(BusyError, match="elsewhere"):
            hold(path)
        assert hidden(path) == [".out.fits.lock"]
    else:
        hold(path)
        assert hidden(path) == []


def test_a_lock_is_renewed(tmp_path, monkeypatch):
    path = tmp_path / "out.fits"
    monkeypatch.setattr(lock_module, "RENEWED", 0.01)
    with held(path, keep_nothing):
        file = beside(path, "lock")
        os.utime(file, (1e9, 1e9), follow_symlinks=False)
        for _ in range(500):
            if file.lstat().st_mtime > 1.1e9:
                break
            time.sleep(0.01)
        assert file.lstat().st_mtime > 1.1e9


def test_who_lost_a_lock_notices(tmp_path):
    path = tmp_path / "out.fits"
    with held(path, keep_nothing) as lock:
        beside(path, "lock").unlink()
        other = planted(path)
        assert not lock.is_held()
    assert str(beside(path, "lock").readlink()) == other.text()


def test_what_is_not_what_a_dead_process_wrote_is_not_removed(tmp_path):
    path, source = tmp_path / "out.fits", tmp_path / "in.fits"
    source.write_bytes(b"input")
    owner = planted(path, process=ended_process())
    part = beside(path, f"{owner.token}.part")
    part.hardlink_to(source)
    hold(path, keep=lambda found: os.path.samestat(found, source.stat()))
    assert part.read_bytes() == b"input"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_part_of_another_user_is_not_removed(tmp_path):
    path = tmp_path / "out.fits"
    owner = planted(path, process=ended_process())
    part = beside(path, f"{owner.token}.part")
    part.write_bytes(b"theirs")
    os.chown(part, 12345, -1)
    hold(path)
    assert part.exists()


@pytest.mark.parametrize("what", ["file", "link", "folder", "FIFO", "large"])
def test_what_is_no_lock_is_left_alone_and_does_not_block(tmp_path, what, caplog):
    path, file = tmp_path / "out.fits", tmp_path / ".out.fits.lock"
    if what == "file":
        file.write_text("something")
    elif what == "link":
        file.symlink_to("in.fits")
    elif what == "folder":
        file.mkdir()
    elif what == "FIFO":
        os.mkfifo(file)
    else:
        file.write_bytes(bytes(10_000))
    before = file.lstat()
    hold(path)
    assert "is not a lock that diffdecor made" in caplog.text
    assert os.path.samestat(file.lstat(), before)


def test_a_dead_lock_that_may_not_be_removed_does_not_block(tmp_path, monkeypatch, caplog):
    """In folders where all may write, others' files cannot be removed."""
    path = tmp_path / "out.fits"
    planted(path, process=ended_process())

    def refuse(*_args):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "replace", refuse)
    with held(path, keep_nothing) as lock:
        assert lock.is_held()
    assert "cannot be removed" in caplog.text


def test_file_systems_without_symbolic_links(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    path = tmp_path / "out.fits"
    with held(path, keep_nothing) as lock:
        assert beside(path, "lock").read_text() == lock.owner.text()
        with pytest.raises(BusyError):
            hold_elsewhere(path)
    assert hidden(path) == []
    beside(path, "lock").write_text(replace(Owner.this(), process=ended_process()).text())
    hold(path)
    assert hidden(path) == []


@pytest.mark.parametrize(("code", "says"), [(errno.EACCES, "Perm"), (errno.ENOSPC, "disk is full")])
def test_a_folder_in_which_no_lock_can_be_made(tmp_path, monkeypatch, code, says):
    def refuse(*_args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(OutputError, match=rf"out\.fits: cannot be written: .*{says}"):
        hold(tmp_path / "out.fits")


@pytest.mark.parametrize("claimed", ["dead", "alive"])
def test_only_one_process_takes_a_lock_away(tmp_path, claimed):
    path = tmp_path / "out.fits"
    owner = planted(path, process=ended_process())
    claim = tmp_path / f".out.fits.lock.{owner.token}"
    other = replace(Owner.this(), **({"process": ended_process()} if claimed == "dead" else {}))
    claim.symlink_to(other.text())
    if claimed == "alive":
        with pytest.raises(BusyError):
            hold(path)
        assert claim.is_symlink()
    else:
        hold(path)
        assert hidden(path) == []


@pytest.mark.parametrize(
    "text", ["diffdecor:abc:u:h:m:\u00b2:1", f"diffdecor:{'a' * 300}:u:h:m:9:1"]
)
def test_what_only_looks_like_a_lock_is_none(text):
    assert Owner.of(text) is None


def test_a_process_of_which_nothing_is_told_but_that_it_is_there_lives(tmp_path, monkeypatch):
    """As where /proc hides the processes of others."""
    path = tmp_path / "out.fits"
    planted(path)
    monkeypatch.setattr(lock_module, "_started", lambda _: "")
    with pytest.raises(BusyError):
        hold(path)


def test_a_lock_from_the_future_is_dead(tmp_path):
    path = tmp_path / "out.fits"
    planted(path, host="elsewhere")
    os.utime(beside(path, "lock"), (4e9, 4e9), follow_symlinks=False)
    hold(path)
    assert hidden(path) == []


def test_a_dead_lock_where_nothing_can_be_made(tmp_path, monkeypatch):
    path = tmp_path / "out.fits"
    planted(path, process=ended_process())
    real = Path.symlink_to

    def refuse(file, text):
        if file.name.endswith(".lock"):
            return real(file, text)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(OutputError, match="Read-only file system"):
        hold(path)
    tidy(path, keep_nothing)  # says nothing


@given(st.text(max_size=60), st.text(max_size=40))
def test_the_text_of_a_lock_says_who_made_it(first, second):
    owner = Owner.this()
    assert Owner.of(owner.text()) == owner
    strange = Owner.of(f"diffdecor:{first}:{second}")
    assert strange is None or strange.text().startswith("diffdecor:")


CONTEND = """
    import os, random, sys, time
    from pathlib import Path
    from diffdecor.errors import BusyError
    from diffdecor.fits.lock import Owner, held
    def said(path):
        try:
            return os.readlink(path)
        except FileNotFoundError:
            return None
    path, log = Path(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
    print("started", flush=True)
    while True:
        try:
            with held(path, lambda found: False) as lock:
                inside = path.with_name("inside." + lock.owner.token)
                inside.symlink_to(lock.owner.text())
                others = [p for p in path.parent.glob("inside.*") if p != inside]
                time.sleep(random.random() * 0.002)
                # One that was killed cannot take back what it said.
                owners = [Owner.of(text) for text in map(said, others) if text]
                if lock.is_held() and not all(owner.is_gone() for owner in owners):
                    log.write("two at once\\n")
                inside.unlink()
                log.write("held\\n")
        except BusyError:
            pass
"""


def test_processes_that_are_killed_never_leave_two_holders(tmp_path):
    """Killed at any moment, also while they take a dead one's lock away."""
    path, log = tmp_path / "out.fits", tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CONTEND), path, log],
            env=environment,
            stdout=subprocess.PIPE,
        )

    jobs = [start() for _ in range(3)]
    try:
        for number in range(12):
            job = jobs[number % 3]
            job.stdout.readline()
            time.sleep(0.02)
            job.send_signal(signal.SIGKILL)
            job.communicate()
            # What a killed process marked as its own does not count.
            for inside in tmp_path.glob("inside.*"):
                inside.unlink(missing_ok=True)
            jobs[number % 3] = start()
    finally:
        for job in jobs:
            job.kill()
            job.communicate()
    lines = log.read_text().splitlines()
    assert len(lines) > 10
    assert "two at once" not in lines
    hold(path)
    assert hidden(path) == []
