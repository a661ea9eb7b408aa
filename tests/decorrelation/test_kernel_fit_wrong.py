"""No kernel is found where files do not belong together: refused, with a reason."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.kernel_closeness import assert_recovered
from helpers.kernel_scenes import Scene, simulate
from helpers.wrong_triples import WRONG, median_template, noisier, wrong

from diffdecor.decorrelation.kernel_fit import fit_kernel
from diffdecor.decorrelation.rebuild import rebuild
from diffdecor.errors import KernelError

SCENES = {
    "constant": {"order": 0},
    "order 1, deep": {"depth": 10.0},
    "science image": {"order": 0, "sides": ("science",), "total": 0.7},
    "warped, shallow": {"order": 0, "warp": True, "depth": 0.4},
}
DAILY = {
    ("other exposure as template", "constant"),
    ("template of another epoch", "science image"),
    ("scrambled", "order 1, deep"),
}
CASES = [
    pytest.param(kind, name, marks=() if (kind, name) in DAILY else pytest.mark.long)
    for kind in WRONG
    for name in SCENES
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_wrong_triples_are_refused(kind, name):
    scene = Scene(seed=list(WRONG).index(kind), shape=(150, 160), size=11, **SCENES[name])
    triple = wrong(kind, scene)
    with pytest.raises(KernelError) as error:
        fit_kernel(triple.subtraction(), triple.areas)
    message = str(error.value)
    assert "difference.fits" in message
    assert len(message) > 60
    assert "\n" not in message


def test_a_whitened_difference_is_named():
    triple = wrong("difference whitened", Scene(seed=3, order=0, size=13))
    with pytest.raises(KernelError, match=r"decorrelated|whitened"):
        fit_kernel(triple.subtraction())


@pytest.mark.long
@pytest.mark.parametrize("sigmas", [0.5, 1.0])
def test_noise_of_its_own_is_refused(sigmas):
    triple = noisier(simulate(seed=4, order=0), np.random.default_rng(2), sigmas)
    with pytest.raises(KernelError):
        fit_kernel(triple.subtraction())


@pytest.mark.long
@pytest.mark.parametrize("depth", [3.0, 10.0])
def test_a_template_that_was_filtered_leaves_doubts(depth):
    """No kernel does what a median does: the one that comes closest is not called exact."""
    triple = median_template(simulate(seed=7, order=0, depth=depth))
    try:
        fit = fit_kernel(triple.subtraction())
    except KernelError:
        return
    assert not fit.is_exact
    assert fit.residual > 0.01


@pytest.mark.long
@pytest.mark.parametrize("depth", [1e4, 1e8])
def test_noise_of_the_template_that_cannot_be_seen(depth):
    """Stars alone tell the kernel: it is refused, or what it makes of the difference is right."""
    triple = simulate(seed=5, order=0, depth=depth)
    try:
        fit = fit_kernel(triple.subtraction())
    except KernelError:
        return
    assert_recovered(fit, triple, stamps=np.inf)


@pytest.mark.long
@pytest.mark.parametrize("side", ["template", "science"])
def test_images_that_are_exchanged_are_named_or_refused(side):
    """The difference is then that of the exchanged images with both scales negative."""
    triple = simulate(seed=6, order=0, sides=(side,))
    exchanged = replace(triple, science=triple.template, template=triple.science)
    try:
        fit = fit_kernel(exchanged.subtraction())
    except KernelError:
        return
    images = (one.astype(float) for one in (exchanged.science, exchanged.template))
    residual = rebuild(fit.kernel, *images) - triple.difference
    assert np.nanmax(np.abs(residual)) < 1e-3 * triple.sigma
