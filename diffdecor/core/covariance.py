"""Covariances of the pixels of a window at every lag, as sums that can be added up.

Lags ``(dy, dx)`` are those of one half plane, ``dy`` from 0 to L and ``dx`` from -L to L: the
covariance at the opposite lag is the same. Arrays over lags are ``(L + 1, 2 L + 1)`` with lag
``(dy, dx)`` at index ``[dy, L + dx]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import fast_shape, single_inverse, single_transform
from diffdecor.core.planes import equal_parts


@dataclass(frozen=True, eq=False)
class LagSums:
    """Products of the pairs of sky pixels, added up at every lag ``(..., L + 1, 2 L + 1)``.

    Leading axes are windows. Sums of different windows may be added, and weighted.
    """

    products: NDArray[np.float64]
    #: Number of pairs.
    pairs: NDArray[np.float64]

    def __add__(self, other: LagSums) -> LagSums:
        """Return the sums over the pairs of both."""
        return LagSums(self.products + other.products, self.pairs + other.pairs)

    def __mul__(self, weight: float) -> LagSums:
        """Return the sums with a weight."""
        return LagSums(self.products * weight, self.pairs * weight)

    def __getitem__(self, windows: Any) -> LagSums:  # noqa: ANN401  whatever indexes an array
        """Return those of some windows."""
        return LagSums(self.products[windows], self.pairs[windows])

    @property
    def max_lag(self) -> int:
        """Largest lag L along either axis, pixels."""
        return int(self.products.shape[-2]) - 1

    @property
    def pixels(self) -> NDArray[np.float64]:
        """Number of sky pixels ``(...)``."""
        return np.asarray(self.pairs[..., 0, self.max_lag])

    def within(self, max_lag: int) -> LagSums:
        """Return the sums with lags up to `max_lag` only."""
        beyond = max(self.max_lag - max_lag, 0)
        lags = np.s_[..., : max_lag + 1, beyond : 2 * self.max_lag + 1 - beyond]
        return LagSums(self.products[lags], self.pairs[lags])

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Mean product at every lag, 0 at lags without pairs."""
        mean = np.zeros_like(self.products)
        np.divide(self.products, self.pairs, out=mean, where=self.pairs > 0)
        return mean

    def total(self) -> LagSums:
        """Return the sums over all windows."""
        axes = tuple(range(self.products.ndim - 2))
        return LagSums(self.products.sum(axis=axes), self.pairs.sum(axis=axes))


class PairCounts:
    """Counts pairs of sky pixels; several images in turn may have the same, which is kept."""

    def __init__(self) -> None:
        self._last: tuple[NDArray[np.bool_], int, NDArray[np.float64]] | None = None

    def __call__(self, sky: NDArray[np.bool_], max_lag: int) -> NDArray[np.float64]:
        """Return how many pairs of sky pixels ``(ny, nx)`` there are at every lag."""
        if self._last is not None:
            known, longest, pairs = self._last
            if longest == max_lag and np.array_equal(known, sky):
                return pairs
        pairs = _pairs(sky, max_lag)
        self._last = sky, max_lag, pairs
        return pairs


def lag_sums(
    values: NDArray[np.floating],
    sky: NDArray[np.bool_],
    max_lag: int,
    counts: PairCounts | None = None,
) -> LagSums:
    """Return the sums of a window ``(ny, nx)`` over the pairs of its sky pixels.

    The mean of the sky pixels is removed. That lowers all products; what it takes from them if the
    noise is white is added back, so the covariance is that of noise with a mean of zero.

    Parameters
    ----------
    values : array (ny, nx)
        Pixels in any unit; those that are not sky do not count.
    sky : array of bool (ny, nx)
        Which pixels count.
    max_lag : int
        Largest lag L along either axis, pixels.
    counts : PairCounts, optional
        What counts the pairs.

    Returns
    -------
    LagSums
        In the unit of the pixels squared. All zeros without a sky pixel.
    """
    return block_sums(values, sky, max_lag, 1, counts=counts)[0, 0]


def block_sums(
    values: NDArray[np.floating],
    sky: NDArray[np.bool_],
    max_lag: int,
    parts: int,
    removed: float = 1.0,
    counts: PairCounts | None = None,
) -> LagSums:
    """Return the sums of `lag_sums` over the pairs within each of `parts` x `parts` blocks.

    The mean is that of the whole window all the same. The result has the leading axes
    ``(parts, parts)``. `removed` is how many smooth terms have been removed from the window, the
    mean included: 3 if it was a plane. All of them lower the products.
    """
    number = int(np.count_nonzero(sky))
    shape = parts, parts, max_lag + 1, 2 * max_lag + 1
    products, pairs = np.zeros(shape), np.zeros(shape)
    if number == 0:
        return LagSums(products, pairs)
    pixels = np.where(sky, values, values.dtype.type(0))
    pixels -= sky * values.dtype.type(pixels.sum(dtype=np.float64) / number)
    rows, columns = (equal_parts(length, -(-length // parts)) for length in values.shape)
    for (y, (y0, y1)), (x, (x0, x1)) in product(enumerate(rows), enumerate(columns)):
        block = np.s_[y0:y1, x0:x1]
        products[y, x] = _autocorrelation(pixels[block], max_lag)
        pairs[y, x] = (counts or _pairs)(sky[block], max_lag)
    variance = products[:, :, 0, max_lag].sum() / number
    return LagSums(products + pairs * (removed * variance / number), pairs)


def _pairs(sky: NDArray[np.bool_], max_lag: int) -> NDArray[np.float64]:
    """Return how many pairs of sky pixels there are at every lag."""
    ny, nx = sky.shape
    if sky.all():
        along_y = np.maximum(ny - np.arange(max_lag + 1), 0)
        along_x = np.maximum(nx - np.abs(np.arange(-max_lag, max_lag + 1)), 0)
        return np.asarray(np.multiply.outer(along_y, along_x), dtype=np.float64)
    return np.rint(_autocorrelation(sky.astype(np.float32), max_lag))


def _autocorrelation(pixels: NDArray[np.floating], max_lag: int) -> NDArray[np.float64]:
    """Return the sums of products at every lag."""
    # So large that nothing wraps around.
    size = fast_shape(pixels.shape[0] + max_lag, pixels.shape[1] + max_lag)
    transform = single_transform(pixels, size)
    power = transform.real**2 + transform.imag**2
    lags = single_inverse(power, size, slice(max_lag + 1))
    ordered = np.concatenate([lags[:, -max_lag:], lags[:, : max_lag + 1]], axis=1)
    return ordered.astype(np.float64) * math.sqrt(math.prod(size))


def opposite(values: NDArray[Any]) -> NDArray[Any]:
    """Return values at all lags ``(..., 2 L + 1, 2 L + 1)`` from those of a half plane.

    Lag ``(dy, dx)`` is at index ``[L + dy, L + dx]``.
    """
    mirrored = values[..., :0:-1, ::-1]
    return np.asarray(np.concatenate([mirrored, values], axis=-2))
