"""Correlation coefficients against direct sums and known noise, and sky."""

import numpy as np
import pytest
from helpers import oracle
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor.core.convolve import convolved
from diffdecor.core.interpolate import KernelField
from diffdecor.core.whiteness import autocorrelation, local_level, sky_pixels

EVERYWHERE = np.ones((300, 320), dtype=bool)


@pytest.fixture
def rng():
    return np.random.default_rng(30)


@pytest.mark.parametrize("shape", [(20, 23), (9, 30), (3, 4), (1, 12)])
def test_coefficients_are_sums_over_pairs(rng, shape):
    values, sky = rng.normal(2.0, 1.5, size=shape), rng.random(shape) < 0.7
    measured = autocorrelation(values, sky, 5)
    assert measured.pixels == sky.sum()
    for dy, dx in np.ndindex(11, 11):
        lag = dx - 5, dy - 5
        if abs(lag[0]) >= shape[1] or abs(lag[1]) >= shape[0]:
            assert np.isnan(measured.at(*lag))
            continue
        value, pairs = oracle.correlation(values, sky, *lag)
        assert_allclose(measured.at(*lag), value, atol=1e-12)
        assert_allclose(measured.error_at(*lag), pairs**-0.5 if pairs else np.nan)
    assert measured.at(0, 0) == pytest.approx(1)


def test_coefficients_of_filtered_noise(rng):
    """White noise through a kernel is correlated as the kernel with itself."""
    kernel = oracle.gaussian((5, 7), 1.0, centre=(3.4, 1.7))
    noise = convolved(rng.normal(size=(900, 900)), KernelField.constant(kernel, (3, 2)))
    measured = autocorrelation(noise, np.ones(noise.shape, dtype=bool), 3)
    overlap = oracle.convolved_stamps(kernel, kernel[::-1, ::-1])
    expected = overlap[4 - 3 : 4 + 4, 6 - 3 : 6 + 4] / np.sum(kernel**2)
    assert_allclose(measured.values, expected, atol=0.01)


def test_errors_of_white_noise_are_calibrated(rng):
    pulls = []
    for _ in range(30):
        values = rng.normal(size=(80, 90))
        sky = rng.random(values.shape) < 0.6
        measured = autocorrelation(values, sky, 4)
        pulls.append((measured.values / measured.errors)[:5].ravel()[:-5])
    pulls = np.array(pulls)
    assert pulls.std() == pytest.approx(1, abs=4 / np.sqrt(2 * pulls.size))
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)


def test_rms_of_white_noise_is_that_of_the_errors(rng):
    measured = autocorrelation(rng.normal(size=(300, 320)), EVERYWHERE, 6)
    expected = np.sqrt(np.mean(np.delete(measured.errors.ravel(), 84) ** 2))
    assert measured.rms() == pytest.approx(expected, rel=0.25)  # 84 independent coefficients


@pytest.mark.parametrize("values", [np.zeros((8, 8)), np.full((8, 8), 3.0)])
def test_an_image_without_noise_has_no_correlation(values):
    assert np.isnan(autocorrelation(values, np.ones((8, 8), dtype=bool), 1).at(1, 0))


def test_no_sky_no_correlation():
    measured = autocorrelation(np.ones((8, 8)), np.zeros((8, 8), dtype=bool), 1)
    assert measured.pixels == 0
    assert np.isnan(measured.rms())


def test_sky_is_normalised_and_level(rng):
    """Depth steps, a sloping sky and a level do not count as correlation."""
    y, x = np.indices((300, 320))
    variance = np.where(x < 150, 1.0, 9.0)
    image = rng.normal(size=x.shape) * np.sqrt(variance) + 50 + 0.002 * y
    values, sky = sky_pixels(image, EVERYWHERE, variance)
    assert sky.mean() > 0.98
    assert values[sky].std() == pytest.approx(1, abs=0.02)
    measured = autocorrelation(values, sky, 1)
    for lag in ((1, 0), (0, 1), (1, 1)):
        assert abs(measured.at(*lag)) < 4.5 * measured.error_at(*lag)


def test_sources_are_not_sky(rng):
    image = rng.normal(size=(300, 320))
    source = 400 * oracle.gaussian(31, 2.0)
    image[100:131, 200:231] += source
    image[30:61, 40:71] -= source
    image[200, 200] = 1e5
    values, sky = sky_pixels(image, EVERYWHERE, None)
    loud = np.abs(source) > 4.5
    assert not sky[100:131, 200:231][loud].any()
    assert not sky[30:61, 40:71][loud].any()
    assert not sky[200, 200]
    assert sky.mean() > 0.97
    measured = autocorrelation(values, sky, 1)
    assert abs(measured.at(1, 0)) < 5 * measured.error_at(1, 0)


def test_what_is_not_usable_is_not_sky(rng):
    image = rng.normal(size=(300, 320))
    variance = np.ones(image.shape)
    usable = EVERYWHERE.copy()
    usable[:10], image[20], variance[30], variance[31], variance[32] = (
        False,
        np.nan,
        0,
        np.inf,
        np.nan,
    )
    values, sky = sky_pixels(image, usable, variance)
    assert not sky[[5, 20, 30, 31, 32]].any()
    assert np.isfinite(values).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 200), (48, 48), (97, 150)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_level_is_the_median_of_blocks(rng, shape, dtype):
    values, sky = rng.normal(9, 3, size=shape).astype(dtype), rng.random(shape) < 0.6
    values[~sky] = np.nan
    level = local_level(values, sky)
    for y in range(0, shape[0], 48):
        for x in range(0, shape[1], 48):
            block = np.s_[y : y + 48, x : x + 48]
            inside = values[block][sky[block]].astype(np.float64)
            expected = np.median(inside) if inside.size > 48 else 0.0
            assert (level[block] == expected).all()


def test_huge_pixels_are_no_obstacle(rng):
    image = rng.normal(size=(300, 320))
    image[50, 60], image[50, 61], image[200, 10] = 1e200, -1e200, 1e300
    values, sky = sky_pixels(image, EVERYWHERE, None)
    assert not sky[50, 60:62].any()
    assert not sky[200, 10]
    assert sky.mean() > 0.98
    assert values[sky].std() == pytest.approx(1, abs=0.02)


def test_pixels_in_single_precision_give_the_same(rng):
    image = rng.normal(size=(300, 320)).astype(np.float32)
    double = sky_pixels(image.astype(np.float64), EVERYWHERE, None)
    for one, other in zip(sky_pixels(image, EVERYWHERE, None), double, strict=True):
        np.testing.assert_array_equal(one, other)


def test_many_pixels_are_sampled(rng):
    """The spread of a large image comes from some of its pixels, wherever they can be."""
    image = rng.normal(size=(600, 600))
    usable = np.zeros(image.shape, dtype=bool)
    usable[:, ::2] = True
    _, sky = sky_pixels(image, usable, None)
    # A pixel goes, with 24 around it, for 4 sigma in its own value or in the mean around it.
    assert sky[usable].mean() == pytest.approx(1 - 0.002, abs=0.002)


def test_the_level_of_whole_numbers_is_that_of_the_same_floats(rng):
    pixels = rng.integers(900, 1100, (60, 130))
    sky = rng.random(pixels.shape) < 0.9
    assert_array_equal(local_level(pixels, sky), local_level(pixels.astype(float), sky))
