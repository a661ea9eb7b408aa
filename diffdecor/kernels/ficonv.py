"""Kernel lists of ficonv (fitsh): text, with the basis images in its commented lines.

The kernel convolves the template (the reference), and belongs to the output pixel. Positions in the
list are 0-based pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np

from diffdecor.kernels.ficonv_text import IMAGE, Block, Parser
from diffdecor.kernels.model import BasisKernel, Box, Region, Term
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source
from diffdecor.kernels.textfile import TextFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

HIGHEST_ORDER = 30  # ficonv is used with up to 4
LARGEST_HALF_WIDTH = 500
FARTHEST = 1_000_000  # pixels
_WITH_IMAGE = ("gaussian", "ddelta")


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
        (listing,) = source.hdus
        parser = Parser(source.name, listing.lines)
        parts = _Parts(parser, parser.blocks("kernel"))
        offset, scale = _scaling(parser)
        shape = source.image_shape
        box = _box(offset, scale) if shape is None else Box(0, shape[1] - 1, 0, shape[0] - 1)
        side = options.convolved or "template"
        return BasisKernel(
            basis=parts.images,
            origin=(parts.half_width, parts.half_width),
            terms=_terms(parts.order),
            background_terms=_terms(parts.background_order),
            regions=(
                Region(
                    box=box,
                    side=side,
                    x0=offset[0],
                    xs=scale,
                    y0=offset[1],
                    ys=scale,
                    coefficients=parts.coefficients,
                    background=parts.background if side == "science" else -parts.background,
                ),
            ),
            image_shape=shape,
            name=source.name,
            format="ficonv",
        )


class _Parts:
    """What the blocks of a list hold together."""

    def __init__(self, parser: Parser, blocks: list[Block]) -> None:
        kernels: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        backgrounds: list[NDArray[np.float64]] = []
        for block in blocks:
            kind = block.value("type")
            coefficients = _coefficients(block)
            if kind == "background":
                backgrounds.append(coefficients)
            elif kind == "identity":
                kernels.append((np.ones((1, 1)), coefficients))
            elif kind in _WITH_IMAGE:
                kernels.append((_image(block), coefficients))
            else:
                block.refuse("type", "expected background, identity, gaussian or ddelta")
        if not kernels or len(backgrounds) > 1:
            found = "two backgrounds" if kernels else "no kernel but a background, or nothing"
            parser.refuse(blocks[-1].line if blocks else 1, f"{found} in the list")
        self.half_width = max(len(image) // 2 for image, _ in kernels)
        self.images = np.array([_padded(image, self.half_width) for image, _ in kernels])
        self.order = max(_order_of(coefficients) for _, coefficients in kernels)
        self.coefficients = np.zeros((len(kernels), _n_terms(self.order)))
        for row, (_, coefficients) in zip(self.coefficients, kernels, strict=True):
            row[: len(coefficients)] = coefficients
        self.background = backgrounds[0] if backgrounds else np.zeros(0)
        self.background_order = _order_of(self.background)


def _n_terms(order: int) -> int:
    return (order + 1) * (order + 2) // 2


def _order_of(coefficients: NDArray[np.float64]) -> int:
    """Return the order of the polynomial of this number of coefficients; -1 without any."""
    orders = range(-1, HIGHEST_ORDER + 1)
    return next(order for order in orders if _n_terms(order) == len(coefficients))


def _powers(order: int) -> list[tuple[int, int]]:
    """Return the powers of u and v in the order of the list: by total degree, that of v rising."""
    return [(degree - j, j) for degree in range(order + 1) for j in range(degree + 1)]


def _terms(order: int) -> tuple[Term, ...]:
    return tuple(Term("POLY", i, j) for i, j in _powers(order))


def _coefficients(block: Block) -> NDArray[np.float64]:
    """Return the coefficients of plain powers: those of the list are of u^i v^j / (i! j!)."""
    order = block.whole("order", 0, HIGHEST_ORDER)
    numbers = np.array(block.numbers("coeff", _n_terms(order)))
    return numbers / [float(factorial(i) * factorial(j)) for i, j in _powers(order)]


def _image(block: Block) -> NDArray[np.float64]:
    half = block.whole("hsize", 0, LARGEST_HALF_WIDTH)
    side = 2 * half + 1
    return np.array(block.numbers(IMAGE, side * side)).reshape(side, side)


def _padded(image: NDArray[np.float64], half_width: int) -> NDArray[np.float64]:
    return np.pad(image, half_width - len(image) // 2)


def _scaling(parser: Parser) -> tuple[tuple[float, float], float]:
    """Return the offset and scale of positions."""
    blocks = parser.blocks("global")
    if len(blocks) != 1:
        parser.refuse(1, f"{len(blocks)} blocks [global] in the list instead of one")
    block = blocks[0]
    if block.has("type") and block.value("type") != "1":
        block.refuse("type", "lists of type 1 are understood")
    x, y = block.numbers("offset", 2)
    (scale,) = block.numbers("scale", 1)
    if not 0 < scale < FARTHEST:
        block.refuse("scale", f"expected a number from 0 to {FARTHEST}")
    if max(abs(x), abs(y)) > FARTHEST:
        block.refuse("offset", "no pixel of an image")
    return (x, y), scale


def _box(offset: tuple[float, float], scale: float) -> Box:
    """Return the pixels on which both arguments of the polynomials lie within -1 and 1."""
    (xmin, xmax), (ymin, ymax) = (
        (int(np.floor(middle - scale)), int(np.ceil(middle + scale))) for middle in offset
    )
    return Box(xmin, xmax, ymin, ymax)
