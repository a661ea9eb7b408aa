"""Filters on a triple of exposures: the pixels, the variance and the mask of the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.core.convolve import Convolution
from diffdecor.core.fill import constant_filled, locally_filled
from diffdecor.core.kernelfield import KernelField
from diffdecor.core.noise import AnySide, NoiseSide
from diffdecor.core.parallel import once
from diffdecor.core.planes import (
    CachedPlane,
    LazyPlane,
    Plane,
    bands,
    constant_plane,
    in_chunks,
    part_of,
    windowed,
)
from diffdecor.core.statistics import clipped_mean
from diffdecor.core.variance import (
    full_variance,
    squared_kernels,
    squared_sums,
    weighted_variance,
)
from diffdecor.decorrelation.nodes import Window
from diffdecor.images.model import Exposure

_BRIGHT_LIMIT = 1e5
"""Pixels so many sigma from zero make single precision too coarse for those around them."""
_BRIGHT_VARIANCE_LIMIT = 1e4
"""Variances so many times that of the sky do the same to those around them."""
_IMPOSSIBLE = 1e15
"""No pixel is so many sigma from zero: who wrote it means that there is none."""


@dataclass(frozen=True, eq=False)
class Triple:
    """The three exposures of a subtraction.

    Parameters
    ----------
    science, template, difference : Exposure
        Of the same shape.
    science_stack, template_stack : tuple of Exposure
        The images that the science image or the template is the sum of, where they are known;
        only their variance planes and masks are used.
    """

    science: Exposure
    template: Exposure
    difference: Exposure
    science_stack: tuple[Exposure, ...] = ()
    template_stack: tuple[Exposure, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of every plane."""
        return self.difference.shape

    @property
    def exposures(self) -> tuple[Exposure, Exposure, Exposure]:
        """Science, template and difference."""
        return self.science, self.template, self.difference

    def noise_of(self, role: str) -> tuple[Exposure, ...]:
        """Return the exposures whose variance planes make the noise of an image, by its role."""
        exposure, stack = {
            "science": (self.science, self.science_stack),
            "template": (self.template, self.template_stack),
        }[role]
        return stack or (exposure,)

    def cut(self, window: Window) -> Triple:
        """Return the same exposures within a window, in memory."""

        def inside(plane: Plane) -> Plane:
            return part_of(plane, window.rows, window.columns)

        return self._with_planes(inside, inside)

    def through(self, window: Window) -> Triple:
        """Return the same exposures within a window, whose rows are read when they are wanted."""

        def inside(plane: Plane) -> Plane:
            return windowed(plane, window.rows, window.columns)

        return self._with_planes(inside, inside)

    def remembered(self, *, masks: bool) -> Triple:
        """Return the same exposures, whose planes remember the rows that they gave last.

        Those of masks are worth the memory only where the same rows are read many times.
        """
        return self._with_planes(CachedPlane, CachedPlane if masks else lambda mask: mask)

    def with_possible_pixels(self, field: Field) -> Triple:
        """Return the same exposures; pixels of the difference that cannot be pixels are NaN.

        Numbers like 1e30, 1e15 sigma or more from zero, stand for missing data.
        """
        image, limit = self.difference.image, _IMPOSSIBLE * float(np.sqrt(field.power.max()))

        def read(rows: slice) -> NDArray[Any]:
            pixels = _floats(image[rows])
            highest, lowest = np.fmax.reduce(pixels, None), np.fmin.reduce(pixels, None)
            if max(float(highest), -float(lowest)) < limit:
                return pixels
            with np.errstate(over="ignore"):  # the limit may be beyond the pixels' precision
                return np.where((np.abs(pixels) >= limit) & ~np.isinf(pixels), np.nan, pixels)

        possible = LazyPlane(self.shape, read)
        return replace(self, difference=replace(self.difference, image=possible))

    def _with_planes(
        self, change: Callable[[Plane], Plane], change_mask: Callable[[Plane], Plane]
    ) -> Triple:
        """Return the same exposures with other planes."""

        def exposure(old: Exposure) -> Exposure:
            return replace(
                old,
                image=change(old.image),
                variance=None if old.variance is None else change(old.variance),
                mask=None if old.mask is None else change_mask(old.mask),
            )

        return Triple(
            science=exposure(self.science),
            template=exposure(self.template),
            difference=exposure(self.difference),
            science_stack=tuple(map(exposure, self.science_stack)),
            template_stack=tuple(map(exposure, self.template_stack)),
        )


