"""An output file that is either there and complete, or not there at all: `atomic_output`."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from diffdecor.errors import BusyError, OutputError, OutputExistsError
from diffdecor.fits.paths import split_extension

logger = logging.getLogger(__name__)

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_WRITING = {*_FULL, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}
_LOCKED = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


@contextmanager
def atomic_output(
    path: str | Path, *, overwrite: bool = False, inputs: Iterable[str | Path] = ()
) -> Iterator[BinaryIO]:
    """Write a file under a temporary name, ``.NAME.part``, and rename it when it is complete.

    The temporary file is locked, so that two processes never write the same output. Only a process
    that is killed leaves it behind, and the next one reuses it. Raises what `check_output` does,
    and `BusyError` if another process is writing the output now.
    """
    path = Path(path)
    inputs = tuple(inputs)
    check_output(path, overwrite=overwrite, inputs=inputs)
    part = path.with_name(f".{path.name}.part")
    try:
        with _locked(part, path, inputs) as file:
            try:
                # Once more: the process that held the lock may have finished this very file.
                check_output(path, overwrite=overwrite, inputs=inputs)
                yield file
                _finish(file, part, path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        code = _cause(error)
        if isinstance(error, OutputError) or code not in _WRITING:
            raise
        raise _failed(path, code) from error


def check_output(
    path: str | Path, *, overwrite: bool = False, inputs: Iterable[str | Path] = ()
) -> None:
    """Refuse an output that must not or cannot be written, before any work is done for it.

    `OutputExistsError` if it exists and `overwrite` is False, or if it is one of the inputs, given
    as ``file.fits`` or ``file.fits[EXT]``, which are never overwritten; `OutputError` for all else.
    """
    path = Path(path)
    try:
        problem = _problem(path, tuple(inputs), overwrite=overwrite)
    except OSError as error:
        problem = OutputError(f"{path}: cannot be written: {error.strerror}")
    if problem is not None:
        raise problem


def _problem(path: Path, inputs: tuple[str | Path, ...], *, overwrite: bool) -> OutputError | None:
    if path.suffix.lower() in {".gz", ".fz"}:
        problem = "the output is not compressed; name it .fits, and use gzip or fpack after it"
    elif split_extension(path)[1] is not None:
        problem = "the output is a whole file; leave out the brackets"
    elif not path.parent.is_dir():
        problem = f"there is no folder {path.parent}; create it first"
    elif not path.exists():
        return None
    elif _is_input(path.stat(), inputs):
        msg = f"{path}: is an input; an input is never overwritten, choose another name"
        return OutputExistsError(msg)
    elif not path.is_file():
        problem = "is not a regular file; name the file to be written"
    elif not overwrite:
        return OutputExistsError(f"{path}: exists already; use --overwrite to replace it")
    else:
        return None
    return OutputError(f"{path}: {problem}")


def _is_input(found: os.stat_result, inputs: Iterable[str | Path]) -> bool:
    """Say whether a file is one of the inputs, whatever their names."""
    sources = (split_extension(item)[0] for item in inputs)
    return any(source.exists() and os.path.samestat(found, source.stat()) for source in sources)


@contextmanager
def _locked(part: Path, path: Path, inputs: tuple[str | Path, ...]) -> Iterator[BinaryIO]:
    """Open the temporary file, empty, as the only one to write it."""
    while True:
        try:
            descriptor = _opened(part, inputs)
        except OSError as error:
            reason = error.strerror or error
            msg = f"{path}: cannot be written: {reason} ({part})"
            raise OutputError(msg) from error
        with os.fdopen(descriptor, "wb") as file:
            _lock(file, path)
            if not _is_at(file, part):
                continue  # the process that held the lock has renamed or removed it
            file.truncate(0)
            yield file
            return


def _opened(part: Path, inputs: tuple[str | Path, ...]) -> int:
    """Create the temporary file, or open the one that a killed process left behind, as it is."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        with suppress(FileExistsError):
            return os.open(part, flags | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(FileNotFoundError):  # removed in the meantime: create it after all
            _refuse_foreign(part.lstat(), inputs)
            descriptor = os.open(part, flags)
            try:
                # Once more, of what was really opened.
                _refuse_foreign(os.fstat(descriptor), inputs)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor


def _refuse_foreign(found: os.stat_result, inputs: tuple[str | Path, ...]) -> None:
    """Raise OutputError if a file under the temporary name is not one that we left behind."""
    cure = "remove it"
    if stat.S_ISLNK(found.st_mode):
        kind = "a symbolic link"
    elif not stat.S_ISREG(found.st_mode):
        kind = "not a regular file"
    elif _is_input(found, inputs):
        kind, cure = "an input", "choose another output"
    elif _is_redirected(found):
        kind, cure = "our standard input or output", "choose another output"
    elif found.st_nlink > 1:
        kind = "a hard link to another file"
    elif found.st_uid != os.geteuid():
        kind = "a file that belongs to another user"
    else:
        return
    msg = f"its temporary file is {kind}; {cure}"
    raise OutputError(msg)


def _is_redirected(found: os.stat_result) -> bool:
    """Say whether one of our standard streams is redirected to a file."""
    for stream in range(3):
        with suppress(OSError):  # it is closed
            if os.path.samestat(found, os.fstat(stream)):
                return True
    return False


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _LOCKED:
            msg = f"{path}: another process is writing it now; try again later"
            raise BusyError(msg) from error
        # Some network file systems have no locks. To write without one is better than not at all.
        logger.warning("%s: cannot be locked here: %s", path, error.strerror)


def _finish(file: BinaryIO, part: Path, path: Path) -> None:
    """Put the complete file in its place, so that it survives a crash of the machine."""
    try:
        file.flush()
        os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise _failed(path, error.errno or 0) from error
    # To make the name last as well. Not all file systems can.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _failed(path: Path, code: int) -> OutputError:
    reason = _FULL.get(code, os.strerror(code))
    return OutputError(f"{path}: cannot be written: {reason}; nothing is left of it")


def _is_at(file: BinaryIO, part: Path) -> bool:
    """Say whether the open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), part.lstat())
    except FileNotFoundError:
        return False


def _cause(error: BaseException | None) -> int:
    """Return the error number behind an error: astropy raises its own without one."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return 0
