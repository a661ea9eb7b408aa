"""Noise measured over the field of an image: what is claimed, what is there."""

import numpy as np
import pytest
from helpers.noise import smooth_noise
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor.core.lag_statistics import whiteness
from diffdecor.core.planes import LazyPlane
from diffdecor.decorrelation.noise_statistics import Sky, measure_noise


@pytest.fixture
def rng():
    return np.random.default_rng(9)


def measured(image, variance=None, usable=None, most=1000, threads=1, others=()):
    usable = np.ones(image.shape, dtype=bool) if usable is None else usable
    sky = Sky(images=[(image, variance)], usable=usable, others=others)
    return measure_noise(sky, most, threads)[0]


def test_variance_claimed_and_measured(rng):
    """A step of depth that the variance knows, and a gradient of its error that it does not."""
    y, x = np.indices((768, 1024))
    variance = np.where(x < 500, 1.0, 16.0)
    error = 1 + 0.5 * y / 768
    image = 100 + np.sqrt(variance * error) * rng.normal(size=x.shape)
    found = measured(image.astype(np.float32), variance.astype(np.float32))
    assert found.scatter.shape == (3, 4)
    expected = error.reshape(3, 256, 4, 256).mean(axis=(1, 3))
    assert_allclose(found.scatter, expected, rtol=0.03)  # half a per cent each
    assert found.ratio == pytest.approx(1.25, rel=0.01)
    assert found.variance == pytest.approx(variance.mean(), rel=0.02)
    assert found.sums.pixels > 0.98 * image.size


def test_without_a_variance_the_pixels_give_it(rng):
    image = 7 * rng.normal(size=(512, 512)) + 1e6
    found = measured(image)
    assert not found.claimed
    assert found.variance == pytest.approx(49, rel=0.01)
    covariance = found.covariances.covariance
    assert covariance[0, 14] == pytest.approx(49, rel=0.01)
    assert np.abs(np.delete(covariance.ravel(), np.arange(15))).max() < 49 * 5 / 512


def test_covariances_are_in_the_unit_of_the_image(rng):
    image = 3 * smooth_noise(rng, (600, 600), 1.0)
    for variance in (None, np.full(image.shape, 2.0)):
        covariance = measured(image, variance).covariances.covariance
        assert covariance[0, 14] == pytest.approx(9, rel=0.03)
        assert covariance[0, 15] == pytest.approx(9 * np.exp(-1 / 4), rel=0.03)


def test_outliers_do_not_count(rng):
    """One pixel of a hundred with five times the scatter: sources, or cosmic rays."""
    image = rng.normal(size=(512, 512))
    image[rng.random(image.shape) < 0.001] *= 8
    assert measured(image, np.ones(image.shape)).ratio == pytest.approx(1, abs=0.02)


def test_units_and_types(rng):
    """Fluxes far below one, whole numbers, other byte orders: the statistics are the same."""
    counts = np.rint(1000 + 20 * rng.normal(size=(300, 300)))
    expected = whiteness(measured(counts).sums)
    for image in (counts.astype(np.int32), counts.astype(">i4"), counts.astype(np.float32)):
        assert whiteness(measured(image).sums).largest == pytest.approx(expected.largest, abs=1e-5)
    tiny = counts * 1e-30
    found = measured(tiny, np.full(tiny.shape, 400e-60))
    assert found.ratio == pytest.approx(1, abs=0.05)
    assert whiteness(found.sums).largest == pytest.approx(expected.largest, abs=1e-3)


def test_what_is_not_known_does_not_count(rng):
    image, variance = rng.normal(size=(2, 300, 300))
    variance = variance**2 * 0 + 1
    image[10:50, 10:50] = np.nan
    image[60, 60] = np.inf
    variance[100:120], variance[130:140], variance[150] = 0, np.nan, np.inf
    usable = np.ones(image.shape, dtype=bool)
    usable[200:250] = False
    image[200:250] = 1e20
    found = measured(image, variance, usable)
    assert found.sums.pixels < 300 * (300 - 20 - 10 - 1 - 50) - 40 * 40
    assert found.ratio == pytest.approx(1, abs=0.03)
    assert whiteness(found.sums).probability > 1e-4


