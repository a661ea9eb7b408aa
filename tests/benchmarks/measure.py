"""Wall time and peak memory of whole processes that take turns.

Nothing but the standard library is imported here: a child's peak memory counts from that of the
process that starts it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median


@dataclass
class Way:
    """A command under test, and what was measured of it."""

    name: str
    command: list
    output: Path | None = None  # removed before every run, with all that is in it
    inputs: list = field(default_factory=list)  # read before every run: caches are warm
    memory: int = 0  # bytes that it needs, where that may be too much
    exit_code: int = 0
    failure: str = ""
    stdout: str = ""
    seconds: dict = field(default_factory=dict)  # of every turn
    cpu: dict = field(default_factory=dict)  # seconds of all threads, of every turn
    megabytes: list = field(default_factory=list)

    def run(self, turn):
        """Run the command once; if it fails, remember why and leave it out from then on."""
        _remove(self.output)
        for path in self.inputs:
            _read_through(path)
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            start = time.perf_counter()
            process = subprocess.Popen(self.command, stdout=stdout, stderr=stderr)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            self.stdout, errors = (_text(file) for file in (stdout, stderr))
        if process.returncode != self.exit_code:
            last = errors.strip().rpartition("\n")[2]
            self.failure = f"failed ({process.returncode})"
            print(f"{self.name}: {self.failure}: {last}", file=sys.stderr)  # noqa: T201
        self.seconds[turn] = seconds
        self.cpu[turn] = usage.ru_utime + usage.ru_stime
        self.megabytes.append(usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))

    @property
    def turns(self):
        """Turns that count: the first warms the caches."""
        return sorted(self.seconds)[1:] or sorted(self.seconds)

    def time(self):
        return median(self.seconds[turn] for turn in self.turns)

    def more_cpu(self, other):
        """Median over the turns of the CPU seconds that it takes more than another, and range."""
        more = sorted(self.cpu[turn] - other.cpu[turn] for turn in self.turns)
        return median(more), more[0], more[-1]

    def memory_used(self):
        return f"{median(self.megabytes):.0f} MB"

    def ratio(self, other, of="seconds"):
        """Median over the turns of both of the ratio of their times, of processors with `cpu`."""
        if self.failure or other.failure:
            return None
        both = [turn for turn in self.turns if turn in other.turns]
        mine, others = getattr(self, of), getattr(other, of)
        return median(mine[turn] / others[turn] for turn in both) if both else None


def _remove(output):
    if output is not None and output.is_dir():
        shutil.rmtree(output)
    elif output is not None:
        output.unlink(missing_ok=True)


def _read_through(path):
    scratch = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(scratch):
            pass


def _text(file):
    file.seek(0)
    return file.read()


def take_turns(ways, turns, patience):
    """Run all ways in turn, so that a machine whose speed drifts is fair to all of them.

    Parameters
    ----------
    ways : list of Way
    turns : int
        Turns that count; one more goes before them.
    patience : float
        Seconds after which a way has no more turns, if it has had two.
    """
    limit = 0.8 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for way in ways:
        if way.memory > limit:
            way.failure = "does not fit"
    for turn in range(turns + 1):
        for way in ways:
            spent = sum(way.seconds.values())
            if not way.failure and (turn < 2 or spent < patience):
                way.run(turn)
    for way in ways:
        _remove(way.output)
    return ways
