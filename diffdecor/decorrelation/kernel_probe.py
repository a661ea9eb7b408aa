"""A first look at a difference: which image was convolved, and how far the kernel reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.kernel_solver import Equations, Solution
from diffdecor.core.planes import Window
from diffdecor.core.support import Support
from diffdecor.decorrelation.kernel_area import leave_out_far
from diffdecor.decorrelation.kernel_families import polynomials
from diffdecor.decorrelation.kernel_support import significant_support
from diffdecor.decorrelation.kernel_windows import Pixels, read_pixels, within_reach
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.kernels.model import Side

#: How far kernels may reach, tried one after the other, pixels.
_REACHES = (7, 12, 18, 26, 36, 48)
#: Side of the window that is looked at, pixels, and of one for kernels that reach far.
_SIDE, _LARGE_SIDE, _FAR = 128, 192, 36
#: Places at which a window may be looked at; at the later half the window is smaller.
PLACES = 7
#: Pixels that are needed for every unknown number.
_OVERDETERMINED = 1.5
#: A wider kernel explains more where it leaves less than this share.
_MORE = 0.7
#: A probe is exact if it leaves less than this many times the rounding.
_EXPLAINED = 3.0
#: Least half width of a support that is not known exactly, and what is added to what is seen.
_LEAST_HALF, _MARGIN = 10, 3
#: A kernel that leaves more of the least noise of an image explains nothing.
_NO_USE = 0.75
#: A side is chosen if the other one leaves this many times as much.
CLEARLY = 3.0
#: Rounds in which pixels that are far off are left out.
_ROUNDS = 4
#: Kernels whose middle is so near their origin, pixels, are taken as centred.
_CENTRED = 2


@dataclass(frozen=True, eq=False)
class Probe:
    """What one window shows of one side: the solution, and its support."""

    side: Side
    support: Support
    solution: Solution
    pixels: Pixels
    #: Usual residual, and the least noise that one of the images has in the difference, weighted.
    left: float
    least: float


def probe(
    subtraction: Subtraction, area: Window, sides: Sequence[Side], place: int = 0
) -> dict[Side, Probe]:
    """Fit a kernel in one window of an area, for every side that may have been convolved.

    The window is in the middle; other places, up to `PLACES`, are beside it. Wider kernels are
    tried as long as they leave less. Empty where there is no window with enough pixels.
    """
    found: dict[Side, Probe] = {}
    for reach in _REACHES:
        pixels = _window(subtraction, area, reach, place)
        if pixels is None:
            break
        better = {}
        least = min((one.solution.rms for one in found.values()), default=np.inf)
        for side in sides:
            if side in found and found[side].solution.rms > CLEARLY * least:
                continue
            one = _probe(pixels, side, Support.square(reach))
            if one is None:
                continue
            if side not in found or one.solution.rms < _MORE * found[side].solution.rms:
                better[side] = one
        if found and not better:
            break
        found |= better
        if place and all(one.left > _NO_USE * one.least for one in found.values()):
            break  # a wider kernel was tried at the first place
    return found


def _window(subtraction: Subtraction, area: Window, reach: int, place: int) -> Pixels | None:
    """Read the window with most usable pixels near the middle of an area, from a place on."""
    inner = within_reach(area, subtraction.shape, reach)
    wanted = _LARGE_SIDE if reach >= _FAR else _SIDE
    if place >= PLACES // 2:  # steps of the sky may be in all larger ones
        wanted //= 2
    side = min(wanted, *inner.shape)
    if side < 1 or side * side < _OVERDETERMINED * Support.square(reach).size:
        return None
    centre = np.array([(inner.x0 + inner.x1 - side) // 2, (inner.y0 + inner.y1 - side) // 2])
    most = None
    for step in _neighbours(inner, side)[place:]:
        corner = centre + step
        pixels = read_pixels(subtraction, corner[np.newaxis], side, reach)
        usable = np.count_nonzero(pixels.good)
        if usable > 0.9 * side * side:
            return pixels
        if most is None or usable > np.count_nonzero(most.good):
            most = pixels
    return most


def _neighbours(inner: Window, side: int) -> list[NDArray[np.intp]]:
    """Return steps ``(x, y)`` from the window in the middle to others, that itself first."""
    room_y, room_x = ((length - side) // 2 for length in inner.shape)
    steps = [
        (0, 0), (1, 1), (-1, -1), (1, -1), (-1, 1), (1, 0), (-1, 0), (0, 1), (0, -1),
    ]  # fmt: skip
    size = np.array([min(room_x, side), min(room_y, side)])
    return [np.array(step) * size for step in steps]


def _probe(pixels: Pixels, side: Side, support: Support) -> Probe | None:
    equations = Equations(pixels.convolved(side), support)
    x0, y0 = pixels.places[0].tolist()
    area = Window(x0, x0 + pixels.side, y0, y0 + pixels.side)
    for order in (1, 0):
        family = polynomials(area, order)
        if equations.pixels >= _OVERDETERMINED * support.size * len(family.terms):
            values = family.values(pixels)
            solution = _solved(equations, values)
            left = equations.usual_residual(solution, values)
            least = min(equations.contributions(solution, values))
            return Probe(side, support, solution, pixels, left, least)
    return None


def _solved(equations: Equations, values: NDArray[np.float64]) -> Solution:
    """Solve the equations without pixels that are far off: holes that no mask has."""
    solution = equations.solve(values)
    for _ in range(_ROUNDS):
        if not leave_out_far(equations, solution, values):
            break
        solution = equations.solve(values, solution.kernels)
    return solution


def first_support(probe: Probe, rounding: float) -> Support:
    """Return what a kernel's support is at least, with a margin unless the probe is exact."""
    seen = significant_support(probe.solution, probe.support)
    if probe.solution.rms < _EXPLAINED * rounding:
        return seen
    x, y = (seen.x0 + seen.x1) // 2, (seen.y0 + seen.y1) // 2
    if max(abs(x), abs(y)) <= _CENTRED:
        x = y = 0
    half = max(_LEAST_HALF, max(seen.shape) // 2 + _MARGIN)
    return Support(x - half, x + half, y - half, y + half)
