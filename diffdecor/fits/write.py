"""The result out: one FITS file, complete or not there, that `read_exposure` reads back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.core.planes import Plane
from diffdecor.fits.atomic import atomic_output
from diffdecor.fits.headers import carry_over, squared_unit, wcs_cards, without_wcs
from diffdecor.fits.masks import plane_cards
from diffdecor.fits.variance import narrowed
from diffdecor.fitsfile import Hdu, Header, tolerant
from diffdecor.images import Exposure
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


def write_result(  # noqa: PLR0913  all but two are optional and named
    path: str | Path,
    exposure: Exposure,
    *,
    cards: Header = None,
    psi: Stamps | None = None,
    extra: Sequence[Hdu] = (),
    dtype: str = "float32",
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
) -> None:
    """Write an exposure and what it was made with.

    Parameters
    ----------
    path : str or Path
        The output.
    exposure : Exposure
        Image, variance, mask and PSF. Of its header, what still holds is kept.
    cards : Header, optional
        Cards for the primary header; they replace those of the same keyword.
    psi : Stamps, optional
        The decorrelation kernel, or kernels.
    extra : sequence of HDU
        Further HDUs for the end of the file.
    dtype : {"float32", "float64"}
        Type of image, variance and decorrelation kernels. A variance that does not fit single
        precision is written in double precision.
    overwrite : bool
        Replace a file that is there already.
    inputs : iterable of str or Path
        Files that must never be replaced.

    Raises
    ------
    OutputExistsError
        If the output is there already, or is one of the inputs.
    BusyError
        If another process is writing it now.
    OutputError
        If it cannot be written.
    """
    with atomic_output(path, overwrite=overwrite, inputs=inputs) as file, tolerant(path):
        header = fits.Header() if exposure.header is None else exposure.header
        hdus = [_primary(header, cards), *_planes(exposure, header, dtype)]
        if exposure.psf is not None:
            psf = psf_stamps(exposure.psf, exposure.shape)
            hdus += stamp_hdus("PSF", psf, "point-spread function of IMAGE")
        if psi is not None:
            hdus += stamp_hdus("PSI", psi, "decorrelation kernel: IMAGE is PSI * input", dtype)
        _write(file, [*hdus, *extra])


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
    image = fits.ImageHDU(_on_disk(stamps.stamps if several else stamps.stamps[0], dtype))
    image.header["EXTNAME"] = (name, what)
    image.header["CTRX"] = (int(stamps.origin[0]) + 1, "[pixel] 1-based column of the origin")
    image.header["CTRY"] = (int(stamps.origin[1]) + 1, "[pixel] 1-based row of the origin")
    if not several:
        return [image]
    columns = [
        fits.Column(axis, "D", unit="pixel", array=stamps.positions[:, n] + 1.0)
        for n, axis in enumerate("XY")
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["EXTNAME"] = (f"{name}POS", f"1-based FITS pixel of every plane of {name}")
    return [image, table]


def _primary(header: Header, cards: Header) -> Hdu:
    """Return the primary HDU: no data, what is known of the observation, provenance."""
    hdu = fits.PrimaryHDU()
    kept = without_wcs(carry_over(header, drop=("BUNIT", "DATE")))
    hdu.header.extend(kept, unique=True)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    hdu.header["DATE"] = (now, "[UTC] when this file was written")
    if cards is not None:
        hdu.header.extend(cards, update=True)
    return hdu


def _planes(exposure: Exposure, header: Header, dtype: str) -> list[Hdu]:
    """Return the HDUs of image, mask and variance, each with the WCS."""
    wcs = wcs_cards(header)
    unit = str(header.get("BUNIT", "")).strip()
    hdus = [_plane("IMAGE", _pixels(exposure.image), wcs, dtype, unit)]
    if exposure.mask is not None:
        mask = _plane("MASK", _pixels(exposure.mask), wcs, "int32")
        mask.header.extend(plane_cards(exposure.mask_planes))
        hdus.append(mask)
    if exposure.variance is not None:
        variance = narrowed(_pixels(exposure.variance), dtype)
        hdus.append(_plane("VARIANCE", variance, wcs, variance.dtype.name, squared_unit(unit)))
    return hdus


def _plane(
    name: str, pixels: NDArray[Any], wcs: Header, dtype: str, unit: str | None = None
) -> Hdu:
    hdu = fits.ImageHDU(_on_disk(pixels, dtype), header=wcs)
    hdu.header["EXTNAME"] = name
    hdu.header["INHERIT"] = (True, "the primary header holds for this image, too")
    if unit:
        hdu.header["BUNIT"] = (unit, f"unit of {name}")
    return hdu


def _pixels(plane: Plane) -> NDArray[Any]:
    return np.asarray(plane[0 : plane.shape[0]])


def _on_disk(pixels: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return pixels in the byte order of FITS, so that astropy need not copy them once more."""
    with np.errstate(over="ignore"):  # what is beyond float32 is as good as infinite
        return np.ascontiguousarray(pixels, np.dtype(dtype).newbyteorder(">"))


class _Stream:
    """The file as astropy is to see it: numpy's own writing would lose the reason of an error."""

    def __init__(self, file: BinaryIO) -> None:
        self.name = file.name
        self.write = file.write
        self.flush = file.flush
        self.tell = file.tell


def _write(file: BinaryIO, hdus: Sequence[Hdu]) -> None:
    for hdu in hdus:
        if any(len(str(card)) > 80 for card in hdu.header.cards):
            hdu.header["LONGSTRN"] = ("OGIP 1.0", "long texts are continued over several cards")
    fits.HDUList(hdus).writeto(_Stream(file), checksum=True, output_verify="silentfix+ignore")
