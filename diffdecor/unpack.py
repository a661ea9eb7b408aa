"""Gzipped files, unpacked into files without a name: memory does not have to hold them."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from diffdecor.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 20


def open_unpacked(path: Path) -> BinaryIO:
    """Open a file for reading; of a gzipped one its content, complete and checked.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    BinaryIO
        At its start. What was unpacked is gone when it is closed.

    Raises
    ------
    InputError
        If there is no room to unpack it.
    OSError, EOFError, zlib.error
        If it cannot be read, or is damaged.
    """
    with path.open("rb") as file:
        if file.read(len(GZIP_MAGIC)) != GZIP_MAGIC:
            return path.open("rb")
    with gzip.open(path) as stream:
        return _on_disk(iter(partial(stream.read, _PIECE), b""), path)


def _on_disk(pieces: Iterable[bytes], path: Path) -> BinaryIO:
    """Write pieces into a file without a name, and open that for reading."""
    try:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed below
    except OSError as error:
        raise _no_room(path, error) from error
    with file:
        for piece in pieces:
            left = memoryview(piece)
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError as error:
                raise _no_room(path, error) from error
        file.seek(0)
        return os.fdopen(os.dup(file.fileno()), "rb")


def _no_room(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be unpacked into the folder of temporary files ({error.strerror or error})"
        "; name one with more room in TMPDIR, or unpack the file yourself"
    )
