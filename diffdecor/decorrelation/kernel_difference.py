"""How a kernel as it was read differs from the one that explains the difference, in plain words.

Of a difference only products can be told: the scale of the image that was not convolved, and the
stamps of the other, ``a_T K`` or ``a_S K``. These are compared at some positions of the image.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import fast_length, wrap
from diffdecor.core.stamp_match import StampMatch, match, matches
from diffdecor.decorrelation.kernel_fit import KernelFit
from diffdecor.decorrelation.subtraction import ROLES
from diffdecor.errors import KernelError
from diffdecor.kernels.misreadings import on_side
from diffdecor.kernels.model import MatchingKernel, Side

#: Number of positions along either axis at which kernels are compared.
_PLACES = 5
#: Pixels of kernels that differ by less, in units of the peak, differ by rounding.
_ROUNDED = 3e-4
#: Up to this deviation, units of the peak, a kernel is nearly another.
_NEARLY = 0.02
#: A plainer reading that fits worse than the best by up to this factor is preferred.
_AS_GOOD = 3.0
#: Deviations within this factor are told as one number.
_ALIKE = 1.5
#: What the error of a fitted kernel is multiplied with, to be safe.
_ERRORS = 3.0
#: Pixels around stamps, for shifts.
_MARGIN = 4
#: Steps of the search for the first pixel of a cut-out, and how it refines.
_WIDTH, _FINER = 2, 3

Place = tuple[float, float]


@dataclass(frozen=True, eq=False)
class _Given:
    """A kernel as it was read, on the side that was convolved, at the places compared."""

    kernel: MatchingKernel
    side: Side
    places: tuple[Place, ...]
    size: int

    def stamps(self, places: tuple[Place, ...] | None = None) -> NDArray[np.float64]:
        """Return what an image is convolved with, its scale included, wrapped ``(n, m, m)``."""
        return _stamps(self.kernel, self.side, places or self.places, self.size)

    @property
    def others(self) -> NDArray[np.float64]:
        """Scales of the image that was not convolved ``(n,)``."""
        return _others(self.kernel, self.side, self.places)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Reading:
    """Another way to read a kernel: what is different, and how well it fits then."""

    text: str
    match: StampMatch


def kernel_difference(kernel: MatchingKernel, fit: KernelFit, shape: tuple[int, int]) -> str:
    """Say how a kernel as it was read differs from the fitted one, and what puts it right.

    `shape` is that of the image (ny, nx). The words go on after "the given one", as in "must be
    flipped along x". Empty where both kernels agree up to rounding, or are nowhere both known.
    """
    places = _common_places(kernel, fit.kernel, shape)
    if not places:
        return ""
    side = fit.kernel.side(*places[len(places) // 2]) or fit.side
    places = tuple(place for place in places if fit.kernel.side(*place) in {None, side})
    wrong = sum(kernel.side(*place) not in {None, side} for place in places)
    sided = on_side(kernel, side) if wrong else kernel
    given = _Given(sided, side, places, _size(kernel, fit.kernel))
    sought = _stamps(fit.kernel, side, places, given.size)
    if (fit.is_matched or _is_delta(sought)) and not _is_delta(given.stamps()):
        read_side = kernel.side(*places[0]) or side
        return (
            "is one too many: the images were matched before they were subtracted; give "
            f"--{read_side}-kernel instead of --kernel"
        )
    parts = []
    if wrong:
        where = "" if wrong == len(places) else f" at {wrong} of {len(places)} positions"
        parts.append(f"that of the other image{where} (--convolved {side})")
    reading = _best(given, sought, fit, shape)
    if reading is not None:
        parts += [text for text in (reading.text, _scales(given, reading.match, fit)) if text]
    said = f"must be {', '.join(parts)}" if parts else ""
    if reading is None:
        return f"{said} and {_unlike(given, sought, fit)}" if said else _unlike(given, sought, fit)
    if said and reading.match.misfit > _limit(fit):
        return f"{said} (right up to {reading.match.misfit:.1g} of its peak then)"
    return said


def _limit(fit: KernelFit) -> float:
    """Return the deviation below which kernels are the same, units of the peak."""
    error = fit.error if np.isfinite(fit.error) else 0.0
    return max(_ROUNDED, _ERRORS * error)


def _best(
    given: _Given, sought: NDArray[np.float64], fit: KernelFit, shape: tuple[int, int]
) -> _Reading | None:
    """Return the reading that explains the fitted kernel, the plainest of those as good."""
    found = list(_readings(given, sought, shape))
    least = min(one.match.misfit for one in found)
    if not least <= max(_NEARLY, _limit(fit)):
        return None
    enough = max(_limit(fit), _AS_GOOD * least)
    return next(one for one in found if one.match.misfit <= enough)


def _readings(
    given: _Given, sought: NDArray[np.float64], shape: tuple[int, int]
) -> Iterator[_Reading]:
    """Yield what the kernel could be, the plain readings first."""
    stamps = given.stamps()
    for one in matches(stamps, sought):
        yield _Reading(text=_turn_in_words(one, given.kernel), match=one)
    for text, places in _mapped(given, shape):
        try:
            moved = given.stamps(places)
        except KernelError:
            continue
        for one in matches(moved, sought):
            if not any(one.shift):
                turn = _turn_in_words(one, given.kernel)
                yield _Reading(text=f"{turn}, {text}" if turn else text, match=one)
    yield from _cut_out(given, sought, shape)
    inside = _support(given)
    if not inside.all() and match(stamps, sought * inside).misfit < _NEARLY:
        cut = match(stamps, sought * inside)
        ky, kx = given.kernel.shape
        text = f"larger: it is cut off at {kx} x {ky} pixels"
        yield _Reading(text=text, match=cut)
    if len(given.places) > 1:
        varying = match(stamps, sought, each=True)
        yield _Reading(text="", match=varying)


def _support(given: _Given) -> NDArray[np.bool_]:
    """Return the wrapped pixels that lie in the stamps of a kernel (m, m)."""
    ones = np.ones((1, *given.kernel.shape))
    return np.asarray(wrap(ones, given.kernel.origin, (given.size, given.size))[0] > 0)


def _turn_in_words(one: StampMatch, kernel: MatchingKernel) -> str:
    """Say how a kernel is turned and shifted, with the options for plain stamps."""
    exchanged, across, along = one.turn
    is_plain = kernel.format == "stamp"
    words = []
    if exchanged:
        words.append("transposed (x and y exchanged)")
    if across and along:
        option = "; --kernel-sense" if is_plain and not exchanged else ""
        words.append(f"flipped in both axes (one for correlation{option})")
    elif across or along:
        words.append(f"flipped along {'x' if across else 'y'}")
    dx, dy = one.shift
    if any(one.shift):
        is_whole = isinstance(dx, int) and isinstance(dy, int)
        text = f"({dx:+d}, {dy:+d})" if is_whole else f"({dx:+.2f}, {dy:+.2f})"
        option = " (alignment of the images)"
        if is_whole:
            cx, cy = kernel.origin
            option = f" (--kernel-center {cx - dx:g},{cy - dy:g})" if is_plain and not words else ""
        words.append(f"shifted by {text} pixels along (x, y){option}")
    return ", ".join(words)


def _mapped(given: _Given, shape: tuple[int, int]) -> Iterator[tuple[str, tuple[Place, ...]]]:
    """Yield the places at which a kernel was evaluated if its positions were misunderstood."""
    ny, nx = shape
    ways: tuple[tuple[str, Callable[[float, float], Place]], ...] = (
        ("used with x and y of its positions exchanged", lambda x, y: (y, x)),
        (
            "used with x and y of its positions exchanged",
            lambda x, y: (y * (nx - 1) / max(1, ny - 1), x * (ny - 1) / max(1, nx - 1)),
        ),
        ("used with positions mirrored along x", lambda x, y: (nx - 1 - x, y)),
        ("used with positions mirrored along y", lambda x, y: (x, ny - 1 - y)),
        ("used with positions mirrored along both axes", lambda x, y: (nx - 1 - x, ny - 1 - y)),
    )
    for text, way in ways:
        yield text, tuple(way(x, y) for x, y in given.places)


def _cut_out(
    given: _Given, sought: NDArray[np.float64], shape: tuple[int, int]
) -> Iterator[_Reading]:
    """Yield the best-fitting place of the image in that of the kernel."""
    lowest, highest = _free(given.kernel, shape)

    def moved(offset: tuple[int, int]) -> StampMatch | None:
        places = tuple((x + offset[0], y + offset[1]) for x, y in given.places)
        try:
            return match(given.stamps(places), sought)
        except KernelError:
            return None

    def misfit(offset: tuple[int, int]) -> float:
        found = moved(offset)
        return np.inf if found is None else found.misfit

    best = (0, 0)
    step = max(1, max(high - low for low, high in zip(lowest, highest, strict=True)) // 4)
    while True:
        spread = range(-_WIDTH * step, _WIDTH * step + 1, step)
        near = [
            (best[0] + dx, best[1] + dy)
            for dx, dy in itertools.product(spread, spread)
            if lowest[0] <= best[0] + dx <= highest[0] and lowest[1] <= best[1] + dy <= highest[1]
        ]
        best = min(near, key=misfit)
        if step == 1:
            break
        step = -(-step // _FINER)
    for off in ((1, 1), (-1, -1)):
        found = moved(off)
        if found is not None:
            text = f"used at positions off by {off[0]:+d} pixel (counted from 0 or from 1)"
            yield _Reading(text=text, match=found)
    found = moved(best)
    if best != (0, 0) and found is not None:
        text = f"used as in a cut-out whose first pixel was ({best[0] + 1}, {best[1] + 1}), 1-based"
        yield _Reading(text=text, match=found)


def _free(
    kernel: MatchingKernel, shape: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the least and largest offset ``(x, y)`` of an image in that of a kernel."""
    ny, nx = shape
    if kernel.image_shape is not None:
        large = kernel.image_shape[::-1]
        return (-1, -1), (max(1, large[0] - nx), max(1, large[1] - ny))
    # How large its image was, nothing says: it may have been twice as large.
    return (-nx, -ny), (nx, ny)


