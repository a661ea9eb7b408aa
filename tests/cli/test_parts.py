"""`--write NAME=FILE`: parts of the result in files of their own, for other programs."""

import os
import shutil
import subprocess

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS
from helpers.workplace import (
    SHAPE,
    Workplace,
    call,
    convolved,
    described,
    exposure,
    gaussian,
    opened,
    verify,
)

from diffdecor import read_exposure
from diffdecor.config.kinds import WRITTEN
from diffdecor.images.model import MaskPlanes
from diffdecor.images.write import plane_cards
from diffdecor.psfs.registry import read_psf

#: All but the noise, which so few pixels do not tell.
NAMES = [name for name in WRITTEN if not name.startswith("noise")]


@pytest.fixture
def with_defects(work):
    """The triple with a PSF, saturated pixels, pixels without data, and changing depth."""
    mask = np.zeros(SHAPE, np.int32)
    mask[12:14, 20:24] = 2
    variance = np.full(SHAPE, 9.0)
    variance[:, 30:] = 16.0
    with fits.open(work / "science.fits") as hdus:
        image = hdus["IMAGE"].data.copy()
    hdus = exposure(image, variance, mask, TELESCOP="T")
    hdus.append(fits.ImageHDU(gaussian(7, 1.7).astype(np.float32), name="PSF"))
    hdus.writeto(work / "science.fits", overwrite=True)
    with fits.open(work / "difference.fits", mode="update") as hdus:
        hdus[0].data[25:27, 10:12] = np.nan
        hdus[0].header["OBJECT"] = "M 31"
    return work


def writing(place, *names, suffix="fits"):
    """Return the options that write parts, to files of their name."""
    return [part for n in names for part in ("--write", f"{n}={place / f'p_{n}.{suffix}'}")]


def pixels(place, name):
    return fits.getdata(place / f"p_{name}.fits")


def test_every_part_is_what_it_says(with_defects):
    place = with_defects
    planes, _ = place.succeeds(*writing(place, *NAMES), "--no-verify")
    found = {name: pixels(place, name) for name in NAMES}
    for name in ("image", "variance", "mask", "signif", "fluxerr", "psf", "psi"):
        assert found[name].tobytes() == planes[name.upper()][1].tobytes()
    header, mask = planes["MASK"]
    image, variance = planes["IMAGE"][1], planes["VARIANCE"][1].astype(np.float64)
    bad = ((mask & header["BADVALUE"]) != 0) | np.isnan(image)
    assert 10 < bad.sum() < bad.size / 2
    assert found["bad"].dtype == np.uint8
    assert np.array_equal(found["bad"], bad)
    np.testing.assert_allclose(found["sigma"], np.sqrt(variance), rtol=1e-6)
    np.testing.assert_allclose(found["weight"], np.where(bad, 0.0, 1 / variance), rtol=1e-6)


def test_the_files_are_what_other_programs_expect(with_defects):
    place = with_defects
    planes, _ = place.succeeds(*writing(place, *NAMES), "--no-verify")
    units_of = {"image": "adu", "sigma": "adu", "fluxerr": "adu"}
    units_of |= {"variance": "adu2", "weight": "adu-2"}
    for name in NAMES:
        path = place / f"p_{name}.fits"
        verify(path)
        with fits.open(path, checksum=True) as hdus:
            header = hdus[0].header
            several = [hdu.name for hdu in hdus[1:]]
        assert header.get("BUNIT") == units_of.get(name)
        assert header["DDPART"] == name
        for card in ("DDVERS", "DDDIF", "DDDIFSUM", "DDMODE", "DDSIGNIF"):
            assert header[card] == planes["PRIMARY"][0][card]
        if name in {"psf", "psi"}:
            assert several in ([], [f"{name.upper()}POS"])
            continue
        assert several == []
        assert header["OBJECT"] == "M 31"
        assert WCS(header).wcs_world2pix(10.0, 20.0, 0) == pytest.approx([23.0, 19.0])
        assert any(str(card).startswith("MP_") for card in header) == (name == "mask")
        assert ("BADVALUE" in header) == (name == "mask")
        assert "INHERIT" not in header
    # The inverse is a unit that astropy can read, and really that of 1/variance.
    with fits.open(place / "p_weight.fits") as hdus:
        assert units.Unit(hdus[0].header["BUNIT"]) == units.adu**-2
    image = CCDData.read(place / "p_image.fits")
    image.uncertainty = StdDevUncertainty(pixels(place, "sigma"))
    assert image.unit == units.adu


