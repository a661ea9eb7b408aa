"""Fit the kernel of one area: the support and the smoothest family that explain the difference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.kernel_solver import Equations, Solution
from diffdecor.core.planes import Window
from diffdecor.core.support import Support
from diffdecor.decorrelation.kernel_blocks import find_blocks
from diffdecor.decorrelation.kernel_families import Family, families, spline_families
from diffdecor.decorrelation.kernel_support import significant_support
from diffdecor.decorrelation.kernel_windows import (
    Pixels,
    read_pixels,
    window_grid,
    window_side,
    within_reach,
)
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.kernels.model import Blocks, Side

#: Pixels for every unknown number: with fewer a family is not tried, or a narrower support, too.
_OVERDETERMINED, _COMFORTABLE = 1.5, 6.0
#: A family is better that leaves less than this share in pixels held out, and a wider support.
_BETTER, _WIDER = 0.99, 0.7
#: A narrower kernel leaves at most this many times as much.
_AS_GOOD = 1.002
#: Blocks are kept that leave less than this share.
_BLOCKS = 0.7
#: Families that are tried after the best.
_PATIENCE = 2
#: What leaves this many times the rounding explains the difference to its rounding.
_ROUNDED = 2.0
#: Pixels that a fit leaves off by this many times the usual residual are left out.
_OUTLIER = 10.0
#: Rounds in which pixels are left out, passes of each, and what share of the worst goes at once.
_ROUNDS, _PASSES, _WORST = 4, 12, 0.03
#: The usual residual is below this share of the root mean square where there are outliers.
_HEAVY = 0.6
#: Pixels by which a support is grown on every side, at least, and in units of its size.
_GROWTH, _SHARE = 2, 0.12
#: Margin of a narrower support, pixels.
_MARGIN = 1
#: How far kernels may reach, pixels.
FARTHEST = 64


@dataclass(frozen=True, eq=False)
class AreaFit:
    """A kernel that was fitted in one area, and what it leaves."""

    side: Side
    support: Support
    family: Family
    solution: Solution
    #: Windows that it was fitted to, without the pixels that were left out.
    equations: Equations
    pixels: Pixels
    #: Windows that were held out, and their equations.
    held_out: Pixels
    other_equations: Equations

    @cached_property
    def unseen(self) -> Equations:
        """Equations of the pixels that were held out, those that are far off left out.

        Where nothing was held out, those that it was fitted to.
        """
        if not len(self.held_out):
            return self.equations
        equations = self.other_equations.copy()
        leave_out_far(equations, self.solution, self.family.values(self.held_out))
        return equations

    @cached_property
    def residual(self) -> NDArray[np.float64]:
        """What the kernel leaves of `unseen` pixels ``(nwindow, n, n)``; NaN where left out."""
        shown = self.held_out if len(self.held_out) else self.pixels
        return self.unseen.residual_of(self.solution, self.family.values(shown))

    @cached_property
    def left(self) -> float:
        """Usual size of the weighted residual of pixels that were held out."""
        shown = self.held_out if len(self.held_out) else self.pixels
        return self.unseen.usual_residual(self.solution, self.family.values(shown))

    @property
    def terms(self) -> NDArray[np.float64]:
        """Functions of position at the pixels it was fitted to ``(nterm, nwindow, n, n)``."""
        return self.family.values(self.pixels)


class AreaFitter:
    """Fits kernels of one area and side, with families and supports one after the other.

    Parameters
    ----------
    subtraction : Subtraction
        The images.
    area : Window
        Pixels with one solution for the kernel.
    side : {"template", "science"}
        The side that was convolved.
    blocks : Blocks or None
        Where the kernel is held constant.
    rounding : float
        Error of rounding of the difference, one sigma.
    splines : bool
        Try B-splines, and not polynomials.
    """

    def __init__(
        self,
        subtraction: Subtraction,
        area: Window,
        side: Side,
        blocks: Blocks | None,
        rounding: float,
        *,
        splines: bool = False,
    ) -> None:
        self._subtraction, self._area, self._side = subtraction, area, side
        self._looks_for_blocks = blocks is None and not splines
        self._use_blocks(blocks)
        if splines:
            self._families = spline_families(area)
        self._enough = _ROUNDED * rounding
        self._windows: dict[Support, tuple[Pixels, Pixels, Equations, Equations] | None] = {}

    def _use_blocks(self, blocks: Blocks | None) -> None:
        self._blocks, self._families = blocks, families(self._area, blocks)

    def fit(self, support: Support) -> AreaFit | None:
        """Find the best fit, from a first guess of the support; None with too few pixels.

        A family that varies more goes before a wider support: it is missed more clearly.
        """
        best = self._climb(0, support)
        while best is not None and best.left > self._enough:
            better = self._with_narrower(best) or self._with_wider(best)
            if better is None:
                break
            best = better
        return best and self._trimmed(best)

    def _with_narrower(self, best: AreaFit) -> AreaFit | None:
        """Return a better fit of a family that has pixels enough for a narrower support only."""
        support = grown(significant_support(best.solution, best.support), _MARGIN)
        number = self._number(best)
        if number + 1 == len(self._families) or support.size >= best.support.size:
            return None
        varied = self._families[min(number + _PATIENCE, len(self._families) - 1)]
        if _has_enough(best.equations, best.support, varied, _COMFORTABLE):
            return None
        narrow = self._fit(number, support, best)
        if narrow is None or narrow.left > best.left / _BETTER:
            return None
        better = self._climb(number, support, narrow)
        return None if better is narrow else better

    def _with_wider(self, best: AreaFit) -> AreaFit | None:
        """Return a better fit with a wider support."""
        number = self._number(best)
        margin = max(_GROWTH, round(_SHARE * max(best.support.shape)))
        wider = self._fit(number, grown(best.support, margin), best)
        if wider is None or wider.left > _WIDER * best.left:
            return None
        return self._climb(number, wider.support, wider)

    def _number(self, fit: AreaFit) -> int:
        """Return the place of the family of a fit."""
        return [family.name for family in self._families].index(fit.family.name)

    def _climb(self, number: int, support: Support, best: AreaFit | None = None) -> AreaFit | None:
        """Fit families that vary more and more, until D is explained or none is better.

        Where a kernel varies symmetrically the next order shows nothing, but that after it does.
        """
        best = best or self._fit(number, support)
        last = number
        while best is not None and best.left > self._enough:
            last += 1
            patience = _PATIENCE if self._number(best) <= _PATIENCE else 1
            if last >= len(self._families) or last > self._number(best) + patience:
                break
            fit = self._fit(last, support, best)
            if fit is not None and fit.left < _BETTER * best.left:
                best = self._in_blocks(fit)
        return best

    def _in_blocks(self, fit: AreaFit) -> AreaFit:
        """Return the fit with the kernel constant over blocks, if what is left shows such.

        Blocks that were found with a family that varies less may be wrong, and are found again.
        """
        if fit.left <= self._enough or not self._looks_for_blocks:
            return fit
        before, smooth = self._blocks, fit
        if before is not None:
            self._use_blocks(None)
            smooth = self._fit(self._number(fit), fit.support, fit) or fit
        blocks = find_blocks(smooth.family, smooth.pixels, smooth.equations, smooth.solution)
        if blocks is not None and blocks != before:
            self._use_blocks(blocks)
            other = self._fit(self._number(fit), fit.support, fit)
            if other is not None and other.left < _BLOCKS * fit.left:
                return other
        self._use_blocks(before)
        return fit

    def _fit(self, number: int, support: Support, start: AreaFit | None = None) -> AreaFit | None:
        if support.reach > FARTHEST:
            return None
        if support not in self._windows:
            self._windows = {support: self._read(support)}  # the last only: they take memory
        prepared = self._windows[support]
        if prepared is None:
            return None
        return _fit_family(self._side, self._families[number], support, prepared, start)

    def _read(self, support: Support) -> tuple[Pixels, Pixels, Equations, Equations] | None:
        """Read the windows for a support, those to fit and those held out; None if none fits."""
        inner = within_reach(self._area, self._subtraction.shape, support.reach)
        if min(inner.shape) < 1:
            return None
        side = window_side(inner, max(support.shape))
        grid = window_grid(inner, side)
        pixels = read_pixels(self._subtraction, grid.places, side, support.reach)
        used, held_out = pixels.some(~grid.held_out), pixels.some(grid.held_out)
        return (
            used,
            held_out,
            Equations(used.convolved(self._side), support),
            Equations(held_out.convolved(self._side), support),
        )

    def _trimmed(self, fit: AreaFit) -> AreaFit:
        """Return the fit without rows and columns of the kernel that are zero, if as good."""
        support = significant_support(fit.solution, fit.support)
        if self._blocks is not None and self._looks_for_blocks:
            # HOTPANTS takes the kernel at half the kernel's width from the corner of a block.
            self._use_blocks(replace(self._blocks, offset=float(max(support.shape) // 2)))
        elif support == fit.support:
            return fit
        less = self._fit(self._number(fit), support, fit)
        enough = max(self._enough, fit.left * _AS_GOOD)
        return less if less is not None and less.left <= enough else fit


def grown(support: Support, margin: int) -> Support:
    """Return a support that reaches further in all directions."""
    return Support(
        support.x0 - margin, support.x1 + margin, support.y0 - margin, support.y1 + margin
    )


def _fit_family(
    side: Side,
    family: Family,
    support: Support,
    prepared: tuple[Pixels, Pixels, Equations, Equations],
    start: AreaFit | None,
) -> AreaFit | None:
    """Fit one family, pixels that are far off left out; None where there are too few pixels."""
    pixels, held_out, equations, others = prepared
    if not _has_enough(equations, support, family):
        return None
    equations, values = equations.to_solve(), family.values(pixels)
    solution = equations.solve(
        values, None if start is None else _carried_over(start, family, support)
    )
    for _ in range(_ROUNDS):
        if not leave_out_far(equations, solution, values):
            break
        if not _has_enough(equations, support, family):
            break
        solution = equations.solve(values, solution.kernels)
    return AreaFit(side, support, family, solution, equations, pixels, held_out, others)


def _has_enough(
    equations: Equations, support: Support, family: Family, factor: float = _OVERDETERMINED
) -> bool:
    """Say whether there are enough pixels for the unknown numbers of a family."""
    return equations.pixels >= factor * support.size * len(family.terms)


def leave_out_far(equations: Equations, solution: Solution, terms: NDArray[np.float64]) -> bool:
    """Leave out pixels that a solution leaves far off; say whether there are any.

    The worst go first: a single one shifts the background of its window, and thereby all others.
    """
    found = False
    for _ in range(_PASSES):
        residual = equations.residual_of(solution, terms)
        spread = np.nan_to_num(np.abs(residual)) * np.sqrt(equations.weights)
        known = spread[equations.weights > 0]
        if not known.size:
            break
        usual, most = float(np.median(known)) / 0.6745, float(known.max())
        rms = float(np.sqrt((known**2).sum() / equations.weights.sum()))
        if most <= _OUTLIER * usual or usual > _HEAVY * rms:
            break
        equations.leave_out(spread > max(_OUTLIER * usual, _WORST * most))
        found = True
    return found


def _carried_over(fit: AreaFit, family: Family, support: Support) -> NDArray[np.float64] | None:
    """Return the kernels of a fit for another family and support; None if its terms differ."""
    terms = [(term.family, term.i, term.j) for term in family.terms]
    kernels = np.zeros((len(terms), *support.shape))
    x0, y0 = fit.support.x0 - support.x0, fit.support.y0 - support.y0
    ky, kx = fit.support.shape
    rows = slice(max(0, y0), y0 + ky), slice(max(0, x0), x0 + kx)
    from_rows = slice(max(0, -y0), None), slice(max(0, -x0), None)
    for term, kernel in zip(fit.family.terms, fit.solution.kernels, strict=True):
        name = term.family, term.i, term.j
        if name not in terms:
            return None
        target = kernels[terms.index(name)][rows]
        part = kernel[from_rows][: target.shape[0], : target.shape[1]]
        target[: part.shape[0], : part.shape[1]] = part
    return kernels
