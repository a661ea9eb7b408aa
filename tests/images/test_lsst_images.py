"""Images of lsst.images: planes, masks by their names, what is refused, and the whole of a run."""

import copy
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from helpers.lsst_images import edited
from helpers.trees import paths, put

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.errors import DiffdecorError, InputError
from diffdecor.fits import lsst_images
from diffdecor.fits.reading import Reading
from diffdecor.images.lsst_images import NAMES, check_tree, read_tree_mask
from diffdecor.images.read import read_exposure
from diffdecor.kernels.native_write import native_hdus
from diffdecor.kernels.registry import read_kernel
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.run import run_job, verify_job

# What is tested is said as a command says it.
pytestmark = pytest.mark.usefixtures("as_a_command")

FOLDER = Path(__file__).parents[1] / "data" / "lsst-images"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
ROLES = ("science", "template", "difference")


def plane(exposure, name):
    """Return where a plane is set, by the package's name of it."""
    bit = exposure.mask_planes.bits[NAMES.get(name, name)]
    return (np.asarray(exposure.mask) >> bit) & 1 != 0


def check_planes(folder, role):
    exposure = read_exposure(folder / f"{role}.fits", role=role)
    assert len(exposure.mask_planes.bits) == len(EXPECTED["mask_planes"][role])
    with np.load(FOLDER / "expected.npz") as expected:
        for _, name, byte, bit in EXPECTED["mask_planes"][role]:
            assert (plane(exposure, name) == (expected[f"{role}_mask"][..., byte] & bit != 0)).all()
        places = expected["sky_xy_array"], expected["sky_radec_deg"]
    for name, count in EXPECTED["mask_counts"][role].items():
        assert plane(exposure, name).sum() == count
    assert np.isnan(exposure.image).sum() == EXPECTED["nan_pixels"][role]
    found = WCS(exposure.header).all_pix2world(places[0], 0)
    np.testing.assert_allclose(found, places[1], rtol=0, atol=1e-12 * 360)
    return exposure


@pytest.mark.parametrize("role", ROLES)
def test_planes(role):
    exposure = check_planes(FOLDER, role)
    assert exposure.mask.dtype == np.int32
    level = {"science": 9.0, "template": 16.0}.get(role)
    if level is not None:
        assert np.nanmin(exposure.variance) == np.nanmax(exposure.variance) == level


@pytest.mark.reference
@pytest.mark.parametrize("role", ROLES)
def test_planes_of_a_later_version_of_the_package(reference, role):
    check_planes(reference / "lsst-images" / "current", role)


def check_mask34(exposure):
    for name, pixels in EXPECTED["mask34"]["set_xy_array"].items():
        found = [(x, y) for y, x in np.argwhere(plane(exposure, name)).tolist()]
        assert sorted(found) == sorted(map(tuple, pixels)), name


def test_more_planes_than_one_hdu_holds(caplog):
    exposure = read_exposure(FOLDER / "mask34.fits")
    check_mask34(exposure)
    assert len(exposure.mask_planes.bits) == 34
    assert "EXTRA_00, EXTRA_01" in caplog.text
    assert "EXTRA_14 are not known" in caplog.text


def test_a_mask_in_a_file_of_its_own():
    exposure = read_exposure(FOLDER / "mask34.fits", mask=FOLDER / "mask34.fits")
    check_mask34(exposure)
    with pytest.raises(InputError, match="give planes of the same image"):
        read_exposure(FOLDER / "mask34.fits", mask=FOLDER / "science.fits")


def test_planes_in_another_order_with_gaps(tmp_path):
    """Planes are known by their names; null takes no bit."""

    def change(tree):
        planes = tree["mask"]["planes"]
        planes[0], planes[3] = planes[3], planes[0]
        planes.insert(2, None)

    file = edited(FOLDER / "science.fits", tmp_path / "a.fits", change)
    with pytest.raises(InputError, match="bit 0 of MASK is BAD in its header, but CR in the tree"):
        read_exposure(file)
    with fits.open(file, mode="update") as hdus:
        hdus["MASK"].header.update({"MSKN0000": "COSMIC_RAY", "MSKN0003": "BAD"})
    exposure = read_exposure(file)
    assert plane(exposure, "BAD").sum() == EXPECTED["mask_counts"]["science"]["COSMIC_RAY"]
    assert plane(exposure, "COSMIC_RAY").sum() == EXPECTED["mask_counts"]["science"]["BAD"]


# --- what is refused


