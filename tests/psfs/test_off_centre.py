"""Stamps of a PSF that is not in their middle."""

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.psfs.registry import read_psf


def stamp(x, y, sigma=1.6, size=25):
    row, column = np.indices((size, size))
    return np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))


def read(tmp_path, pixels, **cards):
    fits.PrimaryHDU(pixels, fits.Header(cards)).writeto(tmp_path / "psf.fits", overwrite=True)
    return read_psf(tmp_path / "psf.fits")


def centre(psf):
    """The centroid less the origin, and the stamp."""
    found = psf.stamp(0, 0)
    y, x = np.indices(found.shape)
    return (x * found).sum() - psf.origin[0], (y * found).sum() - psf.origin[1]


@pytest.mark.parametrize("where", [(14, 12), (12, 10), (9, 15), (13.4, 11.0), (10.5, 13.3)])
def test_it_is_centred_by_its_own_centroid(tmp_path, caplog, where):
    psf = read(tmp_path, stamp(*where))
    assert centre(psf) == pytest.approx((0, 0), abs=0.02)
    assert "not in the middle" in caplog.text
    width = np.sqrt((psf.stamp(0, 0) ** 2).sum())
    assert width == pytest.approx(1 / np.sqrt(4 * np.pi * 1.6**2), rel=0.01)


@pytest.mark.parametrize("where", [(12, 12), (12.6, 12), (12.3, 11.5)])
def test_less_than_a_pixel_is_left_alone(tmp_path, caplog, where):
    psf = read(tmp_path, stamp(*where))
    assert psf.origin == (12, 12)
    assert psf.stamp(0, 0) == pytest.approx(stamp(*where) / stamp(*where).sum())
    assert "middle" not in caplog.text


def test_cards_say_it_better(tmp_path, caplog):
    psf = read(tmp_path, stamp(14, 12), CTRX=15, CTRY=13)
    assert psf.origin == (14, 12)
    assert not caplog.text


def test_wings_and_companions_do_not_move_it(tmp_path, caplog):
    """Only what is as bright as the core does."""
    psf = read(tmp_path, stamp(12, 12) + 0.1 * stamp(22, 20, 1.0) + 0.02 * stamp(20, 18, 5.0))
    assert psf.origin == (12, 12)
    assert "middle" not in caplog.text


def test_oversampled_stamps_count_image_pixels(tmp_path, caplog):
    read(tmp_path, stamp(13.6, 12, 4.0), OVERSAMP=3)
    assert "not in the middle" not in caplog.text
    psf = read(tmp_path, stamp(16, 12, 2.5), OVERSAMP=3)
    assert "not in the middle" in caplog.text
    assert centre(psf) == pytest.approx((0, 0), abs=0.05)
