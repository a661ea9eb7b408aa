"""What a damaged input is: the one place that decides it, for FITS files, texts and tables."""

from __future__ import annotations

import csv
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from astropy.io.fits.verify import VerifyError

from diffdecor.errors import DiffdecorError, InputError

try:  # it is not a public name
    from astropy.io.fits.hdu.compressed._compression import CfitsioException
except ImportError:
    CfitsioException = OSError

#: What reading bytes raises that are not what they claim to be: of astropy, of numpy and of the
#: standard library. (A name is unbound in astropy where a table has a TDIM and a damaged TFORM;
#: files of `compress` need a package of their own; a damaged size asks for more memory than there
#: is.) Wrap reading in it, not arithmetic: there, the same exceptions are bugs.
UNREADABLE = (
    ModuleNotFoundError,
    CfitsioException,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    UnboundLocalError,
    AssertionError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    BufferError,
    MemoryError,
    csv.Error,
    struct.error,
    zlib.error,
    VerifyError,
)


@contextmanager
def damage_named(
    name: object,
    what: str,
    advice: str = "fetch or make it again",
    error_type: type[DiffdecorError] = InputError,
) -> Iterator[None]:
    """Read a file: everything that goes wrong with its bytes becomes an error that names it.

    `what` is wrong goes before the reason, as in "damaged kernel (...)".
    """
    try:
        yield
    except DiffdecorError:
        raise
    except UNREADABLE as error:
        msg = f"{name}: {what} ({reason_of(error)}); {advice}"
        raise error_type(msg) from error


def reason_of(error: BaseException) -> str:
    """Return why something cannot be read, in one line."""
    reason = getattr(error, "strerror", None) or one_line(error)
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    return reason if reason and not isinstance(error, KeyError) else _named(error, reason)


def _named(error: BaseException, reason: str) -> str:
    """Return a reason that says little, with the kind of the error."""
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


def one_line(error: object) -> str:
    """Return an error or a warning as one line of text."""
    return " ".join(str(error).split())
