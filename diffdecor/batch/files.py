"""Files of many jobs: which names mean one file, and whether jobs are in each other's way."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from diffdecor.batch.trouble import reason_of
from diffdecor.errors import InputError, OutputError
from diffdecor.fits.paths import split_extension


class FileNames:
    """Tells files apart, whatever their names: by links, or with ``..`` in them.

    Folders are listed once each, so that thousands of files take no time, on network file systems
    either.
    """

    def __init__(self) -> None:
        self._folder = cache(self._found)

    def file(self, name: str) -> Hashable:
        """Return what all names of a file have in common; it need not be there."""
        folder, base = os.path.split(name)
        if base in {"", ".", ".."}:
            return os.path.realpath(name)
        key, there = self._folder(folder)
        if base not in there:
            return key, base
        number = there[base]
        if number is not None:
            return key[0], number
        target = os.path.realpath(name)
        # A link in a circle leads nowhere.
        return self.file(target) if target != name else (key, base)

    def _found(self, folder: str) -> tuple[tuple[Hashable, ...], dict[str, int | None]]:
        """Return `_listed`; a folder that is not there may be ``not-there/..``, which is."""
        real = folder if os.path.isdir(folder) else os.path.realpath(folder)  # noqa: PTH112  fast
        return self._listed(folder) if real == folder else self._folder(real)

    @staticmethod
    def _listed(folder: str) -> tuple[tuple[Hashable, ...], dict[str, int | None]]:
        """Return what tells a folder, its device first, and the numbers of the files in it.

        Links have the number None.
        """
        there: dict[str, int | None] = {}
        try:
            state = Path(folder).stat()
        except OSError:
            return (None, os.path.realpath(folder)), there
        with suppress(OSError), os.scandir(folder or ".") as entries:
            there = {one.name: None if one.is_symlink() else one.inode() for one in entries}
        return (state.st_dev, state.st_ino), there


def absolute(file: str) -> str:
    """Return the absolute name of a file; InputError if it is relative to a folder that is gone."""
    try:
        return str(Path(file).absolute())
    except FileNotFoundError:
        msg = f"{file}: the current folder is gone; go to another one, or name the file from / on"
        raise InputError(msg) from None


def make_folder_of(file: str) -> None:
    """Make the folder of a file that is to be written, if it is not there; OutputError."""
    try:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{file}: its folder cannot be made: {reason_of(error)}"
        raise OutputError(msg) from error


class Use(NamedTuple):
    """The files of a row, by what they are called."""

    place: str
    written: Mapping[str, str]
    read: Mapping[str, str]
    joined: str = ""
    detector: str = ""


def clashes(uses: Sequence[Use], kept: Mapping[str, str], names: FileNames) -> list[str]:
    """Return a problem for every file that is written twice, or written and read.

    Each begins with the place of the row that must write elsewhere. `kept` are files that no row
    may write, by what they are.
    """
    problems = []
    written: dict[Hashable, tuple[Use, str]] = {}
    for use in uses:
        for what, file in use.written.items():
            other, role = written.setdefault(names.file(file), (use, what))
            if (other, role) != (use, what):
                problems.append(f"{use.place}: {what} {file} is {role} of {other.place}, too")
    joined: dict[Hashable, Use] = {}
    parts: set[tuple[Hashable, str]] = set()
    for use in uses:
        if not use.joined:
            continue
        key = names.file(use.joined)
        joined.setdefault(key, use)
        if (key, use.detector.upper()) in parts:
            problems.append(f"{use.place}: detector {use.detector} is in {use.joined} twice")
        parts.add((key, use.detector.upper()))
    for key in written.keys() & joined.keys():
        use, what = written[key]
        problems.append(f"{use.place}: {what} is joined of {joined[key].place}, too")
    targets = {key: (use, "joined") for key, use in joined.items()} | written
    return problems + _written_inputs(uses, kept, names, targets)


def _written_inputs(
    uses: Sequence[Use],
    kept: Mapping[str, str],
    names: FileNames,
    targets: Mapping[Hashable, tuple[Use, str]],
) -> list[str]:
    """Return a problem for every file that is written and read."""
    seen = {file: what for what, file in kept.items()}
    for use in uses:
        for role, file in use.read.items():
            seen.setdefault(file, f"{role.replace('_', '-')} of {use.place}")
    problems = {}
    for file, what in seen.items():
        key = names.file(str(split_extension(file)[0]) if file.endswith("]") else file)
        if key in targets and key not in problems:
            use, role = targets[key]
            problems[key] = f"{use.place}: {role} {file} is an input, {what}"
    return list(problems.values())
