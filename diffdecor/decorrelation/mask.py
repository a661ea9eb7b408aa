"""Which pixels of the difference are unusable, and the mask of the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fill import energy_kernels, incomplete_border, near_filled
from diffdecor.core.interpolate import KernelField
from diffdecor.core.planes import LazyPlane, Plane, Window, chunks
from diffdecor.decorrelation.subtraction import ROLES, Subtraction
from diffdecor.images.model import Exposure, MaskPlanes
from diffdecor.kernels.model import Box

NEAR_FILLED, EDGE, NO_DATA, NOISE_FALLBACK = "NEAR_FILLED", "EDGE", "NO_DATA", "NOISE_FALLBACK"


def unusable_pixels(subtraction: Subtraction) -> LazyPlane:
    """Return True for pixels of the difference without usable data, filled before filtering.

    These are its non-finite pixels and, unless ``fill`` is ``mean``, pixels in one of the planes to
    fill (of the masks that `inherited_mask` is made of), pixels without a finite variance in either
    image, and pixels for which there is no matching kernel. An image of a stack that has no data
    somewhere leaves the others.
    """
    image, config = subtraction.difference.image, subtraction.config
    shape, boxes = subtraction.shape, subtraction.kernel.boxes
    if config.fill == "mean":
        return LazyPlane(shape, lambda rows: ~np.isfinite(image[rows]))
    masks = [
        (exposure.mask, exposure.mask_planes.value(config.fill_planes))
        for exposure in _with_masks(subtraction)
    ]
    alone = [members[0] for members in map(subtraction.members, ROLES) if len(members) == 1]
    variances = [one.exposure.variance for one in alone if one.exposure.variance is not None]

    def read(rows: slice) -> NDArray[np.bool_]:
        pixels = [plane[rows] for plane in (image, *variances)]
        flags = [(mask[rows], bits) for mask, bits in masks]  # type: ignore[index]
        bad = np.zeros(pixels[0].shape, dtype=bool)
        for chunk in chunks(slice(0, len(bad)), shape[1]):
            for plane in pixels:
                bad[chunk] |= ~np.isfinite(plane[chunk])
            for mask, bits in flags:
                bad[chunk] |= (mask[chunk] & bits) != 0
        if boxes:
            bad |= ~_covered(boxes, rows, shape[1])
        return bad

    return LazyPlane(shape, read)


def _covered(boxes: Sequence[Box], rows: slice, nx: int) -> NDArray[np.bool_]:
    """Return the pixels of some rows for which there is a kernel."""
    covered = np.zeros((rows.stop - rows.start, nx), dtype=bool)
    for box in boxes:
        start, stop = max(0, box.ymin - rows.start), max(0, box.ymax + 1 - rows.start)
        covered[start:stop, max(0, box.xmin) : box.xmax + 1] = True
    return covered


def make_mask(
    subtraction: Subtraction, unusable: Plane, psi: KernelField, fallback: Sequence[Window]
) -> tuple[LazyPlane, MaskPlanes]:
    """Return the mask of the result and its planes: what it was, and what the filter has done.

    `unusable` pixels were filled; in the windows `fallback` a noise level is not that of the pixels
    themselves.
    """
    before, planes = inherited_mask(subtraction)
    planes = planes.adding(EDGE, NO_DATA, NEAR_FILLED, NOISE_FALLBACK)
    energy, flag_share = energy_kernels(psi), subtraction.config.flag_share
    near = near_filled(unusable, energy, flag_share)
    border = incomplete_border(energy, flag_share)
    missing = _without_data(subtraction)

    def read(rows: slice) -> NDArray[np.int32]:
        mask = np.array(before[rows], dtype=np.int32)
        _flag(mask, near[rows], planes.value([NEAR_FILLED]))
        for edge in _edges(border, rows, subtraction.shape):
            mask[edge] |= planes.value([EDGE])
        _flag(mask, missing[rows], planes.value([NO_DATA]))
        for window in fallback:
            mask[_inside(window, rows)] |= planes.value([NOISE_FALLBACK])
        return mask

    return LazyPlane(subtraction.shape, read), planes


def _flag(mask: NDArray[np.int32], where: NDArray[np.bool_], value: int) -> None:
    """Set bits of some pixels of a mask."""
    if where.any():
        np.bitwise_or(mask, value, out=mask, where=where)


def _edges(
    border: tuple[int, int, int, int], rows: slice, shape: tuple[int, int]
) -> list[tuple[slice, slice]]:
    """Return the parts of some rows that lie in the border; they overlap in the corners."""
    left, right, bottom, top = border
    first_top, first_right = (
        max(0, size - width) for size, width in zip(shape, (top, right), strict=True)
    )
    return [
        np.s_[:, :left],
        np.s_[:, first_right:],
        np.s_[: max(0, bottom - rows.start), :],
        np.s_[max(0, first_top - rows.start) :, :],
    ]


def _inside(window: Window, rows: slice) -> tuple[slice, slice]:
    """Return a window as it lies in an array of some rows of the image."""
    start, stop = (max(0, y - rows.start) for y in (window.y0, window.y1))
    return slice(start, stop), window.columns


def _without_data(subtraction: Subtraction) -> LazyPlane:
    """Return the pixels of unknown value, variance in either image, or matching kernel."""
    boxes, difference = subtraction.kernel.boxes, subtraction.difference

    def read(rows: slice) -> NDArray[np.bool_]:
        missing = ~np.isfinite(difference.image[rows])
        for exposure in (subtraction.science, subtraction.template):
            if exposure.variance is not None:
                missing |= ~np.isfinite(exposure.variance[rows])
        if boxes:
            missing |= ~_covered(boxes, rows, subtraction.shape[1])
        return np.asarray(missing)

    return LazyPlane(subtraction.shape, read)


def _with_masks(subtraction: Subtraction) -> list[Exposure]:
    """Return the exposures whose masks count: the difference alone, if its mask says what is bad.

    A mask that only says where the difference has no data does not: other defects are unknown then.
    """
    difference = subtraction.difference
    own = difference.mask is not None and set(difference.mask_planes.bits) != {NO_DATA}
    chosen = [difference] if own else subtraction.exposures
    return [exposure for exposure in chosen if exposure.mask is not None]


def inherited_mask(subtraction: Subtraction) -> tuple[Plane, MaskPlanes]:
    """Return the difference's mask; where it has none of its own, the union of all three."""
    masked = _with_masks(subtraction)
    if len(masked) == 1:
        (only,) = masked
        return only.mask, only.mask_planes  # type: ignore[return-value]
    planes = MaskPlanes()
    for exposure in masked:
        planes = planes.adding(*exposure.mask_planes.bits)

    def read(rows: slice) -> NDArray[np.int32]:
        mask = np.zeros((rows.stop - rows.start, subtraction.shape[1]), dtype=np.int32)
        for exposure in masked:
            pixels = exposure.mask[rows]  # type: ignore[index]
            for name, bit in exposure.mask_planes.bits.items():
                _flag(mask, (pixels & (1 << bit)) != 0, planes.value([name]))
        return mask

    return LazyPlane(subtraction.shape, read), planes
