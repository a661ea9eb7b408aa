"""Kernel files that are text, and those that are never opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from astropy.io import fits

from diffdecor.errors import KernelError
from diffdecor.fits.open import FITS_STARTS, check_file
from diffdecor.fits.paths import split_extension

LONGEST_TEXT = 8 * 2**20  # bytes; the list of a kernel takes less than one MiB

# First bytes of files that are neither FITS nor a list, and what to say of them.
_NEVER: tuple[tuple[bytes | tuple[bytes, ...], str], ...] = (
    (
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "a Python pickle, which runs code when it is loaded: it is never opened",
    ),
    (b"PK\x03\x04", "a NumPy archive or another zip file"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"#ASDF", "an ASDF file"),
)


@dataclass(frozen=True, eq=False)
class TextFile:
    r"""A file of text, in the place of HDUs: readers of FITS find nothing in it.

    Parameters
    ----------
    text : str
        All of it, with ``\n`` at the end of lines.
    """

    text: str
    header: fits.Header = field(default_factory=fits.Header)
    name: str = ""
    is_image: bool = False

    @property
    def lines(self) -> list[str]:
        """The lines, without their ends."""
        return self.text.split("\n")


def read_text(argument: str | Path) -> TextFile | None:
    """Read a file if it is text; None if it may be FITS, or cannot be read.

    An error if there is no such file, if it is empty, or of a kind that is never opened.
    """
    path, extension = split_extension(argument)
    check_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(16)
            if content.startswith(FITS_STARTS):
                return None
            content += file.read(LONGEST_TEXT)
    except OSError:  # opening it as FITS says what is wrong
        return None
    for start, kind in _NEVER:
        if content.startswith(start):
            msg = (
                f"{argument}: {kind}; write the kernel as a FITS image, with its origin in CTRX "
                "and CTRY and the convolved side in CONVSIDE"
            )
            raise KernelError(msg)
    if len(content) > LONGEST_TEXT or b"\0" in content:
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if extension is not None:
        msg = f"{argument}: a text file has no extensions; leave out the brackets"
        raise KernelError(msg)
    return TextFile(text.replace("\r\n", "\n").replace("\r", "\n"))
