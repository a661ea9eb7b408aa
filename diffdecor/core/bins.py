"""Values counted and summed in bins, of several sets at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

#: Bins on either side of the one with a limit that are looked into: the limit still moves a little.
_NEAR = 12
#: Where neighbours among the first _LOOKED_AT values are often in one bin, bins are counted in
#: _LANES places: bincount is slow where each addition waits for the one before.
_LANES, _LOOKED_AT = 4, 1024
#: Values worked on at a time: they stay in the processor's cache.
CHUNK = 1 << 17


class Bins(NamedTuple):
    """Bins of n sets: 1 to `number` from `low` ``(n, 1)`` on, bin 0 below and one above."""

    low: Values
    #: Bins per unit ``(n, 1)``.
    scale: Values
    number: int
    #: Precision of the places.
    precision: type[np.floating]

    def only(self, sets: slice) -> Bins:
        """Return the bins of some of the sets."""
        return self._replace(low=self.low[sets], scale=self.scale[sets])

    def of(self, values: NDArray[np.floating]) -> NDArray[np.int32]:
        """Return the bins of values ``(n, m)``: the higher a value, the higher or the same."""
        low, scale = (one.astype(self.precision) for one in (self.low - 1 / self.scale, self.scale))
        with np.errstate(over="ignore"):
            places: NDArray[Any] = np.subtract(values, low, dtype=self.precision)
            places *= scale
        np.clip(places, 0, self.number + 1, out=places)
        return places.astype(np.int32)

    def counted(self, values: NDArray[np.floating]) -> Values:
        """Return how many values are in each bin, and their sums ``(2, n, number + 2)``."""
        total = np.zeros((2, len(values), self.number + 2))
        for sets, columns in _chunks(values):
            chunk = values[sets, columns]
            at, lanes = self.only(sets).of(chunk), 1
            size = len(at) * total.shape[2]
            if np.count_nonzero(np.diff(at[0, :_LOOKED_AT]) == 0) > _LOOKED_AT // 4:
                lanes = _LANES
                at += (np.arange(at.shape[1], dtype=np.int32) & lanes - 1) * size
            places = at.astype(np.intp)
            if len(at) > 1:
                places += total.shape[2] * np.arange(len(at))[:, np.newaxis]
            for which, weights in enumerate((None, chunk.reshape(-1))):
                found = np.bincount(places.reshape(-1), weights, lanes * size)
                total[which, sets] += found.reshape(lanes, len(at), -1).sum(axis=0)
            total[0, sets, -1] -= [np.count_nonzero(one == np.inf) for one in chunk]
        return total

    def chosen(self, values: NDArray[np.floating], wanted: NDArray[np.bool_]) -> list[Values]:
        """Return the values of each set in those bins that are wanted ``(n, k)``."""
        found: list[list[NDArray[np.floating]]] = [[] for _ in wanted]
        for sets, columns in _chunks(values):
            at = self.only(sets).of(values[sets, columns])
            for number, places in zip(range(sets.start, sets.stop), at, strict=True):
                taken = np.flatnonzero(wanted[number].take(places))
                found[number].append(values[number, columns][taken])
        return [np.concatenate(parts).astype(np.float64) for parts in found]

    def near(self, cuts: Values) -> NDArray[np.bool_]:
        """Say of every bin ``(n, k)`` if it has a quartile or may have a limit, by cuts (n, 12)."""
        at = self.of(cuts)
        limits = at[:, 6:, np.newaxis] + np.arange(-_NEAR, _NEAR + 1)
        limits = np.clip(limits, 0, self.number + 1).reshape(len(at), -1)
        wanted = np.zeros((len(at), self.number + 2), dtype=bool)
        np.put_along_axis(wanted, np.hstack([at[:, :6], limits]), values=True, axis=1)
        wanted[:, [0, -1]] = False
        return wanted

    def inside(self, cuts: Values, counts: Values) -> NDArray[np.bool_]:
        """Say of every set ``(n,)`` whether its bins cover all its cuts ``(n, 12)``."""
        at = self.of(cuts)
        covered = (at > 0) & (at <= self.number)
        empty = np.take_along_axis(counts[0], at, axis=1) == 0
        return np.asarray(np.all(covered | empty, axis=1))


def _chunks(values: NDArray[np.floating]) -> list[tuple[slice, slice]]:
    """Cut sets ``(n, m)`` into chunks: some values of one set, or all of several."""
    number, size = values.shape
    return [
        (slice(first, min(first + max(1, CHUNK // size), number)), slice(start, start + CHUNK))
        for first in range(0, number, max(1, CHUNK // size))
        for start in range(0, size, CHUNK)
    ]
