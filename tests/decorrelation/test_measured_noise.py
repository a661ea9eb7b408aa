"""Measured noise: what it finds in simulated differences, and when white noise is kept."""

import logging

import numpy as np
import pytest
from helpers.oracle import gaussian
from helpers.warped import (
    BAD,
    DETECTED,
    KERNEL,
    WARPED,
    N,
    Triple,
    correlations,
    periodic,
    warped,
)

from diffdecor import DecorrelationConfig, Exposure, decorrelate
from diffdecor.decorrelation.subtraction import Member
from diffdecor.kernels.model import StampKernel
from diffdecor.psfs.model import StampPsf


def summed_scatter(result):
    """Standard deviation of what is summed over some pixels, in units of the claimed one."""
    exposure = result.exposure
    weights = gaussian(17, 2.0)
    values = periodic(exposure.image / np.sqrt(exposure.variance), weights)
    return values[20:-20, 20:-20].std() / np.sqrt((weights**2).sum())


def test_a_warped_template_is_whitened():
    triple = Triple()
    white = triple.decorrelated(noise_model="white")
    measured = triple.decorrelated()
    assert measured.metrics.noise_model == "measured"
    before, _ = correlations(white)
    after, variance = correlations(measured)
    assert np.abs(before).max() > 0.015
    # Of 44 lags with errors of 0.002 the largest of pure noise is 0.005.
    assert np.abs(after).max() < 0.0065
    assert variance == pytest.approx(1, abs=0.01)
    # What is summed over a source scatters as claimed, within the error of some 1000 sources.
    assert summed_scatter(white) > 1.1
    assert summed_scatter(measured) == pytest.approx(1, abs=0.035)


@pytest.mark.parametrize("mode", ["whole", "grid"])
def test_filters_of_white_noise_stay_what_they_are(mode):
    triple = Triple(1, warp=False)
    white = triple.decorrelated(noise_model="white", mode=mode).filters[0]
    measured = triple.decorrelated(mode=mode).filters.mean(axis=0)
    m = min(len(white), len(measured)) // 2
    parts = [
        one[len(one) // 2 - m :, len(one) // 2 - m :][: 2 * m + 1, : 2 * m + 1]
        for one in (white, measured)
    ]
    assert parts[1] == pytest.approx(parts[0], abs=0.01 * parts[0].max())


def test_auto_keeps_white_noise_where_it_is_white():
    models = [
        Triple(seed, warp=False).decorrelated(noise_model="auto").metrics.noise_model
        for seed in range(5)
    ]
    assert models == ["white"] * 5


def test_auto_measures_noise_that_is_not_white():
    result = Triple(2).decorrelated(noise_model="auto")
    assert result.metrics.noise_model == "measured"
    assert result.metrics.noise_reason == "whiter with it"
    assert result.metrics.held_out_measured < 0.5 * result.metrics.held_out_white


def test_auto_mends_a_variance_that_is_wrong():
    """Noise that is white, but 10 per cent larger than its variance says."""
    triple = Triple(3, warp=False, unit=np.sqrt(1.1))
    for image in (triple.science, triple.template):
        image.variance[:] = 1.0
    result = triple.decorrelated(noise_model="auto")
    assert result.metrics.noise_model == "measured"
    _, variance = correlations(result)
    assert variance == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"science_variance": 1.0}, "number"),
        ({"edges": "zero", "fill": "mean"}, "LSST"),
    ],
)
def test_auto_takes_noise_as_white_where_the_user_says_what_it_is(options, why):
    result = Triple(4).decorrelated(noise_model="auto", **options)
    assert result.metrics.noise_model == "white"
    assert why in result.metrics.noise_reason


def test_white_is_the_model_of_white_noise():
    """Nothing is measured, and nothing is different."""
    triple = Triple(5)
    white = triple.decorrelated(noise_model="white")
    assert white.metrics.noise_model == "white"
    assert white.metrics.noise_pixels is None


