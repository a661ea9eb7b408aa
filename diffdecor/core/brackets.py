"""Where a sample of values expects their quartiles, and the limits of their clipped mean.

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
    clipped,
    moments_of,
    quartiles_of,
)

_SURE = 4.0
"""Half width of the brackets, in standard deviations of what a random sample gives."""


class MissedError(Exception):
    """A quartile or a limit lies outside its bracket, or too many values in one."""


@dataclass(frozen=True, eq=False)
class Brackets:
    """Where quartiles and limits are expected.

    Parameters
    ----------
    quartiles : array (3, 2)
        Lowest and highest value that each quartile may have.
    limits : array (2, 2)
        The same of the lower limits of all passes of the clipped mean, and of the upper ones.
    centre : float
        Where sums are taken from: near the mean.
    """

    quartiles: NDArray[np.floating]
    limits: NDArray[np.float64]
    centre: float


def brackets_around(sample: NDArray[np.floating]) -> Brackets:
    """Return where the quartiles and limits of values are, as a sample of them tells.

    Parameters
    ----------
    sample : array (n,)
        Finite values, not empty.

    Returns
    -------
    Brackets
        The quartiles' are values of the sample.

    Raises
    ------
    MissedError
        If the sample is too small, or too odd, to tell the limits apart.
    """
    ordered = np.sort(sample)
    last = ordered.size - 1
    ends = []
    for share in SHARES:
        spread = _SURE * (share * (1 - share) * ordered.size) ** 0.5 + 1
        ends.append([max(0, int(share * last - spread)), min(last, int(share * last + spread) + 1)])
    quartiles = ordered[np.array(ends)]
    limits = _limits(ordered.astype(np.float64), np.ptp(quartiles.astype(np.float64), axis=1))
    centre = float(ordered[last // 2])
    if not limits[0, 1] <= centre <= limits[1, 0]:
        raise MissedError
    return Brackets(quartiles, limits, centre)


def _limits(sample: NDArray[np.float64], widths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the brackets of the limits ``(2, 2)``.

    Parameters
    ----------
    sample : array (n,)
        Sorted values.
    widths : array (3,)
        Widths of the brackets of the quartiles.
    """
    seen: list[tuple[float, float]] = []

    def moments(low: float, high: float) -> Moments:
        seen.append((low, high))
        return moments_of(sample, low, high)

    clipped(quartiles_of(sample), moments)
    passes = np.array(seen)
    reach = float(np.max(passes[:, 1] - passes[:, 0])) / 2
    of_first = SIGMAS * SIGMA_OF_IQR * (widths[0] + widths[2]) / 2 + widths[1] / 2
    margin = float(of_first) + _SURE * reach / sample.size**0.5
    lowest, highest = passes.min(axis=0), passes.max(axis=0)
    ends = [[lowest[0] - margin, highest[0] + margin], [lowest[1] - margin, highest[1] + margin]]
    return np.array(ends)
