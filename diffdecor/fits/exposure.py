"""Images in: an exposure with its noise, mask and PSF, from every survey's layout."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diffdecor.errors import InputError
from diffdecor.fits.headers import merged_header
from diffdecor.fits.locate import (
    IMAGE_NAMES,
    MASK_NAMES,
    NOISE_NAMES,
    companion,
    find_image,
    hdu_name,
)
from diffdecor.fits.masks import flag_fill_value, read_mask
from diffdecor.fits.noise import NoiseSource, read_variance, variance_from_gain
from diffdecor.fitsfile import (
    Hdu,
    Hdus,
    Header,
    find_extension,
    image_shape,
    open_fits,
    read_pixels,
)
from diffdecor.images import Exposure, MaskPlanes
from diffdecor.paths import Extension
from diffdecor.psfs.model import PointSpreadFunction
from diffdecor.psfs.registry import carried_psf, read_psf

logger = logging.getLogger(__name__)

Mask = NDArray[np.int32] | None


class UnreadPlane:
    """An image left in its file until somebody wants its pixels.

    Parameters
    ----------
    path : str or Path
        The file.
    index : int
        0-based number of the HDU.
    shape : tuple of int
        ``(ny, nx)``.
    """

    def __init__(self, path: str | Path, index: int, shape: tuple[int, ...]) -> None:
        self.path = path
        self.index = index
        self.shape = shape
        self._pixels: NDArray[Any] | None = None

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        if self._pixels is None:
            with open_fits(self.path) as (hdus, _):
                self._pixels = read_pixels(find_extension(hdus, self.index, self.path), self.path)
        return self._pixels[rows]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001
        return np.array(self[0 : self.shape[0]], dtype=dtype, copy=copy)


def read_exposure(  # noqa: PLR0913  all but the path are optional and named
    path: str | Path,
    *,
    noise: str | Path | None = None,
    noise_kind: str | None = None,
    mask: str | Path | None = None,
    gain: float | None = None,
    read_noise: float | None = None,
    psf: str | Path | None = None,
    role: str = "science",
    pixels: bool = True,
) -> Exposure:
    """Read an image with its noise, mask and PSF.

    The planes are found by name: IMAGE, MASK, VARIANCE (LSST, diffdecor), SCI, DQ, ERR (HST, JWST;
    of the same EXTVER), or in files of their own. ``file.fits[EXT]`` names an HDU.

    Parameters
    ----------
    path : str or Path
        File of the image, plain, gzipped or tile-compressed.
    noise : str or Path, optional
        File of the noise plane; by default the one in the file of the image.
    noise_kind : {"variance", "sigma", "ivar", "weight"}, optional
        What the noise plane holds; needed if its name does not say it.
    mask : str or Path, optional
        File of the mask; by default the one in the file of the image.
    gain : float, optional
        Electrons per image unit, to make the variance from the pixels.
    read_noise : float, optional
        Read noise in electrons, with the gain; 0 by default.
    psf : str or Path, optional
        File of the PSF; by default the one in the file of the image.
    role : {"science", "template", "difference"}
        Whose options the messages name.
    pixels : bool
        Read the image itself. Otherwise it is read when its pixels are first wanted.

    Returns
    -------
    Exposure
        float32 or float64 pixels in native byte order, variance in the image's unit squared, an
        int32 mask, and a header of the image's cards and those of its file.

    Raises
    ------
    InputError
        If a file cannot be read, a plane is not found or has another shape, or its values cannot
        be what it is said to hold.
    ConfigError
        If the arguments contradict each other.
    """
    source = NoiseSource(
        file=str(noise) if noise else None,
        kind=noise_kind,
        gain=gain,
        read_noise=read_noise,
        role=role,
    )
    with open_fits(path) as (hdus, extension):
        image_hdu = find_image(hdus, extension, IMAGE_NAMES, file=path)
        header = merged_header(hdus[0].header, image_hdu.header)
        logger.info(
            "%s: %s image in HDU %s", path, role, hdu_name(image_hdu) or hdus.index(image_hdu)
        )
        mask_values, planes = _mask(hdus, image_hdu, header, mask, path)
        image: Any = UnreadPlane(path, hdus.index(image_hdu), image_shape(image_hdu))
        if pixels or gain is not None or "MASKVAL" in header:
            image = read_pixels(image_hdu, path)
            mask_values, planes = flag_fill_value(image, header, mask_values, planes, path)
        return Exposure(
            image=image,
            variance=_variance(hdus, image_hdu, image, source, mask_values, path),
            mask=mask_values,
            mask_planes=planes,
            psf=_psf(hdus, psf, str(path)),
            header=header,
            name=str(path),
        )


def _mask(
    hdus: Hdus,
    image_hdu: Hdu,
    header: Header,
    file: str | Path | None,
    path: str | Path,
) -> tuple[Mask, MaskPlanes]:
    """Read the mask: from its own file, else from that of the image, else none."""
    if file is not None:
        with open_fits(file) as (others, extension):
            hdu = _plane(others, extension, MASK_NAMES, file, image_hdu, path)
            return read_mask(hdu, file)
    found = companion(hdus, image_hdu, MASK_NAMES)
    if found is None:
        return None, MaskPlanes()
    _same_shape(found, path, image_hdu, path)
    return read_mask(found, path, image_header=header)


def _variance(
    hdus: Hdus,
    image_hdu: Hdu,
    image: Hdu,
    source: NoiseSource,
    mask: Mask,
    path: str | Path,
) -> NDArray[Any] | None:
    """Make the variance: from the gain, a noise file, or the noise plane beside the image."""
    if source.gain is not None:
        read_noise = source.read_noise or 0.0
        logger.info("%s: variance from gain %g, read noise %g", path, source.gain, read_noise)
        return variance_from_gain(image, source.gain, read_noise)
    if source.file is not None:
        with open_fits(source.file) as (others, extension):
            hdu = _plane(others, extension, NOISE_NAMES, source.file, image_hdu, path)
            return read_variance(hdu, source.file, source, mask)
    found = companion(hdus, image_hdu, NOISE_NAMES)
    if found is not None:
        _same_shape(found, path, image_hdu, path)
        return read_variance(found, path, source, mask)
    if source.kind is not None:
        option = f"--{source.role}-noise"
        msg = f"{path}: there is no noise plane beside the image for {option}-kind; give {option}"
        raise InputError(msg)
    return None


def _plane(
    hdus: Hdus,
    extension: Extension | None,
    names: Collection[str],
    file: str | Path,
    image_hdu: Hdu,
    path: str | Path,
) -> Hdu:
    """Find a plane of the image in a file of its own."""
    hdu = find_image(hdus, extension, names, file=file, like=image_hdu)
    _same_shape(hdu, file, image_hdu, path)
    return hdu


def _same_shape(hdu: Hdu, file: object, image_hdu: Hdu, path: object) -> None:
    if image_shape(hdu) != image_shape(image_hdu):
        msg = (
            f"{file}: HDU {hdu.name} has shape {image_shape(hdu)} (ny, nx), but the image {path} "
            f"has {image_shape(image_hdu)}; give planes of the same image"
        )
        raise InputError(msg)


def _psf(hdus: Hdus, file: str | Path | None, path: str) -> PointSpreadFunction | None:
    """Read the PSF that was asked for, or the one beside the image if it can be used."""
    if file is not None:
        return read_psf(file)
    try:
        return carried_psf(hdus, path)
    except InputError as error:
        logger.warning("%s; going on without it", error)
        return None
