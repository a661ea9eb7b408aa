"""Sums of the FITS standard, against arithmetic of any precision and against astropy."""

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given
from hypothesis import strategies as st

from diffdecor.fits import checksum
from diffdecor.fits.checksum import ascii_checksum, datasum, header_with_sums, padded

MASK = 0xFFFFFFFF


def _brute_force(data):
    data = data.ljust(-(-len(data) // 4) * 4, b"\0")
    total = sum(int.from_bytes(data[n : n + 4], "big") for n in range(0, len(data), 4))
    return total if total == 0 else (total - 1) % MASK + 1


@given(st.binary(max_size=300), st.integers(0, 75))
def test_it_is_the_sum_modulo_2_to_the_32_less_1(data, words):
    assert datasum(data) == datasum(memoryview(data)) == _brute_force(data)
    head, tail = data[: 4 * words], data[4 * words :]
    assert datasum(tail, datasum(head)) == _brute_force(data)


@pytest.mark.parametrize("length", [7, 8, 9, 15, 16, 17, 31, 33])
@pytest.mark.parametrize("fill", [0, 0xFF, None])
def test_pieces_in_the_cache_and_carries(monkeypatch, length, fill):
    monkeypatch.setattr(checksum, "_WORDS", 8)
    random = np.random.default_rng(length).integers(0, 256, 4 * length).astype(np.uint8)
    data = random if fill is None else np.full(4 * length, fill, dtype=np.uint8)
    assert datasum(data.tobytes()) == _brute_force(data.tobytes())
    assert datasum(data.view("<u4")) == _brute_force(data.view("<u4").astype(">u4").tobytes())


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i2", "u1", ">f4", ">f8", ">i2"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (400, 331)])
def test_an_array_counts_as_it_is_stored(dtype, shape):
    values = np.random.default_rng(3).normal(50, 20, shape).astype(dtype)
    stored = values.astype(np.dtype(dtype).newbyteorder(">")).tobytes()
    assert datasum(values) == datasum(stored) == _brute_force(stored)
    assert datasum(values[:, ::2]) == datasum(np.ascontiguousarray(values[:, ::2]))


def test_the_example_of_the_standard():
    assert ascii_checksum(868229149) == "hcHjjc9ghcEghc9g"


@given(st.integers(0, MASK))
@example(0)
@example(MASK)
def test_the_text_brings_any_sum_to_minus_0(total):
    text = ascii_checksum(total)
    assert text.isascii()
    assert text.isalnum()
    zeros, value = (b"\0\0\0" + item + b"\0" for item in (b"0" * 16, text.encode()))
    rest = (total - _brute_force(zeros)) % MASK
    assert (rest + _brute_force(value)) % MASK == 0


@pytest.mark.parametrize("cards", [0, 1, 27, 28, 29, 200])
@pytest.mark.parametrize("room", [0, 2880, 5760])
def test_headers_with_their_sums(tmp_path, cards, room):
    pixels = np.arange(12, dtype=">f4").reshape(3, 4)
    header = fits.PrimaryHDU(pixels).header
    for number in range(cards):
        header[f"KEY{number}"] = number
    data = datasum(pixels.tobytes())
    content = header_with_sums(header, data, room)
    assert len(content) % 2880 == 0
    assert len(content) >= room
    assert content.rstrip().endswith(b" END")
    assert datasum(content, data) == MASK
    path = tmp_path / "a.fits"
    path.write_bytes(content + pixels.tobytes().ljust(padded(pixels.nbytes), b"\0"))
    with fits.open(path, checksum=True) as hdus:  # a wrong sum would warn
        np.testing.assert_array_equal(hdus[0].data, pixels)
        assert hdus[0].header["DATASUM"] == str(data)
        assert {*hdus[0].header} - {""} == {*header}
    again = header_with_sums(header, data, room)
    assert len(again) == len(content)


@pytest.mark.parametrize(("length", "blocks"), [(0, 0), (1, 1), (2879, 1), (2880, 1), (2881, 2)])
def test_units_are_whole_blocks(length, blocks):
    assert padded(length) == 2880 * blocks
