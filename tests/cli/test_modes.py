"""Every mode, blend and kind of kernel, PSF and image, from file to file."""

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import (
    SHAPE,
    call,
    convolved,
    exposure,
    gaussian,
    json_object,
    opened,
    verify,
)

PIXELS = ("--no-scale-by-fwhm", "--cell-size", "15", "--grid-step", "12", "--cell-border", "3")
LEVELS = ("--science-variance", "9", "--template-variance", "4")


def sound(work, output):
    """Check what holds for every result of pure noise."""
    verify(work.output)
    image, variance = output["IMAGE"][1], output["VARIANCE"][1]
    assert image.shape == variance.shape == output["MASK"][1].shape == SHAPE
    # Cells need not cover the image.
    known = np.isfinite(image)
    assert known.mean() > 0.8
    assert np.isfinite(variance[known]).all()
    assert variance[known].mean() == pytest.approx(13.0, rel=1e-3)
    assert image[known].var() == pytest.approx(13.0, rel=0.15)
    with fits.open(work.output, checksum=True) as hdus:  # warns of wrong sums, so it would fail
        for hdu in hdus:
            assert hdu.verify_checksum() == hdu.verify_datasum() == 1


CASES = {
    "whole": ("--mode", "whole"),
    "full": ("--mode", "whole", "--variance", "full"),
    "at a position": ("--mode", "whole", "--kernel-position", "0,39"),
    "interpolate": (),
    "interpolate full": ("--variance", "full", "--grid-step", "10", "--no-scale-by-fwhm"),
    "windows": ("--cell-size", "9,11", "--no-scale-by-fwhm"),
    "average": (*PIXELS, "--blend", "average"),
    "copy": (*PIXELS, "--blend", "copy"),
    "copy size": (*PIXELS, "--blend", "copy", "--adjust-grid", "size"),
    "average none": (*PIXELS, "--blend", "average", "--adjust-grid", "none"),
    "separate": (*PIXELS, "--blend", "none"),
    "one cell": ("--no-scale-by-fwhm", "--blend", "average"),
    "zero": (*PIXELS, "--blend", "copy", "--edges", "zero", "--fill", "mean", "--variance", "full"),
    "scaled by FWHM": ("--blend", "average", "--cell-size", "5", "--grid-step", "4",
                       "--cell-border", "1", "--science-psf", "{psf}"),
    "no planes": ("--ignore-planes", "", "--fill-planes", ""),
    "levels": LEVELS,
    "scales": ("--science-scale", "1", "--template-scale", "1"),
    "told": ("--convolved", "template"),
    "PSFs": ("--science-psf", "{psf}", "--template-psf", "{psf}", "--difference-psf", "{psf}"),
    "double": ("--dtype", "float64"),
    "quiet": ("-q",),
    "loud": ("-vv",),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_ways_of_decorrelation(work, name):
    output, _ = work.succeeds(*(part.format(psf=work / "psf.fits") for part in CASES[name]))
    sound(work, output)
    assert ("PSF" in output) == ("psf" in "".join(CASES[name]))


def test_cells_overlap_in_a_sum(work):
    output, _ = work.succeeds(*PIXELS, "--blend", "sum")
    assert output["VARIANCE"][1].max() == pytest.approx(4 * 13, rel=0.01)
    verify(work.output)


def test_separate_cells_are_written_with_their_place(work, rewrite):
    rewrite(work / "difference.fits", lambda hdus: hdus[0].header.set("LTV1", -100.0))
    rewrite(work / "difference.fits", lambda hdus: hdus[0].header.set("CTYPE1A", "LINEAR"))
    rewrite(work / "difference.fits", lambda hdus: hdus[0].header.set("CRPIX1A", 7.0))
    output, _ = work.succeeds(*PIXELS, "--blend", "none")
    number = output["PRIMARY"][0]["DDNFILT"]
    assert number > 4
    for cell in range(1, number + 1):
        header, pixels = output["CELL_IMAGE", cell]
        x0 = -100 - int(header["LTV1"])
        y0 = -int(header["LTV2"])
        assert (header["CRPIX1"], header["CRPIX2"]) == (24.0 - x0, 20.0 - y0)
        assert header["CRPIX1A"] == 7.0 - x0
        assert header["BUNIT"] == "adu"
        assert output["CELL_VARIANCE", cell][0]["BUNIT"] == "adu2"
        whole = output["IMAGE"][1][y0 : y0 + pixels.shape[0], x0 : x0 + pixels.shape[1]]
        assert whole.shape == pixels.shape
        assert np.abs(whole - pixels).max() < 1.5  # others have a say where cells overlap
        assert abs(whole - pixels).min() < 1e-6


def test_cells_of_images_without_unit_and_in_tiny_units(work, arrays):
    factor = 1e-25
    science, template, difference, _ = (array * factor for array in arrays)
    for name, image, variance in (("science", science, 9e-50), ("template", template, 4e-50)):
        path = work / f"{name}.fits"
        path.unlink()
        hdus = exposure(image, None)
        hdus.append(fits.ImageHDU(np.full(SHAPE, variance), name="VARIANCE"))
        hdus.writeto(path)
    fits.PrimaryHDU(difference).writeto(work / "difference.fits", overwrite=True)
    output, result = work.succeeds(*PIXELS, "--blend", "none")
    verify(work.output)
    assert "BUNIT" not in output["CELL_IMAGE", 1][0]
    assert "WARNING" not in result.stderr
    assert output["CELL_VARIANCE", 1][1].mean() == pytest.approx(13e-50, rel=1e-3)
    assert output["VARIANCE"][1].mean() == pytest.approx(13e-50, rel=1e-3)


def test_the_science_side(work, arrays):
    science, template, _, kernel = arrays
    difference = convolved(science, kernel) - template
    fits.PrimaryHDU(difference).writeto(work / "difference.fits", overwrite=True)
    output, _ = work.succeeds("--convolved", "science", "--science-psf", work / "psf.fits")
    verify(work.output)
    assert output["PRIMARY"][0]["DDCONVOL"] == "science"
    assert output["VARIANCE"][1].mean() == pytest.approx(13.0, rel=1e-3)
    # The borders of this difference are periodic.
    assert output["IMAGE"][1][12:-12, 12:-12].var() == pytest.approx(13.0, rel=0.25)


@pytest.mark.parametrize("given", ["preconvolution-kernel", "science-psf"])
def test_a_score_image(work, arrays, given):
    science, template, _, kernel = arrays
    psf = gaussian(7, 1.7)
    score = convolved(science, psf[::-1, ::-1]) - convolved(template, gaussian(5, 2.0))
    fits.PrimaryHDU(score).writeto(work / "difference.fits", overwrite=True)
    fits.PrimaryHDU(gaussian(5, 2.0)).writeto(work / "kernel.fits", overwrite=True)
    output, _ = work.succeeds("--score", f"--{given}", work / "psf.fits", "--convolved", "template")
    verify(work.output)
    assert output["PRIMARY"][0]["DDSCORE"] is True
    assert np.isfinite(output["IMAGE"][1]).all()
    assert kernel.shape == (7, 7)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 2), (3, 7), (39, 47), SHAPE])
