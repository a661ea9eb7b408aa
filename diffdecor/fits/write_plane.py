"""A plane as the primary HDU of a file, written from first row to last."""

from __future__ import annotations

import os

import numpy as np
from astropy.io import fits
from numpy.typing import DTypeLike

from diffdecor.core.planes import Plane, cut
from diffdecor.fits.checksum import datasum, header_with_sums, padded
from diffdecor.fits.open import Header
from diffdecor.fits.write_rows import mended, write_at

#: Bytes of the rows that are in memory at a time.
_BAND = 1 << 22
#: Rows of a band are a multiple of it: bands are then whole 32-bit words, whatever the type.
_WORD = 4


def plane_hdu(shape: tuple[int, ...], dtype: DTypeLike) -> fits.PrimaryHDU:
    """Return a primary HDU for a plane ``(ny, nx)``, without pixels that take memory."""
    pixel = np.zeros((), np.dtype(dtype).newbyteorder(">"))
    return fits.PrimaryHDU(np.broadcast_to(pixel, shape))


def write_plane(descriptor: int, hdu: fits.PrimaryHDU, plane: Plane, dtype: DTypeLike) -> int:
    """Write a plane ``(ny, nx)`` as the primary HDU of an empty file, with its checksums.

    Of the `hdu` the header counts. Returns where the HDU ends, in bytes.
    """
    header: Header = mended(hdu).header
    ny, nx = plane.shape
    row = nx * np.dtype(dtype).itemsize
    start = len(header_with_sums(header, 0))
    end = start + padded(ny * row)
    os.ftruncate(descriptor, end)
    total = 0
    for rows in cut(slice(0, ny), _WORD * max(1, _BAND // (_WORD * row))):
        values = np.ascontiguousarray(plane[rows], dtype)
        total = datasum(values, total)
        on_disk = values.astype(values.dtype.newbyteorder(">"), copy=False)
        write_at(descriptor, on_disk, start + rows.start * row)
    write_at(descriptor, header_with_sums(header, total), 0)
    return end
