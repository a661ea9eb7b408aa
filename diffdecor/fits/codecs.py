"""Tiles unpacked without harm: astropy's decompressors, given no stream that they cannot bear.

They are those of cfitsio, which believe what a stream says of itself: they read and write beyond
its end. Here each stream is looked at first, and is given with as much behind it as may be read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import RLock
from typing import Any

import numpy as np
from astropy.io.fits.hdu.compressed import _tiled_compression as tiled
from astropy.io.fits.hdu.compressed._codecs import (
    PLIO1,
    Gzip1,
    Gzip2,
    HCompress1,
    Rice1,
    decompress_hcompress_1_c,
    decompress_plio_1_c,
    decompress_rice_1_c,
)
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_one_at_a_time = RLock()
#: Bits in which RICE_1 says how a block of pixels of so many bytes is coded.
_RICE_BITS = {1: 3, 2: 4, 4: 5}
#: Bytes that any decompressor may read of a pixel, and at the end of a stream.
_READ_PER_PIXEL = 6
_READ_MORE = 64
_HCOMPRESS_START = 25
_MOST_BIT_PLANES = 63


@contextmanager
def careful_codecs(pixels: int) -> Iterator[None]:
    """Let astropy unpack tiles of at most so many pixels with the codecs of this module.

    ValueError, or EOFError, if a stream is damaged.
    """
    largest = 8 * pixels
    codecs = {
        "GZIP_1": type("Gzip1OfTile", (CarefulGzip1,), {"largest": largest}),
        "GZIP_2": type("Gzip2OfTile", (CarefulGzip2,), {"largest": largest}),
        "RICE_1": CarefulRice1,
        "RICE_ONE": CarefulRice1,
        "HCOMPRESS_1": CarefulHCompress1,
        "PLIO_1": CarefulPlio1,
    }
    with _one_at_a_time:
        known = tiled.ALGORITHMS
        tiled.ALGORITHMS = {**known, **codecs}
        try:
            yield
        finally:
            tiled.ALGORITHMS = known


class CarefulGzip1(Gzip1):  # type: ignore[misc]
    """GZIP_1, which unpacks to no more than `largest` bytes."""

    largest: int

    def decode(self, buf: Any) -> Bytes:  # noqa: ANN401
        """Unpack a tile."""
        return _inflated(buf, self.largest)


class CarefulGzip2(Gzip2):  # type: ignore[misc]
    """GZIP_2, which unpacks to no more than `largest` bytes."""

    largest: int

    def decode(self, buf: Any) -> Bytes:  # noqa: ANN401
        """Unpack a tile, and put the bytes of its pixels together."""
        return _inflated(buf, self.largest).reshape((self.itemsize, -1)).T.ravel()


class CarefulRice1(Rice1):  # type: ignore[misc]
    """RICE_1, whose streams are as long as they must be at least."""

    def decode(self, buf: Any) -> NDArray[Any]:  # noqa: ANN401
        """Unpack a tile."""
        if self.bytepix not in _RICE_BITS or self.blocksize < 1:
            msg = f"pixels of {self.bytepix} bytes in blocks of {self.blocksize}"
            raise ValueError(msg)
        stream = _bytes(buf)
        blocks = -(-self.tilesize // self.blocksize)
        shortest = self.bytepix + -(-blocks * _RICE_BITS[self.bytepix] // 8)
        if stream.size < shortest:
            msg = f"{stream.size} bytes cannot hold a tile of {self.tilesize} pixels"
            raise EOFError(msg)
        # It looks for the end after each block; ones are read as few bytes.
        given = padded_with_ones(
            stream, stream.size + _READ_PER_PIXEL * self.blocksize + _READ_MORE
        )
        unpacked = decompress_rice_1_c(
            given[: stream.size], self.blocksize, self.bytepix, self.tilesize
        )
        return np.frombuffer(unpacked, dtype=f"i{self.bytepix}")


class CarefulHCompress1(HCompress1):  # type: ignore[misc]
    """HCOMPRESS_1, whose streams are of the size of the tile."""

    def decode(self, buf: Any) -> NDArray[np.int32]:  # noqa: ANN401
        """Unpack a tile."""
        stream = _bytes(buf)
        if stream.size <= _HCOMPRESS_START or stream[:2].tobytes() != b"\xdd\x99":
            msg = "a tile is not of HCOMPRESS_1"
            raise ValueError(msg)
        nx, ny = (int(number) for number in stream[2:10].view(">i4"))
        if (nx, ny) != (self.nx, self.ny):
            msg = f"a tile says that it is {nx} x {ny} pixels, but is {self.nx} x {self.ny}"
            raise ValueError(msg)
        planes = stream[22:25].tolist()
        if min(nx, ny) < 2 or max(planes) > _MOST_BIT_PLANES:
            msg = f"a tile of {nx} x {ny} pixels has {planes} planes of bits"
            raise ValueError(msg)
        # Ones, which are not a valid end: a stream that is too short is noticed.
        given = padded_with_ones(
            stream, _HCOMPRESS_START + _bits_read(nx, ny, *planes) // 8 + _READ_MORE
        )
        unpacked = decompress_hcompress_1_c(
            given, self.nx, self.ny, self.scale, self.smooth, self.bytepix
        )
        return np.frombuffer(unpacked, dtype="i4")


class CarefulPlio1(PLIO1):  # type: ignore[misc]
    """PLIO_1, whose lists lie in their streams."""

    def decode(self, buf: Any) -> NDArray[np.int32]:  # noqa: ANN401
        """Unpack a tile."""
        stream = _bytes(buf)
        words = stream[: stream.size // 2 * 2].view("i2").tolist()
        old = len(words) >= 3 and words[2] > 0
        first, length = 4, 0
        if old:
            length = words[2]
        elif len(words) >= 5:
            first, length = words[1] + 1, (words[4] << 15) + words[3]
        if not 0 < first - 1 <= length <= len(words):
            msg = f"a list of {length} words from {first} on is not in the {len(words)} of a tile"
            raise ValueError(msg)
        given = padded_with_ones(stream, stream.size + _READ_MORE)
        return np.frombuffer(decompress_plio_1_c(given, self.tilesize), dtype="i4")


def _bytes(buf: Any) -> Bytes:  # noqa: ANN401
    """Return a stream as bytes, its numbers in native byte order."""
    numbers = np.asarray(buf)
    return np.frombuffer(numbers.astype(numbers.dtype.newbyteorder("="), copy=False), np.uint8)


def padded_with_ones(stream: Bytes, size: int) -> Bytes:
    """Return a stream with ones behind it up to a size."""
    padded = np.full(max(size, stream.size + 8), 0xFF, np.uint8)
    padded[: stream.size] = stream
    return padded


def _inflated(buf: Any, largest: int) -> Bytes:  # noqa: ANN401
    """Unpack what is gzipped; ValueError if that is more than so many bytes."""
    packed = np.frombuffer(buf, dtype=np.uint8).tobytes()
    parts, size = [], 0
    while packed:
        stream = zlib.decompressobj(wbits=31)
        parts.append(stream.decompress(packed, largest - size + 1))
        size += len(parts[-1])
        if size > largest:
            msg = f"a tile unpacks to more than {largest} bytes"
            raise ValueError(msg)
        if not stream.eof:
            msg = "a tile ends too early"
            raise EOFError(msg)
        packed = stream.unused_data.lstrip(b"\0")
    return np.frombuffer(b"".join(parts), dtype=np.uint8)


@lru_cache(maxsize=64)
def _bits_read(nx: int, ny: int, first: int, second: int, third: int) -> int:
    """Return the bits that HCOMPRESS_1 reads of a tile at most, after its start."""
    halves = [(n + 1) // 2 for n in (nx, ny)], [n // 2 for n in (nx, ny)]
    (nx2, ny2), (nx1, ny1) = halves
    quadrants = ((nx2, ny2, first), (nx2, ny1, second), (nx1, ny2, second), (nx1, ny1, third))
    return nx * ny + 8 + sum(planes * _bits_of_plane(x, y) for x, y, planes in quadrants)


def _bits_of_plane(nx: int, ny: int) -> int:
    """Return the bits of a plane of bits: nybbles, or a tree of codes of six bits at most."""
    bits = 8
    while nx > 1 or ny > 1:
        nx, ny = (nx + 1) // 2, (ny + 1) // 2
        bits += 6 * nx * ny
    return bits + 6
