"""The warnings of a run: they go into the header of the result, or, with --strict, stop it."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from astropy.io import fits

from diffdecor.errors import DoubtfulError
from diffdecor.fits.headers import ascii_text
from diffdecor.fits.open import Header

#: HISTORY cards that warnings may take, and the characters of one.
CARDS, _WIDTH = 60, 72


class _Collector(logging.Handler):
    """Keeps the text of every warning once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of a record."""
        text = record.getMessage()
        if text not in self.texts:
            self.texts.append(text)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Collect the warnings of the package, in a list that grows, until the block ends."""
    logger, collector = logging.getLogger("diffdecor"), _Collector()
    logger.addHandler(collector)
    try:
        yield collector.texts
    finally:
        logger.removeHandler(collector)


def refuse_doubtful(
    output: str, warnings: Sequence[str], files: Iterable[str] = (), *, strict: bool
) -> None:
    """Raise `DoubtfulError` if there are warnings, and the options do not allow any.

    It keeps the `files` that were read or sought.
    """
    if strict and warnings:
        several = len(warnings) > 1
        number = f"are {len(warnings)} warnings" if several else "is 1 warning"
        first = ", the first" if several else ""
        msg = f"{output}: not written, for there {number} (--strict){first}: {warnings[0]}"
        raise DoubtfulError(msg, tuple(warnings), tuple(files))


def with_history(cards: Header, warnings: Sequence[str]) -> fits.Header:
    """Return cards with HISTORY of the warnings, as far as there is room for them."""
    whole = fits.Header() if cards is None else cards.copy()
    lines = [
        line
        for text in warnings
        for line in textwrap.wrap(ascii_text(f"diffdecor warning: {text}"), _WIDTH)
    ]
    if len(lines) > CARDS:
        lines[CARDS - 1 :] = ["diffdecor: there are further warnings"]
    for line in lines:
        whole.add_history(line)
    return whole
