"""Wall time, CPU time and peak memory of whole processes that take turns.

Nothing but the standard library is imported here: a child's peak memory counts from that of the
process that starts it.
"""

import json
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
    environment: dict = field(default_factory=dict)  # what it has besides that of this process
    prints: bool = False  # it times itself, and prints that as JSON
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
            # What was compiled is kept: imports would take longer than small images.
            around = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **self.environment}
            process = subprocess.Popen(self.command, stdout=stdout, stderr=stderr, env=around)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            self.stdout, errors = (_text(file) for file in (stdout, stderr))
        if process.returncode != self.exit_code:
            last = errors.strip().rpartition("\n")[2]
            self.failure = f"failed ({process.returncode})"
            print(f"{self.name}: {self.failure}: {last}", file=sys.stderr)  # noqa: T201
        found = {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime}
        if self.prints and not self.failure:
            found = json.loads(self.stdout)
        self.seconds[turn], self.cpu[turn] = found["seconds"], found["cpu"]
        self.megabytes.append(usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))

    @property
    def turns(self):
        """Turns that count: the first warms the caches."""
        return sorted(self.seconds)[1:] or sorted(self.seconds)

    def counted(self, of):
        """Return the `seconds` or the `cpu` of the turns that count."""
        return {turn: getattr(self, of)[turn] for turn in self.turns}

    def time(self, of="seconds"):
        return median(self.counted(of).values())

    def beyond(self, other, of="seconds"):
        """Return what every turn took more than the same turn of another way, seconds."""
        others = other.counted(of)
        return {t: mine - others[t] for t, mine in self.counted(of).items() if t in others}

    def memory_used(self):
        return f"{median(self.megabytes):.0f} MB"

    def ratio(self, other, of="seconds"):
        """Return the ratio to the time of another way, or to its `cpu`, if neither failed."""
        if self.failure or other.failure:
            return None
        return ratio_of_turns(self.counted(of), other.counted(of))


def ratio_of_turns(mine, others):
    """Median of the ratios of the turns that both have had."""
    both = mine.keys() & others.keys()
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
