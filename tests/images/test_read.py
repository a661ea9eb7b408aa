"""Whole exposures, in every layout."""

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits

from diffdecor import read_exposure
from diffdecor.config import ImageOptions
from diffdecor.errors import InputError
from diffdecor.images.read import open_exposure


@pytest.mark.parametrize(
    ("names", "variance"),
    [
        (("IMAGE", "MASK", "VARIANCE"), 3.0),
        (("SCI", "DQ", "ERR"), 9.0),
        (("sci", "dq", "err"), 9.0),
    ],
)
def test_files_of_several_planes(mef, pixels, names, variance):
    mask = np.zeros(pixels.shape, "i4")
    mask[4, 5] = 1
    path = mef((names[0], pixels), (names[1], mask), (names[2], np.full_like(pixels, 3)))
    exposure = read_exposure(path)
    np.testing.assert_array_equal(exposure.image, pixels)
    np.testing.assert_array_equal(exposure.mask, mask)
    np.testing.assert_array_equal(exposure.variance, np.full_like(pixels, variance))
    assert exposure.mask_planes.bits == {"BAD": 0}
    assert exposure.name == str(path)
    assert exposure.psf is None
    for plane in (exposure.image, exposure.mask, exposure.variance):
        assert plane.dtype.isnative
        assert plane.flags.owndata or plane.base is None or plane.base.flags.owndata


def test_the_planes_of_one_version_belong_together(mef, pixels):
    planes = [
        (name, np.full_like(pixels, value), {"EXTVER": version})
        for version in (1, 2)
        for name, value in (("SCI", 10 * version), ("ERR", version), ("DQ", 0))
    ]
    path = mef(*planes)
    for version in (1, 2):
        exposure = read_exposure(f"{path}[SCI,{version}]")
        assert exposure.image[0, 0] == 10 * version
        assert exposure.variance[0, 0] == version**2
    assert read_exposure(f"{path}[4]").variance[0, 0] == 4


def test_separate_files_with_extensions(mef, pixels):
    image = mef(("S29", pixels), ("N31", pixels + 1), name="ooi.fits")
    weight = mef(("S29", pixels), ("N31", np.full_like(pixels, 4)), name="oow.fits")
    mask = mef(
        ("S29", np.ones(pixels.shape, "i2")), ("N31", np.zeros(pixels.shape, "i2")), name="ood.fits"
    )
    exposure = read_exposure(f"{image}[N31]", noise=weight, noise_kind="ivar", mask=f"{mask}[N31]")
    assert exposure.variance[0, 0] == 0.25
    assert not exposure.mask.any()
    assert read_exposure(f"{image}[S29]", mask=mask).mask.all()


def test_own_files_win_over_planes_in_the_file(mef, pixels):
    path = mef(("IMAGE", pixels), ("MASK", np.ones(pixels.shape, "i4")), ("VARIANCE", pixels))
    noise = mef(("VARIANCE", np.full_like(pixels, 7)), name="v.fits")
    mask = mef(("", np.zeros(pixels.shape, "u1")), name="m.fits")
    exposure = read_exposure(path, noise=noise, mask=mask)
    assert not exposure.mask.any()
    assert (exposure.variance == 7).all()


@pytest.mark.parametrize("option", ["noise", "mask"])
def test_planes_of_another_shape_are_refused_by_name(mef, pixels, option):
    image = mef(("", pixels), name="image.fits")
    other = mef(("VARIANCE" if option == "noise" else "MASK", pixels[1:]), name="other.fits")
    with pytest.raises(InputError, match=r"other\.fits.*\(11, 16\).*image\.fits.*\(12, 16\)"):
        read_exposure(image, **{option: other})
    with pytest.raises(InputError, match=r"\(11, 16\).*\(12, 16\)"):
        read_exposure(mef(("IMAGE", pixels), ("MASK", np.zeros((11, 16), "i4"))))


