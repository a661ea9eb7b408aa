"""Robust levels against a slow and plain implementation."""

import math
import statistics
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from helpers import oracle
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffdecor.core import brackets, tally
from diffdecor.core import statistics as ours
from diffdecor.core.planes import bands
from diffdecor.core.statistics import (
    clipped_mean,
    clipped_means,
    robust_sigma,
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


# Planes: one pass between brackets

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


def never(*_):
    pytest.fail("the brackets of an ordinary plane were missed")


@pytest.mark.parametrize(
    "name", ["normal", "ramp along y", "constant", "two levels", "few levels", "stars", "holes"]
)
def test_one_pass_does_for_ordinary_planes(name):
    plane = PLANES[name].astype(np.float32)
    with mock.patch.object(ours, "quartiles_by_passes", never):
        streamed_clipped_mean(plane.__getitem__, bands(plane.shape, 64))


@pytest.mark.parametrize("piece", [1 << 19, 1 << 17, 7000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sets_beside_each_other(monkeypatch, dtype, piece):
    """Each has its own brackets, whether many or one or a part of one is looked at together."""
    monkeypatch.setattr(tally, "_PIECE", piece)
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


def test_only_the_set_with_a_missed_bracket_is_sorted():
    """The sample of one set is of another level altogether."""
    sets = np.random.default_rng(3).normal(5, 0.3, (5, 20_000)).astype(np.float32)
    expected = [quick_clipped_mean(values) for values in sets]

    def misled(samples):
        return brackets.brackets_around(samples + 10 * (np.arange(5) == 2)[:, np.newaxis])

    with (
        mock.patch.object(ours, "brackets_around", misled),
        mock.patch.object(ours, "quartiles_of", wraps=ours.quartiles_of) as sort,
    ):
        assert clipped_means(sets) == pytest.approx(expected, rel=1e-12)
    sort.assert_called_once()
    np.testing.assert_array_equal(sort.call_args.args[0], np.sort(sets[2:3]))


@pytest.mark.parametrize("width", [100, 128, 144, 200, 216, 256])
def test_brackets_of_windows_with_a_ramp_along_their_rows(width):
    """The sample is not from some columns only, whatever it is that divides the width."""
    ramps = np.linspace(2, 3, width)[np.newaxis, np.newaxis].repeat(width, axis=1)
    sets = np.concatenate([ramps, ramps.swapaxes(1, 2)]).reshape(2, -1).astype(np.float32)
    with mock.patch.object(ours, "quartiles_of", never):
        means = clipped_means(sets)
    assert means == pytest.approx([quick_clipped_mean(values) for values in sets], rel=1e-12)


@pytest.mark.parametrize("number", [1, 2, 3, 7, 40])
def test_tiny_sets(number):
    sets = np.round(np.random.default_rng(number).normal(5, 1, (30, number)), 1)
    expected = [plain_clipped_mean(values) for values in sets]
    assert clipped_means(sets) == pytest.approx(expected, rel=1e-12)
    assert clipped_means(sets[:0]).shape == (0,)
    assert np.isnan(clipped_means(sets[:, :0])).all()


values = st.one_of(
    st.floats(-10, 10, width=32),
    st.integers(-3, 3).map(float),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
)


@pytest.mark.parametrize("share", [1, 2, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_brackets_of_bad_samples_never_mislead(dtype, share):
    """With samples of a few values nearly every bracket is missed: it shows, or is no matter."""

    @oracle.EXAMPLES
    @given(st.lists(values, min_size=10, max_size=80))
    def check(numbers):
        plane = np.array(numbers, dtype=dtype)
        expected = plain_clipped_mean(plane)
        close = {"rel": 1e-9, "abs": 1e-9, "nan_ok": True}
        with (
            mock.patch.multiple(ours, _FEW=5, _SAMPLE=len(plane) // share),
            mock.patch.object(ours, "_SAMPLE_ROWS", len(plane) // share),
            mock.patch.multiple(brackets, _SPARSE=2, _THINNED=1),
            mock.patch.multiple(tally, _ADDED=3, _PIECE=7),
        ):
            assert clipped_mean(plane) == pytest.approx(expected, **close)
            sets = np.stack([plane, np.full_like(plane, np.nan), plane[::-1], plane + 1])
            means = [expected, np.nan, expected, plain_clipped_mean(plane + 1)]
            assert clipped_means(sets) == pytest.approx(means, **close)
            column = plane[:, np.newaxis]
            found = streamed_clipped_mean(column.__getitem__, bands(column.shape, 9))
            assert found == pytest.approx(expected, **close)

    check()


@pytest.mark.parametrize("name", ["normal", "few levels", "holes", "both signs"])
def test_rows_that_the_sample_does_not_show(name):
    """The sample sees a plane of another level altogether: several passes follow."""
    plane = PLANES[name].astype(np.float32)
    shown = {}

    def read(rows):
        if rows.stop - rows.start == 1:
            return plane[rows] + 100
        shown[rows.start, rows.stop] = shown.get((rows.start, rows.stop), 0) + 1
        return plane[rows]

    found = streamed_clipped_mean(read, bands(plane.shape, 32), 2)
    assert found == pytest.approx(quick_clipped_mean(plane), rel=1e-12, abs=1e-12)
    assert set(shown.values()) == {8}


def test_too_many_values_between_brackets_are_not_held():
    plane = PLANES["normal"].astype(np.float32)
    with mock.patch.object(ours, "_MOST_TAKEN", 100):
        found = streamed_clipped_mean(plane.__getitem__, bands(plane.shape, 32), 2)
    assert found == pytest.approx(quick_clipped_mean(plane), rel=1e-12)


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
