"""HOTPANTS's own command line, which its differences carry in the card DIFFCMD.

The tool joins its arguments with blanks, so that quotes are lost; a fork joins them with nothing,
some builds keep only the last one, and programs that know no CONTINUE cards cut it. What may be cut
or mixed up is left out: nothing is guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from diffdecor.fits.open import Header, quiet_astropy


class Words(NamedTuple):
    """What the options of one image are called."""

    image: str
    noise: str
    mask: str
    gain: str = ""
    read_noise: str = ""
    pedestal: str = ""


#: HOTPANTS's image is the science image; of the difference the noise and mask are outputs.
WORDS = {
    "science": Words("inim", "ini", "imi", "ig", "ir", "ip"),
    "template": Words("tmplim", "tni", "tmi", "tg", "tr", "tp"),
    "difference": Words("outim", "oni", "omi"),
}
_NUMBERS = tuple(name for words in WORDS.values() for name in words[3:] if name)
_FILES = tuple(name for words in WORDS.values() for name in words[:3])
# The others of HOTPANTS 5.1.11: in a command without blanks they end what comes before.
_OTHERS = (
    "tu", "tuk", "tl", "iu", "iuk", "il", "ki", "r", "kcs", "ft", "sft", "nft", "mins", "mous",
    "gd", "nrx", "nry", "rf", "rkw", "nsx", "nsy", "ssf", "cmp", "afssc", "nss", "rss", "ko", "bgo",
    "ssig", "ks", "kfm", "okn", "c", "n", "fom", "sconv", "fi", "ef", "sum", "ond", "nim", "ndm",
    "oci", "cim", "nc", "hki", "oki", "sht", "obs", "obz", "nsht", "nbs", "nbz", "fin", "allm",
    "v", "savexy", "ng", "pca",
)  # fmt: skip
#: It makes a noise image that is not a sigma.
_FLAG = "convvar"
_KNOWN = sorted({*_NUMBERS, *_FILES, *_OTHERS, _FLAG}, key=len, reverse=True)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
#: The last card says that the text goes on, and astropy drops that.
_GOES_ON = re.compile(r"&'\s*(?:/.*)?$", re.DOTALL)
#: Characters of a text that fills a card, less a blank at its end: what goes on was cut off.
_FULL_CARD = (67, 68)


@dataclass(frozen=True)
class Command:
    """The options of a command line that say something of noise and masks."""

    #: Values by the name of the option, without its dash.
    values: Mapping[str, str]
    #: The end of it is missing: an option that is not there may have been given.
    cut: bool = False

    def file(self, name: str) -> str | None:
        """Return the name of a file, None if there is none."""
        value = self.values.get(name, "")
        for quote in "\"'":
            if len(value) > 2 and value[0] == value[-1] == quote:
                value = value[1:-1]
        return value.removeprefix("!") or None  # CFITSIO's mark for overwriting

    def number(self, name: str) -> float | None:
        """Return a number, None if it is not given, NaN if it is not one."""
        value = self.values.get(name)
        if value is None:
            return None
        found = float(value) if _NUMBER.fullmatch(value) else math.nan
        return found if math.isfinite(found) else math.nan


def command_of(header: Header) -> Command | None:
    """Return the command line that a header holds, None if there is none, or several disagree."""
    if header is None or "DIFFCMD" not in header:
        return None
    found = []
    for number in range(header.count("DIFFCMD")):
        card = header.cards["DIFFCMD", number]
        with quiet_astropy("DIFFCMD"):
            goes_on = _GOES_ON.search(card.image[-80:]) is not None
        found.append(parsed(f"{card.value}{'&' if goes_on else ''}"))
    return found[0] if all(one == found[0] for one in found) else None


def parsed(text: str) -> Command | None:
    """Return the options of a command line, None of a text that is none.

    One that ends with ``&`` went on in cards that are lost, as may one that just fills a card.
    """
    text = text.strip()
    words = text.lower().split()
    cut = text.endswith("&") or len(text) + text.count("'") in _FULL_CARD
    if "-inim" in words:
        values = _of_words(text.rstrip("&"))
    elif "-inim" in text.lower():
        values = _of_one_word(text.rstrip("&"))
    else:
        return None
    if cut and values:
        values.popitem()  # it may go on
    return Command({name: value for name, value in values.items() if name not in _OTHERS}, cut)


def _of_words(text: str) -> dict[str, str]:
    """Return options and their values, which may have blanks; of several the last counts."""
    values: dict[str, str] = {}
    # Options of forks begin like all others; negative numbers do not.
    marks = list(re.finditer(r"(?<!\S)-([A-Za-z_]\w*)(?!\S)", text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=True):
        name = mark[1].lower()
        values.pop(name, None)  # so that the order is that of the text
        values[name] = text[mark.end() : end].strip()
    return {n: v for n, v in values.items() if v or n not in (*_NUMBERS, *_FILES)}


def _of_one_word(text: str) -> dict[str, str]:
    """Return options and values that no blanks separate, as far as there is one reading."""
    pattern = "|".join(_KNOWN)
    marks = list(re.finditer(rf"-({pattern})", text, re.IGNORECASE))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    values: dict[str, str] = {}
    twice: set[str] = set()
    for mark, end in zip(marks, ends, strict=True):
        name = mark[1].lower()
        if name in values:
            twice.add(name)
        values[name] = text[mark.end() : end].strip()
    return {
        name: value
        for name, value in values.items()
        if name not in twice and (name not in _NUMBERS or _NUMBER.fullmatch(value))
    }