URL = "https://images.lsst.io/schemas/"
MORE = [{"name": f"N{n}"} for n in range(17)]
REFUSED = {
    "container": ({"cards": {"FMTVER": 2}}, "FMTVER = 2"),
    "no container": ({"cards": {"FMTVER": None}}, "there is no card FMTVER"),
    "no schema": ({"cards": {"DATAMODL": None}}, "no card DATAMODL"),
    "schema": ({"cards": {"DATAMODL": URL + "cell_coadd-1.0.0"}}, "cell_coadd.* is not understood"),
    "no tree": ({"without": ("JSON",)}, "no table JSON"),
    "no JSON": ({"text": b'{"image": '}, "JSON cannot be read"),
    "no text": ({"text": b"\xff\xfe\xff"}, "JSON cannot be read"),
    "deep": ({"text": b"[" * 100000}, "JSON cannot be read"),
    "list": ({"text": b"[1, 2]"}, "is not an object"),
    "reader": ({"change": put("min_read_version", value=2)}, "min_read_version = 2"),
    "image reader": ({"change": put("image", "min_read_version", value=2)}, "at image: min_read"),
    "mask reader": ({"change": put("mask", "min_read_version", value=2)}, "at mask: min_read"),
    "noise reader": ({"change": put("variance", "schema_version", value=None)}, "at variance"),
    "psf reader": ({"change": put("psf", "min_read_version", value=3)}, "at psf: min_read"),
    "source": ({"change": put("image", "data", "value", "source", value="fits:I")}, "is not in"),
    "no mask": ({"without": ("MASK",)}, "fits:MASK is not in the file"),
    "shape": ({"change": put("mask", "data", 0, "shape", value=[130, 151])}, "has shape"),
    "elsewhere": ({"change": put("variance", "yx0", value=[250, 401])}, "not of the same pixels"),
    "mask elsewhere": ({"change": put("mask", "yx0", value=[250, 401])}, "another pixel"),
    "too many": (
        {"change": lambda tree: tree["mask"]["planes"].extend(MORE)},
        "32 planes, but 1 images",
    ),
    "twice": ({"change": put("mask", "planes", 1, "name", value="BAD")}, "the same name"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path):
    how, message = REFUSED[case]
    file = edited(FOLDER / "science.fits", tmp_path / "edited.fits", **how)
    with pytest.raises(InputError, match=message) as raised:
        read_exposure(file)
    assert "edited.fits" in str(raised.value)


def test_higher_schemas_and_unknown_keys_do_not_matter(tmp_path):
    def change(tree):
        tree["schema_version"] = "1.9.0"
        tree["mask"]["schema_version"] = "1.4.2"
        tree["new"] = tree["image"]["new"] = 1

    cards = {"DATAMODL": URL + "visit_image-1.9.0"}
    file = edited(FOLDER / "science.fits", tmp_path / "edited.fits", change, cards=cards)
    read, original = read_exposure(file), read_exposure(FOLDER / "science.fits")
    assert (read.mask == original.mask).all()


def test_planes_that_were_taken_out_of_their_file_are_read_when_asked_for(tmp_path):
    """Without the tree the file is refused; it says which option takes the planes as they are."""
    file = edited(FOLDER / "science.fits", tmp_path / "edited.fits", without=("JSON",))
    with pytest.raises(InputError, match="--layout lsst"):
        read_exposure(file)


JUNK = (None, -1, 1e300, "junk", [], {}, [[1]], True, {"source": "fits:MASK"}, 10**40)


@pytest.mark.parametrize("part", ["image", "mask", "variance"])
def test_damage_is_one_clear_error(part, monkeypatch):
    """Whatever stands at a place in the tree: the image is read, or there is a clear error."""
    said = []
    with fits.open(FOLDER / "mask34.fits") as hdus, Reading() as reading:
        tree = json.loads(bytes(hdus["JSON"].data["JSON"][0]))
        for path in paths(tree[part], (part,)):
            for junk in JUNK:
                found = copy.deepcopy({"schema_version": "1.0.0", "min_read_version": 1} | {
                    one: tree[one] for one in ("image", "mask", "variance")})  # fmt: skip
                put(*path, value=junk)(found)
                monkeypatch.setattr(lsst_images, "_decoded", lambda _, found=found: found)
                try:
                    node = check_tree(hdus, hdus["IMAGE"], "x.fits", with_psf=True)
                    read_tree_mask(node, reading, "x.fits")
                except DiffdecorError as error:
                    said.append(str(error))
    assert said
    assert all(text.startswith("x.fits: ") for text in said)


# --- the whole of a run


def job(folder, output, *, suffix=".fits", kernel=None, config=None, **options):
    return Job(
        science=str(folder / f"science{suffix}"),
        template=str(folder / f"template{suffix}"),
        difference=str(folder / f"difference{suffix}"),
        kernel=kernel,
        output=str(output),
        decorrelation=config or DecorrelationConfig(),
        files=FilesConfig.of(**options),
    )


def test_the_difference_is_rebuilt_exactly(tmp_path):
    verdict = verify_job(job(FOLDER, tmp_path / "out.fits"))
    assert verdict.belongs
    assert verdict.fit.worst < 1e-6
    assert verdict.fit.pixels > 16000


def plain(folder):
    """Write the same triple in the plain layout, its kernel in the native format."""
    for role in ROLES:
        one = read_exposure(FOLDER / f"{role}.fits", role=role)
        image = fits.ImageHDU(one.image, name="IMAGE")
        image.header.update({k: v for k, v in one.header.items() if k[:2] in {"CR", "CT", "PC"}})
        image.header["BUNIT"] = "nJy"
        mask = fits.ImageHDU(one.mask, name="MASK")
        for name, bit in one.mask_planes.bits.items():
            mask.header[f"HIERARCH MP_{name}"] = bit
        hdus = [fits.PrimaryHDU(), image, mask, fits.ImageHDU(one.variance, name="VARIANCE")]
        hdus.append(fits.ImageHDU(one.psf.stamp(0, 0), name="PSF"))
        fits.HDUList(hdus).writeto(folder / f"{role}.fits")
    native_hdus(read_kernel(FOLDER / "difference.fits")).writeto(folder / "kernel.fits")
    return str(folder / "kernel.fits")


@pytest.mark.parametrize("mode", ["grid", "whole"])
def test_the_result_is_that_of_the_same_pixels_in_the_plain_layout(mode, tmp_path, caplog):
    config = DecorrelationConfig(mode=mode, noise_model="white")
    kernel = plain(tmp_path)
    run_job(job(FOLDER, tmp_path / "a.fits", config=config))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    run_job(job(tmp_path, tmp_path / "b.fits", kernel=kernel, config=config))
    with fits.open(tmp_path / "a.fits") as first, fits.open(tmp_path / "b.fits") as second:
        for name in ("IMAGE", "VARIANCE", "PSF", "PSI"):
            a, b = first[name].data, second[name].data
            peak = np.nanmax(np.abs(np.where(np.isfinite(b), b, np.nan)))
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * peak, equal_nan=True)
        assert (first["MASK"].data == second["MASK"].data).all()
        bits = [
            {k: v for k, v in one["MASK"].header.items() if "MP_" in k} for one in (first, second)
        ]
        assert bits[0] == bits[1]
        assert first["IMAGE"].header["BUNIT"] == "nJy"
        gone = ("FMTVER", "DATAMODL", "INDXADDR", "INDXSIZE", "JSONADDR", "JSONSIZE", "MSKN0000")
        assert not [key for hdu in first for key in gone if key in hdu.header]
        assert first["IMAGE"].header["CRVAL1A"] == 400


