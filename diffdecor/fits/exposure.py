"""Images in: an exposure with its noise, mask and PSF, from every survey's layout."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from diffdecor.errors import InputError
from diffdecor.fits.masks import MaskSource
from diffdecor.fits.nodata import filled_pixels, flag_no_data, united, zero_border
from diffdecor.fits.noise import NoiseSource, Pixels
from diffdecor.fits.opened import OpenedImage, opened_image
from diffdecor.fitsfile import Hdus, open_fits
from diffdecor.images import Exposure
from diffdecor.psfs.model import PointSpreadFunction
from diffdecor.psfs.registry import carried_psf, read_psf

logger = logging.getLogger(__name__)


def read_exposure(  # noqa: PLR0913  all but the path are optional and named
    path: str | Path,
    *,
    layout: str | None = None,
    noise: str | Path | None = None,
    noise_kind: str | None = None,
    mask: str | Path | None = None,
    mask_preset: str | None = None,
    bad_bits: tuple[int, ...] | None = None,
    ignore_bits: tuple[int, ...] | None = None,
    mask_codes: bool = False,
    gain: float | None = None,
    read_noise: float | None = None,
    sky: float | None = None,
    zero_borders: bool = True,
    psf: str | Path | None = None,
    role: str = "science",
    pixels: bool = True,
) -> Exposure:
    """Read an image with its noise, mask and PSF.

    The planes are found where the layout of the image's survey puts them: in HDUs of certain names
    (of the same EXTVER), or in files beside it. ``file.fits[EXT]`` names an HDU.

    Parameters
    ----------
    path : str or Path
        File of the image, plain, gzipped or tile-compressed.
    layout : str, optional
        Name of the layout; by default it is recognised.
    noise : str or Path, optional
        File of the noise plane; by default the one of the layout.
    noise_kind : {"variance", "sigma", "ivar", "weight", "background"}, optional
        What the noise plane holds; needed if neither its name nor the layout says it.
    mask : str or Path, optional
        File of the mask; by default the one of the layout.
    mask_preset : str, optional
        Meaning of the mask's bits, unless it names its planes itself.
    bad_bits : tuple of int, optional
        Bits, or codes, of the mask that are BAD; without a preset all others are harmless.
    ignore_bits : tuple of int, optional
        Bits, or codes, of the mask that are harmless.
    mask_codes : bool
        Pixels of the mask hold codes, not bits.
    gain : float, optional
        Electrons per image unit, to make the variance from the pixels.
    read_noise : float, optional
        Read noise in electrons, with the gain; 0 by default.
    sky : float, optional
        Level that was subtracted from the pixels, with the gain; 0 by default.
    zero_borders : bool
        A border of exact zeros has no data. It is looked for only where `pixels` are read.
    psf : str or Path, optional
        File of the PSF; by default the one in the file of the image.
    role : {"science", "template", "difference"}
        Whose options the messages name.
    pixels : bool
        Read the image itself. Otherwise it is read when its pixels are first wanted, if nothing
        else needs them.

    Returns
    -------
    Exposure
        float32 or float64 pixels in native byte order and a linear scale, variance in the image's
        unit squared, an int32 mask, and a header of the image's cards and those of its file.

    Raises
    ------
    InputError
        If a file cannot be read, a plane is not found or has another shape, or its values cannot
        be what it is said to hold.
    ConfigError
        If the arguments contradict each other.
    """
    noise_source = NoiseSource(
        file=str(noise) if noise else None,
        kind=noise_kind,
        gain=gain,
        read_noise=read_noise,
        sky=sky,
        role=role,
    )
    mask_source = MaskSource(
        file=str(mask) if mask else None,
        preset=mask_preset,
        bad=bad_bits,
        ignored=ignore_bits or (),
        codes=mask_codes,
        role=role,
    )
    with open_fits(path) as (hdus, extension):
        opened = opened_image(hdus, extension, path, layout, role)
        found_psf = _psf(hdus, psf, str(path))
        return _exposure(
            opened,
            noise_source,
            mask_source,
            found_psf,
            now=pixels,
            borders=zero_borders and pixels,
        )


def _exposure(
    opened: OpenedImage,
    noise: NoiseSource,
    masking: MaskSource,
    psf: PointSpreadFunction | None,
    *,
    now: bool,
    borders: bool,
) -> Exposure:
    """Read the planes of an image."""
    path = opened.path
    mask, planes = opened.mask(masking)
    image = opened.pixels(now=now or noise.gain is not None or "MASKVAL" in opened.header)
    missing = None
    if isinstance(image, np.ndarray):
        missing = united(
            filled_pixels(image, opened.header, path),
            zero_border(image, path) if borders else None,
        )
    if missing is not None:
        mask, planes = flag_no_data(missing, mask, planes)
    gain, sky = opened.light(noise, image)
    variance = opened.variance(
        noise, Pixels(image=image, mask=mask, planes=planes, gain=gain, sky=sky)
    )
    if missing is not None and variance is not None:
        variance = np.where(missing, variance.dtype.type(np.inf), variance)
    return Exposure(
        image=image,
        variance=variance,
        mask=mask,
        mask_planes=planes,
        psf=psf,
        header=opened.header,
        name=str(path),
    )


def _psf(hdus: Hdus, file: str | Path | None, path: str) -> PointSpreadFunction | None:
    """Read the PSF that was asked for, or the one beside the image if it can be used."""
    if file is not None:
        return read_psf(file)
    try:
        return carried_psf(hdus, path)
    except InputError as error:
        logger.warning("%s; going on without it", error)
        return None
