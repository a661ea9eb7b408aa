"""What the output says of the noise of the result: its lag image, and a realisation of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits

from diffdecor.core.covariance import LagSums
from diffdecor.core.noise_power import NoisePower, power_of_sums
from diffdecor.core.planes import Plane, Target, bands, constant_plane, copy_planes
from diffdecor.core.realisation import BLOCK, noise_realisation
from diffdecor.errors import ConfigError, InputError, OutputExistsError
from diffdecor.fits.atomic import atomic_output, check_output
from diffdecor.fits.headers import squared_unit
from diffdecor.fits.open import Hdu, Header, open_fits, quiet_astropy, read_pixels
from diffdecor.images.model import Exposure
from diffdecor.images.noise_power import (
    NOISE_COVARIANCE,
    OF_DIFFERENCE,
    OF_RESULT,
    noise_covariance_hdu,
)
from diffdecor.pipeline.inputs import Inputs
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.provenance import VERSION_CARD

log = logging.getLogger(__name__)

#: Which HDU is written to a file of its own, by the name of the part: EXTNAME and EXTVER.
_PARTS = {"noisecov": (NOISE_COVARIANCE, OF_RESULT)}


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
    needed = [f"--write {name}" for name in job.files.written]
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


def check_parts(inputs: Inputs) -> None:
    """Refuse files of parts that must not or cannot be written, before any work is done."""
    job = inputs.job
    for name, file in job.files.written.items():
        if _same_file(file, job.output):
            msg = f"--write {name}={file}: is the output itself; choose another name"
            raise ConfigError(msg)
        check_output(file, overwrite=job.overwrite, inputs=inputs.files.values())


def write_parts(inputs: Inputs) -> None:
    """Write parts of the output, which is complete, to files of their own.

    A file that holds the same already is left as it is; raises what `check_parts` does.
    """
    job = inputs.job
    for name, file in job.files.written.items():
        primary = _as_primary(job.output, *_PARTS[name])
        if primary is None:
            msg = (
                f"{job.output}: holds no {_PARTS[name][0]}, because its noise could not be "
                f"measured; leave out --write {name}"
            )
            raise InputError(msg)
        try:
            check_parts(inputs)
        except OutputExistsError:
            if not _is_written(file, primary):
                raise
            log.info("%s: done already", file)
            continue
        sources = [*inputs.files.values(), job.output]
        with atomic_output(file, overwrite=job.overwrite, inputs=sources) as out:
            fits.HDUList([primary]).writeto(out, checksum=True)


def _as_primary(output: str, name: str, version: int) -> Hdu:
    """Return an HDU of the output as the primary HDU of a file, None if it is not there."""
    with open_fits(output) as (hdus, _), quiet_astropy(output):
        if (name, version) not in hdus:
            return None
        found = hdus[name, version]
        primary = fits.PrimaryHDU(read_pixels(found, output))
        primary.header.extend(
            [card for card in found.header.cards if card.keyword not in {"CHECKSUM", "DATASUM"}],
            strip=True,
            unique=True,
        )
        primary.header["EXTNAME"] = (name, found.header.comments["EXTNAME"])
        primary.header["EXTVER"] = version
        for keyword in (VERSION_CARD.keyword, "DDDIF"):
            if keyword in hdus[0].header:
                primary.header[keyword] = (
                    hdus[0].header[keyword],
                    hdus[0].header.comments[keyword],
                )
        return primary


def _is_written(file: str, primary: Hdu) -> bool:
    """Say whether a file holds what is to be written to it."""
    try:
        with open_fits(file) as (hdus, _):
            there = hdus[0].data
            same_unit = hdus[0].header.get("BUNIT") == primary.header.get("BUNIT")
            return there is not None and same_unit and np.array_equal(there, primary.data)
    except InputError:
        return False


def _same_file(first: str, second: str) -> bool:
    """Say whether two names are those of one file, which need not be there."""
    one, other = Path(first), Path(second)
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()
