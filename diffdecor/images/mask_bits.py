"""From the numbers in a survey's mask to planes with names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diffdecor.images.model import MaskPlanes
from diffdecor.images.surveys.presets import Flag

_TABLE = 1 << 16

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

    @property
    def bits(self) -> set[int]:
        """All bits, or codes, that are named anywhere."""
        return {row.bit for row in self.rows()}

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


@dataclass(frozen=True, eq=False)
class Translation:
    """From numbers to planes with names.

    Parameters
    ----------
    values : tuple of (int, int)
        Bits, or codes, and the bit values of the planes that they stand for.
    codes : bool
        Numbers are codes, not bits.
    other : int
        Bit values of the planes that every other bit, or code but 0, stands for.
    implied : tuple of (int, int)
        Bit values of planes that, all together, set others.
    """

    values: tuple[tuple[int, int], ...]
    codes: bool
    other: int = 0
    implied: tuple[tuple[int, int], ...] = ()

    @property
    def bits(self) -> set[int]:
        """All bits, or codes, that stand for a plane of their own."""
        return {bit for bit, _ in self.values}

    def __call__(self, numbers: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the mask that numbers stand for; they are not negative."""
        if numbers.max(initial=0) < _TABLE:
            return self._table.take(numbers)
        return self._computed(numbers)

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """The masks of all small numbers; looking them up is faster."""
        return self._computed(np.arange(_TABLE))

    def _computed(self, numbers: NDArray[np.integer]) -> NDArray[np.int32]:
        mask = np.zeros(numbers.shape, dtype=np.int32)
        if self.other:
            mask[self._others(numbers)] = self.other
        there = None if self.codes else used(numbers, codes=False)
        for bit, value in self.values:
            if there is None or bit in there:
                mask[has(numbers, bit, codes=self.codes)] |= value
        for together, value in self.implied:
            mask[(mask & together) == together] |= value
        return mask

    def _others(self, numbers: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return where there are others than those that are known."""
        if self.codes:
            return np.isin(numbers, [0, *self.bits], invert=True)
        unknown = ~sum(1 << bit for bit in self.bits if bit < 63)
        return np.asarray((numbers.astype(np.int64, copy=False) & unknown) != 0)


def translation(rules: Rules, there: Callable[[], set[int]]) -> tuple[Translation, MaskPlanes]:
    """Return what the numbers of a mask stand for.

    Parameters
    ----------
    rules : Rules
        What they mean.
    there : callable
        Returns the bits, or the codes, that occur; it is not called where they do not matter.

    Returns
    -------
    translation : Translation
        Makes a mask of numbers.
    planes : MaskPlanes
        Names of its bits. Those of a preset keep their bits if they can.
    """
    rows = rules.rows()
    planes = _planes(rows, rules)
    values = [(row.bit, planes.value([row.plane, *row.means])) for row in rows]
    if rules.all_bad:
        planes = planes.adding("BAD")
        return Translation(tuple(values), rules.codes, planes.value(["BAD"])), planes
    for bit in sorted(there() - rules.bits):
        planes, name = _other(planes, bit, rules)
        values.append((bit, planes.value([name])))
    return Translation(tuple(values), rules.codes), planes


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


def has(numbers: NDArray[np.integer], bit: int, *, codes: bool) -> NDArray[np.bool_]:
    """Return where numbers have a bit set, or are a code."""
    if codes:
        return np.asarray(numbers == bit)
    return np.asarray((numbers >> bit) & 1 != 0)


def used(numbers: NDArray[np.integer], *, codes: bool) -> set[int]:
    """Return the bits, or the codes, that occur in numbers."""
    if codes:
        return {int(code) for code in np.unique(numbers)} - {0}
    bits = int(np.bitwise_or.reduce(numbers, axis=None))
    return {bit for bit in range(bits.bit_length()) if bits >> bit & 1}
