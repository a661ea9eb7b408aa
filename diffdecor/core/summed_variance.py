"""The variance of weighted sums of pixels of a decorrelated difference, such as PSF fluxes.

The sum is ``w * psi * D``. With D of two images whose pixels are independent, its variance is the
sum of each variance plane convolved with the square of ``w * psi a A h``, as that of a pixel is of
that of ``psi a A h``. Weights, filters and kernels are bilinear between nodes; the square of their
product is made at the nodes and, where it is not nearly linear between two of them, halfway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin, fast_shape
from diffdecor.core.interpolate import KernelField, QuadraticField
from diffdecor.core.noise import NoiseSide
from diffdecor.core.variance import cut_kernels, single_holds

#: Share of its energy by which the square of a kernel may deviate from a linear one.
_STRAIGHT = 2e-3
#: Share of the energy of a filter, and of a product, that may be cut off at either end of an axis.
_LOST, _TAIL = 1e-8, 1e-6

#: Transforms of the factors at nodes in a row, each ``(n, fy, fx)`` or, without one, ``(n, 1, 1)``:
#: filters, weights, and the kernels of every side.
Factors = list[NDArray[Any]]
#: Kernels ``(n, ky, kx)`` and their origin.
Kernels = tuple[NDArray[Any], Origin]


def summed_squares(
    filters: KernelField, weights: KernelField, sides: Sequence[NoiseSide]
) -> list[QuadraticField]:
    """Return the squares of ``w * psi a A h``, the kernels of every side's variance plane.

    Parameters
    ----------
    filters : KernelField
        Decorrelation kernels psi on n nodes, row by row.
    weights : KernelField
        What decorrelated pixels are convolved with, w, on the same nodes.
    sides : sequence of NoiseSide
        The noise of the images at these nodes, and their kernels and factors in the difference.

    Returns
    -------
    list of QuadraticField
        Squares, cut where their tail is negligible, their sums kept.
    """
    products = _Products(filters, weights, sides)
    lines = list(_lines(products, len(filters.y)))
    bent = sorted({column for line in lines for column in line.bent})
    x = _with_halfway(filters.x, bent)
    y = _with_halfway(filters.y, [line.row for line in lines if line.halfway])
    return [
        QuadraticField(filters.x, filters.y, KernelField(x, y, *_assembled(lines, number, bent)))
        for number in range(len(sides))
    ]


class _Products:
    """The products of filters, weights and the kernels of every side, row by row of nodes."""

    def __init__(
        self, filters: KernelField, weights: KernelField, sides: Sequence[NoiseSide]
    ) -> None:
        ny, nx, *size = filters.stamps.shape
        psi, origin = cut_kernels(filters.stamps.reshape(-1, *size), filters.origin, _LOST)
        self._psi, self._weights = psi.reshape(ny, nx, *psi.shape[1:]), weights.stamps
        self._sides = sides
        kernels = [self._kernels(side, 0) for side in sides]
        origins = np.array([origin]) + weights.origin + [one for _, one in kernels]
        self.origins: list[Origin] = [(int(cx), int(cy)) for cx, cy in origins]
        widest = np.max([stamps.shape[1:] for stamps, _ in kernels], axis=0)
        sizes = np.array([psi.shape[1:], weights.stamps.shape[2:], widest])
        self._shape = fast_shape(*(sizes.sum(axis=0) - 2).tolist())
        energies = [np.square(stamps).sum(axis=(1, 2)) for stamps, _ in kernels]
        self._type = np.float32 if all(map(single_holds, energies)) else np.float64

    def _kernels(self, side: NoiseSide, row: int) -> Kernels:
        """Return what the noise of a side went through at the nodes of a row."""
        nx = self._psi.shape[1]
        part = side[row * nx : (row + 1) * nx]
        stamps, origin = part.noise_stamps
        return part.scale[:, np.newaxis, np.newaxis] * stamps, origin

    def factors(self, row: int) -> Factors:
        """Return the transforms of all factors at the nodes of a row."""
        kernels = [self._kernels(side, row)[0] for side in self._sides]
        return [self._transform(one) for one in (self._psi[row], self._weights[row], *kernels)]

    def _transform(self, stamps: NDArray[Any]) -> NDArray[Any]:
        """Return transforms, and numbers as they are."""
        stamps = stamps.astype(self._type)
        if stamps.shape[1:] == (1, 1):
            stamps /= np.sqrt(self._shape[0] * self._shape[1])
            return stamps
        # Numpy transforms single precision as such only where it scales.
        return np.fft.rfft2(stamps, self._shape, norm="ortho")

    def of(self, factors: Factors) -> list[NDArray[Any]]:
        """Return the products of every side ``(n, ky, kx)``."""
        psi, weights, *sides = factors
        first = psi * weights
        # Each of the three transforms was scaled, and the inverse is.
        first *= self._shape[0] * self._shape[1]
        return [np.fft.irfft2(first * side, self._shape, norm="ortho") for side in sides]


@dataclass(frozen=True, eq=False)
class _Line:
    """The products at the nodes of a row, or halfway to the next, and halfway between columns."""

    row: int
    halfway: bool
    #: Columns of nodes after which there is one halfway.
    bent: list[int]
    #: Of every side: products at the nodes, and then those halfway.
    kernels: list[Kernels]


def _lines(products: _Products, number: int) -> Iterator[_Line]:
    """Yield all lines of nodes, and those halfway between rows where they are needed."""
    before: tuple[Factors, list[NDArray[Any]]] | None = None
    for row in range(number):
        factors = products.factors(row)
        found = products.of(factors)
        if before is not None and any(
            _bends(a, b).any() for a, b in zip(before[1], found, strict=True)
        ):
            mean = [(a + b) / 2 for a, b in zip(before[0], factors, strict=True)]
            yield _line(products, mean, products.of(mean), row - 1, halfway=True)
        yield _line(products, factors, found, row, halfway=False)
        before = factors, found


def _line(
    products: _Products, factors: Factors, found: list[NDArray[Any]], row: int, *, halfway: bool
) -> _Line:
    """Add the products halfway between columns to those at the nodes of a line."""
    bends = np.logical_or.reduce([_bends(one[:-1], one[1:]) for one in found])
    bent = np.flatnonzero(bends)
    if bent.size:
        between = products.of([(one[bent] + one[bent + 1]) / 2 for one in factors])
        found = [np.concatenate(both) for both in zip(found, between, strict=True)]
    kernels = [
        cut_kernels(one, origin, _TAIL) for one, origin in zip(found, products.origins, strict=True)
    ]
    return _Line(row, halfway, bent.tolist(), kernels)


def _bends(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Say between which kernels ``(n, ky, kx)`` and others the square is not nearly linear."""
    energies = [np.square(one).sum(axis=(1, 2)) for one in (first, second)]
    quarter = np.square(first - second).sum(axis=(1, 2)) / 4
    return np.asarray(quarter > _STRAIGHT * np.minimum(*energies))


