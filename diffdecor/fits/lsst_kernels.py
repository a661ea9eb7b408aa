"""Kernels of the LSST stack, as they are stored: matching kernels, and the kernels of PSFs."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.spatial import Term
from diffdecor.fits.formats import LARGEST_SIDE
from diffdecor.fits.lsst_archive import Record

FIXED = ("FixedKernel", "DeltaFunctionKernel")
KERNELS = (*FIXED, "LinearCombinationKernel")

_FAMILIES: dict[str, Literal["POLY", "CHEB1"]] = {
    "PolynomialFunction2D": "POLY",
    "Chebyshev1Function2D": "CHEB1",
}
_CONSTANT = (Term("POLY", 0, 0),)


class Domain(NamedTuple):
    """The rectangle of parent positions on which Chebyshev polynomials are defined."""

    min_x: float
    min_y: float
    max_x: float
    max_y: float


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredKernel:
    """A kernel as the stack has it: images, applied without a flip, times functions of position.

    Images ``(n, ky, kx)`` with a coefficient for every term, ``(n, nterm)``; terms are functions of
    the parent position, scaled if there is a domain (of Chebyshev polynomials).
    """

    images: NDArray[np.float64]
    #: 0-based ``(cx, cy)`` of the pixel that sits on the pixel the kernel is applied to.
    center: tuple[int, int]
    terms: tuple[Term, ...] = _CONSTANT
    coefficients: NDArray[np.float64]
    domain: Domain | None = None

    @property
    def varies(self) -> bool:
        """Whether it depends on position."""
        return bool(self.coefficients[:, 1:].any())

    @property
    def constant(self) -> NDArray[np.float64]:
        """The image ``(ky, kx)`` of a kernel that does not depend on position."""
        return np.asarray(np.tensordot(self.coefficients[:, 0], self.images, axes=1))

    def scaling(self, origin: tuple[float, float]) -> dict[str, Any]:
        """Return x0, xs, y0, ys of an array whose first pixel has the parent position `origin`."""
        box = self.domain or Domain(-1.0, -1.0, 1.0, 1.0)
        return {
            "x0": (box.min_x + box.max_x) / 2 - origin[0],
            "xs": (box.max_x - box.min_x) / 2,
            "y0": (box.min_y + box.max_y) / 2 - origin[1],
            "ys": (box.max_y - box.min_y) / 2,
        }


def stored_kernel(record: Record) -> StoredKernel:
    """Read a kernel of one of the classes `KERNELS`, with all its parts.

    An error if a part is missing, of another class, or contradicts another.
    """
    if record.kind in FIXED:
        image, center = _fixed(record)
        return StoredKernel(images=image[np.newaxis], center=center, coefficients=np.ones((1, 1)))
    parts = record.parts("components")
    for part in parts:
        if part.kind not in FIXED:
            advice = "evaluate the kernel with the stack and give its stamps"
            part.refuse_kind(f"component of a {record.kind}", advice)
    center, found = record.pixel("center"), [_fixed(part) for part in parts]
    images = [image for image, _ in found]
    if {one for _, one in found} != {center} or len({image.shape for image in images}) != 1:
        record.refuse(f"the components of {record.kind} differ in size or centre")
    if record.has("spatialfunctions"):
        terms, coefficients, domain = _functions(record, record.parts("spatialfunctions"))
    else:
        terms, coefficients, domain = _CONSTANT, record.numbers("amplitudes")[:, np.newaxis], None
    if len(coefficients) != len(images):
        record.refuse(f"{len(images)} components but {len(coefficients)} functions or amplitudes")
    return StoredKernel(
        images=np.array(images),
        center=center,
        terms=terms,
        coefficients=coefficients,
        domain=domain,
    )


def _fixed(record: Record) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return image and centre of a kernel that is one image."""
    (nx, ny), (cx, cy) = record.pixel("dimensions"), record.pixel("center")
    if not (0 < nx <= LARGEST_SIDE and 0 < ny <= LARGEST_SIDE and 0 <= cx < nx and 0 <= cy < ny):
        record.refuse(f"{record.kind} of {nx} x {ny} pixels with the centre {(cx, cy)}")
    if record.kind == "FixedKernel":
        image = record.numbers("image")
        if image.size != nx * ny:
            record.refuse(f"{image.size} pixels in a {record.kind} of {nx} x {ny}")
        return image.reshape(ny, nx), (cx, cy)
    x, y = record.pixel("pixel")
    if not (0 <= x < nx and 0 <= y < ny):
        record.refuse(f"{record.kind} of {nx} x {ny} pixels with the pixel {(x, y)} set")
    image = np.zeros((ny, nx))
    image[y, x] = 1.0
    return image, (cx, cy)


def _functions(
    record: Record, functions: list[Record]
) -> tuple[tuple[Term, ...], NDArray[np.float64], Domain | None]:
    """Return terms, coefficients and domain that the functions of all components have in common."""
    kinds = {function.kind for function in functions}
    unknown = [function for function in functions if function.kind not in _FAMILIES]
    if unknown:
        advice = f"{' and '.join(_FAMILIES)} are; evaluate the kernel with the stack"
        unknown[0].refuse_kind("function of position", advice)
    domains = {_domain(function) for function in functions}
    if len(kinds) != 1 or len(domains) != 1:
        record.refuse(f"the functions of {record.kind} differ in class or domain")
    rows = [function.numbers("coefficients") for function in functions]
    degree = max(_degree(*pair) for pair in zip(functions, rows, strict=True))
    family = _FAMILIES[kinds.pop()]
    # By total degree, the power of y rising: 1, x, y, x^2, xy, y^2.
    terms = tuple(Term(family, n - j, j) for n in range(degree + 1) for j in range(n + 1))
    table = np.zeros((len(functions), len(terms)))
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return terms, table, domains.pop()


def _degree(function: Record, coefficients: NDArray[np.float64]) -> int:
    degree = (isqrt(8 * len(coefficients) + 1) - 3) // 2
    if (degree + 1) * (degree + 2) != 2 * len(coefficients) or degree < 0:
        function.refuse(
            f"{len(coefficients)} coefficients of {function.kind} {function.number} are not "
            "those of a polynomial of two variables"
        )
    return degree


def _domain(function: Record) -> Domain | None:
    if _FAMILIES[function.kind] == "POLY":
        return None
    domain = Domain(*function.pair("min"), *function.pair("max"))
    if not (domain.min_x < domain.max_x and domain.min_y < domain.max_y):
        function.refuse(f"{function.kind} {function.number} has an empty {domain}")
    return domain
