"""Variance planes of a decorrelated difference.

The result is ``psi * D = (psi a_S A) * S - (psi a_T B) * T``, and the noise of pixels of S and T is
independent: its variance is the sum of each variance plane convolved with the square, pixel by
pixel, of the combined kernel. A variance plane never goes through two kernels one after the other:
the noise of pixels is not independent once convolved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diffdecor.core.convolve import Convolution, Edges, Precision
from diffdecor.core.fourier import Origin, convolve_stamps
from diffdecor.core.interpolate import KernelField, Kernels, bracket
from diffdecor.core.noise import NoiseSide
from diffdecor.core.planes import LazyPlane, Plane

#: Kernels of a batch.
_BATCH = 64
#: Share of the sum of a squared kernel that may be cut off.
_TAIL = 1e-8
#: Relative deviation of a weight from a linear one that requires nodes in between, and the number
#: of parts of such an interval: what remains is less than a hundredth of the deviation.
_STRAIGHT, _PARTS = 1e-3, 12


def combined_kernels(
    filters: NDArray[np.float64], side: NoiseSide
) -> tuple[NDArray[np.float64], Origin]:
    """Return ``psi a K`` at n places, whose squares are the kernels of a side's variance plane.

    Parameters
    ----------
    filters : array (n, 2m + 1, 2m + 1)
        Decorrelation kernels psi.
    side : NoiseSide
        The noise of the image, and its kernel and factor in the difference.

    Returns
    -------
    array (n, ky, kx)
        Kernels, cut where their tail is negligible, the sums of their squares kept exactly.
    tuple of int
        Their origin ``(cx, cy)``.
    """
    batches, (origin, *_) = zip(*_combined_batches(filters, side), strict=True)
    return cut_kernels(np.concatenate(batches), origin)


def squared_sums(filters: NDArray[np.float64], side: NoiseSide) -> NDArray[np.float64]:
    """Return the sums of the squares of ``psi a K``, the weights of a side, at n places.

    Parameters
    ----------
    filters : array (n, 2m + 1, 2m + 1)
        Decorrelation kernels psi.
    side : NoiseSide
        The noise of the image, and its kernel and factor in the difference.

    Returns
    -------
    array (n,)
        What a constant variance plane is multiplied with.
    """
    return np.concatenate(
        [np.square(one).sum(axis=(1, 2)) for one, _ in _combined_batches(filters, side)]
    )


def variance_weights(filters: KernelField, side: NoiseSide) -> KernelField:
    """Return the weights of a side over the image, with those of interpolated filters.

    Between two nodes the sum of the squares is that of the mean of two kernels, a quadratic
    function of the position. Where it is not nearly linear there are nodes in between.

    Parameters
    ----------
    filters : KernelField
        Decorrelation kernels psi on n nodes, row by row.
    side : NoiseSide
        The noise of the image, and its kernel and factor in the difference.

    Returns
    -------
    KernelField
        Weights ``(ny, nx, 1, 1)``.
    """
    nx = len(filters.x)

    def rows() -> Iterator[NDArray[np.float64]]:
        for row, stamps in enumerate(filters.stamps):
            part = side[slice(row * nx, (row + 1) * nx)]
            yield np.concatenate([one for one, _ in _combined_batches(stamps, part)])

    return _sums_between(filters.x, filters.y, rows())


def sums_of_squares(kernels: KernelField) -> KernelField:
    """Return the sums of the squares of kernels over the image, with those of interpolated ones.

    Parameters
    ----------
    kernels : KernelField
        The kernels.

    Returns
    -------
    KernelField
        The sums ``(ny, nx, 1, 1)``, with nodes in between where they are not nearly linear.
    """
    return _sums_between(kernels.x, kernels.y, kernels.stamps)


def _sums_between(
    x: NDArray[np.float64], y: NDArray[np.float64], rows: Iterable[NDArray[np.float64]]
) -> KernelField:
    """Return the sums of the squares of kernels, given row by row of nodes, and between these."""
    values = np.empty((2 * len(y) - 1, 2 * len(x) - 1))
    above: NDArray[np.float64] | None = None
    for row, here in enumerate(rows):
        values[2 * row] = _energies(here)
        if above is not None:
            values[2 * row - 1] = _energies((above + here) / 2)
        above = here
    columns, across = _refined(x, values)
    lines, both = _refined(y, across.T)
    return KernelField(columns, lines, both.T[:, :, np.newaxis, np.newaxis], (0, 0))


def _energies(kernels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of squares of kernels ``(n, ky, kx)`` in a row, and of means of adjacent."""
    found = np.empty(2 * len(kernels) - 1)
    found[::2] = np.square(kernels).sum(axis=(1, 2))
    found[1::2] = [np.square((a + b) / 2).sum() for a, b in pairwise(kernels)]
    return found


