"""Images in: an exposure with its noise, mask and PSF, from every survey's layout."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from diffdecor.config import ImageOptions
from diffdecor.core.planes import in_memory
from diffdecor.errors import InputError
from diffdecor.fits.open import open_fits
from diffdecor.fits.reading import Reading
from diffdecor.fits.sums import check_sums
from diffdecor.images.model import ArrayExposure, Exposure
from diffdecor.images.no_data import (
    filled_pixels,
    flag_no_data,
    in_whole_numbers,
    united,
    without_variance,
    zero_border,
)
from diffdecor.images.noise import Pixels
from diffdecor.images.planes import OpenedImage, opened_image
from diffdecor.images.quantum import quantum_of
from diffdecor.psfs.model import PointSpreadFunction
from diffdecor.psfs.registry import carried_psf, read_opened_psf

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
    diffcmd: bool = True,
    psf: str | Path | None = None,
    role: str = "science",
    pixels: bool = True,
    ignore_checksums: bool = False,
) -> ArrayExposure:
    """Read an image with its noise, mask and PSF into memory.

    The planes are found where the layout of the image's survey puts them: in HDUs of certain names
    (of the same EXTVER), or in files beside it. ``file.fits[EXT]`` names an HDU.

    Parameters
    ----------
    path : str or Path
        File of the image, plain, gzipped or tile-compressed.
    layout : str, optional
        Name of the layout; by default it is recognised.
    noise : str or Path, optional
        File of the noise plane; by default the one of the layout, or of HOTPANTS's command line.
    noise_kind : {"variance", "sigma", "ivar", "weight", "background"}, optional
        What the noise plane holds; needed if neither its name nor the layout says it.
    mask : str or Path, optional
        File of the mask; by default the one of the layout, or of HOTPANTS's command line.
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
    diffcmd : bool
        Take noise and mask of a difference of HOTPANTS that nothing else gives from HOTPANTS'
        command line, or from files beside it.
    psf : str or Path, optional
        File of the PSF; by default the one in the file of the image.
    role : {"science", "template", "difference"}
        Which image it is: that decides what some layouts mean.
    pixels : bool
        Read the image itself. Otherwise its rows are read from the file when they are wanted.
    ignore_checksums : bool
        Use data that do not add up to the DATASUM of their header.

    Returns
    -------
    ArrayExposure
        An `Exposure` whose planes are arrays (all but the image, if not `pixels`): float32 or
        float64 pixels in native byte order and a linear scale, variance in the image's unit
        squared, an int32 mask, and a header of the image's cards and those of its file.

    Raises
    ------
    InputError
        If a file cannot be read, a plane is not found or has another shape, its values cannot be
        what it is said to hold, or do not add up to the DATASUM of its header.
    ConfigError
        If the arguments contradict each other.
    """
    options = ImageOptions(
        role=role,
        layout=layout,
        noise=str(noise) if noise else None,
        noise_kind=noise_kind,
        mask=str(mask) if mask else None,
        mask_preset=mask_preset,
        gain=gain,
        read_noise=read_noise,
        sky=sky,
        psf=None if psf is None else str(psf),
        bad_bits=bad_bits,
        ignore_bits=ignore_bits,
        mask_codes=mask_codes,
        zero_borders=zero_borders and pixels,
        diffcmd=diffcmd,
    )
    with Reading(ignore_checksums=ignore_checksums) as reading:
        opened = open_exposure(path, options, reading)
        exposure = opened.exposure
        read = ArrayExposure.of(exposure) if pixels else _with_noise(exposure)
        check_sums((path, psf, *opened.files), reading.files, reading)
    return read


def _with_noise(exposure: Exposure) -> ArrayExposure:
    """Read all planes but the image itself; to who asks for that it is typed as an array, too."""
    read = replace(
        exposure,
        variance=None if exposure.variance is None else in_memory(exposure.variance),
        mask=None if exposure.mask is None else in_memory(exposure.mask),
    )
    return cast("ArrayExposure", read)


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenedExposure:
    """An exposure whose planes are in their files."""

    exposure: Exposure
    #: What was found beside the image, or through HOTPANTS, and is used: by the own name of the
    #: option that would give it, files of "noise" and "mask" mostly.
    found: dict[str, Any]
    #: Files of its planes, where they are not in that of the image.
    files: tuple[str, ...] = ()
    #: 0-based numbers of the HDUs of its file that a decorrelated difference does not depend on:
    #: the image of the science image and the template, unless their variance or mask is made of
    #: its pixels; the variance of the difference.
    unneeded: tuple[int, ...] = ()
    #: The pixels are whole numbers, or have steps: 0 is a usual value.
    stepped: bool = False
    #: Its variance is made from its pixels, with a gain.
    of_gain: bool = False


def open_exposure(
    path: str | Path, options: ImageOptions, reading: Reading | None = None
) -> OpenedExposure:
    """Open an image with its noise, mask and PSF, whose rows are read when they are wanted.

    The planes are found as by `read_exposure`. Reading rows of them raises an InputError where
    their values cannot be what they are said to be. Files are shared with others of the `reading`.
    """
    with nullcontext(reading) if reading is not None else _reading(options) as shared:
        return exposure_of(found_image(path, options, shared))


def found_image(path: str | Path, options: ImageOptions, reading: Reading) -> OpenedImage:
    """Open the file of an image and find it there, by headers alone; it is open with `reading`."""
    with open_fits(path, reading.files) as (hdus, extension):
        return opened_image(hdus, extension, path, options, reading)


def exposure_of(opened: OpenedImage) -> OpenedExposure:
    """Open the planes of an image that was found, and its PSF; the first pixels are read."""
    return _exposure(opened, _psf(opened))


def _reading(options: ImageOptions) -> Reading:
    return Reading(ignore_checksums=options.ignore_checksums)


def _exposure(opened: OpenedImage, psf: PointSpreadFunction | None) -> OpenedExposure:
    """Open the planes of an image."""
    path, options = opened.path, opened.options
    mask, planes = opened.mask()
    image = opened.pixels()
    quantum = None if opened.layout.asinh else quantum_of(opened.hdu, path)
    stepped = quantum is not None or in_whole_numbers(image)
    missing = united(
        filled_pixels(
            image, opened.header, path, quantum, stepped=stepped, masked=mask is not None
        ),
        zero_border(image, path, quantum, stepped=stepped) if options.zero_borders else None,
    )
    if missing is not None:
        mask, planes = flag_no_data(missing, mask, planes)
    gain, sky = opened.light(image)
    pixels = Pixels(image=image, mask=mask, planes=planes, gain=gain, sky=sky, header=opened.header)
    noise = opened.noise(pixels)
    variance = None if noise is None else noise.variance
    if missing is not None and variance is not None:
        variance = without_variance(missing, variance)
    exposure = Exposure(
        image=image,
        variance=variance,
        mask=mask,
        mask_planes=planes,
        psf=psf,
        header=opened.header,
        name=str(path),
        step=0.0 if quantum is None else quantum.usual_step(image.shape[0]),
    )
    if options.role == "difference":
        unneeded = () if noise is None else noise.numbers
    else:
        of_image = missing is not None or (noise is not None and noise.of_image)
        unneeded = () if of_image else (opened.hdus.index(opened.hdu),)
    taken = opened.inferred_mask
    mask_file = opened.mask_file if taken is None else taken.file
    used = {"noise": None if noise is None else noise.file, "mask": mask_file}
    found: dict[str, Any] = {
        what: file for what, file in opened.companions.items() if file == used[what]
    }
    found.update({} if noise is None else noise.taken)
    found.update({} if taken is None else {"mask": mask_file})
    files = tuple(file for file in used.values() if file is not None)
    return OpenedExposure(
        exposure=exposure,
        found=found,
        files=files,
        unneeded=unneeded,
        stepped=stepped,
        of_gain=noise is not None and noise.of_gain,
    )


def _psf(opened: OpenedImage) -> PointSpreadFunction | None:
    """Read the PSF that is requested, or the one in the file of the image if it can be used."""
    if opened.options.psf is not None:
        return read_opened_psf(opened.options.psf, opened.reading.files)
    try:
        return carried_psf(opened.hdus, str(opened.path))
    except InputError as error:
        logger.warning("%s; going on without it", error)
        return None
