"""Compression by bands of rows: the same as astropy's of the whole plane, and lossless."""

import shutil
import subprocess
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.fits import compress as module
from diffdecor.fits.compress import Compression, compress

LEVEL = 16.0


def planes():
    """Noise with what is hard to quantise: NaN, zeros, a constant row, a row of NaN; a mask."""
    random = np.random.default_rng(1)
    noise = random.normal(0.0, 3.0, (700, 90)).astype(np.float32)
    noise[100, 3] = np.nan
    noise[200] = np.nan
    noise[300, 7:20] = 0.0
    noise[400] = 5.0
    noise[500, 4] = 1e8
    mask = (random.random((700, 90)) < 0.01).astype(np.int32) << 30
    return noise, mask


def data(file, name):
    """Return the pixels of an HDU in native byte order."""
    pixels = fits.getdata(file, name)
    return pixels.astype(pixels.dtype.newbyteorder("="))


def same(one, other):
    """Say whether the pixels of two arrays are the same bit by bit."""
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def source(path, noise, mask):
    header = fits.Header({"BUNIT": "adu", "HIERARCH MP_VERY_LONG": 4, "LONG": "x" * 200})
    several = [
        fits.PrimaryHDU(header=fits.Header({"OBJECT": "M 31"})),
        fits.ImageHDU(noise, header, name="IMAGE"),
        fits.ImageHDU(mask, name="MASK"),
        fits.ImageHDU(noise.astype(np.float64) ** 2, name="VARIANCE"),
        fits.ImageHDU((mask > 0).astype(np.uint8), name="BAD"),
        fits.ImageHDU(noise, name="SIGNIF"),
        fits.ImageHDU(mask.astype(np.int64) << 20, name="WIDE"),
        fits.ImageHDU(np.ones((3, 5, 5), np.float32), name="PSF"),
        fits.ImageHDU(np.ones((5, 5), np.float32), name="PSI"),
        fits.BinTableHDU.from_columns([fits.Column("X", "D", array=[1.0, 2.0])], name="PSFPOS"),
    ]
    several[1].header.comments["EXTNAME"] = "what it is"
    fits.HDUList(several).writeto(path, checksum=True)
    return path


def compressed(path, **about):
    packed = path.with_name("packed.fits.fz")
    how = Compression(without=("PSI",), **about)
    with path.open("rb") as file, packed.open("w+b") as target:
        compress(file, target, how)
    return packed


@pytest.fixture(params=[1 << 15, 1 << 30], ids=["bands", "whole"])
def height(request, monkeypatch):
    """Bands of a few rows, or of all."""
    monkeypatch.setattr(module, "_BAND", request.param)


def check_equal(path, other):
    """Compare all HDUs of two files bit by bit, and their sums and cards."""
    with fits.open(path, checksum=True) as hdus, fits.open(other, checksum=True) as others:
        assert [hdu.name for hdu in hdus] == [hdu.name for hdu in others]
        names = [hdu.name for hdu in hdus][1:-1]
    for name in names:
        assert same(data(path, name), data(other, name)), name
    difference = fits.FITSDiff(path, other, ignore_keywords=["CHECKSUM", "DATASUM"])
    assert difference.identical, difference.report()


@pytest.mark.usefixtures("height")
@pytest.mark.parametrize("threads", [1, 3])
def test_it_is_lossless(tmp_path, threads):
    path = source(tmp_path / "in.fits", *planes())
    packed = compressed(path, threads=threads)
    check_equal(path, packed)
    assert packed.stat().st_size < path.stat().st_size
    with fits.open(packed, disable_image_compression=True) as hdus:
        kinds = [hdu.header.get("ZCMPTYPE") for hdu in hdus]
    assert kinds == [
        *(None, "GZIP_2", "RICE_1", "GZIP_2", "RICE_1", "GZIP_2"),
        *(None, None, None, None),
    ]


def unpacked(packed):
    program = shutil.which("funpack")
    if program is None:
        pytest.skip("there is no funpack")
    whole = packed.with_name("whole.fits")
    subprocess.run([program, "-O", str(whole), str(packed)], check=True)
    return whole


@pytest.mark.usefixtures("height")
def test_funpack_makes_the_same_of_it(tmp_path):
    path = source(tmp_path / "in.fits", *planes())
    check_equal(path, unpacked(compressed(path)))


