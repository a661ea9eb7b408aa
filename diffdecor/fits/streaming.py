"""Planes read from one end to the other in bounded memory, and what is known of them only then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.planes import Plane, bands

_PIXELS = 1 << 20


def streamed(plane: Plane) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Read a plane from its first row to its last.

    Parameters
    ----------
    plane : plane (ny, nx)
        What is read.

    Yields
    ------
    rows : slice
        About a million pixels.
    pixels : array (n, nx)
        Those of these rows.
    """
    for rows in bands(plane.shape, max(1, _PIXELS // plane.shape[1])):
        yield rows, plane[rows]


def sampled(plane: Plane) -> NDArray[Any]:
    """Return evenly spaced rows of a plane, about a million pixels; all of a small one.

    Parameters
    ----------
    plane : plane (ny, nx)
        What is read.

    Returns
    -------
    array (n, nx)
        The rows.
    """
    ny, nx = plane.shape
    count = max(1, _PIXELS // nx)
    if count >= ny:
        return plane[0:ny]
    rows = np.linspace(0, ny - 1, count).round().astype(int)
    return np.concatenate([plane[row : row + 1] for row in rows.tolist()])


def in_memory(plane: Plane) -> NDArray[Any]:
    """Return all rows of a plane."""
    return plane[0 : plane.shape[0]]
