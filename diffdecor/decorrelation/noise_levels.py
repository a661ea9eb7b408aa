"""Noise at places of an image: its level on both sides, and its way into the difference."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import IGNORED_PLANES, DecorrelationConfig
from diffdecor.core.parallel import cores, ordered_map
from diffdecor.decorrelation.nodes import Window
from diffdecor.decorrelation.variances import BLOCK, block_medians, streamed_level, window_levels
from diffdecor.errors import ConfigError, InputError
from diffdecor.images.model import Exposure

log = logging.getLogger(__name__)

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
    sides = {"science": _images(science), "template": _images(template)}
    measured = _measured(sides, windows, config)
    found, fallback = {}, np.zeros(len(windows), dtype=bool)
    for role, exposures in sides.items():
        given = getattr(config, f"{role}_variance")
        rows = []
        for exposure in exposures:
            levels = np.full(len(windows), given) if given is not None else next(measured)
            missing = np.isnan(levels)
            if missing.any():
                levels = _completed(levels, windows, exposure, config)
            rows.append(levels)
            fallback |= missing
        found[role] = rows[0] if len(rows) == 1 else np.array(rows)
    _refuse_silence(sides, found)
    return NoiseLevels(found["science"], found["template"], fallback)


def _images(images: Exposure | Sequence[Exposure]) -> tuple[Exposure, ...]:
    return (images,) if isinstance(images, Exposure) else tuple(images)


def _measured(
    sides: Mapping[str, Sequence[Exposure]],
    windows: Sequence[Window],
    config: DecorrelationConfig,
) -> Iterator[NDArray[np.float64]]:
    """Measure the levels ``(n,)`` of every image that has none given, several at a time."""
    exposures: list[Exposure] = []
    for role, images in sides.items():
        if getattr(config, f"{role}_variance") is None:
            for exposure in images:
                _require_variance(exposure, role)
            exposures += images
    threads = config.threads or cores()
    together = max(1, min(threads, len(exposures)))
    return ordered_map(
        lambda exposure: window_levels(
            exposure, windows, config.ignore_planes, threads // together
        ),
        exposures,
        together,
    )


def _refuse_silence(
    sides: Mapping[str, Sequence[Exposure]], found: Mapping[str, NDArray[np.float64]]
) -> None:
    """Refuse images without any noise."""
    silent = [(np.atleast_2d(levels) == 0).all(axis=0) for levels in found.values()]
    if (silent[0] & silent[1]).any():
        names = ", ".join(exposures[0].name for exposures in sides.values())
        msg = (
            f"{names}: both variance planes are zero: there is no noise to whiten; give "
            "--science-variance and --template-variance"
        )
        raise InputError(msg)


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
    config: DecorrelationConfig,
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
            image_level = whole_level(exposure, config)
        completed[number] = image_level
    log.warning(
        "%s: %d of %d windows have no usable variance; they take the level of their neighbours "
        "or of the image",
        exposure.name,
        np.count_nonzero(~known),
        len(windows),
    )
    return completed


def whole_level(exposure: Exposure, config: DecorrelationConfig) -> float:
    """Return the noise variance of a whole image, of its masked pixels if there are no others."""
    ny, nx = exposure.shape
    everything = Window(0, nx, 0, ny)
    for planes in (config.ignore_planes, ()):
        level = streamed_level(exposure, everything, planes, config.threads or cores())
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
            logs.append(flat if given is not None else _block_logs(exposure, config))
    return np.asarray(np.array(logs[1:]) - logs[0])


def _block_logs(exposure: Exposure, config: DecorrelationConfig) -> NDArray[np.float64]:
    """Return the logarithm of the noise level in every block, NaN where unknown."""
    medians = block_medians(exposure, config.ignore_planes, config.threads or cores())
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(medians.astype(np.float64))
    logs[~np.isfinite(logs)] = np.nan
    return np.asarray(logs)


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
