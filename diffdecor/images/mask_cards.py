"""Cards that name the bits of a mask, in the conventions that are in use.

* ``MP_<NAME>`` = bit number (LSST and HSC in afw, diffdecor).
* ``MSKNnnnn`` = name, ``MSKMnnnn`` = value, ``MSKDnnnn`` = description (Rubin DMTN-252,
  ``lsst.images``). The number in the keyword only pairs the cards: it starts at 0 or 1.
* ``MSKNAMnn`` = name, ``MSKVALnn`` = value (Pan-STARRS). Values of several bits are sums of others.
* ``MASKBn``, ``BITn``, ``BITnn``, ``MSKBITn`` or ``MASKBITn`` = name (Legacy Surveys, others); n is
  the bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from diffdecor.errors import InputError
from diffdecor.fits.open import Header
from diffdecor.images.model import MOST_PLANES, PLANES_PER_HDU
from diffdecor.images.surveys.model import Flag

#: Other names of the planes that diffdecor knows.
_SYNONYMS = {
    "BAD": "BADPIX BAD_PIX BAD_PIXEL BADPIXEL BAD_PIXELS BADPIXELS BPM DEFECT DEFECTIVE "
    "DO_NOT_USE DONOTUSE",
    "SAT": "SATURATED SATUR SATURATE SATURATION SATURATED_PIXEL SATPIX SATURATED_PIXELS",
    "CR": "COSMIC_RAY COSMICRAY COSMIC COSMICS COSMIC_RAYS COSMICRAYS CRAY CR_HIT CRHIT",
    "INTRP": "INTERPOLATED INTERP INTERPOLATION",
    "EDGE": "DETECTION_EDGE",
    "NO_DATA": "NODATA NO_VALUE NOVALUE MISSING MISSING_DATA",
    "UNMASKEDNAN": "UNMASKED_NAN",
}
_CANONICAL = {other: name for name, others in _SYNONYMS.items() for other in others.split()}

#: Planes with names of their own that make a pixel unusable, or belong to light on the sky.
_MEANS = (
    (r"(DEAD|HOT|NOISY|BAD|DEFECT).*|.*_BAD|(LOW|HIGH)_?(QE|RN|RESPONSE|WEIGHT)", "BAD"),
    (r"EDGE_?\d+|EDGE_?BLEED|DETECTOR|FLAT|DARK|CTE|LOW|OUTLIER", "BAD"),
    (r"SATUR.*|BLEED.*|BLOOM.*|SAT_.*|TRAIL", "SAT"),
    (r"COSMIC.*|CRAY.*|CR_.*", "CR"),
    (r"BLANK|NAN|OFF_?(CHIP|IMAGE)|NON_?SCIENCE", "NO_DATA"),
    (r"GHOST|SPIKE|STREAK|STARCORE|TRACK|STAR|HALO|SATELLITE|TRANS(IENT)?|DETECTED.*", "DETECTED"),
)
#: Of these LSST says itself what they mean: nothing for the pixel.
_HARMLESS = {"SAT_TEMPLATE", "DETECTED_NEGATIVE", "DETECTED", "BAD", "SAT", "CR", "NO_DATA"}


class NamedBits(NamedTuple):
    """The bits of a mask that cards name."""

    flags: tuple[Flag, ...]
    #: What names the bits, for people.
    cards: str


def named_bits(header: Header, file: object) -> NamedBits | None:
    """Return the bits that the cards of a mask name, None if there are no such cards.

    Planes have the names of LSST where they are known under another one. InputError if a card does
    not hold what its convention asks for.
    """
    for cards, find in _CONVENTIONS:
        found = list(find(header, file))
        if found:
            by_afw = cards in {"MP_*", "MSKNnnnn"}
            return NamedBits(tuple(_flags(found, by_afw=by_afw)), cards)
    return None


def is_known(flag: Flag) -> bool:
    """Say whether a plane is one that counts: in itself or by what it means."""
    return bool(flag.means) or flag.plane in {*_SYNONYMS, *_HARMLESS}


def _flags(found: list[tuple[int, str]], *, by_afw: bool) -> Iterator[Flag]:
    """Give a flag for every name; a name that LSST has too is given to one bit only."""
    names = [re.sub(r"\W+", "_", text.strip().upper()) for _, text in found]
    given: set[str] = set()
    for (bit, _), name in zip(found, names, strict=True):
        known = _CANONICAL.get(name, name)
        if known != name and (known in names or known in given):
            known = name  # the known name is that of another bit
        if known and known not in given:
            given.add(known)
            yield Flag(bit, known, _means(known, by_afw=by_afw))


def _means(name: str, *, by_afw: bool) -> tuple[str, ...]:
    """Return the planes that a plane implies; afw's stand for themselves."""
    if name in _CANONICAL:
        return (_CANONICAL[name],)
    if by_afw or name in _HARMLESS or name in _SYNONYMS:
        return ()
    return next((((plane,)) for pattern, plane in _MEANS if re.fullmatch(pattern, name)), ())


def _afw(header: Header, file: object) -> Iterator[tuple[int, str]]:
    last = (MOST_PLANES if header.get("BITPIX") == 64 else PLANES_PER_HDU) - 1
    for keyword, value in _cards(header, r"MP_.*"):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= last:
            msg = f"{file}: {keyword} = {value!r} is not a bit number; it must be 0 to {last}"
            raise InputError(msg)
        yield value, keyword.removeprefix("MP_")


def _rubin(header: Header, file: object) -> Iterator[tuple[int, str]]:
    for keyword, name in _cards(header, r"MSKN(\d{4})"):
        number = keyword.removeprefix("MSKN")
        value = header.get(f"MSKM{number}")
        if not _is_bit(value) or value >= 1 << 31:
            msg = (
                f"{file}: {keyword} = {name!r} names a bit of the mask, but MSKM{number} = "
                f"{value!r} is not its value, a power of 2 below 2**31; correct the cards"
            )
            raise InputError(msg)
        yield value.bit_length() - 1, str(name)


def _pan_starrs(header: Header, file: object) -> Iterator[tuple[int, str]]:
    for keyword, name in _cards(header, r"MSKNAM(\d\d)"):
        value = header.get(f"MSKVAL{keyword.removeprefix('MSKNAM')}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            msg = (
                f"{file}: {keyword} = {name!r} names bits of the mask, but their value in MSKVAL "
                f"is {value!r}; correct the cards"
            )
            raise InputError(msg)
        if _is_bit(value) and value < 1 << 62:
            yield value.bit_length() - 1, str(name)


def _numbered(header: Header, file: object) -> Iterator[tuple[int, str]]:  # noqa: ARG001
    for keyword, name in _cards(header, r"(?:MASKB|MSKB|MASKBIT_?|MSKBIT_?|BIT_?)(\d{1,2})"):
        number = re.sub(r"\D+", "", keyword)
        if isinstance(name, str) and int(number) < 62:
            yield int(number), name


def _cards(header: Header, pattern: str) -> list[tuple[str, object]]:
    return [(key, value) for key, value in header.items() if re.fullmatch(pattern, key)]


def _is_bit(value: object) -> bool:
    """Say whether a value is a power of 2."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and value > 0 and value & (value - 1) == 0  # type: ignore[operator]


_CONVENTIONS = (
    ("MP_*", _afw),
    ("MSKNnnnn", _rubin),
    ("MSKNAMnn", _pan_starrs),
    ("MASKBn", _numbered),
)
