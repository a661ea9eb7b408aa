"""Planes that stay in their file: the same rows as astropy reads, from any thread, in any order."""

import gzip
import io
import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.config import ImageOptions
from diffdecor.core.parallel import once
from diffdecor.core.planes import bands, in_memory, sampled, streamed
from diffdecor.errors import InputError
from diffdecor.fits.open import image_shape, open_fits, read_pixels
from diffdecor.fits.read_rows import stored_integers, stored_pixels
from diffdecor.fits.reading import Reading
from diffdecor.images.read import open_exposure

SHAPE = (23, 17)
PACK = {"quantize_level": 0, "compression_type": "GZIP_2"}


def opened(path, hdu=-1, **more):
    with open_fits(path) as (hdus, _):
        return stored_pixels(hdus[hdu], path, **more), read_pixels(hdus[hdu], path)


@pytest.fixture
def packed(tmp_path):
    """Write a file of a tile-compressed image."""

    def write(pixels, name="p.fits.fz", **how):
        path = tmp_path / name
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, **how)]).writeto(path)
        return path

    return write


def check_rows(plane, expected):
    """Read bands of all sizes, those that overlap too."""
    assert plane.shape == expected.shape
    for rows in (*bands(plane.shape, 5), slice(3, 19), slice(22, 23), slice(0, 23), slice(4, 4)):
        part = plane[rows]
        np.testing.assert_array_equal(part, expected[rows])
        assert part.dtype == expected.dtype
        assert part.dtype.isnative


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_rows_of_every_type(tmp_path, dtype):
    values = np.random.default_rng(1).integers(0, 120, SHAPE).astype(dtype)
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(np.ones(5)), fits.ImageHDU(values)]).writeto(path)
    plane, expected = opened(path)
    check_rows(plane, expected)
    np.testing.assert_array_equal(expected, values)


@pytest.mark.parametrize("suffix", ["fits", "fits.gz", "fits.bz2"])
def test_scaled_numbers_with_blanks(tmp_path, suffix):
    hdu = fits.PrimaryHDU(np.random.default_rng(1).normal(0, 9, SHAPE))
    hdu.scale("int16", bscale=0.5, bzero=3)
    hdu.header["BLANK"] = 4
    path = tmp_path / f"a.{suffix}"
    hdu.writeto(path)
    plane, expected = opened(path, 0)
    assert np.isnan(expected).any()
    check_rows(plane, expected)


@pytest.mark.parametrize(
    "shape", [(1, *SHAPE), (1, 1, *SHAPE), (*SHAPE, 1), (SHAPE[0], 1, SHAPE[1])]
)
@pytest.mark.parametrize("kind", [fits.ImageHDU, fits.CompImageHDU])
def test_axes_of_length_one(tmp_path, shape, kind):
    values = np.random.default_rng(1).normal(size=shape).astype("f4")
    path = tmp_path / "a.fits"
    how = PACK if kind is fits.CompImageHDU else {}
    fits.HDUList([fits.PrimaryHDU(), kind(values, **how)]).writeto(path)
    with open_fits(path) as (hdus, _):
        assert image_shape(hdus[1]) == SHAPE
    plane, expected = opened(path)
    check_rows(plane, expected)


@pytest.mark.parametrize("reading", [None, Reading(1), Reading(1 << 20)])
@pytest.mark.parametrize("how", [PACK, {}, {"tile_shape": (7, 5)}])
def test_compressed_rows(packed, how, reading):
    values = np.random.default_rng(1).normal(size=SHAPE).astype("f4")
    values[3, 4] = np.nan
    plane, expected = opened(packed(values, **how), reading=reading)
    check_rows(plane, expected)


def test_what_is_kept_is_unpacked_once(packed):
    path = packed(np.arange(40.0 * 8).reshape(40, 8), **PACK)
    plane, expected = opened(path, reading=Reading(40 * 8 * 8))
    np.testing.assert_array_equal(plane[10:20], expected[10:20])
    np.testing.assert_array_equal(plane[0:40], expected)
    path.unlink()
    np.testing.assert_array_equal(plane[5:35], expected[5:35])


@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize("compressed", [False, True])
def test_many_threads_read_the_same(tmp_path, packed, compressed, kept):
    values = np.random.default_rng(1).normal(size=(400, 60)).astype("f4")
    path = packed(values, **PACK) if compressed else tmp_path / "a.fits"
    if not compressed:
        fits.PrimaryHDU(values).writeto(path)
    plane, _ = opened(path, reading=Reading(kept))
    with ThreadPoolExecutor(8) as pool:
        for rows, part in zip(
            bands(plane.shape, 7), pool.map(plane.__getitem__, bands(plane.shape, 7)), strict=True
        ):
            np.testing.assert_array_equal(part, values[rows])


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_planes_outlive_the_block_that_opened_them_and_close_their_file(packed, tmp_path):
    values = np.random.default_rng(1).normal(size=SHAPE).astype("f4")
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(values).writeto(path)
    before = open_files()
    planes = [opened(path)[0], opened(packed(values, **PACK))[0]]
    first = [plane[0:2] for plane in planes]
    for plane, rows in zip(planes, first, strict=True):
        np.testing.assert_array_equal(plane[0:2], rows)
        np.testing.assert_array_equal(plane[2:23], values[2:])
    del plane, planes
    assert open_files() == before


