"""Cut-outs of HOTPANTS differences: the kernel is moved where cards say how far, else refused."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from helpers.closeness import assert_same
from kernels.conftest import DATA

from diffdecor.errors import KernelError
from diffdecor.kernels.registry import read_kernel

X0, Y0, SHAPE = 30, 41, (90, 120)
PLACES = [(5, 6), (60, 50), (110, 80)]


def original(case):
    return DATA / "hotpants" / f"{case}_diff.fits.gz"


@pytest.fixture
def cut(tmp_path):
    """Write the cut-out of a difference, with cards that are changed."""

    def write(case, **cards):
        with gzip.open(original(case)) as stream, fits.open(stream) as hdus:
            image = np.array(hdus[0].data)
            if image.shape < (Y0 + SHAPE[0], X0 + SHAPE[1]):
                image = np.zeros((Y0 + SHAPE[0], X0 + SHAPE[1]), "f4")
            hdus[0].data = image[Y0 : Y0 + SHAPE[0], X0 : X0 + SHAPE[1]]
            for name, value in cards.items():
                hdus[0].header[name.replace("__", "_")] = value
            path = tmp_path / f"{case}_diff.fits"
            hdus.writeto(path, output_verify="silentfix")
        for kernel in (DATA / "hotpants").glob(f"{case}_kernel.fits"):
            (tmp_path / kernel.name).write_bytes(kernel.read_bytes())
        return path

    return write


@pytest.mark.parametrize("case", ["A1", "A2", "B1", "B2", "C1", "M1"])
def test_the_kernel_is_moved_by_ltv(cut, case):
    whole = read_kernel(original(case))
    kernel = read_kernel(cut(case, LTV1=-float(X0), LTV2=-float(Y0)))
    assert kernel.image_shape == SHAPE
    for x, y in PLACES:
        assert_same(kernel.stamp(x, y), whole.stamp(x + X0, y + Y0))
        assert kernel.scales(x, y) == whole.scales(x + X0, y + Y0)
        assert kernel.side(x, y) == whole.side(x + X0, y + Y0)
        assert kernel.background(x, y) == pytest.approx(whole.background(x + X0, y + Y0))


def test_a_kernel_file_of_its_own_may_have_a_shift_too(cut, tmp_path):
    whole = read_kernel(original("A2"))
    path = cut("A2", LTV1=-float(X0) - 7, LTV2=-float(Y0) + 3)
    fits.setval(tmp_path / "A2_kernel.fits", "LTV1", value=-7.0)
    fits.setval(tmp_path / "A2_kernel.fits", "LTV2", value=3.0)
    assert_same(read_kernel(path).stamp(60, 50), whole.stamp(60 + X0, 50 + Y0))


def test_reference_pixels_of_both_files_say_it_as_well(cut, tmp_path):
    whole = read_kernel(original("A2"))
    path = cut("A2", CRPIX1=150.5 - X0, CRPIX2=100.0 - Y0)
    fits.setval(tmp_path / "A2_kernel.fits", "CRPIX1", value=150.5)
    fits.setval(tmp_path / "A2_kernel.fits", "CRPIX2", value=100.0)
    assert_same(read_kernel(path).stamp(60, 50), whole.stamp(60 + X0, 50 + Y0))


@pytest.mark.parametrize(
    ("cards", "says"),
    [
        ({}, "no card says of where"),
        ({"LTV1": -30.0}, "no card says of where"),
        ({"LTV1": -30.25, "LTV2": -41.0}, "no card says of where"),
        ({"LTV1": -30.0, "LTV2": -41.0, "LTM1__1": 0.5}, "no card says of where"),
        ({"CRPIX1": 120.5, "CRPIX2": 59.0}, "no card says of where"),  # of the whole: unknown
        ({"LTV1": 3000.0, "LTV2": -41.0}, "do not overlap"),
        ({"LTV1": "x", "LTV2": -41.0}, "no card says of where"),
    ],
)
def test_other_cut_outs_are_refused(cut, cards, says):
    with pytest.raises(KernelError, match=says):
        read_kernel(cut("A1", **cards))


def test_a_whole_difference_may_have_such_cards(tmp_path):
    with gzip.open(original("A1")) as stream, fits.open(stream) as hdus:
        hdus[0].header["LTV1"], hdus[0].header["LTV2"] = -64.0, -2.0  # of a trimmed overscan
        hdus.writeto(tmp_path / "d.fits", output_verify="silentfix")
    assert_same(
        read_kernel(tmp_path / "d.fits").stamp(50, 60), read_kernel(original("A1")).stamp(50, 60)
    )
