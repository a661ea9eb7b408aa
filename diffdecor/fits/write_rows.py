"""A plane of the output file, written by bands of rows to its place in the file."""

from __future__ import annotations

import errno
import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.fits.checksum import datasum

_PIECE = 1 << 19
"""Bytes that are converted at a time: they stay in the processor's cache until they are written."""


def write_at(descriptor: int, data: bytes | memoryview | NDArray[Any], place: int) -> None:
    """Write bytes, or an array as it lies in memory, to a place in a file.

    Parameters
    ----------
    descriptor : int
        File descriptor.
    data : bytes, or array
        What to write.
    place : int
        Where it begins, bytes.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    if isinstance(data, np.ndarray):
        data = data.reshape(-1).view(np.uint8).data
    buffer = memoryview(data)
    while buffer:
        count = os.pwrite(descriptor, buffer, place)
        buffer, place = buffer[count:], place + count


class OutputPlane:
    """Pixels of an image HDU that are assigned by rows, in any order and from any thread.

    It can be read like every other plane: rows that were assigned, in native byte order.

    Parameters
    ----------
    descriptor : int
        File descriptor, open for reading and writing.
    offset : int
        Where the data unit begins, bytes.
    shape : tuple of int
        ``(ny, nx)``.
    dtype : {"float32", "float64", "int32"}
        Type of the pixels.
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

        Raises
        ------
        ValueError
            If the array has another shape.
        RuntimeError
            If a row was assigned before: the sum over the file would be wrong.
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
        pixels = np.empty(max(stop - start, 0) * self.shape[1], self.dtype)
        buffer = pixels.view(np.uint8).data
        place = self._place(start)
        while buffer:
            count = os.preadv(self._descriptor, [buffer], place)
            if not count:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            buffer, place = buffer[count:], place + count
        if not self._big_endian.isnative:  # along one axis numpy does that in place
            pixels[:] = pixels.view(self._big_endian)
        return pixels.reshape(-1, self.shape[1])

    def finished_sum(self) -> int:
        """Return the DATASUM of the complete plane.

        Raises
        ------
        RuntimeError
            If a row has not been assigned.
        """
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
        height = max(_PIECE // self._row_bytes, 1)
        on_disk = np.empty((min(height, len(values)), self.shape[1]), self._big_endian)
        total = 0
        for first in range(0, len(values), height):
            with np.errstate(over="ignore"):  # what is beyond float32 is as good as infinite
                piece = np.ascontiguousarray(values[first : first + height], self.dtype)
            total += datasum(piece)
            on_disk[: len(piece)] = piece
            write_at(self._descriptor, on_disk[: len(piece)], self._place(row + first))
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
