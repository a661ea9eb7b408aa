"""Functions of position that kernels and PSFs vary with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Term:
    """One function of position, ``f_i(u) g_j(v)``.

    POLY: ``u**i``; CHEB1: the Chebyshev polynomial ``T_i(u)``; BSPLINE: the ``i``-th B-spline of a
    degree on full knot vectors in ``u`` and ``v``. FIELD: a function of both that has no factors,
    of a class of its own.
    """

    family: Literal["POLY", "CHEB1", "BSPLINE", "FIELD"]
    i: int
    j: int
    degree: int = 0
    knots: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def value(self, u: float, v: float) -> float:
        """Evaluate the term at the scaled position ``(u, v)``."""
        along_u, along_v = self.factors(np.array([u]), np.array([v]))
        return float(along_u[0] * along_v[0])

    def grid(self, u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the term at all pairs of positions ``(len(v), len(u))``."""
        along_u, along_v = self.factors(u, v)
        return np.outer(along_v, along_u)

    def factors(
        self, u: NDArray[np.float64], v: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate both factors ``f_i(u)`` and ``g_j(v)`` of the term at many positions."""
        return self._function(0, self.i, u), self._function(1, self.j, v)

    def _function(
        self, axis: int, index: int, arguments: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        if self.family == "POLY":
            return np.asarray(arguments**index)
        if self.family == "CHEB1":
            return np.asarray(np.polynomial.chebyshev.chebval(arguments, np.eye(index + 1)[index]))
        assert self.knots is not None  # noqa: S101  the readers give every B-spline its knots
        from scipy.interpolate import BSpline  # slow to import, and seldom needed

        knots = self.knots[axis]
        coefficients = np.zeros(len(knots) - self.degree - 1)
        coefficients[index] = 1.0
        return np.asarray(BSpline(knots, coefficients, self.degree)(arguments))
