"""Noise levels: the clipped mean of each variance plane in windows of the image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor import words
from diffdecor.config import DecorrelationConfig
from diffdecor.core.parallel import once, ordered_map, threads_for
from diffdecor.core.planes import Plane, Window, cut
from diffdecor.core.statistics import clipped_means, sampled_means, streamed_clipped_mean
from diffdecor.decorrelation.subtraction import ROLES, Subtraction
from diffdecor.errors import InputError
from diffdecor.images.model import Exposure

log = words.logger(__name__)

#: Largest distance of neighbours, in units of the distance of the nearest one.
_NEAR = 1.6
#: Pixels of a variance plane that are read at a time.
BAND_PIXELS = 1 << 19
#: Pixels of a row of windows that are held in memory, for each thread.
_MOST_HELD = 1 << 22
#: Of windows of more pixels a quarter of the rows is read where filters are interpolated between
#: them, the middle of strips of this height: as many even rows as odd ones.
_MANY, _STRIP, _SHARE = 1 << 15, 32, 4
#: Standard error of such a level, in units of itself, above which all rows are read: filters are
#: off by a quarter of it at most.
_SURE = 4e-4


@dataclass(frozen=True, eq=False)
class NoiseLevels:
    """Noise variances at n places, image unit squared."""

    #: Of every member of the science side and of the template side, ``(members, n)``.
    science: NDArray[np.float64]
    template: NDArray[np.float64]
    #: True where one of them is substituted by that of neighbours or the whole image, ``(n,)``.
    fallback: NDArray[np.bool_]


def measure_noise_levels(subtraction: Subtraction, windows: Sequence[Window]) -> NoiseLevels:
    """Measure the noise levels of both sides in windows, unless they are given.

    A window without a usable pixel takes the mean level of its nearest neighbours or, if they have
    none either, that of the whole image. Raises `InputError` if an image has no pixel with a usable
    variance at all, or neither image has any noise.
    """
    measured = _measured(subtraction, windows)
    found, fallback = {}, np.zeros(len(windows), dtype=bool)
    for role in ROLES:
        given, rows = subtraction.given_level(role), []
        for member in subtraction.members(role):
            levels = np.full(len(windows), given) if given is not None else next(measured)
            if given is None and not subtraction.is_alone:
                levels = _above_zero(levels, member.exposure, role)
            missing = np.isnan(levels)
            if missing.any():
                levels = _completed(levels, windows, member.exposure, subtraction.config)
            rows.append(levels)
            fallback |= missing
        found[role] = np.array(rows).reshape(len(rows), len(windows))
    if not np.concatenate([*found.values()]).any(axis=0).all():
        raise _without_noise(subtraction)
    return NoiseLevels(found["science"], found["template"], fallback)


def _above_zero(levels: NDArray[np.float64], exposure: Exposure, role: str) -> NDArray[np.float64]:
    """Return levels ``(n,)`` that are not known where only a part of a variance plane is zero.

    A plane that is zero everywhere may mean an image without noise, which is doubtful.
    """
    if (levels > 0).any():
        return np.where(levels == 0, np.nan, levels)
    if (levels == 0).any():
        log.warning(
            "%s: its variance plane is zero, as if it were noiseless; give its noise with "
            "--%s-noise or --%s-variance (0 if there is none)",
            *(exposure.name, role, role),
        )
    return levels


def _without_noise(subtraction: Subtraction) -> InputError:
    """Return the error for variance planes of zero."""
    if subtraction.is_alone:
        return InputError(
            f"{subtraction.difference.name}: its variance plane is zero: there is no noise to "
            "whiten; give its noise with --difference-noise FILE"
        )
    names = ", ".join(subtraction.members(role)[0].exposure.name for role in ROLES)
    return InputError(
        f"{names}: both variance planes are zero: there is no noise to whiten; give "
        "--science-variance and --template-variance"
    )


def _measured(subtraction: Subtraction, windows: Sequence[Window]) -> Iterator[NDArray[np.float64]]:
    """Measure the levels ``(n,)`` of every image without a given level, several at a time."""
    exposures = [one for one in images_to_measure(subtraction) if one is not None]
    config = subtraction.config
    exactly = config.blend != "interpolate"
    # Some rows of many windows are too little for two threads: they take up to 1.2 times as long.
    threads = subtraction.threads if exactly or len(windows) == 1 else 1
    together = max(1, min(threads, len(exposures)))
    return ordered_map(
        lambda exposure: window_levels(
            exposure,
            windows,
            config.ignore_planes,
            threads // together,
            exactly=exactly,
        ),
        exposures,
        together,
    )


def images_to_measure(subtraction: Subtraction) -> list[Exposure | None]:
    """Return the images of both sides' members, None where the level is given.

    Raises `InputError` if one has no variance plane.
    """
    images: list[Exposure | None] = []
    for role in ROLES:
        for member in subtraction.members(role):
            given = subtraction.given_level(role) is not None
            if not given and member.exposure.variance is None:
                msg = (
                    f"{member.exposure.name}: no variance plane for the {role} image; give "
                    f"--{role}-noise FILE (or --{role}-gain), or its level with --{role}-variance"
                )
                raise InputError(msg)
            images.append(None if given else member.exposure)
    return images


def _completed(
    levels: NDArray[np.float64],
    windows: Sequence[Window],
    exposure: Exposure,
    config: DecorrelationConfig,
) -> NDArray[np.float64]:
    """Fill missing levels from the neighbours, then from the image."""
    completed = levels.copy()
    known = np.isfinite(levels)
    centres = np.array([(w.x0 + w.x1, w.y0 + w.y1) for w in windows]) / 2
    image_level = once(lambda: whole_level(exposure, config))
    for number in np.flatnonzero(~known):
        distance = np.hypot(*(centres - centres[number]).T)
        distance[number] = np.inf
        near = known & (distance <= _NEAR * distance.min())
        completed[number] = levels[near].mean() if near.any() else image_level()
    log.warning(
        "%s: %d of %d windows have no usable variance; they take the level of their neighbours "
        "or of the image",
        exposure.name,
        np.count_nonzero(~known),
        len(windows),
    )
    return completed


def whole_level(exposure: Exposure, config: DecorrelationConfig) -> float:
    """Return the noise variance of a whole image; of masked pixels if there are no others."""
    everything = Window.whole(exposure.shape)
    threads = threads_for(math.prod(exposure.shape), config.threads)
    for planes in (config.ignore_planes, ()):
        level = streamed_level(exposure, everything, planes, threads)
        if np.isfinite(level):
            if planes is not config.ignore_planes:
                log.warning(
                    "%s: every pixel is masked; its noise level is that of all pixels",
                    exposure.name,
                )
            return level
    msg = (
        f"{exposure.name}: the variance plane has no finite pixel; give the noise level with "
        "--science-variance or --template-variance, or a valid noise plane"
    )
    raise InputError(msg)


def usable_variances(
    exposure: Exposure,
    rows: Sequence[slice],
    ignore: Sequence[str],
    columns: slice = slice(None),
    step: int = 1,
) -> NDArray[np.floating]:
    """Return strips of rows of a variance plane, infinity where it is not finite or masked.

    Masked are the mask planes `ignore`. Every `step`-th pixel along either axis of each strip is
    taken; the result ``(n, nx)`` is in the precision of the plane.
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
    if bad.any():
        values = values.copy()
        values[bad] = np.inf
    return values


