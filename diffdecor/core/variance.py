"""Variance planes of a decorrelated difference.

The result is ``psi * D = (psi a_S A) * S - (psi a_T B) * T``, and pixels of S and T vary on their
own: its variance is each variance plane convolved with the square, in pixel space, of the combined
kernel. A variance plane never goes through a second kernel: neighbouring variances are not
independent once convolved.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.convolve import Edges, KernelField, convolve
from diffdecor.core.fourier import Origin, convolve_stamps
from diffdecor.core.noise import AnySide
from diffdecor.core.planes import Plane, bands

_TAIL = 1e-8
"""Share of the sum of a squared kernel that may be cut off."""


def squared_kernels(
    filters: NDArray[np.float64], side: AnySide
) -> tuple[NDArray[np.float64], Origin]:
    """Return the squares of ``psi a K``, the kernels of a side's variance plane, at n places.

    Parameters
    ----------
    filters : array (n, 2m + 1, 2m + 1)
        Decorrelation kernels psi.
    side : NoiseSide or StackedSide
        The way of the image into the difference.

    Returns
    -------
    array (n, ky, kx)
        Squared kernels, cut where their tail is negligible, their sums kept exactly.
    tuple of int
        Their origin ``(cx, cy)``.
    """
    half_width = filters.shape[-1] // 2
    combined, origin = convolve_stamps(filters, (half_width, half_width), side.stamps, side.origin)
    squares = (side.scale[:, np.newaxis, np.newaxis] * combined) ** 2
    return _cut(squares, origin)


def _cut(squares: NDArray[np.float64], origin: Origin) -> tuple[NDArray[np.float64], Origin]:
    """Cut off the margin that holds next to nothing in all kernels."""
    sums = squares.sum(axis=(1, 2), keepdims=True)
    shares = np.divide(squares, sums, out=np.zeros_like(squares), where=sums > 0).max(axis=0)
    (y0, y1), (x0, x1) = (_support(shares.sum(axis=axis)) for axis in (1, 0))
    kept = squares[:, y0:y1, x0:x1]
    kept_sums = kept.sum(axis=(1, 2), keepdims=True)
    exact = kept * np.divide(sums, kept_sums, out=np.ones_like(sums), where=kept_sums > 0)
    return exact, (origin[0] - x0, origin[1] - y0)


def _support(profile: NDArray[np.float64]) -> tuple[int, int]:
    """Return the shortest range outside which either end of a profile has less than the tail."""
    limit = _TAIL * max(float(profile.sum()), np.finfo(float).tiny)
    start = int(np.searchsorted(np.cumsum(profile), limit))
    stop = len(profile) - int(np.searchsorted(np.cumsum(profile[::-1]), limit))
    return min(start, len(profile) - 1), max(stop, 1)


def full_variance(
    plane: Plane, kernels: KernelField, *, edges: Edges = "extend"
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Convolve a variance plane with squared kernels, band of rows by band of rows.

    Parameters
    ----------
    plane : plane (ny, nx)
        Variances, finite and not negative.
    kernels : KernelField
        Squared kernels.
    edges : {"extend", "zero"}
        What lies beyond the border.

    Yields
    ------
    rows : slice
        The rows of the band.
    band : array (n, nx)
        Variances, never negative: rounding of the transforms is cut off at zero.
    """
    for rows, band in convolve(plane, kernels, edges=edges):
        yield rows, np.maximum(band, 0.0)


def weighted_variance(
    plane: Plane, weights: KernelField
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Scale a variance plane by the sums of the squared kernels, band of rows by band of rows.

    Parameters
    ----------
    plane : plane (ny, nx)
        Variances; pixels without data stay what they are.
    weights : KernelField
        Squared kernels summed to one pixel, ``(ny, nx, 1, 1)``.

    Yields
    ------
    rows : slice
        The rows of the band.
    band : array (n, nx)
        Variances.
    """
    nx = plane.shape[1]
    across = np.array([_row_weights(weights, y, nx) for y in range(len(weights.y))])
    for rows in bands(plane.shape):
        along = np.arange(rows.start, rows.stop)
        values = np.asarray(plane[rows], dtype=np.float64)
        yield rows, values * _interpolate(weights.y, across, along)


def _row_weights(weights: KernelField, y: int, nx: int) -> NDArray[np.float64]:
    """Return the weights ``(nx,)`` of all pixels along a row of nodes."""
    return np.interp(np.arange(nx), weights.x, weights.stamps[y, :, 0, 0])


def _interpolate(
    nodes: NDArray[np.float64], values: NDArray[np.float64], positions: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Interpolate rows of values ``(nnodes, nx)`` linearly to positions, constant beyond."""
    if len(nodes) == 1:
        return values
    second = np.clip(np.searchsorted(nodes, positions), 1, len(nodes) - 1)
    first = second - 1
    share = np.clip((positions - nodes[first]) / (nodes[second] - nodes[first]), 0, 1)
    return (1 - share)[:, np.newaxis] * values[first] + share[:, np.newaxis] * values[second]
