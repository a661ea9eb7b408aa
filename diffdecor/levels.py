"""Noise at places of an image: its level on both sides, and its way into the difference."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import IGNORED_PLANES, DecorrelationConfig
from diffdecor.core.fourier import reflect
from diffdecor.core.grid import Window
from diffdecor.core.noise import NoiseSide, white_side
from diffdecor.core.planes import bands
from diffdecor.core.statistics import clipped_mean
from diffdecor.errors import ConfigError, InputError, KernelError
from diffdecor.images import Exposure
from diffdecor.kernels.model import MatchingKernel
from diffdecor.psfs.model import PointSpreadFunction

log = logging.getLogger(__name__)

BLOCK = 16
"""Size of the blocks in which steps of the noise level are looked for, pixels."""
_NEAR = 1.6


@dataclass(frozen=True, eq=False)
class NoiseLevels:
    """Noise variances at n places.

    Parameters
    ----------
    science, template : array (n,)
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
    science: Exposure,
    template: Exposure,
    windows: Sequence[Window],
    config: DecorrelationConfig,
) -> NoiseLevels:
    """Measure the noise levels of both images in windows, or take those that are given.

    A window without a usable pixel takes the mean of its nearest neighbours' levels; if they have
    none either, that of the whole image.

    Parameters
    ----------
    science, template : Exposure
        With variance planes, unless the configuration gives the level.
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
    columns, fallback = [], np.zeros(len(windows), dtype=bool)
    sides = (
        (science, config.science_variance, "science"),
        (template, config.template_variance, "template"),
    )
    for exposure, given, role in sides:
        if given is not None:
            columns.append(np.full(len(windows), given))
            continue
        _require_variance(exposure, role)
        levels = window_levels(exposure, windows, config.ignore_planes)
        missing = np.isnan(levels)
        if missing.any():
            levels = _completed(levels, windows, exposure, config.ignore_planes)
        columns.append(levels)
        fallback |= missing
    if np.any((columns[0] == 0) & (columns[1] == 0)):
        msg = (
            f"{science.name}, {template.name}: both variance planes are zero: there is no noise "
            "to whiten; give --science-variance and --template-variance"
        )
        raise InputError(msg)
    return NoiseLevels(columns[0], columns[1], fallback)


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


def block_log_ratio(
    science: Exposure, template: Exposure, config: DecorrelationConfig
) -> NDArray[np.float64]:
    """Return the logarithm of the ratio of both noise levels in small blocks.

    Only the ratio shapes the filter. Every block of 16 x 16 pixels takes the median of each second
    pixel along either axis.

    Parameters
    ----------
    science, template : Exposure
        Both images.
    config : DecorrelationConfig
        Given levels, planes to ignore.

    Returns
    -------
    array (1, by, bx)
        ``log(t / s)``, NaN where unknown.
    """
    ny, nx = science.shape
    logs = np.zeros((2, -(-ny // BLOCK), -(-nx // BLOCK)))
    sides = (
        (science, config.science_variance, "science"),
        (template, config.template_variance, "template"),
    )
    for index, (exposure, given, role) in enumerate(sides):
        if given is None:
            _require_variance(exposure, role)
            logs[index] = _block_logs(exposure, config.ignore_planes)
    return np.asarray(logs[1:] - logs[:1])


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


@dataclass(frozen=True, eq=False)
class Way:
    """The ways of both images into the difference, which noise levels make noise of."""

    kernel: MatchingKernel
    config: DecorrelationConfig
    preconvolution: PointSpreadFunction | None = None

    def side(self, x: float, y: float) -> str:
        """Return the convolved side at a covered position."""
        if self.config.convolved != "auto":
            return self.config.convolved
        return self.kernel.side(x, y) or "template"

    def scales(self, x: float, y: float) -> tuple[float, float]:
        """Return ``(a_S, a_T)`` at a covered position."""
        science, template = self.kernel.scales(x, y)
        given = self.config.science_scale, self.config.template_scale
        return (
            science if given[0] is None else given[0],
            template if given[1] is None else given[1],
        )

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Return the position nearest to ``(x, y)`` at which there is a kernel."""
        boxes = self.kernel.boxes
        if not boxes or any(box.covers(x, y) for box in boxes):
            return x, y
        clamped = [
            (float(np.clip(x, box.xmin, box.xmax)), float(np.clip(y, box.ymin, box.ymax)))
            for box in boxes
        ]
        return min(clamped, key=lambda place: (place[0] - x) ** 2 + (place[1] - y) ** 2)

    def sides(
        self, positions: NDArray[np.float64], levels: NoiseLevels
    ) -> tuple[NoiseSide, NoiseSide]:
        """Return the noise of both sides at 0-based positions ``(n, 2)``.

        Raises
        ------
        KernelError
            If the sum of a kernel is zero to rounding.
        """
        places = [self.nearest(float(x), float(y)) for x, y in positions]
        stamps = np.array([self._checked_stamp(x, y) for x, y in places])
        scales = np.array([self.scales(x, y) for x, y in places])
        on_template = np.array([self.side(x, y) == "template" for x, y in places])
        origin = self.kernel.origin
        if self.config.score:
            if not on_template.all():
                msg = "--score is for differences with the template convolved (--convolved)"
                raise ConfigError(msg)
            science = self._preconvolved(places, levels.science, scales[:, 0])
            return science, NoiseSide(levels.template, scales[:, 1], stamps, origin)
        if on_template.all():
            return (
                white_side(levels.science, scales[:, 0]),
                NoiseSide(levels.template, scales[:, 1], stamps, origin),
            )
        if not on_template.any():
            return (
                NoiseSide(levels.science, scales[:, 0], stamps, origin),
                white_side(levels.template, scales[:, 1]),
            )
        delta = np.zeros(stamps.shape[1:])
        delta[origin[1], origin[0]] = 1.0
        convolved = on_template[:, np.newaxis, np.newaxis]
        return (
            NoiseSide(levels.science, scales[:, 0], np.where(convolved, delta, stamps), origin),
            NoiseSide(levels.template, scales[:, 1], np.where(convolved, stamps, delta), origin),
        )

    def _checked_stamp(self, x: float, y: float) -> NDArray[np.float64]:
        stamp = self.kernel.stamp(x, y)
        if abs(stamp.sum()) <= 1e-9 * np.abs(stamp).sum():
            msg = (
                f"{self.kernel.name}: the sum of the matching kernel at the 0-based position "
                f"({x:g}, {y:g}) is zero; it cannot have matched the two images"
            )
            raise KernelError(msg)
        return stamp

    def _preconvolved(
        self,
        places: Sequence[tuple[float, float]],
        levels: NDArray[np.float64],
        scales: NDArray[np.float64],
    ) -> NoiseSide:
        """Return the science side of a score image: correlated with the preconvolution kernel."""
        if self.preconvolution is None:
            msg = (
                "--score needs the kernel that the science image was correlated with: give "
                "--preconvolution-kernel, or --science-psf if it was its PSF"
            )
            raise ConfigError(msg)
        stamps = np.array([self.preconvolution.stamp(x, y) for x, y in places])
        return NoiseSide(levels, scales, *reflect(stamps, self.preconvolution.origin))


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
