"""Where everything varies: noise, variance, significance and fluxes of the result, by mode.

`helpers.montecarlo` makes the differences, `helpers.scoring` judges the results; the first tests
here judge these two. ``python tests/benchmarks/montecarlo.py`` prints the whole table.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from helpers.montecarlo import HALF_KERNEL, MARGIN, Scene
from helpers.scoring import Score, photometry, result_of

from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.decorrelation.verification import verify

SIZE = 1024
REACH = HALF_KERNEL + 3


@pytest.mark.parametrize("variant", ["A", "C"])
def test_images_and_kernel_of_a_scene_make_its_difference(variant):
    scene = Scene(200, variant)
    verdict = verify(Subtraction(*scene.realise(0).inputs))
    assert verdict.belongs
    assert verdict.fit.worst < 1e-10


@pytest.mark.parametrize("variant", ["A", "B", "C"])
def test_what_a_pixel_takes_from_white_noise(variant):
    """The sum over kernel and taps by definition, and the same by transforms of the image."""
    scene = Scene(96, variant)
    rows = {role: scene.noise_row(40, 51, role) for role in ("science", "template")}
    for dx, dy in ((0, 0), (3, -2), (-5, 4)):
        impulse = np.zeros((scene.wide, scene.wide))
        impulse[MARGIN + 51 + dy, MARGIN + 40 + dx] = 1.0
        warped = scene.warped(impulse)
        planes = (
            {"science": scene.matched(impulse), "template": warped}
            if variant == "C"
            else {"science": impulse, "template": scene.matched(warped)}
        )
        for role, plane in planes.items():
            response = plane[MARGIN + 51, MARGIN + 40]
            assert response == pytest.approx(rows[role][REACH + dy, REACH + dx], abs=1e-12)


@pytest.mark.parametrize("variant", ["B", "C"])
def test_covariance_of_the_difference_is_that_of_kernel_and_warp(variant):
    scene = Scene(128, variant, masked=0.0, plain=True)
    lags = [(0, 0), (1, 0), (0, 1), (1, 1), (-1, 1), (2, 0), (0, 3)]
    places = [(x, y) for x in range(10, 120, 16) for y in range(10, 120, 16)]
    draws = np.array([scene.realise(seed).difference.image for seed in range(80)])
    white = {
        "science": scene.science_variance[0, 0],
        "template": scene.template_variance[0, 0],
    }
    for dx, dy in lags:
        expected = measured = 0.0
        for x, y in places:
            measured += np.mean(draws[:, y, x] * draws[:, y + dy, x + dx])
            for role, level in white.items():
                here, there = scene.noise_row(x, y, role), scene.noise_row(x + dx, y + dy, role)
                moved = np.pad(there, 3)[3 - dy :, 3 - dx :][: len(here), : len(here)]
                expected += level * np.sum(here * moved)
        if (dx, dy) == (0, 0):
            variance = expected
        # Each is a mean of 3920 products, whose scatter is at most 1.4 variances.
        assert measured / variance == pytest.approx(expected / variance, abs=4.5 * 1.4 / 3920**0.5)


def test_variance_planes_are_right():
    """Those of the warped template, exactly; that of the difference, away from steps."""
    scene = Scene(256, "B", masked=0.0)
    realisation = scene.realise(0)
    for x, y in ((30, 200), (128, 40), (201, 170)):
        row = np.outer(*(taps[:, y + MARGIN, x + MARGIN] for taps in scene._taps))  # noqa: SLF001
        around = np.s_[y + MARGIN - 2 : y + MARGIN + 4, x + MARGIN - 2 : x + MARGIN + 4]
        expected = np.sum(row**2 * scene.template_variance[around])
        assert realisation.template.variance[y, x] == pytest.approx(expected, rel=1e-12)
        total = 0.0
        for role in ("science", "template"):
            plane = getattr(scene, f"{role}_variance")
            rows, columns = (
                slice(middle + MARGIN - REACH, middle + MARGIN + REACH + 1) for middle in (y, x)
            )
            total += np.sum(scene.noise_row(x, y, role) ** 2 * plane[rows, columns])
        assert scene.difference_variance[y, x] == pytest.approx(total, rel=0.01)


def test_photometry_without_noise_is_exact():
    for variant in "AC":
        scene = Scene(256, variant, masked=0.0)
        quiet = replace(scene.alone(scene.realise(0)), image=scene.noise_free)
        for true, found, _ in photometry(scene, quiet):
            assert found == pytest.approx(true, rel=2e-3)


@cache
def scored(variant, masked, mode, size=SIZE):
    scene, score = Scene(size, variant, 0, masked), Score()
    # Of much masked images two are needed for the same error of the scatter.
    for seed in range(2 if masked > 0.2 else 1):
        score.add(scene, result_of(scene, scene.realise(seed), mode))
    return score


def test_the_score_tells_good_from_bad():
    raw = scored("B", 0.1, "raw", 512)
    assert raw.scatter[0] > 1.2
    assert raw.beyond[1] > 20 * raw.expected_beyond[1]
    assert raw.max_rho > 0.05
    assert raw.pull[0] > 1.2
    # The claimed variance of single pixels is right all the same.
    assert raw.variance_ratios["all"][0] == pytest.approx(1, abs=0.01)


CASES = [
    pytest.param("A", 0.4, "white", marks=pytest.mark.long),
    ("B", 0.1, "measured"),
    pytest.param("C", 0.0, "measured", marks=pytest.mark.long),
    ("C", 0.1, "alone"),
]


@pytest.mark.parametrize(("variant", "masked", "mode"), CASES)
def test_noise_and_fluxes_are_what_is_claimed(variant, masked, mode):
    score = scored(variant, masked, mode)
    # Claimed over true variance of pixels: to 1 per cent, by quadrant, amplifier and depth.
    for ratio, error in score.variance_ratios.values():
        assert ratio == pytest.approx(1, abs=0.01 + 2.5 * error)
    quadrants = [score.variance_ratios[f"quadrant {n}"][0] for n in range(4)]
    assert quadrants == pytest.approx([1] * 4, abs=0.01)
    assert score.variance_ratios["all"][0] == pytest.approx(1, abs=0.005)
    # Significance of point sources in empty sky.
    scatter, error = score.scatter
    assert error < 0.004
    assert scatter == pytest.approx(1, abs=0.01)
    # A peak beyond 5 sigma is some three pixels wide, so that they come in threes.
    assert score.beyond[1] < score.expected_beyond[1] + 4 * np.sqrt(3 * score.expected_beyond[1])
    four = score.expected_beyond[0]
    assert score.beyond[0] == pytest.approx(four, abs=4 * np.sqrt(3 * four))
    # Fluxes of transients.
    bias, error = score.flux_bias
    assert error < 0.0025
    assert abs(bias) < 0.003
    assert score.pull[0] == pytest.approx(1, abs=4 * score.pull[1])
    # What is left of the correlation: the largest of 44 lags of white noise is at 2.6 errors.
    assert score.max_rho < 0.003 + 3 * score.rho_error
