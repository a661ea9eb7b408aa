"""Masks in: which bit means what, in every survey's layout.

* ``MP_<NAME>`` cards (LSST, HSC, diffdecor): the bit number of plane NAME.
* The output mask of HOTPANTS, known by its OBJECT.
* A preset, from the options or the layout; ``--bad-bits`` and ``--ignore-bits``.
* Anything else: every pixel that is not 0 is BAD.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.config import MASK_PRESETS
from diffdecor.core.planes import LazyPlane, Plane, streamed
from diffdecor.errors import ConfigError, InputError
from diffdecor.fits.open import Header
from diffdecor.images.mask_bits import Rules, Translation, has, translation, used
from diffdecor.images.model import MaskPlanes
from diffdecor.images.surveys.presets import PRESETS, REFINED

logger = logging.getLogger(__name__)

_HOTPANTS_OBJECT = "HOTPANTS OUTPUT MASK IMAGE"
_CODES_SINCE = (3, 5, 0)


@dataclass(frozen=True, kw_only=True)
class MaskSource:
    """What the user says of the mask of an image.

    Parameters
    ----------
    file : str, optional
        File of the mask, if it is not with the image.
    preset : str, optional
        The meaning of its bits.
    bad : tuple of int, optional
        Bits, or codes, that are BAD; without a preset all others are harmless.
    ignored : tuple of int
        Bits, or codes, that are harmless.
    codes : bool
        Pixels hold codes, not bits.
    role : str
        "science", "template" or "difference": which options the messages name.

    Raises
    ------
    ConfigError
        If there is no such preset.
    """

    file: str | None = None
    preset: str | None = None
    bad: tuple[int, ...] | None = None
    ignored: tuple[int, ...] = ()
    codes: bool = False
    role: str = "science"

    def __post_init__(self) -> None:
        """Check the name of the preset."""
        if self.preset not in (None, *MASK_PRESETS):
            expected = ", ".join(MASK_PRESETS)
            msg = f"--{self.role}-mask-preset is {self.preset!r}: expected one of {expected}"
            raise ConfigError(msg)

    @property
    def told(self) -> bool:
        """Whether the user says anything of the bits."""
        return bool(self.preset or self.bad is not None or self.ignored or self.codes)


def read_mask(
    numbers: Plane,
    header: Header,
    file: object,
    *,
    image_header: Header = None,
    source: MaskSource | None = None,
    preset: str = "",
    about: Sequence[Header] = (),
) -> tuple[LazyPlane, MaskPlanes]:
    """Return a mask and the names of its planes.

    Its pixels are looked through only if their numbers tell which planes there are.

    Parameters
    ----------
    numbers : plane (ny, nx) of integers
        The mask as it is stored, as `stored_integers` gives it.
    header : Header
        Its header.
    file : object
        Its file, for messages.
    image_header : Header, optional
        Header of the image, where the mask is in the same file: it may say who wrote it.
    source : MaskSource, optional
        What the user says of it.
    preset : str
        The meaning of its bits in the layout of the image.
    about : sequence of Header
        Headers that may say which version of a pipeline made it.

    Returns
    -------
    mask : plane (ny, nx) of int32
        0 is good. Reading rows of it raises an InputError if there are negative numbers, or more
        bits than it can have.
    planes : MaskPlanes
        Names of its bits.

    Raises
    ------
    InputError
        If it is no mask: other numbers, or a preset that cannot be.
    """
    source = source or MaskSource()
    named = _named_planes(header, file)
    if named.bits:
        logger.info("%s: mask with the planes %s", file, ", ".join(sorted(named.bits)))
        _names_itself(source, file)
        checked = _checked(numbers, file, 31)
        return _computed(checked, lambda part: part.astype(np.int32, copy=False)), named
    if _is_hotpants(header, image_header):
        _names_itself(source, file)
        source, preset = MaskSource(), "hotpants"
    if source.preset is not None:
        preset = source.preset
    elif source.bad is not None:
        preset = ""
    preset = _resolved(preset, (header, *about), source, file)
    rules = Rules(
        flags=PRESETS[preset].flags if preset else (),
        codes=PRESETS[preset].codes if preset else source.codes,
        bad=source.bad,
        ignored=source.ignored,
    )
    title = f"preset {preset} ({PRESETS[preset].title})" if preset else "without plane names"
    logger.info("%s: mask %s: %s", file, title, rules.described())
    return _translated(_checked(numbers, file, 31 if not preset else 63), rules, preset, file)


def _translated(
    numbers: Plane, rules: Rules, preset: str, file: object
) -> tuple[LazyPlane, MaskPlanes]:
    """Return a mask of planes with names."""

    def there() -> set[int]:
        return set().union(*(used(part, codes=rules.codes) for _, part in streamed(numbers)))

    translate, planes = translation(rules, there)
    for bit in sorted(translate.bits - rules.bits if rules.flags else ()):
        logger.warning(
            "%s: %s %d of the mask is set in %d pixels, and the preset does not know it; it "
            "does not count as bad (--bad-bits makes it)",
            file,
            rules.word.lower(),
            bit,
            sum(
                np.count_nonzero(has(part, bit, codes=rules.codes)) for _, part in streamed(numbers)
            ),
        )
    if preset == "hotpants":
        translate, planes = _refined(translate, planes)
    return _computed(numbers, translate), planes


def _computed(numbers: Plane, mask: Callable[[NDArray[Any]], NDArray[np.int32]]) -> LazyPlane:
    ny, nx = numbers.shape
    return LazyPlane((ny, nx), lambda rows: mask(numbers[rows]))


def _names_itself(source: MaskSource, file: object) -> None:
    if source.told:
        logger.info("%s: the mask names its planes itself; options on bits are not used", file)


def _checked(numbers: Plane, file: object, bits: int) -> LazyPlane:
    """Return a plane of which no rows are read that have numbers which are no bits."""

    def rows_of(rows: slice) -> NDArray[np.integer]:
        part = numbers[rows]
        if part.min(initial=0) < 0 or part.max(initial=0) >= 1 << bits:
            y, x = np.argwhere((part < 0) | (part >= 1 << bits))[0]
            msg = (
                f"{file}: the mask is {part[y, x]} at FITS pixel ({x + 1}, {rows.start + y + 1}); "
                f"only bits 0 to {bits - 1} can be used: give a mask of non-negative {bits}-bit "
                "numbers"
            )
            raise InputError(msg)
        return part

    ny, nx = numbers.shape
    return LazyPlane((ny, nx), rows_of)


def _resolved(preset: str, headers: Sequence[Header], source: MaskSource, file: object) -> str:
    """Return the preset that is meant: DECam's has two, LSST's needs cards."""
    if preset == "lsst":
        msg = (
            f"{file}: a mask of LSST names its planes in MP_ cards, and this one has none; say what"
            " its bits are with --bad-bits"
        )
        raise InputError(msg)
    if preset == "nonzero":
        return ""
    if preset != "decam":
        return preset
    if source.codes:
        return "decam-codes"
    for header in headers:
        version = header.get("PLVER")
        found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", str(version))
        if found:
            numbers = tuple(int(number or 0) for number in found.groups())
            logger.info("%s: made by the pipeline's version %s", file, version)
            return "decam-codes" if numbers >= _CODES_SINCE else "decam-bits"
    msg = (
        f"{file}: no card PLVER says whether this mask of DECam holds bits (before 3.5.0) or codes;"
        f" say it with --{source.role}-mask-preset decam-bits or decam-codes"
    )
    raise InputError(msg)


def plane_cards(planes: MaskPlanes) -> fits.Header:
    """Return ``MP_`` cards of mask planes, and a readable table of them in HISTORY.

    Parameters
    ----------
    planes : MaskPlanes
        Names and bits.

    Returns
    -------
    Header
        Ordered by bit.
    """
    header = fits.Header()
    ordered = sorted(planes.bits.items(), key=lambda item: (item[1], item[0]))
    for name, bit in ordered:
        keyword = f"MP_{name}"
        long = len(keyword) > 8
        header.append((f"HIERARCH {keyword}" if long else keyword, bit, "" if long else "mask bit"))
    if ordered:
        header.add_history("Mask planes: bit, value, name; a pixel of value 0 is good")
    for name, bit in ordered:
        header.add_history(f"{bit:4d} {1 << bit:11d}  {name}")
    return header


def _named_planes(header: Header, file: object) -> MaskPlanes:
    bits: dict[str, int] = {}
    for keyword, value in header.items():
        if not keyword.startswith("MP_"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 30:
            msg = f"{file}: {keyword} = {value!r} is no bit number; it must be 0 to 30"
            raise InputError(msg)
        bits[keyword.removeprefix("MP_")] = value
    return MaskPlanes(bits)


def _is_hotpants(header: Header, image_header: Header) -> bool:
    if str(header.get("OBJECT")).strip().upper() == _HOTPANTS_OBJECT:
        return True
    # The name of a fork. A mask that somebody else put beside the difference has another meaning.
    software = "" if image_header is None else str(image_header.get("SOFTNAME"))
    name = str(header.get("EXTNAME", "")).strip().upper()
    return name == "MASK_IMAGE" and software.strip().upper() == "HOTPANTS"


def _refined(translate: Translation, planes: MaskPlanes) -> tuple[Translation, MaskPlanes]:
    """Set SAT and NO_DATA where HOTPANTS says that a pixel is bad for that reason."""
    planes = MaskPlanes({**planes.bits, **{plane: bit for _, plane, bit in REFINED}})
    implied = tuple(
        (planes.value(["BAD", reason]), planes.value([plane])) for reason, plane, _ in REFINED
    )
    return replace(translate, implied=implied), planes
