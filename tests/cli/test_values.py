"""Pixels that are not what one hopes for: holes, zeros, infinities, masks over everything."""

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import SHAPE, exposure, json_object, verify

MODES = {
    "whole": ("--mode", "whole"),
    "interpolate": ("--variance", "full"),
    "as LSST": ("--no-scale-by-fwhm", "--blend", "copy", "--edges", "zero", "--fill", "mean",
                "--cell-size", "15", "--grid-step", "12", "--variance", "full"),
}  # fmt: skip
mode = pytest.mark.parametrize("options", MODES.values(), ids=MODES)


@mode
@pytest.mark.parametrize("role", ["science", "template", "difference"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_no_pixel_at_all(work, arrays, role, value, options):
    if role == "difference":
        header = fits.getheader(work / "difference.fits")
        pixels = np.full(SHAPE, value, np.float32)
        fits.PrimaryHDU(pixels, header).writeto(work / "difference.fits", overwrite=True)
    else:
        hdus = exposure(np.full(SHAPE, value), 9.0)
        hdus.writeto(work / f"{role}.fits", overwrite=True)
    output, result = work.succeeds(*options)
    assert f"{role}.fits" in result.stderr
    assert "returned as it is" in result.stderr
    assert output["PRIMARY"][0]["DDSKIP"] is True
    expected = np.full(SHAPE, value) if role == "difference" else arrays[2].astype(np.float32)
    assert np.array_equal(output["IMAGE"][1], expected, equal_nan=True)
    verify(work.output)
    assert json_object(work.run("--json", *options).stdout)["skipped"] is True


@mode
@pytest.mark.parametrize("side", ["science", "template", "both"])
@pytest.mark.parametrize(
    ("value", "says"),
    [(np.nan, "no finite pixel"), (np.inf, "no finite pixel"), (-1.0, "negative variance")],
)
def test_no_variance_that_can_be_used(work, arrays, side, value, says, options):
    for role, pixels in zip(("science", "template"), arrays, strict=False):
        if side in {role, "both"}:
            exposure(pixels, value).writeto(work / f"{role}.fits", overwrite=True)
    bad = "template" if side == "template" else "science"
    work.fails(3, f"{bad}.fits", says, options=options)


@mode
def test_two_images_without_noise(work, arrays, options):
    for role, pixels in zip(("science", "template"), arrays, strict=False):
        exposure(pixels, 0.0).writeto(work / f"{role}.fits", overwrite=True)
    message = work.fails(3, "science.fits", "template.fits", "no noise", options=options)
    assert "--science-variance" in message
    work.succeeds("--science-variance", "9", *options)


@mode
@pytest.mark.parametrize("role", ["science", "template"])
def test_one_image_without_noise(work, arrays, role, options):
    pixels = arrays[0 if role == "science" else 1]
    exposure(pixels, 0.0).writeto(work / f"{role}.fits", overwrite=True)
    output, result = work.succeeds(*options)
    level = "DDSNOISE" if role == "science" else "DDTNOISE"
    assert output["PRIMARY"][0][level] == 0
    known = np.isfinite(output["IMAGE"][1])
    assert known.mean() > 0.8
    # The unconvolved side without noise: what the kernel has removed cannot be brought back.
    assert ("no noise" in result.stderr) == (role == "science")
    verify(work.output)


@mode
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_variance_plane_without_data_beside_a_given_level(work, arrays, value, options):
    exposure(arrays[0], value).writeto(work / "science.fits", overwrite=True)
    output, result = work.succeeds(*options, "--science-variance", "9")
    assert "science.fits: the variance plane has no finite pixel" in result.stderr
    known = np.isfinite(output["IMAGE"][1])
    assert known.mean() > 0.8
    assert output["VARIANCE"][1][known].mean() == pytest.approx(13.0, rel=1e-3)
    assert output["PRIMARY"][0]["DDNFILL"] == 0


@mode
@pytest.mark.parametrize("planes", [("EDGE",), ("BAD", "SAT", "CR", "EDGE")])
@pytest.mark.parametrize("roles", [("science",), ("science", "template"), ("difference",)])
def test_everything_masked(work, planes, roles, options):
    bits = sum(1 << ("BAD", "SAT", "CR", "EDGE").index(plane) for plane in planes)
    mask = fits.PrimaryHDU(np.full(SHAPE, bits, np.int32))
    for number, plane in enumerate(("BAD", "SAT", "CR", "EDGE")):
        mask.header[f"MP_{plane}"] = number
    mask.writeto(work / "mask.fits")
    given = [part for role in roles for part in (f"--{role}-mask", work / "mask.fits")]
    output, result = work.succeeds(*options, *given)
    header = output["PRIMARY"][0]
    assert header["DDNSKY"] == 0
    assert "DDCORX1" not in header
    if "as LSST" not in options and "science" in roles:
        assert "masked" in result.stderr
    known = np.isfinite(output["IMAGE"][1])
    assert known.mean() > 0.8
    verify(work.output)


def test_only_holes_remain_says_so(work):
    fits.PrimaryHDU(np.ones(SHAPE, np.int32)).writeto(work / "mask.fits")
    _, result = work.succeeds("--difference-mask", work / "mask.fits")
    assert "WARNING" in result.stderr
    assert "difference.fits: every pixel is masked" in result.stderr


@mode
def test_holes(work, arrays, options):
    pixels = arrays[2].astype(np.float32)
    pixels[10, 10], pixels[20, 20:30], pixels[0, 0] = np.nan, np.inf, -np.inf
    header = fits.getheader(work / "difference.fits")
    fits.PrimaryHDU(pixels, header).writeto(work / "difference.fits", overwrite=True)
    output, _ = work.succeeds(*options)
    image = output["IMAGE"][1]
    holes = ~np.isfinite(pixels)
    assert np.array_equal(image[holes], pixels[holes], equal_nan=True)
    mask, cards = output["MASK"][1], output["MASK"][0]
    assert np.array_equal((mask & (1 << cards["MP_NO_DATA"])) != 0, holes)
    if "sum" not in options:
        assert np.isfinite(image[~holes]).mean() > 0.8
    verify(work.output)


@pytest.mark.parametrize("factor", [1e-35, 1e-20, 1e18])
def test_units_of_every_size(work, arrays, factor):
    for role, pixels, variance in zip(("science", "template"), arrays, (9.0, 4.0), strict=False):
        hdus = exposure(pixels * factor, None)
        hdus.append(fits.ImageHDU(np.full(SHAPE, variance * factor**2), name="VARIANCE"))
        hdus.writeto(work / f"{role}.fits", overwrite=True)
    header = fits.getheader(work / "difference.fits")
    pixels = (arrays[2] * factor).astype(np.float32)
    fits.PrimaryHDU(pixels, header).writeto(work / "difference.fits", overwrite=True)
    output, result = work.succeeds()
    assert result.stderr == ""
    expected = 13 * factor**2
    assert output["VARIANCE"][1].astype(float).mean() == pytest.approx(expected, rel=1e-3, abs=0)
    assert output["IMAGE"][1].astype(float).var() == pytest.approx(expected, rel=0.2, abs=0)
    assert output["PRIMARY"][0]["DDVAROUT"] == pytest.approx(expected, rel=1e-3, abs=0)


def test_negative_variance_under_a_mask_is_no_data(work, arrays):
    variance = np.full(SHAPE, 9.0)
    variance[5, 5] = -1.0
    mask = np.zeros(SHAPE, int)
    exposure(arrays[0], variance).writeto(work / "science.fits", overwrite=True)
    work.fails(3, "science.fits", "FITS pixel (6, 6)")
    mask[5, 5] = 1
    exposure(arrays[0], variance, mask).writeto(work / "science.fits", overwrite=True)
    output, _ = work.succeeds()
    assert not np.isfinite(output["VARIANCE"][1][5, 5])
