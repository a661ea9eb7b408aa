"""DATASUM and CHECKSUM: what the header of an HDU says of its bytes, compared with them."""

from __future__ import annotations

from typing import NamedTuple

from diffdecor.fits.checksum import datasum
from diffdecor.fits.raw_headers import CARD, RawHeader

#: Of sums in ones' complement, 0 and this are the same.
_MINUS_ZERO = (1 << 32) - 1


class StatedSums(NamedTuple):
    """What the header of an HDU says of its sums, as it is in the file.

    Of a compressed image, it is that of the table: ZDATASUM and ZHECKSUM, of the image before it
    was compressed, do not count.
    """

    #: DATASUM, the sum of the data; None where it says none, or nothing that can be one.
    data: int | None
    #: Sum of the header itself, where a CHECKSUM says that it and the data add up to -0.
    header: int | None

    def is_right(self, data: int) -> bool:
        """Say whether the data add up to DATASUM, if there is one."""
        return self.data is None or (data - self.data) % _MINUS_ZERO == 0

    def is_stale(self, data: int) -> bool:
        """Say whether header and data, of this sum, do not add up to what CHECKSUM says."""
        return self.header is not None and (self.header + data) % _MINUS_ZERO != 0


def stated_sums(header: bytes) -> StatedSums:
    """Return what a header says, of its bytes with END and the blanks behind it."""
    end = next(
        (n for n in range(0, len(header), CARD) if header[n : n + 8].rstrip() == b"END"),
        len(header),
    )
    cards = RawHeader(header[:end], "")
    text = cards.text("DATASUM") or (cards.value("DATASUM") or b"").decode("latin-1")
    number = text.strip()
    data = int(number) if number.isascii() and number.isdigit() and len(number) <= 10 else None
    return StatedSums(
        data if data is not None and data <= _MINUS_ZERO else None,
        datasum(header) if cards.text("CHECKSUM").strip() else None,
    )
