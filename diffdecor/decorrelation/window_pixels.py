"""The arithmetic of windows: whiten their pixels, and add up the products of their sky pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.covariance import LagSums, block_sums
from diffdecor.core.fourier import single_inverse, single_transform
from diffdecor.core.spectrum import MAX_LAG
from diffdecor.core.statistics import SIGMA_OF_IQR
from diffdecor.core.variance import single_holds
from diffdecor.decorrelation.window_filters import Pixels, WindowFilter

#: Pixels read around a window, which the filter reaches over.
MARGIN = 16
#: Share of a filter's energy that a pixel may take from pixels that were filled. What is amiss is
#: in the amplitude of the filter, the root of it; and scattered bad pixels affect all others.
_FILLED_SHARE = 0.001
#: Share of filled pixels below which hardly any other is close to that.
_FEW_FILLED = 0.02
#: Robust sigmas beyond which a pixel is filled before the filter, and does not count after it.
_FILLED, _CLIP = 6.0, 4.5
#: A variance is spread by the filter where its mean relative change over this many pixels is larger
#: than this; pixels this many times above the level are stars, whose noise is left out.
_STEP, _CHANGE, _STEEP = 6, 0.15, 100.0
#: Values that give a spread to a few per cent, how few give none, and rows from one that is looked
#: at to the next.
_SAMPLE, _FEWEST, _ROWS = 1 << 10, 16, 5
_SHARES = np.array([[0.25], [0.5], [0.75]])
#: Terms of the level that is removed: a plane's.
_LEVEL_TERMS = 3
#: Sums over blocks, and the number of all sky pixels.
TileSums = tuple[LagSums, NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class Tile:
    """Pixels of n windows ``(n, ny, nx)``, with `MARGIN` pixels on every side."""

    difference: NDArray[Any]
    usable: NDArray[np.bool_]
    sky: NDArray[np.bool_]
    variances: Sequence[NDArray[Any] | None]


#: The windows in their tiles.
_CORE = np.s_[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def tile_sums(tile: Tile, by: WindowFilter, parts: int, max_lag: int = MAX_LAG) -> TileSums:
    """Return the sums over the sky pixels of windows, and how many there were in all ``(n,)``.

    They are those of `parts` x `parts` blocks of every window.
    """
    pixels, good = _without_level(tile, by.unit)
    sky = tile.sky[_CORE] & good[_CORE]
    all_sky = np.count_nonzero(sky, axis=(1, 2))
    if by.whitens:
        values = _filtered(pixels, by.transfer)
        if not good.all():
            sky &= _little_filled(good, by)
    else:
        values = pixels[_CORE].copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        values /= np.sqrt(_variance(tile, by))  # not finite where it is not known
        limits = _CLIP * _quartiles(values, sky)[1]
        sky &= np.abs(values) < limits.astype(np.float32)[:, np.newaxis, np.newaxis]
    # The level is that of all sky pixels, so it takes less from those that are left.
    share = np.count_nonzero(sky, axis=(1, 2)) / np.maximum(all_sky, 1)
    removed = np.maximum(1.0, _LEVEL_TERMS * share)
    return block_sums(values, sky, max_lag, parts, removed), all_sky


def _without_level(tile: Tile, unit: NDArray[np.float64]) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return the difference minus its local level, in a unit; and where it was not set to 0.

    Source light is left where it is faint: zeros would take noise away from the pixels around.
    """
    reference, spread = _quartiles(tile.difference, tile.sky)
    precision = tile.difference.dtype.type
    limits = (_FILLED * spread / unit).astype(np.float32)[:, np.newaxis, np.newaxis]
    with np.errstate(over="ignore", invalid="ignore"):
        at, units = (
            each.astype(precision)[:, np.newaxis, np.newaxis] for each in (reference, unit)
        )
        pixels = np.subtract(tile.difference, at)
        pixels /= units
        pixels = pixels.astype(np.float32, copy=False)
        good = np.abs(pixels) < limits
    good &= tile.usable
    filled = ~good
    np.copyto(pixels, np.float32(0), where=filled)
    level, slopes = _level(pixels, tile.sky[_CORE] & good[_CORE])
    pixels -= level[:, :, np.newaxis]
    pixels -= slopes[:, np.newaxis]
    np.copyto(pixels, np.float32(0), where=filled)
    return pixels, good


