"""What there is to say about a matching kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffdecor.core.psf import adaptive_fwhm
from diffdecor.errors import KernelError
from diffdecor.kernels.model import BasisKernel, MatchingKernel, StampKernel

_GRID = 9


def describe(kernel: MatchingKernel) -> dict[str, Any]:
    """Return the facts about a kernel, over a grid of 9 x 9 positions where it varies.

    Parameters
    ----------
    kernel : MatchingKernel
        The kernel.

    Returns
    -------
    dict
        Format, size ``[kx, ky]``, origin (0-based), sides, scales, sum, FWHM and centroid offset
        (pixels; smallest, median and largest over the image), and what the format tells besides.
    """
    places = [(x, y) for x, y in _positions(kernel) if _covered(kernel, x, y)]
    stamps = [kernel.stamp(x, y) for x, y in places]
    ky, kx = kernel.shape
    return {
        "file": kernel.name,
        "format": kernel.format,
        "size": [kx, ky],
        "origin": list(kernel.origin),
        "image_size": kernel.image_shape and list(kernel.image_shape[::-1]),
        "regions": len(kernel.boxes),
        "convolved": sorted({kernel.side(x, y) or "unknown" for x, y in places}),
        "science_scale": _range([kernel.scales(x, y)[0] for x, y in places]),
        "template_scale": _range([kernel.scales(x, y)[1] for x, y in places]),
        "sum": _range([kernel.sum(x, y) for x, y in places]),
        "fwhm": _range([_fwhm(stamp) for stamp in stamps]),
        "offset_x": _range([_offset(stamp, kernel.origin)[0] for stamp in stamps]),
        "offset_y": _range([_offset(stamp, kernel.origin)[1] for stamp in stamps]),
        **_inside(kernel),
    }


def _positions(kernel: MatchingKernel) -> list[tuple[float, float]]:
    """Return positions that show how the kernel varies."""
    if isinstance(kernel, StampKernel):
        return [(float(x), float(y)) for x, y in kernel.positions]
    boxes = kernel.boxes
    xs = np.linspace(min(box.xmin for box in boxes), max(box.xmax for box in boxes), _GRID)
    ys = np.linspace(min(box.ymin for box in boxes), max(box.ymax for box in boxes), _GRID)
    return [(float(x), float(y)) for y in ys for x in xs]


def _covered(kernel: MatchingKernel, x: float, y: float) -> bool:
    return not kernel.boxes or any(box.covers(x, y) for box in kernel.boxes)


def _range(values: list[float]) -> list[float]:
    """Return the smallest, median and largest of values."""
    finite = [value for value in values if np.isfinite(value)] or [float("nan")]
    return [float(np.min(finite)), float(np.median(finite)), float(np.max(finite))]


def _fwhm(stamp: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Return the FWHM of a kernel's core; NaN where it has no Gaussian one."""
    upright = stamp * np.sign(stamp.sum())
    try:
        with np.errstate(all="ignore"):
            return adaptive_fwhm(upright)
    except np.linalg.LinAlgError:
        return float("nan")


def _offset(
    stamp: np.ndarray[Any, np.dtype[np.float64]], origin: tuple[int, int]
) -> tuple[float, float]:
    """Return the offset of the kernel's centroid from its origin, pixels."""
    total = stamp.sum()
    if total == 0:
        msg = "the sum of the kernel is zero; it cannot have matched two images"
        raise KernelError(msg)
    y, x = np.indices(stamp.shape)
    return (
        float((x * stamp).sum() / total - origin[0]),
        float((y * stamp).sum() / total - origin[1]),
    )


def _inside(kernel: MatchingKernel) -> dict[str, Any]:
    """Return what the kind of kernel tells besides."""
    if isinstance(kernel, BasisKernel):
        return {
            "basis_images": len(kernel.basis),
            "spatial_terms": len(kernel.terms),
            "background_terms": len(kernel.background_terms),
        }
    if isinstance(kernel, StampKernel):
        return {"stamps": len(kernel.stamps)}
    return {}
