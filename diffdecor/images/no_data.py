"""Pixels without data: what subtraction tools fill with one value, and borders of exact zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor import words
from diffdecor.core.parallel import once
from diffdecor.core.planes import LazyPlane, Plane, sampled, streamed
from diffdecor.fits.open import Header
from diffdecor.images.model import MaskPlanes, mapped
from diffdecor.images.quantum import Quantum

logger = words.logger(__name__)

#: Share of pixels of a value in the sky below which single ones are that value by intent.
_RARE = 1e-3
_MOST_GOING_ON = 0.9


def is_fill(pixels: NDArray[Any], fill: float) -> NDArray[np.bool_]:
    """Return where pixels have a fill value, in single precision as tools write it."""
    with np.errstate(over="ignore"):
        return np.asarray(pixels.astype(np.float32, copy=False) == np.float32(fill))


def fill_value(header: Header) -> float | None:
    """Return the number of the card MASKVAL, None if there is none."""
    fill = header.get("MASKVAL")
    return None if isinstance(fill, bool) or not isinstance(fill, int | float) else fill


def filled_pixels(
    image: Plane,
    header: Header,
    file: object,
    quantum: Quantum | None = None,
    *,
    stepped: bool = False,
    masked: bool = False,
) -> LazyPlane | None:
    """Return where a subtraction tool filled pixels with the value of its card MASKVAL, if any.

    Pixels that are stored in steps of a `quantum` may not have that value itself: then they are
    those within half a step of it. Where `stepped` pixels of the sky have it too, only blocks of
    them count, and a warning says that smaller holes cannot be found unless the image is `masked`.
    """
    fill = fill_value(header)
    if fill is None:
        return None
    if quantum is None or quantum.holds(fill):
        reason = "pixels of the sky have it too"
        near = mapped(lambda pixels: is_fill(pixels, fill), image)
        width = chance_width(near) if stepped else 1
        if width == 1:
            logger.info("%s: pixels of fill value %g are NO_DATA", file, fill)
            return near
    else:
        step, reason = quantum, f"it was lost when the image was stored ({quantum.reason})"
        near = LazyPlane(
            tuple(image.shape), lambda rows: np.abs(image[rows] - fill) <= step.reach(rows, fill)
        )
        width = chance_width(near)
    (logger.info if masked else logger.warning)(
        "%s: fill value %g (MASKVAL): %s; pixels within half a step of it are NO_DATA%s%s",
        file,
        fill,
        reason,
        f" in blocks of {width} x {width} and more" if width > 1 else "",
        "" if masked else ": smaller holes cannot be found, give a mask of them",
    )
    blocks = once(lambda: opened_blocks(near, width, file))
    return LazyPlane(tuple(image.shape), lambda rows: blocks()[rows])


def zero_border(
    image: Plane, file: object, quantum: Quantum | None = None, *, stepped: bool = False
) -> LazyPlane | None:
    """Return the border of an image that is exactly 0, if any: what warping and ZOGY leave there.

    There is one if a whole outermost row or column is 0. It is then all pixels of 0 that are
    connected with such a row or column, one bit a pixel in memory. An image of nothing but zeros
    has none. Of most images hardly more than the first row and the last is read.

    Where pixels are `stepped` the sky has zeros too: then pixels of the border are those of blocks
    of zeros so wide that the sky has none. Of pixels stored in steps of a `quantum` that changes 0,
    those within half a step are 0.
    """
    dithered = quantum is not None and not quantum.holds(0.0)
    if quantum is not None and dithered:
        pixels, reach = image, quantum.reach
        image = LazyPlane(
            tuple(image.shape),
            lambda rows: (np.abs(pixels[rows]) > reach(rows, 0.0)).astype(np.float32),
        )
    ends, sides = _zero_edges(image)
    if not ends and not sides:
        return None
    zero = np.concatenate([np.packbits(pixels == 0, axis=1) for _, pixels in streamed(image)])
    ny, nx = image.shape
    everywhere = int(np.bitwise_count(zero).sum(dtype=np.int64)) == ny * nx
    if everywhere:
        return None
    width = chance_width(mapped(lambda pixels: pixels == 0, image)) if stepped or dithered else 1
    if width > 1:
        zero = np.packbits(_opened(_unpacked(zero, nx), width), axis=1)
    border = _Border(zero, nx, ends, sides)
    while any([border.grow(downwards=True), border.grow(downwards=False)]):
        pass
    logger.info(
        "%s: a border of %d pixels of exactly 0 is NO_DATA (--no-zero-borders: it is data)",
        file,
        np.bitwise_count(border.reached).sum(dtype=np.int64),
    )
    return LazyPlane((ny, nx), lambda rows: _unpacked(border.reached[rows], nx))


def in_whole_numbers(image: Plane) -> bool:
    """Say whether an image holds whole numbers only, of more than two values, in any type."""
    ny, _ = image.shape
    middle = image[ny // 2 : ny // 2 + 1]
    values = np.unique(middle[np.isfinite(middle)])
    return values.size > 2 and bool((values == np.rint(values)).all())


def chance_width(flags: Plane) -> int:
    """Return how wide a block of True must be that chance does not make, 1 if single ones are rare.

    It is odd. That is where about one place along the edges of a border has so many in a row by
    chance.
    """
    part = np.asarray(sampled(flags), dtype=bool)
    before, here = part[:, :-1], part[:, 1:]
    clear = ~before
    share = here[clear].mean() if clear.any() else 1.0
    if share < _RARE:
        return 1
    starts = clear[:, :-1] & here[:, :-1]
    going_on = min(max(part[:, 2:][starts].mean(), share), _MOST_GOING_ON)
    edge = 4 * max(flags.shape)
    return int(np.ceil(np.log(edge) / -np.log(going_on))) // 2 * 2 + 3


def opened_blocks(flags: Plane, width: int, file: object) -> NDArray[np.bool_]:
    """Return the blocks of True that are `width` wide and high; beyond the edges all is True."""
    whole = np.concatenate([np.asarray(part, dtype=bool) for _, part in streamed(flags)])
    if whole.all():
        return np.zeros_like(whole)
    if width > 1:
        whole = _opened(whole, width)
    logger.info("%s: %d pixels of the fill value", file, np.count_nonzero(whole))
    return whole


def _opened(flags: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return the blocks `width`, which is odd, wide and high; beyond the edges all is True."""
    from scipy import ndimage

    grown = np.pad(flags, width, constant_values=True)
    for step in (ndimage.binary_erosion, ndimage.binary_dilation):
        for shape in ((1, width), (width, 1)):
            grown = step(grown, np.ones(shape, bool))
    return np.asarray(grown[width:-width, width:-width])


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
