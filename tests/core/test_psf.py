"""The PSF of the result, and its figures, on profiles of which all is known."""

import numpy as np
import pytest
from helpers import oracle
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor.core.psf import (
    adaptive_fwhm,
    corrected_psf,
    crop_stamp,
    flux_half_width,
    half_maximum_fwhm,
    noise_equivalent_area,
)

FWHM = 2 * np.sqrt(2 * np.log(2))


@pytest.mark.parametrize("sigma", [0.9, 1.5, 2.5])
@pytest.mark.parametrize("centre", [(20, 20), (20.3, 19.6), (17, 24.5)])
def test_adaptive_fwhm_of_gaussians(sigma, centre):
    stamp = oracle.gaussian(41, sigma, centre=centre)
    # Below a sigma of a pixel the sampled Gaussian is no longer quite one.
    assert adaptive_fwhm(stamp) == pytest.approx(FWHM * sigma, rel=0.02 if sigma < 1 else 1e-7)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2])
def test_adaptive_fwhm_of_elliptical_gaussians_is_the_geometric_mean(angle):
    stamp = oracle.gaussian(61, 3.0, axis_ratio=0.6, angle=angle)
    assert adaptive_fwhm(stamp) == pytest.approx(FWHM * 3.0 * np.sqrt(0.6), rel=1e-6)


def test_adaptive_fwhm_of_noise_is_nothing_or_a_number_and_no_warning():
    found = []
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=(61, 51))
        found.append(adaptive_fwhm(noise / noise.sum()))
    assert np.isnan(found).any()
    assert not np.isinf(found).any()


def test_adaptive_fwhm_hardly_sees_a_flux_factor_or_faint_wings():
    stamp = oracle.gaussian(41, 1.5)
    winged = 0.97 * stamp + 0.03 * oracle.gaussian(41, 6.0)
    assert adaptive_fwhm(1e4 * stamp) == pytest.approx(adaptive_fwhm(stamp))
    assert adaptive_fwhm(winged) == pytest.approx(FWHM * 1.5, rel=0.02)


def test_adaptive_fwhm_of_a_single_pixel_is_unknown():
    stamp = np.zeros((9, 9))
    stamp[4, 4] = 1
    assert np.isnan(adaptive_fwhm(stamp))


@pytest.mark.parametrize("centre", [(25, 25), (25.4, 24.8)])
@pytest.mark.parametrize("beta", [2.5, 4.0])
def test_half_maximum_of_moffats(centre, beta):
    stamp = oracle.moffat(51, 5.0, beta, centre=centre)
    assert half_maximum_fwhm(stamp) == pytest.approx(5.0, rel=0.03)


def test_half_maximum_of_gaussians():
    assert half_maximum_fwhm(oracle.gaussian(41, 2.0)) == pytest.approx(FWHM * 2.0, rel=0.01)
    elliptical = oracle.gaussian(61, 4.0, axis_ratio=0.5)
    assert half_maximum_fwhm(elliptical) == pytest.approx(FWHM * np.sqrt(8.0), rel=0.01)


def test_half_maximum_of_a_stamp_that_never_falls_is_unknown():
    assert np.isnan(half_maximum_fwhm(np.ones((5, 5))))


def test_half_maximum_between_pixels_is_linear():
    stamp = np.array([[0, 0.2, 0], [0.25, 1.0, 0.25], [0, 0.2, 0]])
    across = 2 * (1 - 0.25 / 0.75)
    along = 2 * (1 - 0.3 / 0.8)
    assert half_maximum_fwhm(stamp) == pytest.approx(np.sqrt(across * along))


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("centre", [(30, 30), (30.5, 29.7)])
def test_noise_equivalent_area_of_gaussians(sigma, centre):
    area = noise_equivalent_area(oracle.gaussian(61, sigma, centre=centre))
    assert area == pytest.approx(4 * np.pi * sigma**2, rel=2e-3)


def test_noise_equivalent_area_of_a_moffat():
    fwhm, beta = 6.0, 3.0
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    area = noise_equivalent_area(oracle.moffat(301, fwhm, beta))
    assert area == pytest.approx(np.pi * alpha**2 * (2 * beta - 1) / (beta - 1) ** 2, rel=1e-3)


def test_corrected_psf_is_the_convolution_of_all():
    rng = np.random.default_rng(4)
    psf, kernel, psi = rng.uniform(size=(5, 6)), rng.uniform(size=(3, 4)), rng.uniform(size=(7, 7))
    stamp, origin = corrected_psf(psf, (3, 2), (kernel, (0, 1)), (psi, (3, 3)))
    expected = oracle.convolved_stamps(oracle.convolved_stamps(psf, kernel), psi)
    assert_allclose(stamp, expected / expected.sum(), atol=1e-14)
    assert origin == (6, 6)


def test_corrected_psf_of_gaussians():
    stamp, origin = corrected_psf(
        oracle.gaussian(41, 3.0), (20, 20), (oracle.gaussian(41, 4.0), (20, 20))
    )
    assert_allclose(stamp, oracle.gaussian(81, 5.0, centre=origin), atol=2e-6)


def test_corrected_psf_without_a_sum_is_refused():
    with pytest.raises(ValueError, match="no sum to normalise"):
        corrected_psf(oracle.gaussian(5, 1.0), (2, 2), (np.array([[1.0, -1.0]]), (0, 0)))


@pytest.mark.parametrize("half_width", [0, 1, 3, 10])
def test_cropped_stamps_keep_their_origin_in_the_middle(half_width):
    rng = np.random.default_rng(6)
    stamp, (cx, cy) = rng.normal(size=(6, 9)), (7, 1)
    square = crop_stamp(stamp, (cx, cy), half_width)
    for j, i in np.ndindex(square.shape):
        y, x = cy + j - half_width, cx + i - half_width
        inside = 0 <= y < 6 and 0 <= x < 9
        assert square[j, i] == (stamp[y, x] if inside else 0)


def test_flux_half_width_loses_no_more_than_it_may():
    stamp = oracle.gaussian(81, 3.0, centre=(38, 41))
    for lost in (1e-2, 1e-4, 1e-8):
        width = flux_half_width(stamp, (38, 41), lost)
        assert 1 - crop_stamp(stamp, (38, 41), width).sum() <= lost
        assert 1 - crop_stamp(stamp, (38, 41), width - 1).sum() > lost


def test_figures_leave_stamps_as_they_are():
    stamp = oracle.gaussian(21, 2.0)
    copy = stamp.copy()
    stamp.flags.writeable = False
    for figure in (adaptive_fwhm, half_maximum_fwhm, noise_equivalent_area):
        figure(stamp)
    assert_array_equal(stamp, copy)