def test_the_psf_is_not_convolved_with_the_noise_kernel():
    """The psi of the result is all that the PSF of the science image goes through."""
    psf = gaussian(21, 2.0)
    result = Triple(6, psf=StampPsf(psf)).decorrelated()
    wide = np.zeros((N, N))
    m = result.filters.shape[-1] // 2
    wide[N // 2 - m : N // 2 + m + 1, N // 2 - m : N // 2 + m + 1] = result.filters[0]
    expected = periodic(wide, psf)
    stamp = result.exposure.psf.stamp(N / 2, N / 2)
    half = len(stamp) // 2
    cut = expected[N // 2 - half : N // 2 + half + 1, N // 2 - half : N // 2 + half + 1]
    assert stamp == pytest.approx(cut / cut.sum(), abs=1e-6)


def discs(seed):
    y, x = np.indices((N, N))
    mask = np.zeros((N, N), bool)
    rng = np.random.default_rng(seed)
    while mask.mean() < 0.4:
        cx, cy, radius = rng.uniform(0, N), rng.uniform(0, N), rng.uniform(6, 20)
        mask |= (x - cx) ** 2 + (y - cy) ** 2 < radius**2
    return mask


@pytest.mark.parametrize("plane", [BAD, DETECTED])
def test_masked_discs_do_not_matter(plane):
    mask = discs(7)
    triple = Triple(7, mask=plane * mask)
    result = triple.decorrelated()
    assert result.metrics.noise_model == "measured"
    edges = result.exposure.mask_planes.value(["BAD", "NEAR_FILLED", "EDGE", "DETECTED"])
    sky = (result.exposure.mask & edges) == 0
    if plane == DETECTED:  # light of detected sources reaches their neighbours through the filter
        sky &= ~np.roll(mask, (8, 8), (0, 1)) & ~np.roll(mask, (-8, -8), (0, 1))
        sky &= ~np.roll(mask, (8, -8), (0, 1)) & ~np.roll(mask, (-8, 8), (0, 1))
    after, variance = correlations(result, sky)
    error = 1 / np.sqrt(sky.sum())
    assert np.abs(after).max() < 4 * error + 0.004
    assert variance == pytest.approx(1, abs=0.02)


def test_half_of_the_pixels_at_random_is_enough():
    mask = np.random.default_rng(8).random((N, N)) < 0.5
    result = Triple(8, mask=BAD * mask).decorrelated()
    assert result.metrics.noise_model == "measured"
    reference = Triple(8).decorrelated()
    m = min(len(result.filters[0]), len(reference.filters[0])) // 2
    one, other = (
        filters[len(filters) // 2 - m : len(filters) // 2 + m + 1][:, len(filters) // 2]
        for filters in (result.filters[0], reference.filters[0])
    )
    assert one == pytest.approx(other, abs=0.05)


@pytest.mark.parametrize("sigma", [3.0, 5.0])
def test_noise_correlated_over_many_pixels_is_whitened(sigma):
    """Like a template of much larger pixels: its power falls from some 100 to the floor of 1."""
    white, wide = np.random.default_rng(20).normal(size=(2, N, N))
    noise = white + periodic(wide, 10 * gaussian(41, sigma))
    difference = Exposure(image=noise, variance=np.full(noise.shape, noise.var()))
    result = decorrelate(None, None, difference, None, config=DecorrelationConfig(mode="whole"))
    after, variance = correlations(result)
    assert np.abs(after).max() < 0.01
    assert variance == pytest.approx(1, abs=0.01)
    assert summed_scatter(result) == pytest.approx(1, abs=0.04)


def test_scattered_bad_pixels_do_not_matter():
    """A filter reaches over filled pixels everywhere then, if only with its faint outer parts."""
    levels = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        noise, template = rng.normal(size=(2, 384, 384))
        noise = noise - periodic(template, 4 * gaussian(21, 1.4))
        for share in (0.0, 0.05):
            bad = rng.random(noise.shape) < share
            image = np.where(bad, np.nan, noise)
            difference = Exposure(image=image, variance=np.full(noise.shape, noise.var()))
            config = DecorrelationConfig(mode="whole")
            result = decorrelate(None, None, difference, None, config=config)
            levels.append(result.metrics.variance_after)
    without, scattered = np.mean(levels[::2]), np.mean(levels[1::2])
    # Each is known to 3 per cent.
    assert scattered == pytest.approx(without, rel=0.08)


@pytest.mark.parametrize("pattern", ["stripes", "checkerboard"])
def test_masks_without_pairs_at_some_lag_fall_back_to_white(pattern, caplog):
    y, x = np.indices((N, N))
    mask = x % 4 < 2 if pattern == "stripes" else (x + y) % 2 == 0
    with caplog.at_level(logging.WARNING):
        result = Triple(9, mask=BAD * mask).decorrelated()
    assert result.metrics.noise_model == "white"
    assert "pairs" in result.metrics.noise_reason
    assert "cannot be measured" in caplog.text
    assert np.isfinite(result.filters).all()


def test_too_few_pixels_fall_back_to_white(caplog):
    with caplog.at_level(logging.WARNING):
        result = Triple(10, shape=(55, 55)).decorrelated()
    assert result.metrics.noise_model == "white"
    assert "sky pixels, 5000 are needed" in caplog.text
    with caplog.at_level(logging.WARNING):
        result = Triple(10, shape=(110, 110)).decorrelated()
    assert result.metrics.noise_model == "measured"
    assert "only" in caplog.text


@pytest.mark.parametrize("unit", [1e-25, 1e12])
def test_the_unit_of_pixels_does_not_matter(unit):
    reference = Triple(11).decorrelated()
    other = Triple(11, unit=unit).decorrelated()
    assert other.filters == pytest.approx(reference.filters, abs=1e-5)


def test_results_do_not_depend_on_threads():
    one, other = (Triple(12).decorrelated(mode="grid", threads=number) for number in (1, 3))
    assert np.array_equal(one.filters, other.filters)
    assert np.array_equal(one.exposure.image, other.exposure.image)


def test_bright_pixels_that_no_mask_knows_do_not_matter():
    triple = Triple(13)
    rng = np.random.default_rng(13)
    y, x = rng.integers(0, N, size=(2, 60))
    triple.difference.image[y, x] += rng.choice([1e3, -300.0, 1e30, np.nan, np.inf], 60)
    result = triple.decorrelated()
    reference = Triple(13).decorrelated()
    m = min(len(result.filters[0]), len(reference.filters[0])) // 2
    row, other = (
        filters[len(filters) // 2, len(filters) // 2 - m : len(filters) // 2 + m + 1]
        for filters in (result.filters[0], reference.filters[0])
    )
    assert row == pytest.approx(other, abs=0.02)


def test_a_sloping_background_is_no_noise():
    triple = Triple(14)
    y, x = np.indices((N, N))
    triple.difference.image[:] += 0.01 * x - 0.02 * y + 40
    result = triple.decorrelated()
    assert summed_scatter_of_noise(result, triple) == pytest.approx(1, abs=0.04)


def summed_scatter_of_noise(result, triple):
    """`summed_scatter` of the noise alone, through the same filter and with its variance."""
    noise = triple.science.image - periodic(triple.template.image, KERNEL)
    weights = gaussian(17, 2.0)
    filtered = periodic(noise, result.filters[0]) / np.sqrt(result.exposure.variance)
    return periodic(filtered, weights).std() / np.sqrt((weights**2).sum())


def test_noise_that_changes_over_the_field_is_followed():
    """A warp leaves the left of the template alone, and smooths the right."""
    shape = (768, 768)
    rng = np.random.default_rng(15)
    science, white = rng.normal(size=(2, *shape))
    part = np.broadcast_to(np.linspace(0, 0.5, shape[1]), shape)
    template = (1 - part) * white + part * np.roll(white, -1, axis=1)
    template /= np.sqrt((1 - part) ** 2 + part**2)
    triple = Triple(15, shape=shape)
    triple.template.variance[:] = 1
    triple.science.variance[:] = 1
    triple.difference.image[:] = science - periodic(template, KERNEL)
    found = {}
    for mode in ("whole", "grid"):
        result = triple.decorrelated(mode=mode)
        exposure = result.exposure
        values = exposure.image / np.sqrt(exposure.variance)
        weights = gaussian(17, 2.0)
        sums = periodic(values, weights) / np.sqrt((weights**2).sum())
        found[mode] = [sums[20:-20, start : start + 192].std() for start in (20, 556)]
    # Errors are about 0.02.
    assert np.ptp(found["whole"]) > 0.06
    assert found["grid"] == pytest.approx([1, 1], abs=0.06)


@pytest.mark.parametrize("blend", ["average", "none"])
def test_cells_share_the_noise_of_the_image(blend):
    options = {
        "mode": "grid",
        "blend": blend,
        "scale_by_fwhm": False,
        "cell_size": (200, 200),
        "grid_step": (190, 190),
    }
    result = Triple(16).decorrelated(**options)
    assert result.metrics.noise_model == "measured"
    if blend == "average":
        after, _ = correlations(result)
        assert np.abs(after).max() < 0.0075


def test_stacks_keep_their_own_kernels():
    """Noise of a science image that was smoothed before: known as its own kernel, none is left."""
    rng = np.random.default_rng(17)
    own = gaussian(9, 0.8)
    science, template = rng.normal(size=(2, N, N))
    smoothed = Exposure(image=periodic(science, own), variance=np.ones((N, N)), name="science")
    other = Exposure(image=template, variance=np.ones((N, N)), name="template")
    image = smoothed.image - periodic(template, KERNEL)
    kernel = StampKernel(stamps=own[np.newaxis], origin=(4, 4), name="own")
    results = [
        decorrelate(
            smoothed,
            other,
            Exposure(image=image, name="difference"),
            KERNEL,
            config=DecorrelationConfig(mode="whole", noise_model=model),
            science_members=[Member(smoothed, kernel)],
        )
        for model in ("white", "measured", "auto")
    ]
    for result in results:
        after, _ = correlations(result)
        assert np.abs(after).max() < 0.008
    assert results[2].metrics.noise_model == "white"


def test_faint_light_is_told(caplog):
    triple = Triple(18)
    y, x = np.indices((N, N))
    rng = np.random.default_rng(18)
    for _ in range(300):
        cx, cy = rng.uniform(0, N, 2)
        triple.difference.image[:] += 0.6 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 2 / 6**2)
    with caplog.at_level(logging.WARNING):
        triple.decorrelated()
    assert "light" in caplog.text


def score_image(seed, *, warp):
    """The result for a score image of noise: white templates, or warped ones, by noise model."""
    size = (N, N)
    science, template = np.random.default_rng(seed).normal(size=(2, *size))
    level = 1.0
    if warp:
        template, level = warped(template), WARPED
    psf, kernel = gaussian(21, 1.6), gaussian(31, np.sqrt(2 * 1.6**2 - 1.2**2))
    image = periodic(science, psf) - periodic(template, kernel)

    def result(model):
        return decorrelate(
            Exposure(image=science, variance=np.ones(size), psf=StampPsf(psf), name="science"),
            Exposure(image=template, variance=np.full(size, level), name="template"),
            Exposure(image=image, name="difference"),
            kernel,
            config=DecorrelationConfig(score=True, noise_model=model, mode="whole"),
        )

    return result


def significance_scatter(result):
    exposure = result.exposure
    return (exposure.image / np.sqrt(exposure.variance))[40:-40, 40:-40].std()


def test_score_images_of_white_noise_stay_what_they_are():
    """Most of their power has been taken away: nothing is to be concluded from what is left."""
    results = score_image(20, warp=False)
    assert results("auto").metrics.noise_model == "white"
    # The scatter of what is 20 pixels wide has an error of 0.007.
    assert significance_scatter(results("measured")) == pytest.approx(1, abs=0.02)


def test_score_images_of_warped_templates_have_the_scatter_that_is_claimed():
    results = score_image(21, warp=True)
    assert significance_scatter(results("white")) > 1.1
    measured = results("auto")
    assert measured.metrics.noise_model == "measured"
    assert significance_scatter(measured) == pytest.approx(1, abs=0.025)


def test_steps_of_the_variance_are_no_noise():
    """Stripes of very different depth: the quiet ones are not the only sky."""
    deep = np.where(np.arange(N) // 12 % 2, 0.3, 6.0) * np.ones((N, N))
    rng = np.random.default_rng(22)
    science, template = rng.normal(size=(2, N, N))
    template *= np.sqrt(deep)
    result = decorrelate(
        Exposure(image=science, variance=np.ones((N, N)), name="science"),
        Exposure(image=template, variance=deep, name="template"),
        Exposure(image=science - periodic(template, KERNEL), name="difference"),
        KERNEL,
        config=DecorrelationConfig(mode="whole", noise_model="measured", variance="full"),
    )
    ratio = result.exposure.image**2 / result.exposure.variance
    assert ratio[30:-30, 30:-30].mean() == pytest.approx(1, abs=0.015)
