"""The native format: real samples, and everything written is read again to the bit."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.closeness import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffdecor.errors import KernelError
from diffdecor.kernels.model import BasisKernel, Blocks, Box, Region, StampKernel, Term
from diffdecor.kernels.native import native_hdus
from diffdecor.kernels.registry import read_kernel

SAMPLES = {
    "D1": ("template", 1e-14, "SFFT"),
    "E2": ("science", 1e-14, "SFFT"),
    "BS1": ("template", 1e-14, "SFFT B-spline"),
    "BS3": ("template", 1e-14, "SFFT B-spline"),
    "cheb": ("template", 1e-14, "LSST afw"),
    "poly": ("science", 1e-14, "LSST afw"),
}
CLOSURES = ("regions", "terms", "background_terms", "basis", "stamps", "positions")


def written(kernel, folder, name="out.fits"):
    """Write a kernel and read it again."""
    native_hdus(kernel).writeto(Path(folder) / name)
    return read_kernel(Path(folder) / name)


def bits(array):
    return np.asarray(array, dtype="f8").tobytes(), np.shape(array)


def term_facts(term):
    knots = None if term.knots is None else [bits(t) for t in term.knots]
    return term.family, term.i, term.j, term.degree, knots


def region_facts(region):
    plain = {k: v for k, v in vars(region).items() if k not in ("coefficients", "background")}
    return plain, bits(region.coefficients), bits(region.background)


def facts(kernel):
    """Return all that a kernel is, comparable, apart from where it came from."""
    plain = {k: v for k, v in vars(kernel).items() if k not in (*CLOSURES, "name", "format")}
    if isinstance(kernel, StampKernel):
        return plain, bits(kernel.stamps), bits(kernel.positions)
    terms = [[term_facts(t) for t in ts] for ts in (kernel.terms, kernel.background_terms)]
    return plain, terms, [region_facts(r) for r in kernel.regions], bits(kernel.basis)


@pytest.mark.parametrize("case", SAMPLES)
def test_samples_of_other_tools(native_data, case):
    side, tolerance, made_by = SAMPLES[case]
    kernel, expected = (
        read_kernel(native_data / f"{case}_native.fits"),
        native_data / "expected.npz",
    )
    with np.load(expected) as arrays_:
        for (x, y), stamp in zip(arrays_[f"{case}_xy0"], arrays_[f"{case}_stamps"], strict=True):
            np.testing.assert_allclose(kernel.stamp(x, y), stamp, rtol=0, atol=tolerance)
            assert kernel.side(x, y) == side
            assert kernel.sum(x, y) == pytest.approx(stamp.sum(), abs=1e-13)
        if f"{case}_bg" in arrays_:
            sign = -1 if side == "template" else 1
            values = [kernel.background(x, y) for x, y in arrays_[f"{case}_xy0"]]
            np.testing.assert_allclose(values, sign * arrays_[f"{case}_bg"], rtol=1e-12)
    assert kernel.format == f"native ({made_by})"


@pytest.mark.parametrize("case", ["D1", "BS1"])
def test_evaluation_rules_are_kept(native_data, case):
    kernel = read_kernel(native_data / f"{case}_native.fits")
    assert (kernel.evaluated_at, kernel.boundary) == ("SOURCE", "WRAP")
    assert kernel.image_shape == (220, 300)


@pytest.mark.parametrize("case", ["A1", "B1", "M1"])
def test_samples_of_hotpants(native_data, hotpants, case):
    path, _, _ = hotpants
    native = read_kernel(native_data / f"{case}_native.fits")
    original = read_kernel(path(f"{case}_diff.fits"))
    assert facts(native)[:2] == facts(original)[:2]  # boundary, shape, terms
    np.testing.assert_allclose(native.basis, original.basis, rtol=0, atol=1e-12)
    for one, two in zip(native.regions, original.regions, strict=True):
        assert (one.box, one.side, one.blocks) == (two.box, two.side, two.blocks)
        assert (one.x0, one.xs, one.y0, one.ys) == (two.x0, two.xs, two.y0, two.ys)
        assert one.science_scale == pytest.approx(two.science_scale, rel=1e-14)
        assert_same(one.coefficients, two.coefficients)
        assert_same(one.background, two.background)


def test_stamp_grid(native_data):
    grid = read_kernel(native_data / "A1_stampgrid.fits")
    original = read_kernel(native_data / "A1_native.fits")
    assert (grid.interpolation, grid.image_shape, grid.side(0, 0)) == (
        "LINEAR",
        (360, 360),
        "template",
    )
    for x, y in grid.positions:
        np.testing.assert_allclose(grid.stamp(x, y), original.stamp(x, y), rtol=0, atol=1e-12)
        assert grid.scales(x, y) == original.scales(x, y)
    between = grid.stamp(*grid.positions[:2].mean(axis=0))
    np.testing.assert_allclose(between, grid.stamps[:2].mean(axis=0), atol=1e-14)


@pytest.mark.parametrize("case", ["A1", "A3", "B1", "B3", "C1", "M1", "S1"])
def test_conversion_of_hotpants(hotpants, tmp_path, case):
    path, _, expected = hotpants
    original = read_kernel(path(f"{case}_diff.fits"))
    native = written(original, tmp_path)
    assert facts(native) == facts(original)
    assert native.format == "native (hotpants)"
    for x, y in expected[f"{case}_xy0"]:
        assert_same(native.stamp(x, y), original.stamp(x, y))
        assert native.side(x, y) == original.side(x, y)
        assert native.scales(x, y) == original.scales(x, y)
        assert native.background(x, y) == pytest.approx(original.background(x, y), rel=1e-12)


@pytest.mark.parametrize(
    "case", [*(f"{name}_native" for name in (*SAMPLES, "A1", "B1", "M1")), "A1_stampgrid"]
)
def test_samples_survive_writing(native_data, tmp_path, case):
    original = read_kernel(native_data / f"{case}.fits")
    native = written(original, tmp_path)
    assert facts(native) == facts(original)
    assert native.format == original.format


# --- anything at all

NUMBERS = st.floats(-1e10, 1e10, allow_nan=False)
SCALES = NUMBERS.filter(lambda scale: abs(scale) >= 1e4)
# 1-based positions are stored; those of all tools are exact multiples of half a pixel.
POSITIONS = st.integers(-(2**20), 2**20).map(lambda n: n / 4)
COUNTS = st.integers(1, 4)
SIDES = st.sampled_from(["template", "science"])
SHAPES = st.none() | st.tuples(st.integers(1, 10**5), st.integers(1, 10**5))
KNOTS = st.lists(st.integers(1, 999), min_size=8, max_size=10).map(lambda t: np.cumsum(t) / 4)


@st.composite
def terms(draw, least):
    polynomial = st.builds(
        Term, st.sampled_from(["POLY", "CHEB1"]), st.integers(0, 9), st.integers(0, 9)
    )
    degree, knots = draw(st.integers(0, 3)), (draw(KNOTS), draw(KNOTS))
    indices = [st.integers(0, len(t) - degree - 2) for t in knots]
    spline = st.builds(
        Term, st.just("BSPLINE"), *indices, degree=st.just(degree), knots=st.just(knots)
    )
    return tuple(draw(st.lists(polynomial | spline, min_size=least, max_size=4)))


@st.composite
def regions(draw, n_basis, n_terms, n_background):
    lows, highs = st.integers(-100, 100), st.integers(101, 9000)
    step = st.integers(1, 99).map(float)
    return Region(
        box=Box(draw(lows), draw(highs), draw(lows), draw(highs)),
        side=draw(SIDES),
        science_scale=draw(SCALES),
        template_scale=draw(SCALES),
        x0=draw(POSITIONS),
        xs=draw(SCALES),
        y0=draw(POSITIONS),
        ys=draw(SCALES),
        coefficients=draw(arrays("f8", (n_basis, n_terms), elements=NUMBERS)),
        background=draw(arrays("f8", n_background, elements=NUMBERS)),
        blocks=draw(st.none() | st.builds(Blocks, POSITIONS, POSITIONS, step, POSITIONS)),
    )


@st.composite
def basis_kernels(draw):
    n_basis, ky, kx = shape = draw(st.tuples(COUNTS, COUNTS, COUNTS))
    functions, background = draw(terms(1)), draw(terms(0))
    region = regions(n_basis, len(functions), len(background))
    return BasisKernel(
        basis=draw(arrays("f8", shape, elements=NUMBERS)),
        origin=(draw(st.integers(-2, kx + 2)), draw(st.integers(-2, ky + 2))),
        terms=functions,
        background_terms=background,
        regions=tuple(draw(st.lists(region, min_size=1, max_size=3))),
        image_shape=draw(SHAPES),
        evaluated_at=draw(st.sampled_from(["OUTPUT", "SOURCE"])),
        boundary=draw(st.sampled_from(["VALID", "WRAP"])),
    )


@st.composite
def stamp_kernels(draw):
    n, ky, kx = shape = draw(st.tuples(COUNTS, COUNTS, COUNTS))
    return StampKernel(
        stamps=draw(arrays("f8", shape, elements=NUMBERS)),
        positions=draw(arrays("f8", (n, 2), elements=POSITIONS)),
        origin=(draw(st.integers(-2, kx + 2)), draw(st.integers(-2, ky + 2))),
        convolved=draw(st.none() | SIDES),
        science_scale=draw(SCALES),
        template_scale=draw(SCALES),
        interpolation=draw(st.sampled_from(["LINEAR", "NEAREST"])),
        image_shape=draw(SHAPES),
    )


@settings(max_examples=60)
@given(kernel=basis_kernels() | stamp_kernels())
def test_round_trip(kernel):
    with tempfile.TemporaryDirectory() as folder:
        again = written(kernel, folder)
    assert facts(again) == facts(kernel)
    assert type(again) is type(kernel)
    assert again.format == f"native ({kernel.format})"


def test_a_kernel_of_another_kind_is_refused():
    class Other:
        name = "other"

    with pytest.raises(KernelError, match="type Other has no native form"):
        native_hdus(Other())


def test_long_and_foreign_names_of_the_maker(native_data, tmp_path):
    kernel = replace(read_kernel(native_data / "D1_native.fits"), format="π" + "x" * 200)
    assert written(kernel, tmp_path).format == "native (?" + "x" * 200 + ")"


# --- files that are damaged


@pytest.fixture
def damaged_native(native_data, tmp_path):
    def copy(name, edit):
        with fits.open(native_data / f"{name}.fits") as hdus:
            edit(hdus)
            hdus.writeto(tmp_path / "damaged.fits")
        return tmp_path / "damaged.fits"

    return copy


def card(keyword, value):
    def edit(hdus):
        hdus[0].header[keyword] = value

    return edit


def cell(extension, column, value):
    def edit(hdus):
        table = hdus[extension]
        if np.ndim(value):  # arrays that vary in length: older versions of astropy keep the old one
            changed = np.array([*table.data[column], None], object)[:-1]
            changed[0] = value
            columns = [
                fits.Column(c.name, c.format, array=changed if c.name == column else c.array)
                for c in table.columns
            ]
            hdus[extension] = fits.BinTableHDU.from_columns(columns, table.header)
        else:
            table.data[column][0] = value

    return edit


def without(extension, column=None):
    def edit(hdus):
        if column is None:
            del hdus[extension]
        else:
            hdus[extension].columns.change_name(column, "OTHER")

    return edit


HURT = {
    "newer": ("D1_native", card("DDKERN", 2), "DDKERN version 2.*reads version 1; update"),
    "kind": ("D1_native", card("KERTYPE", "CUBE"), "KERTYPE = 'CUBE'"),
    "EVALAT": ("D1_native", card("EVALAT", "X"), "EVALAT = 'X'"),
    "BOUNDARY": ("D1_native", card("BOUNDARY", "X"), "BOUNDARY = 'X'"),
    "INTERP": ("A1_stampgrid", card("INTERP", "CUBIC"), "INTERP = 'CUBIC'"),
    "size": ("D1_native", card("KERNX", 13), "contradict KERNX and KERNY"),
    "no centre": ("D1_native", lambda hdus: hdus[0].header.remove("CTRX"), "CTRX = None"),
    "centre": ("D1_native", card("CTRY", 7.5), "CTRY = 7.5 is not a whole number"),
    "side": ("D1_native", cell("REGIONS", "CONVSIDE", "BOTH"), "CONVSIDE = 'BOTH'"),
    "side card": ("A1_stampgrid", card("CONVSIDE", "BOTH"), "CONVSIDE = 'BOTH'"),
    "scale": ("A1_stampgrid", card("SSCALE", 0.0), "SSCALE = 0.0"),
    "scale of region": ("D1_native", cell("REGIONS", "SSCALE", 0.0), "a scale is zero"),
    "no width": ("D1_native", cell("REGIONS", "XS", 0.0), "a scale is zero"),
    "NaN": ("D1_native", cell("REGIONS", "COEF", np.nan), "NaN or infinite"),
    "NaN background": ("D1_native", cell("REGIONS", "BGCOEF", np.nan), "NaN or infinite"),
    "NaN stamp": ("A1_stampgrid", cell("STAMPS", "STAMP", np.nan), "NaN or infinite"),
    "NaN place": ("A1_stampgrid", cell("STAMPS", "X", np.nan), "NaN or infinite"),
    "no BASIS": ("D1_native", without("BASIS"), "there is no HDU BASIS"),
    "no TERMS": ("D1_native", without("TERMS"), "there is no HDU TERMS"),
    "no REGIONS": ("D1_native", without("REGIONS"), "there is no HDU REGIONS"),
    "no STAMPS": ("A1_stampgrid", without("STAMPS"), "there is no HDU STAMPS"),
    "no BGTERMS": ("D1_native", without("BGTERMS"), "coefficients"),
    "no KNOTS": ("BS1_native", without("KNOTS"), "no KNOTSET 1 in KNOTS"),
    "function": ("D1_native", cell("TERMS", "FUNC", "SINE"), "unknown function 'SINE'"),
    "index": ("D1_native", cell("TERMS", "IX", -1), "negative index"),
    "no such spline": ("BS1_native", cell("TERMS", "IX", 5), r"no B-spline \(5, 0\)"),
    "knots fall": ("BS1_native", cell("KNOTS", "TX", np.arange(8.0)[::-1]), "do not increase"),
    "no column": ("D1_native", without("REGIONS", "YS"), "no column YS"),
    "no stamps column": ("A1_stampgrid", without("STAMPS", "STAMP"), "no column STAMP"),
}


@pytest.mark.parametrize("case", HURT)
def test_damaged_files(damaged_native, case):
    name, edit, problem = HURT[case]
    with pytest.raises(KernelError, match=rf"damaged\.fits: .*{problem}"):
        read_kernel(damaged_native(name, edit))


def test_a_wrong_side_may_be_overridden(damaged_native):
    path = damaged_native("D1_native", cell("REGIONS", "CONVSIDE", "BOTH"))
    assert read_kernel(path, convolved="science").side(3, 4) == "science"
