"""Filters: how they are made, and the pixels and variance of what they are applied to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.core.convolve import Convolution
from diffdecor.core.fill import constant_filled, locally_filled
from diffdecor.core.interpolate import KernelField, SquaredField
from diffdecor.core.noise import NoiseSide
from diffdecor.core.parallel import once
from diffdecor.core.planes import LazyPlane, Plane, bands, constant_plane, in_chunks
from diffdecor.core.statistics import clipped_mean
from diffdecor.core.summed_variance import summed_squares
from diffdecor.core.variance import (
    combined_kernels,
    full_variance,
    single_holds,
    variance_weights,
    weighted_variance,
)
from diffdecor.core.whitening import MEASURED_TAIL, TAIL, compact_filters
from diffdecor.decorrelation.nodes import Places
from diffdecor.decorrelation.noise_levels import NoiseLevels
from diffdecor.decorrelation.subtraction import ROLES, Subtraction
from diffdecor.images.model import Exposure

#: Pixels this many sigma from zero make single precision too coarse for their neighbours.
_BRIGHT_LIMIT = 1e5
#: Variances this many times the noise level have the same effect.
_BRIGHT_VARIANCE_LIMIT = 1e4
#: No pixel is this many sigma from zero: such numbers stand for missing data.
_IMPOSSIBLE = 1e15


@dataclass(frozen=True, eq=False)
class FilterGrid:
    """Filters on the nodes of a grid, row by row, and the noise that they were made for."""

    #: Rising columns and rows of the nodes, 0-based pixels; one of each is one filter for all.
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    #: 0-based ``(x, y)`` at which the matching kernel was taken ``(n, 2)``.
    positions: NDArray[np.float64]
    #: Decorrelation kernels psi of unit sum ``(n, 2m + 1, 2m + 1)``, origin in the middle.
    stamps: NDArray[np.float64]
    science: NoiseSide
    template: NoiseSide
    #: Largest share of a filter's L2 norm that was cut off.
    tail: float

    def only(self, number: int) -> FilterGrid:
        """Return one of the filters, for the whole image."""
        at, node = slice(number, number + 1), np.zeros(1)
        return FilterGrid(
            *(node, node, self.positions[at], self.stamps[at]),
            *(self.science[at], self.template[at], self.tail),
        )

    def at(self, columns: NDArray[np.intp], rows: NDArray[np.intp]) -> FilterGrid:
        """Return the filters at some columns and rows of the nodes, by their numbers."""
        numbers = np.add.outer(rows * len(self.x), columns).ravel()
        return FilterGrid(
            *(self.x[columns], self.y[rows], self.positions[numbers], self.stamps[numbers]),
            *(self.science[numbers], self.template[numbers], self.tail),
        )

    def kernels(
        self, stamps: NDArray[np.float64], origin: tuple[int, int] | None = None
    ) -> KernelField:
        """Return stamps ``(n, ky, kx)``, by default with the origin in the middle, on this grid."""
        nodes = (len(self.y), len(self.x), *stamps.shape[1:])
        centre = (stamps.shape[2] // 2, stamps.shape[1] // 2)
        return KernelField(self.x, self.y, stamps.reshape(nodes), origin or centre)

    @property
    def psi(self) -> KernelField:
        """The filters over the image."""
        return self.kernels(self.stamps)

    @property
    def half_width(self) -> int:
        """Half width m of the filters, pixels."""
        return int(self.stamps.shape[-1] // 2)

    @property
    def power(self) -> NDArray[np.float64]:
        """Noise power of the difference at zero frequency, the variance of the result, ``(n,)``."""
        return self.science.zero_power + self.template.zero_power


def make_filters(subtraction: Subtraction, places: Places, levels: NoiseLevels) -> FilterGrid:
    """Make the filters that whiten the noise of the difference at places."""
    config = subtraction.config
    sides = subtraction.noise_sides(places.positions, levels.science, levels.template)
    tail = TAIL if subtraction.spectra is None else MEASURED_TAIL
    made = compact_filters(*sides, score=config.score, tail=tail, threads=subtraction.threads)
    return FilterGrid(places.x, places.y, places.positions, made.stamps, *sides, made.tail)


def with_enough_precision(subtraction: Subtraction, filters: FilterGrid) -> Subtraction:
    """Switch to double precision where single precision cannot hold the pixels."""
    if subtraction.config.precision == "double" or single_holds(np.sqrt(filters.power)):
        return subtraction
    return replace(subtraction, config=replace(subtraction.config, precision="double"))


def with_possible_pixels(subtraction: Subtraction, filters: FilterGrid) -> Subtraction:
    """Make the pixels of the difference floats, impossible ones like 1e30 NaN."""
    difference = subtraction.difference
    image, limit = difference.image, _IMPOSSIBLE * float(np.sqrt(filters.power.max()))

    def read(rows: slice) -> NDArray[Any]:
        pixels = image[rows]
        if pixels.dtype.kind != "f":
            pixels = pixels.astype(np.float64)
        highest, lowest = np.fmax.reduce(pixels, None), np.fmin.reduce(pixels, None)
        if max(float(highest), -float(lowest)) < limit:
            return pixels
        with np.errstate(over="ignore"):  # the limit may be beyond the pixels' precision
            return np.where((np.abs(pixels) >= limit) & ~np.isinf(pixels), np.nan, pixels)

    possible = replace(difference, image=LazyPlane(subtraction.shape, read))
    # A difference alone is its own noisy image, too: it must stay one exposure.
    return subtraction.with_exposures(lambda one: possible if one is difference else one)


def filter_image(
    subtraction: Subtraction, unusable: Plane, filters: FilterGrid
) -> tuple[LazyPlane, list[slice]]:
    """Return the decorrelated pixels, and the rows that are best computed together.

    The pixels of the difference are floats. Unusable ones are filled for the filter, and keep their
    values.
    """
    image, config = subtraction.difference.image, subtraction.config
    if config.fill == "mean":
        finite = constant_filled(image, _mean(image))
    else:
        finite = locally_filled(image, unusable, once(lambda: _background(image, unusable)))
    convolution = Convolution(
        (finite, filters.psi),
        edges=config.edges,
        precision=config.precision,
        bright_limit=_BRIGHT_LIMIT * float(np.sqrt(filters.power.min())),
    )

    def read(rows: slice) -> NDArray[Any]:
        result = convolution[rows]
        filled = unusable[rows]
        if filled.any():
            result[filled] = image[rows][filled]
        return result

    return LazyPlane(subtraction.shape, read), convolution.bands


def _mean(plane: Plane) -> float:
    """Return the mean of the finite pixels of a plane, 0 if there are none."""
    total, count = 0.0, 0
    for rows in bands(plane.shape):
        pixels = plane[rows]
        finite = np.isfinite(pixels)
        total += float(pixels.sum(dtype=np.float64, where=finite))
        count += int(np.count_nonzero(finite))
    return total / count if count else 0.0


def _background(plane: Plane, unusable: Plane) -> float:
    """Return the level of the usable pixels of rows and columns spread over a plane."""
    ny, nx = plane.shape
    step = max(1, nx // 512)
    some = []
    for y in range(0, ny, max(1, ny // 64)):
        row = slice(y, y + 1)
        some.append(plane[row][:, ::step][~unusable[row][:, ::step]])
    level = clipped_mean(np.concatenate(some))
    return level if np.isfinite(level) else 0.0


@dataclass(frozen=True, eq=False)
class _Source:
    """A variance plane, and the kernels its noise went through in the difference."""

    plane: Plane
    exposure: Exposure
    side: NoiseSide
    #: Whether it is one of several images of a stack.
    stacked: bool


def _sources(subtraction: Subtraction, filters: FilterGrid) -> Iterator[_Source]:
    for role, side in zip(ROLES, (filters.science, filters.template), strict=True):
        members = subtraction.members(role)
        if not members:  # of a difference alone
            continue
        for member, noise in zip(members, side.members, strict=True):
            plane = member.exposure.variance
            if plane is None:
                plane = constant_plane(float(noise.level.mean()), subtraction.shape)
            yield _Source(plane, member.exposure, noise, len(side.members) > 1)


def propagate_variance(subtraction: Subtraction, filters: FilterGrid) -> LazyPlane:
    """Return the variance of the decorrelated pixels, in the unit of the difference squared.

    It is not finite where that of either image is not.
    """
    config, sources = subtraction.config, list(_sources(subtraction, filters))
    if config.variance == "weighted":
        double = _precision(filters, sources, config)["precision"] == "double"
        return in_chunks(_sum([_weighted(source, filters, double=double) for source in sources]))
    # Where an image of a stack has no data, only its own part is missing; all others are one part.
    alone = [[source] for source in sources if source.stacked]
    together = [source for source in sources if not source.stacked]
    groups = [*alone, together] if together else alone
    return _sum([_convolved(group, filters, config) for group in groups])


def summed_variance(
    subtraction: Subtraction, filters: FilterGrid, weights: KernelField
) -> LazyPlane:
    """Return the variance of decorrelated pixels that are convolved with weights on the same nodes.

    Whatever the options say of the variance plane, it is exact: near bright sources and steps of
    the noise level pixels are correlated, so it is not the sum of their variances. Images without
    variance planes count with their noise levels.
    """
    config, sources = subtraction.config, list(_sources(subtraction, filters))

    def known(source: _Source) -> LazyPlane:
        # Where an image of a stack has no data it contributed nothing.
        if source.stacked:
            return constant_filled(source.plane, 0.0)
        return _filled_variance(source, config)

    squares = summed_squares(filters.psi, weights, [source.side for source in sources])
    return full_variance(
        *zip(map(known, sources), squares, strict=True),
        edges=config.edges,
        **_precision(filters, sources, config),
    )


def _precision(
    filters: FilterGrid, sources: Sequence[_Source], config: DecorrelationConfig
) -> dict[str, Any]:
    """Return the precision in which variances are convolved, and up to which variance."""
    double = config.precision == "double" or not single_holds(filters.power)
    levels = np.concatenate([source.side.level for source in sources])
    return {
        "precision": "double" if double else "single",
        "bright_limit": _BRIGHT_VARIANCE_LIMIT * float(levels.min()),
    }


def claimed_variance(subtraction: Subtraction, filters: FilterGrid) -> LazyPlane:
    """Return the variance of the difference as it was that its images claim, their noise white."""
    white = replace(
        filters,
        stamps=np.ones((len(filters.stamps), 1, 1)),
        science=_white(filters.science),
        template=_white(filters.template),
    )
    weighted = replace(subtraction, config=replace(subtraction.config, variance="weighted"))
    return propagate_variance(weighted, white)


def _white(side: NoiseSide) -> NoiseSide:
    """Return a side whose noise is white in the image."""
    return replace(side, noise=None, parts=tuple(_white(part) for part in side.parts))


def _sum(parts: Sequence[LazyPlane]) -> LazyPlane:
    """Return the sum of planes."""

    def read(rows: slice) -> NDArray[Any]:
        total = parts[0][rows]
        for part in parts[1:]:
            total += part[rows]
        return total

    return LazyPlane(parts[0].shape, read)


def _weighted(source: _Source, filters: FilterGrid, *, double: bool) -> LazyPlane:
    weights = variance_weights(filters.psi, source.side)
    part = weighted_variance(source.plane, weights, np.float64 if double else np.float32)
    return _with_missing(part, [source]) if source.stacked else part


def _convolved(
    sources: Sequence[_Source], filters: FilterGrid, config: DecorrelationConfig
) -> LazyPlane:
    combined = (combined_kernels(filters.stamps, source.side) for source in sources)
    squares = (SquaredField(filters.kernels(*kernels)) for kernels in combined)
    part = full_variance(
        *zip((_filled_variance(source, config) for source in sources), squares, strict=True),
        edges=config.edges,
        **_precision(filters, sources, config),
    )
    return _with_missing(part, sources)


def _with_missing(part: Plane, sources: Sequence[_Source]) -> LazyPlane:
    """Return a part of the variance, missing where a source is missing.

    Where an image of a stack has no data, it contributed nothing to the sum.
    """

    def read(rows: slice) -> NDArray[Any]:
        variance = part[rows]
        for source in sources:
            raw = source.plane[rows]
            missing = ~np.isfinite(raw)
            if missing.any():
                variance[missing] = 0 if source.stacked else raw[missing]
        return variance

    return LazyPlane(part.shape, read)


def _filled_variance(source: _Source, config: DecorrelationConfig) -> LazyPlane:
    """Return a variance plane whose unusable pixels are filled: finite values."""
    plane, exposure = source.plane, source.exposure
    level = float(np.median(source.side.level))
    if config.fill == "mean":
        return constant_filled(plane, level)
    bits = exposure.mask_planes.value(config.fill_planes)

    def read(rows: slice) -> NDArray[np.bool_]:
        bad = ~np.isfinite(plane[rows])
        if exposure.mask is not None:
            bad |= (exposure.mask[rows] & bits) != 0
        return np.asarray(bad)

    return locally_filled(plane, LazyPlane(exposure.shape, read), lambda: level)
