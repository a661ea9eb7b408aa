"""Where samples of values expect their quartiles, and the limits of their clipped mean.

Of all values those between such brackets are few. One pass takes them aside and counts or sums the
rest (`diffdecor.core.tally`); quartiles and sums then follow exactly, or it shows that a bracket
was missed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.clipping import (
    SHARES,
    SIGMA_OF_IQR,
    SIGMAS,
    Moments,
    Values,
    clipped,
    moments_of,
    quartiles_of,
)

_SURE = 3.5
"""Half width of the brackets, in standard deviations of what a random sample gives."""
_SPARSE = 1 << 9
"""A sample of fewer values tells too little."""
_MANY = 1 / 256
"""So large a part of the sample are many equal values."""
_THINNED = 4
"""The limits, which need not be known that well, come from each so-manyth value of the sample."""


@dataclass(frozen=True, eq=False)
class Brackets:
    """Where quartiles and limits of n sets of values are expected; NaN where nobody knows.

    Parameters
    ----------
    quartiles : array (3, 2, n)
        Lowest and highest value that each quartile may have.
    limits : array (2, 2, n)
        The same of the lower limits of all passes of the clipped mean, and of the upper ones.
    centre : array (n,)
        Where sums are taken from: near the mean.
    tied : array (n,)
        True where many values are equal to an end of a quartile's bracket.
    """

    quartiles: NDArray[np.floating]
    limits: Values
    centre: Values
    tied: NDArray[np.bool_]

    def of(self, sets: slice) -> Brackets:
        """Return the brackets of some of the sets."""
        return Brackets(
            self.quartiles[..., sets], self.limits[..., sets], self.centre[sets], self.tied[sets]
        )


def brackets_around(samples: NDArray[np.floating]) -> Brackets:
    """Return where the quartiles and limits of values are, as a sample of every set tells.

    Parameters
    ----------
    samples : array (n, m)
        Values; what does not count is infinite.

    Returns
    -------
    Brackets
        The quartiles' are values of the sample. NaN where the sample is too small, or too odd, to
        tell the limits apart.
    """
    ordered = np.sort(samples, axis=1)
    number = np.count_nonzero(ordered < np.inf, axis=1)
    last = np.maximum(number - 1, 0)
    ends = []
    for share in SHARES:
        spread = _SURE * (share * (1 - share) * number) ** 0.5 + 1
        ends += [share * last - spread, share * last + spread + 1]
    places = np.clip(np.array(ends).astype(np.int64), 0, last)

    def at(ranks: NDArray[np.int64]) -> NDArray[np.floating]:
        return np.take_along_axis(ordered, np.clip(ranks, 0, last).T, axis=1).T

    near = (number * _MANY).astype(np.int64) + 1
    found = at(places)
    tied = ((at(places - near) == found) | (at(places + near) == found)).any(axis=0)
    enough = number >= _SPARSE
    quartiles = np.where(enough, found, found.dtype.type(np.nan)).reshape(3, 2, -1)
    centre = at(last[np.newaxis] // 2)[0].astype(np.float64)
    widths = np.diff(quartiles.astype(np.float64), axis=1)[:, 0]
    limits = _limits(ordered[:, _THINNED // 2 :: _THINNED].astype(np.float64), widths)
    known = enough & (limits[0, 1] <= centre) & (centre <= limits[1, 0])
    return Brackets(
        np.where(known, quartiles, quartiles.dtype.type(np.nan)),
        np.where(known, limits, np.nan),
        np.where(known, centre, np.nan),
        tied,
    )


def _limits(samples: Values, widths: Values) -> Values:
    """Return the brackets of the limits ``(2, 2, n)``.

    Parameters
    ----------
    samples : array (n, m)
        Sorted values; what does not count is infinite.
    widths : array (3, n)
        Widths of the brackets of the quartiles.
    """
    seen: list[tuple[Values, Values]] = []

    def moments(low: Values, high: Values) -> Moments:
        seen.append((low, high))
        return moments_of(samples, low, high)

    number = np.count_nonzero(samples < np.inf, axis=1)
    clipped(quartiles_of(samples, number), moments)
    passes = np.array(seen)
    reach = np.max(passes[:, 1] - passes[:, 0], axis=0) / 2
    of_first = SIGMAS * SIGMA_OF_IQR * (widths[0] + widths[2]) / 2 + widths[1] / 2
    margin = of_first + _SURE * reach / np.sqrt(np.maximum(number, 1))
    return np.array([passes.min(axis=0) - margin, passes.max(axis=0) + margin]).swapaxes(0, 1)