def test_they_are_inputs_again(with_defects):
    place = with_defects
    place.succeeds(*writing(place, *NAMES), "--no-verify")
    whole = read_exposure(place.output)
    names = {name: place / f"p_{name}.fits" for name in ("mask", "psf")}
    for noise in ("variance", "sigma", "weight"):
        parts = read_exposure(place / "p_image.fits", noise=place / f"p_{noise}.fits", **names)
        for plane in ("image", "mask"):
            assert np.array_equal(getattr(parts, plane), getattr(whole, plane), equal_nan=True)
        assert parts.mask_planes == whole.mask_planes
        used = np.isfinite(parts.variance)
        assert used.sum() > used.size / 2
        np.testing.assert_allclose(parts.variance[used], whole.variance[used], rtol=1e-6)
    for part, there in ((read_psf(place / "p_psf.fits"), read_psf(place.output)),):
        assert np.array_equal(part.stamps, there.stamps)


def test_a_mask_of_more_planes_than_an_hdu_holds(with_defects):
    """Its 64-bit plane has the bits of both HDUs."""
    place = with_defects
    bits = MaskPlanes({f"P{bit}": bit for bit in range(30)})
    with fits.open(place / "science.fits", mode="update") as hdus:
        for card in [card for card in hdus["MASK"].header if card.startswith("MP_")]:
            del hdus["MASK"].header[card]
        hdus["MASK"].header.extend(plane_cards(bits))
        hdus["MASK"].data[5, 5] = 1 << 29
    place.succeeds(*writing(place, "image", "mask", "bad"), "--no-verify")
    assert pixels(place, "mask").dtype.itemsize == 8
    whole = read_exposure(place.output)
    part = read_exposure(place / "p_image.fits", mask=place / "p_mask.fits")
    assert part.mask_planes == whole.mask_planes
    assert max(part.mask_planes.bits.values()) > 31
    assert np.array_equal(part.mask, whole.mask)
    assert np.array_equal(part.mask, pixels(place, "mask"))
    with fits.open(place / "p_mask.fits") as hdus:
        bad = (hdus[0].data & hdus[0].header["BADVALUE"]) != 0
    assert np.array_equal(pixels(place, "bad") != 0, bad | np.isnan(whole.image))
    verify(place / "p_mask.fits")
    # Integers of 64 bits stay as they are in a packed file, which is known again.
    options = [*writing(place, "mask", suffix="fits.fz"), "--no-verify"]
    for _ in range(2):
        place.run(*options)
        again = read_exposure(place / "p_image.fits", mask=place / "p_mask.fits.fz")
        assert np.array_equal(again.mask, whole.mask)
        assert place.run(*options).exit_code == 0


def test_what_is_there_is_left_and_what_is_missing_is_written(with_defects):
    place = with_defects
    options = [*writing(place, *NAMES), "--no-verify"]
    place.succeeds(*options)
    before = described(place.folder)
    (place / "p_sigma.fits").unlink()
    (place / "p_psi.fits").unlink()
    times = {name: (place / f"p_{name}.fits").stat().st_mtime_ns for name in ("image", "psf")}
    assert place.run(*options).exit_code == 0
    assert described(place.folder).keys() == before.keys()
    assert np.array_equal(pixels(place, "sigma"), np.sqrt(pixels(place, "variance")))
    for name, time in times.items():
        assert (place / f"p_{name}.fits").stat().st_mtime_ns == time


CHANGES = (
    lambda hdu: hdu.data.__setitem__((3, 4), 7),
    lambda hdu: hdu.header.__setitem__("DDMODE", "whole"),
    lambda hdu: hdu.header.__setitem__("DDPART", "other"),
    lambda hdu: hdu.header.__setitem__("CRPIX1", 3.0),
)


@pytest.mark.parametrize("name", ["image", "bad", "psf"])
def test_a_file_that_holds_something_else_is_not_replaced(with_defects, name):
    place = with_defects
    options = [*writing(place, name), "--no-verify"]
    place.succeeds(*options)
    file = place / f"p_{name}.fits"
    content = file.read_bytes()
    for change in CHANGES:
        file.write_bytes(content)
        with fits.open(file, mode="update") as hdus:
            change(hdus[0])
        place.fails(2, file.name, "--overwrite", options=options)
    place.succeeds(*options, "--overwrite")


