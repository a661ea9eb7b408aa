"""Is this noise white? Autocorrelation of the sky pixels of an image."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.statistics import robust_sigma

#: Sigmas beyond which `sky_pixels` leaves pixels out, and half width of the means, pixels.
_CLIP, _SMOOTH = 4.0, 2
#: Side of the blocks of the local level, pixels.
_BLOCK = 48
#: Larger values would overflow in single precision.
_HUGE = 1e30
#: Values that give a spread to better than a per cent.
_SAMPLE = 1 << 15


def sky_pixels(
    image: NDArray[np.floating], usable: NDArray[np.bool_], variance: NDArray[np.floating] | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return an image minus its local level, in units of its noise, and which pixels are sky.

    Sources are what exceeds 4 sigma of the noise, in the image or in 5 x 5 means; they are left out
    with a margin of 2 pixels, where the image is 0. The local level is that of `local_level`. The
    variance brings regions of different depth to the same scale.
    """
    sky = usable & np.isfinite(image)
    if variance is not None:
        sky &= np.isfinite(variance) & (variance > 0)
    # The level is subtracted first: it is continuous where the noise steps.
    values = _without_level(image, sky)
    if variance is not None:
        np.divide(values, np.sqrt(variance, where=sky, out=np.ones_like(values)), out=values)
    for _ in range(3):
        if not sky.any():
            break
        single = _single(values)
        smooth = _box_signal(single, sky)
        bright = np.abs(single) > _CLIP * _spread(single, sky)
        bright |= np.abs(smooth) > _CLIP * _spread(smooth, sky)
        bright &= sky
        if not bright.any():
            break
        sky &= ~_around(bright, _SMOOTH, np.logical_or)
        values *= sky
    return values, sky


