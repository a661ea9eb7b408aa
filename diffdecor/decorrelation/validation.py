"""What cannot be decorrelated is refused, and what stands for a kernel or PSF taken as one."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from diffdecor.config import DecorrelationConfig
from diffdecor.core.planes import Plane, bands
from diffdecor.decorrelation.filtering import Triple
from diffdecor.decorrelation.noise_levels import check_planes
from diffdecor.errors import ConfigError, InputError, KernelError
from diffdecor.images.model import Exposure
from diffdecor.kernels.model import MatchingKernel, StampKernel
from diffdecor.psfs.model import PointSpreadFunction, StampPsf

log = logging.getLogger(__name__)


def as_kernel(kernel: MatchingKernel | ArrayLike | None) -> MatchingKernel:
    """Return a kernel: as it is, of one stamp ``(ky, kx)``, or of nothing at all.

    Raises
    ------
    KernelError
        If an array is no stamp.
    """
    if kernel is None:
        kernel = np.ones((1, 1))
    if hasattr(kernel, "stamp"):
        return kernel  # type: ignore[return-value]
    stamp = np.array(kernel, dtype=np.float64)
    if stamp.ndim != 2:
        msg = f"a kernel array must be one stamp (ky, kx), not {stamp.shape}"
        raise KernelError(msg)
    origin = (stamp.shape[1] // 2, stamp.shape[0] // 2)
    return StampKernel(stamps=stamp[np.newaxis], origin=origin, name="kernel array")


def as_psf(psf: PointSpreadFunction | ArrayLike | None) -> PointSpreadFunction | None:
    """Return a PSF: as it is, or of one stamp ``(ny, nx)``."""
    if psf is None or hasattr(psf, "stamp"):
        return psf  # type: ignore[return-value]
    return StampPsf(psf, name="preconvolution kernel")


def check(triple: Triple, kernel: MatchingKernel, config: DecorrelationConfig) -> None:
    """Refuse what cannot go together.

    Raises
    ------
    ConfigError
        If options contradict each other or what the exposures have.
    InputError
        If shapes disagree; `KernelError` if the kernel is larger than the images.
    """
    for exposure in (*triple.exposures[:2], *triple.science_stack, *triple.template_stack):
        if exposure.shape != triple.shape:
            msg = (
                f"{exposure.name} has the shape {exposure.shape} but {triple.difference.name} "
                f"{triple.shape} (ny, nx); give images on one pixel grid"
            )
            raise InputError(msg)
    if any(size > axis for size, axis in zip(kernel.shape, triple.shape, strict=True)):
        msg = (
            f"{kernel.name}: the kernel of {kernel.shape[1]} x {kernel.shape[0]} pixels is larger "
            f"than the image of {triple.shape[1]} x {triple.shape[0]}; is it the right file?"
        )
        raise KernelError(msg)
    if config.kernel_position is not None:
        x, y = config.kernel_position
        ny, nx = triple.shape
        if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
            msg = f"--kernel-position {x:g},{y:g} lies beyond the image of {nx} x {ny} pixels"
            raise ConfigError(msg)
    check_planes(triple.exposures, config.ignore_planes, "--ignore-planes")
    check_planes(triple.exposures, config.fill_planes, "--fill-planes")
    if isinstance(config.cell_centroids, str):
        msg = f"cell centroids must be positions here, not the file {config.cell_centroids}"
        raise ConfigError(msg)
    if config.cell_centroids is not None and config.blend == "interpolate":
        msg = "--cell-centroids needs --blend average, copy, sum or none: nodes lie on a grid"
        raise ConfigError(msg)


def without_empty_variance(exposure: Exposure, level: float | None) -> Exposure:
    """Leave out a variance plane without data where the level is given: all would be a hole."""
    plane = exposure.variance
    if level is None or plane is None or _any_finite(plane):
        return exposure
    log.warning(
        "%s: the variance plane has no finite pixel; going on with the level %g that is given",
        exposure.name,
        level,
    )
    return replace(exposure, variance=None)


def empty_input(triple: Triple) -> str:
    """Return the name of an input image without a single finite pixel, if there is one."""
    images = (exposure for exposure in triple.exposures if not _any_finite(exposure.image))
    return next((exposure.name for exposure in images), "")


def _any_finite(plane: Plane) -> bool:
    """Say whether any pixel is finite, reading no more than is needed to know."""
    return any(np.isfinite(plane[rows]).any() for rows in bands(plane.shape, 16))
