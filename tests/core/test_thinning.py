"""Fewer and smaller stamps: what was left out is there again, to the tolerance that was asked."""

import numpy as np
import pytest
from helpers import oracle

from diffdecor.core.interpolate import Stamps
from diffdecor.core.thinning import cropped, linear_lines, thinned


def varying(nx, ny, size=15):
    """Stamps on a grid: linear in x up to a bend at 300, constant in y."""
    x, y = np.linspace(0, 600, nx), np.linspace(0, 400, ny)
    columns, rows = np.meshgrid(x, y)
    first, second = oracle.gaussian(size, 1.0), oracle.gaussian(size, 2.0)
    share = np.maximum(columns.ravel() - 300, 0)[:, np.newaxis, np.newaxis] / 300
    positions = np.column_stack([columns.ravel(), rows.ravel()])
    return Stamps(
        stamps=first + share * (second - first), positions=positions, origin=(size // 2,) * 2
    )


@pytest.mark.parametrize(("nx", "ny"), [(5, 4), (13, 9), (1, 1), (3, 1)])
def test_only_needed_lines_remain(nx, ny):
    whole = varying(nx, ny)
    few, off = thinned(whole, 1e-6)
    assert len(few.stamps) == min(nx, 3) * min(ny, 2)
    assert off < 1e-12
    for x, y in [(0, 0), (120, 30), (299, 400), (450, 200), (777, -3)]:
        np.testing.assert_allclose(few.stamp(x, y), whole.stamp(x, y), atol=1e-14)


def test_what_is_left_out_is_as_near_as_promised():
    rng = np.random.default_rng(3)
    smooth = varying(25, 21)
    bends = np.sin(smooth.positions[:, 0] / 150) * np.cos(smooth.positions[:, 1] / 200)
    stamps = smooth.stamps + 0.1 * bends[:, np.newaxis, np.newaxis] * rng.random((15, 15))
    whole = Stamps(stamps=stamps, positions=smooth.positions, origin=(7, 7))
    for tolerance in (1e-3, 1e-1):
        few, off = thinned(whole, tolerance)
        errors = [
            np.linalg.norm(few.stamp(x, y) - one) / np.linalg.norm(one)
            for (x, y), one in zip(whole.positions.tolist(), stamps, strict=True)
        ]
        assert max(errors) <= tolerance
        assert off <= tolerance
    assert len(few.stamps) < len(stamps) / 4


def test_positions_that_are_no_grid_all_stay():
    whole = varying(4, 4)
    some = Stamps(stamps=whole.stamps[:-1], positions=whole.positions[:-1], origin=(7, 7))
    assert thinned(some, 0.1) == (some, 0.0)


@pytest.mark.parametrize("lost", [1e-2, 1e-5])
def test_a_crop_keeps_sum_and_energy(lost):
    stamps = np.array([oracle.gaussian(61, sigma) for sigma in (1.0, 2.5)])
    small, share = cropped(Stamps(stamps=stamps, origin=(30, 30)), lost)
    assert 0 < share <= lost
    assert small.shape[0] == 2 * small.origin[0] + 1 < 61
    np.testing.assert_allclose(small.stamps.sum(axis=(1, 2)), 1.0, rtol=1e-12)
    width = small.origin[0]
    padded = np.pad(small.stamps, ((0, 0), (30 - width,) * 2, (30 - width,) * 2))
    off = np.sqrt(np.square(padded - stamps).sum(axis=(1, 2)) / np.square(stamps).sum(axis=(1, 2)))
    assert off.max() < 30 * lost


def of_function(function):
    """Values on the nodes of a grid, as `linear_lines` takes them, and how often it asks."""
    asked = []

    def values(x, y):
        asked.append(len(x) * len(y))
        u, v = np.meshgrid(x, y)
        return np.column_stack([np.ones(u.size), function(u, v).ravel()])

    return values, asked


def test_what_is_constant_has_one_node():
    values, asked = of_function(lambda x, _: 0.0 * x)
    x, y = linear_lines(values, (300, 400), 64)
    assert (len(x), len(y), sum(asked)) == (1, 1, 9)


def test_what_is_linear_has_no_more_nodes_than_are_looked_at():
    values, _ = of_function(lambda x, y: 1e-3 * x - 2e-3 * y + 1e-5 * x * y)
    x, y = linear_lines(values, (301, 401), 64)
    assert x.tolist() == [0, 200, 400]
    assert y.tolist() == [0, 150, 300]


@pytest.mark.parametrize("axis", [0, 1])
def test_nodes_are_dense_where_something_bends(axis):
    """Along that axis only, and no denser than `spacing` needs."""

    def bump(x, y):
        return 0.3 * np.exp(-(((x, y)[axis] - 90) ** 2) / 2 / 40**2)

    values, _ = of_function(bump)
    lines = linear_lines(values, (400, 400), 16)
    steps = np.diff(lines[axis])
    assert len(lines[1 - axis]) == 3
    assert steps[lines[axis][:-1] < 180].max() < 27
    assert steps.min() > 8
    assert steps[-1] > 60
    fine = np.linspace(0, 399, 800)
    at = (fine, 0) if axis == 0 else (0, fine)
    nodes = (lines[axis], 0) if axis == 0 else (0, lines[axis])
    off = bump(*at) - np.interp(fine, lines[axis], bump(*nodes))
    assert np.abs(off).max() < 7e-3