@pytest.mark.parametrize("size", [2880 + 100, 2880 + 23 * 17 * 4 - 1])
def test_a_file_that_becomes_shorter(tmp_path, size):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.ones(SHAPE, "f4")).writeto(path)
    plane, _ = opened(path)
    os.truncate(path, size)
    assert (plane[0:1] == 1).all()
    with pytest.raises(InputError, match=r"a\.fits: .*the file became shorter while it was read"):
        plane[0:23]


@pytest.mark.parametrize("shape", [SHAPE, (4, 5)])
def test_a_compressed_file_that_is_replaced(packed, shape):
    path = packed(np.ones(SHAPE, "f4"), **PACK)
    plane, _ = opened(path)
    path.unlink()
    packed(np.full(shape, 2.0, "f4"), **PACK)
    for _ in range(2):
        with pytest.raises(InputError, match=r"p\.fits\.fz: the file has changed"):
            plane[0:1]


@pytest.mark.parametrize("suffix", ["gz", "bz2"])
def test_a_file_that_is_unpacked_twice_is_one(packed, suffix):
    values = np.arange(23.0 * 17, dtype="f4").reshape(SHAPE)
    path = packed(values, f"p.fits.{suffix}", **PACK)
    plane, _ = opened(path)
    np.testing.assert_array_equal(plane[0:23], values)
    other, _ = opened(path)
    path.unlink()
    packed(values, path.name, **PACK)
    with pytest.raises(InputError, match="the file has changed"):
        other[0:23]


@pytest.mark.parametrize("kind", ["RICE_1", "HCOMPRESS_1"])
def test_overwritten_tiles_are_named(packed, kind):
    values = np.random.default_rng(1).normal(100, 9, size=(200, 100)).astype("f4")
    path = packed(values, compression_type=kind)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(range(200))
    path.write_bytes(content)
    with open_fits(path) as (hdus, _):
        plane = stored_pixels(hdus[1], path)
        with pytest.raises(InputError, match=r"p\.fits\.fz: the pixels cannot be read"):
            read_pixels(hdus[1], path)
    with pytest.raises(InputError, match=r"p\.fits\.fz: the pixels cannot be read"):
        in_memory(plane)


def test_damaged_tiles_are_named(packed):
    path = packed(np.random.default_rng(1).normal(size=(200, 100)).astype("f4"), **PACK)
    content = bytearray(path.read_bytes())
    with fits.open(path, disable_image_compression=True) as hdus:
        place = hdus[1].fileinfo()
    start = place["datLoc"] + place["datSpan"] // 2
    content[start : start + 3000] = np.random.default_rng(1).bytes(3000)
    path.write_bytes(content)
    with open_fits(path) as (hdus, _):
        plane = stored_pixels(hdus[1], path)
    with pytest.raises(InputError, match=r"p\.fits\.fz: the pixels cannot be read"):
        in_memory(plane)


def test_whole_numbers_by_rows(tmp_path):
    path = tmp_path / "a.fits"
    values = np.round(np.random.default_rng(1).normal(50, 9, SHAPE))
    values[9, 2] = 0.5
    fits.PrimaryHDU(values).writeto(path)
    with open_fits(path) as (hdus, _):
        plane = stored_integers(hdus[0], path)
    np.testing.assert_array_equal(plane[0:9], values[:9])
    assert plane[0:9].dtype.kind == "i"
    with pytest.raises(InputError, match="whole numbers"):
        plane[8:10]


def test_an_image_that_is_in_no_file():
    hdu = fits.ImageHDU(np.arange(6.0).reshape(2, 3))
    assert stored_pixels(hdu, "memory")[1:2].tolist() == [[3, 4, 5]]


@pytest.mark.parametrize("suffix", ["", pytest.param(".gz", marks=pytest.mark.long)])
def test_memory_is_bounded(tmp_path, suffix):
    values = np.random.default_rng(1).normal(100, 5, (1000, 4000)).astype("f4")
    content = io.BytesIO()
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.ImageHDU(np.tile(values, (4, 1)), name="SCI"),
            fits.ImageHDU(np.ones((4000, 4000), "u1"), name="DQ"),
            fits.ImageHDU(np.tile(values, (4, 1)), name="ERR"),
        ]
    ).writeto(content)
    path = tmp_path / f"a.fits{suffix}"
    data = content.getvalue()
    path.write_bytes(gzip.compress(data, 1) if suffix else data)
    del content, data
    tracemalloc.start()
    try:
        exposure = open_exposure(path, ImageOptions()).exposure
        for plane in (exposure.image, exposure.mask, exposure.variance):
            for rows in bands(plane.shape, 64):
                assert plane[rows].shape == (rows.stop - rows.start, 4000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 13 * 64 * 4000 * 4  # a plane has 64 MB, a band 1


@given(ny=st.integers(1, 40), nx=st.integers(1, 9))
def test_streams_and_samples(ny, nx):
    plane = np.arange(ny * nx).reshape(ny, nx)
    parts = list(streamed(plane))
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), plane)
    np.testing.assert_array_equal(sampled(plane), plane)


def test_a_sample_of_a_large_plane_is_spread_over_it():
    plane = np.broadcast_to(np.arange(5000)[:, np.newaxis], (5000, 1000))
    rows = sampled(plane)[:, 0]
    assert len(rows) == (1 << 20) // 1000
    assert (rows[0], rows[-1]) == (0, 4999)
    assert np.ptp(np.diff(rows)) <= 1


def test_a_value_is_made_once():
    made = []
    value = once(lambda: made.append(1) or len(made))
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: value(), range(50))) == {1}
