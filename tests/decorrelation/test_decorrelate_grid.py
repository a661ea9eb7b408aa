"""Filters that follow kernel and noise: white everywhere, no seams, no cell left behind."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import oracle, simulate
from helpers.simulate import in_pixels, masked_triple
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor import DecorrelationConfig, Exposure, decorrelate
from diffdecor.core.interpolate import KernelField

SHAPE = (384, 512)
BLOCK = 64
REALISATIONS = 3
WHOLE = DecorrelationConfig(noise_model="white", precision="double", mode="whole")
NODES = DecorrelationConfig(noise_model="white", precision="double")


def varying_kernel(shape):
    """A kernel that is three times as wide at one corner as at the other."""
    ny, nx = shape
    x, y = np.linspace(0, nx - 1, 9), np.linspace(0, ny - 1, 7)
    stamps = np.array(
        [
            [
                oracle.gaussian(21, 0.8 + 0.9 * i / nx + 0.7 * j / ny, centre=(10 + i / nx, 10))
                for i in x
            ]
            for j in y
        ]
    )
    return KernelField(x, y, stamps, (10, 10))


def stepped_variances(shape):
    """Two amplifiers in the science image; a step and a circle of other depth in the template."""
    y, x = np.indices(shape)
    science = np.where(x < shape[1] // 2, 1.0, 0.25)
    template = np.where(y < 150, 1.0, 3.0)
    template[(x - 256) ** 2 + (y - 192) ** 2 < 96**2] *= 4
    return science, template


@pytest.fixture(scope="module")
def normalised():
    """Realisations in units of the claimed noise, with one filter and with many."""
    science, template = stepped_variances(SHAPE)
    images = {"whole": [], "nodes": []}
    for seed in range(REALISATIONS):
        triple = simulate.simulate_triple(
            np.random.default_rng([7, seed]),
            SHAPE,
            varying_kernel(SHAPE),
            science_variance=science,
            template_variance=template,
        )
        for name, config in (("whole", WHOLE), ("nodes", NODES)):
            result = decorrelate(*triple.inputs, config=config)
            images[name].append(result.exposure.image / np.sqrt(result.exposure.variance))
    x, y = np.unique(result.positions[:, 0]), np.unique(result.positions[:, 1])
    return {name: np.array(stack) for name, stack in images.items()}, x, y


def by_block(values):
    """Mean over all realisations in blocks of pixels."""
    mean = values.mean(axis=0)
    ny, nx = (size // BLOCK for size in mean.shape)
    mean = mean[: ny * BLOCK, : nx * BLOCK]
    return mean.reshape(ny, BLOCK, nx, BLOCK).mean(axis=(1, 3))


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


@pytest.mark.parametrize("lag", [(1, 0), (0, 1), (1, 1), (2, 0), (0, 2)])
def test_white_in_every_block_where_one_filter_fails(normalised, lag):
    images, *_ = normalised
    dx, dy = lag
    error = 1 / np.sqrt(REALISATIONS * BLOCK**2)
    found = {
        name: rms(by_block(stack[:, dy:, dx:] * stack[:, : SHAPE[0] - dy, : SHAPE[1] - dx]))
        for name, stack in images.items()
    }
    assert found["nodes"] < 1.3 * error
    assert found["whole"] > 2 * found["nodes"]
    if lag in {(1, 0), (0, 1)}:
        assert found["whole"] > 5 * found["nodes"]


def test_pixel_variance_in_every_block(normalised):
    images, *_ = normalised
    error = np.sqrt(2 / (REALISATIONS * BLOCK**2))
    variance = by_block(images["nodes"] ** 2)
    assert rms(variance - 1) < 1.5 * error
    assert variance.mean() == pytest.approx(1, abs=0.01)


def test_noise_does_not_step_at_nodes(normalised):
    """The mean square step across lines of nodes, and the middles between, is that elsewhere."""
    images, x, y = normalised
    stack = images["nodes"]
    for axis, nodes in ((2, x), (1, y)):
        squares = (np.diff(stack, axis=axis) ** 2).mean(axis=(0, 3 - axis))
        middles = np.ceil((nodes[1:] + nodes[:-1]) / 2)
        lines = np.unique(np.concatenate([nodes[1:-1], middles]).astype(int))
        borders = np.unique(np.concatenate([lines - 1, lines]))
        others = np.delete(squares, borders)
        # A squared difference of neighbours scatters by sqrt(12) about 2, with its neighbour's.
        error = np.sqrt(12 / (borders.size * stack[0].size / squares.size * REALISATIONS))
        assert len(borders) > 20
        assert squares[borders].mean() == pytest.approx(others.mean(), abs=4 * error)


def test_constant_kernel_and_noise_give_the_whole_image_result():
    triple = simulate.simulate_triple(
        np.random.default_rng(8), (300, 350), KernelField.constant(oracle.gaussian(15, 1.4), (7, 7))
    )
    whole = decorrelate(*triple.inputs, config=WHOLE).exposure
    for options in (
        {},
        {"grid_step": 40.0},
        {"blend": "average", "cell_size": 80, "grid_step": 70, "cell_border": 10},
        {"blend": "copy", "cell_size": 80, "grid_step": 70, "cell_border": 10},
    ):
        result = decorrelate(*triple.inputs, config=in_pixels(**options))
        assert len(result.positions) > 10
        sigma = np.sqrt(whole.variance[0, 0])
        assert np.abs(result.exposure.image - whole.image).max() < 1e-6 * sigma
        assert_allclose(result.exposure.variance, whole.variance, rtol=1e-7)


def jump(image, lines):
    """The largest step between columns at given lines, compared to the largest one elsewhere."""
    steps = np.abs(np.diff(image, axis=1)).max(axis=0)
    at = np.array(lines) - 1
    return steps[at].max() / np.delete(steps, at).max()


def test_smooth_light_does_not_jump_at_nodes():
    """Without noise, the ridge of an arc shows every seam; LSST's cells side by side do."""
    shape = (300, 400)
    field = varying_kernel(shape)
    x = np.arange(shape[1])
    y = np.arange(shape[0])[:, np.newaxis]
    ridge = 1000 * np.exp(-((y - 150) ** 2) / (2 * 2.5**2)) * np.ones(x.size)
    variance = np.where(x < 200, 1.0, 4.0) * np.ones(shape)
    science = Exposure(image=ridge, variance=np.ones(shape))
    template = Exposure(image=ridge, variance=variance)
    ways = {
        "nodes": in_pixels(grid_step=40.0),
        "cells": in_pixels(
            blend="copy", cell_size=40, grid_step=40, cell_border=10, adjust_grid="none"
        ),
    }
    kernel = simulate.matching_kernel(field)
    seams = {}
    for name, config in ways.items():
        image = decorrelate(science, template, Exposure(image=ridge), kernel, config=config)
        # The last pixel before a line of nodes, the pixel on it, and the one behind.
        lines = range(40, 361, 40)
        lines = lines if name == "cells" else [line + side for line in lines for side in (0, 1)]
        seams[name] = jump(image.exposure.image[140:161], lines)
    assert seams["nodes"] < 1.5
    assert seams["cells"] > 1e3


