"""How significant a point source would be at every pixel of an image with white noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.convolve import Convolution
from diffdecor.core.fourier import reflect
from diffdecor.core.kernelfield import KernelField
from diffdecor.core.planes import LazyPlane, Plane

_LEAST_SHARE = 1e-6
"""Share of a PSF's energy below which a source there would hardly be seen."""


def significance(
    image: NDArray[np.floating],
    variance: NDArray[np.floating],
    usable: NDArray[np.bool_],
    psf: KernelField,
) -> NDArray[np.float64]:
    """Return the best-fitting flux of a point source at every pixel in units of its error.

    With independent pixels of variance v the flux that fits best is
    ``sum(psf d / v) / sum(psf^2 / v)``, its variance ``1 / sum(psf^2 / v)`` (the matched filter;
    Zackay et al. 2016, section 2). Pixels that are not usable have no weight.

    Parameters
    ----------
    image : array (ny, nx)
        Pixels.
    variance : array (ny, nx)
        Their variance, image unit squared.
    usable : array (ny, nx)
        False where a pixel must not count.
    psf : KernelField
        PSF of the image, of unit sum, centred on its origin.

    Returns
    -------
    array (ny, nx)
        Signal-to-noise ratio, positive for sources that have brightened; NaN where the usable
        pixels hold less than a millionth of the energy ``sum(psf^2)``.
    """
    return significance_plane(image, variance, usable, psf)[0 : image.shape[0]]


def significance_plane(image: Plane, variance: Plane, usable: Plane, psf: KernelField) -> LazyPlane:
    """Return the significance of a point source as a plane, worked out as its rows are read.

    Parameters
    ----------
    image, variance, usable : plane (ny, nx)
        As for `significance`; a row of the result needs theirs as far away as the PSF reaches.
    psf : KernelField
        PSF of the image, of unit sum, centred on its origin.

    Returns
    -------
    LazyPlane
        What `significance` returns, float64.
    """
    ny, nx = image.shape

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
            (LazyPlane((ny, nx), rows), KernelField(psf.x, psf.y, kernels, origin)),
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
        # Rounding of the transforms leaves next to nothing where there is nothing.
        there = (seen[rows] > _LEAST_SHARE) & (known > 0)
        found = np.full(known.shape, np.nan)
        np.divide(matched[rows], np.sqrt(known, where=there, out=known), where=there, out=found)
        return found

    return LazyPlane((ny, nx), ratio)
