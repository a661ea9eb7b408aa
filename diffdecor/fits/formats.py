"""Readers of file formats, found by what a file holds: the same for kernels and PSFs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


Reader = TypeVar("Reader", bound=Identifies)


class Format(NamedTuple, Generic[Reader]):
    """A registered format."""

    name: str
    description: str
    reader: Reader
    fallback: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Registry(Generic[Reader]):
    """The formats of one kind of thing.

    Parameters
    ----------
    thing : str
        What the files hold, for messages: ``"PSF"``.
    modules : sequence of str
        Modules that register the readers, imported when they are first needed.
    error : type
        Raised where a file cannot be told; a kind of `InputError`.
    """

    thing: str
    modules: Sequence[str]
    error: type[InputError] = InputError
    _formats: dict[str, Format[Reader]] = field(default_factory=dict)

    def register(
        self, name: str, *, description: str, fallback: bool = False
    ) -> Callable[[Reader], Reader]:
        """Make a reader known: a decorator.

        Parameters
        ----------
        name : str
            Name of the format.
        description : str
            One line for the list of formats.
        fallback : bool
            Ask it only when no other format claims the file.

        Returns
        -------
        callable
            Registers the reader that it is given, and returns it.

        Raises
        ------
        ValueError
            If the name is taken: an error of the programmer, not of the user.
        """

        def add(reader: Reader) -> Reader:
            if name in self._formats:
                msg = f"there is already a {self.thing} format {name!r}"
                raise ValueError(msg)
            self._formats[name] = Format(name, description, reader, fallback)
            return reader

        return add

    def formats(self) -> dict[str, Format[Reader]]:
        """Return every format by name, with all modules imported."""
        for module in self.modules:
            import_module(module)
        return dict(self._formats)

    def claim(
        self, hdus: Sequence[Any], name: object, *, fallback: bool = False
    ) -> Format[Reader] | None:
        """Return the format whose reader claims these HDUs, None if there is none.

        Parameters
        ----------
        hdus : sequence of HDU
            All HDUs of the file, or the one that is meant.
        name : object
            The file, for messages.
        fallback : bool
            Ask the readers registered as fallback, instead of the others.

        Returns
        -------
        Format or None
            The only one that claims them.

        Raises
        ------
        InputError
            If several do.
        """
        known = [known for known in self.formats().values() if known.fallback is fallback]
        claimed = [one for one in known if one.reader.identify(hdus)]
        if len(claimed) > 1:
            names = " and ".join(one.name for one in claimed)
            msg = f"{name}: looks like {names}; name the HDU of the {self.thing} as file.fits[EXT]"
            raise self.error(msg)
        return claimed[0] if claimed else None

    def identify(self, hdus: Sequence[Any], name: object) -> Format[Reader]:
        """Return the format whose reader claims these HDUs, those for want of a better one last.

        Parameters
        ----------
        hdus : sequence of HDU
            All HDUs of the file, or the one that is meant.
        name : object
            The file, for messages.

        Returns
        -------
        Format
            The only one that claims them.

        Raises
        ------
        InputError
            If none does, with the list of what is understood, or if several do.
        """
        found = self.claim(hdus, name) or self.claim(hdus, name, fallback=True)
        if found is not None:
            return found
        known = self.formats().values()
        understood = "; ".join(f"{one.name}: {one.description}" for one in known)
        msg = f"{name}: holds no {self.thing} in a known format. Understood: {understood}"
        raise self.error(msg)
