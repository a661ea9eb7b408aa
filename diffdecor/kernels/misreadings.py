"""What else a kernel file could have meant: the usual misreadings, each as a kernel of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin, reflect
from diffdecor.kernels.model import MatchingKernel, Side, Usage

_OTHER: dict[Side | None, Side] = {"template": "science", "science": "template", None: "science"}
#: Scales of differences, or of one image in them, that were divided by the kernel sum k.
_DIVIDED = (("1/k", "1/k"), ("1/k", "1"), ("1", "1/k"))


def on_side(kernel: MatchingKernel, side: Side) -> MatchingKernel:
    """Return a kernel as it would be read if its file, or an option, named this side.

    LSST divides a convolved science image by the kernel's sum at the middle of the image; SFFT's
    background is of the other sign there.
    """
    science_scale = 1.0
    if side == "science" and kernel.format == "lsst":
        ny, nx = kernel.image_shape or (1, 1)
        science_scale = 1.0 / kernel.sum((nx - 1) / 2, (ny - 1) / 2)

    def on_it(usage: Usage) -> Usage:
        turned = (usage.side == "science") != (side == "science")
        sign = -1.0 if turned and kernel.format == "sfft" else 1.0
        scale = science_scale if kernel.format == "lsst" else usage.science_scale
        return usage._replace(side=side, science_scale=scale, background=sign)

    return kernel.with_usage(on_it)


def other_side(kernel: MatchingKernel) -> str:
    """Say that the other image was convolved, and which option says so."""
    sides = _other_sides(kernel)
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
    for name, sided in _on_other_side(kernel):
        yield name, sided
        yield name, sided.with_usage(lambda usage: usage._replace(background=-1.0))
    for scales in (("1", "1"), *_DIVIDED):
        name = f"the difference is scaled otherwise: {_options(*scales)}"
        yield f"{name}, with k the kernel sum (PHOTNORM)", _with_scales(kernel, scales)
    for side, letter in (("science", "i"), ("template", "t")):
        name = f"the difference is scaled otherwise: by 1/k where the {side} image was convolved"
        yield f"{name} (PHOTNORM {letter})", _with_scales(kernel, ("1/k", "1/k"), only=side)


def _on_other_side(kernel: MatchingKernel) -> Iterator[tuple[str, MatchingKernel]]:
    """Go through what the difference would be with the other image convolved."""
    name, sides = other_side(kernel), _other_sides(kernel)
    other = kernel.with_usage(lambda usage: usage._replace(side=_OTHER[usage.side]))
    yield name, on_side(kernel, *sides) if len(sides) == 1 else other
    for scales in _DIVIDED:
        yield f"{name} {_options(*scales)}", _with_scales(other, scales)


def _other_sides(kernel: MatchingKernel) -> set[Side]:
    """Return the sides that were not convolved, anywhere in the image."""
    places = [box.middle for box in kernel.boxes] or [(0.0, 0.0)]
    return {_OTHER[kernel.side(*place)] for place in places}


def _options(science: str, template: str) -> str:
    """Return the options that say how a difference is scaled."""
    return f"--science-scale {science} --template-scale {template}"


def _transpose(stamps: NDArray[np.float64], origin: Origin) -> tuple[NDArray[np.float64], Origin]:
    """Exchange the axes of stamps ``(..., ky, kx)``."""
    return np.swapaxes(stamps, -1, -2), (origin[1], origin[0])


def _with_scales(
    kernel: MatchingKernel, scales: tuple[str, str], only: str | None = None
) -> MatchingKernel:
    """Return a kernel with a_S and a_T of one over its sum where `scales` say 1/k, otherwise 1.

    With `only` they are 1 wherever that side was not convolved. The background is scaled to match.
    """

    def rescaled(usage: Usage) -> Usage:
        applies = only in {None, usage.side}
        divided = 1.0 / usage.kernel_sum if applies else 1.0
        science, template = (divided if one == "1/k" else 1.0 for one in scales)
        background = science / usage.science_scale
        return usage._replace(science_scale=science, template_scale=template, background=background)

    return kernel.with_usage(rescaled)
