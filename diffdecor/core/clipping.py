"""The clipped mean by its definition, however quartiles and moments come about."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIGMA_OF_IQR = 0.741301109252802
"""Standard deviation of a normal distribution, in units of its interquartile range."""
SIGMAS = 3.0
"""Half width of what a pass of the clipped mean keeps, in standard deviations."""
SHARES = (0.25, 0.5, 0.75)
"""Of all values, how many lie below each quartile."""
_BEYOND_SINGLE = (1 - 2.0**-25) * 2.0**128
"""The smallest number that single precision rounds to infinity."""

Values = NDArray[np.float64]


class Moments(NamedTuple):
    """Number, mean and standard deviation (n - 1) of some values of each of several sets."""

    number: Values
    mean: Values
    sigma: Values


def clipped(quartiles: Values, moments: Callable[[Values, Values], Moments]) -> Values:
    """Return the clipped means of sets of values, as LSST's statistics define them.

    Parameters
    ----------
    quartiles : array (3, n)
        Lower quartile, median, upper quartile of all values of every set.
    moments : callable
        Gives the moments of the values from a lowest to a highest one, both included and ``(n,)``.

    Returns
    -------
    array (n,)
        Means of the third pass.
    """
    lower, centre, upper = quartiles
    reach = SIGMAS * SIGMA_OF_IQR * (upper - lower)
    for _ in range(3):
        kept = moments(centre - reach, centre + reach)
        # Rounding of the mean can put every one of equal values a hair outside a reach of zero.
        some = kept.number != 0
        centre = np.where(some, kept.mean, centre)
        reach = np.where(some, SIGMAS * kept.sigma, reach)
    return np.asarray(centre)


def quartiles_of(ordered: NDArray[np.floating], number: NDArray[np.int64]) -> Values:
    """Return the quartiles of sets of sorted values, interpolated linearly.

    Parameters
    ----------
    ordered : array (n, m)
        Sorted values; what does not count is infinite.
    number : array (n,)
        How many values of every set count.

    Returns
    -------
    array (3, n)
        Lower quartile, median, upper quartile; NaN where nothing counts.
    """
    found = []
    for share in SHARES:
        first, beyond = ranks(share, number)
        both = np.take_along_axis(ordered, np.stack([first, first + (beyond > 0)], 1), axis=1)
        low, high = np.where(number > 0, both.T, np.nan).astype(np.float64)
        found.append(low + (high - low) * beyond)
    return np.array(found)


def ranks(share: float, number: NDArray[np.int64]) -> tuple[NDArray[np.int64], Values]:
    """Return the rank ``(n,)`` of a quartile among so many values, and how far it is to the next.

    Parameters
    ----------
    share : float
        Of all values, how many lie below it.
    number : array (n,)
        How many values there are.

    Returns
    -------
    tuple of array (n,)
        Rank from 0, and 0 to 1.
    """
    beyond, first = np.modf(share * (number - 1))
    return first.astype(np.int64), beyond


def moments_of(values: Values, low: Values, high: Values) -> Moments:
    """Return the moments of the values from `low` to `high` in every set.

    Parameters
    ----------
    values : array (n, m)
        Values; what does not count is infinite.
    low, high : array (n,)
        Smallest and largest value that counts.

    Returns
    -------
    Moments
        All zero where there is no such value.
    """
    centre = (low + high) / 2
    kept = (values >= low[:, np.newaxis]) & (values <= high[:, np.newaxis])
    offsets = np.where(kept, values - centre[:, np.newaxis], 0.0)
    return moments_of_sums(
        np.array([kept.sum(axis=1), offsets.sum(axis=1), (offsets**2).sum(axis=1)]), centre
    )


def moments_of_sums(sums: Values, centre: Values) -> Moments:
    """Return moments from the sums of values' offsets from a centre.

    Parameters
    ----------
    sums : array (3, n)
        How many values there are in every set, sum of their offsets, and of the squares of these.
    centre : array (n,)
        What they are offset from; near their mean, so that the squares do not cancel.

    Returns
    -------
    Moments
        All zero where there is no value.
    """
    number, total, squares = sums
    some = np.maximum(number, 1)
    scatter = np.maximum(squares - total * total / some, 0)
    mean = np.where(number == 0, 0.0, centre + total / some)
    return Moments(number, mean, np.sqrt(scatter / np.maximum(number - 1, 1)))


def counting(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return values, infinity in place of those that do not count.

    These are those that are not finite in single precision.

    Parameters
    ----------
    values : array
        Values of any shape.

    Returns
    -------
    array
        In single or double precision; the values themselves where there is nothing to replace.
    """
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    known = values > -(np.inf if values.dtype == np.float32 else _BEYOND_SINGLE)
    if values.dtype == np.float64:
        known &= values < _BEYOND_SINGLE
    return values if known.all() else with_infinity(values, ~known)


def with_infinity(values: NDArray[np.floating], where: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return a copy of values, infinity in some places.

    Parameters
    ----------
    values : array
        Values of any shape.
    where : array
        True where infinity goes: few places, for many a mask would be as fast.

    Returns
    -------
    array
        Contiguous.
    """
    changed = np.array(values, order="C")
    changed.reshape(-1)[np.flatnonzero(where)] = np.inf
    return changed
