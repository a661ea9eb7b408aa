"""Sums of input files: whether they are as they were written, and have changed for a later run."""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple
from weakref import finalize

import numpy as np

from diffdecor import words
from diffdecor.errors import InputError
from diffdecor.fits.checksum import BLOCK, datasum
from diffdecor.fits.damage import reason_of
from diffdecor.fits.open import (
    FITS_STARTS,
    Hdus,
    OpenFiles,
    check_file,
    file_of,
    open_fits,
    state_of_file,
)
from diffdecor.fits.paths import split_extension
from diffdecor.fits.pixels import fill
from diffdecor.fits.reading import Reading
from diffdecor.fits.stated_sums import StatedSums, stated_sums
from diffdecor.fits.unpacking import changed_meanwhile, was_changed

logger = words.logger(__name__)

_CARD = 80
#: Bytes that are added up while they are in the processor's cache.
_CHUNK = 1 << 19
#: Chunks, at most, that are compared where the data do not affect the result.
_SAMPLES = 16
#: Bytes that are added up though nothing else reads them, where that is not needed for the result.
_SMALL = 1 << 24
#: Cards without which the numbers of an image mean something else.
_SCALES = {b"BSCALE", b"BZERO", b"BLANK", b"ZSCALE", b"ZZERO", b"ZBLANK", b"PIXVALUE"}
_WITHOUT_MEANING = {
    *(b"", b"COMMENT", b"HISTORY", b"DATE"),
    *(b"CHECKSUM", b"DATASUM", b"ZHECKSUM", b"ZDATASUM"),
}


