"""The numbers that pictures show, against brute force, theory and noise that is known."""

import numpy as np
import pytest
from helpers.workplace import convolved, gaussian
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffdecor.core.covariance import LagSums, lag_sums
from diffdecor.core.interpolate import Stamps
from diffdecor.core.planes import LazyPlane, constant_plane
from diffdecor.images.model import Exposure
from diffdecor.pipeline.results_table import verdict_of
from diffdecor.report.measures import (
    binned,
    block_means,
    histogram,
    measure,
    point_sources,
    quiet_window,
    stretch,
)
from diffdecor.report.noise_numbers import (
    correlation_of_lags,
    correlation_of_sums,
    depth_change,
    radial_power,
    within,
)
from diffdecor.report.psf_numbers import change_over_field, filters_over_field, psf_before

NOISE = np.random.default_rng(11).normal(size=(300, 320))


@given(
    arrays(
        float,
        st.tuples(st.integers(1, 13), st.integers(1, 13)),
        elements=st.sampled_from([0.0, 1.5, -2.0, np.nan, np.inf]),
    ),
    st.integers(1, 6),
)
def test_blocks_are_means_of_what_is_finite(pixels, step):
    found = block_means(pixels, step)
    for y, x in np.ndindex(found.shape):
        block = pixels[y * step : (y + 1) * step, x * step : (x + 1) * step]
        known = block[np.isfinite(block)]
        expected = known.mean() if known.size else np.nan
        assert found[y, x] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("step", [1, 3, 7, 300, 1000])
def test_bands_do_not_show(step):
    (found,) = binned([NOISE], step, threads=2)
    np.testing.assert_allclose(found, block_means(NOISE, step), rtol=0, atol=1e-12)


def test_only_bands_of_rows_are_read():
    longest = []

    def rows(some):
        longest.append(some.stop - some.start)
        return NOISE[some]

    plane = LazyPlane(NOISE.shape, rows)
    binned([plane], 4, threads=1)
    histogram(plane, constant_plane(1.0, NOISE.shape), NOISE < 9, 1)
    assert max(longest) <= 256


def test_the_histogram_of_normal_noise_is_the_normal_one():
    usable = np.ones(NOISE.shape, dtype=bool)
    usable[:50] = False
    found = histogram(3 * NOISE, np.full(NOISE.shape, 9.0), usable, 2)
    assert found.pixels == usable.sum()
    assert found.counts.sum() == found.pixels
    many = found.normal > 100
    pulls = (found.counts - found.normal)[many] / np.sqrt(found.normal[many])
    assert np.sqrt((pulls**2).mean()) < 1.6
    assert found.expected == pytest.approx(found.pixels * 2.866516e-7, rel=1e-5)


def test_what_is_beyond_is_counted_and_what_has_no_variance_is_not():
    pixels = np.array([[0.0, 6.0, -7.0, 99.0, np.nan, 1.0, 1.0]])
    variance = np.array([[1.0, 1.0, 1.0, 1.0, 1.0, 0.0, np.inf]])
    found = histogram(pixels, variance, np.ones(pixels.shape, dtype=bool), 1)
    assert (found.pixels, found.above, found.below) == (4, 2, 1)
    assert found.counts.sum() == 3  # 99 sigma are in no bin


def test_a_search_that_knows_of_no_correlation_finds_too_much():
    """The scatter of significances is I, which follows from kernel and PSF."""
    kernel, psf = gaussian(5, 1.3), gaussian(6, 1.5)
    image = convolved(NOISE, kernel)
    variance = float((kernel**2).sum())
    usable = np.ones(NOISE.shape, dtype=bool)
    plane = constant_plane(variance, NOISE.shape)
    found = point_sources(image, plane, usable, psf, (6, 6))
    both = convolved(np.pad(kernel, 20), psf)
    expected = np.sqrt((both**2).sum() / variance / (psf**2).sum())
    scatter = np.asarray(found)[10:-10, 10:-10].std()
    # Some 2000 independent places: 0.016 is one sigma.
    assert scatter == pytest.approx(expected, rel=0.05)
    white = point_sources(NOISE, constant_plane(1.0, NOISE.shape), usable, psf, (6, 6))
    assert np.asarray(white)[10:-10, 10:-10].std() == pytest.approx(1, rel=0.05)


def test_the_power_of_noise_is_that_of_its_kernel():
    kernel = gaussian(3, 0.8)
    lags = np.fft.fft2(np.pad(kernel, ((0, 34), (0, 34))))
    covariance = np.fft.fftshift(np.fft.ifft2(np.abs(lags) ** 2).real)
    correlation = correlation_of_lags(covariance)
    found = radial_power(correlation)
    # The window is smooth, and so is the power.
    expected = np.exp(-((2 * np.pi * found.frequency * 0.8) ** 2))
    expected /= (kernel**2).sum() / kernel.sum() ** 2
    np.testing.assert_allclose(found.power, expected, rtol=0, atol=0.04 * expected.max())
    white = np.zeros((15, 15))
    white[7, 7] = 1
    np.testing.assert_allclose(radial_power(white).power, 1, rtol=0, atol=1e-12)


def test_correlation_by_lag_is_measured_both_ways():
    image = convolved(NOISE, gaussian(2, 0.7))
    sums = lag_sums(image, np.ones(image.shape, dtype=bool), 8)
    found = correlation_of_sums(sums)
    assert found.shape == (17, 17)
    np.testing.assert_allclose(found, found[::-1, ::-1], rtol=0, atol=1e-12)
    pair = (image[:, :-1] * image[:, 1:]).mean() / (image**2).mean()
    assert found[8, 9] == pytest.approx(pair, abs=2e-3)
    part = within(found, 5)
    assert np.isnan(part[5, 5])
    assert part[5, 6] == found[8, 9]
    assert correlation_of_sums(LagSums(np.zeros((9, 17)), np.zeros((9, 17)))) is None
    assert correlation_of_lags(np.zeros((5, 5))) is None
    assert correlation_of_lags(np.ones((5, 6))) is None


