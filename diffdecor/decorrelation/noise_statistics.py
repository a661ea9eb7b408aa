"""The noise of images, measured in windows over their field: covariances, scatter, moire.

Every pixel that is sky counts in units of the sigma that its variance plane claims; without one, of
that of its window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums, PairCounts
from diffdecor.core.lag_statistics import without_bias
from diffdecor.core.local_level import in_sigmas, without_level
from diffdecor.core.parallel import ordered_map
from diffdecor.core.planes import Plane, Window
from diffdecor.core.sources import find_sources
from diffdecor.core.statistics import robust_sigma

#: Longest lag along either axis, pixels: as long as a matched filter is wide.
MAX_LAG = 14
#: Side of a window, its sides' common factor, and the margin in which sources are looked for, too.
_WINDOW, _STEP, _MARGIN = 256, 16, 20
#: Rows and columns of the coarse grid of blocks.
_BLOCKS = 8
#: Robust sigmas at which the scatter is clipped, and what normal noise then has left.
_CLIP, _LEFT = 4.0, 0.9988662
#: Fewest sky pixels of a window.
_FEWEST = 400
#: Largest side of the field in which lines are looked for, cells.
_FIELD = 1024
#: Bins of the histogram of significances, from -6 to 6 sigma.
_BINS, _RANGE = 120, 6.0
#: Every 13th pixel gives the median and the robust sigma of a window.
_SAMPLE = 13

Values = NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class NoiseStatistics:
    """The noise of an image in units of its claimed sigma."""

    #: Sums of all windows, and of the blocks of a coarse grid ``(by * bx, L + 1, 2 L + 1)``.
    sums: LagSums
    blocks: LagSums
    #: Whether there is a variance that claims something.
    claimed: bool
    #: Mean variance of the sky pixels, claimed or else measured, image unit squared.
    variance: float
    #: Measured over claimed variance of the windows ``(wy, wx)``, and their numbers of sky pixels.
    scatter: NDArray[np.float64]
    pixels: NDArray[np.float64]
    #: Numbers of pixels by significance, in equal bins from -6 to 6 sigma.
    histogram: NDArray[np.float64]
    #: Sum of ``z^2`` and number of sky pixels in cells of the field, and the side of a cell in
    #: pixels.
    squares: Values
    counts: Values
    cell: int

    @property
    def covariances(self) -> LagSums:
        """Sums in the unit of the image squared."""
        return LagSums(self.sums.products * self.variance, self.sums.pairs)

    @property
    def reach(self) -> float:
        """Where the histogram ends, sigma."""
        return _RANGE

    @property
    def grid(self) -> tuple[int, int]:
        """Number of blocks along y and x."""
        return min(_BLOCKS, self.scatter.shape[0]), min(_BLOCKS, self.scatter.shape[1])

    @property
    def ratio(self) -> float:
        """Measured over claimed variance; NaN without sky pixels."""
        number = self.pixels.sum()
        return float(np.nansum(self.scatter * self.pixels) / number) if number else math.nan


@dataclass(frozen=True, eq=False, kw_only=True)
class Sky:
    """What is measured, and where: planes of one shape ``(ny, nx)``."""

    #: Images, each with its variance, or None if that is not known. Sources are found in the last.
    images: Sequence[tuple[Plane, Plane | None]]
    #: False where a pixel does not count in any.
    usable: Plane
    #: Further images whose sources are not sky either, each with its variance if that is known.
    others: Sequence[tuple[Plane, Plane | None]] = field(default=())

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of all planes."""
        ny, nx = self.images[0][0].shape
        return ny, nx


def measure_noise(sky: Sky, most: int, threads: int, *, maps: bool = True) -> list[NoiseStatistics]:
    """Measure the noise of every image on the same sky pixels, in at most about `most` windows.

    Only the rows of these windows are read. Without `maps` histogram and cells stay empty. The
    results do not depend on the number of threads.
    """
    grid = _Grid.of(sky.shape)
    rows = [list(row) for _, row in groupby(grid.chosen(most), lambda place: place[0])]
    totals = [_Total(grid) for _ in sky.images]

    def measured(places: list[tuple[int, int]]) -> list[list[_Found | None]]:
        windows = [grid.window(*place) for place in places]
        return list(_measured(sky, windows, grid.cell if maps else None))

    for places, found in zip(rows, ordered_map(measured, rows, threads), strict=True):
        for place, of_images in zip(places, found, strict=True):
            for total, one in zip(totals, of_images, strict=True):
                if one is not None:
                    total.add(place, one)
    return [
        total.statistics(claimed=variance is not None)
        for total, (_, variance) in zip(totals, sky.images, strict=True)
    ]


