"""Stamps that are not sampled in image pixels: subpixels, samples, grids."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.special import erf

from diffdecor.errors import InputError
from diffdecor.psfs.registry import read_psf

SIGMA = 1.2


def integrated(n, center, step):
    edges = (np.arange(n + 1) - 0.5 - center) * step
    profile = np.diff(erf(edges / (SIGMA * np.sqrt(2)))) / 2
    return np.outer(profile, profile)


def effective(n, center, step):
    """Samples `step` pixels apart of a Gaussian that has been smoothed over a pixel."""
    at = (np.arange(n) - center) * step
    half = SIGMA * np.sqrt(2)
    profile = (erf((at + 0.5) / half) - erf((at - 0.5) / half)) / 2
    return np.outer(profile, profile)


@pytest.fixture
def read(tmp_path):
    def read(array, **cards):
        fits.PrimaryHDU(array, fits.Header(cards)).writeto(tmp_path / "psf.fits")
        return read_psf(tmp_path / "psf.fits")

    return read


def error(psf, x=0, y=0):
    """Largest deviation from the Gaussian in pixels, relative to its peak."""
    stamp = psf.stamp(x, y)
    assert stamp.shape[0] == stamp.shape[1]
    assert psf.origin[0] == psf.origin[1]
    truth = integrated(len(stamp), psf.origin[0], 1.0)
    return np.abs(stamp - truth / truth.sum()).max() / truth.max()


@pytest.mark.parametrize(
    ("n", "cards", "worst"),
    [
        (105, {"OVERSAMP": 5}, 1e-12),
        (63, {"OVERSAMP": 3}, 1e-12),
        (84, {"OVERSAMP": 4}, 1e-12),  # centred on its middle, as webbpsf does
        (85, {"OVERSAMP": 4}, 1e-4),  # pixels begin in the middle of a subpixel
        (61, {"OVERSAMP": 2.5}, 2e-3),
        (85, {"OVERSAMP": 4, "PSF_SAMP": 0.25}, 1e-4),
        (105, {"OVERSAMP": 5, "CTRX": 53, "CTRY": 53.0}, 1e-12),
        (21, {"OVERSAMP": 1}, 1e-12),
        (21, {"OVERSAMP": 1.0, "PSF_SAMP": 1}, 1e-12),
    ],
)
def test_subpixels_are_added_up(read, n, cards, worst):
    step = 1 / cards["OVERSAMP"]
    psf = read(integrated(n, (n - 1) / 2, step), **cards)
    assert error(psf) < worst
    assert psf.stamp(0, 0).sum() == pytest.approx(1, abs=1e-14)


def test_an_even_number_of_subpixels_centred_on_one(read, caplog):
    assert error(read(integrated(84, 42, 0.25), OVERSAMP=4)) < 1e-4
    assert "84 x 84 pixels, an even size" in caplog.text
    assert "taken to be centred on the 1-based pixel (43, 43)" in caplog.text


def test_an_even_number_of_subpixels_centred_between_two(read, caplog):
    read(integrated(84, 41.5, 0.25), OVERSAMP=4)
    assert "taken to be centred on the 1-based pixel (42.5, 42.5)" in caplog.text


def test_subpixels_off_centre(read):
    psf = read(integrated(84, 37.5, 0.25), OVERSAMP=4, CTRX=38.5, CTRY=38.5)
    assert error(psf) < 1e-9


@pytest.mark.parametrize(("n", "samp"), [(61, 0.5), (60, 0.5), (31, 0.8), (25, 1.1)])
def test_samples_are_interpolated(read, n, samp):
    psf = read(effective(n, n // 2, samp), PSF_SAMP=samp)
    assert psf.origin == (int(n // 2 * samp),) * 2
    assert error(psf) < 6e-3


def test_every_plane_of_a_cube_is_rendered(tmp_path):
    planes = np.array([integrated(63, 31, 1 / 3), np.ones((63, 63))])
    cube = fits.ImageHDU(planes, fits.Header({"OVERSAMP": 3}), name="PSF")
    columns = [fits.Column(axis, "D", array=[1.0, 11.0]) for axis in "XY"]
    table = fits.BinTableHDU.from_columns(columns, name="PSFPOS")
    fits.HDUList([fits.PrimaryHDU(), cube, table]).writeto(tmp_path / "psf.fits")
    psf = read_psf(tmp_path / "psf.fits")
    assert error(psf) < 1e-12
    np.testing.assert_allclose(psf.stamp(10, 10), 1 / 441, rtol=1e-12)


@pytest.mark.parametrize("n", [84, 85])
@pytest.mark.parametrize("form", ["({:.1f}, {:.1f})", "(np.float64({}), np.float64({}))"])
def test_grids_of_webbpsf(read, n, form):
    """Samples of the effective PSF, centred on the middle; cards (y, x), 0-based."""
    gaussian = effective(n, (n - 1) / 2, 0.25)
    planes = np.array([gaussian, gaussian, np.ones((n, n)), np.ones((n, n))])
    places = [(0, 0), (0, 100), (50, 0), (50, 100)]
    cards = {f"DET_YX{i}": form.format(float(y), float(x)) for i, (y, x) in enumerate(places)}
    psf = read(planes, OVERSAMP=4, **cards)
    assert psf.positions.tolist() == [[0, 0], [100, 0], [0, 50], [100, 50]]
    assert error(psf) < 5e-5
    assert error(psf, x=100) < 5e-5
    flat = psf.stamp(50, 50)
    np.testing.assert_allclose(flat, 1 / flat.size, rtol=1e-12)


def test_a_grid_in_pixels(read):
    n = 20
    psf = read(effective(n, (n - 1) / 2, 1.0)[np.newaxis], OVERSAMP=1, DET_YX0="(5.0, 7.0)")
    assert error(psf) < 2e-2


@pytest.mark.parametrize(
    ("cards", "problem"),
    [
        ({"OVERSAMP": 0}, "OVERSAMP = 0 is not a sampling"),
        ({"OVERSAMP": "four"}, "OVERSAMP = 'four' is not a sampling"),
        ({"PSF_SAMP": -0.5}, r"PSF_SAMP = -0\.5 is not a sampling"),
        ({"PSF_SAMP": 50.0}, r"1050 pixels wide with PSF_SAMP = 50\.0: an image, not a PSF"),
        ({"OVERSAMP": 4, "PSF_SAMP": 0.5}, "OVERSAMP = 4 and PSF_SAMP = 0.5 contradict"),
        ({"OVERSAMP": 3, "CTRX": "a", "CTRY": 1}, "are not a pixel; give both as 1-based numbers"),
        ({"OVERSAMP": 3, "CTRX": 30, "CTRY": 1}, "are not a pixel"),
        ({"CTRX": 10.5, "CTRY": 10.5}, "are not a pixel; give both as 1-based whole numbers"),
    ],
)
def test_impossible_samplings(read, cards, problem):
    with pytest.raises(InputError, match=rf"psf\.fits: PSF: .*{problem}"):
        read(integrated(21, 10, 1.0), **cards)


@pytest.mark.parametrize("card", ["(5.0,)", "here"])
def test_a_grid_with_a_wrong_position(read, card):
    with pytest.raises(InputError, match=r"DET_YX1 = .* is not a position"):
        read(np.ones((2, 5, 5)), OVERSAMP=1, DET_YX0="(1.0, 1.0)", DET_YX1=card)


def test_a_grid_with_too_few_positions(read):
    with pytest.raises(InputError, match="DET_YX1 = 'None' is not a position"):
        read(np.ones((2, 5, 5)), OVERSAMP=1, DET_YX0="(1.0, 1.0)")
