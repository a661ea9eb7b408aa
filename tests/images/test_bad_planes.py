"""What a reader of the output needs to know: which pixels are bad, and what VARIANCE is."""

import numpy as np
from astropy.io import fits

from diffdecor.images.model import Exposure, MaskPlanes
from diffdecor.images.write import result_file


def test_bad_pixels_are_one_line_and_the_variance_is_one(tmp_path):
    mask = np.arange(24, dtype=np.int32).reshape(4, 6)
    planes = MaskPlanes({"BAD": 0, "DETECTED": 1, "SAT": 2, "EDGE": 4})
    pixels = np.ones((4, 6), np.float32)
    exposure = Exposure(image=pixels, variance=pixels, mask=mask, mask_planes=planes)
    bad = ("BAD", "SAT", "CR", "EDGE")
    with result_file(tmp_path / "out.fits", exposure, bad_planes=bad) as file:
        file.image[0:4], file.variance[0:4], file.mask[0:4] = pixels, pixels, mask
    with fits.open(tmp_path / "out.fits") as hdus:
        header = hdus["MASK"].header
        assert header["BADPLANE"] == "BAD,SAT,EDGE"
        found = (hdus["MASK"].data & header["BADVALUE"]) != 0
        np.testing.assert_array_equal(found, (mask & 0b10101) != 0)
        assert hdus["VARIANCE"].header["UTYPE"] == "VARIANCE"
        assert "UTYPE" not in hdus["IMAGE"].header
        assert all(len(str(card)) <= 80 for card in header.cards)
