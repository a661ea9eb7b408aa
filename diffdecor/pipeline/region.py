"""A part of the images instead of all of them: everything keeps its place on the sky.

Planes are cut, by rows and columns as they are read; kernels and PSFs, which are functions of
position, are moved, and so are the positions in options, which count from the whole image. Noise
levels and metrics are then those of the part, and its borders are borders of an image: within the
reach of the filters the result differs from that of the whole image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffdecor.config import DecorrelationConfig
from diffdecor.config.kinds import region_bounds
from diffdecor.core.planes import Window, windowed
from diffdecor.decorrelation.subtraction import Member, Subtraction
from diffdecor.errors import ConfigError
from diffdecor.fits.headers import moved_wcs
from diffdecor.images.model import Exposure
from diffdecor.psfs.model import BasisPsf, PointSpreadFunction, StampPsf


def check_region(subtraction: Subtraction, region: str | None) -> None:
    """Raise a ConfigError if a region is not a part of the images that can be decorrelated."""
    if region is None:
        return
    window, (ny, nx) = _window(region), subtraction.shape
    if window != window.within((ny, nx)):
        msg = (
            f"--region {region} is not in the image of {nx} x {ny} pixels; the largest is "
            f"0:{nx},0:{ny}"
        )
        raise ConfigError(msg)
    height, width = window.shape
    (ky, kx) = subtraction.kernel.shape
    if height < ky or width < kx:
        msg = (
            f"--region {region} has {width} x {height} pixels, fewer than the kernel of {kx} x {ky}"
        )
        raise ConfigError(msg)
    position = subtraction.config.kernel_position
    if position is not None and not _holds(window, *position):
        x, y = position
        msg = f"--kernel-position {x:g},{y:g} (of the whole image) lies outside --region {region}"
        raise ConfigError(msg)


def in_region(subtraction: Subtraction, region: str | None) -> Subtraction:
    """Return the subtraction of a part of the images; of all of them for None.

    Raises what `check_region` does.
    """
    if region is None:
        return subtraction
    check_region(subtraction, region)
    window = _window(region)
    corner = window.x0, window.y0

    def moved(members: tuple[Member, ...]) -> tuple[Member, ...]:
        return tuple(
            replace(one, kernel=None if one.kernel is None else one.kernel.moved(*corner))
            for one in members
        )

    part = subtraction.with_exposures(lambda exposure: _cut(exposure, window))
    preconvolution = subtraction.preconvolution
    return replace(
        part,
        kernel=subtraction.kernel.moved(*corner),
        config=_moved_options(subtraction.config, *corner),
        preconvolution=preconvolution and _moved_psf(preconvolution, *corner),
        science_members=moved(part.science_members),
        template_members=moved(part.template_members),
    )


def cut_out(exposure: Exposure, region: str | None) -> Exposure:
    """Return the part of an exposure that a region is; all of it for None.

    An exposure that the region does not fit into, which is none that was cut so, is left whole.
    """
    if region is None or (window := _window(region)) != window.within(exposure.shape):
        return exposure
    return _cut(exposure, window)


def _cut(exposure: Exposure, window: Window) -> Exposure:
    """Return a part of an exposure; a level of variance is a plane, too."""
    variance, mask, header = exposure.variance, exposure.mask, exposure.header
    corner = window.x0, window.y0
    return replace(
        exposure,
        image=windowed(exposure.image, window),
        variance=None if variance is None else windowed(variance, window),
        mask=None if mask is None else windowed(mask, window),
        psf=None if exposure.psf is None else _moved_psf(exposure.psf, *corner),
        header=None if header is None else moved_wcs(header, *corner),
    )


def _moved_options(config: DecorrelationConfig, x: int, y: int) -> DecorrelationConfig:
    """Return options whose positions count from the first pixel of the part."""
    position, centroids = config.kernel_position, config.cell_centroids
    if position is not None:
        config = replace(config, kernel_position=(position[0] - x, position[1] - y))
    if isinstance(centroids, tuple):
        config = replace(config, cell_centroids=tuple((cx - x, cy - y) for cx, cy in centroids))
    return config


def _window(region: str) -> Window:
    return Window(*region_bounds(region))


def _holds(window: Window, x: float, y: float) -> bool:
    """Say whether a position lies in one of the pixels of a window."""
    return window.x0 - 0.5 <= x <= window.x1 - 0.5 and window.y0 - 0.5 <= y <= window.y1 - 0.5


@dataclass(frozen=True, eq=False)
class _MovedPsf:
    """A point-spread function of a cut-out, from that of the whole image."""

    whole: PointSpreadFunction
    x: int
    y: int

    @property
    def origin(self) -> tuple[int, int]:
        return self.whole.origin

    def stamp(self, x: float, y: float) -> NDArray[np.float64]:
        return self.whole.stamp(x + self.x, y + self.y)


def _moved_psf(psf: PointSpreadFunction, x: int, y: int) -> PointSpreadFunction:
    """Return the PSF of a cut-out whose first pixel is ``(x, y)`` in the whole image, 0-based."""
    if isinstance(psf, StampPsf):
        return replace(psf, positions=np.asarray(psf.positions) - (x, y))
    if isinstance(psf, BasisPsf):
        return replace(psf, x0=psf.x0 - x, y0=psf.y0 - y)
    return _MovedPsf(psf, x, y)
