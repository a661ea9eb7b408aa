"""Shapes, origins and transforms of stamps."""

import numpy as np
import pytest
from helpers import oracle
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor.core.fourier import (
    centred,
    convolve_stamps,
    fast_length,
    fast_shape,
    reflect,
    transfer,
    wrap,
)

SHAPES = [(1, 1), (1, 5), (4, 1), (5, 5), (6, 7), (7, 4)]


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@oracle.EXAMPLES
@given(st.integers(1, 3000), st.integers(1, 3000))
def test_fast_shape_is_large_enough(ny, nx):
    fast = fast_shape(ny, nx)
    assert ny <= fast[0] <= 2 * ny
    assert nx <= fast[1] <= 2 * nx


def test_fast_lengths_are_the_next_without_large_factors():
    def is_fast(number):
        for factor in (2, 3, 5):
            while number % factor == 0:
                number //= factor
        return number == 1

    fast = [number for number in range(1, 2200) if is_fast(number)]
    for least in range(1, 2100):
        assert fast_length(least) == next(number for number in fast if number >= least)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("grid", [(8, 9), (9, 8), (7, 7)])
def test_wrapped_pixels_lie_at_their_distance_from_the_origin(rng, shape, grid):
    stamp = rng.normal(size=shape)
    origin = (shape[1] // 2, shape[0] // 3)
    wrapped = wrap(stamp, origin, grid)
    for (j, i), value in np.ndenumerate(stamp):
        assert wrapped[(j - origin[1]) % grid[0], (i - origin[0]) % grid[1]] == value
    assert_allclose(wrapped.sum(), stamp.sum())


def test_origin_outside_the_stamp_shifts_it():
    wrapped = wrap(np.array([[1.0]]), (-2, 3), (5, 6))
    assert_array_equal(np.argwhere(wrapped == 1), [[2, 2]])


def sum_over_phases(stamps, origin, grid):
    ky, kx = np.indices((grid[0], grid[1] // 2 + 1))
    total = np.zeros((*stamps.shape[:-2], *ky.shape), dtype=complex)
    for j, i in np.ndindex(stamps.shape[-2:]):
        phase = ky * (j - origin[1]) / grid[0] + kx * (i - origin[0]) / grid[1]
        total += stamps[..., j, i, None, None] * np.exp(-2j * np.pi * phase)
    return total


@pytest.mark.parametrize("grid", [(8, 9), (9, 8)])
def test_transfer_is_the_sum_over_phases(rng, grid):
    stamps, origin = rng.normal(size=(2, 4, 3)), (2, 1)
    expected = sum_over_phases(stamps, origin, grid)
    assert_allclose(transfer(stamps, origin, grid), expected, atol=1e-13)


@pytest.mark.parametrize("grid", [(8, 9), (9, 8), (3, 5)])
@pytest.mark.parametrize("shape", [(3, 5), (1, 3), (1, 1), (2, 3, 5), (2, 3, 3, 3)])
def test_transfer_of_symmetric_stamps_is_the_sum_over_phases(rng, grid, shape):
    stamps = rng.normal(size=shape)
    stamps = stamps + stamps[..., ::-1, ::-1]
    origin = shape[-1] // 2, shape[-2] // 2
    found = transfer(stamps, origin, grid)
    assert_allclose(found, sum_over_phases(stamps, origin, grid), atol=1e-13)
    assert_array_equal(found.imag, 0)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("shape", [(64, 96), (25, 27)])
def test_single_precision_of_a_transfer_is_that_of_its_numbers(rng, shape, symmetric):
    stamps, origin = rng.normal(size=(3, 9, 11)), (5, 4)
    if symmetric:
        stamps = stamps + stamps[..., ::-1, ::-1]
    single = transfer(stamps, origin, shape, np.complex64)
    assert single.dtype == np.complex64
    assert_allclose(single, transfer(stamps, origin, shape), atol=1e-6 * np.abs(stamps).sum())


def test_centred_undoes_wrap(rng):
    stamps = rng.normal(size=(3, 5, 5))
    assert_array_equal(centred(wrap(stamps, (2, 2), (11, 12)), 2), stamps)


@pytest.mark.parametrize("first", SHAPES)
@pytest.mark.parametrize("second", SHAPES)
def test_convolve_stamps_is_the_direct_sum(rng, first, second):
    a, b = rng.normal(size=first), rng.normal(size=second)
    both, origin = convolve_stamps(a, (1, 2), b, (-3, 4))
    assert_allclose(both, oracle.convolved_stamps(a, b), atol=1e-13)
    assert origin == (-2, 6)


def test_convolve_stamps_broadcasts(rng):
    a, b = rng.normal(size=(3, 4, 5)), rng.normal(size=(1, 2, 3))
    both, _ = convolve_stamps(a, (0, 0), b, (0, 0))
    assert_allclose(both, [oracle.convolved_stamps(one, b[0]) for one in a], atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_reflected_stamp_correlates(rng, shape):
    stamp, plane = rng.normal(size=shape), rng.normal(size=(12, 11))
    origin = (shape[1] // 2, 0)
    flipped, there = reflect(stamp, origin)
    correlated = np.zeros(plane.shape)
    wide = np.pad(plane, 10)
    for (j, i), weight in np.ndenumerate(stamp):
        y, x = 10 + j - origin[1], 10 + i - origin[0]
        correlated += weight * wide[y : y + 12, x : x + 11]
    assert_allclose(oracle.convolved(plane, flipped, there, "zero"), correlated, atol=1e-12)
    back, origin_again = reflect(flipped, there)
    assert_array_equal(back, stamp)
    assert origin_again == origin
