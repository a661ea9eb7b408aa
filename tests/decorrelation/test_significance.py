"""Significance and flux error: exact where noise varies under the filter, PSFs that vary."""

import numpy as np
import pytest
import scipy.signal
from helpers import oracle

from diffdecor import DecorrelationConfig, Exposure, decorrelate
from diffdecor.psfs.model import StampPsf

KERNEL = oracle.gaussian(13, 1.5)
PSF = oracle.gaussian(25, 1.5)
WHITE = {"noise_model": "white", "significance": True, "precision": "double"}


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


def test_significance_scatters_by_one_in_cores_and_sky():
    bright, places = galaxies()
    config = DecorrelationConfig(mode="whole", **WHITE)
    rng, cores, sky = np.random.default_rng(2), [], []
    for _ in range(24):
        result = decorrelate(*triple(rng, np.full(bright.shape, 100.0), bright), config=config)
        cores += [result.significance[y, x] for y, x in places]
        sky.append(result.significance[70:231:10, 30:231:40])
    for values in (np.array(cores), np.array(sky)):
        assert values.std() == pytest.approx(1, abs=4 / np.sqrt(2 * values.size))


@pytest.mark.parametrize("mode", ["whole", "grid"])
def test_psf_and_flux_follow_a_varying_psf_in_every_mode(mode):
    """Sources without noise: their flux is significance times flux error, wherever they are."""
    shape = (300, 320)
    places = np.array([[0.0, 0.0], [319.0, 0.0], [0.0, 299.0], [319.0, 299.0]])
    stamps = np.array([oracle.gaussian(31, sigma) for sigma in (1.2, 1.5, 1.6, 2.0)])
    psf = StampPsf(stamps, places)
    light = np.zeros(shape)
    sources = [(40, 45), (280, 40), (160, 150), (45, 255), (270, 250)]
    for x, y in sources:
        light[y - 15 : y + 16, x - 15 : x + 16] += 1e6 * psf.stamp(x, y)
    variance = np.full(shape, 1e-6)
    exposures = triple(np.random.default_rng(3), variance, 3 * variance, psf, light)
    result = decorrelate(*exposures, config=DecorrelationConfig(mode=mode, **WHITE))
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
