"""Between two nodes the variance of the result is that of the interpolated filter."""

import numpy as np
import pytest
import scipy.signal
from helpers import oracle

from diffdecor import DecorrelationConfig, Exposure, MaskPlanes, decorrelate

KERNEL = oracle.gaussian(13, 1.5)
#: Distance of two nodes, and pixels along the other axis, in which nothing varies.
STEP, LONG, MARGIN = 163, 1396, 20


def decorrelated(rng, ratio, axis, variance):
    """The result where the template's noise level rises by a factor from one node to the next.

    Almost all is a detected source, in which no noise level is measured: no node is added between.
    """
    levels = 2.0 * ratio ** (np.arange(-MARGIN, STEP + 1 + MARGIN) / STEP)
    plane = np.broadcast_to(levels, (LONG, len(levels)))
    noise = rng.normal(size=plane.shape) * np.sqrt(plane)
    science = rng.normal(size=plane.shape)
    inner = np.s_[:, MARGIN:-MARGIN]
    difference = science - scipy.signal.fftconvolve(noise, KERNEL, mode="same")
    images = [one[inner] for one in (science, noise, difference, plane)]
    sky = [np.isin(np.arange(length) % 16, (1, 3)) for length in images[0].shape]
    images.append(1 - np.outer(*sky).astype(np.int32))
    steps = (float(STEP), float(LONG))
    if axis == "y":
        images, steps = [one.T for one in images], steps[::-1]
    science, noise, difference, plane, mask = images
    config = DecorrelationConfig(
        noise_model="white",
        mode="grid",
        scale_by_fwhm=False,
        grid_step=steps,
        cell_size=(21, 21),
        variance=variance,
    )
    return decorrelate(
        Exposure(image=science, variance=np.ones(plane.shape)),
        Exposure(image=noise, variance=plane, mask=mask, mask_planes=MaskPlanes({"DETECTED": 0})),
        Exposure(image=difference),
        KERNEL,
        config=config,
    )


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("ratio", [3.0, 10.0, 100.0])
def test_pixels_scatter_as_claimed_between_nodes(ratio, axis):
    """Within 1 per cent where levels are far apart, also where the variance is a weighted sum."""
    rng, along = np.random.default_rng(11), "xy".index(axis)
    variances = ["full", "weighted", "weighted"]
    results = [decorrelated(rng, ratio, axis, variance) for variance in variances]
    levels = results[0].template_level
    assert len(levels) == 4
    assert levels.max() / levels.min() == pytest.approx(ratio, rel=0.3)
    images = np.array([np.moveaxis(one.exposure.image, along, 0) for one in results], float)
    true = np.mean(images[:, 30:-30] ** 2, axis=(0, 1))
    for name, result in zip(variances[:2], results[:2], strict=True):
        found = true / result.exposure.variance.mean(axis=along)
        for part in (np.s_[20:50], np.s_[55:108], np.s_[113:143]):
            error = np.sqrt(2 / (images[:, 30:-30, part].size))
            assert found[part].mean() == pytest.approx(1, abs=0.01 + 2 * error), name
