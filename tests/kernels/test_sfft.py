"""Solutions of SFFT, against its own reader and its own differences."""

import re

import numpy as np
import pytest
from astropy.io import fits
from helpers.closeness import assert_same
from kernels.conftest import DATA

from diffdecor.errors import InputError, KernelError
from diffdecor.kernels.misreadings import on_side
from diffdecor.kernels.native import native_hdus
from diffdecor.kernels.registry import read_kernel
from diffdecor.kernels.testing import check_reader
from diffdecor.pipeline.run import convert_kernel

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

SFFT = DATA / "sfft"
POLYNOMIAL = ["D1", "D2", "D3", "E1", "E2"]
SPLINES = ["BS1", "BS2", "BS3"]
SIDES = {"D": "template", "E": "science", "BS1": "template", "BS2": "science", "BS3": "template"}


def side_of(case):
    return SIDES.get(case) or SIDES[case[0]]


def sample(case, **options):
    difference = None if case in SPLINES else SFFT / f"{case}_diff.fits.gz"
    return read_kernel(SFFT / f"{case}_solution.fits", difference, **options)


@pytest.fixture(scope="module")
def expected():
    with np.load(SFFT / "expected.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("case", POLYNOMIAL + SPLINES)
def test_stamps_of_the_tool(expected, case):
    kernel = sample(case)
    for (x, y), stamp in zip(expected[f"{case}_xy1"], expected[f"{case}_tool_stamps"], strict=True):
        found = kernel.stamp(x - 1, y - 1)
        np.testing.assert_allclose(found, stamp, rtol=0, atol=1e-9 * np.abs(stamp).max())
        assert kernel.side(x - 1, y - 1) == side_of(case)
        assert kernel.scales(x - 1, y - 1) == (1.0, 1.0)
    assert (kernel.evaluated_at, kernel.boundary) == ("SOURCE", "WRAP")


@pytest.mark.parametrize("case", POLYNOMIAL)
def test_flux_scale_and_background_of_the_tool(expected, case):
    kernel = sample(case)
    places = expected[f"{case}_xy1"] - 1
    sums = [kernel.sum(x, y) for x, y in places]
    np.testing.assert_allclose(sums, expected[f"{case}_tool_fluxscale"], rtol=1e-12)
    backgrounds = np.array([kernel.background(x, y) for x, y in places])
    sign = -1 if case.startswith("D") else 1
    np.testing.assert_allclose(sign * backgrounds, expected[f"{case}_bg"], rtol=1e-12)
    assert kernel.image_shape == ((220, 300) if case.startswith("D") else (260, 240))


@pytest.mark.parametrize("case", ["D1", "E2", "BS1", "BS3"])
def test_agrees_with_an_independent_conversion(native_data, expected, case):
    kernel, native = sample(case), read_kernel(native_data / f"{case}_native.fits")
    for x, y in expected[f"{case}_xy1"] - 1:
        np.testing.assert_allclose(kernel.stamp(x, y), native.stamp(x, y), rtol=0, atol=1e-12)
        assert kernel.background(x, y) == pytest.approx(native.background(x, y), abs=1e-12)
    region, same = kernel.regions[0], native.regions[0]
    assert (region.box, region.side, region.x0, region.xs) == (
        same.box,
        same.side,
        same.x0,
        same.xs,
    )
    assert kernel.origin == native.origin
    assert (kernel.evaluated_at, kernel.boundary) == (native.evaluated_at, native.boundary)


@pytest.mark.parametrize("case", POLYNOMIAL + SPLINES)
def test_conversion_is_lossless(case):
    difference = None if case in SPLINES else SFFT / f"{case}_diff.fits.gz"
    kernel = check_reader(SFFT / f"{case}_solution.fits", "sfft", difference)
    assert len(kernel.regions) == 1


def test_conversion_keeps_splines_and_rules(tmp_path):
    kernel = sample("BS2")
    native_hdus(kernel).writeto(tmp_path / "n.fits")
    native = read_kernel(tmp_path / "n.fits")
    assert (native.evaluated_at, native.boundary) == ("SOURCE", "WRAP")
    for one, two in zip(kernel.terms, native.terms, strict=True):
        assert (one.family, one.i, one.j, one.degree) == (two.family, two.i, two.j, two.degree)
        for before, after in zip(one.knots, two.knots, strict=True):
            np.testing.assert_array_equal(before, after)


def test_separate_scaling_is_a_delta_of_its_own(expected):
    kernel = sample("BS3")
    assert len(kernel.basis) == 7  # six functions of the kernel, and the sum
    np.testing.assert_allclose(kernel.basis[:6].sum(axis=(1, 2)), 0, atol=1e-14)
    x, y = expected["BS3_xy1"][0] - 1
    assert kernel.sum(x, y) == pytest.approx(expected["BS3_tool_stamps"][0].sum(), rel=1e-12)


# --- its own differences


def at_source(kernel, image):
    """Convolve circularly, with the polynomial before the convolution."""
    (ny, nx), (region,) = image.shape, kernel.regions
    u = (np.arange(nx) - region.x0) / region.xs
    v = (np.arange(ny) - region.y0) / region.ys
    total = 0.0
    for n, basis in enumerate(kernel.basis):
        weight = sum(
            coefficient * np.outer(v**term.j, u**term.i)
            for coefficient, term in zip(region.coefficients[n], kernel.terms, strict=True)
        )
        wrapped = np.zeros(image.shape)
        wrapped[: basis.shape[0], : basis.shape[1]] = basis
        wrapped = np.roll(wrapped, (-kernel.origin[1], -kernel.origin[0]), (0, 1))
        total = total + np.fft.rfft2(wrapped) * np.fft.rfft2(weight * image)
    background = sum(
        coefficient * np.outer(v**term.j, u**term.i)
        for coefficient, term in zip(region.background, kernel.background_terms, strict=True)
    )
    return np.fft.irfft2(total, image.shape), background


def rebuilt(kernel, science, template):
    if kernel.side(0, 0) == "template":
        matched, background = at_source(kernel, template)
        return science - matched + background
    matched, background = at_source(kernel, science)
    return matched - template + background


@pytest.mark.reference
@pytest.mark.parametrize("case", POLYNOMIAL)
def test_difference_is_rebuilt(reference, case):
    folder = reference / "sfft"
    science, template, difference = (
        fits.getdata(folder / f"{name}.fits").astype(np.float64)
        for name in (f"{case[0]}_sci", f"{case[0]}_ref", f"{case}_diff")
    )
    kernel = read_kernel(folder / f"{case}_solution.fits", folder / f"{case}_diff.fits")
    model = rebuilt(kernel, science, template)
    assert np.abs(model - difference).max() < 2e-3  # rounding of the float32 file
    # The exact difference rounds to the file: all but a few pixels at ties are equal to the bit.
    assert (model.astype(np.float32) != difference.astype(np.float32)).mean() < 1e-4


@pytest.mark.reference
@pytest.mark.parametrize("case", ["sfft_ref", "sfft_sci"])
def test_real_difference_is_rebuilt(reference, case):
    folder = reference / "real-nircam"
    science, template, difference = (
        fits.getdata(folder / f"{name}.fits").astype(np.float64)
        for name in ("science", "template", f"{case}_diff")
    )
    kernel = read_kernel(folder / f"{case}_solution.fits", folder / f"{case}_diff.fits")
    residual = rebuilt(kernel, science, template) - difference
    assert np.abs(residual).max() < 8e-9
    assert np.sqrt(np.mean(residual**2)) < 2e-10


# --- the side


def test_without_difference_the_side_is_unknown(caplog, tmp_path):
    kernel = read_kernel(SFFT / "E2_solution.fits")
    assert kernel.side(3, 4) is None
    assert kernel.background(3, 4) == 0
    assert "does not say which image was convolved" in caplog.text
    assert_same(kernel.stamp(3, 4), sample("E2").stamp(3, 4))
    native_hdus(kernel).writeto(tmp_path / "n.fits")
    assert read_kernel(tmp_path / "n.fits").side(3, 4) is None
    assert read_kernel(tmp_path / "n.fits", convolved="science").side(3, 4) == "science"


@pytest.mark.parametrize(("side", "sign"), [("template", -1), ("science", 1)])
def test_the_side_as_an_option(expected, side, sign):
    kernel = read_kernel(SFFT / "E2_solution.fits", convolved=side)
    assert kernel.side(3, 4) == side
    x, y = expected["E2_xy1"][0] - 1
    assert kernel.background(x, y) == pytest.approx(sign * expected["E2_bg"][0])


@pytest.mark.parametrize("side", ["template", "science"])
@pytest.mark.parametrize("case", POLYNOMIAL)
def test_the_side_that_is_found_is_that_of_an_option(case, side, write_image):
    """A difference without CONVD: the side decides the sign of the background, too."""
    shape = (220, 300) if case.startswith("D") else (260, 240)
    stripped = write_image(np.zeros(shape, "f4"), name="diff.fits")
    open_kernel = read_kernel(SFFT / f"{case}_solution.fits", stripped)
    assert open_kernel.side(0, 0) is None
    found = on_side(open_kernel, side)
    option = read_kernel(SFFT / f"{case}_solution.fits", stripped, convolved=side)
    assert on_side(option, side).background(7, 9) == option.background(7, 9)
    assert found.side(3, 4) == option.side(3, 4) == side
    for x, y in [(0, 0), (150, 20)]:
        assert found.background(x, y) == pytest.approx(option.background(x, y), rel=1e-14)
        np.testing.assert_allclose(found.stamp(x, y), option.stamp(x, y), atol=1e-14)


def test_without_the_side_nothing_is_converted(write_image, tmp_path):
    """A native file would say nothing of the sign either."""
    stripped = write_image(np.zeros((220, 300), "f4"), name="diff.fits")
    with pytest.raises(KernelError, match=r"diff\.fits: no card CONVD"):
        convert_kernel(SFFT / "D1_solution.fits", tmp_path / "out.fits", difference=stripped)
    assert not (tmp_path / "out.fits").exists()


# --- files that contradict themselves or each other


def changed(tmp_path, case, cards, data=None):
    with fits.open(SFFT / f"{case}_solution.fits") as hdus:
        for keyword, value in cards.items():
            if value is None:
                del hdus[0].header[keyword]
            else:
                hdus[0].header[keyword] = value
        if data is not None:
            hdus[0].data = data(hdus[0].data)
        hdus.writeto(tmp_path / "damaged.fits")
    return tmp_path / "damaged.fits"


@pytest.mark.parametrize(
    ("case", "cards", "problem"),
    [
        ("D1", {"DK": 1}, "FIJ = 6, but the other cards.*3"),
        ("D1", {"DB": 0}, "FPQ = 3, but.*1"),
        ("D1", {"FAB": 169}, "FAB = 169, but.*225"),
        ("D1", {"FIJAB": 1353}, "FIJAB = 1353"),
        ("D1", {"L0": 14}, "L0, L1 = 14, 15; SFFT kernels have odd sizes"),
        ("D1", {"L0": 13, "FAB": 195, "FIJAB": 1170}, "ask for a row of 1173"),
        ("D1", {"L0": 100001, "L1": 100001}, "L0, L1 = 100001"),
        ("D1", {"N0": None}, "N0 is missing"),
        ("D1", {"N0": 0}, "N0 = 0 is impossible"),
        ("D1", {"N0": True}, "N0 = True is impossible"),
        ("D1", {"DK": 2.0}, "DK = 2.0 is impossible"),
        ("D1", {"DK": 1_000_000}, "DK = 1000000, KSPDEG = 1000000 are imp"),
        ("D1", {"KSPTYPE": "Wavelet"}, "KSPTYPE = 'Wavelet': SFFT solutions with Polynomial and B"),
        ("BS2", {"BSPTYPE": "Wavelet"}, "BSPTYPE = 'Wavelet'"),
        ("BS2", {"KSPDEG": 2}, "DK = 3, KSPDEG = 2"),
        ("BS2", {"KIKX0": None}, "KIKX0 ... = .*are not 1 rising knots"),
        ("BS2", {"KIKY1": 10.0}, "not 2 rising knots"),
        ("BS2", {"KIKX0": 400.0}, "not 1 rising knots inside the image"),
        ("BS2", {"NKIKX": 10**9}, "not 1000000000 rising knots"),
        ("BS3", {"SEPSCA": "Perhaps"}, "SEPSCA = 'Perhaps'"),
        ("BS3", {"SCAFIJ": 6}, "SCAFIJ = 6"),
        ("BS3", {"SSPDEG": 3}, "SCAFIJ = 3, but.*10"),
        ("BS1", {"CONVD": "BOTH"}, "CONVD = 'BOTH'.*--convolved"),
    ],
)
def test_contradictory_headers(tmp_path, case, cards, problem):
    with pytest.raises(KernelError, match=rf"damaged\.fits: .*{problem}"):
        read_kernel(changed(tmp_path, case, cards))


def test_numbers_that_are_none(tmp_path):
    path = changed(tmp_path, "D1", {}, lambda data: np.where(data == data.max(), np.nan, data))
    with pytest.raises(KernelError, match="NaN"):
        read_kernel(path)


@pytest.mark.parametrize(
    ("keyword", "value"), [("KERORDER", 1), ("KERHW", 6), ("BGORDER", 0), ("CONVD", "SCI")]
)
def test_a_difference_of_another_solution(write_image, keyword, value):
    cards = {"KERORDER": 2, "KERHW": 6, "BGORDER": 1, "CONVD": "REF", "KSPTYPE": "B-Spline"}
    solution = "BS1" if keyword in {"KERHW", "CONVD"} else "D1"
    cards |= {"KERHW": 6 if solution == "BS1" else 7} | {keyword: value}
    if keyword == "KERHW":
        cards["KERHW"] = 7
    path = write_image(np.zeros((220, 300), "f4"), name="diff.fits", **cards)
    with pytest.raises(
        KernelError, match=rf"diff\.fits was made with {keyword} = {cards[keyword]}"
    ):
        read_kernel(SFFT / f"{solution}_solution.fits", path)


def test_solution_inside_the_difference(tmp_path, expected):
    with fits.open(SFFT / "D1_diff.fits.gz") as one, fits.open(SFFT / "D1_solution.fits") as two:
        hdu = fits.ImageHDU(two[0].data, two[0].header, name="SOLUTION")
        fits.HDUList([one[0].copy(), hdu]).writeto(tmp_path / "both.fits")
    for argument in (f"{tmp_path}/both.fits", f"{tmp_path}/both.fits[SOLUTION]"):
        kernel = read_kernel(argument, tmp_path / "both.fits")
        x, y = expected["D1_xy1"][0] - 1
        np.testing.assert_allclose(
            kernel.stamp(x, y), expected["D1_tool_stamps"][0], rtol=0, atol=1e-12
        )
        assert kernel.side(x, y) == "template"


def test_a_solution_cut_off(tmp_path):
    content = (SFFT / "D1_solution.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(content[:9000])
    with pytest.raises(InputError, match=re.escape("cut.fits")):
        read_kernel(tmp_path / "cut.fits")
