"""Kernels of HOTPANTS and its forks: the table of ``-hki`` and ``-oki``.

One column of coefficients per region, for Gaussians times polynomials. Facts about the region are
spread over the headers of the kernel file and of the difference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffdecor.errors import KernelError
from diffdecor.fits.formats import column_names
from diffdecor.kernels.hotpants_basis import BasisModel, basis_images, read_model
from diffdecor.kernels.hotpants_layout import Layout, parse_command, region_layout
from diffdecor.kernels.model import BasisKernel, Blocks, Box, Region, Side
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source, open_source, side_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMN = re.compile(r"Region(\d+)", re.IGNORECASE)
_REGION = re.compile(r"\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*")


@register("hotpants", description="HOTPANTS -hki or -oki table (columns Region0, ..., NGAUSS)")
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
            msg = (
                f"{source.name}: a HOTPANTS file without a table of Region columns, or with an "
                "empty one, and without KERFILE; give the file that -oki wrote"
            )
            raise KernelError(msg)
        with open_source(_kernel_file(source, str(kerfile)), difference=source) as other:
            table = _solution_table(other)
            if table is None:
                msg = f"{other.name}: KERFILE of {source.name}, but without Region columns"
                raise KernelError(msg)
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
    candidates = (folder / kerfile, folder / Path(kerfile).name)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    msg = (
        f"{source.name}: the kernel is in KERFILE = {kerfile!r}, which is not in {folder}; "
        "give that file as the kernel"
    )
    raise KernelError(msg)


def _kernel(source: Source, table: Any, options: KernelOptions) -> BasisKernel:  # noqa: ANN401
    command = parse_command(source.card("DIFFCMD"))
    if "pca" in command:
        msg = f"{source.name}: made with -pca; its external basis is not in the file: leave it out"
        raise KernelError(msg)
    model = read_model(source.name, table.header)
    columns = _columns(table)
    solutions = {n: _solution(source, table, name, model) for n, name in columns.items()}
    boxes = {n: box for n in columns if (box := _box(source, n)) is not None}
    if not boxes:
        msg = f"{source.name}: no REGION cards; give the difference as well, it carries them"
        raise KernelError(msg)
    layout = region_layout(
        boxes, len(columns), model.width, source=source, command=command, options=options
    )
    half = model.width // 2
    return BasisKernel(
        basis=basis_images(model),
        origin=(half, half),
        terms=model.terms,
        background_terms=model.background_terms,
        regions=tuple(
            _region(source, n, box, solutions[n], model=model, layout=layout, options=options)
            for n, box in sorted(boxes.items())
        ),
        image_shape=source.image_shape,
        name=source.name,
        format="hotpants",
    )


def _solution(source: Source, table: Any, column: str, model: BasisModel) -> NDArray[np.float64]:  # noqa: ANN401
    values = np.array(table.data[column], dtype=np.float64)
    if values.shape != (model.n_rows,):
        msg = (
            f"{source.name}: {len(values)} rows in column {column}, but NGAUSS, DGAUSS, CKORDER "
            f"and BGORDER ask for {model.n_rows}; the table belongs to another solution"
        )
        raise KernelError(msg)
    return values


def _box(source: Source, number: int) -> Box | None:
    """Return the pixels of a region; None where the tool skipped it and wrote no cards."""
    keyword = f"REGION{number:02d}"
    text = source.card(keyword)
    if text is None:
        return None
    match = _REGION.fullmatch(str(text))
    limits = [int(limit) - 1 for limit in match.groups()] if match else [0, -1, 0, -1]
    box = Box(*limits)
    if box.xmin > box.xmax or box.ymin > box.ymax or min(limits) < 0:
        msg = f"{source.name}: {keyword} = {text!r} is not a region [x1:x2,y1:y2]; correct the card"
        raise KernelError(msg)
    return box


def _region(
    source: Source,
    number: int,
    box: Box,
    solution: NDArray[np.float64],
    *,
    model: BasisModel,
    layout: Layout,
    options: KernelOptions,
) -> Region:
    """Return the kernel of one region; the polynomials live on the buffered region."""
    side = _side(source, number, options)
    kernel_sum = solution[1]
    if not np.isfinite(solution[1:]).all():
        msg = (
            f"{source.name}: a coefficient of region {number} is NaN or infinite; make the kernel "
            "again"
        )
        raise KernelError(msg)
    if kernel_sum == 0:
        msg = f"{source.name}: the kernel of region {number} sums to zero; make it again"
        raise KernelError(msg)
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
    half = model.width // 2
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
        blocks=Blocks(outer.xmin + half, outer.ymin + half, layout.step, half),
    )


def _side(source: Source, number: int, options: KernelOptions) -> Side:
    if options.convolved:
        return options.convolved
    keyword = f"CONVOL{number:02d}"
    return side_of(source.name, keyword, source.card(keyword))


def _is_normalised(source: Source, side: Side, options: KernelOptions) -> bool:
    """Say whether the difference was divided by the kernel sum."""
    photnorm = source.card("PHOTNORM")
    if photnorm is None and None not in (options.science_scale, options.template_scale):
        return False
    normalised = str(photnorm).strip().lower()
    if normalised not in ("t", "i", "u"):
        msg = (
            f"{source.name}: PHOTNORM = {photnorm!r}, expected t, i or u; give the difference as "
            "well, or both scales"
        )
        raise KernelError(msg)
    return normalised == ("t" if side == "template" else "i")
