"""The strongest periodic line of a field, such as the moire that resampling leaves in its noise."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Fewest cycles along the shorter axis: what changes more slowly is no line.
_CYCLES = 4.0
#: Half waves along either axis that are slow changes.
_HALF_WAVES = 8
#: Ratio of the radii of a ring of frequencies, over which the noise is taken to be the same.
_RING = 1.4
#: Fewest cells of a field along either axis.
_SMALLEST = 32
#: Chance of a line in a field without any.
CHANCE = 0.01


class Line(NamedTuple):
    """A line ``1 + amplitude cos(2 pi (x / period_x + y / period_y) + phase)``."""

    #: Period and relative amplitude; the period is in pixels.
    period: float
    amplitude: float
    #: Power in units of that of the noise.
    significance: float
    #: Chance of such a line in a field without any.
    probability: float


def strongest_line(
    total: NDArray[np.floating], count: NDArray[np.floating], size: int
) -> Line | None:
    """Return the strongest line of a field that is known in cells; None if it is too small.

    Parameters
    ----------
    total : array (ny, nx)
        Sum of the field over the known pixels of every cell.
    count : array (ny, nx)
        Their number.
    size : int
        Side of a cell, pixels.

    Returns
    -------
    Line or None
        Relative to the mean of the field; with a period of at least two cells.
    """
    number = float(count.sum())
    mean = float(total.sum()) / number if number else 0.0
    if min(total.shape) < _SMALLEST or not mean > 0:
        return None
    field = _without_slow_changes(total / mean - count)
    power = np.abs(np.fft.rfft2(field)) ** 2
    ky = np.fft.fftfreq(total.shape[0])[:, np.newaxis]
    kx = np.fft.rfftfreq(total.shape[1])
    frequency = np.hypot(ky, kx)
    cycles = frequency * min(total.shape)
    # Of the frequencies on both borders of the half plane, one of two is the same again.
    searched = (cycles >= _CYCLES) & (frequency <= 0.5) & ((kx > 0) | (ky > 0))
    ring = (np.log(np.maximum(cycles, _CYCLES) / _CYCLES) / math.log(_RING)).astype(int)
    level = np.full(int(ring.max()) + 1, np.inf)
    for which in range(len(level)):
        inside = power[searched & (ring == which)]
        if inside.size:
            level[which] = np.median(inside) / math.log(2)  # the mean of an exponential law
    if not (np.isfinite(level).any() and level.min() > 0):
        return None
    ratio = np.where(searched, power / level[ring], 0.0)
    row, column = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    strongest = float(ratio[row, column])
    noise = float(level[ring[row, column]])
    # A cell is the mean of the field over it.
    seen = float(np.sinc(ky[row, 0]) * np.sinc(kx[column]))
    amplitude = 2 * math.sqrt(max(float(power[row, column]) - noise, 0.0)) / (number * seen)
    probability = min(1.0, int(np.count_nonzero(searched)) * math.exp(-min(strongest, 700.0)))
    return Line(size / float(frequency[row, column]), amplitude, strongest, probability)


def _without_slow_changes(field: NDArray[np.floating]) -> NDArray[np.floating]:
    """Subtract the longest cosine waves: a step from border to border would look like lines."""
    rows, columns = (_half_waves(length) for length in field.shape)
    return np.asarray(field - rows @ (rows.T @ field @ columns) @ columns.T)


def _half_waves(length: int) -> NDArray[np.float64]:
    """Return the longest cosine waves along an axis ``(length, n)``, orthonormal."""
    number = np.arange(_HALF_WAVES)
    waves = np.cos(np.pi / length * np.multiply.outer(np.arange(length) + 0.5, number))
    return np.asarray(waves / np.sqrt(np.sum(waves**2, axis=0)))
