"""How white the noise of a difference was, and is: metrics, and the covariances themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums
from diffdecor.core.parallel import affordable_threads
from diffdecor.core.planes import LazyPlane, Plane
from diffdecor.decorrelation.judgement import Judgement, stamp_at, unmasked
from diffdecor.decorrelation.mask import OF_OTHER_PIXELS
from diffdecor.decorrelation.noise_statistics import NoiseStatistics, Sky, measure_noise
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.images.model import Exposure

#: Windows of 256 x 256 pixels that are measured, spread over the image: about half a megapixel.
_WINDOWS = 9
#: Plane of the pixels with light of sources.
_DETECTED = "DETECTED"
#: Sky pixels of a window that counts for the worst.
_ENOUGH = 5000
#: Memory of a thread per pixel of the rows it works on, roughly, bytes; and these rows.
_BYTES, _ROWS = 80, 320


@dataclass(frozen=True, eq=False)
class Covariances:
    """Sums of products of sky pixels at every lag, in the image's unit squared.

    They are divided by the variance of every pixel, and then multiplied by the mean variance.
    """

    before: LagSums
    after: LagSums


def measure_before_and_after(
    subtraction: Subtraction, result: Exposure, unusable: Plane, claimed: Plane | None = None
) -> tuple[dict[str, object], Covariances | None]:
    """Measure difference and result on the same sky pixels; return metrics, and covariances.

    There are none without enough such pixels, or without noise. `claimed` is the variance of the
    difference that follows from its inputs as they claim it.
    """
    difference, (ny, nx) = subtraction.difference, result.shape
    detected, others = _sources(subtraction)
    sky = Sky(
        images=[
            (difference.image, difference.variance),
            *([] if claimed is None else [(difference.image, claimed)]),
            (result.image, result.variance),
        ],
        usable=_usable(unusable, [unmasked(result, _planes(subtraction)), *detected]),
        others=others,
    )
    config = subtraction.config
    threads = affordable_threads(subtraction.threads, config.max_memory, _BYTES * _ROWS * nx)
    found = measure_noise(sky, _WINDOWS, threads, maps=False)
    if not all(one.sums.pixels > 0 for one in found):
        return {}, None
    centre = (nx - 1) / 2, (ny - 1) / 2
    psfs = stamp_at(subtraction.psf, *centre), stamp_at(result.psf, *centre)
    ends = found[0], found[-1]
    before, after = (Judgement(*each) for each in zip(ends, psfs, strict=True))
    metrics = {
        "rho_before": before.whiteness.largest,
        "rho_after": after.whiteness.largest,
        "rho_error": after.whiteness.error,
        "factor_before": before.factor[0],
        "factor_after": after.factor[0],
        "factor_error": after.factor[1],
        "covariance_factor": after.whiteness.covariance_factor,
    }
    metrics |= _ratios(found[1] if claimed is not None else found[0], found[-1])
    known = {name: value for name, value in metrics.items() if not math.isnan(value)}
    return dict(known), Covariances(*(one.covariances for one in ends))


def _ratios(before: NoiseStatistics, after: NoiseStatistics) -> dict[str, float]:
    """Return measured over claimed variance: of the difference, the result, its worst window."""
    metrics = {"chi_error": max(_error_of_ratio(one) for one in (before, after))}
    if before.claimed:
        metrics["chi_before"] = before.ratio
    if after.claimed:
        metrics["chi_after"] = after.ratio
        known = after.scatter[after.pixels >= _ENOUGH]
        if known.size:
            metrics["chi_worst"] = float(known[np.argmax(np.abs(np.log(known)))])
    return metrics


def _error_of_ratio(statistics: NoiseStatistics) -> float:
    """Return the error of measured over claimed variance: of correlated pixels it is larger."""
    sums = statistics.sums
    covariance, centre = sums.covariance, sums.max_lag
    number, variance = float(sums.pixels), float(covariance[0, centre])
    known = sums.pairs > 0
    rho2 = np.where(known, (covariance / variance) ** 2, 0.0)
    rho2 -= np.where(known, 1 / np.maximum(sums.pairs, 1), 0.0)
    # Both halves of the plane of lags; row 0 has both of its own.
    total = float(rho2[0].sum() + 2 * rho2[1:].sum())
    return statistics.ratio * math.sqrt(2 * max(total, 1.0) / number)


def _planes(subtraction: Subtraction) -> tuple[str, ...]:
    """Return the mask planes of the result whose pixels do not count."""
    return (*subtraction.config.ignore_planes, *OF_OTHER_PIXELS)


def _sources(subtraction: Subtraction) -> tuple[list[Plane], list[tuple[Plane, Plane | None]]]:
    """Return where the images say that there are no sources, and images that do not say it."""
    images = subtraction.exposures[:-1]  # there are none of a difference alone
    known = [one for one in images if one.mask is not None and _DETECTED in one.mask_planes]
    free = [unmasked(one, [_DETECTED]) for one in known]
    return free, [(one.image, one.variance) for one in images if one not in known]


def _usable(unusable: Plane, free: Sequence[Plane]) -> LazyPlane:
    """Return True where a pixel is not unusable, and all other planes are True."""
    ny, nx = unusable.shape

    def read(rows: slice) -> NDArray[np.bool_]:
        usable = ~np.asarray(unusable[rows])
        for plane in free:
            usable &= plane[rows]
        return usable

    return LazyPlane((ny, nx), read)
