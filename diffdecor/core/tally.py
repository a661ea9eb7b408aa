"""What one pass over values finds out for their exact quartiles and clipped sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.brackets import Brackets, MissedError
from diffdecor.core.clipping import SHARES, Moments, Quartiles, moments_of_sums

_PIECE = 1 << 18
"""Values at a time: they and their offsets stay in a processor's cache."""


@dataclass(frozen=True, eq=False)
class Tally:
    """What is known of values after one pass.

    Parameters
    ----------
    brackets : Brackets
        What was looked for.
    number : int
        How many values there are.
    counts : array (3, 3)
        For every quartile, how many are below its bracket, below or at its lower end, and below or
        at its upper end.
    core : array (3,)
        Number, sum and sum of squares of the offsets of those that no pass clips.
    between : array (n,)
        Those inside the brackets of the quartiles, their ends apart.
    outer : array (n,)
        Those inside the brackets of the limits, outside the core.
    """

    brackets: Brackets
    number: int
    counts: NDArray[np.int64]
    core: NDArray[np.float64]
    between: NDArray[np.floating]
    outer: NDArray[np.floating]

    def quartiles(self) -> Quartiles:
        """Return the quartiles, interpolated linearly.

        Returns
        -------
        tuple of float
            Lower quartile, median, upper quartile.

        Raises
        ------
        MissedError
            If one is not in its bracket.
        """
        lower, centre, upper = (self._quartile(which) for which in range(3))
        return lower, centre, upper

    def _quartile(self, which: int) -> float:
        low, high = self.brackets.quartiles[which]
        below, to_low, to_high = self.counts[which]
        first, beyond = divmod(SHARES[which] * (self.number - 1), 1)
        ranks = (int(first), int(first) + (beyond > 0))
        if not below <= ranks[0] <= ranks[1] < to_high:
            raise MissedError
        inside = self.between[(self.between > low) & (self.between < high)]
        places = [rank - to_low for rank in ranks if to_low <= rank < to_low + inside.size]
        for place, begin in zip(places, [0, *places], strict=False):
            # One after the other: several at once take longer.
            inside[begin:].partition(place - begin)

        def ranked(rank: int) -> float:
            if rank < to_low:
                return float(low)
            return float(inside[rank - to_low] if rank < to_low + inside.size else high)

        lower, upper = (ranked(rank) for rank in ranks)
        return lower + (upper - lower) * beyond

    def moments(self, low: float, high: float) -> Moments:
        """Return the moments of the values from `low` to `high`.

        Parameters
        ----------
        low, high : float
            Limits of a pass.

        Returns
        -------
        Moments
            All zero where there is no such value.

        Raises
        ------
        MissedError
            If a limit is not in its bracket.
        """
        (lowest, core_low), (core_high, highest) = self.brackets.limits
        if not (lowest <= low <= core_low and core_high <= high <= highest):
            raise MissedError
        outer = self.outer.astype(np.float64)
        offsets = outer[(outer >= low) & (outer <= high)] - self.brackets.centre
        number, total, squares = self.core + np.array(
            [offsets.size, offsets.sum(), (offsets**2).sum()]
        )
        return moments_of_sums(int(number), total, squares, self.brackets.centre)


def tally(values: NDArray[np.floating], brackets: Brackets) -> Tally:
    """Count, sum and take aside values, in one pass.

    Parameters
    ----------
    values : array (n,)
        Finite values.
    brackets : Brackets
        What is looked for.

    Returns
    -------
    Tally
        What is known of them.
    """
    counts, core = np.zeros((3, 3), dtype=np.int64), np.zeros(3)
    between, outer = [values[:0]], [values[:0]]
    limits = _in_precision(brackets.limits, values.dtype)
    # Used again for every piece: fresh memory costs as much as the arithmetic.
    scratch = np.empty((3, min(_PIECE, values.size)), dtype=bool)
    offsets = np.empty(scratch.shape[1])
    for start in range(0, values.size, _PIECE):
        piece = values[start : start + _PIECE]
        masks = scratch[:, : piece.size]
        counts += _counts(piece, brackets.quartiles, masks)
        between.append(piece[masks[0]])
        np.subtract(piece, brackets.centre, out=offsets[: piece.size], dtype=np.float64)
        sums, clippable = _sums(piece, offsets[: piece.size], limits, masks)
        core += sums
        outer.append(clippable)
    return Tally(
        brackets, values.size, counts, core, np.concatenate(between), np.concatenate(outer)
    )


def joined(parts: Sequence[Tally]) -> Tally:
    """Return the tally of all parts of the values.

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
        sum(part.number for part in parts),
        np.sum([part.counts for part in parts], axis=0),
        np.sum([part.core for part in parts], axis=0),
        np.concatenate([part.between for part in parts]),
        np.concatenate([part.outer for part in parts]),
    )


def _counts(
    piece: NDArray[np.floating], quartiles: NDArray[np.floating], masks: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the counts ``(3, 3)`` of a tally; the first mask says what is inside the brackets."""
    inside, left, right = masks
    inside[:] = False
    counts = np.empty((3, 3), dtype=np.int64)
    for which, (low, high) in enumerate(quartiles):
        below = np.count_nonzero(np.less(piece, low, out=left))
        to_high = np.count_nonzero(np.less_equal(piece, high, out=left))
        above = np.count_nonzero(np.greater(piece, low, out=left))
        counts[which] = below, piece.size - above, to_high
        np.less(piece, high, out=right)
        np.logical_and(left, right, out=left)
        np.logical_or(inside, left, out=inside)
    return counts


def _sums(
    piece: NDArray[np.floating],
    offsets: NDArray[np.float64],
    limits: NDArray[np.floating],
    masks: NDArray[np.bool_],
) -> tuple[tuple[int, float, float], NDArray[np.floating]]:
    """Return the sums of a tally's core, and the values that only some passes clip.

    The offsets are overwritten.
    """
    (lowest, low), (high, highest) = limits
    _, left, right = masks
    np.less(piece, low, out=left)
    np.greater(piece, high, out=right)
    outside = np.flatnonzero(np.logical_or(left, right, out=left))
    offsets[outside] = 0.0
    total = float(np.add.reduce(offsets))
    squares = float(np.add.reduce(np.multiply(offsets, offsets, out=offsets)))
    outer = piece[outside]
    clippable = outer[(outer >= lowest) & (outer <= highest)]
    return (piece.size - outer.size, total, squares), clippable


def _in_precision(
    limits: NDArray[np.float64], dtype: np.dtype[np.floating]
) -> NDArray[np.floating]:
    """Return the outermost values of a precision that lie within limits ``(2, 2)``.

    Comparing with them is comparing with the limits, without converting the values.
    """
    with np.errstate(over="ignore"):
        nearest = limits.astype(dtype)
    lower, upper = nearest
    lower = np.where(lower < limits[0], np.nextafter(lower, dtype.type(np.inf)), lower)
    upper = np.where(upper > limits[1], np.nextafter(upper, dtype.type(-np.inf)), upper)
    return np.array([lower, upper])