def _refined(
    nodes: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes and values ``(m, n)`` that are nearly linear between the nodes.

    `values` ``(m, 2n - 1)`` are given at the nodes and halfway between, and quadratic over each
    interval.
    """
    at_nodes, halfway = values[:, ::2], values[:, 1::2]
    first, second = at_nodes[:, :-1], at_nodes[:, 1:]
    bent = np.abs(halfway - (first + second) / 2) > _STRAIGHT * np.abs(halfway)
    positions, found = [nodes[:1]], [at_nodes[:, :1]]
    for number, bends in enumerate(np.atleast_1d(bent.any(axis=0))):
        share = np.arange(1, _PARTS + 1) / _PARTS if bends else np.ones(1)
        ends, middle = values[:, 2 * number : 2 * number + 3 : 2], halfway[:, number, np.newaxis]
        positions.append(nodes[number] + share * (nodes[number + 1] - nodes[number]))
        found.append(
            ends[:, :1] * (1 - share) * (1 - 2 * share)
            + middle * 4 * share * (1 - share)
            + ends[:, 1:] * share * (2 * share - 1)
        )
    return np.concatenate(positions), np.concatenate(found, axis=1)


def _combined_batches(
    filters: NDArray[np.float64], side: NoiseSide
) -> Iterator[tuple[NDArray[np.float64], Origin]]:
    """Yield the combined kernels, not cut, with their origin, a batch at a time."""
    half_width = filters.shape[-1] // 2
    for start in range(0, len(filters), _BATCH):
        batch = slice(start, start + _BATCH)
        part = side[batch]
        combined, origin = convolve_stamps(
            filters[batch], (half_width, half_width), *part.noise_stamps
        )
        yield part.scale[:, np.newaxis, np.newaxis] * combined, origin


def cut_kernels(
    kernels: NDArray[Any], origin: Origin, tail: float = _TAIL
) -> tuple[NDArray[Any], Origin]:
    """Cut off the margin whose energy is negligible in all kernels.

    Parameters
    ----------
    kernels : array (n, ky, kx)
        The kernels.
    origin : tuple of int
        Their origin ``(cx, cy)``.
    tail : float
        Share of the energy that may be cut off at either end of an axis.

    Returns
    -------
    array (n, ky, kx)
        The rest, scaled so that the sums of the squares are what they were.
    tuple of int
        Its origin.
    """
    squares = kernels**2
    sums = squares.sum(axis=(1, 2), keepdims=True)
    shares = np.divide(squares, sums, out=squares, where=sums > 0).max(axis=0)
    (y0, y1), (x0, x1) = (_support(shares.sum(axis=axis), tail) for axis in (1, 0))
    kept = kernels[:, y0:y1, x0:x1]
    kept_sums = np.square(kept).sum(axis=(1, 2), keepdims=True)
    ratio = np.divide(sums, kept_sums, out=np.ones_like(sums), where=kept_sums > 0)
    return kept * np.sqrt(ratio), (origin[0] - x0, origin[1] - y0)


def _support(profile: NDArray[Any], tail: float) -> tuple[int, int]:
    """Return the range of a profile beyond which either end has less than the tail."""
    limit = tail * max(float(profile.sum()), np.finfo(float).tiny)
    start = int(np.searchsorted(np.cumsum(profile, dtype=np.float64), limit))
    stop = len(profile) - int(np.searchsorted(np.cumsum(profile[::-1], dtype=np.float64), limit))
    return min(start, len(profile) - 1), max(stop, 1)


def single_holds(level: float | NDArray[np.float64]) -> bool:
    """Say whether single precision can hold numbers far below and above a level.

    Images in units like erg/s/cm2/Hz have variances of 1e-60: in single precision all would be 0.

    Parameters
    ----------
    level : float or array
        Positive numbers.

    Returns
    -------
    bool
        Whether all lie from 1e-30 to 1e30.
    """
    return bool(np.all((np.asarray(level) > 1e-30) & (np.asarray(level) < 1e30)))


def full_variance(
    *terms: tuple[Plane, Kernels],
    edges: Edges = "extend",
    precision: Precision = "single",
    bright_limit: float = np.inf,
) -> LazyPlane:
    """Convolve variance planes with squared kernels, and add them up.

    Parameters
    ----------
    *terms : tuple of plane (ny, nx) and SquaredField
        Variances, finite and not negative, and the squared kernels of each.
    edges : {"extend", "zero"}
        What lies beyond the border.
    precision : {"single", "double"}
        Of the transforms.
    bright_limit : float
        Tiles with a larger variance are always transformed in double precision.

    Returns
    -------
    LazyPlane
        Variances, never negative: rounding errors below zero are clipped.
    """
    total = Convolution(*terms, edges=edges, precision=precision, bright_limit=bright_limit)

    def read(rows: slice) -> NDArray[Any]:
        variance = total[rows]
        return np.asarray(np.maximum(variance, 0, out=variance))

    return LazyPlane(terms[0][0].shape, read)


def weighted_variance(plane: Plane, weights: KernelField, dtype: DTypeLike) -> LazyPlane:
    """Scale a variance plane by the sums of the squared kernels.

    Parameters
    ----------
    plane : plane (ny, nx)
        Variances; pixels without data stay what they are.
    weights : KernelField
        Squared kernels summed to one pixel, ``(ny, nx, 1, 1)``.
    dtype : data type
        Type of the result.

    Returns
    -------
    LazyPlane
        Variances.
    """
    pixels = np.arange(plane.shape[1])
    across = np.array(
        [np.interp(pixels, weights.x, row) for row in weights.stamps[:, :, 0, 0]], dtype
    )

    def read(rows: slice) -> NDArray[Any]:
        weight = _interpolate(weights.y, across, np.arange(rows.start, rows.stop))
        # What is beyond the type is as good as infinite, and infinity times nothing is not known.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(np.multiply(plane[rows], weight, dtype=dtype))

    return LazyPlane(plane.shape, read)


def _interpolate(
    nodes: NDArray[np.float64], values: NDArray[Any], positions: NDArray[np.intp]
) -> NDArray[Any]:
    """Interpolate rows of values ``(nnodes, nx)`` linearly to positions, constant beyond."""
    if len(nodes) == 1:
        return values
    first, second, share = bracket(nodes, positions)
    upper = share.astype(values.dtype)[:, np.newaxis]
    found = np.empty((len(positions), values.shape[1]), values.dtype)
    # Rows between the same nodes together: gathering their values would take as long as the rest.
    starts = np.flatnonzero(np.diff(first, prepend=-1)).tolist()
    for start, stop in pairwise([*starts, len(positions)]):
        lower = values[first[start]]
        part = found[start:stop]
        np.multiply(upper[start:stop], values[second[start]] - lower, out=part)
        part += lower
    return found
