"""Stamps at positions: tables, cubes with a table, grids in four axes."""

import numpy as np
import pytest
from astropy.io import fits
from helpers.closeness import assert_same

from diffdecor.errors import KernelError
from diffdecor.kernels.registry import read_kernel
from diffdecor.kernels.testing import check_reader

RNG = np.random.default_rng(3)
STAMPS = RNG.uniform(0.1, 1.0, (6, 3, 5))
X, Y = (axis.ravel() + 1.0 for axis in np.meshgrid([10.0, 50.0, 90.0], [5.0, 25.0]))


def table(x=X, y=Y, stamps=None, name="KERNELS", **cards):
    columns = [fits.Column("X", "D", array=x), fits.Column("Y", "D", array=y)]
    if stamps is not None:
        _, ky, kx = stamps.shape
        form, dim = f"{ky * kx}D", f"({kx},{ky})"
        columns.append(fits.Column("STAMP", form, dim=dim, array=stamps))
    return fits.BinTableHDU.from_columns(columns, fits.Header(cards), name=name)


def cube(stamps=STAMPS, name="K", **cards):
    return fits.ImageHDU(stamps, fits.Header(cards), name=name)


def grid(**cards):
    numbers = {"GRIDX0": 11.0, "GRIDDX": 40.0, "GRIDY0": 6, "GRIDDY": 20} | cards
    return fits.ImageHDU(STAMPS.reshape(2, 3, 3, 5), fits.Header(numbers), name="K")


@pytest.fixture
def save(tmp_path):
    def write(*hdus):
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "k.fits")
        return tmp_path / "k.fits"

    return write


