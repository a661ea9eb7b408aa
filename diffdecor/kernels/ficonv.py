r"""Kernel lists of ficonv (fitsh): text, with parameters, and basis images in commented lines.

A list is made of blocks of ``key = value``, from ``[name]`` to ``[end]``; ``\`` continues a line.
The kernel convolves the template (the reference), and belongs to the output pixel. Positions in the
list are 0-based pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
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
_HEAD = re.compile(r"\[\s*(\w+)\s*\]\s*(?:#.*)?")
_ASSIGNMENT = re.compile(r"(#?\s*\w+)\s*=\s*(.*)")


@register(
    "ficonv",
    description="ficonv kernel list (text with [kernel] blocks)",
    notes="Made by ficonv --output-kernel-list, of the package fitsh.",
)
class FiconvReader:
    """Reads the list that ``ficonv --output-kernel-list`` wrote."""

    @staticmethod
    def identify(hdus: Sequence[Any]) -> bool:
        """Say whether this is a text with a line ``[kernel]``."""
        texts = [hdu for hdu in hdus if isinstance(hdu, TextFile)]
        return any(
            "".join(line.split()).startswith("[kernel]") for text in texts for line in text.lines
        )

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
    text = found[2] if is_comment else found[2].partition("#")[0]
    block.values[key] = number, text.strip()


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
    blocks = [block for block in blocks if block.name == "kernel"]
    kinds = [block.value("type") for block in blocks]
    kernels, backgrounds = [], []
    for block, kind in zip(blocks, kinds, strict=True):
        coefficients = _coefficients(block)
        if kind == "background":
            backgrounds.append(coefficients)
        elif kind == "identity":
            kernels.append((np.ones((1, 1)), coefficients))
        elif kind in _IMAGES:
            kernels.append((_IMAGES[kind](block), coefficients))
            if kind == "unknown" and "offset" in block.values:
                backgrounds.append(block.numbers("offset", 1)[0] * coefficients)
        else:
            block.refuse("type", "expected background, identity, gaussian, ddelta or unknown")
    if not kernels:
        line = blocks[-1].line if blocks else 1
        _refuse(source, line, "no kernel but a background, or nothing in the list")
    _make_differences(blocks, kernels, [kind for kind in kinds if kind != "background"])
    half_width = max(len(image) // 2 for image, _ in kernels)
    return (
        np.array([np.pad(image, half_width - len(image) // 2) for image, _ in kernels]),
        np.array(_padded([found for _, found in kernels])),
        np.sum(_padded(backgrounds), axis=0) if backgrounds else np.zeros(0),
    )


def _padded(rows: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return coefficients of the same number of terms."""
    n_terms = max(map(len, rows))
    return [np.pad(row, (0, n_terms - len(row))) for row in rows]


def _powers(n_terms: int) -> Iterator[tuple[int, int]]:
    """Give the powers of u and v in the order of the list: by total degree, that of v rising."""
    return islice(((degree - j, j) for degree in count() for j in range(degree + 1)), n_terms)


def _terms(n_terms: int) -> tuple[Term, ...]:
    return tuple(Term("POLY", i, j) for i, j in _powers(n_terms))


