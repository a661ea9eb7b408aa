"""Block convolution: one kernel for a whole plane, or one that varies smoothly over it.

The plane is cut into tiles; each is read with the margin that the kernel reaches over, transformed,
multiplied and cropped (overlap-save), so nothing wraps around and memory stays that of a band of
rows. A kernel that varies is given on the nodes of a rectilinear grid, and each tile lies between
four of them: the pixel takes the bilinear mean of the four convolutions, which is the convolution
with the bilinear mean of the four kernels. That is continuous everywhere: there are no seams.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin, fast_shape
from diffdecor.core.planes import Plane

Edges = Literal["extend", "zero"]
TILE = 256
"""Longest side of a tile without its margin, pixels."""


@dataclass(frozen=True, eq=False)
class KernelField:
    """Kernels on the nodes of a rectilinear grid, bilinear between them.

    Parameters
    ----------
    x, y : array (nx,), (ny,)
        Rising 0-based pixel positions of the node columns and rows. One of each: a kernel that
        does not vary. Beyond the outermost nodes the kernel stays that of the border.
    stamps : array (ny, nx, ky, kx)
        True-convolution kernels on the nodes.
    origin : tuple of int
        0-based origin ``(cx, cy)`` of the stamps. Stamps beside their origin are grown to it.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    stamps: NDArray[np.float64]
    origin: Origin

    def __post_init__(self) -> None:
        """Make sure that a tile's margins reach at least to its own pixels."""
        (cx, cy), (ky, kx) = self.origin, self.stamps.shape[-2:]
        left, right, below, above = (
            max(0, -cx),
            max(0, cx - kx + 1),
            max(0, -cy),
            max(0, cy - ky + 1),
        )
        if left or right or below or above:
            grown = np.pad(self.stamps, ((0, 0), (0, 0), (below, above), (left, right)))
            object.__setattr__(self, "stamps", grown)
            object.__setattr__(self, "origin", (cx + left, cy + below))

    @classmethod
    def constant(cls, stamp: NDArray[np.float64], origin: Origin) -> KernelField:
        """Return the field of one kernel ``(ky, kx)`` that holds everywhere."""
        node = np.zeros(1)
        return cls(node, node, stamp[np.newaxis, np.newaxis], origin)

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Pixels the kernels reach to the left, right, bottom and top of the pixel they serve."""
        ky, kx = self.stamps.shape[-2:]
        cx, cy = self.origin
        return kx - 1 - cx, cx, ky - 1 - cy, cy

    def at(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the kernel ``(ky, kx)`` at a 0-based position."""
        rows, upper = bracket(self.y, y)
        columns, right = bracket(self.x, x)
        below, above = (
            (1 - right) * self.stamps[row, columns[0]] + right * self.stamps[row, columns[1]]
            for row in rows
        )
        return np.asarray((1 - upper) * below + upper * above)


def bracket(nodes: NDArray[np.float64], position: float) -> tuple[tuple[int, int], float]:
    """Return the indices of the two nodes around a position, and the weight of the second.

    Parameters
    ----------
    nodes : array (n,)
        Rising positions.
    position : float
        Where; beyond the outermost nodes the nearer one has all the weight.

    Returns
    -------
    tuple of int
        Indices of the nodes.
    float
        Weight of the second, from 0 to 1.
    """
    second = int(np.clip(np.searchsorted(nodes, position), 1, max(1, len(nodes) - 1)))
    if len(nodes) == 1:
        return (0, 0), 0.0
    first = second - 1
    weight = (position - nodes[first]) / (nodes[second] - nodes[first])
    return (first, second), float(np.clip(weight, 0.0, 1.0))


