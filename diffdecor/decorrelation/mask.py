"""Which pixels hold no sky, and what the mask of the result says of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.core.fill import energy_kernels, incomplete_border, near_filled
from diffdecor.core.kernelfield import KernelField
from diffdecor.core.planes import LazyPlane, Plane, chunks
from diffdecor.decorrelation.filtering import Triple
from diffdecor.decorrelation.nodes import Window
from diffdecor.images.model import Exposure, MaskPlanes
from diffdecor.kernels.model import Box

NEAR_FILLED, EDGE, NO_DATA, NOISE_FALLBACK = "NEAR_FILLED", "EDGE", "NO_DATA", "NOISE_FALLBACK"


def unusable_pixels(triple: Triple, boxes: Sequence[Box], config: DecorrelationConfig) -> LazyPlane:
    """Return the pixels of the difference that hold no sky and are filled before filtering.

    These are its non-finite pixels and, unless ``fill`` is ``mean``, pixels in one of the planes to
    fill (of the masks that `inherited_mask` is made of), pixels without a finite
    variance in either image, and pixels for which there is no matching kernel.

    Parameters
    ----------
    triple : Triple
        The exposures.
    boxes : sequence of Box
        Where there is a matching kernel; empty: everywhere.
    config : DecorrelationConfig
        How to fill, and which planes.

    Returns
    -------
    LazyPlane
        Of booleans.
    """
    image = triple.difference.image
    if config.fill == "mean":
        return LazyPlane(triple.shape, lambda rows: ~np.isfinite(image[rows]))
    masks = [
        (exposure.mask, exposure.mask_planes.value(config.fill_planes))
        for exposure in _with_masks(triple)
    ]
    variances = [
        exposure.variance
        for exposure, stack in (
            (triple.science, triple.science_stack),
            (triple.template, triple.template_stack),
        )
        if exposure.variance is not None and not stack
    ]

    def read(rows: slice) -> NDArray[np.bool_]:
        pixels = [plane[rows] for plane in (image, *variances)]
        flags = [(mask[rows], bits) for mask, bits in masks]  # type: ignore[index]
        bad = np.zeros(pixels[0].shape, dtype=bool)
        for chunk in chunks(slice(0, len(bad)), triple.shape[1]):
            for plane in pixels:
                bad[chunk] |= ~np.isfinite(plane[chunk])
            for mask, bits in flags:
                bad[chunk] |= (mask[chunk] & bits) != 0
        if boxes:
            bad |= ~_covered(boxes, rows, triple.shape[1])
        return bad

    return LazyPlane(triple.shape, read)


def _covered(boxes: Sequence[Box], rows: slice, nx: int) -> NDArray[np.bool_]:
    """Return the pixels of some rows for which there is a kernel."""
    covered = np.zeros((rows.stop - rows.start, nx), dtype=bool)
    for box in boxes:
        start, stop = max(0, box.ymin - rows.start), max(0, box.ymax + 1 - rows.start)
        covered[start:stop, max(0, box.xmin) : box.xmax + 1] = True
    return covered


def result_mask(
    triple: Triple,
    boxes: Sequence[Box],
    bad: Plane,
    psi: KernelField,
    fallback: Sequence[Window],
    config: DecorrelationConfig,
) -> tuple[LazyPlane, MaskPlanes]:
    """Return the mask of the result: what it was, and what the filter has done.

    Parameters
    ----------
    triple : Triple
        The exposures.
    boxes : sequence of Box
        Where there is a matching kernel; empty: everywhere.
    bad : plane (ny, nx)
        Pixels that were filled.
    psi : KernelField
        Decorrelation kernels.
    fallback : sequence of Window
        Where a noise level is not that of the pixels themselves.
    config : DecorrelationConfig
        The share of filter energy that is tolerated.

    Returns
    -------
    LazyPlane
        The mask, with the planes NEAR_FILLED, EDGE, NO_DATA and NOISE_FALLBACK.
    MaskPlanes
        Its planes.
    """
    before, planes = inherited_mask(triple)
    planes = planes.adding(EDGE, NO_DATA, NEAR_FILLED, NOISE_FALLBACK)
    energy = energy_kernels(psi)
    near = near_filled(bad, energy, config.flag_share)
    border = incomplete_border(energy, config.flag_share)
    missing = _without_data(triple, boxes)

    def read(rows: slice) -> NDArray[np.int32]:
        mask = np.array(before[rows], dtype=np.int32)
        _flag(mask, near[rows], planes.value([NEAR_FILLED]))
        for edge in _edges(border, rows, triple.shape):
            mask[edge] |= planes.value([EDGE])
        _flag(mask, missing[rows], planes.value([NO_DATA]))
        for window in fallback:
            mask[_inside(window, rows)] |= planes.value([NOISE_FALLBACK])
        return mask

    return LazyPlane(triple.shape, read), planes


def _flag(mask: NDArray[np.int32], where: NDArray[np.bool_], value: int) -> None:
    """Set bits of some pixels of a mask."""
    if where.any():
        np.bitwise_or(mask, value, out=mask, where=where)


def _edges(
    border: tuple[int, int, int, int], rows: slice, shape: tuple[int, int]
) -> list[tuple[slice, slice]]:
    """Return the parts of some rows that lie in the border; they do not overlap."""
    left, right, bottom, top = border
    ny, nx = shape
    sides = [
        Window(0, nx, 0, min(bottom, ny)),
        Window(0, nx, max(bottom, ny - top), ny),
        Window(0, min(left, nx), bottom, ny - top),
        Window(max(left, nx - right), nx, bottom, ny - top),
    ]
    return [_inside(side, rows) for side in sides]


def _inside(window: Window, rows: slice) -> tuple[slice, slice]:
    """Return a window as it lies in an array of some rows of the image."""
    start, stop = (max(0, y - rows.start) for y in (window.y0, window.y1))
    return slice(start, stop), window.columns


def _without_data(triple: Triple, boxes: Sequence[Box]) -> LazyPlane:
    """Return the pixels of unknown value, variance in either image, or matching kernel."""

    def read(rows: slice) -> NDArray[np.bool_]:
        missing = ~np.isfinite(triple.difference.image[rows])
        for exposure in (triple.science, triple.template):
            if exposure.variance is not None:
                missing |= ~np.isfinite(exposure.variance[rows])
        if boxes:
            missing |= ~_covered(boxes, rows, triple.shape[1])
        return np.asarray(missing)

    return LazyPlane(triple.shape, read)


def _with_masks(triple: Triple) -> list[Exposure]:
    """Return the exposures whose masks count: the difference's own, if it says what is bad.

    A mask that only says where the difference has no data was not made by who masked the images.
    """
    planes = set(triple.difference.mask_planes.bits)
    own = triple.difference.mask is not None and planes != {NO_DATA}
    chosen = [triple.difference] if own else list(triple.exposures)
    return [exposure for exposure in chosen if exposure.mask is not None]


def inherited_mask(triple: Triple) -> tuple[Plane, MaskPlanes]:
    """Return the difference's mask; where it has none of its own, the union of all three.

    Parameters
    ----------
    triple : Triple
        The exposures.

    Returns
    -------
    plane (ny, nx)
        The mask.
    MaskPlanes
        Its planes.
    """
    masked = _with_masks(triple)
    if len(masked) == 1:
        (only,) = masked
        return only.mask, only.mask_planes  # type: ignore[return-value]
    planes = MaskPlanes()
    for exposure in masked:
        planes = planes.adding(*exposure.mask_planes.bits)

    def read(rows: slice) -> NDArray[np.int32]:
        mask = np.zeros((rows.stop - rows.start, triple.shape[1]), dtype=np.int32)
        for exposure in masked:
            pixels = exposure.mask[rows]  # type: ignore[index]
            for name, bit in exposure.mask_planes.bits.items():
                _flag(mask, (pixels & (1 << bit)) != 0, planes.value([name]))
        return mask

    return LazyPlane(triple.shape, read), planes
