"""What the planes of a job share while they are read: memory, and the sums of what was read."""

from __future__ import annotations

import os
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.fits.checksum import datasum

_FEW = 1 << 18
"""Bytes that take longer to be counted than to be read once more."""


class RowSums:
    """DATASUM over the rows of an image that were read, each counted once, whoever reads it.

    Where only a few are read at a time, for a sample, they do not count as read.

    Parameters
    ----------
    ny : int
        Number of rows.
    size : int
        Bytes of a row in the file, whole words of 32 bits.
    """

    def __init__(self, ny: int, size: int) -> None:
        self._size = size
        self._missing = np.ones(ny, dtype=bool)
        self._total = 0
        self._lock = Lock()

    def add(self, first: int, numbers: NDArray[Any]) -> None:
        """Count rows that were read.

        Parameters
        ----------
        first : int
            Number of the first of them.
        numbers : array (n, nx)
            What they hold, native byte order.
        """
        if numbers.nbytes < _FEW:
            return
        with self._lock:
            new = _runs(self._missing[first : first + len(numbers)])
            for start, stop in new:
                self._missing[first + start : first + stop] = False
        total = sum(datasum(numbers[start:stop]) for start, stop in new)
        with self._lock:
            self._total = datasum(b"", self._total + total)

    def left(self, length: int) -> tuple[int, list[tuple[int, int]]]:
        """Return what the sum is, and what it lacks.

        Parameters
        ----------
        length : int
            Bytes of the data unit: rows, and what comes after them.

        Returns
        -------
        int
            From 0 to 2**32 - 1.
        list of (int, int)
            First byte, from that of the unit, of what was not read, and one past the last.
        """
        with self._lock:
            rows = [(self._size * start, self._size * stop) for start, stop in _runs(self._missing)]
            return self._total, [*rows, (self._size * len(self._missing), length)]


class Reading:
    """Memory for unpacked planes, which are read more than once, and sums of those in files.

    Parameters
    ----------
    memory : int
        Bytes that there are.
    """

    def __init__(self, memory: int = 0) -> None:
        self._memory = memory
        self._sums: dict[tuple[int, int, int], RowSums] = {}
        self._lock = Lock()

    def take(self, size: int) -> bool:
        """Say whether there is this much memory left, and take it."""
        with self._lock:
            if size > self._memory:
                return False
            self._memory -= size
            return True

    def sums(self, descriptor: int, place: int, ny: int = 0, size: int = 0) -> RowSums | None:
        """Return the sums of an image.

        Parameters
        ----------
        descriptor : int
            Of its file.
        place : int
            Where it begins in there, bytes.
        ny, size : int, optional
            Number of rows and bytes of each, to begin if nobody has.

        Returns
        -------
        RowSums or None
            None if nobody has begun, or rows are not whole words.
        """
        file = os.fstat(descriptor)
        key = file.st_dev, file.st_ino, place
        with self._lock:
            if key not in self._sums and size and size % 4 == 0:
                self._sums[key] = RowSums(ny, size)
            return self._sums.get(key)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where runs of True begin and end."""
    if not flags.any():
        return []
    ends = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return [(int(start), int(stop)) for start, stop in ends.reshape(-1, 2)]
