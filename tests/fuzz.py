"""Broken and hostile inputs of every role and format: what `diffdecor` makes of each.

    python tests/fuzz.py [NUMBER] [--seed N] [--only REGEX] [--case N] [--keep FOLDER] ...

Each case is a process of its own, that has to end in a documented exit code with one line, in 20
seconds of processor time and 1 GB of memory, its inputs untouched, and nothing left behind.
"""

import argparse
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from helpers.hostile import damaged, make_files
from helpers.workplace import described

CPU = 20  # seconds
MEMORY = 1 << 20  # kB
WALL = 180  # seconds
BAD = re.compile(r"Traceback|internal error|\w+Warning\b|^\s+File ", re.MULTILINE)
DOCUMENTED = {"run": {0, 2, 3}, "check": {0, 2, 3, 4}, "kernel": {0, 2, 3}}


class Outcome(NamedTuple):
    """What became of a case."""

    case: int
    target: str
    damage: str
    code: int
    seconds: float
    wrong: tuple[str, ...]
    said: str


class Bench:
    """A folder of whole files, and one in which cases are run."""

    def __init__(self, folder, seed=0, only=""):
        self.whole = folder / "whole"
        self.whole.mkdir(parents=True)
        self.targets = [t for t in make_files(self.whole) if re.search(only, t.name)]
        self.seed = seed

    def content(self, case):
        """Return target and content of a case, and what was done to it."""
        target = self.targets[case % len(self.targets)]
        random = np.random.default_rng([self.seed, case])
        with np.errstate(all="ignore"):
            content, damage = damaged(target, random)
        return target, content, damage

    def run(self, case):
        """Run a case."""
        target, content, damage = self.content(case)
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            for folder in ("out", "tmp"):
                (work / folder).mkdir()
            file = work / target.file
            file.write_bytes(content)
            words = [
                word.format(file, dir=self.whole, out=work / "out" / "out.fits")
                for word in target.words
            ]
            status, used = _in_a_process(words, work)
            said = (work / "stderr").read_text("utf-8", "replace")
            code = os.waitstatus_to_exitcode(status)
            wrong = list(_judge(words[0], code, said, used))
            if file.read_bytes() != content:
                wrong.append("the input was changed")
            expected = {"out.fits"} if code in {0, 4} and words[0] == "run" else set()
            left = {p.name for p in (work / "out").iterdir()} - expected
            left |= {p.name for p in (work / "tmp").iterdir()}
            if left:
                wrong.append(f"left {sorted(left)}")
        seconds = used.ru_utime + used.ru_stime
        return Outcome(case, target.name, damage, code, seconds, tuple(wrong), said[-500:])


def _judge(command, code, said, used):
    """Say what is wrong with how a case ended."""
    if code not in DOCUMENTED[command]:
        yield f"exit {code}"
    if found := BAD.search(said):
        yield f"says {found[0].strip()!r}"
    errors = [
        line
        for line in said.splitlines()
        if line.startswith(("diffdecor: ", "Error: ")) and " WARNING: " not in line
    ]
    if len(errors) != (code in {2, 3}):
        yield f"{len(errors)} lines of errors"
    if any(not (c.isprintable() or c == "\n") for c in said):
        yield "control characters"
    if used.ru_utime + used.ru_stime > CPU:
        yield f"{used.ru_utime + used.ru_stime:.0f} s"
    if used.ru_maxrss > MEMORY:
        yield f"{used.ru_maxrss >> 10} MB"


def _in_a_process(words, work):
    """Run the command line in a fork of this process; return its status and what it used."""
    pid = os.fork()
    if pid == 0:
        os._exit(_child(words, work))

    def stop(*_):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(WALL)
    try:
        _, status, used = os.wait4(pid, 0)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return status, used


def _child(words, work):
    """Run the command line; return the exit code."""
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU + 5, CPU + 5))
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        out = os.open(work / "stderr", os.O_WRONLY | os.O_CREAT)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        tempfile.tempdir = str(work / "tmp")
        sys.argv = ["diffdecor", *words]
        sys.warnoptions.clear()  # a user gives none
        warnings.resetwarnings()
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)
        from diffdecor.__main__ import main

        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  what Python itself would do
        traceback.print_exc()
        return 1
    finally:
        with suppress(Exception):
            sys.stderr.flush()
    return 0


def warm():
    """Import what every case needs; nothing that starts threads."""
    from importlib import import_module

    for name in ("run", "check", "kernel"):
        import_module(f"diffdecor.cli.{name}")
    import_module("diffdecor.pipeline.run")


def run_cases(bench, cases):
    """Run cases one after the other; the whole files beside them must stay as they are."""
    warm()
    before = described(bench.whole)
    outcomes = [bench.run(case) for case in cases]
    if described(bench.whole) != before:
        changed = outcomes[-1]
        outcomes[-1] = changed._replace(wrong=(*changed.wrong, "whole files were changed"))
    return outcomes


def main():
    """Run cases on all processors; report those that went wrong, and how all ended."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("number", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="regular expression for names of targets")
    parser.add_argument("--case", type=int, help="this one only")
    parser.add_argument("--keep", type=Path, help="folder for the damaged files of what went wrong")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), told.seed, told.only)
        cases = range(told.first, told.first + told.number)
        cases = cases if told.case is None else [told.case]
        parts = [cases[start : start + 20] for start in range(0, len(cases), 20)]
        outcomes = []
        with ProcessPoolExecutor(told.jobs, mp_context=get_context("fork")) as pool:
            for part in pool.map(run_cases, [bench] * len(parts), parts):
                outcomes += part
                for one in (one for one in part if one.wrong or told.case is not None):
                    _show(one, bench, told.keep)
    codes = Counter(one.code for one in outcomes)
    bad = sum(bool(one.wrong) for one in outcomes)
    slowest = max(one.seconds for one in outcomes)
    sys.stdout.write(
        f"{len(outcomes)} cases: {bad} wrong, exit codes {dict(sorted(codes.items()))}, the "
        f"slowest took {slowest:.1f} s of processor time\n"
    )
    return int(bad > 0)


def _show(one, bench, keep):
    said = one.said.strip().replace("\n", "\n    ")[-300:]
    wrong = "; ".join(one.wrong) or one.code
    sys.stdout.write(f"case {one.case}, {one.target}: {one.damage}: {wrong}\n    {said}\n")
    sys.stdout.flush()
    if keep is not None:
        keep.mkdir(exist_ok=True)
        target, content, _ = bench.content(one.case)
        (keep / f"{one.case}-{target.file}").write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
