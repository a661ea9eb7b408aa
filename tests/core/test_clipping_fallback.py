"""Where brackets hold too much, several passes find the same mean."""

from unittest import mock

import numpy as np
import pytest

from diffdecor.core import statistics
from diffdecor.core.planes import bands
from diffdecor.core.statistics import clipped_mean, streamed_clipped_mean

PLANE = np.random.default_rng(5).normal(5, 0.3, (300, 200)).astype(np.float32)
BANDS = bands(PLANE.shape, 10)


def found(most, threads):
    """The mean where one pass may keep so many values; passes over it; bands read in all."""
    read = []

    def rows_of(rows):
        if rows in BANDS:
            read.append(rows)
        return PLANE[rows]

    with (
        mock.patch.object(statistics, "_MOST_TAKEN", most),
        mock.patch.object(
            statistics, "quartiles_by_passes", wraps=statistics.quartiles_by_passes
        ) as passes,
    ):
        mean = streamed_clipped_mean(rows_of, BANDS, threads)
    return mean, passes.call_count, len(read)


@pytest.mark.parametrize("threads", [1, 2])
def test_several_passes_give_the_same_mean(threads):
    mean, passes, read = found(100, threads)
    assert passes == 1
    assert mean == pytest.approx(clipped_mean(PLANE), rel=1e-12)
    # Four for the quartiles, three for the moments, and the first ends where it holds too much.
    assert 7 * len(BANDS) < read < 7 * len(BANDS) + len(BANDS) / 2


def test_one_pass_does_where_it_may_keep_enough():
    mean, passes, read = found(PLANE.size, 1)
    assert passes == 0
    assert read == len(BANDS)
    assert mean == pytest.approx(clipped_mean(PLANE), rel=1e-12)
