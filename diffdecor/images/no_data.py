"""Pixels without data: what subtraction tools fill with one value, and borders of exact zeros."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.planes import LazyPlane, Plane, streamed
from diffdecor.fits.open import Header
from diffdecor.images.model import MaskPlanes, mapped

logger = logging.getLogger(__name__)


def is_fill(pixels: NDArray[Any], fill: float) -> NDArray[np.bool_]:
    """Return where pixels have a fill value, in single precision as tools write it."""
    with np.errstate(over="ignore"):
        return np.asarray(pixels.astype(np.float32, copy=False) == np.float32(fill))


def fill_value(header: Header) -> float | None:
    """Return the number of the card MASKVAL, None if there is none."""
    fill = header.get("MASKVAL")
    return None if isinstance(fill, bool) or not isinstance(fill, int | float) else fill


def filled_pixels(image: Plane, header: Header, file: object) -> LazyPlane | None:
    """Return where a subtraction tool filled pixels with the value of its card MASKVAL, if any."""
    fill = fill_value(header)
    if fill is None:
        return None
    logger.info("%s: pixels of fill value %g are NO_DATA", file, fill)
    return mapped(lambda pixels: is_fill(pixels, fill), image)


def zero_border(image: Plane, file: object) -> LazyPlane | None:
    """Return the border of an image that is exactly 0, if any: what warping and ZOGY leave there.

    There is one if a whole outermost row or column is 0. It is then all pixels of 0 that are
    connected with such a row or column, one bit a pixel in memory. An image of nothing but zeros
    has none. Of most images hardly more than the first row and the last is read.
    """
    ends, sides = _zero_edges(image)
    if not ends and not sides:
        return None
    zero = np.concatenate([np.packbits(pixels == 0, axis=1) for _, pixels in streamed(image)])
    ny, nx = image.shape
    everywhere = int(np.bitwise_count(zero).sum(dtype=np.int64)) == ny * nx
    if everywhere:
        return None
    border = _Border(zero, nx, ends, sides)
    while any([border.grow(downwards=True), border.grow(downwards=False)]):
        pass
    logger.info(
        "%s: a border of %d pixels of exactly 0 is NO_DATA (--no-zero-borders: it is data)",
        file,
        np.bitwise_count(border.reached).sum(dtype=np.int64),
    )
    return LazyPlane((ny, nx), lambda rows: _unpacked(border.reached[rows], nx))


def united(*parts: Plane | None) -> LazyPlane | None:
    """Return where any of several planes is True, None if there are none."""
    there = [part for part in parts if part is not None]
    return mapped(lambda *rows: np.asarray(np.logical_or.reduce(rows)), *there) if there else None


def flag_no_data(
    missing: Plane, mask: Plane | None, planes: MaskPlanes
) -> tuple[LazyPlane, MaskPlanes]:
    """Return a mask with the plane NO_DATA set where data are missing."""
    planes = planes.adding("NO_DATA")
    value = planes.dtype.type(planes.value(["NO_DATA"]))
    flags = mapped(lambda part: part * value, missing)
    return flags if mask is None else mapped(np.bitwise_or, mask, flags), planes


def without_variance(missing: Plane, variance: Plane) -> LazyPlane:
    """Return a variance plane that is infinite where data are missing."""
    return mapped(
        lambda there, values: np.where(there, values.dtype.type(np.inf), values), missing, variance
    )


def _zero_edges(image: Plane) -> tuple[list[int], list[int]]:
    """Return which outermost rows, and columns, are 0 (0 or -1), reading as little as it can."""
    ny, _ = image.shape
    first, last = image[0:1], image[ny - 1 : ny]
    ends = [end for end, pixels in ((0, first), (-1, last)) if not pixels.any()]
    sides = [side for side in (0, -1) if not (first[0, side] or last[0, side])]
    for _, pixels in streamed(image) if sides else ():
        sides = [side for side in sides if not pixels[:, side].any()]
        if not sides:
            break
    return ends, sides


class _Border:
    """Zeros that are connected with some edges of an image, found band by band.

    `zero` has a bit for every pixel that is 0, ``(ny, n)`` of uint8, of rows of `width` pixels;
    `ends` and `sides` are indices, 0 or -1, of the outermost rows and columns that belong to it.
    """

    _ROWS = 256

    def __init__(
        self, zero: NDArray[np.uint8], width: int, ends: list[int], sides: list[int]
    ) -> None:
        self.zero = zero
        self.width = width
        self.reached = np.zeros_like(zero)
        self.reached[ends] = zero[ends]
        for side in sides:
            byte, bit = divmod(side % width, 8)
            self.reached[:, byte] |= np.uint8(128 >> bit)

    def grow(self, *, downwards: bool) -> bool:
        """Go through all bands once, and say whether more was reached."""
        ny = len(self.zero)
        starts = range(0, ny, self._ROWS)
        changed = False
        for start in starts if downwards else reversed(starts):
            rows = slice(start, start + self._ROWS)
            seeds = self.reached[rows].copy()
            if downwards and start:
                seeds[0] |= self.reached[start - 1]
            if not downwards and rows.stop < ny:
                seeds[-1] |= self.reached[rows.stop]
            grown = np.packbits(self._connected(rows, seeds), axis=1)
            changed |= not np.array_equal(grown, self.reached[rows])
            self.reached[rows] = grown
        return changed

    def _connected(self, rows: slice, seeds: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return the zeros of a band that are connected with some of them, inside the band."""
        from scipy import ndimage

        zero = _unpacked(self.zero[rows], self.width)
        labels, count = ndimage.label(zero)
        wanted = np.zeros(count + 1, dtype=bool)
        wanted[labels[_unpacked(seeds, self.width)]] = True
        wanted[0] = False
        return np.asarray(wanted[labels])


def _unpacked(bits: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    return np.unpackbits(bits, axis=1, count=width).view(bool)
