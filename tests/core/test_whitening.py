"""The whitening filter and the score correction against dense linear algebra, and its properties.

On a torus convolution matrices are exact, and the whitening filter is a matrix function: the
inverse square root of the noise covariance, times the root of its largest-scale eigenvalue P(0).
"""

import logging

import numpy as np
import pytest
from helpers import oracle
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor.core.fourier import centred
from diffdecor.core.noise import NoiseSide, white_side
from diffdecor.core.whitening import (
    FLOOR,
    MAX_HALF_WIDTH,
    TAIL,
    compact_filters,
    filter_transfer,
)

TORUS = (10, 12)
KERNELS = {
    "odd": (oracle.gaussian(5, 0.9), (2, 2)),
    "even": (oracle.gaussian((4, 6), 1.1, centre=(2.3, 1.8)), (3, 2)),
    "off-centre": (oracle.gaussian(7, 1.0, centre=(2.0, 4.0)), (3, 3)),
    "elongated": (oracle.gaussian((5, 9), 1.5, axis_ratio=0.5, angle=0.5), (4, 2)),
    "row": (oracle.gaussian((1, 7), 1.2), (3, 0)),
    "column": (oracle.gaussian((6, 1), 0.8), (0, 3)),
    "pixel": (np.array([[1.7]]), (0, 0)),
    "negative-lobes": (
        oracle.gaussian(9, 1.2) - 0.3 * oracle.gaussian(9, 2.0, centre=(4.5, 4)),
        (4, 4),
    ),
}


def side(level, scale, kernel):
    stamp, origin = kernel
    return NoiseSide(np.array([level]), np.array([scale]), stamp[np.newaxis], origin)


def covariance(*sides):
    """Noise covariance of a periodic difference."""
    total = 0.0
    for one in sides:
        matrix = oracle.torus_matrix(one.stamps[0], one.origin, TORUS)
        total = total + one.level[0] * one.scale[0] ** 2 * (matrix @ matrix.T)
    return total


def matrix_of(transform):
    """Convolution matrix of a filter given by its real transform."""
    stamp = np.fft.irfft2(transform, TORUS)
    return oracle.torus_matrix(stamp, (0, 0), TORUS)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("ratio", [0.05, 1.0, 20.0])
def test_psi_is_the_inverse_root_of_the_covariance(name, ratio):
    sides = white_side([ratio], 0.8), side(1.0, 1.3, KERNELS[name])
    noise = covariance(*sides)
    zero_power = float(sum(one.zero_power[0] for one in sides))
    expected = np.sqrt(zero_power) * oracle.power_of(noise, -0.5)
    psi = matrix_of(filter_transfer(*sides, TORUS)[0])
    assert_allclose(psi, expected, atol=1e-10)
    result = psi @ noise @ psi.T
    assert_allclose(result, zero_power * np.eye(len(noise)), atol=1e-10 * zero_power)


def test_psi_with_both_sides_convolved():
    sides = side(0.7, 1.0, KERNELS["elongated"]), side(0.4, 0.6, KERNELS["even"])
    white = side(0.2, 1.0, KERNELS["pixel"])
    noise = covariance(*sides)
    psi = matrix_of(filter_transfer(*sides, TORUS)[0])
    result = psi @ noise @ psi.T
    zero_power = float(sum(one.zero_power[0] for one in sides))
    assert_allclose(result, zero_power * np.eye(len(noise)), atol=1e-8 * zero_power)
    # And one that is not for these levels does not whiten: the test can fail.
    wrong = matrix_of(filter_transfer(sides[0], white, TORUS)[0])
    result = wrong @ noise @ wrong.T
    assert np.abs(result - np.diag(np.diag(result))).max() > 0.05 * result[0, 0]


def test_score_correction_makes_the_likelihood():
    """The corrected score is the PSF-matched filter of the whitened difference (DMTN-179).

    With preconvolution A and matching kernel B, ``|A|^2 / (s |A|^2 + t |B|^2)`` of A-filtered
    pixels is ``A*`` times the inverse covariance of the plain difference with the kernel B / A.
    """
    preconvolution, matching = KERNELS["odd"], KERNELS["elongated"]
    sides = side(0.5, 1.0, preconvolution), side(1.5, 1.0, matching)
    correction = matrix_of(filter_transfer(*sides, TORUS, score=True)[0])
    a = oracle.torus_matrix(*preconvolution, TORUS)
    b = oracle.torus_matrix(*matching, TORUS)
    plain = np.linalg.solve(a, b)  # matches the template to the science image itself
    inverse = np.linalg.inv(0.5 * np.eye(len(a)) + 1.5 * plain @ plain.T)
    assert_allclose(correction @ a, a @ inverse * 2.0, atol=1e-9)  # P(0) = 2


