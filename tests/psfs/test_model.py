"""Stamps of a PSF and how they vary."""

import numpy as np
import pytest
from helpers.closeness import assert_same

from diffdecor.core.interpolate import bilinear_weights
from diffdecor.core.spatial import Term
from diffdecor.errors import InputError
from diffdecor.psfs.model import BasisPsf, StampPsf

GRID = np.array([(x, y) for x in (10.0, 20.0, 50.0) for y in (0.0, 8.0)])
RNG = np.random.default_rng(2)


@pytest.mark.parametrize("order", [np.arange(6), RNG.permutation(6)])
def test_a_linear_function_is_interpolated_exactly(order):
    positions = GRID[order]
    values = 3 + 2 * positions[:, 0] - positions[:, 1]
    for x, y in RNG.uniform((10, 0), (50, 8), (20, 2)):
        weights = bilinear_weights(positions, x, y)
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(), 1)
        np.testing.assert_allclose(weights @ values, 3 + 2 * x - y)


@pytest.mark.parametrize(
    ("x", "y", "node"), [(10, 0, 0), (-50, -9, 0), (20, 8, 3), (900, 8, 5), (1e9, -1e9, 4)]
)
def test_nodes_are_met_exactly_and_nothing_is_extrapolated(x, y, node):
    np.testing.assert_array_equal(bilinear_weights(GRID, x, y), np.eye(6)[node])


@pytest.mark.parametrize(
    "positions",
    [GRID[:5], np.array([(0, 0), (0, 0), (1, 1), (1, 0)]), np.array([(0, 0), (3, 1), (7, 2)])],
)
def test_of_other_positions_the_nearest_counts(positions):
    for node, (x, y) in enumerate(positions):
        weights = bilinear_weights(positions.astype(float), x + 0.2, y + 0.1)
        first = int(np.argmax((positions == positions[node]).all(axis=1)))
        np.testing.assert_array_equal(weights, np.eye(len(positions))[first])


def test_one_row_or_one_position():
    row = GRID[::2]
    np.testing.assert_allclose(bilinear_weights(row, 15, 99), [0.5, 0.5, 0])
    np.testing.assert_array_equal(bilinear_weights(GRID[:1], -3, 7), [1])


def test_a_varying_psf_has_unit_sum_everywhere():
    psf = StampPsf(RNG.random((6, 5, 7)), positions=GRID)
    assert psf.origin == (3, 2)
    middle = psf.stamp(15.0, 4.0)
    np.testing.assert_allclose(middle.sum(), 1)
    np.testing.assert_allclose(middle, np.asarray(psf.stamps)[:4].mean(axis=0))


def test_normalising_twice_changes_nothing():
    once = StampPsf(RNG.random((6, 5, 7)), positions=GRID)
    twice = StampPsf(once.stamps, positions=GRID)
    np.testing.assert_array_equal(once.stamps, twice.stamps)


def test_the_caller_keeps_his_arrays():
    stamp = np.ones((3, 3))
    psf = StampPsf(stamp)
    psf.stamp(0, 0)[:] = 7
    assert (stamp == 1).all()
    np.testing.assert_allclose(psf.stamp(0, 0), 1 / 9)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"stamps": np.ones(4)}, "is one stamp .* or several"),
        ({"stamps": np.zeros((3, 3))}, "positive sum"),
        ({"stamps": np.full((3, 3), np.nan)}, "finite"),
        ({"stamps": np.ones((2, 3, 3))}, "2 stamps without positions"),
        ({"stamps": np.ones((2, 3, 3)), "positions": [(0, 0)]}, "2 stamps but positions"),
        ({"stamps": np.ones((3, 3)), "origin": (3, 0)}, "origin .* outside the 3 x 3 pixel stamp"),
    ],
)
def test_impossible_psfs(arguments, says):
    with pytest.raises(InputError, match=f"psf.fits: .*{says}"):
        StampPsf(name="psf.fits", **arguments)


BASIS = {
    "basis": np.array([np.ones((3, 5)), np.arange(15.0).reshape(3, 5)]),
    "origin": (2, 1),
    "terms": (Term("POLY", 0, 0), Term("POLY", 1, 0), Term("CHEB1", 0, 2)),
    "coefficients": np.array([[1.0, 0.5, 0.0], [0.0, 0.0, 0.25]]),
    "x0": 10.0,
    "xs": 5.0,
    "y0": -3.0,
    "ys": 2.0,
    "name": "psf.fits",
}


def test_a_psf_of_basis_images():
    psf = BasisPsf(**BASIS)
    u, v = (12 - 10) / 5, (4 + 3) / 2
    stamp = (1 + 0.5 * u) * BASIS["basis"][0] + 0.25 * (2 * v**2 - 1) * BASIS["basis"][1]
    assert_same(psf.stamp(12, 4), stamp / stamp.sum())


def test_a_psf_that_has_run_away():
    psf = BasisPsf(**BASIS)
    with pytest.raises(InputError, match=r"no positive sum at the 0-based \(-90, -3\)"):
        psf.stamp(-90, -3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"coefficients": np.ones((2, 2))}, "with coefficients"),
        ({"basis": np.ones((2, 5))}, "with coefficients"),
        ({"basis": np.full((2, 3, 5), np.inf)}, "NaN or infinite"),
        ({"xs": 0.0}, "positions cannot be scaled"),
        ({"y0": np.nan}, "positions cannot be scaled"),
        ({"origin": (2, 3)}, r"the origin \(2, 3\) lies outside"),
    ],
)
def test_impossible_basis_psfs(change, says):
    with pytest.raises(InputError, match=f"psf.fits: impossible PSF: .*{says}"):
        BasisPsf(**{**BASIS, **change})
