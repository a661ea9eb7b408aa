"""The arithmetic of one window: whiten its pixels, and add up the products of its sky pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums, lag_sums
from diffdecor.core.fourier import fast_length
from diffdecor.core.interpolate import bracket
from diffdecor.core.noise import NoiseSide, with_noise
from diffdecor.core.planes import equal_parts
from diffdecor.core.spectrum import MAX_LAG
from diffdecor.core.whitening import FLOOR

#: Pixels read around a window, which the filter reaches over.
MARGIN = 20
#: Side of the blocks whose mean is the local level: a finer level would take noise away.
_LEVEL_BLOCK = 128
#: Share of a filter's energy that a pixel may take from pixels that were filled.
_FILLED_SHARE = 0.01
#: Robust sigmas beyond which a pixel is filled before the filter, and does not count after it.
_FILLED, _CLIP = 6.0, 4.5
_SIGMA_OF_IQR = 0.7413
#: Values that give a spread to better than a per cent.
_SAMPLE = 1 << 13
#: Values in single precision.
Pixels = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Sides:
    """The noise of both sides at the places of windows."""

    science: NoiseSide
    template: NoiseSide

    def __getitem__(self, places: Any) -> Sides:  # noqa: ANN401  whatever indexes an array
        """Return the sides at some of the places."""
        return Sides(self.science[places], self.template[places])

    @property
    def members(self) -> tuple[NoiseSide, ...]:
        """The independent noises of both sides."""
        return (*self.science.members, *self.template.members)

    def with_noise(self, noise: NDArray[np.float64]) -> Sides:
        """Return the sides with one more noise kernel at every place ``(n, 2w + 1, 2w + 1)``."""
        return Sides(with_noise(self.science, noise), with_noise(self.template, noise))

    def power(self, size: int) -> NDArray[np.float64]:
        """Return the noise power of the difference ``(n, size, size // 2 + 1)``."""
        return self.science.power((size, size)) + self.template.power((size, size))

    def relative_power(self, size: int) -> NDArray[np.float64]:
        """Return the noise power in units of its mean over all frequencies."""
        power = self.power(size)
        return power / _mean_over_frequencies(power)[:, np.newaxis, np.newaxis]


@dataclass(frozen=True, eq=False)
class Tile:
    """Pixels of a window, with `MARGIN` pixels on every side; variances are of the window only."""

    difference: NDArray[Any]
    unusable: NDArray[np.bool_]
    sky: NDArray[np.bool_]
    variances: Sequence[NDArray[Any] | None]


#: The window in its tile.
_CORE = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]


def tile_sums(tile: Tile, sides: Sides, *, whiten: bool) -> tuple[LagSums, int]:
    """Return the sums over the sky pixels of one window, and how many there were in all."""
    size = fast_length(max(*tile.difference.shape, _reach(sides)))
    zero = float(sides.science.zero_power[0] + sides.template.zero_power[0])
    power = (sides.power(size)[0] / zero).astype(np.float32)
    expected = float(_mean_over_frequencies(power)) * zero
    pixels, filled = _without_level(tile, math.sqrt(expected))
    sky = tile.sky[_CORE] & ~filled[_CORE]
    all_sky = int(np.count_nonzero(sky))
    if whiten:
        transfer = 1 / np.sqrt(np.maximum(power, np.float32(FLOOR)))
        pixels = _filtered(pixels, transfer, size)
        if filled.any():
            sky &= _filled_share(filled, transfer, size) < _FILLED_SHARE
    else:
        transfer = np.ones_like(power)
        pixels = pixels[_CORE]
    values = pixels / np.sqrt(_variance(tile, sides, transfer, size) / expected)
    sky &= np.isfinite(values)
    sky &= np.abs(values) < _CLIP * _spread(values, sky)
    return lag_sums(values, sky, MAX_LAG), all_sky


def _reach(sides: Sides) -> int:
    return max(one.reach for one in sides.members)


