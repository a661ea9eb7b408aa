"""The local level: it is taken off, and what that takes from the noise is known."""

import numpy as np
import pytest
from helpers.noise import mask_patterns
from numpy.testing import assert_allclose

from diffdecor.core.local_level import in_sigmas, without_level


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def test_a_sloping_level_goes_and_the_noise_stays(rng):
    y, x = np.indices((256, 256))
    noise = rng.normal(size=x.shape).astype(np.float32)
    sky = mask_patterns(x.shape)["discs"]
    level = (40 + 0.05 * x - 0.08 * y).astype(np.float32)
    bare, sloping = (
        without_level(np.where(sky, values, 0).astype(np.float32), sky)
        for values in (noise, noise + level)
    )
    assert_allclose(sloping.values, bare.values, atol=2e-3)
    assert sloping.values[sky].std() == pytest.approx(1, abs=0.02)
    assert not sloping.values[~sky].any()


def test_the_level_is_one_of_the_image_not_of_its_significance(rng):
    """Where the noise steps, the significance of a level does."""
    y, x = np.indices((128, 128))
    sigma = np.where(x < 60, 1.0, 4.0)
    image = 30 + 0.1 * y + rng.normal(size=x.shape) * sigma
    sky = np.ones(x.shape, dtype=bool)
    values, weights = (each.astype(np.float32) for each in (image / sigma, 1 / sigma))
    found = without_level(values, sky, weights).values
    assert abs(found[:, :60].mean()) < 0.1
    assert abs(found[:, 60:].mean()) < 0.1
    assert found.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("pattern", ["none", "random50", "discs", "checkerboard"])
def test_what_the_level_takes_is_given_back(pattern):
    """Summed over many images of white noise, no lag is biased."""
    rng, shape = np.random.default_rng(6), (256, 256)
    sky = mask_patterns(shape)[pattern]
    total = 0
    for _ in range(150):
        image = rng.normal(size=shape).astype(np.float32)
        sums, _ = without_level(image * sky, sky).lag_sums(6)
        total = total + sums.products
    pairs = 150 * sums.pairs
    assert total[0, 6] / pairs[0, 6] == pytest.approx(1, abs=4 * np.sqrt(2 / pairs[0, 6]))
    others = pairs > 0
    others[0, : 6 + 1] = False
    pulls = total[others] / np.sqrt(pairs[others])
    # Without it, each would be at -12 / sqrt(n) of its sigma in every image: -0.6 in all.
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)


def test_blocks_without_sky_have_no_level(rng):
    sky = np.zeros((256, 256), dtype=bool)
    sky[:128, 128:] = True
    sky[130:140, 5:10] = True  # too few to fit a plane to
    image = np.where(sky, rng.normal(size=sky.shape) + 9, 0).astype(np.float32)
    found = without_level(image, sky)
    assert found.blocks == 1
    assert not found.sky[128:].any()
    assert np.isfinite(found.values).all()
    assert abs(found.values[found.sky].mean()) < 0.05
    nothing = without_level(image, np.zeros_like(sky))
    assert nothing.blocks == 0
    assert not nothing.lag_sums(5)[0].pairs.any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 300), (130, 20), (383, 127)])
def test_any_shape(rng, shape):
    sky = np.ones(shape, dtype=bool)
    found = without_level(rng.normal(size=shape).astype(np.float32), sky)
    assert found.values.shape == found.sky.shape
    assert np.isfinite(found.values).all()


def test_pixels_in_units_of_a_sigma_of_almost_nothing_are_bounded():
    """The sky of a simulation without noise is rounding errors, its stars any number of those."""
    image = np.array([[0.0, 1e-22, 50.0, 3.0], [np.nan, -2e-22, -1e4, 1.0]])
    sky = np.isfinite(image)
    for sigma in (1e-22, 1e-300, np.full(image.shape, 1e-200)):
        values = in_sigmas(image, 1.0, sigma, sky)
        assert values.dtype == np.float32
        assert np.isfinite(values**2).all()
        assert (np.sign(values) == np.sign(np.where(sky, image - 1, 0))).all()
    np.testing.assert_allclose(in_sigmas(image, 1.0, 2.0, sky)[0], [-0.5, -0.5, 24.5, 1])
