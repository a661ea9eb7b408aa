"""Noise levels in small blocks, by which it is found where they step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.planes import bands
from diffdecor.decorrelation.noise_levels import (
    BAND_PIXELS,
    images_to_measure,
    middle_rows,
    usable_variances,
)
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.images.model import Exposure

#: Size of the blocks in which steps of the noise level are searched, pixels.
BLOCK = 16


def block_log_ratios(subtraction: Subtraction) -> NDArray[np.float64]:
    """Return the logarithms of the ratios of all noise levels to the first in every block.

    Only ratios shape the filter. NaN where unknown, ``(nimages - 1, by, bx)``.
    """
    config, (ny, nx) = subtraction.config, subtraction.shape
    images, blocks = images_to_measure(subtraction), (-(-ny // BLOCK), -(-nx // BLOCK))
    if len(images) == 1:
        return np.empty((0, *blocks))
    levels = [
        np.ones(blocks) if exposure is None else block_medians(exposure, config.ignore_planes)
        for exposure in images
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.array(levels, dtype=np.float64))
    logs[~np.isfinite(logs)] = np.nan
    return np.asarray(logs[1:] - logs[0])


def block_medians(exposure: Exposure, ignore: Sequence[str]) -> NDArray[np.floating]:
    """Return the (lower) median variance of every block of 16 x 16 pixels ``(by, bx)``.

    It is that of every second pixel along either axis of the block's middle rows, for reading
    dominates the cost; and NaN where no pixel counts. One thread does it: two take 1.2 times as
    long, for they wait for each other between many short calls.
    """
    across = -(-exposure.shape[1] // BLOCK)

    def medians(rows: slice) -> NDArray[np.floating]:
        strips = middle_rows(rows, BLOCK, 2)
        values = usable_variances(exposure, strips, ignore, step=2)
        padded = np.full((len(strips), BLOCK // 4, across * BLOCK // 2), np.inf, values.dtype)
        # Only the last strip of the image may be lower than the others.
        flat = padded.reshape(-1, padded.shape[-1])
        flat[: len(values), : values.shape[1]] = values
        blocks = padded.reshape(len(strips), BLOCK // 4, across, BLOCK // 2).swapaxes(1, 2)
        return _lower_medians(blocks.reshape(len(strips), across, -1))

    rows = bands(exposure.shape, BLOCK * max(1, BAND_PIXELS // exposure.shape[1] // BLOCK))
    return np.concatenate([medians(some) for some in rows])


def _lower_medians(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the (lower) median along the last axis of what is finite, NaN if nothing is."""
    count = np.isfinite(values).sum(axis=-1, keepdims=True)
    places = np.maximum(count - 1, 0) // 2
    if (places == places.flat[0]).all():
        ordered = np.partition(values, places.flat[0], axis=-1)
    else:
        ordered = np.sort(values, axis=-1)
    medians = np.take_along_axis(ordered, places, axis=-1)[..., 0]
    medians[np.isinf(medians)] = np.nan
    return medians
