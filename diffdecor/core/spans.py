"""An axis of a plane, cut at the nodes of a field of kernels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True)
class Span:
    """Pixels along one axis, from `start` to before `stop`, over which kernels are linear.

    They are interpolated between kernels at `lower` and `upper`, which are equal for one kernel;
    a `curved` span has a third one in the middle, and kernels are quadratic over it.
    """

    start: int
    stop: int
    lower: float
    upper: float
    curved: bool = False

    def __len__(self) -> int:
        """Return the number of pixels."""
        return self.stop - self.start

    @property
    def corners(self) -> tuple[float, ...]:
        """Positions of the kernels: one, two, or three."""
        if self.lower == self.upper:
            return (self.lower,)
        middle = ((self.lower + self.upper) / 2,) if self.curved else ()
        return (self.lower, *middle, self.upper)

    def part(self, start: int, stop: int) -> Span:
        """Return the pixels that are in a range, too; none if there are none."""
        start, stop = max(start, self.start), min(stop, self.stop)
        return replace(self, start=start, stop=max(start, stop))

    def cut(self, number: int) -> list[Span]:
        """Cut the pixels into parts as equal as can be, with the same kernels."""
        edges = np.linspace(self.start, self.stop, number + 1).round().astype(int).tolist()
        return [replace(self, start=a, stop=b) for a, b in itertools.pairwise(edges)]

    def weights(self, dtype: DTypeLike) -> list[NDArray[Any]]:
        """Return the weights of all kernels but the first at every pixel; all add up to 1."""
        pixels = np.arange(self.start, self.stop)
        share = (pixels - self.lower) / (self.upper - self.lower)
        if not self.curved:
            return [share.astype(dtype)]
        return [one.astype(dtype) for one in (4 * share * (1 - share), share * (2 * share - 1))]

    def all_weights(self) -> NDArray[np.float64]:
        """Return the weights of the kernels at all corners ``(ncorners, npixels)``."""
        others = self.weights(np.float64) if len(self.corners) > 1 else []
        return np.array([1 - sum(others, np.zeros(len(self))), *others])


def spans(
    nodes: NDArray[np.float64],
    length: int,
    longest: int,
    curved: NDArray[np.bool_] | None = None,
) -> list[Span]:
    """Cut an axis at the nodes of a field, and into equal spans where these are far apart.

    Spans between the same two nodes have the same kernels.

    Parameters
    ----------
    nodes : array (n,)
        Rising positions of kernels, in pixels.
    length : int
        Pixels along the axis.
    longest : int
        Most pixels of a span.
    curved : array (n - 1,) of bool, optional
        Between which nodes the kernels are quadratic.

    Returns
    -------
    list of Span
        All pixels, each once, in rising order.
    """
    varies = len(nodes) > 1
    last = float(length - 1)
    inner = [float(node) for node in nodes if varies and 0 < node < last]
    found: list[Span] = []
    for lower, upper in itertools.pairwise([0.0, *inner, last]):
        start = int(np.ceil(lower))
        stop = length if upper == last else int(np.ceil(upper))
        corners = (lower, upper) if varies else (0.0, 0.0)
        whole = Span(start, stop, *corners, curved=_bends(nodes, curved, lower, upper))
        if len(whole):
            found += whole.cut(-(-len(whole) // longest))
    return found


def _bends(
    nodes: NDArray[np.float64], curved: NDArray[np.bool_] | None, lower: float, upper: float
) -> bool:
    """Say whether kernels are quadratic between two adjacent nodes."""
    if curved is None or not curved.any():
        return False
    interval = int(nodes.searchsorted((lower + upper) / 2)) - 1
    return bool(0 <= interval < len(curved) and curved[interval])
