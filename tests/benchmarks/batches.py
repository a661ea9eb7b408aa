"""Batches beside loops: the commands that `run.py` measures for its table of batches.

Nothing but the standard library is imported here, as in `measure.py`.
"""

import csv
import shlex
import subprocess
import sys
from pathlib import Path

from measure import Way

HERE = Path(__file__).parent
OURS = [sys.executable, "-m", "diffdecor"]
OPTIONS = ["--convolved", "template", "--noise-model", "white"]
COLUMNS = ("science", "template", "difference", "kernel", "output")


def outputs(folder, number):
    return [folder / f"out{one}.fits" for one in range(number)]


def batch(name, folder, files, number, *options):
    """`diffdecor batch` on a manifest with one triple `number` times; each has its own output."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest, out = folder / "manifest.csv", folder / "out"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        rows = ([*map(str, files), one] for one in outputs(out, number))
        csv.writer(file).writerows([COLUMNS, *((*map(_absolute, row),) for row in rows)])
    command = [*OURS, "batch", manifest, "--out-dir", out, "--quiet", *OPTIONS, *options]
    return Way(name, command, out, inputs=files)


def _absolute(file):
    return Path(file).absolute()


def loop(name, folder, files, number, *options):
    """A loop of the shell over `diffdecor run`."""
    *images, kernel = files
    command = [*OURS, "run", *images, "--kernel", kernel, "--quiet", *OPTIONS, *options, "-o"]
    return _loop(name, folder / "loop", files, number, command)


def _loop(name, out, files, number, command):
    calls = [shlex.join(map(str, [*command, one])) for one in outputs(out, number)]
    script = "set -e\n" + "\n".join([f"mkdir -p {shlex.quote(str(out))}", *calls])
    return Way(name, ["sh", "-c", script], out, inputs=files)


def peers(name, way, folder, files, number):
    """Another way in a loop of Python: imports are paid once."""
    out = folder / way
    make = f"mkdir -p {shlex.quote(str(out))} && exec "
    command = [sys.executable, HERE / "peers.py", way, *files, *outputs(out, number)]
    return Way(name, ["sh", "-c", make + shlex.join(map(str, command))], out, inputs=files)


def done_already(name, folder, number, *options):
    """`diffdecor batch` on many rows, all of which are done already."""
    subprocess.run([sys.executable, HERE / "done_rows.py", folder, str(number)], check=True)
    return Way(name, [*OURS, "batch", folder / "manifest.csv", "--quiet", *options])
