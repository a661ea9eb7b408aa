"""The pixels that a kernel is fitted to: square windows spread over an area of the images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import fast_length
from diffdecor.core.kernel_solver import Windows
from diffdecor.core.planes import Plane, Window
from diffdecor.decorrelation.mask import unusable_pixels
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.kernels.model import Side

#: Most windows along either axis of an area, those that are held out included.
_MOST = 7
#: Least side of a window, pixels.
_LEAST_SIDE = 24
#: No measurement is larger than this, or this many times as far from the level as most pixels.
_LARGEST, _FAR = 1e60, 1e8


@dataclass(frozen=True, eq=False)
class Pixels:
    """Windows of science image, template and difference: see `core.kernel_solver.Windows`.

    Science image and template are ``(nwindow, n + 2 reach, n + 2 reach)``, NaN beyond their
    border; difference and `good` are ``(nwindow, n, n)``.
    """

    science: NDArray[np.float64]
    template: NDArray[np.float64]
    difference: NDArray[np.float64]
    good: NDArray[np.bool_]
    #: 0-based first pixels ``(x, y)`` of the windows ``(nwindow, 2)``.
    places: NDArray[np.intp]
    reach: int

    def __len__(self) -> int:
        return len(self.places)

    @property
    def side(self) -> int:
        """Pixels n along either axis of a window."""
        return int(self.difference.shape[1])

    @property
    def x(self) -> NDArray[np.float64]:
        """0-based columns of the pixels ``(nwindow, n)``."""
        return self.places[:, :1] + np.arange(self.side, dtype=np.float64)

    @property
    def y(self) -> NDArray[np.float64]:
        """0-based rows of the pixels ``(nwindow, n)``."""
        return self.places[:, 1:] + np.arange(self.side, dtype=np.float64)

    def convolved(self, side: Side) -> Windows:
        """Return the windows if the image of this side was convolved."""
        inner = slice(self.reach, self.reach + self.side)
        pair = (self.science, self.template)
        plain, matched = pair if side == "template" else pair[::-1]
        return Windows(plain[:, inner, inner], matched, self.difference, self.good, self.reach)

    def some(self, chosen: NDArray[np.bool_]) -> Pixels:
        """Return some of the windows."""
        return Pixels(
            self.science[chosen],
            self.template[chosen],
            self.difference[chosen],
            self.good[chosen],
            self.places[chosen],
            self.reach,
        )


@dataclass(frozen=True, eq=False)
class WindowGrid:
    """Where windows are: first pixels ``(n, 2)``, and which of them are held out."""

    places: NDArray[np.intp]
    held_out: NDArray[np.bool_]
    side: int


def within_reach(area: Window, shape: tuple[int, int], reach: int) -> Window:
    """Return the part of an area whose kernels stay within the image."""
    inner = Window.whole(shape).grown(-reach)
    return Window(
        max(area.x0, inner.x0),
        min(area.x1, inner.x1),
        max(area.y0, inner.y0),
        min(area.y1, inner.y1),
    )


def window_side(area: Window, kernel_size: int) -> int:
    """Return the side of windows for kernels of a size in an area, pixels."""
    shorter = min(area.shape)
    wanted = max(_LEAST_SIDE, shorter // 4)
    best = fast_length(max(4 * kernel_size, 64)) - kernel_size + 1
    return min(best, wanted, shorter)


def window_grid(area: Window, side: int) -> WindowGrid:
    """Spread windows over an area, every second of them held out, as on a chessboard."""
    ny, nx = area.shape
    counts = [max(1, min(_MOST, length // side)) for length in (nx, ny)]
    x, y = (
        np.linspace(first, first + length - side, count).round().astype(int)
        for first, length, count in zip((area.x0, area.y0), (nx, ny), counts, strict=True)
    )
    column, row = np.meshgrid(np.arange(len(x)), np.arange(len(y)))
    places = np.stack([x[column.ravel()], y[row.ravel()]], axis=1)
    return WindowGrid(places, (column + row).ravel() % 2 == 1, side)


def read_pixels(
    subtraction: Subtraction, places: NDArray[np.intp], side: int, reach: int
) -> Pixels:
    """Read windows of a subtraction; no more than the rows of one row of windows is held."""
    science, template = subtraction.pair
    unusable = unusable_pixels(subtraction)
    shape = len(places), side, side
    wide = len(places), side + 2 * reach, side + 2 * reach
    images = np.full(wide, np.nan), np.full(wide, np.nan)
    difference, good = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    for y0, numbers in _by_rows(places):
        inner = Window(0, subtraction.shape[1], y0, y0 + side)
        outer = Window(0, subtraction.shape[1], y0 - reach, y0 + side + reach)
        outer = outer.within(subtraction.shape)
        for target, exposure in zip(images, (science, template), strict=True):
            _fill(target, exposure.image, outer, places, numbers, reach)
        for target, plane in ((difference, subtraction.difference.image), (good, unusable)):
            _fill(target, plane, inner, places, numbers, 0)
    for one in (*images, difference):
        one[_absurd(one)] = np.nan
    good = ~good & np.isfinite(difference)
    return Pixels(*images, difference, good, places, reach)


def _absurd(pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the pixels that stand for missing data: no other would show anything beside them.

    Transforms of a window with such a pixel have its rounding everywhere.
    """
    known = pixels[np.isfinite(pixels)]
    if not known.size:
        return np.zeros(pixels.shape, dtype=bool)
    level = np.median(known)
    usual = float(np.median(np.abs(known - level)))
    most = min(_LARGEST, _FAR * usual) if usual > 0 else _LARGEST
    return np.abs(pixels - level) > most


def _by_rows(places: NDArray[np.intp]) -> Iterable[tuple[int, Sequence[int]]]:
    """Yield the first row of windows, and the numbers of those that begin there."""
    for y0 in np.unique(places[:, 1]).tolist():
        yield y0, np.flatnonzero(places[:, 1] == y0).tolist()


def _fill(
    target: NDArray[np.generic],
    plane: Plane,
    rows: Window,
    places: NDArray[np.intp],
    numbers: Sequence[int],
    reach: int,
) -> None:
    """Copy pixels of some rows of a plane into windows that reach over its border."""
    pixels = plane[rows.rows]
    for number in numbers:
        x0, y0 = (places[number] - reach).tolist()
        x1 = x0 + target.shape[2]
        left, right = max(0, x0), min(pixels.shape[1], x1)
        top = rows.y0 - y0
        with np.errstate(invalid="ignore", over="ignore"):  # signalling NaNs
            target[number, top : top + len(pixels), left - x0 : right - x0] = pixels[:, left:right]
