"""Variance from any kind of noise plane.

Pixels without data have infinite variance:

* ivar and weight: 0, or negative, or below a thousandth of the median of the positive ones
  (compression leaves such values where there was 0);
* sigma, background: 0;
* variance: 0, unless the whole plane is 0, which is an image without noise.

NaN stays NaN. A negative variance or sigma is the sign of a wrong kind, so it is refused, except
where the mask flags the pixel anyway.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diffdecor.core.magnitudes import LARGEST
from diffdecor.core.parallel import once
from diffdecor.core.planes import LazyPlane, Plane, sampled, streamed
from diffdecor.core.statistics import robust_sigma
from diffdecor.core.whiteness import sky_pixels
from diffdecor.errors import InputError
from diffdecor.images.model import mapped

logger = logging.getLogger(__name__)

#: Of the median weight: what is less is a residue of compression.
_RESIDUAL = 1e-3
#: Fewest pixels from which the scale of weights is measured.
_FEWEST = 30
#: Rows and columns of the middle of an image in which it is measured.
_MEASURED = 2048
#: The same to see whether a gain can be right, and the factor that is too much.
_LOOKED_AT, _FAR = 512, 5.0


def to_variance(
    values: Plane, kind: str, *, mask: Plane | None = None, file: object = "noise"
) -> LazyPlane:
    """Return the variance that a noise plane of a kind stands for: positive, infinite or NaN.

    A weight is taken as an inverse variance, a background as a sigma. It is 0 only where the whole
    plane is. Reading rows of it raises an InputError if a variance or sigma is negative where the
    `mask` of the image is 0.
    """
    if kind in {"ivar", "weight"}:
        least = once(lambda: _least_weight(values, file))
        return mapped(lambda part: inverse(part, least()), values)
    ny, nx = values.shape
    is_sigma = kind in {"sigma", "background"}
    some_noise = once(lambda: any((part > 0).any() for _, part in streamed(values)))

    def rows_of(rows: slice) -> NDArray[Any]:
        part = values[rows]
        suspect = part <= 0
        if suspect.any():
            if _wrong(part, mask, rows).any():
                raise _negative(values, kind, mask, file)
            nothing = suspect if is_sigma or (part > 0).any() or some_noise() else part < 0
            part = np.where(nothing, part.dtype.type(np.inf), part)
        return _possible(_squared(part) if is_sigma else part)

    return LazyPlane((ny, nx), rows_of)


def _possible(variance: NDArray[Any]) -> NDArray[Any]:
    """Return a variance that is infinite, as without data, where it is absurdly large."""
    if variance.dtype.itemsize <= 4 or variance.max(initial=0) <= LARGEST:
        return variance
    return np.where(variance > LARGEST, np.inf, variance)


def narrowed(variance: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return a variance in the type that is wanted, if that can hold it.

    It is float64 where single precision would make a variance 0 or infinite, as it does for images
    in erg/s/cm2/Hz.
    """
    limits = np.finfo(dtype)
    positive = variance[np.isfinite(variance) & (variance > 0)]
    if positive.size and (positive.min() < limits.tiny or positive.max() > limits.max):
        return variance.astype(np.float64)
    return variance.astype(dtype, copy=False)


def variance_from_gain(
    image: Plane, gain: float, read_noise: float = 0.0, sky: float = 0.0
) -> LazyPlane:
    """Return the variance of an image: ``max(image + sky, 0) / gain + (read_noise / gain)**2``.

    The gain is in electrons per image unit, the read noise in electrons; the `sky` was subtracted
    from the pixels, in the image's unit.
    """

    @np.errstate(
        over="ignore", invalid="ignore", divide="ignore"
    )  # what is beyond the type is infinite: no data
    def variance(pixels: NDArray[Any]) -> NDArray[Any]:
        number = pixels.dtype.type
        of_light = np.maximum(pixels + number(sky), number(0)) / number(gain)
        return np.asarray(of_light + number((read_noise / gain) ** 2))

    return mapped(variance, image)


def scaled_to_image(
    variance: Plane,
    image: Plane,
    usable: Callable[[slice], NDArray[np.bool_]],
    file: object,
) -> LazyPlane:
    """Return a relative variance scaled so that the pixels of the sky scatter by it.

    It is multiplied by the robust variance of ``image / sqrt(variance)`` over source-free pixels of
    the image's middle, 2048 x 2048 pixels at most, less their local level; of uniform weight that
    makes it the robust variance of these pixels. `usable` gives of some rows where pixels count.
    Reading rows of it raises an InputError if there are not enough such pixels, or no noise.
    """
    rows, columns = (_middle(length) for length in image.shape)

    def measured() -> float:
        good = usable(rows)[:, columns]
        values, sky = sky_pixels(image[rows][:, columns], good, variance[rows][:, columns])
        return _relative_scale(values[sky], file)

    factor = once(measured)
    return mapped(lambda part: narrowed(part.astype(np.float64) * factor(), part.dtype), variance)


