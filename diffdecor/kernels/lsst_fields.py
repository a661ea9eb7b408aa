"""Fields of lsst.images: functions of the box position, of which its kernels are made."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from diffdecor.fits.lsst_images import Node

Array = NDArray[np.float64]
#: Fields within fields; what is deeper is damaged.
_DEEPEST = 20
#: Levels of lists around the corners of several polygons, with holes.
_LEVELS = 4


class Field(Protocol):
    """A function of box positions."""

    def grid(self, x: Array, y: Array) -> Array:
        """Return the values ``(len(y), len(x))`` at columns `x` and rows `y`."""


@dataclass(frozen=True)
class Domain:
    """Box pixels along both axes on which polynomials are defined, half open."""

    x: tuple[float, float]
    y: tuple[float, float]

    @property
    def scaling(self) -> dict[str, float]:
        """Position of the middle and half length, to the edges of the pixels, of both axes."""
        middle = {f"{axis}0": (sum(getattr(self, axis)) - 1) / 2 for axis in "xy"}
        half = {f"{axis}s": (self._length(axis)) / 2 for axis in "xy"}
        return middle | half

    def _length(self, axis: str) -> float:
        start, stop = getattr(self, axis)
        return float(stop - start)


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A sum of ``coefficients[p, q] T_p(y) T_q(x)``, Chebyshev polynomials on a domain."""

    domain: Domain
    coefficients: Array

    def grid(self, x: Array, y: Array) -> Array:
        """Return the values ``(len(y), len(x))`` at columns `x` and rows `y`."""
        at = self.domain.scaling
        u, v = (x - at["x0"]) / at["xs"], (y - at["y0"]) / at["ys"]
        return np.asarray(chebyshev.chebgrid2d(v, u, self.coefficients))

    def __add__(self, other: Polynomial) -> Polynomial:
        """Return the sum with a polynomial on the same domain."""
        shapes = self.coefficients.shape, other.coefficients.shape
        total = np.zeros(np.max(shapes, axis=0))
        for one in (self.coefficients, other.coefficients):
            total[: one.shape[0], : one.shape[1]] += one
        return Polynomial(self.domain, total)

    def __mul__(self, other: Polynomial) -> Polynomial:
        """Return the product with a polynomial on the same domain."""
        (p1, q1), (p2, q2) = self.coefficients.shape, other.coefficients.shape
        product = np.zeros((p1 + p2 - 1, q1 + q2 - 1))
        for p in range(p1):
            for q in range(p2):
                # T_p T_q = (T_p+q + T_|p-q|) / 2 along y.
                along_x = chebyshev.chebmul(self.coefficients[p], other.coefficients[q]) / 2
                product[p + q, : len(along_x)] += along_x
                product[abs(p - q), : len(along_x)] += along_x
        return Polynomial(self.domain, product)


@dataclass(frozen=True, eq=False)
class Combined:
    """The sum or the product of fields."""

    parts: tuple[Field, ...]
    product: bool

    def grid(self, x: Array, y: Array) -> Array:
        """Return the values ``(len(y), len(x))`` at columns `x` and rows `y`."""
        combine = operator.mul if self.product else operator.add
        return np.asarray(reduce(combine, (part.grid(x, y) for part in self.parts)))


@dataclass(frozen=True, eq=False)
class Spline:
    """Akima splines through the values ``(ny, nx)`` at nodes: along every column, then along x.

    Nodes that are NaN are left out of their column; a single one is a constant.
    """

    values: Array
    x: Array
    y: Array

    def grid(self, x: Array, y: Array) -> Array:
        """Return the values ``(len(y), len(x))`` at columns `x` and rows `y`."""
        known = np.isfinite(self.values)
        there = np.flatnonzero(known.any(axis=0))
        columns = [
            _akima(self.y[known[:, n]], self.values[known[:, n], n][:, np.newaxis], y)[:, 0]
            for n in there
        ]
        return _akima(self.x[there], np.array(columns), x).T


