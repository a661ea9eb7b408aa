"""Which image files are recognised, and where their planes are."""

from __future__ import annotations

import re
from typing import Any

from diffdecor.cli.topics.blocks import Block, Row, Table, parsed
from diffdecor.config import LAYOUTS
from diffdecor.images.surveys import layout_named
from diffdecor.images.surveys.model import Companion, Layout, Sign

_TEXT = """
An image is a FITS file: plain, gzipped (.fits.gz) or tile-compressed (.fits.fz). FILE[EXT],
FILE[EXT,VER] and FILE[N] name an HDU of it (FILE[0] is the primary HDU). Science image, template
and difference must have the same shape, and their WCS must agree to 0.1 pixel at the corners.

The layout of each image is recognised by its cards, HDUs and name; -v logs what was recognised.
--layout sets it for science image and template, --science-layout, --template-layout and
--difference-layout for one image. If two layouts fit a file, that is an error, and you say which.

Files of noise and masks beside an image are used if they have the names that their survey gives
them, and logged. What you give with --science-noise, --science-mask and so on takes precedence.

## Layouts

{}
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT, Table("layouts", (), tuple(map(_row, map(layout_named, LAYOUTS)))))


def _row(layout: Layout) -> Row:
    facts = {
        "layout": layout.name,
        "title": layout.title,
        "recognised_by": [_sign(sign) for sign in layout.signs],
        "image": list(layout.image),
        "mask": list(layout.mask),
        "mask_files": None if layout.mask_file is None else layout.mask_file.glob,
        "mask_preset": layout.preset or None,
        "noise": dict(layout.noise),
        "noise_parts": list(layout.parts),
        "noise_files": None if layout.noise_file is None else layout.noise_file.glob,
        "note": layout.note,
    }
    return Row((layout.name, "\n".join(_lines(layout, facts))), facts)


def _lines(layout: Layout, facts: dict[str, Any]) -> list[str]:
    """Return what is said of a layout."""
    signs = "; ".join(facts["recognised_by"])
    if layout.name == "plain":
        signs = f"anything that no other layout fits, and differences of SFFT and ZOGY ({signs})"
    lines = [f"{layout.title}. Recognised by: {signs}."]
    image = f"HDU {_either(layout.image)}" if layout.image else "the first image"
    if layout.single:
        image += "; of several in a file one must be named, as in FILE[S29]"
    lines.append(f"Image: {image}{_scaling(layout)}.")
    lines.append(f"Mask: {_mask(layout)}.")
    lines.append(f"Noise: {_noise(layout)}.")
    return [*lines, *filter(None, [layout.note])]


def _sign(sign: Sign) -> str:
    """Return what a file is recognised by, for people."""
    parts = [f"name {_either(sign.globs)}"] if sign.globs else []
    parts += [f"card {keyword}{_value(pattern)}" for keyword, pattern in sign.cards.items()]
    parts += [f"HDU {_either(names.split('|'))}" for names in sign.hdus]
    return " and ".join(parts)


def _value(pattern: str) -> str:
    """Return the value that a card must have, of a pattern: any, or words in any case."""
    words = re.sub(r"\(\?i:|\)|\.\*", "", pattern)
    return f" = {' or '.join(words.split('|'))}" if words else ""


def _scaling(layout: Layout) -> str:
    if layout.asinh:
        return ", scaled by asinh (cards BOFFSET, BSOFTEN); made linear"
    return ", in electrons" if layout.electrons else ""


def _mask(layout: Layout) -> str:
    parts = [f"HDU {_either(layout.mask)}"] if layout.mask else []
    parts += _files(layout.mask_file)
    bits = f"; bits of the preset {layout.preset}" if layout.preset else ""
    return (" or ".join(parts) or "none") + bits


def _noise(layout: Layout) -> str:
    parts = [f"HDU {name}{_kind(kind)}" for name, kind in layout.noise.items()]
    if layout.parts:
        parts.append(f"the sum of {', '.join(layout.parts)} (variance)")
    parts += [file + _kind(layout.noise_file.kind) for file in _files(layout.noise_file)
              if layout.noise_file is not None]  # fmt: skip
    if layout.gain:
        parts.append(f"of science images from the cards {layout.gain} and {layout.read_noise}")
    return ", else ".join(parts) or "none"


def _kind(kind: str) -> str:
    return f" ({kind})" if kind else ""


def _files(companion: Companion | None) -> list[str]:
    return [] if companion is None else [f"the file {companion.glob} beside it"]


def _either(names: tuple[str, ...] | list[str]) -> str:
    """Return ``A, B or C``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
