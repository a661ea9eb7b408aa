"""Significance and flux error: exact where noise varies under the filter, PSFs that vary."""

import numpy as np
import pytest
import scipy.signal
from helpers import oracle
from helpers.warped import WARPED, Triple, warped

from diffdecor import DecorrelationConfig, Exposure, decorrelate
from diffdecor.core.noise_power import NoisePower, spectrum_of_lags
from diffdecor.decorrelation.decorrelate import _in_memory, prepare
from diffdecor.decorrelation.subtraction import Member, Subtraction, as_kernel
from diffdecor.kernels.model import StampKernel
from diffdecor.psfs.model import StampPsf

KERNEL = oracle.gaussian(13, 1.5)
PSF = oracle.gaussian(25, 1.5)
WHITE = {"noise_model": "white", "significance": True}


def convolved(image, stamp):
    return scipy.signal.fftconvolve(image, stamp, mode="same")


def triple(rng, science_variance, template_variance, psf=PSF, light=0.0):
    shape = science_variance.shape
    science = rng.normal(size=shape) * np.sqrt(science_variance) + light
    template = rng.normal(size=shape) * np.sqrt(template_variance)
    psf = psf if isinstance(psf, StampPsf) else StampPsf(psf)
    return (
        Exposure(image=science, variance=science_variance, psf=psf),
        Exposure(image=template, variance=template_variance),
        Exposure(image=science - convolved(template, KERNEL)),
        KERNEL,
    )


def galaxies(shape=(260, 260), step=40):
    """Variances with cores two pixels wide, 100 times the sky's, and where these are."""
    y, x = np.indices(shape)
    places = [(a, b) for a in range(50, 230, step) for b in range(50, 230, step)]
    light = sum(9900 * np.exp(-np.hypot(x - b, y - a) / 2.5) for a, b in places)
    return 100 + light, places


def test_the_flux_error_is_exact_inside_bright_sources():
    """It is that of the noise of both images, through everything up to the flux."""
    bright, places = galaxies()
    planes = np.full(bright.shape, 100.0), bright
    config = DecorrelationConfig(mode="whole", **WHITE)
    result = decorrelate(*triple(np.random.default_rng(1), *planes), config=config)
    y, x = places[12]
    psf = result.exposure.psf.stamp(x, y)
    psi = result.filters[0]
    expected = 0.0
    for plane, kernel in zip(planes, (np.ones((1, 1)), KERNEL), strict=True):
        way = oracle.convolved_stamps(oracle.convolved_stamps(psf[::-1, ::-1], psi), kernel)
        expected = expected + convolved(plane, way**2)
    error = np.sqrt(expected) / np.sum(psf**2)
    near = np.s_[y - 3 : y + 4, x - 3 : x + 4]
    np.testing.assert_allclose(result.flux_error[near], error[near], rtol=1e-4)
    # Pixels that are taken for independent would have quite another error.
    white = np.sqrt(convolved(result.exposure.variance, psf**2)) / np.sum(psf**2)
    assert np.abs(white[near] / error[near] - 1).max() > 0.1


@pytest.mark.parametrize("case", ["whole", "grid", pytest.param("stack", marks=pytest.mark.long)])
def test_significance_scatters_by_one_in_cores_and_sky(case):
    """Also where the noise level changes sevenfold, and of a stack whose images differ."""
    bright, places = galaxies()
    if case == "grid":
        bright = bright * (1 + 6 * np.linspace(0, 1, bright.shape[1]))
    flat = np.full(bright.shape, 100.0)
    config = DecorrelationConfig(mode="whole" if case == "whole" else "grid", **WHITE)
    rng, cores, sky = np.random.default_rng(2), [], []
    for _ in range(8):
        if case == "stack":
            inputs, members = stack(rng, flat, bright)
        else:
            inputs, members = triple(rng, flat, bright), ()
        result = decorrelate(*inputs, config=config, template_members=members)
        cores += [result.significance[y, x] for y, x in places]
        sky.append(result.significance[70:231:10, 30:231:40])
    for values in (np.array(cores), np.array(sky)):
        assert np.sqrt(np.mean(values**2)) == pytest.approx(1, abs=4 / np.sqrt(2 * values.size))


def stack(rng, science_variance, template_variance):
    """A template that is the sum of two images, one of them smoothed before."""
    smooth, weights = oracle.gaussian(9, 0.8), (0.6, 0.4)
    variances = template_variance, 2 * template_variance
    noises = [rng.normal(size=one.shape) * np.sqrt(one) for one in variances]
    added = weights[0] * convolved(noises[0], smooth) + weights[1] * noises[1]
    exposures = [
        Exposure(image=image, variance=variance)
        for image, variance in zip(noises, variances, strict=True)
    ]
    members = (
        Member(exposures[0], StampKernel(stamps=smooth[np.newaxis], origin=(4, 4)), weights[0]),
        Member(exposures[1], None, weights[1]),
    )
    science, *_ = triple(rng, science_variance, science_variance)
    difference = science.image - convolved(added, KERNEL)
    template = Exposure(image=added, variance=template_variance)
    return (science, template, Exposure(image=difference), KERNEL), members


