"""Pixels without data: what subtraction tools fill with one value, and borders of exact zeros."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffdecor.fitsfile import Header
from diffdecor.images import MaskPlanes

logger = logging.getLogger(__name__)


def filled_pixels(image: NDArray[Any], header: Header, file: object) -> NDArray[np.bool_] | None:
    """Return the pixels that a subtraction tool filled with the value of its card MASKVAL.

    Parameters
    ----------
    image : array (ny, nx)
        Pixels.
    header : Header
        Of the image.
    file : object
        The file, for the log.

    Returns
    -------
    array (ny, nx) of bool, or None
        None if there are none.
    """
    fill = header.get("MASKVAL")
    if isinstance(fill, bool) or not isinstance(fill, int | float):
        return None
    with np.errstate(over="ignore"):
        filled = np.asarray(image, dtype=np.float32) == np.float32(fill)
    if not filled.any():
        return None
    logger.info("%s: %d pixels of fill value %g are NO_DATA", file, filled.sum(), fill)
    return np.asarray(filled)


def zero_border(image: NDArray[Any], file: object) -> NDArray[np.bool_] | None:
    """Return the border of an image that is exactly 0: what warping and ZOGY leave without data.

    There is one if a whole outermost row or column is 0. It is then all pixels of 0 that are
    connected with such a row or column. An image of nothing but zeros has none.

    Parameters
    ----------
    image : array (ny, nx)
        Pixels.
    file : object
        The file, for the log.

    Returns
    -------
    array (ny, nx) of bool, or None
        None if there is none.
    """
    frame = (np.s_[0, :], np.s_[-1, :], np.s_[:, 0], np.s_[:, -1])
    whole = [edge for edge in frame if not image[edge].any()]
    if not whole:
        return None
    zero = image == 0
    if zero.all():
        return None
    labels, _ = ndimage.label(zero)
    border = np.isin(labels, [labels[edge][0] for edge in whole])
    logger.info(
        "%s: a border of %d pixels of exactly 0 is NO_DATA (--no-zero-borders: it is data)",
        file,
        border.sum(),
    )
    return np.asarray(border)


def united(*parts: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Return where any of several planes is True, None if there are none."""
    there = [part for part in parts if part is not None]
    return np.logical_or.reduce(there) if there else None


def flag_no_data(
    missing: NDArray[np.bool_], mask: NDArray[np.int32] | None, planes: MaskPlanes
) -> tuple[NDArray[np.int32], MaskPlanes]:
    """Return a mask with the plane NO_DATA set where data are missing.

    Parameters
    ----------
    missing : array (ny, nx) of bool
        Where.
    mask : array (ny, nx) of int32, optional
        The mask; it is not changed.
    planes : MaskPlanes
        Names of its bits.

    Returns
    -------
    mask : array (ny, nx) of int32
        A new one.
    planes : MaskPlanes
        With NO_DATA.
    """
    planes = planes.adding("NO_DATA")
    value = np.int32(planes.value(["NO_DATA"]))
    before = np.zeros(missing.shape, dtype=np.int32) if mask is None else mask
    return np.where(missing, before | value, before), planes
