"""Levels of a variance plane: clipped means in windows, medians in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.grid import Window
from diffdecor.core.parallel import ordered_map
from diffdecor.core.planes import Plane, bands
from diffdecor.core.statistics import clipped_means, streamed_clipped_mean
from diffdecor.images import Exposure

BLOCK = 16
"""Size of the blocks in which steps of the noise level are looked for, pixels."""
_BAND_PIXELS = 1 << 19
_MOST_HELD = 1 << 22
"""Pixels of a row of windows that are held in memory, for each thread."""


def usable_variances(
    exposure: Exposure,
    rows: Sequence[slice],
    ignore: Sequence[str],
    columns: slice = slice(None),
    step: int = 1,
) -> NDArray[np.floating]:
    """Return rows of a variance plane, infinity where a pixel does not count for noise levels.

    Parameters
    ----------
    exposure : Exposure
        With a variance plane.
    rows : sequence of slice
        Which rows, one strip after the other.
    ignore : sequence of str
        Mask planes whose pixels do not count.
    columns : slice
        Which columns.
    step : int
        Each so-manyth pixel along either axis, in every strip.

    Returns
    -------
    array (n, nx)
        In the precision of the plane.
    """

    def read(plane: Plane) -> NDArray[Any]:
        strips = [np.asarray(plane[strip])[::step, columns][:, ::step] for strip in rows]
        return np.concatenate(strips) if len(strips) > 1 else strips[0]

    values = read(exposure.variance)  # type: ignore[arg-type]
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    bad = ~np.isfinite(values)
    bits = exposure.mask_planes.value(ignore)
    if exposure.mask is not None and bits:
        bad |= read(exposure.mask) & bits != 0
    return _with_infinity(values, bad) if bad.any() else values


def _with_infinity(values: NDArray[np.floating], where: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return a contiguous copy of values, infinity in some places: few, or a mask is as fast."""
    changed = np.array(values, order="C")
    changed.reshape(-1)[np.flatnonzero(where)] = np.inf
    return changed


def window_levels(
    exposure: Exposure, windows: Sequence[Window], ignore: Sequence[str], threads: int = 1
) -> NDArray[np.float64]:
    """Return the clipped mean of a variance plane in windows.

    Parameters
    ----------
    exposure : Exposure
        With a variance plane.
    windows : sequence of Window
        Where; the rows of windows beside each other are read once.
    ignore : sequence of str
        Mask planes whose pixels do not count.
    threads : int
        How many work at a time.

    Returns
    -------
    array (n,)
        In the order of the windows; NaN where no pixel counts.
    """
    by_rows: dict[tuple[int, int], list[int]] = {}
    for number, window in enumerate(windows):
        by_rows.setdefault((window.y0, window.y1), []).append(number)
    parts = [part for numbers in by_rows.values() for part in _held(numbers, windows)]
    inside = threads if len(parts) == 1 else 1

    def measured(numbers: Sequence[int]) -> Sequence[float] | NDArray[np.float64]:
        if len(numbers) == 1:
            return [streamed_level(exposure, windows[numbers[0]], ignore, inside)]
        return _levels_in_a_row(exposure, [windows[number] for number in numbers], ignore)

    levels = np.full(len(windows), np.nan)
    for numbers, found in zip(parts, ordered_map(measured, parts, threads), strict=True):
        levels[numbers] = found
    return levels


