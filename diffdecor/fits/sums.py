"""Checksums of input files, by which a later run sees whether an input has changed."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from diffdecor.errors import InputError
from diffdecor.fitsfile import GZIP_MAGIC, UNREADABLE, check_file, one_line, tolerant
from diffdecor.paths import split_extension

_PIECE = 1 << 20


def datasum(data: bytes | memoryview, start: int = 0) -> int:
    """Return the sum of big-endian 32-bit words in ones' complement, FITS's DATASUM.

    Parameters
    ----------
    data : bytes
        Zeros stand for what is missing of the last word.
    start : int
        Sum of what comes before, a whole number of words.

    Returns
    -------
    int
        From 0 to 2**32 - 1.
    """
    rest = len(data) % 4
    words = np.frombuffer(data[: len(data) - rest], dtype=">u4")
    total = start + int(words.sum(dtype=np.uint64))
    if rest:
        total += int.from_bytes(bytes(data[-rest:]).ljust(4, b"\0"), "big")
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def input_sum(path: str | Path) -> int:
    """Return one number for the data of an input file.

    Parameters
    ----------
    path : str or Path
        The file; an extension in brackets is left out.

    Returns
    -------
    int
        Of FITS files, gzipped or not, the DATASUM over the data of all HDUs: a changed header
        leaves it as it was. Of any other file, the same sum over all its bytes.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    file, _ = split_extension(path)
    check_file(file)
    try:
        with _opened(file) as stream:
            total = 0
            for piece in _data(stream, file):
                total = datasum(piece, total)
            return total
    except UNREADABLE as error:
        msg = f"{path}: cannot be read ({one_line(error)}); check it or fetch it again"
        raise InputError(msg) from error


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP_MAGIC
    return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]


def _data(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    """Give the data units of a FITS file piece by piece, or all of another file."""
    if stream.read(6) != b"SIMPLE":
        stream.seek(0)
        while piece := stream.read(_PIECE):
            yield piece
        return
    for start, length in _units(path):
        stream.seek(start)
        left = length
        while left > 0 and (piece := stream.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece


def _units(path: Path) -> list[tuple[int, int]]:
    """Return where the data units of a FITS file are, and how long with their padding."""
    with (
        tolerant(path),
        fits.open(path, memmap=False, disable_image_compression=True) as hdus,
    ):
        found = [hdu.fileinfo() for hdu in hdus]
    return [(info["datLoc"], info["datSpan"]) for info in found]
