"""Is this noise white? Autocorrelation of the pixels of an image that hold nothing but sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from diffdecor.core.fourier import fast_shape
from diffdecor.core.statistics import robust_sigma

_CLIP = 4.0
_SOURCE, _SOURCE_MARGIN = 5.0, 8
_SMOOTH = 2
_BLOCK = 48


def sky_pixels(
    image: NDArray[np.floating], usable: NDArray[np.bool_], variance: NDArray[np.floating] | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return an image in units of its noise, less its local level, and which pixels are sky.

    Sources are found as what stands out of the noise by 4 sigma, in the image or in 5 x 5 means,
    and left out with a margin of 2 pixels. The local level is the median of blocks of 48 pixels.

    Parameters
    ----------
    image : array (ny, nx)
        Pixels.
    usable : array (ny, nx)
        False where a pixel must not count.
    variance : array (ny, nx), optional
        Variance of the noise, to bring regions of different depth to one scale.

    Returns
    -------
    array (ny, nx)
        The normalised image, 0 where a pixel is not sky.
    array (ny, nx)
        True where a pixel is sky.
    """
    sky = usable & np.isfinite(image)
    if variance is not None:
        sky &= np.isfinite(variance) & (variance > 0)
    values = np.where(sky, image, 0.0).astype(np.float64)
    # The level is taken off first: it goes on where the noise steps.
    values = np.where(sky, values - local_level(values, sky), 0.0)
    if variance is not None:
        values /= np.sqrt(variance, where=sky, out=np.ones_like(values))
    for _ in range(3):
        if not sky.any():
            break
        smooth = _box_signal(values * sky, sky, _SMOOTH)
        loud = sky & (
            (np.abs(values) > _CLIP * robust_sigma(values[sky]))
            | (np.abs(smooth) > _CLIP * robust_sigma(smooth[sky]))
        )
        if not loud.any():
            break
        sky &= ~_grown(loud, _SMOOTH)
    return np.where(sky, values, 0.0), sky


def source_pixels(image: NDArray[np.floating], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of an image with light of sources in them.

    These are pixels whose 5 x 5 mean stands out of the local level by 5 robust sigma of such
    means, with a margin of 8 pixels. Subtraction leaves correlated residuals there, which are not
    noise. A lower threshold would pick peaks of the noise itself, and bias its correlation.

    Parameters
    ----------
    image : array (ny, nx)
        Pixels of the science image, or of the template.
    usable : array (ny, nx)
        False where a pixel must not count.

    Returns
    -------
    array (ny, nx)
        True near sources.
    """
    known = usable & np.isfinite(image)
    if not known.any():
        return np.zeros(known.shape, dtype=bool)
    values = np.where(known, image, 0.0).astype(np.float64)
    values = np.where(known, values - local_level(values, known), 0.0)
    smooth = _box_signal(values, known, _SMOOTH)
    return _grown(known & (smooth > _SOURCE * robust_sigma(smooth[known])), _SOURCE_MARGIN)


def local_level(values: NDArray[np.float64], sky: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the local level of an image: the median of blocks of 48 pixels.

    Parameters
    ----------
    values : array (ny, nx)
        Pixels.
    sky : array (ny, nx)
        True where a pixel counts.

    Returns
    -------
    array (ny, nx)
        The level of every pixel's block; 0 where hardly any pixel counts.
    """
    level = np.zeros_like(values)
    for y in range(0, values.shape[0], _BLOCK):
        for x in range(0, values.shape[1], _BLOCK):
            block = np.s_[y : y + _BLOCK, x : x + _BLOCK]
            inside = values[block][sky[block]]
            if inside.size > _BLOCK:
                level[block] = np.median(inside)
    return level


def _box_sum(values: NDArray[np.float64], half_width: int) -> NDArray[np.float64]:
    """Return the sum over a square window around every pixel, zeros beyond the border."""
    width = 2 * half_width + 1
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (half_width + 1, half_width)
        running = np.pad(values, padding).cumsum(axis=axis)
        upper, lower = np.s_[width:], np.s_[:-width]
        values = (
            running[upper] - running[lower] if axis == 0 else running[:, upper] - running[:, lower]
        )
    return values


def _box_signal(
    values: NDArray[np.float64], sky: NDArray[np.bool_], half_width: int
) -> NDArray[np.float64]:
    """Return the sum of the sky pixels around every pixel over the root of their number.

    White noise has the same scatter in it everywhere, however many pixels are sky.
    """
    count = _box_sum(sky.astype(np.float64), half_width)
    return _box_sum(values, half_width) / np.sqrt(np.maximum(count, 1.0))


def _grown(mask: NDArray[np.bool_], half_width: int) -> NDArray[np.bool_]:
    """Return a mask grown by a square window."""
    return _box_sum(mask.astype(np.float64), half_width) > 0.5


@dataclass(frozen=True, eq=False)
class Autocorrelation:
    """Correlation coefficients of sky pixels by lag.

    Parameters
    ----------
    values : array (2 m + 1, 2 m + 1)
        Coefficient at lag ``(dx, dy) = (column - m, row - m)``.
    errors : array (2 m + 1, 2 m + 1)
        One sigma of every coefficient if the noise is white.
    pixels : int
        Number of sky pixels.
    """

    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    pixels: int

    def at(self, dx: int, dy: int) -> float:
        """Return the coefficient at a lag."""
        middle = self.values.shape[0] // 2
        return float(self.values[middle + dy, middle + dx])

    def error_at(self, dx: int, dy: int) -> float:
        """Return the error of the coefficient at a lag."""
        middle = self.values.shape[0] // 2
        return float(self.errors[middle + dy, middle + dx])

    def rms(self) -> float:
        """Return the root mean square of all coefficients but that at lag zero.

        White noise gives the root mean square of `errors`.
        """
        others = np.delete(self.values.ravel(), self.values.size // 2)
        known = others[np.isfinite(others)]
        return float(np.sqrt(np.mean(known**2))) if known.size else float("nan")


def autocorrelation(
    values: NDArray[np.float64], sky: NDArray[np.bool_], max_lag: int
) -> Autocorrelation:
    """Measure the correlation of sky pixels, each lag normalised by its number of pixel pairs.

    Parameters
    ----------
    values : array (ny, nx)
        Pixels with local mean zero; those that are not sky are not used.
    sky : array (ny, nx)
        True where a pixel is sky.
    max_lag : int
        Longest lag along either axis, pixels.

    Returns
    -------
    Autocorrelation
        NaN at lags without pairs.
    """
    ny, nx = values.shape
    shape = fast_shape(ny + max_lag, nx + max_lag)
    mean = values[sky].mean() if sky.any() else 0.0
    pixels = np.where(sky, values - mean, 0.0)
    products = _lag_sums(pixels, shape, max_lag)
    pairs = np.round(_lag_sums(sky.astype(np.float64), shape, max_lag))
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = np.where(pairs > 0, products / pairs, np.nan)
        errors = np.where(pairs > 0, 1.0 / np.sqrt(pairs), np.nan)
        values_by_lag = covariance / covariance[max_lag, max_lag]
    return Autocorrelation(values_by_lag, errors, int(sky.sum()))


def _lag_sums(
    values: NDArray[np.float64], shape: tuple[int, int], max_lag: int
) -> NDArray[np.float64]:
    """Return the sum of products of pixels at every lag up to `max_lag`."""
    transform = scipy.fft.rfft2(values, shape)
    sums = scipy.fft.irfft2(np.abs(transform) ** 2, shape)
    lags = np.arange(-max_lag, max_lag + 1)
    return np.asarray(sums[lags[:, np.newaxis], lags])
