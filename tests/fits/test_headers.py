"""Cards in and out."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.fits.headers import (
    ascii_text,
    cards_to_header,
    carry_over,
    squared_unit,
    wcs_cards,
    whole_card,
    without_wcs,
)
from diffdecor.pipeline.provenance import Card

DROPPED = [
    "SIMPLE",
    "XTENSION",
    "BITPIX",
    "NAXIS",
    "NAXIS2",
    "EXTEND",
    "PCOUNT",
    "GCOUNT",
    "BZERO",
    "BSCALE",
    "BLANK",
    "ZIMAGE",
    "ZCMPTYPE",
    "ZTILE1",
    "ZNAXIS2",
    "ZQUANTIZ",
    "ZDITHER0",
    "CHECKSUM",
    "DATASUM",
    "EXTNAME",
    "EXTVER",
    "INHERIT",
    "DATAMIN",
    "DATAMAX",
    "TFIELDS",
    "TTYPE1",
    "TFORM12",
    "REGION00",
    "CONVOL00",
    "KSUM01",
    "KERINFO",
    "KERFILE",
    "MASKVAL",
    "GAIN",
    "RDNOISE",
    "AR_HDU",
    "PSF_ID",
    "SKYWCS_ID",
    "ARCHIVE_ID_PSF",
    "MP_BAD",
    "MP_DETECTED",
    "LONGSTRN",
    "DSIGE00",
    "X2NRM00",
    "NREGION",
]

KEPT = [
    "OBJECT",
    "DATE-OBS",
    "MJD-OBS",
    "EXPTIME",
    "FILTER",
    "SATURATE",
    "MAGZP",
    "BUNIT",
    "DIFFCMD",
    "SOFTNAME",
    "PHOTNORM",
    "CONVD",
    "CTYPE1",
    "CRVAL2",
    "PV1_0",
    "A_ORDER",
    "Z",
    "TEMPLATE",
    "TARGET",
    "GAINCORR",
    "ZEROPT",
]


def _header(keywords):
    return fits.Header([(f"HIERARCH {k}" if len(k) > 8 else k, 1) for k in keywords])


def test_what_is_no_longer_true_is_left_out():
    header = _header([*KEPT, *DROPPED])
    before = header.copy()
    assert list(carry_over(header)) == KEPT
    assert list(carry_over(header, drop=("FILTER",))) == [k for k in KEPT if k != "FILTER"]
    assert header == before


def test_broken_and_double_cards_are_left_out_in_silence():
    lines = [
        "GOOD    =                  1.5 / kept",
        "GOOD    =                  2.5 / second",
        "NOQUOTE = plain text           ",
        "NOTANUM =                  nan ",
        "NOVALUE =",
        "HIERARCH ESO DET X = 3 / kept",
        "COMMENT FITS (Flexible Image Transport System) format is defined in 'Astronomy",
        "COMMENT a comment",
        "HISTORY a step",
    ]
    header = fits.Header.fromstring("".join(f"{line:80s}" for line in lines))
    kept = carry_over(header)
    assert kept["GOOD"] == 1.5
    assert kept["ESO DET X"] == 3
    assert list(kept["COMMENT"]) == ["a comment"]
    assert list(kept["HISTORY"]) == ["a step"]
    assert kept["NOQUOTE"] == "plain text"  # a text without quotes can be mended
    assert kept["NOTANUM"] == "nan"
    assert "NOVALUE" not in kept


SIP = {
    "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 10.0, "CRVAL2": -5.0,
    "CRPIX1": 8.5, "CRPIX2": 6.5, "CD1_1": -1e-4, "CD1_2": 1e-6, "CD2_1": 1e-6, "CD2_2": 1e-4,
    "A_ORDER": 2, "A_2_0": 1e-6, "B_ORDER": 2, "B_0_2": 2e-6,
    "RADESYS": "ICRS", "EQUINOX": 2000.0, "LONPOLE": 180.0,
}  # fmt: skip
TPV = {
    **SIP,
    "CTYPE1": "RA---TPV",
    "CTYPE2": "DEC--TPV",
    "PV1_0": 0.0,
    "PV1_1": 1.001,
    "PV2_1": 0.999,
}
TPV = {k: v for k, v in TPV.items() if k[:2] not in {"A_", "B_"}}
ALTERNATE = {
    "CTYPE1A": "LINEAR",
    "CTYPE2A": "LINEAR",
    "CRVAL1A": 100.0,
    "CRVAL2A": 9.0,
    "CRPIX1A": 1.0,
}


@pytest.mark.parametrize("cards", [SIP, TPV, {**SIP, **ALTERNATE}])
def test_a_wcs_is_carried_whole(cards):
    header = fits.Header({"EXPTIME": 3.0, **cards, "FILTER": "r", "A_STAR": 1, "CRYO": 2})
    found = wcs_cards(header)
    assert set(found) == set(cards)
    assert list(without_wcs(header)) == ["EXPTIME", "FILTER", "A_STAR", "CRYO"]
    pixels = np.array([[0.0, 0.0], [15.0, 3.0]])
    np.testing.assert_array_equal(
        WCS(found).all_pix2world(pixels, 0), WCS(header).all_pix2world(pixels, 0)
    )


def test_deprecated_cards_are_renamed():
    found = wcs_cards(fits.Header({"RADECSYS": "FK5", "EPOCH": 2000.0}))
    assert dict(found) == {"RADESYS": "FK5", "EQUINOX": 2000.0}
    found = wcs_cards(fits.Header({"RADECSYS": "FK4", "RADESYS": "ICRS", "EPOCH": "J2000"}))
    assert dict(found) == {"RADESYS": "ICRS"}


@pytest.mark.parametrize(
    ("unit", "squared"),
    [
        ("adu", "adu2"), ("nJy", "nJy2"), ("ADU", "ADU2"), ("MJy/sr", "MJy2 sr-2"),
        ("electron/s", "electron2 s-2"), ("10**-20 erg/s", "10**-40 erg2 s-2"),
        ("10**-3 electron/s", "(10**-3 electron/s)**2"), ("e-/s", "(e-/s)**2"),
        ("counts per night", "(counts per night)**2"),
        ("", None), (None, None), ("  ", None),
    ],
)  # fmt: skip
def test_units_of_variance(unit, squared):
    assert squared_unit(unit) == squared


TABLE = (
    Card("flag", "DDFLAG", "", "a flag"),
    Card("number", "DDNUM", "pixel", "a number"),
    Card("text", "DDTEXT", "", "a text"),
)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (1, 1), (2.5, 2.5), (np.float32(3.3), 3.3), (np.int16(4), 4), (np.True_, True),
        (False, False), ("text", "text"), ((1.5, 2), "1.5,2"), (("SAT", "CR"), "SAT,CR"),
        ("é\n", r"\xe9\n"), ("x" * 300, "x" * 300),
    ],
)  # fmt: skip
def test_values_become_cards(value, read):
    header = cards_to_header({"DDNUM": value}, TABLE)
    again = fits.Header.fromstring(header.tostring())
    assert again["DDNUM"] == read
    assert type(again["DDNUM"]) is type(read)
    assert again.comments["DDNUM"].startswith("[pixel] a number")


@pytest.mark.parametrize("value", [None, np.nan, np.inf, -np.inf, np.float32("nan")])
def test_what_fits_has_no_card_for_is_left_out(value):
    assert list(cards_to_header({"DDNUM": value, "DDFLAG": True}, TABLE)) == ["DDFLAG"]


def test_the_order_is_that_of_the_table_and_comments_never_overflow():
    table = [Card("n", f"DD{n}", "adu2", "a very long comment " * 5) for n in range(3)]
    header = cards_to_header({"DD2": "it's " * 12, "DD0": 1.0, "DD1": "x" * 66}, table)
    assert list(header) == ["DD0", "DD1", "DD2"]
    assert len(header.tostring()) % 2880 == 0  # would warn, which is an error here


@given(
    value=st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.floats(-1e300, 1e300),
                    st.text("abc' ,", max_size=90)),
    comment=st.text("word ", max_size=60),
)  # fmt: skip
def test_a_comment_is_there_whole_or_not_at_all(value, comment):
    header = fits.Header([whole_card("DDVALUE", value, comment.strip())])
    again = fits.Header.fromstring(header.tostring())  # a comment cut off would warn
    if isinstance(value, str):
        assert again["DDVALUE"] == value.rstrip()
    assert again.comments["DDVALUE"] in {comment.strip(), ""}
    if len(comment) <= 40 and not isinstance(value, str):
        assert again.comments["DDVALUE"] == comment.strip()


def test_a_keyword_out_of_the_table_is_a_mistake():
    with pytest.raises(KeyError, match="DDNONE"):
        cards_to_header({"DDNONE": 1}, TABLE)


def test_texts_become_printable_ascii():
    assert ascii_text("µm\t☉") == r"\xb5m\t\u2609"
