"""The border of the result: what is off there is flagged, and what is not flagged is right."""

import numpy as np
import pytest
import scipy.signal
from helpers import oracle

from diffdecor import DecorrelationConfig, Exposure, decorrelate
from diffdecor.psfs.model import StampPsf

ROUND = oracle.gaussian(19, 1.6)
SKEW = np.zeros((23, 23))  # its light is centred, its shape is not
SKEW[2:21, 2:21] += 0.7 * oracle.gaussian(19, 1.2, centre=(8.4, 9.6))
SKEW[:, :] += 0.3 * oracle.gaussian(23, 2.3, centre=(12.4, 9.6))
PSF = oracle.gaussian(31, 1.5)
MARGIN, FLUX = 40, 1e4
INNER = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
NY, NX = 130, 140


def result_of(image, ratio, kernel, side="template"):
    """The result where the noise of the convolved side dominates by some factor."""
    low, high = np.ones(image.shape), np.full(image.shape, ratio)
    science, template = (low, high) if side == "template" else (high, low)
    config = DecorrelationConfig(
        mode="whole", noise_model="white", precision="double", convolved=side
    )
    return decorrelate(
        Exposure(image=low, variance=science, psf=StampPsf(PSF)),
        Exposure(image=low, variance=template),
        Exposure(image=image),
        kernel,
        config=config,
    )


def flagged(exposure):
    edge = exposure.mask & exposure.mask_planes.value(["EDGE"])
    return edge != 0


def fluxes_near_the_border(distance, ratio, kernel, side):
    """Exposure, places ``(x, y)`` so far from every border and corner, and their fluxes."""
    left, bottom, right, top = distance, distance, NX - 1 - distance, NY - 1 - distance
    places = [(x, y) for y in (bottom, 65, top) for x in (left, 70, right) if (x, y) != (70, 65)]
    light = np.zeros((NY + 2 * MARGIN, NX + 2 * MARGIN))
    for x, y in places:
        light[y + MARGIN - 15 : y + MARGIN + 16, x + MARGIN - 15 : x + MARGIN + 16] += FLUX * PSF
    if side == "science":
        light = scipy.signal.fftconvolve(light, kernel, mode="same")
    exposure = result_of(light[INNER], ratio, kernel, side).exposure
    stamp, (cx, cy) = exposure.psf.stamp(70, 65), exposure.psf.origin
    reach = min(cx, cy, MARGIN)
    model = stamp[cy - reach : cy + reach + 1, cx - reach : cx + reach + 1]
    pixels, there = (np.pad(one, MARGIN) for one in (exposure.image, np.ones(exposure.shape)))
    found = []
    for x, y in np.array(places) + MARGIN:
        at = np.s_[y - reach : y + reach + 1, x - reach : x + reach + 1]
        found.append(np.sum(pixels[at] * model) / np.sum(there[at] * model**2) / FLUX)
    return exposure, places, np.array(found)


@pytest.mark.parametrize("side", ["template", "science"])
@pytest.mark.parametrize("kernel", [ROUND, SKEW], ids=["round", "skew"])
@pytest.mark.parametrize("ratio", [1.0, 10.0, 100.0])
def test_fluxes_are_right_where_there_is_no_edge_flag(ratio, kernel, side):
    """At borders to the share, in corners to twice that; and little more is flagged than is off."""
    wrong = 0
    for distance in range(11):
        exposure, places, flux = fluxes_near_the_border(distance, ratio, kernel, side)
        corner = np.array([x != 70 and y != 65 for x, y in places])
        off = np.abs(flux - 1) > np.where(corner, 0.04, 0.02)
        edge = np.array([flagged(exposure)[y, x] for x, y in places])
        assert not (off & ~edge).any()
        if off.any():
            wrong = distance + 1
        if not edge.any():
            break
    assert 2 <= wrong <= distance <= wrong + 4


@pytest.mark.parametrize("side", ["template", "science"])
@pytest.mark.parametrize(
    "kernel",
    [
        pytest.param(SKEW, id="as it is"),
        pytest.param(SKEW.T, id="transposed", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("ratio", [1.0, 30.0])
def test_noise_is_as_claimed_where_there_is_no_edge_flag(ratio, kernel, side):
    rng, power, number = np.random.default_rng(11), 0.0, 6
    for _ in range(number):
        science, template = rng.normal(size=(2, 60 + 2 * MARGIN, 900 + 2 * MARGIN))
        if side == "template":
            template = np.sqrt(ratio) * scipy.signal.fftconvolve(template, kernel, mode="same")
        else:
            science = np.sqrt(ratio) * scipy.signal.fftconvolve(science, kernel, mode="same")
        exposure = result_of((science - template)[INNER], ratio, kernel, side).exposure
        claimed = exposure.variance[:, 20:-20]
        power = power + (exposure.image[:, 20:-20] ** 2 / claimed).mean(axis=1)
    rows, edge = power / number, flagged(exposure)[:, 450]
    # One sigma of a row is 0.019.
    np.testing.assert_allclose(rows[~edge], 1.0, atol=0.1)
    assert np.count_nonzero(edge) <= 16
