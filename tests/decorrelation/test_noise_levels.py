"""Noise levels in windows and blocks: which pixels count, in what precision, read how often."""

import logging
import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from diffdecor.config import DecorrelationConfig
from diffdecor.core.planes import Window
from diffdecor.core.statistics import clipped_mean
from diffdecor.decorrelation import block_levels, noise_levels
from diffdecor.decorrelation.block_levels import block_log_ratios, block_medians
from diffdecor.decorrelation.noise_levels import (
    measure_noise_levels,
    streamed_level,
    usable_variances,
    whole_level,
    window_levels,
)
from diffdecor.decorrelation.subtraction import Member, Subtraction, as_kernel
from diffdecor.errors import InputError
from diffdecor.images.model import Exposure, MaskPlanes

SHAPE = (150, 221)
IGNORED = ("BAD",)
PLANES = MaskPlanes({"BAD": 3, "DETECTED": 5})
EVERYTHING = Window(0, SHAPE[1], 0, SHAPE[0])


class Recorded:
    """A plane that remembers how often each row was read."""

    def __init__(self, pixels):
        self.pixels, self.shape = pixels, pixels.shape
        self.read = np.zeros(len(pixels), dtype=int)
        self.pixels.flags.writeable = False
        self.lock = threading.Lock()

    def __getitem__(self, rows):
        with self.lock:
            self.read[rows] += 1
        return self.pixels[rows]


def exposure(dtype=np.float32, seed=1, name="image"):
    rng = np.random.default_rng(seed)
    variance = rng.normal(4, 0.5, SHAPE).astype(dtype)
    variance[rng.random(SHAPE) < 0.02] = np.nan
    variance[rng.random(SHAPE) < 0.01] = np.inf
    mask = np.where(rng.random(SHAPE) < 0.05, 1 << 3, 0) | np.where(
        rng.random(SHAPE) < 0.05, 1 << 5, 0
    )
    variance[mask & 8 != 0] *= 10
    return Exposure(
        image=np.zeros(SHAPE),
        variance=Recorded(variance),
        mask=Recorded(mask.astype(np.int32)),
        mask_planes=PLANES,
        name=name,
    )


def subtraction(science, template_stack, config):
    members = tuple(Member(one) for one in template_stack)
    images = science, template_stack[0], science
    return Subtraction(*images, as_kernel(None), config, template_members=members)


def counting_pixels(image):
    good = np.isfinite(image.variance.pixels) & (image.mask.pixels & 8 == 0)
    return np.where(good, image.variance.pixels.astype(np.float64), np.nan)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_usable_variances_keep_their_precision(dtype):
    image = exposure(dtype)
    rows, columns = slice(20, 90), slice(3, 77)
    strips = [slice(20, 35), slice(35, 36), slice(36, 90)]
    usable = usable_variances(image, strips, IGNORED, columns)
    assert usable.dtype == dtype
    expected = counting_pixels(image)[rows, columns]
    assert_array_equal(usable, np.where(np.isnan(expected), np.inf, expected))


@pytest.mark.parametrize("threads", [1, 3])
def test_levels_of_windows_are_the_clipped_means_in_them(monkeypatch, threads):
    """Whether they are held in memory, some at a time, or streamed."""
    windows = [
        Window(x0, x0 + 60, y0, y0 + 50) for y0 in (0, 50, 100) for x0 in (120, 0, 60, 30, 161)
    ]
    windows.append(Window(5, 6, 7, 8))
    pixels = counting_pixels(exposure())
    expected = [clipped_mean(pixels[window.rows, window.columns]) for window in windows]
    for held, band in ((1 << 22, 1 << 19), (1 << 22, 1000), (6000, 1000), (1, 700)):
        monkeypatch.setattr(noise_levels, "_MOST_HELD", held)
        monkeypatch.setattr(noise_levels, "BAND_PIXELS", band)
        levels = window_levels(exposure(), windows, IGNORED, threads)
        np.testing.assert_allclose(levels, expected, rtol=1e-12)


