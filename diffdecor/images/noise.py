"""Noise planes in: where they are, and what they hold.

What a plane holds, its *kind*, is "variance", "sigma", "ivar" (inverse variance), "weight" (a
relative inverse variance, scaled to the image), or "background" (sigma of the sky, of low
resolution or not, to which the noise of the sources' light is added).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import IGNORED_PLANES, NOISE_KINDS
from diffdecor.core.planes import LazyPlane, Plane
from diffdecor.errors import ConfigError, InputError
from diffdecor.fits.open import Hdu
from diffdecor.images.locate import NOISE_NAMES, hdu_name
from diffdecor.images.model import MaskPlanes
from diffdecor.images.no_data import fill_value, is_fill
from diffdecor.images.scaling import linear
from diffdecor.images.upsampling import upsampled
from diffdecor.images.variance import scaled_to_image, to_variance, variance_from_gain

logger = logging.getLogger(__name__)

_UTYPES = {
    "STDDEVUNCERTAINTY": "sigma",
    "VARIANCEUNCERTAINTY": "variance",
    "INVERSEVARIANCE": "ivar",
}


@dataclass(frozen=True, kw_only=True)
class NoiseSource:
    """What the user says of the noise of an image.

    Parameters
    ----------
    file : str, optional
        File of the noise plane, if it is not with the image.
    kind : {"variance", "sigma", "ivar", "weight", "background"}, optional
        What the noise plane holds, whatever its name says.
    gain : float, optional
        Electrons per image unit, to make the variance from the pixels.
    read_noise : float, optional
        Read noise in electrons, 0 by default.
    sky : float, optional
        Level that was subtracted from the pixels, in the image's unit, 0 by default.
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
    sky: float | None = None
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
        elif self.sky is not None and not np.isfinite(self.sky):
            problem = f"{option}-sky is {self.sky}: expected a finite number"
        elif self.gain is not None and self.kind != "background" and (self.file or self.kind):
            problem = f"give {option}-noise or {option}-gain, not both"
        if problem:
            raise ConfigError(problem)

    def check_gain(self, gain: float | None) -> None:
        """Refuse what is said of a gain where there is none, not even in a card of the layout.

        Raises
        ------
        ConfigError
            Naming the options.
        """
        if gain is None and self.read_noise is not None:
            msg = f"--{self.role}-read-noise needs --{self.role}-gain"
            raise ConfigError(msg)
        if gain is None and self.sky is not None:
            msg = f"--{self.role}-sky needs --{self.role}-gain"
            raise ConfigError(msg)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pixels:
    """The image whose noise is read.

    Parameters
    ----------
    image : plane (ny, nx)
        Its pixels.
    mask : plane (ny, nx) of int32, optional
        Its mask.
    planes : MaskPlanes
        Names of its bits.
    gain : float, optional
        Electrons per image unit, for the light of sources on top of a background.
    sky : callable
        Returns the level that is to be added to the pixels to have that light.
    """

    image: Plane
    mask: Plane | None
    planes: MaskPlanes
    gain: float | None = None
    sky: Callable[[], float] = float

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the image."""
        ny, nx = self.image.shape
        return ny, nx

    def usable(self, rows: slice) -> NDArray[np.bool_]:
        """Return where no mask plane says that a pixel does not count for statistics."""
        if self.mask is None:
            return np.ones((rows.stop - rows.start, self.shape[1]), dtype=bool)
        return np.asarray((self.mask[rows] & self.planes.value(IGNORED_PLANES)) == 0)


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of an image.

    Parameters
    ----------
    variance : plane (ny, nx)
        Variance in the square of the image's unit. Reading rows of it raises an InputError if
        unmasked pixels cannot be what the noise plane is said to hold.
    of_image : bool
        The pixels of the image have a part in it.
    numbers : tuple of int
        0-based numbers of the HDUs of the image's own file that it is made of.
    """

    variance: Plane
    of_image: bool = False
    numbers: tuple[int, ...] = ()


def read_variance(
    stored: LazyPlane,
    hdu: Hdu,
    file: object,
    source: NoiseSource,
    pixels: Pixels,
    *,
    kind: str = "",
    asinh: bool = False,
) -> Noise:
    """Return the variance that a noise plane stands for.

    Parameters
    ----------
    stored : plane
        The pixels of the noise plane, as `stored_pixels` gives them.
    hdu : HDU
        The noise plane.
    file : object
        Its file, for messages.
    source : NoiseSource
        What the user says of it.
    pixels : Pixels
        The image.
    kind : str
        What the layout of the image says that the plane holds.
    asinh : bool
        The plane is scaled with BOFFSET and BSOFTEN.

    Returns
    -------
    Noise
        Its variance.

    Raises
    ------
    InputError
        If it is not known what the plane holds.
    """
    kind = _kind(hdu, file, source, kind)
    values = linear(stored, hdu.header, file, asinh=asinh, role=source.role)
    fill = fill_value(hdu.header)
    if fill is not None:
        values = _replaced(values, lambda part: is_fill(part, fill), _no_data(kind))
    if kind == "background":
        return _with_sources(values, file, source, pixels)
    variance = to_variance(values, kind, mask=pixels.mask, file=file)
    if kind == "weight":
        scaled = scaled_to_image(variance, pixels.image, pixels.usable, file)
        return Noise(scaled, of_image=True)
    return Noise(variance)


def _with_sources(values: LazyPlane, file: object, source: NoiseSource, pixels: Pixels) -> Noise:
    """Return the variance of the sky, of sigma `values`, and of the light of sources."""
    known = _replaced(values, lambda part: np.asarray(part == 0), np.nan)
    sigma = upsampled(known, pixels.shape, file)
    sky = to_variance(sigma, "background", mask=pixels.mask, file=file)
    gain = pixels.gain
    if gain is None:
        logger.warning(
            "%s: noise of the sky only: without --%s-gain the light of sources adds none",
            file,
            source.role,
        )
        return Noise(sky)
    logger.info("%s: noise of the sky, and of the light of sources (gain %g)", file, gain)

    def rows_of(rows: slice) -> NDArray[Any]:
        light = variance_from_gain(pixels.image, gain, sky=pixels.sky())
        return np.asarray(sky[rows] + light[rows])

    return Noise(LazyPlane(pixels.shape, rows_of), of_image=True)


def _replaced(
    values: LazyPlane, where: Callable[[NDArray[Any]], NDArray[np.bool_]], by: float
) -> LazyPlane:
    """Return a plane with other values in some places."""

    def rows_of(rows: slice) -> NDArray[Any]:
        part = values[rows]
        return np.where(where(part), part.dtype.type(by), part)

    return LazyPlane(values.shape, rows_of)


def _kind(hdu: Hdu, file: object, source: NoiseSource, layout_kind: str) -> str:
    name = hdu_name(hdu)
    utype = str(hdu.header.get("UTYPE", "")).strip().upper()
    told = source.kind or layout_kind or (_UTYPES.get(utype) if name == "UNCERT" else None)
    if told is None:
        told = NOISE_NAMES.get(name)
    if told is None:
        what = f"HDU {name}" if name else "an HDU without a name"
        msg = (
            f"{file}: {what} does not say what kind of noise it holds; say it with "
            f"--{source.role}-noise-kind {'|'.join(NOISE_KINDS)}"
        )
        raise InputError(msg)
    why = ", as told" if source.kind else ""
    logger.info("%s: noise plane %s read as %s%s", file, name, told, why)
    return told


def _no_data(kind: str) -> float:
    return 0.0 if kind in {"ivar", "weight"} else np.inf
