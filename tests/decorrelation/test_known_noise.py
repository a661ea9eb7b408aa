"""Noise powers that are known otherwise: of one image, or of the difference."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.warped import KERNEL, WARPED, Triple, correlations, periodic

from diffdecor import DecorrelationConfig, Exposure
from diffdecor.core.noise_power import NoisePower, spectrum_of_lags
from diffdecor.core.spectrum import SIZE
from diffdecor.decorrelation.decorrelate import _in_memory, prepare
from diffdecor.decorrelation.subtraction import Subtraction, as_kernel

#: Covariance of white noise of unit variance that was warped linearly, along either axis.
ALONG = np.array([[0.4 * 0.6, 0.6**2 + 0.4**2, 0.4 * 0.6], [0.3 * 0.7, 0.7**2 + 0.3**2, 0.3 * 0.7]])
COVARIANCE = np.outer(*ALONG)


def known(covariance, *, absolute=True):
    spectrum, _ = spectrum_of_lags(covariance)
    middle = covariance.shape[0] // 2
    return NoisePower(
        spectrum=spectrum, variance=float(covariance[middle, middle]), absolute=absolute
    )


def decorrelated(triple, powers, **options):
    options = {"mode": "whole", "noise_model": "white"} | options
    return _in_memory(
        prepare(
            Subtraction(
                triple.science,
                triple.template,
                triple.difference,
                as_kernel(KERNEL),
                config=DecorrelationConfig(**options),
                noise_powers=powers,
            )
        )
    )


@pytest.mark.parametrize("mode", ["whole", "grid"])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_known_warp_of_the_template_is_undone(mode, absolute):
    """In units of the variance plane a lag image has 1 in the middle, and so it is undone, too."""
    covariance = COVARIANCE if absolute else COVARIANCE / WARPED
    triple = Triple(1)
    result = decorrelated(triple, {"template": known(covariance, absolute=absolute)}, mode=mode)
    after, variance = correlations(result)
    assert np.abs(after).max() < 0.0075
    assert variance == pytest.approx(1, abs=0.01)
    # As exactly as if the noise of the template had been white, and the warp part of its kernel.
    gain = np.abs(np.fft.rfft2(KERNEL, (SIZE, SIZE))) ** 2
    warp = np.fft.rfft2(np.roll(np.pad(COVARIANCE, ((0, SIZE - 3),) * 2), (-1, -1), (0, 1))).real
    power = 1 + gain * np.maximum(warp, 1e-9)
    psi = np.sqrt(power[0, 0] / power)
    filters = result.filters[0]
    m = filters.shape[-1] // 2
    wide = np.zeros((4 * SIZE, 4 * SIZE))
    wide[: 2 * m + 1, : 2 * m + 1] = filters
    found = np.abs(np.fft.rfft2(wide))[::4, ::4][:, : SIZE // 2 + 1]
    assert found == pytest.approx(psi, abs=0.01)


def test_what_is_known_is_not_fitted_again():
    result = decorrelated(Triple(2), {"template": known(COVARIANCE)}, noise_model="auto")
    assert result.metrics.noise_model == "white"


@pytest.mark.parametrize("alone", [False, True])
def test_the_noise_power_of_a_difference_serves_its_siblings(alone):
    """What is measured in a large difference whitens a stamp far too small to measure it."""
    large = Triple(3)
    gain = np.abs(np.fft.fft2(KERNEL, (SIZE, SIZE))) ** 2
    warp = np.fft.fft2(np.roll(np.pad(COVARIANCE, ((0, SIZE - 3),) * 2), (-1, -1), (0, 1))).real
    covariance = np.fft.fftshift(np.fft.ifft2(1 + gain * warp).real)[1:, 1:]
    power = known(covariance)
    rho = []
    for y in range(0, 480, 60):
        window = np.s_[y : y + 60, y : y + 60]
        cut = [
            replace(
                one,
                image=one.image[window],
                variance=None if one.variance is None else one.variance[window],
            )
            for one in (large.science, large.template, large.difference)
        ]
        config = DecorrelationConfig(mode="whole", noise_model="auto")
        images = (None, None, cut[2]) if alone else cut
        kernel = as_kernel(None if alone else KERNEL)
        result = _in_memory(
            prepare(Subtraction(*images, kernel, config=config, noise_powers={"difference": power}))
        )
        assert result.metrics.noise_model == "known"
        rho.append(correlations(result)[0])
    error = 1 / np.sqrt(8 * 3600)
    assert np.abs(np.mean(rho, axis=0)).max() < 4 * error


def test_a_realisation_has_the_power_of_its_image():
    """White noise in other units: known in units of its variance it changes nothing."""
    triple = Triple(4, warp=False)
    plain = decorrelated(triple, {})
    flat = np.zeros((3, 3))
    flat[1, 1] = 1.0
    result = decorrelated(triple, {"science": known(flat, absolute=False)})
    assert result.filters == pytest.approx(plain.filters, abs=1e-9)
    doubled = decorrelated(triple, {"science": known(2 * flat)})
    assert doubled.exposure.variance.mean() > plain.exposure.variance.mean()


def test_differences_without_noise_of_their_own_take_that_of_the_power():
    image = np.random.default_rng(5).normal(size=(64, 64))
    flat = np.zeros((3, 3))
    flat[1, 1] = 1.0
    result = _in_memory(
        prepare(
            Subtraction(
                None,
                None,
                Exposure(image=periodic(image, np.ones((1, 1)))),
                as_kernel(None),
                noise_powers={"difference": known(flat)},
            )
        )
    )
    assert result.exposure.variance == pytest.approx(np.ones((64, 64)), rel=1e-6)
    assert result.exposure.image == pytest.approx(image, abs=1e-5)
