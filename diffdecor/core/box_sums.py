"""What boxes of pixels hold: sums, by a table of sums, and whether there is any True in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def box_sums(values: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the sums of all boxes ``(ky, kx)`` that fit into values ``(..., ny, nx)``.

    The values must not be negative; the result is ``(..., ny - ky + 1, nx - kx + 1)``.
    """
    ky, kx = shape
    before = [(0, 0)] * (values.ndim - 2) + [(1, 0), (1, 0)]
    table = np.pad(values.cumsum(axis=-2).cumsum(axis=-1), before)
    sums = table[..., ky:, kx:] - table[..., :-ky, kx:]
    sums -= table[..., ky:, :-kx] - table[..., :-ky, :-kx]
    return np.asarray(np.maximum(sums, 0.0))


def any_in_boxes(flags: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Say of all boxes ``(ky, kx)`` that fit into flags ``(ny, nx)`` whether one of them is True.

    The result is ``(ny - ky + 1, nx - kx + 1)``.
    """
    for length in shape:  # along y; then, transposed, along x
        reach = 1
        while reach < length:  # boxes of twice the length, as long as they fit
            step = min(reach, length - reach)
            flags = flags[:-step] | flags[step:]
            reach += step
        flags = flags.T
    return flags