def read_field(node: Node, depth: int = 0) -> Field:
    """Return a field of the tree; InputError if its type is not known, or it is damaged."""
    node.checked()
    kind = node.get("field_type")
    if depth > _DEEPEST:
        node.refuse(f"more than {_DEEPEST} fields in one another")
    if kind == "CHEBYSHEV":
        return _polynomial(node)
    if kind == "SPLINE":
        return _spline(node)
    if kind in ("SUM", "PRODUCT"):
        parts = tuple(read_field(part, depth + 1) for part in node.nodes("operands"))
        if not parts:
            node.refuse(f"a {kind} of nothing")
        return _combined(parts, product=kind == "PRODUCT")
    return node.refuse(
        f"a field of the unknown type {kind!r}",
        "evaluate the kernel with lsst.images and give it as stamps with --kernel",
    )


def _combined(parts: tuple[Field, ...], *, product: bool) -> Field:
    """Return a sum or product, of polynomials on one domain as a polynomial."""
    polynomials = [part for part in parts if isinstance(part, Polynomial)]
    domains = {part.domain for part in polynomials}
    if len(polynomials) < len(parts) or len(domains) > 1:
        return Combined(parts, product)
    return reduce(operator.mul if product else operator.add, polynomials)


def _polynomial(node: Node) -> Polynomial:
    coefficients = node.array("coefficients")
    if coefficients.ndim != 2 or not coefficients.size or not np.isfinite(coefficients).all():
        node.refuse(f"coefficients of shape {coefficients.shape}, or not all of them are finite")
    return Polynomial(_domain(node.node("bounds")), coefficients)


def _spline(node: Node) -> Spline:
    values, x, y = (node.array(key) for key in ("data", "x", "y"))
    if x.ndim != 1 or y.ndim != 1 or values.shape != (y.size, x.size) or not values.size:
        node.refuse(f"values of shape {values.shape} at {y.shape} x {x.shape} nodes")
    for nodes in (x, y):
        if not np.isfinite(nodes).all() or not (np.diff(nodes) > 0).all():
            node.refuse("its nodes do not rise")
    if not np.isfinite(values).any():
        node.refuse("it has no value that is finite")
    return Spline(values, x, y)


def _akima(nodes: Array, values: Array, positions: Array) -> Array:
    """Return Akima splines through values ``(nodes, n)`` at positions: ``(positions, n)``."""
    if len(nodes) == 1:
        return np.repeat(values, len(positions), axis=0)
    from scipy.interpolate import Akima1DInterpolator  # slow to import, and seldom needed

    spline = Akima1DInterpolator(nodes, values, axis=0)
    return np.asarray(spline(positions, extrapolate=True), dtype=np.float64)


def _domain(node: Node) -> Domain:
    """Return the box of bounds; of a polygon the pixels whose centres its bounding box holds."""
    if "a" in node.value and "b" in node.value:
        one, other = _domain(node.node("a")), _domain(node.node("b"))
        return _checked(node, *(_common(getattr(one, k), getattr(other, k)) for k in "xy"))
    if node.has("coordinates"):
        corners = _corners(node, node.get("coordinates"))
        low, high = corners.min(axis=0), corners.max(axis=0)
        starts, stops = np.floor(low + 0.5), np.ceil(high - 0.5) + 1
        return _checked(node, *zip(starts.tolist(), stops.tolist(), strict=True))
    ranges = [(node.node(axis).whole("start"), node.node(axis).whole("stop")) for axis in "xy"]
    return _checked(node, *ranges)


def _common(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return max(one[0], other[0]), min(one[1], other[1])


def _corners(node: Node, coordinates: object) -> Array:
    """Return the corners ``(n, 2)`` of a polygon or several, all rings together."""
    level: list[Any] = [coordinates]
    try:
        for _ in range(_LEVELS):
            if isinstance(level[0][0], int | float):
                break
            level = [inner for outer in level for inner in outer]
        corners = np.array(level, dtype=np.float64)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        corners = np.zeros(0)
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        node.refuse("its coordinates are not those of a polygon")
    return corners


def _checked(node: Node, x: tuple[float, float], y: tuple[float, float]) -> Domain:
    if not (x[0] < x[1] and y[0] < y[1]):
        node.refuse(f"the bounds x {x}, y {y} are empty")
    return Domain(x, y)
