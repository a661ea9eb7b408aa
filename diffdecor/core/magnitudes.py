"""How large numbers can be that mean something: what is beyond is damage, such as a flipped bit.

Products of several that can be, their squares and noise variances, are finite, and are not 0.
Options are held against it, too: numpy is imported only where arrays are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: Values of kernels and PSFs, scales and weights; fluxes in SI units are above 1e-40.
LARGEST, SMALLEST = 1e60, 1e-60
#: 0-based pixel positions.
FARTHEST = 1e9


def are_possible(values: ArrayLike, largest: float = LARGEST) -> bool:
    """Say whether all values are finite and not too large."""
    array = _sizes(values)
    return bool(array.size == 0 or array.max() <= largest)  # False for NaN, too


def are_factors(values: ArrayLike) -> bool:
    """Say whether all values can be factors: possible, and not almost 0."""
    array = _sizes(values)
    return are_possible(array) and bool(array.size == 0 or array.min() >= SMALLEST)


def _sizes(values: ArrayLike) -> Any:  # noqa: ANN401  an array
    import numpy as np

    return np.abs(np.asarray(values, dtype=np.float64))
