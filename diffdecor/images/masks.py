"""Masks in: which bit means what, in every survey's layout.

* Cards that name its bits (`diffdecor.images.mask_cards`).
* The output mask of HOTPANTS, known by its OBJECT.
* A preset, from the options or the layout; ``--bad-bits`` and ``--ignore-bits``.
* Anything else: every pixel that is not 0 is BAD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor import words
from diffdecor.config import ImageOptions
from diffdecor.core.parallel import once
from diffdecor.core.planes import LazyPlane, Plane, streamed
from diffdecor.errors import InputError
from diffdecor.fits.open import Header
from diffdecor.images.mask_cards import NamedBits, is_known, named_bits
from diffdecor.images.model import PLANES_PER_HDU, MaskPlanes, mapped
from diffdecor.images.surveys import preset_named
from diffdecor.images.surveys.hotpants import is_output_mask
from diffdecor.images.surveys.model import Flag, Preset

logger = words.logger(__name__)

_TABLE = 1 << 16
#: Most planes before unnamed bits share one; the result needs some for itself.
_MOST_PLANES = 24
_OTHER_BITS, _OTHER_CODES = "OTHER_BITS", "OTHER_CODES"
#: Cards of conventions whose planes mostly mean something else than bad.
_OF_LSST = ("MP_*", "MSKNnnnn")
#: Rows of a mask without names that are compared with the image; bright pixels, in sigma; how many
#: there must be, and which share of them a mask of defects does not cover.
_LOOKED_AT = 512
_BRIGHT = 10.0
_FEWEST_BRIGHT = 25
_MOST_COVERED = 0.5
#: A mask of which nothing is known.
_UNKNOWN = Preset("")


def read_mask(
    numbers: Plane,
    header: Header,
    file: object,
    *,
    image_header: Header = None,
    options: ImageOptions | None = None,
    preset: str = "",
    about: Sequence[Header] = (),
) -> tuple[LazyPlane, MaskPlanes]:
    """Return a mask (int32, 0 is good) of the numbers that are stored, and the names of its planes.

    `image_header` is given where the mask is in the file of the image, and may say who wrote it;
    `preset` is the one of the layout; headers `about` the mask may have the version of a pipeline.
    Pixels are looked through only if their numbers tell which planes there are. Raises an
    InputError if the preset cannot be; later, if rows have negative numbers or too many bits.
    """
    options = options or ImageOptions()
    for cards in (header, *(about[:1] if image_header is None else ())):
        named = named_bits(cards, file)
        if named is not None:
            names_itself(options, file)
            return _by_name(numbers, named, file)
    if is_output_mask(header, image_header):
        names_itself(options, file)
        options, preset = ImageOptions(), "hotpants"
    if options.mask_preset is not None:
        preset = options.mask_preset
    elif options.bad_bits is not None:
        preset = ""
    preset = _resolved(preset, (header, *about), options, file)
    known = preset_named(preset) if preset else _UNKNOWN
    rules = Rules(
        flags=known.flags,
        refined=known.refined,
        codes=known.codes if preset else options.mask_codes,
        bad=options.bad_bits,
        ignored=options.ignore_bits or (),
    )
    title = f"preset {preset} ({known.title})" if preset else "without plane names"
    logger.info("%s: mask %s: %s", file, title, rules.described())
    return _translated(_checked(numbers, file, 63 if preset else 31), rules, file)


def _by_name(numbers: Plane, named: NamedBits, file: object) -> tuple[LazyPlane, MaskPlanes]:
    """Return a mask whose bits cards name."""
    flags = named.flags
    logger.info(
        "%s: mask with the planes %s (cards %s)",
        file,
        ", ".join(sorted(flag.plane for flag in flags)),
        named.cards,
    )
    unknown = [flag.plane for flag in flags if not is_known(flag)]
    if len(unknown) == len(flags) or (unknown and named.cards not in _OF_LSST):
        logger.warning(
            "%s: mask planes %s are not known to diffdecor and do not count as bad "
            "(--fill-planes NAME,... says which do)",
            file,
            ", ".join(unknown),
        )
    if any(flag.means or flag.bit > 30 for flag in flags):
        return _translated(_checked(numbers, file, 62), Rules(flags=flags), file)
    planes = MaskPlanes({flag.plane: flag.bit for flag in flags})
    known = planes.value(planes.bits)

    unknown_bits: list[int] = []

    def warn() -> None:
        logger.warning(
            "%s: no card names the bits %s of the mask, which are set; they do not count as bad "
            "(name each in a card MP_<NAME> = its number)",
            file,
            ", ".join(str(bit) for bit in range(31) if unknown_bits[0] & 1 << bit),
        )

    warned = once(warn)

    def see(bits: int) -> None:
        if bits & ~known:
            unknown_bits.append(bits & ~known)
            warned()

    kept = mapped(lambda part: part.astype(np.int32, copy=False), _checked(numbers, file, 31, see))
    return kept, planes


def doubt_covered_stars(numbers: Plane, image: Plane, options: ImageOptions, file: object) -> None:
    """Warn of a mask without names whose bits cover the stars: some of them may mean objects.

    Looks at the middle rows of both, and says nothing of a mask that options explain.
    """
    if options.mask_preset or options.mask_codes or options.bad_bits or options.ignore_bits:
        return
    ny, _ = image.shape
    start = max(0, (ny - _LOOKED_AT) // 2)
    rows = slice(start, min(ny, start + _LOOKED_AT))
    part, pixels = numbers[rows], image[rows]
    bits = used(np.maximum(part, 0), codes=False)
    good = np.isfinite(pixels)
    if len(bits) < 2 or not good.any():
        return
    middle = np.median(pixels[good])
    sigma = 1.4826 * float(np.median(np.abs(pixels[good] - middle)))
    bright = good & (pixels > middle + _BRIGHT * sigma)
    flagged = part != 0
    if bright.sum() < _FEWEST_BRIGHT or flagged[bright].mean() < _MOST_COVERED:
        return
    if flagged[good & ~bright].mean() < _MOST_COVERED:
        logger.warning(
            "%s: the mask has bits %s without names, all taken as BAD, and covers %.0f%% of the "
            "bright pixels: if some of the bits mean objects, say which are bad with --bad-bits or "
            "--mask-preset",
            file,
            ", ".join(map(str, sorted(bits))),
            100 * flagged[bright].mean(),
        )


def _translated(numbers: Plane, rules: Rules, file: object) -> tuple[LazyPlane, MaskPlanes]:
    """Return a mask of planes with names."""

    def there() -> set[int]:
        return set().union(*(used(part, codes=rules.codes) for _, part in streamed(numbers)))

    translate, planes = translation(rules, there)
    for bit in sorted(translate.bits - rules.bits if rules.flags else ()):
        logger.warning(
            "%s: %s %d of the mask is set in %d pixels, and neither a card nor a preset knows it; "
            "it does not count as bad (--bad-bits makes it)",
            file,
            rules.word.lower(),
            bit,
            sum(
                np.count_nonzero(has(part, bit, codes=rules.codes)) for _, part in streamed(numbers)
            ),
        )
    return mapped(translate, numbers), planes


def names_itself(options: ImageOptions, file: object) -> None:
    """Log that options on bits are not used, if there are any."""
    about = options.mask_preset, options.ignore_bits, options.mask_codes
    if any(about) or options.bad_bits is not None:
        logger.info("%s: the mask names its planes itself; options on bits are not used", file)


def _checked(
    numbers: Plane, file: object, bits: int, see: Callable[[int], None] = lambda _: None
) -> LazyPlane:
    """Return a plane whose rows have only bits; all of these, of the rows read, go to `see`."""

    def rows_of(rows: slice) -> NDArray[np.integer]:
        part = numbers[rows]
        found = int(np.bitwise_or.reduce(part, axis=None))  # negative if one of them is
        if not 0 <= found < 1 << bits:
            y, x = np.argwhere((part < 0) | (part >= 1 << bits))[0]
            msg = (
                f"{file}: the mask is {part[y, x]} at FITS pixel ({x + 1}, {rows.start + y + 1}); "
                f"only bits 0 to {bits - 1} can be used: give a mask of non-negative {bits}-bit "
                "numbers"
            )
            raise InputError(msg)
        see(found)
        return part

    ny, nx = numbers.shape
    return LazyPlane((ny, nx), rows_of)


def _resolved(preset: str, headers: Sequence[Header], options: ImageOptions, file: object) -> str:
    """Return the preset that is meant, "" for none: DECam's has two, LSST's needs cards."""
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
    if options.mask_codes:
        return "decam-codes"
    from diffdecor.images.surveys.decam import preset_of_version

    return preset_of_version(headers, file, options.role)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the numbers of a mask mean."""

    #: Those that a preset names.
    flags: tuple[Flag, ...] = ()
    #: Planes that, where BAD is set too, set another one, and its bit.
    refined: tuple[tuple[str, str, int], ...] = ()
    #: Pixels hold codes, not bits.
    codes: bool = False
    #: Bits, or codes, that are BAD; without a preset all others are harmless.
    bad: tuple[int, ...] | None = None
    #: Bits, or codes, that are harmless.
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
    """From numbers to planes with names."""

    #: Bits, or codes, and the bit values of the planes that they stand for.
    values: tuple[tuple[int, int], ...]
    codes: bool
    #: Bit values of the planes that every other bit, or code but 0, stands for.
    other: int = 0
    #: Bit values of planes that, all together, set others.
    implied: tuple[tuple[int, int], ...] = ()

    @property
    def bits(self) -> set[int]:
        """All bits, or codes, that stand for a plane of their own."""
        return {bit for bit, _ in self.values}

    @cached_property
    def _dtype(self) -> type[np.integer[Any]]:
        """The type of masks: of 32 bits if that is enough."""
        values = [self.other, *(value for _, value in (*self.values, *self.implied))]
        return np.int64 if max(values) >= 1 << PLANES_PER_HDU else np.int32

    def __call__(self, numbers: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the mask that numbers stand for; they are not negative."""
        if numbers.max(initial=0) < _TABLE:
            return self._table.take(numbers)
        return self._computed(numbers)

    @cached_property
    def _table(self) -> NDArray[np.integer]:
        """The masks of all small numbers; looking them up is faster."""
        return self._computed(np.arange(_TABLE))

    def _computed(self, numbers: NDArray[np.integer]) -> NDArray[np.integer]:
        mask = np.zeros(numbers.shape, dtype=self._dtype)
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
    """Return what makes a mask of the numbers, and the planes of its bits.

    Those of a preset keep their bits if they can. `there` returns the bits, or codes, that occur;
    it is not called where they do not matter.
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
    planes = MaskPlanes({**planes.bits, **{plane: bit for _, plane, bit in rules.refined}})
    implied = tuple(
        (planes.value(["BAD", reason]), planes.value([plane])) for reason, plane, _ in rules.refined
    )
    return Translation(tuple(values), rules.codes, implied=implied), planes


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
    """Return the planes with one for a bit that has no name, and the name of that plane."""
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
