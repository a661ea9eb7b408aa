"""Sums of input files."""

import gzip
import os

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.errors import InputError
from diffdecor.fits import reading, sums
from diffdecor.fits.checksum import datasum
from diffdecor.fits.open import open_fits
from diffdecor.fits.read_rows import stored_pixels
from diffdecor.fits.reading import Reading
from diffdecor.fits.sums import InputSum


@given(st.binary(max_size=400), st.integers(0, 100))
def test_pieces_add_up(data, words):
    head, tail = data[: 4 * words], data[4 * words :]
    assert datasum(tail, datasum(head)) == datasum(data) <= 2**32 - 1


def test_carries_come_round():
    assert datasum(b"\xff\xff\xff\xff\x00\x00\x00\x02") == 2
    assert datasum(b"") == 0
    assert datasum(b"\x01") == 1 << 24


@pytest.mark.parametrize("dtype", ["f4", "i2", "f8"])
def test_it_is_the_datasum_of_fits(tmp_path, dtype):
    planes = [np.random.default_rng(n).normal(0, 1e4, (700, 500)).astype(dtype) for n in (1, 2)]
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(planes[0]), fits.ImageHDU(planes[1])]).writeto(
        path, checksum=True
    )
    with fits.open(path) as hdus:
        total = sum(int(hdu.header["DATASUM"]) for hdu in hdus)
    assert InputSum(path)() == total % (2**32 - 1)
    packed = tmp_path / "b.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert InputSum(packed)() == InputSum(path)() == InputSum(f"{path}[1]")()


def test_headers_do_not_count_and_pixels_do(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.arange(12.0).reshape(3, 4)).writeto(path)
    before = InputSum(path)()
    fits.setval(path, "OBJECT", value="something")
    assert InputSum(path)() == before
    with fits.open(path, mode="update") as hdus:
        hdus[0].data[0, 0] = 1
    assert InputSum(path)() != before


@pytest.mark.parametrize("keyword", ["BSCALE", "BZERO", "BLANK"])
def test_cards_that_scale_the_numbers_count(tmp_path, keyword):
    """What is stored is the same; what it means is not."""
    path, packed = tmp_path / "a.fits", tmp_path / "a.fits.gz"
    numbers = np.arange(40, dtype=np.int16).reshape(4, 10)
    fits.PrimaryHDU(numbers).writeto(path)
    content, found = path.read_bytes(), {InputSum(path)()}
    assert found == {datasum(numbers.astype(">i2"))}
    for value in (2, 3):
        card = str(fits.Card(keyword, value)).encode()
        path.write_bytes(content.replace(b"END".ljust(160), card + b"END".ljust(80), 1))
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert InputSum(packed)() == InputSum(path)()
        found.add(InputSum(path)())
    assert len(found) == 3


def test_all_cards_of_a_kernel_count_but_those_without_meaning(tmp_path):
    path, kernel = tmp_path / "k.fits", np.ones((5, 5))
    cards = {"CONVSIDE": "TEMPLATE", "SCALE1": 1.5, "SCALE2": 2.5}
    hdu = fits.PrimaryHDU(kernel, fits.Header(cards))
    hdu.writeto(path)
    before, plain = InputSum(path, all_cards=True)(), InputSum(path)()
    for keyword in ("DATE", "HISTORY", "COMMENT", "CHECKSUM", "DATASUM", ""):
        hdu.header[keyword] = "something"
    hdu.writeto(path, overwrite=True)
    assert InputSum(path, all_cards=True)() == before
    for changes in ({"CONVSIDE": "SCIENCE"}, {"SCALE1": 2.5, "SCALE2": 1.5}, {"NEW": 1}):
        hdu.header.update(cards | changes)
        hdu.writeto(path, overwrite=True)
        assert InputSum(path, all_cards=True)() != before
        assert InputSum(path)() == plain == datasum(kernel)


def test_compressed_tiles_and_other_files(tmp_path):
    path = tmp_path / "a.fits.fz"
    hdus = [fits.PrimaryHDU(), fits.CompImageHDU(np.arange(400, dtype="i2").reshape(20, 20))]
    fits.HDUList(hdus).writeto(path, checksum=True)
    with fits.open(path, disable_image_compression=True) as opened:
        assert InputSum(path)() == int(opened[1].header["DATASUM"])
    text = tmp_path / "kernel.txt"
    text.write_bytes(b"[kernel]\n")
    assert InputSum(text)() == datasum(b"[kernel]\n")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        InputSum(tmp_path / "gone.fits")()


