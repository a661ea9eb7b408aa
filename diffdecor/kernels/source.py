"""What every reader gets: the opened file of the kernel, and the difference beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from diffdecor.errors import KernelError
from diffdecor.fitsfile import GZIP_MAGIC, check_file, find_extension, image_shape, open_fits
from diffdecor.kernels.model import Side
from diffdecor.paths import split_extension

SIDES: dict[str, Side] = {"TEMPLATE": "template", "SCIENCE": "science", "IMAGE": "science"}
LONGEST_TEXT = 8 * 2**20  # bytes; the list of a kernel takes less than one MiB

# First bytes of files that are neither FITS nor a list, and what to say of them.
_NEVER = (
    (b"PK\x03\x04", "a NumPy archive or another zip file"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x80\x02", "a Python pickle, which runs code when it is loaded: it is never opened"),
    (b"\x80\x03", "a Python pickle, which runs code when it is loaded: it is never opened"),
    (b"\x80\x04", "a Python pickle, which runs code when it is loaded: it is never opened"),
    (b"\x80\x05", "a Python pickle, which runs code when it is loaded: it is never opened"),
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """An opened file for a reader; its HDUs are valid only while it reads.

    Parameters
    ----------
    path : Path
        The file, without the extension.
    name : str
        What error messages call it: the argument as it was given.
    hdus : sequence of HDU
        All HDUs of the file; of a text file one `TextFile`.
    selected : HDU, optional
        The one that the user named in brackets.
    difference : Source, optional
        The difference image that belongs to the kernel.
    """

    path: Path
    name: str
    hdus: Sequence[Any]
    selected: Any = None
    difference: Source | None = None

    @property
    def ordered(self) -> list[Any]:
        """All HDUs, the one that the user named first."""
        return [*([] if self.selected is None else [self.selected]), *self.hdus]

    @property
    def candidates(self) -> list[Any]:
        """The HDU that the user named, or all of them."""
        return list(self.hdus) if self.selected is None else [self.selected]

    @property
    def text(self) -> str | None:
        """What is written in a text file; None for FITS."""
        return next((part.text for part in self.hdus if isinstance(part, TextFile)), None)

    @property
    def image_shape(self) -> tuple[int, int] | None:
        """Shape ``(ny, nx)`` of the first image in the file, else in the difference."""
        for hdu in self.ordered:
            shape = image_shape(hdu)
            if len(shape) == 2:
                return shape[0], shape[1]
        return self.difference.image_shape if self.difference else None

    def card(self, keyword: str) -> Any:  # noqa: ANN401  cards hold all types
        """Return the first card of this name in the file, else in the difference, else None.

        Every header counts: tools and fpack move the cards of the primary into extensions.
        """
        for hdu in self.ordered:
            if keyword in hdu.header:
                return hdu.header[keyword]
        return self.difference.card(keyword) if self.difference else None


@contextmanager
def open_source(
    argument: str | Path, difference: Source | None = None, *, text: bool = False
) -> Iterator[Source]:
    """Open a file, whole or ``file.fits[EXT]``, and close it afterwards.

    Parameters
    ----------
    argument : str or Path
        The file, with an extension in brackets or not.
    difference : Source, optional
        The difference image that belongs to the kernel.
    text : bool
        Take a text file as well as FITS.

    Yields
    ------
    Source
        The file with all its headers read.

    Raises
    ------
    InputError
        If the file cannot be read, or if there is no such extension.
    """
    path, _ = split_extension(argument)
    written = _text(argument) if text else None
    if written is not None:
        yield Source(path=path, name=str(argument), hdus=[written], difference=difference)
        return
    with open_fits(argument) as (hdus, extension):
        yield Source(
            path=path,
            name=str(argument),
            hdus=hdus,
            selected=None if extension is None else find_extension(hdus, extension, argument),
            difference=difference,
        )


def _text(argument: str | Path) -> TextFile | None:
    """Return a file that is text; None where it may be FITS, or fails to be anything."""
    path, extension = split_extension(argument)
    check_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(16)
            if not content.startswith((b"SIMPLE", GZIP_MAGIC)):
                content += file.read(LONGEST_TEXT)
    except OSError:  # whoever opens it as FITS will say what is wrong
        return None
    for start, kind in _NEVER:
        if content.startswith(start):
            msg = (
                f"{argument}: {kind}; write the kernel as a FITS image, with its origin in CTRX "
                "and CTRY and the convolved side in CONVSIDE"
            )
            raise KernelError(msg)
    is_fits = content.startswith((b"SIMPLE", GZIP_MAGIC))
    if is_fits or len(content) > LONGEST_TEXT or b"\0" in content:
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if extension is not None:
        msg = f"{argument}: a text file has no extensions; leave out the brackets"
        raise KernelError(msg)
    return TextFile(text.replace("\r\n", "\n").replace("\r", "\n"))


def scale_card(name: str, header: Any, keyword: str) -> float:  # noqa: ANN401  astropy has no types
    """Return a scale factor of a header, 1 where there is no card.

    Parameters
    ----------
    name : str
        The file, for the message.
    header : astropy.io.fits.Header
        Header that may have the card.
    keyword : str
        Name of the card.

    Returns
    -------
    float
        The factor.

    Raises
    ------
    KernelError
        If it is not a finite number other than zero.
    """
    value = header.get(keyword, 1.0)
    if isinstance(value, (int, float)) and np.isfinite(value) and value != 0:
        return float(value)
    msg = f"{name}: {keyword} = {value!r} is no scale factor; correct the card"
    raise KernelError(msg)


def side_of(name: str, keyword: str, value: object) -> Side:
    """Return the convolved side that a card or cell stands for.

    Parameters
    ----------
    name : str
        The file, for the message.
    keyword : str
        The card or column, for the message.
    value : object
        What it holds: TEMPLATE, SCIENCE, or IMAGE, which HOTPANTS calls the science image.

    Returns
    -------
    {"template", "science"}
        The side.

    Raises
    ------
    KernelError
        If it is none of those that tools write.
    """
    side = SIDES.get(str(value).strip().upper())
    if side is None:
        msg = (
            f"{name}: {keyword} = {value!r} names no side; expected TEMPLATE, SCIENCE or IMAGE; "
            "say which image was convolved with the option 'convolved'"
        )
        raise KernelError(msg)
    return side
