"""What a job reads: the three images, the kernel, and what belongs to them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.options import INVERSE_SUM
from diffdecor.decorrelation.subtraction import SCALES, Subtraction, with_known_scales
from diffdecor.errors import AlreadyDecorrelatedError, ConfigError, InputError, KernelError
from diffdecor.fits.open import (
    UNREADABLE,
    check_file,
    each_opened_once,
    find_extension,
    one_line,
    open_fits,
    quiet_astropy,
)
from diffdecor.fits.paths import split_extension
from diffdecor.fits.reading import Reading
from diffdecor.images.alignment import check_same_shape, check_same_sky
from diffdecor.images.masks import MaskSource
from diffdecor.images.model import Exposure
from diffdecor.images.noise import NoiseSource
from diffdecor.images.read import OpenedExposure, open_exposure
from diffdecor.images.surveys.recognise import companion_files
from diffdecor.kernels.model import MatchingKernel
from diffdecor.kernels.registry import read_kernel
from diffdecor.pipeline.job import VERSION_CARD, Job, found_file
from diffdecor.pipeline.stacks import read_members
from diffdecor.psfs.model import PointSpreadFunction
from diffdecor.psfs.registry import read_psf

log = logging.getLogger(__name__)

ROLES = ("science", "template", "difference")

# Share of the memory for unpacked planes; the others are unpacked each time they are read.
_KEPT = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class Inputs:
    """Everything that a decorrelation needs.

    Parameters
    ----------
    subtraction : Subtraction
        Exposures, kernels and options, the centroids of cells read.
    files : mapping of str to str
        Every file that is read, by its role: those that the job names, those that stacks list, and
        those of kernels that were found through another file.
    unneeded : mapping of str to tuple of int
        0-based numbers of the HDUs that the pixels of the result do not depend on, in the files of
        "science", "template" and "difference".
    reading : Reading
        What was read of the files.
    """

    subtraction: Subtraction
    files: Mapping[str, str] = field(default_factory=dict)
    unneeded: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)


def read_inputs(job: Job) -> Inputs:
    """Open everything that a job needs, and check that it belongs together.

    Parameters
    ----------
    job : Job
        The job.

    Returns
    -------
    Inputs
        The kernel and PSFs in memory; rows of the planes are read when they are wanted.

    Raises
    ------
    DiffdecorError
        If the job is contradictory or an input cannot be used. Reading rows raises it too.
    """
    with each_opened_once():
        return _read_inputs(job, Reading(int(_KEPT * job.decorrelation.max_memory)))


def _read_inputs(job: Job, reading: Reading) -> Inputs:
    config = _with_centroids(job.decorrelation)
    opened = {role: _open(job, role, reading) for role in ROLES}
    science, template, difference = (opened[role].exposure for role in ROLES)
    _refuse_decorrelated(difference, force=job.files.force)
    for other in (template, difference):
        check_same_shape(science, other)
        check_same_sky(science, other)
    sides = [read_members(job, role, opened[role].exposure, reading) for role in ROLES[:2]]
    has_own = any(member.kernel for side in sides for member in side.members)
    kernel = None if has_own and job.kernel is None else _kernel(job, difference)
    return Inputs(
        subtraction=Subtraction.of(
            science,
            template,
            difference,
            kernel,
            config=config,
            preconvolution=_preconvolution(job),
            science_members=sides[0].members,
            template_members=sides[1].members,
        ),
        files=job.inputs | sides[0].files | sides[1].files | _found(job, kernel),
        unneeded={role: opened[role].unneeded for role in ROLES},
        reading=reading,
    )


def _open(job: Job, role: str, reading: Reading) -> OpenedExposure:
    """Open one of the three images with the options of its role."""
    files = job.files

    def given(what: str) -> Any:  # noqa: ANN401  of every type there is
        return getattr(files, f"{role}_{what}", None)

    level = None if role == "difference" else getattr(job.decorrelation, f"{role}_variance")
    opened = open_exposure(
        getattr(job, role),
        layout=_layout(files, role),
        noise=NoiseSource(
            file=given("noise"),
            kind=given("noise_kind"),
            gain=given("gain"),
            read_noise=given("read_noise"),
            sky=given("sky"),
            role=role,
        ),
        mask=MaskSource(
            file=given("mask"),
            preset=given("mask_preset") or files.mask_preset,
            bad=files.bad_bits,
            ignored=files.ignore_bits or (),
            codes=files.mask_codes,
            role=role,
        ),
        psf=given("psf"),
        zero_borders=files.zero_borders,
        role=role,
        reading=reading,
    )
    exposure = opened.exposure
    if level is None and role != "difference" and exposure.variance is None:
        msg = (
            f"{exposure.name}: there is no noise plane in it; give --{role}-noise FILE, "
            f"--{role}-gain G, or --{role}-variance V"
        )
        raise InputError(msg)
    return opened


def _layout(files: FilesConfig, role: str) -> str | None:
    """Return the name of the layout that the user gives an image."""
    own: str | None = getattr(files, f"{role}_layout")
    return own or (files.layout if role != "difference" else None)


def with_companions(job: Job) -> Job:
    """Return a job that names the files of noise and masks that lie beside its images."""
    found: dict[str, Any] = {}
    for role in ROLES:
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


def _read_kernel(job: Job, config: DecorrelationConfig) -> MatchingKernel:
    """Read the kernel, with what the options know better."""
    # The kernel that a difference carries is in another HDU than its pixels.
    carried = str(split_extension(job.difference)[0])
    given = {name: getattr(config, name) for name in SCALES}
    return read_kernel(
        carried if job.kernel is None else job.kernel,
        job.difference,
        convolved=None if config.convolved == "auto" else config.convolved,
        sense=job.files.kernel_sense,
        center=job.files.kernel_center,
        **{name: None if value == INVERSE_SUM else value for name, value in given.items()},
    )


def _found(job: Job, kernel: MatchingKernel | None) -> dict[str, str]:
    """Return the file of the kernel, where one that the job names only leads to it."""
    if kernel is None:
        return {}
    if job.kernel is None:
        return found_file("kernel", kernel, job.difference)
    return found_file("kernel_found", kernel, job.kernel)


def _kernel(job: Job, difference: Exposure) -> MatchingKernel:
    """Read the kernel, and check that it was made for an image of this size."""
    config = job.decorrelation
    kernel = _read_kernel(job, config)
    known = with_known_scales(config, kernel, difference.shape)
    if known is not config:
        kernel = _read_kernel(job, known)
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
        with quiet_astropy(file):
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
