"""Least squares for ``D = A * S + B * T + level``: both kernels free, pixel by pixel.

The noise of both images probes their kernels at all frequencies; light of stars does so at low ones
only, and there the same for both. Pixels count the less, the more light lies under a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from diffdecor.core.box_sums import box_sums
from diffdecor.core.statistics import robust_sigma

#: Every fourth row is held out of the fit, to judge it by.
_HELD_OUT = 4
#: Pixels whose equations are added at a time.
_CHUNK = 1024
#: Share of the diagonal that is added to it, so that numbers stay finite.
_RIDGE = 1e-12
#: Terms of the level: constant, x, y.
_LEVEL = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class PairFit:
    """The kernels of two images ``(k, k)``, and what they leave.

    The residual is the root mean square in pixels that were not fitted to, weighted as in the fit,
    in the unit of D.
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    residual: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Sums:
    """Sums over some pixels: the normal equations, and what they leave."""

    normal: NDArray[np.float64]
    right: NDArray[np.float64]
    #: Sums of squares of the target, and of weights.
    power: float
    weight: float

    def residual(self, solution: NDArray[np.float64]) -> float:
        """Return the root mean square of what a solution leaves."""
        left = self.power + float(solution @ (self.normal @ solution - 2 * self.right))
        return math.sqrt(max(0.0, left) / max(self.weight, 1e-300))


@dataclass(frozen=True, eq=False)
class PairEquations:
    """The equations of all unknowns: those of pixels that are fitted to, and of those held out."""

    half_width: int
    fitted: Sums
    compared: Sums

    @property
    def size(self) -> int:
        """Number of pixels of a kernel."""
        return (2 * self.half_width + 1) ** 2

    @property
    def middle(self) -> int:
        """The pixel of a kernel at its origin."""
        return self.size // 2

    def solve(self, *, only_middle_of: int | None = None) -> PairFit | None:
        """Return both kernels; that of image 0 or 1 may be a single pixel."""
        used = np.ones(2 * self.size + _LEVEL, dtype=bool)
        if only_middle_of is not None:
            used[only_middle_of * self.size : (only_middle_of + 1) * self.size] = False
            used[only_middle_of * self.size + self.middle] = True
        normal, right = self.fitted.normal[np.ix_(used, used)], self.fitted.right[used]
        size = np.sqrt(np.maximum(np.diag(normal), 1e-300))
        scaled = normal / np.outer(size, size) + _RIDGE * np.eye(len(size))
        try:
            solution = np.linalg.solve(scaled, right / size) / size
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(solution).all():
            return None
        whole = np.zeros(len(used))
        whole[used] = solution
        residual = self.compared.residual(whole)
        side = 2 * self.half_width + 1
        first, second = whole[: 2 * self.size].reshape(2, side, side)
        return PairFit(first=first, second=second, residual=residual)


def pair_equations(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    target: NDArray[np.float64],
    good: NDArray[np.bool_],
    half_width: int,
) -> PairEquations | None:
    """Set up the equations of a window ``(ny, nx)``; None where too few pixels are good.

    Pixels count whose kernels reach good ones only.
    """
    width = 2 * half_width + 1
    if min(good.shape) < 2 * width:
        return None
    usable = sliding_window_view(good, (width, width)).all(axis=(-2, -1))
    rows, columns = np.nonzero(usable)
    if len(rows) < 2 * (2 * width**2 + _LEVEL):
        return None
    images = [np.where(good, image - np.median(image[good]), 0.0) for image in (first, second)]
    light = sum(_light(image, good, width) for image in images)
    weights = 1 / (1 + np.asarray(light)) ** 2
    held = rows % _HELD_OUT == 0
    fitted, compared = (
        _sums(images, target, weights, (rows[part], columns[part]), half_width)
        for part in (~held, held)
    )
    return PairEquations(half_width, fitted, compared)


def _light(image: NDArray[np.float64], good: NDArray[np.bool_], width: int) -> NDArray[np.float64]:
    """Return the mean square under a kernel, in units of the noise, where kernels are whole."""
    noise = robust_sigma(image[good])
    square = (image / noise) ** 2 if noise > 0 else np.zeros_like(image)
    return box_sums(square, (width, width)) / width**2


def _sums(
    images: list[NDArray[np.float64]],
    target: NDArray[np.float64],
    weights: NDArray[np.float64],
    pixels: tuple[NDArray[np.intp], NDArray[np.intp]],
    half_width: int,
) -> Sums:
    """Add up the equations of some pixels."""
    unknowns = 2 * (2 * half_width + 1) ** 2 + _LEVEL
    normal, right, power, total = np.zeros((unknowns, unknowns)), np.zeros(unknowns), 0.0, 0.0
    for rows, columns in _chunks(pixels):
        weight = weights[rows, columns]
        matrix = _columns(images, rows, columns, half_width) * np.sqrt(weight)[:, np.newaxis]
        values = target[rows + half_width, columns + half_width] * np.sqrt(weight)
        normal += matrix.T @ matrix
        right += matrix.T @ values
        power += float(values @ values)
        total += float(weight.sum())
    return Sums(normal=normal, right=right, power=power, weight=total)


def _chunks(
    pixels: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    for start in range(0, len(pixels[0]), _CHUNK):
        yield pixels[0][start : start + _CHUNK], pixels[1][start : start + _CHUNK]


def _columns(
    images: list[NDArray[np.float64]],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    half_width: int,
) -> NDArray[np.float64]:
    """Return the values that the unknowns of some pixels multiply ``(n, unknowns)``."""
    width = 2 * half_width + 1
    parts = [
        sliding_window_view(image, (width, width))[rows, columns, ::-1, ::-1].reshape(len(rows), -1)
        for image in images
    ]
    ny, nx = images[0].shape
    level = np.stack([np.ones(len(rows)), 2 * columns / nx - 1, 2 * rows / ny - 1], axis=1)
    return np.concatenate([*parts, level], axis=1)
