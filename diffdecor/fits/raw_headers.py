"""The headers of a file as bytes, looked through before astropy or wcslib sees them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from typing import BinaryIO, NamedTuple, NoReturn

from diffdecor.errors import InputError

CARD = 80
BLOCK = 2880
#: Cards of one header; honest ones have less than half as many.
MOST_CARDS = 10_000

#: Blocks of a header that are read at once.
_AT_ONCE = 4
_WHOLE = re.compile(rb"[+-]?\d{1,19}")
_NUMBER = re.compile(rb"[+-]?\d+(\.\d*)?([ED][+-]?\d+)?")
_NO_KEYWORD = re.compile(rb"[^ -~]")
#: How a card begins that ends the header: astropy, too, takes those that more than blanks follow.
_END = re.compile(rb"END[^A-Z0-9_-]")


class Stored:
    """The bytes of a file as it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        self._size = os.fstat(file.fileno()).st_size

    def at(self, place: int, length: int) -> bytes:
        """Return bytes from a place on; fewer, or none, where the file ends."""
        return read_at(self._descriptor, place, length)

    def reaches(self, end: int) -> bool:
        """Say whether there are at least that many bytes."""
        return end <= self._size


class RawHdu(NamedTuple):
    """Where an HDU is in its file, in bytes."""

    header: int
    data: int
    #: Of the data, without the padding.
    size: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.data + -(-self.size // BLOCK) * BLOCK


class RawHeader:
    """The cards of a header up to its END, by keyword; of several with one keyword the first.

    `name` says in messages which header of which file it is.
    """

    def __init__(self, cards: bytes, name: str) -> None:
        self._cards = cards
        self._name = name
        # From the last one on, so that the first one stays.
        self._places = {
            cards[place : place + 8]: place for place in range(len(cards) - CARD, -1, -CARD)
        }

    def __len__(self) -> int:
        """Return the number of cards."""
        return len(self._cards) // CARD

    def keywords(self) -> Iterator[bytes]:
        """Give the first eight bytes of the cards, each once."""
        return iter(self._places)

    def value(self, keyword: str) -> bytes | None:
        """Return the text of a value, its comment cut off; None if there is no such value."""
        place = self._places.get(keyword.encode().ljust(8))
        if place is None or self._cards[place + 8 : place + 10] != b"= ":
            return None
        text = self._cards[place + 10 : place + CARD].strip()
        return text if text.startswith(b"'") else text.partition(b"/")[0].strip()

    def text(self, keyword: str, default: str = "") -> str:
        """Return a text value, without its quotes and trailing blanks."""
        value = self.value(keyword)
        if value is None or not value.startswith(b"'"):
            return default
        inner = value[1:].replace(b"''", b"\0").partition(b"'")[0].replace(b"\0", b"'")
        return inner.decode("latin-1").rstrip()

    def whole(
        self, keyword: str, lowest: int, highest: int | None = None, default: int | None = None
    ) -> int:
        """Return a whole number in a range; what is missing is the default, if there is one."""
        value = self.value(keyword)
        if value is None and default is not None:
            return default
        if value is None:
            self.refuse(f"has no {keyword}")
        number = int(value) if _WHOLE.fullmatch(value) else None
        if number is None or number < lowest or (highest is not None and number > highest):
            bounds = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
            self.refuse(f"{keyword} = {printable(value)}, not a whole number {bounds}")
        return number

    def one_of(self, keyword: str, numbers: Collection[int]) -> int:
        """Return a whole number that is one of some."""
        number = self.whole(keyword, min(numbers), max(numbers))
        if number not in numbers:
            self.refuse(f"{keyword} = {number}, not one of {', '.join(map(str, numbers))}")
        return number

    def number(self, keyword: str) -> float | None:
        """Return a number; None if the value is not one."""
        value = self.value(keyword) or b""
        if not _NUMBER.fullmatch(value):
            return None
        return float(value.replace(b"D", b"E"))

    def refuse(self, problem: str) -> NoReturn:
        """Raise the error of a file with this header."""
        msg = f"{self._name}: {problem}; fetch the file again or correct the card"
        raise InputError(msg)


def read_at(descriptor: int, place: int, length: int) -> bytes:
    """Read bytes of a file; fewer only at its end."""
    found = os.pread(descriptor, length, place)
    while len(found) < length and (
        more := os.pread(descriptor, length - len(found), place + len(found))
    ):
        found += more
    return found


def header_at(content: Stored, place: int, number: int, name: object) -> RawHeader:
    """Read the header of an HDU; InputError if it has no end, or none before binary data."""
    cards = b""
    while len(cards) <= MOST_CARDS * CARD:
        more = content.at(place + len(cards), _AT_ONCE * BLOCK)
        for start in range(0, len(more), CARD):
            keyword = more[start : start + 8]
            if keyword.startswith(b"END") and _END.match(keyword):
                return RawHeader(cards + more[:start], f"{name}: HDU {number}")
            if _NO_KEYWORD.search(keyword):
                card = (len(cards) + start) // CARD + 1
                refuse_header(
                    name, number, f"has binary data for a keyword in card {card}, no END before it"
                )
        cards += more
        if len(more) < _AT_ONCE * BLOCK:
            refuse_header(name, number, "has no END")
    msg = (
        f"{name}: the header of HDU {number} has more than {MOST_CARDS} cards; remove those that "
        "are not needed, such as HISTORY"
    )
    raise InputError(msg)


def refuse_header(name: object, number: int, problem: str) -> NoReturn:
    """Raise the error of a header that ends nowhere."""
    damaged = f"damaged after HDU {number - 1}" if number else "not a readable FITS file"
    msg = f"{name}: {damaged} (the header of HDU {number} {problem}); fetch it again"
    raise InputError(msg)


def printable(text: bytes) -> str:
    """Return a piece of a card as a message can show it."""
    short = text if len(text) <= 30 else text[:27] + b"..."
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in short)