def test_sources_are_left_out_of_all_images(rng):
    """Light in the last of the images, and light that only another image shows."""
    first, second, other = rng.normal(size=(3, 400, 400))
    second[100:105, 100:105] += 300
    second[200:205, 200:205] -= 300
    other[300:305, 300:305] += 300
    first[300:305, 300:305] += 1.5  # too faint to be seen, but it is there
    sky = Sky(
        images=[(first, None), (second, None)],
        usable=np.ones(first.shape, dtype=bool),
        others=[(other, None)],
    )
    found = measure_noise(sky, 1000, 1)
    assert found[0].sums.pixels == found[1].sums.pixels
    lost = first.size - found[0].sums.pixels
    assert 3 * 21**2 < lost < 3 * 30**2 + 0.02 * first.size


@pytest.mark.parametrize("shape", [(300, 300), (1100, 700), (256, 1500)])
def test_threads_do_not_show(rng, shape):
    image, variance = rng.normal(size=shape).astype(np.float32), np.ones(shape, np.float32)
    one, several = (measured(image, variance, threads=threads) for threads in (1, 4))
    assert_array_equal(one.sums.products, several.sums.products)
    assert_array_equal(one.scatter, several.scatter)
    assert_array_equal(one.squares, several.squares)


def test_a_sample_of_windows_is_spread_over_the_image(rng):
    image, read = rng.normal(size=(2048, 2048)).astype(np.float32), []

    def rows_of(rows):
        read.append((rows.start, rows.stop))
        return image[rows]

    found = measured(LazyPlane(image.shape, rows_of), most=16)
    known = np.argwhere(found.pixels > 0)
    assert len(known) == 16
    assert set(known[:, 0]) == set(known[:, 1]) == {1, 3, 5, 7} or len(set(known[:, 0])) == 4
    assert sum(stop - start for start, stop in read) <= 4 * 300
    assert found.sums.pixels == pytest.approx(16 * 256**2, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (15, 400), (40, 48), (257, 511)])
@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
def test_images_without_noise_have_no_statistics(shape, value):
    image = np.full(shape, value)
    for variance in (None, np.ones(shape), np.zeros(shape)):
        found = measured(image, variance)
        assert found.sums.pixels == 0
        assert np.isnan(found.ratio)


def test_small_images_have_some(rng):
    found = measured(rng.normal(size=(40, 48)))
    assert found.sums.pixels == 40 * 48
    assert whiteness(found.sums).probability > 1e-4


def test_sources_of_another_image_are_found_in_units_of_its_noise():
    """Its noisy stripes are not sources: the sky would be that of the quiet ones only."""
    rng = np.random.default_rng(41)
    variance = np.where(np.arange(300) // 12 % 2, 0.3, 6.0) * np.ones((300, 300))
    other = rng.normal(size=(300, 300)) * np.sqrt(variance)
    image = rng.normal(size=(300, 300))
    blind, told = (
        measured(image, np.ones((300, 300)), others=[(other, plane)]).sums.pixels
        for plane in (None, variance)
    )
    assert told > 0.97 * image.size
    assert blind < 0.8 * told


def test_without_maps_all_else_is_the_same(rng):
    image, usable = rng.normal(size=(300, 300)), np.ones((300, 300), dtype=bool)
    sky = Sky(images=[(image, np.ones(image.shape))], usable=usable)
    ((with_maps,), (without,)) = (measure_noise(sky, 1000, 1, maps=maps) for maps in (True, False))
    assert_array_equal(with_maps.sums.products, without.sums.products)
    assert (with_maps.ratio, with_maps.variance) == (without.ratio, without.variance)
    assert with_maps.counts.any()
    assert with_maps.histogram.sum() == with_maps.sums.pixels
    assert not without.counts.any()
    assert not without.histogram.any()
