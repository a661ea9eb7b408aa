"""Solutions of SFFT: polynomial packets, and B-spline packets with or without separate scaling.

One row of numbers: for every function of position the kernel, then the background. The kernel
belongs to the source pixel, and the borders of the image wrap around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor import words
from diffdecor.fits.formats import LARGEST_SIDE
from diffdecor.fits.open import Hdu, Header, image_shape, read_pixels
from diffdecor.kernels.model import BasisKernel, Box, Region, Side, Term
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source

logger = words.logger(__name__)

_SIDES: dict[str, Side] = {"REF": "template", "SCI": "science"}
HIGHEST_ORDER = 30  # of polynomials and splines; SFFT is used with up to 4
_MOST_TERMS = 10_000


@register(
    "sfft",
    description="SFFT solution (1-row image, cards FIJAB, DK, L0; KSPTYPE: B-spline)",
    notes="Polynomials and B-splines. The convolved side is that of the card CONVD of the "
    "difference, or --convolved.",
)
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
        None, and the sign of the background that of a convolved template; without a difference the
        background is left out.
        """
        hdu = next(hdu for hdu in source.candidates if "FIJAB" in hdu.header)
        packet = _packet(source, hdu.header)
        numbers = _numbers(source, hdu, packet)
        _check_difference(source, hdu.header)
        return _kernel(source, packet, numbers, _side(source, options))


@dataclass(frozen=True, eq=False)
class _Packet:
    """What the header of a solution says: sizes in pixels, and functions of position."""

    #: ``(nx, ny)`` of the images; `width` and `height` are those of the kernel.
    size: tuple[int, int]
    width: int
    height: int
    kernel: tuple[Term, ...]
    background: tuple[Term, ...]
    #: Functions of the kernel sum, where it has its own.
    scaling: tuple[Term, ...] | None


def _packet(source: Source, header: Header) -> _Packet:
    """Read the header, and check that its cards agree."""
    nx, ny, width, height = (_whole(source, header, key, 1) for key in ("N0", "N1", "L0", "L1"))
    if width % 2 == 0 or height % 2 == 0 or max(width, height) > LARGEST_SIDE:
        source.refuse(f"L0, L1 = {width}, {height}; SFFT kernels have odd sizes; solve again")
    kernel = _terms(source, header, (nx, ny), "K", "DK")
    background = _terms(source, header, (nx, ny), "B", "DB")
    scaling = _scaling_terms(source, header, (nx, ny), len(kernel))
    expected = {"FIJ": len(kernel), "FAB": width * height, "FPQ": len(background)}
    expected["FIJAB"] = len(kernel) * width * height
    for keyword, value in expected.items():
        found = header.get(keyword, value)
        if found != value:
            source.refuse(
                f"{keyword} = {found!r}, but the other cards of the SFFT solution ask for {value}; "
                "the header belongs to another solution"
            )
    return _Packet((nx, ny), width, height, kernel, background, scaling)


def _scaling_terms(
    source: Source, header: Header, size: tuple[int, int], n_kernel: int
) -> tuple[Term, ...] | None:
    """Return the functions of the kernel sum; None where they are those of the kernel.

    Where the sum is constant (SSPDEG 0) the solution is written as one of the kernel's own.
    """
    separate = str(header.get("SEPSCA", "False")).strip()
    if separate not in {"True", "False"}:
        source.refuse(f"SEPSCA = {separate!r}; expected True or False")
    if separate == "False" or _whole(source, header, "SSPDEG", 0) == 0:
        return None
    terms = _terms(source, header, size, "S", "SSPDEG")
    found = header.get("SCAFIJ", len(terms))
    if found != len(terms) or found > n_kernel:
        source.refuse(
            f"SCAFIJ = {found!r}, but the other cards of the SFFT solution ask for {len(terms)} "
            "functions of the kernel sum, and those of the kernel hold them"
        )
    return terms


