"""One job, files in and file out: what `diffdecor run` and every batch job call."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.core.interpolate import Stamps
from diffdecor.core.planes import Progress, Window, copy_planes, in_memory
from diffdecor.core.variance import single_holds
from diffdecor.decorrelation.cells import CellResult
from diffdecor.decorrelation.decorrelate import PlanesResult, prepare, result_of
from diffdecor.decorrelation.judgement import failures
from diffdecor.decorrelation.mask import EDGE, NEAR_FILLED, NO_DATA
from diffdecor.decorrelation.preparation import Prepared
from diffdecor.decorrelation.verification import Verdict, check_verifiable, verify
from diffdecor.errors import InputError, KernelError, OutputExistsError
from diffdecor.fits.atomic import atomic_output, check_output
from diffdecor.fits.headers import moved_wcs, squared_unit, wcs_cards
from diffdecor.fits.open import Header
from diffdecor.fits.write_rows import ResultFile
from diffdecor.images.model import Exposure
from diffdecor.images.variance import narrowed
from diffdecor.images.write import fitting_dtype, result_file
from diffdecor.pipeline.collected import CARDS, collected, refuse_doubtful, with_history
from diffdecor.pipeline.inputs import Inputs, read_inputs
from diffdecor.pipeline.job import Job, Outcome
from diffdecor.pipeline.kernel_fits import fit_metrics, found_kernel
from diffdecor.pipeline.noise_outputs import (
    check_not_needed,
    noise_covariances,
    noise_hdus,
    write_realisation,
)
from diffdecor.pipeline.parts import check_parts, check_there, with_what_parts_need, write_parts
from diffdecor.pipeline.provenance import (
    METRIC_CARDS,
    is_done,
    output_cards,
    record,
    recorded_metrics,
    source_values,
)
from diffdecor.pipeline.region import check_region, in_region
from diffdecor.pipeline.verified import verified
from diffdecor.words import of_commands

log = logging.getLogger(__name__)


@of_commands()
def run_job(job: Job, *, progress: Progress | None = None) -> Outcome:
    """Decorrelate one triple of files.

    Planes pass through in bands of rows. Nothing is written unless all goes well. An output that
    the same algorithm made of the same inputs with the same options is left as it is. `progress` is
    told how many pixels of the result are done, and of how many. Raises a DiffdecorError if the job
    is contradictory, an input cannot be used or the output not written.
    """
    with collected() as warnings:
        return _run(with_what_parts_need(job), warnings, progress)


def _run(job: Job, warnings: list[str], progress: Progress | None) -> Outcome:
    inputs = read_inputs(job)
    strict = job.files.strict
    try:
        check_output(
            job.output, overwrite=job.overwrite, inputs=inputs.files.values(), packable=True
        )
        _check_limits(inputs)
        check_region(inputs.subtraction, job.files.region)
        check_parts(inputs)
        inputs, fit = found_kernel(inputs)
        subtraction, metrics = verified(inputs)
        metrics |= fit_metrics(fit)
        subtraction = in_region(subtraction, job.files.region)
        inputs = replace(inputs, subtraction=subtraction)
        prepared = prepare(subtraction)
        check_there(job, prepared)
        refuse_doubtful(job.output, warnings, inputs.all_sought, strict=strict)
        metrics |= _write(inputs, prepared, metrics, warnings, progress)
    except OutputExistsError:  # now, or since another process has finished it
        if job.overwrite or not is_done(inputs.job, lambda: inputs.sources):
            raise
        log.info("%s: done already", job.output)
        outcome = _recorded(inputs, job.files, warnings)
        before = outcome.metrics.get("warnings")
        texts = [*warnings, f"its card DDWARN counts {before}"] if before else warnings
        refuse_doubtful(job.output, texts, inputs.all_sought, strict=strict)
        write_parts(inputs, was_there=True)
        return outcome
    write_parts(inputs)
    _report(job, metrics)
    found = {card.name: metrics.get(card.name) for card in METRIC_CARDS}
    too_much = limit_failures(job.files, found)
    return Outcome("done", found, too_much, tuple(warnings), inputs.files, inputs.sought)


@of_commands()
def existing_outcome(job: Job) -> Outcome | None:
    """Return what an output records that this very job has made, None if there is none.

    Nothing is written. Raises a DiffdecorError if an input cannot be used.
    """
    inputs = read_inputs(job)
    made = is_done(inputs.job, lambda: inputs.sources)
    return _recorded(inputs, job.files, ()) if made else None


def _recorded(inputs: Inputs, config: FilesConfig, warnings: Sequence[str]) -> Outcome:
    """Return what an output records, judged by the limits that hold now."""
    recorded = recorded_metrics(inputs.job.output)
    found = recorded | _verdict(config, recorded)
    too_much = limit_failures(config, recorded)
    return Outcome("already done", found, too_much, tuple(warnings), inputs.files, inputs.sought)


@of_commands()
def verify_job(job: Job, *, progress: Progress | None = None) -> Verdict:
    """Say whether the files of a job belong together, by rebuilding the difference.

    `progress` is told how many parts of a large image are done, and of how many.
    """
    inputs = read_inputs(job)
    check_verifiable(inputs.subtraction)
    inputs, _ = found_kernel(inputs)
    subtraction = inputs.subtraction
    verdict = verify(in_region(subtraction, job.files.region), progress)
    _ = inputs.sources  # compares what was read with the sums that headers state
    return verdict


def _check_limits(inputs: Inputs) -> None:
    """Refuse a limit of what cannot be measured, before the work is done."""
    if inputs.job.files.max_factor is not None and inputs.subtraction.psf is None:
        msg = (
            f"{inputs.job.difference}: --max-factor needs a PSF; give --difference-psf, or that of "
            "the science image"
        )
        raise InputError(msg)


def limit_failures(config: FilesConfig, metrics: Mapping[str, Any]) -> list[str]:
    """Return why the noise of a result exceeds the limits of the options."""

    def number(name: str) -> float:
        value = metrics.get(name)
        return math.nan if value is None else float(value)

    return failures(
        number("rho_after"),
        number("rho_error"),
        (number("factor_after"), number("factor_error")),
        config.max_rho,
        config.max_factor,
    )


def _verdict(config: FilesConfig, metrics: Mapping[str, Any]) -> dict[str, object]:
    """Return the verdict on a result, if there are limits, as its card holds it."""
    if config.max_rho is None and config.max_factor is None:
        return {}
    return {"gate": "failed" if limit_failures(config, metrics) else "passed"}


def _write(
    inputs: Inputs,
    prepared: Prepared,
    metrics: Mapping[str, object],
    warnings: Sequence[str],
    progress: Progress | None,
) -> dict[str, object]:
    """Compute the result, band by band into the output file; return its metrics."""
    job, exposure = inputs.job, prepared.exposure
    dtype, variance_dtype = _dtypes(prepared, job.files.dtype)
    widest = source_values(
        inputs.files, defaultdict(lambda: lambda: 2**32 - 1), is_fitted=inputs.is_fitted
    )
    with result_file(
        job.output,
        replace(exposure, header=fresh_header(exposure.header)),
        cards=record(job, widest, {}),
        cards_room=len(METRIC_CARDS) + CARDS,
        psi=_psi(prepared) if job.files.filters else None,
        windows=prepared.windows,
        dtype=dtype,
        variance_dtype=variance_dtype,
        bad_planes=bad_planes(prepared.config),
        significance=prepared.config.significance and prepared.filters is not None,
        flux_error=prepared.detection is not None,
        noise_realisation=job.files.noise_realisation is not None,
        overwrite=job.overwrite,
        inputs=inputs.files.values(),
        quantize=job.files.quantize,
        threads=prepared.threads,
    ) as file:
        steps = _Steps(exposure.shape, 1 if file.significance is None else 2, progress)
        filled = prepared.into(file.image, file.mask, file.variance, steps.of_pass(0))
        planes = replace(exposure, image=file.image, mask=file.mask, variance=file.variance)
        result = result_of(prepared, planes, filled)
        of_sources = [
            (plane, target)
            for plane, target in (
                (result.significance, file.significance),
                (result.flux_error, file.flux_error),
            )
            if plane is not None and target is not None
        ]
        if of_sources:
            copy_planes(of_sources, prepared.bands, prepared.threads, steps.of_pass(1))
        _write_noise(job, prepared, result, file)
        file.append(cell_hdus(result.cells, exposure, dtype))
        sources = inputs.sources  # which may refuse an input, or warn of it
        found = {**metrics, **result.metrics.as_dict()}
        found |= _verdict(job.files, found)
        found["warnings"] = len(warnings)
        file.set_cards(with_history(record(job, sources, found), warnings))
        refuse_doubtful(job.output, warnings, inputs.all_sought, strict=job.files.strict)
    return found


@dataclass(frozen=True)
class _Steps:
    """Tells of the pixels that are done, where the rows of an image are passed over repeatedly."""

    shape: tuple[int, int]
    passes: int
    progress: Progress | None

    def of_pass(self, number: int) -> Progress | None:
        """Return what is to be told of the rows of one pass, the first of which is 0."""
        show, (ny, nx) = self.progress, self.shape
        if show is None:
            return None
        if number == 0:
            show(0, ny * nx)
        return lambda rows, _: show((number * ny + rows) * nx // self.passes, ny * nx)


def _write_noise(job: Job, prepared: Prepared, result: PlanesResult, file: ResultFile) -> None:
    """Add what is known of the noise of the result, whose pixels have been written."""
    lags, exposure = result.covariances, result.exposure
    if lags is None:
        check_not_needed(job, "there are too few sky pixels")
        return
    before, after = noise_covariances(job, lags.before, lags.after)
    file.append(noise_hdus(before, after, exposure.header))
    seed, target = job.files.noise_realisation, file.noise_realisation
    if after is not None and seed is not None and target is not None:
        write_realisation(after, seed, exposure, target, prepared.threads)


def bad_planes(config: DecorrelationConfig) -> tuple[str, ...]:
    """Return the mask planes whose pixels are not to be used."""
    return tuple(dict.fromkeys((*config.fill_planes, NO_DATA, EDGE, NEAR_FILLED)))


def _psi(prepared: Prepared) -> Stamps | None:
    filters = prepared.filters
    if filters is None:
        return None
    return psi_stamps(filters.stamps, filters.positions, prepared.windows)


def psi_stamps(
    filters: NDArray[np.float64], positions: NDArray[np.float64], windows: Sequence[Window]
) -> Stamps:
    """Return filters ``(n, 2m + 1, 2m + 1)`` as stamps, each for its window if there are any."""
    middle = filters.shape[-1] // 2
    return Stamps(
        stamps=filters,
        positions=positions,
        origin=(middle, middle),
        interpolation="NEAREST" if windows else "LINEAR",
    )


def _dtypes(prepared: Prepared, dtype: str) -> tuple[str, str]:
    """Return the types of image and variance: double where single has no such numbers."""
    variance, filters = prepared.exposure.variance, prepared.filters
    if dtype == "float64":
        return dtype, dtype
    if filters is None:
        return dtype, dtype if variance is None else fitting_dtype(variance, dtype)
    power = filters.power
    return (
        dtype if single_holds(np.sqrt(power)) else "float64",
        dtype if single_holds(power) else "float64",
    )


def fresh_header(header: Header) -> Header:
    """Return a header without the cards that an earlier run has left."""
    kept = fits.Header() if header is None else header.copy()
    for card in output_cards():
        kept.remove(card.keyword, ignore_missing=True, remove_all=True)
    return kept


def cell_hdus(
    cells: Sequence[CellResult], difference: Exposure, dtype: str
) -> Iterator[fits.ImageHDU]:
    """Make the HDUs of separate cells: CELL_IMAGE and CELL_VARIANCE with one EXTVER each."""
    header = fits.Header() if difference.header is None else difference.header
    for number, cell in enumerate(cells, start=1):
        for name, plane in (("CELL_IMAGE", cell.image), ("CELL_VARIANCE", cell.variance)):
            is_variance, pixels = name == "CELL_VARIANCE", in_memory(plane)
            values = narrowed(pixels, dtype) if is_variance else pixels.astype(dtype)
            hdu = fits.ImageHDU(values, name=name, ver=number)
            corner = cell.window.x0, cell.window.y0
            hdu.header.extend(moved_wcs(wcs_cards(header), *corner), unique=True)
            unit = str(header.get("BUNIT", "")).strip()
            if unit:
                hdu.header["BUNIT"] = squared_unit(unit) if is_variance else unit
            yield hdu


def _report(job: Job, metrics: Mapping[str, Any]) -> None:
    """Log the result in one line."""
    if metrics.get("skipped"):
        return
    log.info(
        "%s: neighbour correlation x %.4f -> %.4f, y %.4f -> %.4f (+- %.4f, %d sky pixels)",
        job.output,
        metrics["correlation_x_before"],
        metrics["correlation_x_after"],
        metrics["correlation_y_before"],
        metrics["correlation_y_after"],
        metrics["correlation_error"],
        metrics["sky_pixels"],
    )


def convert_kernel(
    kernel: str,
    output: str,
    *,
    difference: str | None = None,
    overwrite: bool = False,
    ignore_checksums: bool = False,
) -> None:
    """Write a kernel file in the native format, losslessly."""
    from diffdecor.kernels.native_write import native_hdus
    from diffdecor.kernels.registry import read_kernel

    inputs = [kernel, *filter(None, [difference])]
    check_output(output, overwrite=overwrite, inputs=inputs)
    read = read_kernel(kernel, difference, ignore_checksums=ignore_checksums)
    if read.format == "sfft" and read.has_background and read.side(0.0, 0.0) is None:
        msg = (
            f"{difference}: no card CONVD, so nothing says which image was convolved, and so not "
            "what the background's sign is; set it to REF or SCI"
        )
        raise KernelError(msg)
    hdus = native_hdus(read)
    # The file it was read from may be one that the difference names.
    with atomic_output(output, overwrite=overwrite, inputs=[*inputs, read.name]) as file:
        hdus.writeto(file, checksum=True)
