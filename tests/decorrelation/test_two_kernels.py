"""Differences of which both images went through kernels are recognised, and no others."""

import numpy as np
import pytest
from helpers import oracle

from diffdecor.core.convolve import convolved
from diffdecor.core.interpolate import KernelField
from diffdecor.core.pair_fit import pair_equations
from diffdecor.decorrelation.two_kernels import two_kernels

SHAPE = (88, 80)
GOOD = np.ones(SHAPE, dtype=bool)


def through(image, stamp):
    return convolved(image, KernelField.constant(stamp, (stamp.shape[1] // 2,) * 2))


def matching_kernel(size=11, sigma=1.4):
    stamp = oracle.gaussian(size, sigma, axis_ratio=0.8)
    stamp[size // 2 + 1, size // 2 + 3] += 0.03
    return stamp


def images(kernel, *, noise=(1.0, 2.0), peak=1000.0, seed=2):
    """Science image and template: the same stars, and noise of their own."""
    rng = np.random.default_rng(seed)
    points = np.zeros(SHAPE)
    points[tuple(rng.integers(0, SHAPE[1], (2, 12)))] = rng.exponential(peak, 12)
    sky = through(points, oracle.gaussian(15, 1.5) * 14)
    template = sky + rng.normal(0, noise[1], SHAPE) + 50
    science = through(sky, kernel) + rng.normal(0, noise[0], SHAPE) + 70
    return science, template


def whitened(difference, kernel, noise=(1.0, 2.0), *, side="template"):
    """The difference through psi, by a transform of the whole image."""
    wrapped = np.zeros(SHAPE)
    wrapped[: kernel.shape[0], : kernel.shape[1]] = kernel
    gains = [1.0, np.abs(np.fft.rfft2(wrapped)) ** 2]
    if side == "science":
        gains.reverse()
    power = sum(sigma**2 * gain for sigma, gain in zip(noise, gains, strict=True))
    psi = np.sqrt(power[0, 0] / power)
    return np.fft.irfft2(np.fft.rfft2(difference) * psi, SHAPE)


@pytest.mark.parametrize(("side", "factor"), [("template", 1.0), ("science", 0.3)])
def test_a_decorrelated_difference_is_recognised(side, factor):
    kernel = matching_kernel()
    science, template = images(kernel)
    if side == "template":
        difference = science - through(template, kernel)
    else:
        difference = through(template, kernel) - science
        science, template = template, science
    noise = (1.0, 2.0) if side == "template" else (2.0, 1.0)
    white = factor * whitened(difference, kernel, noise, side=side).astype(np.float32)
    found = two_kernels(science, template, white, GOOD)
    assert found.kind == "decorrelated"
    assert found.residual < 0.1 * found.single
    assert "decorrelated already" in found.text


def test_both_kernels_are_those_of_the_images():
    first, second = matching_kernel(9, 1.0), matching_kernel(11, 1.6)
    science, template = images(matching_kernel())
    difference = through(science, first) - through(template, second)
    found = two_kernels(science, template, difference, GOOD)
    assert found.kind == "convolved"
    assert found.science.shape == found.template.shape == (15, 15)
    assert np.abs(found.science[3:-3, 3:-3] - first).max() < 1e-5 * first.max()
    assert np.abs(found.template[2:-2, 2:-2] - second).max() < 1e-5 * second.max()
    assert "--science-kernel, --template-kernel" in found.text


def test_one_kernel_is_one():
    kernel = matching_kernel()
    science, template = images(kernel, peak=1e5)
    difference = (science - through(template, kernel)).astype(np.float32)
    assert two_kernels(science, template, difference, GOOD) is None
    opposite = two_kernels(science, template, -difference, GOOD)
    assert opposite.kind == "opposite"
    assert "other sign" in opposite.text


def test_what_no_kernels_explain_stays_unknown():
    kernel = matching_kernel()
    science, template = images(kernel)
    other, _ = images(kernel, seed=7)
    difference = other - through(template, kernel)
    assert two_kernels(science, template, difference, GOOD) is None


def test_a_kernel_wider_than_both_is_not_two():
    wide = matching_kernel(33, 4.5)
    science, template = images(wide)
    difference = science - through(template, wide)
    assert two_kernels(science, template, difference, GOOD) is None


def test_a_kernel_that_varies_is_not_two():
    first, second = matching_kernel(), matching_kernel(11, 2.0)
    science, template = images(first)
    share = np.linspace(0.0, 0.5, SHAPE[1])
    varying = (1 - share) * through(template, first) + share * through(template, second)
    assert two_kernels(science, template, science - varying, GOOD) is None


def test_a_decorrelated_difference_whose_kernel_varies():
    """Two constant kernels do not explain it, but its noise is white, and should not be."""
    first, second = matching_kernel(11, 1.2), oracle.gaussian(11, 1.9, axis_ratio=0.6, angle=1.0)
    science, template = images(first, peak=30.0)
    share = np.linspace(0.0, 1.0, SHAPE[1])
    matched = [through(template, kernel) for kernel in (first, second)]
    difference = science - (1 - share) * matched[0] - share * matched[1]
    nodes = np.linspace(0.0, 1.0, 9)
    white = np.zeros(SHAPE)
    for node in nodes:
        weight = np.maximum(0.0, 1 - 8 * np.abs(share - node))
        white += weight * whitened(difference, (1 - node) * first + node * second)
    assert two_kernels(science, template, difference, GOOD) is None
    found = two_kernels(science, template, white, GOOD)
    assert found.kind == "decorrelated"
    assert found.residual > 0.1 * found.single  # it is not told by the kernels


def test_unusable_pixels_do_not_count():
    kernel = matching_kernel()
    science, template = images(kernel)
    white = whitened(science - through(template, kernel), kernel)
    good = GOOD.copy()
    good[40:43, 50:54] = good[70, 20] = False
    spoilt = [np.where(good, one, np.nan) for one in (science, template, white)]
    spoilt[2][5, 5] = np.inf
    assert two_kernels(*spoilt, GOOD).kind == "decorrelated"
    assert two_kernels(*spoilt, good).kind == "decorrelated"


@pytest.mark.parametrize("shape", [(10, 200), (1, 1), (40, 40)])
def test_windows_that_are_too_small_say_nothing(shape):
    one, two, three = np.random.default_rng(1).normal(size=(3, *shape))
    good = np.ones(shape, dtype=bool)
    assert two_kernels(one, two, three, good) is None
    assert two_kernels(one, two, np.zeros(shape), good) is None
    assert two_kernels(one, two, three, ~good) is None


def test_the_equations_are_those_of_direct_sums():
    """Against plain least squares over the pixels that are fitted to, all of them alike."""
    rng = np.random.default_rng(4)
    half = np.repeat([-1.0, 1.0], 800)  # no pixel is brighter than others, and their median is 0
    first, second = (rng.permutation(half).reshape(40, 40) for _ in range(2))
    kernels = rng.normal(size=(2, 3, 3))
    target = oracle.convolved(first, kernels[0], (1, 1)) + oracle.convolved(
        second, kernels[1], (1, 1)
    )
    target = target + rng.normal(size=target.shape)
    equations = pair_equations(first, second, target, np.ones((40, 40), dtype=bool), 1)
    fit = equations.solve()
    rows, columns = (one.ravel() for one in np.indices((38, 38)) + 1)
    used = (rows - 1) % 4 != 0
    matrix = [
        image[rows - j, columns - i][used]
        for image in (first, second)
        for j in (-1, 0, 1)
        for i in (-1, 0, 1)
    ]
    matrix += [np.ones(used.sum()), rows[used], columns[used]]
    expected = np.linalg.lstsq(np.array(matrix).T, target[rows, columns][used], rcond=None)[0]
    found = np.concatenate([fit.first.ravel(), fit.second.ravel()])
    assert np.abs(found - expected[:18]).max() < 1e-9
    assert fit.residual == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_difference_that_was_moved_is_told_apart(axis):
    kernel = matching_kernel()
    science, template = images(kernel)
    moved = np.roll(science - through(template, kernel), 2, axis=axis)
    found = two_kernels(science, template, moved, GOOD)
    assert found.kind == "moved"
    step = "(+0, +2)" if axis == 0 else "(+2, +0)"
    assert f"not those of the science image: they lie {step} beside them" in found.text