def _terms(
    source: Source, header: Header, size: tuple[int, int], letter: str, order_card: str
) -> tuple[Term, ...]:
    """Return the functions whose cards start with a letter: K kernel, S scaling, B background.

    A polynomial, or the B-splines of the cards KSPDEG, KIKX, KIKY; of ``u = x / N0`` and
    ``v = y / N1``, FITS pixels, in the order of the coefficients. `size` is ``(nx, ny)``.
    """
    kind = str(header.get(f"{letter}SPTYPE", "Polynomial")).strip()
    if kind not in {"Polynomial", "B-Spline"}:
        source.refuse(
            f"{letter}SPTYPE = {kind!r}: SFFT solutions with Polynomial and B-Spline can be read; "
            "convert it to DDKERN, or sample it in a table with the columns X, Y, STAMP"
        )
    order = _whole(source, header, order_card, 0)
    degree = _whole(source, header, f"{letter}SPDEG", 0) if f"{letter}SPDEG" in header else order
    if degree != order or order > HIGHEST_ORDER:
        source.refuse(
            f"{order_card} = {order}, {letter}SPDEG = {degree} are impossible; solve again"
        )
    if kind == "Polynomial":
        pairs = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
        return tuple(Term("POLY", i, j) for i, j in pairs)
    knots = (
        _knots(source, header, f"{letter}IKX", size[0], degree),
        _knots(source, header, f"{letter}IKY", size[1], degree),
    )
    in_u, in_v = (len(t) - degree - 1 for t in knots)
    if in_u * in_v > _MOST_TERMS:
        source.refuse(f"{in_u} x {in_v} B-splines are not a solution of SFFT; solve again")
    pairs = [(i, j) for i in range(in_u) for j in range(in_v)]
    return tuple(Term("BSPLINE", i, j, degree, knots) for i, j in pairs)


def _knots(
    source: Source, header: Header, stem: str, length: int, degree: int
) -> NDArray[np.float64]:
    """Return the full vector of knots along one axis, in units of its length."""
    count = _whole(source, header, f"N{stem}", 0)
    values = [header.get(f"{stem}{n}") for n in range(min(count, _MOST_TERMS))]
    inner = [value for value in values if isinstance(value, int | float)]
    first, last = 0.5, length + 0.5
    if len(inner) != count or not (np.diff([first, *inner, last]) > 0).all():
        source.refuse(
            f"{stem}0 ... = {values} are not {count} rising knots inside the image; give the file "
            "that SFFT wrote"
        )
    return np.array([first] * (degree + 1) + inner + [last] * (degree + 1)) / length


def _whole(source: Source, header: Header, keyword: str, least: int) -> int:
    """Return the whole number of a card, at least `least`."""
    value = header.get(keyword)
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    found = "is missing" if value is None else f"= {value!r} is impossible"
    return source.refuse(f"{keyword} {found} in the SFFT solution; give the file that SFFT wrote")


def _numbers(source: Source, hdu: Hdu, packet: _Packet) -> NDArray[np.float64]:
    """Return the row of numbers."""
    expected = len(packet.kernel) * packet.width * packet.height + len(packet.background)
    shape = image_shape(hdu)
    if np.prod(shape, dtype=float) != expected or max(shape, default=0) != expected:
        source.refuse(
            f"an image of shape {shape}, but its cards ask for a row of {expected} numbers; give "
            "the solution as SFFT wrote it"
        )
    return np.asarray(read_pixels(hdu, source.name), dtype=np.float64).reshape(expected)


def _check_difference(source: Source, header: Header) -> None:
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
            source.refuse(
                f"the difference {source.difference.name} was made with {keyword} = {found}, but "
                f"this solution has {value}; give the solution that belongs to it"
            )


def _side(source: Source, options: KernelOptions) -> Side | None:
    """Return the convolved side; None only where there is no difference that could give it."""
    if options.convolved:
        return options.convolved
    value = source.card("CONVD")
    if value is None:
        if source.difference is None:
            logger.warning(
                "%s: an SFFT solution does not say which image was convolved, and so not what to "
                "add or subtract; its background is left out (give the difference, or --convolved)",
                source.name,
            )
        return None
    side = _SIDES.get(str(value).strip().upper())
    if side is None:
        source.refuse(f"CONVD = {value!r}; expected REF or SCI; say it with --convolved")
    return side


def _kernel(
    source: Source, packet: _Packet, numbers: NDArray[np.float64], side: Side | None
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
    if side is None and source.difference is None:
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
