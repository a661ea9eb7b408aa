"""Pixels in a scale that is not linear: the asinh magnitudes of Pan-STARRS1."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.planes import LazyPlane
from diffdecor.errors import InputError
from diffdecor.fits.open import Header

logger = logging.getLogger(__name__)

CARDS = ("BOFFSET", "BSOFTEN")
_A = 2.5 / np.log(10)
# 1e12 softenings: no pixel has ever been so bright, so what is beyond is no asinh magnitude.
_BEYOND = 30.0


def linear(
    pixels: LazyPlane, header: Header, file: object, *, asinh: bool, role: str = "science"
) -> LazyPlane:
    """Return pixels in a linear scale: ``BOFFSET + 2 BSOFTEN sinh(v / 1.0857)`` of those of PS1.

    Parameters
    ----------
    pixels : plane (ny, nx)
        Pixels ``BZERO + BSCALE * stored``.
    header : Header
        Theirs.
    file : object
        Their file, for messages.
    asinh : bool
        The layout is one whose pixels are scaled so. Others are left alone, with a warning if the
        cards are there.
    role : str
        Whose options the messages name.

    Returns
    -------
    plane (ny, nx)
        Of the same type.

    Raises
    ------
    InputError
        If a card is missing or is no number; later, if rows turn out to be linear already.
    """
    there = [card for card in CARDS if card in header]
    if not there:
        if asinh:
            logger.warning("%s: no cards BOFFSET, BSOFTEN; its pixels are taken as linear", file)
        return pixels
    if not asinh:
        logger.warning(
            "%s: has the cards %s of asinh-scaled pixels, but its pixels are taken as linear",
            file,
            ", ".join(there),
        )
        return pixels
    values = [header.get(card) for card in CARDS]
    if not all(isinstance(v, int | float) and np.isfinite(v) for v in values) or values[1] <= 0:
        msg = (
            f"{file}: asinh-scaled pixels need the cards BOFFSET and BSOFTEN, which are "
            f"{values[0]} and {values[1]}; fetch the file again, or give one of linear pixels"
        )
        raise InputError(msg)
    offset, softening = values
    logger.info("%s: asinh-scaled pixels made linear (%s)", file, ", ".join(CARDS))

    def rows_of(rows: slice) -> NDArray[Any]:
        scaled = pixels[rows]
        _check_asinh(scaled, file, role)
        flux = offset + 2 * softening * np.sinh(scaled.astype(np.float64) / _A)
        return np.asarray(flux, dtype=scaled.dtype)

    return LazyPlane(pixels.shape, rows_of)


def _check_asinh(pixels: NDArray[Any], file: object, role: str) -> None:
    """Refuse pixels that are linear already."""
    largest = np.max(np.abs(pixels), where=np.isfinite(pixels), initial=0.0)
    if largest > _BEYOND:
        msg = (
            f"{file}: the cards BOFFSET, BSOFTEN say that the pixels are asinh-scaled, but one is "
            f"{largest:g}, so they are linear already; remove the cards, or give "
            f"--{role}-layout plain"
        )
        raise InputError(msg)
