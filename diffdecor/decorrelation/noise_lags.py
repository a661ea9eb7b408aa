"""The covariance of the sky pixels, of the difference as it was and of the result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffdecor.core.covariance import LagSums, lag_sums
from diffdecor.core.planes import Plane, part_of
from diffdecor.core.spectrum import MAX_LAG
from diffdecor.core.statistics import clipped_mean
from diffdecor.core.whiteness import sky_pixels, source_pixels
from diffdecor.decorrelation.metrics import _middle
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.images.model import Exposure


@dataclass(frozen=True, eq=False, kw_only=True)
class NoiseLags:
    """Sums over pairs of sky pixels, image unit squared, with lags to `MAX_LAG`."""

    before: LagSums
    after: LagSums


def measure_noise_lags(subtraction: Subtraction, result: Exposure, unusable: Plane) -> NoiseLags:
    """Measure the covariance of the sky pixels in the middle of the image.

    Pixels are divided by the root of the variance of the result, so regions of different depth
    count alike, and the sums multiplied with the mean variance.
    """
    window = _middle(subtraction.shape)
    usable = ~part_of(unusable, window)
    if result.mask is not None:
        usable &= part_of(result.mask, window) == 0
    usable &= ~source_pixels(part_of(subtraction.science.image, window), usable)
    variance = None if result.variance is None else part_of(result.variance, window)
    mean = 1.0 if variance is None else clipped_mean(variance[usable])
    level = mean if np.isfinite(mean) else 1.0

    def measured(exposure: Exposure) -> LagSums:
        values, sky = sky_pixels(part_of(exposure.image, window), usable, variance)
        sums = lag_sums(values, sky, MAX_LAG)
        return LagSums(sums.products * level, sums.pairs)

    return NoiseLags(before=measured(subtraction.difference), after=measured(result))