def _level(pixels: Pixels, sky: NDArray[np.bool_]) -> tuple[Pixels, Pixels]:
    """Return the levels of tiles: the planes that fit the sky pixels of the windows best.

    They are what rows ``(n, ny)`` and columns ``(n, nx)`` add. Anything finer would take noise
    away.
    """
    ny, nx = pixels.shape[1:]
    known = sky.astype(np.float32)
    y, x = (np.arange(length, dtype=np.float32) - (length - 1) / 2 for length in known.shape[1:])
    of_y, of_x = (np.stack([np.ones_like(axis), axis, axis**2]) for axis in (y, x))
    moments = (of_y @ known @ of_x.T).astype(np.float64)
    known *= pixels[_CORE]
    sums = (of_y[:2] @ known @ of_x[:2].T).astype(np.float64)
    rows = [(0, 0), (1, 0), (0, 1)], [(1, 0), (2, 0), (1, 1)], [(0, 1), (1, 1), (0, 2)]
    matrix = np.stack([np.stack([moments[:, a, b] for a, b in row], -1) for row in rows], -2)
    # A little of a prior keeps slopes of a few pixels in a corner from running away.
    matrix += np.diag([1.0, ny**2 / 12, nx**2 / 12])
    right = np.stack([sums[:, 0, 0], sums[:, 1, 0], sums[:, 0, 1]], axis=-1)
    level, slope_y, slope_x = np.linalg.solve(matrix, right[..., np.newaxis])[..., 0].T
    along_y, along_x = (np.arange(length) - (length - 1) / 2 for length in (ny, nx))
    of_rows = level[:, np.newaxis] + np.multiply.outer(slope_y, along_y)
    return of_rows.astype(np.float32), np.multiply.outer(slope_x, along_x).astype(np.float32)


def _filtered(pixels: Pixels, transfer: Pixels) -> Pixels:
    """Return the windows' pixels, multiplied in Fourier space."""
    size, (ny, nx) = transfer.shape[-2], pixels.shape[1:]
    transform = single_transform(pixels, (size, size))
    transform *= transfer
    rows = single_inverse(transform, (size, size), slice(MARGIN, ny - MARGIN))
    return np.asarray(rows[:, :, MARGIN : nx - MARGIN])


def _little_filled(good: NDArray[np.bool_], by: WindowFilter) -> NDArray[np.bool_]:
    """Return the pixels of windows that the filter makes little of filled ones.

    Where these are few, bins of 2 x 2 pixels tell it well enough, at a quarter of the cost.
    """
    filled = (~good).view(np.uint8)
    core = filled[_CORE]
    even = not (filled.shape[1] % 2 or filled.shape[2] % 2)
    side = 2 if even and np.count_nonzero(core) < _FEW_FILLED * core.size else 1
    if side == 2:
        rows = filled[:, ::2] + filled[:, 1::2]
        filled = rows[:, :, ::2] + rows[:, :, 1::2]
    energy = by.binned_energy if side == 2 else by.energy
    size, (ny, nx), margin = len(energy), filled.shape[1:], MARGIN // side
    transform = single_transform(filled.astype(np.float32), (size, size))
    transform *= energy
    shares = single_inverse(transform, (size, size), slice(margin, ny - margin))
    little = shares[:, :, margin : nx - margin] < np.float32(_FILLED_SHARE)
    return little.repeat(2, axis=2).repeat(2, axis=1) if side == 2 else little


def _variance(tile: Tile, by: WindowFilter) -> Pixels:
    """Return the variance of the windows' filtered pixels, in their unit."""
    total, unit = np.zeros((1, 1, 1), np.float32), by.unit**2
    members = zip(tile.variances, by.weights, by.levels, by.gains, strict=True)
    for plane, weight, level, gain in members:
        factor = (weight / unit)[:, np.newaxis, np.newaxis]
        if plane is None:
            total = total + (level[:, np.newaxis, np.newaxis] * factor).astype(np.float32)
            continue
        part = _spread_variances(plane, tile.sky, by.transfer, gain)
        # In units like erg/s/cm2/Hz neither the variance nor the factor fits single precision.
        precision = np.float32 if single_holds(level) and single_holds(factor) else np.float64
        with np.errstate(over="ignore", invalid="ignore"):  # not known where it is not finite
            scaled = np.multiply(part, factor, dtype=precision)
            total = total + scaled.astype(np.float32, copy=False)
    return total


