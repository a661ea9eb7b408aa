"""Names of files, with a FITS extension in brackets: ``file.fits[SCI]``, ``file.fits[SCI,2]``."""

from __future__ import annotations

import os
import re
from pathlib import Path

Extension = str | int | tuple[str, int]

_SUFFIX = re.compile(r"(?P<file>.+)\[(?P<extension>[^\[\]]+)\]", re.DOTALL)
_VERSIONED = re.compile(r"(?P<name>.+?)\s*,\s*(?P<version>\d+)")


def split_extension(text: str | Path) -> tuple[Path, Extension | None]:
    """Split ``file.fits[EXT]`` into the file and the extension; None where no brackets are.

    The extension is an EXTNAME, a 0-based HDU number (0: the primary), or EXTNAME with EXTVER. A
    file that really has brackets in its name takes precedence over the notation.
    """
    whole = Path(text)
    match = _SUFFIX.fullmatch(str(text))
    if match is None or not match["extension"].strip() or os.path.exists(whole):  # noqa: PTH110  False on errors
        return whole, None
    extension = match["extension"].strip()
    if extension.isdecimal():
        return Path(match["file"]), int(extension)
    versioned = _VERSIONED.fullmatch(extension)
    if versioned is None:
        return Path(match["file"]), extension
    return Path(match["file"]), (versioned["name"], int(versioned["version"]))


def are_same_file(one: str | Path, other: str | Path) -> bool:
    """Say whether two names are those of one file, or would be if it were there."""
    try:
        if os.path.realpath(one) == os.path.realpath(other):
            return True
    except FileNotFoundError:  # the current folder is gone, and relative names mean nothing
        return False
    try:
        return Path(one).samefile(other)
    except OSError:
        return False
