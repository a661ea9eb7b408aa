"""`diffdecor kernel fit`, and --kernel fit of other commands."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from helpers.closeness import assert_same
from helpers.workplace import (
    call,
    check_failure,
    convolved,
    described,
    exposure,
    gaussian,
    json_object,
    verify,
)

from diffdecor.kernels.registry import read_kernel

SHAPE = (150, 150)
STAMP = 0.8 * gaussian(3, 1.3)
IMAGES = ("s.fits", "t.fits", "d.fits")


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(11)
    science, template = (random.normal(5.0, sigma, SHAPE) for sigma in (3.0, 2.0))
    return science, template, science - convolved(template, STAMP)


@pytest.fixture
def folder(tmp_path, monkeypatch, images):
    """The current folder, with images that have no noise planes."""
    for name, image in zip(IMAGES, images, strict=True):
        fits.writeto(tmp_path / name, image.astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_kernel_is_written_and_described(folder):
    result = call("kernel", "fit", *IMAGES, "-o", "k.fits")
    assert result.exit_code == 0, result.stderr
    assert "Traceback" not in result.stderr
    said = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert (said["convolved"], said["family"], said["exact"]) == ("template", "constant", "True")
    assert float(said["sum"]) == pytest.approx(0.8, rel=1e-4)
    verify(folder / "k.fits")
    kernel = read_kernel("k.fits")
    peak = STAMP.max()
    cx, cy = kernel.origin
    found = kernel.stamp(75, 75)[cy - 3 : cy + 4, cx - 3 : cx + 4]
    assert np.abs(found - STAMP).max() < 1e-4 * peak
    levels = ("--science-variance", 9, "--template-variance", 4, "-o", "out.fits")
    assert call("run", *IMAGES, "--kernel", "k.fits", *levels).exit_code == 0


@pytest.mark.usefixtures("folder")
def test_json_of_it():
    result = call("kernel", "fit", *IMAGES, "-o", "k.fits", "--json")
    facts = json_object(result.stdout)
    assert (facts["version"], facts["status"], facts["output"]) == (1, "done", "k.fits")
    assert facts["convolved"] == "template"
    assert facts["sum"] == pytest.approx([0.8] * 3, rel=1e-4)
    assert facts["exact"] is True
    assert facts["matched"] is False
    assert facts["residual"] < 1e-3
    assert {"size", "origin", "rounding", "error", "pixels", "science_scale"} <= set(facts)


def test_nothing_is_overwritten(folder):
    (folder / "k.fits").write_text("mine")
    before = described(folder)
    result = call("kernel", "fit", *IMAGES, "-o", "k.fits", "--json")
    check_failure(result, 2, "k.fits: exists already")
    check_failure(call("kernel", "fit", *IMAGES, "-o", "s.fits", "--overwrite"), 2, "is an input")
    assert described(folder) == before
    assert call("kernel", "fit", *IMAGES, "-o", "k.fits", "--overwrite").exit_code == 0
    read_kernel("k.fits")


def test_nothing_is_written_where_there_is_no_kernel(folder):
    noise = np.random.default_rng(2).normal(size=(3, 90, 90)).astype(np.float32)
    for name, image in zip(IMAGES, noise, strict=True):
        fits.writeto(name, image, overwrite=True)
    before = described(folder)
    result = call("kernel", "fit", *IMAGES, "-o", "k.fits", "--json")
    check_failure(result, 3, "--kernel FILE, or run d.fits alone")
    assert described(folder) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (IMAGES, "Missing option '-o'"),
        ((*IMAGES[:2], "-o", "k.fits"), "SCIENCE, TEMPLATE and DIFFERENCE are needed"),
        ((*IMAGES, "-o", "k.fits", "--kernel", "x"), "No such option"),
        ((*IMAGES, "-o", "k.fits", "--write", "psf=p.fits"), "No such option"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_usage(arguments, says):
    check_failure(call("kernel", "fit", *arguments), 2, says)


def test_options_of_the_images_count(folder, images):
    """Masked pixels do not: there the difference is another one."""
    *_, difference = images
    bad = np.zeros(SHAPE, np.int32)
    bad[40:60, 70:90] = 1
    spoilt = np.where(bad, 1e4, difference).astype(np.float32)
    fits.writeto("d.fits", spoilt, overwrite=True)
    fits.writeto("m.fits", bad)
    mask = ("--difference-mask", "m.fits", "--mask-preset", "nonzero")
    result = call("kernel", "fit", *IMAGES, "-o", "k.fits", *mask, "--json")
    assert json_object(result.stdout)["exact"] is True, result.stderr
    # They may be in a file of options of run; its kernel and its output are not meant.
    (folder / "my.toml").write_text(
        'kernel = "no.fits"\noutput = "out.fits"\ndifference-mask = "m.fits"\n'
        'mask-preset = "nonzero"\nmax-rho = 0.1\n'
    )
    result = call("kernel", "fit", *IMAGES, "-o", "k2.fits", "--config", "my.toml")
    assert result.exit_code == 0, result.stderr
    assert not (folder / "out.fits").exists()
    assert_same(read_kernel("k.fits").stamp(9, 9), read_kernel("k2.fits").stamp(9, 9))


@pytest.fixture
def with_noise(folder, images):
    """The same with noise planes."""
    for name, image, variance in zip(IMAGES, images, (9.0, 4.0), strict=False):
        exposure(image, variance).writeto(folder / name, overwrite=True)
    return folder


@pytest.mark.usefixtures("with_noise")
def test_run_with_a_kernel_from_the_images():
    result = call("run", *IMAGES, "-o", "out.fits", "--json", "-v")
    facts = json_object(result.stdout)
    assert (facts["status"], facts["fit_family"], facts["fit_exact"]) == ("done", "constant", True)
    assert set(facts["inputs"]) == {"science", "template", "difference"}
    assert "found its kernel" in result.stderr
    again = json_object(call("run", *IMAGES, "--kernel", "fit", "-o", "out.fits", "--json").stdout)
    assert (again["status"], again["fit_family"]) == ("already done", "constant")


def test_a_file_of_options_may_ask_for_it(with_noise):
    printed = call("run", *IMAGES, "--kernel", "fit", "-o", "out.fits", "--print-config")
    assert 'kernel = "fit"' in printed.stdout.splitlines()
    (with_noise / "my.toml").write_text(printed.stdout)
    assert call("run", "--config", "my.toml").exit_code == 0
    assert fits.getheader("out.fits")["DDKER"] == "fit"


@pytest.mark.parametrize("options", [(), ("--kernel", "fit")])
@pytest.mark.usefixtures("with_noise")
def test_verify_with_a_kernel_from_the_images(options):
    result = call("verify", *IMAGES, *options)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("yes: rebuilt, it is off by ")


@pytest.mark.usefixtures("with_noise")
def test_a_kernel_that_is_not_exact_is_doubtful(images):
    """The result is made; --strict would not have it."""
    _, _, difference = images
    random = np.random.default_rng(8)
    fits.writeto("d.fits", difference + random.normal(0, 0.01, SHAPE), overwrite=True)
    facts = json_object(call("run", *IMAGES, "-o", "out.fits", "--json").stdout)
    assert facts["status"] == "done"
    assert "which is more than rounding" in facts["warning_texts"][0]
    cards = fits.getheader("out.fits")
    assert (cards["DDFITEX"], cards["DDWARN"]) == (False, 1)


def test_rows_of_a_batch(with_noise):
    """A row without a kernel gets the one that the images show, by itself or asked for."""
    rows = [f"{','.join(IMAGES)},{kernel},{n}.fits" for n, kernel in enumerate(("", "fit"))]
    head = "science,template,difference,kernel,output"
    (with_noise / "m.csv").write_text("\n".join([head, *rows]) + "\n")
    result = call("batch", "m.csv", "--jobs", "1")
    assert result.exit_code == 0, result.stderr
    assert [fits.getheader(f"{n}.fits")["DDKER"] for n in range(2)] == ["fit", "fit"]
    table = Table.read("results.ecsv")
    assert list(table["fit_family"]) == ["constant"] * 2
    assert list(table["fit_exact"]) == [True] * 2


@pytest.mark.parametrize("kernel", ["fit", "k.fits"])
@pytest.mark.usefixtures("with_noise")
def test_pixels_that_no_mask_flags_are_named(images, kernel):
    """A hole of the difference does not hide its kernel; but it belongs to no kernel."""
    difference = images[2].astype(np.float32)
    difference[70:78, 80:88] = -9999
    fits.writeto("d.fits", difference, overwrite=True)
    fits.writeto("k.fits", STAMP, overwrite=True)
    options = ("--kernel", kernel, "--convolved", "template", "-o", "out.fits")
    hole = ("64 of", "left out (most are -9999)", "--difference-mask")
    check_failure(call("run", *IMAGES, *options), 3, *hole)


@pytest.mark.usefixtures("folder")
def test_noise_that_is_claimed_far_too_small_is_named():
    """The kernel was proved by the noise that is there."""
    options = ("--science-variance", 1e-16, "--template-variance", 1e-16, "-o", "out.fits")
    says = ("that the fitted kernel makes", "claim far less", "--noise-kind")
    check_failure(call("run", *IMAGES, *options), 3, *says)


@pytest.mark.usefixtures("folder")
def test_a_side_that_is_wrong_is_named():
    result = call("kernel", "fit", *IMAGES, "-o", "k.fits", "--convolved", "science")
    check_failure(result, 3, "leave --convolved science out")
