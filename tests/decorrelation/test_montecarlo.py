"""White noise in, white noise out, with the variance that is claimed.

Noise is convolved directly and without borders. Tolerances are statistical: of 220 coefficients the
loudest of white noise is at 3 sigma, and 4.5 is reached once in 700 tests.
"""

from dataclasses import replace

import numpy as np
import pytest
from helpers import oracle, simulate

from diffdecor import DecorrelationConfig, Exposure, MaskPlanes, decorrelate
from diffdecor.core.interpolate import KernelField
from diffdecor.kernels.model import BasisKernel, Box, Region, Term

SHAPE = (600, 680)
LOUDEST = 4.5


def kernel_of_sum(total):
    """A slightly elongated, off-centre kernel."""
    stamp = oracle.gaussian((15, 17), 1.4, centre=(8.4, 6.8), axis_ratio=0.8, angle=0.6)
    return KernelField.constant(total * stamp, (8, 7))


def interior(result, image):
    """The image without the border where the filter is incomplete."""
    cut = result.filters.shape[-1] // 2 + 20
    return image[cut:-cut, cut:-cut]


def run(triple, **options):
    config = DecorrelationConfig(**({"mode": "whole", "noise_model": "white"} | options))
    return decorrelate(*triple.inputs, config=config)


def assert_white(image):
    pulls = simulate.whiteness(image)
    assert np.abs(pulls).max() < LOUDEST
    assert np.mean(pulls**2) == pytest.approx(1, abs=5 * np.sqrt(2 / pulls.size))


def between(*case):
    """A case between others."""
    return pytest.param(*case, marks=pytest.mark.long)


CASES = [
    # science over template variance, convolved side, scales, sum of the kernel
    (0.01, "template", (1.0, 1.0), 1.0),
    between(0.1, "template", (1.0, 1.0), 3.0),
    (1.0, "template", (1.0, 1.0), 0.3),
    (1.0, "template", (0.5, 2.0), 1.0),
    between(10.0, "template", (1.0, 1.0), 1.0),
    (100.0, "template", (1.0, 1.0), 0.3),
    (0.01, "science", (1.0, 1.0), 3.0),
    between(0.1, "science", (1 / 0.3, 1 / 0.3), 0.3),
    (1.0, "science", (1.0, 1.0), 1.0),
    (1.0, "science", (1 / 3.0, 1.0), 3.0),
    between(10.0, "science", (1.0, 1.0), 0.3),
    (100.0, "science", (1 / 3.0, 1 / 3.0), 3.0),
]


@pytest.mark.parametrize(("ratio", "side", "scales", "total"), CASES)
def test_white_with_the_claimed_variance(ratio, side, scales, total):
    rng = np.random.default_rng([int(100 * ratio), side == "science", int(10 * total)])
    triple = simulate.simulate_triple(
        rng,
        SHAPE,
        kernel_of_sum(total),
        side=side,
        scales=scales,
        science_variance=np.sqrt(ratio),
        template_variance=1 / np.sqrt(ratio),
        sky=(300.0, 500.0),
    )
    for variance in ("weighted", "full"):
        result = run(triple, variance=variance)
        pixels, claimed = (
            interior(result, plane) for plane in (result.exposure.image, result.exposure.variance)
        )
        assert np.var(pixels) / claimed.mean() == pytest.approx(1, abs=0.01)
        assert claimed.std() < 1e-6 * claimed.mean()
    assert_white(pixels)


def test_the_tests_can_fail():
    """The difference itself, and one filtered for other noise levels, are not white."""
    rng = np.random.default_rng(1)
    triple = simulate.simulate_triple(rng, SHAPE, kernel_of_sum(1.0))
    raw = interior(run(triple), triple.difference.image)
    assert np.abs(simulate.whiteness(raw)).max() > 5 * LOUDEST
    wrong = run(triple, science_variance=1.5, template_variance=1.0)
    assert np.abs(simulate.whiteness(interior(wrong, wrong.exposure.image))).max() > LOUDEST


