"""What topics are made of: headings, paragraphs, items, code and tables.

Prose is written as `parsed` reads it, so that a module of a topic looks like its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Heading:
    """The title of what follows."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Prose, to be filled."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of short paragraphs."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Lines to be shown as they are; `language` is sh, python, toml or text."""

    text: str
    language: str


@dataclass(frozen=True)
class Row:
    """A row of a table: its cells for people, its facts for programs.

    Every line of a cell is filled by itself.
    """

    cells: tuple[str, ...]
    facts: Mapping[str, Any]
    #: Those of what else it stands for.
    further: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Table:
    """A table; without titles a list of terms, each with what is to be said of it.

    Tables of one name are one list of facts.
    """

    name: str
    titles: tuple[str, ...]
    rows: tuple[Row, ...]


Block = Heading | Paragraph | Items | Code | Table


@dataclass(frozen=True)
class Topic:
    """A topic, and one line on what it is about."""

    name: str
    about: str
    blocks: tuple[Block, ...]

    @property
    def tables(self) -> dict[str, list[Mapping[str, Any]]]:
        """The facts of all tables, by their name."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for block in self.blocks:
            if isinstance(block, Table):
                for row in block.rows:
                    found.setdefault(block.name, []).extend((row.facts, *row.further))
        return found


def table(name: str, titles: Mapping[str, str], *rows: Sequence[str]) -> Table:
    """Return a table whose facts are its cells; `titles` are those of people by those in JSON."""
    made = (Row(tuple(cells), dict(zip(titles, cells, strict=True))) for cells in rows)
    return Table(name, tuple(titles.values()), tuple(made))


def terms(name: str, fields: tuple[str, str], entries: Mapping[str, str]) -> Table:
    """Return a list of terms, whose facts are called by the two `fields`."""
    rows = (Row(pair, dict(zip(fields, pair, strict=True))) for pair in entries.items())
    return Table(name, (), tuple(rows))


def formats(name: str, known: Mapping[str, Any]) -> Table:
    """Return the formats of files, each with its description and notes."""
    facts = (
        {"format": one, "description": about.description, "notes": about.notes}
        for one, about in known.items()
    )
    rows = (Row((one["format"], f"{one['description']}\n{one['notes']}"), one) for one in facts)
    return Table(name, (), tuple(rows))


def parsed(text: str, *tables: Block | Sequence[Block]) -> tuple[Block, ...]:
    """Return the blocks of a text; ``{}`` by itself is the next of the tables, or several blocks.

    Blocks have empty lines between them: ``## `` begins a heading, ``- `` an item, and three
    backquotes with a language begin code, which ends with three more.
    """
    left = iter(tables)
    return tuple(block for part in _parts(text) for block in _blocks(part, left))


def _parts(text: str) -> Iterator[str]:
    """Give the parts of a text between empty lines; code is one part."""
    for part in re.findall(r"^```\w+\n(?:.*\n)*?```$|(?:^.+\n?)+", text, re.MULTILINE):
        yield part.strip("\n")


def _blocks(part: str, left: Iterator[Block | Sequence[Block]]) -> Sequence[Block]:
    if part == "{}":
        given = next(left)
        return given if isinstance(given, Sequence) else [given]
    if part.startswith("```"):
        first, *lines, _ = part.split("\n")
        return [Code("\n".join(lines), first[3:])]
    if part.startswith("## "):
        return [Heading(part[3:])]
    if part.startswith("- "):
        return [Items(tuple(" ".join(item.split()) for item in part[2:].split("\n- ")))]
    return [Paragraph(" ".join(part.split()))]
