"""Noise that is known otherwise: the power of an image's noise, read from a file.

A file holds either of two things.

* A *lag image*: the covariance of the noise at every lag, of odd sides up to 99 pixels with the
  zero lag in the centre, such as our own HDU ``NOISECOV``; or an HDU ``COVAR_*`` of Pan-STARRS,
  whose cards ``COVARIANCE.CENTRE.X`` and ``.Y`` say where the zero lag is (0-based). It is in the
  unit that BUNIT says, the image's squared; without BUNIT in units of the variance plane. A cube
  holds several, of which the mean counts.
* *Realisations* of the noise in the unit of the image: any other image, or a cube of them. Pixels
  that are NaN do not count.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums, lag_sums
from diffdecor.core.noise_power import NoisePower, power_of_sums, spectrum_of_lags
from diffdecor.core.planes import Plane
from diffdecor.core.spectrum import MAX_LAG
from diffdecor.errors import InputError
from diffdecor.fits.headers import whole_card
from diffdecor.fits.open import (
    Hdu,
    Hdus,
    OpenFiles,
    find_extension,
    image_shape,
    open_fits,
    read_pixels,
    unpacking,
)
from diffdecor.fits.pixels import scaling_of
from diffdecor.fits.read_rows import stored_pixels
from diffdecor.images.locate import hdu_name, images_of
from diffdecor.images.surveys.plain import IMAGE_NAMES

logger = logging.getLogger(__name__)

#: Name of the HDUs of lag images in the outputs of diffdecor: EXTVER 1 is that of the result,
#: EXTVER 2 that of the difference as it was.
NOISE_COVARIANCE = "NOISECOV"
OF_RESULT, OF_DIFFERENCE = 1, 2
_PAN_STARRS = "COVAR_"
_CENTRE = ("COVARIANCE.CENTRE.X", "COVARIANCE.CENTRE.Y")
#: Larger images are realisations.
LARGEST_LAG_IMAGE = 99
#: Opposite lags differ by rounding only, in units of the variance.
_ROUNDING = 1e-5
#: Share of the squares of a lag image beyond the largest lag that is used which is worth a warning,
#: and shares of the power that had to be moved which are worth one, and which are an error.
_LOST, _MOVED, _IMPOSSIBLE = 1e-2, 1e-3, 0.2
#: Side of the windows in which realisations are measured, pixels.
_WINDOW = 256
#: A variance that is known otherwise is within this factor of that of the image.
_FACTOR = 10.0


def read_noise_power(
    path: str | Path, role: str = "science", files: OpenFiles | None = None
) -> NoisePower:
    """Read the power of the noise of an image; ``file.fits[EXT]`` names an HDU.

    Of our own lag images, the science image and the template take that of a result, the difference
    that of a difference. Raises an InputError if the file cannot be read, or holds neither a lag
    image nor realisations of noise.
    """
    with open_fits(path, files) as (hdus, extension):
        if extension is None:
            hdu = _found(hdus, role, path)
        else:
            hdu = find_extension(hdus, extension, path)
        shape = image_shape(hdu)
        if len(shape) not in {2, 3} or 0 in shape:
            msg = (
                f"{path}: HDU {hdu.name or '0'} has shape {shape}; give a lag image, or an image "
                "or a cube of realisations of the noise"
            )
            raise InputError(msg)
        if _is_lag_image(hdu, shape):
            return _of_lag_image(hdu, path)
        return _of_realisations(hdu, shape, path)


def check_noise_level(power: NoisePower, variance: float, image: str) -> None:
    """Refuse a noise power that is not in the unit of the image, as its variance there tells."""
    if not power.absolute or not 0.0 < variance < np.inf:
        return
    ratio = power.variance / variance
    if not 1 / _FACTOR <= ratio <= _FACTOR:
        msg = (
            f"{power.name}: its variance is {power.variance:.4g}, but that of {image} "
            f"{variance:.4g}; it seems to be in another unit: give it in that of the image "
            "squared, realisations in that of the image, or, without BUNIT, a lag image in units "
            "of the variance plane"
        )
        raise InputError(msg)


def _found(hdus: Hdus, role: str, path: object) -> Hdu:
    """Return the HDU that is meant where none is named."""
    images = [hdu for hdu in hdus if image_shape(hdu)]
    own = {hdu.ver: hdu for hdu in images if hdu_name(hdu) == NOISE_COVARIANCE}
    if own:
        return _of_version(own, role, path)
    others = images_of(hdus)
    chosen = (
        [hdu for hdu in images if hdu_name(hdu).startswith(_PAN_STARRS)]
        or [hdu for hdu in others if hdu_name(hdu) in IMAGE_NAMES]
        or others
    )
    if len(chosen) == 1:
        return chosen[0]
    there = ", ".join(f"{n} {hdu_name(hdu) or hdu.name}".strip() for n, hdu in enumerate(hdus))
    what = "there are several images" if chosen else "there is no noise"
    msg = f"{path}: {what} in it (HDUs: {there}); name one as file.fits[EXT]"
    raise InputError(msg)


def _of_version(own: dict[int, Hdu], role: str, path: object) -> Hdu:
    """Return our own lag image for an image: that of a result has none of a difference's."""
    version = OF_DIFFERENCE if role == "difference" else OF_RESULT
    if version in own:
        return own[version]
    there = ", ".join(f"{NOISE_COVARIANCE},{number}" for number in sorted(own))
    what = "a difference as it was" if version == OF_DIFFERENCE else "a result"
    msg = (
        f"{path}: holds {there}, but not the noise of {what} ({NOISE_COVARIANCE},{version}); name "
        "the HDU as file.fits[NAME,VERSION] if it is meant all the same"
    )
    raise InputError(msg)


