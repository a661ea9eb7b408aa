"""Log-cosine spectra, and their fit to the covariances of noise of known power."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.core.covariance import LagSums, lag_sums
from diffdecor.core.spectrum import (
    MAX_LAG,
    SIZE,
    LogSpectrum,
    at_lags,
    fit_spectrum,
    flat_spectrum,
    half_plane_lags,
    residual_correlations,
    rings,
    shrinkage,
)

#: Pixels along either axis of simulated noise.
LENGTH = 384


def frequencies(length):
    """Angular frequencies ``(ky, kx)`` of a transform."""
    k = 2 * np.pi * np.fft.fftfreq(length)
    return np.meshgrid(k, k, indexing="ij")


def noise(power, seed):
    """Pixels of noise of some power."""
    white = np.random.default_rng(seed).normal(size=power.shape)
    return np.fft.ifft2(np.fft.fft2(white) * np.sqrt(power)).real


def gaussian_power(length, sigma=2.0, floor=0.3):
    """Power of noise smoothed by a Gaussian, with white noise added; of unit variance."""
    ky, kx = frequencies(length)
    power = np.exp(-(sigma**2) * (kx**2 + ky**2))
    return (1 - floor) * power / power.mean() + floor


def measured(pixels, sky=None, side=128):
    """Sums over windows."""
    sky = np.ones(pixels.shape, bool) if sky is None else sky
    parts = [
        lag_sums(
            pixels[y : y + side, x : x + side].astype(np.float32),
            sky[y : y + side, x : x + side],
            MAX_LAG,
        )
        for y in range(0, len(pixels), side)
        for x in range(0, len(pixels), side)
    ]
    return LagSums(
        np.array([one.products for one in parts]), np.array([one.pairs for one in parts])
    ).total()


def on_the_grid(power):
    """A power at the frequencies of spectra."""
    step = len(power) // SIZE
    return power[::step, ::step][:, : SIZE // 2 + 1]


def test_half_planes_hold_every_lag_once():
    lags = half_plane_lags(10.0)
    assert tuple(lags[0]) == (0, 0)
    both = {tuple(lag) for lag in lags} | {tuple(-lag) for lag in lags}
    assert len(both) == 2 * len(lags) - 1
    assert both == {
        (y, x) for y in range(-10, 11) for x in range(-10, 11) if np.hypot(y, x) <= 10.3
    }
    assert len(half_plane_lags(5.0)) == 45
    # Shorter radii are beginnings of longer ones.
    assert np.array_equal(half_plane_lags(6.0), lags[: len(half_plane_lags(6.0))])
    assert sorted(np.concatenate(rings(lags))) == list(range(len(lags)))
    assert list(rings(lags)[0]) == [0]


@given(st.integers(0, 1 << 16))
def test_power_is_that_of_the_cosine_series(seed):
    rng = np.random.default_rng(seed)
    lags = half_plane_lags(3.0)
    spectrum = LogSpectrum(lags, rng.normal(scale=0.2, size=(2, len(lags))))
    ky, kx = (k[:, : SIZE // 2 + 1] for k in frequencies(SIZE))
    for which in range(2):
        log = np.full(kx.shape, spectrum.coefficients[which, 0])
        for (dy, dx), c in zip(lags[1:], spectrum.coefficients[which, 1:], strict=True):
            log += 2 * c * np.cos(ky * dy + kx * dx)
        assert spectrum.power()[which] == pytest.approx(np.exp(log))


def test_noise_kernels_have_the_power():
    lags = half_plane_lags(4.0)
    coefficients = np.random.default_rng(5).normal(scale=0.1, size=(3, len(lags)))
    spectrum = LogSpectrum(lags, coefficients)
    kernels = spectrum.kernels()
    centre = kernels.shape[-1] // 2
    assert kernels[:, ::-1, ::-1] == pytest.approx(kernels)
    assert kernels.shape[-1] < SIZE
    gain = np.abs(np.fft.rfft2(kernels, (SIZE, SIZE))) ** 2
    assert gain == pytest.approx(spectrum.power(), rel=2e-3)
    # The level of the noise over many pixels is exact.
    assert kernels.sum(axis=(1, 2)) ** 2 == pytest.approx(spectrum.power()[:, 0, 0])
    assert spectrum.covariance(2).shape == (3, 5, 5)
    variance = (kernels**2).sum(axis=(1, 2))
    assert spectrum.covariance(0)[:, 0, 0] == pytest.approx(variance, rel=1e-3)
    assert flat_spectrum().kernels() == pytest.approx(np.ones((1, 1, 1)))
    assert centre > 0


def test_expected_covariances_leave_no_residual():
    """The covariance of noise of a power, divided by it, is that of white noise."""
    lags = half_plane_lags(4.0)
    spectrum = LogSpectrum(lags, np.random.default_rng(6).normal(scale=0.05, size=(1, len(lags))))
    whole = spectrum.covariance()[0]
    half = whole[MAX_LAG:]
    sums = LagSums(half * 100.0, np.full(half.shape, 100.0))
    left = residual_correlations(sums, spectrum.power()[0], lags)
    assert left == pytest.approx(np.zeros(len(lags)), abs=1e-6)
    # A slightly larger coefficient shows as a residual of its size.
    c = spectrum.coefficients.copy()
    c[0, 3] += 1e-4
    left = residual_correlations(sums, LogSpectrum(lags, c).power()[0], lags)
    assert left[3] == pytest.approx(-1e-4, rel=0.01)


def test_white_noise_is_left_alone():
    """Level and shape of white noise come out within their errors, and hardly any lag is fitted."""
    levels, spread = [], []
    for seed in range(6):
        fit = fit_spectrum(measured(noise(np.ones((LENGTH, LENGTH)), seed)))
        assert fit.converged
        log = np.log(fit.spectrum.power()[0])
        levels.append(log[0, 0] / (2 * fit.filter_error))
        spread.append(np.sqrt(np.mean(log**2)))
    assert np.abs(levels).max() < 3
    # Without shrinkage the rms would be sqrt(345 / 147456) = 0.048.
    assert np.mean(spread) < 0.02


@pytest.mark.parametrize("masked", [0.0, 0.5])
def test_the_power_of_correlated_noise_is_recovered(masked):
    power = gaussian_power(LENGTH)
    deviations = []
    for seed in range(4):
        sky = np.random.default_rng(seed).random((LENGTH, LENGTH)) >= masked
        fit = fit_spectrum(measured(noise(power, seed), sky))
        assert fit.converged
        log = np.log(fit.spectrum.power()[0] / on_the_grid(power))
        deviations.append([log[0, 0], np.sqrt(np.mean(log**2))])
    # From covariances alone, without whitening; a mask costs accuracy.
    (level, rms), allowed = np.mean(deviations, axis=0), 0.08 if not masked else 0.3
    assert abs(level) < allowed
    assert rms < allowed


def test_a_model_that_is_right_leaves_nothing_to_fit():
    power = gaussian_power(LENGTH)
    sums = measured(noise(power, 7))
    fit = fit_spectrum(sums, on_the_grid(power))
    assert np.abs(np.log(fit.spectrum.power())).max() < 0.15
    assert fit.effective < 60


def test_what_is_no_covariance_does_not_converge():
    """A covariance larger than the variance is that of no noise."""
    half = np.zeros((MAX_LAG + 1, 2 * MAX_LAG + 1))
    half[0, MAX_LAG], half[0, MAX_LAG + 1] = 1.0, 3.0
    half[0, MAX_LAG - 1] = 3.0
    fit = fit_spectrum(LagSums(half * 1e6, np.full(half.shape, 1e6)))
    assert not fit.converged
    assert np.isfinite(fit.spectrum.coefficients).all()


@given(st.integers(0, 1 << 16), st.floats(0.0, 0.05))
def test_shrinkage_keeps_what_is_significant(seed, scale):
    lags = half_plane_lags(6.0)
    rng = np.random.default_rng(seed)
    true = rng.normal(scale=scale, size=len(lags))
    error = 0.01
    found = true + rng.normal(scale=error, size=len(lags))
    kept = shrinkage(found, np.full(len(lags), error**2), lags)
    assert ((kept >= 0) & (kept <= 1)).all()
    assert kept[0] > 0.99  # the level is never shrunk
    # Shrunk estimates are closer to the truth, all in all, but for luck in small rings.
    lost = np.sum((kept * found - true)[1:] ** 2) - np.sum((found - true)[1:] ** 2)
    assert lost < 20 * error**2


def test_lags_are_looked_up_by_row_and_column():
    half = np.arange(4 * 7).reshape(4, 7)
    assert list(at_lags(half, np.array([[0, 0], [2, -3], [1, 2]]))) == [3, 14, 12]
