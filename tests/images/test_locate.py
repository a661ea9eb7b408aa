"""Which HDU is meant."""

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.errors import InputError
from diffdecor.fits.open import open_fits
from diffdecor.fits.paths import split_extension
from diffdecor.images.locate import companion, find_image, hdu_name
from diffdecor.images.surveys.plain import IMAGE_NAMES, MASK_NAMES, NOISE_NAMES

PLANE = np.ones((3, 4), "f4")


def _hdus(*names):
    hdus = [fits.PrimaryHDU()]
    for name in names:
        extname, _, version = name.partition(",")
        hdu = fits.ImageHDU(PLANE, name=extname)
        if version:
            hdu.ver = int(version)
        hdus.append(hdu)
    return fits.HDUList(hdus)


@pytest.mark.parametrize(
    ("names", "extension", "found"),
    [
        (["IMAGE", "MASK", "VARIANCE"], None, 1),
        (["MASK", "VARIANCE", "IMAGE"], None, 3),
        (["ERR", "DQ", "SCI"], None, 3),
        (["PSF", "MASK", "DIFF", "VARIANCE"], None, 3),
        (["VAR_POISSON", "WHT", "", ""], None, 3),
        (["IMAGE", "MASK"], "MASK", 2),
        (["IMAGE", "MASK"], 2, 2),
        (["SCI,1", "ERR,1", "SCI,2", "ERR,2"], ("SCI", 2), 3),
        (["S29", "N31"], "N31", 2),
    ],
)
def test_the_image_of_a_file(names, extension, found):
    hdus = _hdus(*names)
    assert find_image(hdus, extension, IMAGE_NAMES, file="a.fits") is hdus[found]


def test_an_image_in_the_primary_hdu():
    hdus = fits.HDUList([fits.PrimaryHDU(PLANE), fits.ImageHDU(PLANE)])
    assert find_image(hdus, None, IMAGE_NAMES, file="a.fits") is hdus[0]


def test_a_plane_is_preferred_to_a_cube():
    hdus = fits.HDUList([fits.PrimaryHDU(np.ones((2, 3, 4))), fits.ImageHDU(PLANE)])
    assert find_image(hdus, None, IMAGE_NAMES, file="a.fits") is hdus[1]


def test_old_afw_files_have_exttype():
    hdus = _hdus("", "", "")
    for hdu, name in zip(hdus[1:], ("VARIANCE", "MASK", "IMAGE"), strict=True):
        hdu.header["EXTTYPE"] = name
    assert find_image(hdus, None, IMAGE_NAMES, file="a.fits") is hdus[3]
    assert companion(hdus, hdus[3], MASK_NAMES) is hdus[2]
    assert companion(hdus, hdus[3], NOISE_NAMES) is hdus[1]


def test_layers_of_hotpants_are_known_by_object():
    hdus = _hdus("", "", "")
    layers = ("Convolved Image", "Noise-scaled (sigma) Difference Image", "HOTPanTS Noise Image")
    for hdu, what in zip(hdus[1:], layers, strict=True):
        hdu.header["OBJECT"] = what
    assert [hdu_name(hdu) for hdu in hdus] == ["", "IMAGE_CONV", "RMS_IMAGE_SCALED", "SIGMA"]


@pytest.mark.parametrize(
    ("hdus", "extension", "says"),
    [
        (_hdus(), None, "there is no image in it"),
        (_hdus("MASK", "PSF"), None, "there is no image in it .*1 MASK, 2 PSF"),
        (_hdus("IMAGE"), 0, "HDU PRIMARY is not an image"),
        (_hdus("IMAGE"), "SCI", "there is no extension SCI"),
        (fits.HDUList([fits.PrimaryHDU(np.ones((2, 3, 4)))]), None, r"shape \(2, 3, 4\)"),
        (fits.HDUList([fits.PrimaryHDU(np.ones(5))]), None, r"shape \(5,\)"),
    ],
)
def test_no_image(hdus, extension, says):
    with pytest.raises(InputError, match=f"a.fits: .*{says}"):
        find_image(hdus, extension, IMAGE_NAMES, file="a.fits")