@dataclass(frozen=True)
class _Grid:
    """The windows that an image is cut into: their borders along y and x."""

    y: tuple[int, ...]
    x: tuple[int, ...]
    cell: int

    @classmethod
    def of(cls, shape: tuple[int, int]) -> _Grid:
        y, x = (_borders(length) for length in shape)
        cell = 1
        while max(shape) > _FIELD * cell and cell < _STEP:
            cell *= 2
        return cls(y, x, cell)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of windows along y and x."""
        return len(self.y) - 1, len(self.x) - 1

    @property
    def field(self) -> tuple[int, int]:
        """Number of cells along y and x."""
        return self.y[-1] // self.cell, self.x[-1] // self.cell

    def window(self, row: int, column: int) -> Window:
        return Window(self.x[column], self.x[column + 1], self.y[row], self.y[row + 1])

    def chosen(self, most: int) -> list[tuple[int, int]]:
        """Return the places of windows, evenly spread if they are not all, row by row."""
        rows, columns = self.shape
        share = min(1.0, math.sqrt(most / (rows * columns)))
        kept = [
            sorted({int((n + 0.5) / number * length) for n in range(number)})
            for length, number in ((rows, max(1, round(rows * share))), (columns, 0))
            if number
        ]
        across = max(1, min(columns, most // len(kept[0])))
        kept.append(sorted({int((n + 0.5) / across * columns) for n in range(across)}))
        return [(row, column) for row in kept[0] for column in kept[1]]

    def block(self, row: int, column: int) -> int:
        """Return the number of the block that a window belongs to."""
        (rows, columns), (by, bx) = self.shape, self.blocks
        return row * by // rows * bx + column * bx // columns

    @property
    def blocks(self) -> tuple[int, int]:
        """Number of blocks along y and x."""
        return min(_BLOCKS, self.shape[0]), min(_BLOCKS, self.shape[1])


def _borders(length: int) -> tuple[int, ...]:
    """Cut an axis into windows; their borders are multiples of the largest cell."""
    number = max(1, round(length / _WINDOW))
    inner = [round(length * n / number / _STEP) * _STEP for n in range(number)]
    return (*inner, length)


@dataclass(frozen=True, eq=False)
class _Found:
    """What a window has shown of one image."""

    sums: LagSums
    removed: NDArray[np.float64]
    scatter: float
    variance: float
    #: Its histogram; sums of squares and numbers of pixels of its cells.
    maps: tuple[NDArray[np.float64], Values, Values] | None


class _Total:
    """Adds up what the windows have shown of one image."""

    def __init__(self, grid: _Grid) -> None:
        self._grid = grid
        lags = MAX_LAG + 1, 2 * MAX_LAG + 1
        number = grid.blocks[0] * grid.blocks[1]
        self._products, self._pairs = np.zeros((2, number, *lags))
        self._removed = np.zeros((number, *lags))
        self._scatter = np.full(grid.shape, np.nan)
        self._pixels, self._variance = np.zeros((2, *grid.shape))
        self._histogram = np.zeros(_BINS)
        self._squares, self._counts = np.zeros((2, *grid.field), dtype=np.float32)

    def add(self, place: tuple[int, int], found: _Found) -> None:
        """Add what one window has shown."""
        block, window = self._grid.block(*place), self._grid.window(*place)
        self._products[block] += found.sums.products
        self._pairs[block] += found.sums.pairs
        self._removed[block] += found.removed
        self._scatter[place] = found.scatter
        self._pixels[place] = found.sums.pixels
        self._variance[place] = found.variance
        if found.maps is None:
            return
        histogram, squares, counts = found.maps
        self._histogram += histogram
        rows, columns = squares.shape
        y, x = window.y0 // self._grid.cell, window.x0 // self._grid.cell
        self._squares[y : y + rows, x : x + columns] = squares
        self._counts[y : y + rows, x : x + columns] = counts

    def statistics(self, *, claimed: bool) -> NoiseStatistics:
        """Return everything together."""
        blocks = LagSums(self._products, self._pairs)
        number = self._pixels.sum()
        return NoiseStatistics(
            sums=without_bias(blocks.total(), self._removed.sum(axis=0)),
            blocks=blocks,
            claimed=claimed,
            variance=float((self._variance * self._pixels).sum() / number) if number else math.nan,
            scatter=self._scatter,
            pixels=self._pixels,
            histogram=self._histogram,
            squares=self._squares,
            counts=self._counts,
            cell=self._grid.cell,
        )


def _measured(sky: Sky, windows: list[Window], cell: int | None) -> Iterator[list[_Found | None]]:
    """Measure windows of the same rows."""
    shape = sky.shape
    around = windows[0].grown(_MARGIN).within(shape)
    # What is usable is made of most planes: these keep the rows for those that come next.
    usable = sky.usable[around.rows]
    images = _read(sky.images, around.rows)
    others = _read(sky.others, around.rows)
    for window in windows:
        tile = window.grown(_MARGIN).within(shape)
        columns = tile.columns
        place = window.relative_to(tile)
        inner = place.rows, place.columns
        tiles = [(i[:, columns], None if v is None else v[:, columns]) for i, v in images]
        known = _known(tiles, usable[:, columns])
        if np.count_nonzero(known[inner]) < _FEWEST:
            yield [None] * len(tiles)
            continue
        sigmas = [None if v is None else _sigma(v, known) for _, v in tiles]
        found = find_sources(tiles[-1][0], known, sigmas[-1])
        for other, variance in others:
            sigma = None if variance is None else _sigma(variance[:, columns], known)
            found |= find_sources(other[:, columns], known, sigma)
        free, counts = known[inner] & ~found[inner], PairCounts()
        yield [
            _of_window(image[inner], None if sigma is None else sigma[inner], free, cell, counts)
            for (image, _), sigma in zip(tiles, sigmas, strict=True)
        ]


def _read(
    images: Sequence[tuple[Plane, Plane | None]], rows: slice
) -> list[tuple[NDArray[np.floating], NDArray[np.floating] | None]]:
    """Return rows of images, and of their variances."""
    return [(image[rows], None if plane is None else plane[rows]) for image, plane in images]


def _known(
    tiles: Sequence[tuple[NDArray[np.floating], NDArray[np.floating] | None]],
    usable: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return the pixels that every image and its variance have."""
    known = usable.copy()
    for image, variance in tiles:
        known &= np.isfinite(image)
        if variance is not None:
            known &= np.isfinite(variance) & (variance > 0)
    return known


