"""What a reader of the output needs to know: which pixels are bad, and what VARIANCE is."""

import warnings

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, VarianceUncertainty

from diffdecor.images.model import Exposure, MaskPlanes
from diffdecor.images.read import read_exposure
from diffdecor.images.write import result_file


def write(path, mask, planes, bad, unit=None):
    """Write an exposure of ones, its variance 4."""
    ones = np.ones(mask.shape, np.float32)
    header = fits.Header({"BUNIT": unit} if unit else {})
    exposure = Exposure(image=ones, variance=4 * ones, mask=mask, mask_planes=planes, header=header)
    with result_file(path, exposure, bad_planes=bad) as file:
        rows = slice(0, len(mask))
        file.image[rows], file.variance[rows], file.mask[rows] = ones, 4 * ones, mask


def test_bad_pixels_are_one_line(tmp_path):
    mask = np.arange(24, dtype=np.int32).reshape(4, 6)
    planes = MaskPlanes({"BAD": 0, "DETECTED": 1, "SAT": 2, "EDGE": 4})
    write(tmp_path / "out.fits", mask, planes, ("BAD", "SAT", "CR", "EDGE"))
    with fits.open(tmp_path / "out.fits") as hdus:
        header = hdus["MASK"].header
        assert header["BADPLANE"] == "BAD,SAT,EDGE"
        found = (hdus["MASK"].data & header["BADVALUE"]) != 0
        np.testing.assert_array_equal(found, (mask & 0b10101) != 0)
        assert all(len(str(card)) <= 80 for card in header.cards)


def test_each_of_two_hdus_of_a_mask_has_its_own(tmp_path):
    """Of 40 planes: bits 31 and 32 are the first two of the second HDU."""
    planes = MaskPlanes({f"P{bit:02d}": bit for bit in range(40)})
    mask = (np.int64(1) << np.arange(40)).reshape(5, 8)
    bad = ("P03", "P30", "P31", "P39")
    write(tmp_path / "out.fits", mask, planes, bad)
    with fits.open(tmp_path / "out.fits") as hdus:
        both = [hdus["MASK", version] for version in (1, 2)]
        assert [hdu.header["BADPLANE"] for hdu in both] == ["P03,P30", "P31,P39"]
        found = np.logical_or(*((hdu.data & hdu.header["BADVALUE"]) != 0 for hdu in both))
    np.testing.assert_array_equal(np.flatnonzero(found), [3, 30, 31, 39])


@pytest.mark.parametrize("number", [1, 6, 9, 15, 31])
def test_names_of_bad_planes_come_back_whole(tmp_path, number):
    """With and without room for the comment, and continued over several cards."""
    planes = MaskPlanes({f"PLANE_{bit}": bit for bit in range(number)})
    write(tmp_path / "out.fits", np.zeros((4, 6), np.int32), planes, tuple(planes.bits))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(tmp_path / "out.fits", checksum=True) as hdus:
            hdus.verify("exception")
            header = hdus["MASK"].header
            assert header["BADPLANE"] == ",".join(planes.bits)
            assert header.comments["BADPLANE"] in {"planes of these", ""}


@pytest.mark.parametrize("unit", ["adu", "MJy/sr", "electron/s"])
def test_astropy_and_we_read_the_variance_as_one(tmp_path, unit):
    path = tmp_path / "out.fits"
    write(path, np.zeros((4, 6), np.int32), MaskPlanes({"BAD": 0}), ("BAD",), unit)
    data = CCDData.read(path, hdu="IMAGE", hdu_uncertainty="VARIANCE", hdu_mask="MASK")
    assert isinstance(data.uncertainty, VarianceUncertainty)
    assert data.unit == units.Unit(unit)
    assert data.uncertainty.unit == units.Unit(unit) ** 2
    assert units.Unit(fits.getheader(path, "VARIANCE")["BUNIT"]) == units.Unit(unit) ** 2
    assert (data.uncertainty.array == 4).all()
    assert not data.mask.any()
    read = read_exposure(path)
    np.testing.assert_array_equal(read.variance, np.full((4, 6), 4.0))
