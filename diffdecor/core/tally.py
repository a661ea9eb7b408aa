"""What one pass over sets of values finds out for their exact quartiles and clipped sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.brackets import Brackets
from diffdecor.core.clipping import SHARES, Moments, Values, moments_of_sums, ranks

_PIECE = 1 << 19
"""Values at a time: they and their offsets stay in a processor's cache."""
_ADDED = 64
"""So many truth values, at most 255, are added up in a byte."""


@dataclass(frozen=True, eq=False)
class Tally:
    """What is known of n sets of values after one pass.

    Parameters
    ----------
    brackets : Brackets
        What was looked for.
    number : array (n,)
        How many values every set has.
    counts : array (3, 4, n)
        For every quartile, how many are below its bracket; that and at the lower end, if this
        does not count as inside; that and inside; and that and at the upper end.
    core : array (3, n)
        Number, sum and sum of squares of the offsets of those that no pass clips.
    between : tuple of array
        Those inside the bracket of each quartile, set by set.
    outer : array (m,)
        Those inside the brackets of the limits, outside the core.
    sets : array (m,)
        To which set each of these belongs.
    """

    brackets: Brackets
    number: NDArray[np.int64]
    counts: NDArray[np.int64]
    core: Values
    between: tuple[NDArray[np.floating], ...]
    outer: Values
    sets: NDArray[np.int64]

    @property
    def taken(self) -> int:
        """How many values were taken aside."""
        return self.outer.size + sum(values.size for values in self.between)

    def quartiles(self) -> Values:
        """Return the quartiles, interpolated linearly.

        Returns
        -------
        array (3, n)
            Lower quartile, median, upper quartile; NaN where one is not in its bracket.
        """
        return np.array([self._quartile(which) for which in range(3)])

    def _quartile(self, which: int) -> Values:
        below, to_low, to_inside, to_high = self.counts[which]
        first, beyond = ranks(SHARES[which], self.number)
        known = (self.number > 0) & (below <= first) & (first + (beyond > 0) < to_high)
        inside = np.maximum(to_inside - to_low, 0)
        rank = np.clip(first - to_low, -2, inside)
        filled, place = self._filled(which, rank, inside)
        filled.partition(place, axis=1)
        lower = filled[:, place].astype(np.float64)
        upper = filled[:, place + 1 :].min(axis=1).astype(np.float64)
        return np.where(known, lower + (upper - lower) * beyond, np.nan)

    def _filled(
        self, which: int, rank: NDArray[np.int64], inside: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], int]:
        """Return the values inside a bracket, one set to a row, and the column of all ranks.

        Rows are filled up on both sides, with the ends of the bracket, so that it is the same.
        """
        place = max(0, int(rank.max()))
        begins = place - rank
        ends = begins + inside
        rows = np.empty((len(rank), max(place + 2, int(ends.max()))), self.between[which].dtype)
        low, high = self.brackets.quartiles[which]
        first = 0
        for row, begin, end, before, behind in zip(rows, begins, ends, low, high, strict=True):
            row[:begin], row[end:] = before, behind
            row[begin:end] = self.between[which][first : first + end - begin]
            first += end - begin
        return rows, place

    def moments(self, low: Values, high: Values) -> Moments:
        """Return the moments of the values from `low` to `high` in every set.

        Parameters
        ----------
        low, high : array (n,)
            Limits of a pass.

        Returns
        -------
        Moments
            All zero where there is no such value; NaN where a limit is not in its bracket.
        """
        (lowest, core_low), (core_high, highest) = self.brackets.limits
        known = (lowest <= low) & (low <= core_low) & (core_high <= high) & (high <= highest)
        kept = (self.outer >= low[self.sets]) & (self.outer <= high[self.sets])
        sets = self.sets[kept]
        offsets = self.outer[kept] - self.brackets.centre[sets]
        weights = (np.ones(offsets.size), offsets, offsets**2)
        sums = [np.bincount(sets, weight, self.number.size) for weight in weights]
        return moments_of_sums(np.where(known, self.core + sums, np.nan), self.brackets.centre)


