"""What single precision, compact filters and filters between nodes cost in accuracy: numbers."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from helpers import oracle
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor import DecorrelationConfig, Exposure, decorrelate
from diffdecor.core.convolve import convolved
from diffdecor.core.interpolate import KernelField
from diffdecor.core.noise import NoiseSide, white_side
from diffdecor.core.whitening import compact_filters
from diffdecor.kernels.model import StampKernel
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.run import run_job

S, T = 2.0, 1.0
SHAPE = (700, 900)
KERNEL = oracle.gaussian(21, 1.8)
PEAK = 1e7
STARS = [(130.3, 120.6), (150.0, 260.2), (260.7, 180.4)]
SIGMA = np.sqrt(S + T)


def exposure(image, level):
    return Exposure(image=image, variance=np.full(image.shape, level, np.float32))


def difference_with_stars(shape=SHAPE):
    """White noise, a level, and residuals of very bright stars in one corner."""
    image = np.random.default_rng(5).normal(3, SIGMA, shape)
    y, x = np.indices(shape)
    for star_x, star_y in STARS:
        image += PEAK * np.exp(-((x - star_x) ** 2 + (y - star_y) ** 2) / (2 * 1.7**2))
    return image.astype(np.float32)


def whitened(image, kernel, **options):
    sides = exposure(image, S), exposure(image, T), exposure(image, S + T)
    return decorrelate(
        *sides, kernel, config=DecorrelationConfig(noise_model="white", **options)
    ).exposure


def fourier_whitened(image):
    """One transform of the whole image in double precision, which is reflected at its borders."""
    padded = np.pad(image.astype(np.float64), 150, mode="reflect")
    stamp = np.zeros(padded.shape)
    stamp[:21, :21] = KERNEL
    power = np.abs(np.fft.rfft2(stamp)) ** 2
    psi = np.sqrt((S + T) / (S + T * power))
    return np.fft.irfft2(np.fft.rfft2(padded) * psi, padded.shape)[150:-150, 150:-150]


@pytest.fixture(scope="module")
def errors():
    """Errors by precision, and the pixels in tiles with and without a bright star."""
    image = difference_with_stars()
    exact = fourier_whitened(image)
    found = {
        precision: whitened(image, KERNEL, mode="whole", precision=precision).image - exact
        for precision in ("single", "double")
    }
    y, x = np.indices(SHAPE)
    away = np.hypot(x - 180, y - 190) > 450
    return found, away


def test_single_precision_away_from_stars(errors):
    found, away = errors
    assert np.sqrt(np.mean(found["single"][away] ** 2)) < 3e-6 * SIGMA
    assert np.abs(found["single"][away]).max() < 3e-5 * SIGMA


def test_single_precision_near_stars_of_ten_million_counts(errors):
    found, _ = errors
    assert np.abs(found["single"]).max() < 1e-7 * PEAK


def test_the_sky_beside_bright_stars_is_as_good_as_any(errors):
    """Rounding is a share of the brightest pixel of a tile: such tiles are in double precision."""
    found, _ = errors
    assert_allclose(found["single"], found["double"], rtol=0, atol=1e-7 * PEAK)
    y, x = np.indices(SHAPE)
    beside = np.min([np.hypot(x - sx, y - sy) for sx, sy in STARS], axis=0) > 30
    assert np.abs(found["single"][beside]).max() < 1e-3 * SIGMA


@pytest.mark.parametrize("mode", ["whole", "grid"])
@pytest.mark.parametrize("value", [1e30, -3.4028e38, -1.797e308, 1e39])
def test_numbers_that_stand_for_no_data_spoil_nothing(mode, value):
    image = np.random.default_rng(6).normal(3, SIGMA, (300, 400))
    spoilt = image.copy()
    spoilt[150, 200] = value
    images = [image, spoilt] if abs(value) > 3.5e38 else [image.astype("f4"), spoilt.astype("f4")]
    clean, result = (whitened(one, KERNEL, mode=mode) for one in images)
    y, x = np.indices(image.shape)
    far = np.hypot(x - 200, y - 150) > 40
    assert np.abs(result.image - clean.image)[far].max() < 1e-4 * SIGMA
    assert np.isnan(result.image[150, 200])
    assert np.isnan(result.image).sum() == 1
    assert result.mask[150, 200] & result.mask_planes.value(["NO_DATA"])


def test_a_pixel_of_any_possible_brightness_spoils_only_what_is_near():
    image = np.random.default_rng(7).normal(3, SIGMA, (300, 400)).astype(np.float32)
    bright = image.copy()
    bright[150, 200] = 1e9
    clean, result = (whitened(one, KERNEL, mode="whole") for one in (image, bright))
    y, x = np.indices(image.shape)
    far = np.hypot(x - 200, y - 150) > 60
    assert np.abs(result.image - clean.image)[far].max() < 1e-2 * SIGMA


def test_the_full_variance_beside_bright_stars():
    variance = np.random.default_rng(8).uniform(90, 110, (400, 500)).astype(np.float32)
    variance[200, 250] = 1e9
    full = {}
    for precision in ("single", "double"):
        planes = [Exposure(image=variance, variance=variance) for _ in range(3)]
        config = DecorrelationConfig(
            noise_model="white", mode="whole", variance="full", precision=precision
        )
        full[precision] = decorrelate(*planes, KERNEL, config=config).exposure.variance
    assert_allclose(full["single"], full["double"], rtol=1e-5)


def test_double_precision_is_limited_by_the_length_of_the_filter(errors):
    found, away = errors
    assert np.abs(found["double"]).max() < 1e-8 * PEAK
    assert np.abs(found["double"][away]).max() < 1e-6 * SIGMA


# Filters that vary


class VaryingKernel:
    """Sigma grows from 1.4 to 2.4 pixels over 520 x 1040 pixels, four nodes: a strong variation."""

    name, format, shape, origin = "varying", "test", (21, 21), (10, 10)
    image_shape, boxes = None, ()

    def stamp(self, x, y):
        u, v = x / 1040, y / 520
        return oracle.gaussian(21, 1.4 + 0.5 * u + 0.3 * v + 0.2 * u * v)

    def sum(self, x, y):
        return self.stamp(x, y).sum()

    def side(self, *_position):
        return "template"

    def scales(self, *_position):
        return 1.0, 1.0

    def background(self, *_position):
        return 0.0


def exact_at(image, kernel, positions):
    """The result at some pixels, each with the filter of its own position."""
    stamps = np.array([kernel.stamp(x, y) for x, y in positions])
    number = len(positions)
    template = NoiseSide(np.full(number, T), np.ones(number), stamps, (10, 10))
    filters = compact_filters(white_side(np.full(number, S)), template)
    m = filters.half_width
    padded = np.pad(image.astype(np.float64), m, mode="reflect")
    return np.array(
        [
            np.sum(psi[::-1, ::-1] * padded[y : y + 2 * m + 1, x : x + 2 * m + 1])
            for psi, (x, y) in zip(filters.stamps, positions, strict=True)
        ]
    )


@pytest.fixture(scope="module")
def varying():
    """Nodes 256 pixels apart, as in large images, on noise alone."""
    shape = (520, 1040)
    image = np.random.default_rng(6).normal(0, SIGMA, shape).astype(np.float32)
    options = {"grid_step": 256, "scale_by_fwhm": False}
    return image, whitened(image, VaryingKernel(), **options).image


def test_filters_between_nodes_are_those_of_every_pixel(varying):
    image, result = varying
    rng = np.random.default_rng(7)
    positions = np.column_stack([rng.integers(0, 1040, 400), rng.integers(0, 520, 400)])
    exact = exact_at(image, VaryingKernel(), positions)
    error = result[positions[:, 1], positions[:, 0]] - exact
    assert np.sqrt(np.mean(error**2)) < 2e-4 * SIGMA


def test_there_is_no_jump_at_the_borders_of_tiles(varying):
    """The error is the same on both sides: what changes there changes as from pixel to pixel."""
    image, result = varying
    nodes = np.linspace(0, 1039, 6).round().astype(int)[1:-1]
    y = np.random.default_rng(8).integers(0, 520, 60)
    jumps = []
    for x in nodes:
        sides = []
        for column in (x - 1, x):
            positions = np.column_stack([np.full(60, column), y])
            sides.append(result[y, column] - exact_at(image, VaryingKernel(), positions))
        jumps.append(sides[1] - sides[0])
    assert np.sqrt(np.mean(np.square(jumps))) < 5e-5 * SIGMA


# Threads and memory


@pytest.mark.parametrize("variance", ["weighted", "full"])
@pytest.mark.parametrize("mode", ["whole", "grid"])
def test_the_result_does_not_depend_on_threads_or_memory(mode, variance):
    image = difference_with_stars((600, 300))
    image[100:130, 200:260] = np.nan
    options = {"mode": mode, "variance": variance}
    wanted = whitened(image, KERNEL, threads=1, **options)
    for other in ({"threads": 2}, {"threads": 4}, {"threads": 3, "max_memory": "64M"}):
        found = whitened(image, KERNEL, **options, **other)
        for plane in ("image", "variance", "mask"):
            assert_array_equal(getattr(found, plane), getattr(wanted, plane))


@pytest.mark.parametrize("scale", [1e-30, 1e-17, 1e15])
def test_units_in_which_single_precision_has_no_numbers(scale):
    """An image in erg/s/cm2/Hz has variances of 1e-60, which single precision takes for zero."""
    image = np.random.default_rng(9).normal(0, SIGMA, (90, 80))
    wanted = whitened(image, KERNEL, mode="whole", precision="double")
    planes = image * scale, np.full(image.shape, S) * scale**2, np.full(image.shape, T) * scale**2
    science = Exposure(image=planes[0], variance=planes[1])
    template = replace(science, variance=planes[2])
    config = DecorrelationConfig(noise_model="white", mode="whole")
    found = decorrelate(science, template, science, KERNEL, config=config).exposure
    assert np.abs(found.image / scale - wanted.image).max() < 1e-5
    np.testing.assert_allclose(found.variance / scale**2, wanted.variance, rtol=1e-6)


def test_a_kernel_of_a_stamp_file_is_like_the_array():
    image = difference_with_stars((200, 150))
    kernel = StampKernel(stamps=KERNEL[np.newaxis], origin=(10, 10), name="file")
    assert_array_equal(
        whitened(image, kernel, mode="whole").image, whitened(image, KERNEL, mode="whole").image
    )


@pytest.mark.parametrize("unit", [1e-50, 1e29])
def test_units_beyond_single_precision_are_written_in_double(tmp_path, unit):
    random = np.random.default_rng(9)
    science, template = (random.normal(0, sigma, (120, 140)) for sigma in (2.0, 1.0))
    difference = science - convolved(template, KernelField.constant(KERNEL, (10, 10)))
    kernel = fits.PrimaryHDU(KERNEL, fits.Header({"CONVSIDE": "TEMPLATE"}))
    kernel.writeto(tmp_path / "k.fits")
    pixels = {}
    for factor in (1.0, unit):
        names = [str(tmp_path / f"{name}-{factor:g}.fits") for name in ("s", "t", "d", "o")]
        for name, plane in zip(names, (science, template, difference), strict=False):
            fits.PrimaryHDU(plane * factor).writeto(name)
        levels = {"science_variance": 4 * factor**2, "template_variance": factor**2}
        config = DecorrelationConfig(
            noise_model="white", mode="whole", precision="double", **levels
        )
        science_file, template_file, difference_file, output = names
        run_job(
            Job(
                science=science_file,
                template=template_file,
                difference=difference_file,
                kernel=str(tmp_path / "k.fits"),
                output=output,
                decorrelation=config,
            )
        )
        with fits.open(output) as hdus:
            fits_single = 1e-30 < factor < 1e30
            assert hdus["IMAGE"].data.dtype.name == ("float32" if fits_single else "float64")
            pixels[factor] = hdus["IMAGE"].data / factor
    assert_allclose(pixels[unit], pixels[1.0], rtol=0, atol=1e-6)
