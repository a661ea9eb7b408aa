"""Weights of bilinear interpolation."""

import numpy as np
import pytest
from helpers import oracle
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor.core.interpolate import bilinear_weights

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
