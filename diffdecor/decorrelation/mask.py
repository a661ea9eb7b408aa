"""Which pixels of the difference are unusable, and the mask of the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fill import energy_kernels, incomplete_border, near_filled
from diffdecor.core.interpolate import KernelField
from diffdecor.core.planes import LazyPlane, Plane, Window, chunks
from diffdecor.decorrelation.subtraction import ROLES, Subtraction
from diffdecor.images.model import Exposure, MaskPlanes, union_of_masks
from diffdecor.kernels.model import Box

NEAR_FILLED, EDGE, NO_DATA, NOISE_FALLBACK = "NEAR_FILLED", "EDGE", "NO_DATA", "NOISE_FALLBACK"
#: Where the filter has had to do with other pixels than the sky's.
OF_OTHER_PIXELS = (NEAR_FILLED, EDGE, NO_DATA)


def unusable_pixels(subtraction: Subtraction) -> LazyPlane:
    """Return True for pixels of the difference without usable data, filled before filtering.

    These are its non-finite pixels and, unless ``fill`` is ``mean``, pixels in one of the planes to
    fill (of the masks that `inherited_mask` is made of), pixels without a finite variance in either
    image, and pixels without a matching kernel. Where an image of a stack has no data, the others
    remain usable.
    """
    config, image = subtraction.config, subtraction.difference.image
    if config.fill == "mean":
        return LazyPlane(subtraction.shape, lambda rows: ~np.isfinite(image[rows]))
    single = [members[0] for members in map(subtraction.members, ROLES) if len(members) == 1]
    masks = [
        (exposure.mask, exposure.mask_planes.value(config.fill_planes))
        for exposure in _with_masks(subtraction)
    ]
    return _missing(subtraction, [member.exposure for member in single], masks)


def _missing(
    subtraction: Subtraction,
    exposures: Sequence[Exposure],
    masks: Sequence[tuple[Plane | None, int]] = (),
) -> LazyPlane:
    """Return True where the difference, a variance or the kernel is missing, or a mask has bits."""
    variances = [one.variance for one in exposures if one.variance is not None]
    planes, boxes = [subtraction.difference.image, *variances], subtraction.kernel.boxes
    nx = subtraction.shape[1]

    def read(rows: slice) -> NDArray[np.bool_]:
        pixels = [plane[rows] for plane in planes]
        flags = [(mask[rows], bits) for mask, bits in masks]  # type: ignore[index]
        first, *others = pixels
        good = np.empty(first.shape, dtype=bool)
        for chunk in chunks(slice(0, len(good)), nx):
            here = np.isfinite(first[chunk], out=good[chunk])
            for plane in others:
                here &= np.isfinite(plane[chunk])
            for mask, bits in flags:
                here &= (mask[chunk] & bits) == 0
        bad = np.logical_not(good, out=good)
        if boxes:
            bad |= ~_covered(boxes, rows, nx)
        _add_empty(bad, subtraction, first, rows)
        return bad

    return LazyPlane(subtraction.shape, read)


def _add_empty(
    bad: NDArray[np.bool_], subtraction: Subtraction, difference: NDArray[np.floating], rows: slice
) -> None:
    """Flag pixels of exactly 0 in the difference where science image or template have no data.

    The images are read only where the difference has such pixels that nothing else flags.
    """
    if subtraction.is_alone:
        return
    zero = (difference == 0) & ~bad
    if zero.any():
        zero &= ~_says_no_data(subtraction.difference, rows)
    if not zero.any():
        return
    for exposure in subtraction.images:
        empty = ~np.isfinite(exposure.image[rows]) | _says_no_data(exposure, rows)
        bad |= zero & empty


def _says_no_data(exposure: Exposure, rows: slice) -> NDArray[np.bool_]:
    """Return the pixels that a mask flags as NO_DATA."""
    bits = exposure.mask_planes.value([NO_DATA])
    if exposure.mask is None or not bits:
        return np.zeros((rows.stop - rows.start, exposure.shape[1]), dtype=bool)
    return np.asarray((exposure.mask[rows] & bits) != 0)


def _covered(boxes: Sequence[Box], rows: slice, nx: int) -> NDArray[np.bool_]:
    """Return the pixels of some rows that have a kernel."""
    covered = np.zeros((rows.stop - rows.start, nx), dtype=bool)
    for box in boxes:
        start, stop = max(0, box.ymin - rows.start), max(0, box.ymax + 1 - rows.start)
        covered[start:stop, max(0, box.xmin) : box.xmax + 1] = True
    return covered


def make_mask(
    subtraction: Subtraction,
    unusable: Plane,
    psi: KernelField,
    fallback: Sequence[Window],
    left_out: Plane | None = None,
) -> tuple[LazyPlane, MaskPlanes]:
    """Return the mask of the result and its planes: what it was, and what the filter has done.

    `unusable` pixels were filled; in the windows `fallback` a noise level is a substitute; those
    `left_out` have no result.
    """
    before, planes = inherited_mask(subtraction)
    planes = planes.adding(EDGE, NO_DATA, NEAR_FILLED, NOISE_FALLBACK)
    energy, flag_share = energy_kernels(psi), subtraction.config.flag_share
    near = near_filled(unusable, energy, flag_share)
    missing = _missing(subtraction, subtraction.images)
    ny, nx = subtraction.shape
    left, right, bottom, top = incomplete_border(psi, flag_share)
    sides = (0, left, 0, ny), (nx - right, nx, 0, ny), (0, nx, 0, bottom), (0, nx, ny - top, ny)
    windows = [(Window(*side), planes.value([EDGE])) for side in sides]
    windows += [(window, planes.value([NOISE_FALLBACK])) for window in fallback]

    def read(rows: slice) -> NDArray[np.integer[Any]]:
        mask = np.array(before[rows], dtype=planes.dtype)
        _flag(mask, near[rows], planes.value([NEAR_FILLED]))
        _flag(mask, missing[rows], planes.value([NO_DATA]))
        if left_out is not None:
            _flag(mask, left_out[rows], planes.value([NO_DATA]))
        for window, value in windows:
            y0, y1 = (max(0, y - rows.start) for y in (window.y0, window.y1))
            mask[y0:y1, max(0, window.x0) : window.x1] |= value
        return mask

    return LazyPlane(subtraction.shape, read), planes


def _flag(mask: NDArray[np.integer[Any]], where: NDArray[np.bool_], value: int) -> None:
    """Set bits of some pixels of a mask."""
    if where.any():
        np.bitwise_or(mask, value, out=mask, where=where)


def _with_masks(subtraction: Subtraction) -> list[Exposure]:
    """Return the exposures whose masks count: the difference alone, if its mask flags defects.

    A mask of NO_DATA only does not count: it says nothing of other defects.
    """
    difference = subtraction.difference
    own = difference.mask is not None and set(difference.mask_planes.bits) != {NO_DATA}
    chosen = (difference,) if own else subtraction.exposures
    return [exposure for exposure in chosen if exposure.mask is not None]


def inherited_mask(subtraction: Subtraction) -> tuple[Plane, MaskPlanes]:
    """Return the difference's mask; where it has none of its own, the union of all three."""
    masked = _with_masks(subtraction)
    if len(masked) == 1:
        (only,) = masked
        return only.mask, only.mask_planes  # type: ignore[return-value]
    masks = [(one.mask, one.mask_planes) for one in masked if one.mask is not None]
    return union_of_masks(masks, subtraction.shape)
