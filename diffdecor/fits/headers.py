"""Cards in and cards out: which ones of an input still hold, which belong to a single HDU."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from diffdecor.fits.damage import one_line
from diffdecor.fits.open import quiet_astropy

logger = logging.getLogger(__name__)

COMMENTARY = ("COMMENT", "HISTORY", "")

#: Cards that describe the bytes of one HDU.
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|NEXTEND|GROUPS|PCOUNT|GCOUNT|BLOCKED|END|LONGSTRN"
    r"|BZERO|BSCALE|BLANK|EXTNAME|EXTVER|EXTLEVEL|EXTTYPE|INHERIT|CHECKSUM|DATASUM|DATAMIN|DATAMAX"
    r"|NPIX[12]|PIXVALUE"
    r"|TFIELDS|THEAP|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM|BCOL|LMIN|LMAX|DMIN|DMAX)\d+"
    r"|Z(IMAGE|SIMPLE|TENSION|EXTEND|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|PCOUNT|GCOUNT"
    r"|BLANK|SCALE|ZERO|QUANTIZ|DITHER0|HECKSUM|DATASUM|MASKCMP|BLOCKED|TABLE|TILELEN)"
    r"|FZALGOR|FZQMETHD|FZQVALUE|FZDTHRSD|FZINT2F|FZTILE"
)

#: Cards that are wrong once the noise of a difference has changed, or without HDUs that are not
#: carried along: gain and read noise, the asinh scale of PS1, HOTPANTS's kernel and noise metrics,
#: mask planes, afw archives, the tree of lsst.images and look-up distortions.
_UNTRUE = re.compile(
    r"E?GAIN|RDNOISE|READNOI[S]?E?|MASKVAL|BSOFTEN|BOFFSET"
    r"|(REGION|CONVOL|KSUM|N?X2NRM|DMEANO?|DSIGE?O?|NSCALO)\d\d|NREGION|KERINFO|KERFILE"
    r"|FMTVER|DATAMODL|(INDX|JSON)(ADDR|SIZE)"
    r"|MP_.+|MSK[NMD]\d{4}|MSK(NAM|VAL)\d\d|MSKNUM|MASKB\d+|AR_\w+|ARCHIVE_ID_.+|EXPINFO_V"
    r"|(PSF|WCS|SKYWCS|COADD_INPUTS|AP_CORR_MAP|VALID_POLYGON|TRANSMISSION_CURVE|DETECTOR)_ID"
    r"|CP(DIS|ERR)\d|D[PQ]\d(\..*)?|DET2IM.*|D2IM.*|AXISCORR"
)

_WCS = re.compile(
    r"(WCSAXES|WCSNAME|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|CRDER|CSYER|CNAME)\d+"
    r"|(PC|CD|PV|PS)\d+_\d+|LONPOLE|LATPOLE|RADESYS|EQUINOX)[A-Z]?"
    r"|PC\d{6}|RADECSYS|EPOCH|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)|WCSDIM|WAT\d_\d{3}|LTV\d|LTM\d_\d"
)

#: The standard's new names of cards that it deprecates.
_RENAMED = {"RADECSYS": "RADESYS", "EPOCH": "EQUINOX"}

_BOILERPLATE = ("FITS (Flexible Image Transport System) format is", "and Astrophysics', volume 376")


CardValue = bool | float | str


class Card(NamedTuple):
    """A card of the result, and what it is called in Python and JSON; "" is the unit of numbers."""

    name: str
    keyword: str
    unit: str
    comment: str


def is_structural(keyword: str) -> bool:
    """Say whether a card describes the bytes of one HDU and must not go to another."""
    return _STRUCTURE.fullmatch(keyword) is not None


def is_wcs(keyword: str) -> bool:
    """Say whether a card is part of a world coordinate system, the main or an alternate one."""
    return _WCS.fullmatch(keyword) is not None


def merged_header(primary: fits.Header, image: fits.Header) -> fits.Header:
    """Return the header of an image with what its file's primary header says about it.

    Cards of the image win; the structure of the primary HDU, and its WCS if the image has one, are
    left out.
    """
    merged = image.copy()
    if image is primary:
        return merged
    append_missing(merged, primary, set(image))
    return merged


def append_missing(header: fits.Header, other: fits.Header, known: Collection[str]) -> None:
    """Append the cards of another header that are not `known`, and all of its commentary.

    Its structure is left out, and its WCS if the header has one.
    """
    own_wcs = any(is_wcs(keyword) for keyword in header)
    for card in other.cards:
        keyword = card.keyword
        if is_structural(keyword) or (own_wcs and is_wcs(keyword)):
            continue
        if keyword in COMMENTARY or keyword not in known:
            header.append(card, end=True)


def carry_over(header: fits.Header, drop: Collection[str] = ()) -> fits.Header:
    """Return the cards of an input that still hold for the result, anywhere in its file.

    Cards of the structure, cards that are no longer true, the keywords to `drop`, second cards of a
    keyword, and cards that break the standard beyond repair are left out. The WCS is kept.
    """
    kept = fits.Header()
    with quiet_astropy("header"):
        for card in header.cards:
            keyword = card.keyword
            if is_structural(keyword) or _UNTRUE.fullmatch(keyword) or keyword in drop:
                continue
            if keyword in COMMENTARY:
                _carry_text(kept, card)
            elif keyword not in kept and (sound := _sound(card)) is not None:
                kept.append(sound, end=True)
    return kept


def wcs_cards(header: fits.Header) -> fits.Header:
    """Return the cards of all world coordinate systems of an image, under today's keywords."""
    found = fits.Header()
    own = fits.Header([card for card in header.cards if is_wcs(card.keyword)])
    for card in carry_over(own).cards:
        keyword = _RENAMED.get(card.keyword, card.keyword)
        if card.keyword == "EPOCH" and not isinstance(card.value, float):
            continue
        if keyword == card.keyword or keyword not in own:
            found.append((keyword, card.value, card.comment), end=True)
    return found


