"""What is wrong with inputs is refused, or said aloud: other kernels, sides, whitened differences."""

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
