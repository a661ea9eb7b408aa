"""Kernels in windows: by conjugate gradients as by an explicit matrix, and exact where D is."""

import numpy as np
import pytest

from diffdecor.core.kernel_solver import Equations, Windows
from diffdecor.core.support import Support

SIDE, SUPPORT = 20, Support(-2, 1, -1, 2)


def windows(count=3, seed=1, reach=3):
    """Noise of two images in some windows; the difference is to be filled in."""
    rng = np.random.default_rng(seed)
    wide = SIDE + 2 * reach
    u, y = rng.normal(10, 1, (2, count, SIDE, SIDE))
    v = rng.normal(50, 3, (count, wide, wide))
    return Windows(u, v, y, np.ones((count, SIDE, SIDE), dtype=bool), reach)


def terms(count):
    """A constant and a slope."""
    x = np.linspace(-1, 1, SIDE) + np.arange(count)[:, np.newaxis, np.newaxis]
    return np.array([np.ones((count, SIDE, SIDE)), np.broadcast_to(x, (count, SIDE, SIDE))])


def matched(one, kernels, values, support=SUPPORT):
    """The sum of convolutions, by loops over the pixels of the kernels."""
    total = np.zeros(one.y.shape)
    for kernel, value in zip(kernels, values, strict=True):
        for j in range(support.shape[0]):
            for i in range(support.shape[1]):
                x0 = one.reach - (support.x0 + i)
                y0 = one.reach - (support.y0 + j)
                total += kernel[j, i] * value * one.v[:, y0 : y0 + SIDE, x0 : x0 + SIDE]
    return total


def test_kernels_are_applied_as_true_convolutions():
    one = windows()
    kernels = np.random.default_rng(2).normal(size=(2, *SUPPORT.shape))
    found = Equations(one, SUPPORT).matched(kernels, terms(3))
    np.testing.assert_allclose(found, matched(one, kernels, terms(3)), rtol=1e-10)


def test_kernel_and_factor_are_exact():
    """Whatever background every window has, up to the third order."""
    one = windows()
    kernels = np.random.default_rng(3).normal(size=(2, *SUPPORT.shape))
    t = np.linspace(-1, 1, SIDE)
    sky = np.array([5 * t**3, 1e3 + 7 * t, 100 * t**2])[:, np.newaxis, :] * np.ones((3, SIDE, 1))
    y = 0.8 * one.u + matched(one, kernels, terms(3)) + sky
    solution = Equations(Windows(one.u, one.v, y, one.good, one.reach), SUPPORT).solve(terms(3))
    np.testing.assert_allclose(solution.kernels, kernels, atol=1e-7)
    assert solution.factor == pytest.approx(0.8, abs=1e-8)
    assert solution.rms < 1e-6


def test_the_solution_is_that_of_an_explicit_matrix():
    """Of noise that no kernel explains, with the same weights and backgrounds."""
    one = windows(seed=4)
    equations = Equations(one, SUPPORT)
    solution = equations.solve(terms(3))
    columns = [one.u]
    for number in range(2):
        for pixel in range(SUPPORT.size):
            kernels = np.zeros((2, *SUPPORT.shape))
            kernels[number].flat[pixel] = 1
            columns.append(matched(one, kernels, terms(3)))
    t = np.linspace(-1, 1, SIDE)
    for window in range(3):
        for i in range(4):
            for j in range(4 - i):
                sky = np.zeros(one.y.shape)
                sky[window] = np.outer(t**j, t**i)
                columns.append(sky)
    roots = np.sqrt(equations.weights).ravel()
    matrix = np.array([column.ravel() * roots for column in columns]).T
    expected = np.linalg.lstsq(matrix, one.y.ravel() * roots, rcond=None)[0]
    found = np.concatenate([[solution.factor], solution.kernels.ravel()])
    assert np.abs(found - expected[: len(found)]).max() < 0.02 * np.abs(expected[1:33]).max()


def test_what_a_kernel_reaches_must_be_there():
    """NaN in the convolved image takes away the pixels that its kernel reaches it from."""
    one = windows(count=1)
    v = one.v.copy()
    v[0, one.reach + 8, one.reach + 8] = np.nan
    known = Equations(Windows(one.u, v, one.y, one.good, one.reach), SUPPORT).known[0]
    rows, columns = np.nonzero(~known)
    # Pixel x reaches x - u.
    assert (rows.min(), rows.max()) == (8 + SUPPORT.y0, 8 + SUPPORT.y1)
    assert (columns.min(), columns.max()) == (8 + SUPPORT.x0, 8 + SUPPORT.x1)
    assert (~known).sum() == SUPPORT.size


def test_light_counts_less():
    one = windows(count=1)
    v = one.v.copy()
    v[0, 10, 10] += 1e4
    weights = Equations(Windows(one.u, v, one.y, one.good, one.reach), SUPPORT).weights[0]
    assert weights[7, 7] < 1e-3 * weights[15, 15]


def test_left_out_pixels_do_not_count():
    one = windows()
    kernels = np.random.default_rng(5).normal(size=(1, *SUPPORT.shape))
    y = one.u + matched(one, kernels, terms(3)[:1])
    y[1, 4:7, 5:9] += 1e6
    equations = Equations(Windows(one.u, one.v, y, one.good, one.reach), SUPPORT)
    spoilt = np.zeros(y.shape, dtype=bool)
    spoilt[1, 4:7, 5:9] = True
    copied = equations.copy()
    copied.leave_out(spoilt)
    assert copied.pixels == equations.pixels - 12
    assert copied.solve(terms(3)[:1]).rms < 1e-6 < equations.solve(terms(3)[:1]).rms
