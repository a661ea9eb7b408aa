"""What the bits of masks mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from diffdecor.cli.topics.blocks import Block, Heading, Row, Table, parsed
from diffdecor.config import FILLED_PLANES, IGNORED_PLANES, MASK_PRESETS
from diffdecor.images.surveys import preset_named
from diffdecor.images.surveys.model import Flag, Preset

#: What becomes of a pixel, by default: in JSON, and in words.
UNUSABLE, DOUBTFUL, HARMLESS = "unusable", "not in statistics", "harmless"
_TITLES = ("bits", "plane", "counts as", "effect")
#: The preset that stands for two others.
_OF_TWO = "decam"
_TEXT = """
Every pixel of a mask is one of three, by default:

- unusable: filled before filtering, put back after, and not used for noise levels. These are the
  planes of --fill-planes.
- not in statistics: filtered as it is, but not used for noise levels: light of sources, haloes,
  trails, and pixels of doubtful noise. These are the other planes of --ignore-planes.
- harmless: the plane keeps its name in the output, and has no effect.

## Where the meaning of the bits comes from

The first of these that applies:

- Cards of the mask that name its bits: MP_* (LSST, HSC, diffdecor); MSKNnnnn with MSKMnnnn (Rubin
  DMTN-252); MSKNAMnn with MSKVALnn (Pan-STARRS); MASKBn, BITn and the like (Legacy Surveys). Names
  that are known under others are translated: SATURATED is SAT, COSMIC_RAY is CR, INTERPOLATED is
  INTRP, DETECTION_EDGE is EDGE. For lsst.images the names are in its tree of JSON.
- HOTPANTS's own output mask is recognised, and read with the preset hotpants.
- --mask-preset, or --science-mask-preset, --template-mask-preset, --difference-mask-preset.
- The preset of the layout, for files with the names of their survey (see diffdecor help layouts).
- Otherwise every pixel that is not 0 is BAD, the preset nonzero.

--bad-bits 0,3 or 0x9 replaces the table (together with --mask-preset it adds to it), --ignore-bits
takes bits out of it, --mask-codes says that pixels hold one number each instead of bits. Bits that
no table knows are harmless, and get a warning. Of a mask with more than 31 planes the others are in
a second HDU MASK of the output (EXTVER 2).

## Default meaning of each survey's mask bits

Every bit keeps a plane of the name below in the output; where "counts as" names another plane, that
one is set, too. "bits" are numbers from 0 (value 1); of masks with codes they are the codes.

{}
"""
_NOTES = {
    "decam-bits": "decam chooses this preset or decam-codes by the version of the pipeline, PLVER.",
    "hst": "For ACS and WFC3/UVIS; other instruments need --bad-bits.",
    "hotpants": "Of HOTPANTS's bits only 15 (0x8000) makes a pixel bad. Such a pixel is SAT or "
    "NO_DATA, too, where the mask says that this was the reason.",
    "lsst": "Has no table: such masks name their bits in MP_* cards.",
    "nonzero": "Every pixel that is not 0 is BAD.",
}


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    several = (_of_preset(name) for name in MASK_PRESETS if name != _OF_TWO)
    return parsed(_TEXT, [block for one in several for block in one])


def _of_preset(name: str) -> Iterable[Block]:
    preset = preset_named(name)
    yield Heading(f"{name}: {preset.title.replace('`', '')}{', codes' if preset.codes else ''}")
    if name in _NOTES:
        yield from parsed(_NOTES[name])
    if preset.flags:
        groups: dict[str, list[Flag]] = {}
        for flag in preset.flags:
            groups.setdefault(flag.plane, []).append(flag)
        rows = [_row(name, preset, flags) for flags in groups.values()]
        rows += [
            Row(
                (str(bit), plane, f"where BAD and {source} are set", UNUSABLE),
                {"preset": name, "bits": [bit], "plane": plane, "counts_as": [plane],
                 "effect": UNUSABLE, "codes": False, "where": ["BAD", source]},
            )
            for source, plane, bit in preset.refined
        ]  # fmt: skip
        yield Table("masks", _TITLES, tuple(rows))


def _row(name: str, preset: Preset, flags: Sequence[Flag]) -> Row:
    """Return the row of the bits that have one plane."""
    first, bits = flags[0], [flag.bit for flag in flags]
    effect = effect_of(first)
    facts = {
        "preset": name,
        "bits": bits,
        "plane": first.plane,
        "counts_as": list(first.means or (first.plane,)),
        "effect": effect,
        "codes": preset.codes,
        "where": [],
    }
    means = ", ".join(first.means) or ("" if effect == HARMLESS else first.plane)
    return Row((_ranges(bits), first.plane, means, effect), facts)


def effect_of(flag: Flag) -> str:
    """Return what becomes of the pixels of a flag, by default."""
    planes = {flag.plane, *flag.means}
    if planes & set(FILLED_PLANES):
        return UNUSABLE
    return DOUBTFUL if planes & set(IGNORED_PLANES) else HARMLESS


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers in a text: ``3, 6, 13-17``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(
        f"{part[0]}-{part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts
    )
