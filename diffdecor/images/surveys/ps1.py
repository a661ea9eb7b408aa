"""Pan-STARRS1: pixels in asinh magnitudes, noise and mask in files beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor import words
from diffdecor.core.planes import LazyPlane
from diffdecor.errors import InputError
from diffdecor.fits.open import Header
from diffdecor.images.model import mapped
from diffdecor.images.surveys.model import Companion, Layout, Preset, Sign, named

logger = words.logger(__name__)

CARDS = ("BOFFSET", "BSOFTEN")
_A = 2.5 / np.log(10)
#: 1e12 softenings: no pixel has ever been so bright, so what is beyond is not an asinh magnitude.
_BEYOND = 30.0

LAYOUT = Layout(
    name="ps1",
    title="Pan-STARRS1",
    signs=(
        Sign(file=r".*skycell\..*\.fits", globs=("*.skycell.*.fits",)),
        Sign(cards={"BSOFTEN": ".*"}),
        Sign(cards={"BOFFSET": ".*"}),
    ),
    preset="ps1",
    asinh=True,
    noise_file=Companion(
        image=r"(.*)\.fits",
        names=(r"\1.wt.fits",),
        looks=r".*\.wt\.fits",
        kind="variance",
        glob="*.wt.fits",
    ),
    mask_file=Companion(
        image=r"(.*)\.fits",
        names=(r"\1.mask.fits",),
        looks=r".*\.mask\.fits",
        glob="*.mask.fits",
    ),
    note="Incomplete cards of the scaling, or pixels that are linear already in spite of them, are "
    "an error; an image without these cards gets a warning. A difference that has them needs "
    "--difference-layout ps1 or plain. The output is linear and has no such cards.",
)

PRESETS = {
    "ps1": Preset(
        "Pan-STARRS1",
        named(
            "DETECTOR:BAD FLAT:BAD DARK:BAD BLANK:NO_DATA CTE:BAD SAT LOW:BAD SUSPECT CR "
            "SPIKE:DETECTED GHOST:DETECTED STREAK:DETECTED STARCORE:DETECTED "
            "CONV_BAD:BAD CONV_POOR"
        ),
    ),
}


def linear(pixels: LazyPlane, header: Header, file: object, *, asinh: bool, role: str) -> LazyPlane:
    """Return pixels in a linear scale: ``BOFFSET + 2 BSOFTEN sinh(v / 1.0857)`` of those of PS1.

    Those of layouts without `asinh` are left alone, with a warning if the cards are there. Raises
    an InputError if a card is missing or not a number; later, if rows turn out to be linear.
    """
    there = [card for card in CARDS if card in header]
    if not there:
        if asinh:
            logger.warning("%s: no cards BOFFSET, BSOFTEN; its pixels are taken as linear", file)
        return pixels
    if not asinh:
        logger.warning(
            "%s: has the cards %s of asinh-scaled pixels, but its pixels are taken as linear",
            file,
            ", ".join(there),
        )
        return pixels
    values = [header.get(card) for card in CARDS]
    if not all(isinstance(v, int | float) and np.isfinite(v) for v in values) or values[1] <= 0:
        msg = (
            f"{file}: asinh-scaled pixels need the cards BOFFSET and BSOFTEN, which are "
            f"{values[0]} and {values[1]}; fetch the file again, or give one of linear pixels"
        )
        raise InputError(msg)
    offset, softening = values
    logger.info("%s: asinh-scaled pixels made linear (%s)", file, ", ".join(CARDS))

    def flux(scaled: NDArray[Any]) -> NDArray[Any]:
        _check_asinh(scaled, file, role)
        exact = offset + 2 * softening * np.sinh(scaled.astype(np.float64) / _A)
        return np.asarray(exact, dtype=scaled.dtype)

    return mapped(flux, pixels)


def _check_asinh(pixels: NDArray[Any], file: object, role: str) -> None:
    """Refuse pixels that are linear already."""
    largest = np.max(np.abs(pixels), where=np.isfinite(pixels), initial=0.0)
    if largest > _BEYOND:
        msg = (
            f"{file}: the cards BOFFSET, BSOFTEN say that the pixels are asinh-scaled, but one is "
            f"{largest:g}, so they are linear already; remove the cards, or give "
            f"--{role}-layout plain"
        )
        raise InputError(msg)


def refuse_inherited(header: Header, file: object) -> None:
    """Refuse a difference with the cards of asinh-scaled pixels, mostly those of an input."""
    there = [card for card in CARDS if card in header]
    if there:
        msg = (
            f"{file}: has the cards {', '.join(there)} of asinh-scaled pixels, which a "
            "difference mostly has from an input; say with --difference-layout ps1 that it is "
            "scaled so, or with --difference-layout plain that it is not"
        )
        raise InputError(msg)
