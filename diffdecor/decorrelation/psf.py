"""The PSF of the result, and the significance of point sources that is measured with it."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin
from diffdecor.core.interpolate import KernelField
from diffdecor.core.planes import LazyPlane, Plane
from diffdecor.core.psf import corrected_psf, crop_stamp, flux_half_width
from diffdecor.core.significance import significance_plane
from diffdecor.decorrelation.filtering import FilterGrid
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.errors import ConfigError
from diffdecor.images.model import Exposure
from diffdecor.psfs.model import PointSpreadFunction, StampPsf

log = logging.getLogger(__name__)

#: Kernels ``(n, ky, kx)``, or one for all places, and their origin.
Kernels = tuple[NDArray[np.float64], Origin]


def correct_psf(subtraction: Subtraction, filters: FilterGrid) -> StampPsf | None:
    """Return the PSF of the result at the position of every filter; None if no PSF is known.

    It is of unit sum everywhere.
    """
    found = _known_psf(subtraction, filters)
    if found is None:
        if subtraction.is_alone:
            log.warning(
                "%s: it has no PSF, and neither will the result; give it with --difference-psf",
                subtraction.difference.name,
            )
        return None
    psf, (stamps, origin) = found
    centre, positions = (filters.half_width,) * 2, filters.positions
    corrected = [
        corrected_psf(
            psf.stamp(float(x), float(y)),
            psf.origin,
            (stamps[min(number, len(stamps) - 1)], origin),
            (filters.stamps[number], centre),
        )
        for number, (x, y) in enumerate(positions)
    ]
    width = max(flux_half_width(stamp, origin) for stamp, origin in corrected)
    square = np.array([crop_stamp(stamp, origin, width) for stamp, origin in corrected])
    return StampPsf(square, positions if len(square) > 1 else None, name="PSF of the result")


def _known_psf(
    subtraction: Subtraction, filters: FilterGrid
) -> tuple[PointSpreadFunction, Kernels] | None:
    """Return a known PSF and the kernels that its image went through in the difference.

    The PSF of the difference is used unchanged; but that of a score image is the science image's,
    which is not yet correlated with the preconvolution kernel.
    """
    own, unchanged = subtraction.difference.psf, (np.ones((1, 1, 1)), (0, 0))
    known: list[tuple[PointSpreadFunction | None, Kernels]] = []
    if not subtraction.config.score:
        known = [(own, unchanged)]
    if not subtraction.is_alone:
        of_science, of_template = (exposure.psf for exposure in subtraction.pair)
        sides = filters.science, filters.template
        science, template = ((side.stamps, side.origin) for side in sides)
        known += [(of_science, science), (of_template, template), (own, science)]
    return next(((psf, kernels) for psf, kernels in known if psf is not None), None)


def detection_psf(
    psf: PointSpreadFunction | None, subtraction: Subtraction, filters: FilterGrid
) -> KernelField | None:
    """Return the PSF over the image that significance is measured with, if it is requested.

    A score image is the output of a matched filter already, and needs none.
    """
    config, (ny, nx) = subtraction.config, subtraction.shape
    if not config.significance or config.score:
        return None
    if not isinstance(psf, StampPsf):
        msg = "--significance needs a PSF: give --difference-psf, --science-psf or --template-psf"
        if subtraction.is_alone:
            msg = "--significance needs a PSF: give --difference-psf"
        raise ConfigError(msg)
    stamps = np.asarray(psf.stamps)
    on_grid = len(stamps) == len(filters.x) * len(filters.y) and config.blend == "interpolate"
    if on_grid:
        return filters.kernels(stamps, psf.origin)
    return KernelField.constant(psf.stamp((nx - 1) / 2, (ny - 1) / 2), psf.origin)


def point_source_significance(
    result: Exposure, unusable: Plane, psf: KernelField | None
) -> LazyPlane | None:
    """Return the signal-to-noise ratio of a point source at every pixel of a result.

    None without variance. Without `psf` (of `detection_psf`) it is that of each pixel alone.
    """
    if result.variance is None:
        return None
    image, variance = result.image, result.variance
    if psf is not None:
        usable = LazyPlane(result.shape, lambda rows: ~unusable[rows])
        return significance_plane(image, variance, usable, psf)

    def ratio(rows: slice) -> NDArray[Any]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(unusable[rows], np.nan, image[rows] / np.sqrt(variance[rows]))

    return LazyPlane(result.shape, ratio)
