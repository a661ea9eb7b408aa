"""Stamps and their transforms: shapes, origins, padding.

A stamp is a small array ``(ny, nx)`` with an explicit origin ``(cx, cy)``: the 0-based pixel that
sits on the pixel it is applied to. Transforms are those of ``numpy.fft.rfft2`` with the origin at
index ``[0, 0]``, so a symmetric stamp has a real transform and the value at ``[0, 0]`` is its sum.
All functions take any number of leading axes: a stack of stamps is one batch.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Origin = tuple[int, int]


def fast_shape(ny: int, nx: int) -> tuple[int, int]:
    """Return the smallest shape of at least ``(ny, nx)`` with a fast real transform."""
    return fast_length(ny), fast_length(nx)


@cache
def fast_length(least: int) -> int:
    """Return the smallest integer, at least `least`, without other prime factors than 2, 3, 5."""
    best = 1 << max(0, least - 1).bit_length()
    fives = 1
    while fives < best:
        odd = fives
        while odd < best:
            twos = max(0, -(-least // odd) - 1).bit_length()
            best = min(best, odd << twos)
            odd *= 3
        fives *= 5
    return best


def single_transform(pixels: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Return the real transforms of pixels, padded with zeros to a shape, in their precision.

    They are scaled by the root of the number of pixels: numpy transforms single precision as such
    only where it scales, and takes six times as long elsewhere (2026-11).
    """
    (*batch, ny, nx), width = pixels.shape, shape[1]
    if nx < width:  # numpy pads row by row, which takes twice as long
        padded = np.zeros((*batch, ny, width), pixels.dtype)
        padded[..., :nx] = pixels
        pixels = padded
    transform = np.empty(
        (*batch, shape[0], width // 2 + 1), np.result_type(pixels.dtype, np.complex64)
    )
    transform[..., ny:, :] = 0
    np.fft.rfft(pixels, norm="ortho", out=transform[..., :ny, :])
    return np.fft.fft(transform, axis=-2, norm="ortho", out=transform)


def single_inverse(
    transform: NDArray[Any], shape: tuple[int, int], rows: slice = slice(None)
) -> NDArray[Any]:
    """Return some rows of what has transforms of `single_transform`."""
    # Numpy takes six times as long for real numbers here.
    numbers = transform.astype(np.result_type(transform.dtype, np.complex64), copy=False)
    across = np.fft.ifft(numbers, axis=-2, norm="ortho")[..., rows, :]
    return np.fft.irfft(across, shape[1], norm="ortho")


def wrap(
    stamps: NDArray[np.float64], origin: Origin, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Place stamps into zeros of a shape ``(ny, nx)``, with their origin at index ``[0, 0]``.

    What lies left of or below the origin, which may be outside the stamps, wraps around. The stamps
    must not be larger than the shape.
    """
    *batch, ky, kx = stamps.shape
    cx, cy = origin
    wrapped = np.zeros((*batch, *shape))
    rows = (np.arange(ky) - cy) % shape[0]
    columns = (np.arange(kx) - cx) % shape[1]
    wrapped[..., rows[:, np.newaxis], columns] = stamps
    return wrapped


def transfer(
    stamps: NDArray[np.float64],
    origin: Origin,
    shape: tuple[int, int],
    dtype: DTypeLike = np.complex128,
) -> NDArray[Any]:
    """Return ``rfft2`` of the wrapped stamps, ``(..., ny, nx // 2 + 1)`` for a shape (ny, nx).

    With complex64 only the transform along x is computed in double precision.
    """
    (ny, nx), (cx, cy) = shape, origin
    ky, kx = stamps.shape[-2:]
    if (2 * cy + 1, 2 * cx + 1) == (ky, kx) and np.array_equal(stamps, stamps[..., ::-1, ::-1]):
        return _symmetric_transfer(stamps, shape, dtype)
    # Along x only the rows of the stamps are transformed: all others are zero.
    rows = np.fft.rfft(wrap(stamps, (cx, 0), (ky, nx)))
    whole = np.zeros((*stamps.shape[:-2], ny, nx // 2 + 1), dtype)
    # Numpy transforms in single precision only where it scales.
    whole[..., (np.arange(ky) - cy) % ny, :] = math.sqrt(ny) * rows
    return np.asarray(np.fft.fft(whole, axis=-2, norm="ortho", out=whole))


def _symmetric_transfer(
    stamps: NDArray[np.float64], shape: tuple[int, int], dtype: DTypeLike
) -> NDArray[Any]:
    """Return the transfer of stamps with ``f(-x, -y) = f(x, y)``, which is real.

    It is a sum of ``cos(ax + by) = cos ax cos by - sin ax sin by``: products of matrices, which
    take half the time of a transform (stamps of 45 pixels in shapes of 256 and 480, 2026-12).
    """
    (ny, nx), (ky, kx) = shape, stamps.shape[-2:]
    dtype = np.dtype(dtype)
    # A quarter of a stamp and its mirror image; the other half has the same pixels.
    right = stamps[..., ky // 2 :, kx // 2 :]
    left = stamps[..., ky // 2 :, kx // 2 :: -1]
    parts = (right + left) / 2, (right - left) / 2
    waves = zip(_waves(ny, ky // 2), _waves(nx, kx // 2), strict=True)
    real = dtype.type(0).real.dtype
    even, odd = (
        along_y.astype(real) @ (part @ along_x.T).astype(real)
        for part, (along_y, along_x) in zip(parts, waves, strict=True)
    )
    whole = np.empty((*stamps.shape[:-2], ny, nx // 2 + 1), dtype)
    positive = ny // 2 + 1
    whole[..., :positive, :] = even - odd
    even += odd
    whole[..., positive:, :] = even[..., (ny - 1) // 2 : 0 : -1, :]
    return whole


@lru_cache(maxsize=16)
def _waves(length: int, reach: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return cosines and sines of the frequencies of a real transform at the offsets from 0 on.

    Each is ``(length // 2 + 1, reach + 1)``, shared, and not to be changed; offsets other than 0
    stand for their mirror images, too, and count twice.
    """
    frequencies, offsets = np.arange(length // 2 + 1), np.arange(reach + 1)
    phases = 2 * np.pi / length * (np.outer(frequencies, offsets) % length)
    twice = np.where(offsets, 2.0, 1.0)
    return twice * np.cos(phases), twice * np.sin(phases)


def centred(wrapped: NDArray[np.float64], half_width: int) -> NDArray[np.float64]:
    """Cut the pixels within `half_width` of index ``[0, 0]`` out of wrapped arrays.

    The result ``(..., 2 half_width + 1, 2 half_width + 1)`` has its origin in the middle.
    `half_width` must be below half of either axis.
    """
    offsets = np.arange(-half_width, half_width + 1)
    return np.asarray(wrapped[..., offsets[:, np.newaxis], offsets])


def convolve_stamps(
    first: NDArray[np.float64],
    first_origin: Origin,
    second: NDArray[np.float64],
    second_origin: Origin,
) -> tuple[NDArray[np.float64], Origin]:
    """Convolve stamps with stamps, whole: nothing is cut off and nothing wraps.

    Returns ``(..., ky1 + ky2 - 1, kx1 + kx2 - 1)`` and its origin; leading axes broadcast.
    """
    origin = first_origin[0] + second_origin[0], first_origin[1] + second_origin[1]
    if (1, 1) in {first.shape[-2:], second.shape[-2:]}:
        return np.asarray(first * second), origin
    ny = first.shape[-2] + second.shape[-2] - 1
    nx = first.shape[-1] + second.shape[-1] - 1
    shape = fast_shape(ny, nx)
    product = np.fft.rfft2(first, shape) * np.fft.rfft2(second, shape)
    both = np.fft.irfft2(product, shape)[..., :ny, :nx]
    return np.asarray(both), origin


def reflect(stamps: NDArray[np.float64], origin: Origin) -> tuple[NDArray[np.float64], Origin]:
    """Turn correlation stamps into convolution stamps, or the reverse; return the origin, too."""
    ky, kx = stamps.shape[-2:]
    return stamps[..., ::-1, ::-1], (kx - 1 - origin[0], ky - 1 - origin[1])


def sums_beyond(
    values: NDArray[np.float64], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the sums of values ``(ny, nx)`` outside squares: item r of those at distance >= r.

    `rows` and `columns` are the distances of each row and column from the origin, pixels.
    """
    ring = np.maximum(rows[:, np.newaxis], columns).ravel()
    return np.asarray(np.cumsum(np.bincount(ring, weights=values.ravel())[::-1])[::-1])