@dataclass(frozen=True, eq=False)
class Field:
    """Filters and both sides of the noise on the nodes of a grid.

    Parameters
    ----------
    x, y : array (nx,), (ny,)
        Columns and rows of the nodes, 0-based pixels.
    filters : array (ny * nx, 2m + 1, 2m + 1)
        Decorrelation kernels, row by row.
    science, template : NoiseSide or StackedSide
        Noise at the nodes, row by row.
    tail : float
        Share of the filters' L2 norm that was cut off.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    filters: NDArray[np.float64]
    science: AnySide
    template: AnySide
    tail: float = 0.0

    def kernels(
        self, stamps: NDArray[np.float64], origin: tuple[int, int] | None = None
    ) -> KernelField:
        """Return stamps ``(ny * nx, ky, kx)`` as a field over the image."""
        nodes = (len(self.y), len(self.x), *stamps.shape[1:])
        centre = (stamps.shape[2] // 2, stamps.shape[1] // 2)
        return KernelField(self.x, self.y, stamps.reshape(nodes), origin or centre)

    @property
    def power(self) -> NDArray[np.float64]:
        """Noise power of the difference at zero frequency, the variance of the result, ``(n,)``."""
        return self.science.zero_power + self.template.zero_power

    @property
    def psi(self) -> KernelField:
        """The filters as a field over the image."""
        return self.kernels(self.filters)

    def squares(self, side: NoiseSide) -> KernelField:
        """Return the squared kernels of a side's variance plane as a field over the image."""
        return self.kernels(*squared_kernels(self.filters, side))


def filtered(
    difference: Exposure, bad: Plane, field: Field, config: DecorrelationConfig
) -> tuple[LazyPlane, list[slice]]:
    """Return the decorrelated pixels of a difference; its holes are as they were.

    Parameters
    ----------
    difference : Exposure
        The difference.
    bad : plane (ny, nx)
        Its holes.
    field : Field
        Filters and noise.
    config : DecorrelationConfig
        How to fill, what lies beyond the border, and the precision.

    Returns
    -------
    LazyPlane
        Pixels in the unit of the difference.
    list of slice
        Rows that are best worked out together.
    """
    convolution = Convolution(
        (_filled_difference(difference, bad, config), field.psi),
        edges=config.edges,  # type: ignore[arg-type]
        precision=config.precision,  # type: ignore[arg-type]
        bright_limit=_BRIGHT_LIMIT * float(np.sqrt(field.power.min())),
    )

    def read(rows: slice) -> NDArray[Any]:
        result = convolution[rows]
        hole = bad[rows]
        if hole.any():
            result[hole] = difference.image[rows][hole]
        return result

    return LazyPlane(difference.shape, read), convolution.bands


def _filled_difference(difference: Exposure, bad: Plane, config: DecorrelationConfig) -> LazyPlane:
    """Return the pixels of the difference with its holes filled: finite floats."""
    pixels = LazyPlane(difference.shape, lambda rows: _floats(difference.image[rows]))
    if config.fill == "mean":
        return constant_filled(pixels, _mean(pixels))
    return locally_filled(pixels, bad, once(lambda: _background(pixels, bad)))


