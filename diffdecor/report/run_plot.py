"""The picture that a run draws of its result: ``run --plot``."""

from __future__ import annotations

import logging
from pathlib import Path

from diffdecor.errors import ConfigError, OutputExistsError
from diffdecor.fits.atomic import atomic_output, check_output
from diffdecor.fits.paths import are_same_file
from diffdecor.fits.reading import Reading
from diffdecor.fits.sums import check_sums
from diffdecor.images.read import exposure_of, found_image
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.region import cut_out
from diffdecor.report.before_after import before_after_png
from diffdecor.report.drawing import require_matplotlib
from diffdecor.report.drawn import has_data, known_psfs, measured_pair
from diffdecor.report.origins import open_result
from diffdecor.report.outputs import filters_of, read_output, short_name
from diffdecor.report.page import verdict_line

log = logging.getLogger(__name__)


def check_plot(job: Job, file: str) -> None:
    """Refuse a picture that cannot be drawn or written, before the work is done.

    One that is there already may be that of an output that is there already, too.
    """
    require_matplotlib()
    if are_same_file(file, job.output):
        msg = f"--plot {file}: is the output itself; choose another name"
        raise ConfigError(msg)
    try:
        check_output(file, overwrite=job.overwrite, inputs=job.inputs.values())
    except OutputExistsError:
        if job.overwrite or not Path(job.output).exists():
            raise


def write_plot(job: Job, file: str) -> None:
    """Draw the difference of a job, and its output, which is complete.

    A file that is there already and holds this very picture is left as it is. An output without
    data is not drawn.
    """
    png = plot_of(job)
    if png is None:
        log.warning("%s: no pixel has data; %s is not drawn", job.output, file)
        return
    inputs = [*job.inputs.values(), job.output]
    try:
        with atomic_output(file, overwrite=job.overwrite, inputs=inputs) as out:
            out.write(png)
    except OutputExistsError:
        if job.overwrite or Path(file).read_bytes() != png:
            raise
        log.info("%s: done already", file)


def plot_of(job: Job) -> bytes | None:
    """Return the PNG file; None if no pixel of the output has data."""
    about = read_output(job.output)
    if about.error is not None:
        raise about.error
    memory = job.decorrelation.max_memory
    with Reading(memory // 2) as reading:  # for unpacked planes
        after = open_result(about, reading)
        if not has_data(after):
            return None
        options = job.files.of_image("difference")
        whole = exposure_of(found_image(job.difference, options, reading)).exposure
        before = cut_out(whole, job.files.region)
        psfs = known_psfs(about, after, before, filters_of(job.output))
        pair = measured_pair(about, after, before, psfs, job.decorrelation.threads, memory)
        if not job.files.ignore_checksums:  # it may have been there before
            check_sums([job.output], reading.files, reading)
    words = verdict_line(about).replace("→", "->").replace("±", "+-")
    return before_after_png(pair, f"{short_name(job.output)}. {words}")
