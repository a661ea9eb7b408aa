"""What else a kernel file could have meant: the usual misreadings, each as a kernel of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin, reflect
from diffdecor.kernels.model import MatchingKernel, Side, Usage

_OTHER: dict[Side | None, Side] = {"template": "science", "science": "template", None: "science"}
#: Options of a difference that was divided by the kernel sum.
_INVERSE = "--science-scale 1/k --template-scale 1/k"


def other_side(kernel: MatchingKernel) -> str:
    """Say that the other image was convolved, and which option says so."""
    places = [box.middle for box in kernel.boxes] or [(0.0, 0.0)]
    sides = {_OTHER[kernel.side(*place)] for place in places}
    option = f"--convolved {sides.pop()}" if len(sides) == 1 else "--convolved"
    return f"the other image was convolved: {option}"


def misreadings(kernel: MatchingKernel) -> Iterator[tuple[str, MatchingKernel]]:
    """Go through the usual misreadings: what is different, and the kernel read like that."""
    sense = "the kernel is flipped in both axes (correlation, not convolution: --kernel-sense)"
    yield sense, kernel.turned(reflect)
    yield "the axes of the kernel are exchanged (transposed)", kernel.turned(_transpose)
    yield (
        "the axes of the kernel are exchanged, and flipped",
        kernel.turned(reflect).turned(_transpose),
    )
    # The side also decides how the background and the scales of some formats are read.
    other = kernel.with_usage(lambda usage: usage._replace(side=_OTHER[usage.side]))
    scaled = _with_scales(other, inverse=(True, True))
    name = other_side(kernel)
    for its_name, sided in ((name, other), (f"{name} {_INVERSE}", scaled)):
        yield its_name, sided
        yield its_name, sided.with_usage(lambda usage: usage._replace(background=-1.0))
    for science, template in (("1", "1"), ("1/k", "1/k"), ("1/k", "1"), ("1", "1/k")):
        name = (
            f"the difference is scaled otherwise: --science-scale {science} "
            f"--template-scale {template}, with k the kernel sum (PHOTNORM)"
        )
        yield name, _with_scales(kernel, inverse=(science == "1/k", template == "1/k"))
    for side, letter in (("science", "i"), ("template", "t")):
        name = f"the difference is scaled otherwise: by 1/k where the {side} image was convolved"
        yield f"{name} (PHOTNORM {letter})", _with_scales(kernel, inverse=(True, True), only=side)


def _transpose(stamps: NDArray[np.float64], origin: Origin) -> tuple[NDArray[np.float64], Origin]:
    """Exchange the axes of stamps ``(..., ky, kx)``."""
    return np.swapaxes(stamps, -1, -2), (origin[1], origin[0])


def _with_scales(
    kernel: MatchingKernel, inverse: tuple[bool, bool], only: str | None = None
) -> MatchingKernel:
    """Return a kernel with a_S and a_T of one over its sum where `inverse` says so, otherwise 1.

    With `only` they are 1 wherever that side was not convolved. The background is scaled to match.
    """

    def rescaled(usage: Usage) -> Usage:
        applies = only in {None, usage.side}
        science, template = (1.0 / usage.kernel_sum if one and applies else 1.0 for one in inverse)
        background = science / usage.science_scale
        return usage._replace(science_scale=science, template_scale=template, background=background)

    return kernel.with_usage(rescaled)
