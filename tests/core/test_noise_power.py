"""Noise powers: from covariances and lag images, and back."""

import numpy as np
import pytest

from diffdecor.core.covariance import LagSums, lag_sums
from diffdecor.core.noise_power import (
    NoisePower,
    of_unit_variance,
    power_of_sums,
    spectrum_of_lags,
)
from diffdecor.core.realisation import noise_realisation, white_noise
from diffdecor.core.spectrum import MAX_LAG, SIZE, LogSpectrum, half_plane_lags


def spectrum(seed=1, strength=0.3):
    """A spectrum without any symmetry but that of all noise."""
    lags = half_plane_lags(6)
    length = np.hypot(*lags.T)
    random = np.random.default_rng(seed).normal(size=(1, len(lags)))
    coefficients = strength * random * np.exp(-length / 2) * (length <= 3)
    return of_unit_variance(LogSpectrum(lags, coefficients))


def kernel():
    """A kernel of unit energy that is neither even nor equal along both axes."""
    stamp = np.zeros((7, 7))
    stamp[3, 3], stamp[1, 3], stamp[4, 5], stamp[2, 2] = 1.0, 0.2, 0.4, 0.3
    return stamp / np.sqrt((stamp**2).sum())


def lag_image(stamp, reach):
    """The covariance of white noise convolved with a stamp, by its definition."""
    size = 2 * reach + stamp.shape[0]
    padded = np.zeros((size, size))
    padded[reach:-reach, reach:-reach] = stamp
    offsets = range(-reach, reach + 1)
    shifted = [[np.roll(padded, (dy, dx), (0, 1)) for dx in offsets] for dy in offsets]
    return np.array([[(padded * other).sum() for other in row] for row in shifted])


