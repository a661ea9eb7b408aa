"""Block convolution: one kernel for a whole plane, or kernels that vary smoothly over it.

The plane is cut into bands of rows, and these into tiles. Each tile is read with the margin that
the kernel reaches over, transformed, multiplied and cropped (overlap-save), so nothing wraps
around, memory stays that of a band, and the rounding of a bright star stays in its tile. A kernel
that varies is bilinear between the four corners of a tile: a pixel is the bilinear mean of the four
convolutions, which is the convolution with the bilinear mean of the four kernels. The result is
continuous everywhere, without seams. The square of such a kernel is quadratic along either axis:
then there are three kernels an axis, and nine convolutions.

Pixels and kernels are transformed in the requested precision, or in double precision where a pixel
of a tile is so bright that its rounding would show in the others. Bands are independent of each
other: several threads may each work on one.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import local
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diffdecor.core.fourier import fast_shape, transfer
from diffdecor.core.interpolate import KernelField, Kernels
from diffdecor.core.planes import Plane
from diffdecor.core.spans import Span, spans

Edges = Literal["extend", "zero"]
Precision = Literal["single", "double"]

#: Shortest transform of a tile with its margins, and longest side of a tile between nodes, pixels.
TILE = 256
#: Transforms are at least this many times as long as the margins: fewer pixels are read twice.
_MARGINS = 5
#: Lengths of transforms are multiples of this: many factors of 2, and one length for most tiles.
_STEP = 32
#: By what share a side is shortened at most, to fit a transform.
_SHORTER = 8
#: Most bands of rows whose kernels' transforms are kept.
_BANDS_KEPT = 4
#: Most pixels of a band, since every thread holds one; but at least this many rows.
_BAND, _LOWEST = 1 << 22, 64
#: Numpy transforms in single precision only where it scales: else the factor is an integer.
_NORM: Literal["ortho"] = "ortho"
_TYPES: dict[str, Any] = {"single": np.float32, "double": np.float64}


class Convolution:
    """The sum of planes, each convolved with a field of kernels, computed band by band.

    Parameters
    ----------
    *terms : tuple of plane (ny, nx) and KernelField or SquaredField
        Planes of finite pixels, and what each is convolved with. All fields have the same nodes.
    edges : {"extend", "zero"}
        What lies beyond the border: the plane reflected about its outermost pixels, or zeros.
    precision : {"single", "double"}
        Of pixels and their transforms.
    bright_limit : float
        Tiles with a pixel beyond it are always transformed in double precision: rounding is
        relative to the brightest pixel, and spreads over the whole tile.
    where : plane (ny, nx) of bool, optional
        The pixels that are wanted. Tiles without any are not computed: 0.
    """

    def __init__(
        self,
        *terms: tuple[Plane, Kernels],
        edges: Edges = "extend",
        precision: Precision = "single",
        bright_limit: float = np.inf,
        where: Plane | None = None,
    ) -> None:
        self._where = where
        self._bright_limit = np.inf if precision == "double" else bright_limit
        self._planes = [plane for plane, _ in terms]
        self._fields = [field for _, field in terms]
        self._edges = edges
        self._real = _TYPES[precision]
        self.shape = self._planes[0].shape
        margins = [max(sides) for sides in zip(*(f.margins for f in self._fields), strict=True)]
        self._left, self._right, self._bottom, self._top = margins
        field = self._fields[0]
        ny, nx = self.shape
        self._height = min(_longest(field.y, self._bottom + self._top), max(_LOWEST, _BAND // nx))
        # Quadratic where the kernels of any term are.
        curved_x, curved_y = (
            np.logical_or.reduce(one)
            for one in zip(*(field.curved for field in self._fields), strict=True)
        )
        self._rows = spans(field.y, ny, ny, curved_y)
        self._columns = spans(field.x, nx, _longest(field.x, self._left + self._right), curved_x)
        self._varies = any(len(field.x) > 1 or len(field.y) > 1 for field in self._fields)
        #: The last rows that kernels at a position serve.
        self._last = {y: rows.stop for rows in self._rows for y in rows.corners}
        self._kept: dict[tuple[object, ...], list[NDArray[Any]]] = {}
        self._sums: dict[tuple[float, float], list[float]] = {}

    @property
    def bands(self) -> list[slice]:
        """Rows that are best computed together: all rows, in rising order."""
        parts = (one for rows in self._rows for one in rows.cut(-(-len(rows) // self._height)))
        return [slice(rows.start, rows.stop) for rows in parts]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return the convolution in some rows, an array ``(n, nx)``."""
        out = np.empty((rows.stop - rows.start, self.shape[1]), self._real)
        for span in self._rows:
            within = span.part(rows.start, rows.stop)
            # Rows that are hardly more than a band are one.
            for part in (
                within.cut(max(1, round(len(within) / self._height))) if len(within) else ()
            ):
                self._fill(out[part.start - rows.start : part.stop - rows.start], part)
        return out

    def _fill(self, out: NDArray[Any], rows: Span) -> None:
        """Compute the convolution in the rows of one span."""
        here = None if self._where is None else self._where[rows.start : rows.stop]
        if here is not None and not here.any():
            out[:] = 0
            return
        wanted = np.arange(rows.start - self._bottom, rows.stop + self._top)
        there = _reflected(wanted, self.shape[0])
        read = slice(int(there.min()), int(there.max()) + 1)
        # All planes are read first: one may be a convolution itself, and use the same scratch.
        pixels = [plane[read] for plane in self._planes]
        blocks = [
            self._padded(number, plane, there - read.start, there != wanted)
            for number, plane in enumerate(pixels)
        ]
        kernels: dict[tuple[Any, ...], list[list[NDArray[Any]]]] = {}
        for columns in self._columns:
            place = slice(columns.start, columns.stop + self._left + self._right)
            tiles = [block[:, place] for block in blocks]
            into = out[:, columns.start : columns.stop]
            if here is not None and not here[:, columns.start : columns.stop].any():
                into[:] = 0
                continue
            ranges = [(float(tile.min()), float(tile.max())) for tile in tiles]
            if all(lowest == highest for lowest, highest in ranges):
                into[:] = self._of_constants([value for value, _ in ranges], rows, columns)
                continue
            brightest = max(max(highest, -lowest) for lowest, highest in ranges)
            shape = _transform_shape(*tiles[0].shape)
            if brightest > self._bright_limit:
                # The precision of a transform is that of what goes in.
                tiles = [tile.astype(np.float64) for tile in tiles]
            transforms = self._forward(tiles, shape)
            # Adjacent tiles share the kernels of the nodes between them.
            keys = [(x, shape, transforms[0].dtype) for x in columns.corners]
            kernels = {
                key: kernels.get(key) or [self._transfers(rows, y, *key) for y in rows.corners]
                for key in keys
            }
            self._tile(into, [*kernels.values()], transforms, rows, columns, shape)

    def _of_constants(
        self, values: Sequence[float], rows: Span, columns: Span
    ) -> NDArray[np.float64] | float:
        """Return the convolution of tiles that have one value each: there is nothing to transform.

        It is the mean of the sums of the kernels at every corner.
        """
        if not any(values):
            return 0.0
        sums = [
            [float(np.dot(values, self._sums_at(x, y))) for x in columns.corners]
            for y in rows.corners
        ]
        along_y, along_x = (span.all_weights() for span in (rows, columns))
        return np.asarray(along_y.T @ np.array(sums) @ along_x)

    def _sums_at(self, x: float, y: float) -> list[float]:
        """Return the sums of all terms' kernels at a position."""
        if (x, y) not in self._sums:
            self._sums[x, y] = [float(field.at(x, y).sum()) for field in self._fields]
        return self._sums[x, y]

    def _padded(
        self,
        number: int,
        pixels: NDArray[Any],
        order: NDArray[np.intp],
        outside: NDArray[np.bool_],
    ) -> NDArray[Any]:
        """Return rows of a plane, in their order, with the margins that kernels reach over."""
        nx = self.shape[1]
        width = nx + self._left + self._right
        block = _scratch(f"block {number}", (len(order), width), self._real)
        inside = slice(self._left, self._left + nx)
        with np.errstate(over="ignore"):
            block[:, inside] = pixels[order] if outside.any() else pixels
        beyond = np.r_[0 : self._left, self._left + nx : width]
        if self._edges == "zero":
            block[outside] = 0
            block[:, beyond] = 0
        elif beyond.size:
            block[:, beyond] = block[:, self._left + _reflected(beyond - self._left, nx)]
        return block

    def _transfers(
        self, rows: Span, y: float, x: float, shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> list[NDArray[Any]]:
        """Return the transforms of all terms' kernels at a position."""
        key = x, y, shape, dtype
        # One kernel serves all tiles; those at a node the rows on either side of it.
        wanted = not self._varies or rows.stop < self._last[y]
        found = self._kept.get(key) if wanted else self._kept.pop(key, None)
        if found is None:
            found = [transfer(field.at(x, y), field.origin, shape, dtype) for field in self._fields]
            if wanted:
                if len(self._kept) > _BANDS_KEPT * len(self._columns):
                    self._kept.clear()
                self._kept[key] = found
        return found

    def _forward(self, tiles: Sequence[NDArray[Any]], shape: tuple[int, int]) -> list[NDArray[Any]]:
        """Return the transforms of tiles."""
        transforms = []
        for number, tile in enumerate(tiles):
            dtype = np.result_type(tile.dtype, np.complex64)
            transform = _scratch(f"transform {number}", (shape[0], shape[1] // 2 + 1), dtype)
            np.fft.rfft(tile, shape[1], norm=_NORM, out=transform[: len(tile)])
            transform[len(tile) :] = 0
            transforms.append(np.fft.fft(transform, axis=0, norm=_NORM, out=transform))
        return transforms

    def _tile(
        self,
        out: NDArray[Any],
        kernels: Sequence[Sequence[Sequence[NDArray[Any]]]],
        transforms: Sequence[NDArray[Any]],
        rows: Span,
        columns: Span,
        shape: tuple[int, int],
    ) -> None:
        """Multiply with the kernels of every corner, transform back, and mix.

        Means are linear: along y they are taken before the transform along x, and only of the rows
        of the result.
        """
        dtype, real = transforms[0].dtype, transforms[0].real.dtype
        cropped = slice(self._bottom, self._bottom + len(rows))
        sides = []
        for number, column in enumerate(kernels):
            products = []
            for row, terms in enumerate(column):
                product = _scratch(f"product {row}", transforms[0].shape, dtype)
                np.multiply(transforms[0], terms[0], out=product)
                for transform, term in zip(transforms[1:], terms[1:], strict=True):
                    product += transform * term
                products.append(np.fft.ifft(product, axis=0, norm=_NORM, out=product)[cropped])
            mixed = _mixed(products, rows, np.s_[:, np.newaxis])
            side = _scratch(f"side {number}", (len(rows), shape[1]), real)
            np.fft.irfft(mixed, shape[1], norm=_NORM, out=side)
            sides.append(side[:, self._left : self._left + len(columns)])
        out[:] = _mixed(sides, columns, np.s_[np.newaxis, :])


def convolved(
    plane: Plane, kernels: KernelField, *, edges: Edges = "extend", precision: Precision = "double"
) -> NDArray[Any]:
    """Convolve a plane, and return all of it.

    Parameters
    ----------
    plane : plane (ny, nx)
        Finite pixels.
    kernels : KernelField
        The kernels.
    edges : {"extend", "zero"}
        What lies beyond the border.
    precision : {"single", "double"}
        Of pixels and their transforms.

    Returns
    -------
    array (ny, nx)
        The convolution.
    """
    return Convolution((plane, kernels), edges=edges, precision=precision)[0 : plane.shape[0]]


def _mixed(arrays: list[NDArray[Any]], span: Span, along: Any) -> NDArray[Any]:  # noqa: ANN401
    """Return the only array, or the weighted mean of all along a span; they are overwritten."""
    first, *others = arrays
    real = first.real.dtype
    if not others:
        return first
    # Real weights count for both parts of complex numbers alike.
    first_parts, *parts = (one.view(real) for one in arrays)
    for part, weights in zip(parts, span.weights(real), strict=True):
        np.subtract(part, first_parts, out=part)
        np.multiply(part, weights[along], out=part)
    for part in parts:
        first_parts += part
    return first


def _longest(nodes: NDArray[np.float64], margins: int) -> int:
    """Return the most pixels of a tile along an axis."""
    size = max(TILE, _MARGINS * margins)
    return size if len(nodes) > 1 else size - min(margins, size - 1)


def best_side(most: int, margins: int) -> int:
    """Return the side of a tile that wastes least of its transform: one that just fits.

    That saves up to a third of the arithmetic.

    Parameters
    ----------
    most : int
        Longest side, pixels.
    margins : int
        Pixels that are read beyond both of its ends, together.

    Returns
    -------
    int
        A side that is shorter by an eighth at most, pixels.
    """

    def used(side: int) -> float:
        parts = -(-side // max(TILE, _MARGINS * margins))
        return side / parts / _transform_shape(-(-side // parts) + margins, 1)[0]

    return max(range(most - most // _SHORTER, most + 1), key=lambda side: (used(side), side))


def _transform_shape(ny: int, nx: int) -> tuple[int, int]:
    """Return a shape with many factors of 2, the same for tiles of nearly one size."""
    return fast_shape(-(-ny // _STEP) * _STEP, -(-nx // _STEP) * _STEP)


def _reflected(pixels: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return indices with those beyond the border reflected about the outermost pixels."""
    if length == 1:
        return np.zeros_like(pixels)
    last = length - 1
    return last - np.abs(last - pixels % (2 * last))


class _Scratch(local):
    """Arrays that each thread reuses: new memory costs as much as the arithmetic."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, DTypeLike], NDArray[Any]] = {}

    def __call__(self, name: str, shape: tuple[int, int], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of this shape with arbitrary content."""
        size = shape[0] * shape[1]
        there = self._arrays.get((name, dtype))
        if there is None or there.size < size:
            there = self._arrays[name, dtype] = np.empty(size, dtype)
        return there[:size].reshape(shape)


_scratch = _Scratch()
