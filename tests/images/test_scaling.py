"""Pan-STARRS1: pixels and variances in a scale of inverse hyperbolic sines."""

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.errors import InputError
from diffdecor.images.read import read_exposure

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

A = 1.085736204758130
CARDS = {"BOFFSET": 2.25, "BSOFTEN": 95.4}
NAME = "rings.v3.skycell.2381.062.stk.g.unconv"


def scaled(flux):
    return A * np.arcsinh((flux - CARDS["BOFFSET"]) / (2 * CARDS["BSOFTEN"]))


@pytest.fixture
def flux():
    rng = np.random.default_rng(1)
    image = rng.normal(0.0, 30.0, (20, 24))
    image[5, 6] = 250000.0
    return image


@pytest.fixture
def stack(tmp_path, flux):
    """Write a stack as PS1 does: an empty primary, a compressed image of 16-bit integers."""

    def write(image=flux, name=f"{NAME}.fits", cards=CARDS):
        stored = np.round((scaled(image) - 3.6) / 2.1e-4)
        hdu = fits.CompImageHDU(stored.astype(np.int16), compression_type="RICE_1")
        hdu.header.update({"BZERO": 3.6, "BSCALE": 2.1e-4, "BUNIT": "adu", **cards})
        path = tmp_path / name
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
        return path

    return write


def test_image_and_variance_are_made_linear(stack, flux, caplog):
    caplog.set_level("INFO")
    stack(np.full_like(flux, 900.0), f"{NAME}.wt.fits")
    exposure = read_exposure(stack(), role="template")
    # One step of the integers is 2e-4 of the flux, and 0.04 where that is below the softening.
    np.testing.assert_allclose(exposure.image, flux, rtol=3e-4, atol=0.05)
    np.testing.assert_allclose(exposure.variance, 900.0, rtol=3e-4)
    assert exposure.image[5, 6] == pytest.approx(250000, rel=3e-4)
    assert not {"BOFFSET", "BSOFTEN"} & set(exposure.header)
    assert exposure.header["BUNIT"] == "adu"
    assert "asinh-scaled pixels made linear" in caplog.text
    assert "ps1 (Pan-STARRS1): its name" in caplog.text


def test_the_cards_alone_tell(stack, flux):
    np.testing.assert_allclose(
        read_exposure(stack(name="t.fits")).image, flux, rtol=3e-4, atol=0.05
    )


@pytest.mark.parametrize(
    "cards",
    [
        {"BOFFSET": 1.0},
        {"BSOFTEN": 2.0},
        {"BOFFSET": "a", "BSOFTEN": 2.0},
        {**CARDS, "BSOFTEN": 0.0},
    ],
)
def test_missing_and_broken_cards_are_refused(stack, cards):
    with pytest.raises(InputError, match="need the cards BOFFSET and BSOFTEN, which are"):
        read_exposure(stack(cards=cards))


def test_pixels_that_are_linear_already_are_refused(mef, flux):
    path = mef(("", flux.astype("f4"), CARDS), name="t.fits")
    with pytest.raises(InputError, match=r"one is \d.* or give --template-layout plain"):
        read_exposure(path, role="template")


def test_cards_that_are_not_used_are_told(mef, flux, caplog):
    path = mef(("", flux.astype("f4"), CARDS), name="t.fits")
    exposure = read_exposure(path, layout="plain")
    np.testing.assert_array_equal(exposure.image, flux.astype("f4"))
    assert (
        "BOFFSET, BSOFTEN of asinh-scaled pixels, but its pixels are taken as linear" in caplog.text
    )


def test_a_stack_without_the_cards_is_told(mef, flux, caplog):
    path = mef(("", flux.astype("f4")), name=f"{NAME}.fits")
    np.testing.assert_array_equal(read_exposure(path).image, flux.astype("f4"))
    assert "no cards BOFFSET, BSOFTEN; its pixels are taken as linear" in caplog.text


def test_a_difference_that_has_the_cards_is_not_guessed_about(stack, flux):
    with pytest.raises(InputError, match=r"--difference-layout ps1 .* --difference-layout plain"):
        read_exposure(stack(name="d.fits"), role="difference")
    exposure = read_exposure(stack(name="d.fits"), role="difference", layout="ps1")
    np.testing.assert_allclose(exposure.image, flux, rtol=3e-4, atol=0.05)


def test_a_difference_of_hotpants_is_linear(mef, flux, caplog):
    path = mef(("", flux.astype("f4"), CARDS | {"SOFTNAME": "HOTPanTS"}), name="d.fits")
    np.testing.assert_array_equal(read_exposure(path, role="difference").image, flux.astype("f4"))
    assert "taken as linear" in caplog.text


def test_nothing_is_read_unscaled_when_pixels_are_left_in_the_file(stack, flux):
    exposure = read_exposure(stack(), pixels=False)
    np.testing.assert_allclose(exposure.image, flux, rtol=3e-4, atol=0.05)
