"""Noise that contradicts what the inputs claim is said, with its likely cause; no other is."""

import numpy as np
import pytest
from helpers.workplace import convolved, gaussian

from diffdecor import DecorrelationConfig, Exposure, decorrelate

SHAPE = (320, 330)
WHITE = DecorrelationConfig(noise_model="white")


def triple(seed=5, smooth=None, sigma=(3.0, 4.0)):
    """Images of pure noise, their difference, and the kernel that the template went through."""
    random = np.random.default_rng(seed)
    science, template = (random.normal(0, one, SHAPE) for one in sigma)
    if smooth is not None:
        template = convolved(template, smooth)
    kernel = gaussian(4, 1.2)
    return science, template, science - convolved(template, kernel), kernel


def run(images, variances, headers=(None, None), config=WHITE, kernel=None):
    science, template, difference, right = images
    exposures = [
        Exposure(image=image, variance=np.full(SHAPE, variance), header=header)
        for image, variance, header in zip((science, template), variances, headers, strict=True)
    ]
    kernel = right if kernel is None else kernel
    return decorrelate(*exposures, Exposure(image=difference), kernel, config=config).metrics


def warnings(caplog):
    return [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]


@pytest.mark.parametrize("seed", range(4))
def test_right_noise_is_no_doubt(caplog, seed):
    metrics = run(triple(seed), (9.0, 16.0))
    assert not warnings(caplog)
    for name in ("chi_before", "chi_after"):
        assert getattr(metrics, name) == pytest.approx(1, abs=4.5 * metrics.chi_error)
    assert 0.004 < metrics.chi_error < 0.01


@pytest.mark.parametrize(
    ("variances", "says"),
    [
        ((3.0, 4.0), "in both images sigma is taken for variance"),
        ((3.0, 16.0), "in the science image sigma is taken for variance"),
        ((9.0, 256.0), "in the template variance is taken for sigma"),
        ((9.0 * 3, 16.0 * 3), "gain that is too small"),
        ((9.0 / 4, 16.0 / 4), "gain that is too large"),
    ],
)
def test_a_wrong_claim_is_said_with_its_cause(caplog, variances, says):
    metrics = run(triple(), variances)
    (text,) = [one for one in warnings(caplog) if "times the variance" in one]
    assert says in text
    energy = (gaussian(4, 1.2) ** 2).sum()
    expected = (9 + 16 * energy) / (variances[0] + variances[1] * energy)
    assert metrics.chi_before == pytest.approx(expected, rel=0.03)


def test_a_sigma_that_is_itself_off_a_little_is_known_for_one(caplog):
    """Variances of 1e-5 that are claimed to be 3e-3: a tenth more or less of sigma is nothing."""
    sigma = (0.003, 0.004)
    run(triple(sigma=sigma), [0.88 * one for one in sigma])
    assert any("in both images sigma is taken for variance" in one for one in warnings(caplog))


def test_measured_noise_does_not_hide_a_wrong_claim(caplog):
    measured = DecorrelationConfig(noise_model="measured")
    metrics = run(triple(), (9.0 * 4, 16.0 * 4), config=measured)
    assert metrics.chi_before == pytest.approx(0.25, rel=0.03)
    assert metrics.chi_after == pytest.approx(1, abs=0.05)
    assert any("is scaled to be right" in one for one in warnings(caplog))


def test_correlated_inputs_leave_a_correlated_result_which_is_said(caplog):
    smooth = gaussian(2, 0.7)
    images = triple(smooth=smooth, sigma=(1.0, 8.0))
    run(images, (1.0, 64.0 * float((smooth**2).sum())))
    (text,) = [one for one in warnings(caplog) if "max |rho|" in one]
    assert 'noise_model="measured"' in text
    caplog.clear()
    measured = DecorrelationConfig(noise_model="measured")
    run(images, (1.0, 64.0 * float((smooth**2).sum())), config=measured)
    assert not [one for one in warnings(caplog) if "max |rho|" in one]


def test_a_result_less_white_than_its_input_is_said(caplog):
    """It is white but for what is claimed of the template."""
    run(triple(sigma=(3.0, 0.5)), (0.5, 100.0))
    assert any("less white than the difference" in one for one in warnings(caplog))
