"""From values at given positions to a value anywhere: the weights of the neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nearest_weights(positions: NDArray[np.float64], x: float, y: float) -> NDArray[np.float64]:
    """Return the weight of every position for a value at ``(x, y)``: all for the nearest.

    Parameters
    ----------
    positions : array (n, 2)
        ``(x, y)`` of every value, in any order.
    x, y : float
        Where a value is wanted.

    Returns
    -------
    array (n,)
        One weight of 1, the others 0.
    """
    weights = np.zeros(len(positions))
    weights[np.argmin(((positions - (x, y)) ** 2).sum(axis=1))] = 1.0
    return weights


def bilinear_weights(positions: NDArray[np.float64], x: float, y: float) -> NDArray[np.float64]:
    """Return the weight of every position for a value at ``(x, y)``.

    Positions that form a full rectangular grid, evenly spaced or not, are interpolated linearly
    along both axes and held constant beyond the outermost ones. Of any others the nearest counts.

    Parameters
    ----------
    positions : array (n, 2)
        ``(x, y)`` of every value, in any order.
    x, y : float
        Where a value is wanted.

    Returns
    -------
    array (n,)
        Weights from 0 to 1 of unit sum.
    """
    columns, column = np.unique(positions[:, 0], return_inverse=True)
    rows, row = np.unique(positions[:, 1], return_inverse=True)
    nodes = len(columns) * len(rows)
    # A position given twice leaves another node of the grid empty, though the numbers agree.
    if nodes != len(positions) or len(np.unique(row * len(columns) + column)) != nodes:
        return nearest_weights(positions, x, y)
    along_x, along_y = _linear_weights(columns, x), _linear_weights(rows, y)
    return np.asarray(along_x[column] * along_y[row], dtype=np.float64)


def _linear_weights(nodes: NDArray[np.float64], position: float) -> NDArray[np.float64]:
    """Return the weights of linear interpolation between sorted nodes, constant beyond them."""
    weights = np.zeros(len(nodes))
    upper = min(int(np.searchsorted(nodes, position)), len(nodes) - 1)
    lower = max(upper - 1, 0)
    if lower == upper:
        weights[upper] = 1.0
        return weights
    share = (position - nodes[lower]) / (nodes[upper] - nodes[lower])
    weights[upper] = min(max(share, 0.0), 1.0)
    weights[lower] = 1.0 - weights[upper]
    return weights
