"""What a job reads: the three images, the kernel, and what belongs to them, each opened once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.options import options
from diffdecor.core.planes import Plane
from diffdecor.decorrelation.fitting import without_inverse_sums
from diffdecor.decorrelation.subtraction import ROLES as SIDES
from diffdecor.decorrelation.subtraction import Member, Subtraction, as_kernel
from diffdecor.decorrelation.validation import check_options_alone, refuse_alone
from diffdecor.errors import ConfigError, InputError
from diffdecor.fits.damage import damage_named
from diffdecor.fits.open import (
    OpenFiles,
    check_file,
    find_extension,
    image_shape,
    open_fits,
    quiet_astropy,
)
from diffdecor.fits.paths import split_extension
from diffdecor.fits.reading import Reading
from diffdecor.images.alignment import check_same_sky, check_shapes
from diffdecor.images.model import Exposure
from diffdecor.images.planes import OpenedImage
from diffdecor.images.read import OpenedExposure, exposure_of, found_image
from diffdecor.pipeline.decorrelated import refuse_decorrelated
from diffdecor.pipeline.inferred import with_inferred
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.kernels import read_kernel
from diffdecor.pipeline.noise_powers import read_noise_powers
from diffdecor.pipeline.order import check_order
from diffdecor.pipeline.provenance import input_sums, source_values
from diffdecor.pipeline.stacks import found_file, read_members
from diffdecor.psfs.model import PointSpreadFunction
from diffdecor.psfs.registry import read_opened_psf

log = logging.getLogger(__name__)

#: Options of files that only the images that were subtracted have, or their kernel.
_OF_IMAGES = (
    "layout", "gain", "read_noise", "preconvolution_kernel", "kernel_sense", "kernel_center",
)  # fmt: skip
#: Share of the memory for unpacked planes; the others are unpacked each time they are read.
_KEPT = 0.5
#: Bytes of a table of positions and of a line of it, and its rows.
LARGEST_TABLE = 1 << 24
LONGEST_LINE = 10_000
MOST_CELLS = 100_000
#: Rows that show whether a plane is zero, roughly.
_LOOKED_AT = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Inputs:
    """Everything that a job reads: kernel and PSFs in memory, rows of the planes when wanted."""

    #: The job, naming the files that were found beside its images.
    job: Job
    #: Exposures, kernels and options, the centroids of cells read.
    subtraction: Subtraction
    #: Every file that is read, by its role: those that the job names, those that stacks list, and
    #: those of kernels that were found through another file.
    files: Mapping[str, str]
    #: What gives the sum of each.
    sums: Mapping[str, Callable[[], int]]
    #: Files that the command of HOTPANTS may mean, whether they are there or not.
    sought: Sequence[str] = ()
    #: The kernel is to be found from the images: `subtraction` has none yet.
    is_fitted: bool = False

    @cached_property
    def sources(self) -> dict[str, object]:
        """Values of the cards of the input files; reads what has not been read yet."""
        return source_values(self.files, self.sums, is_fitted=self.is_fitted)

    @property
    def all_sought(self) -> list[str]:
        """Every file that is read, or would be if it were there."""
        return [*self.files.values(), *self.sought]


def read_inputs(job: Job, *, needs_noise: bool = True) -> Inputs:
    """Open everything that a job needs, and check that it belongs together.

    Where the kernel is to be found from the images, that is left to `found_kernel`: it takes time.
    Nothing else can be done with images without noise, which are taken unless this `needs_noise`.
    Raises a DiffdecorError if the job is contradictory or an input cannot be used; reading rows
    raises it too.
    """
    memory = int(_KEPT * job.decorrelation.max_memory)
    with Reading(memory, ignore_checksums=job.files.ignore_checksums) as reading:
        return _read_inputs(job, reading, needs_noise=needs_noise)


def _read_inputs(job: Job, reading: Reading, *, needs_noise: bool) -> Inputs:
    if job.is_alone:
        check_alone(job)
    files = reading.files
    for file in job.inputs.values():
        files.note(split_extension(file)[0])
    config = _with_centroids(job.decorrelation, files)
    images = {role: _found(job, role, reading) for role in job.images}
    check_order(images, force=job.files.force)
    _check_shapes(list(images.values()))
    header = images["difference"].header
    refuse_decorrelated(header, job.difference, files, force=job.files.force)
    images = with_inferred(job, images)
    opened = {
        role: _open(job, role, image, needs_noise=needs_noise) for role, image in images.items()
    }
    _check_used(job, opened)
    job = _naming_what_was_found(job, opened)
    science, template = (_exposure(opened, role) for role in SIDES)
    difference = opened["difference"].exposure
    check_same_sky(*(one.exposure for one in opened.values()))
    members, named = _read_members(job, opened, reading)
    has_own = any(member.kernel for side in members.values() for member in side)
    kernel = None
    is_fitted = False
    if job.kernel is not None or not (has_own or job.is_alone):
        kernel = read_kernel(job, difference, files, has_own=has_own)
        is_fitted = kernel is None
    if kernel is not None:
        role = "kernel" if job.kernel is None else "kernel_found"
        named |= found_file(role, kernel, job.kernel or job.difference)
    noise_powers = read_noise_powers(job, {r: one.exposure for r, one in opened.items()}, files)
    # The variance of a difference alone is that of its noise. Where a difference has zeros, images
    # say whether these are data.
    all_needed = job.is_alone or opened["difference"].stepped
    unneeded = {
        role: one.unneeded
        for role, one in opened.items()
        if not (all_needed or (is_fitted and role in SIDES))
    }
    return Inputs(
        job=job,
        subtraction=Subtraction(
            science,
            template,
            difference,
            as_kernel(kernel),
            config=without_inverse_sums(config) if is_fitted else config,
            preconvolution=_preconvolution(job, files),
            science_members=members.get("science", ()),
            template_members=members.get("template", ()),
            noise_powers=noise_powers,
            of_gain=[role for role, one in opened.items() if one.of_gain],
        ),
        files=named,
        sums=input_sums(job, named, unneeded, reading),
        sought=[file for image in images.values() for file in image.inferred.sought],
        is_fitted=is_fitted,
    )


def check_alone(job: Job) -> None:
    """Refuse what says something of images or a kernel that there are not."""
    check_options_alone(job.decorrelation, job.difference)
    if job.kernel is not None:
        refuse_alone("--kernel" if job.kernel_file else "--kernel fit", job.difference)
    for item in options(FilesConfig):
        of_images = item.role in SIDES or item.name in _OF_IMAGES
        if of_images and item.value_in(job.files) is not None:
            refuse_alone(item.flag_name, job.difference)


def _exposure(opened: Mapping[str, OpenedExposure], role: str) -> Exposure | None:
    return opened[role].exposure if role in opened else None


def _read_members(
    job: Job, opened: Mapping[str, OpenedExposure], reading: Reading
) -> tuple[dict[str, tuple[Member, ...]], dict[str, str]]:
    """Read what both images are made of; return it, and all files by their role so far."""
    members: dict[str, tuple[Member, ...]] = {}
    named = job.inputs
    for role in (side for side in SIDES if side in opened):
        about = job.files.of_image(role)
        members[role], files = read_members(about, opened[role].exposure, reading)
        named |= files
    return members, named


def _found(job: Job, role: str, reading: Reading) -> OpenedImage:
    """Find one of the three images in its file."""
    return found_image(job.images[role], job.files.of_image(role), reading)


def _check_shapes(images: Sequence[OpenedImage]) -> None:
    """Check that images have one shape, before any pixels are read: one may be far too large."""
    for image in images[1:]:
        check_shapes(*((str(one.path), image_shape(one.hdu)) for one in (images[0], image)))


def _open(job: Job, role: str, image: OpenedImage, *, needs_noise: bool) -> OpenedExposure:
    """Open the planes of one of the three images with the options of its role."""
    opened = exposure_of(image)
    level = None if role == "difference" else getattr(job.decorrelation, f"{role}_variance")
    exposure = opened.exposure
    lacks_noise = level is None and role != "difference" and exposure.variance is None
    if lacks_noise and needs_noise:
        msg = (
            f"{exposure.name}: there is no noise plane in it; give --{role}-noise FILE, "
            f"--{role}-gain G, or --{role}-variance V"
        )
        msg += f" ({image.inferred.why})" if image.inferred.why else ""
        raise InputError(msg)
    if level is not None and _is_zero(exposure.variance):
        # The level that is given stands for it.
        opened = replace(opened, exposure=replace(exposure, variance=None))
    return opened


def _check_used(job: Job, opened: Mapping[str, OpenedExposure]) -> None:
    """Refuse a read noise, or a kind of noise, of several images that is used for none."""
    of_gain = {one.of_gain for one in opened.values() if one.exposure.variance is not None}
    if job.files.read_noise is not None and True not in of_gain:
        msg = "--read-noise needs --gain: no image has a gain, or has one and no noise plane"
        raise ConfigError(msg)
    if job.files.noise_kind not in (None, "background") and False not in of_gain:
        msg = "--noise-kind is for noise planes, and no image has one; give --science-noise or so"
        raise ConfigError(msg)


def _is_zero(variance: Plane | None) -> bool:
    """Say whether a variance plane is zero, by some of its rows."""
    if variance is None:
        return False
    ny = variance.shape[0]
    rows = range(0, ny, max(1, ny // _LOOKED_AT))
    return not any(np.any(variance[y : y + 1]) for y in rows)


def _naming_what_was_found(job: Job, opened: Mapping[str, OpenedExposure]) -> Job:
    """Return a job that gives what was found for its images: files of noise and masks, gains."""
    images: dict[str, Any] = {
        role: replace(getattr(job.files, role), **one.found)
        for role, one in opened.items()
        if one.found
    }
    return replace(job, files=replace(job.files, **images)) if images else job


def _preconvolution(job: Job, files: OpenFiles) -> PointSpreadFunction | None:
    file = job.files.preconvolution_kernel
    if file is not None and not job.decorrelation.score:
        msg = "--preconvolution-kernel is for score images; give --score too, or leave it out"
        raise ConfigError(msg)
    return None if file is None else read_opened_psf(file, files)


def _with_centroids(config: DecorrelationConfig, files: OpenFiles) -> DecorrelationConfig:
    """Read the centroids of the cells, where they are in a file."""
    if not isinstance(config.cell_centroids, str):
        return config
    file = config.cell_centroids
    path, _ = split_extension(file)
    check_file(path)
    what = "no table with columns x and y"
    with damage_named(file, what, "give x and y of the centre of every cell"), quiet_astropy(file):
        table = _position_table(file, path, files)
        positions = np.array([np.asarray(table[axis], np.float64) for axis in "xy"]).T
    if len(positions) > MOST_CELLS:
        msg = f"{file}: {len(positions)} positions, and at most {MOST_CELLS} cells can be"
        raise InputError(msg)
    if not len(positions) or not np.isfinite(positions).all():
        what = "a position is not finite" if len(positions) else "the table has no rows"
        msg = f"{file}: {what}; give x and y of the centre of every cell"
        raise InputError(msg)
    return replace(config, cell_centroids=tuple((float(x), float(y)) for x, y in positions))


def _check_text(file: str, path: Path) -> None:
    """Refuse a text that is not a table of positions: readers of tables take their time for it."""
    with path.open("rb") as opened:
        text = opened.read(LARGEST_TABLE + 1)
    lines = text.splitlines()
    if len(text) > LARGEST_TABLE or max(map(len, lines), default=0) > LONGEST_LINE:
        msg = (
            f"{file}: more than {LARGEST_TABLE} bytes, or {LONGEST_LINE} in a line, are not a "
            "table of positions; name the right file"
        )
        raise InputError(msg)


def _position_table(file: str, path: Path, files: OpenFiles) -> Any:  # noqa: ANN401  astropy has no types
    """Read a text or FITS table, its column names in lower case."""
    from astropy.table import Table

    with path.open("rb") as opened:
        is_text = opened.read(6) != b"SIMPLE"
    if is_text:
        _check_text(file, path)
        table = Table.read(path, format="ascii")
    else:
        with open_fits(file, files) as (hdus, extension):
            tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
            chosen = tables[0] if extension is None else find_extension(hdus, extension, file)
            table = Table.read(chosen)
    table = table[[name for name in table.colnames if name.lower() in {"x", "y"}]]
    table.rename_columns(table.colnames, [name.lower() for name in table.colnames])
    return table.filled(np.nan)
