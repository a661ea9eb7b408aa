"""What decorrelate promises for any input, ordinary and odd ones."""

import doctest
import logging
from dataclasses import replace

import numpy as np
import pytest
from helpers import oracle, simulate
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor import DecorrelationConfig, Exposure, MaskPlanes, Metrics, decorrelate
from diffdecor.core.interpolate import KernelField
from diffdecor.decorrelation import decorrelate as module
from diffdecor.errors import ConfigError, InputError, KernelError
from diffdecor.kernels.model import StampKernel

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

WHOLE = DecorrelationConfig(noise_model="white", precision="double", mode="whole")
GRID = DecorrelationConfig(noise_model="white", precision="double")
CELLS = DecorrelationConfig(
    noise_model="white",
    precision="double",
    blend="average",
    scale_by_fwhm=False,
    cell_size=40,
    grid_step=30,
    cell_border=5,
)
ALL = pytest.mark.parametrize("config", [WHOLE, GRID, CELLS], ids=["whole", "grid", "cells"])


def exposure(image, variance=None, **more):
    return Exposure(image=image, variance=variance, **more)


def stamp_kernel(stamp, origin, side="template"):
    return StampKernel(stamps=stamp[np.newaxis], origin=origin, convolved=side)


def whiten(difference, *, kernel=None, config=WHOLE, science=1.0, template=1.0, **more):
    """Decorrelate pixels, with constant or given variance planes."""
    kernel = stamp_kernel(oracle.gaussian(9, 1.3), (4, 4)) if kernel is None else kernel
    planes = [np.broadcast_to(np.asarray(v, float), difference.shape) for v in (science, template)]
    sides = [exposure(np.zeros(difference.shape), plane) for plane in planes]
    return decorrelate(*sides, exposure(difference, **more), kernel, config=config)


def flagged(result, name):
    return (result.exposure.mask & result.exposure.mask_planes.value([name])) != 0


def test_the_example_of_the_docstring_is_true():
    done = doctest.testmod(module)
    assert done.attempted >= 10
    assert not done.failed


# Properties

shapes = st.tuples(st.integers(20, 90), st.integers(20, 90))
seeds = st.integers(0, 2**31)
levels = st.one_of(st.just(0.0), st.floats(1e-6, 1e6), st.floats(-1e6, -1e-6))


