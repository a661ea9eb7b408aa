"""A realisation of correlated noise, of any size, computed row by row from a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.convolve import Convolution
from diffdecor.core.interpolate import KernelField
from diffdecor.core.planes import LazyPlane, Plane, bands

#: Rows that are always computed together, so that rounding does not depend on what is read.
BLOCK = 256


def white_noise(shape: tuple[int, int], seed: int) -> LazyPlane:
    """Return white Gaussian noise of unit variance ``(ny, nx)``, float32.

    Every row has a generator of its own, so it is the same whichever rows are read.
    """

    def row(number: int) -> NDArray[np.float32]:
        sequence = np.random.SeedSequence(seed, spawn_key=(number,))
        generator = np.random.Generator(np.random.PCG64(sequence))
        return generator.standard_normal(shape[1], dtype=np.float32)

    def read(rows: slice) -> NDArray[np.float32]:
        return np.stack([row(number) for number in range(rows.start, rows.stop)])

    return LazyPlane(shape, read)


def noise_realisation(kernel: NDArray[np.float64], variance: Plane, seed: int) -> LazyPlane:
    """Return noise with a variance plane ``(ny, nx)``, float32; NaN where that is not finite.

    `kernel` ``(n, n)``, of odd size with its origin in the middle, is what white noise is convolved
    with; its squares add up to 1. The noise is as correlated at the border as anywhere else.
    """
    ny, nx = variance.shape
    margin = kernel.shape[0] // 2
    around = ny + 2 * margin, nx + 2 * margin
    stamps = KernelField.constant(kernel, (margin, margin))
    correlated = Convolution((white_noise(around, seed), stamps), edges="zero")

    def block(rows: slice) -> NDArray[np.float32]:
        unit = correlated[rows.start + margin : rows.stop + margin][:, margin : margin + nx]
        known = np.asarray(variance[rows], dtype=np.float64)
        usable = np.isfinite(known) & (known >= 0)
        sigma = np.sqrt(known, where=usable, out=np.full(known.shape, np.nan))
        with np.errstate(over="ignore"):  # what is beyond float32 is as good as infinite
            return (unit * sigma).astype(np.float32)

    def read(rows: slice) -> NDArray[np.float32]:
        blocks = [
            (part, block(part))
            for part in bands((ny, nx), BLOCK)
            if part.start < rows.stop and part.stop > rows.start
        ]
        inside = [
            pixels[max(rows.start - part.start, 0) : rows.stop - part.start]
            for part, pixels in blocks
        ]
        return np.concatenate(inside)

    return LazyPlane((ny, nx), read)