def _scales(given: _Given, found: StampMatch, fit: KernelFit) -> str:
    """Say which scales are other ones, and which options give them."""
    limit = _limit(fit)
    own = np.array([given.kernel.scales(*place) for place in given.places])
    which = ROLES.index(given.side)
    convolved, other = own[:, which] * found.factors, _others(fit.kernel, given.side, given.places)
    changes = convolved / own[:, which] - 1, other / given.others - 1
    if max(np.abs(change).max() for change in changes) <= limit:
        return ""
    if np.ptp(found.factors) > limit * np.abs(found.factors).max():
        low, high = found.factors.min(), found.factors.max()
        return f"scaled by factors that vary over the image, {low:.4g} to {high:.4g}"
    if (convolved < 0).all() and (other < 0).all():
        sign = "used with the other sign (template minus science)"
        rest = max(np.abs(np.abs(change + 1) - 1).max() for change in changes)
        if rest <= limit:
            return sign
    middle = len(given.places) // 2
    total = given.kernel.sum(*given.places[middle])
    scales = [0.0, 0.0]
    scales[which], scales[1 - which] = float(convolved[middle]), float(other[middle])
    science, template = (_scale(scale, total, limit) for scale in scales)
    hint = " (PHOTNORM)" if "1/k" in {science, template} else ""
    return f"scaled otherwise: --science-scale {science} --template-scale {template}{hint}"