def test_kernels_of_every_size(work, shape):
    stamp = np.random.default_rng(3).uniform(0.5, 1.0, shape)
    stamp[shape[0] // 2, shape[1] // 2] += stamp.sum()
    fits.PrimaryHDU(stamp).writeto(work / "kernel.fits", overwrite=True)
    output, _ = work.succeeds("--convolved", "template", "--no-verify")
    assert output["PRIMARY"][0]["DDKSUM"] == pytest.approx(stamp.sum())
    verify(work.output)


def test_where_the_kernel_is_centred_and_how_it_is_applied(work):
    psf = ("--convolved", "science", "--science-psf", work / "psf.fits", "--no-verify")
    odd = np.zeros((5, 5))
    odd[1, 3], odd[2, 2] = 0.3, 0.7
    fits.PrimaryHDU(odd).writeto(work / "kernel.fits", overwrite=True)

    def result(*options):
        output, _ = work.succeeds(*psf, *options, "--overwrite", "--dtype", "float64")
        stamp = output["PSF"][1]
        stamp = stamp if stamp.ndim == 2 else stamp[0]
        y, x = np.indices(stamp.shape)
        centroid = (x * stamp).sum() - stamp.shape[1] // 2, (y * stamp).sum() - stamp.shape[0] // 2
        return output["IMAGE"][1], centroid

    plain, at = result()
    assert at == pytest.approx((0.3, -0.3), abs=0.01)
    reflected, at = result("--kernel-sense", "correlation")
    assert at == pytest.approx((-0.3, 0.3), abs=0.01)
    shifted, at = result("--kernel-center", "3,1")
    assert at == pytest.approx((-0.7, 0.7), abs=0.01)
    # The noise does not know of origins.
    for image in (reflected, shifted):
        assert np.abs(image - plain).max() < 1e-6


@pytest.mark.parametrize("options", [("--no-verify", "--variance", "full"), ()])
def test_a_kernel_centred_beyond_its_stamp(work, options):
    work.succeeds("--kernel-center=-60,9", *options)


def test_a_kernel_that_does_not_say_its_side_is_warned_of(work, arrays):
    fits.PrimaryHDU(arrays[3]).writeto(work / "bare.fits")
    _, result = work.succeeds("--no-verify", kernel=work / "bare.fits")
    assert "--convolved" in result.stderr
    _, result = work.succeeds("--convolved", "template", "--overwrite", kernel=work / "bare.fits")
    assert result.stderr == ""


@pytest.mark.parametrize(("ny", "nx"), [(1, 1), (1, 30), (30, 1), (2, 2), (5, 5), (7, 100)])
@pytest.mark.parametrize(
    "options",
    [("--mode", "whole"), ("--variance", "full"), (*PIXELS, "--blend", "none", "--edges", "zero")],
    ids=["whole", "nodes", "cells"],
)
def test_images_of_every_size(work, ny, nx, options):
    random = np.random.default_rng(5)
    for name in ("science", "template"):
        path = work / f"{name}.fits"
        exposure(random.normal(size=(ny, nx)), 1.0).writeto(path, overwrite=True)
    fits.PrimaryHDU(random.normal(size=(ny, nx))).writeto(work / "difference.fits", overwrite=True)
    width = min(ny, nx, 3)
    stamp = np.ones((width, width)) / width**2
    stamp[width // 2, width // 2] += 1
    fits.PrimaryHDU(stamp).writeto(work / "kernel.fits", overwrite=True)
    options = (*options, "--convolved", "template", "--no-verify")  # unrelated noise
    output, result = work.succeeds(*options)
    assert output["IMAGE"][1].shape == (ny, nx)
    assert np.isfinite(output["IMAGE"][1]).all()
    assert "Warning" not in result.stderr
    verify(work.output)


def as_scaled(path):
    with fits.open(path) as hdus:
        header, pixels = hdus[0].header, np.array(hdus[0].data)
    hdu = fits.PrimaryHDU(pixels.astype(np.float32), header)
    hdu.scale("int16", bscale=0.01, bzero=3.0)
    hdu.writeto(path, overwrite=True)


def as_double(path):
    pixels = fits.getdata(path).astype(np.float64)
    fits.PrimaryHDU(pixels, fits.getheader(path)).writeto(path, overwrite=True)


def as_compressed(path):
    pixels, header = fits.getdata(path), fits.getheader(path)
    hdu = fits.CompImageHDU(pixels, header, compression_type="GZIP_2", quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)


def as_cube(path):
    pixels, header = fits.getdata(path)[np.newaxis, np.newaxis], fits.getheader(path)
    fits.PrimaryHDU(pixels, header).writeto(path, overwrite=True)


def with_blank(path):
    as_scaled(path)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].data[5, 5] = -32768
        hdus[0].header["BLANK"] = -32768


@pytest.mark.parametrize("form", [as_scaled, as_double, as_compressed, as_cube, with_blank])
def test_forms_of_the_difference(work, form):
    plain, _ = work.succeeds()
    form(work / "difference.fits")
    other, _ = work.succeeds("--overwrite")
    verify(work.output)
    first, second = plain["IMAGE"][1], other["IMAGE"][1]
    if form is with_blank:
        assert np.argwhere(np.isnan(second)).tolist() == [[5, 5]]
    good = np.isfinite(second)
    good[0:15, 0:15] = form is not with_blank
    coarse = form in (as_scaled, with_blank)
    assert np.abs(first - second)[good].max() < (0.05 if coarse else 1e-5)


def test_integer_images(work):
    pixels = np.random.default_rng(2).integers(-20, 20, SHAPE).astype(np.int16)
    for role in ("science", "template", "difference"):
        fits.PrimaryHDU(pixels).writeto(work / f"{role}.fits", overwrite=True)
    output, _ = work.succeeds(*LEVELS, "--no-verify")
    assert output["IMAGE"][1].dtype.kind == "f"
    assert np.isfinite(output["IMAGE"][1]).all()
    assert output["VARIANCE"][1].mean() == pytest.approx(13.0, rel=1e-3)


@pytest.mark.parametrize("kind", ["variance", "sigma", "ivar", "weight"])
def test_kinds_of_noise(work, kind):
    value = {"variance": 9.0, "sigma": 3.0}.get(kind, 1 / 9)
    fits.PrimaryHDU(np.full(SHAPE, value)).writeto(work / "noise.fits")
    noise = ("--science-noise", work / "noise.fits", "--science-noise-kind", kind)
    output, _ = work.succeeds(*noise)
    # A weight is scaled to the scatter of the pixels.
    error = 0.1 if kind == "weight" else 1e-6
    assert output["PRIMARY"][0]["DDSNOISE"] == pytest.approx(9.0, rel=error)


def test_gain_and_read_noise(work):
    given = ("--science-gain", "12.5", "--science-read-noise", "12.5", "--template-gain", "25")
    output, _ = work.succeeds(*given)
    header = output["PRIMARY"][0]
    assert header["DDSNOISE"] == pytest.approx(9.0, rel=0.01)
    assert header["DDTNOISE"] == pytest.approx(4.0, rel=0.01)


def test_no_noise_at_all_says_what_to_give(work, arrays):
    exposure(arrays[0], None).writeto(work / "bare.fits")
    message = work.fails(3, "bare.fits", "--science-noise", science=work / "bare.fits")
    assert "--science-gain" in message
    assert "--science-variance" in message
    message = work.fails(3, "bare.fits", "--template-noise", template=work / "bare.fits")
    work.succeeds("--science-variance", "9", science=work / "bare.fits")
    assert opened(work.output)["PRIMARY"][0]["DDSNOISE"] == 9.0


def test_a_nameless_noise_plane_asks_for_its_kind(work):
    fits.PrimaryHDU(np.full(SHAPE, 3.0)).writeto(work / "noise.fits")
    options = ("--science-noise", work / "noise.fits")
    work.fails(3, "noise.fits", "--science-noise-kind", options=options)


def test_the_sample(work, hotpants_job):
    result = call(*hotpants_job(), "--output", work.output, "--json", "-v")
    assert result.exit_code == 0
    assert json_object(result.stdout)["kernel_sum"] == pytest.approx(0.8458, abs=1e-3)
    verify(work.output)


def test_json_is_one_object_without_nan(work):
    mask = np.ones(SHAPE, np.int16)
    fits.PrimaryHDU(mask).writeto(work / "mask.fits")
    result = work.run("--json", "--difference-mask", work / "mask.fits")
    metrics = json_object(result.stdout)
    assert metrics["status"] == "done"
    assert metrics["output"] == str(work.output)
    assert metrics["correlation_x_after"] is None
    assert metrics["sky_pixels"] == 0
    again = json_object(work.run("--json", "--difference-mask", work / "mask.fits").stdout)
    assert again.pop("status") == "already done"
    metrics.pop("status")
    for one in (metrics, again):  # of each run, not of the output
        for name in ("warning_texts", "started", "wall_seconds", "cpu_seconds"):
            one.pop(name)
    for name, value in metrics.items():
        expected = pytest.approx(value) if isinstance(value, float) else value
        assert again.pop(name) == expected, name
    assert not again
