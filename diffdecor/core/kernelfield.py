"""Kernels that vary smoothly over a plane: stamps on the nodes of a grid, bilinear between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin
from diffdecor.core.interpolate import bracket


@dataclass(frozen=True, eq=False)
class KernelField:
    """Kernels ``(ny, nx, ky, kx)`` on the nodes of a rectilinear grid, bilinear between them.

    The 0-based pixel positions `x` and `y` of node columns and rows rise. One of each: a kernel
    that does not vary. Beyond the outermost nodes the kernel stays that of the border. True
    convolution; stamps that do not contain their origin ``(cx, cy)`` are grown to it.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    stamps: NDArray[np.float64]
    origin: Origin

    def __post_init__(self) -> None:
        """Make sure that a tile's margins reach at least to its own pixels."""
        (cx, cy), (ky, kx) = self.origin, self.stamps.shape[-2:]
        left, right, below, above = (
            max(0, -cx),
            max(0, cx - kx + 1),
            max(0, -cy),
            max(0, cy - ky + 1),
        )
        if left or right or below or above:
            grown = np.pad(self.stamps, ((0, 0), (0, 0), (below, above), (left, right)))
            object.__setattr__(self, "stamps", grown)
            object.__setattr__(self, "origin", (cx + left, cy + below))

    @classmethod
    def constant(cls, stamp: NDArray[np.float64], origin: Origin) -> KernelField:
        """Return the field of one kernel ``(ky, kx)`` that holds everywhere."""
        node = np.zeros(1)
        return cls(node, node, stamp[np.newaxis, np.newaxis], origin)

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Pixels the kernels reach to the left, right, bottom and top of the pixel they serve."""
        ky, kx = self.stamps.shape[-2:]
        cx, cy = self.origin
        return kx - 1 - cx, cx, ky - 1 - cy, cy

    def at(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the kernel ``(ky, kx)`` at a 0-based position."""
        *rows, upper = bracket(self.y, y)
        left, right, share = bracket(self.x, x)
        below, above = (
            (1 - share) * self.stamps[row, left] + share * self.stamps[row, right] for row in rows
        )
        return np.asarray((1 - upper) * below + upper * above)