@pytest.mark.parametrize("pack", ["gz", "fz", "fz-quantised"])
def test_compressed_files(mef, pixels, tmp_path, pack):
    mask = np.zeros(pixels.shape, "i4")
    mask[0, 1] = 8
    variance = np.full_like(pixels, 25)
    if pack == "gz":
        plain = mef(("IMAGE", pixels), ("MASK", mask, {"MP_CR": 3}), ("VARIANCE", variance))
        path = tmp_path / "in.fits.gz"
        with plain.open("rb") as file, gzip.open(path, "wb") as packed:
            shutil.copyfileobj(file, packed)
    else:
        path = tmp_path / "in.fits.fz"
        how = {} if pack == "fz-quantised" else {"quantize_level": 0, "compression_type": "GZIP_2"}
        hdus = [fits.PrimaryHDU(), fits.CompImageHDU(pixels, name="IMAGE", **how)]
        hdus.append(fits.CompImageHDU(mask, name="MASK", compression_type="RICE_1"))
        hdus[-1].header["MP_CR"] = 3
        hdus.append(fits.CompImageHDU(variance, name="VARIANCE", **how))
        fits.HDUList(hdus).writeto(path)
    exposure = read_exposure(path)
    np.testing.assert_allclose(exposure.image, pixels, atol=1 if pack == "fz-quantised" else 0)
    np.testing.assert_array_equal(exposure.mask, mask)
    assert exposure.mask_planes.bits == {"CR": 3}
    np.testing.assert_allclose(exposure.variance, variance)
    assert exposure.image.dtype == np.float32


def test_a_packed_single_image(pixels, tmp_path):
    path = tmp_path / "image.fits.fz"
    hdu = fits.CompImageHDU(pixels, quantize_level=0, compression_type="GZIP_1")
    hdu.header["EXTNAME"] = "COMPRESSED_IMAGE"
    hdu.header["EXPTIME"] = 30.0
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    exposure = read_exposure(path)
    np.testing.assert_array_equal(exposure.image, pixels)
    assert exposure.header["EXPTIME"] == 30.0


def test_a_cube_of_one_plane_is_an_image_and_others_are_not(mef, pixels):
    np.testing.assert_array_equal(read_exposure(mef(("SCI", pixels[np.newaxis]))).image, pixels)
    with pytest.raises(InputError, match=r"HDU SCI has shape \(2, 12, 16\)"):
        read_exposure(mef(("SCI", np.stack([pixels, pixels]))))


def test_pixels_left_in_the_file_until_they_are_wanted(mef, pixels):
    path = mef(("IMAGE", pixels), ("VARIANCE", pixels**2))
    exposure = read_exposure(f"{path}[IMAGE]", pixels=False)
    assert exposure.shape == pixels.shape
    fits.setval(path, "IMAGE", extname="IMAGE", value=1)
    with fits.open(path, mode="update") as hdus:
        hdus["IMAGE"].data[:] += 1
    np.testing.assert_array_equal(exposure.image[3:5], pixels[3:5] + 1)
    np.testing.assert_array_equal(np.asarray(exposure.image), pixels + 1)


def test_the_header_is_that_of_image_and_file(mef, pixels):
    primary = {"EXPTIME": 30.0, "FILTER": "r", "CRVAL1": 1.0, "RADESYS": "FK5", "DATASUM": "5"}
    cards = {"FILTER": "i", "CRVAL1": 2.0, "CTYPE1": "RA---TAN"}
    header = read_exposure(mef(("IMAGE", pixels, cards), primary=primary)).header
    assert header["EXPTIME"] == 30.0
    assert header["FILTER"] == "i"
    assert header["CRVAL1"] == 2.0
    assert "RADESYS" not in header  # two world coordinate systems must not be mixed
    assert "SIMPLE" not in header
    assert header["NAXIS"] == 2


