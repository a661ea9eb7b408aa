"""Noise that is known otherwise, read from files."""

import logging

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.core.noise_power import NoisePower, spectrum_of_lags
from diffdecor.core.realisation import noise_realisation
from diffdecor.core.spectrum import SIZE
from diffdecor.errors import InputError
from diffdecor.images.noise_power import (
    check_noise_level,
    noise_covariance_hdu,
    read_noise_power,
)

KERNEL = np.zeros((5, 5))
KERNEL[2, 2], KERNEL[0, 2], KERNEL[3, 4] = 1.0, 0.3, 0.4
KERNEL /= np.sqrt((KERNEL**2).sum())
POWER = np.abs(np.fft.rfft2(KERNEL, (SIZE, SIZE))) ** 2


def lags(half_width=10, variance=1.0):
    """The lag image of white noise through the kernel."""
    wrapped = np.fft.irfft2(variance * POWER, (SIZE, SIZE))
    offsets = np.arange(-half_width, half_width + 1)
    return wrapped[offsets[:, np.newaxis], offsets]


def written(path, pixels, name="", **cards):
    header = fits.Header()
    for keyword, value in cards.items():
        header[f"HIERARCH {keyword}" if len(keyword) > 8 else keyword] = value
    hdus = [fits.PrimaryHDU(pixels, header)]
    if name:
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(pixels, header, name=name)]
    fits.HDUList(hdus).writeto(path)
    return path


def centred(x, y):
    return {"COVARIANCE.CENTRE.X": x, "COVARIANCE.CENTRE.Y": y}


def refused(path, *says, role="science"):
    with pytest.raises(InputError) as caught:
        read_noise_power(path, role)
    for text in (str(path), *says):
        assert text in str(caught.value)


@pytest.mark.parametrize("half_width", [4, 10, 31, 49])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_lag_image(tmp_path, half_width, dtype):
    pixels = np.zeros((2 * half_width + 1,) * 2)
    inside = slice(half_width - 4, half_width + 5)
    pixels[inside, inside] = lags(4, 2.5)
    path = written(tmp_path / "lags.fits", pixels.astype(dtype), BUNIT="adu2")
    found = read_noise_power(path)
    assert found.absolute
    assert found.name == str(path)
    assert found.variance == pytest.approx(2.5, rel=1e-6)
    np.testing.assert_allclose(
        found.spectrum.power()[0], POWER, rtol=1e-6 if dtype == "float64" else 1e-4
    )


def test_without_a_unit_it_is_relative_to_the_variance_plane(tmp_path):
    found = read_noise_power(written(tmp_path / "lags.fits", lags(10, 1.3)))
    assert not found.absolute
    assert found.variance == pytest.approx(1.3)


def test_the_covariance_of_pan_starrs(tmp_path):
    """An image that is neither square nor odd, its centre given by cards."""
    whole = lags(6, 1.2)
    pixels = np.stack([whole[1:, 2:], whole[1:, 2:]])
    cards = centred(4, 5)
    path = written(tmp_path / "var.fits", pixels, name="COVAR_SkyChip_SkyCell", **cards)
    found = read_noise_power(path, "template")
    assert not found.absolute
    assert found.variance == pytest.approx(1.2)
    np.testing.assert_allclose(found.spectrum.power()[0], POWER, rtol=1e-6)


def test_the_mean_of_a_cube_counts(tmp_path):
    cube = np.stack([lags(6, 1.0), lags(6, 2.0)])
    assert read_noise_power(written(tmp_path / "c.fits", cube)).variance == pytest.approx(1.5)


def test_it_is_found_beside_the_variance(tmp_path):
    path = tmp_path / "ps1.fits"
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.ones((200, 200)), name="SkyChip.variance")]
    hdus.append(fits.ImageHDU(lags(5, 1.1), name="COVAR_XY01_xy11"))
    fits.HDUList(hdus).writeto(path)
    assert read_noise_power(path).variance == pytest.approx(1.1)
    assert read_noise_power(f"{path}[2]").variance == pytest.approx(1.1)
    hdus.append(fits.ImageHDU(lags(5, 1.4), name="COVAR_XY02_xy11"))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    refused(path, "several images", "COVAR_XY02_XY11", "[EXT]")
    assert read_noise_power(f"{path}[COVAR_XY02_xy11]").variance == pytest.approx(1.4)


def own_file(path, *versions):
    spectrum, _ = spectrum_of_lags(lags())
    hdus = [
        noise_covariance_hdu(
            NoisePower(spectrum=spectrum, variance=10.0 * version, absolute=True), version, None
        )
        for version in versions
    ]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def test_our_own_lag_images(tmp_path):
    path = own_file(tmp_path / "out.fits", 1, 2)
    of_result, of_difference = (read_noise_power(path, role) for role in ("science", "difference"))
    assert of_result.absolute
    assert of_difference.absolute  # though there is no unit
    assert (of_result.variance, of_difference.variance) == pytest.approx((10.0, 20.0))
    np.testing.assert_allclose(of_difference.spectrum.power()[0], POWER, rtol=1e-6)
    assert read_noise_power(f"{path}[NOISECOV,1]", "difference").variance == pytest.approx(10.0)


def test_the_noise_of_a_result_is_not_that_of_a_difference(tmp_path):
    path = own_file(tmp_path / "cov.fits", 1)
    refused(path, "NOISECOV,1", "NOISECOV,2", role="difference")
    refused(own_file(tmp_path / "other.fits", 2), "NOISECOV,1", role="template")


