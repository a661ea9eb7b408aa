"""What the numerics call a plane, and planes that are made as they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Plane(Protocol):
    """Two-dimensional pixels that can be sliced by rows.

    A numpy array is one; so is a part of a FITS file, or a plane made row by row from others.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Return ``(ny, nx)``."""

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Return the rows ``rows`` (step 1) as an array ``(n, nx)``."""


@dataclass(frozen=True, eq=False)
class ComputedPlane:
    """A plane whose rows are computed when they are read.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)``.
    rows : callable
        Makes the array ``(n, nx)`` of a slice of rows.
    """

    shape: tuple[int, int]
    rows: Callable[[slice], NDArray[Any]]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return the rows ``rows``."""
        return self.rows(rows)


def constant_plane(value: float, shape: tuple[int, int]) -> ComputedPlane:
    """Return a plane ``(ny, nx)`` of one value.

    Parameters
    ----------
    value : float
        The value of every pixel.
    shape : tuple of int
        ``(ny, nx)``.

    Returns
    -------
    ComputedPlane
        Takes no memory.
    """
    return ComputedPlane(
        shape, lambda rows: np.full((rows.stop - rows.start, shape[1]), value, dtype=np.float64)
    )


def bands(shape: tuple[int, ...], height: int = 256) -> list[slice]:
    """Return slices that go through all rows of a plane, some at a time.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the plane.
    height : int
        Rows at a time.

    Returns
    -------
    list of slice
        In rising order.
    """
    return [slice(start, min(start + height, shape[0])) for start in range(0, shape[0], height)]
