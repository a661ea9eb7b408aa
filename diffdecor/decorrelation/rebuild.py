"""Rebuild a difference from its parts: the two images, the kernel, the scales, the background."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.box_sums import any_in_boxes
from diffdecor.core.convolve import convolved
from diffdecor.core.fourier import Origin, fast_shape, single_inverse, single_transform, transfer
from diffdecor.core.interpolate import KernelField
from diffdecor.core.planes import Window
from diffdecor.kernels.model import BasisKernel, MatchingKernel, Region, Side, Term

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
    ny, nx = science.shape
    model = np.full((ny, nx), np.nan)
    for region in kernel.regions:
        box = region.box
        inside = Window(box.xmin, box.xmax + 1, box.ymin, box.ymax + 1).within((ny, nx))
        if min(inside.shape) > 0:
            model[inside.rows, inside.columns] = _in_region(
                kernel, region, inside, science, template
            )
    return model


def _in_region(
    kernel: BasisKernel,
    region: Region,
    inside: Window,
    science: NDArray[np.float64],
    template: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the difference in a window of one region."""
    ny, nx = science.shape
    around = inside.grown(max(_margins(kernel))).within((ny, nx))
    region = region.moved(around.x0, around.y0)
    images = (image[around.rows, around.columns] for image in (science, template))
    scales = region.science_scale, region.template_scale
    model = _difference(region.side, scales, partial(_matched, kernel, region), *images)
    if kernel.background_terms:
        x, y = (np.arange(size, dtype=np.float64) for size in model.shape[::-1])
        model += _sum_of_terms(kernel.background_terms, region.background, region, x, y)
    place = inside.relative_to(around)
    return model[place.rows, place.columns]


def _difference(
    side: Side | None,
    scales: tuple[float, float],
    matched: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    science: NDArray[np.float64],
    template: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Match the image of the convolved side, and subtract."""
    if side == "science":
        return _minus(matched(science), template, scales)
    return _minus(science, matched(template), scales)


def _minus(
    first: NDArray[np.float64], second: NDArray[np.float64], scales: tuple[float, float]
) -> NDArray[np.float64]:
    """Return one image less another, each times its scale."""
    images = zip((first, second), scales, strict=True)
    first, second = (image if scale == 1 else scale * image for image, scale in images)
    return first - second


def _matched(
    kernel: BasisKernel, region: Region, image: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return an image convolved with the kernel of one region.

    The kernel is a sum of stamps whose weights vary: one for every term, or every basis image,
    whichever are fewer.
    """
    stamps, coefficients = kernel.basis, region.coefficients
    if len(kernel.terms) <= len(stamps):
        stamps, coefficients = np.tensordot(coefficients.T, stamps, 1), np.eye(len(kernel.terms))
    x, y = (np.arange(size, dtype=np.float64) for size in image.shape[::-1])
    if region.blocks is not None:
        x, y = region.blocks.snapped(x, y)
    weights = (_sum_of_terms(kernel.terms, some, region, x, y) for some in coefficients)
    known, filled = _filled(image)
    total = np.zeros(image.shape)
    if kernel.evaluated_at == "SOURCE":
        for weight, stamp in zip(weights, stamps, strict=True):
            (part,) = _convolved(filled * weight, [stamp], kernel.origin)
            total += part
    else:
        for weight, part in zip(weights, _convolved(filled, stamps, kernel.origin), strict=True):
            total += np.multiply(part, weight, out=part)
    return _with_missing(total, known, kernel)


def _convolved(
    image: NDArray[np.float64],
    stamps: Sequence[NDArray[np.float64]] | NDArray[np.float64],
    origin: Origin,
) -> Iterator[NDArray[np.float64]]:
    """Yield an image convolved with every stamp, of no use where a stamp reaches over the border.

    There it is wrapped around.
    """
    shape = fast_shape(*(max(pair) for pair in zip(image.shape, stamps[0].shape, strict=True)))
    (ny, nx), transform = image.shape, single_transform(image, shape)
    for stamp in stamps:
        product = transfer(stamp, origin, shape)
        product *= transform
        yield single_inverse(product, shape, slice(ny))[:, :nx]


def _sum_of_terms(
    terms: Sequence[Term],
    coefficients: NDArray[np.float64],
    region: Region,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return a sum of terms at all pairs of positions ``(len(y), len(x))``."""
    u, v = (x - region.x0) / region.xs, (y - region.y0) / region.ys
    total = np.zeros((len(y), len(x)))
    for term, coefficient in zip(terms, coefficients, strict=True):
        if coefficient:
            total += coefficient * term.grid(u, v)
    return total


def _filled(image: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which pixels of an image are finite, and the image with 0 in place of the others."""
    known = np.isfinite(image)
    return known, image if known.all() else np.where(known, image, 0.0)


def _with_missing(
    matched: NDArray[np.float64], known: NDArray[np.bool_], kernel: MatchingKernel
) -> NDArray[np.float64]:
    """Set pixels to NaN whose kernel reaches to one that is not known, or over the border."""
    below, above, left, right = _margins(kernel)
    bad = np.pad(~known, ((below, above), (left, right)), constant_values=True)
    matched[any_in_boxes(bad, (below + above + 1, left + right + 1))] = np.nan
    return matched


def _margins(kernel: MatchingKernel) -> tuple[int, int, int, int]:
    """Return how far the kernel reaches from a pixel: below, above, left, right."""
    (ky, kx), (cx, cy) = kernel.shape, kernel.origin
    below, above, left, right = (max(0, n) for n in (ky - 1 - cy, cy, kx - 1 - cx, cx))
    return below, above, left, right


def _matched_by_stamps(kernel: MatchingKernel, image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an image convolved with a kernel that is known by stamps at positions."""
    known, filled = _filled(image)
    if len(kernel.positions) == 1:
        (matched,) = _convolved(filled, [kernel.stamp(0.0, 0.0)], kernel.origin)
        return _with_missing(matched, known, kernel)
    x, y = (np.linspace(0, size - 1, max(2, -(-size // _SPACING))) for size in image.shape[::-1])
    stamps = np.array([kernel.stamp(px, py) for py, px in itertools.product(y, x)])
    field = KernelField(x, y, stamps.reshape(len(y), len(x), *kernel.shape), kernel.origin)
    return _with_missing(convolved(filled, field, edges="zero"), known, kernel)
