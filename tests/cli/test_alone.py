"""`diffdecor run DIFFERENCE`: one file, nothing but its own noise."""

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import WCS, call, check_failure, exposure, gaussian, json_object, verify

SHAPE = 90, 110


@pytest.fixture
def pixels():
    return np.random.default_rng(11).normal(0, 3, SHAPE).astype(np.float32)


@pytest.fixture
def alone(work, pixels):
    """The words that decorrelate a plain difference, of which nothing is known."""
    fits.PrimaryHDU(pixels, fits.Header(WCS)).writeto(work / "difference.fits", overwrite=True)
    return lambda *options, output=None: call(
        "run", work / "difference.fits", "-o", output or work.output, *options
    )


def planes(path):
    with fits.open(path) as hdus:
        return {hdu.name: (hdu.header.copy(), hdu.data) for hdu in hdus if hdu.data is not None}


def test_a_plain_difference(work, alone, pixels):
    result = alone("--json")
    assert result.exit_code == 0, result.stderr
    assert "difference.fits: it has no PSF" in result.stderr
    metrics = json_object(result.stdout)
    assert metrics["status"] == "done"
    assert metrics["skipped"] is False
    assert metrics["side"] is metrics["kernel_sum"] is metrics["fwhm_after"] is None
    found = planes(work.output)
    assert np.std(found["IMAGE"][1] - pixels) < 0.1
    np.testing.assert_allclose(found["VARIANCE"][1], 9, rtol=0.2)
    assert {"IMAGE", "MASK", "VARIANCE", "PSI"} <= set(found)
    assert "PSF" not in found
    cards = fits.getheader(work.output)
    assert cards["DDDIF"] == "difference.fits"
    assert not {"DDSCI", "DDTMP", "DDKER", "DDSCISUM", "DDCONVOL", "DDFWHM1"} & set(cards)
    verify(work.output)


def test_its_own_planes_and_psf(work):
    pixels = np.random.default_rng(12).normal(0, 3, (150, 160))
    mask = np.zeros(pixels.shape, np.int32)
    mask[5:9, 7] = 1
    hdus = exposure(pixels, 8.0, mask)
    hdus.append(fits.ImageHDU(gaussian(7, 1.5), name="PSF"))
    hdus.writeto(work / "difference.fits", overwrite=True)
    result = call("run", work / "difference.fits", "-o", work.output, "--significance")
    assert (result.exit_code, result.stderr) == (0, "")
    found = planes(work.output)
    # The pixels scatter by 9: the fit puts the level of the plane right.
    np.testing.assert_allclose(found["VARIANCE"][1], 9, rtol=0.1)
    bit = found["MASK"][0]["MP_BAD"]
    np.testing.assert_array_equal(found["MASK"][1] >> bit & 1, mask)
    assert {"PSF", "SIGNIF"} <= set(found)
    assert fits.getheader(work.output)["DDFWHM1"] == pytest.approx(1.5 * 2.3548, rel=0.05)


@pytest.mark.parametrize("kind", ["variance", "sigma", "ivar", "weight"])
def test_noise_in_a_file_of_its_own(work, alone, kind):
    value = {"variance": 8, "sigma": 8**0.5, "ivar": 1 / 8, "weight": 77}[kind]
    fits.PrimaryHDU(np.full(SHAPE, value)).writeto(work / "noise.fits")
    options = "--difference-noise", work / "noise.fits", "--difference-noise-kind", kind
    assert alone(*options).exit_code == 0
    found = fits.getheader(work.output)
    assert found["DDVARIN"] == pytest.approx(8, rel=0.2 if kind == "weight" else 1e-6)
    assert found["DDVAROUT"] == pytest.approx(9, rel=0.1)


def test_noise_of_the_sky_does_not_ask_for_a_gain(work, alone):
    fits.PrimaryHDU(np.full(SHAPE, 3.0)).writeto(work / "sky.fits")
    options = "--difference-noise", work / "sky.fits", "--difference-noise-kind", "background"
    result = alone(*options)
    assert "noise of the sky only" in result.stderr
    assert "gain" not in result.stderr


