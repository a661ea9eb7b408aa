"""Images of low resolution, as the background of MeerLICHT, on the pixels of a large one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.planes import LazyPlane, Plane
from diffdecor.errors import InputError


def upsampled(values: Plane, shape: tuple[int, int], file: object) -> Plane:
    """Return an image of low resolution on the pixels of a large one, by bilinear interpolation.

    Parameters
    ----------
    values : plane (my, mx)
        Every pixel stands for a box of the large image.
    shape : tuple of int
        ``(ny, nx)`` of the large image.
    file : object
        Its file, for messages.

    Returns
    -------
    plane (ny, nx)
        Constant outside the centres of the outermost boxes.

    Raises
    ------
    InputError
        If the shapes are not in one proportion.
    """
    small = tuple(values.shape)
    if small == shape:
        return values
    ratio_y, ratio_x = (large / length for large, length in zip(shape, small, strict=True))
    if min(ratio_y, ratio_x) < 1 or abs(ratio_y / ratio_x - 1) > 0.1:
        msg = (
            f"{file}: has shape {small} (ny, nx), which is no low-resolution image of "
            f"{shape}; give one of the same image"
        )
        raise InputError(msg)
    across = _Places.of(slice(0, shape[1]), ratio_x, small[1])

    def rows_of(rows: slice) -> NDArray[Any]:
        down = _Places.of(rows, ratio_y, small[0])
        top, bottom = int(down.lower[0]), int(down.upper[-1]) + 1
        along = down.interpolated(values[top:bottom].T, top).T
        return across.interpolated(along)

    return LazyPlane(shape, rows_of)


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the pixels of a large image are among those of a small one, along one axis."""

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    share: NDArray[np.float64]

    @classmethod
    def of(cls, pixels: slice, ratio: float, length: int) -> _Places:
        """Return the places of pixels ``start`` to ``stop`` in an axis of a length."""
        last = length - 1
        place = np.clip((np.arange(pixels.start, pixels.stop) + 0.5) / ratio - 0.5, 0, last)
        lower = np.minimum(place.astype(np.int64), max(last - 1, 0))
        return cls(lower, np.minimum(lower + 1, last), place - lower)

    def interpolated(self, values: NDArray[Any], first: int = 0) -> NDArray[Any]:
        """Interpolate along the last axis of values, whose first one has this number."""
        share = self.share.astype(values.dtype)
        below, above = values[:, self.lower - first], values[:, self.upper - first]
        return np.where(share == 0, below, below + share * (above - below))
