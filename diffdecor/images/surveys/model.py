"""Descriptions of a survey's files: every survey has a module with its `LAYOUT` and `PRESETS`.

A preset says what the bits of a mask mean. A row names the plane of a bit (or of a code, where a
pixel holds one number instead of bits) and what else it *means*, in the planes that diffdecor
knows: pixels that are ``BAD, SAT, CR, NO_DATA`` are unusable, those that are ``INTRP, EDGE,
DETECTED`` do not count for statistics. DETECTED stands for all light that is not a defect of the
pixel: objects, haloes, ghosts, spikes, trails, crosstalk.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

_NONE: Mapping[str, str] = MappingProxyType({})


class Sign(NamedTuple):
    """What a file is recognised by: everything that is given here must be there."""

    #: Pattern of its name, without ``.fz`` or ``.gz``.
    file: str = ""
    #: Pattern of the value of each card.
    cards: Mapping[str, str] = _NONE
    #: Names of HDUs; ``A|B`` is one of several.
    hdus: tuple[str, ...] = ()
    #: The pattern of the name, for people.
    globs: tuple[str, ...] = ()


class Companion(NamedTuple):
    """A file that lies beside an image and belongs to it."""

    #: Pattern of the image's name, without ``.fz`` or ``.gz``.
    image: str
    #: Names of the file, with the groups of the pattern, the best first.
    names: tuple[str, ...]
    #: Pattern of such names, to know the file when the user names it.
    looks: str
    #: What a noise plane holds.
    kind: str = ""
    #: The same pattern, for people.
    glob: str = ""


class Layout(NamedTuple):
    """Where a survey puts the planes of an image, and what they hold."""

    #: For options, and for people.
    name: str
    title: str
    #: Any of them will do.
    signs: tuple[Sign, ...] = ()
    #: Names of these HDUs, the best first.
    image: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    #: Names of the HDU of the noise, the best first, and what it holds.
    noise: Mapping[str, str] = _NONE
    #: HDUs whose sum is the variance, where there is no noise plane.
    parts: tuple[str, ...] = ()
    #: The meaning of the mask's bits, where it has no ``MP_`` cards.
    preset: str = ""
    #: Pixels are scaled with BOFFSET and BSOFTEN.
    asinh: bool = False
    #: Cards of the gain (electrons per unit) and the read noise, where the variance comes of them.
    gain: str = ""
    read_noise: str = ""
    #: Pattern of the names of the images to which these apply: they have no noise plane.
    gain_files: str = ""
    #: The image is in electrons: its gain is 1.
    electrons: bool = False
    #: One of several images of a file is never taken without being named.
    single: bool = False
    #: Files beside the image.
    noise_file: Companion | None = None
    mask_file: Companion | None = None
    #: Pattern of names of differences whose noise is white already.
    white: str = ""
    #: What else people should know, in sentences.
    note: str = ""


class Flag(NamedTuple):
    """One bit (0 for value 1), or code, of a mask, with other planes that are set with it."""

    bit: int
    plane: str
    means: tuple[str, ...] = ()


class Preset(NamedTuple):
    """The mask of a survey."""

    title: str
    flags: tuple[Flag, ...] = ()
    #: Pixels hold codes, not bits.
    codes: bool = False
    #: Planes that, where BAD is set too, set another one, and its bit.
    refined: tuple[tuple[str, str, int], ...] = ()


def named(names: str, first: int = 0) -> tuple[Flag, ...]:
    """Return the flags of successive bits: ``NAME`` or ``NAME:MEANS`` each, ``-`` for no flag."""
    rows = [name.split(":") for name in names.split()]
    return tuple(
        Flag(bit, plane, tuple(means))
        for bit, (plane, *means) in enumerate(rows, start=first)
        if plane != "-"
    )