def test_a_psf_beside_the_image(mef, pixels, caplog):
    stamp = np.outer([1, 2, 1], [1, 4, 1]).astype("f8")
    path = mef(("IMAGE", pixels), ("PSF", stamp))
    np.testing.assert_allclose(read_exposure(path).psf.stamp(0, 0), stamp / stamp.sum())
    other = mef(("", stamp.T), name="psf.fits")
    np.testing.assert_allclose(read_exposure(path, psf=other).psf.stamp(0, 0), stamp.T / 24)
    broken = mef(("IMAGE", pixels), ("PSF", stamp * np.nan))
    assert read_exposure(broken).psf is None
    assert "must be finite with a positive sum; going on without it" in caplog.text
    with pytest.raises(InputError, match="must be finite"):
        read_exposure(path, psf=broken)


def test_a_plain_second_image_is_no_psf(mef, pixels):
    assert read_exposure(mef(("IMAGE", pixels), ("", pixels))).psf is None


def test_nothing_is_changed_on_disk(mef, pixels):
    path = mef(("IMAGE", pixels), ("MASK", pixels.astype("i4")), ("VARIANCE", pixels))
    before = path.read_bytes()
    read_exposure(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("option", ["noise", "mask", "psf"])
def test_a_missing_file_is_named(mef, pixels, option, tmp_path):
    with pytest.raises(InputError, match=r"gone\.fits: no such file"):
        read_exposure(mef(("IMAGE", pixels)), **{option: tmp_path / "gone.fits"})


def test_planes_that_nobody_asks_for_are_not_read(mef, pixels):
    bad = -np.ones_like(pixels)
    path = mef(("IMAGE", pixels), ("MASK", bad.astype("i4"), {"MP_A": 1}), ("VARIANCE", bad))
    exposure = open_exposure(path, ImageOptions()).exposure
    np.testing.assert_array_equal(exposure.image[2:4], pixels[2:4])
    for plane in (exposure.mask, exposure.variance):
        with pytest.raises(InputError):
            plane[0:1]


@pytest.mark.parametrize(
    ("role", "planes", "noise", "unneeded"),
    [
        ("science", {"VARIANCE": 1}, {}, (1,)),
        ("template", {"VARIANCE": 1}, {}, (1,)),
        ("difference", {"VARIANCE": 1}, {}, (2,)),
        ("difference", {}, {}, ()),
        ("science", {"WHT": 1}, {}, ()),  # scaled to the image
        ("science", {"WHT": 1}, {"noise_kind": "ivar"}, (1,)),
        ("science", {"ERR": 1}, {"gain": 2.0}, ()),
    ],
)
def test_what_the_result_does_not_depend_on(mef, pixels, role, planes, noise, unneeded):
    others = [(name, np.full_like(pixels, value)) for name, value in planes.items()]
    path = mef(("SCI", pixels), *others)
    assert open_exposure(path, ImageOptions(role=role, **noise)).unneeded == unneeded


def test_an_image_without_data_somewhere_is_needed(mef, pixels):
    def unneeded(*cards, **options):
        return open_exposure(mef(("SCI", pixels, *cards)), ImageOptions(**options)).unneeded

    assert unneeded({"MASKVAL": 3.0}) == ()
    pixels[:, 0] = 0
    assert unneeded() == ()
    assert unneeded(zero_borders=False) == (1,)


@pytest.mark.parametrize("name", ["VARIANCE", "ERR", "IVAR", "WHT"])
def test_rows_are_the_same_however_they_are_read(mef, name):
    rng = np.random.default_rng(2)
    image = rng.normal(0, 3, (200, 150)).astype("f4")
    image[:7] = 0
    noise = rng.uniform(1, 9, image.shape).astype("f4")
    noise[rng.random(image.shape) < 0.1] = 0
    noise[150, :3] = [np.nan, np.inf, 1e-12]
    mask = rng.integers(0, 40, image.shape).astype("i2")
    path = mef(("SCI", image), (name, noise), ("DQ", mask))
    whole, exposure = read_exposure(path), open_exposure(path, ImageOptions()).exposure
    for rows in [slice(n, n + 13) for n in range(0, 187, 11)]:
        for plane in ("image", "variance", "mask"):
            np.testing.assert_array_equal(
                getattr(exposure, plane)[rows], getattr(whole, plane)[rows]
            )
