"""Folders of real files, and damaged copies of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(
    scope="session", params=["data", pytest.param("reference", marks=pytest.mark.reference)]
)
def hotpants(request):
    """Reduced and full files of HOTPANTS: a function from name to path, and what to expect."""
    full = request.param == "reference"
    folder = request.getfixturevalue("reference") / "hotpants" if full else DATA / "hotpants"

    def path(name):
        return folder / name if full or name.endswith("_kernel.fits") else folder / f"{name}.gz"

    expected = json.loads((DATA / "hotpants" / "expected.json").read_text())
    return path, expected, np.load(DATA / "hotpants" / "expected.npz")


@pytest.fixture(scope="session")
def native_data():
    """Folder of the native samples."""
    return DATA / "native"


@pytest.fixture
def damaged(tmp_path):
    """Copy a real HOTPANTS file and change it: ``damaged("A1_diff", edit)`` returns the copy."""

    def copy(name, edit, out="damaged.fits"):
        original = DATA / "hotpants" / f"{name}.fits"
        original = original if original.exists() else original.with_suffix(".fits.gz")
        with fits.open(original) as hdus:
            edited = edit(hdus) or hdus
            edited.writeto(tmp_path / out, output_verify="ignore")
        return tmp_path / out

    return copy


@pytest.fixture
def write_image(tmp_path):
    """Write an image with cards: ``write_image(array, CTRX=3)`` returns the file."""

    def write(array, name="stamp.fits", **cards):
        fits.PrimaryHDU(array, fits.Header(cards)).writeto(tmp_path / name)
        return tmp_path / name

    return write
