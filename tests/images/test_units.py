"""Noise planes in the unit of their image, its square, in another, or in none."""

import numpy as np
import pytest
from astropy.io import fits

from diffdecor import read_exposure
from diffdecor.errors import InputError

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")


def written(tmp_path, image, noise, name):
    """A file of an image and its noise plane, of the value 4, with units."""
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.ones((20, 30), np.float32), name="SCI")]
    hdus.append(fits.ImageHDU(np.full((20, 30), 4, np.float32), name=name))
    for hdu, unit in zip(hdus[1:], (image, noise), strict=True):
        if unit is not None:
            hdu.header["BUNIT"] = unit
    path = tmp_path / "units.fits"
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.parametrize(
    ("image", "noise", "name"),
    [
        ("adu", "adu2", "VARIANCE"),
        ("adu", "ADU**2", "VARIANCE"),
        ("ADU", "adu", "VARIANCE"),
        ("DN", "counts^2", "VARIANCE"),
        ("adu", None, "VARIANCE"),
        (None, "electron2", "VARIANCE"),
        ("nJy", "nJy2", "VARIANCE"),
        ("nJy", "nJy**2", "VARIANCE"),
        ("electron/s", "(electron/s)**2", "VARIANCE"),
        ("ELECTRONS/S", "electron2 / s2", "VARIANCE"),
        ("MJy/sr", "MJy2 / sr2", "VARIANCE"),
        ("electron", "electron", "ERR"),
        ("ELECTRONS", "e-", "ERR"),
        ("adu", "adu2", "ERR"),
    ],
)
def test_units_that_agree(tmp_path, caplog, image, noise, name):
    exposure = read_exposure(written(tmp_path, image, noise, name))
    assert exposure.variance == pytest.approx(4.0 if name == "VARIANCE" else 16.0)
    assert not [one for one in caplog.records if one.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("image", "noise", "name"),
    [
        ("adu", "electron2", "VARIANCE"),
        ("electron", "adu2", "VARIANCE"),
        ("adu", "electron", "ERR"),
        ("electron/s", "electron2", "VARIANCE"),
        ("electron", "electron/s", "ERR"),
        ("DN/s", "DN", "ERR"),
    ],
)
def test_other_units_are_refused(tmp_path, image, noise, name):
    with pytest.raises(InputError, match=r"BUNIT.*--science-noise"):
        read_exposure(written(tmp_path, image, noise, name))


def test_units_of_one_kind_are_converted_and_said(tmp_path, caplog):
    exposure = read_exposure(written(tmp_path, "nJy", "uJy2", "VARIANCE"))
    assert exposure.variance == pytest.approx(4e6)
    assert "multiplied by 1e+06" in caplog.text


def test_a_unit_that_is_not_known_is_doubted(tmp_path, caplog):
    exposure = read_exposure(written(tmp_path, "adu", "quirks", "VARIANCE"))
    assert exposure.variance == pytest.approx(4.0)
    assert "quirks" in caplog.text
