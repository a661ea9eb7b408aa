"""Gzipped files, unpacked into files without a name: memory does not have to hold them."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from diffdecor.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 20

Identity = tuple[int, ...]
"""Tells a file from the one that takes its name later, and from itself once it is written to."""


class Unpacked(NamedTuple):
    """What can be read of a file, and which file it was."""

    content: BinaryIO
    identity: Identity


def identity_of(found: os.stat_result) -> Identity:
    """Return what tells a file from another one that has or had the same name."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def open_unpacked(path: Path) -> Unpacked:
    """Open a file for reading; of a gzipped one its content, complete and checked.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    content : BinaryIO
        At its start. What was unpacked is gone when it is closed.
    identity : tuple of int
        That of the file itself.

    Raises
    ------
    InputError
        If there is no room to unpack it.
    OSError, EOFError, zlib.error
        If it cannot be read, or is damaged.
    """
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        identity = identity_of(os.fstat(file.fileno()))
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        if packed:
            stream = stack.enter_context(gzip.open(file))
            return Unpacked(_on_disk(iter(partial(stream.read, _PIECE), b""), path), identity)
        stack.pop_all()  # it stays open
        return Unpacked(file, identity)


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
