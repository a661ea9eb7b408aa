"""Planes that are made as they are read."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from diffdecor.core import planes
from diffdecor.core.planes import (
    CachedPlane,
    Count,
    LazyPlane,
    Window,
    bands,
    chunks,
    constant_plane,
    copy_planes,
    in_chunks,
    part_of,
    windowed,
)

PIXELS = np.arange(240.0).reshape(40, 6)


class Watched:
    """A plane that notes which rows it is asked for."""

    def __init__(self, pixels=PIXELS):
        self.pixels, self.shape, self.asked = pixels, pixels.shape, []

    def __getitem__(self, rows):
        self.asked.append((rows.start, rows.stop))
        return self.pixels[rows]


def test_constant_plane():
    plane = constant_plane(2.5, (7, 4))
    assert plane.shape == (7, 4)
    assert_array_equal(plane[2:5], np.full((3, 4), 2.5))


def test_lazy_plane_makes_the_rows_asked_for():
    pixels = np.arange(20.0).reshape(5, 4)
    plane = LazyPlane((5, 4), lambda rows: 2 * pixels[rows])
    assert_array_equal(plane[1:3], 2 * pixels[1:3])
    assert_array_equal(np.asarray(plane), 2 * pixels)


def test_bands_go_through_all_rows():
    slices = bands((10, 3), 4)
    assert [(rows.start, rows.stop) for rows in slices] == [(0, 4), (4, 8), (8, 10)]


# Rows that are cached


def test_rows_within_the_last_ones_are_not_made_again():
    beneath = Watched()
    plane = CachedPlane(beneath)
    assert plane.shape == PIXELS.shape
    for start, stop in [(5, 20), (5, 20), (5, 6), (19, 20), (8, 12), (9, 9)]:
        assert_array_equal(plane[start:stop], PIXELS[start:stop])
    assert beneath.asked == [(5, 20)]


@pytest.mark.parametrize("other", [(4, 20), (5, 21), (0, 5), (20, 30), (12, 30), (0, 40)])
def test_other_rows_are_made_and_cached_instead(other):
    beneath = Watched()
    plane = CachedPlane(beneath)
    for start, stop in [(5, 20), other, other, (5, 20)]:
        assert_array_equal(plane[start:stop], PIXELS[start:stop])
    again = [] if other in {(4, 20), (5, 21), (0, 40)} else [(5, 20)]
    assert beneath.asked == [(5, 20), other, *again]


def test_every_thread_caches_its_own_rows():
    beneath = Watched()
    plane = CachedPlane(beneath)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for _ in range(3):
            for pool, start in ((one, 0), (other, 20)):
                rows = pool.submit(plane.__getitem__, slice(start, start + 10)).result()
                assert_array_equal(rows, PIXELS[start : start + 10])
    assert beneath.asked == [(0, 10), (20, 30)]


# Rows that are copied


def test_count_is_of_what_is_not_zero():
    count = Count()
    count[0:2] = np.array([[0, 3, 0], [1, 0, -2]])
    count[2:3] = np.array([[True, False, True]])
    count[3:3] = np.zeros((0, 3))
    assert count.number == 5


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_planes_are_copied_whatever_the_threads(threads):
    first, second, number = np.empty_like(PIXELS), np.empty_like(PIXELS), Count()
    pairs = [(PIXELS, first), (-PIXELS, second), (PIXELS > 99, number)]
    copy_planes(pairs, bands(PIXELS.shape, 7), threads)
    assert_array_equal(first, PIXELS)
    assert_array_equal(second, -PIXELS)
    assert number.number == 140


def test_all_planes_of_a_band_come_before_the_next():
    asked = []

    def noted(name):
        def read(rows):
            asked.append((name, rows.start))
            return PIXELS[rows]

        return LazyPlane(PIXELS.shape, read)

    pairs = [(noted(name), np.empty_like(PIXELS)) for name in "ab"]
    copy_planes(pairs, bands(PIXELS.shape, 20), 1)
    assert asked == [("a", 0), ("b", 0), ("a", 20), ("b", 20)]


def test_what_a_target_raises_comes_out():
    with pytest.raises(ValueError, match="read-only"):
        copy_planes([(PIXELS, np.broadcast_to(0.0, PIXELS.shape))], bands(PIXELS.shape, 7), 2)


# Chunks and windows


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of four rows of six pixels."""
    monkeypatch.setattr(planes, "_CHUNK", 29)


def test_chunks_are_all_rows_in_order(small_chunks):  # noqa: ARG001
    cut = [(chunk.start, chunk.stop) for chunk in chunks(slice(3, 13), 6)]
    assert cut == [(3, 7), (7, 11), (11, 13)]
    assert chunks(slice(3, 5), 10**9) == [slice(3, 4), slice(4, 5)]
    assert chunks(slice(3, 3), 6) == []


def test_a_plane_in_chunks_is_the_same(small_chunks):  # noqa: ARG001
    beneath = Watched(PIXELS.astype(np.float32))
    plane = in_chunks(beneath)
    assert plane.shape == PIXELS.shape
    assert_array_equal(plane[3:13], PIXELS[3:13], strict=False)
    assert beneath.asked == [(3, 7), (7, 11), (11, 13)]
    assert plane[3:13].dtype == np.float32
    assert plane[5:5].shape == (0, 6)


def test_a_window_is_read_by_chunks_into_memory_of_its_own(small_chunks):  # noqa: ARG001
    beneath = Watched()
    part = part_of(beneath, Window(2, 5, 3, 13))
    assert_array_equal(part, PIXELS[3:13, 2:5])
    assert max(stop - start for start, stop in beneath.asked) == 4
    assert not np.shares_memory(part, PIXELS)


def test_a_window_is_a_plane_that_reads_its_rows_only():
    beneath = Watched()
    window = windowed(beneath, Window(2, 5, 10, 30))
    assert window.shape == (20, 3)
    assert_array_equal(window[4:9], PIXELS[14:19, 2:5])
    assert beneath.asked == [(14, 19)]
