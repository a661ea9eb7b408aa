"""Quartiles and moments of values of any kind by several passes over them, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.clipping import SHARES, Moments, Values, counting, moments_of_sums
from diffdecor.core.parallel import ordered_map

_DIGIT = 16
"""Bits of a value that one pass tells."""
_SIGN = np.uint64(1 << 63)
_PIECE = 1 << 16

Read = Callable[[slice], NDArray[np.floating]]


def quartiles_by_passes(read: Read, bands: Sequence[slice], threads: int) -> Values | None:
    """Return exact quartiles, interpolated linearly.

    Values sort like whole numbers made of their bits. Each of four passes counts the next 16 bits
    of the values that have begun like a quartile.

    Parameters
    ----------
    read : callable
        Gives the values of some rows.
    bands : sequence of slice
        All rows.
    threads : int
        How many bands are read at a time.

    Returns
    -------
    array (3, 1), optional
        Lower quartile, median, upper quartile; None where no value counts.
    """
    found: dict[int, int] = {}  # rank: its leading bits
    ranks: list[int] = []
    places: list[float] = []
    left: dict[int, int] = {}
    for shift in range(64 - _DIGIT, -1, -_DIGIT):
        prefixes = sorted(set(found.values())) or [0]
        counts = _digit_counts(read, bands, threads, prefixes, shift)
        if not found:
            number = int(counts.sum())
            if not number:
                return None
            places = [share * (number - 1) for share in SHARES]
            ranks = sorted({min(int(at) + one, number - 1) for at in places for one in (0, 1)})
            found, left = dict.fromkeys(ranks, 0), {rank: rank for rank in ranks}
        for rank in ranks:
            upto = np.cumsum(counts[prefixes.index(found[rank])])
            digit = int(np.searchsorted(upto, left[rank], side="right"))
            left[rank] -= int(upto[digit - 1]) if digit else 0
            found[rank] = found[rank] << _DIGIT | digit
    return np.interp(places, ranks, [_value(found[rank]) for rank in ranks])[:, np.newaxis]


def _digit_counts(
    read: Read, bands: Sequence[slice], threads: int, prefixes: Sequence[int], shift: int
) -> NDArray[np.int64]:
    """Count the values' digits above bit `shift`, of those that begin with each prefix."""

    def counted(rows: slice) -> NDArray[np.int64]:
        values = _finite(read(rows))
        counts = np.zeros((len(prefixes), 1 << _DIGIT), dtype=np.int64)
        for start in range(0, values.size, _PIECE):
            keys = _keys(values[start : start + _PIECE]) >> np.uint64(shift)
            digits = (keys & np.uint64((1 << _DIGIT) - 1)).astype(np.intp)
            leading = keys >> np.uint64(_DIGIT)
            for number, prefix in enumerate(prefixes):
                mine = digits[leading == np.uint64(prefix)]
                counts[number] += np.bincount(mine, minlength=1 << _DIGIT)
        return counts

    return reduce(np.add, ordered_map(counted, bands, threads))


def _keys(values: NDArray[np.floating]) -> NDArray[np.uint64]:
    """Return whole numbers in the order of the values."""
    bits = values.astype(np.float64).view(np.uint64)
    return np.where(bits >= _SIGN, ~bits, bits | _SIGN)


def _value(key: int) -> float:
    """Return the value of a key."""
    bits = key & ~(1 << 63) if key >> 63 else ~key & (1 << 64) - 1
    return float(np.array(bits, dtype=np.uint64).view(np.float64))


def moments_by_pass(
    read: Read, bands: Sequence[slice], threads: int, low: Values, high: Values
) -> Moments:
    """Return the moments of the values from `low` to `high`, in one pass.

    Parameters
    ----------
    read : callable
        Gives the values of some rows.
    bands : sequence of slice
        All rows.
    threads : int
        How many bands are read at a time.
    low, high : array (1,)
        Smallest and largest value that counts.

    Returns
    -------
    Moments
        All zero where there is no such value.
    """
    centre = (low + high) / 2

    def summed(rows: slice) -> NDArray[np.float64]:
        values = _finite(read(rows)).astype(np.float64)
        offsets = values[(values >= low) & (values <= high)] - centre
        return np.array([offsets.size, offsets.sum(), (offsets**2).sum()])

    sums = reduce(np.add, ordered_map(summed, bands, threads))
    return moments_of_sums(sums[:, np.newaxis], centre)


def _finite(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the values that count ``(n,)``."""
    known = counting(values)
    return known[known < np.inf]
