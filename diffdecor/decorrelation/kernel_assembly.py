"""Put the fits of all areas together into one kernel, with its scales and background."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.spatial import Term
from diffdecor.core.statistics import robust_sigma
from diffdecor.decorrelation.kernel_area import AreaFit
from diffdecor.decorrelation.kernel_families import polynomial_terms, polynomials
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.errors import KernelError
from diffdecor.kernels.model import BasisKernel, Box, Region

#: Highest order of the polynomial of the background.
_BACKGROUND_ORDER = 4
#: A background fits that leaves up to this factor more than backgrounds of every window, or so
#: many errors of rounding.
_AS_GOOD, _ROUNDED = 1.2, 2.0
#: Scales that are given must be those that were found, up to this.
_SCALE = 1e-3
#: A kernel was evaluated at the source pixel if its sum then varies by less than this share.
_CONSTANT = 0.02
_NAME = "fitted kernel"


def peak_of(fit: AreaFit) -> float:
    """Return the largest absolute value of a kernel in the middle of its area."""
    return float(np.abs(_in_the_middle(fit)).max()) or 1.0


def _in_the_middle(fit: AreaFit) -> NDArray[np.float64]:
    x0, _, y0, _ = fit.family.scaling
    return np.asarray(np.tensordot(fit.family.at(x0, y0), fit.solution.kernels, 1))


def assembled(
    subtraction: Subtraction, fits: Sequence[AreaFit], rounding: float, *, at_source: bool = False
) -> BasisKernel:
    """Return the kernel that has a region for every area.

    It is that of the source pixel if the tool took that one, or if only then its sum is constant.
    Raises a `KernelError` where the images enter with the wrong sign, or scales that are given are
    not those of the difference.
    """
    for fit in fits:
        _check_signs(subtraction, fit)
    stamps = [_on_common_support(fit, fits) for fit in fits]
    evaluated_at: Literal["OUTPUT", "SOURCE"] = "OUTPUT"
    left, below = (min(getattr(fit.support, name) for fit in fits) for name in ("x0", "y0"))
    if all(fit.family.blocks is None and _is_polynomial(fit) for fit in fits):
        moved = [_at_source(fit, one, left, below) for fit, one in zip(fits, stamps, strict=True)]
        constant = all(_sums_are_constant(b, a) for a, b in zip(stamps, moved, strict=True))
        if at_source or constant:
            stamps, evaluated_at = moved, "SOURCE"
    terms = _all_terms(fits)
    orders = [_background_order(fit, rounding) for fit in fits]
    order = max(orders) if min(orders) >= 0 else -1  # a part of a background is none
    regions: list[Region] = []
    basis: list[NDArray[np.float64]] = []
    for fit, kernels in zip(fits, stamps, strict=True):
        science, template, factor = _scales(subtraction, fit)
        coefficients = np.zeros((sum(map(len, stamps)), len(terms)))
        for term, kernel in zip(fit.family.terms, kernels, strict=True):
            coefficients[len(basis), _place(term, terms)] = 1.0
            basis.append(kernel * factor)
        x0, xs, y0, ys = fit.family.scaling
        area = fit.family.area
        regions.append(
            Region(
                box=Box(area.x0, area.x1 - 1, area.y0, area.y1 - 1),
                side=fit.side,
                science_scale=science,
                template_scale=template,
                x0=x0,
                xs=xs,
                y0=y0,
                ys=ys,
                coefficients=coefficients,
                background=_background(fit, order)[0] if order >= 0 else np.zeros(0),
                blocks=fit.family.blocks if len(fit.family.terms) > 1 else None,
            )
        )
    return BasisKernel(
        basis=np.array(basis),
        origin=(-left, -below),
        terms=terms,
        background_terms=polynomial_terms(order) if order >= 0 else (),
        regions=tuple(regions),
        image_shape=subtraction.shape,
        evaluated_at=evaluated_at,
        name=_NAME,
        format="fit",
    )


def _check_signs(subtraction: Subtraction, fit: AreaFit) -> None:
    """Refuse differences of which science image or template has the other sign."""
    science = fit.solution.factor if fit.side == "template" else _in_the_middle(fit).sum()
    template = fit.solution.factor if fit.side == "science" else _in_the_middle(fit).sum()
    if science > 0 > template:
        return
    name = subtraction.difference.name
    if science < 0 < template:
        msg = (
            f"{name}: it is template minus science image, or science image and template are "
            "exchanged; give them in the right order, or multiply the difference by -1"
        )
    else:
        msg = f"{name}: science image and template have the same sign in it: it is not a difference"
    raise KernelError(msg)


def _scales(subtraction: Subtraction, fit: AreaFit) -> tuple[float, float, float]:
    """Return a_S, a_T, and the factor that makes the matching kernel of fitted kernels.

    Only the scale of the unconvolved image, and the product of the other one with the kernel, are
    in the images: both scales are the same unless options say otherwise.
    """
    found = abs(fit.solution.factor)
    config = subtraction.config
    given = {"science": config.science_scale, "template": config.template_scale}
    plain = given["science" if fit.side == "template" else "template"]
    matched = given[fit.side]
    if isinstance(plain, int | float) and abs(plain / found - 1) > _SCALE:
        option = "--science-scale" if fit.side == "template" else "--template-scale"
        msg = (
            f"{subtraction.difference.name}: its scale is {found:.6g}, and {option} says "
            f"{plain:g}; leave the option out, or give the right one"
        )
        raise KernelError(msg)
    other = float(matched) if isinstance(matched, int | float) else found
    sign = -1.0 if fit.side == "template" else 1.0
    scales = (found, other) if fit.side == "template" else (other, found)
    return *scales, sign / other


def _on_common_support(fit: AreaFit, fits: Sequence[AreaFit]) -> NDArray[np.float64]:
    """Return kernels ``(nterm, ky, kx)`` of a fit on the support of all fits together."""
    supports = [one.support for one in fits]
    left, right = min(s.x0 for s in supports), max(s.x1 for s in supports)
    below, above = min(s.y0 for s in supports), max(s.y1 for s in supports)
    own = fit.support
    margins = ((0, 0), (own.y0 - below, above - own.y1), (own.x0 - left, right - own.x1))
    return np.pad(fit.solution.kernels, margins)


def _is_polynomial(fit: AreaFit) -> bool:
    return len(fit.family.terms) > 1 and all(term.family == "POLY" for term in fit.family.terms)


def _at_source(
    fit: AreaFit, kernels: NDArray[np.float64], left: int, below: int
) -> NDArray[np.float64]:
    """Return polynomials of the kernel of a source pixel ``(nterm, ky, kx)``.

    Those fitted are of the output pixel x; the source pixel of the kernel's pixel u is x - u. Both
    are polynomials of the same order: ``K_source(u; x) = K_output(u; x + u)``.
    """
    _, xs, _, ys = fit.family.scaling
    _, ky, kx = kernels.shape
    u, v = (np.arange(kx) + left) / xs, (np.arange(ky)[:, np.newaxis] + below) / ys
    moved = np.zeros_like(kernels)
    powers = [(term.i, term.j) for term in fit.family.terms]
    for number, (k, m) in enumerate(powers):
        for (i, j), kernel in zip(powers, kernels, strict=True):
            if i >= k and j >= m:
                moved[number] += comb(i, k) * comb(j, m) * u ** (i - k) * v ** (j - m) * kernel
    return moved


def _sums_are_constant(moved: NDArray[np.float64], kernels: NDArray[np.float64]) -> bool:
    """Say whether the sum of a kernel varies hardly at all, if it is that of the source pixel."""
    before, after = (np.abs(one.sum(axis=(1, 2))[1:]).max() for one in (kernels, moved))
    return bool(after < _CONSTANT * before)


def _all_terms(fits: Sequence[AreaFit]) -> tuple[Term, ...]:
    """Return the terms of all fits, each once."""
    found: list[Term] = []
    for fit in fits:
        found += [term for term in fit.family.terms if _place(term, found) < 0]
    return tuple(found)


def _place(term: Term, terms: Sequence[Term]) -> int:
    """Return the number of a term among others, -1 if it is not there."""

    def key(one: Term) -> tuple[object, ...]:
        knots = () if one.knots is None else tuple(map(len, one.knots))
        return one.family, one.i, one.j, one.degree, knots

    return next((n for n, other in enumerate(terms) if key(other) == key(term)), -1)


def _background(fit: AreaFit, order: int) -> tuple[NDArray[np.float64], float]:
    """Fit a polynomial to what a kernel leaves; return coefficients, and what is left then.

    The terms are those of the kernel's area; what is left is weighted, its usual size.
    """
    family = polynomials(fit.family.area, order)
    left = fit.equations.backgrounds_left(fit.solution, fit.terms)
    used = fit.equations.weights > 0
    roots = np.sqrt(fit.equations.weights[used])
    terms = family.values(fit.pixels)[:, used] * roots
    target = left[used] * roots
    coefficients = np.linalg.lstsq(terms @ terms.T, terms @ target, rcond=None)[0]
    return np.asarray(coefficients), robust_sigma(target - coefficients @ terms)


def _background_order(fit: AreaFit, rounding: float) -> int:
    """Return the least order of a background that explains the difference; -1 if none does."""
    residual = fit.equations.residual_of(fit.solution, fit.terms)
    weighted = (residual * np.sqrt(fit.equations.weights))[np.isfinite(residual)]
    enough = max(_AS_GOOD * robust_sigma(weighted), _ROUNDED * rounding)
    for order in range(_BACKGROUND_ORDER + 1):
        if _background(fit, order)[1] <= enough:
            return order
    return -1
