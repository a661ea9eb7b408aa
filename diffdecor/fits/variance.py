"""Variance from whatever a survey calls noise.

Pixels without data have infinite variance:

* ivar and weight: 0, or negative, or below a thousandth of the median of the positive ones
  (compression leaves such values where there was 0);
* sigma, background: 0;
* variance: 0, unless the whole plane is 0, which is an image without noise.

NaN stays NaN. A negative variance or sigma is the sign of a wrong kind, so it is refused, except
where the mask says that there is something wrong anyway.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diffdecor.core.statistics import robust_sigma
from diffdecor.core.whiteness import sky_pixels
from diffdecor.errors import InputError

logger = logging.getLogger(__name__)

_RESIDUAL = 1e-3
_FEWEST = 30


def to_variance(
    values: NDArray[Any],
    kind: str,
    *,
    mask: NDArray[np.int32] | None = None,
    file: object = "noise",
) -> NDArray[Any]:
    """Return the variance that a noise plane stands for.

    Parameters
    ----------
    values : array (ny, nx)
        The noise plane; it is not changed.
    kind : {"variance", "sigma", "ivar", "weight", "background"}
        What it holds. A weight is taken as an inverse variance, a background as a sigma.
    mask : array (ny, nx), optional
        Mask of the image; 0 is good.
    file : object
        Its file, for messages.

    Returns
    -------
    array (ny, nx)
        Variance, positive, infinite (no data) or NaN; 0 only where the whole plane is.

    Raises
    ------
    InputError
        If a variance or sigma is negative where the mask is 0.
    """
    infinity = values.dtype.type(np.inf)
    if kind in {"ivar", "weight"}:
        nothing = _no_weight(values, file)
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(np.where(nothing, infinity, values.dtype.type(1) / values))
    is_sigma = kind in {"sigma", "background"}
    suspect = values <= 0
    if suspect.any():
        _refuse_negative(values, suspect, kind, mask, file)
        nothing = suspect if is_sigma or (values > 0).any() else values < 0
        values = np.where(nothing, infinity, values)
    return narrowed(values.astype(np.float64) ** 2, values.dtype) if is_sigma else values


def narrowed(variance: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return a variance in another type, if that can hold it.

    Parameters
    ----------
    variance : array
        Variance; it is not changed.
    dtype : data type
        The type that is wanted.

    Returns
    -------
    array
        Of this type; of float64 where single precision would make a variance 0 or infinite, as it
        does for images in erg/s/cm2/Hz.
    """
    limits = np.finfo(dtype)
    positive = variance[np.isfinite(variance) & (variance > 0)]
    if positive.size and (positive.min() < limits.tiny or positive.max() > limits.max):
        return variance.astype(np.float64)
    return variance.astype(dtype, copy=False)


def variance_from_gain(
    image: NDArray[Any], gain: float, read_noise: float = 0.0, sky: float = 0.0
) -> NDArray[Any]:
    """Return the variance of an image from its pixels.

    Parameters
    ----------
    image : array (ny, nx)
        Pixels.
    gain : float
        Electrons per image unit.
    read_noise : float
        Electrons.
    sky : float
        Level that was subtracted from the pixels, in the image's unit.

    Returns
    -------
    array (ny, nx)
        ``max(image + sky, 0) / gain + (read_noise / gain)**2``, in the square of the image's unit.
    """
    number = image.dtype.type
    variance = np.maximum(image + number(sky), number(0)) / number(gain)
    return np.asarray(variance + number((read_noise / gain) ** 2))


