"""The PSF of a decorrelated difference, and the metrics that describe a PSF."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin, convolve_stamps, sums_beyond

_SIGMA_TO_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
#: Half width of a Gaussian stamp, sigma, and at most, pixels.
_SIGMAS, _WIDEST = 5.0, 100
#: Most iterations of the adaptive moments.
_PASSES = 100
#: Determinant of moments, pixels^4, below which they have collapsed onto one pixel.
_SMALLEST = 1e-4


def corrected_psf(
    psf: NDArray[np.float64],
    psf_origin: Origin,
    *kernels: tuple[NDArray[np.float64], Origin],
) -> tuple[NDArray[np.float64], Origin]:
    """Return a PSF ``(ky, kx)`` convolved with kernels, whole and of unit sum, and its origin.

    The kernels are that of the image in the difference and the decorrelation kernel. ValueError if
    the sum of the result is zero.
    """
    stamp, origin = psf, psf_origin
    for kernel, kernel_origin in kernels:
        stamp, origin = convolve_stamps(stamp, origin, kernel, kernel_origin)
    total = stamp.sum()
    if not abs(total) > 1e-9 * np.abs(stamp).sum():  # zero to rounding, or NaN
        msg = "the PSF of the result has no sum to normalise by: is the sum of the kernel zero?"
        raise ValueError(msg)
    return stamp / total, origin


def crop_stamp(stamp: NDArray[np.float64], origin: Origin, half_width: int) -> NDArray[np.float64]:
    """Cut (or pad with zeros) a stamp to ``2 half_width + 1`` square pixels about its origin."""
    (cx, cy), (ky, kx) = origin, stamp.shape
    margin = half_width + max(0, -cx, -cy, cx - kx + 1, cy - ky + 1)
    padded = np.pad(stamp, margin)
    x, y = cx + margin - half_width, cy + margin - half_width
    return padded[y : y + 2 * half_width + 1, x : x + 2 * half_width + 1].copy()


def flux_half_width(stamp: NDArray[np.float64], origin: Origin, lost: float = 1e-6) -> int:
    """Return the half width of the square about the origin of a PSF ``(ky, kx)`` of unit sum.

    The sum of absolute values outside is at most `lost`.
    """
    rows, columns = (
        np.abs(np.arange(n) - c) for n, c in zip(stamp.shape, origin[::-1], strict=True)
    )
    beyond = sums_beyond(np.abs(stamp), rows, columns)
    return int(np.flatnonzero(beyond > lost)[-1])


def energy_half_width(stamp: NDArray[np.float64], origin: Origin, lost: float) -> int:
    """Return the half width of the square about the origin of a PSF ``(ky, kx)`` with its energy.

    The sum of squares outside is at most the share `lost` of all.
    """
    rows, columns = (
        np.abs(np.arange(n) - c) for n, c in zip(stamp.shape, origin[::-1], strict=True)
    )
    beyond = sums_beyond(stamp**2, rows, columns)
    return max(0, int(np.count_nonzero(beyond > lost * beyond[0])) - 1)


def noise_equivalent_area(stamp: NDArray[np.float64]) -> float:
    """Return ``1 / sum(psf^2)`` of a PSF of unit sum, pixels.

    The variance of an optimal PSF flux in white noise is the noise variance times this area.
    """
    return float(1.0 / np.sum(stamp**2))


@np.errstate(divide="ignore", over="ignore", invalid="ignore")
def adaptive_fwhm(stamp: NDArray[np.float64]) -> float:
    """Return the FWHM, pixels, of the Gaussian that fits a PSF ``(ky, kx)`` best.

    ``2.3548 det(M)^(1/4)`` with the Gaussian-weighted adaptive second moments M (Bernstein & Jarvis
    2002, section 3.1): M and the centroid of the weight are iterated until they match the PSF. NaN
    if the moments collapse, as those of a single pixel do, or diverge, as those of noise do.
    """
    cy, cx = np.unravel_index(int(np.argmax(stamp)), stamp.shape)
    centre = np.array([cx, cy], dtype=np.float64)
    moments = np.eye(2) * max(0.5, noise_equivalent_area(stamp / stamp.sum()) / (4 * np.pi))
    for _ in range(_PASSES):
        shift, measured = _weighted_moments(stamp, centre, moments)
        if not _is_ellipse(measured):
            return float("nan")
        change = np.abs(measured - moments).max() / moments.max()
        centre, moments = centre + 2.0 * shift, measured
        if max(change, np.abs(shift).max()) < 1e-10:
            break
    return float(_SIGMA_TO_FWHM * np.linalg.det(moments) ** 0.25)


def _is_ellipse(moments: NDArray[np.float64]) -> bool:
    """Say whether moments are those of a Gaussian: with negative ones the weight would grow."""
    return bool(
        np.isfinite(moments).all()
        and np.linalg.det(moments) > _SMALLEST
        and np.trace(moments) > 0.0
    )


def _weighted_moments(
    stamp: NDArray[np.float64], centre: NDArray[np.float64], moments: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centroid and moments ``(x, y)`` of a stamp under a Gaussian weight, about its centre.

    The moments are twice those of the weighted stamp: those of a Gaussian equal to the weight.
    """
    y, x = (np.arange(n) - c for n, c in zip(stamp.shape, centre[::-1], strict=True))
    (xx, xy), (_, yy) = np.linalg.inv(moments)
    exponent = np.add.outer(yy * y**2, xx * x**2) + np.outer(2.0 * xy * y, x)
    weight = stamp * np.exp(-0.5 * exponent)
    along_x, along_y = weight.sum(axis=0), weight.sum(axis=1)
    total, cross = along_x.sum(), y @ weight @ x
    second = np.array([[along_x @ x**2, cross], [cross, along_y @ y**2]])
    return np.array([along_x @ x, along_y @ y]) / total, 2.0 * second / total


def gaussian_stamp(fwhm: float) -> NDArray[np.float64]:
    """Return a round Gaussian PSF ``(n, n)`` of unit sum, averaged over every pixel."""
    sigma = fwhm / _SIGMA_TO_FWHM
    half = min(_WIDEST, math.ceil(_SIGMAS * sigma) + 1)
    edges = (np.arange(-half, half + 2) - 0.5) / (sigma * math.sqrt(2))
    profile = np.diff([math.erf(edge) for edge in edges])
    stamp = np.multiply.outer(profile, profile)
    return np.asarray(stamp / stamp.sum())


def half_maximum_fwhm(stamp: NDArray[np.float64]) -> float:
    """Return the geometric mean of the FWHM, pixels, on the row and the column of a PSF's peak.

    The half-maximum crossings are interpolated linearly; NaN where the stamp does not fall below
    half.
    """
    cy, cx = np.unravel_index(int(np.argmax(stamp)), stamp.shape)
    widths = [_width_at_half(stamp[cy, :], int(cx)), _width_at_half(stamp[:, cx], int(cy))]
    return float(np.sqrt(widths[0] * widths[1]))


def _width_at_half(profile: NDArray[np.float64], centre: int) -> float:
    """Return the full width of a profile at half of its value at the centre."""
    half = profile[centre] / 2
    width = 0.0
    for arm in (profile[centre::-1], profile[centre:]):
        below = np.flatnonzero(arm < half)
        if not below.size:
            return float("nan")
        outer = int(below[0])
        width += outer - (half - arm[outer]) / (arm[outer - 1] - arm[outer])
    return width
