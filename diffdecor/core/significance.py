"""How significant a point source would be at every pixel of an image, and the error of its flux."""

from __future__ import annotations

from collections.abc import Callable
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
    ny, nx = shape = image.shape
    filters = matched_filter(psf)
    pixels = _Pixels(image, variance, usable)
    convolved = partial(Convolution, precision="double" if level is None else "single")
    bright = np.inf if level is None else _BRIGHT * float(np.sqrt(level))
    signal = convolved((pixels.usable(image), filters), edges="zero", bright_limit=bright)
    seen = CachedPlane(convolved((pixels.good, _Shares(filters)), edges="zero"))
    energy = weighted_variance(constant_plane(1.0, (ny, nx)), sums_of_squares(filters), np.float64)
    spread = _independent(pixels, filters, energy, convolved)
    if noise is not None:
        limit = np.inf if level is None else _BRIGHT_VARIANCE * level
        spread = _shared(pixels, filters, noise, seen, partial(convolved, bright_limit=limit))

    def both(rows: slice) -> NDArray[np.float64]:
        share, total = seen[rows], spread[rows]
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


class _Pixels:
    """Pixels, their variance, and which of them count."""

    def __init__(self, image: Plane, variance: Plane, usable: Plane) -> None:
        def known(rows: slice) -> NDArray[np.bool_]:
            values = variance[rows]
            return np.asarray(
                usable[rows] & np.isfinite(image[rows]) & np.isfinite(values) & (values > 0)
            )

        self.variance, self.good = variance, CachedPlane(LazyPlane(image.shape, known))

    def usable(self, plane: Plane) -> LazyPlane:
        """Return a plane with zeros for pixels that do not count."""
        good = self.good
        return LazyPlane(plane.shape, lambda rows: np.where(good[rows], plane[rows], 0))

    @property
    def filled_variance(self) -> LazyPlane:
        """The variance of all pixels: that of their neighbours for those that do not count."""
        good = self.good
        bad = LazyPlane(good.shape, lambda rows: ~good[rows])
        return locally_filled(self.variance, bad, lambda: 0.0)


def _independent(
    pixels: _Pixels, filters: KernelField, energy: Plane, convolved: Callable[..., Convolution]
) -> LazyPlane:
    """Return the variance of the sum over the usable pixels if they are independent."""
    counted = convolved((pixels.usable(pixels.variance), _Shares(filters)), edges="zero")
    return LazyPlane(counted.shape, lambda rows: np.asarray(energy[rows] * counted[rows]))


def _shared(
    pixels: _Pixels,
    filters: KernelField,
    noise: Plane,
    seen: Plane,
    convolved: Callable[..., Convolution],
) -> LazyPlane:
    """Return the share of the usable pixels in the variance of the sum over all pixels.

    `seen` is their share of the energy; usually all pixels are usable.
    """
    shape, shares = pixels.good.shape, _Shares(filters)
    partly = LazyPlane(shape, lambda rows: seen[rows] < 1 - _NOTHING)
    usable = pixels.usable(pixels.variance)
    counted = convolved((usable, shares), edges="zero", where=partly)
    whole = convolved((pixels.filled_variance, shares), where=partly)

    def read(rows: slice) -> NDArray[np.float64]:
        where = partly[rows]
        share = np.ones(where.shape)
        if where.any():
            some, everything = counted[rows], whole[rows]
            share[where] = 0
            np.divide(some, everything, out=share, where=where & (everything > 0))
        return np.asarray(noise[rows] * np.clip(share, 0, 1))

    return LazyPlane(shape, read)
