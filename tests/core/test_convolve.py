"""Block convolution against direct sums."""

import numpy as np
import pytest
from helpers import oracle
from helpers.closeness import assert_same
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from diffdecor.core import convolve as module
from diffdecor.core.convolve import Convolution, best_side, convolved
from diffdecor.core.fourier import fast_length
from diffdecor.core.interpolate import KernelField, SquaredField
from diffdecor.core.planes import LazyPlane
from diffdecor.core.spans import spans

EDGES = ["extend", "zero"]


@pytest.fixture
def rng():
    return np.random.default_rng(21)


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("origin", [(4, 3), (0, 0), (8, 5), (2, 1)])
def test_every_origin(rng, edges, origin):
    plane, stamp = rng.normal(size=(33, 26)), rng.normal(size=(6, 9))
    result = convolved(plane, KernelField.constant(stamp, origin), edges=edges)
    assert_allclose(result, oracle.convolved(plane, stamp, origin, edges), atol=1e-12)


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (7, 1), (2, 2), (12, 5), (21, 21)])
def test_every_kernel_shape(rng, edges, shape):
    plane, stamp = rng.normal(size=(17, 22)), rng.normal(size=shape)
    origin = (shape[1] // 2, shape[0] // 2)
    result = convolved(plane, KernelField.constant(stamp, origin), edges=edges)
    assert_allclose(result, oracle.convolved(plane, stamp, origin, edges), atol=1e-12)


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 1), (2, 3), (5, 40)])
def test_planes_smaller_than_the_kernel(rng, edges, shape):
    plane, stamp = rng.normal(size=shape), rng.normal(size=(15, 13))
    result = convolved(plane, KernelField.constant(stamp, (6, 7)), edges=edges)
    assert_allclose(result, oracle.convolved(plane, stamp, (6, 7), edges), atol=1e-12)


