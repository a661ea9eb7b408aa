"""What the planes of a job share."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.fits import reading
from diffdecor.fits.checksum import datasum
from diffdecor.fits.reading import Reading, RowSums

PIXELS = np.random.default_rng(3).normal(size=(31, 6)).astype(np.float32)


@pytest.fixture(autouse=True)
def every_row_counts(monkeypatch):
    monkeypatch.setattr(reading, "_FEW", 0)


@given(st.lists(st.tuples(st.integers(0, 31), st.integers(0, 31)), max_size=6))
def test_every_row_counts_once(parts):
    sums, read = RowSums(31, 24), set()
    for start, stop in parts:
        sums.add(start, PIXELS[start:stop])
        read |= set(range(start, stop))
    total, ranges = sums.left(1000)
    assert total == datasum(PIXELS[sorted(read)])
    missing = [row for start, stop in ranges[:-1] for row in range(start // 24, stop // 24)]
    assert missing == sorted(set(range(31)) - read)
    assert ranges[-1] == (31 * 24, 1000)


def test_threads_may_read_the_same_rows():
    sums = RowSums(31, 24)
    with ThreadPoolExecutor(4) as pool:
        for first in [*range(25)] * 8:
            pool.submit(sums.add, first, PIXELS[first : first + 7])
    assert sums.left(744) == (datasum(PIXELS), [(744, 744)])


def test_samples_do_not_count(monkeypatch):
    monkeypatch.setattr(reading, "_FEW", 100)
    sums = RowSums(31, 24)
    sums.add(0, PIXELS[:4])
    assert sums.left(744)[0] == 0
    sums.add(0, PIXELS[:5])
    assert sums.left(744)[0] == datasum(PIXELS[:5])


def test_sums_go_by_file_and_place(tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"1234")
    (tmp_path / "c").hardlink_to(tmp_path / "a")
    seen = Reading()
    with (tmp_path / "a").open() as a, (tmp_path / "b").open() as b, (tmp_path / "c").open() as c:
        first = seen.sums(a.fileno(), 0, 31, 24)
        assert first is not None
        assert seen.sums(c.fileno(), 0) is first
        assert seen.sums(b.fileno(), 0) is None
        assert seen.sums(a.fileno(), 2880) is None
        assert seen.sums(a.fileno(), 2880, 31, 6) is None  # no whole words


def test_memory_is_given_once():
    seen = Reading(100)
    assert seen.take(60)
    assert not seen.take(60)
    assert seen.take(40)