def local_level(values: NDArray[np.floating], sky: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the local level at every pixel: the median of its block of 48 x 48 pixels.

    Only sky pixels count, which must be finite; the level is 0 in blocks with hardly any.
    """
    ny, nx = values.shape
    across, down = -(-nx // _BLOCK), -(-ny // _BLOCK)
    dtype = np.result_type(values.dtype, np.float32)
    whole = np.full((down * _BLOCK, across * _BLOCK), np.inf, dtype=dtype)
    np.copyto(whole[:ny, :nx], values, where=sky)
    blocks = whole.reshape(down, _BLOCK, across, _BLOCK).swapaxes(1, 2).reshape(down * across, -1)
    complete = np.isfinite(blocks).all(axis=-1)
    median = np.empty(len(blocks))
    median[complete] = _medians_of_complete(blocks[complete])
    median[~complete] = _medians(blocks[~complete])
    # Whole rows last: that copies a row at a time, not a pixel.
    return median.reshape(down, across).repeat(_BLOCK, 1)[:, :nx].repeat(_BLOCK, 0)[:ny]


def _medians_of_complete(blocks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the medians of blocks ``(n, pixels)``, which are overwritten; in half the time."""
    middle = blocks.shape[1] // 2
    blocks.partition(middle, axis=-1)
    lower, upper = blocks[:, :middle].max(axis=-1), blocks[:, middle]
    return np.asarray(0.5 * lower.astype(np.float64) + 0.5 * upper.astype(np.float64))


def _medians(blocks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the medians of what is finite in blocks ``(n, pixels)``, which are overwritten."""
    blocks.sort(axis=-1)  # infinity comes last
    count = np.count_nonzero(np.isfinite(blocks), axis=-1)
    middle = [np.maximum(count - 1, 0) // 2, count // 2 * (count > 0)]
    lower, upper = (blocks[np.arange(len(blocks)), at].astype(np.float64) for at in middle)
    return np.where(count > _BLOCK, 0.5 * lower + 0.5 * upper, 0.0)


def _without_level(image: NDArray[np.floating], sky: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return an image minus its local level, 0 where a pixel is not sky."""
    values = np.zeros(image.shape)
    np.subtract(image, local_level(image, sky), where=sky, out=values)
    return values


def _single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return values in single precision, which is enough to find sources."""
    return np.clip(values, -_HUGE, _HUGE).astype(np.float32)


def _spread(values: NDArray[np.floating], sky: NDArray[np.bool_]) -> float:
    """Return the robust sigma of the pixels that are sky, of a sample of them if there are many."""
    # An odd step goes through all columns of images, whose sizes are even.
    step = np.count_nonzero(sky) // _SAMPLE | 1
    sample = values.reshape(-1)[::step][sky.reshape(-1)[::step]]
    return robust_sigma(sample if sample.size else values[sky])


def _box_signal(values: NDArray[np.float32], sky: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the sum of the sky pixels in 5 x 5 around every pixel, over the root of their number.

    White noise then scatters equally, however many pixels are sky. Values must be 0 off the sky.
    """
    total = _around(values, _SMOOTH, np.add)
    count = _around(sky.view(np.uint8), _SMOOTH, np.add)
    roots = np.sqrt(np.maximum(np.arange((2 * _SMOOTH + 1) ** 2 + 1, dtype=np.float32), 1.0))
    total /= roots[count]
    return total


def _around(values: NDArray[Any], half_width: int, combine: np.ufunc) -> NDArray[Any]:
    """Combine every pixel with all others of the square window around it."""
    for _ in range(2):  # along columns; then, transposed, along rows
        total = values.copy(order="K")
        for shift in range(1, half_width + 1):
            combine(total[shift:], values[:-shift], out=total[shift:])
            combine(total[:-shift], values[shift:], out=total[:-shift])
        values = total.T
    return values


@dataclass(frozen=True, eq=False)
class Autocorrelation:
    """Correlation coefficients of sky pixels at lag ``(dx, dy) = (column - m, row - m)``."""

    values: NDArray[np.float64]
    #: One sigma of every coefficient if the noise is white.
    errors: NDArray[np.float64]
    #: Number of sky pixels.
    pixels: int

    def at(self, dx: int, dy: int) -> float:
        """Return the coefficient at a lag."""
        return _at_lag(self.values, dx, dy)

    def error_at(self, dx: int, dy: int) -> float:
        """Return the error of the coefficient at a lag."""
        return _at_lag(self.errors, dx, dy)

    def rms(self) -> float:
        """Return the root mean square of all coefficients but that at lag zero.

        That of white noise is the root mean square of `errors`.
        """
        others = np.delete(self.values.ravel(), self.values.size // 2)
        known = others[np.isfinite(others)]
        return float(np.sqrt(np.mean(known**2))) if known.size else float("nan")


def _at_lag(values: NDArray[np.float64], dx: int, dy: int) -> float:
    middle = values.shape[0] // 2
    return float(values[middle + dy, middle + dx])


def autocorrelation(
    values: NDArray[np.float64], sky: NDArray[np.bool_], max_lag: int
) -> Autocorrelation:
    """Measure the correlation of sky pixels, each lag normalised by its number of pixel pairs.

    The pixels have local mean zero; lags reach `max_lag` pixels along either axis. NaN at lags
    without pairs.
    """
    mean = values[sky].mean() if sky.any() else 0.0
    pixels = np.where(sky, values - mean, 0.0)
    products, pairs = _lag_sums(pixels, sky, max_lag)
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = np.where(pairs > 0, products / pairs, np.nan)
        errors = np.where(pairs > 0, 1.0 / np.sqrt(pairs), np.nan)
        values_by_lag = covariance / covariance[max_lag, max_lag]
    return Autocorrelation(values_by_lag, errors, int(np.count_nonzero(sky)))


def _lag_sums(
    pixels: NDArray[np.float64], sky: NDArray[np.bool_], max_lag: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the sum of products of pixels, and the number of pairs, at every lag."""
    # With blank columns at the end of every row, each lag in x and y is one lag in all pixels.
    nx = pixels.shape[1] + max_lag
    blank = ((0, 0), (0, max_lag))
    flat, known = np.pad(pixels, blank).ravel(), np.pad(sky, blank).ravel()
    products = np.zeros((2 * max_lag + 1,) * 2)
    pairs = np.zeros(products.shape, dtype=np.int64)
    for dy, dx in itertools.product(range(max_lag + 1), range(-max_lag, max_lag + 1)):
        lag = dy * nx + dx
        if not 0 <= lag < flat.size:
            continue  # the opposite lag does, or there is no such pair
        stop = flat.size - lag
        # Not a product of BLAS, whose last digits depend on its threads.
        product = np.einsum("i,i->", flat[:stop], flat[lag:])
        count = np.count_nonzero(known[:stop] & known[lag:])
        for row, column in ((max_lag + dy, max_lag + dx), (max_lag - dy, max_lag - dx)):
            products[row, column], pairs[row, column] = product, count
    return products, pairs
