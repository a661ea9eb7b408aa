"""Masks in: which bit means what, in every survey's layout.

* ``MP_<NAME>`` cards (LSST, HSC, diffdecor): the bit number of plane NAME.
* The output mask of HOTPANTS, known by its OBJECT.
* A preset, from the options or the layout; ``--bad-bits`` and ``--ignore-bits``.
* Anything else: every pixel that is not 0 is BAD.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.config import MASK_PRESETS
from diffdecor.errors import ConfigError, InputError
from diffdecor.fits.flags import Rules, translated
from diffdecor.fits.presets import PRESETS, REFINED
from diffdecor.fitsfile import Hdu, Header, read_integers
from diffdecor.images import MaskPlanes

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
    hdu: Hdu,
    file: object,
    *,
    image_header: Header = None,
    source: MaskSource | None = None,
    preset: str = "",
    about: Sequence[Header] = (),
) -> tuple[NDArray[np.int32], MaskPlanes]:
    """Read a mask and the names of its planes.

    Parameters
    ----------
    hdu : HDU
        The mask: integers, or floats that are whole numbers.
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
    mask : array (ny, nx) of int32
        0 is good.
    planes : MaskPlanes
        Names of its bits.

    Raises
    ------
    InputError
        If it is no mask: other numbers, more bits than it can have, or a preset that cannot be.
    """
    source = source or MaskSource()
    values = read_integers(hdu, file)
    named = _named_planes(hdu.header, file)
    if named.bits:
        logger.info("%s: mask with the planes %s", file, ", ".join(sorted(named.bits)))
        _names_itself(source, file)
        return _checked(values, file, 31).astype(np.int32, copy=False), named
    if _is_hotpants(hdu, image_header):
        _names_itself(source, file)
        source, preset = MaskSource(), "hotpants"
    if source.preset is not None:
        preset = source.preset
    elif source.bad is not None:
        preset = ""
    preset = _resolved(preset, (hdu.header, *about), source, file)
    rules = Rules(
        flags=PRESETS[preset].flags if preset else (),
        codes=PRESETS[preset].codes if preset else source.codes,
        bad=source.bad,
        ignored=source.ignored,
    )
    title = f"preset {preset} ({PRESETS[preset].title})" if preset else "without plane names"
    logger.info("%s: mask %s: %s", file, title, rules.described())
    mask, planes = translated(_checked(values, file, 31 if not preset else 63), rules, file)
    return _refined(mask, planes) if preset == "hotpants" else (mask, planes)


def _names_itself(source: MaskSource, file: object) -> None:
    if source.told:
        logger.info("%s: the mask names its planes itself; options on bits are not used", file)


def _checked(values: NDArray[np.integer], file: object, bits: int) -> NDArray[np.integer]:
    """Refuse numbers that are no bits."""
    if values.min() < 0 or values.max() >= 1 << bits:
        y, x = np.argwhere((values < 0) | (values >= 1 << bits))[0]
        msg = (
            f"{file}: the mask is {values[y, x]} at FITS pixel ({x + 1}, {y + 1}); only bits 0 to "
            f"{bits - 1} can be used: give a mask of non-negative {bits}-bit numbers"
        )
        raise InputError(msg)
    return values


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


def _is_hotpants(hdu: Hdu, image_header: Header) -> bool:
    if str(hdu.header.get("OBJECT")).strip().upper() == _HOTPANTS_OBJECT:
        return True
    # The name of a fork. A mask that somebody else put beside the difference has another meaning.
    software = "" if image_header is None else str(image_header.get("SOFTNAME"))
    return bool(hdu.name == "MASK_IMAGE") and software.strip().upper() == "HOTPANTS"


def _refined(mask: NDArray[np.int32], planes: MaskPlanes) -> tuple[NDArray[np.int32], MaskPlanes]:
    """Set SAT and NO_DATA where HOTPANTS says that a pixel is bad for that reason."""
    planes = MaskPlanes({**planes.bits, **{plane: bit for _, plane, bit in REFINED}})
    bad = (mask & planes.value(["BAD"])) != 0
    for reason, plane, _ in REFINED:
        set_here = bad & ((mask & planes.value([reason])) != 0)
        mask = np.where(set_here, mask | np.int32(planes.value([plane])), mask)
    return mask.astype(np.int32), planes
