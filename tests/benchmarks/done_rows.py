"""Make a folder with a batch that is done already: `done_rows.py FOLDER NUMBER`.

Only its first row is really done. For the others there are files of a few bytes, and the ledger has
the same record for each: what is known again is so by the record and the state of the files, and
none is opened.
"""

import csv
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from diffdecor.batch.ledger import Ledger
from diffdecor.batch.manifest import read_manifest
from diffdecor.batch.recognition import job_key, stamp


def make(folder, number):
    """Make it, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    out, manifest = folder / "out", folder / "manifest.csv"
    out.mkdir(exist_ok=True)
    names = [f"out/{row}.fits" for row in range(number)]
    if (folder / f"{number} rows").exists():
        return
    noise = np.random.default_rng(1).normal(size=(90, 96)).astype(np.float32)
    fits.PrimaryHDU(noise).writeto(folder / "difference.fits", overwrite=True)
    time.sleep(3)  # a file that has just been written may be written again in the same moment
    with manifest.open("w", newline="", encoding="utf-8") as file:
        rows = (("difference.fits", name) for name in names)
        csv.writer(file).writerows([("difference", "output"), *rows])
    command = [sys.executable, "-m", "diffdecor", "batch", manifest, "--shard", f"1/{number}"]
    subprocess.run([*command, "--quiet"], check=True)
    tasks = read_manifest(str(manifest), {}).tasks
    ledger = Ledger(folder)
    ledger.refresh()
    first = ledger.records[tasks[0].job.output]
    for task in tasks[1:]:
        output = task.job.output
        Path(output).write_bytes(b"done")
        stamps = {file: known for file, known in first.stamps.items() if file != first.output}
        stamps[output] = stamp(output)
        ledger.append(replace(first, output=output, key=job_key(task.job), stamps=stamps))
    (folder / f"{number} rows").touch()


if __name__ == "__main__":
    make(Path(sys.argv[1]).absolute(), int(sys.argv[2]))
