"""Masks: names of planes, HOTPANTS's bits, fill values."""

import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.core.planes import in_memory
from diffdecor.errors import InputError
from diffdecor.fits.read_rows import stored_integers
from diffdecor.images.masks import read_mask
from diffdecor.images.model import MaskPlanes
from diffdecor.images.no_data import filled_pixels, flag_no_data
from diffdecor.images.read import read_exposure
from diffdecor.images.surveys import preset_named
from diffdecor.images.write import plane_cards


def _read(values, cards=None, **more):
    hdu = fits.ImageHDU(np.asarray(values))
    hdu.header.update(cards or {})
    return _mask(_as_read(hdu), **more)


def _mask(hdu, **more):
    mask, planes = read_mask(stored_integers(hdu, "mask.fits"), hdu.header, "mask.fits", **more)
    return in_memory(mask), planes


def _as_read(hdu):
    """Return an HDU as `open_fits` gives it: as it is on disk, unscaled."""
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    return fits.ImageHDU.fromstring(file.getvalue()[2880:], do_not_scale_image_data=True)


def test_planes_by_cards():
    cards = {"MP_SAT": 2, "HIERARCH MP_DETECTED_NEGATIVE": 5, "MP_A": 30}
    mask, planes = _read(np.array([[0, 4, 36, 1 << 30]], "i4"), cards)
    assert dict(planes.bits) == {"SAT": 2, "DETECTED_NEGATIVE": 5, "A": 30}
    assert mask.dtype == np.int32
    assert mask.tolist() == [[0, 4, 36, 1 << 30]]


@pytest.mark.parametrize("value", ["2", 2.5, True, -1, 31])
def test_bit_numbers_are_checked(value):
    with pytest.raises(InputError, match=r"mask\.fits: MP_SAT = .* 0 to 30"):
        _read(np.zeros((2, 2), "i4"), {"MP_SAT": value})


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "i8", "f4", "f8"])
def test_types_of_masks(mef, dtype):
    path = mef(
        ("IMAGE", np.ones((2, 3), "f4")),
        ("MASK", np.arange(6).reshape(2, 3).astype(dtype), {"MP_BAD": 0}),
    )
    exposure = read_exposure(path)
    assert exposure.mask.dtype == np.int32
    assert exposure.mask.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("value", [-5, 1 << 31])
def test_masks_of_more_than_31_bits_are_refused(value):
    with pytest.raises(InputError, match=rf"mask is {value} at FITS pixel \(2, 1\)"):
        _read(np.array([[0, value]]), {"MP_BAD": 0})


def test_a_mask_nobody_explains_is_bad_where_it_is_not_0(caplog):
    caplog.set_level("INFO")
    mask, planes = _read(np.array([[0, 1, 4096]], "i2"))
    assert mask.tolist() == [[0, 1, 1]]
    assert dict(planes.bits) == {"BAD": 0}
    assert "every pixel that is not 0 is BAD" in caplog.text


def test_the_real_mask_of_hotpants(real):
    raw = fits.getdata(real / "hotpants_mask.fits").astype(int)
    assert set(np.unique(raw)) == {0, 0x40, 0x8010, 0x80A2, 0x80B4}
    exposure = read_exposure(
        real / "hotpants_diff.fits",
        mask=real / "hotpants_mask.fits",
        noise=real / "hotpants_noise.fits",
        role="difference",
    )
    mask, planes = exposure.mask, exposure.mask_planes
    names = {flag.plane: flag.bit for flag in preset_named("hotpants").flags}
    assert dict(planes.bits) == {**names, "SAT": 16, "NO_DATA": 17}
    np.testing.assert_array_equal(mask & 0xFFFF, raw)
    bad = (mask & planes.value(["BAD", "SAT", "NO_DATA"])) != 0
    np.testing.assert_array_equal(bad, (raw & 0x8000) != 0)
    np.testing.assert_array_equal((mask & planes.value(["SAT"])) != 0, raw == 0x80A2)
    # Every bad pixel of this difference holds the fill value, and has no noise.
    np.testing.assert_array_equal((mask & planes.value(["NO_DATA"])) != 0, bad)
    np.testing.assert_array_equal(np.isinf(exposure.variance), bad)
    assert (exposure.variance[~bad] > 0).all()


