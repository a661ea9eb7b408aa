"""What the file of a part of the output holds: a plane with its cards, or stamps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.core.planes import Plane, streamed
from diffdecor.errors import InputError
from diffdecor.fits.headers import (
    COMMENTARY,
    inverse_squared_unit,
    is_structural,
    merged_header,
    whole_card,
)
from diffdecor.fits.open import Hdu, Hdus, Header, image_shape, open_fits, read_pixels
from diffdecor.fits.read_rows import stored_integers, stored_pixels
from diffdecor.fits.reading import Reading
from diffdecor.fits.write_plane import plane_hdu, write_plane
from diffdecor.images.model import PLANES_PER_HDU, MaskPlanes, mapped
from diffdecor.images.noise_power import NOISE_COVARIANCE
from diffdecor.images.write import plane_cards
from diffdecor.pipeline.provenance import PART_CARD, VERSION_CARD, output_cards

_Rows = NDArray[Any]
_MASK = "MASK"
#: Cards that differ between files of the same content.
_OF_ONE_FILE = {"DATE", "", VERSION_CARD.keyword}


def _sigma(variance: _Rows, _: _Rows) -> _Rows:
    with np.errstate(invalid="ignore"):  # what has no variance has no sigma
        root: _Rows = np.sqrt(variance)
        return root


def _weight(variance: _Rows, bad: _Rows) -> _Rows:
    good = (variance > 0) & np.isfinite(variance) & ~bad
    weight = np.zeros(variance.shape)
    np.divide(1.0, variance, out=weight, where=good, dtype=np.float64)
    largest = np.finfo(variance.dtype).max  # of a variance next to 0
    return np.asarray(np.minimum(weight, largest), dtype=variance.dtype)


def _flag(_: _Rows, bad: _Rows) -> _Rows:
    return bad.astype(np.uint8)


def _bunit(unit: object) -> str | None:
    return str(unit or "").strip() or None


@dataclass(frozen=True)
class _Part:
    """A plane in a file of its own."""

    #: The HDU of the output that it is made of.
    hdu: str
    #: EXTNAME and its comment, where it is not that HDU as it is.
    name: str = ""
    comment: str = ""
    #: Makes rows, of those of the HDU and of where pixels are not to be used.
    make: Callable[[_Rows, _Rows], _Rows] | None = None
    #: Makes its unit of that of the image.
    unit: Callable[[object], str | None] | None = None
    #: Which uncertainty it is, in the words of astropy's CCDData.
    kind: str = ""


#: By the name in the option.
_PLANES = {
    "image": _Part("IMAGE"),
    "variance": _Part("VARIANCE"),
    "sigma": _Part(
        "VARIANCE", "SIGMA", "root of the variance", _sigma, _bunit, "StdDevUncertainty"
    ),
    "weight": _Part(
        "VARIANCE",
        "IVAR",  # which is read as it is; a WEIGHT may be a relative one
        "1/variance; 0: not to be used",
        _weight,
        inverse_squared_unit,
        "InverseVariance",
    ),
    "mask": _Part(_MASK),
    "bad": _Part(_MASK, "BAD", "1: not to be used; 0: good", _flag),
    "signif": _Part("SIGNIF"),
    "fluxerr": _Part("FLUXERR"),
    "noisereal": _Part("NOISEREAL"),
}
#: Those of stamps are written as they are, with the table of their positions.
_STAMPS = {"psf": ("PSF", "PSFPOS"), "psi": ("PSI", "PSIPOS"), "noisecov": (NOISE_COVARIANCE,)}
#: Why an output may lack an HDU.
_REASONS = {
    "VARIANCE": "the result has no variance",
    "SIGNIF": "nothing was filtered, and no significance measured",
    "FLUXERR": "score images, and what was not filtered, have no flux errors",
    "NOISEREAL": "that needs --noise-realisation SEED",
    "PSF": "no PSF is known; give --difference-psf, or that of the science image",
    "PSI": "nothing was filtered",
    NOISE_COVARIANCE: "its noise could not be measured",
}


def needed_hdu(name: str) -> str:
    """Return the HDU of the output that a part is made of."""
    return _PLANES[name].hdu if name in _PLANES else _STAMPS[name][0]


def missing_part(file: str, name: str, hdu: str) -> InputError:
    """Return the error of a part that a file has no HDU for."""
    return InputError(
        f"{file}: there is no {hdu}: {_REASONS[hdu]}; otherwise leave out --write {name}"
    )


@dataclass(frozen=True, eq=False)
class Content:
    """What the file of a part holds: a plane, or stamps in memory and the table of their places."""

    primary: Hdu
    further: Sequence[Hdu] = ()
    plane: Plane | None = None
    dtype: Any = None

    def write(self, file: BinaryIO) -> None:
        """Write it to an empty file."""
        if self.plane is None:
            fits.HDUList([self.primary, *self.further]).writeto(file, checksum=True)
        else:
            write_plane(file.fileno(), self.primary, self.plane, self.dtype)

    def is_in(self, file: str, reading: Reading) -> bool:
        """Say whether a file holds it."""
        try:
            with open_fits(file) as (hdus, _):
                first = 0 if image_shape(hdus[0]) else 1  # of a compressed one the table
                found = hdus[first]
                return (
                    len(hdus) == first + 1 + len(self.further)
                    and image_shape(found) == self.primary.shape
                    and _meaning(found.header) == _meaning(self.primary.header)
                    and self._has_pixels(found, file, reading)
                    and all(
                        np.array_equal(one.data, other.data)
                        for one, other in zip(hdus[first + 1 :], self.further, strict=True)
                    )
                )
        except (InputError, IndexError):
            return False

    def _has_pixels(self, found: Hdu, file: str, reading: Reading) -> bool:
        if self.plane is None:
            return np.array_equal(read_pixels(found, file), self.primary.data)
        is_float = np.dtype(self.dtype).kind == "f"
        there = (stored_pixels if is_float else stored_integers)(found, file, reading)
        return all(
            np.array_equal(there[rows], values, equal_nan=is_float)
            for rows, values in streamed(self.plane)
        )


def _meaning(header: Header) -> dict[str, object]:
    """Return the cards of a header by which it is that of a part, as they are when written."""
    written = fits.Header.fromstring(header.tostring())
    return {
        card.keyword: card.value
        for card in written.cards
        if card.keyword not in _OF_ONE_FILE and not is_structural(card.keyword)
    }


def content_of(name: str, hdus: Hdus, output: str, reading: Reading) -> Content:
    """Return what the file of a part holds."""
    needed = needed_hdu(name)
    if (needed, 1) not in hdus:
        raise missing_part(output, name, needed)
    if name in _STAMPS:
        return _stamps(name, hdus, output)
    part = _PLANES[name]
    pixels = _plane(part.hdu, hdus, output, reading)
    if part.make is not None:
        bad = _bad_pixels(hdus, output, reading)
        pixels = mapped(part.make, pixels, bad)
    dtype = pixels[0:1].dtype  # of the mask as wide as it was written
    primary = plane_hdu(pixels.shape, dtype)
    _describe(primary.header, _cards(part, hdus), name, part.name or part.hdu, part.comment)
    return Content(primary, plane=pixels, dtype=dtype)


def _plane(name: str, hdus: Hdus, file: str, reading: Reading) -> Plane:
    """Return a plane of the output, a mask in two HDUs as one."""
    if name != _MASK:
        return stored_pixels(hdus[name], file, reading)
    low = stored_integers(hdus[_MASK], file, reading)
    if not _is_split(hdus):
        return low
    high = stored_integers(hdus[_MASK, 2], file, reading)
    return mapped(
        lambda first, second: first | second.astype(np.int64) << PLANES_PER_HDU, low, high
    )


def _is_split(hdus: Hdus) -> bool:
    """Say whether the mask is in two HDUs."""
    return (_MASK, 2) in hdus


def _bad_pixels(hdus: Hdus, file: str, reading: Reading) -> Plane:
    """Return True where a pixel is not to be used: flagged so, or without a value."""
    value = _bad_value(hdus)
    return mapped(
        lambda image, mask: ~np.isfinite(image) | ((mask & value) != 0),
        stored_pixels(hdus["IMAGE"], file, reading),
        _plane(_MASK, hdus, file, reading),
    )


def _bad_value(hdus: Hdus) -> int:
    """Return the value that selects bad pixels in the mask as one plane."""
    value = int(hdus[_MASK].header["BADVALUE"])
    if _is_split(hdus):
        value |= int(hdus[_MASK, 2].header["BADVALUE"]) << PLANES_PER_HDU
    return value


def _cards(part: _Part, hdus: Hdus) -> Header:
    """Return the cards of a part: those of its HDU, with what the output's primary header says."""
    own = hdus[part.hdu].header.copy()
    if part.name:
        for keyword in ("BADVALUE", "BADPLANE", "HISTORY", "UTYPE", "BUNIT", *_plane_cards(own)):
            own.remove(keyword, ignore_missing=True, remove_all=True)
    elif part.hdu == _MASK and _is_split(hdus):
        own = _joined(hdus)
    header = merged_header(hdus[0].header, own)
    unit = part.unit and part.unit(hdus["IMAGE"].header.get("BUNIT"))
    if unit:
        header.append(whole_card("BUNIT", unit, f"unit of {part.name}"))
    if part.kind:
        header["UTYPE"] = (part.kind, part.comment)
    return header