def varying(shape, seed):
    """A random triple with varying kernel and noise steps."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    sigmas = rng.uniform(0.7, 1.6, size=(2, 3))
    stamps = np.array([[oracle.gaussian((7, 8), s, axis_ratio=0.8) for s in row] for row in sigmas])
    x, y = np.array([0.0, nx // 2, nx - 1]), np.array([0.0, ny - 1])
    variance = np.ones(shape)
    variance[:, nx // 3 :] *= 4
    variance[ny // 2 :] /= 3
    science = exposure(np.zeros(shape), variance)
    template = exposure(np.zeros(shape), np.ones(shape))
    return science, template, rng.normal(size=shape), KernelField(x, y, stamps, (4, 3))


@oracle.EXAMPLES
@example((22, 69), 0, GRID)  # the level steps within a block
@given(shapes, seeds, st.sampled_from([WHOLE, GRID]))
def test_transposed_input_gives_the_transposed_output(shape, seed, config):
    science, template, image, field = varying(shape, seed)
    turned = KernelField(field.y, field.x, field.stamps.transpose(1, 0, 3, 2), field.origin[::-1])
    options = replace(config, variance="full")
    kernel = simulate.matching_kernel(field)
    upright, stricter = (
        decorrelate(
            science,
            template,
            exposure(image),
            kernel,
            config=replace(options, flag_share=options.flag_share * (1 + nearly)),
        )
        for nearly in (1e-9, -1e-9)
    )
    across = decorrelate(
        exposure(science.image.T, science.variance.T),
        exposure(template.image.T, template.variance.T),
        exposure(image.T),
        simulate.matching_kernel(turned),
        config=options,
    )
    for name in ("image", "variance"):
        assert_allclose(
            getattr(across.exposure, name).T, getattr(upright.exposure, name), atol=1e-7
        )
    planes = upright.exposure.mask_planes, across.exposure.mask_planes
    assert planes[0] == planes[1]
    # A share of energy that is at the limit may fall to either side of it.
    sure = upright.exposure.mask == stricter.exposure.mask
    assert sure.mean() > 0.8
    assert_array_equal(across.exposure.mask.T[sure], upright.exposure.mask[sure])


@oracle.EXAMPLES
@given(shapes, seeds, st.sampled_from([WHOLE, GRID]), st.floats(-50, 50))
def test_linear_in_the_difference(shape, seed, config, factor):
    science, template, first, field = varying(shape, seed)
    second = np.random.default_rng(seed + 1).normal(10, 3, size=shape)
    kernel = simulate.matching_kernel(field)
    one, other, both = (
        decorrelate(science, template, exposure(image), kernel, config=config).exposure.image
        for image in (first, second, first + factor * second)
    )
    assert_allclose(both, one + factor * other, atol=1e-9)


@oracle.EXAMPLES
@given(shapes, seeds, st.sampled_from([WHOLE, GRID, CELLS]), levels)
def test_a_constant_difference_stays_constant(shape, seed, config, level):
    """Also at borders and holes: edges are extended and holes filled with the level."""
    science, template, _, field = varying(shape, seed)
    rng = np.random.default_rng(seed)
    image = np.full(shape, level)
    holes = rng.random(shape) < 0.03
    holes[3:9, :12] = True
    image[holes] = rng.choice([np.nan, np.inf, -np.inf], size=holes.sum())
    kernel = simulate.matching_kernel(field)
    result = decorrelate(science, template, exposure(image), kernel, config=config)
    assert_allclose(result.exposure.image[~holes], level, rtol=1e-9, atol=1e-9)
    assert_array_equal(result.exposure.image[holes], image[holes])
    assert flagged(result, "NO_DATA")[holes].all()


@oracle.EXAMPLES
@given(seeds, st.sampled_from([WHOLE, GRID]))
def test_holes_far_away_do_not_matter(seed, config):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(110, 120))
    damaged = image.copy()
    damaged[:20, :25] = np.nan
    clean, result = (whiten(pixels, config=config, template=100.0) for pixels in (image, damaged))
    reach = result.filters.shape[-1] // 2
    far = np.ones(image.shape, dtype=bool)
    far[: 20 + reach, : 25 + reach] = False
    assert far.mean() > 0.5
    assert_allclose(result.exposure.image[far], clean.exposure.image[far], atol=1e-12)
    near = flagged(result, "NEAR_FILLED")
    assert near.any()
    assert not near[far].any()


@oracle.EXAMPLES
@given(seeds, st.floats(1e-6, 1e6))
def test_the_unit_does_not_matter(seed, unit):
    image = np.random.default_rng(seed).normal(size=(40, 45))
    once, again = whiten(image), whiten(unit * image, science=unit**2, template=unit**2)
    assert_allclose(again.exposure.image, unit * once.exposure.image, rtol=1e-7, atol=1e-8 * unit)
    assert_allclose(again.exposure.variance, unit**2 * once.exposure.variance, rtol=1e-8)


# Kernels and shapes

KERNELS = {
    "odd": ((9, 9), (4, 4)),
    "even": ((8, 6), (3, 4)),
    "pixel": ((1, 1), (0, 0)),
    "row": ((1, 7), (3, 0)),
    "column": ((6, 1), (0, 2)),
    "off-centre": ((11, 9), (1, 8)),
    "beside": ((5, 5), (7, -2)),
}


@ALL
@pytest.mark.parametrize("side", ["template", "science"])
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("shape", [(50, 61), (61, 50)])
def test_every_kernel_and_parity(name, shape, side, config):
    """The filter is centred, whatever the kernel: it depends on the kernel's power only."""
    size, origin = KERNELS[name]
    stamp = 1.3 * oracle.gaussian(size, 1.1)
    kernel = stamp_kernel(stamp, origin, side)
    image = np.random.default_rng(7).normal(size=shape)
    result = whiten(image, kernel=kernel, config=config, science=0.8, template=1.4)
    psi = result.filters[0]
    half_width = psi.shape[0] // 2
    expected = oracle.convolved(image, psi, (half_width, half_width))
    assert_allclose(result.exposure.image, expected, atol=1e-7)
    levels = (0.8, 1.4) if side == "template" else (1.4, 0.8)
    assert_allclose(result.exposure.variance, levels[0] + 1.69 * levels[1], rtol=1e-7)
    shifted = stamp_kernel(stamp, (origin[0] + 1, origin[1] - 2), side)
    again = whiten(image, kernel=shifted, config=config, science=0.8, template=1.4)
    assert_allclose(again.exposure.image, result.exposure.image, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 60), (60, 1), (1, 1), (2, 90), (5, 5)])
