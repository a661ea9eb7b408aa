"""How stamps must be turned, shifted and scaled to become others.

Stamps are wrapped: ``(n, m, m)`` with their origin at index ``[0, 0]``, one for each of n places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Steps that find a shift by parts of a pixel; each gains two digits or more.
_STEPS = 8


def _across(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Flip along x, about the origin."""
    return np.roll(stamps[..., ::-1], 1, axis=-1)


def _along(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Flip along y, about the origin."""
    return np.roll(stamps[..., ::-1, :], 1, axis=-2)


def _exchanged(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exchange both axes."""
    return np.swapaxes(stamps, -1, -2)


#: Turns of stamps about their origin, the likely ones first: whether the axes are exchanged, then
#: flipped along x, along y.
Turn = tuple[bool, bool, bool]
TURNS: tuple[Turn, ...] = (
    (False, False, False),
    (False, True, True),
    (False, True, False),
    (False, False, True),
    (True, False, False),
    (True, True, True),
    (True, True, False),
    (True, False, True),
)


def turned(stamps: NDArray[np.float64], turn: Turn) -> NDArray[np.float64]:
    """Return wrapped stamps that are turned about their origin."""
    changes: tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], ...]
    changes = (_exchanged, _across, _along)
    for change, wanted in zip(changes, turn, strict=True):
        stamps = change(stamps) if wanted else stamps
    return stamps


@dataclass(frozen=True, eq=False, kw_only=True)
class StampMatch:
    """Stamps that were turned, shifted and scaled to become others.

    The misfit is the largest deviation of any pixel anywhere, in units of the peak of the others.
    """

    turn: Turn
    #: Pixels along x and y.
    shift: tuple[float, float]
    #: Factors, one for every place; all the same where only a common one was sought.
    factors: NDArray[np.float64]
    #: Deviation at every place, units of the peak ``(n,)``.
    deviations: NDArray[np.float64]

    @property
    def misfit(self) -> float:
        """The largest deviation."""
        return float(self.deviations.max())


def matches(given: NDArray[np.float64], sought: NDArray[np.float64]) -> Iterator[StampMatch]:
    """Yield the ways to turn and shift `given` stamps with one factor, the plain ones first."""
    for turn in TURNS:
        stamps = turned(given, turn)
        yield match(stamps, sought, turn=turn)
        shift = _shift(stamps, sought)
        if shift != (0, 0):
            moved = np.roll(stamps, shift[::-1], axis=(-2, -1))
            yield match(moved, sought, turn=turn, shift=shift)
    yield from _shifted_by_parts(given, sought)


def match(
    stamps: NDArray[np.float64],
    sought: NDArray[np.float64],
    *,
    turn: Turn = TURNS[0],
    shift: tuple[float, float] = (0, 0),
    each: bool = False,
) -> StampMatch:
    """Scale stamps, with one factor or a factor for `each`, and say how well they fit then."""
    axes = (-2, -1) if each else None
    power = (stamps**2).sum(axis=axes)
    product = (stamps * sought).sum(axis=axes)
    factors = np.divide(product, power, out=np.zeros_like(power), where=power > 0)
    factors = np.broadcast_to(factors, len(stamps)).copy()
    left = np.abs(factors[:, np.newaxis, np.newaxis] * stamps - sought).max(axis=(-2, -1))
    peak = np.abs(sought).max()
    deviations = left / peak if peak > 0 else np.full(len(stamps), np.inf)
    return StampMatch(turn=turn, shift=shift, factors=factors, deviations=deviations)


def _shift(stamps: NDArray[np.float64], sought: NDArray[np.float64]) -> tuple[int, int]:
    """Return the shift by whole pixels ``(x, y)`` at which both correlate most."""
    size = stamps.shape[-1]
    products = np.fft.rfft2(sought) * np.conj(np.fft.rfft2(stamps))
    correlation = np.fft.irfft2(products.sum(axis=0), (size, size))
    # What has the other sign correlates negatively.
    row, column = np.unravel_index(int(np.abs(correlation).argmax()), correlation.shape)
    half = size // 2
    return int((column + half) % size) - half, int((row + half) % size) - half


def _shifted_by_parts(
    stamps: NDArray[np.float64], sought: NDArray[np.float64]
) -> Iterator[StampMatch]:
    """Yield stamps that are shifted by parts of a pixel, from the nearest whole shift on."""
    size = stamps.shape[-1]
    v, u = np.fft.fftfreq(size)[:, np.newaxis], np.fft.rfftfreq(size)
    transform = np.fft.rfft2(stamps)
    shift = np.array(_shift(stamps, sought), dtype=np.float64)
    moved = stamps
    for _ in range(_STEPS):
        here = transform * np.exp(-2j * np.pi * (u * shift[0] + v * shift[1]))
        moved, along_x, along_y = (
            np.fft.irfft2(here * factor, (size, size)).ravel()
            for factor in (1.0, -2j * np.pi * u, -2j * np.pi * v)
        )
        columns = np.array([moved, along_x, along_y])
        solution = np.linalg.lstsq(columns @ columns.T, columns @ sought.ravel(), rcond=1e-12)[0]
        if not abs(solution[0]) > 0:
            return
        step = solution[1:] / solution[0]
        shift += np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-6:
            break
    if np.isfinite(shift).all() and np.abs(shift).max() < size / 2:
        here = transform * np.exp(-2j * np.pi * (u * shift[0] + v * shift[1]))
        moved = np.fft.irfft2(here, (size, size))
        yield match(moved, sought, shift=(float(shift[0]), float(shift[1])))
