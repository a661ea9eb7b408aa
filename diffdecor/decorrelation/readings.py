"""What else a difference could be than what its kernel makes of its images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.convolve import convolved
from diffdecor.core.fourier import fast_length, reflect
from diffdecor.core.interpolate import KernelField
from diffdecor.core.whiteness import local_level
from diffdecor.core.whitening import filter_transfer
from diffdecor.decorrelation.comparison import Comparison, somewhere
from diffdecor.decorrelation.rebuild import rebuild
from diffdecor.decorrelation.subtraction import ROLES, Subtraction
from diffdecor.kernels.model import MatchingKernel

#: Readings: what is different, the difference it predicts, and whether up to its local level.
Reading = tuple[str, NDArray[np.float64], bool]
#: Relative change of a scale that is worth a word.
_CHANGE = 0.01
#: With a smaller factor an image is not in the difference at all.
_LEAST = 1e-3
#: Largest shift along either axis that is tried, pixels.
_SHIFT = 2
#: Factors of the ratio of both noise levels, which a tool may have measured otherwise.
_RATIOS = (1.0, 1 / 3, 3.0, 0.1, 10.0)
#: A whitened difference leaves at most this share of its rms, and of what the plain one leaves.
_EXPLAINED, _CLEARLY = 0.3, 0.5
#: Pixels at the border that a filter does not reach over.
_BORDER = 16
#: Fewest pixels that say whether a difference is whitened.
_ENOUGH = 400


def other_models(subtraction: Subtraction, comparison: Comparison) -> Iterator[Reading]:
    """Yield what lies in the images, or in their scales, those that say most first."""
    kernel, (science, template) = subtraction.kernel, comparison.pair
    level = not kernel.has_background
    model = rebuild(kernel, science, template)
    yield "the difference has the other sign (template minus science)", -model, level
    yield (
        "science image and template are exchanged: give them in the other order",
        rebuild(kernel, template, science),
        level,
    )
    side = subtraction.side(*somewhere(kernel))
    name = (
        f"one of the images is matched already (the kernel is in it): give --{side}-kernel instead "
        "of --kernel"
    )
    scales = kernel.scales(*somewhere(kernel))
    yield name, scales[0] * science - scales[1] * template, True
    parts = _parts(kernel, comparison)
    for shift in _shifts():
        text = f"({shift[0]:+d}, {shift[1]:+d}) pixels along (x, y)"
        shifted = parts[0] + _rolled(parts[1], shift)
        yield f"the template is shifted by {text} (--kernel-center, alignment)", shifted, True
        yield f"the difference is shifted by {text}", _rolled(parts[0] + parts[1], shift), True
    yield from _scaled(comparison, parts, scales, "the difference is scaled otherwise")
    plain = (scales[0] * science, -scales[1] * template)
    yield from _scaled(comparison, plain, scales, name, always=True)
    if subtraction.preconvolution is not None:
        stamp, origin = subtraction.preconvolution.stamp(0, 0), subtraction.preconvolution.origin
        for stamps, centre in (reflect(stamp, origin), (stamp, origin)):
            field = KernelField.constant(stamps, centre)
            finite = np.where(np.isfinite(science), science, 0.0)
            correlated = scales[0] * convolved(finite, field, edges="zero")
            yield from _scaled(
                comparison,
                (correlated, parts[1]),
                scales,
                "it is a score image: --score",
                always=True,
            )


def cut_out(kernel: MatchingKernel, comparison: Comparison) -> Iterator[tuple[str, MatchingKernel]]:
    """Yield the best-fitting position of a smaller image in that of the kernel: a cut-out."""
    if kernel.image_shape is None:
        return
    free = [
        large - small
        for large, small in zip(kernel.image_shape[::-1], comparison.good.shape[::-1], strict=True)
    ]
    if min(free) < 0 or max(free) == 0:
        return

    def misfit(offset: tuple[int, int]) -> float:
        return float(np.nan_to_num(comparison.fit(kernel.moved(*offset)).worst, nan=np.inf))

    best, step = (free[0] // 2, free[1] // 2), max(free) // 4 + 1
    while True:
        near = [
            (x, y)
            for x in range(best[0] - 2 * step, best[0] + 2 * step + 1, step)
            for y in range(best[1] - 2 * step, best[1] + 2 * step + 1, step)
            if 0 <= x <= free[0] and 0 <= y <= free[1]
        ]
        best = min(near, key=misfit)
        if step == 1:
            break
        step = -(-step // 3)
    name = f"the images are a cut-out whose first pixel was ({best[0] + 1}, {best[1] + 1}), 1-based"
    yield name, kernel.moved(*best)


def _parts(
    kernel: MatchingKernel, comparison: Comparison
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what each image contributes to the rebuilt difference, the background left out."""
    science, template = comparison.pair
    empty = rebuild(kernel, np.zeros_like(science), np.zeros_like(template))
    of_science = rebuild(kernel, science, np.zeros_like(template)) - empty
    of_template = rebuild(kernel, np.zeros_like(science), template) - empty
    return of_science, of_template


