"""Kernels of lsst.images: the package's own stamps, all types of fields, and damaged files."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.closeness import assert_same
from helpers.lsst_images import edited
from helpers.trees import put
from numpy.polynomial.chebyshev import chebval2d
from scipy.interpolate import Akima1DInterpolator

from diffdecor.errors import DiffdecorError, InputError, KernelError
from diffdecor.kernels.native_write import native_hdus
from diffdecor.kernels.registry import read_kernel

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

FOLDER = Path(__file__).parents[1] / "data" / "lsst-images"
DIFFERENCE = FOLDER / "difference.fits"
VERSIONED = {"schema_version": "1.0.0", "min_read_version": 1}
BOX = {"y": {"start": 230, "stop": 410}, "x": {"start": 380, "stop": 580}}
#: Box position of the first pixel.
FIRST = np.array([400, 250])
PLACES = [(0.0, 0.0), (149.0, 129.0), (70.25, 33.5), (12.0, 100.0)]


@pytest.fixture
def kernel_of(tmp_path):
    """Read the kernel of the sample with a changed tree."""

    def read(change=None, **how):
        file = edited(DIFFERENCE, tmp_path / "edited.fits", change, **how)
        return read_kernel(file, file)

    return read


def check_stamps(folder):
    kernel = read_kernel(folder / "difference.fits", folder / "difference.fits")
    assert kernel.format == "lsst-images"
    assert kernel.image_shape == (130, 150)
    assert kernel.side(3, 3) == "template"
    with np.load(FOLDER / "expected.npz") as expected:
        for (x, y), stamp in zip(
            expected["kernel_xy_array"], expected["kernel_stamps_convolution"], strict=True
        ):
            assert_same(kernel.stamp(x, y), stamp, 1e-12)


def test_stamps():
    check_stamps(FOLDER)


@pytest.mark.reference
@pytest.mark.parametrize("version", ["", "current"])
def test_stamps_of_two_versions_of_the_package(reference, version):
    check_stamps(reference / "lsst-images" / version)


def test_a_kernel_without_its_difference_is_that_of_its_own_image():
    alone, carried = read_kernel(DIFFERENCE), read_kernel(DIFFERENCE, DIFFERENCE)
    assert_same(alone.stamp(20, 30), carried.stamp(20, 30), 1e-14)


def test_the_kernel_of_a_difference_that_begins_elsewhere(tmp_path):
    """The positions are those of the difference, whichever file says where it begins."""

    def moved(tree):
        for part in ("image", "mask", "variance"):
            tree[part]["yx0"] = [260, 420]

    there = edited(DIFFERENCE, tmp_path / "moved.fits", moved)
    plain = fits.PrimaryHDU(np.zeros((130, 150)))
    plain.header.update({"LTV1": -420.0, "LTV2": -260.0})
    plain.writeto(tmp_path / "plain.fits")
    expected = read_kernel(DIFFERENCE).stamp(40, 30)
    for difference in (there, tmp_path / "plain.fits"):
        assert_same(read_kernel(DIFFERENCE, difference).stamp(20, 20), expected, 1e-13)


# --- fields


def polynomial(coefficients, bounds=BOX):
    return {
        **VERSIONED,
        "field_type": "CHEBYSHEV",
        "bounds": bounds,
        "coefficients": {"data": coefficients, "datatype": "float64"},
        "unit": None,
    }


def spline(values, x, y):
    data = {"data": values, "datatype": "float64"}
    return {**VERSIONED, "field_type": "SPLINE", "bounds": BOX, "data": data, "x": x, "y": y}


def together(kind, *operands):
    return {**VERSIONED, "field_type": kind, "operands": list(operands)}


def value_of(field, x, y):
    """Evaluate a field at one box position: slow, and written apart from the package."""
    kind = field["field_type"]
    if kind == "SUM":
        return sum(value_of(one, x, y) for one in field["operands"])
    if kind == "PRODUCT":
        return np.prod([value_of(one, x, y) for one in field["operands"]])
    if kind == "CHEBYSHEV":
        tx, ty = (
            (2 * v - (b["start"] + b["stop"] - 1)) / (b["stop"] - b["start"])
            for v, b in ((x, field["bounds"]["x"]), (y, field["bounds"]["y"]))
        )
        return chebval2d(ty, tx, field["coefficients"]["data"])
    table, nodes, along = np.array(field["data"]["data"]), [], []
    for n, node in enumerate(field["x"]):
        good = np.isfinite(table[:, n])
        if good.any():
            nodes.append(node)
            along.append(akima(np.array(field["y"])[good], table[good, n], y))
    return akima(nodes, along, x)


def akima(nodes, values, position):
    if len(nodes) == 1:
        return values[0]
    return Akima1DInterpolator(nodes, values)(position, extrapolate=True)


TILTED = polynomial([[1.0, 0.3], [-0.2, 0.1], [0.05, 0.0]])
CURVED = polynomial([[0.2, -0.1, 0.4, 0.02]])
ELSEWHERE = polynomial(
    [[0.5, 0.1], [0.2, 0.3]], {"y": {"start": 0, "stop": 900}, "x": {"start": 100, "stop": 600}}
)
RNG = np.random.default_rng(3)
TABLE = RNG.normal(1.0, 0.2, (5, 6))
HOLES = np.where(RNG.random((5, 6)) < 0.3, np.nan, TABLE)
HOLES[:, 2] = np.nan
HOLES[1:, 4] = np.nan
NODES_X, NODES_Y = [390.0, 420.0, 455.0, 490.0, 530.0, 545.5], [255.0, 280.0, 310.0, 350.0, 371.0]
WAVY = spline(TABLE.tolist(), NODES_X, NODES_Y)
FIELDS = {
    "polynomials": [TILTED, CURVED, TILTED],
    "two domains": [TILTED, ELSEWHERE, CURVED],
    "spline": [TILTED, spline(TABLE.tolist(), NODES_X, NODES_Y), CURVED],
    "spline with holes": [spline(HOLES.tolist(), NODES_X, NODES_Y), CURVED, TILTED],
    "one node": [spline([[0.7]], [450.0], [300.0]), CURVED, TILTED],
    "one row, two columns": [spline([[0.7, 0.9]], [440.0, 450.0], [300.0]), CURVED, TILTED],
    "sum": [together("SUM", TILTED, CURVED), CURVED, TILTED],
    "product": [together("PRODUCT", TILTED, CURVED, TILTED), CURVED, TILTED],
    "product of two domains": [together("PRODUCT", TILTED, ELSEWHERE), CURVED, TILTED],
    "nested": [
        together("SUM", together("PRODUCT", WAVY, TILTED), CURVED),
        CURVED,
        TILTED,
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", FIELDS)
def test_fields(case, kernel_of):
    fields = FIELDS[case]
    kernel = kernel_of(lambda tree: tree["kernel"].update(spatial=fields))
    basis = fits.getdata(DIFFERENCE, "KERNEL/BASIS")[:, ::-1, ::-1]
    for place in PLACES:
        weights = [value_of(field, *(FIRST + place)) for field in fields]
        assert_same(kernel.stamp(*place), np.tensordot(weights, basis, axes=1), 1e-12)


@pytest.mark.parametrize("case", ["polynomials", "sum", "product", "spline", "two domains"])
def test_rebuilt_with_every_kind_of_field(case, kernel_of):
    """Every pixel of the rebuilt image has the kernel of its own position."""
    from diffdecor.decorrelation.rebuild import rebuild

    kernel = kernel_of(lambda tree: tree["kernel"].update(spatial=FIELDS[case]))
    template = np.random.default_rng(4).normal(size=(130, 150))
    rebuilt = rebuild(kernel, np.zeros((130, 150)), template)
    for x, y in ((6, 6), (80, 41), (143, 123)):
        part = template[y - 6 : y + 7, x - 6 : x + 7]
        np.testing.assert_allclose(rebuilt[y, x], -(kernel.stamp(x, y)[::-1, ::-1] * part).sum(),
                                   atol=1e-10)  # fmt: skip


def test_polynomials_can_be_written_in_the_native_format(tmp_path, kernel_of):
    kernel = kernel_of(lambda tree: tree["kernel"].update(spatial=FIELDS["product"]))
    native_hdus(kernel).writeto(tmp_path / "native.fits")
    read = read_kernel(tmp_path / "native.fits")
    for place in PLACES:
        assert_same(read.stamp(*place), kernel.stamp(*place), 1e-12)


def test_splines_have_no_native_form(kernel_of):
    kernel = kernel_of(lambda tree: tree["kernel"].update(spatial=FIELDS["spline"]))
    with pytest.raises(KernelError, match="no native form"):
        native_hdus(kernel)


RING = [[379.5, 229.5], [379.5, 409.5], [579.5, 409.5], [579.5, 229.5], [379.5, 229.5]]
OTHER_BOUNDS = {
    "polygon": {"type": "Polygon", "coordinates": [RING]},
    "cut corners": {
        "type": "Polygon",
        "coordinates": [[[380.2, 229.6], [379.6, 409.4], [579.4, 400.0], [380.2, 229.6]]],
    },
    "several": {"type": "MultiPolygon", "coordinates": [[RING[:3] + RING[:1]], [RING]]},
    "intersection": {"a": BOX, "b": {axis: {"start": 0, "stop": 900} for axis in "xy"}},
}  # fmt: skip


@pytest.mark.parametrize("case", [name for name in OTHER_BOUNDS if name != "intersection"])
def test_bounds_that_are_no_box_stand_for_the_box_around_them(case, kernel_of):
    bounds = OTHER_BOUNDS[case]
    kernel = kernel_of(
        lambda tree: [f.update(bounds=bounds) for f in tree["kernel"]["spatial"]] and None
    )
    assert_same(kernel.stamp(20, 70), read_kernel(DIFFERENCE).stamp(20, 70), 1e-12)


def test_the_intersection_of_bounds(kernel_of):
    bounds = OTHER_BOUNDS["intersection"]
    both = {"y": {"start": 230, "stop": 410}, "x": {"start": 380, "stop": 580}}
    first = kernel_of(
        lambda tree: [f.update(bounds=bounds) for f in tree["kernel"]["spatial"]] and None
    )
    second = kernel_of(
        lambda tree: [f.update(bounds=both) for f in tree["kernel"]["spatial"]] and None
    )
    assert_same(first.stamp(20, 70), second.stamp(20, 70), 1e-14)


@pytest.mark.parametrize(("center", "origin"), [((2, 9), (10, 3)), ((-3, 14), (15, -2))])
def test_a_center_anywhere(center, origin, kernel_of):
    x, y = center
    kernel = kernel_of(lambda tree: tree["kernel"].update(center_x=x, center_y=y))
    assert kernel.origin == origin


def test_the_center_is_in_the_middle_by_default(kernel_of):
    def change(tree):
        del tree["kernel"]["center_x"], tree["kernel"]["center_y"]

    assert kernel_of(change).origin == (6, 6)


def test_higher_schemas_and_unknown_keys_do_not_matter(kernel_of):
    def change(tree):
        tree["schema_version"] = tree["kernel"]["schema_version"] = "1.7.3"
        tree["kernel"]["new"] = {"x": 1}

    assert_same(kernel_of(change).stamp(3, 4), read_kernel(DIFFERENCE).stamp(3, 4), 1e-14)


# --- what is refused


FIELD = ("kernel", "spatial", 0)
REFUSED = {
    "no kernel": (put("kernel", value=None), "give the kernel file with --kernel"),
    "type": (put("kernel", "kernel_type", value="SUM_OF_SPLINES"), "unknown type 'SUM_OF_SPLINES'"),
    "field": (put(*FIELD, "field_type", value="ZERNIKE"), "unknown type 'ZERNIKE'"),
    "version": (put("kernel", "min_read_version", value=2), "min_read_version = 2"),
    "field version": (put(*FIELD, "min_read_version", value=2), "min_read_version = 2"),
    "no version": (put("kernel", "schema_version", value=None), "no schema_version"),
    "source": (put("kernel", "basis", "source", value="fits:KERNEL/BASE"), "is not in the file"),
    "shape": (put("kernel", "basis", "shape", value=[3, 13, 12]), "has shape"),
    "fields": (put("kernel", "spatial", value=[TILTED]), "3 basis images, but 1 fields"),
    "ragged": (put(*FIELD, "coefficients", "data", value=[[1.0], [2.0, 3.0]]), "not an array"),
    "nan": (put(*FIELD, "coefficients", "data", value=[[float("nan")]]), "finite"),
    "empty bounds": (put(*FIELD, "bounds", "x", "stop", value=380), "are empty"),
    "center": (put("kernel", "center_x", value=6.5), "not a whole number"),
    "nodes": (put(*FIELD, value=spline([[1.0, 2.0]], [5.0, 5.0], [1.0])), "do not rise"),
    "holes": (put(*FIELD, value=spline([[float("nan")]], [5.0], [1.0])), "no value"),
    "sum of nothing": (put(*FIELD, value=together("SUM")), "a SUM of nothing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, kernel_of):
    change, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as raised:
        kernel_of(change)
    assert "edited.fits" in str(raised.value)


def test_fields_without_end_are_refused(kernel_of):
    deep = TILTED
    for _ in range(40):
        deep = together("SUM", deep, spline([[1.0]], [1.0], [1.0]))
    with pytest.raises(InputError, match="fields in one another"):
        kernel_of(put(*FIELD, value=deep))


def leaves(value, path=()):
    """Return the paths to everything in a tree, a few of every list."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = list(enumerate(value))[:2]
    for key, inner in items:
        yield from leaves(inner, (*path, key))


