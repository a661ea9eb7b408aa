"""Both variances of the result against the diagonal of its dense covariance matrix."""

import numpy as np
import pytest
from helpers import oracle
from numpy.testing import assert_allclose

from diffdecor.core.interpolate import KernelField, SquaredField
from diffdecor.core.noise import NoiseSide, white_side
from diffdecor.core.variance import (
    combined_kernels,
    full_variance,
    squared_sums,
    variance_weights,
    weighted_variance,
)
from diffdecor.core.whitening import compact_filters, filter_transfer

KERNEL = oracle.gaussian(5, 0.9, centre=(2.3, 1.8)) * 1.2
S, T = 0.9, 0.7
SCALES = 0.8, 1.1


def both_sides():
    science = white_side([S], SCALES[0])
    template = NoiseSide(np.array([T]), np.array([SCALES[1]]), KERNEL[np.newaxis], (2, 2))
    return science, template


def matrices(half_width, psi, shape):
    """Dense ways of both images into the result, over the pixels where all kernels fit."""
    delta = np.zeros_like(KERNEL)
    delta[2, 2] = 1
    middle = tuple(size - 4 for size in shape)
    whiten = oracle.valid_matrix(psi, middle)
    ways = [
        whiten @ (scale * oracle.valid_matrix(stamp, shape))
        for scale, stamp in zip(SCALES, (delta, KERNEL), strict=True)
    ]
    inner = np.s_[2 + half_width : -2 - half_width, 2 + half_width : -2 - half_width]
    return ways, inner


@pytest.fixture(scope="module")
def dense():
    science, template = both_sides()
    filters = compact_filters(science, template, tail=1e-7)
    half_width = filters.half_width
    shape = (2 * half_width + 12, 2 * half_width + 13)
    ways, inner = matrices(half_width, filters.stamps[0], shape)
    return filters, shape, ways, inner


def test_covariance_of_the_result_is_diagonal(dense):
    """On a plain image, not a torus, with the compact filter that is really applied."""
    _, _, (of_science, of_template), _ = dense
    covariance = S * of_science @ of_science.T + T * of_template @ of_template.T
    zero_power = sum(side.zero_power[0] for side in both_sides())
    assert_allclose(covariance, zero_power * np.eye(len(covariance)), atol=1e-6 * zero_power)


def test_full_variance_is_the_diagonal(dense):
    filters, shape, ways, inner = dense
    rng = np.random.default_rng(2)
    total, exact = 0.0, 0.0
    for side, way in zip(both_sides(), ways, strict=True):
        plane = rng.uniform(0.1, 3, size=shape)
        kernels, origin = combined_kernels(filters.stamps, side)
        field = SquaredField(KernelField.constant(kernels[0], origin))
        total = total + full_variance((plane, field), precision="double")[0 : shape[0]][inner]
        exact = exact + (way**2) @ plane.ravel()
    assert_allclose(total.ravel(), exact, rtol=1e-6)


def test_weighted_variance_is_exact_for_constant_planes(dense):
    filters, shape, ways, _ = dense
    for side, way in zip(both_sides(), ways, strict=True):
        plane = np.full(shape, side.level[0])
        weight = squared_sums(filters.stamps, side)
        field = KernelField.constant(weight[:, np.newaxis], (0, 0))
        band = weighted_variance(plane, field, np.float64)[0 : shape[0]]
        exact = side.level[0] * np.sum(way**2, axis=1)
        assert_allclose(band, exact[0], rtol=1e-7)
        assert_allclose(exact, exact[0], rtol=1e-12)


def test_weighted_variance_is_right_on_average():
    """On a torus the mean of the diagonal is the weight times the mean of the plane, exactly."""
    shape = (10, 12)
    rng = np.random.default_rng(3)
    science, template = both_sides()
    psi = np.fft.irfft2(filter_transfer(science, template, shape)[0], shape)
    way = oracle.torus_matrix(psi, (0, 0), shape) @ oracle.torus_matrix(KERNEL, (2, 2), shape)
    plane = rng.uniform(0.1, 3, size=shape)
    mean = np.mean((SCALES[1] * way) ** 2 @ plane.ravel())
    weight = np.sum((SCALES[1] * way[0]) ** 2)
    assert_allclose(mean, weight * plane.mean())
    filters = compact_filters(science, template)
    # The compact filter knows no torus: its weight is that of an endless plane.
    assert_allclose(squared_sums(filters.stamps, template)[0], weight, rtol=1e-3)


