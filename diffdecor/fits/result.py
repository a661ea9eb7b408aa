"""The output file while it is written: planes row by row, headers and small HDUs at the end."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from astropy.io import fits

from diffdecor.fits.checksum import BLOCK, header_with_sums, padded
from diffdecor.fits.open import Hdu, Header
from diffdecor.fits.write_rows import OutputPlane, write_at

_CANNOT_RESERVE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
_LENIENT = "silentfix+ignore"
_OWN_CARDS = 4
"""Cards that every header may get in the end: LONGSTRN, CHECKSUM, DATASUM, END."""


class _Part(NamedTuple):
    """A plane, its header, and where in the file that is."""

    header: Header
    place: int
    plane: OutputPlane


class ResultFile:
    """An output file to be filled: planes are assigned by rows, cards and HDUs are added.

    Space for the planes is set aside at once, so that a full disk is noticed before the work.

    Parameters
    ----------
    descriptor : int
        The file, empty, open for reading and writing.
    primary : Header
        Of the primary HDU, which has no data.
    planes : sequence of HDU
        Image HDUs, the first called IMAGE; of their pixels only shape and type count.
    cards : Header, optional
        Cards for the primary header, unless others are set.
    cards_room : int
        How many cards more there may be in the end.

    Attributes
    ----------
    image, mask, variance, significance : OutputPlane
        Each to be assigned row by row; None where there is no such HDU.

    Raises
    ------
    OSError
        If there is no space for it.
    """

    def __init__(
        self,
        descriptor: int,
        primary: Header,
        planes: Sequence[Hdu],
        *,
        cards: Header = None,
        cards_room: int = 0,
    ) -> None:
        self._descriptor = descriptor
        self._primary = primary
        self._cards = cards
        self._further: Iterable[Hdu] = ()
        known = len(_extended(primary, cards).header.tostring(endcard=False, padding=False))
        self._room = padded(known + 80 * (cards_room + _OWN_CARDS))
        self._parts, self._end = _laid_out(descriptor, planes, self._room)
        _reserve(descriptor, self._end)
        by_name = {part.header["EXTNAME"]: part.plane for part in self._parts}
        self.image = by_name["IMAGE"]
        self.mask = by_name.get("MASK")
        self.variance = by_name.get("VARIANCE")
        self.significance = by_name.get("SIGNIF")

    def set_cards(self, cards: Header) -> None:
        """Set the cards for the primary header; they replace those of the same keyword."""
        self._cards = cards

    def append(self, hdus: Iterable[Hdu]) -> None:
        """Add HDUs to the end of the file; they may be made as they are written."""
        self._further = chain(self._further, hdus)

    def finish(self, *hdus: Hdu) -> None:
        """Write headers, checksums and further HDUs.

        Parameters
        ----------
        *hdus : HDU
            What comes after the planes, before the HDUs that were appended.

        Raises
        ------
        RuntimeError
            If rows of a plane are missing, or there are more cards than there is room for.
        OSError
            If it cannot be written.
        """
        for header, place, plane in self._parts:
            write_at(self._descriptor, header_with_sums(header, plane.finished_sum()), place)
        end = self._end
        for hdu in chain(hdus, self._further):
            content = _alone(hdu)
            write_at(self._descriptor, content, end)
            end += len(content)
        primary = _mended(_extended(self._primary, self._cards)).header
        blocks = header_with_sums(primary, 0, self._room)
        if len(blocks) != self._room:
            msg = f"the primary header has {len(blocks)} bytes, and room for {self._room}"
            raise RuntimeError(msg)
        write_at(self._descriptor, blocks, 0)


def _laid_out(descriptor: int, hdus: Sequence[Hdu], place: int) -> tuple[list[_Part], int]:
    """Return the planes in their order in the file, and where the last one ends."""
    parts = []
    for hdu in hdus:
        header = _mended(hdu).header
        data = place + len(header_with_sums(header, 0))
        native = hdu.data.dtype.newbyteorder("=").name
        parts.append(_Part(header, place, OutputPlane(descriptor, data, hdu.shape, native)))
        place = data + padded(hdu.size)
    return parts, place


def _reserve(descriptor: int, size: int) -> None:
    """Make the file so long, filled with zeros, with its space on the disk where that can be."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise
    os.ftruncate(descriptor, size)


def _extended(primary: Header, cards: Header) -> Hdu:
    """Return a primary HDU with further cards."""
    hdu = fits.PrimaryHDU(header=primary)
    hdu.header.set("EXTEND", True, after="NAXIS")
    if cards is not None:
        hdu.header.extend(cards, update=True)
    return hdu


def _mended(hdu: Hdu) -> Hdu:
    """Mend what the standard does not allow in a header; say if texts are continued."""
    if any(len(str(card)) > 80 for card in hdu.header.cards):
        hdu.header["LONGSTRN"] = ("OGIP 1.0", "long texts are continued over several cards")
    hdu.verify(_LENIENT)
    return hdu


def _alone(hdu: Hdu) -> memoryview:
    """Return an HDU as it is in a file, with its checksums."""
    file = io.BytesIO()
    # Astropy writes an extension only after a primary HDU, which is one block here.
    hdus = fits.HDUList([fits.PrimaryHDU(), _mended(hdu)])
    hdus.writeto(file, checksum=True, output_verify=_LENIENT)
    return file.getbuffer()[BLOCK:]
