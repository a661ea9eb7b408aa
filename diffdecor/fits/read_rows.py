"""Planes that stay in their file: rows are read when they are wanted.

Rows of an uncompressed image are read at the place that astropy gives for its data, past astropy;
the file is not mapped to memory, where its pages would count as ours. Compressed rows are unpacked
by astropy.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from threading import Lock
from typing import Any, BinaryIO
from weakref import finalize

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.core.planes import LazyPlane, Plane
from diffdecor.errors import InputError
from diffdecor.fits.open import (
    Hdu,
    Hdus,
    constant_value,
    damaged_pixels,
    file_of,
    identity_of_file,
    image_shape,
    open_fits,
    stored_numbers,
    unpacking,
)
from diffdecor.fits.pixels import Scaling, numbers_at, scaling_of
from diffdecor.fits.reading import Reading

#: Types of pixels by BITPIX.
TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}

#: Rows of a compressed plane that are unpacked together where they can be kept.
_ROWS = 512
#: Astropy is not made for several threads.
_one_at_a_time = Lock()


def stored_pixels(hdu: Hdu, name: object, reading: Reading | None = None) -> LazyPlane:
    """Return the pixels of an image HDU, float32 or float64, as a plane that is read row by row.

    The HDU has two axes, and is of a file opened with `open_fits`, which need not stay open: `name`
    is the file, to open it again. InputError if BSCALE or BZERO is not a number; later, if rows
    cannot be read.
    """
    constant = constant_value(hdu, name)
    if constant is not None:
        return _constant(np.float32(constant), _shape(hdu))
    scaling = scaling_of(hdu.header, name)
    stored = _stored(hdu, name, reading)
    return LazyPlane(_shape(hdu), lambda rows: scaling.pixels(stored[rows]))


def stored_integers(hdu: Hdu, name: object, reading: Reading | None = None) -> LazyPlane:
    """Return the integers of a mask, of any type, as `stored_pixels` returns pixels."""
    constant = constant_value(hdu, name)
    if constant is not None:
        values = np.array([constant], np.int64 if isinstance(constant, int) else np.float64)
        return _constant(Scaling().integers(values, name)[0], _shape(hdu))
    scaling = scaling_of(hdu.header, name)
    stored = _stored(hdu, name, reading)
    return LazyPlane(_shape(hdu), lambda rows: scaling.integers(stored[rows], name))


def _constant(value: Any, shape: tuple[int, int]) -> LazyPlane:  # noqa: ANN401  any numpy number
    """Return a plane of one value."""
    ny, nx = shape

    def rows_of(rows: slice) -> NDArray[Any]:
        first, last, _ = rows.indices(ny)
        return np.full((max(last - first, 0), nx), value)

    return LazyPlane(shape, rows_of)


def _shape(hdu: Hdu) -> tuple[int, int]:
    ny, nx = image_shape(hdu)
    return ny, nx


def _stored(hdu: Hdu, name: object, reading: Reading | None) -> Plane:
    """Return the numbers of an HDU as they are stored, from the file or in memory."""
    file = file_of(hdu)
    compressed = isinstance(hdu, fits.CompImageHDU)
    if file is not None and not compressed:
        return FilePlane(hdu, file, name, reading)
    if compressed or hdu.fileinfo():
        return CompressedPlane(hdu, name, reading or Reading())
    return stored_numbers(hdu, name).reshape(image_shape(hdu))


class FilePlane:
    """The numbers of an uncompressed image, read from its file by rows.

    `file` is what holds the HDU; it need not stay open. `reading` adds up what is read.
    """

    def __init__(
        self, hdu: Hdu, file: BinaryIO, name: object, reading: Reading | None = None
    ) -> None:
        self.shape = _shape(hdu)
        self._name = name
        self._dtype = np.dtype(TYPES[hdu.header["BITPIX"]])
        self._start: int = hdu.fileinfo()["datLoc"]
        self._descriptor = os.dup(file.fileno())
        finalize(self, os.close, self._descriptor)
        ny, nx = self.shape
        size = nx * self._dtype.itemsize
        self._sums = reading.sums(self._descriptor, self._start, ny, size) if reading else None

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return the rows ``rows``, native byte order."""
        first, last, _ = rows.indices(self.shape[0])
        shape = max(last - first, 0), self.shape[1]
        place = self._start + first * self.shape[1] * self._dtype.itemsize
        with damaged_pixels(self._name):
            numbers = numbers_at(self._descriptor, place, shape, self._dtype)
        if self._sums is not None:
            self._sums.add(first, numbers)
        return numbers


class CompressedPlane:
    """The numbers of an image that astropy unpacks: some rows at a time, and each once if possible.

    The file is opened again when the first rows are wanted. `reading` says whether there is memory
    to keep what was unpacked.
    """

    def __init__(self, hdu: Hdu, name: object, reading: Reading) -> None:
        self.shape = _shape(hdu)
        self._place: int = hdu.fileinfo()["hdrLoc"]
        self._identity = identity_of_file(hdu)
        self._name = name
        self._reading = reading
        self._hdu: Hdu = None
        self._kept: NDArray[Any] | None = None
        self._missing = np.ones(self.shape[0], dtype=bool)
        self._file = ExitStack()
        finalize(self, self._file.close)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return the rows ``rows``, native byte order."""
        rows = slice(*rows.indices(self.shape[0]))
        with _one_at_a_time:
            if self._kept is None:
                self._open()
            if self._kept is None:
                return self._unpacked(rows)
            absent = rows.start + np.flatnonzero(self._missing[rows])
            if absent.size:
                # Astropy takes as long for a row as for some hundred.
                first, last = int(absent[0]) // _ROWS, int(absent[-1]) // _ROWS
                wanted = slice(first * _ROWS, min(self.shape[0], (last + 1) * _ROWS))
                self._kept[wanted] = self._unpacked(wanted)
                self._missing[wanted] = False
                if not self._missing.any():
                    self._close()
            return self._kept[rows]

    def _open(self) -> None:
        """Open the file, if it is not open, and see whether what is unpacked can be kept."""
        if self._hdu is not None:
            return
        with ExitStack() as stack:
            hdus, _ = stack.enter_context(open_fits(str(self._name)))
            hdu = self._found(hdus)
            self._file.enter_context(stack.pop_all())
        self._hdu = hdu
        sample = self._unpacked(slice(0, 1))
        if self._reading.take(sample.itemsize * self.shape[0] * self.shape[1]):
            self._kept = np.empty(self.shape, sample.dtype)

    def _found(self, hdus: Hdus) -> Hdu:
        """Return the HDU in the file that was opened again, which must still be the same."""
        if identity_of_file(hdus[0]) == self._identity:
            hdu = next((hdu for hdu in hdus if hdu.fileinfo()["hdrLoc"] == self._place), None)
            if image_shape(hdu) == self.shape:
                return hdu
        msg = f"{self._name}: the file has changed while it was read; wait until it is complete"
        raise InputError(msg)

    def _unpacked(self, rows: slice) -> NDArray[Any]:
        """Unpack rows."""
        axes = self._hdu.shape
        axis = next(number for number, length in enumerate(axes) if length == self.shape[0])
        with unpacking(self._hdu, self._name):
            found = self._hdu.section[(*[slice(None)] * axis, rows)]
        native = np.asarray(found, dtype=found.dtype.newbyteorder("="))
        return native.reshape(-1, self.shape[1])

    def _close(self) -> None:
        self._hdu = None
        self._file.close()
