"""The arithmetic of one window: whiten its pixels, and add up the products of its sky pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums, block_sums
from diffdecor.core.fourier import fast_length, single_inverse, single_transform
from diffdecor.core.noise import NoiseSide
from diffdecor.core.spectrum import MAX_LAG, SIZE, LogSpectrum
from diffdecor.core.variance import single_holds
from diffdecor.core.whitening import FLOOR

#: Pixels read around a window, which the filter reaches over.
MARGIN = 16
#: Share of a filter's energy that a pixel may take from pixels that were filled. What is amiss is
#: in the amplitude of the filter, the root of it; and scattered bad pixels affect all others.
_FILLED_SHARE = 0.001
#: Robust sigmas beyond which a pixel is filled before the filter, and does not count after it.
_FILLED, _CLIP = 6.0, 4.5
_SIGMA_OF_IQR = 0.7413
#: A variance is spread by the filter where its mean relative change over so many pixels is larger;
#: pixels so many times above the level are stars, whose noise is left out.
_STEP, _CHANGE, _STEEP = 6, 0.15, 100.0
#: Values that give a spread to a few per cent.
_SAMPLE = 1 << 11
#: Terms of the level that is removed: a plane's.
_LEVEL_TERMS = 3
#: Values in single precision.
Pixels = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Sides:
    """The noise of both sides at the places of windows: white noise through the kernels."""

    science: NoiseSide
    template: NoiseSide

    def __getitem__(self, places: Any) -> Sides:  # noqa: ANN401  whatever indexes an array
        """Return the sides at some of the places."""
        return Sides(self.science[places], self.template[places])

    @property
    def members(self) -> tuple[NoiseSide, ...]:
        """The independent noises of both sides."""
        return (*self.science.members, *self.template.members)

    def relative_power(self, spectrum: LogSpectrum, floor: float) -> NDArray[np.float64]:
        """Return the noise power of what filters leave, in units of its mean.

        It is that of `WindowFilters` of the same arguments, on the grid of spectra
        ``(n, SIZE, SIZE // 2 + 1)``.
        """
        shape = 2 * SIZE, 2 * SIZE  # so fine that kernels are not cut
        power = (self.science.power(shape) + self.template.power(shape))[:, ::2, ::2]
        power = power * spectrum.power()
        if math.isfinite(floor):
            power = power / np.maximum(power, floor * power[:, :1, :1])
        return np.asarray(power / mean_over_frequencies(power)[:, np.newaxis, np.newaxis])


@dataclass(frozen=True, eq=False)
class WindowFilter:
    """The filter of one window, on the frequencies of a real transform."""

    #: What the pixels are multiplied with; psi, or 1 for pixels that stay as they are.
    transfer: Pixels
    #: Transform of the filter's energy, of unit sum; about the same for all windows.
    energy: Pixels
    #: Factor of every member's variance in that of the filtered pixels, and its level.
    weights: Sequence[float]
    levels: Sequence[float]
    #: ``|K(k)|^2 R(k)`` of every member.
    gains: Sequence[Pixels]

    @property
    def whitens(self) -> bool:
        """Whether it changes the pixels."""
        return bool((self.transfer != 1).any())

    @property
    def unit(self) -> float:
        """Expected sigma of the filtered pixels."""
        pairs = zip(self.weights, self.levels, strict=True)
        return math.sqrt(sum(weight * level for weight, level in pairs))


class WindowFilters:
    """Filters of windows, made from the noise of both sides there.

    Parameters
    ----------
    sides : Sides
        White noise through the kernels, at all windows.
    spectrum : LogSpectrum
        What its power is multiplied with.
    floor : float
        Share of the power at zero frequency below which the filters do not whiten; infinite for
        filters that leave the noise as it is.
    """

    def __init__(self, sides: Sides, spectrum: LogSpectrum, floor: float = FLOOR) -> None:
        self._sides = sides
        self._spectrum = spectrum
        self._floor = floor
        # Transforms of kernels that are the same everywhere are kept.
        self._same = [bool((one.stamps == one.stamps[:1]).all()) for one in sides.members]
        self._least = max(one.reach for one in sides.members)
        self._kept: dict[tuple[object, int], Pixels] = {}

    def at(self, number: int, shape: tuple[int, int]) -> WindowFilter:
        """Return the filter of a window, for transforms that hold a tile ``(ny, nx)``."""
        size = fast_length(max(*shape, self._least))
        gains = self._gains(number, size)
        levels = self._levels(number)
        square = self._square(gains, levels, size)
        scales = [float(side.scale[number]) ** 2 for side in self._sides.members]
        return WindowFilter(
            np.sqrt(square),
            self._cached("energy", size, lambda: self._energy(size)),
            [
                scale * float(mean_over_frequencies(square * gain))
                for scale, gain in zip(scales, gains, strict=True)
            ],
            [float(side.level[number]) for side in self._sides.members],
            gains,
        )

    def _energy(self, size: int) -> Pixels:
        """Return the transform of the energy of one filter, the same whoever asks first."""
        middle = len(self._sides.science) // 2
        square = self._square(self._gains(middle, size), self._levels(middle), size)
        return _energy(np.sqrt(square), size)

    def _levels(self, number: int) -> list[float]:
        """Return the noise variances of all members in the difference, at a window."""
        return [float(one.level[number] * one.scale[number] ** 2) for one in self._sides.members]

    def _square(self, gains: Sequence[Pixels], levels: Sequence[float], size: int) -> Pixels:
        """Return ``|psi(k)|^2``, or 1."""
        power = np.zeros((size, size // 2 + 1), np.float32)
        if math.isinf(self._floor):
            return power + 1
        unit = sum(level * float(gain[0, 0]) for level, gain in zip(levels, gains, strict=True))
        with np.errstate(over="ignore", invalid="ignore"):  # numbers of a damaged kernel
            for level, gain in zip(levels, gains, strict=True):
                power += gain * np.float32(level / unit)
        return np.asarray(1 / np.maximum(power, np.float32(self._floor)))

    def _gains(self, number: int, size: int) -> list[Pixels]:
        """Return ``|K(k)|^2 R(k)`` of all members at a window."""
        return [self._gain(which, number, size) for which in range(len(self._sides.members))]

    def _gain(self, which: int, number: int, size: int) -> Pixels:
        """Return ``|K(k)|^2 R(k)`` of one member at a window."""
        side = self._sides.members[which][number : number + 1]

        def make() -> Pixels:
            relative = self._cached("R", size, lambda: self._spectrum.power(size)[0])
            return _gain(side, size) * relative

        return self._cached(which, size, make) if self._same[which] else make()

    def _cached(self, what: object, size: int, make: Callable[[], NDArray[Any]]) -> Pixels:
        if (what, size) not in self._kept:
            self._kept[what, size] = make().astype(np.float32)
        return self._kept[what, size]


def _gain(side: NoiseSide, size: int) -> Pixels:
    """Return ``|K(k)|^2`` of the kernels of one member at one place."""
    stamps, _ = side.noise_stamps
    stamp = stamps[0].astype(np.float32)
    if stamp.shape == (1, 1):
        return np.asarray(stamp**2)
    transform = single_transform(stamp, (size, size))
    return np.asarray(transform.real**2 + transform.imag**2) * np.float32(size**2)


def _energy(transfer: Pixels, size: int) -> Pixels:
    """Return the transform of the square of a filter, of unit sum."""
    shares = single_transform(single_inverse(transfer, (size, size)) ** 2, (size, size)).real
    return np.asarray(shares / shares[0, 0])


@dataclass(frozen=True, eq=False)
class Tile:
    """Pixels of a window, with `MARGIN` pixels on every side."""

    difference: NDArray[Any]
    unusable: NDArray[np.bool_]
    sky: NDArray[np.bool_]
    variances: Sequence[NDArray[Any] | None]


#: The window in its tile.
_CORE = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]


def tile_sums(tile: Tile, by: WindowFilter, parts: int) -> tuple[LagSums, int]:
    """Return the sums over the sky pixels of one window, and how many there were in all.

    They are those of `parts` x `parts` blocks of the window.
    """
    pixels, filled = _without_level(tile, by.unit)
    sky = tile.sky[_CORE] & ~filled[_CORE]
    all_sky = int(np.count_nonzero(sky))
    if by.whitens:
        values = _filtered(pixels, by.transfer)
        if filled.any():
            sky &= _filtered(filled.astype(np.float32), by.energy) < np.float32(_FILLED_SHARE)
    else:
        values = pixels[_CORE].copy()
    values /= _sigma(tile, by)
    with np.errstate(invalid="ignore"):
        size = np.abs(values)
        sky &= size < np.float32(_CLIP * _spread(values, sky))  # False for NaN
    # The level is that of all sky pixels, so it takes less from those that are left.
    removed = max(1.0, _LEVEL_TERMS * float(np.count_nonzero(sky)) / max(all_sky, 1))
    return block_sums(values, sky, MAX_LAG, parts, removed), all_sky


def mean_over_frequencies(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean of real transforms ``(..., size, size // 2 + 1)`` over all frequencies."""
    size = values.shape[-2]
    columns = np.add.reduce(values, axis=-2).astype(np.float64)
    alone = [0] if size % 2 else [0, -1]
    return np.asarray((2 * columns.sum(axis=-1) - columns[..., alone].sum(axis=-1)) / size**2)


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
    """Return the level of a tile: the plane that fits the sky pixels of the window best.

    Anything finer would take noise away.
    """
    ny, nx = pixels.shape
    known = sky[_CORE].astype(np.float32)
    values = pixels[_CORE] * known
    y, x = (
        np.arange(length - 2 * MARGIN, dtype=np.float32) - (length - 2 * MARGIN - 1) / 2
        for length in (ny, nx)
    )
    terms_y, terms_x = (np.stack([np.ones_like(axis), axis, axis**2]) for axis in (y, x))
    moments = (terms_y @ known @ terms_x.T).astype(np.float64)
    sums = (terms_y[:2] @ values @ terms_x[:2].T).astype(np.float64)
    matrix = np.array(
        [
            [moments[0, 0], moments[1, 0], moments[0, 1]],
            [moments[1, 0], moments[2, 0], moments[1, 1]],
            [moments[0, 1], moments[1, 1], moments[0, 2]],
        ]
    )
    right = np.array([sums[0, 0], sums[1, 0], sums[0, 1]])
    # A little of a prior keeps slopes of a few pixels in a corner from running away.
    matrix += np.diag([1.0, ny**2 / 12, nx**2 / 12])
    level, slope_y, slope_x = np.linalg.solve(matrix, right)
    rows, columns = (np.arange(length, dtype=np.float32) - (length - 1) / 2 for length in (ny, nx))
    plane = (level + slope_y * rows)[:, np.newaxis] + slope_x * columns
    return np.asarray(plane, np.float32)


def _filtered(pixels: Pixels, transfer: Pixels) -> Pixels:
    """Return the window's pixels, multiplied in Fourier space."""
    shape = (len(transfer),) * 2
    transform = single_transform(pixels, shape)
    transform *= transfer
    ny, nx = pixels.shape
    rows = single_inverse(transform, shape, slice(MARGIN, ny - MARGIN))
    return np.asarray(rows[:, MARGIN : nx - MARGIN])


def _sigma(tile: Tile, by: WindowFilter) -> Pixels:
    """Return the sigma of the window's filtered pixels, in its unit, NaN where it is not known."""
    total, unit = np.zeros((1, 1), np.float32), by.unit**2
    members = zip(tile.variances, by.weights, by.levels, by.gains, strict=True)
    for plane, weight, level, gain in members:
        factor = weight / unit
        part = level if plane is None else _spread_variance(plane, tile.sky, by.transfer, gain)
        # In units like erg/s/cm2/Hz neither the variance nor the factor fits single precision.
        dtype = np.float32 if single_holds(np.array([level, factor])) else np.float64
        with np.errstate(over="ignore", invalid="ignore"):  # not known where it is not finite
            total = total + np.multiply(part, factor, dtype=dtype)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(np.where(total > 0, total, np.float32(np.nan))))


