r"""Kernel lists of ficonv (fitsh): text, with the basis images in its commented lines.

A list is made of blocks of ``key = value``, from ``[name]`` to ``[end]``; ``\`` continues a line.
The kernel convolves the template (the reference), and belongs to the output pixel. Positions in the
list are 0-based pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from math import factorial
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from diffdecor.kernels.model import BasisKernel, Box, Region, Term
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source
from diffdecor.kernels.textfile import TextFile

HIGHEST_ORDER = 30  # ficonv is used with up to 4
LARGEST_HALF_WIDTH = 500
FARTHEST = 1_000_000  # pixels

#: Key of the basis image, which is in commented lines.
_IMAGE = "#image"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_HEAD = re.compile(r"\[(\w+)\]\s*(?:#.*)?")
_ASSIGNMENT = re.compile(r"(#?\s*\w+)\s*=\s*(.*)")


@register("ficonv", description="ficonv kernel list (text with [kernel] blocks)")
class FiconvReader:
    """Reads the list that ``ficonv --output-kernel-list`` wrote."""

    @staticmethod
    def identify(hdus: Sequence[Any]) -> bool:
        """Say whether this is a text with a line ``[kernel]``."""
        texts = [hdu for hdu in hdus if isinstance(hdu, TextFile)]
        return any(line.strip().startswith("[kernel]") for text in texts for line in text.lines)

    @staticmethod
    def read(source: Source, options: KernelOptions) -> BasisKernel:
        """Read the list: one region.

        It is the image, or where no difference gives its size the pixels on which the polynomials
        of the list run from -1 to 1.
        """
        blocks = _blocks(source)
        basis, coefficients, background = _solution(source, blocks)
        x0, y0, scale = _scaling(source, blocks)
        shape = source.image_shape
        box = _box(x0, y0, scale) if shape is None else Box(0, shape[1] - 1, 0, shape[0] - 1)
        side = options.convolved or "template"
        half_width = basis.shape[1] // 2
        return BasisKernel(
            basis=basis,
            origin=(half_width, half_width),
            terms=_terms(coefficients.shape[1]),
            background_terms=_terms(len(background)),
            regions=(
                Region(
                    box=box,
                    side=side,
                    x0=x0,
                    xs=scale,
                    y0=y0,
                    ys=scale,
                    coefficients=coefficients,
                    background=background if side == "science" else -background,
                ),
            ),
            image_shape=shape,
            name=source.name,
            format="ficonv",
        )


@dataclass(frozen=True)
class _Block:
    """The lines from ``[name]``, which is line `line` of the file, to ``[end]``."""

    source: Source
    name: str
    line: int
    #: Line number and text of every key.
    values: dict[str, tuple[int, str]]

    def value(self, key: str) -> str:
        """Return the text of a key."""
        if key not in self.values:
            _refuse(self.source, self.line, f"the block [{self.name}] has no {key!r}")
        return self.values[key][1]

    def numbers(self, key: str, count: int) -> list[float]:
        """Return the numbers of a key, which are finite and `count`."""
        words = [word.strip() for word in self.value(key).strip().rstrip(",").split(",")]
        if len(words) != count:
            self.refuse(key, f"expected {count} numbers, found {len(words)}")
        for word in words:
            if not _NUMBER.fullmatch(word) or not np.isfinite(float(word)):
                self.refuse(key, f"{word[:40]!r} is not a number")
        return [float(word) for word in words]

    def whole(self, key: str, most: int) -> int:
        """Return the whole number of a key, from 0."""
        text = self.value(key)
        if not re.fullmatch(r"[-+]?\d{1,9}", text) or not 0 <= int(text) <= most:
            self.refuse(key, f"expected a whole number from 0 to {most}")
        return int(text)

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Raise `KernelError` with the line of a key."""
        line, text = self.values[key]
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        _refuse(self.source, line, f"{key.lstrip('#')} = {shown}: {problem}")


def _refuse(source: Source, line: int, problem: str) -> NoReturn:
    source.refuse(f"line {line}: {problem}; give the list as ficonv wrote it")


def _blocks(source: Source) -> list[_Block]:
    """Cut the list into its blocks; a line that is not understood is an error."""
    blocks: list[_Block] = []
    block: _Block | None = None
    for number, line in _logical(source.hdus[0].lines):
        head = _HEAD.fullmatch(line)
        if head is None:
            _assign(source, block, number, line)
        elif head[1] == "end":
            if block is None:
                _refuse(source, number, "[end] without a block before it")
            block = None
        else:
            if block is not None:
                _refuse(source, number, f"the block [{block.name}] has no [end]")
            block = _Block(source, head[1], number, {})
            blocks.append(block)
    if block is not None:
        _refuse(source, block.line, f"the block [{block.name}] has no [end]; the list is cut off")
    return blocks


