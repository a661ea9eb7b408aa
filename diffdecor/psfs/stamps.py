"""Small images out: the HDUs of PSFs and of decorrelation kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.fits.open import Hdu
from diffdecor.psfs.model import PointSpreadFunction, StampPsf


@dataclass(frozen=True, eq=False, kw_only=True)
class Stamps:
    """Small images that belong to positions of a large one: PSFs, or decorrelation kernels.

    Parameters
    ----------
    stamps : array (n, ny, nx)
        The stamps.
    positions : array (n, 2)
        0-based ``(x, y)`` of every stamp. Not written if there is but one.
    origin : tuple of int
        0-based ``(cx, cy)`` of the origin in every stamp.
    """

    stamps: NDArray[np.float64]
    positions: NDArray[np.float64]
    origin: tuple[int, int]


def psf_stamps(psf: PointSpreadFunction, shape: tuple[int, int]) -> Stamps:
    """Return the stamps that a PSF is known by; of any but a `StampPsf`, that of the centre.

    Parameters
    ----------
    psf : PointSpreadFunction
        The PSF.
    shape : tuple of int
        ``(ny, nx)`` of the image.

    Returns
    -------
    Stamps
        In double precision.
    """
    if isinstance(psf, StampPsf):
        stamps, positions = np.asarray(psf.stamps), np.asarray(psf.positions)
    else:
        centre = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
        stamps, positions = psf.stamp(*centre)[np.newaxis], np.array([centre])
    return Stamps(stamps=stamps, positions=positions, origin=psf.origin)


def stamp_hdus(name: str, stamps: Stamps, what: str, dtype: str = "float64") -> list[Hdu]:
    """Return the HDUs of stamps: an image, or a cube and the table of its positions.

    Parameters
    ----------
    name : str
        EXTNAME of the image; the table's has ``POS`` after it.
    stamps : Stamps
        The stamps.
    what : str
        Comment that says what they are.
    dtype : {"float32", "float64"}
        Type of the pixels.

    Returns
    -------
    list of HDU
        One, or two.
    """
    several = len(stamps.stamps) > 1
    pixels = stamps.stamps if several else stamps.stamps[0]
    with np.errstate(over="ignore"):  # what is beyond float32 is as good as infinite
        image = fits.ImageHDU(pixels.astype(dtype))
    image.header["EXTNAME"] = (name, what)
    image.header["CTRX"] = (int(stamps.origin[0]) + 1, "[pixel] 1-based column of the origin")
    image.header["CTRY"] = (int(stamps.origin[1]) + 1, "[pixel] 1-based row of the origin")
    if not several:
        return [image]
    columns = [
        fits.Column(axis, "D", unit="pixel", array=stamps.positions[:, n] + 1.0)
        for n, axis in enumerate("XY")
    ]
    # Unlike from_columns() this does not import astropy.table, which takes 0.1 s (November 2026).
    table = fits.BinTableHDU()
    table.data = fits.FITS_rec.from_columns(fits.ColDefs(columns))
    table.header["EXTNAME"] = (f"{name}POS", f"1-based FITS pixel of every plane of {name}")
    return [image, table]
