"""Noise planes of all kinds."""

import re

import numpy as np
import pytest

from diffdecor.config import ImageOptions
from diffdecor.core.planes import in_memory
from diffdecor.errors import ConfigError, InputError
from diffdecor.images.noise import check_noise, upsampled
from diffdecor.images.read import read_exposure
from diffdecor.images.variance import narrowed, scaled_to_image, to_variance, variance_from_gain

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("kind", "values", "variance"),
    [
        ("variance", [4, 0, NAN, INF, -INF], [4, INF, NAN, INF, INF]),
        ("variance", [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
        ("sigma", [2, 0, NAN, INF, -INF], [4, INF, NAN, INF, INF]),
        ("sigma", [0, 0, 0, 0, 0], [INF, INF, INF, INF, INF]),
        ("ivar", [0.25, 0, NAN, INF, -INF], [4, INF, NAN, INF, INF]),
        ("ivar", [0.25, -1, -1e-9, 4, 1e-44], [4, INF, INF, 0.25, INF]),
        ("ivar", [4, 4, 4, 4.1e-3, 3.9e-3], [0.25, 0.25, 0.25, 1 / 4.1e-3, INF]),
        ("weight", [0.25, -1, 0, 4, 2], [4, INF, INF, 0.25, 0.5]),
    ],
)
def test_what_a_plane_stands_for(kind, values, variance, dtype):
    plane = np.array([values], dtype)
    before = plane.copy()
    result = in_memory(to_variance(plane, kind))
    np.testing.assert_allclose(result[0], variance, rtol=1e-6)
    np.testing.assert_array_equal(plane, before)
    assert result.dtype == dtype


@pytest.mark.parametrize("kind", ["variance", "sigma"])
def test_negative_noise_is_refused_where_nothing_is_masked(kind):
    plane = np.ones((4, 5), np.float32)
    plane[2, 3] = plane[3, 0] = -2
    says = rf"n\.fits: 2 unmasked .* negative {kind}, the first \(-2\) at FITS pixel \(4, 3\); mask"
    with pytest.raises(InputError, match=says):
        in_memory(to_variance(plane, kind, file="n.fits"))
    mask = np.zeros(plane.shape, np.int32)
    mask[3, 0] = 64
    with pytest.raises(InputError, match="1 unmasked"):
        in_memory(to_variance(plane, kind, mask=mask))
    mask[2, 3] = 1
    variance = in_memory(to_variance(plane, kind, mask=mask))
    assert np.argwhere(np.isinf(variance)).tolist() == [[2, 3], [3, 0]]


def test_a_sigma_too_small_to_be_squared_in_single_precision():
    variance = in_memory(to_variance(np.full((2, 2), 1e-30, np.float32), "sigma"))
    np.testing.assert_allclose(variance, 1e-60, rtol=1e-6)
    assert narrowed(variance, "float32").dtype == np.float64
    assert narrowed(variance * 1e60, "float32").dtype == np.float32
    assert narrowed(np.array([INF, NAN, 0.0]), "float32").dtype == np.float32


def test_gain_and_read_noise():
    image = np.array([[100.0, -5.0, 0.0, NAN]], np.float32)
    variance = in_memory(variance_from_gain(image, 2.0, 6.0))
    np.testing.assert_allclose(variance, [[59, 9, 9, NAN]])
    assert variance.dtype == np.float32
    np.testing.assert_allclose(in_memory(variance_from_gain(image, 2.0)), [[50, 0, 0, NAN]])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"noise_kind": "rms"}, "--template-noise-kind is 'rms': expected one of variance, sigma,"),
        ({"sky": NAN}, "--template-sky is nan: expected a finite number"),
        ({"gain": 0.0}, "--template-gain is 0.0: expected a number above zero"),
        ({"gain": NAN}, "--template-gain is nan"),
        ({"gain": 1.0, "read_noise": -1.0}, "--template-read-noise is -1.0: expected zero or more"),
        ({"gain": 1.0, "noise": "n.fits"}, "give --template-noise or --template-gain, not both"),
        ({"gain": 1.0, "noise_kind": "ivar"}, "give --template-noise or --template-gain, not both"),
    ],
)
def test_options_that_cannot_be(options, says):
    with pytest.raises(ConfigError, match=says):
        check_noise(ImageOptions(role="template", **options))


BY_NAME = [
    ("VARIANCE", None, 4.0), ("VAR", None, 4.0), ("ERR", None, 16.0), ("ERROR", None, 16.0),
    ("SIGMA", None, 16.0), ("RMS", None, 16.0), ("IVAR", None, 0.25), ("WHT", "ivar", 0.25),
    ("VARIANCE", "ivar", 0.25),
]  # fmt: skip
BY_OPTION = [
    ("oow", "ivar", 0.25),
    ("", "sigma", 16.0),
    ("", "variance", 4.0),
]


