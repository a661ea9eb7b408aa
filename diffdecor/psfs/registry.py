"""Recognise the format of a PSF file, and read it: `read_psf`.

A format is a reader registered under a name. Its module is imported when a file may be its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from diffdecor.errors import InputError
from diffdecor.fits.damage import damage_named
from diffdecor.fits.formats import Format, Identifies, Registry
from diffdecor.fits.open import Hdu, Hdus, OpenFiles, find_extension, open_fits, quiet_astropy
from diffdecor.fits.sums import check_sums
from diffdecor.psfs.model import PointSpreadFunction


class PsfReader(Identifies, Protocol):
    """What a format has to offer. A class with static methods will do."""

    def read(self, hdus: Hdus, selected: Hdu, name: str) -> PointSpreadFunction:
        """Read the PSF from all `hdus` of a file, or from the `selected` one if it is not None.

        The result must not need the file any more.
        """


_registry: Registry[PsfReader] = Registry(
    thing="PSF",
    modules={
        "diffdecor.psfs.stamp": (),
        "diffdecor.psfs.psfex": ("TFIELDS",),
        "diffdecor.psfs.lsst": ("EXTTYPE",),
        "diffdecor.psfs.lsst_images": ("DATAMODL", "JSONADDR"),
    },
)
_OF_PIFF = {"PSF_MODEL", "PSF_INTERP", "PSF_STARS"}
register = _registry.register


def described_formats() -> dict[str, Format[PsfReader]]:
    """Return what is registered of every format, by its name."""
    return _registry.formats()


def read_psf(path: str | Path, *, ignore_checksums: bool = False) -> PointSpreadFunction:
    """Read a point-spread function, whatever its format.

    Parameters
    ----------
    path : str or Path
        The PSF file, or an image that carries its PSF; ``file.fits[EXT]`` names an HDU.
    ignore_checksums : bool
        Use data that do not add up to the DATASUM of their header.

    Returns
    -------
    PointSpreadFunction
        0-based positions, stamps ``(ny, nx)`` of unit sum with an explicit origin; it does not
        need the file any more.

    Raises
    ------
    InputError
        If the file is missing, damaged or not FITS, does not add up to its DATASUM, or holds no
        PSF that can be used.
    """
    with OpenFiles(ignore_checksums=ignore_checksums) as files:
        return read_opened_psf(path, files)


def read_opened_psf(path: str | Path, files: OpenFiles | None = None) -> PointSpreadFunction:
    """Do what `read_psf` does, with files that are open already, or stay open."""
    with open_fits(path, files) as (hdus, extension):
        selected = None if extension is None else find_extension(hdus, extension, path)
        _refuse_piff(hdus, path)
        known = _registry.identify(list(hdus) if selected is None else [selected], path)
        psf = _read(known, hdus, selected, str(path))
        if files is not None:
            check_sums([path], files)
    return psf


def carried_psf(hdus: Hdus, name: str) -> PointSpreadFunction | None:
    """Read the point-spread function that an image carries, from its open file.

    None if no format claims the file: a plain image in it is the image, not a PSF.
    """
    known = _registry.claim(list(hdus), name)
    if known is None:
        return None
    return _read(known, hdus, None, name)


def _read(known: Format[PsfReader], hdus: Hdus, selected: Hdu, name: str) -> PointSpreadFunction:
    with (
        damage_named(name, f"damaged {known.name}"),
        quiet_astropy(name),
        np.errstate(all="ignore"),  # the PSF refuses what is not finite
    ):
        return known.reader.read(hdus, selected, name)


def _refuse_piff(hdus: Hdus, name: object) -> None:
    names = {hdu.name.upper() for hdu in hdus}
    if "PSF" in names and names & _OF_PIFF:
        msg = (
            f"{name}: a Piff file, which only Piff can read (there are pickles in it); draw the "
            "PSF with Piff and give an image of it, or a cube with a table PSFPOS of X and Y"
        )
        raise InputError(msg)
