"""Robust levels of planes: the clipped mean as LSST defines it, and spreads from quartiles.

The clipped mean takes three passes. The first keeps values within 3 x 0.7413 interquartile ranges
of the median; the second and third keep, out of all values again, those within 3 standard
deviations (n - 1) of the mean of the pass before. Quartiles are interpolated linearly. Values that
are not finite in single precision do not count.

Few values are sorted. Of many, a sample gives the range in which quartiles and limits are to be
expected; all values are counted and summed in narrow bins over that range, and a bin is taken as
its number of values at their mean. Values in memory that share a bin with a quartile or a limit are
then looked at one by one, so that exactly the same values are kept as by sorting. Of a plane that
is read once, and where it need not be exact, a bin is kept or left out as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.bins import CHUNK, Bins, Values
from diffdecor.core.parallel import ordered_map

#: Standard deviation of a normal distribution, in units of its interquartile range.
SIGMA_OF_IQR = 0.741301109252802
#: Half width of what a pass keeps, in standard deviations.
_SIGMAS = 3.0
_SHARES = np.array([[0.25], [0.5], [0.75]])
#: The smallest number that single precision rounds to infinity.
_BEYOND_SINGLE = (1 - 2.0**-25) * 2.0**128
#: Up to this many values, sorting is as fast as binning.
_FEW = 1 << 13
#: Up to this many values, two quartiles are found faster by partitioning than in bins.
_SEVERAL = 1 << 17
#: Number of bins for values in memory, and for those of a plane that is read once.
_BINS, _FINE_BINS = 1 << 10, 1 << 14
#: A sample has one of _SHARE values, at most _SAMPLE; it needs _SPARSE, and comes from these rows.
_SHARE, _SAMPLE, _SPARSE, _SAMPLE_ROWS = 64, 1 << 15, 1 << 9, 256
#: How far off a sample may be, in standard deviations.
_SURE = 4.0
#: Planes of up to this many pixels are held in memory.
_HELD = 1 << 18
#: Half width of the range around equal values: relative, and at least.
_AROUND, _LEAST = 1e-6, 1e-290
#: Largest number, and largest distance from zero in bins, for which single precision is enough.
_MODERATE, _RESOLVED = 1e30, 1 << 22
#: In place of infinity where squares must be finite.
_LARGEST = 1e150
_GOLDEN = 0.618033988749895

Read = Callable[[slice], NDArray[np.floating]]


def clipped_mean(values: NDArray[np.floating]) -> float:
    """Return the clipped mean of values of any shape; NaN if none is finite."""
    return float(clipped_means(np.reshape(values, (1, -1)))[0])


def clipped_means(values: NDArray[np.floating]) -> Values:
    """Return the clipped mean ``(n,)`` of each of several sets of values ``(n, m)``.

    Sets that have fewer values are filled up with values that are not finite.
    """
    return np.asarray(_levels(values)[3])


def sampled_means(values: NDArray[np.floating]) -> tuple[Values, Values]:
    """Return the clipped means ``(n,)`` of sets ``(n, m)`` that are samples, and standard errors.

    Bins of many values are kept or left out as a whole, which takes two thirds of the time: means
    are off by 3e-4 of the standard deviation, which is far less than the error, and where many
    values are near the limits, in long tails, by 2e-3 of themselves. Sets without values have NaN.
    """
    lower, _, upper, means = _levels(values, exactly=False)
    number = [np.count_nonzero(np.isfinite(one)) for one in values]
    return means, SIGMA_OF_IQR * (upper - lower) / np.sqrt(np.maximum(number, 1))


def robust_sigma(values: NDArray[np.floating]) -> float:
    """Return 0.7413 interquartile ranges of finite values: the standard deviation of their bulk."""
    if np.size(values) > _SEVERAL:
        lower, _, upper, _ = _levels(np.reshape(values, (1, -1)))[:, 0]
        return float(SIGMA_OF_IQR * (upper - lower))
    some = _counting(np.reshape(values, -1))
    last = np.count_nonzero(some < np.inf) - 1
    if last < 0:
        return np.nan
    beyond, first = np.modf(_SHARES[[0, 2], 0] * last)
    ranks = np.stack([first, np.minimum(first + 1, last)]).astype(np.intp)
    below, above = np.partition(some, np.unique(ranks))[ranks].astype(np.float64)
    lower, upper = below + (above - below) * beyond
    return float(SIGMA_OF_IQR * (upper - lower))


def streamed_clipped_mean(read: Read, bands: Sequence[slice], threads: int = 1) -> float:
    """Return the clipped mean of a plane that is read band by band, in bounded memory.

    `read` gives the pixels of some rows as an array of any shape; several threads may call it at
    once. `bands` are all rows, without gaps and in rising order. The result does not depend on the
    number of threads. It is that of `clipped_mean`; of more than 2^18 pixels to 1e-4 where there
    are long tails, and far better elsewhere.
    """
    if len(bands) == 1:
        return clipped_mean(read(bands[0]))
    first, height = bands[0].start, bands[-1].stop - bands[0].start
    rows = (first + _places(height, _SAMPLE_ROWS)).tolist()
    sample = np.concatenate([read(slice(row, row + 1)).reshape(-1) for row in rows])
    large = sample.size * height > _HELD * len(rows)
    sample = sample[_places(sample.size, _SAMPLE)]
    if large and np.count_nonzero(np.isfinite(sample)) >= _SPARSE:
        found, sure = _binned(sample, read, bands, threads)
        if sure:
            return found
    sample, complete = _thinned(read, bands)
    return clipped_mean(sample) if complete else _binned(sample, read, bands, threads)[0]


def _counting(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return values, infinity in place of those that are not finite in single precision."""
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    known = values > -(np.inf if values.dtype == np.float32 else _BEYOND_SINGLE)
    if values.dtype == np.float64:
        known &= values < _BEYOND_SINGLE
    return values if known.all() else np.where(known, values, values.dtype.type(np.inf))


