"""Noise at places of an image: its level on both sides, and its way into the difference."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import IGNORED_PLANES, DecorrelationConfig
from diffdecor.core.grid import Window
from diffdecor.core.planes import bands
from diffdecor.core.statistics import clipped_mean
from diffdecor.errors import ConfigError, InputError
from diffdecor.images import Exposure

log = logging.getLogger(__name__)

BLOCK = 16
"""Size of the blocks in which steps of the noise level are looked for, pixels."""
_NEAR = 1.6


@dataclass(frozen=True, eq=False)
class NoiseLevels:
    """Noise variances at n places.

    Parameters
    ----------
    science, template : array (n,), or (m, n) for a stack of m images
        Noise variance of both images, image unit squared.
    fallback : array (n,)
        True where one of them is that of the neighbours or of the whole image.
    """

    science: NDArray[np.float64]
    template: NDArray[np.float64]
    fallback: NDArray[np.bool_]


def usable_variances(exposure: Exposure, rows: slice, ignore: Sequence[str]) -> NDArray[np.float64]:
    """Return rows of a variance plane, NaN where a pixel does not count for noise levels."""
    values = np.array(exposure.variance[rows], dtype=np.float64)  # type: ignore[index]
    if exposure.mask is not None:
        ignored = np.asarray(exposure.mask[rows]) & exposure.mask_planes.value(ignore)
        values[ignored != 0] = np.nan
    values[~np.isfinite(values)] = np.nan
    return values


def window_levels(
    exposure: Exposure, windows: Sequence[Window], ignore: Sequence[str]
) -> NDArray[np.float64]:
    """Return the clipped mean of the variance plane in every window ``(n,)``, NaN where unknown."""
    levels = np.full(len(windows), np.nan)
    by_rows: dict[tuple[int, int], list[int]] = {}
    for number, window in enumerate(windows):
        by_rows.setdefault((window.y0, window.y1), []).append(number)
    for (start, stop), numbers in by_rows.items():
        rows = usable_variances(exposure, slice(start, stop), ignore)
        for number in numbers:
            levels[number] = clipped_mean(rows[:, windows[number].columns])
    return levels


def noise_levels(
    science: Exposure | Sequence[Exposure],
    template: Exposure | Sequence[Exposure],
    windows: Sequence[Window],
    config: DecorrelationConfig,
) -> NoiseLevels:
    """Measure the noise levels of both images in windows, or take those that are given.

    A window without a usable pixel takes the mean of its nearest neighbours' levels; if they have
    none either, that of the whole image.

    Parameters
    ----------
    science, template : Exposure or sequence of Exposure
        With variance planes, unless the configuration gives the level. Several: a stack.
    windows : sequence of Window
        Where to measure.
    config : DecorrelationConfig
        Given levels, planes to ignore.

    Returns
    -------
    NoiseLevels
        In the order of the windows.

    Raises
    ------
    InputError
        If an image has no pixel with a usable variance at all, or no noise in either image.
    """
    fallback = np.zeros(len(windows), dtype=bool)
    found = {}
    for role, images in (("science", science), ("template", template)):
        given = getattr(config, f"{role}_variance")
        exposures = (images,) if isinstance(images, Exposure) else tuple(images)
        rows = []
        for exposure in exposures:
            levels, missing = _levels(exposure, given, role, windows, config.ignore_planes)
            rows.append(levels)
            fallback |= missing
        found[role] = rows[0] if len(rows) == 1 else np.array(rows)
    silent = (np.atleast_2d(found["science"]) == 0).all(axis=0) & (
        np.atleast_2d(found["template"]) == 0
    ).all(axis=0)
    if silent.any():
        names = ", ".join(
            images.name if isinstance(images, Exposure) else images[0].name
            for images in (science, template)
        )
        msg = (
            f"{names}: both variance planes are zero: there is no noise to whiten; give "
            "--science-variance and --template-variance"
        )
        raise InputError(msg)
    return NoiseLevels(found["science"], found["template"], fallback)


def _levels(
    exposure: Exposure,
    given: float | None,
    role: str,
    windows: Sequence[Window],
    ignore: Sequence[str],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the levels of one image, and where they are not those of the window itself."""
    if given is not None:
        return np.full(len(windows), given), np.zeros(len(windows), dtype=bool)
    _require_variance(exposure, role)
    levels = window_levels(exposure, windows, ignore)
    missing = np.isnan(levels)
    if missing.any():
        levels = _completed(levels, windows, exposure, ignore)
    return levels, missing


