"""Memory does not grow with the image: planes pass through in bands of rows."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import gaussian

WIDTH = 1200


def triple(folder, height):
    """A triple of noise whose planes are in one file each."""
    rng = np.random.default_rng(3)
    folder.mkdir()
    names = []
    for role, level in (("science", 4.0), ("template", 2.0), ("difference", 6.0)):
        shape = height, WIDTH
        hdus = [
            fits.PrimaryHDU(),
            fits.ImageHDU(rng.standard_normal(shape, np.float32) * np.sqrt(level), name="IMAGE"),
            fits.ImageHDU(np.zeros(shape, np.int32), name="MASK"),
            fits.ImageHDU(np.full(shape, level, np.float32), name="VARIANCE"),
        ]
        hdus[2].header["MP_BAD"] = 0
        names.append(str(folder / f"{role}.fits"))
        fits.HDUList(hdus).writeto(names[-1])
    fits.PrimaryHDU(gaussian(9, 1.5)).writeto(folder / "kernel.fits")
    return [*names, "--kernel", str(folder / "kernel.fits"), "--convolved", "template"]


def difference(folder, height):
    """A difference that is alone, without a variance plane."""
    folder.mkdir()
    pixels = np.random.default_rng(3).standard_normal((height, WIDTH), np.float32)
    fits.PrimaryHDU(pixels).writeto(folder / "difference.fits")
    return [str(folder / "difference.fits")]


def peak(folder, height, *options, files=triple):
    """Peak resident memory of a run, bytes."""
    arguments = [*files(folder, height), "-o", str(folder / "out.fits"), "--threads", "2"]
    program = f"""
import atexit, sys
from diffdecor.__main__ import main
atexit.register(lambda: print(open("/proc/self/status").read()))
sys.argv[1:] = {["run", *arguments, "--no-verify", *options]!r}
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", done.stdout)
    return int(kilobytes) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--mode", "whole", "--noise-realisation", "3"], marks=pytest.mark.long),
        ["--no-scale-by-fwhm", "--grid-step", "216"],
        pytest.param(["--variance", "full"], marks=pytest.mark.long),
    ],
    ids=["whole", "grid", "full"],
)
def test_memory_of_a_run_is_bounded(tmp_path, options):
    low, high = (peak(tmp_path / str(height), height, *options) for height in (800, 4800))
    plane = 4 * WIDTH * (4800 - 800)
    # Six planes are read, and three are written: 170 MB more of pixels.
    assert high - low < plane


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_memory_of_a_run_on_a_difference_alone_is_bounded(tmp_path):
    # Noise is measured in larger windows from 4 megapixels on.
    heights = 3600, 9200
    low, high = (peak(tmp_path / str(height), height, files=difference) for height in heights)
    assert high - low < 4 * WIDTH * (heights[1] - heights[0])
