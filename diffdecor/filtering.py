"""Filters on a triple of exposures: the pixels, the variance and the mask of the result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.core.convolve import KernelField, convolved
from diffdecor.core.grid import Window
from diffdecor.core.masks import (
    constant_filled,
    locally_filled,
)
from diffdecor.core.noise import AnySide, NoiseSide
from diffdecor.core.planes import ComputedPlane, Plane, constant_plane
from diffdecor.core.statistics import clipped_mean
from diffdecor.core.variance import full_variance, squared_kernels, weighted_variance
from diffdecor.images import Exposure


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
        """Return the same exposures within a window."""
        return Triple(
            science=_cut(self.science, window),
            template=_cut(self.template, window),
            difference=_cut(self.difference, window),
            science_stack=tuple(_cut(exposure, window) for exposure in self.science_stack),
            template_stack=tuple(_cut(exposure, window) for exposure in self.template_stack),
        )


def _cut(exposure: Exposure, window: Window) -> Exposure:
    """Return the planes of an exposure within a window."""

    def inside(plane: Plane | None) -> NDArray[Any] | None:
        return None if plane is None else np.asarray(plane[window.rows])[:, window.columns]

    return replace(
        exposure,
        image=np.asarray(exposure.image[window.rows])[:, window.columns],
        variance=inside(exposure.variance),
        mask=inside(exposure.mask),
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
    def psi(self) -> KernelField:
        """The filters as a field over the image."""
        return self.kernels(self.filters)

    def squares(self, side: NoiseSide) -> KernelField:
        """Return the squared kernels of a side's variance plane as a field over the image."""
        return self.kernels(*squared_kernels(self.filters, side))


def filled_difference(
    difference: Exposure, bad: Plane, config: DecorrelationConfig
) -> ComputedPlane:
    """Return the pixels of the difference with its holes filled.

    Parameters
    ----------
    difference : Exposure
        The difference.
    bad : plane (ny, nx)
        Its holes.
    config : DecorrelationConfig
        How to fill.

    Returns
    -------
    ComputedPlane
        Finite pixels.
    """
    pixels = np.asarray(difference.image[0 : difference.shape[0]])
    if config.fill == "mean":
        finite = pixels[np.isfinite(pixels)]
        return constant_filled(pixels, float(finite.mean(dtype=np.float64)) if finite.size else 0.0)
    good = ~np.asarray(bad[0 : difference.shape[0]])
    step = (
        slice(None, None, max(1, pixels.shape[0] // 512)),
        slice(None, None, max(1, pixels.shape[1] // 512)),
    )
    level = clipped_mean(pixels[step][good[step]])
    return locally_filled(pixels, bad, level if np.isfinite(level) else 0.0)


def filter_image(
    difference: Exposure, bad: Plane, psi: KernelField, config: DecorrelationConfig
) -> NDArray[np.float64]:
    """Return the decorrelated pixels of a difference; its holes are as they were.

    Parameters
    ----------
    difference : Exposure
        The difference.
    bad : plane (ny, nx)
        Its holes.
    psi : KernelField
        Decorrelation kernels.
    config : DecorrelationConfig
        How to fill, and what lies beyond the border.

    Returns
    -------
    array (ny, nx)
        Pixels in the unit of the difference.
    """
    plane = filled_difference(difference, bad, config)
    result = convolved(plane, psi, edges=config.edges)  # type: ignore[arg-type]
    everything = slice(0, difference.shape[0])
    restored = np.asarray(bad[everything])
    result[restored] = np.asarray(difference.image[everything])[restored]
    return result


def result_variance(
    triple: Triple, field: Field, config: DecorrelationConfig
) -> NDArray[np.float64]:
    """Return the variance of the decorrelated pixels; not finite where either image's is not.

    Parameters
    ----------
    triple : Triple
        The exposures.
    field : Field
        Filters and noise.
    config : DecorrelationConfig
        Weighted or full variance, how to fill, what lies beyond the border.

    Returns
    -------
    array (ny, nx)
        Variances in the unit of the difference squared.
    """
    total = np.zeros(triple.shape)
    sources = [
        (exposure, member, len(side.members) > 1)
        for role, side in (("science", field.science), ("template", field.template))
        for exposure, member in zip(triple.noise_of(role), side.members, strict=True)
    ]
    for exposure, side, stacked in sources:
        plane: Plane = (
            constant_plane(float(side.level.mean()), triple.shape)
            if exposure.variance is None
            else exposure.variance
        )
        squares = field.squares(side)
        if config.variance == "full":
            filled = _filled_variance(plane, exposure, side, config)
            parts = full_variance(filled, squares, edges=config.edges)  # type: ignore[arg-type]
        else:
            weights = squares.stamps.sum(axis=(2, 3), keepdims=True)
            parts = weighted_variance(plane, KernelField(field.x, field.y, weights, (0, 0)))
        for rows, part in parts:
            raw = np.asarray(plane[rows], dtype=np.float64)
            # One of many images that has no data here has left none in their sum.
            total[rows] += np.where(np.isfinite(raw), part, 0.0 if stacked else raw)
    return total


def _filled_variance(
    plane: Plane, exposure: Exposure, side: NoiseSide, config: DecorrelationConfig
) -> ComputedPlane:
    """Return a variance plane with finite values in its holes."""
    level = float(np.median(side.level))
    if config.fill == "mean":
        return constant_filled(plane, level)
    bits = exposure.mask_planes.value(config.fill_planes)

    def read(rows: slice) -> NDArray[np.bool_]:
        bad = ~np.isfinite(plane[rows])
        if exposure.mask is not None:
            bad |= (np.asarray(exposure.mask[rows]) & bits) != 0
        return np.asarray(bad)

    return locally_filled(plane, ComputedPlane(exposure.shape, read), level)