def _is_lag_image(hdu: Hdu, shape: tuple[int, ...]) -> bool:
    """Say whether an image is a lag image, by its cards and its sides."""
    ny, nx = shape[-2:]
    return any(card in hdu.header for card in _CENTRE) or (
        ny == nx and ny % 2 == 1 and ny <= LARGEST_LAG_IMAGE
    )


def _of_lag_image(hdu: Hdu, path: str | Path) -> NoisePower:
    pixels = read_pixels(hdu, path).astype(np.float64)
    planes = pixels.reshape(-1, *pixels.shape[-2:])
    lags = _symmetric(planes.mean(axis=0), _centre(hdu, planes.shape[-2:], path), path)
    whole, reach = lags.shape[0] // 2, min(lags.shape[0] // 2, MAX_LAG)
    used = slice(whole - reach, whole + reach + 1)
    kept = lags[used, used]
    lost = 1.0 - (kept**2).sum() / (lags**2).sum()
    if lost > _LOST:
        logger.warning(
            "%s: only lags up to %d pixels are used; %.2g of the squares of all covariances lie "
            "beyond",
            path,
            reach,
            lost,
        )
    spectrum, moved = spectrum_of_lags(kept)
    if moved > _IMPOSSIBLE and lost <= _LOST:
        msg = (
            f"{path}: not a lag image: these covariances are not those of any noise; to make its "
            f"power positive {moved:.2g} of it would have to be moved"
        )
        raise InputError(msg)
    if moved > _MOVED:
        logger.warning(
            "%s: these covariances are not quite those of any noise: %.2g of the power was moved "
            "to make it positive; lags are missing, or the image was measured on too few pixels",
            path,
            moved,
        )
    unit = str(hdu.header.get("BUNIT", "")).strip()
    variance = float(lags[whole, whole])
    absolute = bool(unit) or hdu_name(hdu) == NOISE_COVARIANCE
    if not absolute and not 1 / _FACTOR <= variance <= _FACTOR:
        msg = (
            f"{path}: its variance is {variance:.4g} times that of the variance plane; if it is in "
            "a unit of its own, say so in BUNIT"
        )
        raise InputError(msg)
    power = NoisePower(spectrum=spectrum, variance=variance, absolute=absolute, name=str(path))
    logger.info(
        "%s: lag image of %d x %d pixels, variance %.4g %s",
        path,
        *planes.shape[:-3:-1],
        power.variance,
        unit or ("image unit squared" if power.absolute else "of that of the variance plane"),
    )
    return power


def _centre(hdu: Hdu, shape: tuple[int, ...], path: object) -> tuple[int, int]:
    """Return the 0-based column and row of the zero lag."""
    ny, nx = shape
    given = [hdu.header.get(card) for card in _CENTRE]
    if given == [None, None]:
        return nx // 2, ny // 2
    for value, length, card in zip(given, (nx, ny), _CENTRE, strict=True):
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if not (numeric and value == int(value) and 0 <= value < length):
            msg = f"{path}: {card} = {value!r} is not the 0-based place of the zero lag in it"
            raise InputError(msg)
    return int(given[0]), int(given[1])