@pytest.mark.parametrize("reach", [8, 20, 31])
def test_a_lag_image_gives_the_power_of_its_noise(reach):
    found, moved = spectrum_of_lags(2.5 * lag_image(kernel(), reach))
    expected = np.abs(np.fft.rfft2(kernel(), (SIZE, SIZE))) ** 2
    np.testing.assert_allclose(found.power()[0], expected, rtol=1e-6)
    assert moved == 0
    np.testing.assert_allclose(found.covariance(8)[0], lag_image(kernel(), 8), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_lag_image_of_a_spectrum_gives_it_back(seed):
    known = spectrum(seed)
    found, moved = spectrum_of_lags(known.covariance(MAX_LAG)[0])
    np.testing.assert_allclose(found.power(), known.power(), rtol=1e-6)
    assert moved == 0


def test_every_symmetric_positive_power_on_the_grid_is_reproduced():
    random = 0.3 * np.random.default_rng(2).normal(size=(SIZE, SIZE))
    power = np.exp(random + random[-np.arange(SIZE)][:, -np.arange(SIZE)])
    # Its covariance reaches to lag 32, which a lag image of odd size cannot hold.
    torus = np.fft.ifft2(power).real
    torus[SIZE // 2], torus[:, SIZE // 2] = 0, 0
    offsets = np.arange(-MAX_LAG, MAX_LAG + 1)
    found, _ = spectrum_of_lags(torus[offsets[:, np.newaxis], offsets])
    expected = np.fft.rfft2(torus).real / torus[0, 0]
    known = expected > 2 * max(0, -expected.min())
    assert known.mean() > 0.5
    scale = found.power()[0][known] / expected[known]
    np.testing.assert_allclose(scale, scale[0], rtol=1e-10)


def test_a_covariance_that_is_cut_off_stays_positive():
    offsets = np.arange(-6, 7)
    wide = np.exp(-(offsets**2 + offsets[:, np.newaxis] ** 2) / 64.0)
    found, moved = spectrum_of_lags(wide)
    assert moved > 0.01
    assert np.isfinite(found.power()).all()
    assert found.covariance(0)[0, 0, 0] == pytest.approx(1.0, rel=1e-12)


def test_the_power_of_sums_is_that_of_the_noise():
    noise = noise_realisation(kernel(), np.full((700, 600), 18.0), seed=5)[0:700]
    sums = lag_sums(noise.astype(np.float64), np.ones(noise.shape, bool), MAX_LAG)
    found = power_of_sums(sums)
    assert found.absolute
    assert found.variance == pytest.approx(18.0, rel=0.02)
    expected = np.abs(np.fft.rfft2(kernel(), (SIZE, SIZE))) ** 2
    apart = np.log(found.spectrum.power()[0] / expected)
    assert np.abs(apart).max() < 0.25
    assert apart.std() < 0.04
    np.testing.assert_allclose(found.covariance(3), 18 * lag_image(kernel(), 3), atol=0.2)
    assert found.covariance().shape == (41, 41)
    assert found.covariance()[20, 20] == pytest.approx(found.variance, rel=1e-12)


@pytest.mark.parametrize("reach", [14, 40])
def test_sums_may_have_other_lags(reach):
    noise = noise_realisation(kernel(), np.full((500, 600), 9.0), seed=5)[0:500]
    noise, sky = noise.astype(np.float64), np.ones(noise.shape, bool)
    expected = power_of_sums(lag_sums(noise, sky, MAX_LAG)).spectrum.power()
    found = power_of_sums(lag_sums(noise, sky, reach)).spectrum.power()
    np.testing.assert_allclose(found, expected, rtol=0.02 if reach < MAX_LAG else 1e-6)


@pytest.mark.parametrize("scale", [1e-40, 1e40])
def test_the_level_of_the_noise_does_not_matter(scale):
    noise = noise_realisation(kernel(), np.ones((300, 300)), seed=6)[0:300].astype(np.float64)
    sums = lag_sums(noise, np.ones(noise.shape, bool), MAX_LAG)
    plain, scaled = power_of_sums(sums), power_of_sums(LagSums(sums.products * scale, sums.pairs))
    assert scaled.variance == pytest.approx(scale * plain.variance)
    np.testing.assert_allclose(scaled.spectrum.power(), plain.spectrum.power(), rtol=1e-9)


def test_what_tells_no_power():
    known = np.ones((20, 20), bool)
    assert (
        power_of_sums(lag_sums(np.random.default_rng(1).normal(size=(20, 20)), known, 31)) is None
    )
    wide = np.ones((80, 80), bool)
    assert power_of_sums(lag_sums(np.zeros((80, 80)), wide, MAX_LAG)) is None
    assert power_of_sums(lag_sums(np.ones((80, 80)), ~wide, MAX_LAG)) is None


def test_a_unit_kernel_makes_noise_of_the_power():
    power = NoisePower(spectrum=spectrum(3), variance=4.0, absolute=True)
    stamp = power.unit_kernel()
    assert (stamp**2).sum() == pytest.approx(1.0, rel=1e-12)
    gain = np.abs(np.fft.rfft2(stamp, (SIZE, SIZE))) ** 2
    np.testing.assert_allclose(gain, power.spectrum.power()[0], atol=2e-3)


def test_a_realisation_has_the_stated_covariance_and_variance():
    ny, nx = shape = 1100, 900
    y, x = np.mgrid[:ny, :nx]
    variance = 4.0 + 3.0 * (x > 500) + y / 500
    found = noise_realisation(kernel(), variance, seed=11)[0:ny]
    assert found.dtype == np.float32
    unit = (found / np.sqrt(variance)).astype(np.float64)
    covariance = lag_sums(unit, np.ones(shape, bool), 6).covariance
    error = 1 / np.sqrt(ny * nx)
    expected = lag_image(kernel(), 6)[6:]
    assert np.abs(covariance - expected).max() < 6 * error
    # At the border, too.
    border = np.concatenate([unit[:3].ravel(), unit[-3:].ravel(), unit[:, :3].ravel()])
    assert border.var() == pytest.approx(1.0, abs=0.06)
    assert np.mean(unit[0, 1:] * unit[0, :-1]) == pytest.approx(expected[0, 7], abs=0.15)


def test_a_realisation_does_not_depend_on_the_rows_that_are_read():
    variance = np.full((700, 123), 2.0)
    whole = noise_realisation(kernel(), variance, seed=3)[0:700]
    again = noise_realisation(kernel(), variance, seed=3)
    for rows in (slice(0, 1), slice(255, 257), slice(100, 600), slice(699, 700)):
        assert again[rows].tobytes() == whole[rows].tobytes()
    other = noise_realisation(kernel(), variance, seed=4)[0:700]
    assert abs(np.corrcoef(whole.ravel(), other.ravel())[0, 1]) < 0.03


def test_a_realisation_is_nan_where_there_is_no_variance():
    variance = np.full((40, 50), 2.0)
    variance[3, 4], variance[5, 6], variance[7, 8], variance[9, 10] = np.nan, np.inf, -1.0, 0.0
    found = noise_realisation(kernel(), variance, seed=3)[0:40]
    assert np.isnan(found[[3, 5, 7], [4, 6, 8]]).all()
    assert found[9, 10] == 0
    assert np.isfinite(found).sum() == variance.size - 3


@pytest.mark.parametrize("seed", [0, 2**70])
def test_rows_of_white_noise_are_independent(seed):
    noise = white_noise((64, 2000), seed)[0:64]
    covariance = np.cov(noise)
    assert np.abs(covariance - np.eye(64)).max() < 6 / np.sqrt(1000)