def test_a_part_is_not_taken_for_the_whole(with_defects):
    """It has the cards of the whole, but is not done already."""
    place = with_defects
    place.succeeds(*writing(place, "image"), "--no-verify")
    place.fails(
        2, "p_image.fits", "--overwrite", options=["--no-verify"], output=place / "p_image.fits"
    )


def test_two_parts_in_one_file(work):
    options = ["--write", f"image={work / 'a.fits'}", "--write", f"mask={work / '.' / 'a.fits'}"]
    work.fails(2, "--write mask", "image", options=options)
    (work / "one.fits").write_bytes(b"1")
    os.link(work / "one.fits", work / "two.fits")
    options = ["--write", f"image={work / 'one.fits'}", "--write", f"mask={work / 'two.fits'}"]
    work.fails(2, "--write mask", "image", options=[*options, "--overwrite"])


@pytest.mark.parametrize("ending", ["fits", "fits.fz"])
def test_of_an_output_that_is_damaged_meanwhile_there_are_no_parts(work, ending):
    """They would have sums of their own, which are right."""
    output = work / f"out.{ending}"
    work.succeeds(output=output)
    options = ("--write", f"image={work / 'part.fits'}")
    with fits.open(output, disable_image_compression=True) as hdus:
        place = hdus[1].fileinfo()["datLoc"]
        place += hdus[1].data.nbytes // 2
    with output.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    work.fails(3, output.name, options=options, output=output)


def test_a_link_to_itself(work):
    (work / "circle.fits").symlink_to("circle.fits")
    options = ("--write", f"image={work / 'circle.fits'}")
    work.fails(3, "circle.fits", "symbolic link to itself", options=options)


def test_significance_is_on_where_a_part_of_it_is_wanted(with_defects):
    place = with_defects
    planes, _ = place.succeeds(*writing(place, "signif"), "--no-verify")
    assert planes["PRIMARY"][0]["DDSIGNIF"] is True
    assert np.array_equal(pixels(place, "signif"), planes["SIGNIF"][1], equal_nan=True)
    # And so it is the same job as with the option.
    assert place.run("--significance", "--no-verify").exit_code == 0


@pytest.mark.parametrize(
    ("name", "options", "code", "says"),
    [
        ("psi", ("--no-filters",), 2, "--no-filters"),
        ("noisereal", (), 2, "--noise-realisation"),
        ("fluxerr", ("--score",), 2, "--score"),
        ("signif", (), 2, "PSF"),
        ("psf", (), 3, "no PSF"),
    ],
)
def test_what_there_is_not_is_refused_before_the_work(work, name, options, code, says):
    work.fails(code, says, options=[*writing(work, name), *options])


def test_of_a_difference_without_data_there_is_its_mask(with_defects):
    """Nothing is filtered; the image is there, but no significance."""
    place = with_defects
    with fits.open(place / "difference.fits", mode="update") as hdus:
        hdus[0].data[:] = np.nan
    place.fails(3, "SIGNIF", options=[*writing(place, "signif"), "--no-verify"])
    place.succeeds(*writing(place, "image", "bad"), "--no-verify")
    assert pixels(place, "bad").all()


def test_strict_refusal_writes_none(with_defects):
    place = with_defects
    with fits.open(place / "science.fits", mode="update") as hdus:
        hdus["VARIANCE"].data *= 9.0  # which its pixels contradict
    options = [*writing(place, "image", "mask"), "--no-verify"]
    assert "WARNING" in place.run(*options, "-o", place / "other.fits").stderr
    for name in ("p_image", "p_mask"):
        (place / f"{name}.fits").unlink()
    place.fails(4, "--strict", options=[*options, "--strict"])
    # Nor where all is done already.
    place.fails(4, "--strict", options=[*options, "--strict"], output=place / "other.fits")