@pytest.mark.parametrize(
    ("name", "kind", "expected", "apart"),
    [(*case, False) for case in BY_NAME] + [(*case, True) for case in BY_NAME + BY_OPTION],
)
def test_kinds_by_name_and_by_option(mef, pixels, name, kind, expected, apart):
    plane = (name, np.full_like(pixels, 4.0))
    if apart:
        path = mef(("", pixels))
        exposure = read_exposure(path, noise=mef(plane, name="n.fits"), noise_kind=kind)
    else:
        exposure = read_exposure(mef(("SCI", pixels), plane), noise_kind=kind)
    np.testing.assert_array_equal(exposure.variance, np.full_like(pixels, expected))


def test_a_kind_is_never_guessed(mef, pixels):
    image, noise = mef(("", pixels)), mef(("", pixels), name="noise.fits")
    with pytest.raises(
        InputError, match=r"noise\.fits: an HDU without a name .*--template-noise-kind"
    ):
        read_exposure(image, noise=noise, role="template")
    noise = mef(("BKG", pixels), name="noise.fits")
    with pytest.raises(
        InputError, match=r"HDU BKG does not say .*--science-noise-kind variance\|sigma"
    ):
        read_exposure(image, noise=noise)
    with pytest.raises(InputError, match="there is no noise plane in it for --science-noise-kind"):
        read_exposure(image, noise_kind="sigma")


def test_what_is_recognised_is_logged(mef, pixels, caplog):
    caplog.set_level("INFO")
    read_exposure(mef(("SCI", pixels), ("WHT", pixels)))
    assert "noise plane WHT read as weight" in caplog.text
    assert re.search(r"variance = [\d.]+ / weight, of the scatter of \d+ source-free", caplog.text)


def test_the_mask_excuses_negative_noise_in_files(mef, pixels):
    noise = np.ones_like(pixels)
    noise[1, 2] = -1
    mask = np.zeros(pixels.shape, "i2")
    with pytest.raises(InputError, match=r"in\.fits: 1 unmasked .* FITS pixel \(3, 2\)"):
        read_exposure(mef(("SCI", pixels), ("ERR", noise), ("DQ", mask)))
    mask[1, 2] = 4
    exposure = read_exposure(mef(("SCI", pixels), ("ERR", noise), ("DQ", mask)))
    assert np.argwhere(np.isinf(exposure.variance)).tolist() == [[1, 2]]


def test_gain_needs_no_noise_plane_and_wins_over_one(mef, pixels):
    path = mef(("SCI", pixels), ("ERR", np.ones_like(pixels)))
    variance = read_exposure(path, gain=2.0, pixels=False).variance
    np.testing.assert_allclose(variance, pixels / 2, rtol=1e-6)


@pytest.mark.parametrize("option", ["sky", "read_noise"])
def test_sky_and_read_noise_need_a_gain(mef, pixels, option):
    path = mef(("", pixels))
    name = option.replace("_", "-")
    with pytest.raises(ConfigError, match=f"--template-{name} needs --template-gain"):
        read_exposure(path, role="template", **{option: 5.0})


def test_a_sky_that_was_subtracted_has_left_its_noise(mef):
    image = np.array([[100.0, -5.0, -50.0, NAN]], np.float32)
    variance = in_memory(variance_from_gain(image, 2.0, 6.0, 20.0))
    np.testing.assert_allclose(variance, [[69, 16.5, 9, NAN]])
    variance = read_exposure(mef(("", image)), gain=2.0, read_noise=6.0, sky=20.0).variance
    np.testing.assert_allclose(variance, [[69, 16.5, 9, NAN]])


@pytest.mark.parametrize("name", ["WHT", "WEIGHT", ""])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0])
def test_weights_are_scaled_to_the_scatter_of_the_image(mef, name, scale, caplog):
    caplog.set_level("INFO")
    rng = np.random.default_rng(8)
    sigma = np.where(np.arange(200) < 100, 3.0, 9.0) * np.ones((150, 1))
    image = rng.normal(0.0, sigma) + np.linspace(0, 4, 200)
    weight = scale / sigma**2
    weight[:5] = 0
    image[:5] = 1e4
    image[60:66, 60:66] += 900.0
    kind = None if name else "weight"
    path = mef(("", image.astype("f4")))
    noise = mef((name, weight.astype("f4")), name="w.fits")
    variance = read_exposure(path, noise=noise, noise_kind=kind).variance
    assert np.isinf(variance[:5]).all()
    np.testing.assert_allclose(variance[5:], sigma[5:] ** 2, rtol=0.05)
    np.testing.assert_allclose(variance[5:] / sigma[5:] ** 2, variance[9, 9] / 9, rtol=1e-5)
    factor = float(re.search(r"variance = ([\d.]+) / weight", caplog.text)[1])
    assert factor == pytest.approx(scale, rel=0.05)


def test_masked_pixels_do_not_scale_weights(mef):
    rng = np.random.default_rng(9)
    image = rng.normal(0.0, 2.0, (60, 60)).astype("f4")
    mask = np.zeros((60, 60), "i2")
    mask[:, :40] = 4
    image[:, :40] *= 50
    path = mef(("SCI", image), ("WHT", np.ones_like(image)), ("DQ", mask, {"MP_BAD": 2}))
    assert read_exposure(path).variance[0, 50] == pytest.approx(4.0, rel=0.15)


