"""The samples are what their README says: small, and each difference belongs to its images."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from helpers.workplace import call

from diffdecor import read_kernel

FOLDER = Path(__file__).parents[1] / "sample_data"
NIRCAM, HOTPANTS = FOLDER / "nircam", FOLDER / "hotpants"
IMAGES = ("science", "template", "difference")
#: First pixel ``(x, y)`` of the cut-out in the images that were subtracted.
FIRST = 160, 200
#: Files of the cut-out, and those that they were cut from.
CUT = {name: name for name in ("science", "template", "science_sigma", "template_sigma")} | {
    "source_free": "source_free",
    "difference": "sfft_ref_diff",
}


def files(folder):
    return [str(folder / f"{role}.fits") for role in IMAGES]


def sigmas(folder):
    return [
        word
        for role in ("science", "template")
        for word in (f"--{role}-noise", str(folder / f"{role}_sigma.fits"))
    ] + ["--science-noise-kind", "sigma", "--template-noise-kind", "sigma"]


NIRCAM_JOB = [*files(NIRCAM), "--kernel", str(NIRCAM / "kernel.fits"), *sigmas(NIRCAM)]
HOTPANTS_JOB = [
    *files(HOTPANTS),
    *("--science-gain", "1.6", "--science-read-noise", "5"),
    *("--template-gain", "6.6", "--template-read-noise", "5.1962"),
    *("--science-mask", str(HOTPANTS / "science_mask.fits")),
    *("--template-mask", str(HOTPANTS / "template_mask.fits")),
]


def test_together_at_most_6_megabytes():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 6e6


@pytest.mark.parametrize(("job", "limit"), [(NIRCAM_JOB, 1e-6), (HOTPANTS_JOB, 1e-5)])
def test_each_difference_is_rebuilt_from_its_images_and_kernel(job, limit):
    done = call("verify", *job, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["fit"]["residual"] < limit


def test_the_kernel_of_the_cut_out_counts_its_pixels_from_there(tmp_path):
    """A kernel counted from elsewhere does not fit: the check above would notice."""
    from diffdecor.kernels.native_write import native_hdus

    native_hdus(read_kernel(NIRCAM / "kernel.fits").moved(-160, -200)).writeto(tmp_path / "k.fits")
    job = [*files(NIRCAM), "--kernel", str(tmp_path / "k.fits"), *sigmas(NIRCAM)]
    done = call("verify", *job, "--json")
    residual = json.loads(done.stdout)["fit"]["residual"] if done.stdout else np.inf
    assert residual is None or residual > 1e-3


def test_noise_of_the_nircam_images_is_correlated_before_any_kernel(tmp_path):
    left = {}
    for model in ("white", "auto"):
        out = str(tmp_path / f"{model}.fits")
        done = call("run", *NIRCAM_JOB, "-o", out, "--json", "--noise-model", model)
        assert done.exit_code == 0, done.stderr
        metrics = json.loads(done.stdout)
        assert metrics["correlation_x_before"] > 0.4
        left[model] = max(abs(metrics[f"correlation_{axis}_after"]) for axis in "xy")
    assert left["white"] > 0.3
    assert left["auto"] < 0.01


def test_the_noise_of_the_difference_is_that_of_white_images():
    """The variances of both, that of the template times the sum of the squared kernel."""
    stamp = read_kernel(NIRCAM / "kernel.fits").stamp(199.5, 199.5)
    science, template, claimed = (
        fits.getdata(NIRCAM / f"{name}_sigma.fits").astype(float) ** 2 for name in IMAGES
    )
    assert claimed == pytest.approx(science + (stamp**2).sum() * template, rel=1e-5)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_demo_shows_what_was_gained(tmp_path):
    """The table is that of the README; the pages whose paths are printed last are there."""
    command = ["make", "--old-file=.venv/report", f"DEMO={tmp_path}", "demo"]
    command += [f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(
        command, cwd=FOLDER.parent, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    number = r" +(-?[\d.]+)"
    shown = re.findall(rf"^(\S.*?|  after diffdecor){number * 4}$", done, re.MULTILINE)
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    told = re.findall(
        r"^\| ([\w ,]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$", readme, re.MULTILINE
    )
    assert [row[0].strip() for row in shown] == [row[0] for row in told]
    found, claimed = (np.array([row[1:] for row in rows], float) for rows in (shown, told))
    assert found[:, :3] == pytest.approx(claimed[:, :3], abs=0.015)
    assert found[:, 3] == pytest.approx(claimed[:, 3], rel=0.05, abs=1)
    for file in ("report.html", "nircam.png"):
        assert str(tmp_path / file) in done
        assert (tmp_path / file).stat().st_size > 10_000


def test_the_hotpants_case_becomes_white(tmp_path):
    done = call(
        "run", *HOTPANTS_JOB, "-o", str(tmp_path / "out.fits"), "--json", "--noise-model", "white"
    )
    assert done.exit_code == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["side"] == "science"
    assert metrics["correlation_x_before"] > 0.15
    assert abs(metrics["correlation_x_after"]) < 4 * metrics["correlation_error"]


def test_transients_of_the_truth_are_in_the_difference():
    with (HOTPANTS / "truth.csv").open(encoding="utf-8") as rows:
        table = list(csv.DictReader(rows))
    assert {row["kind"] for row in table} == {"star", "transient"}
    image = fits.getdata(HOTPANTS / "difference.fits").astype(float)
    y, x = np.indices(image.shape)
    # One that is bright, whole, and 8 pixels away from the next.
    best = max(
        (row for row in table if row["kind"] == "transient"), key=lambda row: float(row["flux"])
    )
    near = np.hypot(x - float(best["x"]), y - float(best["y"])) < 6
    assert image[near].sum() == pytest.approx(float(best["flux"]), rel=0.06)


@pytest.mark.parametrize("role", ["science", "template"])
def test_psfs_have_unit_sum_and_their_peak_in_the_middle(role):
    stamp = fits.getdata(NIRCAM / f"{role}_psf.fits")
    assert stamp.shape == (101, 101)
    assert stamp.sum(dtype=float) == pytest.approx(1, abs=1e-6)
    assert np.unravel_index(stamp.argmax(), stamp.shape) == (50, 50)


@pytest.mark.reference
@pytest.mark.parametrize(("name", "original"), CUT.items())
def test_pixels_are_untouched_and_the_wcs_has_moved(reference, name, original):
    x, y = FIRST
    cut, cut_header = fits.getdata(NIRCAM / f"{name}.fits", header=True)
    whole, header = fits.getdata(reference / "real-nircam" / f"{original}.fits", header=True)
    assert np.array_equal(cut, whole[y : y + 400, x : x + 400])
    if "CRPIX1" in header:
        moved = WCS(cut_header, fix=False).wcs_pix2world([[0, 0], [399, 399]], 0)
        assert moved == pytest.approx(
            WCS(header, fix=False).wcs_pix2world([[x, y], [x + 399, y + 399]], 0), abs=1e-11
        )


@pytest.mark.reference
def test_the_kernel_is_the_tools_own_at_every_place(reference):
    folder = reference / "real-nircam"
    whole = read_kernel(folder / "sfft_ref_solution.fits", folder / "sfft_ref_diff.fits")
    cut = read_kernel(NIRCAM / "kernel.fits")
    for x, y in ((0, 0), (399, 0), (120.5, 300)):
        assert np.allclose(
            cut.stamp(x, y), whole.stamp(x + FIRST[0], y + FIRST[1]), rtol=0, atol=1e-15
        )
        assert cut.background(x, y) == pytest.approx(whole.background(x + FIRST[0], y + FIRST[1]))
