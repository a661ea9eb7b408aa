"""Noise spectra that vary over the field."""

import numpy as np
import pytest

from diffdecor.core.covariance import LagSums, lag_sums
from diffdecor.core.spectrum import MAX_LAG, SIZE, LogSpectrum, fit_spectrum, half_plane_lags
from diffdecor.core.spectrum_field import SpectrumField, fit_deviations

SIDE = 64
GRID = (6, 6)
FLAT = np.ones((SIZE, SIZE // 2 + 1))


def windows_of(pixels):
    """Sums of all windows, row by row."""
    ny, nx = GRID
    parts = [
        lag_sums(
            pixels[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE].astype(np.float32),
            np.ones((SIDE, SIDE), bool),
            MAX_LAG,
        )
        for y in range(ny)
        for x in range(nx)
    ]
    return LagSums(
        np.array([one.products for one in parts]), np.array([one.pairs for one in parts])
    )


def correlated(seed, share, level=1.0):
    """Noise whose neighbours along x are correlated, by more or less from left to right."""
    rng = np.random.default_rng(seed)
    white = rng.normal(size=(GRID[0] * SIDE, GRID[1] * SIDE + 1))
    return np.sqrt(level) * (white[:, 1:] + share * white[:, :-1]) / np.sqrt(1 + share**2)


def deviations(pixels):
    sums = windows_of(pixels)
    fit = fit_spectrum(sums.total())
    return fit, fit_deviations(sums, GRID, FLAT, fit)


def test_noise_that_is_the_same_everywhere_has_no_deviations():
    kept = [deviations(correlated(seed, 0.3))[1] is not None for seed in range(8)]
    assert sum(kept) <= 1


def test_correlation_that_changes_is_followed():
    share = np.linspace(0.0, 0.5, GRID[1] * SIDE)
    fit, local = deviations(correlated(1, share))
    assert local is not None
    lags = local.lags
    neighbour = next(i for i, lag in enumerate(lags) if tuple(lag) == (0, 1))
    found = local.coefficients[:, neighbour].reshape(GRID).mean(axis=0)
    columns = (np.arange(GRID[1]) + 0.5) * SIDE
    there = np.interp(columns, np.arange(len(share)), share)
    # log |1 + a e^ik|^2 has the coefficient a at lag 1, for the ratio of the two weights.
    assert found[1:-1] == pytest.approx(there[1:-1], abs=0.05)
    common = fit.spectrum.coefficients[0, neighbour]
    assert np.abs(found - there).mean() < 0.5 * np.abs(common - there).mean()


def test_levels_that_change_are_followed():
    level = np.exp(np.linspace(-0.3, 0.3, GRID[1] * SIDE))
    _, local = deviations(correlated(2, 0.0, level))
    assert local is not None
    found = np.exp(local.coefficients[:, 0].reshape(GRID).mean(axis=0))
    columns = ((np.arange(GRID[1]) + 0.5) * SIDE).astype(int)
    assert found[1:-1] == pytest.approx(level[columns][1:-1], rel=0.05)


def test_windows_without_pixels_take_part_from_their_neighbours():
    share = np.linspace(0.0, 0.5, GRID[1] * SIDE)
    sums = windows_of(correlated(3, share))
    sums.products[8:10], sums.pairs[8:10] = 0, 0
    fit = fit_spectrum(sums.total())
    local = fit_deviations(sums, GRID, FLAT, fit)
    assert local is not None
    assert np.isfinite(local.coefficients).all()


def test_a_single_row_of_windows_has_no_deviations():
    sums = windows_of(correlated(4, 0.3))
    fit = fit_spectrum(sums.total())
    assert fit_deviations(sums[:6], (1, 6), FLAT, fit) is None


def test_fields_are_bilinear_in_the_logarithm():
    lags = half_plane_lags(2.0)
    rng = np.random.default_rng(5)
    nodes = LogSpectrum(lags, rng.normal(scale=0.1, size=(6, len(lags))))
    field = SpectrumField(np.array([10.0, 20.0, 40.0]), np.array([5.0, 25.0]), nodes)
    grid = nodes.coefficients.reshape(2, 3, -1)
    positions = np.array([[10.0, 5.0], [15.0, 5.0], [15.0, 10.0], [-5.0, 99.0]])
    expected = np.array(
        [
            grid[0, 0],
            (grid[0, 0] + grid[0, 1]) / 2,
            0.75 * (grid[0, 0] + grid[0, 1]) / 2 + 0.25 * (grid[1, 0] + grid[1, 1]) / 2,
            grid[1, 0],  # constant beyond the nodes
        ]
    )
    assert field.kernels(positions) == pytest.approx(
        LogSpectrum(lags, expected).kernels(), abs=1e-12
    )
    constant = SpectrumField.constant(LogSpectrum(lags, grid[0, :1]))
    assert constant.kernels(positions).shape[0] == 4
