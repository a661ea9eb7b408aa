"""Holes and borders against direct sums."""

import numpy as np
import pytest
from helpers import oracle
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from diffdecor.core.fill import (
    ENOUGH,
    WINDOWS,
    constant_filled,
    energy_kernels,
    incomplete_border,
    locally_filled,
    near_filled,
)
from diffdecor.core.interpolate import KernelField
from diffdecor.core.parallel import ordered_map
from diffdecor.core.planes import LazyPlane, bands


def local_fill(values, bad, background):
    """All rows at once."""
    return locally_filled(values, bad, lambda: background)[0 : len(values)]


def plain_fill(values, bad, background):
    """The mean of the good pixels in the smallest window that has enough."""
    filled = np.where(bad, background, values)
    for y, x in np.argwhere(bad):
        for width, enough in zip(WINDOWS, ENOUGH, strict=True):
            around = np.s_[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
            good = values[around][~bad[around]]
            if good.size >= enough:
                filled[y, x] = good.mean()
                break
    return filled


@oracle.EXAMPLES
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 70)),
    share=st.floats(0, 1),
    blob=st.integers(0, 60),
    seed=st.integers(0, 1000),
)
def test_local_fill_is_the_local_mean(shape, share, blob, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(50, 5, size=shape)
    bad = rng.random(shape) < share
    bad[:blob, :blob] = True
    original = values.copy()
    values[bad] = np.nan
    filled = local_fill(values, bad, 47.0)
    assert_allclose(filled, plain_fill(original, bad, 47.0), rtol=1e-11)


@pytest.mark.parametrize("background", [100.0, 0.0, 250.0])
def test_a_constant_level_stays(background):
    bad = np.zeros((60, 70), dtype=bool)
    bad[10:30, 20:50] = bad[0, 0] = bad[59] = True
    values = np.where(bad, np.nan, 100.0)
    assert_allclose(local_fill(values, bad, background), 100.0, rtol=1e-13)


def test_a_slope_stays_but_for_the_size_of_the_hole():
    y, x = np.indices((60, 70))
    plane = 10 + 0.5 * x - 0.2 * y
    bad = np.zeros(plane.shape, dtype=bool)
    bad[30:33, 40:43] = True
    filled = local_fill(np.where(bad, -1e6, plane), bad, 0.0)
    assert np.abs(filled - plane)[bad].max() <= 0.5  # a slope of 0.7 per pixel, half width 3
    assert filled[31, 41] == pytest.approx(plane[31, 41])


def test_a_hole_larger_than_all_windows_takes_the_background():
    bad = np.ones((130, 140), dtype=bool)
    bad[:3] = False
    filled = local_fill(np.full(bad.shape, 5.0), bad, 7.0)
    assert filled[129, 70] == 7.0
    assert filled[20, 70] == pytest.approx(5.0)


def test_good_pixels_are_not_touched():
    rng = np.random.default_rng(1)
    values, bad = rng.normal(size=(30, 30)), rng.random((30, 30)) < 0.3
    assert_array_equal(local_fill(values, bad, 0.0)[~bad], values[~bad])


@oracle.EXAMPLES
@given(st.integers(1, 150), st.integers(1, 60), st.integers(0, 100))
def test_filled_planes_do_not_depend_on_bands(ny, height, seed):
    rng = np.random.default_rng(seed)
    values, bad = rng.normal(size=(ny, 20)), rng.random((ny, 20)) < 0.4
    bad[ny // 3 : ny // 3 + 55] = True
    plane = locally_filled(values, bad, lambda: 0.3)
    parts = [plane[start : min(start + height, ny)] for start in range(0, ny, height)]
    assert_allclose(np.concatenate(parts), local_fill(values, bad, 0.3), atol=1e-12)


class Counted:
    """A plane that counts how often it is read."""

    def __init__(self, pixels):
        self.pixels, self.shape, self.times = pixels, pixels.shape, 0

    def __getitem__(self, rows):
        self.times += 1
        return self.pixels[rows]


def with_gap(gap):
    """Noise about a level with scattered holes, small ones, and a gap between two chips."""
    rng = np.random.default_rng(4)
    values = rng.normal(50, 5, (320, 150)).astype(np.float32)
    bad = rng.random(values.shape) < 0.01
    bad[180:190, 100:110] = bad[gap] = True
    return values, bad


GAPS = [np.s_[90:150], np.s_[:, 20:80]]
PARTS = bands((320, 150), 64)


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("order", [[*range(5)], [*range(5)][::-1], [2, 4, 1, 3, 0], [1, 0, 1, 4]])
def test_filled_pixels_do_not_depend_on_what_was_read_before(gap, order):
    """A large hole makes later bands read more rows around them, not other levels."""
    values, bad = with_gap(gap)
    plane = locally_filled(values, bad, lambda: 0.3)
    for number in order:
        fresh = locally_filled(values, bad, lambda: 0.3)
        assert_array_equal(plane[PARTS[number]], fresh[PARTS[number]])


@pytest.mark.parametrize("gap", GAPS)
def test_filled_pixels_do_not_depend_on_threads(gap):
    values, bad = with_gap(gap)
    alone = [locally_filled(values, bad, lambda: 0.3)[rows] for rows in PARTS]
    for _ in range(5):
        together = ordered_map(locally_filled(values, bad, lambda: 0.3).__getitem__, PARTS, 4)
        assert_array_equal(np.concatenate([*together]), np.concatenate(alone))


@pytest.mark.parametrize("gap", GAPS)
def test_a_large_hole_is_a_reason_to_read_again_once_only(gap):
    values, bad = map(Counted, with_gap(gap))
    plane = locally_filled(values, bad, lambda: 0.3)
    for rows in PARTS:
        plane[rows]
    assert values.times == bad.times == len(PARTS) + 1


def test_small_holes_are_filled_from_near_rows():
    values, bad = with_gap(np.s_[3:20, 5:9])
    asked = []
    watched = LazyPlane(values.shape, lambda rows: asked.append(rows) or values[rows])
    locally_filled(watched, bad, lambda: 0.3)[64:128]
    assert asked == [slice(64 - 12, 128 + 12)]


def test_constant_fill_touches_what_is_not_finite_only():
    values = np.array([[1.0, np.nan], [np.inf, -np.inf]])
    assert_array_equal(constant_filled(values, 9.0)[0:2], [[1, 9], [9, 9]])


def filter_stamp():
    return oracle.gaussian((7, 9), 1.6, centre=(5, 2)) - 0.2 * oracle.gaussian((7, 9), 2.5)


def test_energy_is_that_of_the_filter():
    stamps = np.stack([filter_stamp(), 3 * filter_stamp()])[np.newaxis]
    energy = energy_kernels(KernelField(np.array([0.0, 5]), np.zeros(1), stamps, (4, 3)))
    assert_allclose(energy.stamps[0, 0], filter_stamp() ** 2 / np.sum(filter_stamp() ** 2))
    assert energy.origin == (4, 3)


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1])
def test_flagged_neighbours_take_more_than_the_share(share):
    rng = np.random.default_rng(8)
    filled = rng.random((50, 60)) < 0.01
    energy = energy_kernels(KernelField.constant(filter_stamp(), (4, 3)))
    taken = oracle.convolved(filled.astype(float), energy.stamps[0, 0], energy.origin, "zero")
    near = near_filled(filled, energy, share)[0:50]
    sure = np.abs(taken - share) > 1e-6  # the transforms are in single precision
    assert_array_equal(near[sure], ((taken > share) & ~filled)[sure])
    assert near.any()


