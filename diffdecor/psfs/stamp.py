"""PSFs as stamps, read and written: a plain image, or a cube of stamps with their positions.

The cube is the HDU ``PSF`` of diffdecor's own output; its table ``PSFPOS`` has one row for every
plane with the 1-based FITS pixels X and Y. Cubes of others have a table of any name with these
columns, or the cards DET_YX0, DET_YX1, ... In all of them the point source is centred on the
1-based pixel CTRX, CTRY of a stamp; without these cards on 0-based pixel ``n // 2``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.core.interpolate import Interpolation, Stamps
from diffdecor.core.magnitudes import are_possible
from diffdecor.core.planes import Window
from diffdecor.core.resample import rendered
from diffdecor.errors import InputError
from diffdecor.fits.formats import LARGEST_SIDE
from diffdecor.fits.open import Hdu, Hdus, image_shape, read_pixels
from diffdecor.psfs.model import PointSpreadFunction, StampPsf
from diffdecor.psfs.registry import register
from diffdecor.psfs.sampling import center_of, grid_positions, sampling_of

PSF_HDU = "PSF"
POSITIONS_HDU = "PSFPOS"
_OF_EXPOSURES = {"IMAGE", "SCI", "MASK", "DQ", "VARIANCE", "ERR", "WHT", "NOISECOV", "NOISEREAL"}
#: Columns of the first and last 1-based pixels that a stamp serves.
_EDGES = ("XMIN", "XMAX", "YMIN", "YMAX")
_LEAST_SUM = 0.02  # of the sum of absolute values: noise cancels, wings and rings never do so much


@register(
    "psf-hdu",
    description="an image HDU named PSF, with a table PSFPOS if it is a cube",
    notes="PSFPOS has the columns X, Y: the 1-based position of every plane. It is what diffdecor "
    "writes.",
)
class NamedStamps:
    """The HDU PSF of an exposure."""

    @staticmethod
    def identify(hdus: Hdus) -> bool:
        """Say whether there is an image named PSF."""
        return any(_is_named(hdu) for hdu in hdus)

    @staticmethod
    def read(hdus: Hdus, selected: Hdu, name: str) -> StampPsf:
        """Read the stamp, or the cube with its positions."""
        hdu = selected if selected is not None else next(filter(_is_named, hdus))
        return _stamps(hdu, hdus, f"{name}: PSF")


@register(
    "psf-stamp",
    description="a plain image of the PSF",
    fallback=True,
    notes="As ZTF's diffimgpsf.fits; an oversampled one has the card OVERSAMP or PSF_SAMP, and is "
    "rendered at the pixel scale of the image, its flux kept.",
)
class PlainStamp:
    """The first image of a file that is nothing but a PSF."""

    @staticmethod
    def identify(hdus: Hdus) -> bool:
        """Say whether there is an image at all."""
        return any(image_shape(hdu) for hdu in hdus)

    @staticmethod
    def read(hdus: Hdus, selected: Hdu, name: str) -> StampPsf:
        """Read the stamp."""
        if selected is not None:
            return _stamps(selected, hdus, f"{name}: PSF")
        names = {str(hdu.name or hdu.header.get("EXTTYPE", "")).strip().upper() for hdu in hdus}
        exposure = sorted(_OF_EXPOSURES & names)
        if exposure:
            msg = (
                f"{name}: holds an exposure (HDU {exposure[0]}) without an HDU PSF; "
                "give the file of the PSF"
            )
            raise InputError(msg)
        return _stamps(next(filter(image_shape, hdus)), hdus, f"{name}: PSF")


def _is_named(hdu: Hdu) -> bool:
    return bool(hdu.name.upper() == PSF_HDU and image_shape(hdu))


def _stamps(hdu: Hdu, hdus: Hdus, name: str) -> StampPsf:
    shape = image_shape(hdu)
    if len(shape) not in {2, 3} or 0 in shape:
        msg = f"{name}: expected a stamp or a cube of stamps, found an image of shape {shape}"
        raise InputError(msg)
    if max(shape[-2:]) > LARGEST_SIDE:
        msg = f"{name}: {shape[-1]} x {shape[-2]} pixels are an image, not a PSF; give its own file"
        raise InputError(msg)
    positions = _positions(hdu, hdus, name) if len(shape) == 3 else None
    sampling = sampling_of(hdu.header, shape, name)
    stamps = read_pixels(hdu, name).astype(np.float64)
    if np.isfinite(stamps).all() and not are_possible(stamps):
        msg = f"{name}: its pixels are absurdly large, as those of damaged files are; make it again"
        raise InputError(msg)
    _refuse_noise(stamps, name)
    center = center_of(hdu.header, stamps, sampling, name)
    cx, cy = int(center[0]), int(center[1])
    if sampling.step != 1.0 or (cx, cy) != center:
        stamps, (cx, cy) = rendered(stamps, center, *sampling)
    nearest = str(hdu.header.get("INTERP", "")).strip().upper() == "NEAREST"
    how: Interpolation = "NEAREST" if nearest else "LINEAR"
    return StampPsf(stamps, positions, origin=(cx, cy), name=name, interpolation=how)


def _refuse_noise(stamps: NDArray[np.float64], name: str) -> None:
    """Refuse an image of noise, as of a difference."""
    total = stamps.sum(axis=(-2, -1))
    whole = np.abs(stamps).sum(axis=(-2, -1))
    if ((total > 0.0) & (total < _LEAST_SUM * whole)).any():
        msg = f"{name}: its pixels cancel, as noise does: an image, not a PSF; give its own file"
        raise InputError(msg)


def _positions(hdu: Hdu, hdus: Hdus, name: str) -> NDArray[np.float64] | None:
    """Return the 0-based positions ``(n, 2)`` of the planes of a cube, if the file has them."""
    planes = image_shape(hdu)[0]
    tables = [other for other in hdus if isinstance(other, fits.BinTableHDU | fits.TableHDU)]
    table = next((one for one in tables if one.name.upper() == POSITIONS_HDU), None)
    if table is None:
        with_positions = [one for one in tables if {"X", "Y"} <= _columns(one)]
        table = next((one for one in with_positions if one.header["NAXIS2"] == planes), None)
    if table is None:
        return grid_positions(hdu.header, planes, name)
    if not {"X", "Y"} <= _columns(table):
        there = [column.upper() for column in table.columns.names]
        msg = f"{name}: the table {POSITIONS_HDU} has the columns {there}; X and Y are needed"
        raise InputError(msg)
    positions = np.column_stack([table.data["X"], table.data["Y"]]).astype(np.float64) - 1.0
    if not np.isfinite(positions).all():
        msg = f"{name}: a position in the table {table.name} is NaN or infinite"
        raise InputError(msg)
    return positions


def _columns(table: Hdu) -> set[str]:
    return {column.upper() for column in table.columns.names}


def psf_stamps(psf: PointSpreadFunction, shape: tuple[int, int]) -> Stamps:
    """Return the stamps of a PSF; of a function of position that of the centre of an image."""
    if isinstance(psf, Stamps):
        return psf
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    stamp = psf.stamp(x, y)[np.newaxis]
    return Stamps(stamps=stamp, positions=np.array([[x, y]]), origin=psf.origin)


def stamp_hdus(name: str, stamps: Stamps, what: str, windows: Sequence[Window] = ()) -> list[Hdu]:
    """Return the HDUs of stamps: an image, or a cube and the table of its positions.

    `name` is the EXTNAME of the image, `what` its comment. Stamps that are not interpolated may
    have `windows`, the pixels that each serves, which go into the table.
    """
    several = len(stamps.stamps) > 1
    pixels = stamps.stamps if several else stamps.stamps[0]
    image = fits.ImageHDU(pixels.astype(np.float32))
    image.header["EXTNAME"] = (name, what)
    image.header["CTRX"] = (int(stamps.origin[0]) + 1, "[pixel] 1-based column of the origin")
    image.header["CTRY"] = (int(stamps.origin[1]) + 1, "[pixel] 1-based row of the origin")
    if not several:
        return [image]
    image.header["INTERP"] = (stamps.interpolation, "LINEAR between positions, or NEAREST")
    columns = [
        fits.Column(axis, "D", unit="pixel", array=stamps.positions[:, n] + 1.0)
        for n, axis in enumerate("XY")
    ]
    if windows:
        edges = [(one.x0 + 1, one.x1, one.y0 + 1, one.y1) for one in windows]
        columns += [
            fits.Column(edge, "J", unit="pixel", array=numbers)
            for edge, numbers in zip(_EDGES, np.transpose(edges), strict=True)
        ]
    # Unlike from_columns() this does not import astropy.table, which takes 0.1 s (November 2026).
    table = fits.BinTableHDU()
    table.data = fits.FITS_rec.from_columns(fits.ColDefs(columns))
    table.header["EXTNAME"] = (f"{name}POS", f"1-based FITS pixel of every plane of {name}")
    return [image, table]
