"""Find the blocks of pixels over which a tool held its kernel constant, if it did.

HOTPANTS evaluates its polynomials once for a square of pixels. Where the kernel is fitted as if it
varied from pixel to pixel, what is left is then a sawtooth: the distance of a pixel from the place
at which its kernel was taken, times the gradient of the kernel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.kernel_solver import Equations, Solution
from diffdecor.decorrelation.kernel_families import Family
from diffdecor.decorrelation.kernel_windows import Pixels
from diffdecor.kernels.model import Blocks

#: Sides of blocks that are looked for, pixels.
_STEPS = range(2, 65)
#: Least share of the squares of what is left that a sawtooth explains to be tried.
_EXPLAINED = 0.15


class _Profile(NamedTuple):
    """Distance of pixels from the place of their kernel along one axis, and its weight."""

    distance: NDArray[np.float64]
    weight: NDArray[np.float64]


def find_blocks(
    family: Family, pixels: Pixels, equations: Equations, solution: Solution
) -> Blocks | None:
    """Return the blocks that what a solution leaves shows; None if it shows none.

    The kernel is taken to be that of the middle of a block.
    """
    if len(family.terms) == 1 or family.blocks is not None:
        return None
    residual = np.nan_to_num(equations.residual_of(solution, family.values(pixels)))
    profiles = [
        _profile(family, pixels, equations, solution.kernels, residual, axis) for axis in (0, 1)
    ]
    found = [[_best_start(profile, step) for profile in profiles] for step in _STEPS]
    explained = [sum(one.explained for one in pair) for pair in found]
    number = int(np.argmax(explained))
    whole = sum(float((one.weight * one.distance**2).sum()) for one in profiles)
    if not explained[number] > _EXPLAINED * whole:
        return None
    step = _STEPS[number]
    starts = [float(one.start) for one in found[number]]
    return Blocks(starts[0], starts[1], float(step), float(step // 2))


def _profile(
    family: Family,
    pixels: Pixels,
    equations: Equations,
    kernels: NDArray[np.float64],
    residual: NDArray[np.float64],
    axis: int,
) -> _Profile:
    """Return how far from a pixel its kernel was taken, by column (axis 0) or row (axis 1)."""
    step = np.array([0.5, 0.0] if axis == 0 else [0.0, 0.5])
    later, earlier = (
        family.values(replace(pixels, places=pixels.places + sign * step)) for sign in (1, -1)
    )
    gradient = equations.matched(kernels, later - earlier)
    weights = equations.weights
    along = 1 if axis == 0 else 2
    numbers = (pixels.x if axis == 0 else pixels.y).astype(int).ravel()
    product, square = (
        np.bincount(numbers, (weights * one).sum(axis=along).ravel()).astype(np.float64)
        for one in (residual * gradient, gradient**2)
    )
    known = square > 0
    return _Profile(np.where(known, product / np.where(known, square, 1.0), 0.0), square)


class _Sawtooth(NamedTuple):
    explained: float
    start: int


def _best_start(profile: _Profile, step: int) -> _Sawtooth:
    """Return the best sawtooth of a period."""
    remainder = np.arange(len(profile.distance)) % step
    weighted = np.bincount(remainder, profile.weight * profile.distance, minlength=step)
    weight = np.bincount(remainder, profile.weight, minlength=step)
    tooth = (step - 1) / 2 - np.arange(step)
    best = _Sawtooth(0.0, 0)
    for start in range(step):
        shifted = np.roll(tooth, start)
        shifted = shifted - float(weight @ shifted) / max(float(weight.sum()), 1e-300)
        square = float(weight @ shifted**2)
        height = float(weighted @ shifted) / square if square > 0 else 0.0
        if height > 0 and height**2 * square > best.explained:
            best = _Sawtooth(height**2 * square, start)
    return best