# Cells and nodes without noise level


WAYS = {
    "nodes": in_pixels(grid_step=50.0),
    "cells": in_pixels(
        blend="average", cell_size=50, grid_step=50, cell_border=0, adjust_grid="none"
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_place_without_level_takes_its_neighbours(name, caplog):
    shape = (250, 300)
    science, template, difference = masked_triple(shape, np.s_[70:180, 20:130])
    result = decorrelate(science, template, difference, oracle.gaussian(9, 1.2), config=WAYS[name])
    # All around the masked box the level is 1, beyond the middle of the image 3.
    left = result.positions[:, 0] < 130
    assert_allclose(result.science_level[left], 1.0)
    assert_allclose(result.science_level[result.positions[:, 0] > 180], 3.0)
    flagged = result.exposure.mask & result.exposure.mask_planes.value(["NOISE_FALLBACK"])
    rows, columns = np.nonzero(flagged)
    assert rows.size > 0
    assert rows.min() >= 70
    assert rows.max() < 180
    assert columns.min() >= 20
    assert columns.max() < 130
    assert "science.fits" in caplog.text
    assert "no usable variance" in caplog.text
    assert result.metrics.fallbacks > 0
    free = decorrelate(
        replace(science, mask=None),
        template,
        difference,
        oracle.gaussian(9, 1.2),
        config=WAYS[name],
    )
    assert_allclose(result.exposure.image, free.exposure.image, atol=1e-9)


@pytest.mark.parametrize("name", WAYS)
def test_places_without_known_neighbours_take_the_level_of_the_image(name):
    shape = (250, 300)
    science, template, difference = masked_triple(shape, np.s_[:, 10:])
    kernel = oracle.gaussian(9, 1.2)
    result = decorrelate(science, template, difference, kernel, config=WAYS[name])
    assert np.isfinite(result.exposure.image).all()
    assert_allclose(result.science_level, 1.0)


def test_sky_without_any_variance_is_no_reason_to_stop():
    """A quarter of the template without data: the rest is as it would be without that quarter."""
    shape = (250, 300)
    science, template, difference = masked_triple(shape)
    variance = template.variance.copy()
    variance[:125, :150] = np.inf
    damaged = replace(template, variance=variance)
    kernel = oracle.gaussian(9, 1.2)
    result = decorrelate(
        science, damaged, difference, kernel, config=DecorrelationConfig(noise_model="white")
    ).exposure
    assert_array_equal(np.isinf(result.variance), np.isinf(variance))
    clean = decorrelate(
        science, template, difference, kernel, config=DecorrelationConfig(noise_model="white")
    ).exposure
    reach = 40
    far = np.ones(shape, dtype=bool)
    far[: 125 + reach, : 150 + reach] = False
    assert np.abs(result.image - clean.image)[far].max() < 1e-3


# LSST's cells


def test_cells_are_also_given_one_by_one():
    science, template, difference = masked_triple((150, 160))
    config = in_pixels(blend="none", cell_size=50, grid_step=40, cell_border=8, adjust_grid="none")
    kernel = oracle.gaussian(9, 1.2)
    separate = decorrelate(science, template, difference, kernel, config=config)
    joined = decorrelate(
        science, template, difference, kernel, config=replace(config, blend="average")
    )
    assert len(separate.cells) == len(separate.positions)
    assert joined.cells == ()
    total, count = np.zeros((150, 160)), np.zeros((150, 160))
    for cell in separate.cells:
        place = cell.window.rows, cell.window.columns
        total[place] += cell.image
        count[place] += 1
    assert_allclose(joined.exposure.image, total / count, atol=1e-12)
    assert count.max() > 1


def test_cells_at_given_centres_leave_the_rest_without_data():
    science, template, difference = masked_triple((150, 160))
    config = in_pixels(
        blend="average", cell_size=30, cell_border=5, cell_centroids=((40, 50), (100, 90))
    )
    result = decorrelate(science, template, difference, oracle.gaussian(9, 1.2), config=config)
    known = np.isfinite(result.exposure.image)
    assert_array_equal(np.unique(np.nonzero(known)[1]), [*range(25, 55), *range(85, 115)])
    assert known.sum() == 2 * 30 * 30


def test_a_cell_takes_the_kernel_of_its_middle():
    """Pixels 0 to 9 have their middle at 4.5; zero edges keep LSST's half pixel too much."""
    science, template, difference = masked_triple((100, 120))
    kernel = oracle.gaussian(9, 1.2)
    for edges, middle in (("extend", (44.5, 49.5)), ("zero", (45.0, 50.0))):
        config = in_pixels(
            blend="copy", cell_size=20, cell_border=10, cell_centroids=((45, 50),), edges=edges
        )
        result = decorrelate(science, template, difference, kernel, config=config)
        assert tuple(result.positions[0]) == middle
        whole = replace(WHOLE, edges=edges)
        result = decorrelate(science, template, difference, kernel, config=whole)
        assert tuple(result.positions[0]) == ((59.5, 49.5) if edges == "extend" else (60.0, 50.0))


def test_sizes_scale_with_the_psf():
    science, template, difference = masked_triple((250, 300))
    sharp = replace(difference, psf=simulate.gaussian_profile(2.0).psf())
    config = DecorrelationConfig(
        noise_model="white",
        precision="double",
        blend="none",
        cell_size=20,
        grid_step=15,
        adjust_grid="none",
    )
    kernel = oracle.gaussian(9, 1.2)
    result = decorrelate(science, template, sharp, kernel, config=config)
    # A FWHM of 4.71 pixels: cells of 94 pixels every 71 pixels, made even at the border.
    first = result.cells[0].window
    assert (first.x0, first.x1) == (0, 94)
    assert np.unique([cell.window.x0 for cell in result.cells])[:4].tolist() == [0, 71, 142, 212]
