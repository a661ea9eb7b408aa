"""`make bench`: whole processes side by side, medians and ratios, peak memory.

The commands take turns, so that a machine whose speed drifts is fair to all of them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

from diffdecor.core.convolve import KernelField, convolved

HERE = Path(__file__).parent
SIZES = {"2048x4096": (2048, 4096), "4096x4096": (4096, 4096)}


def gaussian(size, sigma):
    """A matching kernel of unit sum."""
    x = np.arange(size) - size // 2
    stamp = np.exp(-(x**2 + x[:, np.newaxis] ** 2) / (2 * sigma**2))
    return stamp / stamp.sum()


def make_triple(folder, shape):
    """Write a triple of noise, with a bad column and noise levels that vary."""
    rng = np.random.default_rng(1)
    kernel = gaussian(21, 1.5)
    slope = np.linspace(0, 0.3, shape[0], dtype=np.float32)[:, np.newaxis] + np.zeros(shape, "f4")
    science = rng.standard_normal(shape, dtype=np.float32) * np.sqrt(2 + slope)
    template = rng.standard_normal(shape, dtype=np.float32) * np.sqrt(1 + slope)
    difference = science - convolved(template, KernelField.constant(kernel, (10, 10)))
    difference[:, shape[1] // 3] = np.nan
    mask = np.zeros(shape, np.int32)
    mask[:, shape[1] // 3] = 1
    triple = {
        "science": (science, 2 + slope),
        "template": (template, 1 + slope),
        "difference": (difference, 3 + slope),
    }
    for name, (image, variance) in triple.items():
        hdus = fits.HDUList(
            [
                fits.PrimaryHDU(),
                fits.ImageHDU(image.astype(np.float32), name="IMAGE"),
                fits.ImageHDU(mask, name="MASK"),
                fits.ImageHDU(variance.astype(np.float32), name="VARIANCE"),
            ]
        )
        hdus["MASK"].header["MP_BAD"] = 0
        hdus.writeto(folder / f"{name}.fits", overwrite=True)
    fits.writeto(folder / "kernel.fits", kernel, overwrite=True)


def commands(folder):
    """What is compared."""
    files = [str(folder / f"{name}.fits") for name in ("science", "template", "difference")]
    ours = [
        sys.executable,
        "-m",
        "diffdecor",
        "run",
        *files,
        "--kernel",
        str(folder / "kernel.fits"),
    ]
    ours += ["--convolved", "template", "-o", str(folder / "out.fits"), "--overwrite", "-q"]
    script = [sys.executable, str(HERE / "scripts.py")]
    return {
        "diffdecor whole": [*ours, "--mode", "whole"],
        "diffdecor grid": ours,
        "diffdecor full": [*ours, "--mode", "whole", "--variance", "full"],
        "astropy read+write": [*script, "plain", str(folder)],
        "LSST's algorithm": [*script, "lsst", str(folder)],
    }


def measure(command):
    """Wall seconds and peak MB of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    return seconds, usage.ru_maxrss / 1024


def main():
    """Print one table per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", choices=SIZES, action="append")
    arguments = parser.parse_args()
    for size in arguments.size or SIZES:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            make_triple(folder, SIZES[size])
            table = commands(folder)
            found = {name: [] for name in table}
            for turn in range(arguments.runs + 1):
                for name, command in table.items():
                    measured = measure(command)
                    if turn:  # the first turn warms the caches
                        found[name].append(measured)
        reference = statistics.median(seconds for seconds, _ in found["astropy read+write"])
        print(f"\n{size}, median of {arguments.runs}")  # noqa: T201
        for name, runs in found.items():
            seconds = statistics.median(run[0] for run in runs)
            memory = statistics.median(run[1] for run in runs)
            ratio = f"{seconds / reference:6.2f} x read+write"
            print(f"  {name:20} {seconds:7.2f} s {ratio} {memory:7.0f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