def _joined(hdus: Hdus) -> Header:
    """Return the header of a mask whose planes are in two HDUs as one of 64 bits."""
    headers = [hdus[_MASK, version].header for version in (1, 2)]
    header = headers[0].copy()
    for keyword in ("HISTORY", "BADPLANE", *_plane_cards(header)):
        header.remove(keyword, ignore_missing=True, remove_all=True)
    bits = {
        keyword.removeprefix("MP_"): own[keyword] + first
        for first, own in zip((0, PLANES_PER_HDU), headers, strict=True)
        for keyword in _plane_cards(own)
    }
    header.extend(plane_cards(MaskPlanes(bits)))
    header["BADVALUE"] = (_bad_value(hdus), "MASK & BADVALUE: bad pixels")
    names = ",".join(own["BADPLANE"] for own in headers if own.get("BADPLANE"))
    header.append(whole_card("BADPLANE", names, "planes of these"))
    return header


def _plane_cards(header: Header) -> list[str]:
    """Return the keywords of mask planes in a header."""
    return [keyword for keyword in header if keyword.startswith("MP_")]


def _stamps(name: str, hdus: Hdus, output: str) -> Content:
    """Return what the file of PSFs, filters or lags holds: an image, and its table if it is a cube.

    They are few, and in memory.
    """
    image, *tables = (hdus[one] for one in _STAMPS[name] if one in hdus)
    primary = fits.PrimaryHDU(read_pixels(image, output))
    cards = image.header.copy()
    about = hdus[0].header
    keywords = [card.keyword for card in output_cards() if card.keyword in about]
    cards.extend(about.cards[keyword] for keyword in keywords)
    _describe(primary.header, cards, name, image.name, image.header.comments["EXTNAME"])
    return Content(primary, [table.copy() for table in tables])


def _describe(header: Header, cards: Header, name: str, extname: str, comment: str) -> None:
    """Fill the header of the primary HDU of a part."""
    kept = [card for card in cards.cards if not is_structural(card.keyword)]
    last = [card for card in kept if card.keyword in COMMENTARY]
    first = [card for card in kept if card.keyword not in COMMENTARY]
    # All at the end, comments last: anywhere else astropy looks through the whole header each time.
    header.extend([*first, *last], unique=True, end=True)
    header.set(PART_CARD.keyword, name, PART_CARD.comment, after=VERSION_CARD.keyword)
    header["EXTNAME"] = (extname, comment)
