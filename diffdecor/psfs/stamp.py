"""PSFs as stamps: a plain image, or a cube of stamps with a table of their positions.

The cube is the HDU ``PSF`` of diffdecor's own output; its table ``PSFPOS`` has one row for every
plane with the 1-based FITS pixels X and Y. In both the point source is centred on the 1-based pixel
CTRX, CTRY of a stamp; without these cards on 0-based pixel ``n // 2`` of either axis.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from diffdecor.errors import InputError
from diffdecor.fitsfile import Hdu, Hdus, image_shape, read_pixels
from diffdecor.psfs.model import StampPsf
from diffdecor.psfs.registry import register

logger = logging.getLogger(__name__)

PSF_HDU = "PSF"
POSITIONS_HDU = "PSFPOS"
LARGEST_SIDE = 1001
_SAMPLING = ("OVERSAMP", "PSF_SAMP")
_OF_EXPOSURES = {"IMAGE", "SCI", "MASK", "DQ", "VARIANCE", "ERR", "WHT"}


@register("psf-hdu", description="an image HDU named PSF, with a table PSFPOS if it is a cube")
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


@register("psf-stamp", description="a plain image of the PSF", fallback=True)
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
        exposure = sorted(_OF_EXPOSURES & {hdu.name.upper() for hdu in hdus})
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
    for keyword in _SAMPLING:
        if hdu.header.get(keyword, 1) != 1:
            msg = (
                f"{name}: {keyword} = {hdu.header[keyword]} says that it is not sampled in image "
                "pixels; give the PSF in pixels of the image"
            )
            raise InputError(msg)
    positions = _positions(hdus, name) if len(shape) == 3 else None
    return StampPsf(
        read_pixels(hdu, name), positions=positions, origin=_origin(hdu, name), name=name
    )


def _origin(hdu: Hdu, name: str) -> tuple[int, int]:
    *_, ny, nx = image_shape(hdu)
    given = tuple(hdu.header.get(keyword) for keyword in ("CTRX", "CTRY"))
    if given == (None, None):
        if 0 in {nx % 2, ny % 2}:
            logger.warning(
                "%s: %d x %d pixels, an even size, have no central one: taken to be centred on the "
                "1-based pixel (%d, %d); cards CTRX, CTRY would say it", name, nx, ny,
                nx // 2 + 1, ny // 2 + 1,
            )  # fmt: skip
        return nx // 2, ny // 2
    pixels = [pixel for pixel in given if isinstance(pixel, int | float) and pixel >= 1]
    pixels = [pixel for pixel in pixels if pixel == int(pixel)]
    if len(pixels) != 2:
        msg = f"{name}: CTRX, CTRY = {given} is no pixel; give both as 1-based whole numbers"
        raise InputError(msg)
    return int(pixels[0]) - 1, int(pixels[1]) - 1


def _positions(hdus: Hdus, name: str) -> NDArray[np.float64] | None:
    """Return the 0-based positions ``(n, 2)`` of the planes of a cube, if there is a table."""
    table = next((hdu for hdu in hdus if hdu.name.upper() == POSITIONS_HDU), None)
    if table is None:
        return None
    columns = [column.upper() for column in table.columns.names]
    if not {"X", "Y"} <= set(columns):
        msg = f"{name}: the table {POSITIONS_HDU} has the columns {columns}; X and Y are needed"
        raise InputError(msg)
    positions = np.column_stack([table.data["X"], table.data["Y"]]).astype(np.float64) - 1.0
    if not np.isfinite(positions).all():
        msg = f"{name}: a position in the table {POSITIONS_HDU} is NaN or infinite"
        raise InputError(msg)
    return positions
