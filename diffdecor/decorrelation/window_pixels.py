"""The arithmetic of windows: whiten their pixels, and add up the products of their sky pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
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
#: Share of filled pixels below which hardly any other is close to that.
_FEW_FILLED = 0.02
#: Robust sigmas beyond which a pixel is filled before the filter, and does not count after it.
_FILLED, _CLIP = 6.0, 4.5
_SIGMA_OF_IQR = 0.7413
#: A variance is spread by the filter where its mean relative change over so many pixels is larger;
#: pixels so many times above the level are stars, whose noise is left out.
_STEP, _CHANGE, _STEEP = 6, 0.15, 100.0
#: Values that give a spread to a few per cent, how few give none, and rows from one that is looked
#: at to the next.
_SAMPLE, _FEWEST, _ROWS = 1 << 10, 16, 5
_SHARES = np.array([[0.25], [0.5], [0.75]])
#: Terms of the level that is removed: a plane's.
_LEVEL_TERMS = 3
#: Values in single precision.
Pixels = NDArray[Any]
#: Sums over blocks, and the number of all sky pixels.
TileSums = tuple[LagSums, NDArray[np.intp]]


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

    @property
    def same(self) -> bool:
        """Whether they are the same at all places."""
        values = (each for one in self.members for each in (one.stamps, one.level, one.scale))
        return all(map(_all_equal, values))

    def relative_power(self, spectrum: LogSpectrum, floor: float) -> NDArray[np.float64]:
        """Return the noise power of what filters leave, in units of its mean.

        It is that of `WindowFilters` of the same arguments, on the grid of spectra
        ``(n, SIZE, SIZE // 2 + 1)``.
        """
        if len(self.science) > 1 and self.same:
            one = self[:1].relative_power(spectrum, floor)
            return np.broadcast_to(one, (len(self.science), *one.shape[1:]))
        finer = -(-max(one.reach for one in self.members) // SIZE)  # kernels are not cut
        shape = finer * SIZE, finer * SIZE
        power = (self.science.power(shape) + self.template.power(shape))[:, ::finer, ::finer]
        power = power * spectrum.power()
        if math.isfinite(floor):
            power = power / np.maximum(power, floor * power[:, :1, :1])
        return np.asarray(power / mean_over_frequencies(power)[:, np.newaxis, np.newaxis])


@dataclass(frozen=True, eq=False)
class WindowFilter:
    """The filters of n windows, on the frequencies of a real transform; one may serve for all."""

    #: What the pixels are multiplied with ``(n, size, size // 2 + 1)``: psi, or 1 for pixels that
    #: stay as they are.
    transfer: Pixels
    #: Transforms of the filter's energy, between pixels and between bins of 2 x 2 of them; about the
    #: same for all windows.
    energy: Pixels
    binned_energy: Pixels
    #: Factor of every member's variance in that of the filtered pixels, and its level ``(n,)``.
    weights: Sequence[NDArray[np.float64]]
    levels: Sequence[NDArray[np.float64]]
    #: ``|K(k)|^2 R(k)`` of every member.
    gains: Sequence[Pixels]

    @property
    def whitens(self) -> bool:
        """Whether it changes the pixels."""
        return bool((self.transfer != 1).any())

    @property
    def unit(self) -> NDArray[np.float64]:
        """Expected sigma of the filtered pixels ``(n,)``."""
        pairs = zip(self.weights, self.levels, strict=True)
        return np.asarray(np.sqrt(reduce(np.add, (weight * level for weight, level in pairs))))


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
        # Transforms of kernels that are the same everywhere are kept, and filters that are.
        self._same = [_all_equal(one.stamps) for one in sides.members]
        self._one = sides.same
        self._least = max(one.reach for one in sides.members)
        self._kept: dict[tuple[object, int], Pixels] = {}
        self._filter: dict[int, WindowFilter] = {}

    def at(self, numbers: NDArray[np.intp], shape: tuple[int, int]) -> WindowFilter:
        """Return the filters of some windows, for transforms that hold a tile ``(ny, nx)``."""
        size = 2 * fast_length(-(-max(*shape, self._least) // 2))
        if not self._one:
            return self._made(numbers, size)
        if size not in self._filter:
            self._filter[size] = self._made(numbers[:1], size)
        return self._filter[size]

    def _made(self, numbers: NDArray[np.intp], size: int) -> WindowFilter:
        gains, levels = self._gains(numbers, size), self._levels(numbers)
        square = self._square(gains, levels, size)
        scales = [side.scale[numbers] ** 2 for side in self._sides.members]
        return WindowFilter(
            np.sqrt(square),
            self._cached("energy", size, lambda: self._energy(size, 1)),
            self._cached("binned", size, lambda: self._energy(size, 2)),
            [
                scale * mean_over_frequencies(square * gain)
                for scale, gain in zip(scales, gains, strict=True)
            ],
            [side.level[numbers] for side in self._sides.members],
            gains,
        )

    def _energy(self, size: int, side: int) -> Pixels:
        """Return the transform of the energy of one filter, the same whoever asks first."""
        middle = np.array([len(self._sides.science) // 2])
        square = self._square(self._gains(middle, size), self._levels(middle), size)
        return _energy(np.sqrt(square)[0], size, side)

    def _levels(self, numbers: NDArray[np.intp]) -> list[NDArray[np.float64]]:
        """Return the noise variances of all members in the difference, at some windows."""
        return [one.level[numbers] * one.scale[numbers] ** 2 for one in self._sides.members]

    def _square(
        self, gains: Sequence[Pixels], levels: Sequence[NDArray[np.float64]], size: int
    ) -> Pixels:
        """Return ``|psi(k)|^2``, or 1."""
        power = np.zeros((len(levels[0]), size, size // 2 + 1), np.float32)
        if math.isinf(self._floor):
            return power + 1
        zero = [gain[:, 0, 0].astype(np.float64) for gain in gains]
        unit = reduce(np.add, (level * gain for level, gain in zip(levels, zero, strict=True)))
        with np.errstate(over="ignore", invalid="ignore"):  # numbers of a damaged kernel
            for level, gain in zip(levels, gains, strict=True):
                power += gain * (level / unit).astype(np.float32)[:, np.newaxis, np.newaxis]
        return np.asarray(1 / np.maximum(power, np.float32(self._floor)))

    def _gains(self, numbers: NDArray[np.intp], size: int) -> list[Pixels]:
        """Return ``|K(k)|^2 R(k)`` of all members at some windows, once if it is the same."""
        return [self._gain(which, numbers, size) for which in range(len(self._sides.members))]

    def _gain(self, which: int, numbers: NDArray[np.intp], size: int) -> Pixels:
        """Return ``|K(k)|^2 R(k)`` of one member at some windows."""
        side = self._sides.members[which]

        def make(some: NDArray[np.intp]) -> Pixels:
            return _gain(side[some], size) * self._cached(
                "R", size, lambda: self._spectrum.power(size)
            )

        if self._same[which]:
            return self._cached(which, size, lambda: make(numbers[:1]))
        return make(numbers)

    def _cached(self, what: object, size: int, make: Callable[[], NDArray[Any]]) -> Pixels:
        if (what, size) not in self._kept:
            self._kept[what, size] = make().astype(np.float32, copy=False)
        return self._kept[what, size]


def _all_equal(values: NDArray[np.float64]) -> bool:
    """Say whether values are the same at all places."""
    return bool((values == values[:1]).all())


def _gain(side: NoiseSide, size: int) -> Pixels:
    """Return ``|K(k)|^2`` of the kernels of one member at its places."""
    stamps, _ = side.noise_stamps
    stamps = stamps.astype(np.float32)
    if stamps.shape[1:] == (1, 1):
        return np.asarray(stamps**2)
    transform = single_transform(stamps, (size, size))
    return np.asarray(transform.real**2 + transform.imag**2) * np.float32(size**2)


def _energy(transfer: Pixels, size: int, side: int) -> Pixels:
    """Return the transform of the square of a filter, between bins of `side` (1 or 2) pixels.

    That is, of the mean share that the pixels of a bin take from other pixels.
    """
    energy = single_inverse(transfer, (size, size)) ** 2
    energy /= energy.sum()
    energy[0, 0] = 0
    if side == 2:
        for axis in (0, 1):
            energy = energy / 2 + (np.roll(energy, 1, axis) + np.roll(energy, -1, axis)) / 4
    binned = np.ascontiguousarray(energy[::side, ::side])
    # The scale of single_transform is taken off.
    return single_transform(binned, binned.shape).real * np.float32(size // side)


@dataclass(frozen=True, eq=False)
class Tile:
    """Pixels of n windows ``(n, ny, nx)``, with `MARGIN` pixels on every side; both axes even."""

    difference: NDArray[Any]
    usable: NDArray[np.bool_]
    sky: NDArray[np.bool_]
    variances: Sequence[NDArray[Any] | None]


#: The windows in their tiles.
_CORE = np.s_[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def tile_sums(tile: Tile, by: WindowFilter, parts: int, max_lag: int = MAX_LAG) -> TileSums:
    """Return the sums over the sky pixels of windows, and how many there were in all ``(n,)``.

    They are those of `parts` x `parts` blocks of every window.
    """
    pixels, good = _without_level(tile, by.unit)
    sky = tile.sky[_CORE] & good[_CORE]
    all_sky = np.count_nonzero(sky, axis=(1, 2))
    if by.whitens:
        values = _filtered(pixels, by.transfer)
        if not good.all():
            sky &= _little_filled(good, by)
    else:
        values = pixels[_CORE].copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        values /= np.sqrt(_variance(tile, by))  # not finite where it is not known
        limits = _CLIP * _quartiles(values, sky)[1]
        sky &= np.abs(values) < limits.astype(np.float32)[:, np.newaxis, np.newaxis]
    # The level is that of all sky pixels, so it takes less from those that are left.
    share = np.count_nonzero(sky, axis=(1, 2)) / np.maximum(all_sky, 1)
    removed = np.maximum(1.0, _LEVEL_TERMS * share)
    return block_sums(values, sky, max_lag, parts, removed), all_sky


def mean_over_frequencies(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean of real transforms ``(..., size, size // 2 + 1)`` over all frequencies."""
    size = values.shape[-2]
    columns = np.add.reduce(values, axis=-2).astype(np.float64)
    alone = [0] if size % 2 else [0, -1]
    return np.asarray((2 * columns.sum(axis=-1) - columns[..., alone].sum(axis=-1)) / size**2)


def _without_level(tile: Tile, unit: NDArray[np.float64]) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return the difference minus its local level, in a unit; and where it was not set to 0.

    Source light is left where it is faint: zeros would take noise away from the pixels around.
    """
    reference, spread = _quartiles(tile.difference, tile.sky)
    precision = tile.difference.dtype.type
    at, units = (
        each.astype(precision)[:, np.newaxis, np.newaxis] for each in (reference, unit)
    )
    limits = (_FILLED * spread / unit).astype(np.float32)[:, np.newaxis, np.newaxis]
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = np.subtract(tile.difference, at)
        pixels /= units
        pixels = pixels.astype(np.float32, copy=False)
        good = np.abs(pixels) < limits
    good &= tile.usable
    filled = ~good
    np.copyto(pixels, np.float32(0), where=filled)
    level, slopes = _level(pixels, tile.sky[_CORE] & good[_CORE])
    pixels -= level[:, :, np.newaxis]
    pixels -= slopes[:, np.newaxis]
    np.copyto(pixels, np.float32(0), where=filled)
    return pixels, good


def _level(pixels: Pixels, sky: NDArray[np.bool_]) -> tuple[Pixels, Pixels]:
    """Return the levels of tiles: the planes that fit the sky pixels of the windows best.

    They are what rows ``(n, ny)`` and columns ``(n, nx)`` add. Anything finer would take noise
    away.
    """
    ny, nx = pixels.shape[1:]
    known = sky.astype(np.float32)
    y, x = (np.arange(length, dtype=np.float32) - (length - 1) / 2 for length in known.shape[1:])
    of_y, of_x = (np.stack([np.ones_like(axis), axis, axis**2]) for axis in (y, x))
    moments = (of_y @ known @ of_x.T).astype(np.float64)
    known *= pixels[_CORE]
    sums = (of_y[:2] @ known @ of_x[:2].T).astype(np.float64)
    rows = [(0, 0), (1, 0), (0, 1)], [(1, 0), (2, 0), (1, 1)], [(0, 1), (1, 1), (0, 2)]
    matrix = np.stack([np.stack([moments[:, a, b] for a, b in row], -1) for row in rows], -2)
    # A little of a prior keeps slopes of a few pixels in a corner from running away.
    matrix += np.diag([1.0, ny**2 / 12, nx**2 / 12])
    right = np.stack([sums[:, 0, 0], sums[:, 1, 0], sums[:, 0, 1]], axis=-1)
    level, slope_y, slope_x = np.linalg.solve(matrix, right[..., np.newaxis])[..., 0].T
    along_y, along_x = (np.arange(length) - (length - 1) / 2 for length in (ny, nx))
    of_rows = level[:, np.newaxis] + np.multiply.outer(slope_y, along_y)
    return of_rows.astype(np.float32), np.multiply.outer(slope_x, along_x).astype(np.float32)


def _filtered(pixels: Pixels, transfer: Pixels) -> Pixels:
    """Return the windows' pixels, multiplied in Fourier space."""
    size, (ny, nx) = transfer.shape[-2], pixels.shape[1:]
    transform = single_transform(pixels, (size, size))
    transform *= transfer
    rows = single_inverse(transform, (size, size), slice(MARGIN, ny - MARGIN))
    return np.asarray(rows[:, :, MARGIN : nx - MARGIN])


def _little_filled(good: NDArray[np.bool_], by: WindowFilter) -> NDArray[np.bool_]:
    """Return the pixels of windows that the filter makes little of filled ones.

    Where these are few, bins of 2 x 2 pixels tell it well enough, at a quarter of the cost.
    """
    filled = (~good).view(np.uint8)
    core = filled[_CORE]
    side = 2 if np.count_nonzero(core) < _FEW_FILLED * core.size else 1
    if side == 2:
        rows = filled[:, ::2] + filled[:, 1::2]
        filled = rows[:, :, ::2] + rows[:, :, 1::2]
    energy = by.binned_energy if side == 2 else by.energy
    size, (ny, nx), margin = len(energy), filled.shape[1:], MARGIN // side
    transform = single_transform(filled.astype(np.float32), (size, size))
    transform *= energy
    shares = single_inverse(transform, (size, size), slice(margin, ny - margin))
    little = shares[:, :, margin : nx - margin] < np.float32(_FILLED_SHARE)
    return little.repeat(2, axis=2).repeat(2, axis=1) if side == 2 else little


def _variance(tile: Tile, by: WindowFilter) -> Pixels:
    """Return the variance of the windows' filtered pixels, in their unit."""
    total, unit = np.zeros((1, 1, 1), np.float32), by.unit**2
    members = zip(tile.variances, by.weights, by.levels, by.gains, strict=True)
    for plane, weight, level, gain in members:
        factor = (weight / unit)[:, np.newaxis, np.newaxis]
        if plane is None:
            total = total + (level[:, np.newaxis, np.newaxis] * factor).astype(np.float32)
            continue
        part = _spread_variances(plane, tile.sky, by.transfer, gain)
        # In units like erg/s/cm2/Hz neither the variance nor the factor fits single precision.
        precision = np.float32 if single_holds(level) and single_holds(factor) else np.float64
        with np.errstate(over="ignore", invalid="ignore"):  # not known where it is not finite
            total = total + np.multiply(part, factor, dtype=precision).astype(np.float32, copy=False)
    return total


def _spread_variances(
    plane: NDArray[Any], sky: NDArray[np.bool_], transfer: Pixels, gain: Pixels
) -> NDArray[Any]:
    """Return the variances of windows as the filters spread them, where they step within reach."""
    core, known = plane[_CORE], sky[_CORE]
    levels = _means(core, known)
    stepping = np.flatnonzero((levels > 0) & _steps(core, known, levels))
    if stepping.size:
        core = core.copy()
    for i in stepping.tolist():
        filter_, own = (one[min(i, len(one) - 1)] for one in (transfer, gain))
        core[i] = _spread_variance(plane[i], filter_, own, float(levels[i]))
    return core


def _spread_variance(
    plane: NDArray[Any], transfer: Pixels, gain: Pixels, level: float
) -> NDArray[Any]:
    """Return the variance of a window as the filter spreads it.

    What it spreads over is the square of the kernel from the image to the filtered difference; its
    phase hardly matters.
    """
    shape = len(transfer), len(transfer)
    whole = np.broadcast_to(transfer * np.sqrt(gain), transfer.shape)
    share = single_transform(single_inverse(whole, shape) ** 2, shape).real
    with np.errstate(invalid="ignore"):
        known = np.isfinite(plane) & (plane > 0) & (plane < _STEEP * level)
    relative = np.where(known, plane / level, 1).astype(np.float32)
    spread = _filtered(relative[np.newaxis], share / share[0, 0])[0] * level
    inner = _CORE[1:]
    return np.where(known[inner], spread, plane[inner])


def _means(values: NDArray[Any], sky: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the means ``(n,)`` of every so-manyth row of the sky pixels of windows, 0 for none."""
    every, known = values[:, ::_ROWS], sky[:, ::_ROWS]
    total = np.where(known, every, values.dtype.type(0)).sum(axis=2).sum(axis=1, dtype=np.float64)
    return np.asarray(total / np.maximum(np.count_nonzero(known, axis=(1, 2)), 1))


def _steps(
    values: NDArray[Any], sky: NDArray[np.bool_], levels: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Say which variances differ much from one sky pixel to the next but a few."""
    steps = np.zeros(len(values), dtype=bool)
    scale = np.where(levels > 0, levels, 1.0).astype(values.dtype)[:, np.newaxis, np.newaxis]
    across = values[:, ::16], sky[:, ::16]
    along = (each[:, :, ::16].swapaxes(1, 2) for each in (values, sky))
    for plane, known in (across, tuple(along)):
        both = known[..., _STEP:] & known[..., :-_STEP]
        with np.errstate(invalid="ignore"):
            change = np.minimum(np.abs(plane[..., _STEP:] - plane[..., :-_STEP]) / scale, 1)
        total = np.where(both, change, 0).sum(axis=(1, 2))
        steps |= total > _CHANGE * np.maximum(np.count_nonzero(both, axis=(1, 2)), 1)
    return steps


def _quartiles(
    values: NDArray[np.floating], sky: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return median and robust sigma ``(n,)`` of samples of the sky pixels of windows.

    They are 0 and infinite where there are too few.
    """
    rows = [one[:, ::_ROWS] for one in (values, sky)]
    # An odd step goes through all columns of windows, whose sizes are even.
    step = math.prod(rows[0].shape[1:]) // _SAMPLE | 1
    every, known = (one.reshape(len(one), -1)[:, ::step] for one in rows)
    ordered = np.sort(np.where(known, every, values.dtype.type(np.nan)), axis=1)  # NaN last
    number = np.count_nonzero(known & ~np.isnan(every), axis=1)
    places = _SHARES * np.maximum(number - 1, 0)
    lower, middle, upper = np.take_along_axis(ordered.T, places.astype(np.intp), axis=0)
    spread = _SIGMA_OF_IQR * (upper.astype(np.float64) - lower)
    few = number < _FEWEST
    return np.where(few, 0.0, middle), np.where(few, math.inf, spread)