def _symmetric(
    image: NDArray[np.float64], centre: tuple[int, int], path: object
) -> NDArray[np.float64]:
    """Return a lag image with its centre in the middle, square; 0 at lags that are not there."""
    (cx, cy), (ny, nx) = centre, image.shape
    if not np.isfinite(image).all():
        msg = f"{path}: a lag image has no NaN or infinity; give the covariance at every lag"
        raise InputError(msg)
    if image[cy, cx] <= 0:
        msg = (
            f"{path}: not a lag image: its centre, FITS pixel ({cx + 1}, {cy + 1}), is "
            f"{image[cy, cx]:.4g}; that is the zero lag, a variance, and above zero"
        )
        raise InputError(msg)
    y, x = np.unravel_index(np.argmax(np.abs(image)), image.shape)
    if abs(image[y, x]) > image[cy, cx]:
        msg = (
            f"{path}: not a lag image: its centre, FITS pixel ({cx + 1}, {cy + 1}), is "
            f"{image[cy, cx]:.4g}, but pixel ({x + 1}, {y + 1}) is {image[y, x]:.4g}; the zero lag "
            "is in the centre, and has the largest value (realisations of noise are larger than "
            f"{LARGEST_LAG_IMAGE} pixels, or their sides are not equal and odd)"
        )
        raise InputError(msg)
    reach = max(cx, cy, nx - 1 - cx, ny - 1 - cy)
    lags = np.full((2 * reach + 1, 2 * reach + 1), np.nan)
    lags[reach - cy : reach - cy + ny, reach - cx : reach - cx + nx] = image
    opposite = lags[::-1, ::-1]
    apart = np.nan_to_num(np.abs(lags - opposite))
    if apart.max() > _ROUNDING * image[cy, cx]:
        dy, dx = np.array(np.unravel_index(np.argmax(apart), apart.shape)) - reach
        msg = (
            f"{path}: not a lag image: the covariance is {lags[reach + dy, reach + dx]:.6g} at lag "
            f"({dx}, {dy}) (x, y), but {lags[reach - dy, reach - dx]:.6g} at the opposite one; "
            "they are equal for any noise"
        )
        raise InputError(msg)
    first = np.where(np.isnan(lags), opposite, lags)
    second = np.where(np.isnan(opposite), lags, opposite)
    return np.nan_to_num((first + second) / 2)


def _of_realisations(hdu: Hdu, shape: tuple[int, ...], path: str | Path) -> NoisePower:
    """Measure the noise power of an image, or of the planes of a cube."""
    planes = [stored_pixels(hdu, path)] if len(shape) == 2 else _planes(hdu, shape, path)
    total = reduce(add, (sums for plane in planes for sums in _window_sums(plane)))
    variance = float(total.covariance[0, MAX_LAG])
    logger.info(
        "%s: noise of variance %.4g measured on %d pixels", path, variance, int(total.pixels)
    )
    power = power_of_sums(total, str(path))
    if power is None:
        msg = (
            f"{path}: the power of its noise cannot be measured ({int(total.pixels)} pixels, "
            f"variance {variance:.4g}); give larger, or more, realisations of the noise alone"
        )
        raise InputError(msg)
    return power


def _planes(hdu: Hdu, shape: tuple[int, ...], path: object) -> Iterator[NDArray[np.floating]]:
    """Read a cube plane by plane."""
    scaling = scaling_of(hdu.header, path)
    lengths = list(hdu.shape)
    axis = lengths.index(shape[0])
    for number in range(shape[0]):
        with unpacking(hdu, path):
            stored = hdu.section[(*[slice(None)] * axis, slice(number, number + 1))]
        yield scaling.pixels(np.asarray(stored)).reshape(shape[1:])


def _window_sums(plane: Plane) -> Iterator[LagSums]:
    """Give the sums of the windows of a realisation."""
    ny, nx = plane.shape
    for rows in _parts(ny):
        pixels = np.asarray(plane[rows], dtype=np.float64)
        for columns in _parts(nx):
            window = pixels[:, columns]
            known = np.isfinite(window)
            yield lag_sums(np.where(known, window, 0.0), known, MAX_LAG)


def _parts(length: int) -> list[slice]:
    """Cut an axis into windows of nearly equal length."""
    cuts = np.linspace(0, length, max(1, round(length / _WINDOW)) + 1).round().astype(int)
    return [slice(start, stop) for start, stop in itertools.pairwise(cuts.tolist())]


def noise_covariance_hdu(power: NoisePower, version: int, unit: str | None) -> Hdu:
    """Return the HDU of a lag image; `unit` is that of a variance, if it is known."""
    lags = power.covariance()
    middle = lags.shape[0] // 2
    hdu = fits.ImageHDU(lags, name=NOISE_COVARIANCE, ver=version)
    of = "IMAGE" if version == OF_RESULT else "the difference before"
    hdu.header.comments["EXTNAME"] = f"noise covariance of {of}"
    for axis, name in ((1, "LAGX"), (2, "LAGY")):
        hdu.header[f"CTYPE{axis}"] = (name, f"lag along axis {axis} of the image")
        hdu.header[f"CRPIX{axis}"] = (middle + 1.0, "zero lag: the variance")
        hdu.header[f"CRVAL{axis}"] = 0.0
        hdu.header[f"CDELT{axis}"] = 1.0
        hdu.header[f"CUNIT{axis}"] = "pixel"
    if unit:
        hdu.header.append(whole_card("BUNIT", unit, "unit of the covariance"))
    hdu.header.add_comment("A pixel is the covariance of two pixels of the image that are LAGX")
    hdu.header.add_comment("columns and LAGY rows apart; opposite lags are equal.")
    return hdu
