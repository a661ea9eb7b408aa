"""Planes: two-dimensional pixels that are read by rows, many of them computed as they are read.

Three words for what is worked on together: a *band* is a range of rows, read and written as one,
the work of one thread; a *tile* is the input of one Fourier transform, a band cut along x; a
*chunk* is so few rows that everything made of them stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock, local
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diffdecor.core.parallel import ordered_map

#: What is told how much is done, and of how much.
Progress = Callable[[int, int], None]
#: Pixels of a chunk.
_CHUNK = 1 << 17
#: Pixels of a streamed band, and of a sample.
_BAND = 1 << 20


class Plane(Protocol):
    """Two-dimensional pixels that can be sliced by rows.

    A numpy array is one; so is an image in a FITS file, or a plane made row by row from others.
    Several threads may read one at the same time. Readers must not change the rows: they may be a
    view of an array that others use.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Return ``(ny, nx)``."""

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Return the rows ``rows`` (step 1) as an array ``(n, nx)``."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: first pixel and one past the last along either axis, 0-based."""

    x0: int
    x1: int
    y0: int
    y1: int

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Window:
        """Return the window of all pixels of a plane ``(ny, nx)``."""
        return cls(0, shape[1], 0, shape[0])

    @property
    def rows(self) -> slice:
        """Rows of the window."""
        return slice(self.y0, self.y1)

    @property
    def columns(self) -> slice:
        """Columns of the window."""
        return slice(self.x0, self.x1)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of what is in the window."""
        return self.y1 - self.y0, self.x1 - self.x0

    def within(self, shape: tuple[int, int]) -> Window:
        """Return the part of the window that lies in a plane ``(ny, nx)``."""
        ny, nx = shape
        return Window(max(0, self.x0), min(nx, self.x1), max(0, self.y0), min(ny, self.y1))

    def relative_to(self, other: Window) -> Window:
        """Return the window counted from the first pixel of another one."""
        x, y = other.x0, other.y0
        return Window(self.x0 - x, self.x1 - x, self.y0 - y, self.y1 - y)

    def grown(self, margin: int) -> Window:
        """Return the window with a margin of pixels on every side."""
        return Window(self.x0 - margin, self.x1 + margin, self.y0 - margin, self.y1 + margin)


@dataclass(frozen=True, eq=False)
class LazyPlane:
    """A plane ``(ny, nx)`` whose rows are computed, from their slice, when they are read."""

    shape: tuple[int, ...]
    rows: Callable[[slice], NDArray[Any]]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return the rows ``rows``."""
        return self.rows(rows)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001
        """Return all rows: what numpy makes an array of."""
        return np.array(self.rows(slice(0, self.shape[0])), dtype=dtype, copy=copy)


