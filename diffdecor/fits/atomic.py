"""An output file that is either there and complete, or not there at all: `atomic_output`."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from diffdecor import signals
from diffdecor.errors import BusyError, OutputError, OutputExistsError
from diffdecor.fits.lock import NO_LINKS, REASONS, Lock, busy, held, tidy
from diffdecor.fits.paths import split_extension

#: Endings of packed files, and those of FITS files that are packed as they are written.
_PACKED = (".gz", ".fz", ".bz2", ".xz", ".zip", ".z")
_PACKABLE = (".fits.fz", ".fits.gz")
#: Endings of files that are no FITS.
_OTHERS = (".png", ".jpg", ".jpeg", ".pdf", ".html", ".txt", ".log", ".toml", ".json", ".csv")
_WRITING = {*REASONS, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}


@contextmanager
def atomic_output(
    path: str | Path,
    *,
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
    packable: bool = False,
) -> Iterator[BinaryIO]:
    """Write a file under a private name beside its own, and give it its name when it is complete.

    A lock sees to it that two processes never write the same output. Only a process that is killed
    leaves something behind (``.NAME.lock`` and ``.NAME.*.part``), and the next one removes it. A
    symbolic link is followed. What is replaced keeps its owner, group and mode, as far as it may.
    Raises what `check_output` does, and `BusyError` if another process is writing the output now.
    """
    inputs = tuple(inputs)
    check_output(path, overwrite=overwrite, inputs=inputs, packable=packable)
    path = Path(path)

    def check() -> None:
        check_output(path, overwrite=overwrite, inputs=inputs, packable=packable)

    target = _followed(path)
    signals.set_complete(False)
    try:
        with held(target, _kept(inputs)) as lock, _part(lock, target) as file:
            # Once more: the process that held the lock may have finished this very file.
            check()
            yield file
            _sync(file, target)
            check()
            _finish(file, lock, target, overwrite=overwrite)
    except OSError as error:
        code = _cause(error)
        if isinstance(error, OutputError) or code not in _WRITING:
            raise
        raise _failed(path, code) from error


@contextmanager
def output_held(path: str | Path, *, inputs: Iterable[str | Path] = ()) -> Iterator[Lock]:
    """Hold the lock of an output for longer than it takes to write it, in this thread.

    What a dead process left beside it is removed. Raises `BusyError` if another process has it.
    """
    with held(_followed(Path(path)), _kept(tuple(inputs))) as lock:
        yield lock


def tidy_output(path: str | Path, *, inputs: Iterable[str | Path] = ()) -> None:
    """Remove what a dead process left beside an output, if anything: this is quick if nothing."""
    tidy(_followed(Path(path)), _kept(tuple(inputs)))


def check_output(
    path: str | Path,
    *,
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
    packable: bool = False,
) -> None:
    """Refuse an output that must not or cannot be written, before any work is done for it.

    `OutputExistsError` if it exists and `overwrite` is False, or if it is one of the inputs, given
    as ``file.fits`` or ``file.fits[EXT]``, which are never overwritten; `OutputError` for all else.
    A name may be that of a packed file where it is `packable`: .fz or .gz.
    """
    problem = _packed(path, packable=packable)
    try:
        problem = problem or _problem(Path(path), tuple(inputs), overwrite=overwrite)
    except OSError as error:
        problem = OutputError(f"{path}: cannot be written: {error.strerror}")
    problem = problem or name_problem(path, packable=packable)
    if problem is not None:
        raise problem


def name_problem(path: str | Path, *, packable: bool = False) -> OutputError | None:
    """Return what is wrong with the name of an output, whatever files there are."""
    if packable and Path(path).suffix.lower() in _OTHERS:
        return OutputError(f"{path}: the output is a FITS file; name it .fits")
    return _packed(path, packable=packable)


def _packed(path: str | Path, *, packable: bool) -> OutputError | None:
    """Refuse the name of a folder, or of a file that is packed otherwise than this one will be."""
    if str(path).endswith(os.sep):
        return OutputError(f"{path}: is the name of a folder; name the file to be written")
    suffix = Path(path).suffix.lower()
    if suffix not in _PACKED or (packable and suffix in {".fz", ".gz"}):
        return None
    if packable:
        problem = f"outputs are not packed so; name it .fits, {' or '.join(_PACKABLE)}"
    else:
        problem = "the output is not compressed; name it without that ending, and pack it after it"
    return OutputError(f"{path}: {problem}")


def _problem(path: Path, inputs: tuple[str | Path, ...], *, overwrite: bool) -> OutputError | None:
    if split_extension(path)[1] is not None:
        problem = "the output is a whole file; leave out the brackets"
    elif not path.exists():
        target = _followed(path)
        if target.is_symlink():
            problem = "is a symbolic link to itself; remove it"
        elif target.parent.is_dir():
            return None
        else:
            problem = f"there is no folder {target.parent}; create it first"
    elif _is_input(found := path.stat(), inputs):
        msg = f"{path}: is an input; an input is never overwritten, choose another name"
        return OutputExistsError(msg)
    elif not path.is_file():
        problem = "is not a regular file; name the file to be written"
    elif _is_redirected(found):
        problem = "is our standard input or output; name another file"
    elif not overwrite:
        tidy(_followed(path), _kept(inputs))
        return OutputExistsError(f"{path}: exists already; use --overwrite to replace it")
    else:
        return None
    return OutputError(f"{path}: {problem}")


def _is_input(found: os.stat_result, inputs: Iterable[str | Path]) -> bool:
    """Say whether a file is one of the inputs, whatever their names."""
    for item in inputs:
        with suppress(OSError):  # it is not there, or cannot be read either
            if os.path.samestat(found, split_extension(item)[0].stat()):
                return True
    return False


def _kept(inputs: tuple[str | Path, ...]) -> Callable[[os.stat_result], bool]:
    """Return what says of a file that it is never to be removed, whatever its name."""
    return lambda found: _is_input(found, inputs) or _is_redirected(found)


def _is_redirected(found: os.stat_result) -> bool:
    """Say whether one of our standard streams is redirected to a file."""
    for stream in range(3):
        with suppress(OSError):  # it is closed
            if os.path.samestat(found, os.fstat(stream)):
                return True
    return False


def _followed(path: Path) -> Path:
    """Return the file that a symbolic link names: the link stays what it is."""
    return Path(os.path.realpath(path))


@contextmanager
def _part(lock: Lock, target: Path) -> Iterator[BinaryIO]:
    """Create the file under its private name; remove what is left of it when the block ends."""
    # Not more open than what it replaces. A new file has the mode that files have here.
    mode = target.stat().st_mode & 0o600 if target.exists() else 0o666
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(lock.part, flags, mode)
    except FileExistsError as error:  # this thread holds the lock, and is writing the output
        raise busy(target, lock.owner) from error
    except OSError as error:
        if error.errno in _WRITING:
            raise
        msg = f"{target}: cannot be written: {error.strerror} ({lock.part})"
        raise OutputError(msg) from error
    with os.fdopen(descriptor, "wb") as file:
        try:
            yield file
        finally:
            if _is_at(file, lock.part):
                with suppress(OSError):  # the folder may have lost its permissions
                    lock.part.unlink()


def _sync(file: BinaryIO, target: Path) -> None:
    """Bring all of a file to the disk, so that it survives a crash of the machine."""
    try:
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise _failed(target, error.errno or 0) from error


def _finish(file: BinaryIO, lock: Lock, target: Path, *, overwrite: bool) -> None:
    """Give the complete file its name, after a last look."""
    signals.check()
    if not lock.is_held():
        if lock.holder() is not None:
            msg = f"{target}: another process took this one for dead and writes it; try again later"
            raise BusyError(msg)
        msg = f"{target}: cannot be written: its folder, or the lock in it, was moved or removed"
        raise OutputError(msg)
    if not _is_at(file, lock.part):
        msg = f"{target}: cannot be written: somebody replaced its temporary file {lock.part}"
        raise OutputError(msg)
    try:
        replaced = target.stat() if overwrite and target.exists() else None
        if replaced is not None:
            _keep_owner(file, replaced)
        signals.set_complete(True)
        _named(lock.part, target, overwrite=replaced is not None)
    except OSError as error:
        signals.set_complete(False)
        if isinstance(error, OutputError):
            raise
        raise _failed(target, error.errno or 0) from error
    # To make the name last as well. Not all file systems can.
    with suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _named(part: Path, target: Path, *, overwrite: bool) -> None:
    """Give a file its name; what is there already is replaced only with `overwrite`."""
    if overwrite:
        part.replace(target)
        return
    try:
        target.hardlink_to(part)
    except FileExistsError as error:
        msg = f"{target}: exists already; use --overwrite to replace it"
        raise OutputExistsError(msg) from error
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        part.replace(target)  # no hard links here


def _keep_owner(file: BinaryIO, replaced: os.stat_result) -> None:
    """Give a file owner, group and mode of the one that it replaces, as far as we may."""
    number, mode = file.fileno(), stat.S_IMODE(replaced.st_mode) & 0o777
    own = os.fstat(number)
    try:
        if (own.st_uid, own.st_gid) != (replaced.st_uid, replaced.st_gid):
            os.fchown(number, replaced.st_uid, replaced.st_gid)
    except OSError:
        try:
            os.fchown(number, -1, replaced.st_gid)
        except OSError:
            # Another group may do what all may, and no more.
            mode = mode & ~0o070 | (mode & 0o007) << 3
    with suppress(OSError):
        os.fchmod(number, mode)


def _failed(path: Path, code: int) -> OutputError:
    reason = REASONS.get(code, os.strerror(code))
    return OutputError(f"{path}: cannot be written: {reason}; nothing is left of it")


def _is_at(file: BinaryIO, part: Path) -> bool:
    """Say whether the open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), part.lstat())
    except OSError:  # it is gone, or the folder is
        return False


def _cause(error: BaseException | None) -> int:
    """Return the error number behind an error: astropy raises its own without one."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return 0
