"""Covariances of the whitened difference in windows: what measured noise is fitted to.

Every window is whitened with its own filter, from kernel and noise levels at its place, and divided
by the root of the variance that this filter implies. Only sums over its sky pixels are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums
from diffdecor.core.parallel import cores, ordered_map
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
from diffdecor.core.spectrum import LogSpectrum
from diffdecor.core.whitening import FLOOR
from diffdecor.decorrelation.mask import unusable_pixels
from diffdecor.decorrelation.subtraction import ROLES, Subtraction
from diffdecor.decorrelation.window_pixels import MARGIN, Sides, Tile, WindowFilters, tile_sums
from diffdecor.images.model import Exposure

#: Sides of windows in small, ordinary and large images, and the pixels from which these are large.
_SIDES, _ORDINARY, _LARGE = (64, 128, 256), 1 << 18, 1 << 21
#: Most windows that are measured in a large image.
MOST_WINDOWS = 64
#: Pixels around the sources of an image that are not sky. Subtraction leaves little of what lies
#: farther out; of a difference alone only the brightest of what it has left is seen.
_MARGIN, _ALONE_MARGIN = 6, 8
#: Mask planes of source light.
_DETECTED = "DETECTED"


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


def place_windows(shape: tuple[int, int]) -> WindowGrid:
    """Return windows all over an image ``(ny, nx)``, about `MOST_WINDOWS` of a large one."""
    pixels = math.prod(shape)
    side = _SIDES[int(np.searchsorted((_ORDINARY, _LARGE), pixels, side="right"))]
    rows, columns = (equal_parts(length, side) for length in shape)
    excess = 1.0 if side < _SIDES[-1] else len(rows) * len(columns) / MOST_WINDOWS
    step = max(1, math.ceil(math.sqrt(excess) - 1e-9))
    across = max(1, math.ceil(excess / step - 1e-9))
    parts = 2 if side > _SIDES[0] and step == across == 1 else 1
    return WindowGrid(
        columns[across // 2 :: across] or columns, rows[step // 2 :: step] or rows, parts
    )


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
) -> WindowSums:
    """Return the sums over the sky pixels of windows, which come row by row.

    `sides` are the noises at the windows' places. The pixels are in units of their expected noise:
    if that is right the variance is 1 and, as far as they are whitened, every covariance 0. They
    are whitened where the noise power is above the share `floor` of that at zero frequency.
    """
    filters = WindowFilters(sides, spectrum, floor)
    numbered = list(enumerate(windows))
    by_rows = [list(row) for _, row in groupby(numbered, lambda item: item[1].rows.start)]

    def measured(part: Sequence[tuple[int, Window]]) -> list[tuple[LagSums, int]]:
        strip = planes.strip(part[0][1].grown(MARGIN).within(planes.shape).rows)
        sums = []
        for number, window in part:
            tile = strip.window(window)
            sums.append(tile_sums(tile, filters.at(number, tile.difference.shape), parts))
        return sums

    found = ordered_map(measured, by_rows, planes.threads)
    sums, sky = zip(*(one for part in found for one in part), strict=True)
    products, pairs = (
        np.array([getattr(one, name) for one in sums]) for name in ("products", "pairs")
    )
    return WindowSums(LagSums(products, pairs), np.array(sky))


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
        threads = cached.config.threads or cores()
        exposures, config = cached.exposures, cached.config
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
        sky = ~unusable
        for mask, bits in self.masks:
            sky &= (mask[rows] & bits) == 0
        return _Strip(
            rows.start,
            self.difference[rows],
            unusable,
            sky,
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
    sky: NDArray[np.bool_]
    images: Sequence[tuple[NDArray[Any], NDArray[Any] | None]]
    margin: int
    variances: Sequence[NDArray[Any] | None]

    def window(self, window: Window) -> Tile:
        """Return the pixels of a window with its margin; beyond the image none is usable."""
        height, width = self.difference.shape
        inside = Window(window.x0, window.x1, window.y0 - self.start, window.y1 - self.start)
        outer = inside.grown(MARGIN)
        there = outer.within((height, width))
        beyond = (
            (there.y0 - outer.y0, outer.y1 - there.y1),
            (there.x0 - outer.x0, outer.x1 - there.x1),
        )
        place = there.rows, there.columns
        unusable, sky = self.unusable[place], self.sky[place]
        for image, sigma in self.images:
            expected = None if sigma is None else sigma[place]
            sky = sky & ~find_sources(image[place], ~unusable, expected, self.margin)
        return Tile(
            _grown(self.difference[place], beyond, 0),
            _grown(unusable, beyond, fill=True),
            _grown(sky, beyond, fill=False),
            [
                None if plane is None else np.pad(plane[place], beyond, mode="edge")
                for plane in self.variances
            ],
        )


def _grown(pixels: NDArray[Any], beyond: Sequence[tuple[int, int]], fill: float) -> NDArray[Any]:
    """Return pixels with rows and columns of one value around them."""
    if not np.any(beyond):
        return pixels
    return np.pad(pixels, beyond, constant_values=fill)
