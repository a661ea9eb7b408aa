"""Which HDU of a file is meant: by ``file.fits[EXT]``, by its name, else the first image."""

from __future__ import annotations

from collections.abc import Collection

from diffdecor.errors import InputError
from diffdecor.fits.open import Hdu, Hdus, find_extension, image_shape, open_fits
from diffdecor.fits.paths import Extension

__all__ = ["IMAGE_NAMES", "MASK_NAMES", "NOISE_NAMES", "companion", "find_image", "open_fits"]

IMAGE_NAMES = ("IMAGE", "SCI")
MASK_NAMES = ("MASK", "DQ")

# What a noise plane of this name holds; the order says which one counts if there are several.
NOISE_NAMES = {
    "VARIANCE": "variance",
    "VAR": "variance",
    "ERR": "sigma",
    "ERROR": "sigma",
    "SIGMA": "sigma",
    "RMS": "sigma",
    "IVAR": "ivar",
    "WHT": "weight",
    "WEIGHT": "weight",
}

# Images that are never taken for what is looked for unless they are asked for by name.
_OTHER_NAMES = (
    "PSF",
    "PSI",
    "SIGNIF",
    "CON",
    "CTX",
    "VAR_POISSON",
    "VAR_RNOISE",
    "VAR_FLAT",
    "SAMP",
    "TIME",
    "UNCERT",
    "IMAGE_CONV",
    "RMS_IMAGE_SCALED",
)

# HOTPANTS names its layers in OBJECT, whatever EXTNAME they have from its input; a fork of it
# differently.
_ALIASES = {
    "HOTPANTS NOISE IMAGE": "SIGMA",
    "HOTPANTS OUTPUT MASK IMAGE": "MASK",
    "CONVOLVED IMAGE": "IMAGE_CONV",
    "NOISE-SCALED (SIGMA) DIFFERENCE IMAGE": "RMS_IMAGE_SCALED",
    "RMS_IMAGE": "SIGMA",
    "MASK_IMAGE": "MASK",
}


def find_image(
    hdus: Hdus,
    extension: Extension | None,
    names: Collection[str],
    *,
    file: object,
    like: Hdu = None,
    single: bool = False,
) -> Hdu:
    """Return the image HDU that is meant.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        All HDUs of the file.
    extension : str, int, tuple of str and int, or None
        What the user wrote in brackets; it wins.
    names : collection of str
        Names that the HDU may have, upper case, the best first. Else it is the first image that is
        known to be nothing else.
    file : object
        The file, for messages.
    like : HDU, optional
        The image to which the plane that is looked for belongs: one of the same EXTNAME or EXTVER
        is preferred, and of several others none is guessed.
    single : bool
        Of several images none is guessed.

    Returns
    -------
    HDU
        It has two axes, apart from axes of length 1.

    Raises
    ------
    InputError
        If there is no such image, or if it has not got two axes.
    """
    if extension is not None:
        return _two_axes(find_extension(hdus, extension, file), file)
    found = _named(hdus, names, like)
    if found is None and like is not None and hdu_name(like):
        found = _named(hdus, (hdu_name(like),), like)  # the same one of many CCDs
    if found is None:
        others = {*MASK_NAMES, *NOISE_NAMES, *_OTHER_NAMES} - set(names)
        images = [hdu for hdu in hdus if image_shape(hdu) and hdu_name(hdu) not in others]
        flat = [hdu for hdu in images if len(image_shape(hdu)) == 2] or images
        if not flat or ((like is not None or single) and len(flat) > 1):
            there = ", ".join(
                f"{n} {hdu_name(hdu) or hdu.name}".strip() for n, hdu in enumerate(hdus)
            )
            what = "several images" if flat else "no image"
            msg = f"{file}: there is {what} in it (HDUs: {there}); name one as file.fits[EXT]"
            raise InputError(msg)
        found = flat[0]
    return _two_axes(found, file)


def companion(hdus: Hdus, image: Hdu, names: Collection[str]) -> Hdu:
    """Return the plane that belongs to an image in the same file, None if there is none.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        All HDUs of the file.
    image : HDU
        The image.
    names : collection of str
        Names that the plane may have, upper case, the best first.

    Returns
    -------
    HDU or None
        The first of these names with the EXTVER of the image.
    """
    for name in names:
        for hdu in hdus:
            if hdu is not image and hdu_name(hdu) == name and hdu.ver == image.ver:
                return hdu if image_shape(hdu) else None
    return None


def hdu_name(hdu: Hdu) -> str:
    """Return the name of an HDU in upper case: HOTPANTS's OBJECT, EXTNAME, or EXTTYPE of afw."""
    layer = _ALIASES.get(str(hdu.header.get("OBJECT")).strip().upper())
    if layer is not None:
        return layer
    name = str(hdu.header.get("EXTNAME") or hdu.header.get("EXTTYPE") or "").strip().upper()
    return _ALIASES.get(name, name)


def _named(hdus: Hdus, names: Collection[str], like: Hdu) -> Hdu:
    for name in names:
        found = [hdu for hdu in hdus if hdu_name(hdu) == name and image_shape(hdu)]
        same = [hdu for hdu in found if like is not None and hdu.ver == like.ver]
        if found:
            return (same or found)[0]
    return None


def _two_axes(hdu: Hdu, file: object) -> Hdu:
    shape = image_shape(hdu)
    if len(shape) == 2 and 0 not in shape:
        return hdu
    what = f"{file}: HDU {hdu.name or '0'}"
    if not shape:
        msg = f"{what} is no image; name an image as file.fits[EXT]"
    else:
        msg = f"{what} has shape {shape}; an image needs two axes, neither of them empty"
    raise InputError(msg)
