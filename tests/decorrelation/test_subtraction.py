"""Images that were convolved before they were subtracted, and sums of such images."""

import numpy as np
import pytest
from helpers import oracle
from numpy.testing import assert_array_equal

from diffdecor import DecorrelationConfig, Exposure, Member, decorrelate
from diffdecor.core.convolve import convolved
from diffdecor.core.interpolate import KernelField
from diffdecor.core.whiteness import autocorrelation
from diffdecor.kernels.model import StampKernel

SHAPE = (420, 440)
EDGE = 50


def kernel(sigma, total=1.0, size=15):
    stamp = total * oracle.gaussian(size, sigma)
    return StampKernel(stamps=stamp[np.newaxis], origin=(size // 2, size // 2))


def through(image, one):
    return convolved(image, KernelField.constant(one.stamps[0], one.origin))


def noise(rng, variance):
    return rng.normal(size=SHAPE) * np.sqrt(variance)


def exposure(variance, name):
    return Exposure(image=np.ones(SHAPE), variance=np.full(SHAPE, variance), name=name)


def assert_white_with_claimed_variance(result):
    inside = np.s_[EDGE:-EDGE, EDGE:-EDGE]
    image = np.asarray(result.exposure.image)[inside]
    measured = autocorrelation(image, np.ones(image.shape, dtype=bool), 8)
    deviations = measured.values / measured.errors
    deviations[8, 8] = 0
    assert np.abs(deviations).max() < 4.5
    claimed = np.asarray(result.exposure.variance)[inside]
    assert (image**2 / claimed).mean() == pytest.approx(1, abs=0.015)


@pytest.mark.parametrize("variance", ["weighted", "full"])
def test_cross_convolution_is_whitened(variance):
    """Each image convolved with (about) the PSF of the other: no matching kernel at all."""
    rng = np.random.default_rng(21)
    of_science, of_template = kernel(0.8, 1.3), kernel(0.6, 0.8)
    difference = through(noise(rng, 4.0), of_science) - through(noise(rng, 1.0), of_template)
    science, template = exposure(4.0, "science"), exposure(1.0, "template")
    config = DecorrelationConfig(
        noise_model="white", precision="double", mode="whole", variance=variance
    )
    result = decorrelate(
        science,
        template,
        Exposure(image=difference),
        None,
        config=config,
        science_members=[Member(science, of_science)],
        template_members=[Member(template, of_template)],
    )
    assert_white_with_claimed_variance(result)


def test_a_homogenised_template_goes_through_both_kernels():
    """The template was convolved to a common PSF first, and then matched to the science image."""
    rng = np.random.default_rng(22)
    own, kappa = kernel(1.2), kernel(0.8, 0.9)
    difference = noise(rng, 1.0) - through(through(noise(rng, 16.0), own), kappa)
    science, template = exposure(1.0, "science"), exposure(16.0, "template")
    result = decorrelate(
        science,
        template,
        Exposure(image=difference),
        kappa,
        config=DecorrelationConfig(noise_model="white", precision="double", mode="whole"),
        template_members=[Member(template, own)],
    )
    assert_white_with_claimed_variance(result)
    unaware = decorrelate(
        science,
        template,
        Exposure(image=difference),
        kappa,
        config=DecorrelationConfig(noise_model="white", precision="double", mode="whole"),
    )
    with pytest.raises(AssertionError):
        assert_white_with_claimed_variance(unaware)


@pytest.mark.parametrize("mode", ["whole", "grid"])
def test_a_stack_of_images_with_kernels_of_their_own(mode):
    """The template is a weighted sum of three images, two of them convolved."""
    rng = np.random.default_rng(23)
    kappa = kernel(1.3, 1.1)
    variances, weights = (2.0, 5.0, 1.0), (0.5, 0.3, 0.2)
    own = (kernel(1.1), None, kernel(0.8))
    images = [noise(rng, value) for value in variances]
    coadd = sum(
        weight * (image if one is None else through(image, one))
        for weight, image, one in zip(weights, images, own, strict=True)
    )
    difference = noise(rng, 0.2) - through(coadd, kappa)
    members = [
        Member(exposure(value, f"member {number}"), one, weight)
        for number, (value, one, weight) in enumerate(zip(variances, own, weights, strict=True))
    ]
    result = decorrelate(
        exposure(0.2, "science"),
        Exposure(image=coadd, name="coadd"),
        Exposure(image=difference),
        kappa,
        config=DecorrelationConfig(noise_model="white", precision="double", mode=mode),
        template_members=members,
    )
    assert_white_with_claimed_variance(result)
    total = sum(value * weight**2 for value, weight in zip(variances, weights, strict=True))
    assert result.template_level[0] == pytest.approx(total)


def test_a_member_without_data_somewhere_leaves_no_hole():
    members = [Member(exposure(1.0, "a"), None, 0.5), Member(exposure(1.0, "b"), None, 0.5)]
    gone = np.full(SHAPE, 1.0)
    gone[:, :100] = np.inf
    members[1] = Member(Exposure(image=np.ones(SHAPE), variance=gone, name="b"), None, 0.5)
    rng = np.random.default_rng(24)
    result = decorrelate(
        exposure(1.0, "science"),
        Exposure(image=np.ones(SHAPE)),
        Exposure(image=noise(rng, 2.0)),
        kernel(1.0),
        template_members=members,
    )
    assert result.metrics.filled_pixels == 0
    assert np.isfinite(result.exposure.variance).all()


@pytest.mark.parametrize("role", ["science", "template"])
def test_pixels_without_variance_do_not_ring_whatever_their_image_went_through(role):
    hole = np.s_[200:206, 210:218]
    variance = np.ones(SHAPE)
    variance[hole] = np.inf
    images = {name: exposure(1.0, name) for name in ("science", "template")}
    images[role] = Exposure(image=np.ones(SHAPE), variance=variance, name=role)

    def image_with(value):
        difference = noise(np.random.default_rng(25), 2.0)
        difference[hole] = value
        members = {f"{role}_members": [Member(images[role], kernel(0.7))]}
        result = decorrelate(*images.values(), Exposure(image=difference), kernel(1.0), **members)
        assert result.metrics.filled_pixels == variance[hole].size
        return np.asarray(result.exposure.image)

    bright, unknown = image_with(1e6), image_with(np.nan)
    assert (bright[hole] == 1e6).all()
    unknown[hole] = 1e6
    assert_array_equal(bright, unknown)
