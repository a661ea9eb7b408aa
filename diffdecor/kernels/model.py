"""What a matching kernel is: a stamp, a side and two scales at every position of an image.

A difference is ``D = a_S S - a_T (K * T) + bg`` where the template was convolved, and
``D = a_S (K * S) - a_T T + bg`` where the science image was; ``*`` is a true convolution. All of it
is in 0-based pixels, integers at pixel centres, ``x`` along a row. File formats differ in all of
this; their readers translate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from diffdecor.errors import KernelError
from diffdecor.kernels.possible import (
    LONGEST_AXIS,
    check_numbers,
    check_origin,
    check_region,
    require,
)
from diffdecor.kernels.regions import Blocks, Box, KernelArea, Region, Side, Term, Turn, Usage
from diffdecor.kernels.stamp_kernel import StampKernel

__all__ = [
    "BasisKernel",
    "Blocks",
    "Box",
    "KernelArea",
    "MatchingKernel",
    "Region",
    "Side",
    "StampKernel",
    "Term",
    "Turn",
    "Usage",
    "nearest_covered",
]


class MatchingKernel(Protocol):
    """A matching kernel, whatever file it came from.

    Positions are 0-based pixels; stamps are true-convolution kernels. What comes after `background`
    is needed to describe a kernel and to verify it, not to decorrelate.
    """

    @property
    def name(self) -> str:
        """What error messages call it: its file name, mostly."""

    @property
    def format(self) -> str:
        """The format it was read from."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ky, kx)`` of every stamp."""

    @property
    def origin(self) -> tuple[int, int]:
        """0-based pixel ``(cx, cy)`` of the stamp that multiplies the pixel itself."""

    @property
    def image_shape(self) -> tuple[int, int] | None:
        """Shape ``(ny, nx)`` of the image it was made for, where that is known."""

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Where there is a kernel; empty: everywhere. The kernel may jump from box to box."""

    def stamp(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the kernel ``(ky, kx)`` at ``(x, y)``; `KernelError` where there is none."""

    def side(self, x: float, y: float) -> Side | None:
        """Return the convolved side at ``(x, y)``; None where the file does not say."""

    def scales(self, x: float, y: float) -> tuple[float, float]:
        """Return ``(a_S, a_T)`` at ``(x, y)``."""

    def sum(self, x: float, y: float) -> float:
        """Return the sum of the kernel at ``(x, y)``."""

    def background(self, x: float, y: float) -> float:
        """Return the additive part of the difference at ``(x, y)``."""

    @property
    def has_background(self) -> bool:
        """Whether there is an additive part."""

    @property
    def positions(self) -> NDArray[np.float64]:
        """Positions ``(n, 2)`` at which the kernel was measured; none if it is a function."""

    @property
    def contents(self) -> dict[str, int]:
        """What the kernel is made of, and how many of each."""

    def turned(self, turn: Turn) -> MatchingKernel:
        """Return the kernel with all its stamps flipped or transposed."""

    def moved(self, x: int, y: int) -> MatchingKernel:
        """Return the kernel of a cut-out of the image whose first pixel is ``(x, y)``."""

    def with_usage(self, change: Callable[[Usage], Usage]) -> MatchingKernel:
        """Return the kernel with other sides, scales and backgrounds, region by region."""


def nearest_covered(kernel: MatchingKernel, x: float, y: float) -> tuple[float, float]:
    """Return the position nearest to ``(x, y)`` at which there is a kernel.

    Parameters
    ----------
    kernel : MatchingKernel
        Which may be known in some regions only.
    x, y : float
        A 0-based position.

    Returns
    -------
    tuple of float
        The same position where a region covers it, or none are named.
    """
    boxes = kernel.boxes
    if not boxes or any(box.covers(x, y) for box in boxes):
        return x, y
    clamped = [
        (float(np.clip(x, box.xmin, box.xmax)), float(np.clip(y, box.ymin, box.ymax)))
        for box in boxes
    ]
    return min(clamped, key=lambda place: (place[0] - x) ** 2 + (place[1] - y) ** 2)


