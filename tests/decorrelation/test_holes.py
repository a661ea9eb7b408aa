"""Holes in smooth noise: the noise around them is what the variance claims."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from helpers import oracle

from diffdecor import DecorrelationConfig, Exposure, decorrelate
from diffdecor.psfs.model import StampPsf

KERNEL = oracle.gaussian(19, 1.6)
PSF = oracle.gaussian(31, 1.5)
SIZE, MARGIN = 400, 20


def holes(kind):
    bad = np.zeros((SIZE, SIZE), dtype=bool)
    if kind == "columns":
        bad[:, 10::40] = True
        return bad
    for y in range(15, SIZE - 15, 20):
        for x in range(15, SIZE - 15, 20):
            bad[y : y + kind, x : x + kind] = True
    return bad


@pytest.mark.parametrize("kind", [1, 3, "columns"])
@pytest.mark.parametrize("ratio", [30.0, 100.0])
def test_noise_beside_holes_is_as_claimed(kind, ratio):
    rng, bad, pixels, ratios = np.random.default_rng(5), holes(kind), [], []
    near = scipy.ndimage.binary_dilation(bad, np.ones((5, 5))) & ~bad
    inside = np.zeros_like(bad)
    inside[12:-12, 12:-12] = True
    level = np.ones(bad.shape)
    for _ in range(3):
        science, template = rng.normal(size=(2, SIZE + 2 * MARGIN, SIZE + 2 * MARGIN))
        matched = scipy.signal.fftconvolve(template, KERNEL, mode="same")
        image = (science - np.sqrt(ratio) * matched)[MARGIN:-MARGIN, MARGIN:-MARGIN].copy()
        image[bad] = np.nan
        result = decorrelate(
            Exposure(image=level, variance=level, psf=StampPsf(PSF)),
            Exposure(image=level, variance=ratio * level),
            Exposure(image=image),
            KERNEL,
            config=DecorrelationConfig(mode="whole", noise_model="white", significance=True),
        )
        exposure = result.exposure
        spoilt = (exposure.mask & exposure.mask_planes.value(["NEAR_FILLED"])) != 0
        used = near & inside & ~spoilt
        pixels.append(exposure.image[used] / np.sqrt(exposure.variance[used]))
        ratios.append(result.significance[(near | bad) & inside])
    # With the mean of 7 x 7 pixels for a fill it was up to 1.05 and 1.19.
    assert np.concatenate(pixels).std() == pytest.approx(1.0, abs=0.015)
    assert np.concatenate(ratios).std() == pytest.approx(1.0, abs=0.05)
