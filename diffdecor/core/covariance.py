"""Covariances of the pixels of a window at every lag, as sums that can be added up.

Lags ``(dy, dx)`` are those of one half plane, ``dy`` from 0 to L and ``dx`` from -L to L: the
covariance at the opposite lag is the same. Arrays over lags are ``(L + 1, 2 L + 1)`` with lag
``(dy, dx)`` at index ``[dy, L + dx]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import fast_shape, single_inverse, single_transform


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

    def __call__(
        self, sky: NDArray[np.bool_], size: tuple[int, int], max_lag: int
    ) -> NDArray[np.float64]:
        """Return how many pairs of sky pixels there are at every lag of blocks ``(n, ny, nx)``."""
        if self._last is not None:
            known, longest, pairs = self._last
            if longest == max_lag and np.array_equal(known, sky):
                return pairs
        pairs = _pairs(sky, size, max_lag)
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
    sums = block_sums(values[np.newaxis], sky[np.newaxis], max_lag, counts=counts)
    return sums[0, 0, 0]


def block_sums(
    values: NDArray[np.floating],
    sky: NDArray[np.bool_],
    max_lag: int,
    parts: int = 1,
    removed: NDArray[np.float64] | float = 1.0,
    counts: PairCounts | None = None,
) -> LagSums:
    """Return the sums of `lag_sums` over the pairs within `parts` x `parts` blocks of n windows.

    The pixels are ``(n, ny, nx)``, the sums have the leading axes ``(n, parts, parts)``. Axes that
    `parts` does not divide lose a last pixel. The mean is that of the whole window all the same.
    `removed` is how many smooth terms have been removed from each window, the mean included: 3 if
    it was a plane. All of them lower the products.
    """
    number = np.count_nonzero(sky, axis=(1, 2))
    pixels = np.where(sky, values, values.dtype.type(0))
    mean = pixels.sum(axis=2).sum(axis=1, dtype=np.float64) / np.maximum(number, 1)
    pixels -= sky * mean.astype(values.dtype)[:, np.newaxis, np.newaxis]
    blocks, known = _blocks(pixels, parts), _blocks(sky, parts)
    shape = len(sky), parts, parts, max_lag + 1, 2 * max_lag + 1
    size = fast_shape(blocks.shape[1] + max_lag, blocks.shape[2] + max_lag)
    products = _autocorrelation(blocks, size, max_lag).reshape(shape)
    pairs = (counts or _pairs)(known, size, max_lag).reshape(shape)
    variance = products[..., 0, max_lag].sum(axis=(1, 2)) / np.maximum(number, 1)
    taken = (removed * variance / np.maximum(number, 1)).reshape(-1, 1, 1, 1, 1)
    return LagSums(products + pairs * taken, pairs)


def _blocks(pixels: NDArray[Any], parts: int) -> NDArray[Any]:
    """Cut windows ``(n, ny, nx)`` into blocks ``(n parts parts, ny // parts, nx // parts)``."""
    if parts == 1:
        return pixels
    by, bx = (length // parts for length in pixels.shape[1:])
    cut = pixels[:, : by * parts, : bx * parts].reshape(-1, parts, by, parts, bx)
    return cut.swapaxes(2, 3).reshape(-1, by, bx)


def _pairs(sky: NDArray[np.bool_], size: tuple[int, int], max_lag: int) -> NDArray[np.float64]:
    """Return how many pairs of sky pixels there are at every lag of blocks ``(n, ny, nx)``."""
    ny, nx = sky.shape[1:]
    along_y = np.maximum(ny - np.arange(max_lag + 1), 0)
    along_x = np.maximum(nx - np.abs(np.arange(-max_lag, max_lag + 1)), 0)
    pairs = np.empty((len(sky), max_lag + 1, 2 * max_lag + 1))
    pairs[:] = np.multiply.outer(along_y, along_x)
    holes = ~sky.all(axis=(1, 2))
    if holes.any():
        counts = sky[holes].astype(np.float32)
        pairs[holes] = np.rint(_autocorrelation(counts, size, max_lag))
    return pairs


def _autocorrelation(
    pixels: NDArray[np.floating], size: tuple[int, int], max_lag: int
) -> NDArray[np.float64]:
    """Return the sums of products at every lag; `size` keeps them from wrapping around."""
    transform = single_transform(pixels, size)
    parts = transform.view(transform.real.dtype)
    np.square(parts, out=parts)
    transform.real += transform.imag
    transform.imag = 0
    lags = single_inverse(transform, size, slice(max_lag + 1))
    ordered = np.concatenate([lags[..., -max_lag:], lags[..., : max_lag + 1]], axis=-1)
    return ordered.astype(np.float64) * math.sqrt(math.prod(size))


def opposite(values: NDArray[Any]) -> NDArray[Any]:
    """Return values at all lags ``(..., 2 L + 1, 2 L + 1)`` from those of a half plane.

    Lag ``(dy, dx)`` is at index ``[L + dy, L + dx]``.
    """
    mirrored = values[..., :0:-1, ::-1]
    return np.asarray(np.concatenate([mirrored, values], axis=-2))
