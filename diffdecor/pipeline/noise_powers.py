"""The noise of images as it is known otherwise: read, and compared with the images."""

from __future__ import annotations

from collections.abc import Mapping

from diffdecor.core.noise_power import NoisePower
from diffdecor.core.planes import sampled
from diffdecor.core.statistics import clipped_mean, robust_sigma
from diffdecor.errors import ConfigError
from diffdecor.fits.open import OpenFiles
from diffdecor.images.model import Exposure
from diffdecor.images.noise_power import check_noise_level, read_noise_power
from diffdecor.pipeline.job import Job


def read_noise_powers(
    job: Job, exposures: Mapping[str, Exposure], files: OpenFiles
) -> dict[str, NoisePower]:
    """Return the noise powers that a job names, by the role of their image.

    Raises a ConfigError if they contradict each other or other options, an InputError if a file
    cannot be read, or is in another unit than its image.
    """
    named = {
        role: job.files.of_image(role).noise_power
        for role in exposures
        if job.files.of_image(role).noise_power is not None
    }
    _check_options(job, named)
    powers = {}
    for role, file in named.items():
        powers[role] = power = read_noise_power(str(file), role, files)
        if power.absolute:
            check_noise_level(power, _variance(job, role, exposures[role]), exposures[role].name)
    return powers


def _check_options(job: Job, named: Mapping[str, object]) -> None:
    for role in named:
        options = job.files.of_image(role)
        others = {f"--{role}-kernel": options.kernel, f"--{role}-stack": options.stack}
        for flag, value in others.items():
            if value is not None:
                msg = (
                    f"--{role}-noise-power and {flag} exclude each other: the noise power is that "
                    "of the image as it was subtracted"
                )
                raise ConfigError(msg)
    sides = [f"--{role}-noise-power" for role in named if role != "difference"]
    if "difference" in named and sides:
        msg = (
            f"--difference-noise-power is the noise of both sides together; leave out it, or "
            f"{' and '.join(sides)}"
        )
        raise ConfigError(msg)


def _variance(job: Job, role: str, exposure: Exposure) -> float:
    """Return the noise variance of an image, as far as it is known: of sampled rows."""
    given = None if role == "difference" else getattr(job.decorrelation, f"{role}_variance")
    if given is not None:
        return float(given)
    if exposure.variance is not None:
        return clipped_mean(sampled(exposure.variance))
    return robust_sigma(sampled(exposure.image)) ** 2
