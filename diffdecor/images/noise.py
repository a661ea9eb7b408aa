"""Noise planes in: where they are, and what they hold.

What a plane holds, its *kind*, is "variance", "sigma", "ivar" (inverse variance), "weight" (a
relative inverse variance, scaled to the image), or "background" (sigma of the sky, of low
resolution or not, to which the noise of the sources' light is added).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor import words
from diffdecor.config import IGNORED_PLANES, NOISE_KINDS, ImageOptions
from diffdecor.core.interpolate import bracket
from diffdecor.core.planes import LazyPlane, Plane
from diffdecor.errors import ConfigError, InputError
from diffdecor.fits.open import Hdu, Header
from diffdecor.images.locate import hdu_name
from diffdecor.images.model import MaskPlanes, mapped
from diffdecor.images.no_data import fill_value, is_fill
from diffdecor.images.surveys.ccddata import UTYPES
from diffdecor.images.surveys.plain import NOISE_NAMES
from diffdecor.images.surveys.ps1 import linear
from diffdecor.images.units import unit_factor
from diffdecor.images.variance import scaled_to_image, to_variance, variance_from_gain

logger = words.logger(__name__)


def check_noise(options: ImageOptions) -> None:
    """Refuse a noise plane and a gain that are both to give the variance."""
    planes = options.noise or options.noise_kind
    if options.gain is not None and options.noise_kind != "background" and planes:
        msg = f"give --{options.role}-noise or --{options.role}-gain, not both"
        raise ConfigError(msg)


def check_gain(options: ImageOptions, gain: float | None) -> None:
    """Refuse read noise or sky without a gain, which may also come from a card of the layout."""
    if gain is None and options.read_noise is not None:
        msg = f"--{options.role}-read-noise needs --{options.role}-gain"
        raise ConfigError(msg)
    if gain is None and options.sky is not None:
        msg = f"--{options.role}-sky needs --{options.role}-gain"
        raise ConfigError(msg)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pixels:
    """The image whose noise is read, and its mask."""

    image: Plane
    mask: Plane | None
    planes: MaskPlanes
    #: Electrons per image unit, for the light of sources on top of a background.
    gain: float | None = None
    #: Cards of the image.
    header: Header = None
    #: Returns the level to add to the pixels to have that light.
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
    """The variance of an image, in the square of its unit.

    Reading rows of it raises an InputError if unmasked pixels cannot be what they are said to be.
    """

    variance: Plane
    #: The pixels of the image have a part in it.
    of_image: bool = False
    #: A gain has a part in it.
    of_gain: bool = False
    #: 0-based numbers of the HDUs of the image's own file that it is made of.
    numbers: tuple[int, ...] = ()
    #: The file of its own that it was read from.
    file: str | None = None
    #: Options that nobody gave, by their own name, and what was taken for them.
    taken: Mapping[str, Any] = field(default_factory=dict)


def read_variance(
    stored: LazyPlane,
    hdu: Hdu,
    file: object,
    options: ImageOptions,
    pixels: Pixels,
    *,
    kind: str = "",
    asinh: bool = False,
) -> Noise:
    """Return the variance that a noise plane stands for, of which `stored` gives the pixels.

    `kind` is what the layout says that it holds; with `asinh` it is scaled like pixels of PS1.
    Raises an InputError if it is not known what it holds.
    """
    kind = _kind(hdu, file, options, kind)
    values = linear(stored, hdu.header, file, asinh=asinh, role=options.role)
    factor = unit_factor(pixels.header, hdu.header, kind, file, options.role)
    if factor != 1.0:
        values = mapped(lambda part: part * part.dtype.type(factor), values)
    fill = fill_value(hdu.header)
    if fill is not None:
        values = _replaced(values, lambda part: is_fill(part, fill), _no_data(kind))
    if kind == "background":
        return _with_sources(values, file, options, pixels)
    variance = to_variance(values, kind, mask=pixels.mask, file=file)
    if kind == "weight":
        scaled = scaled_to_image(variance, pixels.image, pixels.usable, file)
        return Noise(scaled, of_image=True)
    return Noise(variance)


def _with_sources(values: LazyPlane, file: object, options: ImageOptions, pixels: Pixels) -> Noise:
    """Return the variance of the sky, of sigma `values`, and of the light of sources."""
    known = _replaced(values, lambda part: np.asarray(part == 0), np.nan)
    sigma = upsampled(known, pixels.shape, file)
    sky = to_variance(sigma, "background", mask=pixels.mask, file=file)
    gain = pixels.gain
    if gain is None:
        # A difference has no gain: its pixels are not the light that makes the noise.
        of_gain = "" if options.role == "difference" else f" without --{options.role}-gain"
        logger.warning("%s: noise of the sky only:%s the light of sources adds none", file, of_gain)
        return Noise(sky)
    logger.info("%s: noise of the sky, and of the light of sources (gain %g)", file, gain)

    def rows_of(rows: slice) -> NDArray[Any]:
        light = variance_from_gain(pixels.image, gain, sky=pixels.sky())
        return np.asarray(sky[rows] + light[rows])

    return Noise(LazyPlane(pixels.shape, rows_of), of_image=True, of_gain=True)


def _replaced(
    values: LazyPlane, where: Callable[[NDArray[Any]], NDArray[np.bool_]], by: float
) -> LazyPlane:
    """Return a plane with other values in some places."""
    return mapped(lambda part: np.where(where(part), part.dtype.type(by), part), values)


def _kind(hdu: Hdu, file: object, options: ImageOptions, of_layout: str) -> str:
    """Return what a noise plane holds: as requested, by its layout, or by its name."""
    name = hdu_name(hdu)
    utype = str(hdu.header.get("UTYPE", "")).strip().upper()
    of_hdu = (UTYPES.get(utype) if name == "UNCERT" else None) or NOISE_NAMES.get(name)
    kind = options.noise_kind or of_layout or of_hdu or options.shared_noise_kind
    shared = options.shared_noise_kind
    if shared not in (None, kind) and options.noise_kind is None:
        logger.warning(
            "%s: noise plane%s says that it is %s, and --noise-kind %s is not used (%s would be)",
            *(file, name and f" {name}", kind, shared, f"--{options.role}-noise-kind"),
        )
    if kind is None:
        what = f"HDU {name}" if name else "an HDU without a name"
        msg = (
            f"{file}: {what} does not say what kind of noise it holds; say it with "
            f"--{options.role}-noise-kind {'|'.join(NOISE_KINDS)}"
        )
        raise InputError(msg)
    why = ", as requested" if options.noise_kind else ""
    logger.info("%s: noise plane%s read as %s%s", file, name and f" {name}", kind, why)
    return kind


def _no_data(kind: str) -> float:
    """Return what a noise plane of a kind holds where there are no data."""
    return 0.0 if kind in {"ivar", "weight"} else np.inf


def upsampled(values: Plane, shape: tuple[int, int], file: object) -> Plane:
    """Return an image ``(my, mx)`` of low resolution on the pixels ``(ny, nx)`` of a large one.

    Every pixel stands for a box. Bilinear interpolation, constant outside the centres of the
    outermost boxes. Raises an InputError if the shapes are not in one proportion.
    """
    small = tuple(values.shape)
    if small == shape:
        return values
    ratio_y, ratio_x = (large / length for large, length in zip(shape, small, strict=True))
    if min(ratio_y, ratio_x) < 1 or abs(ratio_y / ratio_x - 1) > 0.1:
        msg = (
            f"{file}: has shape {small} (ny, nx), which is not a low-resolution image "
            f"of {shape}; give one of the same image"
        )
        raise InputError(msg)
    across = _places(slice(0, shape[1]), ratio_x, small[1])

    def rows_of(rows: slice) -> NDArray[Any]:
        lower, upper, share = _places(rows, ratio_y, small[0])
        top, bottom = int(lower[0]), int(upper[-1]) + 1
        along = _interpolated(values[top:bottom].T, lower - top, upper - top, share).T
        return _interpolated(along, *across)

    return LazyPlane(shape, rows_of)


def _places(pixels: slice, ratio: float, length: int) -> tuple[NDArray[Any], ...]:
    """Return the pixels of a small axis around those of a large one, and the second's share."""
    places = (np.arange(pixels.start, pixels.stop) + 0.5) / ratio - 0.5
    around = bracket(np.arange(length, dtype=np.float64), places)
    return tuple(np.broadcast_to(part, places.shape) for part in around)


def _interpolated(
    values: NDArray[Any], lower: NDArray[Any], upper: NDArray[Any], share: NDArray[Any]
) -> NDArray[Any]:
    """Interpolate along the last axis; where one pixel has all the weight the other may be NaN."""
    share = share.astype(values.dtype)
    below, above = values[:, lower], values[:, upper]
    between = below + share * (above - below)
    return np.where(share == 0, below, np.where(share == 1, above, between))
