"""Outputs that are compressed as they are written: .fits.fz and .fits.gz."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import call, described, json_object, opened, verify

from diffdecor import read_exposure
from diffdecor.psfs.registry import read_psf

ENDINGS = ["fits.fz", "fits.gz"]
#: Changes with the time of the run.
TIMED = ["CHECKSUM", "DATASUM", "DATE"]


@pytest.fixture(params=ENDINGS)
def packed(request, work):
    """Name the packed output."""
    return work / f"out.{request.param}"


@pytest.fixture
def options(work):
    """Fill the output with everything that it can hold."""
    with fits.open(work / "difference.fits", mode="update") as hdus:
        hdus[0].data[25:27, 10:12] = np.nan
    return ["--difference-psf", work / "psf.fits", "--significance", "--no-verify"]


def test_it_holds_what_the_other_does(work, packed, options):
    planes, _ = work.succeeds(*options)
    found, _ = work.succeeds(*options, output=packed)
    assert found.keys() == planes.keys()
    for name, (_, pixels) in planes.items():
        if pixels is not None and pixels.dtype.names is None:
            there = found[name][1]
            assert there.astype(pixels.dtype).tobytes() == pixels.tobytes()
    difference = fits.FITSDiff(work.output, packed, ignore_keywords=TIMED)
    assert difference.identical, difference.report()
    if packed.suffix == ".fz":
        verify(packed)
    with fits.open(packed, checksum=True) as hdus:
        assert len(hdus) > 6


def test_it_is_read_back(work, packed, options):
    work.succeeds(*options)
    work.succeeds(*options, output=packed)
    one, other = read_exposure(work.output), read_exposure(packed)
    for plane in ("image", "mask", "variance"):
        assert np.array_equal(getattr(one, plane), getattr(other, plane), equal_nan=True)
    assert one.mask_planes == other.mask_planes
    assert np.array_equal(read_psf(work.output).stamps, read_psf(packed).stamps)
    checks = [call("check", path, "--json") for path in (work.output, packed)]
    assert [check.exit_code for check in checks] == [checks[0].exit_code] * 2
    found = [json_object(check.stdout.replace(packed.name, "out.fits")) for check in checks]
    assert found[0] == found[1]


def test_a_second_run_does_nothing(work, packed, options):
    first = work.run("--json", *options, output=packed)
    before = described(work.folder)
    second = work.run("--json", *options, output=packed)
    assert second.exit_code == 0, second.stderr
    assert described(work.folder) == before
    one, two = (json_object(result.stdout) for result in (first, second))
    assert two["status"] == "already done"
    for name in ("rho_after", "variance_after", "sky_pixels"):
        assert two[name] == pytest.approx(one[name])
    work.fails(2, "--overwrite", options=[*options, "--dtype", "float64"], output=packed)


def test_parts_of_it_and_parts_that_are_packed(work, options):
    names = ["image", "weight", "mask", "bad", "psf"]
    written = [part for n in names for part in ("--write", f"{n}={work / f'p_{n}.fits.fz'}")]
    more = ["--write", f"variance={work / 'p_variance.fits.gz'}"]
    packed = work / "out.fits.fz"
    planes, _ = work.succeeds(*options, *written, *more, output=packed)
    image, mask = (opened(work / f"p_{n}.fits.fz")[n.upper()] for n in ("image", "mask"))
    assert image[1].tobytes() == planes["IMAGE"][1].tobytes()
    assert mask[1].tobytes() == planes["MASK"][1].tobytes()
    assert image[0]["DDPART"] == "image"
    with gzip.open(work / "p_variance.fits.gz") as file:
        assert file.read(6) == b"SIMPLE"
    for name in names:
        verify(work / f"p_{name}.fits.fz")
    before = described(work.folder)
    assert work.run(*options, *written, *more, output=packed).exit_code == 0
    assert described(work.folder) == before
    whole = read_exposure(packed)
    parts = {"noise": work / "p_weight.fits.fz", "mask": work / "p_mask.fits.fz"}
    again = read_exposure(work / "p_image.fits.fz", **parts, psf=work / "p_psf.fits.fz")
    assert np.array_equal(again.image, whole.image, equal_nan=True)
    assert np.array_equal(again.mask, whole.mask)


def test_quantised(work, options):
    planes, _ = work.succeeds(*options)
    packed = work / "out.fits.fz"
    found, _ = work.succeeds(*options, "--quantize", "16", output=packed)
    assert found["PRIMARY"][0]["DDQUANT"] == 16.0
    assert "DDQUANT" not in planes["PRIMARY"][0]
    for name in ("MASK", "VARIANCE", "FLUXERR", "PSF", "PSI"):
        assert np.array_equal(found[name][1], planes[name][1], equal_nan=True)
    for name in ("IMAGE", "SIGNIF"):
        header, pixels = found[name]
        assert header["QUANTLEV"] == 16.0
        expected = planes[name][1]
        assert np.array_equal(np.isnan(pixels), np.isnan(expected))
        ratio = np.nanvar(pixels - expected) / np.nanvar(expected)
        assert 0.0 < ratio < 1.5 * header["QUANTVAR"]
    verify(packed)
    # Without it, or with another level, it is another job.
    for more in ([], ["--quantize", "4"]):
        work.fails(2, "--overwrite", options=[*options, *more], output=packed)


@pytest.mark.parametrize("name", ["out.fits", "out.fits.gz"])
def test_only_tiles_are_quantised(work, name):
    work.fails(2, "--quantize", ".fits.fz", options=["--quantize", "16"], output=work / name)


@pytest.mark.parametrize("value", ["0", "0.5", "-4", "nan", "inf", "1e9", "x"])
def test_no_level(work, value):
    work.fails(2, "--quantize", options=["--quantize", value], output=work / "out.fits.fz")


def test_what_fails_leaves_nothing(work, packed, options, monkeypatch):
    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diffdecor.fits.output.compress", broken)
    monkeypatch.setattr("diffdecor.fits.output._gzip", broken)
    work.fails(3, packed, "full", options=options, output=packed)
