"""Sums over boxes are those that a loop finds."""

import numpy as np
import pytest

from diffdecor.core.box_sums import box_sums


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
