"""The output file while it is written: planes row by row, then headers and small HDUs."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.fits.checksum import BLOCK, datasum, header_with_sums, padded
from diffdecor.fits.open import Hdu, Header
from diffdecor.fits.pixels import numbers_at

#: Bytes of a chunk: it stays in the processor's cache from its conversion until it is written.
_CHUNK = 1 << 19
#: Bits of a mask in one HDU: all but the sign.
_BITS = 31
_CANNOT_RESERVE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
_LENIENT = "silentfix+ignore"
#: Cards that every header may get in the end: LONGSTRN, CHECKSUM, DATASUM, END.
_OWN_CARDS = 4


def write_at(descriptor: int, data: bytes | memoryview | NDArray[Any], place: int) -> None:
    """Write bytes, or an array as it lies in memory, to a place in a file (bytes)."""
    if isinstance(data, np.ndarray):
        data = data.reshape(-1).view(np.uint8).data
    buffer = memoryview(data)
    while buffer:
        count = os.pwrite(descriptor, buffer, place)
        buffer, place = buffer[count:], place + count


class OutputPlane:
    """Pixels ``(ny, nx)`` of an image HDU, assigned by rows, in any order and from any thread.

    It can be read like every other plane: rows that were assigned, in native byte order. The file
    descriptor must be open for both; `offset` is where the data unit begins, bytes; the type is
    float32, float64 or int32.
    """

    def __init__(self, descriptor: int, offset: int, shape: tuple[int, int], dtype: str) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._big_endian = self.dtype.newbyteorder(">")
        self._descriptor = descriptor
        self._offset = offset
        self._row_bytes = shape[1] * self.dtype.itemsize
        self._lock = threading.Lock()
        self._sum = 0
        self._assigned = np.zeros(shape[0], dtype=np.bool_)

    def __setitem__(self, rows: slice, values: NDArray[Any]) -> None:
        """Write the rows ``rows`` (step 1), an array ``(n, nx)``; every row just once.

        RuntimeError if a row was assigned before: the sum over the file would be wrong.
        """
        start, stop, _ = rows.indices(self.shape[0])
        expected = (max(stop - start, 0), self.shape[1])
        if values.shape != expected:
            msg = f"rows {start} to {stop} have shape {expected}, not {values.shape}"
            raise ValueError(msg)
        if not values.size:
            return
        self._take(slice(start, stop))
        total = self._convert(values, start)
        with self._lock:
            self._sum += total
        self._start_storing(start, stop)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return rows that were assigned, an array ``(n, nx)`` in native byte order."""
        start, stop, _ = rows.indices(self.shape[0])
        shape = max(stop - start, 0), self.shape[1]
        try:
            return numbers_at(self._descriptor, self._place(start), shape, self._big_endian)
        except EOFError:
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from None

    def finished_sum(self) -> int:
        """Return the DATASUM of the complete plane; RuntimeError if a row is missing."""
        missing = np.flatnonzero(~self._assigned)
        if missing.size:
            msg = f"{missing.size} rows of the output are missing, the first is {missing[0]}"
            raise RuntimeError(msg)
        return datasum(b"", self._sum)

    def _take(self, rows: slice) -> None:
        with self._lock:
            if self._assigned[rows].any():
                msg = f"rows {rows.start} to {rows.stop} of the output are assigned twice"
                raise RuntimeError(msg)
            self._assigned[rows] = True

    def _convert(self, values: NDArray[Any], row: int) -> int:
        """Write values from a row on; return their sum."""
        height = max(_CHUNK // self._row_bytes, 1)
        on_disk = np.empty((min(height, len(values)), self.shape[1]), self._big_endian)
        total = 0
        for first in range(0, len(values), height):
            with np.errstate(over="ignore"):  # what is beyond float32 is as good as infinite
                chunk = np.ascontiguousarray(values[first : first + height], self.dtype)
            total += datasum(chunk)
            on_disk[: len(chunk)] = chunk
            write_at(self._descriptor, on_disk[: len(chunk)], self._place(row + first))
        return total

    def _start_storing(self, start: int, stop: int) -> None:
        """Let the disk begin now, while we compute, and not only when the file is complete.

        That is what Linux makes of this advice where pages are still to be stored.
        """
        if hasattr(os, "posix_fadvise"):
            begin, length = self._place(start), (stop - start) * self._row_bytes
            os.posix_fadvise(self._descriptor, begin, length, os.POSIX_FADV_DONTNEED)

    def _place(self, row: int) -> int:
        return self._offset + row * self._row_bytes


class SplitMask:
    """A mask whose first planes are in one image and the others, from a bit on, in another."""

    def __init__(self, low: OutputPlane, high: OutputPlane, bits: int) -> None:
        self.shape = low.shape
        self.dtype = np.dtype(np.int64)
        self._parts = low, high
        self._bits = bits

    def __setitem__(self, rows: slice, values: NDArray[Any]) -> None:
        """Write the rows ``rows``, an array ``(n, nx)`` of int64; every row just once."""
        low, high = self._parts
        low[rows] = (values & ((1 << self._bits) - 1)).astype(low.dtype)
        high[rows] = (values >> self._bits).astype(high.dtype)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return rows that were assigned, an array ``(n, nx)`` of int64."""
        low, high = (part[rows].astype(np.int64) for part in self._parts)
        return low | (high << self._bits)


class _Extension(NamedTuple):
    """A plane, its header, and where in the file that is."""

    header: Header
    place: int
    plane: OutputPlane


class ResultFile:
    """An output file to be filled: planes are assigned by rows, cards and HDUs are added.

    The file is empty, open for reading and writing. Of `planes`, image HDUs of which one is called
    IMAGE, only header, shape and type count. Space for them is reserved at once, so that a full
    disk is noticed before the work. `cards` are for the `primary` header, unless others are set;
    `cards_room` is the number of cards that may be added later.
    """

    def __init__(
        self,
        descriptor: int,
        primary: Header,
        planes: Sequence[Hdu],
        *,
        cards: Header = None,
        cards_room: int = 0,
    ) -> None:
        self._descriptor = descriptor
        self._primary = primary
        self._cards = cards
        self._further: Iterable[Hdu] = ()
        known = len(_extended(primary, cards).header.tostring(endcard=False, padding=False))
        self._room = padded(known + 80 * (cards_room + _OWN_CARDS))
        self._extensions, self._end = _laid_out(descriptor, planes, self._room)
        _reserve(descriptor, self._end)
        by_name = {one.header["EXTNAME"]: one.plane for one in self._extensions}
        self.image = by_name["IMAGE"]
        masks = [one.plane for one in self._extensions if one.header["EXTNAME"] == "MASK"]
        self.mask: OutputPlane | SplitMask | None = by_name.get("MASK")
        if len(masks) > 1:
            self.mask = SplitMask(masks[0], masks[1], _BITS)
        self.variance = by_name.get("VARIANCE")
        self.significance = by_name.get("SIGNIF")
        self.flux_error = by_name.get("FLUXERR")
        self.noise_realisation = by_name.get("NOISEREAL")

    def set_cards(self, cards: Header) -> None:
        """Set the cards for the primary header; they replace those of the same keyword."""
        self._cards = cards

    def append(self, hdus: Iterable[Hdu]) -> None:
        """Add HDUs to the end of the file; they may be made as they are written."""
        self._further = chain(self._further, hdus)

    def finish(self, *hdus: Hdu) -> None:
        """Write headers, checksums, the HDUs given, and those that were appended.

        RuntimeError if rows are missing, or there are more cards than there is room for.
        """
        for header, place, plane in self._extensions:
            write_at(self._descriptor, header_with_sums(header, plane.finished_sum()), place)
        end = self._end
        for hdu in chain(hdus, self._further):
            content = hdu_bytes(hdu)
            write_at(self._descriptor, content, end)
            end += len(content)
        primary = mended(_extended(self._primary, self._cards)).header
        blocks = header_with_sums(primary, 0, self._room)
        if len(blocks) != self._room:
            msg = f"the primary header has {len(blocks)} bytes, and room for {self._room}"
            raise RuntimeError(msg)
        write_at(self._descriptor, blocks, 0)


def _laid_out(descriptor: int, hdus: Sequence[Hdu], place: int) -> tuple[list[_Extension], int]:
    """Return the planes in their order in the file, and where the last one ends."""
    extensions = []
    for hdu in hdus:
        header = mended(hdu).header
        data = place + len(header_with_sums(header, 0))
        native = hdu.data.dtype.newbyteorder("=").name
        plane = OutputPlane(descriptor, data, hdu.shape, native)
        extensions.append(_Extension(header, place, plane))
        place = data + padded(hdu.size)
    return extensions, place


def _reserve(descriptor: int, size: int) -> None:
    """Extend the file to its size, filled with zeros, and reserve the space if possible."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise
    os.ftruncate(descriptor, size)


def _extended(primary: Header, cards: Header) -> Hdu:
    """Return a primary HDU with further cards."""
    hdu = fits.PrimaryHDU(header=primary)
    hdu.header.set("EXTEND", True, after="NAXIS")
    if cards is not None:
        hdu.header.extend(cards, update=True)
    return hdu


def mended(hdu: Hdu) -> Hdu:
    """Correct what the standard does not allow in a header; say if strings are continued."""
    if any(len(str(card)) > 80 for card in hdu.header.cards):
        hdu.header["LONGSTRN"] = ("OGIP 1.0", "long texts are continued over several cards")
    hdu.verify(_LENIENT)
    return hdu


def hdu_bytes(hdu: Hdu) -> memoryview:
    """Return an HDU as it is in a file, with its checksums."""
    file = io.BytesIO()
    # Astropy writes an extension only after a primary HDU, which is one block here.
    hdus = fits.HDUList([fits.PrimaryHDU(), mended(hdu)])
    hdus.writeto(file, checksum=True, output_verify=_LENIENT)
    return file.getbuffer()[BLOCK:]
