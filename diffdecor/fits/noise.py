"""Noise planes in: variance from whatever a survey calls noise.

What a plane holds, its *kind*, is "variance", "sigma", "ivar" (inverse variance) or "weight".
A weight is a relative inverse variance; it is taken as an absolute one, so its scale must be right.
Pixels without data have infinite variance:

* ivar and weight: 0, or negative (compression leaves such values);
* sigma: 0;
* variance: 0, unless the whole plane is 0, which is an image without noise;
* HOTPANTS: the fill value of card MASKVAL.

NaN stays NaN. A negative variance or sigma is the sign of a wrong kind, so it is refused, except
where the mask says that there is something wrong anyway.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diffdecor.config import NOISE_KINDS
from diffdecor.errors import ConfigError, InputError
from diffdecor.fits.locate import NOISE_NAMES, hdu_name
from diffdecor.fitsfile import Hdu, read_pixels

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class NoiseSource:
    """What the user says of the noise of an image.

    Parameters
    ----------
    file : str, optional
        File of the noise plane, if it is not with the image.
    kind : {"variance", "sigma", "ivar", "weight"}, optional
        What the noise plane holds, whatever its name says.
    gain : float, optional
        Electrons per image unit, to make the variance from the pixels.
    read_noise : float, optional
        Read noise in electrons, 0 by default.
    role : str
        "science", "template" or "difference": which options the messages name.

    Raises
    ------
    ConfigError
        If these contradict each other.
    """

    file: str | None = None
    kind: str | None = None
    gain: float | None = None
    read_noise: float | None = None
    role: str = "science"

    def __post_init__(self) -> None:
        """Check what can be checked without files."""
        option = f"--{self.role}"
        problem = ""
        if self.kind not in (None, *NOISE_KINDS):
            problem = f"{option}-noise-kind is {self.kind!r}: expected {', '.join(NOISE_KINDS)}"
        elif self.gain is not None and not (np.isfinite(self.gain) and self.gain > 0):
            problem = f"{option}-gain is {self.gain}: expected a number above zero"
        elif self.read_noise is not None and not (
            np.isfinite(self.read_noise) and self.read_noise >= 0
        ):
            problem = f"{option}-read-noise is {self.read_noise}: expected zero or more"
        elif self.read_noise is not None and self.gain is None:
            problem = f"{option}-read-noise needs {option}-gain"
        elif self.gain is not None and (self.file or self.kind):
            problem = f"give {option}-noise or {option}-gain, not both"
        if problem:
            raise ConfigError(problem)


def read_variance(
    hdu: Hdu,
    file: object,
    source: NoiseSource,
    mask: NDArray[np.int32] | None,
) -> NDArray[Any]:
    """Read a noise plane as variance.

    Parameters
    ----------
    hdu : HDU
        The noise plane.
    file : object
        Its file, for messages.
    source : NoiseSource
        What the user says of it.
    mask : array (ny, nx), optional
        Mask of the image.

    Returns
    -------
    array (ny, nx)
        Variance in the square of the image's unit.

    Raises
    ------
    InputError
        If it is not known what the plane holds, or if unmasked pixels cannot be that.
    """
    kind = _kind(hdu, file, source)
    values = read_pixels(hdu, file)
    fill = hdu.header.get("MASKVAL")
    if isinstance(fill, int | float) and not isinstance(fill, bool):
        filled = values.astype(np.float32) == np.float32(fill)
        values = np.where(filled, _no_data(kind), values).astype(values.dtype)
    return to_variance(values, kind, mask=mask, file=file)


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
    kind : {"variance", "sigma", "ivar", "weight"}
        What it holds.
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
        with np.errstate(divide="ignore", over="ignore"):
            nothing = (values <= 0) | np.isinf(values)
            return np.asarray(np.where(nothing, infinity, values.dtype.type(1) / values))
    suspect = values <= 0
    if suspect.any():
        _refuse_negative(values, suspect, kind, mask, file)
        nothing = suspect if kind == "sigma" or (values > 0).any() else values < 0
        values = np.where(nothing, infinity, values)
    return narrowed(values.astype(np.float64) ** 2, values.dtype) if kind == "sigma" else values


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


def variance_from_gain(image: NDArray[Any], gain: float, read_noise: float = 0.0) -> NDArray[Any]:
    """Return the variance of an image that has not lost its Poisson noise: no sky was subtracted.

    Parameters
    ----------
    image : array (ny, nx)
        Pixels with their sky.
    gain : float
        Electrons per image unit.
    read_noise : float
        Electrons.

    Returns
    -------
    array (ny, nx)
        ``max(image, 0) / gain + (read_noise / gain)**2``, in the square of the image's unit.
    """
    number = image.dtype.type
    variance = np.maximum(image, number(0)) / number(gain) + number((read_noise / gain) ** 2)
    return np.asarray(variance)


def _kind(hdu: Hdu, file: object, source: NoiseSource) -> str:
    if source.kind is not None:
        logger.info("%s: noise plane read as %s, as told", file, source.kind)
        return source.kind
    name = hdu_name(hdu)
    if name not in NOISE_NAMES:
        what = f"HDU {name}" if name else "an HDU without a name"
        msg = (
            f"{file}: {what} does not say what kind of noise it holds; say it with "
            f"--{source.role}-noise-kind {'|'.join(NOISE_KINDS)}"
        )
        raise InputError(msg)
    kind = NOISE_NAMES[name]
    logger.info("%s: noise plane %s read as %s", file, name, kind)
    if kind == "weight":
        logger.warning("%s: weights taken as absolute inverse variances", file)
    return kind


def _no_data(kind: str) -> float:
    return 0.0 if kind in {"ivar", "weight"} else np.inf


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
