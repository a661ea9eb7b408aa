"""The variance of weighted sums against brute force: the product of all kernels, squared."""

import numpy as np
import pytest
from helpers import oracle
from numpy.testing import assert_allclose

from diffdecor.core.interpolate import KernelField
from diffdecor.core.noise import NoiseSide, white_side, with_noise
from diffdecor.core.summed_variance import summed_squares
from diffdecor.core.variance import full_variance

X, Y = np.array([0.0, 40.0, 70.0]), np.array([0.0, 30.0, 64.0])
N = len(X) * len(Y)


def off_centre(size, sigmas):
    """Gaussians that vary from node to node, with their origins off the middle."""
    return np.array([oracle.gaussian(size, s, centre=(size // 2 + 0.3, size // 2)) for s in sigmas])


def fields(rng, change):
    """Filters, weights and two sides, all of which vary over the nodes by about `change`."""
    ramp = 1 + change * rng.uniform(-1, 1, size=(4, N))
    filters = -0.4 * off_centre(11, 1.5 * ramp[0])
    filters[:, 5, 5] += 1.4
    kernel = off_centre(9, 1.3 * ramp[1])
    weights = off_centre(13, 1.6 * ramp[2])
    template = NoiseSide(np.ones(N), 1.2 * ramp[3], kernel, (4, 3))
    sides = white_side(np.ones(N), np.full(N, 0.8)), with_noise(template, off_centre(3, ramp[0]))
    grid = len(Y), len(X)
    return (
        KernelField(X, Y, filters.reshape(*grid, 11, 11), (5, 5)),
        KernelField(X, Y, weights.reshape(*grid, 13, 13), (6, 7)),
        sides,
    )


def brute_force(filters, weights, side, x, y):
    """The square of the product of everything at one position, and its origin."""
    stamps, origin = side.noise_stamps
    kernels = (side.scale[:, np.newaxis, np.newaxis] * stamps).reshape(3, 3, *stamps.shape[1:])
    field = KernelField(X, Y, kernels, origin)
    way = oracle.convolved_stamps(
        oracle.convolved_stamps(filters.at(x, y), weights.at(x, y)), field.at(x, y)
    )
    origins = np.array([one.origin for one in (filters, weights, field)])
    return way**2, origins.sum(axis=0)


@pytest.mark.parametrize("change", [0.0, 0.02, 0.3])
def test_squares_are_those_of_the_product_everywhere(change):
    filters, weights, sides = fields(np.random.default_rng(3), change)
    for side, squares in zip(sides, summed_squares(filters, weights, sides), strict=True):
        assert any(bends.any() for bends in squares.curved) == (change > 0.1)
        for x, y in [(0, 0), (40, 30), (70, 64), (20, 30), (55, 47), (40, 47)]:
            exact, (cx, cy) = brute_force(filters, weights, side, x, y)
            found, (u, v) = squares.at(x, y), squares.origin
            inner = exact[cy - v : cy - v + found.shape[0], cx - u : cx - u + found.shape[1]]
            assert found.sum() == pytest.approx(exact.sum(), rel=3e-3)
            assert_allclose(found, inner, atol=3e-3 * exact.max())


def test_variance_between_nodes_is_that_of_the_sum():
    filters, weights, sides = fields(np.random.default_rng(4), 0.3)
    planes = np.random.default_rng(5).uniform(1, 2, size=(2, 65, 71))
    squares = summed_squares(filters, weights, sides)
    found = full_variance(*zip(planes, squares, strict=True), edges="zero")[0:65]
    for x, y in [(13, 11), (31, 52), (62, 20), (55, 47)]:
        exact = 0.0
        for plane, side in zip(planes, sides, strict=True):
            square, (cx, cy) = brute_force(filters, weights, side, x, y)
            ky, kx = square.shape
            wide = np.pad(plane, 40)
            rows = np.arange(y + cy, y + cy - ky, -1) + 40
            columns = np.arange(x + cx, x + cx - kx, -1) + 40
            exact += np.sum(square * wide[np.ix_(rows, columns)])
        assert found[y, x] == pytest.approx(exact, rel=5e-3)


def test_units_may_be_tiny():
    """Scales of 1e-25 have squares that single precision does not hold."""
    filters, weights, sides = fields(np.random.default_rng(6), 0.02)
    tiny = [NoiseSide(one.level, 1e-25 * one.scale, *one.noise_stamps) for one in sides]
    for usual, other in zip(
        *(summed_squares(filters, weights, s) for s in (sides, tiny)), strict=True
    ):
        assert other.at(9, 9).sum() / usual.at(9, 9).sum() == pytest.approx(1e-50, rel=1e-3)
