"""What the output says of the noise of the result: its lag image, and a realisation of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from diffdecor.core.covariance import LagSums
from diffdecor.core.noise_power import NoisePower, power_of_sums
from diffdecor.core.planes import Plane, Target, bands, constant_plane, copy_planes
from diffdecor.core.realisation import BLOCK, noise_realisation
from diffdecor.errors import InputError
from diffdecor.fits.headers import squared_unit
from diffdecor.fits.open import Hdu, Header
from diffdecor.images.model import Exposure
from diffdecor.images.noise_power import (
    OF_DIFFERENCE,
    OF_RESULT,
    noise_covariance_hdu,
)
from diffdecor.pipeline.job import Job

log = logging.getLogger(__name__)


def noise_covariances(
    job: Job, before: LagSums, after: LagSums
) -> tuple[NoisePower | None, NoisePower | None]:
    """Return the noise powers of the difference as it was and of the result.

    The sums over pairs of sky pixels are in image unit squared. A power is None where it cannot be
    measured; an InputError is raised if an option needs it.
    """
    powers = power_of_sums(before, job.difference), power_of_sums(after, job.output)
    if powers[1] is None:
        check_not_needed(job, f"{int(after.pixels)} sky pixels are too few")
        log.info("%s: too few sky pixels to tell the covariance of the noise", job.output)
    return powers


def check_not_needed(job: Job, reason: str) -> None:
    """Raise an InputError if an option needs the noise of the result, which is not known."""
    needed = ["--write noisecov"] if "noisecov" in job.files.written else []
    if job.files.noise_realisation is not None:
        needed.append("--noise-realisation")
    if needed:
        msg = (
            f"{job.difference}: the covariance of the noise cannot be measured ({reason}); leave "
            f"out {' and '.join(needed)}"
        )
        raise InputError(msg)


def noise_hdus(
    before: NoisePower | None, after: NoisePower | None, header: Header
) -> Iterator[Hdu]:
    """Make the HDUs of the lag images that are known; `header` is that of the image."""
    unit = squared_unit(None if header is None else header.get("BUNIT"))
    for power, version in ((after, OF_RESULT), (before, OF_DIFFERENCE)):
        if power is not None:
            yield noise_covariance_hdu(power, version, unit)


def write_realisation(
    power: NoisePower, seed: int, result: Exposure, target: Target, threads: int
) -> None:
    """Write a realisation of noise of a power with the variance plane of the result.

    Where it has none the variance is that of the power.
    """
    variance: Plane = constant_plane(power.variance, result.shape)
    if result.variance is not None:
        variance = result.variance
    plane = noise_realisation(power.unit_kernel(), variance, seed)
    copy_planes([(plane, target)], bands(result.shape, BLOCK), threads)
