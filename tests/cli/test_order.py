"""A difference that is named as one of its images: told by its cards and HDUs."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import call, check_failure

DATA = Path(__file__).parents[1] / "data"
ORDER = "the order is SCIENCE TEMPLATE DIFFERENCE"
CARDS = {
    "HOTPANTS": {"DIFFCMD": "hotpants -inim a"},
    "SFFT": {"CONVD": "REF"},
    "LSST": {"HIERARCH LSST BUTLER DATASETTYPE": "goodSeeingDiff_differenceExp"},
    "LSST, newer": {"HIERARCH LSST BUTLER DATASETTYPE": "difference_image"},
    "ours": {"DDVERS": "0.1.0"},
}


def marked(work, rewrite, role, cards):
    rewrite(work / f"{role}.fits", lambda hdus: hdus[0].header.update(cards))


@pytest.mark.parametrize("tool", CARDS)
@pytest.mark.parametrize(("role", "place"), [("science", "first"), ("template", "second")])
def test_a_difference_in_the_place_of_an_image(work, rewrite, tool, role, place):
    marked(work, rewrite, role, CARDS[tool])
    work.fails(3, f"{role}.fits: the {place} file looks like a difference", ORDER)
    result = work.run("--force")
    assert result.exit_code == 0
    assert f"the {place} file looks like a difference" in result.stderr


def test_a_difference_of_differences_is_only_warned_of(work, rewrite):
    for role in ("science", "difference"):
        marked(work, rewrite, role, CARDS["SFFT"])
    _, result = work.succeeds()
    assert f"science.fits: the first file looks like a difference (its card CONVD); {ORDER}" in (
        " ".join(result.stderr.split())
    )


@pytest.mark.parametrize(
    "cards",
    [
        {"CONVD": "maybe"},
        {"HIERARCH LSST BUTLER DATASETTYPE": "goodSeeingDiff_templateExp"},
        {"HIERARCH LSST BUTLER DATASETTYPE": "visit_image"},
        {"DIFFIM": "x"},
    ],
)
def test_cards_that_other_images_have_too(work, rewrite, cards):
    marked(work, rewrite, "science", cards)
    _, result = work.succeeds()
    assert "looks like" not in result.stderr


@pytest.mark.parametrize(
    "names",
    [
        ("hotpants-a1/difference.fits", "hotpants-a1/template.fits", "hotpants-a1/science.fits"),
        ("hotpants-a1/difference.fits", "hotpants-a1/science.fits", "hotpants-a1/template.fits"),
        ("lsst-images/difference.fits", "lsst-images/template.fits", "lsst-images/science.fits"),
        (
            "triples/sfft_D1_diff.fits.gz",
            "triples/sfft_D_ref.fits.gz",
            "triples/sfft_D_sci.fits.gz",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "verify"])
def test_real_files_in_a_wrong_order(tmp_path, names, command):
    """It goes before all that would be said of noise planes and kernels that are not there."""
    output = ["-o", tmp_path / "out.fits"] if command == "run" else []
    result = call(command, *(DATA / name for name in names), *output)
    check_failure(result, 3, Path(names[0]).name, "the first file looks like a difference", ORDER)


def test_a_difference_alone_may_be_one(work):
    noise = np.random.default_rng(1).normal(size=(300, 300)).astype(np.float32)
    fits.PrimaryHDU(noise, fits.Header(CARDS["SFFT"])).writeto(work / "alone.fits")
    result = call("run", work / "alone.fits", "-o", work.output)
    assert result.exit_code == 0
    assert "looks like" not in result.stderr