def tally(values: NDArray[np.floating], brackets: Brackets) -> Tally:
    """Count, sum and take aside values, in one pass.

    Parameters
    ----------
    values : array (n, m)
        Sets of values; what does not count is infinite.
    brackets : Brackets
        What is looked for.

    Returns
    -------
    Tally
        What is known of them.
    """
    sets, width = values.shape
    number, counts, core = np.zeros(sets, int), np.zeros((3, 4, sets), int), np.zeros((3, sets))
    between: list[list[NDArray[np.floating]]] = [[], [], []]
    outer, owners = [np.empty(0)], [np.empty(0, int)]
    together, length = max(1, _PIECE // width), min(width, _PIECE)
    for first in range(0, sets, together):
        mine = slice(first, first + together)
        about = brackets.of(mine)
        for start in range(0, width, length):
            piece = values[mine, start : start + length]
            number[mine] += _sums_of(piece < np.inf)
            for which, taken in enumerate(between):
                found, inside = _counts(piece, about.quartiles[which], tied=about.tied.any())
                counts[which][:, mine] += found
                taken.append(inside)
            sums, clippable, of = _clipped_sums(piece, about)
            core[:, mine] += sums
            outer.append(clippable)
            owners.append(of + first)
    return Tally(
        brackets,
        number,
        counts,
        core,
        tuple(np.concatenate(taken) for taken in between),
        np.concatenate(outer),
        np.concatenate(owners),
    )


def _counts(
    values: NDArray[np.floating], bracket: NDArray[np.floating], *, tied: np.bool_
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Return a quartile's counts ``(4, n)``, and the values inside its bracket, set by set."""
    low, high = bracket[..., np.newaxis]
    if tied:
        masks = [values < low, values <= low, values < high, values <= high]
    else:
        # Values equal to the ends are few: they are taken aside too.
        masks = [values < low, values <= high]
    counts = np.repeat([_sums_of(mask) for mask in masks], 4 // len(masks), axis=0)
    begun, ended = masks[len(masks) // 2], masks[len(masks) // 2 - 1]
    inside = np.greater(begun, ended, out=begun)
    return counts, values.reshape(-1)[np.flatnonzero(inside)]


def joined(parts: Sequence[Tally]) -> Tally:
    """Return the tally of one set of values from those of its parts.

    Parameters
    ----------
    parts : sequence of Tally
        With the same brackets, not empty; sums depend on their order by rounding.

    Returns
    -------
    Tally
        As if they had been one.
    """
    return Tally(
        parts[0].brackets,
        np.sum([part.number for part in parts], axis=0),
        np.sum([part.counts for part in parts], axis=0),
        np.sum([part.core for part in parts], axis=0),
        tuple(np.concatenate(each) for each in zip(*(part.between for part in parts), strict=True)),
        np.concatenate([part.outer for part in parts]),
        np.concatenate([part.sets for part in parts]),
    )


def _sums_of(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many are true in every row: bytes are added up before they become numbers."""
    bits = masks.view(np.uint8)
    even = bits.shape[1] // _ADDED * _ADDED
    parts = bits[:, :even].reshape(len(bits), _ADDED, -1)
    added = np.add.reduce(parts, axis=1, dtype=np.uint8)
    rest = bits[:, even:].sum(axis=1, dtype=np.int64)
    return np.asarray(added.sum(axis=1, dtype=np.int64) + rest)


def _clipped_sums(
    values: NDArray[np.floating], brackets: Brackets
) -> tuple[Values, Values, NDArray[np.int64]]:
    """Return the sums of a tally's core, the values that only some passes clip, and their sets."""
    (lowest, low), (high, highest) = _in_precision(brackets.limits, values.dtype)
    outside = np.less(values, low[:, np.newaxis])
    outside |= values > high[:, np.newaxis]
    places = np.flatnonzero(outside)
    number, width = values.shape
    ends = np.searchsorted(places, width * np.arange(1, number + 1))
    sizes = np.diff(ends, prepend=0)
    offsets = values.astype(np.float64)
    offsets -= brackets.centre[:, np.newaxis]
    offsets.reshape(-1)[places] = 0.0
    total = np.add.reduce(offsets, axis=1)
    offsets *= offsets
    core = np.array([width - sizes, total, np.add.reduce(offsets, axis=1)])
    outer, sets = values.reshape(-1)[places], np.repeat(np.arange(number), sizes)
    clippable = (outer >= np.repeat(lowest, sizes)) & (outer <= np.repeat(highest, sizes))
    return core, outer[clippable].astype(np.float64), sets[clippable]


def _in_precision(limits: Values, dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
    """Return the outermost values of a precision that lie within limits ``(2, 2, n)``.

    Comparing with them is comparing with the limits, without converting the values.
    """
    with np.errstate(over="ignore"):
        nearest = limits.astype(dtype)
    lower, upper = nearest
    lower = np.where(lower < limits[0], np.nextafter(lower, dtype.type(np.inf)), lower)
    upper = np.where(upper > limits[1], np.nextafter(upper, dtype.type(-np.inf)), upper)
    return np.array([lower, upper])
