"""Borders of exact zeros: what has no data, and what is data."""

import numpy as np
import pytest

from diffdecor.fits.exposure import read_exposure
from diffdecor.fits.nodata import zero_border


@pytest.fixture
def image():
    return np.random.default_rng(3).normal(0.0, 1.0, (30, 40)).astype(np.float32)


def test_whole_rows_and_columns_and_what_is_connected_with_them(image):
    expected = np.zeros(image.shape, bool)
    expected[:2] = expected[:, -3:] = True
    expected[2:6, 10] = True  # a finger that touches the border
    image[expected] = 0
    image[15, 15] = image[29, 5] = image[20, 0] = 0  # pixels that happen to be 0
    np.testing.assert_array_equal(zero_border(image, "a"), expected)


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
    np.testing.assert_array_equal(zero_border(image, "a"), outside)


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