class _Unit(NamedTuple):
    """Data of an HDU, or a whole file, that are to be added up, all of them or samples."""

    start: int
    length: int
    needed: bool = True
    #: 0-based number of the HDU and its name, for messages; what its header says of its sums.
    hdu: str = ""
    stated: StatedSums = StatedSums(None, None)

    def chunks(self, reading: Reading, descriptor: int) -> tuple[int, list[tuple[int, int]]]:
        """Return the sum of what was read for another reason, and the ranges that were not."""
        rows = reading.sums(descriptor, self.start)
        return (0, [(0, self.length)]) if rows is None else rows.left(self.length)

    def samples(self) -> list[tuple[int, int]]:
        """Return the ranges that stand for data that do not affect the result."""
        step = max(1, -(-self.length // (_SAMPLES * _CHUNK))) * _CHUNK
        starts = range(0, self.length, step)
        return [(start, min(start + _CHUNK, self.length)) for start in starts]


class InputSum:
    """One number for the data of an input file, as it was opened; what is left is read when called.

    Of FITS files, gzipped or not, it is the DATASUM over the data of all HDUs. Of their headers,
    BSCALE, BZERO and BLANK count where they are there, or `all_cards` but those without meaning: a
    CRC-32 of those is added. Of any other file, it is the same sum over all its bytes.

    The pixels of the result do not depend on `unneeded` HDUs (0-based numbers): the DATASUM that
    their header states is taken for theirs; where it states none, of large ones only samples are
    read, 8 MB at most. What was read with `reading` is not opened or read again.

    What was read anyway is compared with what headers state: an InputError if the data of an HDU do
    not add up to its DATASUM, or if the file was changed meanwhile, a warning where a CHECKSUM is
    stale.
    """

    def __init__(
        self,
        path: str | Path,
        unneeded: Collection[int] = (),
        reading: Reading | None = None,
        *,
        all_cards: bool = False,
        files: OpenFiles | None = None,
    ) -> None:
        self._path = path
        self._reading = reading or Reading()
        self._files = files if files is not None else self._reading.files
        self._descriptor = -1
        self._known = 0
        self._units: list[_Unit] = []
        shared = files is not None or reading is not None
        file, _ = split_extension(path)
        check_file(file)
        self._state = self._files.state(file)
        try:
            if file in self._files or _may_be_fits(file):
                with open_fits(file, self._files if shared else None) as (hdus, _):
                    self._state = state_of_file(hdus[0])
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
                if unit.needed:
                    of_unit = self._sum_of(unit)
                elif unit.stated.data is not None:
                    self._compare_if_read(unit, 0)
                    of_unit = unit.stated.data
                else:
                    of_unit = self._added(unit, unit.samples())
                total = datasum(b"", total + of_unit)
            self._check_unchanged()
        except OSError as error:
            raise self._unreadable(error) from error
        return total

    def check(self) -> None:
        """Compare what was read, at least half of it, and small data with what is stated."""
        try:
            for unit in self._units:
                self._compare_if_read(unit, max(unit.length // 2, _SMALL))
            self._check_unchanged()
        except OSError as error:
            raise self._unreadable(error) from error

    def _compare_if_read(self, unit: _Unit, most: int) -> None:
        """Compare the sum of data of which no more than some bytes are left to be read."""
        if unit.stated != StatedSums(None, None):
            _, ranges = unit.chunks(self._reading, self._descriptor)
            left = sum(stop - start for start, stop in ranges)
            if left < BLOCK or left <= most:
                self._sum_of(unit)

    def _sum_of(self, unit: _Unit) -> int:
        """Return the sum of the data of an HDU, compared with what its header states."""
        known, ranges = unit.chunks(self._reading, self._descriptor)
        total = datasum(b"", known + self._added(unit, ranges))
        if not unit.stated.is_right(total):
            problem = (
                f"the data of {unit.hdu} add up to {total}, not to its DATASUM, "
                f"{unit.stated.data}: they are damaged, or were changed by a tool that left the "
                "sum as it was"
            )
            if not self._files.ignore_checksums:
                msg = f"{self._path}: {problem}; fetch it again (--ignore-checksums goes on)"
                raise InputError(msg)
            self._warn(f"{problem}; used all the same (--ignore-checksums)")
        elif unit.stated.data is None and unit.stated.is_stale(total):
            self._warn_of_stale([unit.hdu])
        return total

    def _warn_of_stale(self, hdus: Sequence[str]) -> None:
        if hdus and not self._files.ignore_checksums:
            self._warn(
                f"the CHECKSUM of {', '.join(hdus)} is stale: cards were changed after it was "
                "written (--ignore-checksums says that it does not matter)"
            )

    def _warn(self, text: str) -> None:
        """Warn of the file, once however often it is opened."""
        message = f"{split_extension(self._path)[0]}: {text}"
        if message not in self._files.reported:
            self._files.reported.add(message)
            logger.warning("%s", message)

    def _check_unchanged(self) -> None:
        """Refuse a file that was changed after it was opened.

        Where only the time of its last change of any kind, which includes that of its name or its
        mode, is another, what was added up when it was read is read again.
        """
        if self._state is None:
            return
        now = os.fstat(self._descriptor)
        if was_changed(self._state, now):
            raise changed_meanwhile(self._path)
        if now.st_ctime_ns != self._state.st_ctime_ns:
            for unit in self._units:
                known, ranges = unit.chunks(self._reading, self._descriptor)
                read = datasum(b"", known + self._added(unit, ranges))
                if known and read != self._added(unit, [(0, unit.length)]):
                    raise changed_meanwhile(self._path)

    def _added(self, unit: _Unit, ranges: Iterable[tuple[int, int]]) -> int:
        """Add up ranges of bytes of a unit; what is missing at the end of the file counts as 0."""
        total = 0
        for first, last in ranges:
            chunk = np.empty(min(_CHUNK, last - first), dtype=np.uint8)
            for place in range(first, last, _CHUNK):
                wanted = min(_CHUNK, last - place)
                count = fill(chunk[:wanted], self._descriptor, unit.start + place)
                total = datasum(chunk[:count].data, total)
                if count < wanted:
                    break
        return total

    def _take(self, hdus: Hdus, unneeded: Collection[int], *, all_cards: bool) -> None:
        """Note what counts of every HDU."""
        cards: list[bytes] = []
        stale: list[str] = []
        for number, hdu in enumerate(hdus):
            stream = file_of(hdu)
            if stream is None:  # astropy gave its header up
                continue
            place = hdu.fileinfo()
            if self._descriptor < 0:
                self._keep(stream)
            length = place["datLoc"] - place["hdrLoc"]
            header = os.pread(self._descriptor, length, place["hdrLoc"])
            counted = _counted_cards(header, all_cards=all_cards)
            cards += (b"%d %s" % (number, card) for card in counted)
            stated, name = stated_sums(header), f"HDU {number} {hdu.name}".rstrip()
            if place["datSpan"] == 0:  # nothing can be damaged; cards of others are often copied
                stated = stated._replace(data=None)
            if stated.data is not None and stated.is_stale(stated.data):
                stale.append(name)
            needed = number not in unneeded
            unit = _Unit(place["datLoc"], place["datSpan"], needed, name, stated)
            self._units.append(unit)
        self._warn_of_stale(stale)
        if cards:
            # Unlike a DATASUM, it tells cards that have changed places.
            self._known = datasum(b"", self._known + zlib.crc32(b"\n".join(cards)))

    def _keep(self, stream: BinaryIO) -> None:
        """Keep the file open, even if others close it."""
        self._descriptor = os.dup(stream.fileno())
        finalize(self, os.close, self._descriptor)

    def _unreadable(self, error: OSError) -> InputError:
        reason = reason_of(error)
        return InputError(f"{self._path}: cannot be read ({reason}); check it or fetch it again")


def check_sums(
    paths: Iterable[str | Path | None], files: OpenFiles, reading: Reading | None = None
) -> None:
    """Compare what was read of open files, with `reading`, with the sums that headers state.

    InputError if data do not add up to them, or if a file was changed meanwhile.
    """
    for path in {split_extension(path)[0]: path for path in paths if path is not None}.values():
        InputSum(path, reading=reading, files=files).check()


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
