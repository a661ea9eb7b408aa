"""The text of ficonv's kernel lists: blocks of ``key = value``, some of them in comments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from diffdecor.errors import KernelError

#: Key of the basis image, which is in commented lines.
IMAGE = "#image"

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_HEAD = re.compile(r"\[(\w+)\]\s*(?:#.*)?")
_ASSIGNMENT = re.compile(r"(#?\s*\w+)\s*=\s*(.*)")


@dataclass(frozen=True)
class Block:
    """The lines from ``[name]``, which is line `line` of the file, to ``[end]``."""

    parser: Parser
    name: str
    line: int
    #: Line number and text of every key.
    values: dict[str, tuple[int, str]]

    def has(self, key: str) -> bool:
        """Say whether there is such a key."""
        return key in self.values

    def value(self, key: str) -> str:
        """Return the text of a key; `KernelError` if it is missing."""
        if key not in self.values:
            self.parser.refuse(self.line, f"the block [{self.name}] has no {key!r}")
        return self.values[key][1]

    def numbers(self, key: str, count: int) -> list[float]:
        """Return the numbers of a key; `KernelError` unless there are `count` finite ones."""
        words = [word.strip() for word in self.value(key).strip().rstrip(",").split(",")]
        if len(words) != count:
            self.refuse(key, f"expected {count} numbers, found {len(words)}")
        for word in words:
            if not _NUMBER.fullmatch(word) or not np.isfinite(float(word)):
                self.refuse(key, f"{word[:40]!r} is not a number")
        return [float(word) for word in words]

    def whole(self, key: str, least: int, most: int) -> int:
        """Return the whole number of a key; `KernelError` unless it is in the range."""
        text = self.value(key)
        if not re.fullmatch(r"[-+]?\d{1,9}", text) or not least <= int(text) <= most:
            self.refuse(key, f"expected a whole number from {least} to {most}")
        return int(text)

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Raise `KernelError` with the line of a key."""
        line, text = self.values[key]
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        self.parser.refuse(line, f"{key.lstrip('#')} = {shown}: {problem}")


class Parser:
    """A kernel list, cut into its blocks; a line that is not understood is an error."""

    def __init__(self, name: str, lines: Sequence[str]) -> None:
        self._name = name
        self._blocks: list[Block] = []
        block: Block | None = None
        for number, line in _logical(lines):
            head = _HEAD.fullmatch(line)
            if head is None:
                self._assign(block, number, line)
            elif head[1] == "end":
                if block is None:
                    self.refuse(number, "[end] without a block before it")
                block = None
            else:
                if block is not None:
                    self.refuse(number, f"the block [{block.name}] has no [end]")
                block = Block(self, head[1], number, {})
                self._blocks.append(block)
        if block is not None:
            self.refuse(block.line, f"the block [{block.name}] has no [end]; the list is cut off")

    def blocks(self, name: str) -> list[Block]:
        """Return the blocks of this name."""
        return [block for block in self._blocks if block.name == name]

    def refuse(self, line: int, problem: str) -> NoReturn:
        """Raise `KernelError`."""
        msg = f"{self._name}: line {line}: {problem}; give the list as ficonv wrote it"
        raise KernelError(msg)

    def _assign(self, block: Block | None, number: int, line: str) -> None:
        """Add a line ``key = value`` to its block. Comments hold the basis images, and remarks."""
        found = _ASSIGNMENT.fullmatch(line)
        is_comment = line.startswith("#")
        if is_comment and (found is None or block is None):
            return
        if found is None or block is None:
            where = "not 'key = value'" if found is None else "outside of every block"
            self.refuse(number, f"{line[:40]!r} is {where}")
        key = found[1].replace(" ", "")
        if is_comment and key != IMAGE:
            return
        if key in block.values:
            self.refuse(number, f"{key!r} twice in one block")
        block.values[key] = number, found[2].strip()


def _logical(lines: Sequence[str]) -> list[tuple[int, str]]:
    r"""Return lines that are not empty, with their numbers, those continued by ``\`` joined.

    Each continued line of a comment starts with ``#``, too.
    """
    joined: list[tuple[int, str]] = []
    pending: list[str] = []
    start = 0
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if pending:
            line = line.removeprefix("#").strip() if pending[0].startswith("#") else line
        else:
            start = number
        pending.append(line.removesuffix("\\").strip())
        if not line.endswith("\\"):
            joined.append((start, " ".join(pending).strip()))
            pending = []
    if pending:
        joined.append((start, " ".join(pending).strip()))
    return [(number, line) for number, line in joined if line]
