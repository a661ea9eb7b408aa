"""The kernel fit, where images have holes in their middle that no mask tells of."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.kernel_closeness import assert_recovered
from helpers.kernel_scenes import simulate

from diffdecor.decorrelation.kernel_fit import fit_kernel
from diffdecor.errors import KernelError

#: A pixel with a kernel's reach around it, and one that stays away from it.
CENTRE, OTHER = (75, 80), (40, 45)
REACH = 5


def rarely(*values):
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


@pytest.fixture(scope="module")
def scene():
    return simulate(seed=10, order=0, shape=(150, 160), size=11)


def filled(plane, value, reach=0):
    """A plane with a value around both places."""
    plane = plane.copy()
    for y, x in (CENTRE, OTHER):
        plane[y - reach : y + reach + 1, x - reach : x + reach + 1] = value
    return plane


@pytest.mark.parametrize("value", [1e-30, *rarely(0.0, -32768.0, 1e30)])
def test_holes_of_the_difference(scene, value):
    difference = filled(scene.difference, np.float32(value), REACH)
    assert_recovered(fit_kernel(replace(scene, difference=difference).subtraction()), scene)


@pytest.mark.parametrize("value", [1e30, *rarely(-32768.0, 1.7e308)])
def test_holes_of_the_images(scene, value):
    """Transforms of windows with such pixels would be nothing but their rounding."""
    planes = {role: filled(getattr(scene, role).astype(float), value) for role in ("template",)}
    planes["difference"] = filled(scene.difference.astype(float), value, REACH)
    assert_recovered(fit_kernel(replace(scene, **planes).subtraction()), scene)


@pytest.mark.parametrize("factor", [1e300, *rarely(1e-30, 1e30)])
def test_images_in_a_strange_unit(scene, factor):
    """They show the kernel up to where the squares of their sums are numbers."""
    planes = {
        role: factor * getattr(scene, role).astype(float)
        for role in ("science", "template", "difference")
    }
    subtraction = replace(scene, **planes).subtraction()
    if factor < 1e60:
        fit = fit_kernel(subtraction)
        assert fit.is_exact
        assert fit.kernel.sum(70, 80) == pytest.approx(scene.kernel.sum(70, 80), rel=1e-4)
        return
    with pytest.raises(KernelError, match="too few usable pixels"):
        fit_kernel(subtraction)


@pytest.mark.parametrize("role", ["difference", "template"])
def test_constant_images_show_none(scene, role):
    planes = {role: np.zeros_like(scene.difference)}
    with pytest.raises(KernelError, match="constant in"):
        fit_kernel(replace(scene, **planes).subtraction())
