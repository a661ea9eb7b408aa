"""Matching kernels of the LSST stack: stored samples, all classes, and files that are damaged."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.afw_archive import archive, chebyshev, combination, delta, fixed, polynomial
from helpers.closeness import assert_same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.signal import convolve

from diffdecor.errors import DiffdecorError, InputError, KernelError, NoKernelError
from diffdecor.kernels.misreadings import on_side
from diffdecor.kernels.model import BasisKernel, StampKernel
from diffdecor.kernels.native import native_hdus
from diffdecor.kernels.registry import read_kernel

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

DATA = Path(__file__).parents[1] / "data"
FOLDER = DATA / "lsst-persistence"
SIDES = {"cheb": "template", "poly": "science"}
RNG = np.random.default_rng(5)
IMAGE = RNG.random((4, 7)) + 0.1
OTHER = RNG.random((4, 7)) - 0.5


def sample(case, **options):
    """Read a sample with the header of its difference."""
    difference = FOLDER / f"{case}_difference.fits.gz"
    return read_kernel(FOLDER / f"{case}_matching_kernel.fits", difference, **options)


@pytest.fixture
def read(tmp_path):
    """Write an archive and read the kernel in it."""

    def write(objects, *, version=3, difference=None, **options):
        archive(objects, version).writeto(tmp_path / "kernel.fits")
        if difference is not None:
            difference.writeto(tmp_path / "difference.fits")
            difference = tmp_path / "difference.fits"
        return read_kernel(tmp_path / "kernel.fits", difference, **options)

    return write


def difference(shape=(30, 40), **cards):
    return fits.PrimaryHDU(np.zeros(shape), fits.Header(cards))


# --- samples


@pytest.mark.parametrize("case", SIDES)
def test_stamps(case):
    kernel = sample(case, convolved=SIDES[case])
    with np.load(FOLDER / "expected.npz") as expected:
        for (x, y), stamp in zip(
            expected[f"{case}_xy0"], expected[f"{case}_stamps_convolution"], strict=True
        ):
            error = np.abs(kernel.stamp(x, y) - stamp).max()
            assert error <= 1e-14 * np.abs(stamp).max()
            assert kernel.side(x, y) == SIDES[case]
    assert (kernel.format, kernel.origin, kernel.shape) == ("lsst", (8, 8), (17, 17))


@pytest.mark.parametrize(
    ("case", "scales", "total"), [("cheb", (1, 1), 0.92), ("poly", (1 / 1.08, 1), 1.08)]
)
def test_scales(case, scales, total):
    kernel = sample(case, convolved=SIDES[case])
    assert kernel.scales(20, 30) == pytest.approx(scales, rel=1e-14)
    assert kernel.sum(20, 30) == pytest.approx(total, rel=1e-14)


@pytest.mark.parametrize("side", ["template", "science"])
@pytest.mark.parametrize("case", SIDES)
def test_the_side_that_is_found_is_that_of_an_option(case, side):
    found, option = on_side(sample(case), side), sample(case, convolved=side)
    assert found.side(20, 30) == option.side(20, 30) == side
    assert found.scales(20, 30) == pytest.approx(option.scales(20, 30), rel=1e-14)


@pytest.mark.parametrize("case", SIDES)
def test_native_sample_of_the_same_kernel(case):
    kernel, native = (
        sample(case, convolved=SIDES[case]),
        read_kernel(DATA / "native" / f"{case}_native.fits"),
    )
    assert (kernel.origin, kernel.boxes, kernel.image_shape) == (
        native.origin,
        native.boxes,
        native.image_shape,
    )
    for x, y in [(0, 0), (150, 20), (33.3, 179.4)]:
        np.testing.assert_allclose(kernel.stamp(x, y), native.stamp(x, y), rtol=0, atol=1e-14)
        assert kernel.scales(x, y) == pytest.approx(native.scales(x, y), rel=1e-14)


@pytest.mark.parametrize("side", ["science", "template", None])
@pytest.mark.parametrize("case", SIDES)
def test_conversion_is_lossless(case, side, tmp_path):
    kernel = sample(case, convolved=side)
    native_hdus(kernel).writeto(tmp_path / "native.fits")
    native = read_kernel(tmp_path / "native.fits")
    for x, y in [(0, 0), (150, 20), (33.3, 179.4)]:
        np.testing.assert_allclose(native.stamp(x, y), kernel.stamp(x, y), rtol=0, atol=1e-14)
        assert native.scales(x, y) == kernel.scales(x, y)
        assert native.side(x, y) == kernel.side(x, y) == side
    assert native.format == "native (lsst)"


@pytest.mark.reference
@pytest.mark.parametrize(("case", "worst"), [("cheb", 1.5e-6), ("poly", 1.6e-5)])
def test_difference_is_rebuilt(reference, case, worst):
    folder = reference / "lsst-persistence"
    expected = json.loads((folder / "expected.json").read_text())["cases"][case]
    kernel = read_kernel(
        folder / f"{case}_matching_kernel.fits",
        folder / f"{case}_difference.fits",
        convolved=expected["convolved"].lower(),
    )
    science, template, stored = (
        fits.getdata(folder / f"{case}_{name}.fits", 1).astype(float)
        for name in ("science", "template", "difference")
    )
    region, (ny, nx), h = kernel.regions[0], science.shape, kernel.origin[0]
    inner = np.s_[h : ny - h, h : nx - h]
    u, v = (np.arange(nx) - region.x0) / region.xs, (np.arange(ny) - region.y0) / region.ys
    factors = [term.factors(u, v) for term in kernel.terms]
    matched = np.zeros((ny - 2 * h, nx - 2 * h))
    convolved = template if expected["convolved"] == "TEMPLATE" else science
    for image, row in zip(kernel.basis, region.coefficients, strict=True):
        weight = sum(c * np.outer(g, f) for c, (f, g) in zip(row, factors, strict=True))
        matched += weight[inner] * convolve(convolved, image, mode="valid", method="direct")
    if expected["convolved"] == "TEMPLATE":
        model = region.science_scale * science[inner] - region.template_scale * matched
    else:
        model = region.science_scale * matched - region.template_scale * template[inner]
    assert np.isfinite(stored[inner]).all()
    assert np.abs(model - stored[inner]).max() < worst


# --- classes of kernels


def applied(image, center, sky):
    """Apply a stored kernel as the stack does: without a flip."""
    (ny, nx), (cx, cy) = image.shape, center
    result = np.zeros_like(sky)
    for y in range(10, sky.shape[0] - 10):
        for x in range(10, sky.shape[1] - 10):
            result[y, x] = (image * sky[y - cy : y - cy + ny, x - cx : x - cx + nx]).sum()
    return result


def convolved_with(kernel, sky):
    (cx, cy), stamp = kernel.origin, kernel.stamp(0, 0)
    ky, kx = stamp.shape
    whole = convolve(sky, stamp, mode="full", method="direct")
    return whole[cy : cy + sky.shape[0], cx : cx + sky.shape[1]], (ky, kx)


@pytest.mark.parametrize("version", [0, 1, 3])
@pytest.mark.parametrize("center", [(3, 2), (1, 0), (6, 3)])
def test_constant_kernels_are_applied_as_the_stack_does(read, version, center):
    kernel = read({1: fixed(IMAGE, center)}, version=version)
    sky = RNG.random((26, 27))
    found, _ = convolved_with(kernel, sky)
    inner = np.s_[10:-10, 10:-10]
    np.testing.assert_allclose(found[inner], applied(IMAGE, center, sky)[inner], rtol=1e-13)
    assert isinstance(kernel, StampKernel)
    assert kernel.side(0, 0) is None


def test_a_delta_function_moves_the_image(read):
    kernel = read({1: delta((4, 7), (3, 2), (5, 1))})
    sky = RNG.random((26, 27))
    found, _ = convolved_with(kernel, sky)
    np.testing.assert_allclose(found[12, 12], sky[11, 14], rtol=1e-13)


@pytest.mark.parametrize("version", [0, 1, 3])
def test_amplitudes(read, version):
    parts = {2: fixed(IMAGE, (3, 2)), 3: delta((4, 7), (3, 2), (0, 0))}
    whole = combination((4, 7), (3, 2), (2, 3), amplitudes=(2.0, -0.5))
    kernel = read({1: whole, **parts}, version=version, convolved="science")
    stored = 2 * IMAGE
    stored[0, 0] -= 0.5
    assert_same(kernel.stamp(9, 9), stored[::-1, ::-1])
    assert kernel.scales(9, 9) == pytest.approx((1 / stored.sum(), 1))


def varying(*functions, **changes):
    whole = combination((4, 7), (3, 2), (2, 3), spatialfunctions=(4, 5), **changes)
    images = {2: fixed(IMAGE, (3, 2)), 3: fixed(OTHER, (3, 2))}
    return {1: whole, **images, **dict(enumerate(functions, start=4))}


@pytest.mark.parametrize("version", [0, 1, 3])
def test_polynomials_are_those_of_parent_pixels(read, version):
    objects = varying(polynomial(2.0), polynomial(1, 2, 3, 4, 5, 6))
    kernel = read(objects, version=version, difference=difference(LTV1=-100.0, LTV2=-7.0))
    x, y = 12.0, 23.0
    px, py = x + 100, y + 7
    factor = 1 + 2 * px + 3 * py + 4 * px**2 + 5 * px * py + 6 * py**2
    expected = (2 * IMAGE + factor * OTHER)[::-1, ::-1]
    np.testing.assert_allclose(kernel.stamp(x, y), expected, rtol=1e-13)
    assert isinstance(kernel, BasisKernel)
    assert kernel.origin == (3, 1)


@pytest.mark.parametrize("version", [0, 1, 3])
def test_chebyshev_functions_are_scaled_to_their_domain(read, version):
    low, high = (99.5, 6.5), (139.5, 36.5)
    objects = varying(chebyshev([1, 0, 0], low, high), chebyshev([0, 1, 2], low, high))
    cards = {"CRPIX1A": 1, "CRPIX2A": 1, "CRVAL1A": 100, "CRVAL2A": 7}
    kernel = read(objects, version=version, difference=difference(**cards))
    factor = (2 * 112 - 99.5 - 139.5) / 40 + 2 * (2 * 30 - 6.5 - 36.5) / 30
    expected = (IMAGE + factor * OTHER)[::-1, ::-1]
    np.testing.assert_allclose(kernel.stamp(12, 23), expected, rtol=1e-13)


def test_functions_that_do_not_vary_make_a_stamp(read):
    assert isinstance(read(varying(polynomial(2.0, 0, 0), polynomial(1.0, 0, 0))), StampKernel)


# --- position and side, where the files do not say them


def test_without_difference_the_domain_says_where_the_image_lies(caplog):
    caplog.set_level("INFO", "diffdecor")
    kernel = read_kernel(FOLDER / "cheb_matching_kernel.fits")
    known = sample("cheb")
    assert (kernel.image_shape, kernel.boxes) == (known.image_shape, known.boxes)
    assert_same(kernel.stamp(10, 20), known.stamp(10, 20))
    assert "no difference is given" in caplog.text
    assert "taken to be (1000, 2000)" in caplog.text
    assert "does not say which image was convolved" in caplog.text


def test_without_difference_polynomials_begin_at_zero(caplog):
    kernel = read_kernel(FOLDER / "poly_matching_kernel.fits")
    known = sample("poly")
    np.testing.assert_allclose(kernel.stamp(137, 612), known.stamp(100, 100), rtol=1e-12)
    assert kernel.image_shape is None
    assert "taken to be (0, 0)" in caplog.text


def test_a_difference_without_parent_pixels(read, caplog):
    objects = varying(polynomial(2.0), polynomial(1, 2, 3))
    kernel = read(objects, difference=difference(), convolved="template")
    assert kernel.regions[0].x0 == 0
    assert "no card LTV1, LTV2" in caplog.text


def test_a_difference_of_another_image(read, caplog):
    low, high = (99.5, 6.5), (139.5, 36.5)
    objects = varying(chebyshev([1, 0, 0], low, high), chebyshev([0, 1, 2], low, high))
    read(objects, difference=difference(LTV1=0.0, LTV2=0.0))
    assert "is it the kernel of another image?" in caplog.text


@pytest.mark.parametrize("card", ["CONVSIDE", "HIERARCH convolvedExposure"])
@pytest.mark.parametrize(("value", "side"), [("Template", "template"), ("Science", "science")])
def test_a_card_of_the_difference_may_say_the_side(read, card, value, side):
    kernel = read({1: fixed(IMAGE, (3, 2))}, difference=difference(**{card: value}))
    assert kernel.side(0, 0) == side
    assert kernel.scales(0, 0)[0] == pytest.approx(1 / IMAGE.sum() if side == "science" else 1)


def test_the_option_goes_before_the_card(read):
    other = difference(CONVSIDE="nonsense")
    kernel = read({1: fixed(IMAGE, (3, 2))}, difference=other, convolved="template")
    assert kernel.side(0, 0) == "template"


# --- refusals

CHEB = chebyshev([1, 0, 0], (0, 0), (9, 9))
REFUSED = {
    "psf": ({1: ("KernelPsf", {"kernel": 2})}, "KernelPsf 1 is a PSF, not a matching kernel"),
    "piff": ({1: ("PiffPsf", {"n": 2.0})}, "PiffPsf 1 is a PSF"),
    "analytic": ({1: ("AnalyticKernel", {"n": 2.0})}, "AnalyticKernel 1 is not a .*KERSENSE"),
    "unknown": ({1: ("SkyWcs", {"n": 2.0})}, "SkyWcs 1 is not a matching kernel.* not know"),
    "no object 1": ({2: fixed(IMAGE, (3, 2))}, "there is no object 1"),
    "cycle": ({1: combination((4, 7), (3, 2), (1,), amplitudes=(1,))}, "object 1 is a part of its"),
    "no part": ({1: combination((4, 7), (3, 2), (9,), amplitudes=(1,))}, "there is no object 9"),
    "nested": (
        {
            1: combination((4, 7), (3, 2), (2,), amplitudes=(1,)),
            2: combination((4, 7), (3, 2), (3,), amplitudes=(1,)),
            3: fixed(IMAGE, (3, 2)),
        },
        "LinearCombinationKernel 2 is not a component",
    ),
    "no weights": (
        {1: combination((4, 7), (3, 2), (2,)), 2: fixed(IMAGE, (3, 2))},
        "has no column amplitudes",
    ),
    "size": ({1: ("FixedKernel", {**fixed(IMAGE, (3, 2))[1], "image": np.ones(9)})}, "9 pixels in"),
    "centre": ({1: fixed(IMAGE, (7, 2))}, r"with the centre \(7, 2\)"),
    "no pixels": ({1: delta((0, 7), (0, 0), (0, 0))}, "of 7 x 0 pixels"),
    "huge": ({1: delta((4, 70000), (0, 0), (0, 0))}, "of 70000 x 4 pixels"),
    "pixel": ({1: delta((4, 7), (3, 2), (0, 4))}, r"the pixel \(0, 4\) set"),
    "NaN": ({1: fixed(IMAGE * np.nan, (3, 2))}, "image of FixedKernel 1 is NaN or infinite"),
    "other centre": (
        {
            1: combination((4, 7), (3, 2), (2, 3), amplitudes=(1, 1)),
            2: fixed(IMAGE, (3, 2)),
            3: fixed(IMAGE, (2, 2)),
        },
        "differ in size or centre",
    ),
    "amplitudes": (
        {1: combination((4, 7), (3, 2), (2,), amplitudes=(1, 2)), 2: fixed(IMAGE, (3, 2))},
        "1 components but 2 functions",
    ),
    "function": (varying(polynomial(1), ("Spline", {"n": 1.0})), "Spline 5 is not a function of p"),
    "functions": (varying(polynomial(1, 0, 0), CHEB), "differ in class or domain"),
    "degree": (varying(polynomial(1, 2), polynomial(1, 2)), "2 coefficients of Poly.* polynom"),
    "domain": (
        varying(CHEB, chebyshev([1, 0, 0], (0, 0), (9, 0))),
        "Chebyshev1Function2D 5 has an empty",
    ),
    "no domain": (
        varying(CHEB, ("Chebyshev1Function2D", {"coefficients": [1.0]})),
        "no column min",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(read, case):
    objects, problem = REFUSED[case]
    with pytest.raises(InputError, match=rf"kernel\.fits: .*{problem}"):
        read(objects)


def test_a_kernel_without_flux(read):
    with pytest.raises(KernelError, match="the sum of the kernel is zero"):
        read({1: fixed(IMAGE - IMAGE.mean(), (3, 2))}, convolved="science")


def damaged_table(hdus):
    hdus[2].header["AR_CATN"] = 7


def damaged_row(hdus):
    hdus[1].data["row0"] = 5


def damaged_index(hdus):
    hdus[1] = fits.ImageHDU(np.ones(3), fits.Header({"EXTTYPE": "ARCHIVE_INDEX"}))


def second_archive(hdus):
    hdus.insert(2, hdus[1].copy())


@pytest.mark.parametrize(
    ("damaged", "problem"),
    [
        (damaged_table, "table 1 of FixedKernel 1 is missing"),
        (damaged_row, "row 5 of FixedKernel 1 is missing"),
        (damaged_index, "there is no table EXTTYPE = 'ARCHIVE_INDEX'"),
        (second_archive, "table 1 of FixedKernel 1 is missing"),
    ],
)
def test_damaged_archives(tmp_path, damaged, problem):
    hdus = archive({1: fixed(IMAGE, (3, 2))})
    damaged(hdus)
    hdus.writeto(tmp_path / "damaged.fits")
    with pytest.raises(InputError, match=rf"damaged\.fits: damaged LSST archive: {problem}"):
        read_kernel(tmp_path / "damaged.fits")


@pytest.mark.parametrize("carried", [False, True])
def test_an_exposure_is_no_kernel(carried):
    path = FOLDER / "cheb_difference.fits.gz"
    with pytest.raises(NoKernelError, match=r"holds its PSF, not the matching kernel.*--kernel"):
        read_kernel(path, path if carried else None)


# --- anything at all


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("original") / "small.fits"
    archive(varying(polynomial(2.0, 0, 0), polynomial(1, 2, 3))).writeto(path)
    return path.read_bytes()


# astropy leaves files open that it fails to open; numpy overflows with absurd numbers in them.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::RuntimeWarning",
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files_raise_nothing_but_our_errors(original, tmp_path, data):
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    (tmp_path / "mutated.fits").write_bytes(content)
    try:
        kernel = read_kernel(tmp_path / "mutated.fits", convolved="science")
        kernel.stamp(3, 4)
    except DiffdecorError:
        pass
