"""Readers of file formats, found by what a file holds: the same for kernels and PSFs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from diffdecor.errors import InputError


class Identifies(Protocol):
    """What the registry needs of a reader. A class with static methods will do."""

    def identify(self, hdus: Sequence[Any]) -> bool:
        """Say whether these HDUs hold the reader's format. Look at headers only.

        They are all HDUs of the file, or the one that the user named in brackets.
        """


#: Largest side of a stamp (pixels): a kernel or PSF that is larger is an image, or damaged.
LARGEST_SIDE = 1001

Reader = TypeVar("Reader", bound=Identifies)


class Format(NamedTuple, Generic[Reader]):
    """A registered format."""

    name: str
    description: str
    reader: Reader
    fallback: bool
    #: What else people should know, in sentences.
    notes: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Registry(Generic[Reader]):
    """The formats of one kind of thing, what messages call it, and the error they are raised with.

    Modules that register readers are imported when a file may be theirs: each is given with words
    of which every file of its formats has one, as a keyword or in its text. A module without words
    is asked about every file.
    """

    thing: str
    modules: Mapping[str, Sequence[str]]
    error: type[InputError] = InputError
    _formats: dict[str, Format[Reader]] = field(default_factory=dict)

    def register(
        self, name: str, *, description: str, fallback: bool = False, notes: str = ""
    ) -> Callable[[Reader], Reader]:
        """Make a reader known: a decorator. ValueError if the name is taken.

        The description is one line for the list of formats, the notes are sentences for the
        reference (`diffdecor help`). A fallback is asked only when no other format claims a file.
        """

        def add(reader: Reader) -> Reader:
            if name in self._formats:
                msg = f"there is already a {self.thing} format {name!r}"
                raise ValueError(msg)
            self._formats[name] = Format(name, description, reader, fallback, notes)
            return reader

        return add

    def formats(self, hdus: Sequence[Any] | None = None) -> dict[str, Format[Reader]]:
        """Return every format by name; with HDUs at least those that these may hold."""
        for module, words in self.modules.items():
            if hdus is None or not words or has_any(words, hdus):
                import_module(module)
        return dict(self._formats)

    def claim(
        self, hdus: Sequence[Any], name: object, *, fallback: bool = False
    ) -> Format[Reader] | None:
        """Return the format whose reader claims the HDUs of a file, or the one HDU that is meant.

        None if no reader does; an error if several do. With `fallback` only fallbacks are asked,
        otherwise only the others.
        """
        known = [known for known in self.formats(hdus).values() if known.fallback is fallback]
        claimed = [one for one in known if one.reader.identify(hdus)]
        if len(claimed) > 1:
            names = " and ".join(one.name for one in claimed)
            msg = f"{name}: looks like {names}; name the HDU of the {self.thing} as file.fits[EXT]"
            raise self.error(msg)
        return claimed[0] if claimed else None

    def identify(self, hdus: Sequence[Any], name: object) -> Format[Reader]:
        """Return the format that claims the HDUs, fallbacks last; an error if there is none."""
        found = self.claim(hdus, name) or self.claim(hdus, name, fallback=True)
        if found is not None:
            return found
        known = self.formats().values()
        understood = "; ".join(f"{one.name}: {one.description}" for one in known)
        msg = f"{name}: holds no {self.thing} in a known format. Understood: {understood}"
        raise self.error(msg)


def has_any(words: Sequence[str], hdus: Sequence[Any]) -> bool:
    """Say whether one of the words is a keyword in a header, or in a text."""
    places = [place for hdu in hdus for place in (hdu.header, getattr(hdu, "text", ""))]
    return any(word in place for word in words for place in places)


def column_names(hdu: Any) -> list[str]:  # noqa: ANN401  astropy has no types
    """Return the names of the columns of a table as its header has them; none of an image."""
    return [] if hdu.is_image else [str(name).strip() for name in hdu.header["TTYPE*"].values()]
