"""The cards of a header that size something, held against the FITS standard and against the file.

One damaged card must not cost hours, gigabytes or a crash. What data there are is passed over, not
read.
"""

from __future__ import annotations

import math
import re

from diffdecor.errors import InputError
from diffdecor.fits.raw_headers import (
    BLOCK,
    CARD,
    RawHdu,
    RawHeader,
    Stored,
    header_at,
    refuse_header,
)
from diffdecor.fits.tiles import BITPIX, Table, check_tiles, table_columns

#: HDUs of a file, and cards of all of them together.
MOST_HDUS = 4096
MOST_CARDS_OF_A_FILE = 400_000
#: Axes, and columns of a table, of the standard.
MOST_AXES = 999
#: Axes of a WCS: more have no two-digit keywords.
MOST_WCS_AXES = 99
#: Order of the polynomials of a SIP distortion: the convention has one digit.
LARGEST_SIP_ORDER = 9
#: Pixels of an image that is one constant (PIXVALUE), in which no data limit it.
LARGEST_CONSTANT = 1 << 30
#: Pixels along an axis where another axis is empty.
_LONGEST_EMPTY = 1 << 20
_SIZES_OF_WCS = re.compile(rb"WCSAXES[A-Z ]|[AB]P?_ORDER *")


def raw_hdus(content: Stored, name: object) -> list[RawHdu]:
    """Return where the HDUs of a file are, their headers checked.

    InputError where a header has no end, or a number that is out of the bounds of the standard or
    of this file; where there are less data than promised; and where something follows the last HDU
    that is not one.
    """
    found: list[RawHdu] = []
    place = cards = 0
    while _goes_on(content, place, len(found), name):
        header = header_at(content, place, len(found), name)
        cards += len(header)
        if len(found) == MOST_HDUS or cards > MOST_CARDS_OF_A_FILE:
            msg = (
                f"{name}: has more than {MOST_HDUS} HDUs or {MOST_CARDS_OF_A_FILE} cards; "
                "give a file of the HDUs that matter"
            )
            raise InputError(msg)
        data = place + -(-(len(header) + 1) * CARD // BLOCK) * BLOCK
        if not content.reaches(data):
            refuse_header(name, len(found), "ends too early")
        hdu = RawHdu(place, data, data_size(header))
        if hdu.size and not content.reaches(data + hdu.size):
            msg = (
                f"{name}: the file is truncated (HDU {len(found)} promises {hdu.size} bytes of "
                "data, which are not all there); fetch it again"
            )
            raise InputError(msg)
        found.append(hdu)
        place = hdu.end
    return found


def data_size(header: RawHeader) -> int:
    """Return the size of the data of an HDU, in bytes, its cards checked."""
    bitpix = header.one_of("BITPIX", BITPIX)
    axes = header.whole("NAXIS", 0, MOST_AXES)
    lengths = [header.whole(f"NAXIS{axis}", 0) for axis in range(1, axes + 1)]
    parameters = header.whole("PCOUNT", 0, default=0)
    groups = header.whole("GCOUNT", 1, default=1)
    header.whole("TFIELDS", 0, MOST_AXES, default=0)
    _check_wcs(header)
    if not lengths:
        _check_constant(header)
        return 0
    is_random = lengths[0] == 0 and header.value("GROUPS") == b"T"
    number = math.prod(lengths[1:] if is_random else lengths)
    if number == 0 and max(lengths) > _LONGEST_EMPTY:
        header.refuse(f"has no data, but an axis of {max(lengths)}")
    size = abs(bitpix) // 8 * groups * (parameters + number)
    if header.text("XTENSION") in {"BINTABLE", "A3DTABLE"}:
        if axes != 2:
            header.refuse(f"is a table with NAXIS = {axes}")
        table = table_of(header, size)
        compressed = header.value("ZIMAGE")
        if compressed not in {None, b"T", b"F"}:  # astropy takes whatever is not 0 for T
            header.refuse("ZIMAGE is not T")
        if compressed == b"T":
            check_tiles(header, table)
    return size


def _check_wcs(header: RawHeader) -> None:
    """Refuse what makes a WCS large: wcslib and astropy take the memory before they look."""
    for name in filter(_SIZES_OF_WCS.fullmatch, header.keywords()):
        keyword = name.decode().rstrip()
        most = MOST_WCS_AXES if keyword.startswith("WCSAXES") else LARGEST_SIP_ORDER
        value = header.number(keyword)
        if value is not None and not 0 <= value <= most:
            header.refuse(f"{keyword} = {value:g}, not from 0 to {most}")


def _check_constant(header: RawHeader) -> None:
    """Refuse an array without data (NPIX1, NPIX2) that is larger than anybody has."""
    lengths = [header.number(f"NPIX{axis}") or 0 for axis in (1, 2)]
    if math.prod(lengths) > LARGEST_CONSTANT:
        header.refuse(f"NPIX1, NPIX2 = {lengths[0]:g}, {lengths[1]:g} are more than an image has")


def table_of(header: RawHeader, size: int) -> Table:
    """Return a binary table with data of a size; InputError if its columns do not make its rows.

    Astropy would take others for its rows.
    """
    width, rows = (header.whole(f"NAXIS{axis}", 0) for axis in (1, 2))
    columns = table_columns(header, header.whole("TFIELDS", 0, MOST_AXES))
    wanted = sum(column.width for column in columns)
    if wanted != width:
        header.refuse(f"its columns take {wanted} bytes, its rows NAXIS1 = {width}")
    heap = header.whole("THEAP", width * rows, size, default=width * rows)
    return Table(rows, width, columns, heap, size)


def _goes_on(content: Stored, place: int, number: int, name: object) -> bool:
    """Say whether another HDU begins at a place; nothing but padding may be there otherwise."""
    start = content.at(place, BLOCK)
    if number == 0:
        if start.startswith(b"SIMPLE"):
            return True
        msg = f"{name}: not a readable FITS file (it does not begin with SIMPLE); check it"
        raise InputError(msg)
    if start.startswith(b"XTENSION"):
        return True
    if start.strip(b"\0 \r\n"):
        msg = (
            f"{name}: damaged after HDU {number - 1} (what follows does not begin with XTENSION); "
            "fetch it again"
        )
        raise InputError(msg)
    return False
