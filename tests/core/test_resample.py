"""Rendering of samples on pixels: against analytic Gaussians, flux and centre kept."""

import numpy as np
import pytest
from helpers.closeness import assert_same
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf

from diffdecor.core.resample import rendered


def integrated(n, center, step, sigma):
    """A Gaussian in n subpixels of `step` pixels, each with the light that falls into it."""
    edges = (np.arange(n + 1) - 0.5 - center) * step
    return np.diff(erf(edges / (sigma * np.sqrt(2)))) / 2


def sampled(n, center, step, sigma):
    """A Gaussian at n places."""
    at = (np.arange(n) - center) * step
    return np.exp(-0.5 * (at / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))


def moments(stamp, origin):
    y, x = np.indices(stamp.shape)
    total = stamp.sum()
    mean = np.array([(x * stamp).sum(), (y * stamp).sum()]) / total - origin
    return total, mean


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.3])
def test_whole_subpixels_are_added_up_exactly(factor, sigma):
    n = 25 * factor
    profile = integrated(n, (n - 1) / 2, 1 / factor, sigma)
    stamps, origin = rendered(
        np.outer(profile, profile)[np.newaxis], ((n - 1) / 2,) * 2, 1 / factor, "integrate"
    )
    blocks = np.outer(profile, profile).reshape(25, factor, 25, factor).sum(axis=(1, 3))
    assert origin == (12, 12)
    assert_same(stamps[0], blocks)


@pytest.mark.parametrize(
    ("factor", "sigma", "worst"),
    [(2, 0.8, 3e-3), (2, 1.5, 3e-4), (3, 1, 3e-4), (4, 1, 1e-4), (4, 2, 1e-5), (2.5, 1.5, 1e-4)],
)
@pytest.mark.parametrize("shift", [0.0, 0.3, 0.5])
def test_subpixels_that_pixels_cut(factor, sigma, worst, shift):
    n = int(30 * factor)
    center = n // 2 + shift
    profile = integrated(n, center, 1 / factor, sigma)
    found, (cx, cy) = rendered(np.outer(profile, profile), (center,) * 2, 1 / factor, "integrate")
    truth = integrated(len(found), cx, 1.0, sigma)
    assert cx == cy
    assert np.abs(found - np.outer(truth, truth)).max() < worst * truth.max() ** 2
    total, mean = moments(found, (cx, cy))
    assert total == pytest.approx(profile.sum() ** 2, abs=1e-14)
    np.testing.assert_allclose(mean, 0, atol=1e-5)


@pytest.mark.parametrize(("method", "worst"), [("spline", 2e-3), ("lanczos4", 1e-2)])
@pytest.mark.parametrize("step", [0.4, 0.6, 1.1])
@pytest.mark.parametrize("n", [60, 61])
def test_samples_are_interpolated(method, worst, step, n):
    sigma = 2.0
    profile = sampled(n, n // 2, step, sigma)
    found, (cx, cy) = rendered(np.outer(profile, profile), (n // 2,) * 2, step, method)
    truth = sampled(len(found), cx, 1.0, sigma)
    assert cx == cy == int(n // 2 * step)
    assert np.abs(found - np.outer(truth, truth)).max() < worst * truth.max() ** 2
    total, mean = moments(found, (cx, cy))
    assert total == pytest.approx(profile.sum() ** 2 * step**2, rel=5e-3)
    np.testing.assert_allclose(mean, 0, atol=2e-4)


def test_spline_through_fine_samples_is_accurate():
    profile = sampled(161, 80, 0.25, 2.0)
    found, (cx, _) = rendered(np.outer(profile, profile), (80, 80), 0.25, "spline")
    truth = sampled(len(found), cx, 1.0, 2.0)
    np.testing.assert_allclose(found, np.outer(truth, truth), rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["spline", "lanczos4"])
def test_a_step_of_one_changes_nothing(method):
    stamp = np.random.default_rng(1).random((3, 6, 5))
    found, origin = rendered(stamp, (1.0, 4.0), 1.0, method)
    assert origin == (1, 4)
    np.testing.assert_allclose(found, stamp, atol=1e-14)


@given(
    n=st.integers(1, 30),
    place=st.floats(0, 1),
    step=st.floats(0.05, 3),
    seed=st.integers(0, 9),
)
def test_integration_keeps_all_flux(n, place, step, seed):
    stamp = np.random.default_rng(seed).random((n, n + 1))
    center = place * (n - 1), place * (n - 1)
    found, (cx, cy) = rendered(stamp, center, step, "integrate")
    assert found.sum() == pytest.approx(stamp.sum(), rel=1e-9)
    assert 0 <= cx < found.shape[1]
    assert 0 <= cy < found.shape[0]


@given(n=st.integers(1, 12), step=st.floats(0.05, 3), place=st.floats(-0.5, 1))
@pytest.mark.parametrize("method", ["spline", "lanczos4", "integrate"])
def test_any_size_is_rendered(n, step, place, method):
    center = max(-0.5, min(place * n, n - 0.5))
    try:
        found, _ = rendered(np.ones((n, n)), (center, center), step, method)
    except ValueError as error:
        assert "centre" in str(error)  # noqa: PT017
    else:
        assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("center", "step"), [((-0.6, 0), 1), ((0, 4.6), 1), ((0, 0), 0), ((0, 0), np.nan)]
)
def test_impossible_samplings(center, step):
    with pytest.raises(ValueError, match="a step of"):
        rendered(np.ones((5, 5)), center, step, "integrate")
