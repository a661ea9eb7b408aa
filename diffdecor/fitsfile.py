"""Opening FITS files and reading their pixels: what goes wrong comes out as one clear line.

Used by everything that reads FITS. Which HDU means what is not known here.
"""

from __future__ import annotations

import gzip
import io
import logging
import stat
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from diffdecor.errors import InputError
from diffdecor.paths import Extension, split_extension

logger = logging.getLogger(__name__)

# What astropy raises on bytes that are not the FITS they claim to be. (A name is unbound in it
# where a table has a TDIM and a damaged TFORM.)
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    UnboundLocalError,
    zlib.error,
    VerifyError,
)

# astropy has no types; these names say what is meant.
Hdu = Any
Hdus = Any
Header = Any

GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_fits(argument: str | Path) -> Iterator[tuple[Hdus, Extension | None]]:
    """Open a FITS file, whole or ``file.fits[EXT]``, and close it afterwards.

    Parameters
    ----------
    argument : str or Path
        The file, plain, gzipped or tile-compressed, with an extension in brackets or not.

    Yields
    ------
    hdus : astropy.io.fits.HDUList
        All HDUs, headers read. Pixels must be read before it is closed, with `read_pixels`.
    extension : str, int, tuple of str and int, or None
        What the brackets hold.

    Raises
    ------
    InputError
        If it is missing, a directory, empty, not FITS, damaged, truncated or not allowed to be
        read.
    """
    path, extension = split_extension(argument)
    check_file(path)
    with tolerant(path) as complaints:
        hdus, size = _load(path)
    with hdus:
        _check_complete(hdus, size, path, complaints)
        yield hdus, extension


@contextmanager
def tolerant(name: object) -> Iterator[list[str]]:
    """Keep astropy's warnings off the screen and log them: old tools bend the standard.

    Parameters
    ----------
    name : object
        The file, for the log.

    Yields
    ------
    list of str
        The warnings; it is filled when the block ends.
    """
    complaints: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AstropyWarning)
        yield complaints
    for warning in caught:
        complaints.append(one_line(warning.message))
        logger.debug("%s: %s", name, complaints[-1])


def find_extension(hdus: Hdus, extension: Extension, name: object) -> Hdu:
    """Return the HDU that the user named in brackets.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        All HDUs of the file.
    extension : str, int, or tuple of str and int
        EXTNAME, 0-based number, or EXTNAME and EXTVER.
    name : object
        The file, for the message.

    Returns
    -------
    HDU
        The one that is meant.

    Raises
    ------
    InputError
        If there is no such HDU; the message lists those that there are.
    """
    try:
        return hdus[extension]
    except LookupError:
        there = ", ".join(f"{n} {hdu.name}".strip() for n, hdu in enumerate(hdus))
        msg = f"{name}: there is no extension {extension}; the file has {there}"
        raise InputError(msg) from None


def image_shape(hdu: Hdu) -> tuple[int, ...]:
    """Return the shape of an image HDU without its axes of length 1; empty if it is no image.

    Axes of length 1 are taken away, slowest first, while there are more than two.
    """
    if not isinstance(hdu, (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)):
        return ()
    shape = [int(length) for length in hdu.shape]
    while len(shape) > 2 and 1 in shape:
        shape.remove(1)
    return tuple(shape)


def read_pixels(hdu: Hdu, name: object) -> NDArray[Any]:
    """Read the pixels of an image HDU: scaled, in native byte order, not mapped to the file.

    Parameters
    ----------
    hdu : HDU
        An image, compressed or not, of a file opened with `open_fits` that is still open.
    name : object
        The file, for messages.

    Returns
    -------
    array of float32 or float64
        Shape of `image_shape`. Floats as they are on disk; integers of up to 16 bits as float32,
        longer ones as float64. BSCALE and BZERO are applied, and BLANK is NaN.

    Raises
    ------
    InputError
        If the data are damaged, or neither integers nor floats.
    """
    raw, header = _raw_pixels(hdu, name), hdu.header
    scale, zero = _scaling(header, name)
    if raw.dtype.kind == "f":
        pixels = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    else:
        dtype = np.float32 if raw.dtype.itemsize <= 2 else np.float64
        if scale == 1 and zero == int(zero):
            pixels, zero = _shifted(raw, zero).astype(dtype), 0
        else:
            pixels = raw.astype(dtype)
        if isinstance(header.get("BLANK"), int):
            pixels[raw == header["BLANK"]] = np.nan
    if scale != 1:
        pixels = pixels * pixels.dtype.type(scale)
    if zero != 0:
        pixels = pixels + pixels.dtype.type(zero)
    return pixels.reshape(image_shape(hdu))


