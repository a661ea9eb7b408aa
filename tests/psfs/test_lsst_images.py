"""PSFs of lsst.images: the package's own stamps, and what is not read."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.closeness import assert_same
from helpers.lsst_images import edited
from helpers.trees import paths

from diffdecor.errors import DiffdecorError, InputError
from diffdecor.fits.lsst_images import Node
from diffdecor.images.read import read_exposure
from diffdecor.psfs import lsst_images
from diffdecor.psfs.registry import read_psf

FOLDER = Path(__file__).parents[1] / "data" / "lsst-images"
FILES = {
    "science": "science.fits",
    "template": "template.fits",
    "difference": "difference.fits",
    "piff": "psf_piff.fits",
}


def check_stamps(folder, case):
    psf = read_psf(folder / FILES[case])
    with np.load(FOLDER / "expected.npz") as expected:
        for (x, y), stamp in zip(expected["psf_xy_array"], expected[f"psf_{case}"], strict=True):
            assert_same(psf.stamp(x, y), stamp, 1e-12)
            assert psf.origin == (stamp.shape[1] // 2, stamp.shape[0] // 2)


@pytest.mark.parametrize("case", FILES)
def test_stamps(case):
    check_stamps(FOLDER, case)


@pytest.mark.reference
@pytest.mark.parametrize("case", ["science", "template", "difference"])
def test_stamps_of_a_later_version_of_the_package(reference, case):
    check_stamps(reference / "lsst-images" / "current", case)


@pytest.mark.parametrize("case", FILES)
def test_the_psf_of_an_image_is_read_with_it(case):
    exposure = read_exposure(FOLDER / FILES[case])
    assert_same(exposure.psf.stamp(10, 20), read_psf(FOLDER / FILES[case]).stamp(10, 20))


def test_positions_in_pixels_instead_of_arcseconds(tmp_path):
    """The same polynomials in x and y: coefficients of u and v times powers of the scale."""

    def change(tree):
        piff = tree["psf"]["piff"]["objects"]["piff"]
        piff["structs"]["interp"]["keys"] = ["x", "y"]
        data = piff["objects"]["interp"]["tables"]["solution"]["table"]["columns"][0]
        with fits.open(FOLDER / FILES["piff"]) as hdus:
            values = np.array(hdus["PSF/PIFF/INTERP/SOLUTION"].data.field(0)[0]).reshape(169, 6)
        powers = [i + j for i in range(3) for j in range(3) if i + j <= 2]
        data["data"] = {"data": (values * 0.2 ** np.array(powers)).tolist(), "datatype": "float64"}

    psf = read_psf(edited(FOLDER / FILES["piff"], tmp_path / "xy.fits", change))
    assert_same(psf.stamp(7, 8), read_psf(FOLDER / FILES["piff"]).stamp(7, 8), 1e-11)


# --- what is not read, and said


def of_piff(*path, value):
    def change(tree):
        node = tree["psf"]
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return change


STRUCTS = ("piff", "objects", "piff", "structs")
UNREAD = {
    "no PSF": (lambda tree: tree.update(psf=None), "no PSF in it"),
    "PSFEx": (
        of_piff("schema_url", value="https://images.lsst.io/schemas/psfex_psf-1.0.0"),
        "psfex_psf, which is not read",
    ),
    "no schema": (of_piff("schema_url", value=None), "which is not read"),
    "model": (of_piff(*STRUCTS, "model", "type", value="Gaussian"), "Simple, Gaussian"),
    "sum of models": (of_piff("piff", "structs", "piff", "type", value="Sum"), "Sum, PixelGrid"),
    "scale": (of_piff(*STRUCTS, "model", "scale", value=0.15), "pixels of 0.15"),
    "orders": (of_piff(*STRUCTS, "interp", "order", value=[2, 1, 1]), "is not read without Piff"),
    "max order": (of_piff(*STRUCTS, "interp", "max_order", value=2), "is not read without Piff"),
    "colour": (of_piff(*STRUCTS, "interp", "keys", value=["u", "v", "color"]), "color"),
    "other": (of_piff(*STRUCTS, "interp", "type", value="GPInterp"), "GPInterp"),
    "small stamps": (of_piff("stamp_size", value=11), "stamps of 11 pixels"),
}


@pytest.mark.parametrize("case", UNREAD)
def test_a_psf_that_is_not_read_is_said(case, tmp_path, caplog):
    change, message = UNREAD[case]
    file = edited(FOLDER / FILES["piff"], tmp_path / "edited.fits", change)
    with pytest.raises(InputError, match=message):
        read_psf(file)
    assert read_exposure(file).psf is None
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert message in said
    assert said.endswith("going on without it")


def test_a_psf_that_asks_for_a_newer_reader_is_refused(tmp_path):
    change = of_piff("min_read_version", value=2)
    file = edited(FOLDER / FILES["piff"], tmp_path / "edited.fits", change)
    with pytest.raises(InputError, match="min_read_version = 2"):
        read_exposure(file)
    # Another one does in its place.
    assert read_exposure(file, psf=FOLDER / FILES["science"]).psf is not None


JUNK = (None, -1, 1e300, "junk", [], {}, [[1]], True, {"source": "fits:MASK"}, float("nan"), 10**40)


@pytest.mark.parametrize("case", ["science", "piff"])
def test_damage_is_one_clear_error(case):
    said = []
    with fits.open(FOLDER / FILES[case], do_not_scale_image_data=True) as hdus:
        tree = json.loads(bytes(hdus["JSON"].data["JSON"][0]))["psf"]
        tree.pop("stars", None)
        for path in paths(tree):
            for junk in JUNK if path else ():
                broken = copy.deepcopy(tree)
                of_piff(*path, value=junk)({"psf": broken})
                try:
                    node = Node(hdus, "x.fits", "psf", broken).checked()
                    read = lsst_images._gaussian if case == "science" else None  # noqa: SLF001
                    psf = read(node) if read else lsst_images._piff(node, (400, 250))  # noqa: SLF001
                    psf.stamp(3, 4)
                except DiffdecorError as error:
                    said.append(str(error))
    assert said
    assert all(text.startswith("x.fits: ") for text in said)
