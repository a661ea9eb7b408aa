"""Checksums of FITS: DATASUM of data, CHECKSUM of a whole HDU (FITS 4.0, appendix J)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.fits.open import Header

#: Bytes; every header and every data unit is a number of whole blocks.
BLOCK = 2880
_MASK = 0xFFFFFFFF
#: Words of a chunk: what is added up twice stays in the processor's cache.
_WORDS = 1 << 17


def datasum(data: bytes | memoryview | NDArray[Any], start: int = 0) -> int:
    """Return the sum of big-endian 32-bit words in ones' complement, FITS's DATASUM.

    Zeros stand for what is missing of the last word; an array counts as FITS stores it, big-endian.
    `start` is the sum of what comes before, whole words. The order of the words has no influence.
    """
    if isinstance(data, np.ndarray):
        if data.dtype.isnative and data.dtype.itemsize in {4, 8}:
            words = np.ascontiguousarray(data).reshape(-1).view(np.uint32)
            return _folded(start + int(words.sum(dtype=np.uint64)))
        on_disk = np.ascontiguousarray(data, data.dtype.newbyteorder(">"))
        data = on_disk.reshape(-1).view(np.uint8).data
    buffer = memoryview(data).cast("B")
    whole = len(buffer) - len(buffer) % 4
    total = start + int.from_bytes(bytes(buffer[whole:]).ljust(4, b"\0"), "big")
    words = np.frombuffer(buffer[:whole], dtype=">u4")
    native = np.empty(min(len(words), _WORDS), dtype=np.uint32)
    for first in range(0, len(words), _WORDS):
        chunk = words[first : first + _WORDS]
        native[: len(chunk)] = chunk
        total += int(native[: len(chunk)].sum(dtype=np.uint64))
    return _folded(total)


def ascii_checksum(total: int) -> str:
    """Return the 16 characters of a CHECKSUM card that bring the sum of an HDU to -0.

    `total` is the sum over the HDU, as of `datasum`, with 16 zeros ``"0"`` for the value.
    """
    columns = [_ascii_byte(byte) for byte in (total ^ _MASK).to_bytes(4, "big")]
    text = "".join(column[row] for row in range(4) for column in columns)
    return text[-1] + text[:-1]  # the value begins one byte after a word


def header_with_sums(header: Header, data: int, size: int = 0) -> bytes:
    """Return the blocks of a header, with cards for the sums over data and over the whole HDU.

    The header gets these cards, too. `data` is the sum over the data unit. Blank cards fill the
    header up to `size` bytes, whole blocks; it may need more.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    header["DATASUM"] = (str(data), f"data unit checksum updated {now}")
    header.set("CHECKSUM", "0" * 16, f"HDU checksum updated {now}", before="DATASUM")
    header["CHECKSUM"] = ascii_checksum(datasum(_blocks(header, size), data))
    return _blocks(header, size)


def _blocks(header: Header, size: int) -> bytes:
    cards: str = header.tostring(endcard=False, padding=False)
    cards = cards.ljust(size - BLOCK) + "END".ljust(80)
    return cards.ljust(padded(len(cards))).encode("ascii")


def padded(length: int) -> int:
    """Return the length of a unit of a FITS file with this many bytes in it."""
    return -(-length // BLOCK) * BLOCK


def _folded(total: int) -> int:
    """Return a sum with its carries added to its end."""
    while total >> 32:
        total = (total & _MASK) + (total >> 32)
    return total


def _ascii_byte(byte: int) -> str:
    """Return four letters or digits whose sum, less that of four ``"0"``, is a byte."""
    quotient, remainder = divmod(byte, 4)
    codes = [ord("0") + quotient + remainder, *[ord("0") + quotient] * 3]
    for first in (0, 2):
        while not all(chr(code).isalnum() for code in codes[first : first + 2]):
            codes[first] += 1
            codes[first + 1] -= 1
    return "".join(map(chr, codes))