def _spread_variance(
    plane: NDArray[Any], sky: NDArray[np.bool_], transfer: Pixels, gain: Pixels
) -> NDArray[Any]:
    """Return the variance of a window as the filter spreads it, where it steps within its reach.

    What it spreads over is the square of the kernel from the image to the filtered difference; its
    phase hardly matters.
    """
    core = plane[_CORE]
    sample = _sample(core, sky[_CORE])
    level = float(np.median(sample)) if sample.size else 0.0
    if not (level > 0 and _steps(core, sky[_CORE], level)):
        return core
    shape = len(transfer), len(transfer)
    whole = np.broadcast_to(transfer * np.sqrt(gain), transfer.shape)
    share = single_transform(single_inverse(whole, shape) ** 2, shape).real
    with np.errstate(invalid="ignore"):
        known = np.isfinite(plane) & (plane > 0) & (plane < _STEEP * level)
    relative = np.where(known, plane / level, 1).astype(np.float32)
    spread = _filtered(relative, share / share[0, 0]) * level
    return np.where(known[_CORE], spread, core)


def _steps(values: NDArray[Any], sky: NDArray[np.bool_], level: float) -> bool:
    """Say whether a variance differs much from one sky pixel to the next but a few."""
    for plane, known in ((values[::8], sky[::8]), (values[:, ::8].T, sky[:, ::8].T)):
        both = known[:, _STEP:] & known[:, :-_STEP]
        with np.errstate(invalid="ignore"):
            change = np.abs(plane[:, _STEP:] - plane[:, :-_STEP])[both] / level
        if change.size and float(np.mean(np.minimum(change, 1))) > _CHANGE:
            return True
    return False


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