@pytest.mark.usefixtures("height")
def test_quantised_planes_are_those_of_astropy(tmp_path):
    """Dithering goes on from band to band."""
    noise, mask = planes()
    path = source(tmp_path / "in.fits", noise, mask)
    packed = compressed(path, quantised=("IMAGE", "SIGNIF"), level=LEVEL)
    options = {"quantize_level": LEVEL, "quantize_method": 2, "dither_seed": 1}
    fits.CompImageHDU(noise, compression_type="RICE_1", **options).writeto(tmp_path / "whole.fits")
    expected = data(tmp_path / "whole.fits", 1)
    for name in ("IMAGE", "SIGNIF"):  # rows beside NaN are rounded otherwise
        np.testing.assert_allclose(data(packed, name), expected, rtol=1e-6, atol=1e-6)
    for name in ("MASK", "VARIANCE", "BAD", "WIDE", "PSF", "PSI"):
        assert same(data(packed, name), data(path, name)), name


def test_what_quantisation_keeps_and_what_it_adds(tmp_path):
    random = np.random.default_rng(2)
    noise = random.normal(0.0, 3.0, (200, 2000)).astype(np.float32)
    noise[20:30, 7], noise[40:50, 8] = np.nan, 0.0
    mask = np.zeros(noise.shape, np.int32)
    path = source(tmp_path / "in.fits", noise, mask)
    packed = compressed(path, quantised=("IMAGE",), level=LEVEL)
    with fits.open(packed, checksum=True) as hdus:
        found, header = hdus["IMAGE"].data, hdus["IMAGE"].header
    assert np.array_equal(np.isnan(found), np.isnan(noise))
    assert np.array_equal(found == 0.0, noise == 0.0)
    error = (found - noise)[np.isfinite(noise)]
    assert header["QUANTLEV"] == LEVEL
    assert header["QUANTVAR"] == pytest.approx(1 / (12 * LEVEL**2))
    # The variance that it adds is as stated, for the noise that a row is measured to have.
    assert error.var() / 9.0 == pytest.approx(header["QUANTVAR"], rel=0.06)
    assert abs(error.mean()) < 5 * np.sqrt(error.var() / error.size)
    # And it is white, as dithering makes it.
    step = (found - noise)[100:]
    assert abs(np.corrcoef(step[:, 1:].ravel(), step[:, :-1].ravel())[0, 1]) < 0.02


def test_funpack_reads_quantised_planes_beside_others(tmp_path):
    """A lossless plane of GZIP_2 before them would spoil them (CFITSIO 4.2)."""
    path = source(tmp_path / "in.fits", *planes())
    packed = compressed(path, quantised=("IMAGE", "SIGNIF"), level=LEVEL)
    whole = unpacked(packed)
    for name in ("IMAGE", "SIGNIF", "VARIANCE"):
        ours, theirs = data(packed, name), data(whole, name)
        np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-6)


def test_places_of_64_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FAR", 1000)
    path = source(tmp_path / "in.fits", *planes())
    for about in ({}, {"quantised": ("IMAGE",), "level": LEVEL}):
        packed = compressed(path, **about)
        with fits.open(packed, disable_image_compression=True) as hdus:
            assert hdus["MASK"].header["TFORM1"].startswith("1QB(")
        for name in ("MASK", "VARIANCE", "SIGNIF"):
            assert same(data(packed, name), data(path, name)), name


def test_an_image_in_the_primary_hdu(tmp_path):
    noise, _ = planes()
    path = tmp_path / "in.fits"
    fits.PrimaryHDU(noise, fits.Header({"OBJECT": "M 31"})).writeto(path, checksum=True)
    packed = compressed(path)
    with fits.open(packed, checksum=True) as hdus:
        assert len(hdus) == 2
        assert np.array_equal(hdus[1].data, noise, equal_nan=True)
        assert hdus[1].header["OBJECT"] == "M 31"
    whole = unpacked(packed)
    with fits.open(whole, checksum=True) as hdus:
        assert len(hdus) == 1
    difference = fits.FITSDiff(path, whole)
    assert difference.identical, difference.report()


@pytest.mark.long
def test_no_plane_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BAND", 1 << 17)
    noise = np.random.default_rng(1).normal(size=(1400, 1000)).astype(np.float32)
    path = tmp_path / "in.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(noise, name="IMAGE")]).writeto(path)
    for about in ({}, {"quantised": ("IMAGE",), "level": LEVEL}):
        tracemalloc.start()
        packed = compressed(path, **about)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert packed.stat().st_size > noise.nbytes / 10
        assert peak < noise.nbytes / 2