@pytest.mark.parametrize("mode", ["whole", "grid"])
def test_measured_noise_counts_in_the_flux_error(mode):
    """Noise that is correlated in the template weighs more in a flux than its variance says."""
    values = []
    for seed in range(2):
        result = Triple(seed, psf=StampPsf(PSF)).decorrelated(mode=mode, significance=True)
        assert result.metrics.noise_model == "measured"
        values.append(result.significance[20:-20:6, 20:-20:6])
    values = np.array(values)
    assert np.std(values) == pytest.approx(1, abs=0.005 + 4 / np.sqrt(2 * values.size))


def test_the_known_noise_of_a_warped_template_counts_inside_bright_sources():
    """There it is that of the template alone, of which each side has its own noise kernel."""
    bright, places = galaxies((320, 320))
    along = [[a * b, a**2 + b**2, a * b] for a, b in ((0.4, 0.6), (0.3, 0.7))]
    covariance = np.outer(*along) / WARPED
    power = NoisePower(spectrum=spectrum_of_lags(covariance)[0], variance=1.0, absolute=False)
    rng, cores, sky = np.random.default_rng(5), [], []
    for _ in range(20):
        noise = warped(rng.normal(size=bright.shape)) * np.sqrt(bright)
        science, _, _, _ = triple(rng, np.full(bright.shape, 100.0), bright)
        subtraction = Subtraction(
            science,
            Exposure(image=noise, variance=WARPED * bright),
            Exposure(image=science.image - convolved(noise, KERNEL)),
            as_kernel(KERNEL),
            config=DecorrelationConfig(mode="whole", **WHITE),
            noise_powers={"template": power},
        )
        result = _in_memory(prepare(subtraction))
        cores += [result.significance[y, x] for y, x in places]
        sky.append(result.significance[70:231:10, 30:231:40])
    for values in (np.array(cores), np.array(sky)):
        assert np.std(values) == pytest.approx(1, abs=4 / np.sqrt(2 * values.size))


@pytest.mark.parametrize("mode", ["whole", "grid"])
def test_near_the_border_the_claim_is_not_too_small(mode):
    """The reflected pixels are not independent: the true scatter is up to a tenth smaller there."""
    size, wide = 200, 40
    config = DecorrelationConfig(mode=mode, **WHITE)
    rng, found = np.random.default_rng(6), []
    for _ in range(8):
        noise = rng.normal(size=(2, size + 2 * wide, size + 2 * wide)) * [[[1]], [[3]]]
        inner = np.s_[wide:-wide, wide:-wide]
        difference = noise[0] - convolved(noise[1], KERNEL)
        science, template = (
            Exposure(image=one[inner], variance=np.full((size, size), level), psf=StampPsf(PSF))
            for one, level in zip(noise, (1.0, 9.0), strict=True)
        )
        exposures = science, template, Exposure(image=difference[inner])
        plane = decorrelate(*exposures, KERNEL, config=config).significance
        sides = plane, plane[::-1], plane.T, plane.T[::-1]
        found += [side[:12, 30:-30:7] for side in sides]
    scatter = np.std(found, axis=(0, 2))
    error = 1 / np.sqrt(2 * len(found) * found[0].shape[1])
    assert (scatter < 1 + 4 * error).all()
    assert (scatter > 0.9 - 4 * error).all()
    assert scatter[5:] == pytest.approx(1, abs=4 * error)


def test_score_images_are_significances_already():
    rng = np.random.default_rng(7)
    variance = np.full((120, 120), 1.0)
    science, template, difference, kernel = triple(rng, variance, 2 * variance)
    score = Exposure(image=convolved(difference.image, PSF))
    config = DecorrelationConfig(score=True, mode="whole", **WHITE)
    result = decorrelate(science, template, score, kernel, config=config)
    assert result.flux_error is None
    expected = result.exposure.image / np.sqrt(result.exposure.variance)
    np.testing.assert_allclose(result.significance, expected, rtol=1e-6)


MODES = {
    "whole": {"mode": "whole"},
    "grid": {"mode": "grid"},
    "cells": {"mode": "grid", "blend": "average", "scale_by_fwhm": False, "cell_size": (70, 70),
              "grid_step": (60, 60)},
}  # fmt: skip


