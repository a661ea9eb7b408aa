"""What no usual misreading explains is named by the kernel that is fitted, and only then."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers import oracle
from helpers.workplace import call

from diffdecor import Exposure
from diffdecor.core.convolve import convolved
from diffdecor.core.interpolate import KernelField
from diffdecor.decorrelation import named_kernel
from diffdecor.decorrelation.kernel_fit import KernelFit
from diffdecor.decorrelation.subtraction import Subtraction
from diffdecor.decorrelation.verification import verify, verify_quickly
from diffdecor.errors import KernelError
from diffdecor.kernels.model import StampKernel

SHAPE = (170, 180)


def lopsided(sigma=1.3):
    stamp = oracle.gaussian(11, sigma, axis_ratio=0.8)
    stamp[6, 7] += 0.04
    return stamp


def triple(stamp, *, flux=20_000.0, side="template"):
    """Science image, template and difference of one kernel."""
    rng = np.random.default_rng(5)
    science, template = (rng.normal(0, sigma, SHAPE) for sigma in (1.0, 2.0))
    field = KernelField.constant(stamp, (5, 5))
    stars = np.zeros(SHAPE)
    stars[tuple(rng.integers(10, 160, (2, 40)))] = flux
    stars = convolved(stars, KernelField.constant(oracle.gaussian(11, 1.5), (5, 5)))
    sharp, blurred = stars, convolved(stars, field)
    science += blurred if side == "template" else sharp
    template += sharp if side == "template" else blurred
    if side == "template":
        return science, template, science - convolved(template, field)
    return science, template, convolved(science, field) - template


def subtraction(planes, kernel, **options):
    variances = (1.0, 4.0, 1.0)
    exposures = [
        Exposure(image=plane, variance=np.full(SHAPE, variance))
        for plane, variance in zip(planes, variances, strict=True)
    ]
    whole = Subtraction(*exposures, kernel)
    return replace(whole, config=replace(whole.config, **options))


@pytest.fixture
def fitted(monkeypatch):
    """A kernel fit that finds the kernel it is told; it keeps what it was asked."""
    asked = []

    def install(true, **more):
        def fit(subtraction, areas=(), progress=None):  # noqa: ARG001
            asked.append((subtraction, areas))
            if isinstance(true, Exception):
                raise true
            found = {"residual": 1e-6, "rounding": 1.0, "error": 1e-6, "pixels": 900}
            found |= {"side": true.convolved, "family": "constant", "is_exact": True} | more
            return KernelFit(kernel=true, **found)

        monkeypatch.setattr(named_kernel, "fit_kernel", fit)
        return asked

    return install


@pytest.mark.parametrize("check", [verify, verify_quickly])
def test_a_kernel_that_is_flipped_along_one_axis(check, fitted):
    true = StampKernel(stamps=lopsided(), convolved="template")
    asked = fitted(true)
    wrong = replace(true, stamps=true.stamps[..., ::-1])
    verdict = check(subtraction(triple(lopsided()), wrong))
    assert not verdict.belongs
    assert verdict.cause.endswith("the given one must be flipped along x")
    assert "--kernel fit uses that" in verdict.cause
    assert verdict.fitted.kernel is true
    assert len(asked) == 1


@pytest.mark.parametrize("check", [verify, verify_quickly])
def test_options_that_may_be_wrong_do_not_bind_the_fit(check, fitted):
    true = StampKernel(stamps=lopsided(), convolved="science")
    asked = fitted(true)
    wrong = replace(true, stamps=true.stamps[..., ::-1, :], convolved="template")
    planes = triple(lopsided(), side="science")
    options = {"convolved": "template", "science_scale": 1.2, "template_scale": 0.8}
    verdict = check(subtraction(planes, wrong, **options))
    config = asked[0][0].config
    assert (config.convolved, config.science_scale, config.template_scale) == ("auto", None, None)
    assert "--convolved science" in verdict.cause
    assert "flipped along y" in verdict.cause
    assert "--science-scale 1 --template-scale 1" in verdict.cause


def test_the_kernel_of_other_images(fitted):
    true = StampKernel(stamps=lopsided(), convolved="template")
    fitted(true, is_exact=False, residual=0.02)
    wrong = replace(true, stamps=lopsided(2.2))
    verdict = verify(subtraction(triple(lopsided()), wrong))
    assert "the kernel is that of other images" in verdict.cause
    assert "--kernel fit" not in verdict.cause


def test_the_fit_itself_names_it():
    true = StampKernel(stamps=lopsided(), convolved="template")
    wrong = replace(true, stamps=true.stamps[..., ::-1, :])
    verdict = verify_quickly(subtraction(triple(lopsided()), wrong))
    assert not verdict.belongs
    assert "must be flipped along y" in verdict.cause
    assert verdict.fitted.is_exact


def test_where_no_kernel_explains_it_the_fit_says_why(fitted):
    science, template, _ = triple(lopsided())
    asked = fitted(KernelError("exposure: it is off by 0.9 sigma with any kernel"))
    true = StampKernel(stamps=lopsided(), convolved="template")
    shuffled = science[::-1] - template
    verdict = verify(subtraction((science, template, shuffled), true))
    assert verdict.fitted is None
    assert verdict.cause == (
        "none of the usual misreadings fits either, nor does any kernel: it is off by 0.9 sigma "
        "with any kernel"
    )
    assert len(asked) == 1


def test_a_right_kernel_is_not_blamed(fitted):
    science, template, difference = triple(lopsided())
    true = StampKernel(stamps=lopsided(), convolved="template")
    fitted(true)
    difference = difference + np.random.default_rng(1).normal(0, 2, SHAPE)
    verdict = verify(subtraction((science, template, difference), true))
    assert "the kernel is right" in verdict.cause


def test_what_hides_in_the_noise_is_named_by_verify(fitted):
    """Off by a tenth of the noise: files may belong together, until an exact kernel is found."""
    true = StampKernel(stamps=lopsided(), convolved="template")
    wrong = subtraction(triple(lopsided(), flux=0.0), replace(true, stamps=true.stamps[..., ::-1]))
    asked = fitted(true)
    assert verify_quickly(wrong).belongs  # a run has no time for it
    assert not asked
    verdict = verify(wrong)
    assert not verdict.belongs
    assert verdict.cause.endswith("flipped along x")
    for failure in ({"is_exact": False}, {"residual": 0.09}):
        fitted(true, **failure)
        assert verify(wrong).belongs
    fitted(KernelError("no"))
    assert (verify(wrong).belongs, verify(wrong).cause) == (True, "")


def test_no_fit_where_all_is_well_or_known_already(fitted):
    asked = fitted(AssertionError("asked"))
    planes, true = triple(lopsided()), StampKernel(stamps=lopsided(), convolved="template")
    flipped = replace(true, stamps=true.stamps[..., ::-1, ::-1])
    found = replace(true, stamps=true.stamps[..., ::-1], format="fit")
    for check in (verify, verify_quickly):
        assert check(subtraction(planes, true)).belongs
        assert "flipped in both axes" in check(subtraction(planes, flipped)).cause
        assert not check(subtraction(planes, found)).belongs
    assert not asked


def test_the_blocks_of_the_given_kernel_are_tried(fitted):
    from diffdecor import read_kernel

    kernel = read_kernel(Path(__file__).parents[1] / "data/hotpants-a1/difference.fits")
    asked = fitted(KernelError("no"))
    planes = triple(lopsided())
    cause, fit = named_kernel.name_by_fit(subtraction(planes, kernel))
    assert fit is None
    assert cause.endswith("nor does any kernel: no")
    ((_, (area,)),) = asked
    assert area.blocks == kernel.regions[0].blocks


def test_commands_name_it_and_run_refuses(fitted, tmp_path):
    true = StampKernel(stamps=lopsided(), convolved="template")
    fitted(true)
    names = ("s", "t", "d")
    for name, plane in zip(names, triple(lopsided()), strict=True):
        fits.writeto(tmp_path / f"{name}.fits", plane)
    fits.writeto(tmp_path / "k.fits", lopsided()[:, ::-1])
    files = [str(tmp_path / f"{name}.fits") for name in names]
    more = ["--kernel", str(tmp_path / "k.fits"), "--convolved", "template"]
    more += ["--science-variance", "1", "--template-variance", "4"]
    done = call("verify", *files, *more, "--json")
    assert done.exit_code == 3, done.stderr
    facts = json.loads(done.stdout)
    assert facts["cause"].endswith("flipped along x")
    assert facts["fitted"]["family"] == "constant"
    assert facts["fitted"]["error"] == 1e-6
    assert "kernel" not in facts["fitted"]
    out = tmp_path / "out.fits"
    refused = call("run", *files, *more, "-o", str(out))
    assert refused.exit_code == 3
    assert "the given one must be flipped along x (--no-verify" in refused.stderr.replace("\n", " ")
    assert not out.exists()