@pytest.mark.parametrize(
    ("value", "planes"),
    [
        (0x40, []),
        (0x21, []),  # bit 1 of an input mask: the pixel keeps its difference
        (0x88, []),  # a NaN is known by its value
        (0x8010, ["BAD"]),
        (0x8002, ["BAD", "SAT"]),
        (0x8001, ["BAD", "NO_DATA"]),
    ],
)
def test_only_0x8000_makes_a_pixel_of_hotpants_bad(value, planes):
    mask, names = _read(np.array([[value]], "u2"), {"OBJECT": "Hotpants output Mask Image"})
    standard = ["BAD", "SAT", "NO_DATA"]
    assert [name for name in standard if mask[0, 0] & names.value([name])] == planes


def test_a_mask_beside_a_difference_of_hotpants_is_its_own_only_if_named_so(mef, pixels):
    values = np.full(pixels.shape, 0x40, "i4")
    cards = {"SOFTNAME": "HOTPanTS"}
    assert set(read_exposure(mef(("", pixels, cards), ("MASK", values))).mask_planes.bits) == {
        "BAD"
    }
    fork = read_exposure(mef(("", pixels, cards), ("MASK_IMAGE", values)))
    assert "HP_CONV_OK" in fork.mask_planes


def test_fill_values_are_no_data(mef, pixels, caplog):
    caplog.set_level("INFO")
    pixels[2, 3] = np.float32(1e-30)
    path = mef(("", pixels, {"MASKVAL": 1e-30}))
    exposure = read_exposure(path, role="difference", pixels=False)
    value = exposure.mask_planes.value(["NO_DATA"])
    assert np.argwhere(exposure.mask == value).tolist() == [[2, 3]]
    assert "pixels of fill value 1e-30 are NO_DATA" in caplog.text


def test_fill_values_are_added_to_a_mask_which_is_not_changed(pixels):
    pixels[2, 3] = 0.0
    mask = np.full(pixels.shape, 4, np.int32)
    planes = MaskPlanes({"SAT": 2})
    plane, names = flag_no_data(filled_pixels(pixels, {"MASKVAL": 0.0}, "a"), mask, planes)
    new = in_memory(plane)
    assert (mask == 4).all()
    assert new[2, 3] == 4 | names.value(["NO_DATA"])
    assert new.dtype == np.int32
    assert not in_memory(filled_pixels(pixels, {"MASKVAL": 9.5}, "a")).any()
    assert filled_pixels(pixels, {}, "a") is None


@given(
    bits=st.dictionaries(
        st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True), st.integers(0, 30), max_size=31
    ),
    values=st.lists(st.integers(0, 2**31 - 1), min_size=6, max_size=6),
    dtype=st.sampled_from(["i4", "u4", "i8"]),
)
def test_masks_and_their_planes_go_to_fits_and_back(bits, values, dtype):
    hdu = fits.ImageHDU(np.array(values, dtype).reshape(2, 3))
    hdu.header.extend(plane_cards(MaskPlanes({**bits, "BAD": 0})))
    mask, planes = _mask(_as_read(hdu))
    assert mask.ravel().tolist() == values
    assert dict(planes.bits) == {**bits, "BAD": 0}


def test_planes_are_listed_for_people():
    cards = plane_cards(MaskPlanes({"SAT": 1, "NEAR_FILLED": 12, "BAD": 0}))
    rows = [line.split() for line in cards["HISTORY"]][1:]
    assert rows == [["0", "1", "BAD"], ["1", "2", "SAT"], ["12", "4096", "NEAR_FILLED"]]
    assert list(plane_cards(MaskPlanes())) == []