class _Points(NamedTuple):
    """Values ``(n, k)`` of n sets in rising order, their weights, and the sums of weights to each.

    A point of weight above 1 is the mean of values, of variance `scatter` ``(n, 1)``.
    """

    places: Values
    weights: Values
    upto: Values
    scatter: Values | None = None


def _levels(values: NDArray[np.floating], *, exactly: bool = True) -> Values:
    """Return quartiles and clipped means ``(4, n)`` of sets ``(n, m)``."""
    values = _counting(values)
    size = values.shape[1]
    if not values.size:
        return np.full((4, len(values)), np.nan)
    if size > _FEW:
        return _binned_levels(values, exactly=exactly)
    rows = max(1, CHUNK // 2 // size)
    parts = [values[start : start + rows] for start in range(0, len(values), rows)]
    return np.concatenate([_clip(_sorted(part))[0] for part in parts], axis=1)


def _clip(points: _Points) -> tuple[Values, Values]:
    """Return quartiles and clipped means ``(4, n)``, and the values that decided them ``(12, n)``.

    These are what the quartiles lie between, and the limits of all passes. Of sets without values
    the former are NaN and the latter 0.
    """
    ends, quartiles = _quartiles(points)
    lower, centre, upper = quartiles
    sums = _summands(points, centre)
    reach = _SIGMAS * SIGMA_OF_IQR * (upper - lower)
    limits: list[Values] = []
    for _ in range(3):
        limits += [centre - reach, centre + reach]
        number, offset, sigma = _moments(points.places, sums, *limits[-2:])
        # Rounding of the mean can put all of equal values just outside a reach of zero.
        centre = np.where(number > 0, quartiles[1] + offset, centre)
        reach = np.where(number > 0, _SIGMAS * sigma, reach)
    return np.array([*quartiles, centre]), np.nan_to_num([*ends, *limits])


def _quartiles(points: _Points) -> tuple[Values, Values]:
    """Return the values ``(6, n)`` on both sides of the quartiles, and these ``(3, n)``."""
    last = points.weights.sum(axis=1) - 1
    beyond, first = np.modf(_SHARES * np.maximum(last, 0))
    ranks = np.concatenate([first, np.minimum(first + 1, last)])
    at = np.minimum(_below(points.upto, ranks + 1), points.upto.shape[1] - 1)
    ends = np.where(last >= 0, np.take_along_axis(points.places, at.T, axis=1).T, np.nan)
    return ends, ends[:3] + (ends[3:] - ends[:3]) * beyond


def _summands(points: _Points, centre: Values) -> Values:
    """Return weights, these times offsets, and times their squares ``(3, n k + 1)``, row by row."""
    summands = np.zeros((3, points.places.size + 1))
    number, total, squares = (each[:-1].reshape(points.places.shape) for each in summands)
    number[:] = points.weights
    offsets = points.places - centre[:, np.newaxis]
    np.multiply(offsets, number, out=total)
    np.multiply(offsets, total, out=squares)
    if points.scatter is not None:
        squares += points.scatter * np.maximum(number - 1, 0)
    return summands


def _moments(
    places: Values, summands: Values, low: Values, high: Values
) -> tuple[Values, Values, Values]:
    """Return number, mean offset and standard deviation ``(n,)`` from `low` to `high`."""
    ends = _below(places, np.array([low, np.nextafter(high, np.inf)]))
    some = ends[1] > ends[0]
    ends = ends + places.shape[1] * np.arange(len(places))
    sums = np.add.reduceat(summands, ends.T.reshape(-1), axis=1)[:, ::2]
    number, total, squares = np.where(some, sums, 0)
    mean = total / np.maximum(number, 1)
    scatter = np.maximum(squares - total * mean, 0)
    return number, mean, np.sqrt(scatter / np.maximum(number - 1, 1))


def _below(ordered: Values, values: Values) -> NDArray[np.intp]:
    """Return how many numbers in the rows ``(n, m)`` are below values ``(k, n)``."""
    rows = zip(ordered, values.T, strict=True)
    return np.reshape([row.searchsorted(mine) for row, mine in rows], values.T.shape).T


def _sorted(values: NDArray[np.floating]) -> _Points:
    """Return the points of sets ``(n, m)``; what is infinite does not count."""
    places = np.sort(values, axis=1).astype(np.float64)
    weights = (places < np.inf).astype(np.float64)
    upto = np.broadcast_to(np.arange(1.0, places.shape[1] + 1), places.shape)
    return _Points(np.minimum(places, _LARGEST, out=places), weights, upto)


def _bins_around(samples: NDArray[np.floating], number: int) -> Bins:
    """Return bins that all limits of sets are expected in, allowing for the error of samples."""
    points = _sorted(samples)
    size = points.weights.sum(axis=1)
    spread = _SURE * np.sqrt(_SHARES * (1 - _SHARES) * size) + 1

    def at(ranks: Values) -> Values:
        places = np.clip(ranks, 0, np.maximum(size - 1, 0)).astype(np.intp)
        return np.where(size > 0, np.take_along_axis(points.places, places.T, axis=1).T, 0)

    least, most = at(_SHARES * size - spread), at(_SHARES * size + spread)
    limits = _clip(points)[1][6:]
    reach = _SIGMAS * SIGMA_OF_IQR * (most[2] - least[0])
    margin = _SURE * (limits[1::2] - limits[::2]).max(axis=0) / np.sqrt(np.maximum(size, 1))
    low = np.minimum(least[1] - reach, limits.min(axis=0) - margin)
    high = np.maximum(most[1] + reach, limits.max(axis=0) + margin)
    around = np.maximum(np.abs(high) * _AROUND, _LEAST)
    low, high = np.where(high - low > _LEAST, (low, high), (low - around, high + around))
    scale, largest = number / (high - low), np.maximum(np.abs(low), np.abs(high))
    enough = (np.maximum(scale, largest) < _MODERATE) & (scale * largest < _RESOLVED)
    precision = np.float32 if enough.all() else np.float64
    return Bins(low[:, np.newaxis], scale[:, np.newaxis], number, precision)


def _binned_levels(values: NDArray[np.floating], *, exactly: bool) -> Values:
    """Return the levels ``(4, n)`` of sets ``(n, m)`` of many values."""
    size = values.shape[1]
    samples = values.take(_places(size, min(size // _SHARE, _SAMPLE)), axis=1)
    bins = _bins_around(samples, _BINS)
    counts = bins.counted(values)
    points = _points(bins, counts)
    levels, cuts = _clip(points)
    if exactly:
        wanted = bins.near(cuts.T)
        levels, cuts = _clip(_with_values(points, wanted, bins.chosen(values, wanted)))
        known = wanted | (counts[0] == 0)
        sure = np.take_along_axis(known, bins.of(cuts.T), axis=1).all(axis=1)
    else:
        sure = bins.inside(cuts.T, counts)
    for row in np.flatnonzero(~sure):
        levels[:, row] = _clip(_sorted(values[row : row + 1]))[0][:, 0]
    return levels


def _points(bins: Bins, counts: Values) -> _Points:
    """Return the points of counted values ``(2, n, k)``: the mean of every bin."""
    number, sums = counts
    width = 1 / bins.scale
    places = bins.low + width * (np.arange(number.shape[1]) - 0.5)
    # The sum of the last bin is infinite where values that do not count were added.
    some = number[:, :-1] > 0
    np.divide(sums[:, :-1], number[:, :-1], where=some, out=places[:, :-1])
    return _Points(places, number, np.cumsum(number, axis=1), width**2 / 12)


def _with_values(points: _Points, wanted: NDArray[np.bool_], chosen: Sequence[Values]) -> _Points:
    """Return points with the chosen values themselves instead of the wanted bins ``(n, k)``."""
    more = np.zeros((2, len(chosen), max(part.size for part in chosen)))
    for place, weight, part in zip(*more, chosen, strict=True):
        place[: part.size], weight[: part.size] = part, 1
    places = np.concatenate([points.places, more[0]], axis=1)
    weights = np.concatenate([np.where(wanted, 0, points.weights), more[1]], axis=1)
    order = np.argsort(places, axis=1, kind="stable")
    places, weights = (np.take_along_axis(each, order, axis=1) for each in (places, weights))
    return _Points(places, weights, np.cumsum(weights, axis=1), points.scatter)


def _binned(
    sample: NDArray[np.floating], read: Read, bands: Sequence[slice], threads: int
) -> tuple[float, bool]:
    """Return the clipped mean of a plane by its bins, and whether they cover what decides it."""
    bins = _bins_around(_counting(sample)[np.newaxis], _FINE_BINS)

    def counted(rows: slice) -> Values:
        return bins.counted(_counting(read(rows)).reshape(1, -1))

    counts = reduce(np.add, ordered_map(counted, bands, threads))
    levels, cuts = _clip(_points(bins, counts))
    return float(levels[3, 0]), bool(bins.inside(cuts.T, counts).all())


def _thinned(read: Read, bands: Sequence[slice]) -> tuple[NDArray[np.floating], bool]:
    """Return finite values from all over a plane, and whether they are all of them."""
    held: NDArray[np.floating] = np.empty(0, dtype=np.float32)
    step = 1
    for rows in bands:
        values = _counting(read(rows))
        values = values[values < np.inf]
        held = np.concatenate([held, values[_places(values.size, values.size // step)]])
        while held.size > _HELD:
            held, step = held[_places(held.size, held.size // 2)], 2 * step
    return held, step == 1


def _places(size: int, number: int) -> NDArray[np.int64]:
    """Return at least `number` places among `size`, one in each of equal parts.

    Places at a constant distance could be the same column in every row of pixels.
    """
    step = max(1, size // max(1, number))
    parts = np.arange(size // step)
    return ((parts + parts * _GOLDEN % 1) * step).astype(np.int64)
