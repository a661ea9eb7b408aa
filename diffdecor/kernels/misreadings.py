"""What else a kernel file could have meant: the usual misreadings, each as a kernel of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.fourier import Origin, reflect
from diffdecor.kernels.model import BasisKernel, Box, MatchingKernel, Region, Side, StampKernel

Turn = Callable[[NDArray[np.float64], Origin], tuple[NDArray[np.float64], Origin]]
_OTHER: dict[Side | None, Side] = {"template": "science", "science": "template", None: "science"}


def transpose(stamps: NDArray[np.float64], origin: Origin) -> tuple[NDArray[np.float64], Origin]:
    """Exchange the axes of stamps.

    Parameters
    ----------
    stamps : array (..., ky, kx)
        Stamps.
    origin : tuple of int
        Their origin ``(cx, cy)``.

    Returns
    -------
    array (..., kx, ky)
        The stamps with x and y exchanged.
    tuple of int
        Their origin.
    """
    return np.swapaxes(stamps, -1, -2), (origin[1], origin[0])


def misreadings(kernel: MatchingKernel) -> Iterator[tuple[str, MatchingKernel]]:
    """Go through the usual misreadings of a kernel.

    Parameters
    ----------
    kernel : MatchingKernel
        The kernel as it was read.

    Yields
    ------
    str
        What would have to be different for this kernel to be the right one.
    MatchingKernel
        The kernel read like that.
    """
    yield (
        "the kernel is flipped in both axes (correlation, not convolution)",
        turned(kernel, reflect),
    )
    yield "the axes of the kernel are exchanged (transposed)", turned(kernel, transpose)
    yield (
        "the axes of the kernel are exchanged, and flipped",
        turned(turned(kernel, reflect), transpose),
    )
    # The side also decides how the background and the scales of some formats are read.
    other = with_side(kernel)
    for sided in (other, with_scales(other, inverse=(True, True))):
        yield "the other image was convolved (--convolved)", sided
        yield "the other image was convolved (--convolved)", with_negative_background(sided)
    for science, template in (("1", "1"), ("1/k", "1/k"), ("1/k", "1"), ("1", "1/k")):
        name = (
            f"the difference is scaled otherwise: --science-scale {science} "
            f"--template-scale {template}, with k the kernel sum (PHOTNORM)"
        )
        yield name, with_scales(kernel, inverse=(science == "1/k", template == "1/k"))
    for side, letter in (("science", "i"), ("template", "t")):
        name = f"the difference is scaled otherwise: by 1/k where the {side} image was convolved"
        yield f"{name} (PHOTNORM {letter})", with_scales(kernel, inverse=(True, True), only=side)


def turned(kernel: MatchingKernel, turn: Turn) -> MatchingKernel:
    """Return a kernel with all its stamps turned.

    Parameters
    ----------
    kernel : MatchingKernel
        The kernel.
    turn : callable
        Turns stamps and their origin.

    Returns
    -------
    MatchingKernel
        The kernel with other stamps.
    """
    if isinstance(kernel, BasisKernel):
        basis, origin = turn(kernel.basis, kernel.origin)
        return replace(kernel, basis=basis, origin=origin)
    if isinstance(kernel, StampKernel):
        stamps, origin = turn(kernel.stamps, kernel.origin)
        return replace(kernel, stamps=stamps, origin=origin)
    return kernel


def with_side(kernel: MatchingKernel) -> MatchingKernel:
    """Return a kernel with the other side convolved.

    Parameters
    ----------
    kernel : MatchingKernel
        The kernel.

    Returns
    -------
    MatchingKernel
        Of the other side everywhere.
    """
    if isinstance(kernel, BasisKernel):
        regions = tuple(replace(one, side=_OTHER[one.side]) for one in kernel.regions)
        return replace(kernel, regions=regions)
    if isinstance(kernel, StampKernel):
        return replace(kernel, convolved=_OTHER[kernel.convolved])
    return kernel


def with_negative_background(kernel: MatchingKernel) -> MatchingKernel:
    """Return a kernel whose additive background has the other sign.

    Parameters
    ----------
    kernel : MatchingKernel
        The kernel.

    Returns
    -------
    MatchingKernel
        With the background subtracted where it was added.
    """
    if isinstance(kernel, BasisKernel):
        regions = tuple(replace(one, background=-one.background) for one in kernel.regions)
        return replace(kernel, regions=regions)
    return kernel


def with_scales(
    kernel: MatchingKernel, inverse: tuple[bool, bool], only: str | None = None
) -> MatchingKernel:
    """Return a kernel with scales of 1, or of one over the sum of the kernel.

    Parameters
    ----------
    kernel : MatchingKernel
        The kernel.
    inverse : tuple of bool
        Whether a_S and a_T are one over the sum.
    only : {"science", "template"}, optional
        Where another image was convolved they are 1 all the same.

    Returns
    -------
    MatchingKernel
        With other scales, and a background to match.
    """

    def scales(total: float) -> tuple[float, float]:
        science, template = (1.0 / total if one else 1.0 for one in inverse)
        return science, template

    def rescaled(region: Region, kernel: BasisKernel) -> Region:
        box = region.box
        x, y = (box.xmin + box.xmax) / 2, (box.ymin + box.ymax) / 2
        total = float(region.weights(kernel.terms, x, y) @ kernel.basis.sum(axis=(1, 2)))
        science, template = scales(total) if only in {None, region.side} else (1.0, 1.0)
        return replace(
            region,
            science_scale=science,
            template_scale=template,
            background=region.background * (science / region.science_scale),
        )

    if isinstance(kernel, BasisKernel):
        return replace(kernel, regions=tuple(rescaled(one, kernel) for one in kernel.regions))
    if isinstance(kernel, StampKernel):
        science, template = scales(float(kernel.stamps.sum(axis=(1, 2)).mean()))
        return replace(kernel, science_scale=science, template_scale=template)
    return kernel


def moved(kernel: MatchingKernel, x: int, y: int) -> MatchingKernel:
    """Return a kernel in the coordinates of a cut-out of its image.

    Parameters
    ----------
    kernel : MatchingKernel
        The kernel of the whole image.
    x, y : int
        0-based pixel of the whole image that is the first of the cut-out.

    Returns
    -------
    MatchingKernel
        The kernel at ``(x, y)`` is now that at ``(0, 0)``.
    """

    def shifted(region: Region) -> Region:
        box, blocks = region.box, region.blocks
        return replace(
            region,
            box=Box(box.xmin - x, box.xmax - x, box.ymin - y, box.ymax - y),
            x0=region.x0 - x,
            y0=region.y0 - y,
            blocks=blocks
            and replace(blocks, start_x=blocks.start_x - x, start_y=blocks.start_y - y),
        )

    if isinstance(kernel, BasisKernel):
        regions = tuple(shifted(region) for region in kernel.regions)
        return replace(kernel, regions=regions, image_shape=None)
    if isinstance(kernel, StampKernel):
        return replace(kernel, positions=kernel.positions - (x, y), image_shape=None)
    return kernel
