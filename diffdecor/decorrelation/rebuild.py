"""Rebuild a difference from its parts: the two images, the kernel, the scales, the background."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.box_sums import box_sums
from diffdecor.core.convolve import convolved
from diffdecor.core.fourier import Origin
from diffdecor.core.interpolate import KernelField
from diffdecor.kernels.model import BasisKernel, Box, MatchingKernel, Region, Side, Term

#: Distance of the positions at which a kernel without a formula is evaluated, pixels.
_SPACING = 64


def rebuild(
    kernel: MatchingKernel, science: NDArray[np.float64], template: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the difference ``(ny, nx)`` that a kernel predicts of two images.

    ``a_S (K * S) - a_T T + background`` where the science image was convolved, else ``a_S S - a_T
    (K * T) + background``. The kernel is evaluated where the tool did: at the output or the source
    pixel, or constant over blocks. NaN where there is no kernel, or it reaches over the border or
    to a pixel that is not finite.
    """
    if not isinstance(kernel, BasisKernel):
        side, scales = kernel.side(0.0, 0.0), kernel.scales(0.0, 0.0)
        return _difference(side, scales, partial(_matched_by_stamps, kernel), science, template)
    model = np.full(science.shape, np.nan)
    for region in kernel.regions:
        inside = _inside(region.box, science.shape)
        scales = region.science_scale, region.template_scale
        matched = partial(_matched, kernel, region)
        difference = _difference(region.side, scales, matched, science, template)
        background = _background(kernel, region, science.shape)
        model[inside] = difference[inside] + background[inside]
    return model


def _difference(
    side: Side | None,
    scales: tuple[float, float],
    matched: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    science: NDArray[np.float64],
    template: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Match the image of the convolved side, and subtract."""
    if side == "science":
        return scales[0] * matched(science) - scales[1] * template
    return scales[0] * science - scales[1] * matched(template)


def _inside(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return rows and columns of a box that lie in the image."""
    return (
        slice(max(0, box.ymin), min(shape[0], box.ymax + 1)),
        slice(max(0, box.xmin), min(shape[1], box.xmax + 1)),
    )


def _matched(
    kernel: BasisKernel, region: Region, image: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return an image convolved with the kernel of one region.

    The kernel is a sum of stamps, one for every term; terms are fewer than basis images.
    """
    stamps = np.tensordot(region.coefficients.T, kernel.basis, axes=1)
    filled = np.where(np.isfinite(image), image, 0.0)
    total = np.zeros(image.shape)
    x, y = (np.arange(size, dtype=np.float64) for size in image.shape[::-1])
    if region.blocks is not None:
        x, y = region.blocks.snapped(x, y)
    for term, stamp in zip(kernel.terms, stamps, strict=True):
        field = KernelField.constant(stamp, kernel.origin)
        weight = _term_values(term, region, x, y)
        if kernel.evaluated_at == "SOURCE":
            total += convolved(filled * weight, field, edges="zero")
        else:
            total += weight * convolved(filled, field, edges="zero")
    total[_incomplete(~np.isfinite(image), kernel.shape, kernel.origin)] = np.nan
    return total


def _term_values(
    term: Term, region: Region, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the value of a term at all pairs of positions ``(len(y), len(x))``."""
    return term.grid((x - region.x0) / region.xs, (y - region.y0) / region.ys)


def _background(kernel: BasisKernel, region: Region, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the additive part of the difference in one region, at every pixel."""
    x, y = (np.arange(size, dtype=np.float64) for size in shape[::-1])
    total = np.zeros(shape)
    for term, coefficient in zip(kernel.background_terms, region.background, strict=True):
        total += coefficient * _term_values(term, region, x, y)
    return total


def _incomplete(
    bad: NDArray[np.bool_], kernel_shape: tuple[int, int], origin: Origin
) -> NDArray[np.bool_]:
    """Return the pixels whose kernel reaches to a bad pixel or over the border."""
    (ky, kx), (cx, cy) = kernel_shape, origin
    ny, nx = bad.shape
    below, above, left, right = (max(0, n) for n in (ky - 1 - cy, cy, kx - 1 - cx, cx))
    ky, kx = below + above + 1, left + right + 1
    padded = np.pad(bad, ((below, above), (left, right)), constant_values=True)
    return box_sums(padded.astype(np.float64), (ky, kx))[:ny, :nx] > 0.5


def _matched_by_stamps(kernel: MatchingKernel, image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an image convolved with a kernel that is known by stamps at positions."""
    ny, nx = image.shape
    single = len(kernel.positions) == 1
    x, y = (
        np.zeros(1) if single else np.linspace(0, size - 1, max(2, -(-size // _SPACING)))
        for size in (nx, ny)
    )
    stamps = np.array([kernel.stamp(px, py) for py, px in itertools.product(y, x)])
    field = KernelField(x, y, stamps.reshape(len(y), len(x), *kernel.shape), kernel.origin)
    matched = convolved(np.where(np.isfinite(image), image, 0.0), field, edges="zero")
    matched[_incomplete(~np.isfinite(image), kernel.shape, kernel.origin)] = np.nan
    return matched