def _shifts() -> Iterator[tuple[int, int]]:
    every = range(-_SHIFT, _SHIFT + 1)
    return ((x, y) for y, x in itertools.product(every, every) if (x, y) != (0, 0))


def _rolled(image: NDArray[np.float64], shift: tuple[int, int]) -> NDArray[np.float64]:
    """Return an image moved by whole pixels ``(x, y)``, NaN where nothing comes from."""
    moved = np.roll(image, shift[::-1], axis=(0, 1))
    for axis, step in enumerate(shift[::-1]):
        lost = slice(step) if step > 0 else slice(step or None, None)
        if step:
            np.moveaxis(moved, axis, 0)[lost] = np.nan
    return moved


def _scaled(
    comparison: Comparison,
    parts: Sequence[NDArray[np.float64]],
    scales: tuple[float, float],
    name: str,
    *,
    always: bool = False,
) -> Iterator[Reading]:
    """Yield the sum of two parts with the factors and the smooth background that fit best.

    Nothing where these factors are hardly others, unless `always` is given.
    """
    known = comparison.good & np.isfinite(parts[0]) & np.isfinite(parts[1])
    if np.count_nonzero(known) < _ENOUGH:
        return
    y, x = (np.linspace(-1.0, 1.0, length) for length in known.shape)
    columns = [*parts, *(np.multiply.outer(y**j, x**i) for j, i in _POWERS)]
    weights = 1 / comparison.noise[known]
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = np.array([column[known] * weights for column in columns])
        normal, right = matrix @ matrix.T, matrix @ (comparison.difference[known] * weights)
        size = np.sqrt(np.maximum(np.diag(normal), 1e-300))
        normal, right = normal / np.outer(size, size), right / size
    if not (np.isfinite(normal).all() and np.isfinite(right).all()):
        return  # numbers of 1e160: LAPACK would look for singular values of NaN for ever
    solution = np.linalg.lstsq(normal, right, rcond=1e-13)[0] / size
    factors = solution[:2]
    if not np.isfinite(solution).all() or np.abs(factors).min() < _LEAST:
        return
    if not always and np.abs(factors - 1).max() < _CHANGE:
        return
    if np.abs(factors - 1).max() >= _CHANGE:
        a, b = (scale * factor for scale, factor in zip(scales, factors, strict=True))
        name = f"{name}{' and' if always else ':'} --science-scale {a:.5g} --template-scale {b:.5g}"
    yield name, sum(f * column for f, column in zip(solution, columns, strict=True)), True


#: Powers of y and x of a smooth background.
_POWERS = ((0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0))


def is_whitened(subtraction: Subtraction, comparison: Comparison) -> bool:
    """Say whether a difference is psi * (S - K * T), its noise whitened, and not S - K * T.

    Both are judged on the sky up to a factor, since tools scale what they whiten differently.
    """
    model = rebuild(subtraction.kernel, *comparison.pair)
    sky = comparison.good & ~comparison.bright & np.isfinite(model)
    levels = _levels(subtraction, comparison.good)
    inner = np.zeros_like(sky)
    inner[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
    shown = sky & inner
    if levels is None or np.count_nonzero(shown) < _ENOUGH:
        return False
    flat, target = (
        np.where(sky, one - local_level(np.where(sky, one, 0.0), sky), 0.0)
        for one in (model, comparison.difference)
    )
    plain = _unexplained(target[shown], flat[shown])
    ny, nx = (fast_length(length + 2 * max(subtraction.kernel.shape)) for length in sky.shape)
    shape = ny, nx
    transform = np.fft.rfft2(flat, shape)
    place = np.array([somewhere(subtraction.kernel)])
    left = []
    for ratio in _RATIOS:
        sides = subtraction.noise_sides(
            place, np.array([[levels[0]]]), np.array([[levels[1] * ratio]])
        )
        psi = filter_transfer(*sides, shape)[0]
        whitened = np.fft.irfft2(transform * psi, shape)[: sky.shape[0], : sky.shape[1]]
        left.append(_unexplained(target[shown], whitened[shown]))
    return min(left) < min(_EXPLAINED, _CLEARLY * plain)


def _unexplained(target: NDArray[np.float64], model: NDArray[np.float64]) -> float:
    """Return the rms of a target that a multiple of a model does not explain, in units of it."""
    power = float(target @ target), float(model @ model)
    if not min(power) > 0:
        return 1.0
    return float(np.sqrt(max(0.0, 1 - float(target @ model) ** 2 / (power[0] * power[1]))))


def _levels(subtraction: Subtraction, good: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Return the noise variance of both images, if there is noise in both."""
    levels = []
    for role, exposure in zip(ROLES, subtraction.pair, strict=True):
        level = subtraction.given_level(role)
        if level is None and exposure.variance is not None:
            plane = np.asarray(exposure.variance[0 : good.shape[0]], dtype=np.float64)
            usable = good & np.isfinite(plane) & (plane > 0)
            level = float(np.median(plane[usable])) if usable.any() else None
        if level is None or not level > 0:
            return None
        levels.append(level)
    return levels[0], levels[1]
