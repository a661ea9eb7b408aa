"""Where the reference says something of an option, or of any other word."""

from __future__ import annotations

import re

from diffdecor.cli.topics import TOPICS, topic_named
from diffdecor.cli.topics.blocks import Row, Table
from diffdecor.cli.topics.text import as_text

#: Columns of a text in which words are looked for: none of its lines ends within words.
_WIDE = 100_000


def options_named(name: str) -> list[Row]:
    """Return what the topic of options says of one: with or without dashes, or an image's role."""
    wanted = name.lower().lstrip("-").replace("_", "-")
    named = {wanted, *(f"{role}-{wanted}" for role in ("science", "template", "difference"))}
    rows = [row for block in topic_named("options").blocks if isinstance(block, Table)
            for row in block.rows]  # fmt: skip
    return [
        row
        for row in rows
        if named & {flag.lstrip("-") for one in (row.facts, *row.further) for flag in one["flags"]}
    ]


def topics_with(word: str) -> list[str]:
    """Return the topics whose text has a word."""
    found = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])", re.IGNORECASE)
    return [name for name in TOPICS if found.search(as_text(topic_named(name), _WIDE))]
