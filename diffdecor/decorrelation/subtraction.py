"""The ways of the images into the difference: kernels, scales, and what makes noise of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.config.options import INVERSE_SUM
from diffdecor.core.fourier import convolve_stamps, reflect
from diffdecor.core.noise import AnySide, NoiseSide, StackedSide, white_side
from diffdecor.decorrelation.noise_levels import NoiseLevels
from diffdecor.errors import ConfigError, KernelError
from diffdecor.images.model import Exposure
from diffdecor.kernels.model import MatchingKernel
from diffdecor.psfs.model import PointSpreadFunction

SCALES = ("science_scale", "template_scale")


@dataclass(frozen=True, eq=False)
class Member:
    """One of the images of a stack, or an image that was convolved before it was subtracted.

    Parameters
    ----------
    exposure : Exposure
        Its variance plane and mask, on the pixels of the difference.
    kernel : MatchingKernel, optional
        What it was convolved with before it was added.
    weight : float
        Its factor in the sum.
    """

    exposure: Exposure
    kernel: MatchingKernel | None = None
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Way:
    """The ways of both images into the difference, which noise levels make noise of."""

    kernel: MatchingKernel
    config: DecorrelationConfig
    preconvolution: PointSpreadFunction | None = None
    science_members: tuple[Member, ...] = ()
    template_members: tuple[Member, ...] = ()

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
            science if given[0] is None else float(given[0]),
            template if given[1] is None else float(given[1]),
        )

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Return the position nearest to ``(x, y)`` at which there is a kernel."""
        return nearest_covered(self.kernel, x, y)

    def sides(self, positions: NDArray[np.float64], levels: NoiseLevels) -> tuple[AnySide, AnySide]:
        """Return the noise of both sides at 0-based positions ``(n, 2)``.

        Raises
        ------
        KernelError
            If the sum of a kernel is zero to rounding.
        """
        science, template = self._matched(positions)
        return (
            _with_noise(science, levels.science, self.science_members, positions),
            _with_noise(template, levels.template, self.template_members, positions),
        )

    def _matched(self, positions: NDArray[np.float64]) -> tuple[NoiseSide, NoiseSide]:
        """Return the ways of both sides through the matching kernel, with noise of unit level."""
        places = [self.nearest(float(x), float(y)) for x, y in positions]
        stamps = np.array([self._checked_stamp(x, y) for x, y in places])
        science, template = np.array([self.scales(x, y) for x, y in places]).T
        on_template = np.array([self.side(x, y) == "template" for x, y in places])
        origin, unit = self.kernel.origin, np.ones(len(places))
        if self.config.score:
            if not on_template.all():
                msg = "--score is for differences with the template convolved (--convolved)"
                raise ConfigError(msg)
            return self._preconvolved(places, science), NoiseSide(unit, template, stamps, origin)
        if on_template.all():
            return white_side(unit, science), NoiseSide(unit, template, stamps, origin)
        if not on_template.any():
            return NoiseSide(unit, science, stamps, origin), white_side(unit, template)
        delta = np.zeros(stamps.shape[1:])
        delta[origin[1], origin[0]] = 1.0
        convolved = on_template[:, np.newaxis, np.newaxis]
        return (
            NoiseSide(unit, science, np.where(convolved, delta, stamps), origin),
            NoiseSide(unit, template, np.where(convolved, stamps, delta), origin),
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
        self, places: Sequence[tuple[float, float]], scales: NDArray[np.float64]
    ) -> NoiseSide:
        """Return the science side of a score image: correlated with the preconvolution kernel."""
        if self.preconvolution is None:
            msg = (
                "--score needs the kernel that the science image was correlated with: give "
                "--preconvolution-kernel, or --science-psf if it was its PSF"
            )
            raise ConfigError(msg)
        if self.science_members:
            msg = "--score cannot be combined with --science-kernel or --science-stack"
            raise ConfigError(msg)
        stamps = np.array([self.preconvolution.stamp(x, y) for x, y in places])
        origin = self.preconvolution.origin
        return NoiseSide(np.ones(len(places)), scales, *reflect(stamps, origin))


def with_known_scales(
    config: DecorrelationConfig, kernel: MatchingKernel, shape: tuple[int, int]
) -> DecorrelationConfig:
    """Return options in which a scale of ``1/k`` is the number that it stands for.

    The kernel sum is that at the image centre, as in LSST's differences.
    """
    inverse = [name for name in SCALES if getattr(config, name) == INVERSE_SUM]
    if not inverse:
        return config
    x, y = nearest_covered(kernel, (shape[1] - 1) / 2, (shape[0] - 1) / 2)
    total = kernel.sum(x, y)
    if total == 0:
        msg = f"{kernel.name}: the sum of the kernel is zero; it cannot have matched two images"
        raise KernelError(msg)
    known: dict[str, Any] = dict.fromkeys(inverse, 1.0 / total)
    return replace(config, **known)


def nearest_covered(kernel: MatchingKernel, x: float, y: float) -> tuple[float, float]:
    """Return the position nearest to ``(x, y)`` at which there is a kernel."""
    boxes = kernel.boxes
    if not boxes or any(box.covers(x, y) for box in boxes):
        return x, y
    clamped = [
        (float(np.clip(x, box.xmin, box.xmax)), float(np.clip(y, box.ymin, box.ymax)))
        for box in boxes
    ]
    return min(clamped, key=lambda place: (place[0] - x) ** 2 + (place[1] - y) ** 2)


def _with_noise(
    way: NoiseSide,
    levels: NDArray[np.float64],
    members: Sequence[Member],
    positions: NDArray[np.float64],
) -> AnySide:
    """Give the way of a side the noise of its image, or of the images that it is the sum of."""
    if not members:
        return replace(way, level=levels)
    rows = np.atleast_2d(levels)
    sides = [
        _member_side(way, row, member, positions) for row, member in zip(rows, members, strict=True)
    ]
    if len(sides) == 1:
        return sides[0]
    total = np.sum(
        [row * member.weight**2 for row, member in zip(rows, members, strict=True)], axis=0
    )
    return StackedSide(replace(way, level=total), tuple(sides))


def _member_side(
    way: NoiseSide, levels: NDArray[np.float64], member: Member, positions: NDArray[np.float64]
) -> NoiseSide:
    """Return the noise of one image: through its own kernel, and then the way of the side."""
    stamps, origin = way.stamps, way.origin
    if member.kernel is not None:
        places = [nearest_covered(member.kernel, float(x), float(y)) for x, y in positions]
        own = np.array([member.kernel.stamp(x, y) for x, y in places])
        stamps, origin = convolve_stamps(own, member.kernel.origin, stamps, origin)
    return NoiseSide(levels, way.scale * member.weight, stamps, origin)