def convolve(
    plane: Plane, kernels: KernelField, *, edges: Edges = "extend"
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Convolve a plane, band of rows by band of rows.

    Parameters
    ----------
    plane : plane (ny, nx)
        Finite pixels.
    kernels : KernelField
        The kernels.
    edges : {"extend", "zero"}
        What lies beyond the border: the plane reflected about its outermost pixels, or zeros.

    Yields
    ------
    rows : slice
        The rows of the band, from the first row of the plane to the last.
    band : array (n, nx)
        The convolution in these rows.
    """
    ny, nx = plane.shape
    columns = tiles(kernels.x, nx)
    left, right, bottom, top = kernels.margins
    for y0, y1 in tiles(kernels.y, ny):
        band = _padded_rows(plane, (y0 - bottom, y1 + top), (left, right), edges)
        out = np.empty((y1 - y0, nx))
        for x0, x1 in columns:
            block = band[:, x0 : x1 + left + right]
            out[:, x0:x1] = _tile(block, kernels, slice(y0, y1), slice(x0, x1))
        yield slice(y0, y1), out


def convolved(
    plane: Plane, kernels: KernelField, *, edges: Edges = "extend"
) -> NDArray[np.float64]:
    """Convolve a plane, and return all of it.

    Parameters
    ----------
    plane : plane (ny, nx)
        Finite pixels.
    kernels : KernelField
        The kernels.
    edges : {"extend", "zero"}
        What lies beyond the border.

    Returns
    -------
    array (ny, nx)
        The convolution.
    """
    return np.concatenate([band for _, band in convolve(plane, kernels, edges=edges)])


def tiles(nodes: NDArray[np.float64], length: int) -> list[tuple[int, int]]:
    """Cut ``length`` pixels at the nodes, and where these are far apart into equal tiles.

    Parameters
    ----------
    nodes : array (n,)
        Rising pixel positions.
    length : int
        Number of pixels.

    Returns
    -------
    list of (int, int)
        First pixel and one past the last of every tile; no tile is longer than `TILE`.
    """
    inner = [int(np.ceil(node)) for node in nodes if 0 < node < length - 1]
    cuts = sorted({0, *inner, length})
    parts = []
    for start, stop in itertools.pairwise(cuts):
        count = -(-(stop - start) // TILE)
        bounds = np.linspace(start, stop, count + 1).round().astype(int).tolist()
        parts += list(itertools.pairwise(bounds))
    return parts


def _padded_rows(
    plane: Plane, rows: tuple[int, int], margins: tuple[int, int], edges: Edges
) -> NDArray[np.float64]:
    """Read a band of rows and its margins, which may reach beyond the plane on every side."""
    ny = plane.shape[0]
    first, last = rows
    # Near a border more rows are read than lie in the band: as many as are to be reflected.
    start, stop = max(0, min(first, ny + ny - 1 - last)), min(ny, max(last, 1 - first))
    band = np.asarray(plane[start:stop], dtype=np.float64)
    below, above = max(0, -first), max(0, last - ny)
    mode: Any = {"mode": "reflect"} if edges == "extend" else {"mode": "constant"}
    padded = np.pad(band, ((below, above), margins), **mode)
    offset = first - (start - below)
    return padded[offset : offset + last - first]


def _tile(
    block: NDArray[np.float64], kernels: KernelField, rows: slice, columns: slice
) -> NDArray[np.float64]:
    """Convolve one tile, given with its margins."""
    if not block.any():
        return np.zeros((rows.stop - rows.start, columns.stop - columns.start))
    shape = fast_shape(*block.shape)
    transform = scipy.fft.rfft2(block, shape)

    def apply(stamp: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = scipy.fft.irfft2(transform * scipy.fft.rfft2(stamp, shape), shape)
        skip_y, skip_x = stamp.shape[0] - 1, stamp.shape[1] - 1
        return np.asarray(whole[skip_y : block.shape[0], skip_x : block.shape[1]])

    corners_y, upper = _corners(kernels.y, rows)
    corners_x, right = _corners(kernels.x, columns)
    bands = []
    for y in corners_y:
        pieces = [apply(kernels.at(x, y)) for x in corners_x]
        bands.append(_mix(pieces, right[np.newaxis, :]))
    return _mix(bands, upper[:, np.newaxis])


def _corners(
    nodes: NDArray[np.float64], pixels: slice
) -> tuple[tuple[float, ...], NDArray[np.float64]]:
    """Return the positions between which the kernel is linear, and the second one's weights."""
    positions = np.arange(pixels.start, pixels.stop, dtype=np.float64)
    if len(nodes) == 1 or len(positions) == 1:
        return (float(positions[0]),), np.zeros(len(positions))
    first, second = float(positions[0]), float(positions[-1])
    return (first, second), (positions - first) / (second - first)


def _mix(pieces: list[NDArray[np.float64]], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of one or two pieces, the second with the given weight."""
    if len(pieces) == 1:
        return pieces[0]
    return (1 - weight) * pieces[0] + weight * pieces[1]
