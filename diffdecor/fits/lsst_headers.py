"""What the headers of the LSST stack say about a file."""

from __future__ import annotations

import numpy as np

from diffdecor.fits.open import Hdu, Hdus

INDEX = "ARCHIVE_INDEX"
_PSF_NUMBER = ("ARCHIVE_ID_PSF", "PSF_ID")


def hdu_kind(hdu: Hdu) -> str:
    """Return what an HDU of an archive is: ARCHIVE_INDEX, ARCHIVE_DATA, or something else."""
    return str(hdu.header.get("EXTTYPE", "")).strip().upper()


def has_archive(hdus: Hdus) -> bool:
    """Say whether there is an archive; looks at headers only."""
    return any(hdu_kind(hdu) == INDEX for hdu in hdus)


def is_exposure(hdus: Hdus) -> bool:
    """Say whether the archive holds what belongs to an image, not one object of its own."""
    return any("AR_HDU" in hdu.header for hdu in hdus)


def psf_number(hdus: Hdus) -> int:
    """Return the number of the PSF of an exposure in its archive, 0 if it has none."""
    for hdu in hdus:
        for keyword in _PSF_NUMBER:
            number = hdu.header.get(keyword)
            if isinstance(number, int) and number > 0:
                return int(number)
    return 0


def parent_origin(hdus: Hdus) -> tuple[float, float] | None:
    """Return the parent position (XY0) of the first pixel of an image, None if no card says it.

    Parameters
    ----------
    hdus : sequence of HDU
        HDUs of the image's file, the image first if there are several.

    Returns
    -------
    tuple of float or None
        0-based ``(x, y)``.
    """
    for hdu in hdus:
        cards = hdu.header
        if cards.get("CRPIX1A") == 1 and cards.get("CRPIX2A") == 1:
            sign, values = 1.0, (cards.get("CRVAL1A"), cards.get("CRVAL2A"))
        else:
            sign, values = -1.0, (cards.get("LTV1"), cards.get("LTV2"))
        if all(isinstance(value, int | float) and np.isfinite(value) for value in values):
            return sign * float(values[0]), sign * float(values[1])
    return None