@ALL
def test_thin_and_small_images(shape, config):
    """Smaller than the filter, than a cell, than a block: finite, and a level stays."""
    stamp = oracle.gaussian(tuple(min(5, size) for size in shape), 0.9)
    kernel = stamp_kernel(stamp, (stamp.shape[1] // 2, stamp.shape[0] // 2))
    noise = np.random.default_rng(8).normal(size=shape)
    for variance in ("weighted", "full"):
        options = replace(config, variance=variance)
        result = whiten(noise, kernel=kernel, config=options)
        assert np.isfinite(result.exposure.image).all()
        assert_allclose(result.exposure.variance, 2.0, rtol=1e-6)
    level = whiten(np.full(shape, 3.0), kernel=kernel, config=config)
    assert_allclose(level.exposure.image, 3.0, rtol=1e-9)


def test_an_array_is_a_kernel():
    image = np.random.default_rng(9).normal(size=(40, 40))
    stamp = oracle.gaussian((7, 6), 1.0)
    by_array = whiten(image, kernel=stamp)
    by_object = whiten(image, kernel=stamp_kernel(stamp, (3, 3)))
    assert_array_equal(by_array.exposure.image, by_object.exposure.image)


def test_kernel_position_chooses_the_kernel():
    science, template, image, field = varying((60, 80), 3)
    kernel = simulate.matching_kernel(field)
    here = decorrelate(
        science,
        template,
        exposure(image),
        kernel,
        config=DecorrelationConfig(
            noise_model="white", precision="double", mode="whole", kernel_position=(70, 10)
        ),
    )
    alone = stamp_kernel(kernel.stamp(70, 10), field.origin)
    wanted = decorrelate(science, template, exposure(image), alone, config=WHOLE)
    assert_allclose(here.exposure.image, wanted.exposure.image, atol=1e-12)


# Noise levels out of the ordinary


@ALL
def test_noiseless_template_changes_nothing(config):
    image = np.random.default_rng(10).normal(size=(70, 80))
    result = whiten(image, config=config, science=2.0, template=0.0)
    assert result.filters.shape[1:] == (1, 1)
    assert_allclose(result.exposure.image, image, atol=1e-12)
    assert_allclose(result.exposure.variance, 2.0)
    assert not flagged(result, "EDGE").any()


@ALL
def test_noiseless_science_image_is_bounded_and_said(config, caplog):
    image = oracle.convolved(
        np.random.default_rng(11).normal(size=(90, 90)), oracle.gaussian(9, 1.3), (4, 4)
    )
    result = whiten(image, config=config, science=0.0)
    assert "(almost) no noise" in caplog.text
    assert np.isfinite(result.exposure.image).all()
    assert np.isfinite(result.exposure.variance).all()
    assert result.exposure.image.std() < 10


def test_no_noise_at_all_is_refused():
    with pytest.raises(InputError, match="both variance planes are zero"):
        whiten(np.ones((30, 30)), science=0.0, template=0.0)


@ALL
@pytest.mark.parametrize("variance", ["weighted", "full"])
@pytest.mark.parametrize("missing", [np.inf, np.nan], ids=["inf", "nan"])
def test_pixels_without_variance_hold_no_data(config, variance, missing):
    image = np.random.default_rng(12).normal(size=(150, 160))
    plane = np.full(image.shape, 2.0)
    plane[40:60, 50:90] = missing
    image[40:60, 50:90] = 1e6  # what is there does not leak
    result = whiten(image, config=replace(config, variance=variance), template=plane)
    holes = ~np.isfinite(plane)
    assert_array_equal(np.isfinite(result.exposure.variance), ~holes)
    assert_array_equal(flagged(result, "NO_DATA"), holes)
    # LSST's reducer leaves out cells where the variance is NaN: there it states no image at all.
    dropped = config is CELLS and np.isnan(missing)
    assert_array_equal(result.exposure.image[holes], np.nan if dropped else image[holes])
    assert np.abs(result.exposure.image[~holes]).max() < 20
    assert_allclose(result.exposure.variance[~holes], 3.0, rtol=1e-5)


@ALL
def test_all_masked_image_takes_the_level_of_all_pixels(config, caplog):
    shape = (100, 110)
    masked = {"mask": np.ones(shape, dtype=np.int32), "mask_planes": MaskPlanes({"BAD": 0})}
    science = exposure(np.zeros(shape), np.full(shape, 1.5), name="s.fits", **masked)
    template = exposure(np.zeros(shape), np.ones(shape))
    image = np.random.default_rng(13).normal(size=shape)
    difference = exposure(image, mask=np.zeros(shape, dtype=np.int32))
    kernel = oracle.gaussian(9, 1.3)
    result = decorrelate(science, template, difference, kernel, config=config)
    assert "s.fits: every pixel is masked" in caplog.text
    assert_allclose(result.science_level, 1.5)
    assert flagged(result, "NOISE_FALLBACK").all()
    free = decorrelate(
        replace(science, mask=None), template, difference, kernel, config=config
    ).exposure
    assert_allclose(result.exposure.image, free.image, atol=1e-12)


def test_given_levels_need_no_planes():
    image = np.random.default_rng(14).normal(size=(60, 60))
    config = DecorrelationConfig(
        noise_model="white",
        precision="double",
        mode="whole",
        science_variance=1.0,
        template_variance=1.0,
    )
    empty = exposure(np.zeros(image.shape))
    result = decorrelate(empty, empty, exposure(image), oracle.gaussian(9, 1.3), config=config)
    assert_allclose(result.exposure.image, whiten(image).exposure.image, atol=1e-12)
    assert_allclose(result.exposure.variance, 2.0, rtol=1e-6)


@ALL
@pytest.mark.parametrize("which", ["science", "template", "difference"])
def test_all_nan_input_is_returned_as_it_is(which, config, caplog):
    shape = (30, 40)
    images = {
        name: exposure(np.ones(shape), np.ones(shape), name=f"{name}.fits")
        for name in ("science", "template", "difference")
    }
    images[which] = replace(images[which], image=np.full(shape, np.nan))
    result = decorrelate(*images.values(), oracle.gaussian(5, 1.0), config=config)
    assert_array_equal(result.exposure.image, images["difference"].image)
    assert_array_equal(result.exposure.variance, 1.0)
    assert f"{which}.fits: every pixel is NaN" in caplog.text
    assert result.metrics == Metrics(skipped=True)
    assert flagged(result, "NO_DATA").all() == (which == "difference")


# Masks


def test_masks_of_both_images_are_inherited_by_name():
    shape = (60, 60)
    first, second = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    first[20, 20], second[30, 30], second[40, 40] = 1, 1, 2
    result = decorrelate(
        exposure(np.zeros(shape), np.ones(shape), mask=first, mask_planes=MaskPlanes({"CR": 0})),
        exposure(
            np.zeros(shape),
            np.ones(shape),
            mask=second,
            mask_planes=MaskPlanes({"DETECTED": 0, "CR": 1}),
        ),
        exposure(np.random.default_rng(15).normal(size=shape)),
        oracle.gaussian(9, 1.3),
        config=replace(WHOLE, template_variance=300.0),
    )
    assert_array_equal(np.argwhere(flagged(result, "CR")), [[20, 20], [40, 40]])
    assert_array_equal(np.argwhere(flagged(result, "DETECTED")), [[30, 30]])
    assert flagged(result, "NEAR_FILLED")[20, 21]
    assert not flagged(result, "NEAR_FILLED")[30, 31]


def test_detected_pixels_are_never_filled():
    """A source flagged as detected is still there, filtered like everything else."""
    image = 1e4 * oracle.gaussian(61, 2.0)
    mask = (image > 10).astype(np.int32)
    planes = MaskPlanes({"DETECTED": 0})
    result = whiten(image, mask=mask, mask_planes=planes)
    assert_allclose(result.exposure.image, whiten(image).exposure.image, atol=1e-9)
    assert result.exposure.image.sum() == pytest.approx(1e4, rel=1e-6)


def test_edge_flags_follow_the_filter():
    result = whiten(np.random.default_rng(16).normal(size=(80, 90)), science=0.01)
    edge = flagged(result, "EDGE")
    width = int(np.argmin(edge[40]))
    assert 0 < width < result.filters.shape[-1] // 2
    inner = np.zeros(edge.shape, dtype=bool)
    inner[width:-width, width:-width] = True
    assert_array_equal(edge, ~inner)


# What cannot be


def test_a_kernel_larger_than_the_image_is_refused():
    with pytest.raises(KernelError, match="larger than the image"):
        whiten(np.ones((8, 30)))


def test_a_kernel_of_sum_zero_is_refused():
    stamp = oracle.gaussian(9, 1.0) - oracle.gaussian(9, 2.0)
    with pytest.raises(KernelError, match="sum of the matching kernel"):
        whiten(np.ones((30, 30)), kernel=stamp_kernel(stamp, (4, 4)))


@pytest.mark.parametrize("which", [0, 1])
def test_shapes_that_disagree_are_refused(which):
    images = [exposure(np.ones((30, 30)), np.ones((30, 30)), name=f"{n}.fits") for n in "std"]
    images[which] = exposure(np.ones((30, 31)), np.ones((30, 31)), name="odd.fits")
    with pytest.raises(InputError, match=r"odd\.fits has the shape \(30, 31\)"):
        decorrelate(*images, oracle.gaussian(5, 1.0))


def test_unknown_planes_are_refused():
    with pytest.raises(ConfigError, match="no image has a mask plane NONSENSE"):
        whiten(
            np.ones((30, 30)),
            config=DecorrelationConfig(noise_model="white", ignore_planes=("NONSENSE",)),
        )


def test_a_score_image_needs_its_preconvolution_kernel():
    with pytest.raises(ConfigError, match="--preconvolution-kernel"):
        whiten(
            np.ones((30, 30)),
            config=DecorrelationConfig(
                noise_model="white", precision="double", mode="whole", score=True
            ),
        )


@ALL
def test_missing_variance_planes_are_refused(config):
    empty = exposure(np.zeros((30, 30)), name="s.fits")
    with pytest.raises(InputError, match=r"s\.fits: no variance plane for the science image"):
        decorrelate(empty, empty, empty, oracle.gaussian(5, 1.0), config=config)


def test_ordinary_input_logs_nothing(caplog):
    with caplog.at_level(logging.INFO):
        whiten(np.random.default_rng(17).normal(size=(90, 90)), config=GRID)
    assert not caplog.text
