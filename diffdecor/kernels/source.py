"""What every reader gets: the opened file of the kernel, and the difference that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from astropy.io import fits

from diffdecor.errors import KernelError, NoKernelError
from diffdecor.fits.open import OpenFiles, find_extension, image_shape, open_fits
from diffdecor.fits.paths import split_extension
from diffdecor.kernels.model import Side
from diffdecor.kernels.textfile import TextFile, read_text

SIDES: dict[str, Side] = {"TEMPLATE": "template", "SCIENCE": "science", "IMAGE": "science"}

# From damaged headers astropy makes other HDUs, without data.
_IMAGES_AND_TABLES = (
    *(fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU),
    *(fits.BinTableHDU, fits.TableHDU),
)


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
        All images and tables of the file; of a text file one `TextFile`.
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

    def word(self, header: Any, keyword: str, *allowed: str) -> Any:  # noqa: ANN401
        """Return a card that is one of a few words, the first of them where there is no card."""
        value = str(header.get(keyword, allowed[0])).strip().upper()
        if value not in allowed:
            self.refuse(f"{keyword} = {value!r}; expected {' or '.join(allowed)}")
        return value

    def scale(self, header: Any, keyword: str) -> float:  # noqa: ANN401
        """Return a scale factor of a header, 1 where there is no card."""
        value = header.get(keyword, 1.0)
        if not isinstance(value, (int, float)) or not np.isfinite(value) or value == 0:
            self.refuse(f"{keyword} = {value!r} is not a scale factor; correct the card")
        return float(value)

    def side(self, keyword: str, value: object) -> Side:
        """Return the side that a card or cell means; IMAGE is HOTPANTS's word for SCIENCE."""
        side = SIDES.get(str(value).strip().upper())
        if side is None:
            self.refuse(
                f"{keyword} = {value!r} is not a side; expected TEMPLATE, SCIENCE or IMAGE; say "
                "which image was convolved with the option 'convolved'"
            )
        return side

    def refuse(self, problem: str) -> NoReturn:
        """Raise a `KernelError` that names the file; `problem` says what is wrong, what to do."""
        msg = f"{self.name}: {problem}"
        raise KernelError(msg)

    def lack(self, problem: str, advice: str) -> NoReturn:
        """Raise a `NoKernelError` likewise: nothing is wrong with the file, but no kernel in it."""
        why = f"{self.name}: {problem}"
        msg = f"{why}; {advice}"
        raise NoKernelError(msg, why)


@contextmanager
def open_source(
    argument: str | Path,
    difference: Source | None = None,
    *,
    text: bool = False,
    files: OpenFiles | None = None,
) -> Iterator[Source]:
    """Open a file, whole or ``file.fits[EXT]``, and close it afterwards.

    Parameters
    ----------
    argument : str or Path
        The file.
    difference : Source, optional
        The difference image that belongs to the kernel.
    text : bool
        Whether it may be a text file.
    files : OpenFiles, optional
        Files that are open already, or stay open.

    Yields
    ------
    Source
        Its HDUs are valid inside the block.

    Raises
    ------
    InputError
        If it cannot be read or has no such extension; `KernelError` if it holds no image or table.
    """
    path, _ = split_extension(argument)
    if files is not None:
        files.note(path)
    written = read_text(argument) if text else None
    if written is not None:
        yield Source(path=path, name=str(argument), hdus=[written], difference=difference)
        return
    with ExitStack() as opened:
        hdus, extension = opened.enter_context(open_fits(argument, files))
        whole = [hdu for hdu in hdus if isinstance(hdu, _IMAGES_AND_TABLES)]
        if not whole:
            msg = f"{argument}: holds neither an image nor a table; fetch it again"
            raise KernelError(msg)
        yield Source(
            path=path,
            name=str(argument),
            hdus=whole,
            selected=None if extension is None else find_extension(hdus, extension, argument),
            difference=difference,
        )
