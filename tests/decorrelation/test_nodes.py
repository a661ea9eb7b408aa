"""Where nodes lie, and what noise levels look like to them."""

import itertools

import numpy as np
import pytest
from helpers import oracle
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from diffdecor.decorrelation.nodes import (
    MAX_NODES,
    MIN_SPACING,
    Nodes,
    largest_spacing,
    most_nodes,
    nodes_for,
)

BLOCK = 16
sizes = st.integers(1, 400)


def block_levels(image):
    """Mean of blocks of pixels."""
    ny, nx = (size // BLOCK * BLOCK for size in image.shape)
    blocks = image[:ny, :nx].reshape(ny // BLOCK, BLOCK, nx // BLOCK, BLOCK)
    return blocks.mean(axis=(1, 3))[np.newaxis]


@oracle.EXAMPLES
@given(sizes, sizes, st.floats(10, 300), st.floats(10, 300), st.integers(0, 99))
def test_windows_of_nodes_partition_the_image(ny, nx, step_x, step_y, seed):
    rng = np.random.default_rng(seed)
    levels = rng.normal(0, 0.5, size=(1, -(-ny // BLOCK), -(-nx // BLOCK)))
    levels[rng.random(levels.shape) < 0.2] = np.nan
    breaks = tuple(float(rng.integers(0, nx)) for _ in range(2)), ()
    nodes = nodes_for((ny, nx), (step_x, step_y), levels, breaks)
    for lines, length in ((nodes.x, nx), (nodes.y, ny)):
        assert (lines[0], lines[-1]) == (0, length - 1)
        assert np.all(np.diff(lines) > 0)
    count = np.zeros((ny, nx), dtype=int)
    for (x, y), window in zip(nodes.positions(), nodes.windows(), strict=True):
        assert window.x0 <= x < window.x1
        assert window.y0 <= y < window.y1
        count[window.rows, window.columns] += 1
    assert np.all(count == 1)


def test_window_pixels_are_nearest_to_their_node():
    nodes = Nodes(np.array([0.0, 7, 31]), np.array([0.0, 10]), (11, 32))
    y, x = np.indices((11, 32))
    positions = nodes.positions()
    distance = np.hypot(
        *(np.stack([x, y])[:, np.newaxis] - positions.T[:, :, np.newaxis, np.newaxis])
    )
    for number, window in enumerate(nodes.windows()):
        inside = distance[:, window.rows, window.columns]
        assert np.all(inside[number] <= inside.min(axis=0) + 1e-9)


def test_constant_levels_need_no_more_nodes():
    nodes = nodes_for((512, 640), (128, 128), np.zeros((1, 32, 40)))
    assert np.diff(nodes.x).max() <= 128
    assert len(nodes.x) == 6
    assert len(nodes.y) == 5


def test_a_linear_level_needs_no_more_nodes():
    levels = np.tile(np.linspace(0, 3, 40), (1, 32, 1))
    assert len(nodes_for((512, 640), (128, 128), levels).y) == 5


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("where", [200, 330, 448])
def test_nodes_lie_close_at_a_step(axis, where):
    image = np.zeros((640, 640))
    image[(slice(None),) * axis + (slice(where, None),)] = 1.0
    nodes = nodes_for(image.shape, (128, 128), block_levels(image))
    across, along = (nodes.y, nodes.x) if axis == 0 else (nodes.x, nodes.y)
    spacing = np.diff(across)
    at = np.searchsorted(across, where) - 1
    assert MIN_SPACING <= spacing[at] < 2 * MIN_SPACING
    far = np.abs(across[:-1] + spacing / 2 - where) > 160
    assert np.all(spacing[far] > 100)
    assert len(along) == 6


def test_a_step_within_one_part_of_the_image_is_seen():
    image = np.zeros((512, 512))
    image[:128, 300:] = 0.5
    nodes = nodes_for(image.shape, (128, 128), block_levels(image))
    assert np.diff(nodes.x)[np.searchsorted(nodes.x, 300) - 1] < 2 * MIN_SPACING


@pytest.mark.parametrize("height", [0.02, -0.02])
def test_a_faint_step_is_left_alone(height):
    image = np.zeros((512, 512))
    image[:, 300:] = height
    assert len(nodes_for(image.shape, (128, 128), block_levels(image)).x) == 5


def test_nodes_lie_on_both_sides_of_a_break():
    nodes = nodes_for((512, 512), (128, 128), np.zeros((1, 32, 32)), ((199.0,), (-1.0, 511.0)))
    assert {199.0, 200.0} <= set(nodes.x)
    assert_array_equal(nodes.y, [0, 128, 256, 383, 511])


def test_unknown_levels_do_no_harm():
    nodes = nodes_for((300, 300), (64, 64), np.full((1, 19, 19), np.nan))
    assert len(nodes.x) == len(nodes.y) == 6


def test_levels_full_of_steps_do_not_make_endless_nodes():
    rng = np.random.default_rng(0)
    levels = rng.choice([0.0, 2.0], size=(1, 256, 256))
    for nodes in (
        nodes_for((4096, 4096), (256, 256), levels),
        nodes_for((4096, 4096), (256, 256), levels.cumsum(axis=1)),
    ):
        assert MAX_NODES * 0.9 < len(nodes.x) * len(nodes.y) <= MAX_NODES
        assert nodes.bounded


def test_the_largest_steps_come_first_where_not_all_can_be_followed():
    """Faint tiles everywhere, and one deep step: nodes lie next to it, and far apart elsewhere."""
    levels = np.zeros((1, 256, 256))
    levels[:, :, 1::2] = 0.3
    levels[:, 1::2] += 0.3
    levels[:, :, 150:] += 4.0
    nodes = nodes_for((4096, 4096), (216, 216), levels)
    assert nodes.bounded
    gap = int(np.searchsorted(nodes.x, 2400.0))
    assert nodes.x[gap] - nodes.x[gap - 1] < 2 * MIN_SPACING
    assert np.median(np.diff(nodes.x)) > 50
    assert MAX_NODES * 0.9 < len(nodes.x) * len(nodes.y) <= MAX_NODES
    assert not nodes_for((512, 512), (128, 128), np.zeros((1, 32, 32))).bounded


@pytest.mark.parametrize(
    ("shape", "most"),
    [((4096, 4096), MAX_NODES), ((1024, 2592), 2048), ((600, 600), 1024), ((16, 9000), 1024)],
)
def test_small_images_have_fewer_nodes(shape, most):
    levels = np.random.default_rng(1).choice(
        [0.0, 3.0], size=(1, -(-shape[0] // 16), shape[1] // 16)
    )
    nodes = nodes_for(shape, (128, 128), levels)
    assert most_nodes(shape) == most
    assert len(nodes.x) * len(nodes.y) <= most


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((100, 2000), 64), ((1600, 1600), 200), ((5000, 9000), 216), ((10000, 12000), 400)],
)
def test_largest_spacing(shape, spacing):
    assert largest_spacing(shape) == spacing
    assert largest_spacing(shape, 500) == min(spacing, 216)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 2)])
def test_thin_images_have_nodes(shape):
    levels = np.zeros((1, -(-shape[0] // BLOCK), -(-shape[1] // BLOCK)))
    nodes = nodes_for(shape, (64, 64), levels)
    assert all(np.all(np.diff(lines) <= 64) for lines in (nodes.x, nodes.y))
    assert len(nodes.windows()) == len(list(itertools.product(nodes.x, nodes.y)))


def test_a_step_along_a_single_row_is_seen():
    levels = np.where(np.arange(40) < 20, 0.0, 1.0)[np.newaxis, np.newaxis]
    nodes = nodes_for((1, 640), (128, 128), levels)
    assert np.diff(nodes.x)[np.searchsorted(nodes.x, 320) - 1] < 2 * MIN_SPACING