@dataclass(frozen=True, eq=False, kw_only=True)
class BasisKernel:
    """A kernel that is a sum of basis images with coefficients that vary over each region.

    ``K(x, y) = sum_n sum_m coefficients[n, m] term_m(u, v) basis[n]``.

    Parameters
    ----------
    basis : array (nbasis, ky, kx)
        Basis images, true convolution.
    origin : tuple of int
        0-based ``(cx, cy)`` in the basis images; may lie outside them.
    terms : tuple of Term
        Functions of position of the kernel.
    background_terms : tuple of Term
        Functions of position of the additive background.
    regions : tuple of Region
        The last region that covers a position counts.
    image_shape : tuple of int, optional
        ``(ny, nx)`` of the image.
    evaluated_at : {"OUTPUT", "SOURCE"}
        Whether the tool took the kernel of the output pixel or of the source pixel.
    boundary : {"VALID", "WRAP"}
        What the tool did at the border of the image.
    name, format : str
        File and format it came from.

    Raises
    ------
    KernelError
        If a number is not finite, or shapes disagree.
    """

    basis: NDArray[np.float64]
    origin: tuple[int, int]
    terms: tuple[Term, ...]
    regions: tuple[Region, ...]
    background_terms: tuple[Term, ...] = ()
    image_shape: tuple[int, int] | None = None
    evaluated_at: Literal["OUTPUT", "SOURCE"] = "OUTPUT"
    boundary: Literal["VALID", "WRAP"] = "VALID"
    name: str = "kernel"
    format: str = "basis"

    def __post_init__(self) -> None:
        """Check what every file format must deliver."""
        whole = self.basis.ndim == 3 and 0 not in self.basis.shape and bool(self.regions)
        require(whole, self.name, "no basis images or no regions")
        check_numbers(self.basis, self.name)
        check_origin(self.origin, self.name)
        ny, nx = self.image_shape or (LONGEST_AXIS, LONGEST_AXIS)
        for region in self.regions:
            check_region(
                region, self.basis, (self.terms, self.background_terms), (ny, nx), self.name
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ky, kx)`` of every stamp."""
        _, ky, kx = self.basis.shape
        return ky, kx

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Pixels of every region."""
        return tuple(region.box for region in self.regions)

    @property
    def positions(self) -> NDArray[np.float64]:
        """None: the coefficients are functions of position."""
        return np.zeros((0, 2))

    @property
    def has_background(self) -> bool:
        """Whether there is an additive part."""
        return bool(self.background_terms)

    @property
    def contents(self) -> dict[str, int]:
        """Numbers of basis images and of functions of position."""
        return {
            "basis_images": len(self.basis),
            "spatial_terms": len(self.terms),
            "background_terms": len(self.background_terms),
        }

    def region(self, x: float, y: float) -> Region:
        """Return the region that counts at ``(x, y)``.

        Raises
        ------
        KernelError
            If no region covers the position.
        """
        for region in reversed(self.regions):
            if region.box.covers(x, y):
                return region
        msg = f"{self.name}: there is no kernel at the 0-based position ({x:g}, {y:g})"
        raise KernelError(msg)

    def stamp(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the kernel ``(ky, kx)`` at the 0-based position ``(x, y)``."""
        weights = self.region(x, y).weights(self.terms, x, y)
        return np.asarray(np.tensordot(weights, self.basis, axes=1), dtype=np.float64)

    def side(self, x: float, y: float) -> Side | None:
        """Return the convolved side at ``(x, y)``."""
        return self.region(x, y).side

    def scales(self, x: float, y: float) -> tuple[float, float]:
        """Return ``(a_S, a_T)`` at ``(x, y)``."""
        region = self.region(x, y)
        return region.science_scale, region.template_scale

    def sum(self, x: float, y: float) -> float:
        """Return the sum of the kernel at ``(x, y)``."""
        return self._sum(self.region(x, y), x, y)

    def _sum(self, region: Region, x: float, y: float) -> float:
        return float(region.weights(self.terms, x, y) @ self.basis.sum(axis=(1, 2)))

    def background(self, x: float, y: float) -> float:
        """Return the additive part of the difference at ``(x, y)``."""
        return self.region(x, y).background_at(self.background_terms, x, y)

    def turned(self, turn: Turn) -> Self:
        """Return the kernel with its basis images flipped or transposed."""
        basis, origin = turn(self.basis, self.origin)
        return replace(self, basis=basis, origin=origin)

    def moved(self, x: int, y: int) -> Self:
        """Return the kernel of a cut-out of the image whose first pixel is ``(x, y)``."""
        regions = tuple(region.moved(x, y) for region in self.regions)
        return replace(self, regions=regions, image_shape=None)

    def with_usage(self, change: Callable[[Usage], Usage]) -> Self:
        """Return the kernel with other sides, scales and backgrounds, region by region."""

        def changed(region: Region) -> Region:
            scales = region.science_scale, region.template_scale
            usage = change(Usage(region.side, *scales, self._sum(region, *region.box.middle)))
            return replace(
                region,
                side=usage.side,
                science_scale=usage.science_scale,
                template_scale=usage.template_scale,
                background=region.background * usage.background,
            )

        return replace(self, regions=tuple(changed(region) for region in self.regions))
