"""Noise planes of all kinds."""

import numpy as np
import pytest

from diffdecor.errors import ConfigError, InputError
from diffdecor.fits.exposure import read_exposure
from diffdecor.fits.noise import NoiseSource, narrowed, to_variance, variance_from_gain

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
        ("ivar", [0.25, -1, -1e-9, 4, 1e-44], [4, INF, INF, 0.25, None]),
        ("weight", [0.25, -1, 0, 4, 2], [4, INF, INF, 0.25, 0.5]),
    ],
)
def test_what_a_plane_stands_for(kind, values, variance, dtype):
    plane = np.array([values], dtype)
    before = plane.copy()
    result = to_variance(plane, kind)
    expected = [
        INF if v is None and dtype is np.float32 else 1 / 1e-44 if v is None else v
        for v in variance
    ]
    np.testing.assert_allclose(result[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(plane, before)
    assert result.dtype == dtype


@pytest.mark.parametrize("kind", ["variance", "sigma"])
def test_negative_noise_is_refused_where_nothing_is_masked(kind):
    plane = np.ones((4, 5), np.float32)
    plane[2, 3] = plane[3, 0] = -2
    says = rf"n\.fits: 2 unmasked .* negative {kind}, the first \(-2\) at FITS pixel \(4, 3\); mask"
    with pytest.raises(InputError, match=says):
        to_variance(plane, kind, file="n.fits")
    mask = np.zeros(plane.shape, np.int32)
    mask[3, 0] = 64
    with pytest.raises(InputError, match="1 unmasked"):
        to_variance(plane, kind, mask=mask)
    mask[2, 3] = 1
    assert np.argwhere(np.isinf(to_variance(plane, kind, mask=mask))).tolist() == [[2, 3], [3, 0]]


def test_a_sigma_too_small_to_be_squared_in_single_precision():
    variance = to_variance(np.full((2, 2), 1e-30, np.float32), "sigma")
    np.testing.assert_allclose(variance, 1e-60, rtol=1e-6)
    assert narrowed(variance, "float32").dtype == np.float64
    assert narrowed(variance * 1e60, "float32").dtype == np.float32
    assert narrowed(np.array([INF, NAN, 0.0]), "float32").dtype == np.float32


def test_gain_and_read_noise():
    image = np.array([[100.0, -5.0, 0.0, NAN]], np.float32)
    variance = variance_from_gain(image, 2.0, 6.0)
    np.testing.assert_allclose(variance, [[59, 9, 9, NAN]])
    assert variance.dtype == np.float32
    np.testing.assert_allclose(variance_from_gain(image, 2.0), [[50, 0, 0, NAN]])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "rms"}, "--template-noise-kind is 'rms': expected variance, sigma, ivar, weight"),
        ({"gain": 0.0}, "--template-gain is 0.0: expected a number above zero"),
        ({"gain": NAN}, "--template-gain is nan"),
        ({"gain": 1.0, "read_noise": -1.0}, "--template-read-noise is -1.0: expected zero or more"),
        ({"read_noise": 1.0}, "--template-read-noise needs --template-gain"),
        ({"gain": 1.0, "file": "n.fits"}, "give --template-noise or --template-gain, not both"),
        ({"gain": 1.0, "kind": "ivar"}, "give --template-noise or --template-gain, not both"),
    ],
)
def test_options_that_cannot_be(options, says):
    with pytest.raises(ConfigError, match=says):
        NoiseSource(role="template", **options)


BY_NAME = [
    ("VARIANCE", None, 4.0), ("VAR", None, 4.0), ("ERR", None, 16.0), ("ERROR", None, 16.0),
    ("SIGMA", None, 16.0), ("RMS", None, 16.0), ("IVAR", None, 0.25), ("WHT", None, 0.25),
    ("WEIGHT", None, 0.25), ("VARIANCE", "ivar", 0.25),
]  # fmt: skip
BY_OPTION = [
    ("oow", "ivar", 0.25),
    ("", "sigma", 16.0),
    ("", "variance", 4.0),
    ("", "weight", 0.25),
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
    with pytest.raises(
        InputError, match="no noise plane beside the image for --science-noise-kind"
    ):
        read_exposure(image, noise_kind="sigma")


def test_what_is_recognised_is_logged(mef, pixels, caplog):
    caplog.set_level("INFO")
    read_exposure(mef(("SCI", pixels), ("WHT", pixels)))
    assert "noise plane WHT read as weight" in caplog.text
    assert "weights taken as absolute inverse variances" in caplog.text


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
