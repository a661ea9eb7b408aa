"""How a kernel made of basis images varies: regions of the image, and functions of position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin
from diffdecor.core.spatial import Term

__all__ = ["Blocks", "Box", "KernelArea", "Region", "Side", "Term", "Turn", "Usage"]

Side = Literal["template", "science"]
#: Turns stamps ``(..., ky, kx)`` and their origin ``(cx, cy)``: a flip, a transposition.
Turn = Callable[[NDArray[np.float64], Origin], tuple[NDArray[np.float64], Origin]]


class Usage(NamedTuple):
    """How the tool used a kernel, in one region or everywhere."""

    side: Side | None
    science_scale: float
    template_scale: float
    #: Sum of the kernel in the middle of the region, or the mean sum of all stamps.
    kernel_sum: float
    #: Factor by which the additive background changes with the other values.
    background: float = 1.0


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, all four limits inclusive and 0-based."""

    xmin: int
    xmax: int
    ymin: int
    ymax: int

    def covers(self, x: float, y: float) -> bool:
        """Say whether the position lies in one of the pixels of the box."""
        return self.xmin - 0.5 <= x <= self.xmax + 0.5 and self.ymin - 0.5 <= y <= self.ymax + 0.5

    @property
    def middle(self) -> tuple[float, float]:
        """Position ``(x, y)`` of its middle."""
        return (self.xmin + self.xmax) / 2, (self.ymin + self.ymax) / 2

    def moved(self, x: int, y: int) -> Box:
        """Return the box as it is counted from the pixel ``(x, y)``."""
        return Box(self.xmin - x, self.xmax - x, self.ymin - y, self.ymax - y)


@dataclass(frozen=True)
class Blocks:
    """Kernels held constant over square blocks.

    Pixel ``x`` uses K at ``start + step * floor((x - start) / step) + offset``.
    """

    start_x: float
    start_y: float
    step: float
    offset: float

    def snapped(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the positions whose kernels pixels in the columns `x` and the rows `y` use."""
        column = self.start_x + self.step * np.floor((x - self.start_x) / self.step) + self.offset
        row = self.start_y + self.step * np.floor((y - self.start_y) / self.step) + self.offset
        return column, row


@dataclass(frozen=True)
class KernelArea:
    """Pixels with one solution for the kernel, and what is known of how it varies there."""

    box: Box
    #: Where the tool held it constant; None where that is not known.
    blocks: Blocks | None = None
    #: Whether the tool took the kernel of the source pixel, and not of the output pixel.
    at_source: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Region:
    """The part of an image in which one solution for the kernel holds.

    Parameters
    ----------
    box : Box
        Pixels of the region.
    side : {"template", "science"} or None
        The image that was convolved; None where the file does not say.
    science_scale, template_scale : float
        The factors a_S and a_T.
    x0, xs, y0, ys : float
        Scaled position: ``u = (x - x0) / xs``, ``v = (y - y0) / ys``.
    coefficients : array (nbasis, nterm)
        Coefficient of every basis image for every term.
    background : array (nbgterm,)
        Coefficients of the additive part of the difference.
    blocks : Blocks, optional
        Where the tool held the kernel constant. Ignored by `BasisKernel.stamp`, used to rebuild
        the difference exactly.
    """

    box: Box
    side: Side | None
    science_scale: float = 1.0
    template_scale: float = 1.0
    x0: float = 0.0
    xs: float = 1.0
    y0: float = 0.0
    ys: float = 1.0
    coefficients: NDArray[np.float64]
    background: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    blocks: Blocks | None = None

    def moved(self, x: int, y: int) -> Region:
        """Return the region of a cut-out whose first pixel is ``(x, y)``."""
        blocks = self.blocks
        if blocks is not None:
            blocks = replace(blocks, start_x=blocks.start_x - x, start_y=blocks.start_y - y)
        box = self.box.moved(x, y)
        return replace(self, box=box, x0=self.x0 - x, y0=self.y0 - y, blocks=blocks)

    def weights(self, terms: tuple[Term, ...], x: float, y: float) -> NDArray[np.float64]:
        """Return the coefficient of every basis image ``(nbasis,)`` at the position ``(x, y)``."""
        return np.asarray(self.coefficients @ self._terms(terms, x, y), dtype=np.float64)

    def background_at(self, terms: tuple[Term, ...], x: float, y: float) -> float:
        """Return the additive part of the difference at ``(x, y)``, in the difference's unit."""
        return float(self.background @ self._terms(terms, x, y)) if terms else 0.0

    @np.errstate(all="ignore")  # what is not finite is refused
    def largest(
        self,
        terms: tuple[Term, ...],
        coefficients: NDArray[np.float64],
        shape: tuple[int, int],
    ) -> float:
        """Return how large the sum of terms with coefficients ``(..., nterm)`` may be.

        It is looked at in the corners and in the middle of its part of an image ``(ny, nx)``,
        between which polynomials are smaller. NaN or infinite where a term is; 0 outside.
        """
        box, (ny, nx) = self.box, shape
        x0, x1, y0, y1 = (
            max(0, box.xmin),
            min(nx - 1, box.xmax),
            max(0, box.ymin),
            min(ny - 1, box.ymax),
        )
        if x0 > x1 or y0 > y1 or not terms:
            return 0.0
        u = (np.array([x0, (x0 + x1) / 2, x1]) - self.x0) / self.xs
        v = (np.array([y0, (y0 + y1) / 2, y1]) - self.y0) / self.ys
        values = np.abs([term.grid(u, v).ravel() for term in terms])
        return float(np.max(np.abs(coefficients) @ values))

    def _terms(self, terms: tuple[Term, ...], x: float, y: float) -> NDArray[np.float64]:
        u, v = (x - self.x0) / self.xs, (y - self.y0) / self.ys
        return np.array([term.value(u, v) for term in terms])