def test_hdus_that_state_their_sum_need_not_be_read(tmp_path):
    planes = [np.random.default_rng(n).normal(size=(40, 50)) for n in range(3)]
    hdus = fits.HDUList([fits.PrimaryHDU(planes[0]), *map(fits.ImageHDU, planes[1:])])
    total = sum(datasum(plane) for plane in planes) % (2**32 - 1)
    for checksum in (False, True):
        path, packed = tmp_path / f"{checksum}.fits", tmp_path / f"{checksum}.fits.gz"
        hdus.writeto(path, checksum=checksum)
        content = bytearray(path.read_bytes())
        with fits.open(path) as opened:
            content[opened[1].fileinfo()["datLoc"]] ^= 1
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert InputSum(path, (1,))() == InputSum(packed, (0, 1, 2))() == total
        path.write_bytes(content)
        assert (InputSum(path, (1,))() == total) is checksum
        if not checksum:
            assert InputSum(path, (0, 2))() != total
            continue
        with pytest.raises(InputError, match="data of HDU 1 add up to"):
            InputSum(path, (0, 2))()


def test_the_file_is_the_one_that_was_opened(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.ones((30, 30))).writeto(path)
    before, opened = InputSum(path)(), InputSum(path)
    (tmp_path / "new.fits").write_bytes(b"SIMPLE")
    (tmp_path / "new.fits").rename(path)
    assert opened() == before


@pytest.mark.parametrize("replaced_by", [b"SIMPLE", b"no FITS at all"])
def test_a_file_that_is_replaced_counts_as_it_was_opened(tmp_path, replaced_by):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.ones((30, 30))).writeto(path)
    before = InputSum(path)()
    with Reading() as reading:
        with open_fits(path, reading.files):
            pass
        (tmp_path / "new.fits").write_bytes(replaced_by)
        (tmp_path / "new.fits").rename(path)
        counted = InputSum(path, reading=reading)
    assert counted() == before


@pytest.fixture
def added(monkeypatch):
    """Sizes of what sums read of files."""
    sizes, read = [], os.preadv

    def spied(descriptor, buffers, place):
        sizes.append(len(buffers[0]))
        return read(descriptor, buffers, place)

    monkeypatch.setattr(sums.os, "preadv", spied)
    return sizes


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u1"])
def test_rows_that_were_read_are_not_read_again(tmp_path, monkeypatch, added, dtype):
    monkeypatch.setattr(reading, "_FEW", 0)
    path = tmp_path / "a.fits"
    pixels = np.random.default_rng(1).integers(0, 200, (90, 52)).astype(dtype)
    fits.PrimaryHDU(pixels).writeto(path)
    expected = InputSum(path)()
    seen = Reading()
    with open_fits(path) as (hdus, _):
        plane, again = (stored_pixels(hdus[0], path, seen) for _ in range(2))
    for part in (plane[10:40], again[30:60], plane[85:90], plane[12:14]):
        assert part.shape[1] == 52
    added.clear()
    assert InputSum(path, reading=seen)() == expected
    rest = [10 * pixels[0].nbytes, 25 * pixels[0].nbytes, -pixels.nbytes % 2880]
    assert added == [size for size in rest if size]


def test_rows_that_are_not_whole_words_are_read_again(tmp_path, added):
    path = tmp_path / "a.fits"
    pixels = np.arange(3003, dtype=np.uint8).reshape(1001, 3)
    fits.PrimaryHDU(pixels).writeto(path)
    seen = Reading()
    with open_fits(path) as (hdus, _):
        stored_pixels(hdus[0], path, seen)[0:1001]
    added.clear()
    assert InputSum(path, reading=seen)() == datasum(pixels)
    assert added == [2 * 2880]


def test_of_large_data_that_are_not_needed_samples_are_read(tmp_path, monkeypatch, added):
    monkeypatch.setattr(sums, "_CHUNK", 2880)
    path = tmp_path / "a.fits"
    pixels = np.random.default_rng(2).normal(size=(2, 40, 2880 // 8)).astype(np.float64)
    fits.HDUList([fits.PrimaryHDU(pixels[0]), fits.ImageHDU(pixels[1])]).writeto(path)
    before = InputSum(path, (1,))()
    assert added == [2880] * (40 + 14)
    pixels[1] += 1e-3  # noise that is different everywhere is noticed
    fits.HDUList([fits.PrimaryHDU(pixels[0]), fits.ImageHDU(pixels[1])]).writeto(
        path, overwrite=True
    )
    assert InputSum(path, (1,))() != before
    assert InputSum(path)() == datasum(pixels)


def test_missing_padding_counts_as_zeros(tmp_path):
    path = tmp_path / "a.fits"
    plane = np.arange(10.0)
    fits.PrimaryHDU(plane).writeto(path)
    path.write_bytes(path.read_bytes()[: 2880 + plane.nbytes])
    assert InputSum(path)() == datasum(plane)
