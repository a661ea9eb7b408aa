"""Tile-compressed images: what their cards and tables say, checked before anything is unpacked.

The decompressors that astropy has from cfitsio take these numbers as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from diffdecor.fits.raw_headers import BLOCK, RawHeader

BITPIX = (8, 16, 32, 64, -32, -64)
CODECS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1", "NOCOMPRESS")

_INT = 2**31 - 1
_MOST_AXES = 99
#: Pixels of a tile: cfitsio counts its bytes in 32 bits.
LARGEST_TILE = 1 << 28
#: Pixels for each byte of the data unit, padding included. What is constant takes least: tiles of
#: 16 rows in HCOMPRESS_1 some 5000 pixels a byte, all in one tile of PLIO_1 any number.
PIXELS_PER_BYTE = 1 << 16
#: Pixels that RICE_1 codes together; the standard has 16 and 32.
_LARGEST_BLOCK = 1024
#: Types of the numbers that columns of streams may have in the heap.
_STREAMS = {
    "COMPRESSED_DATA": set("BIJ"),
    "GZIP_COMPRESSED_DATA": set("BIJ"),
    "UNCOMPRESSED_DATA": set("BIJED"),
}
_DITHERED = ("SUBTRACTIVE_DITHER_1", "SUBTRACTIVE_DITHER_2")
_LARGEST_SEED = 10_000

_FORMAT = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])(.?)")
_BITS = {
    **dict.fromkeys("LBA", 8),
    "X": 1,
    "I": 16,
    **dict.fromkeys("JE", 32),
    **dict.fromkeys("KDCP", 64),
    **dict.fromkeys("MQ", 128),
}


class Column(NamedTuple):
    """A column of a table: its bytes in each row."""

    name: str
    first: int
    width: int
    #: Type of the numbers in the heap, of which the rows have the count and the place.
    heap: str = ""

    def pointers(self, rows: np.ndarray) -> np.ndarray:
        """Return counts and places ``(n, 2)`` of a column in the heap, of the bytes of its rows."""
        stored = np.ascontiguousarray(rows[:, self.first : self.first + self.width])
        return stored.view(f">i{self.width // 2}").astype(np.int64)

    @property
    def size(self) -> int:
        """Bytes of a number in the heap."""
        return _BITS.get(self.heap, 8) // 8 or 1


class Table(NamedTuple):
    """A binary table: how many rows of how many bytes, its columns, and where its heap begins."""

    rows: int
    width: int
    columns: list[Column]
    heap: int
    #: Bytes of the data unit.
    size: int


def table_columns(header: RawHeader, number: int) -> list[Column]:
    """Return the columns of a binary table; InputError if one has no name or form it may have."""
    columns: list[Column] = []
    first = 0
    for column in range(1, number + 1):
        match = _FORMAT.match(header.text(f"TFORM{column}"))
        if match is None:
            header.refuse(f"TFORM{column} is not the form of a column")
        name = header.value(f"TTYPE{column}")
        if name is not None and not name.startswith(b"'"):
            header.refuse(f"TTYPE{column} is not a text")
        count, kind, of_heap = int(match[1] or 1), match[2], match[3]
        width = -(-count * _BITS[kind] // 8)
        in_heap = kind in "PQ" and count == 1
        columns.append(
            Column(header.text(f"TTYPE{column}").upper(), first, width, of_heap if in_heap else "")
        )
        first += width
    return columns


def check_tiles(header: RawHeader, table: Table) -> None:
    """Refuse a tile-compressed image whose cards cannot be true; its table has been looked at."""
    codec = header.text("ZCMPTYPE")
    if codec not in CODECS:
        header.refuse(f"ZCMPTYPE is {codec!r}, not one of {', '.join(CODECS)}")
    header.one_of("ZBITPIX", BITPIX)
    axes = range(1, header.whole("ZNAXIS", 1, _MOST_AXES) + 1)
    lengths = [header.whole(f"ZNAXIS{axis}", 1, _INT) for axis in axes]
    tiles = tile_lengths(header, lengths)
    number = math.prod(-(-length // tile) for length, tile in zip(lengths, tiles, strict=True))
    if number != table.rows:
        header.refuse(f"its image has {number} tiles, its table NAXIS2 = {table.rows}")
    if tile_size(header) >= LARGEST_TILE:
        header.refuse(f"tiles of ZTILEn = {tiles} pixels are too large")
    stored = max(BLOCK, -(-table.size // BLOCK) * BLOCK)
    if math.prod(lengths) > PIXELS_PER_BYTE * stored:
        header.refuse(f"{table.size} bytes of data cannot hold an image of ZNAXISn = {lengths}")
    for column in table.columns:
        if column.heap not in _STREAMS.get(column.name, {column.heap}):
            header.refuse(f"its column {column.name} has no form that holds compressed tiles")
    names = {column.name for column in table.columns}
    if "COMPRESSED_DATA" not in names:
        header.refuse("has no column COMPRESSED_DATA")
    _check_settings(header)
    _check_quantisation(header, names)


def tile_lengths(header: RawHeader, lengths: list[int]) -> list[int]:
    """Return the sides of the tiles, in the order of the cards."""
    defaults = [lengths[0], *[1] * (len(lengths) - 1)]
    return [
        header.whole(f"ZTILE{axis}", 1, _INT, default=default)
        for axis, default in enumerate(defaults, 1)
    ]


def tile_size(header: RawHeader) -> int:
    """Return the number of pixels of the largest tile, of a header that has been checked."""
    axes = range(1, header.whole("ZNAXIS", 1, _MOST_AXES) + 1)
    lengths = [header.whole(f"ZNAXIS{axis}", 1, _INT) for axis in axes]
    return math.prod(map(min, lengths, tile_lengths(header, lengths)))


def _check_settings(header: RawHeader) -> None:
    """Check the parameters of the codec."""
    checks: dict[str, Callable[[str], object]] = {
        "BLOCKSIZE": lambda keyword: header.whole(keyword, 1, _LARGEST_BLOCK),
        "BYTEPIX": lambda keyword: header.one_of(keyword, (1, 2, 4)),
        "SMOOTH": lambda keyword: header.whole(keyword, 0, _INT),
        "SCALE": lambda keyword: _check_number(header, keyword),
    }
    number = 1
    while header.value(f"ZNAME{number}") is not None:
        name = header.text(f"ZNAME{number}").upper()
        if not name:
            header.refuse(f"ZNAME{number} is not a text")
        if name in checks or header.number(f"ZVAL{number}") is not None:
            checks.get(name, checks["SCALE"])(f"ZVAL{number}")
        number += 1


def _check_number(header: RawHeader, keyword: str) -> None:
    value = header.number(keyword)
    if value is None or abs(value) > _INT:
        header.refuse(f"{keyword} is not a number that can be used")


def _check_quantisation(header: RawHeader, columns: set[str]) -> None:
    """Check what makes floats out of the integers: a wrong seed reads beyond a table of numbers."""
    method = header.text("ZQUANTIZ", "NO_DITHER")
    if method not in {"NONE", "NO_DITHER", *_DITHERED}:
        header.refuse(f"ZQUANTIZ is {method!r}, not a known way to quantise")
    if method in _DITHERED:
        header.whole("ZDITHER0", 1, _LARGEST_SEED)
    if method == "NONE" and "ZSCALE" in columns:
        header.refuse("ZQUANTIZ is 'NONE', but there is a column ZSCALE")


def check_streams(header: RawHeader, table: Table, rows: np.ndarray) -> None:
    """Refuse a table whose streams are not in its heap, or share bytes; `rows` are its bytes."""
    length = table.size - table.heap
    total = 0
    for column in (column for column in table.columns if column.heap):
        counts, places = column.pointers(rows).T
        size = column.size
        wrong = (counts < 0) | (places < 0) | (counts > length // size) | (places > length)
        wrong |= (counts > 0) & (places + counts * size > length)
        if wrong.any():
            row = int(np.argmax(wrong)) + 1
            header.refuse(f"row {row} of its column {column.name} points beyond its data")
        total += int((counts * size).sum())
    if total > length:
        header.refuse("its compressed tiles overlap")