def _held(numbers: Sequence[int], windows: Sequence[Window]) -> list[list[int]]:
    """Split a row of windows into as many at a time as are held in memory."""
    numbers = sorted(numbers, key=lambda number: windows[number].x0)
    most = max(1, _MOST_HELD // max(_pixels(windows[number]) for number in numbers))
    return [list(numbers[start : start + most]) for start in range(0, len(numbers), most)]


def _pixels(window: Window) -> int:
    return (window.x1 - window.x0) * (window.y1 - window.y0)


def _levels_in_a_row(
    exposure: Exposure, windows: Sequence[Window], ignore: Sequence[str]
) -> NDArray[np.float64]:
    """Return the levels in windows of the same rows, from left to right: rows are read once."""
    left, top = windows[0].x0, windows[0].y0
    columns = slice(left, max(window.x1 for window in windows))
    largest = max(_pixels(window) for window in windows)
    # A window's pixels lie in one row, one after the other: what is done to all goes fast.
    held: NDArray[np.floating] = np.empty((0, 0))
    for rows in _bands(windows[0], exposure.shape[1]):
        values = usable_variances(exposure, [rows], ignore, columns)
        if not held.size:
            held = np.full((len(windows), largest), np.inf, dtype=values.dtype)
        # Rows whose numbers do not fit single precision come in double precision.
        held = held.astype(np.result_type(held, values), copy=False)
        for row, window in zip(held, windows, strict=True):
            part = values[:, window.x0 - left : window.x1 - left]
            begin = (rows.start - top) * part.shape[1]
            row[begin : begin + part.size].reshape(part.shape)[:] = part
    return clipped_means(held)


def streamed_level(
    exposure: Exposure, window: Window, ignore: Sequence[str], threads: int
) -> float:
    """Return the clipped mean of a variance plane in a window of any size, in bounded memory.

    Parameters
    ----------
    exposure : Exposure
        With a variance plane.
    window : Window
        Where.
    ignore : sequence of str
        Mask planes whose pixels do not count.
    threads : int
        How many work at a time.

    Returns
    -------
    float
        NaN where no pixel counts.
    """

    def read(rows: slice) -> NDArray[np.floating]:
        return usable_variances(exposure, [rows], ignore, window.columns)

    return streamed_clipped_mean(read, _bands(window, exposure.shape[1]), threads)


def _bands(window: Window, nx: int) -> list[slice]:
    """Return the rows of a window, some at a time."""
    height = max(1, _BAND_PIXELS // nx)
    return [
        slice(start, min(start + height, window.y1))
        for start in range(window.y0, window.y1, height)
    ]


def block_medians(exposure: Exposure, ignore: Sequence[str], threads: int) -> NDArray[np.floating]:
    """Return the median variance in every block, from each second pixel of its middle rows.

    Parameters
    ----------
    exposure : Exposure
        With a variance plane.
    ignore : sequence of str
        Mask planes whose pixels do not count.
    threads : int
        How many work at a time.

    Returns
    -------
    array (by, bx)
        The lower median where there are two; NaN where no pixel counts.
    """
    across = -(-exposure.shape[1] // BLOCK)

    def medians(rows: slice) -> NDArray[np.floating]:
        strips = [_middle(start, rows.stop) for start in range(rows.start, rows.stop, BLOCK)]
        values = usable_variances(exposure, strips, ignore, step=2)
        padded = np.full((len(strips), BLOCK // 4, across * BLOCK // 2), np.inf, values.dtype)
        # Only the last strip of the image may be lower than the others.
        flat = padded.reshape(-1, padded.shape[-1])
        flat[: len(values), : values.shape[1]] = values
        blocks = padded.reshape(len(strips), BLOCK // 4, across, BLOCK // 2).swapaxes(1, 2)
        return _lower_medians(blocks.reshape(len(strips), across, -1))

    rows = bands(exposure.shape, BLOCK * max(1, _BAND_PIXELS // exposure.shape[1] // BLOCK))
    return np.concatenate(list(ordered_map(medians, rows, threads)))


def _middle(start: int, stop: int) -> slice:
    """Return the middle half of the rows of a block: reading is what blocks cost."""
    height = min(BLOCK, stop - start)
    first = start + height // 4
    return slice(first, first + (height + 1) // 2)


def _lower_medians(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the (lower) median along the last axis of what is finite, NaN if nothing is."""
    count = np.isfinite(values).sum(axis=-1, keepdims=True)
    places = np.maximum(count - 1, 0) // 2
    if (places == places.flat[0]).all():
        ordered = np.partition(values, places.flat[0], axis=-1)
    else:
        ordered = np.sort(values, axis=-1)
    medians = np.take_along_axis(ordered, places, axis=-1)[..., 0]
    medians[np.isinf(medians)] = np.nan
    return medians
