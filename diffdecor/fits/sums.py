"""Checksums of input files, by which a later run sees whether an input has changed."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO
from weakref import finalize

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.errors import InputError
from diffdecor.fits.checksum import datasum
from diffdecor.fitsfile import Hdu, check_file, file_of, one_line, open_fits
from diffdecor.paths import split_extension
from diffdecor.unpack import GZIP_MAGIC

_FITS = b"SIMPLE"
_PIECE = 1 << 19  # bytes that are added up while they are in the processor's cache


class InputSum:
    """One number for the data of an input file, which is opened now and read when it is called.

    Of FITS files, gzipped or not, it is the DATASUM over the data of all HDUs: a changed header
    leaves it as it was. Of any other file, the same sum over all its bytes.

    Parameters
    ----------
    path : str or Path
        The file; an extension in brackets is left out.
    stated : collection of int
        0-based numbers of HDUs that the result does not depend on. Where their header states a
        DATASUM they are not read: that is taken for theirs.

    Raises
    ------
    InputError
        If the file cannot be read.
    """

    def __init__(self, path: str | Path, stated: Collection[int] = ()) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._cancelled = False
        self._known = 0
        self._units: list[tuple[int, int]] = []
        file, _ = split_extension(path)
        check_file(file)
        try:
            with file.open("rb") as stream:
                # A gzipped file that is not FITS is refused by whoever reads it.
                if stream.read(len(_FITS)).startswith((_FITS, GZIP_MAGIC)):
                    self._open_fits(file, stated)
                else:
                    self._open(stream)
                    self._units.append((0, os.fstat(stream.fileno()).st_size))
        except OSError as error:
            raise self._unreadable(error) from error

    def __call__(self) -> int:
        """Add up what has to be read.

        Returns
        -------
        int
            From 0 to 2**32 - 1.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        total = self._known
        try:
            for start, length in self._units:
                total = self._added(total, start, length)
        except OSError as error:
            raise self._unreadable(error) from error
        return total

    def cancel(self) -> None:
        """Let whoever is adding up stop soon: the sum is not wanted any more, and will be wrong."""
        self._cancelled = True

    def _added(self, total: int, start: int, length: int) -> int:
        """Add a unit to a sum; what is missing at the end of the file counts as 0."""
        piece = np.empty(min(_PIECE, length), dtype=np.uint8)
        for place in range(start, start + length, _PIECE):
            wanted = min(_PIECE, start + length - place)
            count = _read(piece[:wanted], self._descriptor, place)  # type: ignore[arg-type]
            total = datasum(piece[:count].data, total)
            if count < wanted or self._cancelled:
                break
        return total

    def _open_fits(self, file: Path, stated: Collection[int]) -> None:
        with open_fits(file) as (hdus, _):
            for number, hdu in enumerate(hdus):
                stream, place = file_of(hdu), hdu.fileinfo()
                if stream is None:
                    continue
                if self._descriptor is None:
                    self._open(stream)
                word = _stated_sum(hdu) if number in stated else None
                if word is None:
                    self._units.append((place["datLoc"], place["datSpan"]))
                else:
                    self._known = datasum(word.to_bytes(4, "big"), self._known)

    def _open(self, stream: BinaryIO) -> None:
        """Keep the file open, whoever closes it."""
        self._descriptor = os.dup(stream.fileno())
        finalize(self, os.close, self._descriptor)

    def _unreadable(self, error: OSError) -> InputError:
        reason = one_line(error)
        return InputError(f"{self._path}: cannot be read ({reason}); check it or fetch it again")


def _stated_sum(hdu: Hdu) -> int | None:
    """Return the DATASUM that a header states, if it does."""
    text = str(hdu.header.get("DATASUM", "")).strip()
    if isinstance(hdu, fits.CompImageHDU) or not text.isdecimal() or int(text) >= 1 << 32:
        return None
    return int(text)


def _read(piece: NDArray[np.uint8], descriptor: int, place: int) -> int:
    """Fill an array from a file, and return how far that went."""
    done = 0
    while done < piece.size and (count := os.preadv(descriptor, [piece[done:].data], place + done)):
        done += count
    return done
