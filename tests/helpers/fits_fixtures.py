from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

SHAPE = (12, 16)


@pytest.fixture
def pixels():
    return np.random.default_rng(4).normal(100.0, 5.0, SHAPE).astype(np.float32)


@pytest.fixture
def mef(tmp_path):
    """Write a file of an empty primary and named HDUs; a plane is an array, or it with cards."""

    def write(*planes, name="in.fits", primary=None) -> Path:
        first = fits.PrimaryHDU()
        first.header.update(primary or {})
        hdus = [first]
        for extname, array, *cards in planes:
            hdu = fits.ImageHDU(array)
            if extname:
                hdu.header["EXTNAME"] = extname
            for more in cards:
                hdu.header.update(more)
            hdus.append(hdu)
        path = tmp_path / name
        fits.HDUList(hdus).writeto(path, overwrite=True)
        return path

    return write


@pytest.fixture
def real():
    return Path(__file__).parents[1] / "data" / "fits"
