"""Tiles are unpacked as astropy does it, and no damaged stream is read beyond what is given."""

import ctypes
import itertools
import mmap
import os
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.hdu.compressed import _codecs as astropys
from astropy.io.fits.hdu.compressed._compression import CfitsioException
from helpers.hostile import TILED

from diffdecor.errors import InputError
from diffdecor.fits import codecs
from diffdecor.fits.open import open_fits, read_pixels

SHAPES = ((40, 50), (37, 54), (3, 1000), (5, 7), (1, 40, 50))
DAMAGED = (ValueError, EOFError, CfitsioException)


def written(path, pixels, **options):
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, **options)]).writeto(path)
    return path


@pytest.mark.parametrize("name", TILED)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_as_astropys_own(tmp_path, name, shape):
    dtype, options = TILED[name]
    if "HCOMPRESS" in options["compression_type"] and min(shape[-2:]) < 10:
        pytest.skip("HCOMPRESS has no tiles that small")
    pixels = np.random.default_rng(3).normal(100, 10, shape).astype(dtype)
    if len(shape) > len(options.get("tile_shape", shape)):
        options = options | {"tile_shape": (1, *options["tile_shape"])}
    path = written(tmp_path / "a.fits.fz", pixels, **options)
    with fits.open(path) as hdus:
        expected = np.array(hdus[1].data).reshape(shape[-2:])
    with open_fits(path) as (hdus, _):
        np.testing.assert_array_equal(read_pixels(hdus[1], path), expected)


def streams(random):
    """Give codecs with good streams of theirs."""
    for ny, nx in ((16, 64), (7, 33), (2, 301)):
        values = random.normal(1000, 30, (ny, nx)).astype("i4")
        for block, size in itertools.product((16, 32), (1, 2, 4)):
            rice = {"blocksize": block, "bytepix": size, "tilesize": nx * ny}
            yield (
                codecs.CarefulRice1(**rice),
                astropys.Rice1(**rice).encode(values.astype(f"i{size}")),
            )
        plio = {"tilesize": nx * ny}
        yield codecs.CarefulPlio1(**plio), astropys.PLIO1(**plio).encode(values * (values > 1000))
        if min(ny, nx) >= 4:
            wavelets = {"scale": 0, "smooth": 1, "bytepix": 8, "nx": ny, "ny": nx}
            packed = astropys.HCompress1(**wavelets).encode(values.astype("i8"))
            yield codecs.CarefulHCompress1(**wavelets), packed


def guarded(size):
    """Return an array of bytes that ends where reading on is a crash."""
    page = mmap.PAGESIZE
    whole = -(-size // page) * page
    memory = mmap.mmap(-1, whole + page)
    array = np.frombuffer(memory, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(array.ctypes.data + whole), page, 0) == 0
    return array[whole - size : whole]


def unpack_damaged(number):
    """Unpack damaged streams out of guarded memory; return how many were taken for good ones."""
    random = np.random.default_rng(5)

    def padded(stream, size):
        given = guarded(max(size, stream.size + 8))
        given[:] = 0xFF
        given[: stream.size] = stream
        return given

    codecs.padded_with_ones = padded
    taken = 0
    for codec, good in streams(random):
        for _ in range(number):
            stream = np.frombuffer(good, np.uint8).copy()
            places = random.integers(len(stream), size=random.integers(1, 9))
            stream[places] = random.choice([0, 0, 1, 255, random.integers(256)], places.size)
            if random.random() < 0.3:
                stream = stream[: random.integers(1, len(stream) + 1)]
            try:
                codec.decode(stream)
                taken += 1
            except DAMAGED:
                continue
    return taken


@pytest.mark.skipif(sys.platform != "linux", reason="memory is guarded by mprotect")
def test_no_damaged_stream_reads_beyond_its_padding():
    pid = os.fork()
    if pid == 0:
        taken = 0
        try:
            taken = unpack_damaged(60)
        finally:
            os._exit(0 if taken else 1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_tile_that_unpacks_to_too_much(tmp_path):
    zeros = np.zeros((64, 64), "f4")
    path = written(tmp_path / "a.fits.fz", zeros, compression_type="GZIP_1", quantize_level=0)
    content = path.read_bytes()
    with fits.open(path, disable_image_compression=True) as hdus:
        header = hdus[1].header
    # A narrower image in the same table: each tile holds 64 pixels, not 4.
    for card in ("ZNAXIS1", "ZTILE1"):
        old = header.cards[card].image.encode()
        content = content.replace(old, old.replace(b"64", b" 4"))
    path.write_bytes(content)
    with (
        pytest.raises(InputError, match="unpacks to more than 32 bytes"),
        open_fits(path) as (h, _),
    ):
        read_pixels(h[1], path)
