"""The bytes of a FITS file, packed as a whole or not, its headers looked through on the way.

A packed file is unpacked on disk, no further than its headers promise.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from diffdecor.errors import InputError
from diffdecor.fits.bounds import raw_hdus
from diffdecor.fits.raw_headers import RawHdu, Stored, read_at

GZIP_MAGIC = b"\x1f\x8b"
#: Bytes of padding after the last HDU; tapes have less than 32 kB.
MOST_PADDING = 1 << 26

_CHUNK = 1 << 20
#: Bytes that are unpacked from a file however small it is; beyond that, from each of its bytes.
#: (gzip reaches 1032 where all is zero; an image with noise, 2.)
MOST_OF_A_SMALL_FILE = 1 << 30
MOST_OF_A_BYTE = 500
_PADDING = b"\0 \r\n"
#: Errors of the packed file, damaged or out of reach; all others are those of the unpacked one.
_READING = {None, errno.EIO, errno.ESTALE}

#: Distinguishes a file from one that takes its name later, and from itself once it is changed:
#: device, inode, size, time of modification.
Identity = tuple[int, ...]


class Unpacked(NamedTuple):
    """The content of a file, where its HDUs are, and which file it was."""

    content: BinaryIO
    hdus: tuple[RawHdu, ...]
    identity: Identity
    #: State of the file when it was opened; None of what was unpacked, which nobody else changes.
    state: os.stat_result | None = None

    @property
    def of_hdus(self) -> BinaryIO:
        """The content, without padding after its last HDU, which astropy would keep in memory."""
        end = self.hdus[-1].end
        if _size(self.content) <= end:
            return self.content
        return cast("BinaryIO", _Head(self.content, end))


def open_unpacked(path: Path) -> Unpacked:
    """Open a file for reading; of a packed one its content, complete and checked.

    What was unpacked is gone when it is closed. InputError if its headers are damaged, or if there
    is no room to unpack it; OSError, EOFError or zlib.error if it cannot be read, or is damaged.
    """
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        found = os.fstat(file.fileno())
        identity = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        start = file.read(_LONGEST_MAGIC)
        file.seek(0)
        unpack = next((how for magic, how in _PACKED.items() if start.startswith(magic)), None)
        if unpack is not None:
            with _one_kind_of_error():
                stream = unpack(file)
            content, hdus = _on_disk(stream, path, found.st_size)
            if was_changed(found, os.fstat(file.fileno())):
                raise changed_meanwhile(path)
            return Unpacked(content, hdus, identity)
        hdus = _checked_hdus(Stored(file), path)
        stack.pop_all()  # it stays open
        return Unpacked(file, hdus, identity, found)


def was_changed(before: os.stat_result, after: os.stat_result) -> bool:
    """Say whether the content of a file was changed, by its size and its time."""
    return (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)


def changed_meanwhile(path: object) -> InputError:
    """Return the error of a file that somebody changed while it was read."""
    msg = (
        f"{path}: the file was changed while it was read; wait until it is complete, and try again"
    )
    return InputError(msg)


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Make what lzma and zipfile raise on damaged files an OSError."""
    try:
        yield
    except (OSError, EOFError, zlib.error):
        raise
    except Exception as error:
        raise OSError(str(error)) from error


def _bzip2(file: BinaryIO) -> BinaryIO:
    import bz2  # seldom needed, like the others

    return cast("BinaryIO", bz2.BZ2File(file))


def _xz(file: BinaryIO) -> BinaryIO:
    import lzma

    return cast("BinaryIO", lzma.LZMAFile(file))


def _zip(file: BinaryIO) -> BinaryIO:
    import zipfile

    archive = zipfile.ZipFile(file)
    if len(archive.namelist()) != 1:
        msg = f"the zip archive holds {len(archive.namelist())} files, not one"
        raise OSError(msg)
    return cast("BinaryIO", archive.open(archive.namelist()[0]))


_PACKED: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    GZIP_MAGIC: lambda file: cast("BinaryIO", gzip.GzipFile(fileobj=file)),
    b"BZh": _bzip2,
    b"\xfd7zXZ\0": _xz,
    b"PK\3\4": _zip,
}
_LONGEST_MAGIC = max(map(len, _PACKED))


def _on_disk(stream: BinaryIO, path: Path, packed: int) -> tuple[BinaryIO, tuple[RawHdu, ...]]:
    """Unpack a stream into an anonymous file, and open that for reading."""
    try:
        with tempfile.TemporaryFile(buffering=0) as file:
            hdus = _checked_hdus(_Packed(stream, file.fileno(), path, packed), path)
            if _size(file) > hdus[-1].end:
                os.ftruncate(file.fileno(), hdus[-1].end)
            return os.fdopen(os.dup(file.fileno()), "rb"), hdus
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile) or error.errno in _READING:
            raise
        msg = (
            f"{path}: cannot be unpacked into the folder of temporary files "
            f"({error.strerror or error}); name one with more room in TMPDIR, or unpack the file "
            "yourself"
        )
        raise InputError(msg) from error


def _checked_hdus(content: Stored, path: Path) -> tuple[RawHdu, ...]:
    """Return where the HDUs are; InputError if more than padding follows the last one."""
    hdus = raw_hdus(content, path)
    end = place = hdus[-1].end
    while more := content.at(place, _CHUNK):
        place += len(more)
        if more.strip(_PADDING) or place - end > MOST_PADDING:
            msg = (
                f"{path}: damaged after HDU {len(hdus) - 1} (data follow that belong to no HDU); "
                f"fetch it again, or cut it off after {end} bytes"
            )
            raise InputError(msg)
    return tuple(hdus)


class _Packed(Stored):
    """The bytes of a packed file, unpacked as they are asked for into an open file."""

    def __init__(self, stream: BinaryIO, descriptor: int, path: Path, packed: int) -> None:
        self._stream = stream
        self._descriptor = descriptor
        self._path = path
        self._packed = packed
        self._size = 0

    def at(self, place: int, length: int) -> bytes:
        """Return bytes from a place on; fewer, or none, where the file ends."""
        self._unpack(place + length)
        return read_at(self._descriptor, place, length)

    def reaches(self, end: int) -> bool:
        """Say whether there are at least that many bytes."""
        if end > max(MOST_OF_A_SMALL_FILE, MOST_OF_A_BYTE * self._packed):
            msg = (
                f"{self._path}: promises {end} bytes, packed into {self._packed}: more than an "
                "image of the sky can be packed; unpack it yourself if you trust it"
            )
            raise InputError(msg)
        if end - self._size > shutil.disk_usage(tempfile.gettempdir()).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._unpack(end)
        return end <= self._size

    def _unpack(self, end: int) -> None:
        while self._size < end and (chunk := self._next()):
            left = memoryview(chunk)
            while left:
                left = left[
                    os.pwrite(self._descriptor, left, self._size + len(chunk) - len(left)) :
                ]
            self._size += len(chunk)

    def _next(self) -> bytes:
        """Unpack some more; none at the end."""
        with _one_kind_of_error():
            return self._stream.read(_CHUNK)


class _Head(io.RawIOBase):
    """The first bytes of a file, for reading."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__()
        self._descriptor = file.fileno()
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that places can be chosen."""
        return True

    def tell(self) -> int:
        """Return the place that is read next."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Choose the place that is read next."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read bytes into a buffer; return how many there were."""
        length = max(0, min(len(buffer), self._size - self._place))
        data = read_at(self._descriptor, self._place, length)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
