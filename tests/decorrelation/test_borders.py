"""The border of the result: what is off there is flagged, and what is not flagged is right."""

import numpy as np
import pytest
import scipy.signal
from helpers import oracle

from diffdecor import DecorrelationConfig, Exposure, decorrelate
from diffdecor.psfs.model import StampPsf

KERNEL = oracle.gaussian(19, 1.6)
PSF = oracle.gaussian(31, 1.5)
MARGIN = 20
INNER = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]


def result_of(image, ratio):
    """The result where the noise of the convolved side dominates by some factor."""
    level = np.ones(image.shape)
    return decorrelate(
        Exposure(image=level, variance=level, psf=StampPsf(PSF)),
        Exposure(image=level, variance=ratio * level),
        Exposure(image=image),
        KERNEL,
        config=DecorrelationConfig(mode="whole", noise_model="white", precision="double"),
    )


def flagged(exposure):
    """Rows of EDGE at the lower border, away from the others."""
    edge = exposure.mask & exposure.mask_planes.value(["EDGE"])
    return int(np.count_nonzero(edge[: len(edge) // 2, edge.shape[1] // 2]))


@pytest.mark.parametrize("ratio", [1.0, 10.0, 100.0])
def test_fluxes_are_right_where_there_is_no_edge_flag(ratio):
    widths = []
    for row in range(9):
        image = np.zeros((120, 121))
        top = max(0, 15 - row)
        image[row - 15 + top : row + 16, 45:76] = 1e4 * PSF[top:]
        exposure = result_of(image, ratio).exposure
        stamp, (cx, cy) = exposure.psf.stamp(60, row), exposure.psf.origin
        reach = min(cy, 30)
        model = stamp[cy - min(row, reach) : cy + reach + 1, cx - reach : cx + reach + 1]
        pixels = exposure.image[row - min(row, reach) : row + reach + 1, 60 - reach : 61 + reach]
        flux = np.sum(pixels * model) / np.sum(model**2)
        if abs(flux / 1e4 - 1) > 0.02:
            widths.append(row + 1)
    assert 3 <= max(widths) <= flagged(exposure) <= 7


@pytest.mark.parametrize("ratio", [1.0, 30.0])
def test_noise_is_as_claimed_where_there_is_no_edge_flag(ratio):
    rng, power, number = np.random.default_rng(11), 0.0, 6
    for _ in range(number):
        science, template = rng.normal(size=(2, 60 + 2 * MARGIN, 900 + 2 * MARGIN))
        matched = scipy.signal.fftconvolve(template, KERNEL, mode="same")
        exposure = result_of((science - np.sqrt(ratio) * matched)[INNER], ratio).exposure
        claimed = exposure.variance[:, 20:-20]
        power = power + (exposure.image[:, 20:-20] ** 2 / claimed).mean(axis=1)
    rows = power / number
    width = flagged(exposure)
    # One sigma of a row is 0.019.
    np.testing.assert_allclose(rows[width:-width], 1.0, atol=0.1)
    assert width <= 5