def moved_wcs(header: fits.Header, x: int, y: int) -> fits.Header:
    """Return the header of a cut-out whose first pixel is ``(x, y)``, 0-based.

    Reference pixels of all world coordinate systems move, and LTV1 and LTV2 say where the cut-out
    was.
    """
    moved = header.copy()
    for axis, first in ((1, x), (2, y)):
        moved.setdefault(f"LTV{axis}", 0)
        for keyword, value in header.items():
            if re.fullmatch(rf"CRPIX{axis}[A-Z]?", keyword) and isinstance(value, int | float):
                moved[keyword] = value - first
        shift = moved[f"LTV{axis}"]
        moved[f"LTV{axis}"] = shift - first if isinstance(shift, int | float) else -first
    return moved


def without_wcs(header: fits.Header) -> fits.Header:
    """Return a copy of a header without its world coordinate systems."""
    return fits.Header([card for card in header.cards if not is_wcs(card.keyword)])


def cards_to_header(values: Mapping[str, object], table: Iterable[Card]) -> fits.Header:
    """Return a header of the values by keyword, in the order of the table, with its comments.

    Sequences become a text with commas. None and numbers that are not finite, which FITS cannot
    hold, are left out. A keyword that is not in the table is a bug, a KeyError.
    """
    rows = list(table)
    unknown = set(values) - {row.keyword for row in rows}
    if unknown:
        msg = f"not in the table of cards: {', '.join(sorted(unknown))}"
        raise KeyError(msg)
    header = fits.Header()
    for row in rows:
        value = _card_value(values.get(row.keyword))
        if value is not None:
            comment = f"[{row.unit}] {row.comment}" if row.unit else row.comment
            header.append(whole_card(row.keyword, value, comment), end=True)
    return header


def whole_card(keyword: str, value: CardValue, comment: str) -> fits.Card:
    """Return a card with all of its comment, or none where it does not fit beside the value.

    A text that is itself continued over several cards takes the comment with it.
    """
    width = len(str(value).replace("'", "''")) + 2 if isinstance(value, str) else 20
    text = ascii_text(comment)
    fits_in = width > 70 or len(text) <= 70 - max(width, 20) - 3
    return fits.Card(keyword, value, text if fits_in else "")


def squared_unit(unit: object) -> str | None:
    """Return the square of a unit as FITS writes it: ``adu`` -> ``adu2``; None for none."""
    text = str(unit or "").strip()
    if not text:
        return None
    if text.isalpha():
        return f"{text}2"
    from astropy import units  # heavy, and seldom needed

    try:
        with quiet_astropy(text):
            square = units.Unit(text) ** 2
    except (ValueError, TypeError):
        return f"({text})**2"
    try:
        return str(square.to_string("fits"))
    except ValueError:  # units that astropy has, but not FITS: electron, DN
        if square.scale != 1.0:
            return f"({text})**2"
        bases = zip(square.bases, square.powers, strict=True)
        return " ".join(f"{base}{power}" for base, power in bases)


def inverse_squared_unit(unit: object) -> str | None:
    """Return the unit of an inverse variance: ``adu`` -> ``adu-2``; None for none."""
    text = str(unit or "").strip()
    if text.isalpha():
        return f"{text}-2"
    return f"({squared_unit(text)})**-1" if text else None


def ascii_text(text: str) -> str:
    """Return a text as a header can hold it: printable ASCII, everything else escaped."""
    escaped = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped)


def _card_value(value: object) -> CardValue | None:
    if isinstance(value, np.floating):
        value = float(str(value))  # 3.3, not 3.299999952316284, from float32
    elif isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ",".join(ascii_text(str(item)) for item in value)
    return ascii_text(str(value))


def _carry_text(kept: fits.Header, card: fits.Card) -> None:
    text = ascii_text(str(card.value))
    # HOTPANTS writes "COMMENT = ' '" for an empty line.
    if text.strip(" ='") and not text.strip().startswith(_BOILERPLATE):
        kept.append((card.keyword, text), end=True, bottom=True)


def _sound(card: fits.Card) -> fits.Card | None:
    """Return a card that the standard allows, None if this one cannot be made so."""
    try:
        card = fits.Card.fromstring(card.image)  # a copy: verification mends in place
        card.verify("silentfix")
        if isinstance(card.value, fits.card.Undefined):
            return None
        return fits.Card(card.keyword, card.value, card.comment)
    except (VerifyError, ValueError, TypeError) as error:
        logger.debug("card dropped: %s", one_line(error))
        return None
