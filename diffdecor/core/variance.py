"""Variance planes of a decorrelated difference.

The result is ``psi * D = (psi a_S A) * S - (psi a_T B) * T``, and the noise of pixels of S and T is
independent: its variance is the sum of each variance plane convolved with the square, pixel by
pixel, of the combined kernel. A variance plane never goes through two kernels one after the other:
the noise of pixels is not independent once convolved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diffdecor.core.convolve import Convolution, Edges, Precision
from diffdecor.core.fourier import Origin, convolve_stamps
from diffdecor.core.interpolate import KernelField, bracket
from diffdecor.core.noise import NoiseSide
from diffdecor.core.planes import LazyPlane, Plane

#: Kernels of a batch.
_BATCH = 64
#: Share of the sum of a squared kernel that may be cut off.
_TAIL = 1e-8


def squared_kernels(
    filters: NDArray[np.float64], side: NoiseSide
) -> tuple[NDArray[np.float64], Origin]:
    """Return the squares of ``psi a K``, the kernels of a side's variance plane, at n places.

    Parameters
    ----------
    filters : array (n, 2m + 1, 2m + 1)
        Decorrelation kernels psi.
    side : NoiseSide
        The noise of the image, and its kernel and factor in the difference.

    Returns
    -------
    array (n, ky, kx)
        Squared kernels, cut where their tail is negligible, their sums kept exactly.
    tuple of int
        Their origin ``(cx, cy)``.
    """
    batches, (origin, *_) = zip(*_squared_batches(filters, side), strict=True)
    return _cut(np.concatenate(batches), origin)


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
        [squares.sum(axis=(1, 2)) for squares, _ in _squared_batches(filters, side)]
    )


def _squared_batches(
    filters: NDArray[np.float64], side: NoiseSide
) -> Iterator[tuple[NDArray[np.float64], Origin]]:
    """Yield the squared kernels, not cut, with their origin, a batch at a time."""
    half_width = filters.shape[-1] // 2
    for start in range(0, len(filters), _BATCH):
        batch = slice(start, start + _BATCH)
        part = side[batch]
        combined, origin = convolve_stamps(
            filters[batch], (half_width, half_width), *part.noise_stamps
        )
        yield (part.scale[:, np.newaxis, np.newaxis] * combined) ** 2, origin


def _cut(squares: NDArray[np.float64], origin: Origin) -> tuple[NDArray[np.float64], Origin]:
    """Cut off the margin that is negligible in all kernels."""
    sums = squares.sum(axis=(1, 2), keepdims=True)
    shares = np.divide(squares, sums, out=np.zeros_like(squares), where=sums > 0).max(axis=0)
    (y0, y1), (x0, x1) = (_support(shares.sum(axis=axis)) for axis in (1, 0))
    kept = squares[:, y0:y1, x0:x1]
    kept_sums = kept.sum(axis=(1, 2), keepdims=True)
    exact = kept * np.divide(sums, kept_sums, out=np.ones_like(sums), where=kept_sums > 0)
    return exact, (origin[0] - x0, origin[1] - y0)


def _support(profile: NDArray[np.float64]) -> tuple[int, int]:
    """Return the range of a profile beyond which either end has less than the tail."""
    limit = _TAIL * max(float(profile.sum()), np.finfo(float).tiny)
    start = int(np.searchsorted(np.cumsum(profile), limit))
    stop = len(profile) - int(np.searchsorted(np.cumsum(profile[::-1]), limit))
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
    *terms: tuple[Plane, KernelField],
    edges: Edges = "extend",
    precision: Precision = "single",
    bright_limit: float = np.inf,
) -> LazyPlane:
    """Convolve variance planes with squared kernels, and add them up.

    Parameters
    ----------
    *terms : tuple of plane (ny, nx) and KernelField
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
    return np.asarray(values[first] + (values[second] - values[first]) * upper)
