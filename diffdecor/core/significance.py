"""How significant a point source would be at every pixel of an image with white noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.convolve import Convolution
from diffdecor.core.fourier import reflect
from diffdecor.core.interpolate import KernelField
from diffdecor.core.planes import LazyPlane, Plane

#: Share of a PSF's energy below which a source could hardly be seen.
_LEAST_SHARE = 1e-6


def significance_plane(image: Plane, variance: Plane, usable: Plane, psf: KernelField) -> LazyPlane:
    """Return the flux of a point source that fits best at every pixel, in units of its error.

    With independent pixels of variance v that flux is ``sum(psf d / v) / sum(psf^2 / v)``, and its
    variance ``1 / sum(psf^2 / v)`` (the matched filter; Zackay et al. 2016, section 2). Unusable
    pixels have no weight; the result, float64, is NaN where the usable ones hold less than a
    millionth of the energy ``sum(psf^2)``. The PSF has unit sum and is centred on its origin.
    """

    def weight(rows: slice) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            weights = 1.0 / np.asarray(variance[rows], dtype=np.float64)
        known = usable[rows] & np.isfinite(image[rows]) & np.isfinite(weights) & (weights > 0)
        return np.where(known, weights, 0.0)

    def signal(rows: slice) -> NDArray[np.float64]:
        weights = weight(rows)
        values = np.zeros_like(weights)
        np.multiply(image[rows], weights, where=weights > 0, out=values)
        return values

    stamps, origin = reflect(psf.stamps, psf.origin)
    energy = stamps**2
    shares = energy / energy.sum(axis=(-2, -1), keepdims=True)
    matched, information, seen = (
        Convolution(
            (LazyPlane(image.shape, rows), KernelField(psf.x, psf.y, kernels, origin)),
            edges="zero",
            precision="double",
        )
        for rows, kernels in (
            (signal, stamps),
            (weight, energy),
            (lambda rows: weight(rows) > 0, shares),
        )
    )

    def ratio(rows: slice) -> NDArray[np.float64]:
        known = information[rows]
        # The transforms leave rounding errors where there is nothing.
        there = (seen[rows] > _LEAST_SHARE) & (known > 0)
        found = np.full(known.shape, np.nan)
        np.divide(matched[rows], np.sqrt(known, where=there, out=known), where=there, out=found)
        return found

    return LazyPlane(image.shape, ratio)
