"""What an image is made of: the image with a kernel of its own, or the images of a stack."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from diffdecor.core.planes import constant_plane
from diffdecor.errors import ConfigError, InputError
from diffdecor.fits.exposure import open_exposure
from diffdecor.fits.masks import MaskSource
from diffdecor.fits.noise import NoiseSource
from diffdecor.fits.reading import Reading
from diffdecor.fits.sky import check_same_shape
from diffdecor.images import Exposure
from diffdecor.job import Job
from diffdecor.kernels.registry import read_kernel
from diffdecor.ways import Member


def read_members(job: Job, role: str, exposure: Exposure, reading: Reading) -> tuple[Member, ...]:
    """Return the image with the kernel it was convolved with, or the images of a stack.

    Parameters
    ----------
    job : Job
        The job.
    role : str
        "science" or "template".
    exposure : Exposure
        The image of this role.
    reading : Reading
        Memory in which unpacked planes may be kept.

    Returns
    -------
    tuple of Member
        None if there is neither a kernel nor a stack of its own.

    Raises
    ------
    DiffdecorError
        If both are there, or a file cannot be used.
    """
    kernel, stack = (getattr(job.files, f"{role}_{what}") for what in ("kernel", "stack"))
    if kernel is not None and stack is not None:
        msg = f"--{role}-kernel and --{role}-stack exclude each other; the stack names its kernels"
        raise ConfigError(msg)
    if kernel is not None:
        return (Member(exposure, read_kernel(kernel)),)
    return () if stack is None else _read_stack(stack, role, exposure, reading)


def _read_stack(file: str, role: str, stacked: Exposure, reading: Reading) -> tuple[Member, ...]:
    """Read the list of images that an image is the weighted sum of; paths are relative to it."""
    path = Path(file)
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("member", [])
    except OSError as error:
        msg = f"{file}: cannot read the list of images: {error.strerror}"
        raise InputError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{file}: not valid TOML: {error}"
        raise InputError(msg) from error
    if not (isinstance(entries, list) and entries and all(isinstance(e, dict) for e in entries)):
        msg = f"{file}: no [[member]] tables; write one for every image of the stack"
        raise InputError(msg)
    return tuple(
        _member(entry, f"{file}, member {number}", path.parent, role, stacked, reading)
        for number, entry in enumerate(entries, start=1)
    )


def _member(
    entry: dict[str, Any],
    where: str,
    folder: Path,
    role: str,
    stacked: Exposure,
    reading: Reading,
) -> Member:
    """Read one image of a stack: its noise, its kernel, its weight."""
    unknown = set(entry) - {"noise", "noise-kind", "mask", "variance", "kernel", "weight"}
    if unknown or ("noise" in entry) == ("variance" in entry):
        msg = (
            f"{where}: give either noise (a file, with noise-kind and mask) or variance (a "
            "number), and, if need be, kernel and weight; nothing else"
        )
        raise InputError(msg)
    weight, level = (
        _finite(entry.get(name, 1.0), f"{where}: {name}") for name in ("weight", "variance")
    )
    if "variance" in entry:
        plane = constant_plane(level, stacked.shape)
        exposure = Exposure(image=plane, variance=plane, name=where)
    else:
        noise = str(folder / entry["noise"])
        mask = entry.get("mask")
        exposure = open_exposure(
            noise,
            noise=NoiseSource(file=noise, kind=entry.get("noise-kind"), role=role),
            mask=MaskSource(file=None if mask is None else str(folder / mask), role=role),
            role=role,
            reading=reading,
        ).exposure
        check_same_shape(stacked, exposure)
    kernel = entry.get("kernel")
    return Member(exposure, None if kernel is None else read_kernel(folder / kernel), weight)


def _finite(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        msg = f"{where} is {value!r}; expected a finite number"
        raise InputError(msg)
    return float(value)
