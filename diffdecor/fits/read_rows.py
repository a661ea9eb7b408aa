"""Planes that stay in their file: rows are read when somebody wants them.

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
    UNREADABLE,
    Hdu,
    Hdus,
    damaged_pixels,
    file_of,
    identity_of_file,
    image_shape,
    open_fits,
    quiet_astropy,
    stored_numbers,
)
from diffdecor.fits.pixels import scaling_of
from diffdecor.fits.reading import Reading

_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}

_ROWS = 512
"""Rows of a compressed plane that are unpacked at a time where they can be kept."""
# astropy is not made for several threads.
_one_at_a_time = Lock()


def stored_pixels(hdu: Hdu, name: object, reading: Reading | None = None) -> LazyPlane:
    """Return the pixels of an image HDU as a plane that is read row by row.

    Parameters
    ----------
    hdu : HDU
        An image of two axes, compressed or not, of a file opened with `open_fits`, which need not
        stay open.
    name : object
        The file, to open it again and for messages.
    reading : Reading, optional
        Memory to keep what was unpacked, and sums of what was read.

    Returns
    -------
    LazyPlane
        Rows of float32 or float64, as `read_pixels` gives them.

    Raises
    ------
    InputError
        If BSCALE or BZERO is no number; later, if rows cannot be read.
    """
    scaling = scaling_of(hdu.header, name)
    stored = _stored(hdu, name, reading)
    return LazyPlane(_shape(hdu), lambda rows: scaling.pixels(stored[rows]))


def stored_integers(hdu: Hdu, name: object, reading: Reading | None = None) -> LazyPlane:
    """Return the whole numbers of an image HDU, a mask, as a plane that is read row by row.

    Parameters
    ----------
    hdu : HDU
        An image of two axes, compressed or not, of a file opened with `open_fits`, which need not
        stay open.
    name : object
        The file, to open it again and for messages.
    reading : Reading, optional
        Memory to keep what was unpacked, and sums of what was read.

    Returns
    -------
    LazyPlane
        Rows of integers of any type, native byte order.

    Raises
    ------
    InputError
        If BSCALE or BZERO is no number; later, if rows cannot be read or hold other numbers.
    """
    scaling = scaling_of(hdu.header, name)
    stored = _stored(hdu, name, reading)
    return LazyPlane(_shape(hdu), lambda rows: scaling.integers(stored[rows], name))


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

    Parameters
    ----------
    hdu : HDU
        The image.
    file : BinaryIO
        The file that holds it, which need not stay open.
    name : object
        The file, for messages.
    reading : Reading, optional
        Where to add up what is read.
    """

    def __init__(
        self, hdu: Hdu, file: BinaryIO, name: object, reading: Reading | None = None
    ) -> None:
        self.shape = _shape(hdu)
        self._name = name
        self._dtype = np.dtype(_TYPES[hdu.header["BITPIX"]])
        self._start: int = hdu.fileinfo()["datLoc"]
        self._descriptor = os.dup(file.fileno())
        finalize(self, os.close, self._descriptor)
        ny, nx = self.shape
        size = nx * self._dtype.itemsize
        self._sums = reading.sums(self._descriptor, self._start, ny, size) if reading else None

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return the rows ``rows``, native byte order."""
        first, last, _ = rows.indices(self.shape[0])
        numbers = np.empty(max(last - first, 0) * self.shape[1], self._dtype.newbyteorder("="))
        self._fill(numbers.view(np.uint8).data, first * self.shape[1])
        if not self._dtype.isnative:  # along one axis numpy does that in place
            numbers[:] = numbers.view(self._dtype)
        native = numbers.reshape(-1, self.shape[1])
        if self._sums is not None:
            self._sums.add(first, native)
        return native

    def _fill(self, left: memoryview, index: int) -> None:
        """Fill memory from the file, beginning at the pixel of this index."""
        place = self._start + index * self._dtype.itemsize
        try:
            while left and (count := os.preadv(self._descriptor, [left], place)):
                left, place = left[count:], place + count
        except OSError as error:
            raise damaged_pixels(self._name, error.strerror) from error
        if left:
            msg = f"{self._name}: the file became shorter while it was read; fetch it again"
            raise InputError(msg)


class CompressedPlane:
    """The numbers of an image that astropy unpacks: some rows at a time, and each once if it may.

    Parameters
    ----------
    hdu : HDU
        The image.
    name : object
        The file, to open it when the first rows are wanted, and for messages.
    reading : Reading
        Memory to keep what was unpacked.
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
                first = int(absent[0]) // _ROWS * _ROWS
                wanted = slice(
                    first, min(self.shape[0], -(-(int(absent[-1]) + 1) // _ROWS) * _ROWS)
                )
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
        """Return the HDU in the file that was opened anew, which must be the same one still."""
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
        try:
            with quiet_astropy(self._name):
                found = self._hdu.section[(*[slice(None)] * axis, rows)]
        except UNREADABLE as error:
            raise damaged_pixels(self._name, error) from error
        native = np.asarray(found, dtype=found.dtype.newbyteorder("="))
        return native.reshape(-1, self.shape[1])

    def _close(self) -> None:
        self._hdu = None
        self._file.close()
