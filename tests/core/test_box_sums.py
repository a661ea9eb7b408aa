"""Sums over boxes are those that a loop finds."""

import numpy as np
import pytest

from diffdecor.core.box_sums import any_in_boxes, box_sums


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (9, 11)])
def test_sums_are_those_of_a_loop(shape):
    values = np.random.default_rng(1).random((2, 9, 11))
    ky, kx = shape
    expected = [
        [[one[y : y + ky, x : x + kx].sum() for x in range(12 - kx)] for y in range(10 - ky)]
        for one in values
    ]
    np.testing.assert_allclose(box_sums(values, shape), expected, rtol=1e-12)


def test_nothing_becomes_negative():
    values = np.zeros((20, 20))
    values[0, 0] = 1e17
    assert box_sums(values, (3, 3)).min() >= 0


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 1), (9, 11)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_flags_are_found_where_their_sum_is_not_zero(shape, share):
    flags = np.random.default_rng(2).random((9, 11)) < share
    expected = box_sums(flags.astype(np.float64), shape) > 0.5
    np.testing.assert_array_equal(any_in_boxes(flags, shape), expected)
