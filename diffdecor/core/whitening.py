"""From the noise power of a difference to the compact filter that makes its noise white.

The whitening filter is ``psi(k) = sqrt(P(0) / P(k))`` (DMTN-021, equation 12, in the symmetric form
of DESIGN); ``psi(0) = 1`` keeps fluxes. A score image takes the likelihood correction of DMTN-179
instead, ``C(k) = |A(k) / A(0)|^2 P(0) / P(k)``, which is bounded where A vanishes.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import centred, fast_length, sums_beyond
from diffdecor.core.noise import NoiseSide
from diffdecor.core.parallel import ordered_map

log = logging.getLogger(__name__)

#: Share of the L2 norm of a filter that may be cut off: the resulting error in noise sigmas.
TAIL = 1e-9
#: The same for filters of measured noise, whose own error is far larger.
MEASURED_TAIL = 1e-4
#: Noise power, in units of P(0), below which it is floored: psi never exceeds 1000.
FLOOR = 1e-6
#: Largest half width of a filter, pixels.
MAX_HALF_WIDTH = 256
#: Largest half width of a filter in units of its transform's size: what wraps around comes from at
#: least 1.5 times as far out, where a filter that falls off is far smaller.
_LARGEST_SHARE = 0.4
#: Pixels of the filters of a batch: they stay in the processor's cache.
_BATCH_PIXELS = 1 << 17
#: Share of the L2 norm whose loss is visible in the result.
_VISIBLE_TAIL = 3e-4


def filter_transfer(
    science: NoiseSide, template: NoiseSide, shape: tuple[int, int], *, score: bool = False
) -> NDArray[np.float64]:
    """Return the transforms of the filters at every place: psi, or the score correction C.

    Parameters
    ----------
    science, template : NoiseSide
        Noise of both sides at n places. The science kernel A of a score image is the (reflected)
        preconvolution kernel.
    shape : tuple of int
        ``(ny, nx)`` of the transform.
    score : bool
        Whether the difference is a score image.

    Returns
    -------
    array (n, ny, nx // 2 + 1)
        Real transforms (the filters are symmetric). For psi the power is floored at `FLOOR` times
        P(0); where a score image has no power there is nothing to correct, and C is 0.
    """
    power = science.power(shape) + template.power(shape)
    level = (science.zero_power + template.zero_power)[:, np.newaxis, np.newaxis]
    if score:
        gain = science.gain(shape) / (science.sums**2)[:, np.newaxis, np.newaxis]
        return np.divide(gain * level, power, out=np.zeros_like(power), where=power > 0)
    return np.sqrt(level / np.maximum(power, FLOOR * level))


@dataclass(frozen=True, eq=False)
class Filters:
    """Compact filters of unit sum at n places: ``(n, 2m + 1, 2m + 1)``, origin ``(m, m)``."""

    stamps: NDArray[np.float64]
    #: Largest share of the L2 norm of a filter that was cut off.
    tail: float

    @property
    def half_width(self) -> int:
        """Half width m of the filters, pixels."""
        return int(self.stamps.shape[-1] // 2)


def compact_filters(
    science: NoiseSide,
    template: NoiseSide,
    *,
    score: bool = False,
    tail: float = TAIL,
    threads: int = 1,
) -> Filters:
    """Return the filters at every place, cut where their tail has become negligible.

    All have the half width of the widest, which follows from the L2 norm of what is cut off, on a
    grid so much larger than the filter that the periodicity of the transform does not matter.

    Parameters
    ----------
    science, template : NoiseSide
        Noise of both sides at n places.
    score : bool
        Whether the difference is a score image.
    tail : float
        Share of the L2 norm that may be cut off.
    threads : int
        Number of threads; the result does not depend on it.

    Returns
    -------
    Filters
        Of unit sum each.
    """
    _warn_of_floor(science, template)
    probe = _extremes(science, template)
    while True:
        size, half_width = _length(science[probe], template[probe], score=score, tail=tail)
        stamps, lost = _cut_filters(science, template, size, half_width, threads, score=score)
        worst = int(np.argmax(lost))
        if lost[worst] <= tail or worst in probe:
            break
        probe = np.append(probe, worst)  # wider than expected
    if lost[worst] > _VISIBLE_TAIL:
        log.warning(
            "the filter is cut off at %d pixels although %.1g of it lies beyond: "
            "the result is not quite white",
            half_width,
            lost[worst],
        )
    return Filters(stamps, float(lost[worst]))


def _extremes(science: NoiseSide, template: NoiseSide) -> NDArray[np.intp]:
    """Return the places where the widest filters are expected.

    The more the convolved side dominates the noise, the wider is the filter; it also depends on the
    width of the kernel. These are the places with the extremes of either.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nan_to_num(template.zero_power / science.zero_power)
    members = (*science.members, *template.members)
    widths = [(side.stamps**2).sum(axis=(1, 2)) / side.sums**2 for side in members]
    orders = [np.argsort(values) for values in (ratio, *widths)]
    return np.unique([order[place] for order in orders for place in (0, len(order) // 2, -1)])


def _cut_filters(
    science: NoiseSide,
    template: NoiseSide,
    size: int,
    half_width: int,
    threads: int,
    *,
    score: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return all filters ``(n, 2m + 1, 2m + 1)``, and the share of each that was cut off."""
    number, batch = len(science), max(1, _BATCH_PIXELS // size**2)
    stamps = np.empty((number, 2 * half_width + 1, 2 * half_width + 1))
    lost = np.empty(number)

    def make(start: int) -> None:
        places = slice(start, start + batch)
        wrapped = _wrapped_filters(science[places], template[places], size, score=score)
        stamps[places], lost[places] = _cut(wrapped, half_width)

    for _ in ordered_map(make, range(0, number, batch), threads):
        pass
    return stamps, lost


def _cut(
    wrapped: NDArray[np.float64], half_width: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what is kept of wrapped filters, which are overwritten, and the share that is not."""
    kept = centred(wrapped, half_width)
    for rows in (slice(half_width + 1), slice(wrapped.shape[-2] - half_width, None)):
        for columns in (slice(half_width + 1), slice(wrapped.shape[-1] - half_width, None)):
            wrapped[:, rows, columns] = 0.0
    beyond = np.square(wrapped, out=wrapped).sum(axis=(1, 2))
    share = np.sqrt(beyond / (beyond + (kept**2).sum(axis=(1, 2))))
    kept += kept[:, ::-1, ::-1]  # symmetric but for rounding before
    kept /= kept.sum(axis=(1, 2), keepdims=True)
    return kept, share


def _warn_of_floor(science: NoiseSide, template: NoiseSide) -> None:
    """Warn where the unconvolved side has too little noise for a filter to undo the kernel."""
    for near, far in ((science, template), (template, science)):
        if _is_convolved(near) or not _is_convolved(far):
            continue  # the latter, too, of a difference alone: one side, and no kernel to undo
        if np.any(near.zero_power < FLOOR * far.zero_power):
            log.warning(
                "the image that was not convolved has (almost) no noise; the filter is bounded at "
                "%g and leaves some correlation in the result",
                FLOOR**-0.5,
            )


def _is_convolved(side: NoiseSide) -> bool:
    """Say whether any image of a side went through a kernel."""
    return any(one.stamps.shape[-2:] != (1, 1) for one in side.members)


def _wrapped_filters(
    science: NoiseSide, template: NoiseSide, size: int, *, score: bool
) -> NDArray[np.float64]:
    """Return the periodic filters ``(n, size, size)``, origin at index [0, 0]."""
    transforms = filter_transfer(science, template, (size, size), score=score)
    return np.asarray(np.fft.irfft2(transforms, (size, size)))


def _length(
    science: NoiseSide, template: NoiseSide, *, score: bool, tail: float
) -> tuple[int, int]:
    """Return transform size and half width that are enough for the widest of the filters."""
    members = (*science.members, *template.members)
    widest = max(one.reach for one in members)
    size = fast_length(max(64, 2 * widest))
    while True:
        wrapped = _wrapped_filters(science, template, size, score=score)
        half_width = _tail_half_width(wrapped, tail)
        if half_width <= min(_LARGEST_SHARE * size, MAX_HALF_WIDTH):
            return fast_length(max(widest, math.ceil(half_width / _LARGEST_SHARE))), half_width
        if size >= 4 * MAX_HALF_WIDTH:
            return size, MAX_HALF_WIDTH
        size *= 2


def _tail_half_width(wrapped: NDArray[np.float64], tail: float) -> int:
    """Return the smallest half width beyond which every filter has less than `tail` of its norm."""
    size = wrapped.shape[-1]
    distance = np.minimum(np.arange(size), size - np.arange(size))
    width = 0
    for one in wrapped:
        energy = sums_beyond(one**2, distance, distance)
        width = max(width, int(np.flatnonzero(energy > tail**2 * energy[0])[-1]))
    return width
