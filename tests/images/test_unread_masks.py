"""Planes that may be masks, and masks that nobody explains, are doubted aloud."""

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.images.read import read_exposure
from diffdecor.images.surveys.plain import MASK_NAMES

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

IMAGE = np.random.default_rng(3).normal(0, 1, (40, 50)).astype("f4")
FLAGS = np.zeros(IMAGE.shape, "i2")
FLAGS[3, 4] = 1


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


@pytest.mark.parametrize("name", MASK_NAMES)
def test_masks_of_usual_names_are_read(mef, name, caplog):
    exposure = read_exposure(mef(("IMAGE", IMAGE), (name, FLAGS)))
    assert exposure.mask[3, 4] == exposure.mask_planes.value(["BAD"])
    assert not warnings(caplog)


@pytest.mark.parametrize("layout", ["plain", "lsst", "hst"])
def test_whole_numbers_that_are_not_read_are_warned_of(mef, layout, caplog):
    read_exposure(mef(("IMAGE", IMAGE), ("GOODNESS", FLAGS)), layout=layout)
    (warning,) = warnings(caplog)
    assert "HDU GOODNESS has whole numbers" in warning
    assert "--science-mask" in warning
    assert "in.fits[GOODNESS]" in warning


@pytest.mark.parametrize(
    ("name", "plane"),
    [
        ("CTX", FLAGS),  # the context of HST
        ("NEXP", FLAGS),
        ("OTHER", FLAGS[:10]),  # another shape
        ("OTHER", IMAGE),
    ],
)
def test_nothing_is_said_of_other_planes(mef, name, plane, caplog):
    read_exposure(mef(("IMAGE", IMAGE), ("DQ", FLAGS), (name, plane)))
    assert not warnings(caplog)


def test_masks_of_other_versions_are_not_doubted(mef, caplog):
    planes = [(n, a, {"EXTVER": v}) for v in (1, 2) for n, a in (("SCI", IMAGE), ("DQ", FLAGS))]
    read_exposure(f"{mef(*planes)}[SCI,2]")
    assert not warnings(caplog)


def stars():
    """Return an image of four stars, and where they are."""
    y, x = np.mgrid[:40, :50]
    light = sum(
        100 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 8) for cy in (10, 30) for cx in (12, 37)
    )
    return (IMAGE + light).astype("f4"), light > 5


def test_a_mask_of_several_bits_that_covers_stars_is_warned_of(mef, caplog):
    image, where = stars()
    exposure = read_exposure(mef(("IMAGE", image), ("MASK", FLAGS + 4 * where.astype("i2"))))
    assert (exposure.mask[where] == 1).all()
    (warning,) = warnings(caplog)
    assert "bits 0, 2 without names" in warning
    assert "--bad-bits" in warning


def test_other_masks_without_names_are_not_warned_of(mef, caplog):
    image, where = stars()
    two = FLAGS + 4 * np.roll(where, 20, axis=0).astype("i2")
    for mask, options in (
        (where.astype("i2"), {}),  # one bit
        (FLAGS + 4 * (image > 90).astype("i2"), {}),  # saturated cores
        (two * ~where, {}),  # defects beside the stars
        (FLAGS + 4 * where.astype("i2"), {"bad_bits": (0,)}),
    ):
        read_exposure(mef(("IMAGE", image), ("MASK", mask)), **options)
    assert not warnings(caplog)


def constant(name, value, **cards):
    hdu = fits.ImageHDU(name=name)
    hdu.header.update({"NPIX1": 50, "NPIX2": 40, **({} if value is None else {"PIXVALUE": value})})
    hdu.header.update(cards)
    return hdu


@pytest.mark.parametrize("dq", [0, 4, 4.0])
def test_arrays_that_are_constants(tmp_path, dq):
    path = tmp_path / "flc.fits"
    hdus = [fits.PrimaryHDU(), constant("SCI", 7.5), constant("ERR", 3), constant("DQ", dq)]
    fits.HDUList(hdus).writeto(path)
    exposure = read_exposure(path)
    assert exposure.shape == (40, 50)
    assert (exposure.image == 7.5).all()
    assert (exposure.variance == 9).all()
    assert (exposure.mask == (1 if dq else 0)).all()
    assert exposure.image.dtype == np.float32


def test_a_constant_without_value_is_refused(tmp_path):
    path = tmp_path / "flc.fits"
    fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(IMAGE, name="SCI"), constant("ERR", None)]
    ).writeto(path)
    with pytest.raises(Exception, match="PIXVALUE = None is not the value"):
        read_exposure(path)
