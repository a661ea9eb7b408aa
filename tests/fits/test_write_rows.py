"""Planes of the output: every row once, in any order, from any thread."""

import os
import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffdecor.core.parallel import ordered_map
from diffdecor.fits import write_rows
from diffdecor.fits.checksum import datasum
from diffdecor.fits.write_rows import OutputPlane, write_at

RNG = np.random.default_rng(5)


@pytest.fixture
def descriptor(tmp_path):
    number = os.open(tmp_path / "planes", os.O_RDWR | os.O_CREAT)
    yield number
    os.close(number)


def _content(descriptor):
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _bands(ny, cuts):
    edges = sorted({0, ny, *(cut % ny for cut in cuts)})
    return [slice(*pair) for pair in pairwise(edges)]


@settings(max_examples=60)
@given(
    ny=st.integers(1, 40),
    nx=st.integers(1, 30),
    cuts=st.lists(st.integers(0, 39)),
    order=st.randoms(use_true_random=False),
    threads=st.sampled_from([1, 2, 4]),
    chunk=st.sampled_from([1, 100, 1 << 19]),
    dtype=st.sampled_from(["float32", "float64", "int32"]),
)
def test_any_order_from_any_thread(tmp_path_factory, ny, nx, cuts, order, threads, chunk, dtype):
    values = np.random.default_rng(ny).normal(0, 1e6, (ny, nx)).astype(dtype)
    rows = _bands(ny, cuts)
    order.shuffle(rows)
    path = tmp_path_factory.mktemp("planes") / "plane"
    number = os.open(path, os.O_RDWR | os.O_CREAT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_rows, "_CHUNK", chunk)
        plane = OutputPlane(number, 12, (ny, nx), dtype)
        list(ordered_map(lambda band: plane.__setitem__(band, values[band]), rows, threads))
    np.testing.assert_array_equal(plane[0:ny], values)
    stored = _content(number)[12:]
    os.close(number)
    assert stored == values.astype(values.dtype.newbyteorder(">")).tobytes()
    assert plane.finished_sum() == datasum(stored)


@pytest.mark.parametrize("given_dtype", [np.float16, np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_values_of_other_types(descriptor, given_dtype, dtype):
    values = RNG.integers(0, 2, (5, 4)).astype(given_dtype)
    plane = OutputPlane(descriptor, 0, (5, 4), dtype)
    plane[0:5] = values
    assert plane[0:5].dtype == dtype
    assert plane[0:5].dtype.isnative
    np.testing.assert_array_equal(plane[0:5], values)


def test_special_values_and_what_is_beyond_single_precision(descriptor):
    values = np.array([[np.nan, np.inf, -np.inf], [1e300, -1e300, 1e-300]])
    before = values.copy()
    plane = OutputPlane(descriptor, 0, (2, 3), "float32")
    plane[0:2] = values
    np.testing.assert_array_equal(plane[0:2], [[np.nan, np.inf, -np.inf], [np.inf, -np.inf, 0.0]])
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("view", [np.s_[::2, ::3], np.s_[::-1, ::-1]])
def test_views_of_any_strides_and_foreign_byte_order(descriptor, view):
    values = RNG.normal(size=(8, 9)).astype(">f4")[view]
    plane = OutputPlane(descriptor, 0, values.shape, "float32")
    plane[:] = values
    np.testing.assert_array_equal(plane[:], values)
    np.testing.assert_array_equal(plane[1:3], values[1:3])
    np.testing.assert_array_equal(plane[-1:], values[-1:])
    assert plane[2:2].shape == (0, values.shape[1])


def test_every_row_must_come_and_only_once(descriptor):
    plane = OutputPlane(descriptor, 0, (6, 2), "float32")
    plane[3:3] = np.empty((0, 2))
    plane[0:2] = np.ones((2, 2))
    with pytest.raises(RuntimeError, match="4 rows of the output are missing, the first is 2"):
        plane.finished_sum()
    with pytest.raises(RuntimeError, match="rows 1 to 4 of the output are assigned twice"):
        plane[1:4] = np.ones((3, 2))
    plane[2:6] = np.ones((4, 2))
    plane.finished_sum()


@pytest.mark.parametrize("shape", [(2, 2), (1, 3), (3,), (3, 1), ()])
def test_rows_of_another_shape(descriptor, shape):
    plane = OutputPlane(descriptor, 0, (6, 2), "float32")
    with pytest.raises(ValueError, match=r"rows 1 to 4 have shape \(3, 2\), not"):
        plane[1:4] = np.ones(shape)


def test_the_system_may_take_and_give_less_than_asked_for(descriptor, monkeypatch):
    pwrite, preadv = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:7], at))
    monkeypatch.setattr(os, "preadv", lambda fd, data, at: preadv(fd, [data[0][:5]], at))
    values = RNG.normal(size=(7, 3))
    plane = OutputPlane(descriptor, 5, (7, 3), "float64")
    plane[:] = values
    write_at(descriptor, b"x" * 20, 500)
    np.testing.assert_array_equal(plane[:], values)
    assert _content(descriptor)[500:] == b"x" * 20


def test_a_file_that_somebody_cut_off(descriptor):
    plane = OutputPlane(descriptor, 0, (7, 3), "float64")
    plane[:] = np.ones((7, 3))
    os.ftruncate(descriptor, 100)
    with pytest.raises(OSError, match="Input/output error"):
        plane[:]


def test_sums_from_many_threads_at_once(descriptor):
    values = RNG.integers(0, 2**31, (400, 16)).astype(np.int32)
    plane = OutputPlane(descriptor, 0, values.shape, "int32")
    start = threading.Barrier(8)

    def work(first):
        start.wait()
        for row in range(first, 400, 8):
            plane[row : row + 1] = values[row : row + 1]

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert plane.finished_sum() == datasum(values)


def test_systems_that_take_no_advice(descriptor, monkeypatch):
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    plane = OutputPlane(descriptor, 0, (2, 2), "float32")
    plane[:] = np.ones((2, 2))
    assert plane[:].sum() == 4
