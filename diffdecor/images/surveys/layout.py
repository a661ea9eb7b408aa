"""What is said of a survey's files: a `Layout` is one row of the table in `layouts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What a file is recognised by: everything that is given here must be there.

    Parameters
    ----------
    file : str
        Pattern of its name, without ``.fz`` or ``.gz``.
    cards : mapping of str to str
        Pattern of the value of each card.
    hdus : tuple of str
        Names of HDUs; ``A|B`` is one of several.
    """

    file: str = ""
    cards: Mapping[str, str] = field(default_factory=dict)
    hdus: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Companion:
    """A file that lies beside an image and belongs to it.

    Parameters
    ----------
    image : str
        Pattern of the image's name, without ``.fz`` or ``.gz``.
    names : tuple of str
        Names of the file, with the groups of the pattern, the best first.
    looks : str
        Pattern of such names, to know the file when the user names it.
    kind : str
        What a noise plane holds.
    """

    image: str
    names: tuple[str, ...]
    looks: str
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a survey puts the planes of an image, and what they hold.

    Parameters
    ----------
    name, title : str
        For options, and for people.
    step : int
        The step of the search in which it is looked for.
    signs : tuple of Sign
        Any of them will do.
    image, mask : tuple of str
        Names of these HDUs, the best first.
    noise : mapping of str to str
        Names of the HDU of the noise, the best first, and what it holds.
    parts : tuple of str
        HDUs whose sum is the variance, where there is no noise plane.
    preset : str
        The meaning of the mask's bits, where it has no ``MP_`` cards.
    asinh : bool
        Pixels are scaled with BOFFSET and BSOFTEN.
    gain, read_noise : str
        Cards of the gain (electrons per unit) and the read noise, where the variance comes of them.
    gain_files : str
        Pattern of the names of images that have no noise plane, so that it does.
    electrons : bool
        The image is in electrons: its gain is 1.
    single : bool
        One of several images of a file is never taken without being named.
    noise_file, mask_file : Companion, optional
        Files beside the image.
    white : str
        Pattern of names of differences whose noise is white already.
    """

    name: str
    title: str
    step: int = 3
    signs: tuple[Sign, ...] = ()
    image: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    noise: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    preset: str = ""
    asinh: bool = False
    gain: str = ""
    read_noise: str = ""
    gain_files: str = ""
    electrons: bool = False
    single: bool = False
    noise_file: Companion | None = None
    mask_file: Companion | None = None
    white: str = ""
