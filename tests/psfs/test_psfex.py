"""Models of PSFEx against what PSFEx itself draws, and files that are damaged."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.closeness import assert_same

from diffdecor.errors import InputError
from diffdecor.psfs.psfex import sampled_model
from diffdecor.psfs.registry import read_psf

FOLDER = Path(__file__).parents[1] / "data" / "psfex"
CASES = {"A_sci": (35, 0.26), "A_tmpl": (45, 0.03), "B_sci_const": (41, 0.065)}


@pytest.fixture(scope="module")
def expected():
    with np.load(FOLDER / "expected.npz") as arrays:
        return dict(arrays)


def normalised(stamp):
    return stamp / stamp.sum(dtype="f8")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("what", "worst"), [("grid_tool", 4e-7), ("grid_recipe", 1e-14)])
def test_samples(expected, case, what, worst):
    with fits.open(FOLDER / f"{case}.psf") as hdus:
        model = sampled_model(hdus[1], case)
    assert model.origin == (CASES[case][0] // 2,) * 2
    for (x, y), stamp in zip(expected[f"{case}_xy1"], expected[f"{case}_{what}"], strict=True):
        error = np.abs(model.stamp(x - 1, y - 1) - normalised(stamp)).max()
        assert error < worst * normalised(stamp).max()


@pytest.mark.parametrize("case", CASES)
def test_pixels(expected, case):
    psf = read_psf(FOLDER / f"{case}.psf")
    cx, cy = psf.origin
    inner = np.s_[cy - 12 : cy + 13, cx - 12 : cx + 13]
    for (x, y), stamp, truth in zip(
        *(expected[f"{case}_{what}"] for what in ("xy1", "pixel_lanczos4", "pixel_truth")),
        strict=True,
    ):
        found = psf.stamp(x - 1, y - 1)
        assert found.sum() == pytest.approx(1, abs=1e-14)
        found = normalised(found[inner])
        # The interpolation is that of the expected stamps, so that no tolerance is needed for it.
        assert np.abs(found - normalised(stamp)).max() < 1e-14 * found.max()
        assert np.abs(found - normalised(truth)).max() < CASES[case][1] * found.max()


def gaussian_model(path, n, step, fwhm=4.0, **cards):
    """Write a model of a Gaussian on n x n samples whose width grows with x."""
    y, x = (np.indices((n, n)) - n // 2) * step
    r2 = (x**2 + y**2) * (8 * np.log(2)) / fwhm**2
    planes = np.array([np.exp(-r2 / 2), 0.05 * (r2 - 2) * np.exp(-r2 / 2), 0 * r2])
    column = fits.Column("PSF_MASK", f"{3 * n * n}E", dim=f"({n},{n},3)", array=planes[np.newaxis])
    hdu = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    scaling = {"POLZERO1": 101.0, "POLSCAL1": 100.0, "POLZERO2": 51.0, "POLSCAL2": 50.0}
    names = {"POLNAXIS": 2, "POLNGRP": 1, "POLNAME1": "X_IMAGE", "POLNAME2": "Y_IMAGE"}
    hdu.header.update({**names, **scaling, "POLDEG1": 1, "PSF_SAMP": step, **cards})
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize("n", [40, 41])
@pytest.mark.parametrize("step", [0.5, 0.8, 1.0, 1.2])
def test_known_gaussians(tmp_path, n, step):
    psf = read_psf(gaussian_model(tmp_path / "model.psf", n, step))
    cx, cy = psf.origin
    assert cx == cy == int(n // 2 * step + 1e-9)
    stamp = psf.stamp(100, 50)
    y, x = np.indices(stamp.shape)
    truth = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) * 4 * np.log(2) / 16)
    assert np.abs(stamp - normalised(truth)).max() < 3e-3 * stamp.max()
    wider = psf.stamp(190, 50)
    np.testing.assert_array_less(wider[cy, cx], stamp[cy, cx])
    assert (x * wider).sum() == pytest.approx(cx, abs=1e-2)


def damaged(name, **cards):
    with fits.open(FOLDER / f"{name}.psf") as hdus:
        hdus[1].header.update(cards)
        return fits.HDUList([hdu.copy() for hdu in hdus])


REFUSED = {
    "other names": ({"POLNAME2": "MAG_AUTO"}, "varies with X_IMAGE, MAG_AUTO in 1 groups.*PSFVAR"),
    "swapped": ({"POLNAME1": "Y_IMAGE", "POLNAME2": "X_IMAGE"}, "varies with Y_IMAGE, X_IMAGE"),
    "three": ({"POLNAXIS": 3, "POLNAME3": "AIRMASS"}, "varies with X_IMAGE, Y_IMAGE, AIRMASS"),
    "one": ({"POLNAXIS": 1}, "varies with X_IMAGE in 1"),
    "groups": ({"POLNGRP": 2}, "in 2 groups"),
    "no degree": ({"POLDEG1": "2"}, "POLDEG1 = '2'"),
    "degree": ({"POLDEG1": 3}, "7350 samples for 10 images of 35 x 35"),
    "high": ({"POLDEG1": 10**9}, "POLDEG1 = 1000000000"),
    "zero": ({"POLZERO1": "x"}, "are not all numbers"),
    "scale": ({"POLSCAL2": 0.0}, "positions cannot be scaled"),
    "axes": ({"PSFAXIS1": 70}, "7350 samples for 6 images of 70 x 35"),
    "negative": ({"PSFAXIS1": -35}, "images of -35 x 35"),
    "step": ({"PSF_SAMP": 0.0}, r"PSF_SAMP = 0\.0 is not a sampling"),
    "words": ({"PSF_SAMP": "fine"}, "PSF_SAMP = 'fine' is not a sampling"),
    "wide": ({"PSF_SAMP": 99.0}, "an image, not a PSF"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(tmp_path, case):
    cards, problem = REFUSED[case]
    damaged("A_sci", **cards).writeto(tmp_path / "damaged.psf")
    with pytest.raises(InputError, match=rf"damaged\.psf: .*{problem}"):
        read_psf(tmp_path / "damaged.psf")


def test_other_names_of_the_same_position(tmp_path, expected):
    damaged("A_sci", POLNAME1="XWIN_IMAGE", POLNAME2="YWIN_IMAGE").writeto(tmp_path / "win.psf")
    x, y = expected["A_sci_xy1"][0]
    same = read_psf(FOLDER / "A_sci.psf").stamp(x, y)
    assert_same(read_psf(tmp_path / "win.psf").stamp(x, y), same)


def test_one_of_several_ccds_has_to_be_named(tmp_path):
    hdus = damaged("A_sci")
    hdus.append(damaged("B_sci_const")[1])
    hdus.writeto(tmp_path / "two.psf")
    with pytest.raises(InputError, match=r"2 PSFEx models, one for every CCD; name .*file\.psf\[1"):
        read_psf(tmp_path / "two.psf")
    assert read_psf(f"{tmp_path}/two.psf[2]").stamp(0, 0).shape == (33, 33)


@pytest.mark.parametrize("axes", [10**9, -1, "2", 2.5])
def test_axes_that_no_model_has(tmp_path, axes):
    path = tmp_path / "a.psf"
    path.write_bytes((FOLDER / "A_sci.psf").read_bytes())
    fits.setval(path, "POLNAXIS", value=axes, ext=1)
    with pytest.raises(InputError, match="POLNAXIS"):
        read_psf(path)
