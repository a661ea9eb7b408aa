"""The functions of position in solutions of SFFT: polynomials or B-splines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from diffdecor.errors import KernelError
from diffdecor.kernels.model import Term

if TYPE_CHECKING:
    from numpy.typing import NDArray

HIGHEST_ORDER = 30  # of polynomials and splines; SFFT is used with up to 4
_MOST_TERMS = 10_000


def kernel_terms(name: str, header: Any, size: tuple[int, int]) -> tuple[Term, ...]:  # noqa: ANN401
    """Return the functions of the kernel, in the order of the coefficients.

    A polynomial of degree DK, or the B-splines of the cards KSPDEG, KIKX, KIKY; of ``u = x / N0``
    and ``v = y / N1``, FITS pixels. `size` is ``(nx, ny)`` of the images.
    """
    return _terms(name, header, size, "K", order_card="DK")


def background_terms(name: str, header: Any, size: tuple[int, int]) -> tuple[Term, ...]:  # noqa: ANN401
    """Return the functions of the background, as `kernel_terms` does those of the kernel."""
    return _terms(name, header, size, "B", order_card="DB")


def scaling_terms(name: str, header: Any, size: tuple[int, int]) -> tuple[Term, ...] | None:  # noqa: ANN401
    """Return the functions of the kernel sum; None where they are those of the kernel.

    Where the sum is constant (SSPDEG 0) the solution is written as one of the kernel's own.
    """
    separate = str(header.get("SEPSCA", "False")).strip()
    if separate not in {"True", "False"}:
        msg = f"{name}: SEPSCA = {separate!r}; expected True or False"
        raise KernelError(msg)
    if separate == "False" or whole(name, header, "SSPDEG", 0) == 0:
        return None
    terms = _terms(name, header, size, "S", order_card="SSPDEG")
    found = header.get("SCAFIJ", len(terms))
    if found != len(terms) or found > len(kernel_terms(name, header, size)):
        msg = (
            f"{name}: SCAFIJ = {found!r}, but the other cards of the SFFT solution ask for "
            f"{len(terms)} functions of the kernel sum, and those of the kernel hold them"
        )
        raise KernelError(msg)
    return terms


def whole(name: str, header: Any, keyword: str, least: int) -> int:  # noqa: ANN401
    """Return the whole number of a card, at least `least`."""
    value = header.get(keyword)
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    found = "is missing" if value is None else f"= {value!r} is impossible"
    msg = f"{name}: {keyword} {found} in the SFFT solution; give the file that SFFT wrote"
    raise KernelError(msg)


def _terms(
    name: str,
    header: Any,  # noqa: ANN401  astropy has no types
    size: tuple[int, int],
    letter: str,
    *,
    order_card: str,
) -> tuple[Term, ...]:
    """Read the functions whose cards start with a letter: K kernel, S scaling, B background."""
    kind = str(header.get(f"{letter}SPTYPE", "Polynomial")).strip()
    if kind not in {"Polynomial", "B-Spline"}:
        msg = (
            f"{name}: {letter}SPTYPE = {kind!r}: SFFT solutions with Polynomial and B-Spline can "
            "be read; convert it to DDKERN, or sample it in a table with the columns X, Y, STAMP"
        )
        raise KernelError(msg)
    order = whole(name, header, order_card, 0)
    degree = whole(name, header, f"{letter}SPDEG", 0) if f"{letter}SPDEG" in header else order
    if degree != order or order > HIGHEST_ORDER:
        msg = (
            f"{name}: {order_card} = {order}, {letter}SPDEG = {degree} are impossible; solve again"
        )
        raise KernelError(msg)
    if kind == "Polynomial":
        pairs = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
        return tuple(Term("POLY", i, j) for i, j in pairs)
    knots = (
        _knots(name, header, f"{letter}IKX", size[0], degree),
        _knots(name, header, f"{letter}IKY", size[1], degree),
    )
    in_u, in_v = (len(t) - degree - 1 for t in knots)
    if in_u * in_v > _MOST_TERMS:
        msg = f"{name}: {in_u} x {in_v} B-splines are not a solution of SFFT; solve again"
        raise KernelError(msg)
    pairs = [(i, j) for i in range(in_u) for j in range(in_v)]
    return tuple(Term("BSPLINE", i, j, degree, knots) for i, j in pairs)


def _knots(
    name: str,
    header: Any,  # noqa: ANN401
    stem: str,
    length: int,
    degree: int,
) -> NDArray[np.float64]:
    """Return the full vector of knots along one axis, in units of its length."""
    count = whole(name, header, f"N{stem}", 0)
    values = [header.get(f"{stem}{n}") for n in range(min(count, _MOST_TERMS))]
    numbers = [value for value in values if isinstance(value, int | float)]
    inner = np.array(numbers, dtype=np.float64)
    outer = np.array([0.5, length + 0.5])
    if len(numbers) != count or not (np.diff([outer[0], *inner, outer[1]]) > 0).all():
        msg = (
            f"{name}: {stem}0 ... = {values} are not {count} rising knots inside the image; give "
            "the file that SFFT wrote"
        )
        raise KernelError(msg)
    knots = np.concatenate(
        [np.repeat(outer[0], degree + 1), inner, np.repeat(outer[1], degree + 1)]
    )
    return np.asarray(knots / length)
