"""How a fitted kernel may vary over an area: constant, polynomials, B-splines; or in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.planes import Window
from diffdecor.core.spatial import Term
from diffdecor.decorrelation.kernel_windows import Pixels
from diffdecor.kernels.model import Blocks

#: Highest order of polynomials that is tried.
HIGHEST_ORDER = 4
#: Intervals of the cubic B-splines that are tried, along either axis.
_INTERVALS = (2, 3, 4)
_CUBIC = 3


@dataclass(frozen=True, eq=False)
class Family:
    """Functions of position that a kernel may be a sum of, on an area."""

    name: str
    terms: tuple[Term, ...]
    area: Window
    #: Where the kernel is held constant; None where it varies from pixel to pixel.
    blocks: Blocks | None = None

    @property
    def text(self) -> str:
        """What it is called in messages."""
        if self.blocks is None or len(self.terms) == 1:
            return self.name
        return f"{self.name} in blocks of {self.blocks.step:g} pixels"

    @property
    def scaling(self) -> tuple[float, float, float, float]:
        """Middle and half width of the area along x, and along y: ``x0, xs, y0, ys``."""
        area = self.area
        return (
            (area.x0 + area.x1 - 1) / 2,
            (area.x1 - area.x0) / 2,
            (area.y0 + area.y1 - 1) / 2,
            (area.y1 - area.y0) / 2,
        )

    def values(self, pixels: Pixels) -> NDArray[np.float64]:
        """Return the functions ``(nterm, nwindow, n, n)`` at pixels."""
        return _values(self.terms, *self._scaled(pixels))

    def _scaled(self, pixels: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = pixels.x, pixels.y
        if self.blocks is not None:
            x, y = self.blocks.snapped(x, y)
        x0, xs, y0, ys = self.scaling
        return (x - x0) / xs, (y - y0) / ys

    def at(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the functions ``(nterm,)`` at a position, blocks left out of account."""
        x0, xs, y0, ys = self.scaling
        return np.array([term.value((x - x0) / xs, (y - y0) / ys) for term in self.terms])

    def in_blocks(self, blocks: Blocks | None) -> Family:
        """Return the same functions held constant over blocks."""
        return replace(self, blocks=blocks)


def _values(
    terms: tuple[Term, ...], u: NDArray[np.float64], v: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return terms ``(nterm, nwindow, n, n)`` at scaled columns and rows ``(nwindow, n)``."""
    found = []
    for term in terms:
        along_u, along_v = term.factors(u, v)
        shape = u.shape  # of a constant only one number is returned
        along_u, along_v = np.broadcast_to(along_u, shape), np.broadcast_to(along_v, shape)
        found.append(along_v[:, :, np.newaxis] * along_u[:, np.newaxis, :])
    return np.array(found)


def polynomials(area: Window, order: int, blocks: Blocks | None = None) -> Family:
    """Return all polynomials up to an order."""
    name = f"polynomials of order {order}" if order else "constant"
    return Family(name, polynomial_terms(order), area, blocks)


def polynomial_terms(order: int) -> tuple[Term, ...]:
    """Return the powers of u and v with up to an order together."""
    return tuple(Term("POLY", i, j) for i in range(order + 1) for j in range(order + 1 - i))


def splines(area: Window, intervals: int) -> Family:
    """Return cubic B-splines with knots at equal intervals."""
    inner = np.linspace(-1.0, 1.0, intervals + 1)
    knots = np.concatenate([np.full(_CUBIC, -1.0), inner, np.full(_CUBIC, 1.0)])
    count = intervals + _CUBIC
    terms = tuple(
        Term("BSPLINE", i, j, _CUBIC, (knots, knots)) for i in range(count) for j in range(count)
    )
    return Family(f"cubic B-splines of {intervals} x {intervals} intervals", terms, area)


def families(area: Window, blocks: Blocks | None) -> Iterator[Family]:
    """Yield what is tried, the smoothest first."""
    for order in range(HIGHEST_ORDER + 1):
        yield polynomials(area, order, blocks)
    if blocks is None:
        for intervals in _INTERVALS:
            yield splines(area, intervals)