class CachedPlane:
    """A plane that keeps the rows each thread read last: rows within them then cost nothing.

    Read the largest range first.
    """

    def __init__(self, plane: Plane) -> None:
        self.shape = plane.shape
        self._plane = plane
        self._last = local()

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return the rows ``rows``."""
        first, pixels = getattr(self._last, "rows", (0, ()))
        if not first <= rows.start <= rows.stop <= first + len(pixels):
            first, pixels = rows.start, self._plane[rows]
            self._last.rows = first, pixels
        return np.asarray(pixels[rows.start - first : rows.stop - first])


def constant_plane(value: float, shape: tuple[int, int]) -> LazyPlane:
    """Return a plane ``(ny, nx)`` of one value, which takes no memory."""
    return LazyPlane(shape, lambda rows: np.full((rows.stop - rows.start, shape[1]), float(value)))


class Target(Protocol):
    """Two-dimensional pixels whose rows can be assigned: an array, or a plane of a file."""

    def __setitem__(self, rows: slice, values: NDArray[Any], /) -> None:
        """Take the values of some rows; several threads may, each for rows of its own."""


class Count:
    """A target that only counts the pixels that are not zero."""

    def __init__(self) -> None:
        self.number = 0
        self._lock = Lock()

    def __setitem__(self, rows: slice, values: NDArray[Any]) -> None:
        """Count the values of some rows that are not zero."""
        found = int(np.count_nonzero(values))
        with self._lock:
            self.number += found


def copy_planes(
    pairs: Sequence[tuple[Plane, Target]],
    bands: Sequence[slice],
    threads: int,
    progress: Progress | None = None,
) -> None:
    """Copy planes into targets band by band: all planes of a band, in order, before the next one.

    As many bands as there are threads are worked on at a time; the result does not depend on it.
    `progress` is told of the rows that are done, in this thread.
    """

    def copy(rows: slice) -> None:
        for plane, target in pairs:
            target[rows] = plane[rows]

    total, done = sum(rows.stop - rows.start for rows in bands), 0
    for rows, _ in zip(bands, ordered_map(copy, bands, threads), strict=True):
        done += rows.stop - rows.start
        if progress is not None:
            progress(done, total)


def in_chunks(plane: Plane) -> LazyPlane:
    """Return the same plane ``(ny, nx)``, whose rows are made chunk by chunk.

    Intermediate results then stay in the processor's cache, and take hardly any memory. Not for
    planes whose rows are best made together, such as convolutions.
    """

    def read(rows: slice) -> NDArray[Any]:
        out = None
        for chunk in chunks(rows, plane.shape[1]):
            pixels = plane[chunk]
            if out is None:
                out = np.empty((rows.stop - rows.start, plane.shape[1]), pixels.dtype)
            out[chunk.start - rows.start : chunk.stop - rows.start] = pixels
        return plane[rows] if out is None else out

    return LazyPlane(plane.shape, read)


def part_of(plane: Plane, window: Window) -> NDArray[Any]:
    """Return the pixels of a window, a copy; no more than a chunk of whole rows is held."""
    parts = chunks(window.rows, plane.shape[1])
    return np.concatenate([plane[chunk][:, window.columns] for chunk in parts])


def windowed(plane: Plane, window: Window) -> LazyPlane:
    """Return a window of a plane as a plane of its own, whose rows are read on demand."""

    def read(rows: slice) -> NDArray[Any]:
        return plane[window.y0 + rows.start : window.y0 + rows.stop][:, window.columns]

    return LazyPlane(window.shape, read)


def chunks(rows: slice, nx: int) -> list[slice]:
    """Cut rows of `nx` pixels into chunks, in rising order."""
    return cut(rows, max(1, _CHUNK // nx))


def bands(shape: tuple[int, ...], height: int = 256) -> list[slice]:
    """Cut all rows of a plane ``(ny, nx)`` into bands, in rising order."""
    return cut(slice(0, shape[0]), height)


def cut(rows: slice, height: int) -> list[slice]:
    """Cut rows into slices of `height` rows, the last one of what is left, in rising order."""
    return [
        slice(start, min(start + height, rows.stop))
        for start in range(rows.start, rows.stop, height)
    ]


def equal_parts(length: int, size: int) -> list[tuple[int, int]]:
    """Cut an axis into parts of about `size` pixels, as equal as can be: first pixel, one past."""
    edges = np.linspace(0, length, max(1, round(length / size)) + 1).round().astype(int).tolist()
    return list(pairwise(edges))


def streamed(plane: Plane) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield the rows and pixels ``(n, nx)`` of bands of about a million pixels, first to last."""
    for rows in bands(plane.shape, max(1, _BAND // plane.shape[1])):
        yield rows, plane[rows]


def sampled(plane: Plane) -> NDArray[Any]:
    """Return evenly spaced rows ``(n, nx)``, about a million pixels; all rows of a small plane."""
    ny, nx = plane.shape
    count = max(1, _BAND // nx)
    if count >= ny:
        return plane[0:ny]
    rows = np.linspace(0, ny - 1, count).round().astype(int)
    return np.concatenate([plane[row : row + 1] for row in rows.tolist()])


def in_memory(plane: Plane) -> NDArray[Any]:
    """Return all rows ``(ny, nx)`` of a plane; an array is returned as it is."""
    return plane[0 : plane.shape[0]]
