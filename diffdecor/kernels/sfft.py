"""Solutions of SFFT: polynomial packets, and B-spline packets with or without separate scaling.

One row of numbers: for every function of position the kernel, then the background. The kernel
belongs to the source pixel, and the borders of the image wrap around.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diffdecor.errors import KernelError
from diffdecor.fits.formats import LARGEST_SIDE
from diffdecor.fits.open import image_shape, read_pixels
from diffdecor.kernels.model import BasisKernel, Box, Region, Side, Term
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.sfft_terms import background_terms, kernel_terms, scaling_terms, whole
from diffdecor.kernels.source import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_SIDES: dict[str, Side] = {"REF": "template", "SCI": "science"}


@dataclass(frozen=True, eq=False)
class Packet:
    """What the header of a solution says: sizes in pixels, and functions of position."""

    #: ``(nx, ny)`` of the images; `width` and `height` are those of the kernel.
    size: tuple[int, int]
    width: int
    height: int
    kernel: tuple[Term, ...]
    background: tuple[Term, ...]
    #: Functions of the kernel sum, where it has its own.
    scaling: tuple[Term, ...] | None


@register("sfft", description="SFFT solution (1-row image, cards FIJAB, DK, L0; KSPTYPE: B-spline)")
class SfftReader:
    """Reads the solution of SFFT."""

    @staticmethod
    def identify(hdus: Sequence[Any]) -> bool:
        """Say whether there is a card FIJAB."""
        return any("FIJAB" in hdu.header for hdu in hdus)

    @staticmethod
    def read(source: Source, options: KernelOptions) -> BasisKernel:
        """Read the solution: one region, the image, with a basis image per function of position.

        The side comes from the options or the difference (CONVD). Where neither gives it, it is
        None, and the background is left out: its sign depends on the side.
        """
        hdu = next(hdu for hdu in source.candidates if "FIJAB" in hdu.header)
        packet = _packet(source.name, hdu.header)
        numbers = _numbers(source.name, hdu, packet)
        _check_difference(source, hdu.header)
        return _kernel(source, packet, numbers, _side(source, options))


def _packet(name: str, header: Any) -> Packet:  # noqa: ANN401  astropy has no types
    """Read the header, and check that its cards agree."""
    nx, ny, width, height = (whole(name, header, key, 1) for key in ("N0", "N1", "L0", "L1"))
    if width % 2 == 0 or height % 2 == 0 or max(width, height) > LARGEST_SIDE:
        msg = f"{name}: L0, L1 = {width}, {height}; SFFT kernels have odd sizes; solve again"
        raise KernelError(msg)
    size = nx, ny
    packet = Packet(
        size=size,
        width=width,
        height=height,
        kernel=kernel_terms(name, header, size),
        background=background_terms(name, header, size),
        scaling=scaling_terms(name, header, size),
    )
    n_terms = len(packet.kernel)
    expected = {"FIJ": n_terms, "FAB": width * height, "FPQ": len(packet.background)}
    expected["FIJAB"] = n_terms * width * height
    for keyword, value in expected.items():
        found = header.get(keyword, value)
        if found != value:
            msg = (
                f"{name}: {keyword} = {found!r}, but the other cards of the SFFT solution ask for "
                f"{value}; the header belongs to another solution"
            )
            raise KernelError(msg)
    return packet


def _numbers(name: str, hdu: Any, packet: Packet) -> NDArray[np.float64]:  # noqa: ANN401
    n_terms, n_background = len(packet.kernel), len(packet.background)
    expected = n_terms * packet.width * packet.height + n_background
    shape = image_shape(hdu)
    if np.prod(shape, dtype=float) != expected or max(shape, default=0) != expected:
        msg = (
            f"{name}: an image of shape {shape}, but its cards ask for a row of {expected} "
            "numbers; give the solution as SFFT wrote it"
        )
        raise KernelError(msg)
    return np.asarray(read_pixels(hdu, name), dtype=np.float64).reshape(expected)


def _check_difference(source: Source, header: Any) -> None:  # noqa: ANN401
    """Refuse a difference that was made with another solution."""
    if source.difference is None:
        return
    own = {
        "KERHW": (header["L0"] - 1) // 2,
        "KERORDER": header["DK"],
        "BGORDER": header["DB"],
        **{key: header[key] for key in ("CONVD", "KSPTYPE", "KSPDEG") if key in header},
    }
    for keyword, value in own.items():
        found = source.difference.card(keyword)
        if found is not None and str(found).strip() != str(value).strip():
            msg = (
                f"{source.name}: the difference {source.difference.name} was made with {keyword} "
                f"= {found}, but this solution has {value}; give the solution that belongs to it"
            )
            raise KernelError(msg)


def _side(source: Source, options: KernelOptions) -> Side | None:
    """Return the convolved side; None only where there is no difference that could give it."""
    if options.convolved:
        return options.convolved
    value = source.card("CONVD")
    if value is None and source.difference is not None:
        msg = (
            f"{source.difference.name}: no card CONVD, so neither this difference nor the SFFT "
            "solution says which image was convolved; say it with --convolved"
        )
        raise KernelError(msg)
    if value is None:
        logger.warning(
            "%s: an SFFT solution does not say which image was convolved, and so not what to add "
            "or subtract; its background is left out (the difference says it, or --convolved)",
            source.name,
        )
        return None
    side = _SIDES.get(str(value).strip().upper())
    if side is None:
        msg = f"{source.name}: CONVD = {value!r}; expected REF or SCI; say it with --convolved"
        raise KernelError(msg)
    return side


def _kernel(
    source: Source, packet: Packet, numbers: NDArray[np.float64], side: Side | None
) -> BasisKernel:
    """Build the kernel from the row of numbers."""
    terms, functions = packet.kernel, packet.background
    n_background = len(functions)
    columns, rows = (packet.width - 1) // 2, (packet.height - 1) // 2
    solution, background = numbers[:-n_background], numbers[-n_background:]
    images = solution.reshape(len(terms), packet.width, packet.height).transpose(0, 2, 1)
    images = images / (float(packet.size[0]) * packet.size[1])
    sums = images[:, rows, columns].copy()
    others = images.sum(axis=(1, 2)) - sums
    if packet.scaling is None:
        images[:, rows, columns] = sums - others
        coefficients = np.eye(len(terms))
    else:
        images[:, rows, columns] = -others
        terms, images, coefficients = _scaled(packet.scaling, terms, images, sums)
    nx, ny = packet.size
    if side is None:
        background, functions = np.zeros(0), ()
    return BasisKernel(
        basis=images,
        origin=(columns, rows),
        terms=terms,
        background_terms=functions,
        regions=(
            Region(
                box=Box(0, nx - 1, 0, ny - 1),
                side=side,
                x0=-1.0,
                xs=float(nx),
                y0=-1.0,
                ys=float(ny),
                coefficients=coefficients,
                background=background if side == "science" else -background,
            ),
        ),
        image_shape=(ny, nx),
        evaluated_at="SOURCE",
        boundary="WRAP",
        name=source.name,
        format="sfft",
    )


def _scaled(
    scaling: tuple[Term, ...],
    terms: tuple[Term, ...],
    images: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> tuple[tuple[Term, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Add a delta function for the kernel sum, which has functions of position of its own."""
    _, ky, kx = images.shape
    delta = np.zeros((1, ky, kx))
    delta[0, (ky - 1) // 2, (kx - 1) // 2] = 1.0
    coefficients = np.zeros((len(images) + 1, len(terms) + len(scaling)))
    coefficients[: len(images), : len(terms)] = np.eye(len(images))
    coefficients[-1, len(terms) :] = sums[: len(scaling)]
    return (*terms, *scaling), np.concatenate([images, delta]), coefficients