@pytest.mark.parametrize("kind", ["image", "cube", "compressed", "compressed cube", "integers"])
def test_realisations_are_measured(tmp_path, kind):
    noise = noise_realisation(KERNEL, np.full((520, 610), 400.0), seed=1)[0:520].copy()
    noise += 50.0
    if kind != "integers":
        noise[100:150, 200:260] = np.nan
    if "cube" in kind:
        noise = noise[:, :608].reshape(520, 4, 152).swapaxes(0, 1).copy()
    path = tmp_path / "noise.fits"
    if kind.startswith("compressed"):
        hdu = fits.CompImageHDU(noise, compression_type="GZIP_2", quantize_level=0)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    else:
        written(path, noise.astype(np.int16) if kind == "integers" else noise)
    found = read_noise_power(path)
    assert found.absolute
    assert found.variance == pytest.approx(400.0, rel=0.02)
    assert np.abs(found.spectrum.power()[0] / POWER - 1).max() < 0.2
    assert np.abs(np.log(found.spectrum.power()[0] / POWER)).std() < 0.03


def test_realisations_in_an_exposure(tmp_path):
    noise = np.random.default_rng(1).normal(size=(200, 220))
    hdus = [fits.PrimaryHDU()]
    hdus += [fits.ImageHDU(noise * f, name=n) for n, f in (("IMAGE", 2), ("VARIANCE", 9))]
    fits.HDUList(hdus).writeto(tmp_path / "e.fits")
    assert read_noise_power(tmp_path / "e.fits").variance == pytest.approx(4.0, rel=0.05)


def test_a_large_odd_square_is_a_realisation(tmp_path):
    noise = np.random.default_rng(1).normal(size=(101, 101))
    assert read_noise_power(written(tmp_path / "n.fits", noise)).variance == pytest.approx(1, 0.1)


def test_lags_beyond_the_grid_are_said_to_be_lost(tmp_path, caplog):
    offsets = np.arange(-45, 46)
    wide = np.exp(-np.hypot(offsets, offsets[:, np.newaxis]) / 20.0)
    with caplog.at_level(logging.WARNING, "diffdecor"):
        found = read_noise_power(written(tmp_path / "wide.fits", wide))
    assert "only lags up to 31" in caplog.text
    assert "of the power was moved" in caplog.text
    assert np.isfinite(found.spectrum.power()).all()


def test_nothing_is_said_of_a_good_one(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "diffdecor"):
        read_noise_power(written(tmp_path / "lags.fits", lags()))
    assert caplog.text == ""


def changed(y, x, value):
    pixels = lags(6, 2.0)
    pixels[y, x] = value
    return pixels


@pytest.mark.parametrize(
    ("pixels", "cards", "says"),
    [
        (changed(3, 4, np.nan), {}, "NaN"),
        (changed(6, 6, np.inf), {}, "NaN or infinity"),
        (changed(6, 6, -1.0), {}, "its centre, FITS pixel (7, 7)"),
        (changed(6, 6, -1.0), {}, "above zero"),
        (lags(6, 500.0), {}, "500 times that of the variance plane"),
        (lags(6, 0.001), {}, "BUNIT"),
        (np.ones((21, 21)), {}, "not those of any noise"),
        (changed(2, 3, 2.5), {}, "pixel (4, 3) is 2.5"),
        (changed(2, 3, -2.5), {}, "pixel (4, 3)"),
        (changed(2, 3, 0.01), {}, "at lag"),
        (np.zeros((7, 7)), {}, "not a lag image"),
        (np.roll(lags(6), 1, axis=0), {}, "its centre"),
        (lags(6), centred(5, 6), "its centre"),
        (lags(6), centred(6, 13), "COVARIANCE.CENTRE.Y"),
        (lags(6), centred(-1, 6), "COVARIANCE.CENTRE.X"),
        (lags(6), centred(6.5, 6), "COVARIANCE.CENTRE.X"),
        (lags(6), {"COVARIANCE.CENTRE.X": 6}, "COVARIANCE.CENTRE.Y"),
        (np.random.default_rng(1).normal(size=(65, 65)), {}, "larger than 99"),
        (np.zeros((120, 130)), {}, "cannot be measured"),
        (np.full((120, 130), np.nan), {}, "0 pixels"),
        (np.random.default_rng(1).normal(size=(20, 30)), {}, "600 pixels"),
        (np.zeros(50), {}, "has shape (50,)"),
        (np.zeros((2, 3, 4, 5)), {}, "has shape"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, pixels, cards, says):
    refused(written(tmp_path / "bad.fits", pixels, **cards), says)


def test_files_without_noise(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    refused(tmp_path / "empty.fits", "no noise")
    refused(tmp_path / "missing.fits", "no such file")
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.ones((200, 200)), name="VARIANCE")]
    fits.HDUList(hdus).writeto(tmp_path / "variance.fits")
    refused(tmp_path / "variance.fits", "no noise", "VARIANCE")


@pytest.mark.parametrize(("factor", "good"), [(9, True), (11, False), (1 / 9, True), (0.09, False)])
def test_an_absolute_power_must_be_in_the_unit_of_the_image(factor, good):
    spectrum, _ = spectrum_of_lags(lags())
    power = NoisePower(spectrum=spectrum, variance=4.0 * factor, absolute=True, name="lags.fits")
    if good:
        check_noise_level(power, 4.0, "difference.fits")
        return
    with pytest.raises(InputError, match=r"lags\.fits.*difference\.fits 4;.*unit") as caught:
        check_noise_level(power, 4.0, "difference.fits")
    assert f"{4.0 * factor:.4g}" in str(caught.value)
