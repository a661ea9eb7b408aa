"""What an image is made of: the image with a kernel of its own, or the images of a stack."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffdecor.config import NOISE_KINDS
from diffdecor.config.options import not_negative, number
from diffdecor.core.planes import constant_plane
from diffdecor.decorrelation.subtraction import Member
from diffdecor.errors import ConfigError, InputError
from diffdecor.fits.reading import Reading
from diffdecor.images.alignment import check_same_shape
from diffdecor.images.masks import MaskSource
from diffdecor.images.model import Exposure
from diffdecor.images.noise import NoiseSource
from diffdecor.images.read import open_exposure
from diffdecor.kernels.registry import read_kernel
from diffdecor.pipeline.job import Job, found_file

_FILES = ("noise", "mask", "kernel")


@dataclass(frozen=True)
class Side:
    """What one of the images is made of.

    Parameters
    ----------
    members : tuple of Member
        Empty if there is neither a kernel nor a stack of its own.
    files : mapping of str to str
        Files that were read for them and that no option names, by their role.
    """

    members: tuple[Member, ...] = ()
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Entry:
    """What the list of a stack says of one image."""

    where: str
    """What messages call it: the list, and its number."""
    files: dict[str, str]
    """Its noise, mask and kernel, as far as it has them."""
    kind: str | None
    """What the noise plane holds."""
    variance: float
    """Where there is no noise plane."""
    weight: float


def read_members(job: Job, role: str, exposure: Exposure, reading: Reading) -> Side:
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
    Side
        The images with their kernels, and the files that were read.

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
        own = read_kernel(kernel)
        return Side((Member(exposure, own),), found_file(f"{role}_kernel_found", own, kernel))
    if stack is None:
        return Side()
    return _stack(stack, role, exposure, reading)


def _stack(file: str, role: str, stacked: Exposure, reading: Reading) -> Side:
    """Read the images that an image is the weighted sum of."""
    members: list[Member] = []
    files: dict[str, str] = {}
    for place, entry in enumerate(_entries(file), start=1):
        member = _member(entry, role, stacked, reading)
        roles = f"{role}_stack_{place}"
        files |= {f"{roles}_{what}": name for what, name in entry.files.items()}
        if member.kernel is not None:
            files |= found_file(f"{roles}_kernel_found", member.kernel, entry.files["kernel"])
        members.append(member)
    return Side(tuple(members), files)


def _entries(file: str) -> list[_Entry]:
    """Read the list of images that an image is the weighted sum of; paths are relative to it."""
    path = Path(file)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("member", [])
    except OSError as error:
        msg = f"{file}: cannot read the list of images: {error.strerror}"
        raise InputError(msg) from error
    except ValueError as error:
        msg = f"{file}: not valid TOML: {error}"
        raise InputError(msg) from error
    if not (isinstance(tables, list) and tables and all(isinstance(t, dict) for t in tables)):
        msg = f"{file}: no [[member]] tables; write one for every image of the stack"
        raise InputError(msg)
    return [
        _entry(table, f"{file}, member {place}", path.parent)
        for place, table in enumerate(tables, start=1)
    ]


def _entry(table: dict[str, Any], where: str, folder: Path) -> _Entry:
    """Check what is said of one image of a stack."""
    told = set(table) - {"kernel", "weight"}
    if told != {"variance"} and not {"noise"} <= told <= {"noise", "noise-kind", "mask"}:
        msg = (
            f"{where}: give either noise (a file, with noise-kind and mask) or variance (a "
            "number), and, if need be, kernel and weight; nothing else"
        )
        raise InputError(msg)
    kind = table.get("noise-kind")
    if kind not in (None, *NOISE_KINDS):
        msg = f"{where}: noise-kind is {kind!r}; expected one of {', '.join(NOISE_KINDS)}"
        raise InputError(msg)
    return _Entry(
        where,
        {name: _file(table[name], f"{where}: {name}", folder) for name in _FILES if name in table},
        kind,
        variance=_number(table.get("variance", 0.0), f"{where}: variance", not_negative),
        weight=_number(table.get("weight", 1.0), f"{where}: weight", number),
    )


def _file(value: object, where: str, folder: Path) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        msg = f"{where} is {value!r}; expected a file name"
        raise InputError(msg)
    return str(folder / value)


def _number(value: object, where: str, parse: Callable[[object], float]) -> float:
    try:
        if isinstance(value, int | float):
            return parse(value)
        problem = "expected a finite number"
    except (ValueError, OverflowError) as error:
        problem = str(error)
    msg = f"{where} is {value!r}: {problem}"
    raise InputError(msg)


def _member(entry: _Entry, role: str, stacked: Exposure, reading: Reading) -> Member:
    """Read one image of a stack: its noise, its kernel, its weight."""
    files = entry.files
    if "noise" in files:
        exposure = open_exposure(
            files["noise"],
            noise=NoiseSource(file=files["noise"], kind=entry.kind, role=role),
            mask=MaskSource(file=files.get("mask"), role=role),
            role=role,
            reading=reading,
        ).exposure
        check_same_shape(stacked, exposure)
    else:
        plane = constant_plane(entry.variance, stacked.shape)
        exposure = Exposure(image=plane, variance=plane, name=entry.where)
    kernel = read_kernel(files["kernel"]) if "kernel" in files else None
    return Member(exposure, kernel, entry.weight)
