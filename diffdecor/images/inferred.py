"""What nobody gives of a HOTPANTS triple: from its command line, or from files beside the images.

HOTPANTS takes and writes noise as sigma. Its gain is in electrons per unit and its read noise in
electrons; a pedestal is subtracted before the light of a pixel makes noise.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from diffdecor.config import kinds
from diffdecor.core.planes import LazyPlane, Plane
from diffdecor.errors import InputError
from diffdecor.fits.open import Header
from diffdecor.fits.paths import are_same_file, split_extension
from diffdecor.images.surveys.hotpants_command import WORDS, Command, command_of
from diffdecor.images.surveys.recognise import PACKED, bare_name

#: Ends of the names of files beside an image ``sci.fits``: sigma images, and masks.
SIGMAS = ("_sig", "_sigma", "_err", "_error", "_rms", "_std")
MASKS = ("_msk", "_mask")
_ENDS = (".fits", ".fit", ".fts")


class Source(NamedTuple):
    """A file, and why it is taken."""

    file: str
    why: str
    #: The meaning of the bits of a mask, if that is known.
    preset: str = ""
    #: The command names it, not only its own name.
    named: bool = False


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """What is taken for an image where neither an option nor its own file says it."""

    #: A sigma image that the command names, and one that lies beside the image.
    noise: Source | None = None
    beside: Source | None = None
    mask: Source | None = None
    #: Options ``gain``, ``read_noise`` and ``sky`` that the command states.
    numbers: Mapping[str, float] = field(default_factory=dict)
    #: What the command is called in messages.
    command: str = ""
    #: What was looked for in vain, for the log, of noise and of the mask.
    no_noise: tuple[str, ...] = ()
    no_mask: tuple[str, ...] = ()
    #: Why there is no noise, for the error.
    why: str = ""
    #: Files that would be taken, but are to be written.
    written: tuple[Source, ...] = ()
    #: Every file that the command may mean, whether it is there or not.
    sought: tuple[str, ...] = ()

    @property
    def without_noise(self) -> Inferred:
        """The same without anything on the noise, where that is given."""
        return Inferred(
            mask=self.mask,
            command=self.command,
            no_mask=self.no_mask,
            written=self.written,
            sought=self.sought,
        )


class Roles(NamedTuple):
    """Files that have a role already, which are not taken in another: names by their role."""

    files: Mapping[str, str] = {}
    #: Files that are written.
    outputs: Collection[str] = ()

    def writes(self, file: str) -> bool:
        """Say whether a file is one that is written."""
        path = split_extension(file)[0]
        return any(are_same_file(path, one) for one in self.outputs)

    def forbid(self, file: str, what: str) -> bool:
        """Say whether a file must not be taken as "noise" or "mask"."""
        path, extension = split_extension(file)
        for role, other in self.files.items():
            there, of_other = split_extension(other)
            same = are_same_file(path, there)
            if same and not role.endswith(f"_{what}") and (extension in (None, of_other)):
                return True
        return False


def infer(
    role: str,
    image: str | Path,
    difference: str | Path,
    header: Header,
    taken: Roles,
) -> Inferred:
    """Return what the command line in the header of a HOTPANTS difference says of an image.

    Looks for files and reads none. Files are as the command names them, from the folder of the
    difference, or in that folder; else beside the image. Those `taken` otherwise are left out.
    """
    command = command_of(header)
    title = f"DIFFCMD of {split_extension(difference)[0].name}"
    folder = split_extension(difference)[0].parent
    noise, no_noise = _named(role, "noise", command, (folder, title), taken)
    mask, no_mask = _named(role, "mask", command, (folder, title), taken)
    beside, ambiguous = _beside(image, "noise", SIGMAS, taken)
    no_noise += ambiguous
    if mask is None:
        mask, ambiguous = _beside(image, "mask", MASKS, taken)
        no_mask += ambiguous
    if mask is not None and noise is not None and mask.file == noise.file:
        no_mask += (f"{mask.file} ({mask.why}) is the noise",)
        mask = None
    numbers, why = _numbers(role, command, title)
    written = tuple(one for one in (noise, beside, mask) if one and taken.writes(one.file))
    noise, beside, mask = (None if one in written else one for one in (noise, beside, mask))
    return Inferred(
        noise=noise,
        beside=beside,
        mask=mask,
        numbers=numbers,
        command=title,
        no_noise=no_noise,
        no_mask=no_mask,
        why="; ".join((*no_noise, *filter(None, [why]))),
        written=written,
        sought=tuple(
            file
            for what in ("noise", "mask")
            for file in _meant(command, getattr(WORDS[role], what), folder)
        ),
    )


def _meant(command: Command | None, option: str, folder: Path) -> list[str]:
    """Return the files that an option of a command may mean, the best first."""
    name = None if command is None else command.file(option)
    if name is None:
        return []
    path = split_extension(name)[0]
    return [
        f"{named}{packed}" for named in (folder / path, folder / path.name) for packed in PACKED
    ]


def _named(
    role: str, what: str, command: Command | None, place: tuple[Path, str], taken: Roles
) -> tuple[Source | None, tuple[str, ...]]:
    """Return the file that a command names, or what is wrong with it.

    The `place` is the folder of the difference, and what its command is called.
    """
    option = getattr(WORDS[role], what)
    name = None if command is None else command.file(option)
    if command is None or name is None:
        return None, ()
    folder, title = place
    why = f"-{option} in {title}"
    if option == "oni" and "convvar" in command.values:
        return None, (f"{name}, named by {why}, is not a sigma: it was made with -convvar",)
    extension = split_extension(name)[1]
    brackets = "" if extension is None else name[name.rindex("[") :]
    for file in _meant(command, option, folder):
        if os.path.isfile(file):  # noqa: PTH113  Path raises where a name is too long
            if taken.forbid(file + brackets, what):
                return None, (f"{file}, named by {why}, has another role here",)
            preset = "hotpants" if role == "difference" and what == "mask" else ""
            return Source(file + brackets, why, preset, named=True), ()
    return None, (f"{name}, named by {why}, is not there",)


def _beside(
    image: str | Path, what: str, ends: tuple[str, ...], taken: Roles
) -> tuple[Source | None, tuple[str, ...]]:
    """Return the one file beside an image that its name says to be noise or mask."""
    path = split_extension(image)[0]
    found = []
    for names in names_beside(image, ends):
        files = [str(path.parent / name) for name in names]
        there = [file for file in files if os.path.isfile(file)]  # noqa: PTH113  as above
        found += [file for file in there[:1] if not taken.forbid(file, what)]
    if len(found) > 1:
        return None, (f"{' and '.join(found)} may both be the {what}: name one",)
    return (Source(found[0], f"beside {path}"), ()) if found else (None, ())


def names_beside(image: str | Path, ends: tuple[str, ...]) -> list[list[str]]:
    """Return the names that a file of `SIGMAS` or `MASKS` beside an image may have, by its end.

    Of one end there are several, packed or not; the first that is there counts.
    """
    name = bare_name(image)
    return [
        [f"{name[: -len(end)]}{added}{name[-len(end) :]}{packed}" for packed in PACKED]
        for end in _ENDS
        if name.lower().endswith(end)
        for added in ends
    ]


def _numbers(role: str, command: Command | None, title: str) -> tuple[dict[str, float], str]:
    """Return gain, read noise and level that a command states, or why there are none."""
    words = WORDS[role]
    if command is None or not words.gain:
        return {}, ""
    values: dict[str, float] = {}
    for name, option, kind in (
        ("gain", words.gain, kinds.GAIN),
        ("read_noise", words.read_noise, kinds.READ_NOISE),
        ("sky", words.pedestal, kinds.LEVEL),
    ):
        value = command.number(option)
        if value is None:
            continue
        try:
            values[name] = kind.parse(value)
        except (ValueError, OverflowError):
            return {}, f"{title} has -{option} {command.values[option]}, which cannot be"
    if "gain" not in values:
        cut = ", but it is cut" if command.cut else ", for which HOTPANTS takes 1"
        values.pop("sky", None)
        return values, f"{title} states no gain (-{words.gain}){cut}"
    if command.cut and "read_noise" not in values:
        return {}, f"{title} is cut before a read noise (-{words.read_noise})"
    # Its light is what exceeds the pedestal.
    values["sky"] = -values.get("sky", 0.0)
    return {name: value for name, value in values.items() if name != "sky" or value}, ""


def are_exchanged(science: str, template: str, header: Header) -> bool:
    """Say whether a command has the science image as its template, and the reverse."""
    command = command_of(header)
    if command is None:
        return False
    names = [command.file(WORDS[role].image) or "" for role in ("science", "template")]
    there, others = [bare_name(file) for file in (science, template)], [*map(bare_name, names)]
    return there == others[::-1] and there[0] != there[1]


@contextmanager
def blaming(source: Source, role: str, what: str) -> Iterator[None]:
    """Say in errors why a file that nobody gave is read, and what to do about it."""
    try:
        yield
    except InputError as error:
        flag = f"--{role}-noise" if what == "noise" else f"--{role}-mask"
        msg = (
            f"{error} (it is taken for the {what} of the {role} image: {source.why}; {flag} FILE "
            "gives another, --no-diffcmd takes none)"
        )
        raise type(error)(msg) from None


def blamed(plane: Plane, source: Source, role: str, what: str) -> LazyPlane:
    """Return a plane whose rows raise errors as `blaming` does."""
    ny, nx = plane.shape

    def rows_of(rows: slice) -> NDArray[Any]:
        with blaming(source, role, what):
            return plane[rows]

    return LazyPlane((ny, nx), rows_of)