FORMS = {
    "table": [table(stamps=STAMPS)],
    "cube": [cube(), table()],
    "cube with any table": [cube(), table(name="WHERE"), fits.ImageHDU(np.ones((9, 9)))],
    "cube with its table": [cube(), table(x=X + 1, name="OTHER"), table(name="KPOS")],
    "grid": [grid()],
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(save, form):
    kernel = check_reader(save(*FORMS[form]), "stamps")
    for x, y, stamp in zip(X, Y, STAMPS, strict=True):
        np.testing.assert_allclose(kernel.stamp(x - 1, y - 1), stamp, rtol=0, atol=1e-14)
    np.testing.assert_allclose(kernel.stamp(30, 5), STAMPS[:2].mean(axis=0), atol=1e-14)
    assert kernel.origin == (2, 1)
    assert kernel.side(0, 0) is None
    assert kernel.sum(10, 5) == pytest.approx(STAMPS[0].sum())  # not normalised


def test_a_grid_one_node_high(save):
    hdu = fits.ImageHDU(STAMPS[None, :3], fits.Header({"GRIDX0": 11, "GRIDDX": 40, "GRIDY0": 6}))
    hdu.header["GRIDDY"] = 20
    kernel = read_kernel(save(hdu))
    np.testing.assert_array_equal(kernel.stamp(50, 1000), STAMPS[1])


def test_scattered_positions_take_the_nearest(save):
    kernel = read_kernel(save(table(x=X + np.arange(6), stamps=STAMPS)))
    np.testing.assert_array_equal(kernel.stamp(52, 5.5), STAMPS[1])


@pytest.mark.parametrize("where", ["primary", "own"])
def test_cards(save, where):
    cards = {"CTRX": 1, "CTRY": 3, "CONVSIDE": "SCIENCE", "SSCALE": 0.9, "TSCALE": 1.25}
    cards |= {"INTERP": "NEAREST"}
    path = save(table(stamps=STAMPS, **(cards if where == "own" else {})))
    if where == "primary":
        with fits.open(path, mode="update") as hdus:
            hdus[0].header.update(cards)
    kernel = read_kernel(path)
    assert (kernel.origin, kernel.side(0, 0), kernel.scales(0, 0)) == (
        (0, 2),
        "science",
        (0.9, 1.25),
    )
    np.testing.assert_array_equal(kernel.stamp(31, 5), STAMPS[1])


@pytest.mark.parametrize("by", ["card", "option"])
def test_correlation_is_turned_into_convolution(save, by):
    path = save(table(stamps=STAMPS, **({"KERSENSE": "CORRELATION"} if by == "card" else {})))
    kernel = read_kernel(
        path, center=(0, 0), **({"sense": "correlation"} if by == "option" else {})
    )
    assert kernel.origin == (4, 2)
    np.testing.assert_array_equal(kernel.stamp(10, 5), STAMPS[0, ::-1, ::-1])


def test_options_go_before_cards(save):
    path = save(table(stamps=STAMPS, CONVSIDE="?", KERSENSE="CORRELATION"))
    kernel = read_kernel(path, convolved="template", sense="convolution", science_scale=2.0)
    assert kernel.side(0, 0) == "template"
    assert kernel.scales(0, 0) == (2.0, 1.0)
    np.testing.assert_array_equal(kernel.stamp(10, 5), STAMPS[0])


def test_an_hdu_is_named(save):
    path = save(table(stamps=STAMPS, name="A"), table(stamps=STAMPS * 2, name="B"), cube())
    with pytest.raises(KernelError, match=r"A and B could all be the kernel; name one"):
        read_kernel(path)
    np.testing.assert_array_equal(read_kernel(f"{path}[B]").stamp(10, 5), STAMPS[0] * 2)
    with pytest.raises(KernelError, match="more stamps need positions"):  # two tables fit
        read_kernel(f"{path}[K]")


def test_two_cubes_with_positions(save):
    path = save(cube(name="A"), cube(STAMPS * 2, name="B"), table(name="APOS"), table(name="BPOS"))
    with pytest.raises(KernelError, match="A and B could all be the kernel"):
        read_kernel(path)
    np.testing.assert_array_equal(read_kernel(f"{path}[B]").stamp(10, 5), STAMPS[0] * 2)


def test_table_of_the_native_format(native_data):
    kernel = read_kernel(f"{native_data / 'A1_stampgrid.fits'}[STAMPS]")
    native = read_kernel(native_data / "A1_stampgrid.fits")
    assert_same(kernel.stamp(31, 77), native.stamp(31, 77))
    assert kernel.scales(0, 0) == native.scales(0, 0)
    assert (kernel.side(0, 0), kernel.origin) == (native.side(0, 0), native.origin)


ZERO, NAN = STAMPS.copy(), STAMPS.copy()
ZERO[2] -= ZERO[2].mean()
NAN[3, 1, 1] = np.nan
FLAT = fits.BinTableHDU.from_columns(
    [fits.Column(name, "D", array=np.ones(3)) for name in ("X", "Y", "STAMP")]
)
PAIRS = fits.BinTableHDU.from_columns(
    [fits.Column("X", "2D", array=np.ones((6, 2))), fits.Column("Y", "D", array=Y)], name="KPOS"
)


@pytest.mark.parametrize(
    ("hdus", "problem"),
    [
        ([cube()], "two axes, and more stamps need positions: add a table"),
        ([cube(), table(x=X[:5], y=Y[:5])], "more stamps need positions"),
        ([fits.ImageHDU(STAMPS.reshape(2, 3, 3, 5))], "give the cards GRIDX0, GRIDDX"),
        ([fits.ImageHDU(np.ones((2, 2, 2, 3, 3)))], "need positions"),
        ([grid(GRIDDX=0)], "are not a grid"),
        ([grid(GRIDY0="low")], "are not a grid"),
        ([grid(GRIDY0=True)], "are not a grid"),
        ([table(stamps=ZERO)], "kernel 3 sums to zero"),
        ([table(stamps=NAN)], "NaN or infinite"),
        ([table(x=X * np.nan, stamps=STAMPS)], "NaN or infinite"),
        ([FLAT], r"cells of shape \(\) in the column STAMP"),
        ([cube(), PAIRS], "more than one number"),
        ([table(stamps=STAMPS, CTRX=1.5)], "CTRX"),
        ([table(stamps=STAMPS, KERSENSE="BOTH")], "KERSENSE = 'BOTH'"),
        ([table(stamps=STAMPS, INTERP="CUBIC")], "INTERP = 'CUBIC'"),
        ([table(stamps=STAMPS, SSCALE=0.0)], "SSCALE"),
        ([table(stamps=np.ones((1, 1, 1002)), x=[1], y=[1])], "not kernels"),
    ],
)
def test_refused(save, hdus, problem):
    with pytest.raises(KernelError, match=rf"k\.fits: .*{problem}"):
        read_kernel(save(*hdus))


def test_an_image_goes_before_a_cube_without_positions(save):
    image = np.arange(1.0, 10).reshape(3, 3)
    np.testing.assert_array_equal(
        read_kernel(save(cube(), fits.ImageHDU(image))).stamp(0, 0), image
    )


@pytest.mark.parametrize("name", ["PSF", "PSI"])
def test_psf_and_filter_are_no_kernels(save, name):
    path = save(cube(name=name), table(name=f"{name}POS"))
    for argument in (path, f"{path}[{name}]"):
        with pytest.raises(KernelError):
            read_kernel(argument)
