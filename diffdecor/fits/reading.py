"""What the planes of a job share while they are read: files, memory, the sums of what was read."""

from __future__ import annotations

import os
from contextlib import ExitStack
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.fits.checksum import datasum
from diffdecor.fits.open import OpenFiles

#: Bytes that take longer to be counted than to be read once more.
_FEW = 1 << 18


class RowSums:
    """DATASUM over the rows of an image that were read, each counted once.

    Where only a few are read at a time, for a sample, they do not count as read. The image has `ny`
    rows of `size` bytes in the file, whole words of 32 bits.
    """

    def __init__(self, ny: int, size: int) -> None:
        self._size = size
        self._missing = np.ones(ny, dtype=bool)
        self._total = 0
        self._lock = Lock()

    def add(self, first: int, numbers: NDArray[Any]) -> None:
        """Count rows ``(n, nx)`` from number `first` on, in native byte order."""
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
        """Return the sum of what was read, and the ranges of bytes ``[start, stop)`` that were not.

        They count from the start of the data unit, whose `length` includes what follows the rows.
        """
        with self._lock:
            rows = [(self._size * start, self._size * stop) for start, stop in _runs(self._missing)]
            return self._total, [*rows, (self._size * len(self._missing), length)]


class Reading(ExitStack):
    """What is shared: open files, memory for unpacked planes, sums of what was read of each image.

    The files are open until the block ends; planes keep what they need of them.
    """

    def __init__(self, memory: int = 0, *, ignore_checksums: bool = False) -> None:
        super().__init__()
        self.files = self.enter_context(OpenFiles(ignore_checksums=ignore_checksums))
        self._memory = memory
        self._sums: dict[tuple[int, int, int], RowSums] = {}
        self._lock = Lock()

    def take(self, size: int) -> bool:
        """Take bytes of memory; False if there are not that many left."""
        with self._lock:
            if size > self._memory:
                return False
            self._memory -= size
            return True

    def sums(self, descriptor: int, place: int, ny: int = 0, size: int = 0) -> RowSums | None:
        """Return the sums of the image that begins at byte `place` of an open file.

        If there are none yet, they are begun for rows of `size` bytes, whole words.
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
