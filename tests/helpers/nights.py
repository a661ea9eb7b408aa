"""Small triples with a manifest, `diffdecor batch` on them in processes, and what it leaves."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from helpers.processes import ENVIRONMENT, heeding
from helpers.workplace import call, convolved, exposure, gaussian

import diffdecor
from diffdecor.pipeline.provenance import METRIC_CARDS

SHAPE = (40, 48)
KERNEL = gaussian(3, 1.2)
ROLES = ("science", "template", "difference")
#: Cards that differ between two runs of one job.
_OF_TIME = {"DATE", "CHECKSUM", "DATASUM"}


def make_triple(folder, number):
    """Write a triple, whose noise is its own."""
    random = np.random.default_rng(number)
    science, template = (random.normal(10.0, sigma, SHAPE) for sigma in (3.0, 2.0))
    exposure(science, 9.0).writeto(folder / f"science{number}.fits")
    exposure(template, 4.0).writeto(folder / f"template{number}.fits")
    difference = (science - convolved(template, KERNEL)).astype(np.float32)
    fits.PrimaryHDU(difference).writeto(folder / f"difference{number}.fits")


def make_inputs(folder, number):
    """Write so many triples, and their kernel."""
    side = fits.Header({"CONVSIDE": "TEMPLATE"})
    fits.PrimaryHDU(KERNEL, side).writeto(folder / "kernel.fits")
    for one in range(number):
        make_triple(folder, one)


def content(file):
    """Return cards, but times, and the bytes of the pixels of every HDU; the sums must hold."""
    with fits.open(file, memmap=False, checksum=True) as hdus:
        return [
            (
                [tuple(card) for card in hdu.header.cards if card.keyword not in _OF_TIME],
                b"" if hdu.data is None else hdu.data.tobytes(),
            )
            for hdu in hdus
        ]


def identity(file):
    """Return what is another one when a file has been written again."""
    found = file.stat()
    return found.st_ino, found.st_mtime_ns


class Night:
    """A folder with a manifest of triples that are in another one."""

    def __init__(self, folder, inputs, number, name="night.csv"):
        self.folder, self.inputs = folder, inputs
        self.manifest = folder / name
        self.rows = [
            {role: self.input(role, one) for role in ROLES}
            | {"kernel": self.input("kernel"), "output": f"out/{one}.fits"}
            for one in range(number)
        ]
        self.write()

    def __truediv__(self, name):
        return self.folder / name

    def input(self, role, number=""):
        """Return the name of an input from this folder."""
        return os.path.relpath(self.inputs / f"{role}{number}.fits", self.folder)

    def write(self):
        """Write the manifest as `rows` have it."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = [names, *([str(row.get(name, "")) for name in names] for row in self.rows)]
        self.manifest.write_text("".join(",".join(line) + "\n" for line in lines))

    @property
    def outputs(self):
        """Every output, there or not."""
        return [self.folder / row["output"] for row in self.rows]

    def there(self):
        """Return the outputs that are there."""
        return [output for output in self.outputs if output.exists()]

    def start(self, *arguments, command="batch", hook="", env=None, **about):
        """Start the batch in a process group of its own.

        A `hook` is code that runs first in it and in its workers: `is_worker` tells them apart.
        """
        path = [str(Path(diffdecor.__file__).parents[1])]
        if hook:
            hooks = self.folder.parent / f"{self.folder.name}-hooks"
            hooks.mkdir(exist_ok=True)
            head = "import os, signal, sys, time\nis_worker = 'batch.serve' in str(sys.orig_argv)\n"
            (hooks / "sitecustomize.py").write_text(head + hook)
            path = [str(hooks), *path]
        named = [] if command != "batch" else [self.manifest]
        words = [sys.executable, "-m", "diffdecor", command, *map(str, [*named, *arguments])]
        about = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | about
        about.setdefault("preexec_fn", heeding)
        given = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(path)} | (env or {})
        return subprocess.Popen(words, env=given, start_new_session=True, **about)

    def ends(self, code, *arguments, **about):
        """Run it; check its exit code, and return what it wrote to stdout and stderr.

        Without any `about` it is done within this process, in its main thread: that saves a start.
        """
        if not about and threading.current_thread() is threading.main_thread():
            done = call("batch", self.manifest, *arguments)
            assert done.exit_code == code, (done.exit_code, done.stdout, done.stderr)
            return done.stdout, done.stderr
        running = self.start(*arguments, **about)
        out, err = running.communicate(timeout=300)
        assert running.returncode == code, (running.returncode, out, err)
        assert "Traceback" not in err
        return out, err

    def records(self):
        """Return every record of the ledger in order; what is no whole line is none."""
        file = self / "results.jsonl"
        found = []
        for line in file.read_bytes().splitlines() if file.exists() else ():
            with suppress(ValueError, RecursionError):
                found.append(json.loads(line))
        return found

    def works(self):
        """Return how often the outputs were made, by their names, as the ledger has it."""
        made = [
            Path(record["output"]).name
            for record in self.records()
            if record["status"] in {"done", "not white", "skipped"} and record["started"]
        ]
        return {name: made.count(name) for name in made}

    def table(self):
        """Return the rows of the table of results by the names of their outputs."""
        table = Table.read(self / "results.ecsv", format="ascii.ecsv")
        return {Path(row["output"]).name: row for row in table}

    def statuses(self):
        """Return what the table says of every output."""
        return {name: str(row["status"]) for name, row in self.table().items()}

    def hidden(self):
        """Return what a process may leave behind: locks, and parts of files."""
        return [str(path) for path in self.folder.rglob(".*")]

    def is_true(self):
        """Check the table: a row for every output, with the metrics of its cards."""
        rows = self.table()
        assert list(rows) == [output.name for output in self.outputs]
        for output in self.outputs:
            row = rows[output.name]
            assert output.exists() == (row["status"] in {"done", "not white", "skipped"})
            if output.exists():
                header = fits.getheader(output)
                for card in METRIC_CARDS:
                    value = None if np.ma.is_masked(row[card.name]) else row[card.name]
                    expected = header.get(card.keyword)
                    if isinstance(expected, float):  # the card has fewer digits
                        expected = pytest.approx(expected, rel=1e-12)
                    assert value == expected, card.name


def workers_of(running):
    """Return the numbers of the processes that a process has started and that are still there."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == running.pid and fields[0] not in "ZX":
                found.append(int(folder.name))
    return found


def kill_all(running):
    """Kill a batch and its workers at once."""
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)


def all_at_once(*actions):
    """Do things in threads of their own; raise what one of them raises."""
    errors = []

    def guarded(action):
        try:
            action()
        except BaseException as error:  # noqa: BLE001  it is raised below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error