def test_weights_add_up_to_the_white_variance():
    """s w_S + t w_T = P(0): the claimed variance is that of a white result."""
    science, template = both_sides()
    filters = compact_filters(science, template)
    claimed = sum(
        side.level[0] * squared_sums(filters.stamps, side)[0] for side in (science, template)
    )
    assert_allclose(claimed, science.zero_power[0] + template.zero_power[0], rtol=1e-8)


def test_cut_squares_keep_their_sum_and_place():
    science, template = both_sides()
    filters = compact_filters(science, template)
    whole, origin = (
        oracle.convolved_stamps(filters.stamps[0], KERNEL * SCALES[1]) ** 2,
        filters.half_width + 2,
    )
    kernels, (cx, cy) = combined_kernels(filters.stamps, template)
    squares = kernels**2
    assert_allclose(squares.sum(), whole.sum(), rtol=1e-12)
    ky, kx = squares.shape[1:]
    part = whole[origin - cy : origin - cy + ky, origin - cx : origin - cx + kx]
    assert_allclose(squares[0], part, rtol=1e-6, atol=1e-14)


def test_one_loud_pixel_makes_no_negative_variance():
    science, template = both_sides()
    filters = compact_filters(science, template)
    plane = np.ones((60, 60))
    plane[30, 30] = 1e12
    kernels, origin = combined_kernels(filters.stamps, template)
    field = SquaredField(KernelField.constant(kernels[0], origin))
    for precision in ("single", "double"):
        assert full_variance((plane, field), precision=precision)[0:60].min() >= 0


def test_weights_are_interpolated_between_nodes():
    weights = np.array([[1.0, 3.0], [5.0, 7.0]])[:, :, np.newaxis, np.newaxis]
    field = KernelField(np.array([2.0, 6.0]), np.array([1.0, 301.0]), weights, (0, 0))
    plane = np.full((303, 8), 2.0)
    result = weighted_variance(plane, field, np.float64)[0:303]
    assert result[0, 0] == 2.0
    assert result[302, 7] == 14.0
    assert_allclose(result[151, 4], 2 * 4.0)
    assert_allclose(result[1, 3], 2 * 1.5)


def test_weighted_variance_of_missing_pixels_is_missing():
    plane = np.array([[1.0, np.nan, np.inf]])
    weights = KernelField.constant(np.array([[2.0]]), (0, 0))
    band = weighted_variance(plane, weights, np.float32)[0:1]
    np.testing.assert_array_equal(band, [[2.0, np.nan, np.inf]])


@pytest.mark.parametrize("ratio", [3.0, 10.0, 100.0])
def test_between_nodes_the_variance_is_that_of_the_interpolated_filter(ratio):
    """Not the mean of those at the nodes, which would be up to a half too large."""
    levels = np.array([[1.0, ratio], [ratio / 2, 1.0]])
    science = white_side(np.ones(4))
    stamps = np.broadcast_to(KERNEL, (4, *KERNEL.shape))
    template = NoiseSide(levels.ravel(), np.ones(4), stamps, (2, 2))
    filters = compact_filters(science, template, tail=1e-4)
    x, y = np.array([0.0, 60.0]), np.array([0.0, 45.0])
    nodes = (2, 2, *filters.stamps.shape[1:])
    psi = KernelField(x, y, filters.stamps.reshape(nodes), (filters.half_width,) * 2)
    kernels, origin = combined_kernels(filters.stamps, template)
    combined = KernelField(x, y, kernels.reshape(2, 2, *kernels.shape[1:]), origin)
    plane = np.full((46, 61), 2.0)
    full = full_variance((plane, SquaredField(combined)), precision="double")[0:46]
    weighted = weighted_variance(plane, variance_weights(psi, template), np.float64)[0:46]
    places = [(0, 0), (30, 0), (30, 22), (13, 31), (60, 20), (45, 40)]
    for column, row in places:
        way = oracle.convolved_stamps(psi.at(column, row), KERNEL)
        exact = 2.0 * np.sum(way**2)
        assert full[row, column] == pytest.approx(exact, rel=1e-6)
        assert weighted[row, column] == pytest.approx(exact, rel=3e-3)
    corners = np.square(kernels).sum(axis=(1, 2))
    assert 2 * corners.mean() / full[22, 30] > {3.0: 1.003, 10.0: 1.02, 100.0: 1.1}[ratio]
