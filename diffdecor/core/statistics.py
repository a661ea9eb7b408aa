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

from diffdecor.core.brackets import Brackets, MissedError, brackets_around
from diffdecor.core.clipping import (
    SIGMA_OF_IQR,
    Quartiles,
    clipped,
    counting,
    moments_of,
    quartiles_of,
)
from diffdecor.core.parallel import ordered_map
from diffdecor.core.selection import moments_by_pass, quartiles_by_passes
from diffdecor.core.tally import Tally, joined, tally

_FEW = 1 << 14
"""So many values are sorted as fast."""
_SAMPLE = 1 << 16
_SAMPLE_ROWS = 256
_SPARSE = 1 << 9
"""A sample of fewer values tells too little."""
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
    finite = counting(values)
    if not finite.size:
        return float("nan")
    if finite.size > _FEW:
        try:
            return _mean_of(tally(finite, brackets_around(_part(finite))))
        except MissedError:
            pass
    ordered = np.sort(finite).astype(np.float64)
    return clipped(quartiles_of(ordered), partial(moments_of, ordered))


def streamed_clipped_mean(read: Read, bands: Sequence[slice], threads: int = 1) -> float:
    """Return the clipped mean of a plane that is read band by band, in bounded memory.

    Parameters
    ----------
    read : callable
        Gives the pixels of some rows, or those of them that count, as an array of any shape;
        several threads may call it at a time.
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
    sample = _rows_sample(read, bands)
    if sample.size >= _SPARSE:
        try:
            return _mean_of(_one_pass(read, bands, brackets_around(sample), threads))
        except MissedError:
            pass
    quartiles = quartiles_by_passes(read, bands, threads)
    if quartiles is None:
        return float("nan")
    return clipped(quartiles, partial(moments_by_pass, read, bands, threads))


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
    lower, _, upper = _quartiles(np.ravel(values))
    return float(SIGMA_OF_IQR * (upper - lower))


def _quartiles(finite: NDArray[np.floating]) -> Quartiles:
    if finite.size > _FEW:
        try:
            return tally(finite, brackets_around(_part(finite))).quartiles()
        except MissedError:
            pass
    return quartiles_of(np.sort(finite))


def _mean_of(seen: Tally) -> float:
    return clipped(seen.quartiles(), seen.moments)


def _one_pass(read: Read, bands: Sequence[slice], brackets: Brackets, threads: int) -> Tally:
    """Return what one pass finds between brackets, if it is not too much."""
    parts, taken = [], 0
    for part in ordered_map(lambda rows: tally(counting(read(rows)), brackets), bands, threads):
        parts.append(part)
        taken += part.between.size + part.outer.size
        if taken > _MOST_TAKEN:
            raise MissedError
    return joined(parts)


def _part(finite: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return evenly spaced values: the more there are, the smaller a share of them."""
    number = min(_SAMPLE, 4 * int(finite.size ** (2 / 3)))
    return finite[:: max(1, finite.size // number)]


def _rows_sample(read: Read, bands: Sequence[slice]) -> NDArray[np.floating]:
    """Return pixels of evenly spaced rows: the more there are, the smaller a share of them."""
    first, last = bands[0].start, bands[-1].stop
    step = max(1, (last - first) // _SAMPLE_ROWS)
    rows = [read(slice(row, row + 1)).ravel() for row in range(first + (step - 1) // 2, last, step)]
    seen = sum(row.size for row in rows)
    wanted = max(_SAMPLE, seen * step >> 9)
    return counting(np.concatenate([row[:: max(1, seen // wanted)] for row in rows]))
