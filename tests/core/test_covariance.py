"""Covariances of windows against sums over all pairs of pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.core.covariance import LagSums, lag_sums, opposite


def by_brute_force(values, sky, max_lag):
    """Products and pairs at every lag of the half plane, one pair after the other."""
    mean = values[sky].mean()
    products = np.zeros((max_lag + 1, 2 * max_lag + 1))
    pairs = np.zeros_like(products)
    places = np.argwhere(sky)
    for y, x in places:
        for v, u in places:
            dy, dx = v - y, u - x
            if 0 <= dy <= max_lag and abs(dx) <= max_lag:
                products[dy, max_lag + dx] += (values[y, x] - mean) * (values[v, u] - mean)
                pairs[dy, max_lag + dx] += 1
    return products, pairs


@given(st.integers(0, 1 << 16), st.integers(2, 9), st.integers(2, 9), st.integers(1, 11))
def test_sums_are_those_over_all_pairs(seed, ny, nx, max_lag):
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 2, (ny, nx)).astype(np.float32)
    sky = rng.random((ny, nx)) < 0.7
    sky[0, 0] = True
    products, pairs = by_brute_force(values.astype(float), sky, max_lag)
    sums = lag_sums(values, sky, max_lag)
    assert np.array_equal(sums.pairs, pairs)
    assert sums.pixels == sky.sum()
    # What the removed mean takes away if the noise is white is added back.
    products += pairs * products[0, max_lag] / sky.sum() ** 2
    assert sums.products == pytest.approx(products, abs=2e-4 * max(1, products[0, max_lag]))


def test_pixels_that_are_not_sky_do_not_count():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(20, 30))
    sky = rng.random((20, 30)) < 0.5
    wild = np.where(sky, values, np.nan)
    for one, other in zip(
        vars(lag_sums(values, sky, 4)).values(), vars(lag_sums(wild, sky, 4)).values(), strict=True
    ):
        assert other == pytest.approx(one)


def test_a_window_without_sky_has_no_sums():
    sums = lag_sums(np.ones((8, 8)), np.zeros((8, 8), bool), 3)
    assert not sums.pairs.any()
    assert not sums.covariance.any()


def test_removed_means_do_not_bias_white_noise():
    """With a mean for each of many small windows the covariances of white noise stay zero."""
    rng = np.random.default_rng(2)
    sky = rng.random((16, 16)) < 0.8
    windows = [lag_sums(rng.normal(size=(16, 16)), sky, 2) for _ in range(4000)]
    total = windows[0]
    for one in windows[1:]:
        total = total + one
    covariance, error = total.covariance, 1 / np.sqrt(total.pairs)
    deviations = (covariance / error)[np.r_[0, 1, 1, 2], np.r_[3, 2, 4, 2]]
    # Without what is added back they would be 1 / 205 of the variance too low: 4 sigma each.
    assert np.abs(deviations).max() < 3
    assert covariance[0, 2] == pytest.approx(1, abs=0.005)


def test_sums_add_up_and_carry_weights():
    rng = np.random.default_rng(3)
    sky = np.ones((9, 9), bool)
    first, second = (lag_sums(rng.normal(size=(9, 9)), sky, 2) for _ in range(2))
    both = LagSums(
        np.array([first.products, second.products]), np.array([first.pairs, second.pairs])
    )
    assert both.total().products == pytest.approx((first + second).products)
    assert (first * 3.0).covariance == pytest.approx(first.covariance)
    assert both[1].pairs == pytest.approx(second.pairs)


def test_opposite_lags_are_equal():
    rng = np.random.default_rng(4)
    sums = lag_sums(rng.normal(size=(12, 12)), np.ones((12, 12), bool), 3)
    whole = opposite(sums.covariance)
    assert whole.shape == (7, 7)
    assert whole[::-1, ::-1] == pytest.approx(whole)
    assert whole[3 + 1, 3 - 2] == pytest.approx(sums.covariance[1, 3 - 2])
