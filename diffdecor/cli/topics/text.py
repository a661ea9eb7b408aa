"""Topics as text of a given width, and as what JSON holds."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from diffdecor.cli.topics.blocks import Block, Code, Heading, Items, Paragraph, Row, Table, Topic

#: Columns before everything but headings; between the columns of a table; before code.
_INDENT, _GAP, _BEFORE_CODE = 2, 2, 2
#: Terms that are longer have a line of their own; columns before what is said of them.
_LONGEST_TERM, _BEFORE_TEXT = 22, 6
_NUMBER = re.compile(r"[-+]?[\d.,]+( ?(s|MB))?|-")


def as_text(topic: Topic, width: int) -> str:
    """Return a topic as text of at most `width` columns."""
    parts = [_heading(f"{topic.name}: {topic.about}", width)]
    parts += [_shown(block, width - _INDENT) for block in topic.blocks]
    return "\n\n".join(parts) + "\n"


def facts_of(topic: Topic) -> dict[str, Any]:
    """Return the tables of a topic as one JSON object, with its name."""
    return {"topic": topic.name, **topic.tables}


def term_list(entries: Sequence[tuple[str, str]], width: int) -> str:
    """Return a list of terms with what is said of them."""
    return "\n".join(_terms(entries, width))


def _shown(block: Block, width: int) -> str:
    if isinstance(block, Heading):
        return _heading(block.text, width + _INDENT)
    return textwrap.indent("\n".join(_lines(block, width)), " " * _INDENT)


def _heading(text: str, width: int) -> str:
    lines = _filled(text, width)
    return "\n".join([*lines, "-" * max(map(len, lines))])


def _lines(block: Block, width: int) -> list[str]:
    if isinstance(block, Paragraph):
        return _filled(block.text, width)
    if isinstance(block, Items):
        return [line for text in block.texts for line in _hanging("- ", text, width)]
    if isinstance(block, Code):
        return [" " * _BEFORE_CODE + line if line else "" for line in block.text.split("\n")]
    if isinstance(block, Table) and block.titles:
        return _table(block, width)
    assert isinstance(block, Table)  # noqa: S101  for the checker of types
    return list(_terms([(row.cells[0], row.cells[1]) for row in block.rows], width))


def _filled(text: str, width: int) -> list[str]:
    """Return the lines of a text, each of its own filled by itself; words keep their hyphens."""
    lines = (textwrap.wrap(line, width, break_on_hyphens=False) for line in text.split("\n"))
    return list(chain.from_iterable(lines)) or [""]


def _hanging(mark: str, text: str, width: int) -> list[str]:
    lines = _filled(text, width - len(mark))
    return [(" " * len(mark) if number else mark) + line for number, line in enumerate(lines)]


def _terms(entries: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Give the lines of a list: terms, and beside or below each what is said of it."""
    shortest = [len(term) for term, _ in entries if len(term) <= _LONGEST_TERM]
    column = max(shortest) + _GAP if len(shortest) == len(entries) else _BEFORE_TEXT
    for term, text in entries:
        lines = _filled(text, width - column)
        if len(term) + _GAP <= column:
            yield term.ljust(column) + lines.pop(0)
        else:
            yield from _filled(term, width)
        yield from (" " * column + line for line in lines)


def _table(block: Table, width: int) -> list[str]:
    """Return a table: its columns are as wide as needed, the widest are narrowed if they must."""
    rows = [block.titles, *(row.cells for row in block.rows)]
    columns = list(zip(*rows, strict=True))
    widths = _widths(columns, width - _GAP * (len(columns) - 1))
    if sum(widths) > width - _GAP * (len(columns) - 1):
        return _as_terms(block, width)
    right = [all(_NUMBER.fullmatch(cell) for cell in column[1:]) for column in columns]
    lines: list[str] = []
    for number, row in enumerate(rows):
        cells = [_filled(cell, wide) for cell, wide in zip(row, widths, strict=True)]
        for place in range(max(map(len, cells))):
            parts = [cell[place] if place < len(cell) else "" for cell in cells]
            lines.append(
                (" " * _GAP)
                .join(
                    part.rjust(wide) if to_the_right else part.ljust(wide)
                    for part, wide, to_the_right in zip(parts, widths, right, strict=True)
                )
                .rstrip()
            )
        if number == 0:
            lines.append((" " * _GAP).join("-" * wide for wide in widths))
    return lines


def _widths(columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the widths of columns: at most the widest that fits, at least their longest words."""
    natural = [max(map(len, column)) for column in columns]
    least = [
        max(len(word) for cell in column for word in [*cell.split(), ""]) for column in columns
    ]
    for most in range(max(natural), 0, -1):
        widths = [max(low, min(most, high)) for low, high in zip(least, natural, strict=True)]
        if sum(widths) <= room:
            return widths
    return least


def _as_terms(block: Table, width: int) -> list[str]:
    """Return a table that is too wide as a list: the first cell, then the others with titles."""

    def said(row: Row) -> str:
        cells = zip(block.titles[1:], row.cells[1:], strict=True)
        return "\n".join(f"{title}: {cell}" for title, cell in cells if cell)

    return list(_terms([(row.cells[0], said(row)) for row in block.rows], width))
