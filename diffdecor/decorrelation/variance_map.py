"""The variance of a difference that is alone and has no variance plane: measured in its pixels.

It is that of the pixels one by one, whatever their correlation: blocks of source-free pixels, less
their level, clipped and squared.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.interpolate import bracket
from diffdecor.core.parallel import affordable_threads, ordered_map
from diffdecor.core.planes import LazyPlane, Plane, bands, constant_plane
from diffdecor.core.sources import find_sources
from diffdecor.core.variance import single_holds
from diffdecor.decorrelation.mask import unusable_pixels
from diffdecor.decorrelation.noise_measurement import MIN_PIXELS
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.errors import InputError

log = logging.getLogger(__name__)

#: Side of the blocks in which the variance is measured, pixels.
BLOCK = 40
#: Side of the blocks of the local level, in blocks: a finer one takes the noise itself for level.
_LEVEL = 2
#: Fewest sky pixels of a block that counts.
_FEWEST = 150
#: How far the level is continued beyond the middle of the outermost blocks, pixels.
_BEYOND = 80.0
#: A block is at most this many times as noisy as those around it; else it is full of light.
_STEP = 2.0
#: Robust sigmas beyond which pixels do not count, and the mean square of a Gaussian within them.
_CLIP, _KEPT = 4.0, 0.9989
#: Half the distance of the quartiles of a Gaussian, sigma.
_QUARTILE = 0.67449
#: Larger numbers would overflow in single precision.
_HUGE = 1e30
#: Rows of blocks that are worked on together, and beyond either end of these.
_HEIGHT, _MARGIN = 6, 2
#: Memory of a thread per pixel that it works on, roughly, bytes.
_BYTES = 96


def with_own_variance(subtraction: Subtraction) -> Subtraction:
    """Give a difference that is alone a variance plane, if it has none.

    It is measured, unless the noise power of the difference is known.

    Raises `InputError` if it has too few source-free pixels, or no noise.
    """
    difference, config = subtraction.difference, subtraction.config
    if not subtraction.is_alone or difference.variance is not None:
        return subtraction
    power = subtraction.noise_powers.get("difference")
    if power is not None and power.absolute:
        known = replace(difference, variance=constant_plane(power.variance, difference.shape))
        return subtraction.with_exposures(lambda one: known if one is difference else one)
    usable = _usable_pixels(subtraction)
    tallest = (_HEIGHT + 2 * _MARGIN) * BLOCK
    each = _BYTES * tallest * subtraction.shape[1]
    threads = affordable_threads(subtraction.threads, config.max_memory, each)
    measured = measured_variance(difference.image, usable, difference.name, threads)
    log.info("%s: there is no variance plane in it; it is measured in its pixels", difference.name)
    known = replace(difference, variance=measured)
    return subtraction.with_exposures(lambda one: known if one is difference else one)


def _usable_pixels(subtraction: Subtraction) -> LazyPlane:
    """Return where pixels of the difference count for its noise."""
    difference, unusable = subtraction.difference, unusable_pixels(subtraction)
    bits = difference.mask_planes.value(subtraction.config.ignore_planes)

    def read(rows: slice) -> NDArray[np.bool_]:
        good = ~unusable[rows]
        if difference.mask is not None and bits:
            good &= (difference.mask[rows] & bits) == 0
        return good

    return LazyPlane(subtraction.shape, read)


def measured_variance(image: Plane, usable: Plane, name: str, threads: int = 1) -> LazyPlane:
    """Return the variance ``(ny, nx)`` of the noise of an image, measured where pixels are usable.

    In blocks of 40 x 40 pixels it is the mean square of the source-free pixels less their local
    level, without those beyond 4 sigma; its logarithm is smoothed with a Gaussian of one block;
    between the blocks it is bilinear. The image passes through in bands of rows. Raises
    `InputError`, with the `name` of the image, if hardly any pixel is free of sources, or there is
    no noise.
    """
    shape = image.shape[0], image.shape[1]
    rows = bands(shape, _HEIGHT * BLOCK)
    parts = ordered_map(lambda part: _measured(image, usable, part), rows, threads)
    count, total = (np.concatenate(part) for part in zip(*parts, strict=True))
    pixels = int(count.sum())
    if pixels < MIN_PIXELS:
        few = f"only {pixels} sky pixels, {MIN_PIXELS} are needed"
        msg = f"{name}: its noise cannot be measured: {few}"
        raise InputError(msg)
    if not ((count >= _FEWEST) & (total > 0)).any():
        msg = f"{name}: its pixels have no noise to measure; is it the right image?"
        raise InputError(msg)
    values = _smoothed(count, total)
    if single_holds(values):
        values = values.astype(np.float32)
    nodes = _centres(shape, BLOCK)
    return LazyPlane(shape, lambda rows: _interpolated(values, nodes, rows, shape[1]))


def _measured(
    image: Plane, usable: Plane, rows: slice
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the number of pixels that count in the blocks of some rows, and the sum of squares.

    Both are ``(by, bx)``; some more rows on either side are read.
    """
    first = max(0, rows.start - _MARGIN * BLOCK)
    near = slice(first, min(image.shape[0], rows.stop + _MARGIN * BLOCK))
    pixels, good = _whole_blocks(image[near], usable[near])
    # Sources stand out of the noise around them, which is not the same everywhere.
    middle, sigma = _spreads(pixels, good)
    scaled = _in_sigmas(pixels - _at_pixels(middle), _without_peaks(sigma))
    scaled[~good] = 0.0
    good &= ~find_sources(scaled, good)
    sky, shape = good & (np.abs(scaled) <= _CLIP), (near.stop - near.start, image.shape[1])
    pixels -= _local_level(pixels, sky, shape)
    _, sigma = _spreads(pixels, good)
    good &= np.abs(pixels) <= _CLIP * _at_pixels(sigma)
    pixels[~good] = 0.0
    inside = slice((rows.start - first) // BLOCK, -(-(rows.stop - first) // BLOCK))
    count = _sums(good, BLOCK, np.int64)[inside]
    return count, _sums(np.square(pixels, out=pixels), BLOCK, np.float64)[inside] / _KEPT


def _whole_blocks(
    image: NDArray[Any], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return pixels, 0 where they do not count, and where they do, on a whole number of blocks."""
    ny, nx = image.shape
    shape = tuple(-(-size // BLOCK) * BLOCK for size in (ny, nx))
    pixels, good = np.zeros(shape), np.zeros(shape, dtype=bool)
    np.logical_and(usable, np.isfinite(image), out=good[:ny, :nx])
    np.copyto(pixels[:ny, :nx], image, where=good[:ny, :nx])
    return pixels, good


def _spreads(
    pixels: NDArray[np.float64], good: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return median and robust sigma of every block ``(by, bx)``, 0 where no pixel is good.

    They are those of a quarter of its pixels: every second one along either axis.
    """
    half = BLOCK // 2
    sample = np.where(good[::2, ::2], pixels[::2, ::2], np.inf)  # infinity sorts last
    by, bx = (size // half for size in sample.shape)
    blocks = sample.reshape(by, half, bx, half).swapaxes(1, 2).reshape(by, bx, -1)
    blocks.sort(axis=-1)
    known = np.count_nonzero(np.isfinite(blocks), axis=-1, keepdims=True)
    low, median, high = (
        np.where(known, np.take_along_axis(blocks, known * quarter // 4, axis=-1), 0.0)[..., 0]
        for quarter in (1, 2, 3)
    )
    return median, (high - low) / (2 * _QUARTILE)


def _without_peaks(sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sigma of blocks, with the median of 3 x 3 blocks where it is far above that."""
    by, bx = sigma.shape
    padded = np.pad(np.where(sigma > 0, sigma, np.inf), 1, constant_values=np.inf)
    around = np.array([padded[y : y + by, x : x + bx] for y in range(3) for x in range(3)])
    around.sort(axis=0)
    known = np.count_nonzero(np.isfinite(around), axis=0, keepdims=True)
    median = np.take_along_axis(around, np.maximum(known - 1, 0) // 2, axis=0)[0]
    return np.where(sigma > _STEP * median, median, sigma)


def _in_sigmas(pixels: NDArray[np.float64], sigma: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return pixels in units of the sigma of their blocks, 0 where that is 0; overwrites them."""
    pixels *= _at_pixels(np.divide(1.0, sigma, out=np.zeros_like(sigma), where=sigma > 0))
    return np.clip(pixels, -_HUGE, _HUGE, out=pixels).astype(np.float32)


def _at_pixels(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the value of its block at every pixel."""
    return blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)


def _sums(values: NDArray[Any], side: int, dtype: type) -> NDArray[Any]:
    """Return the sums in blocks of some pixels; the last ones of either axis may be incomplete."""
    ny, nx = values.shape
    across = np.add.reduceat(values, np.arange(0, nx, side), axis=1, dtype=dtype)
    return np.asarray(np.add.reduceat(across, np.arange(0, ny, side), axis=0))


def _local_level(
    pixels: NDArray[np.float64], sky: NDArray[np.bool_], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the mean of the sky in blocks, bilinear between and beyond them, at every pixel.

    The image has a `shape` less than that of the pixels, which are a whole number of blocks.
    """
    side = _LEVEL * BLOCK
    count = _sums(sky, side, np.int64)
    mean = _sums(np.where(sky, pixels, 0.0), side, np.float64) / np.maximum(count, 1)
    weight = np.where(count >= _LEVEL**2 * _FEWEST, count, 0)
    if weight.any():
        mean = np.where(weight > 0, mean, _gaussian_means(mean, weight))
    y, x = _centres(shape, side)
    mean = _continued(_continued(mean, x).T, y).T
    nodes = [np.array([at[0] - _BEYOND, *at, at[-1] + _BEYOND]) for at in (y, x)]
    return _interpolated(mean, (nodes[0], nodes[1]), slice(0, len(pixels)), pixels.shape[1])


def _smoothed(count: NDArray[np.int64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance of blocks of so many pixels with this sum of squares, smoothed.

    The logarithm is smoothed, so that noisy regions do not outshine the others; then the whole is
    scaled, so that the mean square is right: the logarithm's mean is less than the mean's.
    """
    weight = np.where((count >= _FEWEST) & (total > 0), count, 0)
    variance = np.where(weight > 0, total / np.maximum(count, 1), 1.0)
    smooth = np.exp(_gaussian_means(np.log(variance), weight))
    return np.asarray(smooth * (weight * variance / smooth).sum() / weight.sum())


def _gaussian_means(values: NDArray[np.float64], weight: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean around every block, weighted with a Gaussian of one block.

    Its tails do not end, so that blocks far from all others take the nearest ones.
    """
    across, down = (_gaussian(size) for size in values.shape[::-1])

    def around(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
        # Not a product of BLAS, whose last digits depend on its threads.
        along = np.einsum("ij,jk->ik", down, blocks)
        return np.asarray(np.einsum("ij,kj->ik", along, across))

    return around(weight * values) / around(weight.astype(np.float64))


def _gaussian(size: int) -> NDArray[np.float64]:
    """Return the weight of every block for every other along an axis ``(size, size)``."""
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(np.float64)
    return np.asarray(np.exp(-0.5 * distance**2) + 1e-6 * (1 + distance) ** -6.0)


def _interpolated(
    values: NDArray[Any],
    nodes: tuple[NDArray[np.float64], NDArray[np.float64]],
    rows: slice,
    nx: int,
) -> NDArray[Any]:
    """Return rows of a plane that is bilinear between `nodes`, rows and columns of them."""
    (lower, upper, share_y), (left, right, share_x) = (
        bracket(places, np.arange(span.start, span.stop))
        for places, span in zip(nodes, (rows, slice(0, nx)), strict=True)
    )
    share_x, share_y = (np.asarray(share, values.dtype) for share in (share_x, share_y))
    across = values[:, left] + share_x * (values[:, right] - values[:, left])
    across = np.broadcast_to(across.reshape(len(values), -1), (len(values), nx))
    below, above = (across[np.broadcast_to(at, rows.stop - rows.start)] for at in (lower, upper))
    return np.asarray(below + share_y.reshape(-1, 1) * (above - below))


def _centres(shape: tuple[int, int], side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle rows and columns of blocks; the last ones may be incomplete."""
    y, x = (
        (starts + np.minimum(starts + side, size) - 1) / 2
        for size in shape
        for starts in [np.arange(0, size, side)]
    )
    return y, x


def _continued(values: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Continue values along their last axis, linearly, by one place on either side."""
    if len(places) == 1:
        return np.repeat(values, 3, axis=-1)
    (first, second), (last, before) = places[:2], places[:-3:-1]
    slopes = (
        (values[..., 1] - values[..., 0]) / (second - first),
        (values[..., -1] - values[..., -2]) / (last - before),
    )
    ends = values[..., 0] - _BEYOND * slopes[0], values[..., -1] + _BEYOND * slopes[1]
    return np.concatenate([ends[0][..., np.newaxis], values, ends[1][..., np.newaxis]], axis=-1)
