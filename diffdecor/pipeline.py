"""One job, files in and file out: what `diffdecor run` and every batch job call."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from diffdecor.cards import FIGURE_CARDS
from diffdecor.cells import CellResult
from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.core.grid import Window
from diffdecor.decorrelation import Result, decorrelate
from diffdecor.errors import (
    AlreadyDecorrelatedError,
    ConfigError,
    InputError,
    KernelError,
    OutputExistsError,
)
from diffdecor.fits.atomic import atomic_output, check_output
from diffdecor.fits.exposure import read_exposure
from diffdecor.fits.headers import squared_unit, wcs_cards
from diffdecor.fits.recognise import companion_files
from diffdecor.fits.sky import check_same_shape, check_same_sky
from diffdecor.fits.variance import narrowed
from diffdecor.fits.write import Stamps, write_result
from diffdecor.fitsfile import (
    UNREADABLE,
    Header,
    check_file,
    find_extension,
    one_line,
    open_fits,
    tolerant,
)
from diffdecor.images import Exposure
from diffdecor.job import (
    VERSION_CARD,
    Job,
    Outcome,
    is_done,
    output_cards,
    record,
    recorded_figures,
)
from diffdecor.kernels.model import MatchingKernel
from diffdecor.kernels.native_write import native_hdus
from diffdecor.kernels.registry import read_kernel
from diffdecor.paths import split_extension
from diffdecor.psfs.model import PointSpreadFunction
from diffdecor.psfs.registry import read_psf

log = logging.getLogger(__name__)

_ROLES = ("science", "template", "difference")


def run_job(job: Job) -> Outcome:
    """Decorrelate one triple of files.

    Nothing is written unless all goes well. An output that the same version made of the same inputs
    with the same options is left as it is.

    Parameters
    ----------
    job : Job
        The job.

    Returns
    -------
    Outcome
        Its status and figures.

    Raises
    ------
    DiffdecorError
        If the job is contradictory, an input cannot be used or the output cannot be written.
    """
    job = _with_companions(job)
    if is_done(job):
        log.info("%s: done already", job.output)
        return Outcome("already done", recorded_figures(job.output))
    check_output(job.output, overwrite=job.overwrite, inputs=job.inputs)
    config = _with_centroids(job.decorrelation)
    exposures = [_read(job, role) for role in _ROLES]
    science, template, difference = exposures
    _refuse_decorrelated(difference, force=job.files.force)
    for other in (template, difference):
        check_same_shape(science, other)
        check_same_sky(science, other)
    kernel = _kernel(job, difference)
    result = decorrelate(
        science,
        template,
        difference,
        kernel,
        config=config,
        preconvolution=_preconvolution(job),
    )
    try:
        _write(job, result, difference)
    except OutputExistsError:
        if not is_done(job):
            raise
        log.info("%s: done by another process meanwhile", job.output)
        return Outcome("already done", recorded_figures(job.output))
    _report(job, result.figures)
    return Outcome("done", {card.name: result.figures.get(card.name) for card in FIGURE_CARDS})


def _read(job: Job, role: str) -> Exposure:
    """Read one of the three images with the options of its role."""
    files = job.files

    def given(what: str) -> Any:  # noqa: ANN401  of every type there is
        return getattr(files, f"{role}_{what}", None)

    level = None if role == "difference" else getattr(job.decorrelation, f"{role}_variance")
    exposure = read_exposure(
        getattr(job, role),
        layout=_layout(files, role),
        noise=given("noise"),
        noise_kind=given("noise_kind"),
        mask=given("mask"),
        mask_preset=given("mask_preset") or files.mask_preset,
        bad_bits=files.bad_bits,
        ignore_bits=files.ignore_bits,
        mask_codes=files.mask_codes,
        gain=given("gain"),
        read_noise=given("read_noise"),
        sky=given("sky"),
        zero_borders=files.zero_borders,
        psf=given("psf"),
        role=role,
        pixels=True,
    )
    if level is None and role != "difference" and exposure.variance is None:
        msg = (
            f"{exposure.name}: there is no noise plane in it; give --{role}-noise FILE, "
            f"--{role}-gain G, or --{role}-variance V"
        )
        raise InputError(msg)
    return exposure


def _layout(files: FilesConfig, role: str) -> str | None:
    """Return the name of the layout that the user gives an image."""
    own: str | None = getattr(files, f"{role}_layout")
    return own or (files.layout if role != "difference" else None)


def _with_companions(job: Job) -> Job:
    """Return a job that names the files of noise and masks that lie beside its images."""
    found: dict[str, Any] = {}
    for role in _ROLES:
        beside = companion_files(getattr(job, role), _layout(job.files, role), role)
        by_gain = getattr(job.files, f"{role}_gain", None) is not None
        if by_gain and getattr(job.files, f"{role}_noise_kind") != "background":
            beside.pop("noise", None)
        for what, file in beside.items():
            if getattr(job.files, f"{role}_{what}") is None:
                found[f"{role}_{what}"] = file
    return replace(job, files=replace(job.files, **found)) if found else job


def _refuse_decorrelated(difference: Exposure, *, force: bool) -> None:
    """Refuse to decorrelate twice: the noise is white already, and the model would be wrong."""
    if force or difference.header is None:
        return
    if VERSION_CARD.keyword in difference.header:
        msg = (
            f"{difference.name}: its cards say that diffdecor has decorrelated it already; give "
            "the difference as it was, or --force"
        )
        raise AlreadyDecorrelatedError(msg)
    if "Z-P" in difference.header or "Z-V" in difference.header:
        log.warning(
            "%s: this looks like a ZOGY difference, whose noise is white by construction",
            difference.name,
        )


def _kernel(job: Job, difference: Exposure) -> MatchingKernel:
    """Read the kernel, and check that it was made for an image of this size."""
    config = job.decorrelation
    # The kernel that a difference carries is in another HDU than its pixels.
    carried = str(split_extension(job.difference)[0])
    kernel = read_kernel(
        carried if job.kernel is None else job.kernel,
        job.difference,
        convolved=None if config.convolved == "auto" else config.convolved,
        science_scale=config.science_scale,
        template_scale=config.template_scale,
        sense=job.files.kernel_sense,
        center=job.files.kernel_center,
    )
    if job.kernel is None and kernel.format == "stamp":
        msg = (
            f"{job.difference}: there is no kernel in the difference; give the kernel file with "
            "--kernel"
        )
        raise KernelError(msg)
    if kernel.format != "stamp" and (job.files.kernel_sense or job.files.kernel_center):
        log.warning(
            "%s: --kernel-sense and --kernel-center are for plain stamps, not for a %s kernel; "
            "not used",
            kernel.name,
            kernel.format,
        )
    # A difference may name the file of its kernel: an input that nobody has named to us.
    check_output(job.output, overwrite=job.overwrite, inputs=[kernel.name])
    log.info("%s: %s kernel of %d x %d pixels", kernel.name, kernel.format, *kernel.shape[::-1])
    made_for = kernel.image_shape
    if made_for is not None and made_for != difference.shape and not job.files.force:
        msg = (
            f"{kernel.name}: this kernel was made for an image of {made_for[1]} x {made_for[0]} "
            f"pixels, but {difference.name} has {difference.shape[1]} x {difference.shape[0]}; "
            "a cut-out needs its own kernel (--force to use this one all the same)"
        )
        raise InputError(msg)
    if not kernel.boxes and kernel.side(0, 0) is None and config.convolved == "auto":
        log.warning(
            "%s: the file does not say which image was convolved; taking the template "
            "(--convolved says it)",
            kernel.name,
        )
    return kernel


def _preconvolution(job: Job) -> PointSpreadFunction | None:
    file = job.files.preconvolution_kernel
    if file is not None and not job.decorrelation.score:
        msg = "--preconvolution-kernel is for score images; give --score too, or leave it out"
        raise ConfigError(msg)
    return None if file is None else read_psf(file)


def _with_centroids(config: DecorrelationConfig) -> DecorrelationConfig:
    """Read the centroids of the cells, where they are in a file."""
    if not isinstance(config.cell_centroids, str):
        return config
    file = config.cell_centroids
    path, _ = split_extension(file)
    check_file(path)
    try:
        with tolerant(file):
            table = _position_table(file, path)
        positions = np.array([np.asarray(table[axis], np.float64) for axis in "xy"]).T
    except UNREADABLE as error:
        msg = f"{file}: no table with columns x and y ({one_line(error)})"
        raise InputError(msg) from error
    if not len(positions) or not np.isfinite(positions).all():
        what = "a position is not finite" if len(positions) else "the table has no rows"
        msg = f"{file}: {what}; give x and y of the centre of every cell"
        raise InputError(msg)
    return replace(config, cell_centroids=tuple((float(x), float(y)) for x, y in positions))


def _position_table(file: str, path: Path) -> Any:  # noqa: ANN401  astropy has no types
    """Read a text or FITS table, its column names in lower case."""
    from astropy.table import Table

    with path.open("rb") as opened:
        is_text = opened.read(6) != b"SIMPLE"
    if is_text:
        table = Table.read(path, format="ascii")
    else:
        with open_fits(file) as (hdus, extension):
            tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
            chosen = tables[0] if extension is None else find_extension(hdus, extension, file)
            table = Table.read(chosen)
    table = table[[name for name in table.colnames if name.lower() in {"x", "y"}]]
    table.rename_columns(table.colnames, [name.lower() for name in table.colnames])
    return table.filled(np.nan)


def _write(job: Job, result: Result, difference: Exposure) -> None:
    psi = None
    if len(result.filters):
        middle = result.filters.shape[-1] // 2
        psi = Stamps(stamps=result.filters, positions=result.positions, origin=(middle, middle))
    write_result(
        job.output,
        replace(result.exposure, header=_fresh(difference.header)),
        cards=record(job, result.figures),
        psi=psi,
        extra=[
            *_significance_hdus(result, difference),
            *_cell_hdus(result.cells, difference, job.files.dtype),
        ],
        dtype=job.files.dtype,
        overwrite=job.overwrite,
        inputs=job.inputs,
    )


def _fresh(header: Header) -> Header:
    """Return a header without the cards that an earlier run has left."""
    kept = fits.Header() if header is None else header.copy()
    for card in output_cards():
        kept.remove(card.keyword, ignore_missing=True, remove_all=True)
    return kept


def _significance_hdus(result: Result, difference: Exposure) -> list[fits.ImageHDU]:
    """Return the HDU of the significance, where there is one."""
    if result.significance is None:
        return []
    hdu = fits.ImageHDU(result.significance.astype("float32"), name="SIGNIF")
    if difference.header is not None:
        hdu.header.extend(wcs_cards(difference.header), unique=True)
    return [hdu]


def _cell_hdus(
    cells: Sequence[CellResult], difference: Exposure, dtype: str
) -> list[fits.ImageHDU]:
    """Return the HDUs of separate cells: CELL_IMAGE and CELL_VARIANCE with one EXTVER each."""
    hdus = []
    header = fits.Header() if difference.header is None else difference.header
    for number, cell in enumerate(cells, start=1):
        for name, pixels in (("CELL_IMAGE", cell.image), ("CELL_VARIANCE", cell.variance)):
            is_variance = name == "CELL_VARIANCE"
            values = narrowed(pixels, dtype) if is_variance else pixels.astype(dtype)
            hdu = fits.ImageHDU(values, name=name, ver=number)
            hdu.header.extend(_cell_wcs(wcs_cards(header), cell.window), unique=True)
            unit = str(header.get("BUNIT", "")).strip()
            if unit:
                hdu.header["BUNIT"] = squared_unit(unit) if is_variance else unit
            hdus.append(hdu)
    return hdus


def _cell_wcs(cards: Header, window: Window) -> Header:
    """Move the cards of world coordinate systems, alternate ones too, to a part of the image."""
    for axis, first in ((1, window.x0), (2, window.y0)):
        cards.setdefault(f"LTV{axis}", 0)
        for keyword, value in cards.items():
            if re.fullmatch(rf"(LTV{axis}|CRPIX{axis}[A-Z]?)", keyword):
                cards[keyword] = value - first if isinstance(value, int | float) else -first
    return cards


def _report(job: Job, figures: Mapping[str, Any]) -> None:
    """Log the result in one line, for whoever is watching."""
    if figures.get("skipped"):
        return
    log.info(
        "%s: neighbour correlation x %.4f -> %.4f, y %.4f -> %.4f (+- %.4f, %d sky pixels)",
        job.output,
        figures["correlation_x_before"],
        figures["correlation_x_after"],
        figures["correlation_y_before"],
        figures["correlation_y_after"],
        figures["correlation_error"],
        figures["sky_pixels"],
    )


def convert_kernel(
    kernel: str, output: str, *, difference: str | None = None, overwrite: bool = False
) -> None:
    """Write a kernel file in the native format, losslessly.

    Parameters
    ----------
    kernel : str
        The kernel file.
    output : str
        File to write.
    difference : str, optional
        The difference that the kernel belongs to.
    overwrite : bool
        Replace the output if it is there.

    Raises
    ------
    DiffdecorError
        If the kernel cannot be read or the output not be written.
    """
    inputs = [kernel, *filter(None, [difference])]
    check_output(output, overwrite=overwrite, inputs=inputs)
    read = read_kernel(kernel, difference)
    hdus = native_hdus(read)
    # The file it was read from may be one that the difference names.
    with atomic_output(output, overwrite=overwrite, inputs=[*inputs, read.name]) as file:
        hdus.writeto(file, checksum=True)