def _require_variance(exposure: Exposure, role: str) -> None:
    if exposure.variance is None:
        msg = (
            f"{exposure.name}: no variance plane for the {role} image; give --{role}-noise FILE, "
            f"--{role}-gain, or its level with --{role}-variance"
        )
        raise InputError(msg)


def _completed(
    levels: NDArray[np.float64],
    windows: Sequence[Window],
    exposure: Exposure,
    ignore: Sequence[str],
) -> NDArray[np.float64]:
    """Fill missing levels from the neighbours, then from the image."""
    completed = levels.copy()
    known = np.isfinite(levels)
    centres = np.array([(w.x0 + w.x1, w.y0 + w.y1) for w in windows]) / 2
    image_level: float | None = None
    for number in np.flatnonzero(~known):
        distance = np.hypot(*(centres - centres[number]).T)
        distance[number] = np.inf
        near = known & (distance <= _NEAR * distance.min())
        if near.any():
            completed[number] = levels[near].mean()
            continue
        if image_level is None:
            image_level = whole_level(exposure, ignore)
        completed[number] = image_level
    log.warning(
        "%s: %d of %d windows have no usable variance; they take the level of their neighbours "
        "or of the image",
        exposure.name,
        np.count_nonzero(~known),
        len(windows),
    )
    return completed


def whole_level(exposure: Exposure, ignore: Sequence[str]) -> float:
    """Return the noise variance of a whole image, of its masked pixels if there are no others."""
    for planes in (ignore, ()):
        parts = [usable_variances(exposure, rows, planes) for rows in bands(exposure.shape)]
        level = clipped_mean(np.concatenate(parts))
        if np.isfinite(level):
            if planes is not ignore:
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


def block_log_ratios(
    science: Sequence[Exposure], template: Sequence[Exposure], config: DecorrelationConfig
) -> NDArray[np.float64]:
    """Return the logarithm of the ratios of all noise levels to the first in small blocks.

    Only ratios shape the filter. Every block of 16 x 16 pixels takes the median of each second
    pixel along either axis.

    Parameters
    ----------
    science, template : sequence of Exposure
        The images of both sides.
    config : DecorrelationConfig
        Given levels, planes to ignore.

    Returns
    -------
    array (nimages - 1, by, bx)
        ``log(level / first level)``, NaN where unknown.
    """
    ny, nx = science[0].shape
    flat = np.zeros((-(-ny // BLOCK), -(-nx // BLOCK)))
    logs = []
    for role, exposures in (("science", science), ("template", template)):
        given = getattr(config, f"{role}_variance")
        for exposure in exposures:
            if given is None:
                _require_variance(exposure, role)
            logs.append(flat if given is not None else _block_logs(exposure, config.ignore_planes))
    return np.asarray(np.array(logs[1:]) - logs[0])


def _block_logs(exposure: Exposure, ignore: Sequence[str]) -> NDArray[np.float64]:
    nx = exposure.shape[1]
    across = -(-nx // BLOCK)
    medians = []
    for rows in bands(exposure.shape, BLOCK):
        values = usable_variances(exposure, rows, ignore)[::2, ::2]
        padded = np.full((values.shape[0], across * BLOCK // 2), np.nan)
        padded[:, : values.shape[1]] = values
        blocks = padded.reshape(values.shape[0], across, BLOCK // 2).transpose(1, 0, 2)
        ordered = np.sort(blocks.reshape(across, -1), axis=1)  # NaN goes last
        count = np.isfinite(ordered).sum(axis=1)
        medians.append(ordered[np.arange(across), np.maximum(count - 1, 0) // 2])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.array(medians))
    logs[~np.isfinite(logs)] = np.nan
    return np.asarray(logs, dtype=np.float64)


def check_planes(exposures: Sequence[Exposure], names: Sequence[str], option: str) -> None:
    """Refuse the name of a mask plane that no image has, unless it is one of the defaults.

    Raises
    ------
    ConfigError
        If a name is in none of the masks.
    """
    known = {name for exposure in exposures for name in exposure.mask_planes.bits}
    for name in names:
        if name not in known and name not in IGNORED_PLANES:
            there = ", ".join(sorted(known)) or "none"
            msg = f"{option}: no image has a mask plane {name}; there are: {there}"
            raise ConfigError(msg)