def _coefficients(block: _Block) -> NDArray[np.float64]:
    """Return the coefficients of plain powers: those of the list are of u^i v^j / (i! j!)."""
    order = block.whole("order", HIGHEST_ORDER) if "order" in block.values else 0
    numbers = np.array(block.numbers("coeff", (order + 1) * (order + 2) // 2))
    return numbers / [float(factorial(i) * factorial(j)) for i, j in _powers(len(numbers))]


def _whole_pair(block: _Block) -> tuple[int, int]:
    """Return the powers of x and y, or the pixel, that a basis stands for."""
    x, y = block.numbers("basis", 2)
    if x != int(x) or y != int(y) or max(abs(x), abs(y)) > LARGEST_HALF_WIDTH:
        block.refuse("basis", f"expected two whole numbers up to {LARGEST_HALF_WIDTH}")
    return int(x), int(y)


def _image(block: _Block, key: str = _IMAGE) -> NDArray[np.float64]:
    """Return the image that a block holds."""
    side = 2 * (block.whole("hsize", LARGEST_HALF_WIDTH) if "hsize" in block.values else 0) + 1
    return np.array(block.numbers(key, side * side)).reshape(side, side)


def _double_delta(block: _Block) -> NDArray[np.float64]:
    """Return +0.5 at the pixel of the basis, and -0.5 at the centre; lists may have an image."""
    if "basis" not in block.values:
        return _image(block)
    x, y = _whole_pair(block)
    half = max(abs(x), abs(y))
    image = np.zeros((2 * half + 1, 2 * half + 1))
    image[half, half] -= 0.5
    image[half + y, half + x] += 0.5
    return image


def _gaussian(block: _Block) -> NDArray[np.float64]:
    """Return the image in the comments, or what the tool makes of the parameters.

    It is ``x^i y^j exp(-r^2 / 2 sigma^2)``, the mean of 10 x 10 points in every pixel, of sum 1 if
    both powers are even.
    """
    if _IMAGE in block.values:
        return _image(block)
    half = block.whole("hsize", LARGEST_HALF_WIDTH)
    (sigma,) = block.numbers("sigma", 1)
    i, j = _whole_pair(block)
    if not 0 < sigma < LARGEST_HALF_WIDTH:
        block.refuse("sigma", f"expected a number from 0 to {LARGEST_HALF_WIDTH}")
    if not 0 <= min(i, j) <= max(i, j) <= HIGHEST_ORDER:
        block.refuse("basis", f"expected powers from 0 to {HIGHEST_ORDER}")
    places = np.arange(-half, half + 1)[:, None] + (2 * np.arange(10) - 9) / 20
    profiles = [np.mean(np.exp(-(places**2) / (2 * sigma**2)) * places**n, axis=1) for n in (j, i)]
    image: NDArray[np.float64] = np.outer(*profiles)
    if _is_even(block):
        image /= image.sum()
    return image


def _is_even(block: _Block) -> bool:
    return all(power % 2 == 0 for power in _whole_pair(block))


def _plain_image(block: _Block) -> NDArray[np.float64]:
    """Return the image that is not in comments."""
    return _image(block, "image")


_IMAGES: dict[str, Callable[[_Block], NDArray[np.float64]]] = {
    "gaussian": _gaussian,
    "ddelta": _double_delta,
    "unknown": _plain_image,
}


def _make_differences(
    blocks: list[_Block],
    kernels: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    kinds: list[str],
) -> None:
    """Subtract the first kernel with a sum from the Gaussians after it, in place.

    That is the first identity, or Gaussian of even powers, of the list; images in the comments have
    it subtracted already.
    """
    blocks = [block for block in blocks if block.value("type") != "background"]
    first: NDArray[np.float64] | None = None
    for block, kind, (image, _) in zip(blocks, kinds, kernels, strict=True):
        summed = kind == "identity" or (
            kind == "gaussian" and "basis" in block.values and _is_even(block)
        )
        if not summed:
            continue
        if first is None:
            first = image.copy()
        elif kind == "gaussian" and _IMAGE not in block.values:
            half = min(len(image), len(first)) // 2
            middle, other = len(image) // 2, len(first) // 2
            image[middle - half : middle + half + 1, middle - half : middle + half + 1] -= first[
                other - half : other + half + 1, other - half : other + half + 1
            ]


def _scaling(source: Source, blocks: list[_Block]) -> tuple[float, float, float]:
    """Return the offset of positions in x and y, and their scale."""
    blocks = [block for block in blocks if block.name == "global"]
    if len(blocks) != 1:
        _refuse(source, 1, f"{len(blocks)} blocks [global] in the list instead of one")
    (block,) = blocks
    if "type" in block.values and block.value("type") != "1":
        block.refuse("type", "lists of type 1 are understood")
    x, y = block.numbers("offset", 2) if "offset" in block.values else (0.0, 0.0)
    (scale,) = block.numbers("scale", 1) if "scale" in block.values else (1.0,)
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
