"""Stamps sampled finer or coarser than pixels, rendered on the pixels of an image.

All methods are linear and separable, so each is one matrix per axis. The meaning of the samples
decides between them: samples of the *effective* PSF (pixel response included) are interpolated,
the light in subpixels is added up.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin

Method = Literal["lanczos4", "spline", "integrate"]

#: Tolerance, pixels: a sampling step in a header is a rounded number.
_ROUNDING = 1e-6


def rendered(
    stamps: NDArray[np.float64],
    center: tuple[float, float],
    step: float,
    method: Method,
) -> tuple[NDArray[np.float64], Origin]:
    """Render stamps ``(..., ky, kx)`` on image pixels, a point source in the middle of a pixel.

    The point source is at the 0-based `center` ``(cx, cy)`` of the samples, which are `step` image
    pixels apart. Returns stamps ``(..., ny, nx)`` and their origin.

    ``lanczos4`` interpolates with the windowed sinc of 4 lobes, ``spline`` with a cubic spline;
    both yield zero outside the samples, and for well-sampled stamps a sum of ``step^2`` times
    theirs. ``integrate`` adds up the light of the subpixels in every pixel, with a spline through
    the growth curve where edges do not coincide: the sum is that of the samples.

    ValueError if the step is not a positive number, or the centre lies outside the samples.
    """
    ny, nx = stamps.shape[-2:]
    inside = all(-0.5 <= c <= n - 0.5 for c, n in zip(center, (nx, ny), strict=True))
    if not (inside and np.isfinite(step) and step > 0):
        msg = f"a step of {step} pixels, or the centre {center} in {nx} x {ny} samples"
        raise ValueError(msg)
    along_x, cx = _matrix(nx, center[0], step, method)
    along_y, cy = _matrix(ny, center[1], step, method)
    return np.asarray(along_y @ stamps @ along_x.T, dtype=np.float64), (cx, cy)


def _matrix(n: int, center: float, step: float, method: Method) -> tuple[NDArray[np.float64], int]:
    """Return the matrix ``(pixels, samples)`` of one axis, and its pixel of the point source."""
    if method == "integrate":  # all pixels that the outermost subpixels reach into
        before = int(np.ceil((center + 0.5) * step - 0.5 - _ROUNDING))
        behind = int(np.ceil((n - 0.5 - center) * step - 0.5 - _ROUNDING))
        edges = np.asarray(center + (np.arange(-before, behind + 2) - 0.5) / step, np.float64)
        return _integrate(n, edges), before
    before = int(np.floor(center * step + _ROUNDING))
    behind = int(np.floor((n - 1 - center) * step + _ROUNDING))
    places = center + np.arange(-before, behind + 1) / step
    return (_lanczos4 if method == "lanczos4" else _spline)(n, places), before


def _integrate(n: int, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of every subpixel in every pixel between `edges`, by the growth curve."""
    from scipy.interpolate import make_interp_spline  # slow to import, and seldom needed

    growth = np.vstack([np.zeros(n), np.tri(n)])
    curve = make_interp_spline(np.arange(n + 1) - 0.5, growth, k=min(3, n))
    return np.asarray(np.diff(curve(np.clip(edges, -0.5, n - 0.5)), axis=0), np.float64)


def _spline(n: int, places: NDArray[np.float64]) -> NDArray[np.float64]:
    if n == 1:
        return np.ones((len(places), 1))
    from scipy.interpolate import make_interp_spline  # slow to import, and seldom needed

    spline = make_interp_spline(np.arange(n), np.eye(n), k=min(3, n - 1))
    return np.asarray(spline(np.clip(places, 0, n - 1)))


def _lanczos4(n: int, places: NDArray[np.float64]) -> NDArray[np.float64]:
    distance = places[:, np.newaxis] - np.arange(n)
    weights = np.sinc(distance) * np.sinc(distance / 4) * (np.abs(distance) < 4)
    return np.asarray(weights)