def window_levels(
    exposure: Exposure,
    windows: Sequence[Window],
    ignore: Sequence[str],
    threads: int = 1,
    *,
    exactly: bool = True,
) -> NDArray[np.float64]:
    """Return the clipped mean of a variance plane in windows ``(n,)``, NaN where no pixel counts.

    Rows that several windows have in common are read once. Of large windows a quarter of the rows
    is taken if the means need not be those of `exactly` all pixels, and are sure all the same.
    """
    by_rows: dict[tuple[int, int], list[int]] = {}
    for number, window in enumerate(windows):
        by_rows.setdefault((window.y0, window.y1), []).append(number)
    parts = [part for numbers in by_rows.values() for part in _held(numbers, windows)]
    inside = threads if len(parts) == 1 else 1

    def measured(numbers: Sequence[int]) -> NDArray[np.float64]:
        if len(numbers) == 1:
            return np.array([streamed_level(exposure, windows[numbers[0]], ignore, inside)])
        row = [windows[number] for number in numbers]
        if exactly or max(math.prod(window.shape) for window in row) <= _MANY:
            return clipped_means(_held_in_a_row(exposure, row, ignore, [row[0].rows]))
        strips = middle_rows(row[0].rows, _STRIP, _SHARE)
        found, errors = sampled_means(_held_in_a_row(exposure, row, ignore, strips))
        # Nor is a level sure of which no pixel of these rows counts: it is not known.
        unsure = np.flatnonzero(~(errors <= _SURE * np.abs(found)))
        if unsure.size:
            some = [row[place] for place in unsure.tolist()]
            found[unsure] = clipped_means(_held_in_a_row(exposure, some, ignore, [row[0].rows]))
        return found

    levels = np.full(len(windows), np.nan)
    for numbers, found in zip(parts, ordered_map(measured, parts, threads), strict=True):
        levels[numbers] = found
    return levels


