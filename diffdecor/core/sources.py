"""The source mask: light of sources, and what subtraction has left of them.

Pixels are looked at in bins of 2 x 2. A source, of either sign, exceeds its local level by 4.5
sigma of the noise, in a single pixel or in the mean around a bin: 1 and 2 bins wide Gaussians, in
effect of 1.5 and 2.1 pixels sigma. The sigma of every such mean is measured on these means
themselves, so it is right for correlated noise, too. A lower threshold would pick peaks of the
noise, and bias its correlation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.planes import CachedPlane, LazyPlane, Plane, cut
from diffdecor.core.statistics import SIGMA_OF_IQR

#: Robust sigmas that make a source.
_THRESHOLD = 4.5
#: Sources hidden by brighter ones are looked for again, at most so many times.
_ROUNDS = 4
#: Least side of a block with a level and a sigma of its own, bins.
_BLOCK = 32
#: Steps, in bins, in which the margin around a source grows to so many pixels.
_MARGIN_STEPS = {6: (1, 2), 8: (1, 1, 2)}
#: Values that a block needs for a sigma of its own.
_FEWEST = 64
#: Kernels that means are made with, along either axis; bins.
_KERNELS = tuple(np.array(row, dtype=np.float32) for row in ([1, 2, 1], [1, 4, 6, 4, 1]))
#: Larger values would overflow in single precision when they are squared; where noise comes closer
#: to them than this, pixels are brought to another unit.
_HUGE, _COARSE = 1e15, 1e10
_SHARES = np.array([[0.25], [0.5], [0.75]])
#: In place of values that do not count.
_NONE = np.float32(np.nan)
#: Level and sigma where nothing is known of either: there are no sources then.
_NOTHING = np.array([0, 1e30], dtype=np.float32)
#: Pixels that a typical one is picked from.
_SAMPLE = 1 << 10
#: Rows of a plane that are looked at together, and how many more on either side: both even, so that
#: the bins are the same ones.
_STRIP, _REACH = 256, 32

Values = NDArray[np.float32]


def find_sources(
    image: NDArray[np.floating],
    usable: NDArray[np.bool_],
    sigma: NDArray[np.floating] | None = None,
    margin: int = 8,
) -> NDArray[np.bool_]:
    """Return the pixels ``(ny, nx)`` with light of sources, of either sign, and a margin.

    Parameters
    ----------
    image : array (ny, nx)
        Pixels in any unit, on any level.
    usable : array of bool (ny, nx)
        Which pixels count; those that are not finite never do.
    sigma : array (ny, nx), optional
        Expected sigma of every pixel, up to a factor: it brings regions of different depth to the
        same scale. What a threshold is in these units is measured all the same.
    margin : {6, 8}
        Pixels around what is found.

    Returns
    -------
    array of bool (ny, nx)
        All False in an image without noise. Unusable pixels may be among those with light.
    """
    bins = _binned(image, usable, sigma)
    there = bins.count > 0
    found = np.zeros(there.shape, dtype=bool)
    for number in range(_ROUNDS):
        sky = there & ~found
        bright = _bright(bins, sky, settled=number > 0)
        if not bright.any():
            break
        found |= _grown(bright, margin)
    ny, nx = image.shape
    return found.repeat(2, axis=0)[:ny].repeat(2, axis=1)[:, :nx]


def source_plane(
    image: Plane, usable: Plane, sigma: Plane | None = None, margin: int = 8
) -> LazyPlane:
    """Return `find_sources` of a whole plane ``(ny, nx)``, computed in strips of its rows.

    The strips are always the same, so the result does not depend on which rows are read. Every
    thread keeps the strip it has computed last.
    """
    ny, nx = image.shape

    def strips_of(rows: slice) -> list[slice]:
        return cut(
            slice(rows.start // _STRIP * _STRIP, min(ny, -(-rows.stop // _STRIP) * _STRIP)), _STRIP
        )

    def found_in(strip: slice) -> NDArray[np.bool_]:
        around = slice(max(0, strip.start - _REACH), min(ny, strip.stop + _REACH))
        scale = None if sigma is None else sigma[around]
        found = find_sources(image[around], usable[around], scale, margin)
        return found[strip.start - around.start : strip.stop - around.start]

    by_strips = CachedPlane(
        LazyPlane((ny, nx), lambda rows: np.concatenate([found_in(one) for one in strips_of(rows)]))
    )

    def read(rows: slice) -> NDArray[np.bool_]:
        if rows.stop <= rows.start:
            return np.zeros((0, nx), dtype=bool)
        strips = strips_of(rows)
        first = strips[0].start
        found = by_strips[slice(first, strips[-1].stop)]
        return found[rows.start - first : rows.stop - first]

    return LazyPlane((ny, nx), read)


@dataclass(frozen=True, eq=False)
class _Bins:
    """What is in the bins of 2 x 2 pixels ``(ny, nx)``, usable pixels only."""

    count: Values
    total: Values
    #: Highest and lowest pixel, minus and plus infinity where there is none.
    high: Values
    low: Values
    #: One pixel of every bin, NaN where there is none.
    single: Values


def _binned(
    image: NDArray[np.floating], usable: NDArray[np.bool_], sigma: NDArray[np.floating] | None
) -> _Bins:
    """Bin an image, a level near its own subtracted."""
    known = usable & np.isfinite(image)
    if sigma is not None:
        known &= np.isfinite(sigma) & (sigma > 0)
    values = _near_zero(image, known, sigma)
    ny, nx = values.shape
    if ny % 2 or nx % 2:
        edges = (0, ny % 2), (0, nx % 2)
        values, known = np.pad(values, edges), np.pad(known, edges)
    quarters = [np.s_[y::2, x::2] for y, x in product(range(2), range(2))]
    pixels = [values[quarter] for quarter in quarters]
    if known.all():
        count = np.full(pixels[0].shape, 4, dtype=np.float32)
        single = np.ascontiguousarray(pixels[0])
        highs = lows = pixels
    else:
        there = [known[quarter] for quarter in quarters]
        count = np.zeros(pixels[0].shape, dtype=np.float32)
        single = np.full(count.shape, np.nan, dtype=np.float32)
        for pixel, some in zip(pixels[::-1], there[::-1], strict=True):
            count += some
            np.copyto(single, pixel, where=some)
        highs = [np.where(some, one, -np.inf) for one, some in zip(pixels, there, strict=True)]
        lows = [np.where(some, one, np.inf) for one, some in zip(pixels, there, strict=True)]
    return _Bins(
        count=count,
        total=(pixels[0] + pixels[1]) + (pixels[2] + pixels[3]),
        high=np.maximum(np.maximum(highs[0], highs[1]), np.maximum(highs[2], highs[3])),
        low=np.minimum(np.minimum(lows[0], lows[1]), np.minimum(lows[2], lows[3])),
        single=single,
    )


def _near_zero(
    image: NDArray[np.floating], known: NDArray[np.bool_], sigma: NDArray[np.floating] | None
) -> Values:
    """Return an image less some typical pixel, over sigma, in single precision; 0 off `known`.

    Without that pixel a high level would cost the digits that the noise is in.
    """
    step = max(1, image.size // _SAMPLE) | 1
    sample = image.reshape(-1)[::step][known.reshape(-1)[::step]]
    level = float(np.median(sample)) if sample.size else 0.0
    # Differences of pixels of single precision are as exact as these.
    precision = np.result_type(image.dtype, np.float32)
    values = np.zeros(image.shape, dtype=precision)
    with np.errstate(over="ignore"):
        np.subtract(image, precision.type(level), out=values, where=known)
        if sigma is not None:
            # The local level first: it is continuous where the noise steps.
            sample = np.where(known[::4, ::4], values[::4, ::4], _NONE)
            local, _ = _levels(_single(sample), (_BLOCK // 2,) * 2)
            np.subtract(values, _between(local, values.shape, slopes=True), out=values, where=known)
            np.divide(values, sigma, out=values, where=known)
        elif sample.size:
            spread = float(np.median(np.abs(sample.astype(np.float64) - level)))
            if _COARSE < spread < np.inf:
                values /= precision.type(spread)
    return _single(values)


def _single(values: NDArray[np.floating]) -> Values:
    """Return values in single precision, those that are too large cut off."""
    return np.asarray(np.clip(values, -_HUGE, _HUGE), dtype=np.float32)


def _bright(bins: _Bins, sky: NDArray[np.bool_], *, settled: bool) -> NDArray[np.bool_]:
    """Return the bins of sky that exceed their level by the threshold, in either direction."""
    # Every second column: as many values as the sigma needs.
    alone = np.where(sky[:, ::2], bins.single[:, ::2], _NONE)
    middle, spread = _levels(alone, (_BLOCK, _BLOCK // 2))
    count, total = bins.count * sky, bins.total * sky
    if settled:  # once its sources are gone, a block's mean is better than its median
        middle = _means(total, count, middle)
    level = _between(middle, sky.shape, slopes=True)
    limit = _between(_THRESHOLD * spread, sky.shape)
    bright = bins.high > level + limit
    bright |= bins.low < level - limit
    total -= level * count
    for kernel in _KERNELS:
        mean = _smoothed(total, kernel)
        mean /= np.sqrt(_smoothed_counts(count, kernel**2))
        # Neighbours are alike: every second one tells as much of their spread.
        _, spread = _levels(np.where(sky[::2, ::2], mean[::2, ::2], _NONE), (_BLOCK // 2,) * 2)
        bright |= np.abs(mean, out=mean) > _between(_THRESHOLD * spread, sky.shape)
    bright &= sky
    return bright


def _levels(values: Values, block: tuple[int, int]) -> tuple[Values, Values]:
    """Return median and robust sigma ``(my, mx)`` of blocks of values that are not NaN.

    Both are medians of 3 x 3 blocks, of which those with few values count as the median block does.
    """
    blocks = _in_blocks(values, block, _NONE)
    found = _of_rows(blocks.reshape(-1, blocks.shape[-1])).reshape(2, *blocks.shape[:2])
    unknown = np.isnan(found[1])
    if unknown.any():
        whole = found[:, ~unknown] if not unknown.all() else _of_rows(values.reshape(1, -1))
        overall = np.median(whole, axis=1)
        found[:, unknown] = (overall if np.isfinite(overall).all() else _NOTHING)[:, np.newaxis]
    middle, spread = _medians_of_nine(found)
    return middle, spread


def _of_rows(rows: Values) -> Values:
    """Return median and robust sigma ``(2, n)`` of rows ``(n, m)``; NaN of rows with few values."""
    ordered: Values = np.sort(rows, axis=1)  # NaN last
    number = np.count_nonzero(~np.isnan(ordered), axis=1)
    places = _SHARES * np.maximum(number - 1, 0)
    lower, middle, upper = np.take_along_axis(ordered.T, places.astype(np.intp), axis=0)
    spread = np.float32(SIGMA_OF_IQR) * (upper - lower)
    flat = np.flatnonzero(spread == 0)
    if flat.size:  # whole numbers, most of them equal
        spread[flat] = np.sqrt(np.nanmean((rows[flat] - middle[flat, np.newaxis]) ** 2, axis=1))
    return np.asarray(np.where(number >= _FEWEST, (middle, spread), _NONE))


def _means(total: Values, count: Values, otherwise: Values) -> Values:
    """Return the means ``(my, mx)`` of the pixels in blocks of bins."""
    # As many blocks as there are medians. These are of every second column, and half an axis may
    # be divided into another number of blocks than the whole.
    division = [(my, -(-n // my)) for n, my in zip(total.shape, otherwise.shape, strict=True)]
    beyond = [(0, my * size - n) for n, (my, size) in zip(total.shape, division, strict=True)]
    blocks = division[0] + division[1]
    totals, counts = (
        np.pad(each, beyond).reshape(blocks).sum(axis=(1, 3)) for each in (total, count)
    )
    means = otherwise.copy()
    np.divide(totals, counts, out=means, where=counts >= _FEWEST)
    return means


def _in_blocks(values: Values, block: tuple[int, int], fill: np.float32) -> Values:
    """Return values in blocks of at least `block`, ``(my, mx, n)``, filled up."""
    (my, height), (mx, width) = (_division(*each) for each in zip(values.shape, block, strict=True))
    whole = np.full((my * height, mx * width), fill, dtype=np.float32)
    whole[: values.shape[0], : values.shape[1]] = values
    return whole.reshape(my, height, mx, width).swapaxes(1, 2).reshape(my, mx, -1)


def _division(length: int, block: int) -> tuple[int, int]:
    """Return the number of blocks along an axis, and their size."""
    number = max(1, length // block)
    size = -(-length // number)
    return -(-length // size), size


def _medians_of_nine(values: Values) -> Values:
    """Return the medians of 3 x 3 values ``(n, my, mx)``; slopes go on beyond the border."""
    ny, nx = values.shape[1:]
    if ny == nx == 1:
        return values
    padded = np.empty((len(values), ny + 2, nx + 2), dtype=np.float32)
    padded[:, 1:-1, 1:-1] = values
    for axis in (padded[:, :, 1:-1], padded.swapaxes(1, 2)):
        step = min(2, axis.shape[1] - 2)  # a single one is repeated
        axis[:, 0] = 2 * axis[:, 1] - axis[:, step]
        axis[:, -1] = 2 * axis[:, -2] - axis[:, -1 - step]
    shifts = product(range(3), range(3))
    nine = np.array([padded[:, y : y + ny, x : x + nx] for y, x in shifts])
    nine.sort(axis=0)
    return np.asarray(nine[4])


def _between(blocks: Values, shape: tuple[int, ...], *, slopes: bool = False) -> Values:
    """Interpolate values of blocks ``(my, mx)`` to bins ``(ny, nx)``, bilinear.

    Between the border and the nearest centres of blocks the slope goes on, or the value stays.
    """
    if blocks.size == 1:
        return np.broadcast_to(blocks, shape)
    rows, columns = (
        _weights(number, length, 0.5 if slopes else 0.0)
        for number, length in zip(blocks.shape, shape, strict=True)
    )
    return np.asarray(rows @ blocks @ columns.T)


def _weights(number: int, length: int, beyond: float) -> Values:
    """Return the weights of blocks in linear interpolation between them, ``(length, number)``."""
    if number == 1:
        return np.ones((length, 1), dtype=np.float32)
    size = -(-length // number)
    places = np.clip((np.arange(length) + 0.5) / size - 0.5, -beyond, number - 1 + beyond)
    first = np.clip(places.astype(np.intp), 0, number - 2)
    weights = np.zeros((length, number), dtype=np.float32)
    bins = np.arange(length)
    weights[bins, first] = 1 - (places - first)
    weights[bins, first + 1] = places - first
    return weights


def _smoothed(values: Values, kernel: Values) -> Values:
    """Convolve values along both axes with a symmetric kernel; there is 0 beyond the border."""
    reach = len(kernel) // 2
    for _ in range(2):  # along rows; then, transposed, along columns
        total = values * kernel[reach]
        for shift in range(1, reach + 1):
            weighted = values * kernel[reach + shift] if kernel[reach + shift] != 1 else values
            total[shift:] += weighted[:-shift]
            total[:-shift] += weighted[shift:]
        values = total.T
    return values


def _smoothed_counts(count: Values, kernel: Values) -> Values:
    """Return the numbers of pixels, convolved like values, at least 1."""
    first = count[0, 0]
    if (count == first).all():
        reach = len(kernel) // 2
        rows, columns = (
            np.convolve(np.ones(length, dtype=np.float32), kernel)[reach : reach + length]
            for length in count.shape
        )
        return np.asarray(np.maximum(np.multiply.outer(first * rows, columns), 1))
    return np.maximum(_smoothed(count, kernel), 1)


def _grown(bright: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """Grow by a margin along both axes."""
    grown = bright
    for _ in range(2):
        wide = grown.copy()
        for shift in _MARGIN_STEPS[margin]:
            before = wide.copy()
            wide[shift:] |= before[:-shift]
            wide[:-shift] |= before[shift:]
        grown = wide.T
    return grown