def _assign(source: Source, block: _Block | None, number: int, line: str) -> None:
    """Add a line ``key = value`` to its block. Comments hold the basis images, and remarks."""
    found = _ASSIGNMENT.fullmatch(line)
    is_comment = line.startswith("#")
    if found is None or block is None:
        if is_comment:
            return
        where = "not 'key = value'" if found is None else "outside of every block"
        _refuse(source, number, f"{line[:40]!r} is {where}")
    key = found[1].replace(" ", "")
    if is_comment and key != _IMAGE:
        return
    if key in block.values:
        _refuse(source, number, f"{key!r} twice in one block")
    block.values[key] = number, found[2].strip()


def _logical(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Give the lines that are not empty, with their numbers, and those that are continued joined.

    Each continued line of a comment starts with ``#``, too.
    """
    pending: list[str] = []
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if pending and pending[0].startswith("#"):
            line = line.removeprefix("#").strip()
        pending.append(line.removesuffix("\\").strip())
        if line.endswith("\\") and number < len(lines):
            continue
        joined = " ".join(pending).strip()
        if joined:
            yield number - len(pending) + 1, joined
        pending = []


def _solution(
    source: Source, blocks: list[_Block]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return basis images ``(n, ky, kx)``, their coefficients ``(n, nterm)``, and a background."""
    kernels, backgrounds = [], []
    blocks = [block for block in blocks if block.name == "kernel"]
    for block in blocks:
        kind = block.value("type")
        if kind == "background":
            backgrounds.append(_coefficients(block))
        elif kind == "identity":
            kernels.append((np.ones((1, 1)), _coefficients(block)))
        elif kind in ("gaussian", "ddelta"):
            kernels.append((_image(block), _coefficients(block)))
        else:
            block.refuse("type", "expected background, identity, gaussian or ddelta")
    if not kernels or len(backgrounds) > 1:
        found = "two backgrounds" if kernels else "no kernel but a background, or nothing"
        _refuse(source, blocks[-1].line if blocks else 1, f"{found} in the list")
    half_width = max(len(image) // 2 for image, _ in kernels)
    n_terms = max(len(coefficients) for _, coefficients in kernels)
    return (
        np.array([np.pad(image, half_width - len(image) // 2) for image, _ in kernels]),
        np.array([np.pad(found, (0, n_terms - len(found))) for _, found in kernels]),
        backgrounds[0] if backgrounds else np.zeros(0),
    )


def _powers(n_terms: int) -> Iterator[tuple[int, int]]:
    """Give the powers of u and v in the order of the list: by total degree, that of v rising."""
    return islice(((degree - j, j) for degree in count() for j in range(degree + 1)), n_terms)


def _terms(n_terms: int) -> tuple[Term, ...]:
    return tuple(Term("POLY", i, j) for i, j in _powers(n_terms))


def _coefficients(block: _Block) -> NDArray[np.float64]:
    """Return the coefficients of plain powers: those of the list are of u^i v^j / (i! j!)."""
    order = block.whole("order", HIGHEST_ORDER)
    numbers = np.array(block.numbers("coeff", (order + 1) * (order + 2) // 2))
    return numbers / [float(factorial(i) * factorial(j)) for i, j in _powers(len(numbers))]


def _image(block: _Block) -> NDArray[np.float64]:
    side = 2 * block.whole("hsize", LARGEST_HALF_WIDTH) + 1
    return np.array(block.numbers(_IMAGE, side * side)).reshape(side, side)


def _scaling(source: Source, blocks: list[_Block]) -> tuple[float, float, float]:
    """Return the offset of positions in x and y, and their scale."""
    blocks = [block for block in blocks if block.name == "global"]
    if len(blocks) != 1:
        _refuse(source, 1, f"{len(blocks)} blocks [global] in the list instead of one")
    (block,) = blocks
    if "type" in block.values and block.value("type") != "1":
        block.refuse("type", "lists of type 1 are understood")
    x, y = block.numbers("offset", 2)
    (scale,) = block.numbers("scale", 1)
    if not 0 < scale < FARTHEST:
        block.refuse("scale", f"expected a number from 0 to {FARTHEST}")
    if max(abs(x), abs(y)) > FARTHEST:
        block.refuse("offset", "no pixel of an image")
    return x, y, scale


def _box(x: float, y: float, scale: float) -> Box:
    """Return the pixels on which both arguments of the polynomials lie within -1 and 1."""
    (xmin, xmax), (ymin, ymax) = (
        (int(np.floor(middle - scale)), int(np.ceil(middle + scale))) for middle in (x, y)
    )
    return Box(xmin, xmax, ymin, ymax)