@pytest.mark.parametrize("hole", [15, 16])
def test_flagged_neighbours_may_be_in_another_band(hole):
    filled = np.zeros((48, 30), dtype=bool)
    filled[hole, 11] = True
    near = near_filled(filled, energy_kernels(KernelField.constant(filter_stamp(), (4, 3))), 0.005)
    by_bands = [near[rows] for rows in bands(filled.shape, 16)]
    assert all(by_bands[number].any() for number in (0, 1))
    assert not by_bands[2].any()
    assert_array_equal(np.concatenate(by_bands), near[0:48])


@pytest.mark.parametrize("origin", [(4, 3), (0, 0), (8, 6), (2, 5)])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_incomplete_border(origin, share):
    """Pixels at one border whose filter reaches beyond it with much of its energy, and one more."""
    filters = KernelField.constant(filter_stamp(), origin)
    energy, limit = energy_kernels(filters), (share / 4) ** 2
    size, at = 41, 20
    beyond = np.zeros((4, size, size))  # seen from the left, right, bottom and top border
    beyond[0][:, :at] = beyond[1][:, at + 1 :] = beyond[2][:at] = beyond[3][at + 1 :] = 1
    counts = []
    for outside in beyond:
        missing = oracle.convolved(outside, energy.stamps[0, 0], origin, "zero")
        inside = outside[10:31, 10:31] == 0
        reached_by = np.count_nonzero((missing[10:31, 10:31] > limit) & inside) // 21
        counts.append(reached_by + 1 if reached_by else 0)
    assert list(incomplete_border(filters, share)) == counts


def test_a_filter_of_one_pixel_misses_nothing():
    filters = KernelField.constant(np.ones((1, 1)), (0, 0))
    energy = energy_kernels(filters)
    assert incomplete_border(filters, 0.02) == (0, 0, 0, 0)
    assert not near_filled(np.eye(5, dtype=bool), energy, 0.02)[0:5].any()
