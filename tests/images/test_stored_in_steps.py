"""Whole numbers and lossy compression: borders, fill values, and zeros of the sky."""

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.images.no_data import _opened
from diffdecor.images.read import read_exposure

SHAPE = (150, 170)


def sky(sigma, smooth=0):
    noise = np.random.default_rng(5).normal(0, 1, SHAPE)
    for axis in (0, 1) if smooth else ():
        noise = sum(np.roll(noise, shift, axis) for shift in range(smooth))
    return sigma * noise / noise.std()


def no_data(path, **options):
    exposure = read_exposure(path, **options)
    value = exposure.mask_planes.value(["NO_DATA"])
    mask = np.zeros(exposure.shape, int) if exposure.mask is None else exposure.mask
    return (mask & value) != 0 if value else np.zeros(exposure.shape, bool)


def rectangle(width):
    where = np.ones(SHAPE, bool)
    where[width:-width, width:-width] = False
    return where


def corner():
    y, x = np.indices(SHAPE)
    return (x + y < 60) | (y == 0)


@pytest.mark.parametrize("width", [1, 3, 5])
def test_blocks_are_an_opening(width):
    where = np.random.default_rng(width).random((20, 25)) < 0.7
    where[:6, :8] = where[12:, 15:] = True
    padded = np.pad(where, width, constant_values=True)
    expected = np.zeros_like(padded)
    for y in range(padded.shape[0] - width + 1):
        for x in range(padded.shape[1] - width + 1):
            block = np.s_[y : y + width, x : x + width]
            if padded[block].all():
                expected[block] = True
    inside = np.s_[width:-width, width:-width]
    np.testing.assert_array_equal(_opened(where, width), expected[inside])


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4"])
@pytest.mark.parametrize(("sigma", "smooth"), [(0.8, 0), (1.6, 0), (5, 0), (1.6, 3)])
@pytest.mark.parametrize("where", [rectangle(6), rectangle(1), corner()], ids=["6", "1", "corner"])
def test_zeros_of_the_sky_are_no_border(mef, dtype, sigma, smooth, where):
    image = np.trunc(sky(sigma, smooth)).astype(dtype)
    image[where] = 0
    found = no_data(mef(("", image)))
    assert np.mean(found & ~where) < 1e-2  # a few beside the edges of the border
    assert np.mean(~found[where]) < 0.02


def test_whole_numbers_without_a_border_have_none(mef):
    assert not no_data(mef(("", np.trunc(sky(1.6)).astype("i2")))).any()


def holes():
    where = rectangle(8)
    where[50:80, 60:90] = True
    where[100:115, 20:45] = True
    return where


@pytest.mark.parametrize("fill", [1e-30, 0.0])
@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("sigma", [1.6, 30.0])
def test_a_fill_value_that_whole_numbers_cannot_hold(mef, fill, scale, sigma, caplog):
    image, where = np.rint(sky(sigma) / scale).astype("i2"), holes()
    image[where] = 0
    path = mef(("", image, {"MASKVAL": fill, "BSCALE": scale, "BZERO": 0.0}))
    found = no_data(path, zero_borders=False)
    assert found[where].mean() > 0.98
    assert found[~where].mean() < 0.01
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "smaller holes cannot be found, give a mask" in warning


@pytest.mark.parametrize("level", [16, 4])
@pytest.mark.parametrize("dither", [1, 2, -1])
@pytest.mark.parametrize("tile", [None, (40, 60)])
def test_a_fill_value_that_compression_changed(tmp_path, level, dither, tile, caplog):
    image, where = sky(20).astype("f4"), holes()
    image[where] = np.float32(1e-30)
    path = tmp_path / "d.fits"
    hdu = fits.CompImageHDU(
        image, compression_type="RICE_1", quantize_level=level, quantize_method=dither,
        dither_seed=1, tile_shape=tile,
    )  # fmt: skip
    hdu.header["MASKVAL"] = 1e-30
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    found = no_data(path, zero_borders=False)
    assert found[where].mean() > 0.98
    assert found[~where].mean() < 0.01
    assert "smaller holes cannot be found" in caplog.text


@pytest.mark.parametrize("dither", [1, 2])
def test_a_border_of_zeros_that_compression_changed(tmp_path, dither):
    image, where = sky(20).astype("f4"), rectangle(8)
    image[where] = 0
    path = tmp_path / "d.fits"
    hdu = fits.CompImageHDU(
        image, compression_type="RICE_1", quantize_level=16, quantize_method=dither, dither_seed=1
    )
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    found = no_data(path)
    assert found[where].mean() > 0.98
    assert found[~where].mean() < 1e-3


def test_a_mask_tells_the_holes(mef, caplog):
    image, where = np.rint(sky(1.6)).astype("i2"), holes()
    image[where] = 0
    path = mef(
        ("IMAGE", image, {"MASKVAL": 1e-30}),
        ("MASK", where.astype("i4"), {"HIERARCH MP_NO_DATA": 0}),
    )
    assert no_data(path)[where].all()
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_lossless_compression_keeps_the_value(tmp_path):
    image, where = sky(20).astype("f4"), holes()
    where[70:75, 120] = True
    image[where] = np.float32(1e-30)
    hdu = fits.CompImageHDU(image, compression_type="GZIP_2", quantize_level=0)
    hdu.header["MASKVAL"] = 1e-30
    path = tmp_path / "d.fits"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    np.testing.assert_array_equal(no_data(path, zero_borders=False), where)
