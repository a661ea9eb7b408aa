"""A difference alone: no images, no kernel. Its noise is measured; white noise stays as it is."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from helpers import oracle
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor import DecorrelationConfig, Exposure, MaskPlanes, Member, decorrelate
from diffdecor.core.convolve import convolved
from diffdecor.core.interpolate import KernelField
from diffdecor.core.psf import crop_stamp
from diffdecor.decorrelation.subtraction import Subtraction, as_kernel
from diffdecor.decorrelation.verification import verify
from diffdecor.errors import ConfigError, InputError
from diffdecor.psfs.model import StampPsf

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

SHAPE = 180, 220
CONFIGS = {
    "whole": DecorrelationConfig(mode="whole"),
    "grid": DecorrelationConfig(),
    "full": DecorrelationConfig(variance="full"),
    "cells": DecorrelationConfig(
        blend="average", scale_by_fwhm=False, cell_size=40, grid_step=30, cell_border=5
    ),
}
ALL = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def white(seed=1, **more):
    """A difference of white noise with a variance plane that steps."""
    variance = np.full(SHAPE, 4.0)
    variance[:, 90:] = 9.0
    image = np.random.default_rng(seed).normal(size=SHAPE) * np.sqrt(variance)
    return Exposure(**{"image": image, "variance": variance, "name": "diff.fits"} | more)


def alone(difference, config=None, **more):
    return decorrelate(None, None, difference, None, config=config, **more)


def correlated(rng, variance):
    """Noise of a known variance, convolved with a Gaussian."""
    stamp = oracle.gaussian(7, 0.7)
    field = KernelField.constant(stamp / np.sqrt((stamp**2).sum()), (3, 3))
    return convolved(rng.normal(size=variance.shape), field) * np.sqrt(variance)


@pytest.mark.parametrize("variance", ["given", "measured"])
@ALL
def test_correlated_noise_is_whitened(config, variance):
    """Its variance comes out right, too: that of the result is far from that of the difference."""
    level = np.full((400, 420), 4.0)
    image = correlated(np.random.default_rng(4), level)
    plane = level if variance == "given" else None
    result = alone(Exposure(image=image, variance=plane, name="diff.fits"), config)
    metrics = result.metrics
    assert metrics.correlation_x_before > 0.55
    for name in ("correlation_x_after", "correlation_y_after"):
        assert abs(getattr(metrics, name)) < 4 * metrics.correlation_error
    assert metrics.noise_model == "measured"
    inside = np.s_[30:-30, 30:-30]
    scaled = (result.exposure.image / np.sqrt(result.exposure.variance))[inside]
    # The error of a variance of as many independent pixels is 0.4 per cent.
    assert scaled.var() == pytest.approx(1, abs=0.02)
    assert metrics.variance_after > 4 * metrics.variance_before


@ALL
def test_white_noise_is_left_alone(config):
    """To the error of the fit: half a per cent of sigma, two per cent of the variance."""
    difference = white()
    before = difference.image.copy(), difference.variance.copy()
    result = alone(difference, replace(config, precision="double"))
    changed = (result.exposure.image - before[0]) / np.sqrt(before[1])
    assert changed.std() < 0.015
    assert_allclose(result.exposure.variance, before[1], rtol=0.04)
    assert_allclose(result.filters.sum(axis=(1, 2)), 1, rtol=1e-12)
    assert_array_equal(difference.image, before[0])
    assert_array_equal(difference.variance, before[1])
    assert (result.template_level == 0).all()
    assert ((result.science_level > 3.99) & (result.science_level < 9.01)).all()


@ALL
def test_variance_that_is_not_given_is_measured(config, caplog):
    given = white()
    with caplog.at_level(logging.INFO):
        result = alone(replace(given, variance=None), config)
    assert "no variance plane" in caplog.text
    assert_allclose(result.exposure.image, given.image, atol=0.3)
    ratio = np.asarray(result.exposure.variance) / given.variance
    assert ratio[:, :20].mean() == pytest.approx(1, abs=0.06)
    assert ratio[:, -60:].mean() == pytest.approx(1, abs=0.06)
    assert np.isfinite(ratio).all()


@ALL
def test_its_own_mask_and_holes(config):
    mask = np.zeros(SHAPE, np.int32)
    mask[40:50, 60:70] = 1
    mask[100, :] = 2
    difference = white(mask=mask, mask_planes=MaskPlanes({"BAD": 0, "ODD": 1}))
    difference.image[20, 20] = np.nan
    difference.image[40:50, 60:70] = 1e6
    difference.variance[120, 30] = np.inf
    result = alone(difference, config)
    planes, pixels = result.exposure.mask_planes, result.exposure.mask

    def flagged(name):
        return pixels & planes.value([name]) != 0

    assert_array_equal(flagged("BAD"), mask & 1 != 0)
    assert_array_equal(flagged("ODD"), mask & 2 != 0)
    assert_array_equal(np.argwhere(flagged("NO_DATA")), [[20, 20], [120, 30]])
    assert result.metrics.filled_pixels == 102
    assert_array_equal(result.exposure.image[40:50, 60:70], 1e6)
    assert np.isnan(result.exposure.image[20, 20])
    assert np.isinf(result.exposure.variance[120, 30])
    good = ~(flagged("BAD") | flagged("NO_DATA"))
    assert_allclose(result.exposure.image[good], difference.image[good], atol=0.3)


@ALL
def test_its_psf_is_carried(config):
    stamp = oracle.gaussian(21, 1.7, axis_ratio=0.8)
    result = alone(white(psf=StampPsf(stamp)), replace(config, significance=True))
    of_result = result.exposure.psf
    half = of_result.shape[0] // 2
    wide = np.pad(stamp, max(0, half - 10))
    kept = crop_stamp(wide / wide.sum(), (wide.shape[0] // 2,) * 2, half)
    assert_allclose(of_result.stamp(50, 50), kept, atol=0.02 * kept.max())
    assert result.metrics.fwhm_after == pytest.approx(result.metrics.fwhm_before, rel=0.02)
    assert np.nanstd(result.significance) == pytest.approx(1, abs=0.1)


def test_without_a_psf_the_result_says_so(caplog):
    result = alone(white())
    assert result.exposure.psf is None
    assert "diff.fits: it has no PSF" in caplog.text
    assert not {name for name in result.metrics.as_dict() if "fwhm" in name or "area" in name}
    with pytest.raises(ConfigError, match=r"give --difference-psf$"):
        alone(white(), DecorrelationConfig(significance=True))


def test_no_warning_of_a_side_that_is_not_there(caplog):
    alone(white(psf=StampPsf(oracle.gaussian(15, 1.5))))
    assert not caplog.records


def test_metrics_say_nothing_of_images_that_are_not_there():
    metrics = alone(white()).metrics
    absent = {"side", "kernel_sum", "template_scale", "science_level", "template_weight"}
    assert not absent & set(metrics.as_dict())
    assert metrics.skipped is False
    assert metrics.variance_before == pytest.approx(metrics.variance_after, rel=0.04)
    assert metrics.sky_pixels > 0.9 * SHAPE[0] * SHAPE[1]
    assert abs(metrics.correlation_x_after) < 4 * metrics.correlation_error


def test_a_variance_plane_without_data_is_measured(caplog):
    result = alone(white(variance=np.full(SHAPE, np.nan)))
    assert "variance plane has no finite pixel" in caplog.text
    assert np.isfinite(result.exposure.variance).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image": np.full(SHAPE, np.nan)}, "no finite pixel"),
        ({"image": np.full(SHAPE, -np.inf)}, "no finite pixel"),
        ({"image": np.full(SHAPE, 3.0), "variance": None}, "no noise"),
        ({"variance": np.zeros(SHAPE)}, "variance plane is zero.*--difference-noise"),
        (
            {"mask": np.ones(SHAPE, np.int32), "mask_planes": MaskPlanes({"BAD": 0})},
            "only 0 sky pixels",
        ),
    ],
)
def test_never_an_unchanged_copy(changes, says):
    with pytest.raises(InputError, match=f"^diff.fits: .*{says}"):
        alone(white(**changes))


@pytest.mark.parametrize("variance", [None, np.ones((60, 70))])
def test_too_few_pixels(variance):
    image = np.random.default_rng(1).normal(size=(60, 70))
    with pytest.raises(InputError, match=r"stamp: .*only 4\d\d\d sky pixels, 5000 are needed"):
        alone(Exposure(image=image, variance=variance, name="stamp"))


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"score": True}, "--score"),
        ({"convolved": "template"}, "--convolved"),
        ({"science_variance": 2.0}, "--science-variance"),
        ({"template_variance": 2.0}, "--template-variance"),
        ({"science_scale": 2.0}, "--science-scale"),
        ({"template_scale": "1/k"}, "--template-scale"),
        ({"kernel_position": (3, 4)}, "--kernel-position"),
    ],
)
def test_options_of_images_that_are_not_there(options, flag):
    with pytest.raises(ConfigError, match=f"^{flag} cannot be used: the difference diff.fits is"):
        alone(white(), DecorrelationConfig(**options))


def test_images_that_are_not_there_have_nothing():
    difference, stamp = white(), oracle.gaussian(5, 1.0)
    with pytest.raises(ConfigError, match="kernel"):
        decorrelate(None, None, difference, stamp)
    for more in (
        {"preconvolution": stamp},
        {"science_members": [Member(white())]},
        {"template_members": [Member(white())]},
        {"science_members": [Member(difference, as_kernel(stamp))]},
    ):
        with pytest.raises(ConfigError, match="is given alone"):
            alone(difference, **more)


def test_one_image_of_two_is_refused():
    difference = white()
    for images in ((difference, None), (None, difference)):
        with pytest.raises(ConfigError, match="give both, or the difference alone"):
            decorrelate(*images, difference, None)


def test_it_cannot_be_rebuilt():
    subtraction = Subtraction(None, None, white(), as_kernel(None))
    assert subtraction.is_alone
    assert not subtraction.can_be_rebuilt
    assert subtraction.exposures == subtraction.images == (subtraction.difference,)
    assert subtraction.members("template") == ()
    with pytest.raises(ConfigError, match=r"diff.fits: a difference alone"):
        verify(subtraction)
