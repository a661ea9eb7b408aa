"""Bits of masks that cards name, in every convention."""

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.errors import InputError
from diffdecor.images.mask_cards import named_bits
from diffdecor.images.read import read_exposure


def header(**cards):
    made = fits.Header()
    made.update({f"HIERARCH {k}" if len(k) > 8 else k: v for k, v in cards.items()})
    return made


RUBIN = {"SATURATED": 1, "INTERPOLATED": 2, "COSMIC_RAY": 3, "DETECTION_EDGE": 4, "DETECTED": 5}
AFW = {"SAT": 1, "INTRP": 2, "CR": 3, "EDGE": 4, "DETECTED": 5}


def rubin(planes, first=0):
    cards = {}
    for number, (name, bit) in enumerate(planes.items(), start=first):
        cards |= {f"MSKN{number:04d}": name, f"MSKM{number:04d}": 1 << bit}
        cards[f"MSKD{number:04d}"] = "what it is"
    return header(**cards)


@pytest.mark.parametrize("first", [0, 1, 7])
def test_rubin_names_by_value_whatever_the_number_of_the_card(first):
    found = named_bits(rubin(RUBIN, first), "mask.fits")
    assert {flag.plane: flag.bit for flag in found.flags} == AFW
    assert not any(flag.means for flag in found.flags)


@pytest.mark.parametrize(
    ("cards", "says"),
    [
        ({"MSKN0001": "SATURATED"}, r"MSKM0001 = None is not its value"),
        ({"MSKN0001": "SATURATED", "MSKM0001": 3}, "MSKM0001 = 3"),
        ({"MSKN0001": "SATURATED", "MSKM0001": "2"}, "MSKM0001 = '2'"),
        ({"MSKN0001": "SATURATED", "MSKM0001": 1 << 31}, "below 2"),
        ({"MSKNAM00": "FLAT", "MSKVAL00": "x"}, "MSKVAL is 'x'"),
        ({"MP_SAT": 31}, "0 to 30"),
    ],
)
def test_cards_that_cannot_be(cards, says):
    with pytest.raises(InputError, match=says):
        named_bits(header(**cards), "mask.fits")


LEGACY = header(
    MASKB0="badpix", MASKB1="satur", MASKB2="interp", MASKB4="cr", MASKB6="bleed", MASKB7="trans",
    MASKB8="edge", MASKB9="edge2", MASKB11="outlier",
)  # fmt: skip
PAN_STARRS = header(
    MSKNUM=5, MSKNAM00="DETECTOR", MSKVAL00=1, MSKNAM01="BLANK", MSKVAL01=8, MSKNAM02="SAT",
    MSKVAL02=32, MSKNAM03="CONV.BAD", MSKVAL03=8192, MSKNAM04="MASK.VALUE", MSKVAL04=8233,
)  # fmt: skip


@pytest.mark.parametrize(
    ("cards", "plane", "bit"),
    [
        (LEGACY, "BAD", 0), (LEGACY, "SAT", 1), (LEGACY, "INTRP", 2), (LEGACY, "CR", 4),
        (LEGACY, "SAT", 6), (LEGACY, "DETECTED", 7), (LEGACY, "EDGE", 8), (LEGACY, "BAD", 9),
        (LEGACY, "BAD", 11),
        (PAN_STARRS, "BAD", 0), (PAN_STARRS, "NO_DATA", 3), (PAN_STARRS, "SAT", 5),
        (PAN_STARRS, "BAD", 13),
        (header(BIT_3="SATURATED", BIT_1="Hot pixel"), "SAT", 3),
        (header(BIT03="SATURATED", BIT01="Hot pixel"), "BAD", 1),
        (header(MASKBIT2="cosmic-ray"), "CR", 2),
        (header(MP_SATURATED=4, MP_COSMIC_RAY=7), "CR", 7),
    ],
)  # fmt: skip
def test_every_convention_sets_the_planes_that_count(mef, cards, plane, bit):
    values = np.array([[0, 1 << bit]], "i4")
    path = mef(("IMAGE", np.ones((1, 2), "f4")), ("MASK", values, cards))
    exposure = read_exposure(path)
    assert ((exposure.mask & exposure.mask_planes.value([plane])) != 0).tolist() == [[False, True]]
    others = {"BAD", "SAT", "CR", "NO_DATA", "INTRP", "EDGE", "DETECTED"} - {plane}
    assert not (exposure.mask & exposure.mask_planes.value(others)).any()


def test_numbers_of_bits_in_such_cards_are_no_names():
    assert named_bits(header(BIT00=0, BITPIX=16), "mask.fits") is None


def test_a_known_name_on_two_bits_stays_with_the_bit_that_has_it():
    found = named_bits(header(MP_SAT=1, MP_SATURATED=3), "mask.fits")
    assert [(flag.plane, flag.bit) for flag in found.flags] == [("SAT", 1), ("SATURATED", 3)]
    assert found.flags[1].means == ("SAT",)


def test_cards_of_a_mask_file_may_be_in_its_primary(mef):
    image = mef(("IMAGE", np.ones((1, 3), "f4")), name="image.fits")
    mask = mef(("MASK", np.array([[0, 2, 4]], "i2")), name="mask.fits", primary=LEGACY)
    exposure = read_exposure(image, mask=mask)
    assert (exposure.mask & exposure.mask_planes.value(["SAT"])).astype(bool).tolist() == [
        [False, True, False]
    ]


def test_bits_that_no_card_names_are_warned_of(mef, caplog):
    path = mef(("IMAGE", np.ones((1, 3), "f4")), ("MASK", np.array([[1, 16, 0]]), {"MP_BAD": 0}))
    read_exposure(path)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "no card names the bits 4 of the mask" in warning


def test_planes_of_unknown_names_are_warned_of_but_not_those_of_lsst(mef, caplog):
    values = np.array([[0, 2]], "i4")
    read_exposure(mef(("IMAGE", np.ones((1, 2), "f4")), ("MASK", values, {"MASKB1": "foo"})))
    assert "mask planes FOO are not known to diffdecor" in caplog.text
    caplog.clear()
    lsst = {"HIERARCH MP_VIGNETTED": 1, "MP_BAD": 0}
    read_exposure(mef(("IMAGE", np.ones((1, 2), "f4")), ("MASK", values, lsst)))
    assert not caplog.text
