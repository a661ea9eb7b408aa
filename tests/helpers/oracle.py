"""The same numbers by brute force: direct sums and dense matrices, no transforms.

Stamps have explicit origins ``(cx, cy)`` and are true-convolution kernels throughout.
"""

import numpy as np
from hypothesis import settings

EXAMPLES = settings(max_examples=30)
"""For tests that take long for each example."""

MODES = {"extend": "reflect", "zero": "constant"}


def gaussian(shape, sigma, *, centre=None, axis_ratio=1.0, angle=0.0):
    """A Gaussian of unit sum with its centre ``(x, y)`` anywhere, else at N//2."""
    ny, nx = (shape, shape) if np.isscalar(shape) else shape
    cx, cy = centre or (nx // 2, ny // 2)
    y, x = np.indices((ny, nx), dtype=float)
    along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    stamp = np.exp(-(along**2 + (across / axis_ratio) ** 2) / (2 * sigma**2))
    return stamp / stamp.sum()


def moffat(size, fwhm, beta, *, centre=None):
    """A Moffat profile of unit sum."""
    cx, cy = centre or (size // 2, size // 2)
    y, x = np.indices((size, size), dtype=float)
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    stamp = (1 + ((x - cx) ** 2 + (y - cy) ** 2) / alpha**2) ** -beta
    return stamp / stamp.sum()


def padded(plane, margin, edges):
    """The plane with what lies beyond its border."""
    return np.pad(plane, margin, mode=MODES[edges])


def convolved(plane, stamp, origin, edges="extend"):
    """Sum over the pixels of the stamp of shifted copies of the plane."""
    ny, nx = plane.shape
    cx, cy = origin
    margin = max(stamp.shape) + abs(cx) + abs(cy)
    wide = padded(plane, margin, edges)
    total = np.zeros((ny, nx))
    for (j, i), weight in np.ndenumerate(stamp):
        y, x = margin - (j - cy), margin - (i - cx)
        total += weight * wide[y : y + ny, x : x + nx]
    return total


def convolved_varying(plane, stamp_at, origin, edges="extend"):
    """Sum under the stamp of every pixel, ``stamp_at(x, y)``."""
    cx, cy = origin
    margin = 2 * max(stamp_at(0, 0).shape)
    wide = padded(plane, margin, edges)
    total = np.zeros(plane.shape)
    for y, x in np.ndindex(plane.shape):
        stamp = stamp_at(x, y)[::-1, ::-1]
        ky, kx = stamp.shape
        y0, x0 = margin + y - (ky - 1 - cy), margin + x - (kx - 1 - cx)
        total[y, x] = np.sum(stamp * wide[y0 : y0 + ky, x0 : x0 + kx])
    return total


def convolved_stamps(first, second):
    """Whole convolution of two stamps."""
    (ay, ax), (by, bx) = first.shape, second.shape
    total = np.zeros((ay + by - 1, ax + bx - 1))
    for (j, i), weight in np.ndenumerate(second):
        total[j : j + ay, i : i + ax] += weight * first
    return total


def torus_matrix(stamp, origin, shape):
    """The dense matrix ``(N, N)`` that convolves a periodic image, pixels in C order."""
    ny, nx = shape
    y, x = np.indices(shape)
    matrix = np.zeros((ny * nx, ny * nx))
    row = np.arange(ny * nx)
    for (j, i), weight in np.ndenumerate(stamp):
        source = ((y - (j - origin[1])) % ny) * nx + (x - (i - origin[0])) % nx
        matrix[row, source.ravel()] += weight
    return matrix


def valid_matrix(stamp, shape):
    """The dense matrix that convolves an image where the stamp fits into it: ``N - k + 1``."""
    ny, nx = shape
    ky, kx = stamp.shape
    y, x = np.indices((ny - ky + 1, nx - kx + 1))
    matrix = np.zeros((y.size, ny * nx))
    row = np.arange(y.size)
    for (j, i), weight in np.ndenumerate(stamp):
        source = (y + ky - 1 - j) * nx + (x + kx - 1 - i)
        matrix[row, source.ravel()] += weight
    return matrix


def power_of(matrix, exponent):
    """A power of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def correlation(values, sky, dx, dy):
    """Correlation coefficient at one lag of the sky pixels, by a direct sum over pairs."""
    pixels = np.where(sky, values - values[sky].mean(), 0.0)
    ny, nx = values.shape
    here = np.s_[max(0, -dy) : ny - max(0, dy), max(0, -dx) : nx - max(0, dx)]
    there = np.s_[max(0, dy) : ny - max(0, -dy), max(0, dx) : nx - max(0, -dx)]
    pairs = (sky[here] & sky[there]).sum()
    variance = np.mean(pixels[sky] ** 2)
    total = np.sum(pixels[here] * pixels[there])
    return (total / pairs / variance if pairs else np.nan), pairs