def test_the_same_again_is_done_already(work, alone, rewrite):
    assert alone().exit_code == 0
    again = alone("--json")
    assert json_object(again.stdout)["status"] == "already done"
    check_failure(alone("--mode", "whole"), 2, "out.fits")
    # No kernel is read from it, so its cards do not count; its pixels do.
    rewrite(work / "difference.fits", lambda hdus: hdus[0].header.set("OBSERVER", "nobody"))
    assert alone().exit_code == 0
    fits.PrimaryHDU(np.ones(SHAPE)).writeto(work / "difference.fits", overwrite=True)
    check_failure(alone(), 2, "out.fits")


def test_another_variance_is_another_job(work, pixels):
    """Of a difference with its images it is for metrics only, and does not count."""
    words = "run", work / "difference.fits", "-o", work.output
    for variance, code in ((8.0, 0), (8.0, 0), (9.0, 2)):
        exposure(pixels, variance).writeto(work / "difference.fits", overwrite=True)
        assert call(*words).exit_code == code


def test_the_output_of_a_run_is_refused(work, alone):
    assert alone().exit_code == 0
    again = "run", work.output, "-o", work / "again.fits"
    check_failure(call(*again), 3, "out.fits", "decorrelated it already", "--force")
    assert call(*again, "--force").exit_code == 0


@pytest.mark.parametrize("number", [0, 2, 4])
def test_other_numbers_of_images(work, number):
    files = [work / f"{name}.fits" for name in ("science", "template", "difference", "psf")]
    check_failure(call("run", *files[:number], "-o", work.output), 2, "psf" * (number == 4))


def test_two_images_are_met_with_both_forms(work):
    words = "run", work / "template.fits", work / "difference.fits", "-o", work.output
    check_failure(call(*words), 2, "SCIENCE, TEMPLATE and DIFFERENCE", "or DIFFERENCE alone")
    check_failure(call("verify", work / "difference.fits"), 2, "SCIENCE")


@pytest.mark.parametrize(
    "given",
    [
        ("--kernel", "kernel.fits"),
        ("--score",),
        ("--convolved", "science"),
        ("--science-variance", "9"),
        ("--template-variance", "0"),
        ("--science-scale", "1/k"),
        ("--template-scale", "2"),
        ("--kernel-position", "3,4"),
        ("--science-noise", "psf.fits"),
        ("--template-mask", "psf.fits"),
        ("--science-gain", "2"),
        ("--template-psf", "psf.fits"),
        ("--science-kernel", "kernel.fits"),
        ("--template-stack", "stack.toml"),
        ("--science-layout", "lsst"),
        ("--layout", "lsst"),
        ("--preconvolution-kernel", "psf.fits"),
        ("--kernel-sense", "correlation"),
        ("--kernel-center", "3,3"),
    ],
    ids=lambda given: given[0],
)
def test_what_says_something_of_images_that_are_not_there(work, alone, given):
    words = [str(work / part) if "." in part else part for part in given]
    check_failure(alone(*words), 2, given[0], "difference.fits is given alone")
    assert not work.output.exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda image: np.full_like(image, np.nan), "no finite pixel"),
        (lambda image: image[:60, :70], "sky pixels, 5000 are needed"),
        (np.zeros_like, "no noise"),
    ],
    ids=["all NaN", "too small", "all zero"],
)
def test_what_cannot_be_measured(work, alone, pixels, change, says):
    fits.PrimaryHDU(change(pixels)).writeto(work / "difference.fits", overwrite=True)
    check_failure(alone(), 3, "difference.fits", says)
    assert not work.output.exists()


def test_options_from_a_file(work, alone):
    (work / "options.toml").write_text('mode = "whole"\n')
    assert alone("--config", work / "options.toml").exit_code == 0
    assert fits.getheader(work.output)["DDMODE"] == "whole"
    (work / "options.toml").write_text("science-variance = 3\n")
    check_failure(alone("--config", work / "options.toml"), 2, "--science-variance")
