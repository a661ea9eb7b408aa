"""Significance: unit noise where there is nothing, the right ratio where there is a source."""

import numpy as np
import pytest

from diffdecor.core.convolve import KernelField
from diffdecor.core.significance import significance


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
    weight = np.where(usable[under], 1 / variance[under], 0.0)
    data = np.where(usable[under], image[under], 0.0)
    expected = (psf * data * weight).sum() / np.sqrt((psf**2 * weight).sum())
    assert measured[y, x] == pytest.approx(expected, rel=1e-10)


def test_nothing_usable_gives_nan():
    image = np.zeros((9, 9))
    none = np.zeros(image.shape, dtype=bool)
    field = KernelField.constant(gaussian(3, 1.0), (1, 1))
    assert np.isnan(significance(image, np.ones(image.shape), none, field)).all()