def test_convolved_side_by_region():
    """The kernel acts on the template in the left half, on the science image in the right half."""
    field, middle = kernel_of_sum(1.3), SHAPE[1] // 2
    left, right = (
        simulate.simulate_triple(np.random.default_rng(3), SHAPE, field, side=side)
        for side in ("template", "science")
    )
    image = left.difference.image.copy()
    image[:, middle:] = right.difference.image[:, middle:]
    regions = tuple(
        Region(box=Box(x0, x1, 0, SHAPE[0] - 1), side=side, coefficients=np.ones((1, 1)))
        for x0, x1, side in ((0, middle - 1, "template"), (middle, SHAPE[1] - 1, "science"))
    )
    kernel = BasisKernel(
        basis=field.stamps[0], origin=field.origin, terms=(Term("POLY", 0, 0),), regions=regions
    )
    difference = Exposure(image=image)
    result = decorrelate(left.science, left.template, difference, kernel)
    reach = result.filters.shape[-1] // 2 + 20
    for half in (
        np.s_[reach:-reach, reach : middle - reach],
        np.s_[reach:-reach, middle + reach :],
    ):
        pixels = result.exposure.image[half][:, :-reach]
        assert_white(pixels)
        claimed = result.exposure.variance[half].mean()
        assert claimed == pytest.approx(1 + 1.3**2, rel=1e-6)
        assert pixels.var() / claimed == pytest.approx(1, abs=0.01)


def stripes(shape, low, high, width=12):
    """A variance plane of vertical stripes."""
    return np.where(np.arange(shape[1]) // width % 2, high, low) * np.ones(shape)


def test_full_variance_is_right_in_every_stripe():
    """Each stripe is narrower than the filter; the weighted variance is right on average only."""
    shape, power = (700, 1000), []
    template_variance = stripes(shape, 0.3, 6.0)
    for seed in range(2):
        triple = simulate.simulate_triple(
            np.random.default_rng([4, seed]),
            shape,
            kernel_of_sum(1.0),
            template_variance=template_variance,
        )
        result = run(triple, variance="full")
        weighted = run(triple, variance="weighted")
        power.append(interior(result, result.exposure.image) ** 2)
    measured = np.mean(power, axis=(0, 1))
    columns = np.arange(measured.size) % 24
    by_column = np.array([measured[columns == column].mean() for column in range(24)])

    def claimed(one):
        plane = interior(one, one.exposure.variance).mean(axis=0)
        return np.array([plane[columns == column].mean() for column in range(24)])

    full, cheap = by_column / claimed(result), by_column / claimed(weighted)
    error = np.sqrt(2 * 24 / np.size(power))
    assert full == pytest.approx(1, abs=4 * error)
    assert full.mean() == pytest.approx(1, abs=0.01)
    assert np.abs(cheap - 1).max() > 8 * error
    # On average over all stripes the weighted one is right as well.
    assert measured.mean() / claimed(weighted).mean() == pytest.approx(1, abs=0.01)


def wounded(triple, rng):
    """The triple with saturated blobs in its mask and NaN holes in the difference."""
    image = triple.difference.image.copy()
    mask = np.zeros(image.shape, dtype=np.int32)
    y, x = np.indices(image.shape)
    for number, (cx, cy) in enumerate(rng.uniform(30, 600, size=(40, 2))):
        near = (x - cx) ** 2 + (y - cy) ** 2 < rng.uniform(1, 8) ** 2
        if number % 2:
            image[near] = np.nan
        else:
            image[near], mask[near] = 1e5, 8
    return {"image": image, "mask": mask, "mask_planes": MaskPlanes({"SAT": 3})}


def test_holes_do_not_ring():
    """Away from what is flagged, noise around holes is white and has the claimed variance."""
    rng = np.random.default_rng(5)
    triple = simulate.simulate_triple(
        rng, SHAPE, kernel_of_sum(1.0), template_variance=2.0, sky=(700.0, 100.0)
    )
    changes = wounded(triple, rng)
    damaged = replace(triple, difference=replace(triple.difference, **changes))
    result = run(damaged)
    flags = result.exposure.mask_planes.value(["NEAR_FILLED", "SAT", "NO_DATA"])
    good = interior(result, result.exposure.mask & flags) == 0
    assert 0.9 < good.mean() < 0.995
    pixels = interior(result, result.exposure.image)
    claimed = interior(result, result.exposure.variance).mean()
    assert pixels[good].var() / claimed == pytest.approx(1, abs=0.01)
    assert np.abs(pixels - pixels[good].mean())[good].max() < 6 * np.sqrt(claimed)
    assert np.abs(simulate.whiteness(pixels, good)).max() < LOUDEST
    # Every filled pixel and every hole is put back as it was.
    bad = ~np.isfinite(changes["image"]) | (changes["mask"] != 0)
    np.testing.assert_array_equal(result.exposure.image[bad], changes["image"][bad])
    # LSST's way fills what is not finite, and lets the saturated pixels ring.
    ringing = interior(result, run(damaged, fill="mean").exposure.image)
    assert np.abs(ringing - pixels[good].mean())[good].max() > 50 * np.sqrt(claimed)
