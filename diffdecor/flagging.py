"""Which pixels hold no sky, and what the mask of the result says of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.core.convolve import KernelField
from diffdecor.core.grid import Window
from diffdecor.core.masks import energy_kernels, incomplete_border, near_filled
from diffdecor.core.planes import ComputedPlane, Plane
from diffdecor.filtering import Triple
from diffdecor.images import Exposure, MaskPlanes
from diffdecor.kernels.model import Box

NEAR_FILLED, EDGE, NO_DATA, NOISE_FALLBACK = "NEAR_FILLED", "EDGE", "NO_DATA", "NOISE_FALLBACK"


def holes(triple: Triple, boxes: Sequence[Box], config: DecorrelationConfig) -> ComputedPlane:
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
    ComputedPlane
        Of booleans.
    """
    masked = _with_masks(triple)

    def read(rows: slice) -> NDArray[np.bool_]:
        bad = ~np.isfinite(triple.difference.image[rows])
        if config.fill == "mean":
            return np.asarray(bad)
        for exposure in masked:
            if exposure.mask is not None:
                bits = exposure.mask_planes.value(config.fill_planes)
                bad |= (np.asarray(exposure.mask[rows]) & bits) != 0
        for exposure, stack in (
            (triple.science, triple.science_stack),
            (triple.template, triple.template_stack),
        ):
            if exposure.variance is not None and not stack:
                bad |= ~np.isfinite(exposure.variance[rows])
        if boxes:
            bad |= ~_covered(boxes, rows, triple.shape[1])
        return np.asarray(bad)

    return ComputedPlane(triple.shape, read)


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
) -> tuple[NDArray[np.int32], MaskPlanes]:
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
    array (ny, nx)
        The mask, with the planes NEAR_FILLED, EDGE, NO_DATA and NOISE_FALLBACK.
    MaskPlanes
        Its planes.
    """
    mask, planes = inherited_mask(triple)
    planes = planes.adding(EDGE, NO_DATA, NEAR_FILLED, NOISE_FALLBACK)
    energy = energy_kernels(psi)
    everything = slice(0, triple.shape[0])
    filled = np.asarray(bad[everything])
    mask[near_filled(filled, energy, config.flag_share)] |= planes.value([NEAR_FILLED])
    left, right, bottom, top = incomplete_border(energy, config.flag_share)
    border = np.ones(triple.shape, dtype=bool)
    border[bottom : triple.shape[0] - top, left : triple.shape[1] - right] = False
    mask[border] |= planes.value([EDGE])
    mask[_without_data(triple, boxes)] |= planes.value([NO_DATA])
    for window in fallback:
        mask[window.rows, window.columns] |= planes.value([NOISE_FALLBACK])
    return mask, planes


def _without_data(triple: Triple, boxes: Sequence[Box]) -> NDArray[np.bool_]:
    """Return the pixels of unknown value, variance in either image, or matching kernel."""
    everything = slice(0, triple.shape[0])
    missing = ~np.isfinite(triple.difference.image[everything])
    for exposure in (triple.science, triple.template):
        if exposure.variance is not None:
            missing |= ~np.isfinite(exposure.variance[everything])
    if boxes:
        missing |= ~_covered(boxes, everything, triple.shape[1])
    return np.asarray(missing)


def _with_masks(triple: Triple) -> list[Exposure]:
    """Return the exposures whose masks count: the difference's own, if it says what is bad.

    A mask that only says where the difference has no data was not made by who masked the images.
    """
    planes = set(triple.difference.mask_planes.bits)
    own = triple.difference.mask is not None and planes != {NO_DATA}
    chosen = [triple.difference] if own else list(triple.exposures)
    return [exposure for exposure in chosen if exposure.mask is not None]


def inherited_mask(triple: Triple) -> tuple[NDArray[np.int32], MaskPlanes]:
    """Return a copy of the difference's mask; where it has none of its own, the union of all three.

    Parameters
    ----------
    triple : Triple
        The exposures.

    Returns
    -------
    array (ny, nx)
        The mask.
    MaskPlanes
        Its planes.
    """
    everything = slice(0, triple.shape[0])
    masked = _with_masks(triple)
    if len(masked) == 1:
        (only,) = masked
        return np.array(only.mask[everything], dtype=np.int32), only.mask_planes  # type: ignore[index]
    mask, planes = np.zeros(triple.shape, dtype=np.int32), MaskPlanes()
    for exposure in masked:
        pixels = np.asarray(exposure.mask[everything])  # type: ignore[index]
        planes = planes.adding(*exposure.mask_planes.bits)
        for name, bit in exposure.mask_planes.bits.items():
            mask[(pixels & (1 << bit)) != 0] |= planes.value([name])
    return mask, planes