@pytest.mark.parametrize("image", [np.ones((40, 40), "f4"), np.full((40, 40), NAN, "f4")])
def test_weights_without_noise_to_scale_them(mef, image):
    with pytest.raises(InputError, match=r"in\.fits: the scale of these weights .* kind ivar"):
        read_exposure(mef(("SCI", image), ("WHT", np.ones_like(image))))


def test_residuals_of_compression_in_weights_are_no_weights(mef, pixels, caplog):
    caplog.set_level("INFO")
    weight = np.full_like(pixels, 0.04)
    weight[0] = np.resize([3e-6, -5e-6, 0.0, 2e-5], weight.shape[1])
    variance = read_exposure(mef(("", pixels)), noise=mef(("IVAR", weight), name="w.fits")).variance
    assert np.isinf(variance[0]).all()
    np.testing.assert_allclose(variance[1:], 25.0, rtol=1e-6)
    assert "12 weights of nearly 0, or below it, count as 0" in caplog.text


def test_a_background_of_low_resolution(mef, caplog):
    image = np.full((40, 60), -0.5, np.float32)
    image[20, 30] = 400.0
    image[21, 30] = -400.0
    mini = np.array([[2, 4, 8], [2, 4, 8]], np.float32)
    noise = mef(("", mini), name="mini.fits")
    path = mef(("", image))
    variance = read_exposure(path, noise=noise, noise_kind="background", gain=2.0).variance
    # The centres of the boxes of 20 pixels are at 9.5, 29.5 and 49.5.
    np.testing.assert_allclose(variance[0, [0, 9, 10, 19, 29, 50, 59]] ** 0.5,
                               [2, 2, 2.05, 2.95, 3.95, 8, 8], rtol=1e-6)  # fmt: skip
    assert variance[20, 30] == pytest.approx(variance[0, 30] + 200)
    assert variance[21, 30] == variance[0, 30]
    alone = read_exposure(path, noise=noise, noise_kind="background").variance
    assert alone[20, 30] == alone[0, 30]
    assert "without --science-gain the light of sources adds none" in caplog.text
    full = mef(("", np.full_like(image, 3)), name="full.fits")
    assert (read_exposure(path, noise=full, noise_kind="background").variance == 9).all()


@pytest.mark.parametrize("shape", [(2, 2), (80, 120), (1, 60)])
def test_a_background_of_another_image_is_refused(mef, shape):
    noise = mef(("", np.ones(shape, "f4")), name="mini.fits")
    with pytest.raises(InputError, match=r"mini\.fits: .*not a low-resolution image of \(40, 60\)"):
        read_exposure(mef(("", np.ones((40, 60), "f4"))), noise=noise, noise_kind="background")


def test_a_background_without_data(mef):
    mini = np.full((4, 6), 2.0, np.float32)
    mini[0, 0] = 0
    noise = mef(("", mini), name="mini.fits")
    path = mef(("", np.ones((40, 60), "f4")))
    variance = read_exposure(path, noise=noise, noise_kind="background", gain=1.0).variance
    assert not np.isfinite(variance[0, 0])
    assert variance[20, 30] == 5.0


def test_a_variance_of_zeros_first_and_noise_later_is_infinite_where_it_is_0():
    plane = np.zeros((6, 5), np.float32)
    plane[5, 4] = 2
    variance = to_variance(plane, "variance")
    assert np.isinf(variance[0:2]).all()
    assert variance[5:6][0, 4] == 2
    assert (to_variance(np.zeros((6, 5)), "variance")[0:2] == 0).all()


def test_weights_are_scaled_by_the_middle_of_a_large_image(monkeypatch):
    monkeypatch.setattr("diffdecor.images.variance._MEASURED", 50)
    image = np.random.default_rng(1).normal(0, 3.0, (150, 120)).astype("f4")
    image[:50] *= 9
    relative = np.ones_like(image)
    everywhere = np.ones(image.shape, bool).__getitem__
    variance = in_memory(scaled_to_image(relative, image, everywhere, "w"))
    np.testing.assert_allclose(variance, 9.0, rtol=0.15)


@pytest.mark.parametrize("shape", [(4, 6), (2, 3), (40, 60), (13, 20)])
def test_any_rows_of_an_upsampled_image(shape):
    small = np.random.default_rng(1).normal(size=shape)
    whole = in_memory(upsampled(small, (40, 60), "b"))
    assert whole.shape == (40, 60)
    for rows in (slice(0, 1), slice(3, 17), slice(39, 40)):
        np.testing.assert_array_equal(upsampled(small, (40, 60), "b")[rows], whole[rows])
    ramp = np.add.outer(np.arange(4.0), 10 * np.arange(6.0))  # boxes of 10 pixels
    if shape == (4, 6):
        y, x = np.mgrid[5:35, 5:55]
        expected = (y - 4.5) / 10 + (x - 4.5)
        np.testing.assert_allclose(in_memory(upsampled(ramp, (40, 60), "b"))[5:35, 5:55], expected)
