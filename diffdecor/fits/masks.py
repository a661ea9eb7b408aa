"""Masks in: which bit means what, in every survey's layout.

* ``MP_<NAME>`` cards (LSST, HSC, diffdecor): the bit number of plane NAME.
* The output mask of HOTPANTS, which has no such cards: the table `HOTPANTS_BITS`.
* Anything else, such as the DQ of HST and JWST: every pixel that is not 0 is BAD.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.errors import InputError
from diffdecor.fitsfile import Hdu, Header, read_integers
from diffdecor.images import MaskPlanes

logger = logging.getLogger(__name__)

# Bits of the mask that HOTPANTS writes (its defaults.h), kept as they are. Only 0x8000 makes a
# pixel of the difference bad; 0x40 is usable, and the others say why, or come from an input mask
# with whatever they meant there. So the planes SAT and NO_DATA, which are bad by default, get bits
# of their own, set where the pixel is bad *and* HOTPANTS says saturated, or fill value.
HOTPANTS_BITS = {
    "HP_FILL": 0,
    "HP_SAT": 1,
    "HP_LOW": 2,
    "HP_NAN": 3,
    "HP_BAD_CONV": 4,
    "HP_INPUT_MASK": 5,
    "HP_CONV_OK": 6,
    "HP_BAD_INPUT": 7,
    "HP_T_BAD": 8,
    "HP_T_SKIP": 9,
    "HP_I_BAD": 10,
    "HP_I_SKIP": 11,
    "BAD": 15,
    "SAT": 16,
    "NO_DATA": 17,
}
_HOTPANTS_REFINED = (("HP_SAT", "SAT"), ("HP_FILL", "NO_DATA"))
_HOTPANTS_OBJECT = "HOTPANTS OUTPUT MASK IMAGE"


def read_mask(
    hdu: Hdu,
    file: object,
    *,
    image_header: Header = None,
) -> tuple[NDArray[np.int32], MaskPlanes]:
    """Read a mask and the names of its planes.

    Parameters
    ----------
    hdu : HDU
        The mask: integers, or floats that are whole numbers, of up to 31 bits.
    file : object
        Its file, for messages.
    image_header : Header, optional
        Header of the image, where the mask is in the same file: it may say who wrote it.

    Returns
    -------
    mask : array (ny, nx) of int32
        0 is good.
    planes : MaskPlanes
        Names of its bits.

    Raises
    ------
    InputError
        If it is no mask: other numbers, or more than 31 bits.
    """
    values = read_integers(hdu, file)
    if values.min() < 0 or values.max() >= 1 << 31:
        y, x = np.argwhere((values < 0) | (values >= 1 << 31))[0]
        msg = (
            f"{file}: the mask is {values[y, x]} at FITS pixel ({x + 1}, {y + 1}); only bits 0 to "
            "30 can be used: give a mask of non-negative 31-bit numbers"
        )
        raise InputError(msg)
    mask = values.astype(np.int32, copy=False)
    named = _named_planes(hdu.header, file)
    if named.bits:
        logger.info("%s: mask with the planes %s", file, ", ".join(sorted(named.bits)))
        return mask, named
    if _is_hotpants(hdu, image_header):
        logger.info("%s: mask of HOTPANTS; its bit 0x8000 is BAD", file)
        return _refined(mask), MaskPlanes(HOTPANTS_BITS)
    logger.info("%s: mask without plane names; every pixel that is not 0 is BAD", file)
    return (mask != 0).astype(np.int32), MaskPlanes({"BAD": 0})


def flag_fill_value(
    image: NDArray[Any],
    header: Header,
    mask: NDArray[np.int32] | None,
    planes: MaskPlanes,
    file: object,
) -> tuple[NDArray[np.int32] | None, MaskPlanes]:
    """Flag the pixels that a subtraction tool filled with the value of its card MASKVAL.

    Parameters
    ----------
    image : array (ny, nx)
        Pixels of the image.
    header : Header
        Of the image.
    mask : array (ny, nx) of int32, optional
        Its mask; a new one is made if there is none and it is needed.
    planes : MaskPlanes
        Names of the bits of `mask`.
    file : object
        The file, for the log.

    Returns
    -------
    mask : array (ny, nx) of int32, or None
        With the plane NO_DATA set on the filled pixels; a new array if any are.
    planes : MaskPlanes
        With NO_DATA, if any pixel was filled.
    """
    fill = header.get("MASKVAL")
    if isinstance(fill, bool) or not isinstance(fill, int | float):
        return mask, planes
    filled = np.asarray(image, dtype=np.float32) == np.float32(fill)
    if not filled.any():
        return mask, planes
    planes = planes.adding("NO_DATA")
    value = np.int32(planes.value(["NO_DATA"]))
    logger.info("%s: %d pixels of fill value %g are NO_DATA", file, filled.sum(), fill)
    before = np.zeros(image.shape, dtype=np.int32) if mask is None else mask
    return np.where(filled, before | value, before), planes


def plane_cards(planes: MaskPlanes) -> fits.Header:
    """Return ``MP_`` cards of mask planes, and a readable table of them in HISTORY.

    Parameters
    ----------
    planes : MaskPlanes
        Names and bits.

    Returns
    -------
    Header
        Ordered by bit.
    """
    header = fits.Header()
    ordered = sorted(planes.bits.items(), key=lambda item: (item[1], item[0]))
    for name, bit in ordered:
        keyword = f"MP_{name}"
        long = len(keyword) > 8
        header.append((f"HIERARCH {keyword}" if long else keyword, bit, "" if long else "mask bit"))
    if ordered:
        header.add_history("Mask planes: bit, value, name; a pixel of value 0 is good")
    for name, bit in ordered:
        header.add_history(f"{bit:4d} {1 << bit:11d}  {name}")
    return header


def _named_planes(header: Header, file: object) -> MaskPlanes:
    bits: dict[str, int] = {}
    for keyword, value in header.items():
        if not keyword.startswith("MP_"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 30:
            msg = f"{file}: {keyword} = {value!r} is no bit number; it must be 0 to 30"
            raise InputError(msg)
        bits[keyword.removeprefix("MP_")] = value
    return MaskPlanes(bits)


def _is_hotpants(hdu: Hdu, image_header: Header) -> bool:
    if str(hdu.header.get("OBJECT")).strip().upper() == _HOTPANTS_OBJECT:
        return True
    # The name of a fork. A mask that somebody else put beside the difference has another meaning.
    software = "" if image_header is None else str(image_header.get("SOFTNAME"))
    return bool(hdu.name == "MASK_IMAGE") and software.strip().upper() == "HOTPANTS"


def _refined(mask: NDArray[np.int32]) -> NDArray[np.int32]:
    planes = MaskPlanes(HOTPANTS_BITS)
    bad = (mask & planes.value(["BAD"])) != 0
    for reason, plane in _HOTPANTS_REFINED:
        set_here = bad & ((mask & planes.value([reason])) != 0)
        mask = np.where(set_here, mask | planes.value([plane]), mask)
    return mask.astype(np.int32)