def scaled_to_image(
    variance: NDArray[Any], image: NDArray[Any], usable: NDArray[np.bool_], file: object
) -> NDArray[Any]:
    """Return a relative variance scaled so that the pixels of the sky scatter by it.

    Parameters
    ----------
    variance : array (ny, nx)
        Inverse of a relative weight.
    image : array (ny, nx)
        The image.
    usable : array (ny, nx)
        False where a pixel must not count.
    file : object
        File of the weight, for messages.

    Returns
    -------
    array (ny, nx)
        The variance times the robust variance of ``image / sqrt(variance)`` over source-free
        pixels, less their local level; of uniform weight that makes it the robust variance of
        these pixels.

    Raises
    ------
    InputError
        If there are not enough such pixels, or they have no noise.
    """
    values, sky = sky_pixels(image, usable, variance)
    factor = robust_sigma(values[sky]) ** 2 if np.count_nonzero(sky) >= _FEWEST else 0.0
    if not factor > 0:
        msg = (
            f"{file}: the scale of these weights cannot be measured: there are {sky.sum()} "
            "source-free pixels with noise; give absolute ones (noise kind ivar)"
        )
        raise InputError(msg)
    logger.info(
        "%s: variance = %g / weight, of the scatter of %d source-free pixels of the image "
        "(noise kind ivar takes weights as they are)",
        file,
        factor,
        np.count_nonzero(sky),
    )
    return narrowed(variance.astype(np.float64) * factor, variance.dtype)


def upsampled(values: NDArray[Any], shape: tuple[int, ...], file: object) -> NDArray[Any]:
    """Return an image of low resolution on the pixels of a large one, by bilinear interpolation.

    Parameters
    ----------
    values : array (my, mx)
        Every pixel stands for a box of the large image.
    shape : tuple of int
        ``(ny, nx)`` of the large image.
    file : object
        Its file, for messages.

    Returns
    -------
    array (ny, nx)
        Constant outside the centres of the outermost boxes.

    Raises
    ------
    InputError
        If the shapes are not in one proportion.
    """
    if values.shape == tuple(shape):
        return values
    ratio_y, ratio_x = (large / small for large, small in zip(shape, values.shape, strict=True))
    if min(ratio_y, ratio_x) < 1 or abs(ratio_y / ratio_x - 1) > 0.1:
        msg = (
            f"{file}: has shape {values.shape} (ny, nx), which is no low-resolution image of "
            f"{tuple(shape)}; give one of the same image"
        )
        raise InputError(msg)
    for axis, ratio in enumerate((ratio_y, ratio_x)):
        last = values.shape[axis] - 1
        place = np.clip((np.arange(shape[axis]) + 0.5) / ratio - 0.5, 0, last)
        lower = np.minimum(place.astype(int), max(last - 1, 0))
        share = (place - lower).reshape((-1, 1) if axis == 0 else (1, -1)).astype(values.dtype)
        below = np.take(values, lower, axis=axis)
        above = np.take(values, np.minimum(lower + 1, last), axis=axis)
        values = np.where(share == 0, below, below + share * (above - below))
    return values


def _no_weight(values: NDArray[Any], file: object) -> NDArray[np.bool_]:
    """Return where a weight says that there are no data."""
    positive = values[np.isfinite(values) & (values > 0)]
    least = _RESIDUAL * float(np.median(positive)) if positive.size else 0.0
    nothing = (values <= 0) | np.isinf(values)
    small = ~nothing & (values < least)
    count = np.count_nonzero(small | (values < 0))
    if count:
        logger.info("%s: %d weights of nearly 0, or below it, count as 0", file, count)
    return np.asarray(nothing | small)


def _refuse_negative(
    values: NDArray[Any],
    suspect: NDArray[np.bool_],
    kind: str,
    mask: NDArray[np.int32] | None,
    file: object,
) -> None:
    wrong = suspect & (values < 0) & np.isfinite(values)
    if mask is not None:
        wrong &= mask == 0
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        msg = (
            f"{file}: {wrong.sum()} unmasked pixels have a negative {kind}, the first "
            f"({values[y, x]:g}) at FITS pixel ({x + 1}, {y + 1}); mask these pixels, or give the "
            "right noise kind"
        )
        raise InputError(msg)