def _with_halfway(nodes: NDArray[np.float64], after: Iterable[int]) -> NDArray[np.float64]:
    """Return nodes, and the middles after some of them."""
    numbers = np.array(list(after), dtype=np.intp)
    return np.sort(np.concatenate([nodes, (nodes[numbers] + nodes[numbers + 1]) / 2]))


def _assembled(lines: Sequence[_Line], number: int, bent: Sequence[int]) -> Kernels:
    """Return the squares of one side on all lines ``(ny, nx, ky, kx)``, and their origin.

    Columns halfway are `bent` ones; where a line has none, it is the mean of its neighbours.
    """
    parts = [line.kernels[number] for line in lines]
    cx, cy = (max(origin[axis] for _, origin in parts) for axis in (0, 1))
    right = max(one.shape[2] - origin[0] for one, origin in parts)
    above = max(one.shape[1] - origin[1] for one, origin in parts)
    nx = len(parts[0][0]) - len(lines[0].bent)
    nodes = np.arange(nx) + np.searchsorted(bent, np.arange(nx))
    squares = np.zeros((len(lines), nx + len(bent), cy + above, cx + right), parts[0][0].dtype)
    for line, (kernels, (x, y)), out in zip(lines, parts, squares, strict=True):
        inside = np.s_[:, cy - y : cy - y + kernels.shape[1], cx - x : cx - x + kernels.shape[2]]
        found = np.square(kernels)
        out[inside][nodes] = found[:nx]
        for column in bent:
            here = (
                found[nx + line.bent.index(column)]
                if column in line.bent
                else (found[column] + found[column + 1]) / 2
            )
            out[inside][nodes[column] + 1] = here
    return squares, (cx, cy)