@pytest.mark.parametrize(
    ("metrics", "verdict"),
    [
        ({"rho_after": 0.005, "rho_error": 0.003}, "white"),
        ({"rho_after": 0.02, "rho_error": 0.003}, "nearly white"),
        ({"rho_after": 0.02, "rho_error": 0.003, "factor_after": 1.1}, "correlated"),
        ({"rho_after": 0.2, "rho_error": 0.003, "factor_after": 1.0}, "correlated"),
        ({"skipped": True}, "skipped"),
        ({}, "not measured"),
        ({"rho_after": 0.2}, "not measured"),
    ],
)
def test_verdicts(metrics, verdict):
    assert verdict_of(metrics) == verdict


def test_the_change_of_depth_is_that_of_the_real_scatter():
    same = {
        f"{name}_{when}": value
        for name, value in (("variance", 4.0), ("area", 9.0), ("factor", 1.0))
        for when in ("before", "after")
    }
    assert depth_change(same, {}) == pytest.approx(0)
    assert depth_change(same | {"factor_before": 10**0.4}, {}) == pytest.approx(1)
    assert depth_change(same | {"area_after": 9 * 10**0.8}, {}) == pytest.approx(-1)
    unclaimed = {name: value for name, value in same.items() if name != "variance_before"}
    assert np.isnan(depth_change(unclaimed, {}))
    assert depth_change(unclaimed, {"before": 16.0}) == pytest.approx(2.5 * np.log10(2))


def filters_of(kernel):
    """Return the filter that makes a kernel's noise white, as an output has it."""
    size = 64
    power = np.abs(np.fft.fft2(kernel, (size, size))) ** 2 + 0.2
    psi = np.fft.fftshift(np.fft.ifft2(np.sqrt(power[0, 0] / power)).real)
    part = psi[size // 2 - 20 : size // 2 + 21, size // 2 - 20 : size // 2 + 21]
    return Stamps(stamps=part[np.newaxis], origin=(20, 20))


def test_the_psf_before_is_recovered_from_the_one_after():
    before, filters = gaussian(12, 1.6), filters_of(gaussian(6, 1.2))
    after = convolved(np.pad(before, 25), filters.stamps[0])
    after /= after.sum()
    stamp, origin = psf_before((after, (37, 37)), filters, (200, 200), 1.6 * 2.3548)
    assert origin == (37, 37)
    np.testing.assert_allclose(stamp[25:-25, 25:-25], before, rtol=0, atol=1e-3 * before.max())


def test_what_does_not_fit_the_recorded_width_is_not_shown():
    before, filters = gaussian(12, 1.6), filters_of(gaussian(6, 1.2))
    assert psf_before((before, (12, 12)), filters, (200, 200), 1.6 * 2.3548) is None
    assert psf_before((before, (12, 12)), filters, (200, 200), np.nan) is None


def test_the_change_of_the_filter_over_the_field():
    one = filters_of(gaussian(6, 1.2)).stamps[0]
    positions = np.array([[0.0, 0], [99, 0], [0, 99], [99, 99]])
    same = Stamps(stamps=np.array([one] * 4), positions=positions, origin=(20, 20))
    places = filters_over_field(same, (100, 100))
    assert [name for name, _ in places][2] == "centre"
    assert change_over_field(places) == pytest.approx(0, abs=1e-12)
    other = Stamps(stamps=np.array([one, one, one, 2 * one]), positions=positions, origin=(20, 20))
    assert change_over_field(filters_over_field(other, (100, 100))) == pytest.approx(0.6, abs=1e-6)


def test_both_are_measured_on_the_same_pixels():
    mask = np.zeros(NOISE.shape, dtype=np.int32)
    mask[:40] = 1
    after = Exposure(image=NOISE, variance=np.ones(NOISE.shape), mask=mask, mask_planes={"EDGE": 0})
    before = Exposure(image=convolved(NOISE, gaussian(3, 1.0)))
    pair = measure(after, before, ["BAD"], 1, {})
    assert list(pair.sides) == ["before", "after"]
    for side in pair.sides.values():
        assert side.pixels.pixels == (mask == 0).sum()
        assert side.part.shape == (96, 96)
        assert side.sources is None
    assert pair.before.variance is None
    rho = correlation_of_sums(pair.before.statistics.sums)
    assert rho[14, 15] > 0.5
    assert abs(correlation_of_sums(pair.after.statistics.sums)[14, 15]) < 0.02
    assert pair.after.statistics.ratio == pytest.approx(1, abs=0.03)


def test_a_small_image_is_its_own_part():
    after = Exposure(image=NOISE[:30, :50])
    pair = measure(after, None, [], 1, {})
    assert pair.before is None
    assert pair.after.part.shape == (30, 50)
    assert quiet_window(pair.after.statistics, (30, 50)).shape == (30, 50)


@pytest.mark.parametrize(
    "pixels", [np.full((9, 9), np.nan), np.zeros((9, 9)), np.full((1, 1), 1e30), NOISE]
)
def test_there_is_a_range_to_show_of_anything(pixels):
    low, high = stretch(pixels)
    assert np.isfinite([low, high]).all()
    assert low < high
