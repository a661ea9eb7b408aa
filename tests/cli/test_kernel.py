"""`diffdecor kernel info` and `diffdecor kernel convert`."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.closeness import assert_same
from helpers.workplace import call, check_failure, described, json_object, verify

from diffdecor.kernels.registry import read_kernel

DATA = Path(__file__).parents[1] / "data"
NATIVE = [DATA / "native" / f"{name}_native.fits" for name in ("B1", "BS3", "cheb", "D1")]
HOTPANTS = [DATA / "hotpants" / f"{name}_diff.fits.gz" for name in ("A1", "A2", "B3")]
OTHERS = [DATA / "native" / "A1_stampgrid.fits", DATA / "native" / "A3_plain_stamp.fits"]
KERNELS = [*NATIVE, *HOTPANTS, *OTHERS]
name_of = pytest.mark.parametrize("kernel", KERNELS, ids=lambda path: path.name)
FACTS = {"file", "format", "size", "origin", "convolved", "sum", "fwhm", "science_scale", "regions"}


@pytest.fixture
def folder(tmp_path):
    """A folder with a copy of every kernel."""
    for path in (*KERNELS, *(DATA / "hotpants").glob("*_kernel.fits")):
        shutil.copy(path, tmp_path)
    return tmp_path


@name_of
def test_info(folder, kernel):
    before = described(folder)
    text = call("kernel", "info", folder / kernel.name)
    assert text.exit_code == 0, text.stderr
    assert text.stderr == ""
    result = call("kernel", "info", folder / kernel.name, "--json")
    facts = json_object(result.stdout)
    assert set(facts) >= FACTS
    assert text.stdout.count("\nwarning: ") == len(facts.pop("warnings", []))
    for name in facts:
        assert name.replace("_", " ") in text.stdout
    stamp = read_kernel(folder / kernel.name)
    assert facts["size"] == list(stamp.shape[::-1])
    low, middle, high = facts["sum"]
    (line,) = re.findall(r"^sum +(.*)$", text.stdout, re.MULTILINE)
    assert line.split()[0] == f"{middle:.6g}"
    if f"{low:.6g}" != f"{high:.6g}":
        assert line.endswith(f"({low:.6g} to {high:.6g} over the image)")
    assert low <= middle <= high
    assert 0.2 < middle < 5
    assert facts["convolved"][0] in {"template", "science", "unknown"}
    assert described(folder) == before


@name_of
def test_convert_loses_nothing(folder, kernel):
    source, output = folder / kernel.name, folder / "native.fits"
    result = call("kernel", "convert", source, output)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    verify(output)
    first, second = read_kernel(source), read_kernel(output)
    assert (first.shape, first.origin, first.boxes) == (second.shape, second.origin, second.boxes)
    assert first.image_shape == second.image_shape
    places = [(box.xmin, box.ymax) for box in first.boxes] or [(0, 0), (17.3, 200.1)]
    for x, y in places:
        assert_same(first.stamp(x, y), second.stamp(x, y))
        assert first.side(x, y) == second.side(x, y)
        assert first.scales(x, y) == second.scales(x, y)
        assert first.background(x, y) == pytest.approx(second.background(x, y), rel=1e-12)


def test_a_kernel_file_with_its_difference(folder):
    difference = folder / "A2_diff.fits.gz"
    arguments = ("kernel", "info", folder / "A2_kernel.fits", "--difference", difference, "--json")
    facts = json_object(call(*arguments).stdout)
    both = json_object(call("kernel", "info", difference, "--json").stdout)
    assert facts["sum"] == pytest.approx(both["sum"], rel=1e-14)


def test_extensions(folder, tmp_path):
    stamp = fits.getdata(OTHERS[1])
    image = fits.ImageHDU(stamp, name="KERNEL")
    fits.HDUList([fits.PrimaryHDU(np.ones((3, 3))), image]).writeto(tmp_path / "two.fits")
    path = tmp_path / "two.fits"
    sizes = [json_object(call("kernel", "info", name, "--json").stdout)["size"]
             for name in (path, f"{path}[KERNEL]", f"{path}[1]", f"{path}[0]")]  # fmt: skip
    assert sizes == [[3, 3], list(stamp.shape[::-1]), list(stamp.shape[::-1]), [3, 3]]
    assert folder == tmp_path


@pytest.mark.parametrize("command", [["info"], ["info", "--json"], ["convert"]])
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.unlink(missing_ok=True),
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("hello"),
        lambda path: path.symlink_to(path),
        lambda path: path.write_bytes((DATA / "native" / "B1_native.fits").read_bytes()[:9000]),
        lambda path: fits.PrimaryHDU().writeto(path),
        lambda path: fits.PrimaryHDU(np.zeros((3, 3))).writeto(path),
        lambda path: fits.PrimaryHDU(np.full((3, 3), np.nan)).writeto(path),
        lambda path: fits.PrimaryHDU(np.ones((2, 3, 3))).writeto(path),
        lambda path: fits.PrimaryHDU(np.ones((2000, 3))).writeto(path),
    ],
)
def test_what_is_no_kernel(tmp_path, command, make):
    path = tmp_path / "bad.fits"
    make(path)
    before = described(tmp_path)
    output = [tmp_path / "out.fits"] if command == ["convert"] else []
    check_failure(call("kernel", command[0], path, *output, *command[1:]), 3, "bad.fits")
    assert described(tmp_path) == before


def test_a_difference_that_is_missing_is_named(folder):
    arguments = (folder / "A2_kernel.fits", "--difference", folder / "missing.fits")
    check_failure(call("kernel", "info", *arguments), 3, "missing.fits")


def test_a_native_kernel_that_sums_to_zero(folder):
    path = folder / "A1_stampgrid.fits"
    with fits.open(path, mode="update") as hdus:
        hdus["STAMPS"].data["STAMP"] -= (
            hdus["STAMPS"].data["STAMP"].mean(axis=(-1, -2), keepdims=True)
        )
    check_failure(call("kernel", "info", path), 3, "A1_stampgrid.fits", "zero")


@pytest.mark.parametrize("flag", [[], ["--overwrite"]])
def test_convert_never_replaces_an_input(folder, flag):
    kernel, difference = folder / "A2_kernel.fits", folder / "A2_diff.fits.gz"
    (folder / "link.fits").symlink_to("A2_kernel.fits")
    before = described(folder)
    for output in (kernel, folder / "link.fits"):
        arguments = ("kernel", "convert", kernel, output, "--difference", difference, *flag)
        check_failure(call(*arguments), 2, "is an input")
    arguments = ("kernel", "convert", difference, kernel, *flag)
    check_failure(call(*arguments), 2, "A2_kernel.fits")
    assert described(folder) == before


def test_convert_overwrites_when_asked_to(folder):
    kernel, output = NATIVE[0], folder / "out.fits"
    output.write_bytes(b"old")
    check_failure(call("kernel", "convert", kernel, output), 2, "out.fits", "--overwrite")
    assert output.read_bytes() == b"old"
    assert call("kernel", "convert", kernel, output, "--overwrite").exit_code == 0
    assert read_kernel(output).shape == read_kernel(kernel).shape


@pytest.mark.parametrize(
    ("name", "says"),
    [("missing/out.fits", "no folder"), (".", "not a regular file"), ("out.fits.gz", "compressed")],
)
def test_convert_to_where_it_cannot_be(folder, name, says):
    before = described(folder)
    check_failure(call("kernel", "convert", NATIVE[0], folder / name), 3, says)
    assert described(folder) == before


@pytest.mark.parametrize("command", ["plot", "convert"])
def test_the_kernel_file_that_a_difference_names_is_an_input(folder, command):
    pytest.importorskip("matplotlib")
    named = folder / "A2_kernel.fits"
    before = described(folder)
    output = ("-o", named) if command == "plot" else (named,)
    result = call("kernel", command, folder / "A2_diff.fits.gz", *output, "--overwrite")
    check_failure(result, 2, "A2_kernel.fits", "is an input")
    assert described(folder) == before
