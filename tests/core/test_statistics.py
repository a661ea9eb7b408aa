"""Robust levels against a slow and plain implementation."""

import math
import statistics
import tracemalloc

import numpy as np
import pytest
from helpers import oracle
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffdecor.core.planes import bands
from diffdecor.core.statistics import (
    clipped_mean,
    clipped_means,
    robust_sigma,
    sampled_means,
    streamed_clipped_mean,
)

SIGMA_OF_IQR = 0.741301109252802


def plain_clipped_mean(values):
    """LSST's definition, value by value."""
    values = [float(value) for value in values if math.isfinite(np.float32(value))]
    if not values:
        return math.nan
    if len(values) == 1:
        return values[0]
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    centre, reach = statistics.median(values), 3 * SIGMA_OF_IQR * (upper - lower)
    for _ in range(2):
        kept = [value for value in values if abs(value - centre) <= reach]
        centre = math.fsum(kept) / len(kept)
        squares = math.fsum((value - centre) ** 2 for value in kept)
        reach = 3 * math.sqrt(squares / (len(kept) - 1)) if len(kept) > 1 else 0.0
    kept = [value for value in values if abs(value - centre) <= reach * (1 + 1e-14)]
    return math.fsum(kept) / len(kept) if kept else centre


def quick_clipped_mean(values):
    """The same for planes, in double precision."""
    finite = values[np.isfinite(values.astype(np.float32))].astype(np.float64)
    lower, centre, upper = np.percentile(finite, [25, 50, 75])
    reach = 3 * SIGMA_OF_IQR * (upper - lower)
    for _ in range(3):
        kept = finite[np.abs(finite - centre) <= reach]
        centre = kept.mean()
        reach = 3 * kept.std(ddof=1)
    return centre


@oracle.EXAMPLES
@given(st.lists(st.one_of(st.floats(1e-3, 1e6), st.integers(1, 5)), min_size=1, max_size=60))
def test_clipped_mean_is_the_plain_one(values):
    values = np.array(values, dtype=np.float64)
    assert clipped_mean(values) == pytest.approx(plain_clipped_mean(values), rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_clipped_mean_of_a_contaminated_plane(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 0.3, size=(40, 50))
    values[rng.random(values.shape) < 0.08] = 1e4
    values[rng.random(values.shape) < 0.05] = np.nan
    assert clipped_mean(values) == pytest.approx(plain_clipped_mean(values.ravel()), rel=1e-12)
    assert clipped_mean(values) == pytest.approx(5, abs=0.05)


@oracle.EXAMPLES
@given(st.floats(1e-6, 1e12), st.integers(1, 400))
def test_clipped_mean_of_equal_values_is_the_value(value, number):
    assert clipped_mean(np.full(number, value)) == pytest.approx(value, rel=1e-13)


def test_values_whose_squares_underflow():
    assert clipped_mean(np.array([0.0, 1e-200, 2e-200, 3e-200, 1e-190])) < 1e-180


@pytest.mark.parametrize("repeats", [1, 10_000])
def test_values_beyond_single_precision_are_not_finite(repeats):
    values = np.array([1.0, 2.0, 3.0, 1e39, np.inf, -np.inf, np.nan, -1e300])
    assert clipped_mean(np.tile(values, repeats)) == 2.0


def test_the_largest_single_precision_numbers_count():
    """Single precision rounds half way up to the next power of two, which is infinity."""
    largest = float(np.finfo(np.float32).max)
    half = float(np.ldexp(1 - 2.0**-25, 128))
    below = np.nextafter(half, 0)
    with np.errstate(over="ignore"):
        assert np.isfinite(np.float32(below))
        assert np.isinf(np.float32(half))
    assert clipped_mean(np.array([largest, below])) > largest
    assert clipped_mean(np.array([largest, half])) == largest
    assert np.isnan(clipped_mean(np.array([half, -half])))


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, np.nan]])
def test_clipped_mean_of_nothing_is_unknown(values):
    assert np.isnan(clipped_mean(np.array(values)))


