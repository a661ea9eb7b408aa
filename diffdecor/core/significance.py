"""How significant a point source would be at every pixel of an image, and the error of its flux."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.convolve import Convolution
from diffdecor.core.fill import locally_filled
from diffdecor.core.fourier import reflect
from diffdecor.core.interpolate import KernelField, SquaredField
from diffdecor.core.planes import CachedPlane, LazyPlane, Plane, constant_plane
from diffdecor.core.variance import sums_of_squares, weighted_variance

#: Share of a PSF's energy below which a source could hardly be seen.
_LEAST_SHARE = 1e-4
#: A smaller share of the energy is not missed: all pixels are as good as usable.
_NOTHING = 1e-5
#: Pixels this many sigma from zero make single precision too coarse for their neighbours, and so do
#: variances this many times the noise level.
_BRIGHT, _BRIGHT_VARIANCE = 1e5, 1e4


def matched_filter(psf: KernelField) -> KernelField:
    """Return the kernels that correlate an image with a PSF."""
    return KernelField(psf.x, psf.y, *reflect(psf.stamps, psf.origin))


@dataclass(frozen=True, eq=False)
class _Shares(SquaredField):
    """The share of a kernel's energy that is in each of its pixels."""

    def at(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the shares ``(ky, kx)`` at a 0-based position, of unit sum."""
        square = super().at(x, y)
        return np.asarray(square / square.sum())


def point_source_planes(
    image: Plane,
    variance: Plane,
    usable: Plane,
    psf: KernelField,
    noise: Plane | None = None,
    level: float | None = None,
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
        PSF, centred on its origin: of unit sum, or the inner part of one.
    noise : plane (ny, nx), optional
        Variance of ``sum(psf d)`` where all pixels are usable.
    level : float, optional
        Least noise level, a variance: pixels are then transformed in single precision, unless they
        are far above it. By default all are in double precision.

    Returns
    -------
    tuple of LazyPlane
        Significance and flux error, float64; NaN where the usable pixels hold less than a
        ten-thousandth of the energy ``sum(psf^2)``. Rows of either cost little once the other's
        were read.
    """
    shape, filters = image.shape, matched_filter(psf)

    def known(rows: slice) -> NDArray[np.bool_]:
        values = variance[rows]
        return np.asarray(
            usable[rows] & np.isfinite(image[rows]) & np.isfinite(values) & (values > 0)
        )

    good = CachedPlane(LazyPlane(shape, known))
    bad = LazyPlane(shape, lambda rows: ~good[rows])

    def of_good(plane: Plane) -> LazyPlane:
        return LazyPlane(shape, lambda rows: np.where(good[rows], plane[rows], 0))

    convolution = partial(Convolution, precision="double" if level is None else "single")
    signal_limit, limit = (
        (np.inf, np.inf)
        if level is None
        else (_BRIGHT * float(np.sqrt(level)), _BRIGHT_VARIANCE * level)
    )
    shares = _Shares(filters)
    signal = convolution((of_good(image), filters), edges="zero", bright_limit=signal_limit)
    seen = CachedPlane(convolution((good, shares), edges="zero"))
    partly = LazyPlane(shape, lambda rows: seen[rows] < 1 - _NOTHING)
    of_variance = partial(
        convolution, where=None if noise is None else partly, bright_limit=limit
    )
    counted = of_variance((of_good(variance), shares), edges="zero")
    whole = of_variance((locally_filled(variance, bad, lambda: 0.0), shares))
    energy = weighted_variance(constant_plane(1.0, shape), sums_of_squares(filters), np.float64)

    def spread(rows: slice) -> NDArray[np.float64]:
        """Return the variance of the sum over the usable pixels; 0 where it is not known."""
        taken = counted[rows]
        if noise is None:
            return np.asarray(energy[rows] * taken)
        share, where = np.ones(taken.shape), partly[rows]
        if where.any():
            everything = whole[rows]
            known = everything > 0
            share[where] = 0
            np.divide(taken, everything, out=share, where=where & known)
        return np.asarray(noise[rows] * np.clip(share, 0, 1))

    def both(rows: slice) -> NDArray[np.float64]:
        share, total = seen[rows], spread(rows)
        # The transforms leave rounding errors where there is nothing.
        there = (share > _LEAST_SHARE) & (total > 0)
        found = np.full((len(share), 2, share.shape[1]), np.nan)
        error = np.sqrt(total, where=there, out=np.ones(total.shape))
        np.divide(signal[rows], error, where=there, out=found[:, 0])
        np.divide(error, energy[rows] * share, where=there, out=found[:, 1])
        return found

    kept = CachedPlane(LazyPlane(shape, both))
    return (
        LazyPlane(shape, lambda rows: kept[rows][:, 0]),
        LazyPlane(shape, lambda rows: kept[rows][:, 1]),
    )
