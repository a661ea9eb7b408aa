"""Robust levels against a slow and plain implementation."""

import math
import statistics

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffdecor.core.statistics import clipped_mean, robust_sigma


def plain_clipped_mean(values):
    """LSST's definition, value by value."""
    values = [float(value) for value in values if math.isfinite(np.float32(value))]
    if not values:
        return math.nan
    if len(values) == 1:
        return values[0]
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    centre, reach = statistics.median(values), 3 * 0.741301109252802 * (upper - lower)
    for _ in range(2):
        kept = [value for value in values if abs(value - centre) <= reach]
        centre = math.fsum(kept) / len(kept)
        squares = math.fsum((value - centre) ** 2 for value in kept)
        reach = 3 * math.sqrt(squares / (len(kept) - 1)) if len(kept) > 1 else 0.0
    kept = [value for value in values if abs(value - centre) <= reach * (1 + 1e-14)]
    return math.fsum(kept) / len(kept) if kept else centre


@oracle.EXAMPLES
@given(st.lists(st.one_of(st.floats(1e-3, 1e6), st.integers(1, 5)), min_size=1, max_size=60))
def test_clipped_mean_is_the_plain_one(values):
    values = np.array(values, dtype=np.float64)
    assert clipped_mean(values) == pytest.approx(plain_clipped_mean(values), rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_clipped_mean_of_a_contaminated_plane(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 0.3, size=(40, 50))
    values[rng.random(values.shape) < 0.08] = 1e4
    values[rng.random(values.shape) < 0.05] = np.nan
    assert clipped_mean(values) == pytest.approx(plain_clipped_mean(values.ravel()), rel=1e-12)
    assert clipped_mean(values) == pytest.approx(5, abs=0.05)


@oracle.EXAMPLES
@given(st.floats(1e-6, 1e12), st.integers(1, 400))
def test_clipped_mean_of_equal_values_is_the_value(value, number):
    assert clipped_mean(np.full(number, value)) == pytest.approx(value, rel=1e-13)


def test_values_whose_squares_underflow():
    assert clipped_mean(np.array([0.0, 1e-200, 2e-200, 3e-200, 1e-190])) < 1e-180


def test_values_beyond_single_precision_are_not_finite():
    assert clipped_mean(np.array([1.0, 2.0, 3.0, 1e39, np.inf, -np.inf, np.nan])) == 2.0


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, np.nan]])
def test_clipped_mean_of_nothing_is_unknown(values):
    assert np.isnan(clipped_mean(np.array(values)))


@oracle.EXAMPLES
@given(arrays(np.float32, st.integers(2, 50), elements=st.floats(1, 100, width=32)))
def test_robust_sigma_is_that_of_the_quartiles(values):
    lower, _, upper = statistics.quantiles([float(v) for v in values], n=4, method="inclusive")
    expected = 0.741301109252802 * (upper - lower)
    assert robust_sigma(values) == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_robust_sigma_of_a_normal_distribution():
    values = np.random.default_rng(0).normal(3, 2.5, size=200_000)
    assert robust_sigma(values) == pytest.approx(2.5, rel=0.01)
