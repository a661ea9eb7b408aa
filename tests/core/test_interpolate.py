"""Weights of bilinear interpolation."""

import numpy as np
import pytest
from helpers import oracle
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor.core.interpolate import (
    KernelField,
    QuadraticField,
    SquaredField,
    Stamps,
    at_nodes,
    bilinear_weights,
    bracket,
)

xs = st.lists(st.integers(-50, 400), min_size=1, max_size=5, unique=True)
places = st.floats(-100, 500)


@oracle.EXAMPLES
@given(xs, xs, places, places, st.integers(0, 99))
def test_weights_reproduce_bilinear_functions(columns, rows, x, y, seed):
    positions = np.array([(c, r) for c in columns for r in rows], dtype=float)
    positions = np.random.default_rng(seed).permutation(positions)
    weights = bilinear_weights(positions, x, y)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    inside = np.clip(x, min(columns), max(columns)), np.clip(y, min(rows), max(rows))
    for function in (lambda p: p[0], lambda p: p[1]):
        assert_allclose(weights @ function(positions.T), function(inside), atol=1e-9)
    assert np.count_nonzero(weights) <= 4


def test_scattered_positions_take_the_nearest():
    positions = np.array([[0.0, 0], [10, 0], [10, 12]])
    assert_array_equal(bilinear_weights(positions, 9, 9), [0, 0, 1])
    assert_array_equal(bilinear_weights(positions, 4.9, -3), [1, 0, 0])


def test_a_position_given_twice_makes_no_grid():
    positions = np.array([[0.0, 0], [10, 0], [10, 0], [0, 10]])
    assert_array_equal(bilinear_weights(positions, 1, 9), [0, 0, 0, 1])


@oracle.EXAMPLES
@given(xs, st.lists(places, min_size=1, max_size=4), st.integers(0, 99))
def test_nodes_around_positions_interpolate_as_numpy_does(nodes, positions, seed):
    nodes, values = np.sort(np.array(nodes, float)), np.random.default_rng(seed).random(len(nodes))
    first, second, share = bracket(nodes, np.array(positions))
    mixed = (1 - share) * values[first] + share * values[second]
    assert_allclose(mixed, np.interp(positions, nodes, values), rtol=0, atol=1e-12)
    for position, expected in zip(positions, np.broadcast_to(mixed, len(positions)), strict=True):
        first, second, share = bracket(nodes, position)
        found = (1 - share) * values[first] + share * values[second]
        assert found == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("place", [(3.0, 4.0), (0.0, 7.0), (-5.0, 30.0), (9.5, 19.9)])
def test_stamps_on_a_grid_are_a_field_of_kernels(place):
    x, y = np.array([0.0, 4, 10]), np.array([2.0, 20])
    stamps = np.random.default_rng(3).random((6, 3, 5))
    positions = np.array([(column, row) for row in y for column in x])
    one = Stamps(stamps=stamps, positions=positions, origin=(2, 1))
    field = KernelField(x, y, stamps.reshape(2, 3, 3, 5), (2, 1))
    assert_allclose(one.stamp(*place), field.at(*place), rtol=0, atol=1e-14)
    nearest = Stamps(
        stamps=stamps, positions=positions, origin=(2, 1), interpolation="NEAREST"
    ).stamp(*place)
    distance = ((positions - place) ** 2).sum(axis=1)
    assert_array_equal(nearest, stamps[distance.argmin()])


@pytest.mark.parametrize("kind", ["grid", "shuffled", "scattered", "one"])
def test_values_at_nodes_are_those_of_their_weights(kind):
    rng = np.random.default_rng(2)
    u, v = np.meshgrid([3.0, 10, 40], [0.0, 7, 30, 31])
    positions = np.column_stack([u.ravel(), v.ravel()])
    positions = {
        "grid": positions,
        "shuffled": rng.permutation(positions),
        "scattered": positions + rng.normal(size=positions.shape),
        "one": positions[:1],
    }[kind]
    values = rng.normal(size=(len(positions), 2, 3))
    x, y = np.array([-5.0, 3, 12, 39, 55]), np.array([0.0, 1, 30.5, 90])
    found = at_nodes(positions, values, x, y)
    places = [(column, row) for row in y for column in x]
    expected = [np.tensordot(bilinear_weights(positions, *at), values, 1) for at in places]
    assert_allclose(found, expected, atol=1e-13)


def test_squares_halfway_are_what_the_squares_of_interpolated_kernels_are():
    rng = np.random.default_rng(3)
    x, y = np.array([0.0, 20, 60]), np.array([0.0, 50])
    kernels = KernelField(x, y, rng.normal(size=(2, 3, 3, 3)), (1, 1))
    squares = SquaredField(kernels)
    assert all(one.all() for one in squares.curved)
    lines = np.array([0.0, 10, 20, 60]), np.array([0.0, 25, 50])
    stamps = np.array([[squares.at(u, v) for u in lines[0]] for v in lines[1]])
    field = QuadraticField(x, y, KernelField(*lines, stamps, (1, 1)))
    along_x, along_y = field.curved
    assert along_x.tolist() == [True, False]
    assert along_y.tolist() == [True]
    assert_allclose(field.at(10, 25), kernels.at(10, 25) ** 2)
