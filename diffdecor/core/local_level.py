"""The local level of a window of pixels: planes that are fitted to blocks of it, and their bias."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums, PairCounts, lag_sums

#: Side of a block, pixels, and the pixels that it needs. Finer levels would take part of the noise.
_BLOCK, _FEWEST = 128, 200
#: Parameters of a plane.
_PLANE = 3
#: Keeps the slope of a plane at zero along an axis on which it cannot be measured.
_RIDGE = 1e-5

#: Pixels count as this many sigma at most: single precision holds the sum of their squares.
_LARGEST = 1e15

Values = NDArray[np.float32]


class Levelled(NamedTuple):
    """Pixels ``(ny, nx)`` whose local level is zero."""

    #: 0 where a pixel is not sky.
    values: Values
    sky: NDArray[np.bool_]
    #: Number of blocks, and their shape.
    blocks: int
    shape: tuple[int, int]

    def lag_sums(
        self, max_lag: int, counts: PairCounts | None = None
    ) -> tuple[LagSums, NDArray[np.float64]]:
        """Return the sums of products at every lag, and what the level would take of them.

        The latter is for a variance of 1, and has been added back as if the noise were white: every
        parameter of a plane takes a part of its block's products, ``-1`` pixel of every lag.
        """
        sums = lag_sums(self.values, self.sky, max_lag, counts)
        number = float(sums.pixels)
        if not number:
            return sums, np.zeros_like(sums.pairs)
        height, width = self.shape
        along_y = np.maximum(1 - np.arange(max_lag + 1) / height, 0)
        along_x = np.maximum(1 - np.abs(np.arange(-max_lag, max_lag + 1)) / width, 0)
        # Two pixels of different blocks share no level.
        shared = np.multiply.outer(_PLANE * self.blocks * along_y, along_x)
        removed = sums.pairs * shared / number
        variance = float(sums.covariance[0, max_lag])
        # The mean of the whole window has been added back by the sums themselves.
        products = sums.products + variance * (removed - sums.pairs / number)
        return LagSums(products, sums.pairs), removed


def in_sigmas(
    image: NDArray[np.floating],
    middle: float,
    sigma: NDArray[np.floating] | float,
    sky: NDArray[np.bool_],
) -> Values:
    """Return how many sigma sky pixels are from a level, in single precision.

    Parameters
    ----------
    image : array (ny, nx)
        Pixels.
    middle : float
        Their level.
    sigma : array (ny, nx) or float
        Positive.
    sky : array (ny, nx) of bool
        Which pixels count.

    Returns
    -------
    array (ny, nx)
        0 for the others.
    """
    # Less the level in the type of the image: single precision may hold no more than its digits.
    precision = np.result_type(image.dtype, np.float32)
    values = np.subtract(
        image, middle, out=np.zeros(image.shape, precision), where=sky, casting="unsafe"
    )
    # The sigma of a simulation without noise may be that of rounding errors.
    with np.errstate(over="ignore"):
        values /= sigma
    np.clip(values, -_LARGEST, _LARGEST, out=values)
    return np.asarray(values, dtype=np.float32)


def without_level(
    values: Values, sky: NDArray[np.bool_], weights: Values | None = None
) -> Levelled:
    """Subtract planes from the blocks of a window, fitted to its sky pixels.

    Parameters
    ----------
    values : array (ny, nx)
        Pixels in units of their sigma, 0 where they are not sky.
    sky : array of bool (ny, nx)
        Which pixels count.
    weights : array (ny, nx), optional
        One over the sigma, in any unit, 0 where a pixel is not sky: the level is a plane in the
        unit of the image.

    Returns
    -------
    Levelled
        Columns and rows that make no whole block are cut off. Blocks with few sky pixels have none.
    """
    (my, height), (mx, width) = (_division(length) for length in values.shape)
    cut = np.s_[: my * height, : mx * width]
    values, sky = values[cut], sky[cut]
    weights = sky.astype(np.float32) if weights is None else weights[cut]
    axes = [np.linspace(-1, 1, length, dtype=np.float32) for length in (height, width)]
    powers = [np.array([axis**power for power in range(3)]) for axis in axes]

    def moments(pixels: Values) -> NDArray[np.float64]:
        """Return sums with powers of y and x ``(my, mx, 3, 3)``."""
        rows = powers[0] @ pixels.reshape(my, height, -1)
        both: Values = rows.reshape(my, 3, mx, width) @ powers[1].T
        return np.asarray(both.swapaxes(1, 2), dtype=np.float64)

    matrix = moments(weights**2)
    total = matrix[..., 0, 0]
    data = moments(values * weights)
    # In order of 1, x, y.
    terms = ((0, 0), (0, 1), (1, 0))
    normal = np.array([[matrix[..., a + c, b + d] for c, d in terms] for a, b in terms])
    normal = np.moveaxis(normal, (0, 1), (-2, -1))
    normal += _RIDGE * np.maximum(total, 1e-30)[..., np.newaxis, np.newaxis] * np.eye(_PLANE)
    found = np.array([data[..., a, b] for a, b in terms])
    plane = np.linalg.solve(normal, np.moveaxis(found, 0, -1)[..., np.newaxis])[..., 0]
    number = np.count_nonzero(sky.reshape(my, height, mx, width), axis=(1, 3))
    few = number < _FEWEST
    if few.any():
        sky = sky & np.repeat(np.repeat(~few, height, axis=0), width, axis=1)
        weights, values = weights * sky, values * sky
    constant, along_x, along_y = np.moveaxis(plane.astype(np.float32), -1, 0)
    slopes = constant[..., np.newaxis] + along_x[..., np.newaxis] * axes[1]
    level = (
        slopes[:, np.newaxis]
        + along_y[:, np.newaxis, :, np.newaxis] * axes[0][:, np.newaxis, np.newaxis]
    ).reshape(values.shape)
    level *= weights
    return Levelled(values - level, sky, int(np.count_nonzero(~few)), (height, width))


def _division(length: int) -> tuple[int, int]:
    """Return the number of blocks along an axis, and their size."""
    number = max(1, round(length / _BLOCK))
    return number, length // number
