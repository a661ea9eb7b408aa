"""What is wrong with inputs is refused, or said aloud: kernels, sides, noise, whitened images."""

import json

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import convolved, gaussian


@pytest.mark.parametrize(
    ("keyword", "value", "refused"),
    [
        ("DECORR", True, True),
        ("DECORREL", "YES", True),
        ("WHITENED", 1, True),
        ("HIERARCH pipe noise decorrelated", True, True),
        ("DECORR", False, False),
        ("DECORR", "NONE", False),
        ("DECORRID", 7, False),
    ],
)
def test_cards_that_speak_of_decorrelation(work, rewrite, keyword, value, refused):
    rewrite(work / "difference.fits", lambda hdus: hdus[0].header.set(keyword, value))
    if refused:
        work.fails(3, "decorrelated already", "--force")
        work.succeeds("--force")
    else:
        work.succeeds()


def test_hdus_that_speak_of_decorrelation(work, rewrite):
    pixels = fits.getdata(work / "difference.fits").astype(np.float32)
    rewrite(
        work / "difference.fits",
        lambda hdus: hdus.append(fits.ImageHDU(pixels, name="DECORR")),
    )
    path = work / "difference.fits"
    work.fails(3, "HDU DECORR", "[0]")
    work.fails(3, "HDU DECORR", difference=f"{path}[DECORR]")
    work.succeeds(difference=f"{path}[0]")


def test_a_kernel_of_another_run_is_refused(work):
    """Nothing else fits, and the noise hides most of it."""
    wrong = gaussian(4, 2.2) + 0.3 * np.roll(gaussian(4, 0.8), 2, axis=1)
    fits.PrimaryHDU(wrong / wrong.sum(), fits.Header({"CONVSIDE": "TEMPLATE"})).writeto(
        work / "other.fits"
    )
    science, template = (fits.getdata(work / f"{n}.fits", "IMAGE") for n in ("science", "template"))
    bright = np.zeros_like(template)
    bright[18:24, 20:26] = 4000.0
    for name, image in (("template", template + bright), ("science", science)):
        with fits.open(work / f"{name}.fits", mode="update") as hdus:
            hdus["IMAGE"].data = image.astype(np.float32)
    kernel = fits.getdata(work / "kernel.fits")
    with fits.open(work / "difference.fits", mode="update") as hdus:
        image = hdus[-1 if hdus[0].data is None else 0]
        image.data = (science - convolved(template + bright, kernel)).astype(np.float32)
    work.fails(3, "not the difference that", "--no-verify", kernel=work / "other.fits")
    work.succeeds("--no-verify", kernel=work / "other.fits")


def test_the_side_is_taken_from_the_rebuilt_difference_and_said(work, rewrite):
    rewrite(work / "kernel.fits", lambda hdus: hdus[0].header.remove("CONVSIDE", True))
    cards, result = work.succeeds("-v")
    assert "rebuilding the difference shows" in result.stderr
    assert "WARNING" not in result.stderr
    assert cards["PRIMARY"][0]["DDSIDEBY"] == "rebuilt"
    assert cards["PRIMARY"][0]["DDCONVOL"] == "template"
    cards, result = work.succeeds("--no-verify", "--overwrite")
    assert "does not say which image was convolved" in result.stderr
    assert cards["PRIMARY"][0]["DDSIDEBY"] == "assumed"
    cards, _ = work.succeeds("--convolved", "template", "--overwrite")
    assert cards["PRIMARY"][0]["DDSIDEBY"] == "option"


def with_claim(work, role, factor, **cards):
    """Multiply the variance plane of an image, and set cards of its image HDU."""
    with fits.open(work / f"{role}.fits", mode="update") as hdus:
        hdus["VARIANCE"].data = hdus["VARIANCE"].data * np.float32(factor)
        hdus["IMAGE"].header.update(cards)


def test_a_wrong_claim_is_a_warning_in_stderr_and_header(work):
    """Each image's variance claims nine times too much: the card judges it before calibration."""
    for role in ("science", "template"):
        with_claim(work, role, 9.0)
    cards, result = work.succeeds("-q", "--noise-model", "measured")
    header = cards["PRIMARY"][0]
    assert "WARNING" not in result.stderr
    assert header["DDCHI0"] == pytest.approx(1 / 9, abs=4 * header["DDCHIERR"] + 0.01)
    assert header["DDWARN"] >= 1
    history = " ".join(header["HISTORY"])
    assert "diffdecor warning:" in history
    assert "times the variance that the noise planes" in history
    _, result = work.succeeds("--overwrite")
    assert "times the variance that the noise planes" in result.stderr


def test_a_variance_made_with_a_gain_is_not_taken_for_a_sigma(work):
    """A sky that was subtracted is missing in it."""
    for role in ("science", "template"):
        with fits.open(work / f"{role}.fits", mode="update") as hdus:
            del hdus["VARIANCE"]
    _, result = work.succeeds("--gain", "30")
    (text,) = [line for line in result.stderr.splitlines() if "times the variance" in line]
    assert "a sky that was subtracted before (--science-sky, --template-sky)" in text
    assert "sigma" not in text


def test_a_right_claim_is_none(work):
    cards, result = work.succeeds()
    header = cards["PRIMARY"][0]
    assert (header["DDWARN"], "WARNING" in result.stderr) == (0, False)
    for name in ("DDCHI0", "DDCHI1"):
        assert header[name] == pytest.approx(1, abs=5 * header["DDCHIERR"])
    assert "HISTORY" not in header or "warning" not in str(header["HISTORY"])


def test_strict_makes_warnings_errors_without_output(work):
    for role in ("science", "template"):
        with_claim(work, role, 25.0)
    work.fails(4, "--strict", "times the variance", options=("--strict",))
    done = work.run("--strict", "--json")
    assert done.exit_code == 4
    found = json.loads(done.stdout)
    assert found["status"] == "doubtful"
    assert "times the variance" in found["warning_texts"][0]
    # An output that was made without --strict is not taken for one that passed.
    work.succeeds()
    before = work.output.read_bytes()
    assert work.run("--strict").exit_code == 4
    assert work.output.read_bytes() == before


def test_strict_does_nothing_without_warnings(work):
    work.succeeds("--strict")


@pytest.mark.parametrize(("role", "level"), [("science", 9), ("template", 4)])
def test_a_variance_of_zeros_is_doubted(work, role, level):
    with_claim(work, role, 0.0)
    work.fails(4, f"{role}.fits", "zero", f"--{role}-variance", options=("--strict",))
    cards, _ = work.succeeds()
    assert cards["PRIMARY"][0]["DDWARN"] >= 1
    work.succeeds("--strict", f"--{role}-variance", str(level), "--overwrite")