def test_parts_of_a_difference_alone(work):
    """They are as exact as the output."""
    noise = np.random.default_rng(3).normal(0.0, 2.0, (128, 128))
    exposure(noise, None).writeto(work / "alone.fits")
    options = [*writing(work, "image", "sigma", "weight"), "--dtype", "float64"]
    result = call("run", work / "alone.fits", "--output", work.output, *options)
    assert result.exit_code == 0, result.stderr
    planes = opened(work.output)
    assert pixels(work, "image").tobytes() == planes["IMAGE"][1].tobytes()
    assert pixels(work, "weight").dtype.itemsize == 8
    variance = planes["VARIANCE"][1]
    np.testing.assert_allclose(pixels(work, "sigma") ** 2, variance, rtol=1e-12)


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A difference with 30 stars of 25 sigma and a bad corner, decorrelated into parts."""
    folder = tmp_path_factory.mktemp("field")
    random = np.random.default_rng(8)
    template = random.normal(0.0, 4.0, (300, 300))
    image = random.normal(0.0, 2.0, (300, 300))
    psf = gaussian(10, 1.7)
    y, x = (places.ravel() for places in np.mgrid[40:290:50, 30:280:45])
    for row, column in zip(y, x, strict=True):
        image[row - 10 : row + 11, column - 10 : column + 11] += 900.0 * psf
    mask = np.zeros(image.shape, np.int32)
    mask[:20, :25] = 1
    image[:20, :25] = 500.0
    kernel = gaussian(4, 1.2)
    hdus = exposure(image, 4.0, mask)
    hdus.append(fits.ImageHDU(psf.astype(np.float32), name="PSF"))
    hdus.writeto(folder / "science.fits")
    exposure(template, 16.0).writeto(folder / "template.fits")
    exposure(image - convolved(template, kernel), None, mask).writeto(folder / "difference.fits")
    fits.PrimaryHDU(kernel, fits.Header({"CONVSIDE": "TEMPLATE"})).writeto(folder / "kernel.fits")
    place = Workplace(folder)
    place.succeeds(*writing(place, "image", "weight", "sigma", "bad", "signif", "fluxerr"))
    return place, np.column_stack([x, y])


def test_source_extractor_takes_them(field, tmp_path):
    """It finds all stars with the weight and the flags, and none in the bad corner."""
    place, stars = field
    program = shutil.which("source-extractor") or shutil.which("sex")
    if program is None:
        pytest.skip("there is no SExtractor")
    (tmp_path / "my.param").write_text("X_IMAGE\nY_IMAGE\nFLUX_APER\nFLUXERR_APER\nIMAFLAGS_ISO\n")
    (tmp_path / "my.sex").write_text("")
    options = {
        "CATALOG_NAME": tmp_path / "my.cat",
        "PARAMETERS_NAME": tmp_path / "my.param",
        "FILTER": "N",
        "BACK_TYPE": "MANUAL",
        "BACK_VALUE": 0,
        "DETECT_THRESH": 3,
        "PHOT_APERTURES": 8,
        "FLAG_IMAGE": place / "p_bad.fits",
        "VERBOSE_TYPE": "QUIET",
    }
    for kind, name in (("MAP_WEIGHT", "weight"), ("MAP_RMS", "sigma")):
        noise = {"WEIGHT_TYPE": kind, "WEIGHT_IMAGE": place / f"p_{name}.fits"}
        words = [
            str(word) for key, value in (options | noise).items() for word in (f"-{key}", value)
        ]
        command = [program, str(place / "p_image.fits"), "-c", str(tmp_path / "my.sex"), *words]
        subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
        found = np.loadtxt(tmp_path / "my.cat")
        good = found[found[:, 4] == 0]
        near = np.hypot(*(good[:, np.newaxis, :2] - 1 - stars).transpose(2, 0, 1)) < 1.5
        assert near.any(axis=0).all()
        flux, error = good[near.any(axis=1), 2:4].T
        # 80 % of the light is within the aperture; the error is that of the variance.
        assert np.median(flux) == pytest.approx(0.93 * 900.0, rel=0.1)
        area = np.pi * 4**2
        sigma = np.nanmedian(pixels(place, "sigma"))
        assert np.median(error) == pytest.approx(sigma * np.sqrt(area), rel=0.05)
        if kind == "MAP_WEIGHT":
            assert not ((good[:, 0] < 20) & (good[:, 1] < 15)).any()


def test_significance_and_flux_error_belong_together(field):
    """The flux of a star is their product."""
    place, stars = field
    x, y = stars.T
    flux = (pixels(place, "signif") * pixels(place, "fluxerr"))[y, x]
    error = pixels(place, "fluxerr")[y, x]
    pull = (flux - 900.0) / error
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    assert 0.5 < pull.std() < 1.6
