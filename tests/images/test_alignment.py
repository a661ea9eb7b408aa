"""Do exposures show the same sky?"""

import warnings

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.errors import InputError
from diffdecor.images.alignment import check_same_shape, check_same_sky
from diffdecor.images.model import Exposure

TAN = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 50.5,
    "CRPIX2": 40.5, "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4, "CUNIT1": "deg",
    "CUNIT2": "deg", "RADESYS": "ICRS",
}  # fmt: skip
SHAPE = (80, 100)


def _exposure(name, cards=None, shape=SHAPE):
    header = None if cards is None else fits.Header({"BITPIX": -32, "NAXIS": 2, **cards})
    return Exposure(image=np.zeros(shape), header=header, name=name)


def test_shapes():
    check_same_shape(_exposure("a.fits"), _exposure("b.fits"))
    with pytest.raises(InputError, match=r"a\.fits has shape \(80, 100\).*b\.fits \(80, 101\)"):
        check_same_shape(_exposure("a.fits"), _exposure("b.fits", shape=(80, 101)))


@pytest.mark.parametrize(
    "other",
    [
        TAN,
        {**TAN, "CRPIX1": 50.59},
        {**{k: v for k, v in TAN.items() if k[:2] != "CD"}, "CDELT1": -1e-4, "CDELT2": 1e-4},
        None,
        {},
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"},
    ],
)  # fmt: skip
def test_same_sky_or_not_known(other):
    check_same_sky(_exposure("a.fits", TAN), _exposure("b.fits", other))
    check_same_sky(_exposure("b.fits", other), _exposure("a.fits", TAN))


@pytest.mark.parametrize(
    ("other", "offset"),
    [
        ({**TAN, "CRPIX1": 51.5}, "1"),
        ({**TAN, "CRPIX2": 37.5, "CRPIX1": 54.5}, "5"),
        ({**TAN, "CD1_1": 1e-4}, r"9\d\.?\d*"),
        ({**TAN, "CRVAL1": 330.0, "CRVAL2": -2.0}, "inf"),
        ({**TAN, "CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, ".*"),
    ],
)
def test_another_sky(other, offset):
    with pytest.raises(InputError, match=rf"a\.fits and b\.fits do not .* {offset} pixels apart"):
        check_same_sky(_exposure("a.fits", TAN), _exposure("b.fits", other))


def test_the_tolerance_can_be_chosen():
    a, b = _exposure("a.fits", TAN), _exposure("b.fits", {**TAN, "CRPIX1": 51.0})
    check_same_sky(a, b, tolerance=0.6)
    with pytest.raises(InputError, match=r"0\.4 are allowed"):
        check_same_sky(a, b, tolerance=0.4)


def test_one_sky_in_two_frames():
    from astropy.coordinates import SkyCoord

    galactic = SkyCoord(150.0, 2.0, unit="deg").galactic
    north = SkyCoord(0.0, 90.0, unit="deg").galactic
    angle = galactic.position_angle(north).deg
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    cards = {
        **TAN, "CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN",
        "CRVAL1": galactic.l.deg, "CRVAL2": galactic.b.deg,
        "CD1_1": -1e-4 * c, "CD1_2": 1e-4 * s, "CD2_1": 1e-4 * s, "CD2_2": 1e-4 * c,
    }  # fmt: skip
    del cards["RADESYS"]
    check_same_sky(_exposure("a.fits", TAN), _exposure("b.fits", cards))


NO_FRAME = {k: v for k, v in TAN.items() if k != "RADESYS"}


@pytest.mark.parametrize(
    "frame",
    [
        {"RADESYS": "FK5", "EQUINOX": 2000.0},
        {"RADESYS": "FK5", "EQUINOX": 2015.5},
        {"RADECSYS": "FK5"},
        {"RADESYS": "FK4", "EQUINOX": 1950.0},
        {"EQUINOX": 2000.0},
        {"EQUINOX": 1950.0},
        {"EPOCH": 1950.0},
    ],
)
def test_frames_that_differ_by_name_only_are_one_grid(frame, caplog):
    fine = {"CD1_1": -5e-7, "CD2_2": 5e-7}  # pixels so small that the frames are pixels apart
    for cards in ({}, fine):
        check_same_sky(
            _exposure("a.fits", {**TAN, **cards}),
            _exposure("b.fits", {**NO_FRAME, **cards, **frame}),
        )
    text = [r.getMessage() for r in caplog.records]
    assert all("agree in all numbers but name other frames" in line for line in text)
    assert len(text) >= 1
    with pytest.raises(InputError, match="do not show the same sky"):
        check_same_sky(
            _exposure("a.fits", TAN), _exposure("b.fits", {**NO_FRAME, **frame, "CRPIX1": 53.5})
        )


@pytest.mark.parametrize(
    "broken",
    [
        {**TAN, "CD1_1": 0.0, "CD2_2": 0.0},
        {**TAN, "CTYPE1": "RA---XXX", "CTYPE2": "DEC--XXX"},
        {**TAN, "CTYPE2": "DEC--SIN"},
        {**TAN, "CUNIT1": "furlong"},
        {**TAN, "CRVAL1": "north"},
    ],
)
def test_a_broken_wcs_is_skipped_with_a_line_in_the_log(broken, caplog):
    caplog.set_level("DEBUG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_same_sky(_exposure("a.fits", TAN), _exposure("b.fits", broken))
    assert "b.fits" in caplog.text


def test_equal_cards_need_no_astropy_wcs(monkeypatch):
    monkeypatch.setattr(
        "diffdecor.images.alignment._celestial", lambda _: pytest.fail("not needed")
    )
    a = _exposure("a.fits", {**TAN, "EXPTIME": 3.0})
    check_same_sky(a, _exposure("b.fits", dict(reversed(TAN.items()))))