JUNK = (None, -1, 1e300, "junk", [], {}, [[1]], True, {"source": "fits:MASK"}, float("nan"))


def test_damage_is_one_clear_error():
    """Whatever stands at a place in the tree of a kernel: it is read, or a clear error."""
    from diffdecor.fits.lsst_images import Node
    from diffdecor.kernels.lsst_fields import read_field
    from diffdecor.kernels.lsst_images import _basis

    said = []
    with fits.open(DIFFERENCE, do_not_scale_image_data=True) as hdus:
        tree = json.loads(bytes(hdus["JSON"].data["JSON"][0]))["kernel"]
        tree["spatial"] = [FIELDS["nested"][0], spline(HOLES.tolist(), NODES_X, NODES_Y), TILTED]
        tree["spatial"][2]["bounds"] = OTHER_BOUNDS["polygon"]
        for path in leaves(tree):
            for junk in JUNK if path else ():
                broken = copy.deepcopy(tree)
                put(*path, value=junk)(broken)
                try:
                    node = Node(hdus, "x.fits", "kernel", broken).checked()
                    if path[0] in {"basis", "center_x", "center_y"}:
                        _basis(node)
                    for field in map(read_field, node.nodes("spatial")):
                        with np.errstate(all="ignore"):
                            field.grid(np.array([500.0]), np.array([300.0]))
                except DiffdecorError as error:
                    said.append(str(error))
    assert said
    assert all(text.startswith("x.fits: ") for text in said)


def test_no_scipy_where_there_are_no_splines():
    code = (
        "import sys\n"
        "from diffdecor.kernels.registry import read_kernel\n"
        f"read_kernel({str(DIFFERENCE)!r}).stamp(3, 3)\n"
        "print('scipy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
