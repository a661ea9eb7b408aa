"""One share of a batch, of several that jobs of a scheduler do side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from diffdecor.batch.model import Task
from diffdecor.config.kinds import Kind

#: Digits of a number of shares: there are no more rows than that in any manifest.
_DIGITS = 9


class Shard(NamedTuple):
    """One share of several."""

    #: Which one, from 1 on.
    part: int
    #: How many there are.
    parts: int

    def __str__(self) -> str:
        """Return it as it is given."""
        return f"{self.part}/{self.parts}"


def parse_shard(value: object) -> Shard:
    """Parse a share ``I/N``; ValueError with what is expected."""
    match = re.fullmatch(
        r"\s*(\d+)\s*/\s*(\d+)\s*", value if isinstance(value, str) else "", re.ASCII
    )
    if match and max(map(len, match.groups())) <= _DIGITS:
        part, parts = map(int, match.groups())
        if 1 <= part <= parts:
            return Shard(part, parts)
    msg = "expected I/N, whole numbers with I from 1 to N, such as 3/20"
    raise ValueError(msg)


#: The kind of option.
SHARD = Kind(parse_shard, "I/N")


def take(tasks: Iterable[Task], shard: Shard) -> list[Task]:
    """Return the tasks of one share: every N-th row of the manifest, from row I on.

    It depends on nothing but the number of the row, so every row is in just one share.
    """
    return [task for task in tasks if (task.number - shard.part) % shard.parts == 0]
