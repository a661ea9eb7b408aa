"""What an image is made of: the image with a kernel of its own, or the images of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffdecor.config import NOISE_KINDS, ImageOptions
from diffdecor.config.kinds import not_negative, number, one_of, path, shown
from diffdecor.config.options import read_toml
from diffdecor.core.planes import constant_plane
from diffdecor.decorrelation.subtraction import Member
from diffdecor.errors import ConfigError, InputError
from diffdecor.fits.paths import split_extension
from diffdecor.fits.reading import Reading
from diffdecor.images.alignment import check_same_shape
from diffdecor.images.model import Exposure
from diffdecor.images.read import open_exposure
from diffdecor.kernels.model import MatchingKernel
from diffdecor.kernels.registry import KernelOptions, read_opened_kernel

#: Images of a stack; each is open until the job is done.
MOST_MEMBERS = 1000
#: Parsers of what a stack may give for each of its images.
_FILES = ("noise", "mask", "kernel")
_PARSERS = {
    "noise-kind": one_of(*NOISE_KINDS).parse,
    "variance": not_negative,
    "weight": number,
    **dict.fromkeys(_FILES, path),
}


def read_members(
    options: ImageOptions, exposure: Exposure, reading: Reading
) -> tuple[tuple[Member, ...], dict[str, str]]:
    """Return the image with the kernel it was convolved with, or the images of a stack.

    There are none if it has neither. The files are those that were read and that no option names,
    by their role. Raises a DiffdecorError if it has both, or a file cannot be used.
    """
    role, kernel, stack = options.role, options.kernel, options.stack
    if kernel is not None and stack is not None:
        msg = f"--{role}-kernel and --{role}-stack exclude each other; the stack names its kernels"
        raise ConfigError(msg)
    if kernel is not None:
        own = read_opened_kernel(kernel, None, KernelOptions(), reading.files)
        return (Member(exposure, own),), found_file(f"{role}_kernel_found", own, kernel)
    members: list[Member] = []
    files: dict[str, str] = {}
    for place, entry in enumerate([] if stack is None else _entries(stack), start=1):
        where = f"{stack}, member {place}"
        for what in _FILES:
            if what in entry:
                reading.files.note(split_extension(entry[what])[0])
        member = _member(entry, where, role, exposure, reading)
        roles = f"{role}_stack_{place}"
        files |= {f"{roles}_{what}": entry[what] for what in _FILES if what in entry}
        if member.kernel is not None:
            files |= found_file(f"{roles}_kernel_found", member.kernel, entry["kernel"])
        members.append(member)
    return tuple(members), files


def found_file(role: str, kernel: MatchingKernel, named: str) -> dict[str, str]:
    """Return, by its role, the file that a kernel is really in, where `named` only leads to it."""
    file = split_extension(kernel.name)[0]
    # Formats of other packages may call their kernels anything.
    is_other = file != split_extension(named)[0] and file.is_file()
    return {role: kernel.name} if is_other else {}


def _entries(file: str) -> list[dict[str, Any]]:
    """Read the list of images that an image is the weighted sum of; paths are relative to it."""
    tables = read_toml(file, "the list of images", InputError).get("member", [])
    if not (isinstance(tables, list) and tables and all(isinstance(t, dict) for t in tables)):
        msg = f"{file}: no [[member]] tables; write one for every image of the stack"
        raise InputError(msg)
    if len(tables) > MOST_MEMBERS:
        msg = f"{file}: {len(tables)} members, and at most {MOST_MEMBERS} can be; is it the list?"
        raise InputError(msg)
    folder = Path(file).parent
    entries = [
        _checked(table, f"{file}, member {place}") for place, table in enumerate(tables, start=1)
    ]
    return [
        entry | {what: str(folder / entry[what]) for what in _FILES if what in entry}
        for entry in entries
    ]


def _checked(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check the values given for one image of a stack."""
    noise = set(table) - {"kernel", "weight"}
    if noise != {"variance"} and not {"noise"} <= noise <= {"noise", "noise-kind", "mask"}:
        msg = (
            f"{where}: give either noise (a file, with noise-kind and mask) or variance (a "
            "number), and, if need be, kernel and weight; nothing else"
        )
        raise InputError(msg)
    return {name: _parsed(name, value, where) for name, value in table.items()}


def _parsed(name: str, value: object, where: str) -> Any:  # noqa: ANN401
    try:
        if name in {"variance", "weight"} and not isinstance(value, int | float):
            problem = "expected a finite number"
        else:
            return _PARSERS[name](value)
    except ValueError as error:
        problem = str(error)
    msg = f"{where}: {name} is {shown(value)}: {problem}"
    raise InputError(msg)


def _member(
    entry: Mapping[str, Any], where: str, role: str, stacked: Exposure, reading: Reading
) -> Member:
    """Read one image of a stack: its noise, its kernel, its weight."""
    if "noise" in entry:
        about = ImageOptions(
            role=role,
            noise=entry["noise"],
            noise_kind=entry.get("noise-kind"),
            mask=entry.get("mask"),
        )
        exposure = open_exposure(entry["noise"], about, reading).exposure
        check_same_shape(stacked, exposure)
    else:
        plane = constant_plane(entry["variance"], stacked.shape)
        exposure = Exposure(image=plane, variance=plane, name=where)
    kernel = None
    if "kernel" in entry:
        kernel = read_opened_kernel(entry["kernel"], None, KernelOptions(), reading.files)
    return Member(exposure, kernel, entry.get("weight", 1.0))