def test_a_companion_has_the_same_version():
    hdus = _hdus("SCI,1", "ERR,1", "DQ,1", "SCI,2", "ERR,2")
    assert companion(hdus, hdus[4], NOISE_NAMES) is hdus[5]
    assert companion(hdus, hdus[4], MASK_NAMES) is None
    assert companion(hdus, hdus[1], MASK_NAMES) is hdus[3]


def test_variance_counts_before_sigma_and_weight():
    hdus = _hdus("SCI", "WHT", "ERR")
    assert companion(hdus, hdus[1], NOISE_NAMES) is hdus[3]


def test_a_companion_in_a_file_of_its_own_has_the_same_name():
    science, weights = _hdus("S29", "N31"), _hdus("S29", "N31")
    assert find_image(weights, None, NOISE_NAMES, file="w", like=science[2]) is weights[2]
    with pytest.raises(InputError, match="several images"):
        find_image(weights, None, NOISE_NAMES, file="w", like=_hdus("S1")[1])
    errors = _hdus("ERR,1", "ERR,2")
    assert find_image(errors, None, NOISE_NAMES, file="w", like=_hdus("SCI,2")[1]) is errors[2]
    single = fits.HDUList([fits.PrimaryHDU(PLANE)])
    assert find_image(single, None, NOISE_NAMES, file="w", like=science[1]) is single[0]


@given(
    stem=st.text("abc[], .", min_size=1, max_size=8).filter(lambda s: s.strip(". ")),
    name=st.text("ABCxyz_0", min_size=1, max_size=8).filter(lambda s: not s.isdecimal()),
    version=st.none() | st.integers(1, 99),
)
def test_brackets_are_taken_apart(stem, name, version):
    extension = name if version is None else f"{name},{version}"
    path, found = split_extension(f"{stem}.fits[{extension}]")
    assert str(path) == str(type(path)(f"{stem}.fits"))
    assert found == (name if version is None else (name, version))


def test_a_file_with_brackets_in_its_name_wins(tmp_path):
    path = tmp_path / "a.fits[1]"
    fits.PrimaryHDU(PLANE).writeto(path)
    with open_fits(path) as (hdus, extension):
        assert len(hdus) == 1
        assert extension is None
    with open_fits(f"{path}[0]") as (_, extension):
        assert extension == 0


def test_companions_of_images_of_one_name_go_by_their_place():
    hdus = _hdus("SCI", "ERR", "DQ", "SCI", "ERR", "DQ")
    assert companion(hdus, hdus[1], NOISE_NAMES) is hdus[2]
    assert companion(hdus, hdus[4], NOISE_NAMES) is hdus[5]
    assert companion(hdus, hdus[4], MASK_NAMES) is hdus[6]
    grouped = _hdus("SCI", "SCI", "ERR", "ERR")
    assert companion(grouped, grouped[2], NOISE_NAMES) is grouped[4]
    uneven = _hdus("SCI", "ERR", "SCI", "SCI", "ERR")
    assert companion(uneven, uneven[3], NOISE_NAMES) is None
    assert companion(uneven, uneven[4], NOISE_NAMES) is uneven[5]


def test_places_count_among_those_of_one_version_only():
    hdus = _hdus("SCI,1", "SCI,2", "ERR,2", "ERR,1")
    assert companion(hdus, hdus[1], NOISE_NAMES) is hdus[4]
    assert companion(hdus, hdus[2], NOISE_NAMES) is hdus[3]


def test_a_noise_file_of_several_planes_goes_by_place(caplog):
    science, errors = _hdus("SCI", "SCI"), _hdus("ERR", "ERR")
    found = find_image(errors, None, NOISE_NAMES, file="w", like=science[2], among=science)
    assert found is errors[2]
    assert not caplog.text


@pytest.mark.parametrize("names", [["SCI", "SCI"], ["SCI,1", "SCI,2"], ["S29", "N31"], ["", ""]])
def test_a_choice_among_several_images_is_said(names, caplog):
    hdus = _hdus(*names)
    assert find_image(hdus, None, IMAGE_NAMES, file="a.fits") is hdus[1]
    assert "a.fits: several images could be meant; taking HDU 1, not 2" in caplog.text
