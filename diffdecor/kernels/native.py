"""diffdecor's own kernel format, which holds every kernel without loss: DDKERN, version 1.

The file is in 1-based FITS pixels and true convolution. Reader here, writer in `native_hdus`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from diffdecor.fits.open import Hdu, read_pixels
from diffdecor.kernels.model import (
    BasisKernel,
    Blocks,
    Box,
    MatchingKernel,
    Region,
    StampKernel,
    Term,
)
from diffdecor.kernels.native_write import UNKNOWN, VERSION, native_hdus
from diffdecor.kernels.registry import KernelOptions, register
from diffdecor.kernels.source import Source

__all__ = ["NativeReader", "native_hdus"]

HIGHEST_ORDER = 1000
Knots = dict[int, tuple[int, NDArray[np.float64], NDArray[np.float64]]]


@register(
    "native",
    description="diffdecor's own format (DDKERN in the primary header)",
    notes="Written by diffdecor kernel convert; lossless for every format.",
)
class NativeReader:
    """Reads the DDKERN format."""

    @staticmethod
    def identify(hdus: Sequence[Any]) -> bool:
        """Say whether the keyword DDKERN is there."""
        return any("DDKERN" in hdu.header for hdu in hdus)

    @staticmethod
    def read(source: Source, options: KernelOptions) -> MatchingKernel:
        """Read either kind of kernel: what was written, to the bit; positions to rounding."""
        version = source.card("DDKERN")
        if version != VERSION:
            source.refuse(
                f"DDKERN version {version}, but this diffdecor reads version {VERSION}; update "
                "diffdecor"
            )
        kind = source.word(source.hdus[0].header, "KERTYPE", "BASIS", "STAMPS")
        return _read_basis(source, options) if kind == "BASIS" else _read_stamps(source, options)


def _read_stamps(source: Source, options: KernelOptions) -> StampKernel:
    table = _table(source, "STAMPS")
    stamps = _column(source, table, "STAMP").reshape(len(table), *_stamp_shape(source))
    x, y = (_column(source, table, name).reshape(-1) for name in ("X", "Y"))
    side, card = options.convolved, source.card("CONVSIDE")
    if side is None and card is not None:
        side = source.side("CONVSIDE", card)
    header = source.hdus[0].header
    return StampKernel(
        stamps=stamps,
        positions=np.column_stack([x, y]) - 1.0,
        convolved=side,
        science_scale=source.scale(header, "SSCALE"),
        template_scale=source.scale(header, "TSCALE"),
        interpolation=source.word(header, "INTERP", "LINEAR", "NEAREST"),
        **_common(source),
    )


def _read_basis(source: Source, options: KernelOptions) -> BasisKernel:
    knots = _knots(source)
    terms = _terms(source, "TERMS", knots)
    hdu = _hdu(source, "BASIS")
    if len(hdu.shape) != 3 or hdu.shape[1:] != _stamp_shape(source):
        _refuse(source, f"basis images {hdu.shape} contradict KERNX and KERNY")
    basis = read_pixels(hdu, source.name).astype(np.float64).reshape(hdu.shape)
    header = source.hdus[0].header
    return BasisKernel(
        basis=basis,
        terms=terms,
        background_terms=_terms(source, "BGTERMS", knots),
        regions=tuple(
            _region(source, row, (len(basis), len(terms)), options)
            for row in _table(source, "REGIONS")
        ),
        evaluated_at=source.word(header, "EVALAT", "OUTPUT", "SOURCE"),
        boundary=source.word(header, "BOUNDARY", "VALID", "WRAP"),
        **_common(source),
    )


def _region(source: Source, row: Any, shape: tuple[int, int], options: KernelOptions) -> Region:  # noqa: ANN401
    def number(name: str) -> float:
        return float(_column(source, row, name))

    names = row.array.dtype.names
    xmin, xmax, ymin, ymax = (int(number(name)) - 1 for name in ("XMIN", "XMAX", "YMIN", "YMAX"))
    blocks = None
    if "BLKSTEP" in names and number("BLKSTEP") > 0:
        start_x, start_y = number("BLKX0") - 1.0, number("BLKY0") - 1.0
        blocks = Blocks(start_x, start_y, number("BLKSTEP"), number("BLKOFF"))
    background = _column(source, row, "BGCOEF") if "BGCOEF" in names else np.zeros(0)
    side, cell = options.convolved, str(row["CONVSIDE"]).strip()
    if side is None and cell.lower() != UNKNOWN:
        side = source.side("CONVSIDE", cell)
    return Region(
        box=Box(xmin, xmax, ymin, ymax),
        side=side,
        science_scale=number("SSCALE"),
        template_scale=number("TSCALE"),
        x0=number("X0") - 1.0,
        xs=number("XS"),
        y0=number("Y0") - 1.0,
        ys=number("YS"),
        coefficients=_column(source, row, "COEF").reshape(shape),
        background=background.reshape(-1),
        blocks=blocks,
    )


def _terms(source: Source, extension: str, knots: Knots) -> tuple[Term, ...]:
    return tuple(_term(source, row, knots) for row in _table(source, extension))


def _term(source: Source, row: Any, knots: Knots) -> Term:  # noqa: ANN401  astropy has no types
    family, i, j = str(row["FUNC"]).strip(), int(row["IX"]), int(row["IY"])
    if min(i, j) < 0 or max(i, j) > HIGHEST_ORDER:
        problem = f"negative index in the term {family} {i} {j}, or one above {HIGHEST_ORDER}"
        _refuse(source, problem)
    if family == "POLY":
        return Term("POLY", i, j)
    if family == "CHEB1":
        return Term("CHEB1", i, j)
    if family != "BSPLINE":
        _refuse(source, f"unknown function {family!r}; expected POLY, CHEB1 or BSPLINE")
    knot_set = int(row["KNOTSET"])
    if knot_set not in knots:
        _refuse(source, f"there is no KNOTSET {knot_set} in KNOTS")
    degree, tx, ty = knots[knot_set]
    if i > len(tx) - degree - 2 or j > len(ty) - degree - 2:
        _refuse(source, f"KNOTSET {knot_set} has no B-spline ({i}, {j})")
    return Term("BSPLINE", i, j, degree, (tx, ty))


def _knots(source: Source) -> Knots:
    """Return degree and knot vectors in u and v of every knot set."""
    sets: Knots = {}
    for row in _table(source, "KNOTS"):
        tx, ty = (np.array(row[name], dtype=np.float64) for name in ("TX", "TY"))
        if not all((np.diff(t) >= 0).all() for t in (tx, ty)):  # false for NaN, too
            _refuse(source, f"the knots of KNOTSET {row['KNOTSET']} do not increase")
        sets[int(row["KNOTSET"])] = int(row["DEGREE"]), tx, ty
    return sets


def _common(source: Source) -> dict[str, Any]:
    """Return what both kinds of kernel have."""
    nx, ny = source.card("IMNX"), source.card("IMNY")
    made_by = source.card("KERORIG")
    return {
        "origin": (_integer(source, "CTRX") - 1, _integer(source, "CTRY") - 1),
        "image_shape": None if None in (nx, ny) else (int(ny), int(nx)),
        "name": source.name,
        "format": f"native ({made_by})" if made_by else "native",
    }


def _stamp_shape(source: Source) -> tuple[int, int]:
    return _integer(source, "KERNY"), _integer(source, "KERNX")


def _integer(source: Source, keyword: str) -> int:
    value = source.card(keyword)
    if not isinstance(value, int):
        _refuse(source, f"{keyword} = {value!r} is not a whole number")
    return value


def _hdu(source: Source, extension: str) -> Hdu:
    for hdu in source.hdus:
        if hdu.name == extension:
            return hdu
    return _refuse(source, f"there is no HDU {extension}")


def _table(source: Source, extension: str) -> Any:  # noqa: ANN401  astropy has no types
    """Return the rows of a table; none where one is missing that not every kernel has."""
    if extension in {"KNOTS", "BGTERMS"} and extension not in {hdu.name for hdu in source.hdus}:
        return ()
    rows = _hdu(source, extension).data
    if rows is None or rows.dtype.names is None or len(rows) == 0:
        _refuse(source, f"the HDU {extension} is not a table with rows")
    return rows


def _column(source: Source, table: Any, name: str) -> NDArray[np.float64]:  # noqa: ANN401
    """Return a column, or its cell in one row, as a copy in double precision."""
    try:
        return np.array(table[name], dtype=np.float64)
    except KeyError:
        return _refuse(source, f"a table has no column {name}")


def _refuse(source: Source, problem: str) -> NoReturn:
    source.refuse(f"damaged native kernel: {problem}; write it again")
