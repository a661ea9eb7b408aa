"""The filters that windows are whitened with, each from the noise at its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import fast_length, single_inverse, single_transform
from diffdecor.core.noise import NoiseSide
from diffdecor.core.spectrum import SIZE, LogSpectrum
from diffdecor.core.whitening import FLOOR

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
    #: Transforms of the filter's energy between pixels, and between bins of 2 x 2; about the
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
        """Return the transform of the energy of one filter, always that of the middle window."""
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


def mean_over_frequencies(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean of real transforms ``(..., size, size // 2 + 1)`` over all frequencies."""
    size = values.shape[-2]
    columns = np.add.reduce(values, axis=-2).astype(np.float64)
    alone = [0] if size % 2 else [0, -1]
    return np.asarray((2 * columns.sum(axis=-1) - columns[..., alone].sum(axis=-1)) / size**2)
