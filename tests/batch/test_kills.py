"""Batches that are killed, or their processes, at any moment: in the end nothing is lost."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from helpers.nights import content, identity, kill_all, workers_of
from helpers.processes import is_gone, wait_until

KILLS = int(os.environ.get("DIFFDECOR_KILLS", "3"))
#: Moments that time rarely hits, as code that runs first in the batch and in its workers.
MOMENTS = """
def kill():
    os.killpg(0, signal.SIGKILL)
    time.sleep(60)
def replace(module, name, is_meant, before=False, half=False):
    real = getattr(module, name)
    def killed(*given, **named):
        if not is_meant(*given, **named):
            return real(*given, **named)
        if half:
            real(given[0], given[1][: len(given[1]) // 2], **named)
        elif not before:
            real(*given, **named)
        kill()
    setattr(module, name, killed)
from diffdecor.batch import ledger
from diffdecor.fits import atomic, lock
moment = os.environ["DIFFDECOR_TEST_MOMENT"]
is_output = lambda part, target, **_: target.suffix == ".fits"
is_table = lambda part, target, **_: target.suffix == ".ecsv"
always = lambda *_, **__: True
moments = {
    "an output is locked": (lock, "_acquire", lambda file, *_: ".fits" in file.name),
    "an output is written": (atomic, "_named", is_output, True),
    "an output is there": (atomic, "_named", is_output),
    "the ledger is locked": (ledger, "_append", always, True),
    "half a line is written": (ledger, "_write_whole", always, False, True),
    "a line is written": (ledger, "_append", always),
    "the table is written": (atomic, "_named", is_table, True),
    "the table is there": (atomic, "_named", is_table),
    "a lock is taken over": (lock, "_remove_left", always, True),
    "what was left is removed": (lock, "_remove_left", always),
}
replace(*moments[moment])
"""
#: Tasks that take a while: there are some left when the batch is stopped, however busy we are.
SLOWLY = """
from diffdecor.fits import lock
acquire = lock._acquire
def slowly(file, *given, **named):
    time.sleep(0.3 if is_worker and ".fits" in file.name else 0.0)
    return acquire(file, *given, **named)
lock._acquire = slowly
"""
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")


class Watched:
    """The outputs of a batch as they appear: whole, and never made again."""

    def __init__(self, night, undisturbed):
        self.night, self.undisturbed = night, undisturbed
        self.seen = {}

    def look(self):
        """Look at the outputs that are new, and see that the others are the same."""
        for output in self.night.there():
            if output.name not in self.seen:
                assert content(output) == self.undisturbed[output.name]
                self.seen[output.name] = identity(output)
            assert identity(output) == self.seen[output.name], f"{output} was made again"

    def is_complete(self):
        """Check what is left in the end."""
        self.look()
        assert len(self.seen) == len(self.night.outputs)
        assert self.night.hidden() == []
        self.night.is_true()
        assert set(self.night.statuses().values()) == {"done"}
        assert max(self.night.works().values()) == 1


@pytest.fixture
def watched(undisturbed):
    """Watch the outputs of a night: ``watched(night)``."""
    return lambda night: Watched(night, undisturbed)


def test_batches_killed_at_random_moments_lose_nothing(night, watched):
    rng = random.Random(14)  # noqa: S311
    night = night()
    watched = watched(night)
    begun, killed = time.monotonic(), 0
    usual = 1.0
    for number in range(KILLS):
        running = night.start("--jobs", 2)
        if number % 3 == 0:  # as it starts
            time.sleep(rng.uniform(0.0, usual))
        else:
            more = len(night.there()) + number % 3
            wait_until(lambda: len(night.there()) >= more or running.poll() is not None)  # noqa: B023
            usual = time.monotonic() - begun
            time.sleep(rng.uniform(0.0, 0.3) * usual)
        killed += running.poll() is None
        kill_all(running)
        watched.look()
        begun = time.monotonic()
    assert killed > KILLS / 2
    assert night.ends(0, "--jobs", 2) == ("", "")
    watched.is_complete()
    assert night.ends(0) == ("", "")
    watched.is_complete()


def test_batches_killed_at_rare_moments_lose_nothing(night, watched):
    night = night(9)
    watched = watched(night)
    for moment in [line.split('"')[1] for line in MOMENTS.splitlines() if line.startswith('    "')]:
        running = night.start("--jobs", 1, hook=MOMENTS, env={"DIFFDECOR_TEST_MOMENT": moment})
        running.communicate(timeout=100)
        assert running.returncode == -signal.SIGKILL, moment
        watched.look()
    assert night.ends(0, "--jobs", 1) == ("", "")
    watched.is_complete()


@needs_proc
def test_a_batch_that_is_stopped_leaves_nothing_behind_it(night, watched):
    night = night()
    watched = watched(night)
    for name in ("SIGTERM", "SIGINT", "SIGKILL"):
        number = getattr(signal, name)
        more = len(night.there()) + 1
        running = night.start("--jobs", 2, hook=SLOWLY)
        wait_until(lambda: len(night.there()) >= more)  # noqa: B023
        workers = workers_of(running)
        running.send_signal(number)
        out, err = running.communicate(timeout=60)
        watched.look()
        assert workers
        if name == "SIGKILL":
            assert running.returncode == -number
            # The next one need not wait until they are gone.
            assert night.ends(0, "--jobs", 2) == ("", "")
            wait_until(lambda: all(map(is_gone, workers)), 10)  # noqa: B023
        else:
            said = "diffdecor: interrupted\n" if name == "SIGINT" else ""
            assert (running.returncode, out, err) == (128 + number, "", said)
            assert all(map(is_gone, workers))
            assert night.hidden() == []
            night.is_true()
    watched.is_complete()


@pytest.mark.long
@needs_proc
def test_workers_that_are_killed_are_replaced(night, watched):
    night = night(8)
    watched = watched(night)
    running = night.start("--jobs", 2, "--retries", 3)
    for number in (1, 3):
        wait_until(lambda: len(night.there()) >= number)  # noqa: B023
        for worker in workers_of(running):
            os.kill(worker, signal.SIGKILL)
    assert running.communicate(timeout=100)[0] == ""
    assert running.returncode == 0
    watched.is_complete()
    assert {int(row["tries"]) for row in night.table().values()} <= {1, 2, 3}


@needs_proc
def test_a_worker_that_hangs_is_killed_after_its_time(night, watched):
    night = night(3)
    watched = watched(night)
    running = night.start("--jobs", 1, "--timeout", "6s", "--retries", 2)
    wait_until(night.there)
    for worker in workers_of(running):
        os.kill(worker, signal.SIGSTOP)
    out, err = running.communicate(timeout=100)
    assert (running.returncode, out) == (0, ""), err
    watched.is_complete()


def test_a_signal_just_after_the_table_was_written_is_not_lost(night):
    """A process whose only output is complete ignores it; a batch has more to do."""
    night = night(2)
    hook = """
if not is_worker:
    from diffdecor.batch.ledger import Ledger
    write = Ledger.write_table
    def write_table(*given):
        write(*given)
        os.kill(os.getpid(), signal.SIGTERM)
    Ledger.write_table = write_table
"""
    assert night.ends(128 + signal.SIGTERM, hook=hook) == ("", "")
    assert night.there() == []
    assert set(night.statuses().values()) == {"undone"}
    assert night.hidden() == []