def _spread_variances(
    plane: NDArray[Any], sky: NDArray[np.bool_], transfer: Pixels, gain: Pixels
) -> NDArray[Any]:
    """Return the variances of windows as the filters spread them, where they step within reach."""
    core, known = plane[_CORE], sky[_CORE]
    levels = _means(core, known)
    stepping = np.flatnonzero((levels > 0) & _steps(core, known, levels))
    if stepping.size:
        core = core.copy()
    for i in stepping.tolist():
        filter_, own = (one[min(i, len(one) - 1)] for one in (transfer, gain))
        core[i] = _spread_variance(plane[i], filter_, own, float(levels[i]))
    return core


def _spread_variance(
    plane: NDArray[Any], transfer: Pixels, gain: Pixels, level: float
) -> NDArray[Any]:
    """Return the variance of a window as the filter spreads it.

    What it spreads over is the square of the kernel from the image to the filtered difference; its
    phase hardly matters.
    """
    shape = len(transfer), len(transfer)
    whole = np.broadcast_to(transfer * np.sqrt(gain), transfer.shape)
    share = single_transform(single_inverse(whole, shape) ** 2, shape).real
    with np.errstate(invalid="ignore"):
        known = np.isfinite(plane) & (plane > 0) & (plane < _STEEP * level)
    relative = np.where(known, plane / level, 1).astype(np.float32)
    spread = _filtered(relative[np.newaxis], share / share[0, 0])[0] * level
    inner = _CORE[1:]
    return np.where(known[inner], spread, plane[inner])


def _means(values: NDArray[Any], sky: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the means ``(n,)`` of the sky pixels in some rows of windows, 0 without any."""
    every, known = values[:, ::_ROWS], sky[:, ::_ROWS]
    total = np.where(known, every, values.dtype.type(0)).sum(axis=2).sum(axis=1, dtype=np.float64)
    return np.asarray(total / np.maximum(np.count_nonzero(known, axis=(1, 2)), 1))


def _steps(
    values: NDArray[Any], sky: NDArray[np.bool_], levels: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Say which variances differ much from one sky pixel to the next but a few."""
    steps = np.zeros(len(values), dtype=bool)
    scale = np.where(levels > 0, levels, 1.0).astype(values.dtype)[:, np.newaxis, np.newaxis]
    across = values[:, ::16], sky[:, ::16]
    along = (each[:, :, ::16].swapaxes(1, 2) for each in (values, sky))
    for plane, known in (across, tuple(along)):
        both = known[..., _STEP:] & known[..., :-_STEP]
        with np.errstate(invalid="ignore"):
            change = np.minimum(np.abs(plane[..., _STEP:] - plane[..., :-_STEP]) / scale, 1)
        total = np.where(both, change, 0).sum(axis=(1, 2))
        steps |= total > _CHANGE * np.maximum(np.count_nonzero(both, axis=(1, 2)), 1)
    return steps


def _quartiles(
    values: NDArray[np.floating], sky: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return median and robust sigma ``(n,)`` of samples of the sky pixels of windows.

    They are 0 and infinite where there are too few.
    """
    rows = [one[:, ::_ROWS] for one in (values, sky)]
    # An odd step goes through all columns of windows, whose sizes are even.
    step = math.prod(rows[0].shape[1:]) // _SAMPLE | 1
    every, known = (one.reshape(len(one), -1)[:, ::step] for one in rows)
    ordered = np.sort(np.where(known, every, values.dtype.type(np.nan)), axis=1)  # NaN last
    number = np.count_nonzero(known & ~np.isnan(every), axis=1)
    places = _SHARES * np.maximum(number - 1, 0)
    lower, middle, upper = np.take_along_axis(ordered.T, places.astype(np.intp), axis=0)
    spread = SIGMA_OF_IQR * (upper.astype(np.float64) - lower)
    few = number < _FEWEST
    return np.where(few, 0.0, middle), np.where(few, math.inf, spread)