def _scale(scale: float, total: float, limit: float) -> str:
    """Return a scale as an option takes it."""
    if abs(scale * total - 1) <= limit < abs(total - 1) / 10:
        return "1/k"
    return f"{scale:.5g}"


def _unlike(given: _Given, sought: NDArray[np.float64], fit: KernelFit) -> str:
    """Say where kernels differ that no reading makes the same."""
    stamps = given.stamps()
    plain = match(stamps, sought)
    close = max(_NEARLY, _limit(fit))
    exact = np.abs(stamps - sought).max(axis=(-2, -1)) / np.abs(sought).max()
    right = exact <= close
    if right.any() and not right.all():
        place, wrong = given.places[int(right.argmax())], given.places[int(exact.argmax())]
        return (
            f"is right at {_at(place)} and {int(right.sum())} of {right.size} positions but off by "
            f"{exact.max():.2g} of the peak at {_at(wrong)}: its regions or positions are mixed "
            "up, or it is that of a cut-out"
        )
    mean = match(stamps.mean(axis=0, keepdims=True), sought.mean(axis=0, keepdims=True))
    if mean.misfit <= close:
        return (
            f"is right on average but not in its variation over the image (off by up to "
            f"{plain.misfit:.2g} of the peak at "
            f"{_at(given.places[int(plain.deviations.argmax())])})"
        )
    if plain.deviations.max() < _ALIKE * plain.deviations.min():
        amount = f"{plain.deviations.max():.2g}"
    else:
        amount = f"{plain.deviations.min():.2g} to {plain.deviations.max():.2g}"
    return f"is unlike it everywhere (by {amount} of the peak): the kernel is that of other images"