def test_score_correction_is_bounded_where_the_preconvolution_vanishes():
    box = np.ones((4, 4)) / 16  # its transform has zeros
    transform = filter_transfer(
        side(1.0, 1.0, (box, (2, 2))), side(3.0, 1.0, KERNELS["odd"]), (32, 32), score=True
    )[0]
    assert np.isfinite(transform).all()
    assert transform.min() == 0
    assert transform.max() <= 4
    assert transform[0, 0] == pytest.approx(1)


def test_score_of_nothing_is_nothing():
    box = (np.ones((4, 4)) / 16, (2, 2))
    transform = filter_transfer(side(1.0, 1, box), side(1.0, 1, box), (16, 16), score=True)
    assert np.isfinite(transform).all()


def test_floor_bounds_the_filter():
    """Without noise that was not convolved, nothing can be undone where the kernel vanishes."""
    box = np.ones((4, 4)) / 16
    psi = filter_transfer(white_side(np.zeros(1)), side(2.0, 1.0, (box, (2, 2))), (16, 16))[0]
    gain = np.abs(np.fft.rfft2(box, (16, 16)))
    assert gain.min() < 1e-15
    assert_allclose(psi, 1 / np.maximum(gain, FLOOR**0.5))


# Properties

kernels = st.builds(
    lambda ny, nx, sigma, dx, dy, angle: (
        oracle.gaussian(
            (ny, nx), sigma, centre=(nx // 2 + dx, ny // 2 + dy), axis_ratio=0.7, angle=angle
        ),
        (nx // 2, ny // 2),
    ),
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(0.4, 2.5),
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.floats(0, 3),
)
levels = st.floats(1e-2, 1e2)
scales = st.floats(0.2, 3)


@oracle.EXAMPLES
@given(kernels, levels, levels, scales, scales)
def test_filters_have_unit_sum_and_whiten(kernel, s, t, science_scale, template_scale):
    sides = white_side([s], science_scale), side(t, template_scale, kernel)
    transform = filter_transfer(*sides, (40, 45))[0]
    assert transform[0, 0] == pytest.approx(1, abs=1e-12)
    power = sum(one.power((40, 45)) for one in sides)[0]
    zero_power = sum(one.zero_power for one in sides)[0]
    assume(power.min() > 2 * FLOOR * zero_power)
    assert_allclose(transform**2 * power, zero_power, rtol=1e-10)
    filters = compact_filters(*sides)
    assert_allclose(filters.stamps.sum(), 1, atol=1e-12)
    # Exactly: a + b is b + a, and `transfer` relies on it.
    assert_array_equal(filters.stamps, filters.stamps[:, ::-1, ::-1])


@oracle.EXAMPLES
@given(kernels, levels, scales)
def test_nothing_to_do_where_the_convolved_image_is_noiseless(kernel, s, scale):
    sides = white_side([s], 1.0), side(0.0, scale, kernel)
    filters = compact_filters(*sides)
    assert filters.half_width == 0
    assert_allclose(filters.stamps, 1, atol=1e-12)


@oracle.EXAMPLES
@given(kernels, levels, levels, st.floats(1e-12, 1e12))
def test_unit_of_the_variances_does_not_matter(kernel, s, t, factor):
    once = compact_filters(white_side([s]), side(t, 1.0, kernel))
    again = compact_filters(white_side([s * factor]), side(t * factor, 1.0, kernel))
    if once.half_width == again.half_width:  # rounding may move the cut by a pixel
        assert_allclose(again.stamps, once.stamps, atol=1e-11)
    else:
        assert abs(once.half_width - again.half_width) == 1


@oracle.EXAMPLES
@given(st.lists(st.tuples(st.floats(0.5, 2.5), levels), min_size=2, max_size=12))
def test_compact_filters_keep_their_norm(places):
    """Whatever kernels and levels meet: nothing that counts is cut off any filter."""
    stamps = np.array([oracle.gaussian(17, sigma) for sigma, _ in places])
    template = np.array([level for _, level in places])
    science = white_side(np.ones(len(places)))
    convolved = NoiseSide(template, np.ones(len(places)), stamps, (8, 8))
    filters = compact_filters(science, convolved)
    size = 256
    transform = filter_transfer(science, convolved, (size, size))
    whole = np.fft.irfft2(transform, (size, size))
    middle = size // 2
    whole = np.roll(whole, (middle, middle), axis=(1, 2))
    reach = np.s_[middle - filters.half_width : middle + filters.half_width + 1]
    whole[:, reach, reach] -= filters.stamps
    lost = np.sqrt((whole**2).sum(axis=(1, 2)) / (filters.stamps**2).sum(axis=(1, 2)))
    assert lost.max() < 100 * TAIL  # the cut, and what it does to the sum
    assert filters.tail <= 2 * TAIL


@pytest.mark.parametrize("ratio", [10, 1, 0.1])
@pytest.mark.parametrize(
    "stamp",
    [
        oracle.gaussian(21, 1.0),
        oracle.gaussian(31, 3.0, axis_ratio=0.4, angle=0.3),
        oracle.gaussian((1, 31), 2.0),
        np.ones((4, 4)) / 16,
        np.ones((9, 9)) / 81,
    ],
    ids=["narrow", "elongated", "row", "small box", "large box"],
)
def test_filters_are_those_of_a_large_transform(stamp, ratio):
    """The transform is just as large as it must be: nothing wraps into the filter."""
    ky, kx = stamp.shape
    sides = white_side([ratio]), side(1.0, 1.0, (stamp, (kx // 2, ky // 2)))
    filters = compact_filters(*sides)
    size = 1024
    exact = centred(
        np.fft.irfft2(filter_transfer(*sides, (size, size)), (size, size)), filters.half_width
    )
    norm = np.sqrt((exact**2).sum())
    assert np.sqrt(((filters.stamps * exact.sum() - exact) ** 2).sum()) < 0.1 * TAIL * norm


def test_threads_do_not_change_the_filters():
    rng = np.random.default_rng(6)
    stamps = np.array([oracle.gaussian(15, sigma) for sigma in rng.uniform(0.6, 1.8, 100)])
    levels = rng.uniform(0.5, 2, 100)
    sides = white_side(levels), NoiseSide(levels[::-1], np.ones(100), stamps, (7, 7))
    once = compact_filters(*sides)
    for threads in (2, 4):
        again = compact_filters(*sides, threads=threads)
        assert again.tail == once.tail
        assert_array_equal(again.stamps, once.stamps)


def test_filters_of_many_places_are_those_of_each():
    """Levels, scales and kernels of a place belong together, in batches as well."""
    rng = np.random.default_rng(5)
    number = 40
    stamps = np.array([oracle.gaussian(9, sigma) for sigma in rng.uniform(0.6, 1.8, number)])
    science = white_side(rng.uniform(0.5, 2, number), rng.uniform(0.5, 2, number))
    template = NoiseSide(rng.uniform(0.5, 2, number), rng.uniform(0.5, 2, number), stamps, (4, 4))
    together = compact_filters(science, template)
    for place in range(0, number, 7):
        alone = compact_filters(science[place : place + 1], template[place : place + 1])
        cut = together.half_width - alone.half_width
        inside = np.s_[cut : cut + 2 * alone.half_width + 1]
        assert_allclose(together.stamps[place][inside, inside], alone.stamps[0], atol=1e-8)


def test_long_filters_are_cut_and_it_is_said(caplog):
    """A box-like kernel of an image that dominates the noise needs an endless filter."""
    box = np.ones((9, 9)) / 81
    with caplog.at_level(logging.WARNING):
        filters = compact_filters(white_side([1e-7]), side(1.0, 1.0, (box, (4, 4))))
    assert filters.half_width <= MAX_HALF_WIDTH
    assert np.isfinite(filters.stamps).all()
    assert "(almost) no noise" in caplog.text
    if filters.tail > 1e-4:
        assert "not quite white" in caplog.text


def test_no_warning_without_cause(caplog):
    compact_filters(white_side([1.0]), side(1.0, 1.0, KERNELS["odd"]))
    assert not caplog.text
