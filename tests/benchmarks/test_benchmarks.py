"""What `make bench` compares does the same job, and the tables come out."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from apart import Part
from astropy.io import fits
from helpers.workplace import call
from measure import Way

HERE = Path(__file__).parent
SHAPE = (160, 280)
SIZE = "160x280"
INNER = np.s_[50:-50, 150:210]  # away from border and holes


def run(*command):
    """What a Python process prints."""
    command = [sys.executable, *command]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def files(folder, kernel="21"):
    names = "science", "template", f"difference-{kernel}", f"kernel-{kernel}"
    return [folder / f"{name}.fits" for name in names]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    run(HERE / "data.py", folder / SIZE, SIZE)
    return folder / SIZE


@pytest.fixture(scope="module")
def ours(folder):
    return {variance: decorrelated(folder, variance) for variance in ("weighted", "full")}


def decorrelated(folder, variance):
    *images, kernel = files(folder)
    output = folder / f"{variance}.fits"
    options = "--convolved", "template", "--mode", "whole", "--variance", variance
    run("-m", "diffdecor", "run", *images, "--kernel", kernel, *options, "-o", output)
    return output


@pytest.mark.parametrize(
    ("way", "variance", "tolerance"),
    [("lsst", "weighted", 1e-6), ("lsst-full", "full", 1e-6), ("rfft2", "weighted", 1e-5)],
)
def test_other_ways_have_the_same_result(folder, ours, way, variance, tolerance):
    output = folder / f"{way}.fits"
    run(HERE / "peers.py", way, *files(folder), output)
    for plane in ("IMAGE", "VARIANCE"):
        theirs, mine = (fits.getdata(path, plane)[INNER] for path in (output, ours[variance]))
        assert np.abs(theirs - mine).max() < tolerance * np.abs(mine).max()


@pytest.mark.parametrize("kernel", ["21", "varying", "linear", "blocks"])
def test_differences_belong_to_their_kernels(folder, kernel):
    run(HERE / "data.py", folder, SIZE, "--kernels", kernel)
    *images, kernel = files(folder, kernel)
    done = call("verify", *images, "--kernel", kernel, "--convolved", "template")
    assert done.exit_code == 0, done.stderr


def test_files_are_plain_fits(folder):
    for path in files(folder)[:3]:
        with fits.open(path) as hdus:
            hdus.verify("exception")
            assert [hdu.name for hdu in hdus[1:]] == ["IMAGE", "MASK", "VARIANCE"]
            assert all(hdu.data.shape == SHAPE for hdu in hdus[1:])


@pytest.mark.long
def test_the_table_of_ways(folder):
    options = "--data", folder.parent, "--sizes", SIZE, "--runs", "0", "--sfft-python", "none"
    printed = run(HERE / "run.py", *options, "--only", "ways")
    assert "| diffdecor grid |" in printed
    assert "| not installed |" in printed  # SFFT has an environment of its own
    assert "failed" not in printed


def of_lines(printed):
    """Cells of the rows of tables, by their first one."""
    rows = (line.strip("| ").split(" | ") for line in printed.splitlines() if line[:1] == "|")
    return {name: cells for name, *cells in rows}


def test_a_run_taken_apart(folder):
    options = "--data", folder.parent, "--sizes", SIZE, "--small", "64x64", "--runs", "0"
    printed = run(HERE / "run.py", *options, "--only", "apart")
    rows = of_lines(printed)
    assert "failed" not in printed
    pair = rows["numpy: FFT pair, float32"]
    assert pair[3] == "1.00 / 1.00"
    for mode in ("whole", "grid"):
        for name in ("one thread", "two threads", "full variance"):
            seconds, fixed, pixel, _, to_whole, memory = rows[f"{mode}, {name}"]
            assert all(len(both.split(" / ")) == 2 for both in (seconds, fixed, pixel))
            assert (to_whole == "-") == (mode == "whole")
            assert memory.endswith(" MB")


def test_what_a_pixel_costs():
    seconds = {0: 9.0, 1: 2.0, 2: 3.0, 3: 5.0}  # the first turn does not count
    small = Way("", [], seconds=dict.fromkeys(seconds, 1.0), cpu=dict.fromkeys(seconds, 2.0))
    way = Way("", [], seconds=seconds, cpu={turn: 2 * one for turn, one in seconds.items()})
    part = Part(way, 3_000_000, small, 1_000_000)
    pair = Part(Way("", [], seconds=small.seconds, cpu=small.cpu), 1_000_000)
    assert part.nanoseconds() == "1000 / 2000"
    assert part.fixed() == "0.00 / 0.00"
    assert pair.nanoseconds() == "1000 / 2000"
    assert part.over(pair) == "1.00 / 1.00"


@pytest.mark.long
def test_the_tables_of_a_second_core_and_of_verify(folder):
    options = "--data", folder.parent, "--sizes", SIZE, "--runs", "0"
    printed = run(HERE / "run.py", *options, "--only", "threads", "verified")
    assert f"| {SIZE} | grid |" in printed
    assert "failed" not in printed
    assert "| - |" not in printed


@pytest.mark.long
def test_another_checkout_and_another_python(folder):
    options = "--data", folder.parent, "--sizes", SIZE, "--small", "64x64", "--runs", "0"
    for other in (HERE.parents[1], sys.executable):
        rows = of_lines(run(HERE / "run.py", *options, "--beside", other))
        assert len(rows["verify"]) == len(rows["grid, two threads"]) == 8
        assert "failed" not in str(rows)


def test_the_table_of_starts(folder):
    options = "--data", folder.parent, "--sizes", SIZE, "--runs", "0"
    printed = run(HERE / "run.py", *options, "--only", "startup")
    assert "| `diffdecor run --help` |" in printed
    assert "failed" not in printed


@pytest.mark.long
def test_the_table_of_fits(folder):
    options = "--data", folder.parent, "--sizes", SIZE, "--runs", "0"
    printed = run(HERE / "run.py", *options, "--only", "fits")
    assert "| order 2, in blocks |" in printed
    assert "failed" not in printed


@pytest.mark.long
def test_the_table_of_batches(folder):
    pytest.importorskip("diffdecor.cli.batch")
    options = "--data", folder.parent, "--sizes", SIZE, "--runs", "0", "--triples", "1"
    printed = run(HERE / "run.py", *options, "--rows", "5", "--only", "batches")
    assert "| batch, two jobs |" in printed
    assert "5 rows that are done already" in printed
    assert "failed" not in printed


def test_the_library_has_the_same_result(folder, tmp_path):
    run(HERE / "peers.py", "library", *files(folder), tmp_path / "a.fits", tmp_path / "b.fits")
    *images, kernel = files(folder)
    options = "--kernel", kernel, "--convolved", "template", "--noise-model", "white"
    run("-m", "diffdecor", "run", *images, *options, "-o", tmp_path / "c.fits")
    for plane in ("IMAGE", "VARIANCE", "MASK"):
        one, two, ours = (fits.getdata(tmp_path / f"{name}.fits", plane) for name in "abc")
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, ours, rtol=1e-5, atol=1e-5 * np.nanmax(np.abs(ours)))
