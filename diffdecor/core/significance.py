"""How significant a point source would be at every pixel of an image, and the error of its flux."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.convolve import Convolution
from diffdecor.core.fill import locally_filled
from diffdecor.core.fourier import reflect
from diffdecor.core.interpolate import KernelField, SquaredField
from diffdecor.core.planes import CachedPlane, LazyPlane, Plane

#: Share of a PSF's energy below which a source could hardly be seen.
_LEAST_SHARE = 1e-6


def matched_filter(psf: KernelField) -> KernelField:
    """Return the kernels that correlate an image with a PSF."""
    return KernelField(psf.x, psf.y, *reflect(psf.stamps, psf.origin))


def point_source_planes(
    image: Plane, variance: Plane, usable: Plane, psf: KernelField, noise: Plane | None = None
) -> tuple[LazyPlane, LazyPlane]:
    """Return the significance of a point source at every pixel, and the error of its flux.

    The flux is ``sum(psf d) / sum(psf^2)``, that of the matched filter of white noise (Zackay et
    al. 2016, section 2). The variance of ``sum(psf d)`` is `noise`; by default that of independent
    pixels, ``sum(psf^2 v)``. Unusable pixels have no weight: they count in neither sum, and take
    their share of ``sum(psf^2 v)`` from the variance. The significance is flux over error.

    Parameters
    ----------
    image, variance : plane (ny, nx)
        Pixels d and their variance v.
    usable : plane (ny, nx) of bool
        The pixels that count, if they and their variance are finite.
    psf : KernelField
        PSF of unit sum, centred on its origin.
    noise : plane (ny, nx), optional
        Variance of ``sum(psf d)`` where all pixels are usable.

    Returns
    -------
    tuple of LazyPlane
        Significance and flux error, float64; NaN where the usable pixels hold less than a millionth
        of the energy ``sum(psf^2)``. Rows of either cost little once the other's were read.
    """

    def known(rows: slice) -> NDArray[np.bool_]:
        values = variance[rows]
        return np.asarray(
            usable[rows] & np.isfinite(image[rows]) & np.isfinite(values) & (values > 0)
        )

    def of_known(plane: Plane | None) -> LazyPlane:
        def read(rows: slice) -> NDArray[np.float64]:
            return np.where(known(rows), 1.0 if plane is None else plane[rows], 0.0)

        return LazyPlane(image.shape, read)

    def matched(plane: Plane, kernels: KernelField | SquaredField, edges: str) -> Convolution:
        return Convolution((plane, kernels), edges=edges, precision="double")  # type: ignore[arg-type]

    filters = matched_filter(psf)
    squares = SquaredField(filters)
    unknown = LazyPlane(image.shape, lambda rows: ~known(rows))
    whole = matched(locally_filled(variance, unknown, lambda: 0.0), squares, "extend")
    signal = matched(of_known(image), filters, "zero")
    energy = matched(of_known(None), squares, "zero")
    counted = matched(of_known(variance), squares, "zero")
    least = _LEAST_SHARE * float(np.square(psf.stamps).sum(axis=(-2, -1)).max())

    def both(rows: slice) -> NDArray[np.float64]:
        seen, taken = energy[rows], counted[rows]
        total = None if noise is None else np.asarray(noise[rows], dtype=np.float64)
        # The transforms leave rounding errors where there is nothing.
        there = (seen > least) & (taken > 0)
        if total is not None:
            everything = whole[rows]
            there &= (total > 0) & (everything > 0)
            share = np.divide(taken, everything, out=np.zeros_like(taken), where=there)
            taken = total * share
        found = np.full((len(seen), 2, seen.shape[1]), np.nan)
        spread = np.sqrt(taken, where=there, out=np.ones_like(taken))
        np.divide(signal[rows], spread, where=there, out=found[:, 0])
        np.divide(spread, seen, where=there, out=found[:, 1])
        return found

    kept = CachedPlane(LazyPlane(image.shape, both))
    return (
        LazyPlane(image.shape, lambda rows: kept[rows][:, 0]),
        LazyPlane(image.shape, lambda rows: kept[rows][:, 1]),
    )
