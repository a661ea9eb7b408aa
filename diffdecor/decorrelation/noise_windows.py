"""Covariances of the whitened difference in windows: what measured noise is fitted to.

Every window is whitened with its own filter, from kernel and noise levels at its place, and divided
by the root of the variance that this filter implies. Only sums over its sky pixels are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums
from diffdecor.core.parallel import ordered_map
from diffdecor.core.planes import (
    CachedPlane,
    LazyPlane,
    Plane,
    Window,
    bands,
    copy_planes,
    equal_parts,
)
from diffdecor.core.sources import find_sources, source_plane
from diffdecor.core.spectrum import MAX_LAG, LogSpectrum
from diffdecor.core.whitening import FLOOR
from diffdecor.decorrelation.mask import unusable_pixels
from diffdecor.decorrelation.subtraction import ROLES, Subtraction
from diffdecor.decorrelation.window_filters import Sides, WindowFilters
from diffdecor.decorrelation.window_pixels import MARGIN, Tile, TileSums, tile_sums
from diffdecor.images.model import Exposure

#: Sides of windows, and the numbers of pixels of an image from which the next one holds.
_SIDES, _FROM = (64, 128, 192, 256), (1 << 18, 1 << 22, 1 << 25)
#: Most windows that are measured, but the smallest; how many may be all there are, and one in how
#: many is if there are more; and the same ratio, to which they are cut into blocks.
MOST_WINDOWS, _ALL_OF, _SPARSE, _NARROW = 64, 36, 1.75, 2.0
#: Sources are found in all of an image smaller than this: its windows are too small for it.
_LARGE = 1 << 21
#: Pixels around the sources of an image that are not sky. Subtraction leaves little of what lies
#: farther out; of a difference alone only the brightest of what it has left is seen.
_MARGIN, _ALONE_MARGIN = 6, 8
#: Mask planes of source light.
_DETECTED = "DETECTED"
#: Pixels of the windows that are worked on together: they stay in the processor's cache.
_BATCH_PIXELS = 1 << 18

#: Rows and columns.
_Place = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class WindowGrid:
    """Windows of about equal size on a regular grid, row by row; in large images not all."""

    #: Ranges of columns and rows.
    columns: Sequence[tuple[int, int]]
    rows: Sequence[tuple[int, int]]
    #: Every window is cut into so many blocks along either axis: noise may change within it.
    parts: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of windows."""
        return len(self.rows), len(self.columns)

    @property
    def windows(self) -> list[Window]:
        """All windows, row by row."""
        return [Window(*x, *y) for y in self.rows for x in self.columns]

    @property
    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """0-based positions of the columns and rows of window centres."""
        x, y = (np.array(ranges).mean(axis=1) - 0.5 for ranges in (self.columns, self.rows))
        return x, y

    @property
    def blocks(self) -> WindowGrid:
        """The grid of the blocks."""
        columns, rows = (
            [
                (start + first, start + last)
                for start, stop in ranges
                for first, last in equal_parts(stop - start, -(-(stop - start) // self.parts))
            ]
            for ranges in (self.columns, self.rows)
        )
        return WindowGrid(columns, rows)


def place_windows(shape: tuple[int, int], *, blocks: bool = True) -> WindowGrid:
    """Return windows all over an image ``(ny, nx)``, about `MOST_WINDOWS` of a large one.

    They are cut into blocks, if wanted, where the gaps between them are narrow.
    """
    side = _SIDES[int(np.searchsorted(_FROM, math.prod(shape), side="right"))]
    number = [max(1, round(length / side)) for length in shape]
    enough = min(MOST_WINDOWS, max(_ALL_OF, math.prod(number) / _SPARSE))
    excess = 1.0 if side == _SIDES[0] else math.prod(number) / enough
    if excess > 1:  # as many in proportion along both axes
        number = [max(1, round(one / math.sqrt(excess))) for one in number]
    parts = 2 if blocks and side > _SIDES[0] and excess <= _NARROW else 1
    unit = 2 * parts if side > _SIDES[0] else 1  # even numbers are faster
    rows, columns = (
        _ranges(length, count, side if excess > 1 else length, unit)
        for length, count in zip(shape, number, strict=True)
    )
    return WindowGrid(columns, rows, parts)


def _ranges(length: int, number: int, side: int, unit: int) -> list[tuple[int, int]]:
    """Return ranges spread over an axis, all of the same size: about `side`, a multiple of `unit`.

    Windows are worked on together; those without gaps overlap by a few pixels instead.
    """
    pitch = length / number
    size = max(unit, min(-(-side // unit), math.ceil(pitch / unit), length // unit) * unit)
    first = [round((i + 0.5) * pitch - size / 2) for i in range(number)]
    starts = [max(0, min(start, length - size)) for start in first]
    return [(start, start + size) for start in starts]


def middle_part(window: Window, side: int) -> Window:
    """Return the middle of a window, not larger than a side."""
    (x0, width), (y0, height) = (
        (start + max(0, (stop - start - side) // 2), min(stop - start, side))
        for start, stop in ((window.x0, window.x1), (window.y0, window.y1))
    )
    return Window(x0, x0 + width, y0, y0 + height)


@dataclass(frozen=True, eq=False)
class WindowSums:
    """What was measured in n windows."""

    #: Sums over the sky pixels of all blocks ``(n, parts, parts, L + 1, 2 L + 1)``.
    sums: LagSums
    #: Number of all sky pixels, those too close to filled pixels included ``(n,)``.
    sky: NDArray[np.intp]


def window_sums(
    planes: NoisePlanes,
    windows: Sequence[Window],
    sides: Sides,
    spectrum: LogSpectrum,
    *,
    parts: int = 1,
    floor: float = FLOOR,
    max_lag: int = MAX_LAG,
) -> WindowSums:
    """Return the sums over the sky pixels of windows, which come row by row.

    `sides` are the noises at the windows' places. The pixels are in units of their expected noise:
    if that is right the variance is 1 and, as far as they are whitened, every covariance 0. They
    are whitened where the noise power is above the share `floor` of that at zero frequency.
    """
    filters = WindowFilters(sides, spectrum, floor)
    numbered = list(enumerate(windows))
    by_rows = [list(row) for _, row in groupby(numbered, lambda item: item[1].rows.start)]

    def measured(row: Sequence[tuple[int, Window]]) -> list[TileSums]:
        strip = planes.strip(row[0][1].grown(MARGIN).within(planes.shape).rows)
        sums = []
        for part in _batches(row):
            numbers, some = zip(*part, strict=True)
            tile = strip.tile(some)
            by = filters.at(np.array(numbers), tile.sky.shape[1:])
            sums.append(tile_sums(tile, by, parts, max_lag))
        return sums

    found = ordered_map(measured, by_rows, planes.threads)
    sums, sky = zip(*(one for row in found for one in row), strict=True)
    products, pairs = (
        np.concatenate([getattr(one, name) for one in sums]) for name in ("products", "pairs")
    )
    return WindowSums(LagSums(products, pairs), np.concatenate(sky))


def _batches(row: Sequence[tuple[int, Window]]) -> Iterator[Sequence[tuple[int, Window]]]:
    """Cut a row of windows into those that are worked on together."""
    ny, nx = row[0][1].grown(MARGIN).shape
    number = max(1, _BATCH_PIXELS // (ny * nx))
    for start in range(0, len(row), number):
        yield row[start : start + number]


@dataclass(frozen=True, eq=False)
class NoisePlanes:
    """What is read: the difference, which pixels are unusable or not sky, and the variances."""

    shape: tuple[int, int]
    threads: int

    difference: Plane
    unusable: Plane
    #: Masks with the bits of pixels that are not sky.
    masks: Sequence[tuple[Plane, int]]
    #: Images whose sources have to be found, window by window, each with its sigma if known.
    images: Sequence[tuple[Plane, Plane | None]]
    #: Pixels around sources that are not sky either.
    margin: int
    #: Variance of every member; None where it is one number.
    variances: Sequence[Plane | None]

    @classmethod
    def of(cls, subtraction: Subtraction) -> NoisePlanes:
        """Return those of a subtraction; finds the sources of a small image."""
        cached = subtraction.with_planes(CachedPlane)
        exposures, config, threads = cached.exposures, cached.config, cached.threads
        members = [member.exposure for role in ROLES for member in cached.members(role)]
        # The other side of a difference alone has the level 0.
        no_noise = [None] if cached.is_alone else []
        unusable = CachedPlane(unusable_pixels(cached))
        masks = [(one.mask, one.mask_planes.value(config.ignore_planes)) for one in exposures]
        images = [(one.image, _sigma(one.variance)) for one in _with_unknown_sources(exposures)]
        margin = _ALONE_MARGIN if cached.is_alone else _MARGIN
        if math.prod(cached.shape) < _LARGE:  # windows are too small to find sources in
            masks += [(_sources(*image, unusable, margin, threads), 1) for image in images]
            images = []
        return cls(
            cached.shape,
            threads,
            cached.difference.image,
            unusable,
            [(mask, bits) for mask, bits in masks if mask is not None and bits],
            images,
            margin,
            [*(one.variance for one in members), *no_noise],
        )

    def strip(self, rows: slice) -> _Strip:
        """Read some rows."""
        unusable = self.unusable[rows]
        return _Strip(
            rows.start,
            self.difference[rows],
            unusable,
            [(mask[rows], bits) for mask, bits in self.masks],
            [(image[rows], None if sigma is None else sigma[rows]) for image, sigma in self.images],
            self.margin,
            [None if plane is None else plane[rows] for plane in self.variances],
        )


def _sigma(variance: Plane | None) -> LazyPlane | None:
    """Return the root of a variance, NaN where there is none."""
    if variance is None:
        return None
    ny, nx = variance.shape

    def read(rows: slice) -> NDArray[Any]:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sqrt(variance[rows]))

    return LazyPlane((ny, nx), read)


def _sources(
    image: Plane, sigma: Plane | None, unusable: Plane, margin: int, threads: int
) -> NDArray[np.bool_]:
    """Return the pixels ``(ny, nx)`` with light of sources in an image."""
    ny, nx = image.shape
    usable = LazyPlane((ny, nx), lambda rows: ~unusable[rows])
    found = np.empty((ny, nx), dtype=bool)
    copy_planes([(source_plane(image, usable, sigma, margin), found)], bands((ny, nx)), threads)
    return found


def _with_unknown_sources(exposures: Sequence[Exposure]) -> list[Exposure]:
    """Return the images in which sources must be found: those without a mask plane of them.

    The difference shows them itself only where there is nothing else.
    """
    *images, difference = exposures
    unknown = [one for one in images if _DETECTED not in one.mask_planes]
    return unknown if images else [difference]


@dataclass(frozen=True, eq=False)
class _Strip:
    """Rows of all planes."""

    start: int
    difference: NDArray[Any]
    unusable: NDArray[np.bool_]
    masks: Sequence[tuple[NDArray[Any], int]]
    images: Sequence[tuple[NDArray[Any], NDArray[Any] | None]]
    margin: int
    variances: Sequence[NDArray[Any] | None]

    def tile(self, windows: Sequence[Window]) -> Tile:
        """Return the pixels of windows with their margins; beyond the image none is usable."""
        shape = len(windows), *windows[0].grown(MARGIN).shape
        usable, sky = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        difference = np.zeros(shape, np.result_type(self.difference, np.float32))
        variances = [
            None if plane is None else np.empty(shape, np.result_type(plane, np.float32))
            for plane in self.variances
        ]
        for i, window in enumerate(windows):
            place, inner = self._places(window)
            difference[i][inner] = self.difference[place]
            usable[i][inner] = ~self.unusable[place]
            sky[i][inner] = self._sky(place, usable[i][inner])
            for plane, out in zip(self.variances, variances, strict=True):
                if plane is not None and out is not None:
                    out[i][inner] = plane[place]
                    _extend(out[i], inner)
        return Tile(difference, usable, sky, variances)

    def _places(self, window: Window) -> tuple[_Place, _Place]:
        """Return where the pixels of a window are, and where in its tile they go."""
        y0, y1 = window.y0 - self.start, window.y1 - self.start
        outer = Window(window.x0, window.x1, y0, y1).grown(MARGIN)
        there = outer.within(self.difference.shape)
        ny, nx = there.shape
        y, x = there.y0 - outer.y0, there.x0 - outer.x0
        return (there.rows, there.columns), (slice(y, y + ny), slice(x, x + nx))

    def _sky(self, place: _Place, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the usable pixels of a window that no mask flags, and without sources."""
        sky = usable.copy()
        for mask, bits in self.masks:
            sky &= (mask[place] & bits) == 0
        for image, sigma in self.images:
            expected = None if sigma is None else sigma[place]
            sky &= ~find_sources(image[place], usable, expected, self.margin)
        return sky


def _extend(pixels: NDArray[Any], inner: _Place) -> None:
    """Repeat the outermost of the pixels that are known beyond them."""
    rows, columns = inner
    pixels[rows, : columns.start] = pixels[rows, columns.start, np.newaxis]
    pixels[rows, columns.stop :] = pixels[rows, columns.stop - 1, np.newaxis]
    pixels[: rows.start] = pixels[rows.start]
    pixels[rows.stop :] = pixels[rows.stop - 1]