def read_integers(hdu: Hdu, name: object) -> NDArray[np.integer[Any]]:
    """Read an image HDU of whole numbers, a mask, whatever type it was stored in.

    Parameters
    ----------
    hdu : HDU
        An image, compressed or not, of a file opened with `open_fits` that is still open.
    name : object
        The file, for messages.

    Returns
    -------
    array of integers
        Shape of `image_shape`, native byte order.

    Raises
    ------
    InputError
        If the data are damaged, or if a pixel is not a whole number.
    """
    raw, header = _raw_pixels(hdu, name), hdu.header
    scale, zero = _scaling(header, name)
    if raw.dtype.kind != "f" and scale == 1 and zero == int(zero):
        if zero == 0:
            return raw.astype(raw.dtype.newbyteorder("="), copy=False).reshape(image_shape(hdu))
        return _shifted(raw, zero).reshape(image_shape(hdu))
    pixels = read_pixels(hdu, name)
    whole = np.rint(pixels)
    if not (np.isfinite(pixels).all() and np.allclose(pixels, whole, rtol=0, atol=1e-3)):
        msg = f"{name}: a mask needs whole numbers, and this image has others; is it the mask?"
        raise InputError(msg)
    return np.asarray(np.clip(whole, -(2.0**62), 2.0**62), dtype=np.int64)


def one_line(error: object) -> str:
    """Return an error or a warning as one line of text."""
    return " ".join(str(error).split())


def check_file(path: Path) -> None:
    """Refuse what is no regular file, cannot be seen, or is empty.

    Raises
    ------
    InputError
        Naming the path and what to do.
    """
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
        problem = f"cannot be read ({error.strerror or one_line(error)})"
    msg = f"{path}: {problem}"
    raise InputError(msg)


def _load(path: Path) -> tuple[Hdus, int]:
    """Open the file and read all headers: only then is it known to be complete."""
    hdus = None
    try:
        source, size = _plain(path)
        # Unscaled: astropy leaves pixels equal to BLANK = 0 as they are.
        hdus = fits.open(source, memmap=False, do_not_scale_image_data=True)
        for hdu in hdus:
            if hdu.size < 0:  # astropy would read the same header for ever
                msg = f"HDU {hdu.name} is {hdu.size} bytes long"
                raise OSError(msg)
            _drop_unparsable(hdu.header, path)
    except UNREADABLE as error:
        if hdus is not None:
            hdus.close()
        reason = getattr(error, "strerror", None) or one_line(error)
        msg = f"{path}: not a readable FITS file ({reason}); check it or fetch it again"
        raise InputError(msg) from error
    return hdus, size


def _drop_unparsable(header: Header, path: Path) -> None:
    """Remove the cards whose value astropy cannot tell: whoever came across one would fail."""
    wrong = []
    for number, card in enumerate(header.cards):
        try:
            _ = card.value, card.comment
        except (VerifyError, ValueError):
            wrong.append(number)
    for number in reversed(wrong):
        logger.warning(
            "%s: the card %s is no FITS and is left out", path, header.cards[number].keyword
        )
        del header[number]


def _plain(path: Path) -> tuple[Path | io.BytesIO, int]:
    """Return what astropy is to open, and how long it is: the content of a gzipped file.

    Astropy itself would take the end of a damaged gzip stream for the end of the file.
    """
    with path.open("rb") as file:
        if file.read(2) != GZIP_MAGIC:
            return path, path.stat().st_size
    with gzip.open(path) as stream:
        content = stream.read()
    return io.BytesIO(content), len(content)


def _check_complete(hdus: Hdus, size: int, path: Path, complaints: list[str]) -> None:
    """Refuse a file that ends too early; other complaints about the standard do not matter."""
    for complaint in complaints:
        if "Error validating header" in complaint:
            msg = f"{path}: damaged after HDU {len(hdus) - 1} ({complaint}); fetch it again"
            raise InputError(msg)
        if "truncated" in complaint and not _has_all_data(hdus[-1], size):
            msg = f"{path}: the file is truncated ({complaint}); fetch it again"
            raise InputError(msg)


def _has_all_data(hdu: Hdu, size: int) -> bool:
    """Say whether the data of the last HDU are there, though some tools leave out the padding."""
    if isinstance(hdu, fits.CompImageHDU):
        return False
    return bool(hdu.fileinfo()["datLoc"] + hdu.size <= size)


def _shifted(raw: NDArray[Any], zero: float) -> NDArray[np.int64]:
    """Add a whole BZERO, modulo 2**64: that makes long unsigned numbers (BZERO = 2**63) exact."""
    shifted = raw.astype(np.int64).view(np.uint64) + np.uint64(int(zero) % 2**64)
    return shifted.view(np.int64)


def _scaling(header: Header, name: object) -> tuple[float, float]:
    """Return BSCALE and BZERO."""
    scale, zero = header.get("BSCALE", 1), header.get("BZERO", 0)
    if not all(isinstance(value, int | float) for value in (scale, zero)):
        msg = f"{name}: BSCALE, BZERO = {scale!r}, {zero!r} are no numbers; correct the cards"
        raise InputError(msg)
    return scale, zero


def _raw_pixels(hdu: Hdu, name: object) -> NDArray[Any]:
    try:
        with tolerant(name):
            raw = hdu.data
    except UNREADABLE as error:
        msg = f"{name}: the pixels cannot be read ({one_line(error)}); fetch the file again"
        raise InputError(msg) from error
    if raw is None or raw.dtype.kind not in "iuf":
        kind = "nothing" if raw is None else f"{raw.dtype} numbers"
        msg = f"{name}: the image holds {kind}; give an image of integers or floats"
        raise InputError(msg)
    return np.asarray(raw)
