"""What there is to say about a matching kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffdecor.core.psf import adaptive_fwhm
from diffdecor.errors import KernelError
from diffdecor.kernels.model import MatchingKernel

_GRID = 9

# Limits of what is usual, as shares of the sum, of the energy, and of the median.
_VARIATION = 0.05
_LOBES = 0.5
_AT_BORDER = 0.01
_WILD = 3.0


@np.errstate(over="ignore", invalid="ignore")  # of damaged kernels, squares overflow
def describe(kernel: MatchingKernel) -> dict[str, Any]:
    """Return the facts about a kernel, over a grid of 9 x 9 positions where it varies.

    Format, size ``[kx, ky]``, origin (0-based), sides; scales, sum, FWHM and centroid offset
    (pixels; smallest, median and largest over the image); what it is made of; and a list of
    ``warnings``.
    """
    places = _positions(kernel)
    stamps = [kernel.stamp(x, y) for x, y in places]
    if any(stamp.sum() == 0 for stamp in stamps):
        msg = f"{kernel.name}: the sum of the kernel is zero; it cannot have matched two images"
        raise KernelError(msg)
    ky, kx = kernel.shape
    science_scales, template_scales = zip(*(kernel.scales(x, y) for x, y in places), strict=True)
    offsets_x, offsets_y = zip(*(_offset(stamp, kernel.origin) for stamp in stamps), strict=True)
    return {
        "file": kernel.name,
        "format": kernel.format,
        "size": [kx, ky],
        "origin": list(kernel.origin),
        "image_size": kernel.image_shape and list(kernel.image_shape[::-1]),
        "regions": len(kernel.boxes),
        "convolved": sorted({kernel.side(x, y) or "unknown" for x, y in places}),
        "science_scale": _range(science_scales),
        "template_scale": _range(template_scales),
        "sum": _range([kernel.sum(x, y) for x, y in places]),
        "fwhm": _range([_fwhm(stamp) for stamp in stamps]),
        "offset_x": _range(offsets_x),
        "offset_y": _range(offsets_y),
        **kernel.contents,
        "warnings": oddities(kernel),
    }


@np.errstate(over="ignore", invalid="ignore")  # of damaged kernels, squares overflow
def oddities(kernel: MatchingKernel) -> list[str]:
    """Return what is odd about a kernel, over the same positions as `describe`, one line each."""
    places = _positions(kernel)
    stamps = np.array([kernel.stamp(x, y) for x, y in places])
    found = []
    if any(kernel.side(x, y) is None for x, y in places):
        found.append("the convolved side is unknown; give run --convolved, or --difference here")
    low, middle, high = _range(stamps.sum(axis=(1, 2)))
    if low <= 0:
        found.append(f"the sum is negative at places (least {low:.3g}); a flux ratio is positive")
    elif high - low > _VARIATION * middle:
        found.append(f"the sum varies by {(high - low) / middle:.0%} over the image")
    with_sum = stamps[stamps.sum(axis=(1, 2)) != 0]
    if len(with_sum):
        found += _odd_shapes(with_sum)
    return [*found, *_odd_place(with_sum, kernel), *_odd_corners(kernel, stamps, places)]


def _odd_shapes(stamps: NDArray[np.float64]) -> list[str]:
    """Say whether much is in negative lobes or at the border, or the noise is amplified."""
    sums = stamps.sum(axis=(1, 2))
    flux, upright = np.abs(sums), np.sign(sums)[:, None, None] * stamps
    negative = _shares(-np.minimum(upright, 0), flux)
    border = stamps.copy()
    border[:, 1:-1, 1:-1] = 0
    edge = _shares(border**2, (stamps**2).sum(axis=(1, 2))) if min(stamps.shape[1:]) > 4 else 0.0
    energy = _shares(stamps**2, flux**2)
    found = []
    if negative > _LOBES:
        found.append(f"negative lobes hold {negative:.0%} of the sum")
    if edge > _AT_BORDER:
        found.append(
            f"the border of the stamp holds {edge:.1%} of the energy: it is cut off, or noise"
        )
    if energy > 1 + 1e-9:
        found.append(
            f"the noise is amplified: the sum of squares is {energy:.3g} times the square of the "
            "sum (the kernel sharpens; convolving the other image would not)"
        )
    return found


def _shares(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> float:
    """Return the median over all stamps of what a part of them adds up to in a whole."""
    return float(np.median(parts.sum(axis=(1, 2)) / wholes))


def _odd_place(stamps: NDArray[np.float64], kernel: MatchingKernel) -> list[str]:
    """Say whether the kernel shifts the image, or its origin is a guess."""
    (cx, cy), (ky, kx) = kernel.origin, kernel.shape
    found = []
    shifts = [_offset(stamp, kernel.origin) for stamp in stamps]
    x, y = np.median(shifts or [(0.0, 0.0)], axis=0)
    if max(abs(x), abs(y)) > 1:
        found.append(f"off centre: it shifts the image by ({x:.2f}, {y:.2f}) pixels in the median")
    if (cx, cy) == (kx // 2, ky // 2) and 0 in (kx % 2, ky % 2):
        found.append(
            f"{kx} x {ky} pixels, an even size, have no central one: the origin is pixel "
            f"({cx}, {cy}), 0-based; set another with CTRX, CTRY or --kernel-center"
        )
    return found


def _odd_corners(
    kernel: MatchingKernel, stamps: NDArray[np.float64], places: list[tuple[float, float]]
) -> list[str]:
    """Say whether the polynomials run away towards the border of the image."""
    if len(places) < 4 or len(kernel.positions):
        return []
    norms = np.sqrt((stamps**2).sum(axis=(1, 2)))
    ratio = float(norms.max() / np.median(norms)) if np.median(norms) > 0 else np.inf
    if ratio <= _WILD:
        return []
    x, y = places[int(np.argmax(norms))]
    place = f"(x, y) = ({x:.0f}, {y:.0f}), 0-based"
    return [f"runs away at {place}: {ratio:.1f} times the median; it is unconstrained there"]


def extent(kernel: MatchingKernel) -> tuple[float, float, float, float]:
    """Return the pixels over which a kernel is worth looking at: xmin, xmax, ymin, ymax.

    0-based and inclusive: all regions, else the image, else the positions of the stamps.
    """
    boxes = kernel.boxes
    if boxes:
        xs, ys = [[b.xmin, b.xmax] for b in boxes], [[b.ymin, b.ymax] for b in boxes]
    elif kernel.image_shape is not None:
        ny, nx = kernel.image_shape
        xs, ys = [[0, nx - 1]], [[0, ny - 1]]
    else:
        xs, ys = (kernel.positions[np.newaxis, :, axis].tolist() for axis in (0, 1))
    return float(np.min(xs)), float(np.max(xs)), float(np.min(ys)), float(np.max(ys))


def covers(kernel: MatchingKernel, x: float, y: float) -> bool:
    """Say whether there is a kernel at ``(x, y)``."""
    return not kernel.boxes or any(box.covers(x, y) for box in kernel.boxes)


def _positions(kernel: MatchingKernel) -> list[tuple[float, float]]:
    """Return positions that show how the kernel varies."""
    if len(kernel.positions):
        return [(float(x), float(y)) for x, y in kernel.positions]
    xmin, xmax, ymin, ymax = extent(kernel)
    xs, ys = np.linspace(xmin, xmax, _GRID), np.linspace(ymin, ymax, _GRID)
    return [(float(x), float(y)) for y in ys for x in xs if covers(kernel, x, y)]


def _range(values: ArrayLike) -> list[float]:
    """Return the smallest, median and largest of the values that are finite; NaN of none."""
    found = np.asarray(values)
    finite = found[np.isfinite(found)] if np.isfinite(found).any() else [np.nan]
    return [float(np.min(finite)), float(np.median(finite)), float(np.max(finite))]


def _fwhm(stamp: NDArray[np.float64]) -> float:
    """Return the FWHM of a kernel's core; NaN where it has no Gaussian one."""
    upright = stamp * np.sign(stamp.sum())
    try:
        with np.errstate(all="ignore"):
            return adaptive_fwhm(upright)
    except np.linalg.LinAlgError:
        return float("nan")


def _offset(stamp: NDArray[np.float64], origin: tuple[int, int]) -> tuple[float, float]:
    """Return the offset of the centroid of a kernel with a sum from its origin, pixels."""
    total = stamp.sum()
    y, x = np.indices(stamp.shape)
    return (
        float((x * stamp).sum() / total - origin[0]),
        float((y * stamp).sum() / total - origin[1]),
    )
