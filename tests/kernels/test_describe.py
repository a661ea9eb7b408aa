"""What is said about kernels, and what is odd about them."""

import json
import re

import numpy as np
import pytest
from helpers.workplace import call
from kernels.conftest import DATA

from diffdecor.kernels.describe import describe, extent, oddities
from diffdecor.kernels.model import BasisKernel, Box, Region, StampKernel, Term
from diffdecor.kernels.registry import read_kernel

Y, X = np.mgrid[-6:7, -6:7]


def gaussian(sigma=1.5, x=0.0, y=0.0):
    stamp = np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * sigma**2))
    return stamp / stamp.sum()


def stamps(*images, origin=(6, 6), side="template"):
    positions = np.column_stack([np.arange(len(images)) * 100.0, np.zeros(len(images))])
    return StampKernel(stamps=np.array(images), positions=positions, origin=origin, convolved=side)


def varying(slope, side="template"):
    """A kernel that gets a second Gaussian towards the corner."""
    region = Region(
        box=Box(0, 99, 0, 99), side=side, xs=99.0, ys=99.0, coefficients=np.diag([1.0, slope])
    )
    return BasisKernel(
        basis=np.array([gaussian(), gaussian(2.5) - gaussian(1.0)]),
        origin=(6, 6),
        terms=(Term("POLY", 0, 0), Term("POLY", 4, 4)),
        regions=(region,),
    )


USUAL = [stamps(gaussian()), stamps(gaussian(), gaussian(1.6)), varying(0.1)]
DELTA = np.zeros((13, 13))
DELTA[6, 6] = 1.0
LAPLACE = DELTA * 5
LAPLACE[[5, 7, 6, 6], [6, 6, 5, 7]] = -1.0
ODD = {
    "side": (stamps(gaussian(), side=None), "side is unknown"),
    "side of region": (varying(0.1, side=None), "side is unknown"),
    "sum": (stamps(gaussian(), gaussian() * 1.2), "the sum varies by 18% over"),
    "negative": (stamps(gaussian(), -gaussian()), "the sum is negative at places .least -1"),
    "lobes": (stamps(2 * gaussian(1.5) - gaussian(2.0)), None),
    "deep lobes": (stamps(3 * gaussian(1.5) - 2 * gaussian(2.5)), "negative lobes hold"),
    "border": (stamps(gaussian(5.0)), "the border of the stamp holds"),
    "shift": (stamps(gaussian(x=1.5, y=-0.3)), r"it shifts the image by \(1.50, -0.30\) pixels"),
    "noise": (stamps(LAPLACE), "the sum of squares is 29 times the square"),
    "delta": (stamps(DELTA), None),
    "even": (stamps(gaussian()[:-1]), "13 x 12 pixels, an even size"),
    "even, told": (stamps(gaussian()[1:], origin=(6, 5)), None),
    "corner": (varying(9.0), r"runs away at \(x, y\) = \(99, 99\)"),
}


@pytest.mark.parametrize("kernel", USUAL)
def test_usual_kernels(kernel):
    assert oddities(kernel) == []
    assert describe(kernel)["warnings"] == []


@pytest.mark.parametrize("case", ODD)
def test_odd_kernels(case):
    kernel, problem = ODD[case]
    found = oddities(kernel)
    if problem is None:
        assert found == []
    else:
        assert len([line for line in found if re.search(problem, line)]) == 1


def test_a_kernel_without_flux_is_odd_but_shown():
    flat = stamps(gaussian() - gaussian().mean() * 1.01)
    assert oddities(flat)[0].startswith("the sum is negative at places")
    assert describe(flat)["sum"][0] < 0


def test_extent(native_data):
    assert extent(read_kernel(native_data / "D1_native.fits")) == (0, 299, 0, 219)
    assert extent(read_kernel(native_data / "A1_stampgrid.fits")) == (0, 359, 0, 359)
    assert extent(stamps(gaussian(), gaussian())) == (0, 100, 0, 0)


def test_info_prints_warnings():
    path = str(DATA / "sfft" / "E2_solution.fits")
    lines = call("kernel", "info", path).stdout.splitlines()
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert (
        warnings[0]
        == "warning: the convolved side is unknown; give run --convolved, or --difference here"
    )
    assert lines[-len(warnings) :] == warnings
    facts = json.loads(call("kernel", "info", "--json", path).stdout)
    assert ["warning: " + line for line in facts["warnings"]] == warnings
    assert (facts["format"], facts["convolved"]) == ("sfft", ["unknown"])


def test_info_reads_lists():
    path = str(DATA / "ficonv" / "Df_kernel.list")
    done = call("kernel", "info", "--json", path)
    facts = json.loads(done.stdout)
    assert (facts["format"], facts["size"], facts["basis_images"]) == ("ficonv", [13, 13], 11)


def test_convert_writes_lists_and_solutions(tmp_path):
    for number, path in enumerate(
        [DATA / "ficonv/Df_kernel.list", DATA / "sfft/BS1_solution.fits"]
    ):
        out = tmp_path / f"{number}.fits"
        done = call("kernel", "convert", str(path), str(out))
        assert done.exit_code == 0, done.stderr
        one, two = read_kernel(path), read_kernel(out)
        np.testing.assert_allclose(two.stamp(99, 88), one.stamp(99, 88), rtol=0, atol=1e-12)
        assert two.format == f"native ({one.format})"