@oracle.EXAMPLES
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kernel=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    where=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    tile=st.integers(3, 50),
    edges=st.sampled_from(EDGES),
)
def test_tiles_leave_no_trace(shape, kernel, where, tile, edges):
    """Whatever the tiles, the result is the direct sum."""
    rng = np.random.default_rng(sum(shape))
    plane, stamp = rng.normal(size=shape), rng.normal(size=kernel)
    origin = (int(where[0] * (kernel[1] - 1)), int(where[1] * (kernel[0] - 1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TILE", tile)
        result = convolved(plane, KernelField.constant(stamp, origin), edges=edges)
    assert_allclose(result, oracle.convolved(plane, stamp, origin, edges), atol=1e-11)


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([0, 39], [0, 30]),
        ([0, 11, 17, 18, 39], [0, 14, 30]),
        ([3.5, 20.25, 30.75], [7.5, 8.5]),
        ([5], [2, 28]),
        ([-10, 60], [40, 50]),
    ],
)
def test_varying_kernel_is_bilinear_at_every_pixel(rng, edges, x, y):
    plane = rng.normal(size=(31, 40))
    stamps = rng.normal(size=(len(y), len(x), 4, 5))
    field = KernelField(np.array(x, float), np.array(y, float), stamps, (1, 2))

    def bilinear(column, row):
        across = [np.interp(column, x, np.eye(len(x))[n]) for n in range(len(x))]
        along = [np.interp(row, y, np.eye(len(y))[n]) for n in range(len(y))]
        return np.einsum("y,x,yxji->ji", along, across, stamps)

    expected = oracle.convolved_varying(plane, bilinear, (1, 2), edges)
    assert_allclose(convolved(plane, field, edges=edges), expected, atol=1e-12)
    assert_allclose(field.at(12.3, 9.9), bilinear(12.3, 9.9), atol=1e-13)


def test_equal_kernels_everywhere_are_one_kernel(rng):
    plane, stamp = rng.normal(size=(60, 70)), rng.normal(size=(5, 5))
    stamps = np.broadcast_to(stamp, (3, 4, 5, 5))
    field = KernelField(np.array([0.0, 9, 40, 69]), np.array([0.0, 33, 59]), stamps, (2, 2))
    assert_allclose(
        convolved(plane, field), convolved(plane, KernelField.constant(stamp, (2, 2))), atol=1e-12
    )


@pytest.mark.parametrize("most", [200, 216, 409, 800])
@pytest.mark.parametrize("margins", [0, 20, 44, 90, 300])
def test_the_best_side_wastes_least_of_a_transform(most, margins):
    def wasted(side):
        parts = -(-side // max(module.TILE, 5 * margins))
        padded = -(-side // parts) + margins
        length = fast_length(-(-padded // 32) * 32)
        return 1 - side / parts / length

    side = best_side(most, margins)
    assert most - most // 8 <= side <= most
    assert wasted(side) == min(wasted(one) for one in range(most - most // 8, most + 1))


@oracle.EXAMPLES
@given(
    length=st.integers(1, 2000),
    nodes=st.lists(st.floats(-50, 2100), min_size=1, max_size=6, unique=True).map(sorted),
    longest=st.integers(1, 300),
)
def test_spans_partition_an_axis_at_the_nodes(length, nodes, longest):
    parts = spans(np.array(nodes), length, longest)
    pixels = [pixel for part in parts for pixel in range(part.start, part.stop)]
    assert pixels == list(range(length))
    for part in parts:
        assert len(part) <= longest
        if len(nodes) == 1:
            assert len(part.corners) == 1
        else:
            assert not any(part.start < node < part.stop - 1 for node in nodes)
            assert part.lower <= part.start
            assert part.stop - 1 <= part.upper


def test_planes_are_read_by_bands_of_rows(rng):
    pixels = rng.normal(size=(900, 40))
    read = []

    def rows(wanted):
        read.append(wanted.stop - wanted.start)
        return pixels[wanted]

    field = KernelField.constant(oracle.gaussian(11, 2), (5, 5))
    convolution = Convolution((LazyPlane(pixels.shape, rows), field), precision="double")
    bands = convolution.bands
    found = np.concatenate([convolution[band] for band in bands])
    assert max(read) <= module.TILE
    assert [band.start for band in bands] == [0, *(band.stop for band in bands[:-1])]
    assert_same(found, convolved(pixels, field))


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("origin", [(1, 0), (0, 1), (1, 1), (2, 3)])
def test_any_rows_are_those_of_the_whole(rng, edges, origin):
    """Also single rows at the border, where as many rows are read as lie in the band."""
    plane, stamp = rng.normal(size=(9, 7)), rng.normal(size=(2, 2))
    convolution = Convolution(
        (plane, KernelField.constant(stamp, origin)), edges=edges, precision="double"
    )
    expected = oracle.convolved(plane, *_grown(stamp, origin), edges)
    for start in range(9):
        for stop in range(start + 1, 10):
            assert_allclose(convolution[start:stop], expected[start:stop], atol=1e-12)


def _grown(stamp, origin):
    """The stamp in zeros, so that its origin lies in it."""
    whole = np.zeros((5, 5))
    whole[:2, :2] = stamp
    return whole, origin


def test_the_sum_of_planes_each_with_its_kernel(rng):
    planes = [rng.normal(size=(80, 70)) for _ in range(2)]
    stamps = [rng.normal(size=(3, 5)), rng.normal(size=(7, 4))]
    origins = [(1, 0), (2, 6)]
    total = Convolution(
        *(
            (plane, KernelField.constant(stamp, origin))
            for plane, stamp, origin in zip(planes, stamps, origins, strict=True)
        ),
        precision="double",
    )
    expected = sum(
        oracle.convolved(plane, stamp, origin, "extend")
        for plane, stamp, origin in zip(planes, stamps, origins, strict=True)
    )
    assert_allclose(total[0:80], expected, atol=1e-12)


def test_a_plane_may_be_a_convolution_itself(rng):
    plane = rng.normal(size=(60, 50))
    field = KernelField.constant(oracle.gaussian(5, 1.0), (2, 2))
    once = Convolution((plane, field), precision="double")
    inner = LazyPlane((60, 50), lambda rows: once[rows])
    twice = Convolution((plane, field), (inner, field), precision="double")
    expected = convolved(plane, field) + convolved(convolved(plane, field), field)
    assert_allclose(twice[0:60], expected, atol=1e-12)


def test_margins_are_what_the_kernel_reaches_over():
    field = KernelField.constant(np.ones((4, 7)), (1, 3))
    impulse = np.zeros((21, 21))
    impulse[10, 10] = 1
    rows, columns = np.nonzero(convolved(impulse, field, edges="zero") > 0.5)
    left, right, bottom, top = field.margins
    # A pixel x takes what lies from x - left to x + right.
    assert (columns.max() - 10, 10 - columns.min()) == (left, right)
    assert (rows.max() - 10, 10 - rows.min()) == (bottom, top)


@pytest.mark.parametrize("origin", [(-3, 1), (9, 2), (2, -4), (1, 8), (-2, 9)])
def test_a_kernel_beside_its_origin(origin):
    rng = np.random.default_rng(17)
    plane, stamp = rng.normal(size=(31, 37)), rng.normal(size=(3, 4))
    found = convolved(plane, KernelField.constant(stamp, origin), edges="zero")
    y, x = 15, 18
    expected = sum(
        stamp[j, i] * plane[y - (j - origin[1]), x - (i - origin[0])]
        for j in range(3)
        for i in range(4)
    )
    assert found[y, x] == pytest.approx(expected, rel=1e-10)


def test_tiles_of_one_value_are_the_sums_of_their_kernels(rng, monkeypatch):
    """Nothing is transformed there, and the result is the same as where something is."""
    monkeypatch.setattr(module, "TILE", 32)
    x, y = np.array([0.0, 50.0, 119.0]), np.array([0.0, 70.0, 99.0])
    field = SquaredField(KernelField(x, y, rng.normal(size=(3, 3, 5, 7)), (3, 1)))
    plane = np.full((100, 120), 3.0)
    found = convolved(plane, field, edges="zero")
    plane[::7, ::9] += 1e-9
    assert_allclose(found, convolved(plane, field, edges="zero"), atol=1e-6)


@pytest.mark.parametrize("constant", [True, False])
def test_only_tiles_with_wanted_pixels_are_computed(rng, monkeypatch, constant):
    monkeypatch.setattr(module, "TILE", 32)
    plane, stamp = rng.normal(size=(100, 120)), rng.normal(size=(5, 5))
    field = KernelField.constant(stamp, (2, 2))
    if not constant:
        x, y = np.array([0.0, 119.0]), np.array([0.0, 99.0])
        field = KernelField(x, y, np.broadcast_to(stamp, (2, 2, 5, 5)), (2, 2))
    wanted = np.zeros(plane.shape, bool)
    wanted[40, 60:70] = True
    convolution = Convolution((plane, field), precision="double", where=wanted)
    found = np.concatenate([convolution[rows] for rows in convolution.bands])
    assert_allclose(found[wanted], convolved(plane, field)[wanted], atol=1e-12)
    assert not found[:5].any()
    assert not found[:, :20].any()


def test_rows_read_across_bands_are_the_same(rng):
    """Bands are what costs least, not what must be read."""
    x, y = np.array([0.0, 119.0]), np.array([0.0, 599.0])
    field = KernelField(x, y, rng.normal(size=(2, 2, 5, 5)), (2, 2))
    plane = rng.normal(size=(600, 120))
    convolution = Convolution((plane, field), precision="double")
    assert len(convolution.bands) == 3
    expected = convolved(plane, field)
    for rows in (slice(150, 270), slice(0, 230), slice(590, 600), slice(100, 590)):
        assert_allclose(convolution[rows], expected[rows], atol=1e-11)
