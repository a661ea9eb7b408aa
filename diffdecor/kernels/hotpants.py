"""Kernels of HOTPANTS and its forks: the table of ``-hki`` and ``-oki``.

One column of coefficients per region, for Gaussians times polynomials. Facts about the region are
spread over the headers of the kernel file and of the difference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.fits.formats import LARGEST_SIDE, column_names
from diffdecor.fits.open import Header
from diffdecor.kernels.hotpants_layout import (
    Layout,
    cut_out,
    parse_command,
    region_box,
    region_layout,
)
from diffdecor.kernels.model import BasisKernel, Box, Region, Side, Term
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source, open_source

_COLUMN = re.compile(r"Region(\d+)", re.IGNORECASE)
#: Most Gaussians, and highest order of a polynomial; the tool is used with up to 8.
_MOST = 50


@register(
    "hotpants",
    description="HOTPANTS -hki or -oki table (columns Region0, ..., NGAUSS)",
    notes="In the difference (-hki) or in a file of its own (-oki; the card KERFILE of the "
    "difference is followed). Several regions, both convolved sides and every PHOTNORM are "
    "understood. The card DIFFCMD of the difference tells how regions were padded; without it the "
    "defaults of HOTPANTS are assumed, with a warning. In a cut-out, whose regions reach beyond "
    "the image, the kernel is shifted by the cards LTV1, LTV2; without these it is refused. "
    "Kernels of -pca are refused.",
)
class HotpantsReader:
    """Reads the kernel of HOTPANTS from a difference or from a file of its own."""

    @staticmethod
    def identify(hdus: Sequence[Any]) -> bool:
        """Say whether there is NGAUSS, or a table of regions."""
        return any("NGAUSS" in hdu.header or _columns(hdu) for hdu in hdus)

    @staticmethod
    def read(source: Source, options: KernelOptions) -> BasisKernel:
        """Read the kernel of every region that has a solution; later ones count where they overlap.

        A difference without a table of its own names the file of the kernel in KERFILE.
        """
        table = _solution_table(source)
        if table is not None:
            return _kernel(source, table, options)
        kerfile = source.card("KERFILE")
        if kerfile is None:
            source.lack(
                "a HOTPANTS file without a table of Region columns, or with an empty one, and "
                "without KERFILE",
                "give the file that -oki wrote",
            )
        with open_source(_kernel_file(source, str(kerfile)), difference=source) as other:
            table = _solution_table(other)
            if table is None:
                other.refuse(f"KERFILE of {source.name}, but without Region columns")
            return _kernel(other, table, options)


def _columns(hdu: Any) -> dict[int, str]:  # noqa: ANN401  astropy has no types
    """Return the names of the Region columns of a table by their number."""
    found = filter(None, map(_COLUMN.fullmatch, column_names(hdu)))
    return {int(match[1]): match[0] for match in found}


def _solution_table(source: Source) -> Any:  # noqa: ANN401  astropy has no types
    """Return the table with a solution, if there is one.

    Where ``-hki`` and ``-oki`` were both given, the table in the difference is all zeros.
    """
    for hdu in source.ordered:
        columns = _columns(hdu)
        if columns and any(np.any(hdu.data[name]) for name in columns.values()):
            return hdu
    return None


def _kernel_file(source: Source, kerfile: str) -> Path:
    """Find the file named by KERFILE: as written, or next to the difference if both were moved."""
    folder = source.path.parent
    for candidate in (folder / kerfile, folder / Path(kerfile).name):
        if candidate.exists():
            return candidate
    return source.lack(
        f"the kernel is in KERFILE = {kerfile!r}, which is not in {folder}",
        "give that file as the kernel",
    )


def _kernel(source: Source, table: Any, options: KernelOptions) -> BasisKernel:  # noqa: ANN401
    command = parse_command(source.card("DIFFCMD"))
    if "pca" in command:
        source.refuse("made with -pca; its external basis is not in the file: leave it out")
    model = _read_model(source, table.header)
    columns = _columns(table)
    solutions = {n: _solution(source, table, name, model) for n, name in columns.items()}
    boxes = {n: box for n in columns if (box := region_box(source, n)) is not None}
    if not boxes:
        source.refuse("no REGION cards; give the difference as well, it carries them")
    cut = cut_out(source, boxes)
    layout = region_layout(source, options, command, boxes, len(columns), model.width, cut=cut)
    half = model.width // 2
    kernel = BasisKernel(
        basis=_basis_images(model),
        origin=(half, half),
        terms=model.terms,
        background_terms=model.background_terms,
        regions=tuple(
            _region(source, options, model, layout, n, box, solutions[n])
            for n, box in sorted(boxes.items())
        ),
        image_shape=source.image_shape,
        name=source.name,
        format="hotpants",
    )
    return kernel if cut is None else replace(kernel.moved(*cut), image_shape=kernel.image_shape)


def _solution(source: Source, table: Any, column: str, model: _Model) -> NDArray[np.float64]:  # noqa: ANN401
    values = np.array(table.data[column], dtype=np.float64)
    if values.shape != (model.n_rows,):
        source.refuse(
            f"{len(values)} rows in column {column}, but NGAUSS, DGAUSS, CKORDER and BGORDER ask "
            f"for {model.n_rows}; the table belongs to another solution"
        )
    return values


def _region(
    source: Source,
    options: KernelOptions,
    model: _Model,
    layout: Layout,
    number: int,
    box: Box,
    solution: NDArray[np.float64],
) -> Region:
    """Return the kernel of one region; the polynomials live on the buffered region."""
    keyword = f"CONVOL{number:02d}"
    side = options.convolved or source.side(keyword, source.card(keyword))
    kernel_sum = solution[1]
    if not np.isfinite(solution[1:]).all():
        source.refuse(f"a coefficient of region {number} is NaN or infinite; make the kernel again")
    if kernel_sum == 0:
        source.refuse(f"the kernel of region {number} sums to zero; make it again")
    scale = 1.0 / kernel_sum if _is_normalised(source, side, options) else 1.0
    n_basis, n_terms = model.n_basis, len(model.terms)
    end = 2 + (n_basis - 1) * n_terms
    coefficients = np.zeros((n_basis, n_terms))
    coefficients[0, 0] = kernel_sum
    coefficients[1:] = solution[2:end].reshape(n_basis - 1, n_terms)
    background = solution[end : end + len(model.background_terms)].copy()
    background[0] += layout.pedestal(side, kernel_sum)
    outer = layout.buffered(box)
    xs, ys = (outer.xmax - outer.xmin + 1) / 2, (outer.ymax - outer.ymin + 1) / 2
    return Region(
        box=box,
        side=side,
        science_scale=scale,
        template_scale=scale,
        x0=outer.xmin + xs,
        xs=xs,
        y0=outer.ymin + ys,
        ys=ys,
        coefficients=coefficients,
        background=background * (-scale if side == "template" else scale),
        blocks=layout.blocks(box, model.width),
    )


def _is_normalised(source: Source, side: Side, options: KernelOptions) -> bool:
    """Say whether the difference was divided by the kernel sum."""
    photnorm = source.card("PHOTNORM")
    if photnorm is None and None not in (options.science_scale, options.template_scale):
        return False
    normalised = str(photnorm).strip().lower()
    if normalised not in ("t", "i", "u"):
        source.refuse(
            f"PHOTNORM = {photnorm!r}, expected t, i or u; give the difference as well, or both "
            "scales"
        )
    return normalised == ("t" if side == "template" else "i")


@dataclass(frozen=True, eq=False)
class _Model:
    """What the header of a kernel table says."""

    #: Degree of the polynomial and sigma (pixels) of every Gaussian.
    gaussians: tuple[tuple[int, float], ...]
    width: int
    terms: tuple[Term, ...]
    background_terms: tuple[Term, ...]

    @property
    def n_basis(self) -> int:
        """Number of basis images."""
        return sum((degree + 1) * (degree + 2) // 2 for degree, _ in self.gaussians)

    @property
    def n_rows(self) -> int:
        """Rows of the table: an unused one, kernel, background and padding."""
        return self.n_basis * len(self.terms) + len(self.background_terms) + 1


def _read_model(source: Source, header: Header) -> _Model:
    """Read the header of a kernel table; an error if a card is missing or impossible."""
    count = _whole(source, header, "NGAUSS", 1)
    gaussians = []
    for k in range(1, count + 1):
        sigma = header.get(f"SGAUSS{k}")
        if not isinstance(sigma, (int, float)) or not sigma > 0:
            source.refuse(
                f"SGAUSS{k} = {sigma!r} is not the width of a Gaussian (made with -pca?); only "
                "Gaussian bases can be read"
            )
        gaussians.append((_whole(source, header, f"DGAUSS{k}", 0), float(sigma)))
    width = _whole(source, header, "FWKERN", 1)
    if width % 2 == 0:
        source.refuse(f"FWKERN = {width} is even; HOTPANTS kernels have odd widths")
    terms, background_terms = (
        tuple(Term("POLY", a, b) for a in range(order + 1) for b in range(order + 1 - a))
        for order in (_whole(source, header, key, 0) for key in ("CKORDER", "BGORDER"))
    )
    return _Model(tuple(gaussians), width, terms, background_terms)


def _whole(source: Source, header: Header, keyword: str, least: int) -> int:
    value = header.get(keyword)
    if type(value) is int and least <= value <= (LARGEST_SIDE if keyword == "FWKERN" else _MOST):
        return value
    found = "is missing" if value is None else f"= {value!r} is impossible"
    return source.refuse(f"{keyword} {found} in the HOTPANTS kernel table; make the kernel again")


@np.errstate(all="ignore")  # impossible widths and sigmas give NaN, which the kernel refuses
def _basis_images(model: _Model) -> NDArray[np.float64]:
    """Return the basis images ``(nbasis, ky, kx)``: Gaussians times polynomials.

    Only the first has a sum; the origin is the middle pixel.
    """
    t = np.arange(-(model.width // 2), model.width // 2 + 1, dtype=np.float64)
    images: list[NDArray[np.float64]] = []
    for degree, sigma in model.gaussians:
        # The tool keeps these two numbers in single precision, and the stamps show it.
        exponent = float(np.float32(1.0 / (2.0 * float(np.float32(sigma)) ** 2)))
        profile = [t**n * np.exp(-exponent * t**2) for n in range(degree + 1)]
        for i in range(degree + 1):
            for j in range(degree + 1 - i):
                px, py = profile[i], profile[j]
                if i % 2 == 0 and j % 2 == 0:
                    image = np.outer(py / py.sum(), px / px.sum())
                    images.append(image - images[0] if images else image)
                else:
                    images.append(np.outer(py, px))
    return np.array(images)