def apart_from_sky(
    variance: Plane, image: Plane, usable: Callable[[slice], NDArray[np.bool_]]
) -> float | None:
    """Return the ratio of measured and claimed variance of the sky if it is far from 1, else None.

    It is measured as by `scaled_to_image`, in 512 x 512 pixels. Resampled images scatter less than
    their variance, and faint sources add some.
    """
    rows, columns = (_middle(length, _LOOKED_AT) for length in image.shape)
    claimed = variance[rows][:, columns]
    good = usable(rows)[:, columns]
    values, sky = sky_pixels(image[rows][:, columns], good, claimed)
    if np.count_nonzero(sky) < _FEWEST:
        nothing = np.count_nonzero(good & (claimed <= 0))
        return np.inf if nothing > good.sum() / 2 else None
    ratio = float(robust_sigma(values[sky]) ** 2)
    return None if 1 / _FAR <= ratio <= _FAR else ratio


def _middle(length: int, measured: int = _MEASURED) -> slice:
    """Return the middle of an axis, as much as is measured."""
    start = max(0, (length - measured) // 2)
    return slice(start, min(start + measured, length))


def _relative_scale(sky: NDArray[np.float64], file: object) -> float:
    """Return the variance of pixels of the sky that are in units of a relative noise."""
    count = sky.size
    factor = robust_sigma(sky) ** 2 if count >= _FEWEST else 0.0
    if not factor > 0:
        msg = (
            f"{file}: the scale of these weights cannot be measured: there are {count} "
            "source-free pixels with noise; give absolute ones (noise kind ivar)"
        )
        raise InputError(msg)
    logger.info(
        "%s: variance = %g / weight, of the scatter of %d source-free pixels of the image "
        "(noise kind ivar takes weights as they are)",
        file,
        factor,
        count,
    )
    return factor


def inverse(weights: NDArray[Any], least: float) -> NDArray[Any]:
    """Return the variance of weights, infinite where they are less than the least."""
    nothing = (weights <= 0) | np.isinf(weights) | (weights < least)
    one, infinity = weights.dtype.type(1), weights.dtype.type(np.inf)
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(np.where(nothing, infinity, one / weights))


def _least_weight(weights: Plane, file: object) -> float:
    """Return the weight below which there are no data."""
    values = sampled(weights)
    positive = values[np.isfinite(values) & (values > 0)]
    least = _RESIDUAL * float(np.median(positive)) if positive.size else 0.0
    count = np.count_nonzero((values < least) & (values != 0) & ~np.isinf(values))
    if count:
        logger.info(
            "%s: %d weights of nearly 0, or below it, count as 0 (of %d looked at)",
            file,
            count,
            values.size,
        )
    return least


def _squared(sigma: NDArray[Any]) -> NDArray[Any]:
    """Return squares, in double precision where the sigma's own would make them 0 or infinite."""
    limits = np.finfo(sigma.dtype)
    with np.errstate(over="ignore", under="ignore"):
        variance = sigma * sigma
    lost = (variance < limits.tiny) & (sigma != 0) | (np.isinf(variance) & np.isfinite(sigma))
    return np.asarray(sigma.astype(np.float64) ** 2 if lost.any() else variance)


def _wrong(values: NDArray[Any], mask: Plane | None, rows: slice) -> NDArray[np.bool_]:
    """Return where noise is negative in unmasked pixels."""
    wrong = (values < 0) & np.isfinite(values)
    if mask is not None and wrong.any():
        wrong &= mask[rows] == 0
    return np.asarray(wrong)


def _negative(values: Plane, kind: str, mask: Plane | None, file: object) -> InputError:
    """Return the error for negative noise: how many pixels have it, and where."""
    count, first = 0, ""
    for rows, part in streamed(values):
        places = np.argwhere(_wrong(part, mask, rows))
        if len(places) and not first:
            y, x = places[0]
            first = f"({part[y, x]:g}) at FITS pixel ({x + 1}, {rows.start + y + 1})"
        count += len(places)
    return InputError(
        f"{file}: {count} unmasked pixels have a negative {kind}, the first {first}; mask these "
        "pixels, or give the right noise kind"
    )