def wide(pixels):
    """A variance plane, and two windows of more pixels than are all read where that is enough."""
    image = Exposure(image=np.zeros(pixels.shape), variance=Recorded(pixels))
    return image, [Window(0, 200, 0, 200), Window(200, 400, 0, 200)]


def two_levels(scatter):
    """Variances of a mean of 5.5: even rows are noisier than odd ones."""
    pixels = np.random.default_rng(8).normal(5, scatter, (200, 400))
    pixels[::2] += 10 * scatter
    return pixels


@pytest.mark.parametrize("threads", [1, 2])
def test_a_quarter_of_the_rows_of_large_windows_is_enough_between_filters(threads):
    image, windows = wide(two_levels(0.005))
    exact = window_levels(image, windows, (), threads)
    assert (image.variance.read == 1).all()
    image, windows = wide(two_levels(0.005))
    found = window_levels(image, windows, (), threads, exactly=False)
    assert image.variance.read.sum() == 50
    assert found == pytest.approx(exact, rel=4e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_levels_that_are_not_sure_by_a_quarter_of_the_rows_are_of_all(threads):
    pixels = two_levels(0.005)
    pixels[:, 200:] = np.random.default_rng(9).normal(5, 0.5, (200, 200))
    image, windows = wide(pixels)
    exact = window_levels(image, windows, (), threads)
    found = window_levels(image, windows, (), threads, exactly=False)
    assert found[0] != exact[0]
    assert found[1] == exact[1]


def test_pixels_outside_these_rows_count_where_there_are_no_others():
    pixels = np.full((200, 400), np.nan)
    pixels[30:33] = 3.0
    image, windows = wide(pixels)
    assert window_levels(image, windows, (), exactly=False) == pytest.approx([3.0, 3.0])


@pytest.mark.parametrize("blend", ["interpolate", "average"])
def test_only_levels_between_which_filters_are_interpolated_are_not_of_all_pixels(blend):
    image, windows = wide(two_levels(0.005))
    config = DecorrelationConfig(blend=blend, template_variance=1.0)
    measure_noise_levels(subtraction(image, [image], config), windows)
    assert image.variance.read.sum() == (50 if blend == "interpolate" else 200)


def littered(shape, dtype=np.float64):
    """Memory as others may have left it: as single precision, signalling NaN."""
    memory = np.zeros(shape, dtype)
    memory.view(np.uint32)[...] = 0x7FA00000
    return memory


def test_rows_may_need_more_precision_than_those_before(monkeypatch):
    """Numbers too small for single precision come in double precision, and NaN before them not."""
    monkeypatch.setattr(noise_levels, "BAND_PIXELS", 1000)
    monkeypatch.setattr(np, "empty", littered)  # casting what was never written would warn
    tiny = np.full((40, 100), 1e-58)
    tiny[:15] = np.nan

    class Plane:
        shape = tiny.shape

        def __getitem__(self, rows):
            pixels = tiny[rows]
            return pixels.astype(np.float32) if np.isnan(pixels).all() else pixels

    image = Exposure(image=tiny, variance=Plane())
    windows = [Window(0, 50, 0, 40), Window(50, 100, 0, 40)]
    np.testing.assert_allclose(window_levels(image, windows, ()), 1e-58)


def test_rows_of_windows_beside_each_other_are_read_once():
    image = exposure()
    windows = [Window(x0, x0 + 40, y0, y0 + 50) for x0 in (0, 40, 80) for y0 in (0, 50, 100)]
    window_levels(image, windows, IGNORED, 2)
    for plane in (image.variance, image.mask):
        assert (plane.read == 1).all()


@pytest.mark.parametrize("band", [1 << 19, 5000])
def test_whole_images_are_read_once(monkeypatch, band):
    """But for the rows of the sample, where there are more rows than one band."""
    monkeypatch.setattr(noise_levels, "BAND_PIXELS", band)
    image = exposure()
    level = streamed_level(image, EVERYTHING, IGNORED, 2)
    assert level == pytest.approx(clipped_mean(counting_pixels(image)), rel=1e-12)
    for plane in (image.variance, image.mask):
        assert plane.read.max() <= (1 if band > 5000 else 2)


def test_a_window_without_usable_pixels_is_unknown():
    image = Exposure(image=np.zeros((4, 4)), variance=np.full((4, 4), np.inf))
    windows = [Window(0, 2, 0, 2), Window(2, 4, 0, 2)]
    assert np.isnan(window_levels(image, windows, ())).all()
    with pytest.raises(InputError, match="no finite pixel"):
        whole_level(image, DecorrelationConfig())


def test_masked_pixels_give_the_level_if_there_are_no_others(caplog):
    image = Exposure(
        image=np.zeros((4, 4)),
        variance=np.full((4, 4), 2.5),
        mask=np.full((4, 4), 8),
        mask_planes=PLANES,
    )
    assert whole_level(image, DecorrelationConfig()) == 2.5
    assert "every pixel is masked" in caplog.text


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_levels_of_both_images_and_of_stacks(caplog, threads):
    caplog.set_level(logging.WARNING)
    science, template = exposure(seed=2), [exposure(seed=3), exposure(seed=4, name="other")]
    windows = [Window(0, 100, 0, 70), Window(100, 221, 0, 70), Window(0, 221, 70, 150)]
    config = DecorrelationConfig(ignore_planes=IGNORED, threads=threads)
    levels = measure_noise_levels(subtraction(science, template, config), windows)
    assert_array_equal(levels.science, [window_levels(science, windows, IGNORED)])
    assert_array_equal(levels.template, [window_levels(one, windows, IGNORED) for one in template])
    assert not levels.fallback.any()
    config = DecorrelationConfig(template_variance=3.0)
    given = measure_noise_levels(subtraction(science, template, config), windows)
    assert_array_equal(given.template, np.full((2, 3), 3.0))
    assert not caplog.records


def plain_medians(pixels):
    """Lower median of each second pixel of the middle half of the rows of blocks of 16 x 16."""
    ny, nx = pixels.shape
    medians = np.full((-(-ny // 16), -(-nx // 16)), np.nan)
    for j, i in np.ndindex(medians.shape):
        height = min(16, ny - 16 * j)
        first = 16 * j + height // 4
        rows = slice(first, first + (height + 1) // 2, 2)
        block = pixels[rows, 16 * i : 16 * i + 16 : 2].ravel()
        block = np.sort(block[np.isfinite(block)])
        if block.size:
            medians[j, i] = block[(block.size - 1) // 2]
    return medians


@pytest.mark.parametrize("band", [1 << 19, 4000, 1])
@pytest.mark.parametrize("with_holes", [True, False])
def test_medians_of_blocks(monkeypatch, band, with_holes):
    monkeypatch.setattr(block_levels, "BAND_PIXELS", band)
    image = exposure()
    if not with_holes:
        image = Exposure(image=image.image, variance=np.random.default_rng(3).random(SHAPE))
    pixels = counting_pixels(image) if with_holes else image.variance
    assert_array_equal(block_medians(image, IGNORED), plain_medians(pixels))


def test_ratios_of_blocks_are_logarithms_to_the_first():
    science, template = exposure(seed=5), exposure(seed=6)
    config = DecorrelationConfig(ignore_planes=IGNORED)
    ratios = block_log_ratios(subtraction(science, [template, science], config))
    assert ratios.shape == (2, 10, 14)
    first, second = (np.log(plain_medians(counting_pixels(one))) for one in (science, template))
    np.testing.assert_allclose(ratios[0], second - first, rtol=1e-12)
    assert not ratios[1].any()
