"""Checksums of input files, by which a later run sees whether an input has changed."""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from weakref import finalize

import numpy as np
from astropy.io import fits

from diffdecor.errors import InputError
from diffdecor.fits.checksum import datasum
from diffdecor.fits.open import FITS_STARTS, Hdu, Hdus, check_file, file_of, one_line, open_fits
from diffdecor.fits.paths import split_extension
from diffdecor.fits.pixels import fill
from diffdecor.fits.reading import Reading

_CARD = 80
#: Bytes that are added up while they are in the processor's cache.
_CHUNK = 1 << 19
#: Chunks, at most, that are compared where the data do not affect the result.
_SAMPLES = 16
#: Cards without which the numbers of an image mean something else.
_SCALES = {b"BSCALE", b"BZERO", b"BLANK", b"ZSCALE", b"ZZERO", b"ZBLANK", b"PIXVALUE"}
_WITHOUT_MEANING = {
    *(b"", b"COMMENT", b"HISTORY", b"DATE"),
    *(b"CHECKSUM", b"DATASUM", b"ZHECKSUM", b"ZDATASUM"),
}


class _Unit(NamedTuple):
    """Bytes of a file that are to be added up, all of them or samples."""

    start: int
    length: int
    needed: bool = True

    def chunks(self, reading: Reading, descriptor: int) -> tuple[int, list[tuple[int, int]]]:
        """Return the sum of what was read for another reason, and the ranges that were not."""
        if not self.needed:
            step = max(1, -(-self.length // (_SAMPLES * _CHUNK))) * _CHUNK
            starts = range(0, self.length, step)
            return 0, [(start, min(start + _CHUNK, self.length)) for start in starts]
        rows = reading.sums(descriptor, self.start)
        return (0, [(0, self.length)]) if rows is None else rows.left(self.length)


class InputSum:
    """One number for the data of an input file, as it was opened; what is left is read when called.

    Of FITS files, gzipped or not, it is the DATASUM over the data of all HDUs. Of their headers,
    BSCALE, BZERO and BLANK count where they are there, or `all_cards` but those without meaning: a
    CRC-32 of those is added. Of any other file, it is the same sum over all its bytes.

    The pixels of the result do not depend on `unneeded` HDUs (0-based numbers): the DATASUM that
    their header states is taken for theirs; where it states none, of large ones only samples are
    read, 8 MB at most. What was read with `reading` is not opened or read again.
    """

    def __init__(
        self,
        path: str | Path,
        unneeded: Collection[int] = (),
        reading: Reading | None = None,
        *,
        all_cards: bool = False,
    ) -> None:
        self._path = path
        self._reading = reading or Reading()
        self._descriptor = -1
        self._known = 0
        self._units: list[_Unit] = []
        files = None if reading is None else reading.files
        file, _ = split_extension(path)
        check_file(file)
        try:
            if (files is not None and file in files) or _may_be_fits(file):
                with open_fits(file, files) as (hdus, _):
                    self._take(hdus, unneeded, all_cards=all_cards)
            else:
                with file.open("rb") as stream:
                    self._keep(stream)
                    self._units.append(_Unit(0, os.fstat(stream.fileno()).st_size))
        except OSError as error:
            raise self._unreadable(error) from error

    def __call__(self) -> int:
        """Return the sum, from 0 to 2**32 - 1."""
        total = self._known
        try:
            for unit in self._units:
                known, ranges = unit.chunks(self._reading, self._descriptor)
                total = datasum(b"", total + known)
                for start, stop in ranges:
                    total = self._added(total, unit.start + start, unit.start + stop)
        except OSError as error:
            raise self._unreadable(error) from error
        return total

    def _added(self, total: int, start: int, stop: int) -> int:
        """Add bytes of the file to a sum; what is missing at its end counts as 0."""
        chunk = np.empty(min(_CHUNK, stop - start), dtype=np.uint8)
        for place in range(start, stop, _CHUNK):
            wanted = min(_CHUNK, stop - place)
            count = fill(chunk[:wanted], self._descriptor, place)
            total = datasum(chunk[:count].data, total)
            if count < wanted:
                break
        return total

    def _take(self, hdus: Hdus, unneeded: Collection[int], *, all_cards: bool) -> None:
        """Note what counts of every HDU."""
        cards: list[bytes] = []
        for number, hdu in enumerate(hdus):
            stream, place = file_of(hdu), hdu.fileinfo()
            if stream is None:
                continue
            if self._descriptor < 0:
                self._keep(stream)
            length = place["datLoc"] - place["hdrLoc"]
            header = os.pread(self._descriptor, length, place["hdrLoc"])
            counted = _counted_cards(header, all_cards=all_cards)
            cards += (b"%d %s" % (number, card) for card in counted)
            needed = number not in unneeded
            stated = None if needed else _stated_sum(hdu)
            if stated is None:
                self._units.append(_Unit(place["datLoc"], place["datSpan"], needed))
            else:
                self._known = datasum(b"", self._known + stated)
        if cards:
            # Unlike a DATASUM, it tells cards that have changed places.
            self._known = datasum(b"", self._known + zlib.crc32(b"\n".join(cards)))

    def _keep(self, stream: BinaryIO) -> None:
        """Keep the file open, even if others close it."""
        self._descriptor = os.dup(stream.fileno())
        finalize(self, os.close, self._descriptor)

    def _unreadable(self, error: OSError) -> InputError:
        reason = one_line(error)
        return InputError(f"{self._path}: cannot be read ({reason}); check it or fetch it again")


def _may_be_fits(file: Path) -> bool:
    """Say how a file begins; one that is gzipped but not FITS is refused when it is read."""
    with file.open("rb") as stream:
        return stream.read(6).startswith(FITS_STARTS)


def _counted_cards(header: bytes, *, all_cards: bool) -> Iterator[bytes]:
    """Give the cards of a header that count, as they are in the file."""
    for place in range(0, len(header), _CARD):
        card = header[place : place + _CARD].rstrip()
        keyword = card[:8].rstrip()
        if keyword in _SCALES or (all_cards and keyword not in _WITHOUT_MEANING):
            yield card


def _stated_sum(hdu: Hdu) -> int | None:
    """Return the DATASUM that a header states, if it does."""
    text = str(hdu.header.get("DATASUM", "")).strip()
    if isinstance(hdu, fits.CompImageHDU) or not text.isdecimal() or int(text) >= 1 << 32:
        return None
    return int(text)
