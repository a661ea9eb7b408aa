"""From the numbers in a survey's mask to planes with names."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.fits.presets import Flag
from diffdecor.images import MaskPlanes

logger = logging.getLogger(__name__)

# Planes for bits that nobody names; the result needs some for itself.
_MOST_PLANES = 24
_OTHER_BITS, _OTHER_CODES = "OTHER_BITS", "OTHER_CODES"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the numbers of a mask mean.

    Parameters
    ----------
    flags : tuple of Flag
        Those that a preset names.
    codes : bool
        Pixels hold codes, not bits.
    bad : tuple of int, optional
        Bits, or codes, that are BAD; without a preset all others are harmless.
    ignored : tuple of int
        Bits, or codes, that are harmless.
    """

    flags: tuple[Flag, ...] = ()
    codes: bool = False
    bad: tuple[int, ...] | None = None
    ignored: tuple[int, ...] = ()

    @property
    def word(self) -> str:
        """What the numbers are called."""
        return "CODE" if self.codes else "BIT"

    @property
    def all_bad(self) -> bool:
        """Whether everything is BAD that is not ignored."""
        return not self.flags and self.bad is None

    def rows(self) -> list[Flag]:
        """Return what every number means that is named anywhere."""
        rows = [flag for flag in self.flags if flag.bit not in self.ignored]
        names = {flag.bit: flag.plane for flag in self.flags}
        for bit in set(self.bad or ()) - set(self.ignored):
            name = names.get(bit, f"{self.word}{bit}") if self.flags else "BAD"
            rows.append(Flag(bit, name, ("BAD",)))
        return rows + [Flag(bit, f"{self.word}{bit}") for bit in self.ignored]

    def described(self) -> str:
        """Return what they say, for the log."""
        word = f"{self.word.lower()}s"
        parts = [f"{word} {', '.join(map(str, self.ignored))} ignored"] if self.ignored else []
        if self.all_bad:
            others = "every other pixel" if self.ignored else "every pixel"
            return "; ".join([*parts, f"{others} that is not 0 is BAD"])
        if self.bad is not None:
            parts.append(f"{word} {', '.join(map(str, self.bad)) or 'none'} are BAD")
        return "; ".join(parts) or f"{word} by name"


def translated(
    values: NDArray[np.integer], rules: Rules, file: object
) -> tuple[NDArray[np.int32], MaskPlanes]:
    """Return a mask of planes with names.

    Parameters
    ----------
    values : array (ny, nx) of integers
        The mask as it is in its file, not negative.
    rules : Rules
        What its numbers mean.
    file : object
        Its file, for the log.

    Returns
    -------
    mask : array (ny, nx) of int32
        0 is good.
    planes : MaskPlanes
        Names of its bits. Those of a preset keep their bits if they can.
    """
    rows = rules.rows()
    planes = _planes(rows, rules)
    mask = np.zeros(values.shape, dtype=np.int32)
    there = _numbers(values, codes=rules.codes)
    for row in rows:
        if row.bit in there:
            mask[_has(values, row.bit, codes=rules.codes)] |= planes.value([row.plane, *row.means])
    others = sorted(there - {row.bit for row in rows})
    if rules.all_bad:
        planes = planes.adding("BAD")
        if others:
            mask[_any(values, others, codes=rules.codes)] |= planes.value(["BAD"])
        return mask, planes
    for bit in others:
        planes, name = _other(planes, bit, rules)
        here = _has(values, bit, codes=rules.codes)
        mask[here] |= planes.value([name])
        if rules.flags:
            logger.warning(
                "%s: %s %d of the mask is set in %d pixels, and the preset does not know it; it "
                "does not count as bad (--bad-bits makes it)",
                file,
                rules.word.lower(),
                bit,
                np.count_nonzero(here),
            )
    return mask, planes


def _planes(rows: Iterable[Flag], rules: Rules) -> MaskPlanes:
    """Return the planes of rows; a bit stays what it was if it can."""
    bits: dict[str, int] = {}
    for row in rows:
        free = row.plane not in bits and row.bit not in bits.values()
        if free and not rules.codes and row.bit <= 30:
            bits[row.plane] = row.bit
    means = [name for row in rows for name in (row.plane, *row.means)]
    return MaskPlanes(bits).adding(*means)


def _other(planes: MaskPlanes, bit: int, rules: Rules) -> tuple[MaskPlanes, str]:
    """Return the planes with one for a bit that nobody names, and its name."""
    if rules.codes:
        return planes.adding(_OTHER_CODES), _OTHER_CODES
    if len(planes.bits) >= _MOST_PLANES or bit > 30:
        return planes.adding(_OTHER_BITS), _OTHER_BITS
    name = f"BIT{bit}"
    if bit in planes.bits.values():
        return planes.adding(name), name
    return MaskPlanes({**planes.bits, name: bit}), name


def _numbers(values: NDArray[np.integer], *, codes: bool) -> set[int]:
    """Return the bits, or the codes, that occur."""
    if codes:
        return {int(code) for code in np.unique(values)} - {0}
    used = int(np.bitwise_or.reduce(values, axis=None))
    return {bit for bit in range(used.bit_length()) if used >> bit & 1}


def _has(values: NDArray[np.integer], bit: int, *, codes: bool) -> NDArray[np.bool_]:
    if codes:
        return np.asarray(values == bit)
    return np.asarray((values >> bit) & 1 != 0)


def _any(values: NDArray[np.integer], bits: list[int], *, codes: bool) -> NDArray[np.bool_]:
    if codes:
        return np.isin(values, bits)
    return np.asarray((values & sum(1 << bit for bit in bits)) != 0)
