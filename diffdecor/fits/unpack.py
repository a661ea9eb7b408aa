"""Gzipped files, unpacked into anonymous temporary files rather than into memory."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from diffdecor.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
#: Errors of the gzipped file, damaged or out of reach; all others are those of the unpacked one.
_READING = {None, errno.EIO, errno.ESTALE}

#: Distinguishes a file from one that takes its name later, and from itself once it is changed.
Identity = tuple[int, ...]


class Unpacked(NamedTuple):
    """The content of a file, and which file it was."""

    content: BinaryIO
    identity: Identity


def identity_of(found: os.stat_result) -> Identity:
    """Return what distinguishes a file from another one that has or had its name."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def open_unpacked(path: Path) -> Unpacked:
    """Open a file for reading; of a gzipped one its content, complete and checked.

    What was unpacked is gone when it is closed. InputError if there is no room to unpack it;
    OSError, EOFError or zlib.error if the file cannot be read, or is damaged.
    """
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        identity = identity_of(os.fstat(file.fileno()))
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        if packed:
            return Unpacked(_on_disk(gzip.GzipFile(fileobj=file), path), identity)
        stack.pop_all()  # it stays open
        return Unpacked(file, identity)


def _on_disk(stream: gzip.GzipFile, path: Path) -> BinaryIO:
    """Copy a stream into an anonymous file, and open that for reading."""
    try:
        with tempfile.TemporaryFile() as file:
            shutil.copyfileobj(stream, file, _CHUNK)
            file.seek(0)
            return os.fdopen(os.dup(file.fileno()), "rb")
    except OSError as error:
        if error.errno in _READING:
            raise
        msg = (
            f"{path}: cannot be unpacked into the folder of temporary files "
            f"({error.strerror or error}); name one with more room in TMPDIR, or unpack the file "
            "yourself"
        )
        raise InputError(msg) from error
