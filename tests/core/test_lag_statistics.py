"""Statistics of whiteness against brute force, scipy and Monte Carlo."""

import math

import numpy as np
import pytest
from helpers.noise import gaussian_psf, mask_patterns, smooth_noise, uniformity
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from diffdecor.core.covariance import LagSums, lag_sums
from diffdecor.core.lag_statistics import (
    any_of,
    chi_square_probability,
    coefficients,
    matched_factor,
    normal_probability,
    psf_overlap,
    whiteness,
    without_bias,
    worst_block,
)
from diffdecor.core.local_level import without_level


@pytest.fixture
def rng():
    return np.random.default_rng(12)


def measured(image, sky, max_lag=14):
    """Sums of an image whose level has been removed, without the bias of that."""
    levelled = without_level((image * sky).astype(np.float32), sky)
    return without_bias(*levelled.lag_sums(max_lag))


@given(chi_square=st.floats(0, 3000), freedom=st.integers(1, 200))
def test_chi_square_is_that_of_scipy(chi_square, freedom):
    expected = stats.chi2.sf(chi_square, freedom)
    assert_allclose(chi_square_probability(chi_square, freedom), expected, rtol=1e-9, atol=1e-15)


@given(sigmas=st.floats(0, 30), number=st.integers(1, 1000))
def test_the_largest_of_several(sigmas, number):
    one = normal_probability(sigmas)
    assert_allclose(one, 2 * stats.norm.sf(sigmas), rtol=1e-10)
    assert_allclose(
        any_of(one, number), -np.expm1(number * np.log1p(-min(one, 1 - 1e-16))), rtol=1e-9
    )
    assert any_of(1.0, number) == 1.0


def test_coefficients_are_those_of_the_half_plane(rng):
    image = rng.normal(size=(40, 50))
    sums = lag_sums(image, np.ones(image.shape, dtype=bool), 7)
    rho, pairs, lags = coefficients(sums)
    assert len(rho) == 44
    assert {tuple(-lag) for lag in lags}.isdisjoint({tuple(lag) for lag in lags})
    z = image - image.mean()
    for value, number, (dy, dx) in zip(rho, pairs, lags, strict=True):
        first = z[: 40 - dy, max(0, -dx) : 50 - max(0, dx)]
        second = z[dy:, max(0, dx) : 50 - max(0, -dx)]
        assert number == first.size
        # The mean of all has been removed, and what that takes is given back.
        expected = (np.mean(first * second) + z.var() / z.size) / (z.var() * (1 + 1 / z.size))
        assert_allclose(value, expected, atol=1e-12)


def test_a_large_coefficient_is_found_where_it_is(rng):
    noise = rng.normal(size=(300, 300))
    image = noise + 0.2 * np.roll(noise, (2, -3), axis=(0, 1))
    found = whiteness(measured(image, np.ones(image.shape, dtype=bool)))
    assert found.largest_lag == (2, -3)
    assert found.largest == pytest.approx(0.2 / 1.04, abs=5 * found.error)
    assert found.error == pytest.approx(1 / 300, rel=0.05)
    assert found.probability < 1e-50
    assert found.largest_probability < 1e-50
    assert found.rms == pytest.approx(found.largest / math.sqrt(44), rel=0.05)


@pytest.mark.parametrize("pattern", ["none", "random50", "discs", "stripes", "checkerboard"])
def test_probabilities_of_white_noise_are_uniform(pattern):
    """`make whiteness` does the same with more images, and larger ones."""
    rng = np.random.default_rng(101)
    sky = mask_patterns((256, 256))[pattern]
    found = [whiteness(measured(rng.normal(size=sky.shape), sky)) for _ in range(60)]
    for mine in ([one.probability for one in found], [one.largest_probability for one in found]):
        assert uniformity(mine) > 0.001
        assert np.mean(np.array(mine) < 0.05) < 0.15


@pytest.mark.parametrize("width", [0.0, 1.0])
@pytest.mark.parametrize("pattern", ["none", "discs"])
def test_the_factor_is_right_to_its_error(width, pattern):
    """It is that of the noise's true covariance; the errors are neither too small nor too large."""
    rng, psf = np.random.default_rng(7), gaussian_psf(1.7)
    shape = 256, 256
    sky = mask_patterns(shape)[pattern]
    lags = np.arange(-14, 15)
    true = (
        np.exp(-np.add.outer(lags**2, lags**2) / (4 * width**2))
        if width
        else (np.equal.outer(lags, lags) & (lags == 0))
    )
    expected = math.sqrt(np.sum(true * psf_overlap(psf, 14)))
    pulls = []
    for _ in range(50):
        factor, error = matched_factor(measured(smooth_noise(rng, shape, width), sky), psf)
        pulls.append((factor - expected) / error)
    assert abs(np.mean(pulls)) < 0.6
    assert 0.7 < np.std(pulls) < 1.35


def test_the_factor_predicts_the_scatter_of_a_matched_filter(rng):
    shape, psf = (700, 700), gaussian_psf(1.5)
    kernel = np.zeros(shape)
    kernel[:25, :25] = psf / math.sqrt(np.sum(psf**2))
    for width in (0.0, 0.6, 1.2):
        noise = smooth_noise(rng, shape, width)
        significance = np.fft.irfft2(np.fft.rfft2(noise) * np.fft.rfft2(kernel), shape)
        factor, error = matched_factor(measured(noise, np.ones(shape, dtype=bool)), psf)
        # Both are measured in the same pixels: they agree better than their errors.
        assert factor == pytest.approx(significance.std(), abs=2 * error)
        assert error < 0.02


def test_the_factor_scales_with_the_claim(rng):
    image, sky, psf = (
        rng.normal(size=(256, 256)),
        np.ones((256, 256), dtype=bool),
        gaussian_psf(1.5),
    )
    once, twice = (matched_factor(measured(scale * image, sky), psf) for scale in (1.0, 2.0))
    assert twice[0] == pytest.approx(2 * once[0], rel=1e-5)


def test_the_sum_of_the_covariance(rng):
    """Of noise through a kernel: the power at frequency zero over the variance."""
    found = [
        whiteness(measured(smooth_noise(rng, (512, 512), 1.0), np.ones((512, 512), dtype=bool)))
        for _ in range(6)
    ]
    # The covariance exp(-r^2 / 4) has a sum of 4 pi.
    assert np.mean([one.covariance_factor for one in found]) == pytest.approx(4 * np.pi, rel=0.1)


def test_the_worst_block_is_found(rng):
    sky = np.ones((128, 128), dtype=bool)
    images = [rng.normal(size=sky.shape) for _ in range(10)]
    sums = [measured(image, sky) for image in images]
    together = LagSums(np.array([s.products for s in sums]), np.array([s.pairs for s in sums]))
    assert worst_block(together)[2] > 0.001
    sums[6] = measured(smooth_noise(rng, sky.shape, 0.5), sky)
    together = LagSums(np.array([s.products for s in sums]), np.array([s.pairs for s in sums]))
    number, rms, probability = worst_block(together)
    assert number == 6
    assert rms > 0.05
    assert probability < 1e-10


@pytest.mark.parametrize("image", [np.zeros((64, 64)), np.full((64, 64), 5.0)])
def test_without_noise_nothing_is_known(image):
    for sky in (np.ones(image.shape, dtype=bool), np.zeros(image.shape, dtype=bool)):
        sums = lag_sums(image, sky, 14)
        found = whiteness(sums)
        assert math.isnan(found.largest)
        assert found.lags == 0
        assert math.isnan(matched_factor(sums, gaussian_psf(1.5))[0])
    assert worst_block(sums[np.newaxis])[0] == -1
