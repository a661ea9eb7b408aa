"""Robust levels of planes: the clipped mean as LSST defines it, and spreads from quartiles.

Both rest on exact quartiles, and the clipped mean on exact sums between limits that follow from
them. Sorting is not needed: one pass over the values between brackets that a sample gives does for
ordinary planes (`diffdecor.core.tally`), several passes for any (`diffdecor.core.selection`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.brackets import Brackets, brackets_around
from diffdecor.core.clipping import (
    SHARES,
    SIGMA_OF_IQR,
    Values,
    clipped,
    counting,
    moments_of,
    quartiles_of,
    ranks,
)
from diffdecor.core.parallel import ordered_map
from diffdecor.core.selection import moments_by_pass, quartiles_by_passes
from diffdecor.core.tally import Tally, joined, tally

_FEW = 1 << 12
"""So many values are sorted as fast."""
_FEW_OF_ONE = 1 << 17
"""So many values of a single set are partitioned as fast."""
_SAMPLE = 1 << 16
_SAMPLE_ROWS = 256
_SAMPLED = 3
_GOLDEN = 0.618033988749895
_MOST_TAKEN = 1 << 23
"""Values that one pass may keep; where more fall into brackets, several passes are made."""

Read = Callable[[slice], NDArray[np.floating]]


def clipped_mean(values: NDArray[np.floating]) -> float:
    """Return the clipped mean of values, as LSST's statistics define it.

    The first pass keeps values within 3 x 0.7413 interquartile ranges of the median; the second and
    third keep, out of all values again, those within 3 standard deviations (n - 1) of the mean of
    the pass before. Quartiles are interpolated linearly. Non-finite values do not count.

    Parameters
    ----------
    values : array
        Values of any shape.

    Returns
    -------
    float
        The mean of the third pass; NaN if there is no finite value.
    """
    return float(clipped_means(np.reshape(values, (1, -1)))[0])


def clipped_means(values: NDArray[np.floating]) -> Values:
    """Return the clipped mean of each of several sets of values.

    Parameters
    ----------
    values : array (n, m)
        Sets of values; sets that have fewer are filled up with values that are not finite.

    Returns
    -------
    array (n,)
        As `clipped_mean` of every set.
    """
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    values = counting(values)
    if values.shape[1] <= _FEW:
        return _sorted_means(values)
    seen = tally(values, brackets_around(_part(values)))
    means = clipped(seen.quartiles(), seen.moments)
    for missed in np.flatnonzero(np.isnan(means) & (seen.number > 0)):
        means[missed] = _sorted_means(values[missed : missed + 1])[0]
    return means


def _sorted_means(values: NDArray[np.floating]) -> Values:
    """Return the clipped means of sets by their definition."""
    ordered = np.sort(values, axis=1)
    number = np.count_nonzero(ordered < np.inf, axis=1)
    return clipped(quartiles_of(ordered, number), partial(moments_of, ordered.astype(np.float64)))


def streamed_clipped_mean(read: Read, bands: Sequence[slice], threads: int = 1) -> float:
    """Return the clipped mean of a plane that is read band by band, in bounded memory.

    Parameters
    ----------
    read : callable
        Gives the pixels of some rows as an array of any shape; several threads may call it at a
        time.
    bands : sequence of slice
        All rows, without gaps and in rising order; those of one are held by a thread at a time.
    threads : int
        How many work at a time; the result does not depend on it.

    Returns
    -------
    float
        As `clipped_mean` of all pixels at once.
    """
    if len(bands) == 1:
        return clipped_mean(read(bands[0]))
    seen = _one_pass(read, bands, brackets_around(_rows_sample(read, bands)), threads)
    if seen is not None:
        mean = float(clipped(seen.quartiles(), seen.moments)[0])
        if np.isfinite(mean):
            return mean
    quartiles = quartiles_by_passes(read, bands, threads)
    if quartiles is None:
        return float("nan")
    return float(clipped(quartiles, partial(moments_by_pass, read, bands, threads))[0])


def robust_sigma(values: NDArray[np.floating]) -> float:
    """Return the standard deviation of the bulk of values, from their interquartile range.

    Parameters
    ----------
    values : array
        Finite values, not empty.

    Returns
    -------
    float
        0.7413 times the interquartile range.
    """
    lower, _, upper = _quartiles(np.reshape(values, (1, -1)))[:, 0]
    return float(SIGMA_OF_IQR * (upper - lower))


def _quartiles(values: NDArray[np.floating]) -> Values:
    """Return the quartiles ``(3, 1)`` of one set of finite values."""
    number = np.array([values.size])
    if values.size > _FEW_OF_ONE:
        found = tally(values, brackets_around(_part(values))).quartiles()
        if np.isfinite(found).all():
            return found
    firsts = [int(ranks(share, number)[0][0]) for share in SHARES]
    places = sorted({min(first + one, values.size - 1) for first in firsts for one in (0, 1)})
    return quartiles_of(np.partition(values, places, axis=1), number)


def _one_pass(read: Read, bands: Sequence[slice], brackets: Brackets, threads: int) -> Tally | None:
    """Return what one pass finds between brackets, if there are any and it is not too much."""
    if np.isnan(brackets.centre[0]):
        return None

    def seen(rows: slice) -> Tally:
        return tally(counting(read(rows)).reshape(1, -1), brackets)

    parts: list[Tally] = []
    taken = 0
    for part in ordered_map(seen, bands, threads):
        parts.append(part)
        taken += part.taken
        if taken > _MOST_TAKEN:
            return None
    return joined(parts)


def _part(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return values from everywhere: the more there are, the smaller a share of them."""
    size = values.shape[1]
    number = min(_SAMPLE, _SAMPLED * int(size ** (2 / 3)))
    step = max(1, size // number)
    cells = np.arange(size // step)
    # Evenly spaced, they could be the same columns in every row of pixels.
    places = (cells + cells * _GOLDEN % 1) * step
    return np.asarray(values.take(places.astype(np.int64), axis=1))


def _rows_sample(read: Read, bands: Sequence[slice]) -> NDArray[np.floating]:
    """Return pixels ``(1, n)`` of evenly spaced rows: the more there are, the smaller a share."""
    first, last = bands[0].start, bands[-1].stop
    step = max(1, (last - first) // _SAMPLE_ROWS)
    rows = [read(slice(row, row + 1)).ravel() for row in range(first + (step - 1) // 2, last, step)]
    seen = sum(row.size for row in rows)
    wanted = max(_SAMPLE, seen * step >> 9)
    sample = np.concatenate([row[:: max(1, seen // wanted)] for row in rows])
    return counting(sample).reshape(1, -1)
