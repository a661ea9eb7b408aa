"""The rectangle of offsets in which a kernel that was solved for is not zero."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.kernel_solver import Solution
from diffdecor.core.support import Support

#: A pixel of a kernel is not zero if it is this many times its error.
_SIGNIFICANT = 5.0


def significant_support(solution: Solution, support: Support) -> Support:
    """Return the offsets around all pixels of kernels that are not zero."""
    errors = solution.errors[:, np.newaxis, np.newaxis]
    seen: NDArray[np.bool_] = np.any(np.abs(solution.kernels) > _SIGNIFICANT * errors, axis=0)
    rows, columns = (np.flatnonzero(np.any(seen, axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Support.square(0)
    return Support(
        support.x0 + int(columns[0]),
        support.x0 + int(columns[-1]),
        support.y0 + int(rows[0]),
        support.y0 + int(rows[-1]),
    )
