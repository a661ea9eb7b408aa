"""Opening FITS files and reading their pixels: what goes wrong comes out as one clear line.

Used by everything that reads FITS. Which HDU means what is not known here.
"""

from __future__ import annotations

import logging
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakKeyDictionary

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from diffdecor.errors import InputError
from diffdecor.fits.compressed import careful_tiles
from diffdecor.fits.damage import damage_named, one_line, reason_of
from diffdecor.fits.paths import Extension, split_extension
from diffdecor.fits.pixels import scaling_of
from diffdecor.fits.unpacking import GZIP_MAGIC, Identity, Unpacked, open_unpacked

logger = logging.getLogger(__name__)

#: How a file begins that may be FITS, gzipped or not.
FITS_STARTS = (b"SIMPLE", GZIP_MAGIC)

# astropy has no types; these names say what is meant.
Hdu = Any
Hdus = Any
Header = Any


class OpenFiles(ExitStack):
    """The FITS files of a job: each is opened once, however often it is asked for.

    They stay open until the block ends. A file that is replaced meanwhile is read as it was; one
    that is changed is noticed. With `ignore_checksums` wrong ones are no errors.
    """

    def __init__(self, *, ignore_checksums: bool = False) -> None:
        super().__init__()
        self.ignore_checksums = ignore_checksums
        #: What has been said of files: every warning is given once.
        self.reported: set[str] = set()
        self._states: dict[Path, os.stat_result] = {}
        self._hdus: dict[Path, Hdus] = {}
        self.callback(self._hdus.clear)

    def __contains__(self, path: Path) -> bool:
        """Say whether a file is open."""
        return path.absolute() in self._hdus

    def note(self, path: Path) -> None:
        """Remember the state of a file that is not FITS, before it is read."""
        with suppress(OSError):
            self._states.setdefault(path.absolute(), path.stat())

    def state(self, path: Path) -> os.stat_result | None:
        """Return the state of a file when it was noted, if it was."""
        return self._states.get(path.absolute())

    def hdus(self, path: Path) -> Hdus:
        """Return the HDUs of a file."""
        key = path.absolute()
        if key not in self._hdus:
            self._hdus[key] = self.enter_context(_opened(path))
        return self._hdus[key]


@contextmanager
def open_fits(
    argument: str | Path, files: OpenFiles | None = None
) -> Iterator[tuple[Hdus, Extension | None]]:
    """Open a FITS file, plain, gzipped or tile-compressed, whole or ``file.fits[EXT]``.

    Gives all HDUs, headers read, and what the brackets hold. Pixels must be read, with
    `read_pixels`, before the block ends, or before `files` are closed. Raises an InputError if the
    file is missing, a directory, empty, not FITS, damaged, truncated or not allowed to be read.
    """
    path, extension = split_extension(argument)
    check_file(path)
    if files is not None:
        yield files.hdus(path), extension
        return
    with _opened(path) as hdus:
        yield hdus, extension


def file_of(hdu: Hdu) -> BinaryIO | None:
    """Return the file that holds an HDU, of an open file, byte by byte where astropy says.

    It is what a gzipped file was unpacked into. None where astropy unpacks the file itself, and for
    an HDU that is not in a file.
    """
    file = _astropy_file(hdu)
    return _files[file].content if file in _files and not file.compression else None


def identity_of_file(hdu: Hdu) -> Identity | None:
    """Return what tells the file of an HDU, as it was opened, from one that has replaced it since.

    None for an HDU that is not in a file.
    """
    file = _astropy_file(hdu)
    return _files[file].identity if file in _files else None


def state_of_file(hdu: Hdu) -> os.stat_result | None:
    """Return the state of the file of an HDU when it was opened; None of one that was unpacked."""
    file = _astropy_file(hdu)
    return _files[file].state if file in _files else None


@contextmanager
def quiet_astropy(name: object) -> Iterator[list[str]]:
    """Keep astropy's warnings off the screen and log them: old tools bend the standard.

    The list that it gives holds the warnings when the block ends.
    """
    complaints: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AstropyWarning)
        yield complaints
    for warning in caught:
        complaints.append(one_line(warning.message))
        logger.debug("%s: %s", name, complaints[-1])


def find_extension(hdus: Hdus, extension: Extension, name: object) -> Hdu:
    """Return the HDU that the user named in brackets; an InputError lists those that there are."""
    try:
        return hdus[extension]
    except LookupError:
        there = ", ".join(f"{n} {hdu.name}".strip() for n, hdu in enumerate(hdus))
        msg = f"{name}: there is no extension {extension}; the file has {there}"
        raise InputError(msg) from None


def image_shape(hdu: Hdu) -> tuple[int, ...]:
    """Return the shape of an image HDU without its axes of length 1; empty if it is not an image.

    An array that is one constant (STScI) has no axes but NPIX1, NPIX2, and its value in PIXVALUE.
    Axes of length 1 are taken away, slowest first, while there are more than two.
    """
    if not isinstance(hdu, (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)):
        return ()
    shape = [int(length) for length in _constant_shape(hdu) or hdu.shape]
    while len(shape) > 2 and 1 in shape:
        shape.remove(1)
    return tuple(shape)


def constant_value(hdu: Hdu, name: object) -> float | None:
    """Return the value of an image HDU that is one constant (STScI), None of any other.

    InputError if it has none.
    """
    if not _constant_shape(hdu):
        return None
    value = hdu.header.get("PIXVALUE")
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = (
            f"{name}: HDU {hdu.name} has no data but NPIX1 and NPIX2, and PIXVALUE = {value!r} is "
            "not the value of its pixels; correct the card"
        )
        raise InputError(msg)
    return value