# Planes, and windows with many values

ROWS, COLUMNS = 300, 200


def planes():
    """Planes as they come, and as nobody wants them."""
    rng = np.random.default_rng(7)
    y, x = np.indices((ROWS, COLUMNS))
    normal = rng.normal(5, 0.3, (ROWS, COLUMNS))
    holes = np.where(rng.random(normal.shape) < 0.1, np.nan, normal)
    return {
        "normal": normal,
        "ramp along y": 2 + 0.3 * y / ROWS,
        "ramp along x": 2 + 0.3 * x / COLUMNS,
        "constant": np.full((ROWS, COLUMNS), 3.3),
        "two levels": np.where(x < 80, 1.1, 4.3),
        "a quarter at another level": np.where(x < COLUMNS // 4, 1.1, 4.3),
        "few levels": np.round(rng.normal(5, 2, normal.shape)),
        "few levels among others": np.where(rng.random(normal.shape) < 0.5, 5.0, normal),
        "stars": normal + 0.05 * rng.pareto(1.2, normal.shape),
        "heavy tails": rng.standard_cauchy(normal.shape),
        "far from zero": 1e6 + normal,
        "huge": 1e37 * normal,
        "tiny": 1e-30 * normal,
        "both signs": normal - 5,
        "holes": holes,
        "infinite": np.where(np.isnan(holes), np.where(x % 2, np.inf, -np.inf), holes),
        "mostly holes": np.where(y % 50 == 3, normal, np.nan),
        "one row": np.where(y == 8, normal, np.nan),
        "sorted": np.sort(normal.ravel()).reshape(normal.shape),
    }


PLANES = planes()


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_planes(name, dtype):
    plane = PLANES[name].astype(dtype)
    before = plane.copy()
    expected = quick_clipped_mean(plane)
    close = {"rel": 1e-12, "abs": float(1e-12 * np.nanmedian(np.abs(plane)))}
    assert clipped_mean(plane) == pytest.approx(expected, **close)
    for height in (300, 64, 7):
        found = {
            streamed_clipped_mean(plane.__getitem__, bands(plane.shape, height), threads)
            for threads in (1, 2, 5)
        }
        assert len(found) == 1
        assert found.pop() == pytest.approx(expected, **close)
    np.testing.assert_array_equal(plane, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sets_beside_each_other(dtype):
    """Each has its own bins, and some have too few values for any."""
    sets = np.array([plane.ravel() for plane in PLANES.values()] + [PLANES["normal"].ravel()] * 3)
    sets[-3, 20_000:] = np.nan
    sets[-2, 300:] = np.nan
    sets[-1] = np.nan
    sets = sets.astype(dtype)
    before = sets.copy()
    means = clipped_means(sets)
    for mean, values in zip(means[:-1], sets, strict=False):
        close = {"rel": 1e-12, "abs": float(1e-12 * np.nanmedian(np.abs(values)))}
        assert mean == pytest.approx(quick_clipped_mean(values), **close)
    assert np.isnan(means[-1])
    np.testing.assert_array_equal(sets, before)


@pytest.mark.parametrize("width", [100, 128, 144, 200, 216, 256])
def test_windows_with_a_ramp_along_their_rows(width):
    """The sample is not from some columns only, whatever it is that divides the width."""
    ramps = np.linspace(2, 3, width)[np.newaxis, np.newaxis].repeat(width, axis=1)
    sets = np.concatenate([ramps, ramps.swapaxes(1, 2)]).reshape(2, -1).astype(np.float32)
    assert clipped_means(sets) == pytest.approx(
        [quick_clipped_mean(one) for one in sets], rel=1e-12
    )


def tailed(number, size):
    """Sets of values with tails in which limits lie among many values."""
    rng = np.random.default_rng(number)
    sets = {
        "exponential": rng.exponential(size=size),
        "chi-squared": rng.chisquare(2, size),
        "log-normal": rng.lognormal(size=size),
        "pareto": 1 + rng.pareto(1.2, size),
        "uniform": rng.uniform(1, 2, size),
        "poisson": rng.poisson(3, size).astype(np.float64),
        "sources": rng.normal(5, 0.5, size) + (rng.random(size) < 0.2) * rng.exponential(20, size),
    }
    return np.array(list(sets.values()))


@pytest.mark.parametrize("size", [8000, 8193, 20_000, 44_280, 300_000])
@pytest.mark.parametrize("unit", [1e-29, 1, 1e29])
def test_windows_keep_the_same_values_as_sorting_does(size, unit):
    sets = (tailed(size, size) * unit).astype(np.float32)
    expected = [quick_clipped_mean(values) for values in sets]
    assert clipped_means(sets) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [8000, 8193, 23_000, 300_000])
@pytest.mark.parametrize("unit", [1e-29, 1, 1e29])
def test_windows_in_bins_have_nearly_the_mean(size, unit):
    sets = tailed(size, size)
    expected = [quick_clipped_mean(values * unit) for values in sets]
    found, _ = sampled_means((sets * unit).astype(np.float32))
    assert found == pytest.approx(expected, rel=2e-3)
    normal = np.random.default_rng(size).normal(50, 1, (5, size))
    expected = [quick_clipped_mean(values * unit) for values in normal]
    found, errors = sampled_means(normal * unit)
    assert errors / unit == pytest.approx(np.full(5, size**-0.5), rel=0.05)
    assert (found - expected) / unit == pytest.approx(np.zeros(5), abs=3e-4)


def test_windows_that_the_sample_does_not_show_are_sorted():
    """Most values lie far from those that are looked at first."""
    sets = np.random.default_rng(2).normal(5, 1, (3, 50_000))
    parts = np.arange(781)
    sample = ((parts + parts * (math.sqrt(5) - 1) / 2 % 1) * 64).astype(int)
    others = np.setdiff1d(np.arange(50_000), sample)
    sets[1, others[: 3 * len(others) // 4]] += 1000
    expected = [quick_clipped_mean(values) for values in sets]
    found, _ = sampled_means(sets)
    assert found[1] == pytest.approx(expected[1], rel=1e-12)
    assert found == pytest.approx(expected, abs=3e-4)


@pytest.mark.parametrize("which", range(7))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_planes_that_are_read_once(which, dtype):
    plane = tailed(5, (1000, 1200))[which].astype(dtype)
    expected = quick_clipped_mean(plane)
    read = []

    def rows_of(rows):
        read.append(rows)
        return plane[rows]

    parts = bands(plane.shape, 100)
    found = streamed_clipped_mean(rows_of, parts)
    assert found == pytest.approx(expected, rel=1e-4)
    assert [rows for rows in read if rows in parts] == parts
    assert sum(rows.stop - rows.start for rows in read) < 1.5 * len(plane)


@pytest.mark.parametrize("which", range(7))
def test_planes_that_are_read_once_depend_on_no_bands_and_threads(which):
    plane = tailed(6, (1000, 600))[which].astype(np.float32)
    found = {
        streamed_clipped_mean(plane.__getitem__, bands(plane.shape, height), threads)
        for height in (100,)
        for threads in (1, 2, 5)
    }
    assert len(found) == 1
    others = [
        streamed_clipped_mean(plane.__getitem__, bands(plane.shape, height))
        for height in (7, 64, 501)
    ]
    assert others == pytest.approx([found.pop()] * 3, rel=1e-13)


@pytest.mark.parametrize("period", [2, 3, 7, 16, 64, 512])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_sample_of_a_periodic_plane_is_not_of_one_phase(period, axis):
    """It would miss the one column, or row, of each period that is of another level."""
    shape = (1024, 1024)
    noise = np.random.default_rng(period).normal(5, 0.3, shape)
    phase = np.indices(shape)[axis] % period
    for plane in (noise + phase / period, np.where(phase == 1, 20 + noise, noise)):
        expected = quick_clipped_mean(plane)
        parts = bands(shape, 128)
        assert streamed_clipped_mean(plane.__getitem__, parts) == pytest.approx(expected, rel=1e-5)
        window = plane[:256, :256]
        expected = quick_clipped_mean(window)
        assert clipped_mean(window) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["normal", "few levels", "holes", "both signs"])
@pytest.mark.parametrize("repeats", [1, 5])
def test_rows_that_the_sample_does_not_show(name, repeats):
    """The sample sees a plane of another level altogether: values from everywhere tell better."""
    plane = np.tile(PLANES[name].astype(np.float32), (repeats, 1))
    shown = {}

    def read(rows):
        if rows.stop - rows.start == 1:
            return plane[rows] + 100
        shown[rows.start, rows.stop] = shown.get((rows.start, rows.stop), 0) + 1
        return plane[rows]

    found = streamed_clipped_mean(read, bands(plane.shape, 32), 2)
    assert found == pytest.approx(quick_clipped_mean(plane), rel=1e-5, abs=1e-5)
    assert max(shown.values()) <= 3


@pytest.mark.parametrize("rows", [slice(500, 501), slice(300, 310), slice(0, 400)])
def test_planes_of_which_few_rows_count(rows):
    plane = np.full((1000, 1000), np.nan, dtype=np.float32)
    plane[rows] = np.random.default_rng(8).normal(5, 0.3, plane[rows].shape)
    found = streamed_clipped_mean(plane.__getitem__, bands(plane.shape, 64), 2)
    assert found == pytest.approx(quick_clipped_mean(plane), rel=1e-5)


@pytest.mark.parametrize("number", [1, 2, 3, 7, 40])
def test_tiny_sets(number):
    sets = np.round(np.random.default_rng(number).normal(5, 1, (30, number)), 1)
    expected = [plain_clipped_mean(values) for values in sets]
    assert clipped_means(sets) == pytest.approx(expected, rel=1e-12)
    assert clipped_means(sets[:0]).shape == (0,)
    assert np.isnan(clipped_means(sets[:, :0])).all()


@pytest.mark.parametrize("levels", [None, 3])
def test_memory_is_that_of_some_rows(levels):
    shape = (8000, 1000)

    def read(rows):
        pixels = np.random.default_rng(rows.start).normal(size=(rows.stop - rows.start, shape[1]))
        return (np.round(pixels * levels) if levels else pixels).astype(np.float32)

    tracemalloc.start()
    try:
        streamed_clipped_mean(read, bands(shape, 64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.4 * 4 * shape[0] * shape[1]


# Spread


@oracle.EXAMPLES
@given(arrays(np.float32, st.integers(2, 50), elements=st.floats(1, 100, width=32)))
def test_robust_sigma_is_that_of_the_quartiles(values):
    lower, _, upper = statistics.quantiles([float(v) for v in values], n=4, method="inclusive")
    expected = SIGMA_OF_IQR * (upper - lower)
    assert robust_sigma(values) == pytest.approx(expected, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("name", ["normal", "constant", "few levels", "heavy tails", "sorted"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_robust_sigma_of_planes(name, dtype):
    plane = PLANES[name].astype(dtype)
    lower, upper = np.percentile(plane.astype(np.float64), [25, 75])
    assert robust_sigma(plane) == pytest.approx(SIGMA_OF_IQR * (upper - lower), rel=1e-12)


def test_robust_sigma_of_a_normal_distribution():
    values = np.random.default_rng(0).normal(3, 2.5, size=200_000)
    assert robust_sigma(values) == pytest.approx(2.5, rel=0.01)
