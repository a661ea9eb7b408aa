"""Borders of exact zeros: what has no data, and what is data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from diffdecor.core.planes import LazyPlane, in_memory
from diffdecor.images import no_data
from diffdecor.images.no_data import zero_border
from diffdecor.images.read import read_exposure

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")


@pytest.fixture
def image():
    return np.random.default_rng(3).normal(0.0, 1.0, (30, 40)).astype(np.float32)


def test_whole_rows_and_columns_and_what_is_connected_with_them(image):
    expected = np.zeros(image.shape, bool)
    expected[:2] = expected[:, -3:] = True
    expected[2:6, 10] = True  # a finger that touches the border
    image[expected] = 0
    image[15, 15] = image[29, 5] = image[20, 0] = 0  # pixels that happen to be 0
    np.testing.assert_array_equal(in_memory(zero_border(image, "a")), expected)


def test_pixels_of_zero_without_a_whole_row_are_data(image):
    image[0, :39] = 0
    image[5:20, 5:20] = 0
    assert zero_border(image, "a") is None


@pytest.mark.parametrize("value", [0.0, np.nan, 1.0])
def test_images_of_one_value_have_no_border(value):
    assert zero_border(np.full((5, 6), value), "a") is None


def test_a_rotated_footprint(image):
    y, x = np.mgrid[:30, :40]
    outside = (y + x < 12) | (x == 0)
    image[outside] = 0
    np.testing.assert_array_equal(in_memory(zero_border(image, "a")), outside)


def test_a_border_is_flagged_and_has_no_variance(mef, image, caplog):
    caplog.set_level("INFO")
    image[:, :4] = 0
    path = mef(("", image))
    exposure = read_exposure(path, gain=1.0)
    value = exposure.mask_planes.value(["NO_DATA"])
    np.testing.assert_array_equal(exposure.mask == value, image == 0)
    assert np.isinf(exposure.variance[:, :4]).all()
    assert np.isfinite(exposure.variance[:, 4:]).all()
    assert "a border of 120 pixels of exactly 0 is NO_DATA (--no-zero-borders" in caplog.text
    as_data = read_exposure(path, gain=1.0, zero_borders=False)
    assert as_data.mask is None
    assert np.isfinite(as_data.variance).all()


def test_a_border_and_fill_values_together(mef, image):
    image[0] = 0
    image[9, 9] = np.float32(1e-30)
    mask = np.zeros(image.shape, "i4")
    mask[3, 3] = 2
    exposure = read_exposure(
        mef(("IMAGE", image, {"MASKVAL": 1e-30}), ("MASK", mask, {"MP_SAT": 1}))
    )
    value = exposure.mask_planes.value(["NO_DATA"])
    assert exposure.mask[9, 9] == value
    assert (exposure.mask[0] == value).all()
    assert exposure.mask[3, 3] == 2


def brute_force(image):
    """Return the border as it is defined, all at once."""
    frame = (np.s_[0, :], np.s_[-1, :], np.s_[:, 0], np.s_[:, -1])
    whole = [edge for edge in frame if not image[edge].any()]
    if not whole or not image.any():
        return None
    labels, _ = ndimage.label(image == 0)
    return np.isin(labels, [labels[edge][0] for edge in whole])


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 20)),
    seed=st.integers(0, 10**6),
    share=st.floats(0, 0.9),
    edges=st.sets(st.integers(0, 3)),
    height=st.integers(1, 9),
)
def test_borders_found_by_bands_are_those_found_at_once(shape, seed, share, edges, height):
    rng = np.random.default_rng(seed)
    image = np.where(rng.random(shape) < share, 0, rng.normal(size=shape)).astype("f4")
    for edge in edges:
        image[((0, slice(None)), (-1, slice(None)), (slice(None), 0), (slice(None), -1))[edge]] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(no_data._Border, "_ROWS", height)  # noqa: SLF001
        border = zero_border(image, "a")
    expected = brute_force(image)
    assert (border is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(in_memory(border), expected)
        np.testing.assert_array_equal(border[1:3], expected[1:3])


def test_a_labyrinth():
    walls = np.ones((41, 21), "f4")
    walls[0] = 0
    walls[:, 10] = 0  # a corridor down, and one that winds up and down beside it
    for column in range(12, 20, 2):
        walls[1:40, column] = 0
        walls[40 if column % 4 == 0 else 1, column - 2 : column + 1] = 0
    walls[1, 12] = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(no_data._Border, "_ROWS", 5)  # noqa: SLF001
        border = in_memory(zero_border(walls, "a"))
    np.testing.assert_array_equal(border, brute_force(walls))
    assert border[20, 18]


def test_hardly_anything_is_read_of_an_image_without_border(image):
    read = []
    plane = LazyPlane(image.shape, lambda rows: read.append(rows) or image[rows])
    assert zero_border(plane, "a") is None
    assert read == [slice(0, 1), slice(29, 30)]
