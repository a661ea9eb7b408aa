"""Write any kernel in diffdecor's own format, DDKERN version 1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.errors import KernelError
from diffdecor.kernels.model import BasisKernel, MatchingKernel, StampKernel, Term

VERSION = 1
UNKNOWN = "unknown"  # in place of a side that no file gives

Card = tuple[str, Any, str]

# Name and FITS format of every column, and its value for a region.
_REGION_COLUMNS: tuple[tuple[str, str, Any], ...] = (
    ("XMIN", "J", lambda region: region.box.xmin + 1),
    ("XMAX", "J", lambda region: region.box.xmax + 1),
    ("YMIN", "J", lambda region: region.box.ymin + 1),
    ("YMAX", "J", lambda region: region.box.ymax + 1),
    ("X0", "D", lambda region: region.x0 + 1.0),
    ("XS", "D", lambda region: region.xs),
    ("Y0", "D", lambda region: region.y0 + 1.0),
    ("YS", "D", lambda region: region.ys),
    ("CONVSIDE", "8A", lambda region: (region.side or UNKNOWN).upper()),
    ("SSCALE", "D", lambda region: region.science_scale),
    ("TSCALE", "D", lambda region: region.template_scale),
)
_BLOCK_COLUMNS: tuple[tuple[str, str, Any], ...] = (
    ("BLKX0", "D", lambda region: region.blocks.start_x + 1.0 if region.blocks else 0.0),
    ("BLKY0", "D", lambda region: region.blocks.start_y + 1.0 if region.blocks else 0.0),
    ("BLKSTEP", "D", lambda region: region.blocks.step if region.blocks else 0.0),
    ("BLKOFF", "D", lambda region: region.blocks.offset if region.blocks else 0.0),
)


def native_hdus(kernel: MatchingKernel) -> fits.HDUList:
    """Convert a `BasisKernel` or `StampKernel` to HDUs in the native format.

    1-based FITS pixels, true convolution, double precision. KERTYPE is BASIS or STAMPS as the
    kernel is. Reading them returns the same kernel.
    """
    if isinstance(kernel, BasisKernel) and not any(t.family == "FIELD" for t in kernel.terms):
        usage = _usage(kernel.evaluated_at, kernel.boundary)
        return fits.HDUList([_primary(kernel, "BASIS", *usage), *_basis_hdus(kernel)])
    if isinstance(kernel, StampKernel):
        primary = _primary(kernel, "STAMPS", *_stamp_cards(kernel))
        return fits.HDUList([primary, _stamps_hdu(kernel)])
    what = "whose functions of position are not polynomials or B-splines"
    if not isinstance(kernel, BasisKernel):
        what = f"of type {type(kernel).__name__}"
    msg = f"{kernel.name}: a kernel {what} has no native form; give the file itself as the kernel"
    raise KernelError(msg)


def _primary(kernel: BasisKernel | StampKernel, kind: str, *special: Card) -> fits.PrimaryHDU:
    ky, kx = kernel.shape
    cx, cy = kernel.origin
    cards: list[Card] = [
        ("DDKERN", VERSION, "kernel format version"),
        ("KERTYPE", kind, "BASIS or STAMPS"),
        ("KERNX", kx, "kernel width (pixels)"),
        ("KERNY", ky, "kernel height (pixels)"),
        ("CTRX", cx + 1, "1-based column of kernel origin"),
        ("CTRY", cy + 1, "1-based row of kernel origin"),
    ]
    if kernel.image_shape:
        cards.append(("IMNX", kernel.image_shape[1], "image width"))
        cards.append(("IMNY", kernel.image_shape[0], "image height"))
    cards += special
    # What was read from a native file keeps the name of the tool that made it.
    made_by = re.sub(r"native \((.*)\)", r"\1", kernel.format)
    if made_by != "native":
        cards.append(("KERORIG", made_by.encode("ascii", "replace").decode(), ""))
    return fits.PrimaryHDU(header=fits.Header([_card(*card) for card in cards]))


def _card(keyword: str, value: object, comment: str) -> fits.Card:
    """Return a card; astropy alone cuts numbers to 20 characters, which loses their last bits."""
    if isinstance(value, float):
        number = repr(float(value)).upper()
        return fits.Card.fromstring(f"{keyword:8}= {number:>20} / {comment}"[:80])
    return fits.Card(keyword, value, comment)


def _usage(evaluated_at: str = "OUTPUT", boundary: str = "VALID") -> tuple[Card, ...]:
    return (
        ("EVALAT", evaluated_at, "OUTPUT or SOURCE pixel fixes the kernel"),
        ("BOUNDARY", boundary, "VALID or WRAP"),
    )


def _stamp_cards(kernel: StampKernel) -> list[Card]:
    cards = [
        *_usage(),
        ("SSCALE", kernel.science_scale, "D = SSCALE*S - TSCALE*(K conv T) or"),
        ("TSCALE", kernel.template_scale, "D = SSCALE*(K conv S) - TSCALE*T"),
        ("INTERP", kernel.interpolation, "LINEAR on the grid, or NEAREST"),
    ]
    if kernel.convolved:
        cards.append(("CONVSIDE", kernel.convolved.upper(), "image that was convolved"))
    return cards


def _stamps_hdu(kernel: StampKernel) -> fits.BinTableHDU:
    x, y = (kernel.positions + 1.0).T
    stamp = _array_column("STAMP", kernel.stamps)
    return _table_hdu("STAMPS", [_column("X", "D", x), _column("Y", "D", y), stamp])


def _basis_hdus(kernel: BasisKernel) -> list[Any]:
    """Return the extensions of a kernel made of basis images."""
    knot_sets = _knot_sets((*kernel.terms, *kernel.background_terms))
    hdus: list[Any] = [
        fits.ImageHDU(np.asarray(kernel.basis, dtype=np.float64), name="BASIS"),
        _terms_hdu("TERMS", kernel.terms, knot_sets),
    ]
    if kernel.background_terms:
        hdus.append(_terms_hdu("BGTERMS", kernel.background_terms, knot_sets))
    if knot_sets:
        hdus.append(_knots_hdu(knot_sets))
    hdus.append(_regions_hdu(kernel))
    return hdus


def _knot_sets(terms: Iterable[Term]) -> list[Term]:
    """Return one B-spline term of every different set of knots; its place + 1 is the KNOTSET."""
    sets: dict[bytes, Term] = {}
    for term in terms:
        if term.knots is not None:
            sets.setdefault(_knot_key(term), term)
    return list(sets.values())


def _knot_key(term: Term) -> bytes:
    assert term.knots is not None  # noqa: S101  asked of B-splines only
    tx, ty = (np.asarray(t, dtype=np.float64) for t in term.knots)
    return np.concatenate([[term.degree, len(tx)], tx, ty]).tobytes()


def _terms_hdu(name: str, terms: Sequence[Term], knot_sets: list[Term]) -> fits.BinTableHDU:
    keys = [_knot_key(term) for term in knot_sets]
    numbers = [0 if t.knots is None else keys.index(_knot_key(t)) + 1 for t in terms]
    return _table_hdu(
        name,
        [
            _column("FUNC", "8A", [term.family for term in terms]),
            _column("IX", "J", [term.i for term in terms]),
            _column("IY", "J", [term.j for term in terms]),
            _column("KNOTSET", "J", numbers),
        ],
    )


def _knots_hdu(knot_sets: list[Term]) -> fits.BinTableHDU:
    knots = [term.knots for term in knot_sets if term.knots is not None]
    columns = [
        _column("KNOTSET", "J", np.arange(1, len(knot_sets) + 1)),
        _column("DEGREE", "J", [term.degree for term in knot_sets]),
    ]
    for axis, name in enumerate(("TX", "TY")):
        rows = np.empty(len(knots), dtype=object)  # of different lengths
        rows[:] = [np.asarray(pair[axis], dtype=np.float64) for pair in knots]
        columns.append(fits.Column(name=name, format="PD()", array=rows))
    return _table_hdu("KNOTS", columns)


def _regions_hdu(kernel: BasisKernel) -> fits.BinTableHDU:
    regions = kernel.regions
    columns = [_column(n, f, [value(r) for r in regions]) for n, f, value in _REGION_COLUMNS]
    columns.append(_array_column("COEF", np.array([region.coefficients for region in regions])))
    if kernel.background_terms:
        background = np.array([region.background for region in regions])
        columns.append(_column("BGCOEF", f"{background.shape[1]}D", background))
    if any(region.blocks for region in regions):
        columns += [_column(n, f, [value(r) for r in regions]) for n, f, value in _BLOCK_COLUMNS]
    return _table_hdu("REGIONS", columns)


def _table_hdu(name: str, columns: list[fits.Column]) -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns(columns, name=name)


def _column(name: str, form: str, values: Any) -> fits.Column:  # noqa: ANN401  all types
    return fits.Column(name=name, format=form, array=np.asarray(values))


def _array_column(name: str, images: NDArray[np.float64]) -> fits.Column:
    """Return a column whose cells are the images ``(n, ny, nx)``."""
    _, ny, nx = images.shape
    return fits.Column(name=name, format=f"{ny * nx}D", dim=f"({nx},{ny})", array=images)
