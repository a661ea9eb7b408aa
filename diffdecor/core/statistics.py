"""Robust levels of planes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIGMA_OF_IQR = 0.741301109252802
_SIGMAS = 3.0


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
    with np.errstate(over="ignore"):
        finite = values[np.isfinite(values.astype(np.float32, copy=False))].astype(np.float64)
    if not finite.size:
        return float("nan")
    lower, centre, upper = np.percentile(finite, [25, 50, 75])
    reach = _SIGMAS * _SIGMA_OF_IQR * (upper - lower)
    for _ in range(2):
        kept = finite[np.abs(finite - centre) <= reach]
        if not kept.size:  # reach has underflowed
            break
        centre = kept.mean()
        reach = _SIGMAS * (kept.std(ddof=1) if kept.size > 1 else 0.0)
    kept = finite[np.abs(finite - centre) <= reach]
    # Rounding of the mean can put every one of equal values a hair outside a reach of zero.
    return float(kept.mean()) if kept.size else float(centre)


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
    lower, upper = np.percentile(values, [25, 75])
    return float(_SIGMA_OF_IQR * (upper - lower))
