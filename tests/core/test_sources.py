"""The source mask: what it finds, and what it leaves alone."""

import numpy as np
import pytest
from astropy.io import fits
from helpers.noise import smooth_noise
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_array_equal

from diffdecor.core.sources import find_sources, source_plane


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def everywhere(image):
    return np.ones(image.shape, dtype=bool)


def stamps(shape, positions, sigma):
    """Gaussian sources of unit peak."""
    y, x = np.indices((41, 41)) - 20.0
    total = np.zeros(shape)
    for row, column in positions:
        iy, ix = round(row), round(column)
        distance = (y - (row - iy)) ** 2 + (x - (column - ix)) ** 2
        total[iy - 20 : iy + 21, ix - 20 : ix + 21] += np.exp(-distance / (2 * sigma**2))
    return total


@pytest.mark.parametrize("width", [0, 0.7, 1.0, 2.0])
def test_noise_is_left_alone(rng, width):
    """White or correlated: less than half a per cent is lost, margins included."""
    lost = []
    for _ in range(12):
        image = smooth_noise(rng, (512, 512), width).astype(np.float32)
        lost.append(find_sources(image, everywhere(image)).mean())
    assert np.mean(lost) < 0.005


@pytest.mark.parametrize("height", [80, 300])
def test_any_size(rng, height):
    """Blocks of every second column must be those of all columns: 2080 are no multiple of them."""
    for width in range(2000, 2180, 4):
        image = rng.normal(size=(height, width)).astype(np.float32)
        image[40, 1000] = 100.0
        found = find_sources(image, everywhere(image))
        assert found[40, 1000]
        assert found.mean() < 0.03


def test_noise_in_a_ragged_mask_is_left_alone(rng):
    image = rng.normal(size=(512, 512)).astype(np.float32)
    y, x = np.indices(image.shape)
    discs = np.hypot(x % 61 - 30, y % 53 - 20) > 15
    for usable in (rng.random(image.shape) < 0.5, discs, (x + y) % 2 == 0, x % 4 < 2):
        assert find_sources(image, usable).mean() < 0.02


@pytest.mark.parametrize("width", [0, 1.0])
@pytest.mark.parametrize("sigma", [0.9, 1.5, 3.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_faint_sources_are_found(rng, width, sigma, sign):
    """Of ten times the noise of a matched filter, wherever on the pixels they are."""
    shape = 512, 512
    noise = smooth_noise(rng, shape, width)
    places = 45 + 60 * np.indices((8, 8)).reshape(2, -1).T + rng.uniform(-3, 3, (64, 2))
    one = stamps(shape, [(256, 256)], sigma)
    matched = np.fft.irfft2(np.fft.rfft2(noise) * np.conj(np.fft.rfft2(one)), shape)
    amplitude = sign * 10 * matched.std() / (one**2).sum()
    image = 300 + noise + amplitude * stamps(shape, places, sigma)
    found = find_sources(image, everywhere(image))
    at = places.round().astype(int)
    assert found[at[:, 0], at[:, 1]].mean() > 0.97
    assert found.mean() < 0.25


def test_margin_and_neighbours_of_a_bright_source(rng):
    """The light is masked out to where it is lost in the noise; a faint source nearby is found."""
    image = 50 + rng.normal(size=(400, 400))
    image += 1e5 * stamps(image.shape, [(200, 200)], 3.0)
    image += 6 * stamps(image.shape, [(200, 240)], 2.0)
    found = find_sources(image, everywhere(image))
    y, x = np.indices(image.shape)
    distance = np.hypot(y - 200, x - 200)
    assert found[distance < 14].all()  # the source is 1 sigma of the noise there
    assert found[200, 240]
    assert found[distance > 60].mean() < 0.01


def test_depth_and_level_may_vary(rng):
    """Steps of the noise are known from its sigma; slow changes are measured."""
    y, x = np.indices((512, 512))
    sigma = np.where(x < 300, 1.0, 5.0) * (1 + y / 512)
    image = 1000 + 0.02 * x + 0.03 * y + sigma * rng.normal(size=x.shape)
    assert find_sources(image, everywhere(image), sigma).mean() < 0.01
    # Up to a factor: the threshold is measured.
    assert find_sources(image, everywhere(image), 0.2 * sigma).mean() < 0.01
    image[100, 100] += 8 * sigma[100, 100]
    image[400, 400] -= 8 * sigma[400, 400]
    found = find_sources(image, everywhere(image), sigma)
    assert found[92:109, 92:109].all()
    assert found[392:409, 392:409].all()


def test_what_is_not_usable_hides_nothing(rng):
    image = rng.normal(size=(200, 200)).astype(np.float32)
    usable = everywhere(image)
    image[50:80, 50:80] = 1e6
    usable[50:80, 50:80] = False
    image[120, :] = np.nan
    image[:, 33] = np.inf
    image[150, 150] = 30
    found = find_sources(image, usable)
    assert found[150, 150]
    assert not found[60:70, 60:70].any()
    assert found.mean() < 0.05


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((100, 100)),
        np.full((100, 130), 7, dtype=np.int16),
        np.full((90, 90), np.nan),
        np.ones((1, 1)),
        np.ones((3, 200), dtype=np.float32),
    ],
)
def test_without_noise_there_are_no_sources(image):
    assert not find_sources(image, everywhere(image)).any()
    assert not find_sources(image, ~everywhere(image)).any()