def _floats(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels if pixels.dtype.kind == "f" else pixels.astype(np.float64)


def _mean(plane: Plane) -> float:
    """Return the mean of the finite pixels of a plane, 0 if there are none."""
    total, count = 0.0, 0
    for rows in bands(plane.shape):
        pixels = plane[rows]
        finite = np.isfinite(pixels)
        total += float(pixels.sum(dtype=np.float64, where=finite))
        count += int(np.count_nonzero(finite))
    return total / count if count else 0.0


def _background(plane: Plane, bad: Plane) -> float:
    """Return the level of the good pixels of some rows and columns all over a plane."""
    ny, nx = plane.shape
    step = max(1, nx // 512)
    some = []
    for y in range(0, ny, max(1, ny // 64)):
        row = slice(y, y + 1)
        some.append(plane[row][:, ::step][~bad[row][:, ::step]])
    level = clipped_mean(np.concatenate(some))
    return level if np.isfinite(level) else 0.0


@dataclass(frozen=True, eq=False)
class _Source:
    """A variance plane and its way into the variance of the result."""

    plane: Plane
    exposure: Exposure
    side: NoiseSide
    stacked: bool


def _sources(triple: Triple, field: Field) -> Iterator[_Source]:
    for role, side in (("science", field.science), ("template", field.template)):
        for exposure, member in zip(triple.noise_of(role), side.members, strict=True):
            plane: Plane = (
                constant_plane(float(member.level.mean()), triple.shape)
                if exposure.variance is None
                else exposure.variance
            )
            yield _Source(plane, exposure, member, len(side.members) > 1)


def result_variance(
    triple: Triple, field: Field, config: DecorrelationConfig, dtype: DTypeLike
) -> LazyPlane:
    """Return the variance of the decorrelated pixels; not finite where either image's is not.

    Parameters
    ----------
    triple : Triple
        The exposures.
    field : Field
        Filters and noise.
    config : DecorrelationConfig
        Weighted or full variance, how to fill, what lies beyond the border.
    dtype : data type
        Type of the result.

    Returns
    -------
    LazyPlane
        Variances in the unit of the difference squared.
    """
    sources = list(_sources(triple, field))
    if config.variance == "weighted":
        return in_chunks(_added([_weighted(source, field, dtype) for source in sources]))
    # What one image of many lacks is left out of its part only; all others go in one.
    alone = [[source] for source in sources if source.stacked]
    together = [source for source in sources if not source.stacked]
    groups = [*alone, together] if together else alone
    return _added([_convolved(group, field, config, dtype) for group in groups])


def _added(parts: Sequence[LazyPlane]) -> LazyPlane:
    """Return the sum of planes."""

    def read(rows: slice) -> NDArray[Any]:
        total = parts[0][rows]
        for part in parts[1:]:
            total += part[rows]
        return total

    return LazyPlane(parts[0].shape, read)


def _weighted(source: _Source, field: Field, dtype: DTypeLike) -> LazyPlane:
    sums = squared_sums(field.filters, source.side)
    part = weighted_variance(source.plane, field.kernels(sums[:, np.newaxis, np.newaxis]), dtype)
    return _with_missing(part, [source]) if source.stacked else part


def _convolved(
    sources: Sequence[_Source], field: Field, config: DecorrelationConfig, dtype: DTypeLike
) -> LazyPlane:
    double = np.dtype(dtype) == np.float64
    levels = np.concatenate([source.side.level for source in sources])
    part = full_variance(
        *((_filled_variance(source, config), field.squares(source.side)) for source in sources),
        edges=config.edges,  # type: ignore[arg-type]
        precision="double" if double else "single",
        bright_limit=_BRIGHT_VARIANCE_LIMIT * float(levels.min()),
    )
    return _with_missing(part, sources)


def _with_missing(part: Plane, sources: Sequence[_Source]) -> LazyPlane:
    """Return a part of the variance, missing where a source is missing.

    One of many images that has no data somewhere has left none in their sum.
    """

    def read(rows: slice) -> NDArray[Any]:
        variance = part[rows]
        for source in sources:
            raw = source.plane[rows]
            missing = ~np.isfinite(raw)
            if missing.any():
                variance[missing] = 0 if source.stacked else raw[missing]
        return variance

    ny, nx = part.shape
    return LazyPlane((ny, nx), read)


def _filled_variance(source: _Source, config: DecorrelationConfig) -> LazyPlane:
    """Return a variance plane with finite values in its holes."""
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
