"""Significance: unit noise where there is nothing, the right ratio where there is a source."""

import numpy as np
import pytest

from diffdecor.core.interpolate import KernelField
from diffdecor.core.significance import point_source_planes


def significance(*planes_and_psf):
    return np.asarray(point_source_planes(*planes_and_psf)[0])


def gaussian(size, sigma):
    x = np.arange(size) - size // 2
    stamp = np.exp(-(x**2 + x[:, np.newaxis] ** 2) / (2 * sigma**2))
    return stamp / stamp.sum()


def test_noise_has_unit_significance_and_a_source_its_own():
    rng = np.random.default_rng(5)
    variance = np.full((200, 220), 4.0)
    variance[:, 110:] = 25.0
    image = rng.normal(size=variance.shape) * np.sqrt(variance)
    psf = gaussian(21, 1.8)
    usable = np.ones(image.shape, dtype=bool)
    field = KernelField.constant(psf, (10, 10))
    quiet = significance(image, variance, usable, field)
    assert quiet[20:-20, 20:-20].std() == pytest.approx(1.0, abs=0.02)
    flux = 10.0 / np.sqrt((psf**2).sum() / 4.0)
    image[40:61, 40:61] += flux * psf
    added = significance(image, variance, usable, field) - quiet
    assert added[50, 50] == pytest.approx(10.0, rel=1e-9)


def test_equals_the_sums_it_is_defined_by():
    rng = np.random.default_rng(6)
    image, variance = rng.normal(size=(25, 31)), rng.uniform(1, 3, size=(25, 31))
    usable = rng.random(image.shape) > 0.1
    image[~usable] = np.nan
    psf = rng.random((5, 7))
    psf /= psf.sum()
    measured = significance(image, variance, usable, KernelField.constant(psf, (4, 1)))
    y, x = 12, 15
    under = np.s_[y - 1 : y + 4, x - 4 : x + 3]
    noise = np.where(usable[under], variance[under], 0.0)
    data = np.where(usable[under], image[under], 0.0)
    expected = (psf * data).sum() / np.sqrt((psf**2 * noise).sum())
    assert measured[y, x] == pytest.approx(expected, rel=1e-10)


def test_nothing_usable_gives_nan():
    image = np.zeros((9, 9))
    none = np.zeros(image.shape, dtype=bool)
    field = KernelField.constant(gaussian(3, 1.0), (1, 1))
    assert np.isnan(significance(image, np.ones(image.shape), none, field)).all()


def test_far_from_usable_pixels_there_is_nothing():
    """NaN where usable pixels hold less than a ten-thousandth of the energy, and nowhere else."""
    rng = np.random.default_rng(7)
    image, variance = rng.normal(size=(60, 70)), rng.uniform(1, 2, size=(60, 70))
    usable = rng.random(image.shape) > 0.995
    psf = gaussian(21, 2.0)
    measured = significance(image, variance, usable, KernelField.constant(psf, (10, 10)))
    energy = np.pad(usable.astype(float), 10)
    share = np.array(
        [
            [(energy[y : y + 21, x : x + 21] * psf**2).sum() / (psf**2).sum() for x in range(70)]
            for y in range(60)
        ]
    )
    sure = (share < 0.999e-4) | (share > 1.001e-4)
    assert ((share < 1e-4) & (share > 0)).any()
    np.testing.assert_array_equal(np.isnan(measured)[sure], (share < 1e-4)[sure])


def test_a_noisy_part_counts_beside_a_deep_one():
    rng = np.random.default_rng(8)
    variance = np.full((80, 90), 1e-4)
    variance[40:] = 1e8
    image = rng.normal(size=variance.shape) * np.sqrt(variance)
    field = KernelField.constant(gaussian(9, 1.2), (4, 4))
    measured = significance(image, variance, np.ones(image.shape, dtype=bool), field)
    assert measured[50:75].std() == pytest.approx(1.0, abs=0.1)


def test_rows_do_not_depend_on_how_they_are_read():
    rng = np.random.default_rng(9)
    image, variance = rng.normal(size=(90, 40)), rng.uniform(1, 2, size=(90, 40))
    usable = rng.random(image.shape) > 0.2
    variance[3, 3], variance[4, 4], variance[5, 5], image[6, 6] = 0.0, np.inf, np.nan, np.nan
    stamps = np.array([[gaussian(7, 1.0), gaussian(7, 1.5)], [gaussian(7, 1.1), gaussian(7, 2)]])
    field = KernelField(np.array([0.0, 39.0]), np.array([0.0, 89.0]), stamps, (3, 3))
    whole = significance(image, variance, usable, field)
    plane, _ = point_source_planes(image, variance, usable, field)
    for rows in (slice(0, 90), slice(0, 1), slice(20, 55), slice(89, 90)):
        np.testing.assert_allclose(plane[rows], whole[rows], rtol=1e-9, atol=1e-12)