def test_whole_numbers(rng):
    """Poisson counts, most of them zero, and one source among them."""
    image = rng.poisson(0.1, size=(300, 300)).astype(np.uint16)
    image[100, 200] = 60
    found = find_sources(image, everywhere(image))
    assert found[100, 200]
    quantised = rng.normal(0, 0.7, size=(300, 300)).round().astype(np.int32)
    assert find_sources(quantised, everywhere(quantised)).mean() < 0.02


def test_huge_pixels_are_no_obstacle(rng):
    image = rng.normal(size=(200, 210))
    image[50, 60], image[50, 61], image[150, 20] = 1e200, -1e200, 1e300
    found = find_sources(image, everywhere(image))
    assert found[50, 60]
    assert found[150, 20]
    assert found.mean() < 0.05


@pytest.mark.parametrize("unit", [1e-38, 1e-20, 1e15, 1e18, 1e36])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_unit_does_not_matter(rng, unit, dtype):
    image = rng.normal(size=(256, 256))
    image[40, 40] += 12
    expected = find_sources(image, everywhere(image))
    other = (unit * image).astype(dtype)
    assert (find_sources(other, everywhere(other)) != expected).mean() < 1e-3


def test_a_high_level_costs_no_digits(rng):
    image = rng.normal(size=(256, 256))
    image[40, 40] += 12
    low = find_sources(image, everywhere(image))
    high = find_sources(image + 1e9, everywhere(image))
    assert (high != low).mean() < 1e-3


@given(
    image=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 90), st.integers(1, 90)),
        elements=st.floats(width=32) | st.just(np.nan),
        fill=st.floats(-4, 4, width=32),
    ),
    share=st.floats(0, 1),
)
def test_any_array_gives_a_mask(image, share):
    usable = np.random.default_rng(1).random(image.shape) < share
    with np.errstate(all="raise", under="ignore"):
        found = find_sources(image, usable)
    assert found.shape == image.shape
    assert found.dtype == bool


def test_a_plane_does_not_depend_on_which_rows_are_read(rng):
    image = rng.normal(size=(900, 250)).astype(np.float32)
    image += 40 * stamps(image.shape, [(256, 100), (600, 40), (890 - 30, 200)], 2.0)
    usable = rng.random(image.shape) < 0.95
    plane = source_plane(image, usable)
    whole = plane[0:900]
    assert whole[[256, 600, 860], [100, 40, 200]].all()
    assert whole[250:262, 95:105].all()  # a source on the seam of two strips
    for rows in (slice(0, 1), slice(250, 260), slice(255, 700), slice(899, 900), slice(5, 5)):
        assert_array_equal(source_plane(image, usable)[rows], whole[rows])
        assert_array_equal(plane[rows], whole[rows])


@pytest.mark.reference
@pytest.mark.parametrize("name", ["sfft_ref", "sfft_sci", "hotpants"])
def test_nircam(reference, name):
    """The light of real sources is found; of pixels known to be free of it, most stay."""
    folder = reference / "real-nircam"
    image = fits.getdata(folder / f"{name}_diff.fits").astype(np.float32)
    free = fits.getdata(folder / "source_free.fits").astype(bool)
    usable = np.isfinite(image)
    if name == "hotpants":
        usable &= fits.getdata(folder / "hotpants_mask.fits") == 0
    found = find_sources(image, usable)
    assert found[free & usable].mean() < 0.02
    # What is left scatters hardly more than the sky that others have chosen with both images.
    left = image[usable & ~found]
    assert left.std() < 1.05 * image[usable & free].std()
    science = fits.getdata(folder / "science.fits").astype(np.float32)
    of_science = find_sources(science, everywhere(science))
    assert of_science[~free].mean() > 0.5
    assert of_science[free].mean() < 0.1