def _mean_over_frequencies(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean of real transforms ``(..., size, size // 2 + 1)`` over all frequencies."""
    size = values.shape[-2]
    rows = values.sum(axis=-2, dtype=np.float64)
    alone = [0] if size % 2 else [0, -1]
    return np.asarray((2 * rows.sum(axis=-1) - rows[..., alone].sum(axis=-1)) / size**2)


def _without_level(tile: Tile, unit: float) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return the difference minus its local level, in a unit, and which pixels were set to 0.

    Source light is left where it is faint: zeros would take noise away from the pixels around.
    """
    usable = ~tile.unusable
    reference = _median(tile.difference[_CORE], tile.sky[_CORE])
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = np.asarray((tile.difference - reference) / unit).astype(np.float32, copy=False)
    spread = _spread(pixels, tile.sky)
    with np.errstate(invalid="ignore"):
        filled = ~(usable & (np.abs(pixels) < _FILLED * spread))
    pixels[filled] = 0
    pixels -= _level(pixels, tile.sky & ~filled)
    pixels[filled] = 0
    return pixels, filled


def _level(pixels: Pixels, sky: NDArray[np.bool_]) -> Pixels:
    """Return the level of a tile: means of blocks of sky pixels, bilinear between their centres."""
    ny, nx = (length - 2 * MARGIN for length in pixels.shape)
    rows, columns = equal_parts(ny, _LEVEL_BLOCK), equal_parts(nx, _LEVEL_BLOCK)
    core, sky = np.where(sky, pixels, np.float32(0))[_CORE], sky[_CORE]
    total, count = (_block_sums(values, rows, columns) for values in (core, sky))
    mean = total.sum() / max(1.0, count.sum())
    enough = count > _LEVEL_BLOCK
    means = np.where(enough, total / np.maximum(count, 1), mean)
    across, along = (_linear(ranges) for ranges in (columns, rows))
    return (along @ means @ across.T).astype(np.float32)


def _block_sums(
    values: NDArray[Any], rows: Sequence[tuple[int, int]], columns: Sequence[tuple[int, int]]
) -> NDArray[np.float64]:
    """Return the sums of values in blocks."""
    strips = np.add.reduceat(values, [y for y, _ in rows], axis=0, dtype=np.float64)
    return np.add.reduceat(strips, [x for x, _ in columns], axis=1)


def _linear(ranges: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Return the weights ``(n, k)`` of the blocks' means at the pixels of a tile along an axis."""
    centres = np.array(ranges).mean(axis=1) - 0.5
    pixels = np.arange(-MARGIN, ranges[-1][1] + MARGIN)
    first, second, share = bracket(centres, pixels)
    weights = np.zeros((len(pixels), len(centres)))
    at = np.arange(len(pixels))
    weights[at, first] = 1 - share
    weights[at, second] += share
    return weights


def _filtered(pixels: Pixels, transfer: Pixels, size: int) -> Pixels:
    """Return the window's pixels, multiplied in Fourier space."""
    transform = np.fft.rfft2(pixels, (size, size))
    transform *= transfer
    ny, nx = pixels.shape
    rows = np.fft.ifft(transform, axis=0)[MARGIN : ny - MARGIN]
    return np.asarray(np.fft.irfft(rows, size)[:, MARGIN : nx - MARGIN])


def _filled_share(filled: NDArray[np.bool_], transfer: Pixels, size: int) -> Pixels:
    """Return the share of the filter's energy that pixels of the window take from filled ones."""
    energy = np.fft.irfft2(transfer, (size, size)) ** 2
    shares = np.fft.rfft2(energy).real
    return _filtered(filled.astype(np.float32), shares / shares[0, 0], size)


def _variance(tile: Tile, sides: Sides, transfer: Pixels, size: int) -> NDArray[np.floating]:
    """Return the variance of the window's pixels that the filter implies, NaN where not known."""
    square, total = transfer**2, np.zeros((1, 1))
    for plane, member in zip(tile.variances, sides.members, strict=True):
        gain = member.noise_gain((size, size))[0].astype(np.float32)
        weight = float(member.scale[0] ** 2 * _mean_over_frequencies(square * gain))
        total = total + weight * (member.level[0] if plane is None else plane)
    return np.where(total > 0, total, np.nan)


def _spread(values: NDArray[np.floating], sky: NDArray[np.bool_]) -> float:
    """Return the robust sigma of a sample of the sky pixels, infinity if there are too few."""
    sample = _sample(values, sky)
    if sample.size < 16:
        return math.inf
    lower, upper = np.percentile(sample, [25, 75])
    return float(_SIGMA_OF_IQR * (upper - lower))


def _median(values: NDArray[np.floating], sky: NDArray[np.bool_]) -> float:
    sample = _sample(values, sky)
    return float(np.median(sample)) if sample.size else 0.0


def _sample(values: NDArray[np.floating], sky: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return sky pixels from all over a window."""
    # An odd step goes through all columns of windows, whose sizes are even.
    step = values.size // _SAMPLE | 1
    return values.reshape(-1)[::step][sky.reshape(-1)[::step]]