def wide_job(folder, output):
    """Write a template and a kernel for the image of 34 planes, which is its own difference."""
    rng = np.random.default_rng(1)
    template = fits.ImageHDU(rng.normal(0, 1, (24, 30)), name="IMAGE")
    noise = fits.ImageHDU(np.ones((24, 30)), name="VARIANCE")
    fits.HDUList([fits.PrimaryHDU(), template, noise]).writeto(folder / "template.fits")
    stamp = np.outer([1, 2, 1], [1, 2, 1]) / 16.0
    fits.PrimaryHDU(stamp).writeto(folder / "kernel.fits")
    return Job(
        science=str(FOLDER / "mask34.fits"),
        template=str(folder / "template.fits"),
        difference=str(FOLDER / "mask34.fits"),
        kernel=str(folder / "kernel.fits"),
        output=str(output),
        files=FilesConfig.of(verify=False),
        decorrelation=DecorrelationConfig(convolved="template", noise_model="white"),
    )


def test_more_planes_than_one_hdu_holds_come_out_as_a_second_one(tmp_path):
    run_job(wide_job(tmp_path, tmp_path / "out.fits"))
    with fits.open(tmp_path / "out.fits", checksum=True) as hdus:
        low, high = hdus["MASK", 1], hdus["MASK", 2]
        assert low.data.dtype == high.data.dtype == np.dtype(">i4")
        assert high.header["MP_EXTRA_14"] == 2
        assert (high.data[3, 5] >> 2) & 1 == 1
        assert len([key for key in low.header if key.startswith("MP_")]) == 31
        bad = {"SAT", "CR", "BAD", "NO_DATA", "EDGE", "NEAR_FILLED"}
        for hdu in (low, high):
            names = set(filter(None, hdu.header["BADPLANE"].split(",")))
            bits = [hdu.header[f"MP_{name}"] for name in names]
            assert hdu.header["BADVALUE"] == sum(1 << bit for bit in bits)
            bad -= names
        assert not bad  # each of them is in one of the two
        assert high.header["BADPLANE"]
    check_mask34_but_edge(read_exposure(tmp_path / "out.fits"))


def check_mask34_but_edge(exposure):
    assert {"EXTRA_14", "NEAR_FILLED", "NO_DATA"} <= set(exposure.mask_planes.bits)
    check_mask34(exposure)


def undecided(caplog):
    return "whether its noise is decorrelated already" in caplog.text


def test_that_it_may_be_decorrelated_is_said_where_verification_does_not_decide(tmp_path, caplog):
    run_job(job(FOLDER, tmp_path / "a.fits"))
    assert not undecided(caplog)
    run_job(job(FOLDER, tmp_path / "b.fits", verify=False))
    assert undecided(caplog)


def test_that_it_may_be_decorrelated_is_not_said_of_one_image_alone(tmp_path, caplog):
    alone = Job(difference=str(FOLDER / "difference.fits"), output=str(tmp_path / "a.fits"))
    run_job(alone)
    assert not undecided(caplog)
