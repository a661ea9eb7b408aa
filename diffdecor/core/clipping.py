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

Quartiles = tuple[float, float, float]


class Moments(NamedTuple):
    """Number, mean and standard deviation (n - 1) of some values."""

    number: int
    mean: float
    sigma: float


def clipped(quartiles: Quartiles, moments: Callable[[float, float], Moments]) -> float:
    """Return the clipped mean of LSST's statistics.

    Parameters
    ----------
    quartiles : tuple of float
        Lower quartile, median, upper quartile of all values.
    moments : callable
        Gives the moments of the values from a lowest to a highest one, both included.

    Returns
    -------
    float
        Mean of the third pass.
    """
    lower, centre, upper = quartiles
    reach = SIGMAS * SIGMA_OF_IQR * (upper - lower)
    for _ in range(3):
        kept = moments(centre - reach, centre + reach)
        # Rounding of the mean can put every one of equal values a hair outside a reach of zero.
        if not kept.number:
            break
        centre, reach = kept.mean, SIGMAS * kept.sigma
    return centre


def quartiles_of(ordered: NDArray[np.floating]) -> Quartiles:
    """Return the quartiles of sorted values, interpolated linearly.

    Parameters
    ----------
    ordered : array (n,)
        Sorted finite values, not empty.

    Returns
    -------
    tuple of float
        Lower quartile, median, upper quartile.
    """
    found = []
    for share in SHARES:
        first, beyond = divmod(share * (ordered.size - 1), 1)
        low, high = float(ordered[int(first)]), float(ordered[int(first) + (beyond > 0)])
        found.append(low + (high - low) * beyond)
    lower, centre, upper = found
    return lower, centre, upper


def moments_of(values: NDArray[np.float64], low: float, high: float) -> Moments:
    """Return the moments of the values from `low` to `high`.

    Parameters
    ----------
    values : array
        Finite values.
    low, high : float
        Smallest and largest value that counts.

    Returns
    -------
    Moments
        All zero where there is no such value.
    """
    centre = (low + high) / 2
    offsets = values[(values >= low) & (values <= high)] - centre
    return moments_of_sums(offsets.size, float(offsets.sum()), float((offsets**2).sum()), centre)


def moments_of_sums(number: int, total: float, squares: float, centre: float) -> Moments:
    """Return moments from the sums of values' offsets from a centre.

    Parameters
    ----------
    number : int
        How many values there are.
    total, squares : float
        Sum of their offsets, and of the squares of these.
    centre : float
        What they are offset from; near their mean, so that the squares do not cancel.

    Returns
    -------
    Moments
        All zero where there is no value.
    """
    if not number:
        return Moments(0, 0.0, 0.0)
    scatter = max(0.0, squares - total * total / number)
    return Moments(number, centre + total / number, (scatter / max(1, number - 1)) ** 0.5)


def counting(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the values that count ``(n,)``: those that are finite in single precision.

    Parameters
    ----------
    values : array
        Values of any shape.

    Returns
    -------
    array (n,)
        In single or double precision; the values themselves where all of them count.
    """
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    flat = values.ravel()
    if flat.dtype == np.float32:
        known = np.isfinite(flat)
    else:
        known = (flat > -_BEYOND_SINGLE) & (flat < _BEYOND_SINGLE)
    return flat if known.all() else flat[known]
