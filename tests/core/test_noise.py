"""The noise of both sides against the covariance of convolved white noise."""

import numpy as np
from helpers import oracle
from numpy.testing import assert_allclose

from diffdecor.core.noise import NoiseSide, white_side

SHAPE = (8, 9)


def test_power_is_the_spectrum_of_the_covariance():
    stamp = oracle.gaussian((3, 4), 1.0, centre=(1.2, 1.0))
    side = NoiseSide(np.array([0.6]), np.array([1.4]), stamp[np.newaxis], (2, 1))
    matrix = oracle.torus_matrix(stamp, (2, 1), SHAPE)
    noise = 0.6 * 1.4**2 * matrix @ matrix.T
    # The row of a circulant covariance, seen from its own pixel, transforms to the power.
    spectrum = np.fft.rfft2(noise[0].reshape(SHAPE))
    assert_allclose(side.power(SHAPE)[0], spectrum.real, atol=1e-14)
    assert_allclose(side.zero_power, noise.sum() / matrix.shape[0])


def test_white_noise_has_flat_power():
    side = white_side([2.0, 3.0], 0.5)
    assert_allclose(side.power(SHAPE), np.array([0.5, 0.75])[:, None, None] * np.ones((8, 5)))
    assert_allclose(side.zero_power, [0.5, 0.75])
    assert len(side) == 2
    assert_allclose(side[1:].level, [3.0])
