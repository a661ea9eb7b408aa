"""What a result says of its noise: correlation and factor before and after, covariances."""

import numpy as np
import pytest
from helpers.noise import gaussian_psf, smooth_noise

from diffdecor import DecorrelationConfig, Exposure, MaskPlanes, decorrelate
from diffdecor.core.lag_statistics import matched_factor
from diffdecor.decorrelation.noise_statistics import Sky, measure_noise
from diffdecor.psfs.model import StampPsf

SHAPE = 400, 400
WHITE = DecorrelationConfig(noise_model="white")


@pytest.fixture
def rng():
    return np.random.default_rng(21)


def triple(rng, psf=None, mask=None, light=0.0):
    """A template with three times the scatter, convolved: periodic, so that all of it is known."""
    science, template = rng.normal(size=(2, *SHAPE)) * np.array([1.0, 3.0])[:, None, None]
    kernel = gaussian_psf(1.0, 5)
    wrapped = np.zeros(SHAPE)
    wrapped[:11, :11] = kernel
    wrapped = np.roll(wrapped, (-5, -5), axis=(0, 1))
    matched = np.fft.irfft2(np.fft.rfft2(template) * np.fft.rfft2(wrapped), SHAPE)
    science, difference = science + light, science - matched + light
    planes = MaskPlanes({"DETECTED": 0})
    images = [
        Exposure(
            image=image,
            variance=np.full(SHAPE, variance),
            psf=psf,
            mask=mask,
            mask_planes=planes if mask is not None else MaskPlanes(),
        )
        for image, variance in ((science, 1.0), (template, 9.0))
    ]
    return (*images, Exposure(image=difference), kernel)


def test_correlation_and_factor_before_and_after(rng):
    result = decorrelate(*triple(rng, StampPsf(gaussian_psf(1.5))), config=WHITE)
    metrics = result.metrics
    assert metrics.rho_before > 0.3
    assert metrics.rho_after < 5 * metrics.rho_error
    assert metrics.rho_error == pytest.approx(1 / 400, rel=0.15)
    assert metrics.factor_after == pytest.approx(1, abs=4 * metrics.factor_error)
    # Without a variance plane of the difference I is relative to its pixels' scatter.
    (statistics,) = measure_noise(
        Sky(images=[(result.exposure.image, None)], usable=np.ones(SHAPE, dtype=bool)), 16, 1
    )
    assert metrics.factor_before > 1.5
    assert matched_factor(statistics.sums, gaussian_psf(1.5))[0] == pytest.approx(1, abs=0.03)
    assert metrics.covariance_factor == pytest.approx(1, abs=0.4)


def test_covariances_are_those_of_the_pixels(rng):
    result = decorrelate(*triple(rng), config=WHITE)
    before, after = result.covariances.before.covariance, result.covariances.after.covariance
    kernel = gaussian_psf(1.0, 5)
    assert before[0, 14] == pytest.approx(1 + 9 * np.sum(kernel**2), rel=0.03)
    assert before[0, 15] == pytest.approx(9 * np.sum(kernel[:, 1:] * kernel[:, :-1]), rel=0.08)
    assert after[0, 14] == pytest.approx(10, rel=0.03)
    assert abs(after[0, 15]) < 0.3
    assert result.metrics.factor_after is None  # there is no PSF


def test_detected_pixels_and_sources_do_not_count(rng):
    """Light that a mask plane names, or that an image shows, leaves no correlation."""
    y, x = np.indices(SHAPE)
    light = 60 * np.exp(-((y - 200) ** 2 + (x - 150) ** 2) / (2 * 30.0**2))
    detected = (light > 0.01).astype(np.int32)
    with_mask = decorrelate(*triple(rng, mask=detected, light=light), config=WHITE).metrics
    assert with_mask.rho_after < 5 * with_mask.rho_error
    assert with_mask.rho_error > 1 / 340
    spots = np.zeros(SHAPE)
    spots[50:350:60, 50:350:60] = 400
    found = decorrelate(*triple(rng, light=smooth_spots(spots)), config=WHITE).metrics
    assert found.rho_after < 5 * found.rho_error


def smooth_spots(spots):
    ky, kx = np.fft.fftfreq(SHAPE[0])[:, np.newaxis], np.fft.rfftfreq(SHAPE[1])
    return np.fft.irfft2(
        np.fft.rfft2(spots) * np.exp(-2 * (np.pi * 1.5) ** 2 * (ky**2 + kx**2)), SHAPE
    )


def test_a_difference_alone(rng):
    image = 2 * smooth_noise(rng, SHAPE, 0.7)
    result = decorrelate(None, None, Exposure(image=image), None)
    assert result.metrics.rho_before == pytest.approx(np.exp(-1 / (4 * 0.49)), abs=0.02)
    assert result.covariances.before.covariance[0, 14] == pytest.approx(4, rel=0.05)


def test_without_sky_there_is_nothing_to_say(rng):
    science, template, difference, kernel = triple(rng)
    masked = Exposure(
        image=science.image,
        variance=science.variance,
        mask=np.ones(SHAPE, np.int32),
        mask_planes=MaskPlanes({"DETECTED": 0}),
    )
    config = DecorrelationConfig(noise_model="white", science_variance=1.0, template_variance=9.0)
    result = decorrelate(masked, template, difference, kernel, config=config)
    assert result.covariances is None
    assert result.metrics.rho_after is None
