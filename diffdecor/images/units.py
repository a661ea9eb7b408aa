"""Units of noise planes: those of their image, or their square, or converted, or refused."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from diffdecor import words
from diffdecor.errors import InputError
from diffdecor.fits.open import Header, quiet_astropy

logger = words.logger(__name__)

#: Other words for the same unit.
_SAME = {
    **dict.fromkeys(("adu", "dn", "adus", "count", "counts", "cts", "ct", "du"), "adu"),
    **dict.fromkeys(
        ("electron", "e", "e-", "el", "electrons", "photoelectrons", "photoelectron"), "electron"
    ),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
}
_WORD = re.compile(r"(?<![\d.])(?:e-(?!\w)|[A-Za-z_]+)")
#: Power of the image's unit that a plane of each kind has.
_POWERS = {"variance": 2, "sigma": 1, "ivar": -2, "background": 1}


def unit_factor(image: Header, noise: Header, kind: str, file: object, role: str) -> float:
    """Return what to multiply the values of a noise plane by to have the unit of its image.

    It is 1 where the unit is that of the image or its square, as many tools write it, or where one
    is not known. Raises an `InputError` if the plane is in a unit of another kind.
    """
    units = ["" if header is None else str(header.get("BUNIT") or "") for header in (image, noise)]
    of_image, of_noise = (_plain(unit) for unit in units)
    power = _POWERS.get(kind)
    if not of_image or not of_noise or power is None or of_noise == of_image:
        return 1.0
    factor = _ratio(of_noise, of_image, power)
    if factor is None:
        if any(_ratio(of_noise, of_image, other) == 1.0 for other in (1, 2, -2)):
            return 1.0
        msg = (
            f"{file}: its noise plane, read as {kind}, is in {units[1]!r}, but the image in "
            f"{units[0]!r} (BUNIT); give it in the unit of the image with --{role}-noise, or give "
            f"--{role}-gain"
        )
        raise InputError(msg)
    if factor != 1.0:
        logger.warning(
            "%s: its noise plane is in %r, the image in %r (BUNIT): multiplied by %g",
            *(file, units[1], units[0], factor),
        )
    return factor


def _plain(unit: str) -> str:
    """Return a unit with the usual words in it, without blanks at its ends."""
    words = _WORD.sub(lambda word: _SAME.get(word[0].lower(), word[0]), unit.strip())
    return words.replace("**", "^").strip()


def _ratio(noise: str, image: str, power: int) -> float | None:
    """Return one unit in terms of a power of another; None if they are not of one kind."""
    if power == 2 and noise in {f"{image}2", f"{image}^2", f"({image})^2", f"{image}^(2)"}:
        return 1.0
    from astropy import units  # heavy, and seldom needed

    try:
        with quiet_astropy(noise):
            of_noise, of_image = (units.Unit(_parsed(one)) for one in (noise, image))
            return float(of_noise.to(of_image**power))
    except units.UnitConversionError:
        return None
    except (ValueError, TypeError):
        logger.warning(
            "a noise plane is in %r, its image in %r (BUNIT); taken as if they agreed", noise, image
        )
        return 1.0


def parsed_unit(text: str) -> Any:  # noqa: ANN401  astropy has no types
    """Return the unit of a BUNIT, in whatever usual words; None if it is none that is known."""
    from astropy import units

    for one in (text, _parsed(_plain(text))):
        with suppress(ValueError, TypeError), quiet_astropy(text):
            return units.Unit(one)
    return None


def _parsed(unit: str) -> str:
    """Return a unit as astropy reads it: exponents after two stars."""
    return unit.replace("^", "**")
