"""The sums of a window: what the removal of its level takes from them is added back."""

import numpy as np
import pytest

from diffdecor.core.noise import NoiseSide
from diffdecor.core.spectrum import at_lags, flat_spectrum, half_plane_lags
from diffdecor.decorrelation.window_filters import Sides, WindowFilters
from diffdecor.decorrelation.window_pixels import MARGIN, Tile, tile_sums


def side(level):
    return NoiseSide(np.array([level]), np.ones(1), np.ones((1, 1, 1)), (0, 0))


@pytest.mark.parametrize("masked", [0.0, 0.3])
def test_the_level_takes_nothing_from_white_noise(masked):
    """A plane alone would make every correlation 3 / 48^2 too small: much over all lags."""
    rng = np.random.default_rng(5)
    size, windows = 48 + 2 * MARGIN, 1500
    filters = WindowFilters(Sides(side(1.0), side(0.0)), flat_spectrum())
    by = filters.at(np.zeros(1, int), (size,) * 2)
    total, number = None, 0
    for _ in range(windows // 10):
        sky = rng.random((10, size, size)) >= masked
        pixels = rng.normal(size=sky.shape).astype(np.float32)
        found = tile_sums(Tile(pixels, sky, sky, [None, None]), by, 1)[0].total()
        total = found if total is None else total + found
        number += sky[:, MARGIN:-MARGIN, MARGIN:-MARGIN].sum()
    lags = half_plane_lags(5.0)
    correlations = at_lags(total.covariance, lags)[1:]
    error = 1 / np.sqrt(number * (1 - masked) * len(correlations))
    assert correlations.mean() == pytest.approx(0, abs=3.5 * error)
    assert 3.5 * error < 2 * windows / number / 2  # what the mean alone would leave is seen
