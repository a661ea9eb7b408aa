"""Noise levels that step every 50 pixels: significance and variance are right on either side."""

import logging

import numpy as np
import pytest
import scipy.signal
from helpers import oracle

from diffdecor import DecorrelationConfig, Exposure, decorrelate
from diffdecor.psfs.model import StampPsf

KERNEL = oracle.gaussian(19, 1.7)
PSF = StampPsf(oracle.gaussian(25, 1.6))
SIZE, TILE, MARGIN, NUMBER = 420, 50, 30, 3
INNER = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]


def tiles(size=SIZE):
    """Which pixels are shallow, and their distance to the border of their tile."""
    y, x = np.indices((size, size)) + 13
    shallow = (y // TILE + x // TILE) % 2 == 1
    steps = [np.minimum(place % TILE, TILE - 1 - place % TILE) for place in (x, y)]
    return shallow, np.minimum(*steps)


def differences(rng, science, template):
    """Exposures with exact variances, and noise that has them."""
    pixels = [
        rng.normal(size=np.add(plane.shape, 2 * MARGIN)) * np.sqrt(np.pad(plane, MARGIN, "reflect"))
        for plane in (science, template)
    ]
    image = pixels[0] - scipy.signal.fftconvolve(pixels[1], KERNEL, mode="same")
    level = np.ones(science.shape)
    return (
        Exposure(image=level, variance=science, psf=PSF),
        Exposure(image=level, variance=template),
        Exposure(image=image[INNER]),
        KERNEL,
    )


@pytest.mark.parametrize(
    ("factor", "side"),
    [
        pytest.param(3.0, "template", marks=pytest.mark.long),
        (10.0, "template"),
        pytest.param(10.0, "science", marks=pytest.mark.long),
    ],
)
def test_noise_is_as_claimed_in_all_parts_of_the_tiles(factor, side):
    rng, (shallow, inside) = np.random.default_rng(7), tiles()
    level, stepped = np.ones(shallow.shape), np.where(shallow, factor, 1.0)
    planes = (stepped, level) if side == "science" else (level, stepped)
    config = DecorrelationConfig(mode="grid", noise_model="white", significance=True)
    power = np.zeros((2, SIZE, SIZE))
    for _ in range(NUMBER):
        result = decorrelate(*differences(rng, *planes), config=config)
        power[0] += result.exposure.image**2 / result.exposure.variance / NUMBER
        power[1] += result.significance**2 / NUMBER
    counts = np.zeros(shallow.shape, dtype=bool)
    counts[15:-15, 15:-15] = True
    for at_border in (inside < 6, inside >= 6):
        for part in (shallow, ~shallow):
            scatter = np.sqrt(power[:, counts & at_border & part].mean(axis=1))
            # One sigma of the significance is 0.012, of the pixels 0.002. Taken for independent
            # the pixels would give 0.8 to 1.1 where levels are 10 apart.
            np.testing.assert_allclose(scatter, 1.0, atol=0.03)


def test_levels_that_cannot_all_be_followed_are_said(caplog):
    """And which steps are followed hardly matters: the variance is that of the real filter."""
    rng, (shallow, _) = np.random.default_rng(8), tiles(620)
    level, stepped = np.ones(shallow.shape), np.where(shallow, 10.0, 1.0)
    config = DecorrelationConfig(mode="grid", noise_model="white")
    with caplog.at_level(logging.WARNING):
        result = decorrelate(*differences(rng, level, stepped), config=config)
    assert result.metrics.nodes_bounded
    assert "they follow the largest steps" in caplog.text
    ratio = result.exposure.image[20:-20, 20:-20] ** 2 / result.exposure.variance[20:-20, 20:-20]
    for part in (shallow, ~shallow):
        assert np.sqrt(ratio[part[20:-20, 20:-20]].mean()) == pytest.approx(1.0, abs=0.01)