def varying_psf(shape):
    """A PSF whose width varies by two thirds over the image."""
    ny, nx = shape
    places = np.array([[0.0, 0.0], [nx - 1, 0.0], [0.0, ny - 1], [nx - 1, ny - 1]])
    stamps = np.array([oracle.gaussian(31, sigma) for sigma in (1.2, 1.5, 1.6, 2.0)])
    return StampPsf(stamps, places)


@pytest.mark.parametrize("mode", ["grid", pytest.param("cells", marks=pytest.mark.long), "whole"])
def test_fluxes_of_a_varying_psf_are_unbiased_and_scatter_as_claimed(mode):
    shape, flux, turns = (260, 280), 3e3, 8
    psf, light = varying_psf(shape), np.zeros(shape)
    sources = [(x, y) for y in range(30, 250, 40) for x in range(30, 270, 40)]
    for x, y in sources:
        light[y - 15 : y + 16, x - 15 : x + 16] += flux * psf.stamp(x, y)
    # Filters of cells change in steps: fluxes would be off by up to a per cent where levels triple.
    ramp = np.linspace(1, 1 if mode == "cells" else 3, shape[1]) * np.ones(shape)
    rng, fluxes, pulls, config = np.random.default_rng(8), [], [], MODES[mode] | WHITE
    for _ in range(turns):
        inputs = triple(rng, np.ones(shape), ramp, psf, light)
        result = decorrelate(*inputs, config=DecorrelationConfig(**config))
        found, error = (
            np.array([plane[y, x] for x, y in sources])
            for plane in (result.significance * result.flux_error, result.flux_error)
        )
        fluxes.append(found / flux)
        pulls.append((found - flux) / error)
    errors = np.std(fluxes, axis=0, ddof=1) / np.sqrt(turns)
    assert (np.abs(np.mean(fluxes, axis=0) - 1) < 0.005 + 2.5 * errors).all()
    assert errors.max() < 0.003
    assert abs(np.mean(fluxes) - 1) < 0.002
    scatter = np.std(pulls, axis=0, ddof=1)
    freedom = len(sources) * (turns - 1)
    assert np.sqrt(np.mean(scatter**2)) == pytest.approx(1, abs=4 / np.sqrt(2 * freedom))


@pytest.mark.parametrize("mode", MODES)
def test_psf_and_flux_follow_a_varying_psf_in_every_mode(mode):
    """Sources without noise: their flux is significance times flux error, wherever they are."""
    shape = (300, 320)
    psf = varying_psf(shape)
    light = np.zeros(shape)
    sources = [(40, 45), (280, 40), (160, 150), (45, 255), (270, 250)]
    for x, y in sources:
        light[y - 15 : y + 16, x - 15 : x + 16] += 1e6 * psf.stamp(x, y)
    variance = np.full(shape, 1e-6)
    exposures = triple(np.random.default_rng(3), variance, 3 * variance, psf, light)
    result = decorrelate(*exposures, config=DecorrelationConfig(**MODES[mode], **WHITE))
    flux = np.array([(result.significance * result.flux_error)[y, x] for x, y in sources])
    np.testing.assert_allclose(flux, 1e6, rtol=0.003)
    for x, y in sources:
        stamp, (cx, cy) = result.exposure.psf.stamp(x, y), result.exposure.psf.origin
        cut = result.exposure.image[y - 9 : y + 10, x - 9 : x + 10] / 1e6
        model = stamp[cy - 9 : cy + 10, cx - 9 : cx + 10]
        np.testing.assert_allclose(cut, model, atol=0.003 * model.max())


def test_pixels_made_of_filled_ones_do_not_count():
    """Their noise is not what the variance says: a source there has a larger error."""
    variance = np.full((120, 120), 1.0)
    science, template, difference, kernel = triple(np.random.default_rng(4), variance, 4 * variance)
    image = difference.image.copy()
    image[59:62, 59:62] = np.nan
    config = DecorrelationConfig(mode="whole", flag_share=1e-4, **WHITE)
    result = decorrelate(science, template, Exposure(image=image), kernel, config=config)
    exposure = result.exposure
    near = (exposure.mask & exposure.mask_planes.value(["NEAR_FILLED"])) != 0
    assert near.sum() > 3
    psf, (cx, cy) = exposure.psf.stamp(60, 60), exposure.psf.origin
    lost = near | np.isnan(exposure.image)
    energy = np.sum(psf**2) - sum(
        psf[cy + y - 60, cx + x - 60] ** 2 for y, x in np.argwhere(lost).tolist()
    )
    expected = result.flux_error[20, 20] * np.sqrt(np.sum(psf**2) / energy)
    assert result.flux_error[60, 60] == pytest.approx(expected, rel=1e-3)