def _constant_shape(hdu: Hdu) -> tuple[int, ...]:
    """Return the shape (ny, nx) of an array that is one constant; empty of any other."""
    header = hdu.header
    if header.get("NAXIS") != 0:
        return ()
    lengths = [header.get(f"NPIX{axis}") for axis in (2, 1)]
    if not all(type(length) is int and length > 0 for length in lengths):
        return ()
    return tuple(lengths)


def read_pixels(hdu: Hdu, name: object) -> NDArray[Any]:
    """Read the pixels of an image HDU, compressed or not, of an open file into memory.

    Returns float32 or float64 in native byte order, of the shape of `image_shape`: floats as they
    are on disk, integers of up to 16 bits as float32, longer ones as float64. BSCALE and BZERO are
    applied, and BLANK is NaN. Raises an InputError if the data are damaged, or not numbers.
    """
    stored = stored_numbers(hdu, name)
    return scaling_of(hdu.header, name).pixels(stored).reshape(image_shape(hdu))


def stored_numbers(hdu: Hdu, name: object) -> NDArray[Any]:
    """Read the numbers of an image HDU of an open file as they are stored, without BSCALE, BZERO.

    Returns integers or floats in any byte order, with all axes.
    """
    constant = constant_value(hdu, name)
    if constant is not None:
        return np.full(image_shape(hdu), constant)
    with unpacking(hdu, name):
        stored = hdu.data
    if stored is None or stored.dtype.kind not in "iuf":
        kind = "nothing" if stored is None else f"{stored.dtype} numbers"
        msg = f"{name}: the image holds {kind}; give an image of integers or floats"
        raise InputError(msg)
    return np.asarray(stored)


@contextmanager
def unpacking(hdu: Hdu, name: object) -> Iterator[None]:
    """Let pixels of an HDU of an open file be read; what astropy raises becomes an InputError.

    A compressed image is checked before, so that it can do no harm.
    """
    with damaged_pixels(name), ExitStack() as stack:
        if isinstance(hdu, fits.CompImageHDU) and (file := _files.get(_astropy_file(hdu))):
            stack.enter_context(careful_tiles(file, hdu.fileinfo()["hdrLoc"], name))
        stack.enter_context(quiet_astropy(name))
        yield


def damaged_pixels(name: object) -> AbstractContextManager[None]:
    """Read pixels of a file: what goes wrong becomes an InputError."""
    return damage_named(name, "the pixels cannot be read", "fetch the file again")


def check_file(path: Path) -> None:
    """Refuse what is not a regular file, cannot be seen, or is empty."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            problem = "is a directory; name a file in it"
        elif not stat.S_ISREG(found.st_mode):
            problem = "is not a regular file; write it to disk first"
        elif found.st_size == 0:
            problem = "the file is empty; fetch it again"
        else:
            return
    except FileNotFoundError:
        problem = "no such file; check the name"
    except OSError as error:
        problem = f"cannot be read ({reason_of(error)})"
    msg = f"{path}: {problem}"
    raise InputError(msg)


def _astropy_file(hdu: Hdu) -> Any:  # noqa: ANN401  astropy has no types
    """Return astropy's object for the file of an HDU; None if there is none, or it is damaged."""
    return ((hdu.fileinfo() if hasattr(hdu, "fileinfo") else None) or {}).get("file")


# The files that are open, by astropy's name for them.
_files: WeakKeyDictionary[Any, Unpacked] = WeakKeyDictionary()


@contextmanager
def _opened(path: Path) -> Iterator[Hdus]:
    with ExitStack() as stack:
        with quiet_astropy(path) as complaints:
            hdus = _load(path, stack)
        _check_complete(hdus, path, complaints)
        yield hdus


def _load(path: Path, stack: ExitStack) -> Hdus:
    """Open the file and read all headers: only then is it known to be complete."""
    with damage_named(path, "not a readable FITS file", "check it or fetch it again"):
        file = open_unpacked(path)
        stack.enter_context(file.content)
        # Unscaled: astropy leaves pixels equal to BLANK = 0 as they are.
        hdus = fits.open(file.of_hdus, memmap=False, do_not_scale_image_data=True)
        stack.enter_context(hdus)
        for hdu in hdus:
            if hdu.size < 0:  # astropy would read the same header for ever
                msg = f"HDU {hdu.name} is {hdu.size} bytes long"
                raise OSError(msg)
            _drop_unparsable(hdu.header, path)
        for found in filter(None, map(_astropy_file, hdus)):
            _files[found] = file
    return hdus


def _drop_unparsable(header: Header, path: Path) -> None:
    """Remove the cards whose value astropy cannot parse: using one later would fail."""
    wrong = []
    for number, card in enumerate(header.cards):
        try:
            _ = card.value, card.comment
        except (VerifyError, ValueError):
            wrong.append(number)
    for number in reversed(wrong):
        logger.warning(
            "%s: the card %s is not valid FITS and is left out", path, header.cards[number].keyword
        )
        del header[number]


def _check_complete(hdus: Hdus, path: Path, complaints: list[str]) -> None:
    """Refuse a file that ends too early; other complaints about the standard do not matter."""
    for complaint in complaints:
        if "Error validating header" in complaint:
            msg = f"{path}: damaged after HDU {len(hdus) - 1} ({complaint}); fetch it again"
            raise InputError(msg)
        if "truncated" in complaint and not _has_all_data(hdus[-1]):
            msg = f"{path}: the file is truncated ({complaint}); fetch it again"
            raise InputError(msg)


def _has_all_data(hdu: Hdu) -> bool:
    """Say whether the data of the last HDU are there, though some tools leave out the padding."""
    file = file_of(hdu)
    if isinstance(hdu, fits.CompImageHDU) or file is None:
        return False
    return bool(hdu.fileinfo()["datLoc"] + hdu.size <= os.fstat(file.fileno()).st_size)
