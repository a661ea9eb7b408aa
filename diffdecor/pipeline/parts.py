"""Parts of the output in files of their own, for tools that read one plane of one file.

They are made of the output, which is complete by then, band by band.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from diffdecor.decorrelation.preparation import Prepared
from diffdecor.errors import ConfigError, OutputExistsError
from diffdecor.fits.atomic import check_output
from diffdecor.fits.open import open_fits, quiet_astropy
from diffdecor.fits.output import fits_output, is_tiled
from diffdecor.fits.paths import are_same_file
from diffdecor.fits.reading import Reading
from diffdecor.fits.sums import check_sums
from diffdecor.images.write import compression
from diffdecor.pipeline.inputs import Inputs
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.part_content import content_of, missing_part, needed_hdu

log = logging.getLogger(__name__)


def with_what_parts_need(job: Job) -> Job:
    """Return a job with the options that its parts imply; raises what `check_exclusive` does."""
    check_exclusive(job)
    written, config = job.files.written, job.decorrelation
    named = [f"--write {name}" for name in ("signif", "fluxerr") if name in written]
    if named and not config.significance:
        log.info("%s: --significance is on, for %s", job.output, " and ".join(named))
        return replace(job, decorrelation=replace(config, significance=True))
    return job


def check_exclusive(job: Job) -> None:
    """Raise a ConfigError if options for outputs exclude each other, whatever the files hold."""
    written, config = job.files.written, job.decorrelation
    problem = ""
    if "psi" in written and not job.files.filters:
        problem = "--write psi and --no-filters exclude each other; leave out one of them"
    elif job.files.quantize is not None and not is_tiled(job.output):
        problem = "--quantize is for compressed outputs; name the output .fits.fz"
    elif "noisereal" in written and job.files.noise_realisation is None:
        problem = "--write noisereal needs a seed; give --noise-realisation SEED, too"
    elif "fluxerr" in written and config.score:
        problem = "--write fluxerr and --score exclude each other: score images have no flux errors"
    if problem:
        raise ConfigError(problem)


def check_there(job: Job, prepared: Prepared) -> None:
    """Refuse parts of which there will be nothing, before the pixels are computed."""
    missing = {
        "VARIANCE": prepared.exposure.variance is None,
        "SIGNIF": prepared.filters is None,
        "FLUXERR": prepared.detection is None,
        "PSF": prepared.exposure.psf is None,
        "PSI": prepared.filters is None,
    }
    for name in job.files.written:
        if missing.get(needed_hdu(name)):
            raise missing_part(job.difference, name, needed_hdu(name))


def check_parts(inputs: Inputs) -> None:
    """Refuse files of parts that must not or cannot be written, before any work is done."""
    _check_names(inputs.job)
    for file in inputs.job.files.written.values():
        check_output(
            file, overwrite=inputs.job.overwrite, inputs=inputs.files.values(), packable=True
        )
    _check_plot(inputs)


def _check_plot(inputs: Inputs) -> None:
    """Refuse a picture that would replace an input, of which more are known now."""
    job = inputs.job
    if job.plot is not None and Path(job.plot).exists():
        check_output(job.plot, overwrite=True, inputs=inputs.files.values())


def _check_names(job: Job) -> None:
    """Refuse a file that is the output, or that of two parts."""
    written = job.files.written
    for name, file in written.items():
        if are_same_file(file, job.output):
            msg = f"--write {name}={file}: is the output itself; choose another name"
            raise ConfigError(msg)
        if job.plot is not None and are_same_file(file, job.plot):
            msg = f"--plot {job.plot}: is the file of {name}, too; choose another name"
            raise ConfigError(msg)
    for (name, file), (other, second) in combinations(written.items(), 2):
        if are_same_file(file, second):
            msg = f"--write {other}={second}: is the file of {name}, too; choose another name"
            raise ConfigError(msg)


def write_parts(inputs: Inputs, *, was_there: bool = False) -> None:
    """Write parts of the output, which is complete, to files of their own.

    A file that holds the same already is left as it is; raises what `check_parts` does, and an
    InputError if an output that `was_there` before is damaged: parts have sums of their own.
    """
    job = inputs.job
    if not job.files.written:
        return
    _check_names(job)
    sources = [*inputs.files.values(), job.output]
    with Reading() as reading, open_fits(job.output, reading.files) as (hdus, _):
        if was_there and not job.files.ignore_checksums:
            check_sums([job.output], reading.files, reading)
        for name, file in job.files.written.items():
            with quiet_astropy(job.output):
                content = content_of(name, hdus, job.output, reading)
            try:
                check_output(file, overwrite=job.overwrite, inputs=sources, packable=True)
            except OutputExistsError:
                if not content.is_in(file, reading):
                    raise
                log.info("%s: done already", file)
                continue
            # The pixels are those of the output, and are not quantised again.
            with fits_output(
                file, overwrite=job.overwrite, inputs=sources, compression=compression()
            ) as out:
                content.write(out)