def _sigma(variance: NDArray[np.floating], known: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return the root of a variance, 1 where a pixel is not known."""
    sigma = np.ones(variance.shape, _precision(variance))
    with np.errstate(invalid="ignore"):
        np.sqrt(variance, out=sigma, where=known)
    return sigma


def _precision(pixels: NDArray[np.floating]) -> np.dtype[np.floating]:
    return np.result_type(pixels.dtype, np.float32)


def _of_window(
    image: NDArray[np.floating],
    sigma: NDArray[np.floating] | None,
    sky: NDArray[np.bool_],
    cell: int | None,
    counts: PairCounts,
) -> _Found | None:
    """Measure the sky pixels of a window; None if there are too few, or no noise.

    Without the size of a `cell` no maps are made.
    """
    sample = image[sky][::_SAMPLE]
    if sample.size * _SAMPLE < _FEWEST:
        return None
    middle = float(np.median(sample))
    scale = 1.0
    if sigma is None:
        scale = float(np.std(np.asarray(sample, dtype=np.float64) - middle)) or 1.0
    else:
        scale = float(np.median(sigma[sky][::_SAMPLE]))
    values = in_sigmas(image, middle, scale if sigma is None else sigma, sky)
    weights = None
    if sigma is not None:
        weights = np.divide(scale, sigma, out=np.zeros(sigma.shape, np.float32), where=sky)
    levelled = without_level(values, sky, weights)
    number = int(np.count_nonzero(levelled.sky))
    if number < _FEWEST:
        return None
    z = levelled.values
    scatter = _scatter(z[levelled.sky])
    variance = scale**2 * scatter
    if not variance > 0:  # or less than a number can be
        return None
    if sigma is None:
        z = z / np.float32(math.sqrt(scatter))
        levelled, scatter = levelled._replace(values=z), 1.0
    else:
        rows, columns = z.shape
        variance = float(np.square(sigma[:rows, :columns][levelled.sky], dtype=np.float64).mean())
    sums, removed = levelled.lag_sums(MAX_LAG, counts)
    maps = None
    if cell is not None:
        maps = _histogram(z, levelled.sky), *_cells(z, levelled.sky, scatter, cell)
    return _Found(sums, removed, scatter, variance, maps)


def _scatter(pixels: Values) -> float:
    """Return the mean square of significances, those beyond 4 robust sigma left out."""
    squares = pixels**2
    kept = squares[squares <= (_CLIP * robust_sigma(pixels[::_SAMPLE])) ** 2]
    return float(kept.mean(dtype=np.float64)) / _LEFT if kept.size else 0.0


def _cells(z: Values, sky: NDArray[np.bool_], scatter: float, cell: int) -> tuple[Values, Values]:
    """Return the sum of clipped ``z^2`` and the number of sky pixels in cells."""
    rows, columns = (length // cell for length in z.shape)
    cut = np.s_[: rows * cell, : columns * cell]
    squares = np.minimum(z[cut] ** 2, np.float32(_CLIP**2 * scatter))
    if cell == 1:
        return squares, sky[cut].astype(np.float32)
    blocks = rows, cell, columns, cell
    total = squares.reshape(blocks).sum(axis=(1, 3), dtype=np.float32)
    return total, sky[cut].reshape(blocks).sum(axis=(1, 3), dtype=np.float32)


def _histogram(z: Values, sky: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Count the sky pixels by their significance."""
    places = z[sky]
    places += np.float32(_RANGE)
    places *= np.float32(_BINS / (2 * _RANGE))
    # The outermost bins have what is beyond them, too.
    at = np.clip(places, 0, _BINS - 1).astype(np.intp)
    return np.bincount(at, minlength=_BINS).astype(np.float64)
