"""Fewer and smaller stamps: what was left out is there again, to the tolerance that was asked."""

import numpy as np
import pytest
from helpers import oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from diffdecor.core.interpolate import Stamps
from diffdecor.core.thinning import Reducible, cropped, lost_energy, lost_flux, sigma_unit


def grid_of(stamps_at, nx, ny, size=15):
    """Stamps ``stamps_at(x, y)`` on a grid over 600 x 400 pixels."""
    x, y = np.linspace(0, 600, nx), np.linspace(0, 400, ny)
    positions = np.column_stack([one.ravel() for one in np.meshgrid(x, y)])
    stamps = np.array([stamps_at(*place) for place in positions.tolist()])
    return Stamps(stamps=stamps, positions=positions, origin=(size // 2,) * 2)


def bent(x, _):
    """Linear in x up to a bend at 300, constant in y."""
    share = max(x - 300, 0) / 300
    return (1 - share) * oracle.gaussian(15, 1.0) + share * oracle.gaussian(15, 2.0)


def reducible(stamps, losses=None):
    norms = np.sqrt(np.square(stamps.stamps).sum(axis=(1, 2)))
    return Reducible.of(stamps, norms, np.zeros(0) if losses is None else losses)


def thinned(stamps, tolerance):
    whole = reducible(stamps)
    plan = whole.within(tolerance, 0.0)
    assert plan.number == len(whole.taken(plan).stamps)
    return whole.taken(plan), plan.off


@pytest.mark.parametrize(("nx", "ny"), [(5, 4), (13, 9), (1, 1), (3, 1)])
def test_only_needed_lines_remain(nx, ny):
    whole = grid_of(bent, nx, ny)
    few, off = thinned(whole, 1e-6)
    assert len(few.stamps) == min(nx, 3)  # and one row, for nothing changes along y
    assert off < 1e-12
    for x, y in [(0, 0), (120, 30), (299, 400), (450, 200), (777, -3)]:
        np.testing.assert_allclose(few.stamp(x, y), whole.stamp(x, y), atol=1e-14)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    nx=st.integers(1, 14),
    ny=st.integers(1, 14),
    exponent=st.floats(-4, 0.5),
    shuffled=st.booleans(),
)
def test_what_is_left_out_is_as_near_as_promised(seed, nx, ny, exponent, shuffled):
    rng = np.random.default_rng(seed)
    texture = rng.random((9, 9))

    def bending(x, y):
        bends = np.sin(x / 150) * np.cos(y / 200)
        return oracle.gaussian(9, 1 + x / 600) + 0.1 * bends * texture

    whole = grid_of(bending, nx, ny, 9)
    order = rng.permutation(nx * ny) if shuffled else np.arange(nx * ny)
    given_in = Stamps(
        stamps=whole.stamps[order], positions=whole.positions[order], origin=whole.origin
    )
    tolerance = 10**exponent
    few, off = thinned(given_in, tolerance)
    # At the nodes, where it is largest, and between them.
    places = [*whole.positions.tolist(), *(rng.random((30, 2)) * (600, 400)).tolist()]
    errors = [
        np.linalg.norm(few.stamp(x, y) - whole.stamp(x, y)) / np.linalg.norm(whole.stamp(x, y))
        for x, y in places
    ]
    assert max(errors[: nx * ny]) <= off + 1e-9
    assert max(errors) <= 1.5 * off + 1e-9  # the norm that it is a share of is smaller there
    assert off <= tolerance


def test_the_looser_the_fewer():
    whole = reducible(grid_of(lambda x, y: oracle.gaussian(15, 1 + x / 500 + y / 900), 17, 13))
    numbers = [whole.within(tolerance, 0.0).number for tolerance in np.geomspace(1e-5, 3, 30)]
    assert numbers[0] == 17 * 13
    assert numbers[-1] == 1
    assert (np.diff(numbers) <= 0).all()
    assert len(set(numbers)) > 10  # not all or nothing


def test_positions_that_are_no_grid_all_stay():
    whole = grid_of(bent, 4, 4)
    some = Stamps(stamps=whole.stamps[:-1], positions=whole.positions[:-1], origin=(7, 7))
    few, off = thinned(some, 0.1)
    assert few is some
    assert off == 0.0


def test_stamps_that_are_not_interpolated_all_stay():
    whole = grid_of(bent, 4, 4)
    nearest = Stamps(
        stamps=whole.stamps, positions=whole.positions, origin=(7, 7), interpolation="NEAREST"
    )
    assert thinned(nearest, 0.1)[0] is nearest


def test_the_one_in_the_middle_says_how_far_off_others_are():
    whole = grid_of(bent, 5, 3)
    one, plan = reducible(whole).alone((450.0, 200.0), 0.0)
    np.testing.assert_allclose(one.stamps[0], bent(450, 0), atol=1e-14)
    errors = [np.linalg.norm(s - one.stamps[0]) / np.linalg.norm(s) for s in whole.stamps]
    assert plan.off == pytest.approx(max(errors))


@pytest.mark.parametrize("lost", [1e-2, 1e-5])
def test_a_crop_keeps_sum_and_energy(lost):
    stamps = np.array([oracle.gaussian(61, sigma) for sigma in (1.0, 2.5)])
    whole = Stamps(stamps=stamps, origin=(30, 30), positions=np.array([[0.0, 0], [9, 0]]))
    plan = reducible(whole, lost_energy(whole)).within(0.0, lost)
    small = cropped(whole, plan.width)
    assert 0 < plan.lost <= lost
    assert small.shape[0] == 2 * small.origin[0] + 1 < 61
    np.testing.assert_allclose(small.stamps.sum(axis=(1, 2)), 1.0, rtol=1e-12)
    padded = np.pad(small.stamps, ((0, 0), (30 - plan.width,) * 2, (30 - plan.width,) * 2))
    off = np.sqrt(np.square(padded - stamps).sum(axis=(1, 2)) / np.square(stamps).sum(axis=(1, 2)))
    assert off.max() == pytest.approx(plan.lost)


def test_a_crop_of_filters_changes_white_noise_by_what_it_says():
    """The error is that of the noise, not only that of the stamp: a sum scaled would cost more."""
    rng = np.random.default_rng(3)
    power = (1 + 4 * np.abs(np.fft.fft2(oracle.gaussian(64, 1.5))) ** 2) / 5  # 1 at zero
    psi = np.fft.fftshift(np.fft.ifft2(1 / np.sqrt(power)).real)[1:, 1:]
    psi /= psi.sum()
    whole = Stamps(stamps=psi[np.newaxis], origin=(31, 31))
    plan = reducible(whole, lost_energy(whole)).within(0.0, 1e-3)
    small = np.pad(cropped(whole, plan.width).stamps[0], 31 - plan.width)
    off = np.fft.fft2(np.fft.ifftshift(np.pad(small - psi, ((1, 0), (1, 0)))))
    noise = np.fft.fft2(rng.normal(size=(1000, 64, 64)))
    errors = np.fft.ifft2(noise * np.sqrt(power) * off).real
    bound = plan.lost * np.linalg.norm(psi)
    assert 0.1 * bound < errors.std() <= bound


def test_losses_of_flux_are_sums_outside():
    stamp = oracle.moffat(31, 4.0, 2.5)
    losses = lost_flux(Stamps(stamps=stamp[np.newaxis], origin=(15, 15)))
    for width in (0, 3, 14, 15):
        inner = stamp[15 - width : 16 + width, 15 - width : 16 + width]
        assert losses[width] == pytest.approx(1 - inner.sum(), abs=1e-12)
    assert losses[15] == 0.0


@pytest.mark.parametrize(
    ("shape", "origin"), [((6, 6), (3, 3)), ((5, 7), (3, 2)), ((5, 5), (1, 2))]
)
def test_stamps_without_a_middle_are_not_cut(shape, origin):
    stamps = Stamps(stamps=np.ones((1, *shape)), origin=origin)
    whole = reducible(stamps, lost_flux(stamps))
    plan = whole.within(1.0, 1.0)
    assert plan.width is None
    assert whole.taken(plan).shape == shape


def test_sigmas_of_a_filter_that_damps():
    """Where the filter is 1/4 the noise that goes in is four times as strong as what comes out."""
    damping = np.full((1, 5, 5), 0.75 / 25)
    damping[0, 2, 2] += 0.25
    unit = sigma_unit(Stamps(stamps=damping, origin=(2, 2)))
    assert 0.02 <= unit <= 0.25
    identity = np.zeros((1, 5, 5))
    identity[0, 2, 2] = 1.0
    assert sigma_unit(Stamps(stamps=identity, origin=(2, 2))) == pytest.approx(1.0)
