"""Nodes are where something that varies bends, and nowhere else."""

import numpy as np
import pytest

from diffdecor.core.linear_lines import linear_lines


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
