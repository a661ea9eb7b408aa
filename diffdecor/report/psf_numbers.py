"""The PSF of a result and of the difference before; filters where they are shown."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import fast_shape
from diffdecor.core.interpolate import Stamps
from diffdecor.core.psf import crop_stamp, half_maximum_fwhm
from diffdecor.psfs.model import PointSpreadFunction

Values = NDArray[np.float64]
Stamp = tuple[Values, tuple[int, int]]

#: Share of the largest value of a filter's transform below which it is not divided by.
_LEAST = 1e-2
#: The FWHM of a PSF that was recovered agrees with the one that was recorded to this share.
_AGREES = 0.03
#: Half width of PSFs that are shown, pixels.
_SHOWN = 15


def centre_of(shape: tuple[int, int]) -> tuple[float, float]:
    """Return the 0-based middle ``(x, y)`` of an image."""
    return (shape[1] - 1) / 2, (shape[0] - 1) / 2


def psf_at_centre(psf: PointSpreadFunction | None, shape: tuple[int, int]) -> Stamp | None:
    """Return a PSF in the middle of an image, with its origin."""
    return None if psf is None else (psf.stamp(*centre_of(shape)), psf.origin)


def psf_before(after: Stamp, filters: Stamps, shape: tuple[int, int], fwhm: float) -> Stamp | None:
    """Return the PSF of the difference as it was: that of the result is PSI * it.

    None where the filter lets some frequency hardly pass, or where the FWHM of what comes of it is
    not the one that was recorded, `fwhm`.
    """
    stamp, (cx, cy) = after
    psi, (px, py) = filters.stamp(*centre_of(shape)), filters.origin
    size = fast_shape(*(2 * (a + b) for a, b in zip(stamp.shape, psi.shape, strict=True)))
    transform = np.fft.rfft2(_placed(psi, (px, py), size))
    if np.abs(transform).min() < _LEAST * np.abs(transform).max():
        return None
    whole = np.fft.irfft2(np.fft.rfft2(_placed(stamp, (cx, cy), size)) / transform, size)
    rows = np.arange(-cy, stamp.shape[0] - cy)
    columns = np.arange(-cx, stamp.shape[1] - cx)
    found = whole[rows[:, np.newaxis], columns]
    total = found.sum()
    if not total > 0:
        return None
    found = found / total
    agrees = abs(half_maximum_fwhm(found) / fwhm - 1) < _AGREES if fwhm > 0 else False
    return (found, (cx, cy)) if agrees else None


def _placed(stamp: Values, origin: tuple[int, int], size: tuple[int, int]) -> Values:
    """Return a stamp on a torus, its origin at index 0."""
    whole = np.zeros(size)
    whole[: stamp.shape[0], : stamp.shape[1]] = stamp
    return np.roll(whole, (-origin[1], -origin[0]), axis=(0, 1))


def shown_part(stamp: Stamp, half_width: int = _SHOWN) -> Values:
    """Return the inner part of a stamp."""
    return crop_stamp(*stamp, half_width)


def profile(stamp: Values) -> tuple[Values, Values]:
    """Return the distances from the centre of an odd square stamp and its values there."""
    half = stamp.shape[0] // 2
    axis = np.arange(-half, half + 1)
    return np.hypot(axis[:, np.newaxis], axis).ravel(), stamp.ravel()


def filters_over_field(filters: Stamps, shape: tuple[int, int]) -> list[tuple[str, Values]]:
    """Return the filters at the centre and the corners, by the name of the place."""
    ny, nx = shape
    x, y = centre_of(shape)
    places = {
        "upper left": (0, ny - 1),
        "upper right": (nx - 1, ny - 1),
        "centre": (x, y),
        "lower left": (0, 0),
        "lower right": (nx - 1, 0),
    }
    half = min(_SHOWN // 2, max(filters.shape) // 2)
    return [
        (name, crop_stamp(filters.stamp(*place), filters.origin, max(1, half)))
        for name, place in places.items()
    ]


def change_over_field(filters: list[tuple[str, Values]]) -> float:
    """Return the largest change of the filter over the field, relative to its norm."""
    middle = dict(filters)["centre"]
    norm = math.sqrt(float((middle**2).sum()))
    return max(
        math.sqrt(float(((stamp - middle) ** 2).sum())) / norm if norm else 0.0
        for _, stamp in filters
    )
