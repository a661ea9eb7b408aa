"""A matching kernel that is known as stamps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffdecor.core.fourier import Origin
from diffdecor.core.given import position_array, stamp_array
from diffdecor.core.interpolate import Interpolation, Stamps
from diffdecor.core.magnitudes import FARTHEST, are_factors, are_possible
from diffdecor.errors import KernelError
from diffdecor.kernels.possible import NOT_FINITE, SCALES, check_numbers, check_origin, require
from diffdecor.kernels.regions import Box, Side, Turn, Usage

#: Stands for the middle of a stamp, as no pixel does: origins are at most 1001 pixels away.
_MIDDLE = -(1 << 20)


@dataclass(frozen=True, eq=False, kw_only=True)
class StampKernel(Stamps):
    """A kernel known as stamps: one that holds everywhere, or several at given positions.

    Several positions on a full regular grid are interpolated linearly, and beyond its outermost
    nodes held constant; other positions, and ``interpolation="NEAREST"``, take the nearest stamp.

    Parameters
    ----------
    stamps : array_like (n, ky, kx) or (ky, kx)
        True-convolution stamps. Not normalised: the sum is the flux ratio.
    positions : array_like (n, 2), optional
        0-based ``(x, y)`` of every stamp. Not needed for one stamp.
    origin : tuple of int, optional
        0-based ``(cx, cy)`` in the stamps; may lie outside them. ``(kx // 2, ky // 2)`` by default.
    interpolation : {"LINEAR", "NEAREST"}
        How to go from position to position.
    convolved : {"template", "science"}, optional
        The convolved side; None where that is not known.
    science_scale, template_scale : float
        The factors a_S and a_T.
    image_shape : tuple of int, optional
        ``(ny, nx)`` of the image.
    name, format : str
        File and format it came from.

    Raises
    ------
    KernelError
        If a pixel is not finite, if stamps and positions disagree, or if the side is neither.

    Examples
    --------
    A kernel that changes along x, for a difference with the science image convolved.

    >>> import numpy as np
    >>> from diffdecor import StampKernel
    >>> stamps = np.zeros((2, 5, 5))
    >>> stamps[:, 2, 2], stamps[1, 2, 3] = 1.0, 0.5
    >>> kernel = StampKernel(stamps=stamps, positions=[(0, 50), (100, 50)], convolved="science")
    >>> kernel.stamp(50, 50)[2].tolist()
    [0.0, 0.0, 1.0, 0.25, 0.0]
    """

    positions: NDArray[np.float64] = None  # type: ignore[assignment]
    origin: Origin = (_MIDDLE, _MIDDLE)
    convolved: Side | None = None
    science_scale: float = 1.0
    template_scale: float = 1.0
    image_shape: tuple[int, int] | None = None
    name: str = "kernel"
    format: str = "stamps"

    if TYPE_CHECKING:
        # More may be given than what is kept.
        def __init__(  # noqa: PLR0913
            self,
            *,
            stamps: ArrayLike,
            positions: ArrayLike | None = None,
            origin: Origin = ...,
            interpolation: Interpolation = "LINEAR",
            convolved: Side | None = None,
            science_scale: float = 1.0,
            template_scale: float = 1.0,
            image_shape: tuple[int, int] | None = None,
            name: str = "kernel",
            format: str = "stamps",  # noqa: A002
        ) -> None: ...

    def __post_init__(self) -> None:
        """Check what every file format, and every program, must deliver."""
        stamps = stamp_array(self.stamps, self.name, KernelError)
        positions = position_array(self.positions, len(stamps), self.name, KernelError)
        _, ky, kx = stamps.shape
        cx, cy = self.origin
        origin = (kx // 2 if cx == _MIDDLE else cx, ky // 2 if cy == _MIDDLE else cy)
        made = {"stamps": stamps, "positions": positions, "origin": origin}
        for field, value in made.items():
            object.__setattr__(self, field, value)
        check_numbers(stamps, self.name)
        check_origin(origin, self.name)
        require(np.isfinite(positions).all(), self.name, NOT_FINITE)
        problem = "a position of its stamps is far from any image; make the kernel again"
        require(are_possible(positions, FARTHEST), self.name, problem)
        scales = (self.science_scale, self.template_scale)
        require(are_factors(scales), self.name, SCALES)
        sides = get_args(Side)
        problem = f"convolved is {self.convolved!r}, not one of {', '.join(sides)}"
        require(self.convolved in {None, *sides}, self.name, problem)
        problem = f"interpolation is {self.interpolation!r}, neither LINEAR nor NEAREST"
        require(self.interpolation in get_args(Interpolation), self.name, problem)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Empty: stamps hold everywhere."""
        return ()

    @property
    def has_background(self) -> bool:
        """False: stamps carry no background."""
        return False

    @property
    def contents(self) -> dict[str, int]:
        """Number of stamps."""
        return {"stamps": len(self.stamps)}

    def side(self, x: float, y: float) -> Side | None:  # noqa: ARG002  the same everywhere
        """Return the convolved side, None where the file does not say."""
        return self.convolved

    def scales(self, x: float, y: float) -> tuple[float, float]:  # noqa: ARG002
        """Return ``(a_S, a_T)``."""
        return self.science_scale, self.template_scale

    def sum(self, x: float, y: float) -> float:
        """Return the sum of the kernel at ``(x, y)``."""
        return float(self.weights(x, y) @ self.stamps.sum(axis=(1, 2)))

    def background(self, x: float, y: float) -> float:  # noqa: ARG002
        """Return 0: stamps carry no background."""
        return 0.0

    def turned(self, turn: Turn) -> Self:
        """Return the kernel with its stamps flipped or transposed."""
        stamps, origin = turn(self.stamps, self.origin)
        return replace(self, stamps=stamps, origin=origin)

    def moved(self, x: int, y: int) -> Self:
        """Return the kernel of a cut-out of the image whose first pixel is ``(x, y)``."""
        return replace(self, positions=self.positions - (x, y), image_shape=None)

    def with_usage(self, change: Callable[[Usage], Usage]) -> Self:
        """Return the kernel with another side and other scales."""
        mean = float(self.stamps.sum(axis=(1, 2)).mean())
        usage = change(Usage(self.convolved, self.science_scale, self.template_scale, mean))
        return replace(
            self,
            convolved=usage.side,
            science_scale=usage.science_scale,
            template_scale=usage.template_scale,
        )
