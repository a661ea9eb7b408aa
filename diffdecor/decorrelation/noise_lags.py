"""The covariance of the sky pixels, of the difference as it was and of the result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffdecor.core.covariance import LagSums, lag_sums
from diffdecor.core.planes import Plane, part_of
from diffdecor.core.spectrum import MAX_LAG
from diffdecor.core.statistics import clipped_mean
from diffdecor.core.whiteness import sky_pixels, source_pixels
from diffdecor.decorrelation.metrics import measured_window
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.images.model import Exposure


@dataclass(frozen=True, eq=False, kw_only=True)
class NoiseLags:
    """Sums over pairs of sky pixels, with lags to `MAX_LAG`, before and after."""

    before: LagSums
    after: LagSums
    #: Their unit, in image unit squared.
    level: float


def measure_noise_lags(subtraction: Subtraction, result: Exposure, unusable: Plane) -> NoiseLags:
    """Measure the covariance of the sky pixels in the middle of the image.

    Pixels are divided by the root of the variance of the result, so regions of different depth
    count alike; the level is the mean variance of those pixels.
    """
    window = measured_window(subtraction.shape)
    usable = ~part_of(unusable, window)
    if result.mask is not None:
        usable &= part_of(result.mask, window) == 0
    usable &= ~source_pixels(part_of(subtraction.science.image, window), usable)
    variance = None if result.variance is None else part_of(result.variance, window)
    before, after = (
        lag_sums(*sky_pixels(part_of(one.image, window), usable, variance), MAX_LAG)
        for one in (subtraction.difference, result)
    )
    level = 1.0 if variance is None else clipped_mean(variance[usable])
    return NoiseLags(before=before, after=after, level=level if np.isfinite(level) else 1.0)
