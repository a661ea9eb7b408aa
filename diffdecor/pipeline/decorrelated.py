"""Whether the cards and HDUs of a difference say that its noise has been decorrelated already."""

from __future__ import annotations

import logging
import re

from diffdecor.errors import AlreadyDecorrelatedError
from diffdecor.fits.open import Header, OpenFiles, find_extension, open_fits
from diffdecor.fits.paths import split_extension
from diffdecor.pipeline.provenance import VERSION_CARD

log = logging.getLogger(__name__)

#: Names of cards, the last word of long ones, and parts of names of HDUs, that speak of it.
_CARD = re.compile(r"(?:IS_?)?(?:DE?CORR(?:EL(?:AT(?:ED|ION)?)?)?|DECORRLT|(?:PRE)?WHITEN(?:ED)?)")
_HDU = re.compile(r"DECORR|WHITENED")
_NO = {"", "F", "FALSE", "N", "NO", "NONE", "0", "0.0", "OFF", "SKIP", "SKIPPED", "OMIT"}


def refuse_decorrelated(header: Header | None, file: str, files: OpenFiles, *, force: bool) -> None:
    """Refuse to decorrelate twice: the noise is white already, and the model would be wrong."""
    if force or header is None:
        return
    why = _card(header) or _hdu(file, files)
    if why:
        msg = f"{file}: {why}; give the difference as it was, or --force"
        raise AlreadyDecorrelatedError(msg)
    if "Z-P" in header or "Z-V" in header:
        log.warning(
            "%s: this looks like a ZOGY difference, whose noise is white by construction",
            file,
        )


def _card(header: Header) -> str:
    """Return what a card says of it, nothing if none does."""
    if VERSION_CARD.keyword in header:
        return "its cards say that diffdecor has decorrelated it already"
    for card in header.cards:
        words = str(card.keyword).upper().replace(".", " ").split()
        if not words or not _CARD.fullmatch(words[-1]):
            continue
        value = str(card.value).strip()
        if value.upper() not in _NO:
            return f"its card {card.keyword} = {value} says that it was decorrelated already"
    return ""


def _hdu(file: str, files: OpenFiles) -> str:
    """Return what the name of an HDU says of it, nothing if none does.

    An HDU that was asked for speaks for itself only: there may be both images in a file.
    """
    with open_fits(file, files) as (hdus, extension):
        chosen = hdus if extension is None else [find_extension(hdus, extension, file)]
        names = [str(hdu.name).upper() for hdu in chosen]
    found = next((name for name in names if _HDU.search(name)), None)
    if found is None:
        return ""
    if len(names) == 1:
        return f"its HDU {found} says that it was decorrelated already"
    path = split_extension(file)[0]
    return (
        f"it has an HDU {found}, so it may have been decorrelated already (if it was not, name the "
        f"HDU of the difference, {path}[0] or so)"
    )