def _at(place: Place) -> str:
    return f"({place[0]:.0f}, {place[1]:.0f})"


def _common_places(
    first: MatchingKernel, second: MatchingKernel, shape: tuple[int, int]
) -> tuple[Place, ...]:
    """Return positions of a grid over an image ``(ny, nx)`` at which there are both kernels."""
    y, x = (
        ((np.arange(_PLACES) + 0.5) / _PLACES * length - 0.5).round().tolist() for length in shape
    )
    boxes = first.boxes, second.boxes
    return tuple(
        place
        for place in itertools.product(x, y)
        if all(not known or any(box.covers(*place) for box in known) for known in boxes)
    )


def _size(first: MatchingKernel, second: MatchingKernel) -> int:
    """Return the side of a square that takes both kernels, wrapped, and shifts of them."""
    extents = [
        max(abs(centre), abs(length - 1 - centre))
        for kernel in (first, second)
        for length, centre in zip(kernel.shape[::-1], kernel.origin, strict=True)
    ]
    return fast_length(2 * (max(extents) + _MARGIN) + 1)


def _stamps(
    kernel: MatchingKernel, side: Side, places: tuple[Place, ...], size: int
) -> NDArray[np.float64]:
    """Return the stamps of a kernel times the scale of its side, wrapped ``(n, size, size)``."""
    scales = [kernel.scales(*place)[ROLES.index(side)] for place in places]
    stamps = np.array([kernel.stamp(*place) for place in places])
    return np.array(scales)[:, None, None] * wrap(stamps, kernel.origin, (size, size))


def _others(kernel: MatchingKernel, side: Side, places: tuple[Place, ...]) -> NDArray[np.float64]:
    """Return the scales of the side that was not convolved ``(n,)``."""
    return np.array([kernel.scales(*place)[1 - ROLES.index(side)] for place in places])


def _is_delta(stamps: NDArray[np.float64]) -> bool:
    """Say whether wrapped stamps are a single pixel, up to rounding, at their origin."""
    rest = stamps.copy()
    rest[:, 0, 0] = 0.0
    return bool(np.abs(rest).max() <= _ROUNDED * np.abs(stamps).max())
