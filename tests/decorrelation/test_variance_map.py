"""The variance of an image, measured in its own pixels, against variances that are known."""

import tracemalloc

import numpy as np
import pytest
from helpers import oracle
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor.core.convolve import convolved
from diffdecor.core.interpolate import KernelField
from diffdecor.core.planes import LazyPlane
from diffdecor.decorrelation.variance_map import BLOCK, measured_variance
from diffdecor.errors import InputError

SHAPE = NY, NX = 600, 640
STEP_X, STEP_Y = 320, 200


def truth():
    """A map with steps by factors of 3 and 1.5, and a slope."""
    y, x = np.indices(SHAPE)
    return np.where(x < STEP_X, 1.0, 3.0) * np.where(y < STEP_Y, 1.0, 1.5) * (1 + 0.5 * y / NY)


def away_from_steps(distance):
    y, x = np.indices(SHAPE)
    return (np.abs(x - STEP_X) > distance) & (np.abs(y - STEP_Y) > distance)


def noise(rng, sigma, shape=SHAPE):
    """Noise of unit variance, correlated over `sigma` pixels."""
    if not sigma:
        return rng.normal(size=shape)
    stamp = oracle.gaussian(2 * int(4 * sigma) + 1, sigma)
    middle = stamp.shape[0] // 2
    wide = tuple(size + 2 * middle for size in shape)
    field = KernelField.constant(stamp / np.sqrt((stamp**2).sum()), (middle, middle))
    return convolved(rng.normal(size=wide), field)[middle:-middle, middle:-middle]


def discs(rng, number, radius, shape=SHAPE):
    y, x = np.indices(shape)
    inside = np.zeros(shape, dtype=bool)
    for cy, cx in rng.uniform(0, shape, (number, 2)):
        inside |= (y - cy) ** 2 + (x - cx) ** 2 < radius**2
    return inside


def add_residuals(rng, image, number):
    """Add light of subtracted sources of either sign, faint to bright."""
    y, x = np.indices(image.shape)
    for cy, cx in rng.uniform(20, np.subtract(image.shape, 20), (number, 2)):
        flux = rng.choice([-1, 1]) * 10 ** rng.uniform(1.5, 4.5)
        near = np.s_[int(cy) - 20 : int(cy) + 21, int(cx) - 20 : int(cx) + 21]
        squared = (y[near] - cy) ** 2 + (x[near] - cx) ** 2
        image[near] += flux * np.exp(-squared / (2 * 1.8**2)) / (2 * np.pi * 1.8**2)


# Scatter of a map, one sigma: some 13 blocks count, and correlated pixels count for fewer.
@pytest.mark.parametrize(("sigma", "scatter"), [(0, 0.02), (1, 0.03), (2, 0.06)])
@pytest.mark.parametrize("spoiled", [False, True], ids=["clean", "sources and masks"])
def test_a_known_map_is_recovered(sigma, scatter, spoiled):
    rng = np.random.default_rng(5)
    image = noise(rng, sigma) * np.sqrt(truth())
    image += 100 + 0.02 * np.arange(NX)  # a sky with a slope
    usable = np.ones(SHAPE, dtype=bool)
    if spoiled:
        add_residuals(rng, image, 40)
        usable &= ~discs(rng, 20, 25)
        image[~usable] = rng.choice([1e6, np.nan, -1e30], np.count_nonzero(~usable))
    measured = np.asarray(measured_variance(image, usable, "image"))
    assert measured.dtype == np.float32
    ratio = (measured / truth())[away_from_steps(2.5 * BLOCK)]
    assert ratio.mean() == pytest.approx(1, abs=0.015)
    assert ratio.std() < 1.5 * scatter
    assert_allclose(ratio, 1, atol=6 * scatter)
    # Over the steps it is a mean of both sides.
    assert (measured / truth()).mean() == pytest.approx(1, abs=0.05)
    assert measured.sum() == pytest.approx(truth().sum(), rel=0.05)


def test_noise_that_is_twice_as_strong_is_not_taken_for_sources():
    """Not even in the corner of an image, where blocks like it are a minority."""
    variance = np.ones(SHAPE)
    variance[:160, :160] = 4.0
    image = np.random.default_rng(8).normal(size=SHAPE) * np.sqrt(variance)
    measured = np.asarray(measured_variance(image, np.ones(SHAPE, dtype=bool), "image"))
    assert measured[:60, :60].mean() == pytest.approx(4.0, rel=0.05)
    assert measured[300:, 300:].mean() == pytest.approx(1.0, rel=0.02)


def test_light_does_not_raise_it():
    rng = np.random.default_rng(2)
    clean = rng.normal(size=SHAPE)
    usable = np.ones(SHAPE, dtype=bool)
    before = np.asarray(measured_variance(clean, usable, "image"))
    with_light = clean.copy()
    add_residuals(rng, with_light, 60)
    after = np.asarray(measured_variance(with_light, usable, "image"))
    assert (after / before).mean() == pytest.approx(1, abs=0.01)
    assert (after / before).max() < 1.12


def test_a_region_without_pixels_takes_what_is_around():
    rng = np.random.default_rng(3)
    image, usable = rng.normal(size=SHAPE), np.ones(SHAPE, dtype=bool)
    image[:, 400:] *= 2
    usable[100:400, 100:400] = False
    measured = np.asarray(measured_variance(image, usable, "image"))
    assert_allclose(measured[200:300, 130:200], 1, atol=0.15)
    assert np.isfinite(measured).all()
    assert (measured > 0).all()


@pytest.mark.parametrize("shape", [(30, 400), (400, 30), (79, 121), (100, 100)])
def test_odd_shapes(shape):
    image = np.random.default_rng(1).normal(size=shape)
    measured = np.asarray(measured_variance(image, np.ones(shape, dtype=bool), "image"))
    assert measured.shape == shape
    assert_allclose(measured, 1, atol=0.25)


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1e15])
def test_any_unit(unit):
    image = np.random.default_rng(4).normal(size=(200, 200))
    usable = np.ones(image.shape, dtype=bool)
    plain, scaled = (
        np.asarray(measured_variance(pixels, usable, "image")) for pixels in (image, image * unit)
    )
    assert_allclose(scaled / unit**2, plain, rtol=1e-5)


def test_rows_and_threads_do_not_matter():
    rng = np.random.default_rng(6)
    image, usable = rng.normal(size=SHAPE), ~discs(rng, 10, 20)
    one, many = (measured_variance(image, usable, "image", threads) for threads in (1, 3))
    whole = np.asarray(one)
    assert_array_equal(whole, np.asarray(many))
    assert_array_equal(whole[333:340], one[333:340])


def test_memory_does_not_grow_with_the_image():
    def peak(height):
        def rows(part):
            shape = part.stop - part.start, 300
            return np.random.default_rng(part.start).normal(size=shape).astype(np.float32)

        usable = LazyPlane((height, 300), lambda part: np.ones(rows(part).shape, dtype=bool))
        tracemalloc.start()
        measured_variance(LazyPlane((height, 300), rows), usable, "image")[0:10]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    low, high = peak(640), peak(6400)
    assert high < 1.1 * low
    assert high < 100 * 320 * 300  # that of one band, with its margins


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.full((200, 200), 7.0), "no noise"),
        (np.full((200, 200), np.nan), "only 0 sky pixels"),
        (np.random.default_rng(1).normal(size=(60, 60)), "only 3600 sky pixels"),
    ],
)
def test_what_cannot_be_measured(image, says):
    with pytest.raises(InputError, match=f"^image: .*{says}"):
        measured_variance(image, np.ones(image.shape, dtype=bool), "image")