def middle_rows(rows: slice, height: int, share: int) -> list[slice]:
    """Return the middle of strips of `height` rows: one of `share` rows, at least one.

    The last strip may be lower.
    """
    strips = []
    for strip in cut(rows, height):
        size = strip.stop - strip.start
        taken = -(-size // share)
        first = strip.start + (size - taken) // 2
        strips.append(slice(first, first + taken))
    return strips


def _held(numbers: Sequence[int], windows: Sequence[Window]) -> list[list[int]]:
    """Split a row of windows, from left to right, into groups that fit in memory."""
    numbers = sorted(numbers, key=lambda number: windows[number].x0)
    most = max(1, _MOST_HELD // max(math.prod(windows[number].shape) for number in numbers))
    return [list(numbers[start : start + most]) for start in range(0, len(numbers), most)]


def _held_in_a_row(
    exposure: Exposure, windows: Sequence[Window], ignore: Sequence[str], strips: Sequence[slice]
) -> NDArray[np.floating]:
    """Return the variances in n windows of the same rows, from left to right, ``(n, m)``.

    They are those in strips of rows, each of which is read once; what does not count is infinite.
    """
    left, most = windows[0].x0, max(1, BAND_PIXELS // exposure.shape[1])
    columns = slice(left, max(window.x1 for window in windows))
    height = sum(strip.stop - strip.start for strip in strips)
    widest = max(window.shape[1] for window in windows)
    # The pixels of a window are one row, so all windows are reduced at once.
    held: NDArray[np.floating] = np.empty((0, 0))
    done = 0
    for some in _together([part for strip in strips for part in cut(strip, most)], most):
        values = usable_variances(exposure, some, ignore, columns)
        if not held.size:
            held = np.full((len(windows), height * widest), np.inf, dtype=values.dtype)
        # Rows whose numbers do not fit single precision come in double precision.
        held = held.astype(np.result_type(held, values), copy=False)
        for row, window in zip(held, windows, strict=True):
            part = values[:, window.x0 - left : window.x1 - left]
            begin = done * part.shape[1]
            row[begin : begin + part.size].reshape(part.shape)[:] = part
        done += len(values)
    return held


def _together(strips: Sequence[slice], most: int) -> Iterator[list[slice]]:
    """Yield strips in groups of up to `most` rows together, at least one a group."""
    group: list[slice] = []
    height = 0
    for strip in strips:
        size = strip.stop - strip.start
        if group and height + size > most:
            yield group
            group, height = [], 0
        group.append(strip)
        height += size
    yield group


def streamed_level(
    exposure: Exposure, window: Window, ignore: Sequence[str], threads: int
) -> float:
    """Return the clipped mean of a variance plane in a window of any size, in bounded memory.

    NaN where no pixel counts.
    """

    def read(rows: slice) -> NDArray[np.floating]:
        return usable_variances(exposure, [rows], ignore, window.columns)

    return streamed_clipped_mean(read, _bands(window, exposure.shape[1]), threads)


def _bands(window: Window, nx: int) -> list[slice]:
    """Return bands of the rows of a window, in an image of `nx` columns."""
    return cut(window.rows, max(1, BAND_PIXELS // nx))
