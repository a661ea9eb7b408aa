"""Odd headers of inputs: they must neither break the writing nor the FITS of the result."""

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import SHAPE, Workplace, exposure, opened, verify

from diffdecor.pipeline.provenance import output_cards

BLOCK, CARD = 2880, 80


def with_cards(path, *cards, hdu=0):
    """Insert raw cards, of whatever bytes, before END of an HDU."""
    content = path.read_bytes()
    with fits.open(path) as hdus:
        start = hdus[hdu].fileinfo()["hdrLoc"]
        data = hdus[hdu].fileinfo()["datLoc"]
    header = content[start:data].rstrip(b" ")
    assert header.endswith(b"END")
    raw = [card if isinstance(card, bytes) else card.encode("latin-1") for card in cards]
    assert all(len(card) <= CARD for card in raw)
    new = header[:-3] + b"".join(card.ljust(CARD) for card in raw) + b"END"
    new += b" " * (-len(new) % BLOCK)
    path.write_bytes(content[:start] + new + content[data:])


ODD = {
    "long text": ["OBSERVER= '" + "x" * 67 + "'"],
    "continued": [
        "LONGNAME= 'a long text that goes &'",
        "CONTINUE  'on and on &'",
        "CONTINUE  'here'",
    ],
    "continued wrongly": ["NUMBER  = 5", "CONTINUE  'of a number'"],
    "HIERARCH": ["HIERARCH ESO DET OUT1 GAIN = 2.1 / [e-/ADU]", "HIERARCH lower case = 'x'"],
    "twice": ["FILTER  = 'r'", "FILTER  = 'g'"],
    "twice in the WCS": ["CRVAL1  = 10.0", "CRVAL1  = 11.0"],
    "not ASCII": ["OBJECT  = 'Caf\xe9 M31'", "COMMENT \xb5m and \xc5ngstr\xf6m"],
    "UTF-8": ["OBJECT  = 'Café'".encode()],
    "control characters": [b"OBJECT  = 'a\tb\x01c'", b"COMMENT \x07bell"],
    "null bytes": [b"OBJECT  = 'a\x00b'"],
    "undefined": ["NOVALUE =", "NOVALUE2=           / nothing", "EQUINOX ="],
    "no value": ["KEYONLY", "BLANKS  "],
    "commentary": ["COMMENT c", "HISTORY h", "        blank", "COMMENT = ' '"],
    "lower case": ["exptime = 30.0"],
    "bad keyword": ["A B C   = 3", "$%&     = 4"],
    "no quote": ["OBJECT  = 'unfinished"],
    "no value at all": ["GARBAGE = this is no value"],
    "NaN": ["AIRMASS = NaN", "SEEING  = inf"],
    "number forms": ["NUM1    = 1.D0", "NUM2    = 1,5", "NUM3    = +00001", "NUM4    = .5"],
    "complex": ["CPLX    = (1.0, 2.0)"],
    "huge integer": ["BIGINT  = 123456789012345678901234567890"],
    "quotes": ["OBJECT  = 'Barnard''s'", "NOTE    = ''''", "EMPTY   = ''"],
    "BLANK of a float": ["BLANK   = -32768"],
    "ours": ["DDMODE  = 'stale'", "DDSCORE = 'nonsense'", "DDNSKY  = 'x'"],
    "structure": [
        "EXTEND  = T",
        "GROUPS  = F",
        "DATAMIN = 0",
        "CHECKSUM= 'wrong'",
        "DATASUM = '1'",
    ],
    "units": ["BUNIT   = 'counts / s'", "BUNIT2  = 3"],
    "strange unit": ["BUNIT   = '10**-18 erg/s/cm2/Angstrom'"],
    "unknown unit": ["BUNIT   = 'bananas per \xb5m'"],
    "number as unit": ["BUNIT   = 5"],
    "undefined unit": ["BUNIT   ="],
    "alternate": ["CTYPE1B = 'LINEAR'", "CRPIX1B = 1.0", "WCSNAMEB= 'PHYSICAL'"],
    "LTV": ["LTV1    = -10.0", "LTM1_1  = 1.0", "LTV2    = 'x'"],
    "scaled": ["BSCALE  = 1.0", "BZERO   = 0.0"],
    "mask cards": ["MP_BAD  = 'x'", "MP_     = 3"],
    "mask value": ["MASKVAL = 'x'"],
    "many": [f"KEY{number:05d}= {number}" for number in range(200)],
    "ends in an empty block": [" " * CARD] * 40,
}
SKIES = {
    "SIP": ["CTYPE1  = 'RA---TAN-SIP'", "A_ORDER = 2", "A_2_0   = 1E-7", "B_ORDER = 2"],
    "TPV": ["PV1_0   = 0.0", "PV1_1   = 1.0", "PV2_1   = 1.0"],
    "old": ["PC001001= 1.0", "RADECSYS= 'FK5'", "EPOCH   = 2000.0", "CROTA2  = 0.0"],
    "of texts": ["CD1_1   = 'x'", "CRPIX1  = 'y'", "CTYPE1  = 5"],
    "of nonsense": ["CRVAL2  = 1E30", "CD1_1   = 0.0", "CD2_2   = 0.0", "CUNIT1  = 'bananas'"],
    "alternate": ["CTYPE1A = 'NONSENSE'", "CUNIT1A = 'bananas'", "CRPIX1A = 1.0"],
    "look-up": ["CPDIS1  = 'LOOKUP'", "DP1     = 'NAXES: 2'", "CPERR1  = 0.5"],
}
WHOLE = ("--mode", "whole")
EITHER = ("--no-scale-by-fwhm", "--blend", "none", "--cell-size", "30", "--grid-step", "25")


@pytest.fixture(scope="module")
def plain(tmp_path_factory, originals):
    """The result that odd cards must not change, with its cells and of the whole image."""
    outputs = []
    for options in (EITHER, WHOLE):
        output = tmp_path_factory.mktemp("plain") / "out.fits"
        assert Workplace(originals).run(*options, output=output).exit_code == 0
        outputs.append(opened(output)["IMAGE"][1])
    return outputs


@pytest.mark.parametrize("name", ODD)
def test_odd_cards_of_a_difference(work, plain, name):
    with_cards(work / "difference.fits", *ODD[name])
    output, result = work.succeeds(*EITHER, "--ignore-checksums")
    assert np.array_equal(output["IMAGE"][1], plain[0])
    assert "Warning" not in result.stderr
    verify(work.output)
    header = output["PRIMARY"][0]
    assert header["DDMODE"] == "grid"
    assert header["DDSCORE"] is False


@pytest.mark.parametrize("name", SKIES)
def test_odd_skies(work, plain, name):
    for role, hdu in (("science", 1), ("template", 1), ("difference", 0)):
        with_cards(work / f"{role}.fits", *SKIES[name], hdu=hdu)
    output, result = work.succeeds(*EITHER)
    assert np.array_equal(output["IMAGE"][1], plain[0])
    assert "Warning" not in result.stderr
    verify(work.output)


@pytest.mark.parametrize("name", ["kernel", "science", "difference"])
def test_a_card_that_cannot_be_read_is_named_once(work, name):
    with_cards(work / f"{name}.fits", "CTRX    = GARBAGE")
    _, result = work.succeeds()
    assert result.stderr.count(f"{name}.fits: the card CTRX is not valid FITS") == 1


UNPARSABLE = ("control characters", "null bytes", "no quote", "no value at all", "NaN", "no value")


@pytest.mark.parametrize(
    ("name", "hdu"),
    [(name, 1) for name in ODD] + [(name, hdu) for name in UNPARSABLE for hdu in (0, 2, 3)]
    + [("mask cards", 2), ("scaled", 2), ("twice", 3), ("many", 2), ("HIERARCH", 0)],
)  # fmt: skip
def test_odd_cards_of_an_exposure(work, plain, name, hdu):
    """Wherever they are, the result is right or the refusal clear."""
    cards = [card for card in ODD[name] if not str(card).startswith("MASKVAL")]
    with_cards(work / "science.fits", *cards, hdu=hdu)
    if (name, hdu) == ("mask cards", 2):
        work.fails(3, "science.fits: MP_BAD = 'x' is not a bit number", options=WHOLE)
        return
    output, _ = work.succeeds(*WHOLE)
    assert np.array_equal(output["IMAGE"][1], plain[1])


@pytest.mark.parametrize(
    "name", [*UNPARSABLE, "long text", "twice", "scaled", "mask value", "many"]
)
def test_odd_cards_of_a_kernel(work, plain, name):
    with_cards(work / "kernel.fits", *ODD[name])
    output, _ = work.succeeds(*WHOLE)
    assert np.array_equal(output["IMAGE"][1], plain[1])


@pytest.mark.parametrize(
    "cards",
    [
        ["CTRX    = 'x'"],
        ["CTRX    = 1.5"],
        ["CTRX    = T"],
        ["CONVSIDE= 'NEITHER'"],
        ["SSCALE  = 0"],
        ["TSCALE  = 'x'"],
        ["KERSENSE= 'sideways'"],
        ["KERSENSE= 5"],
    ],
    ids=str,
)
def test_cards_of_a_kernel_that_cannot_be(work, arrays, cards):
    fits.PrimaryHDU(arrays[3]).writeto(work / "odd.fits")
    with_cards(work / "odd.fits", *cards)
    work.fails(3, "odd.fits", kernel=work / "odd.fits")


@pytest.mark.parametrize("role", ["science", "template", "difference"])
@pytest.mark.parametrize(
    "cards", [["BZERO   = 'x'"], ["BSCALE  = 'x'"], ["BZERO   = GARBAGE"], ["BSCALE  ="]], ids=str
)
def test_scales_that_cannot_be(work, arrays, role, cards):
    path = work / f"{role}.fits"
    fits.PrimaryHDU(arrays[0].astype(np.int16)).writeto(path, overwrite=True)
    with_cards(path, *cards)
    levels = ("--science-variance", "9", "--template-variance", "4")
    work.fails(3, path.name, options=levels)


def test_no_end(work):
    path = work / "difference.fits"
    content = path.read_bytes()
    place = content.index(b"END" + b" " * 77)
    path.write_bytes(content[:place] + b"   " + content[place + 3 :])
    work.fails(3, path.name)


def test_cards_that_are_kept_and_cards_that_are_not(work, rewrite):
    cards = {
        "OBSERVER": "Ada",
        "HIERARCH ESO TEL AIRM": 1.2,
        "DATE-OBS": "2020-01-01",
        "EXPTIME": 30.0,
        "GAIN": 2.0,
        "DATAMAX": 5.0,
        "COMMENT": "said before",
    }
    rewrite(work / "difference.fits", lambda hdus: hdus[0].header.update(cards))
    header = work.succeeds()[0]["PRIMARY"][0]
    for keyword in ("OBSERVER", "ESO TEL AIRM", "DATE-OBS", "EXPTIME"):
        assert header[keyword] == cards.get(keyword, 1.2)
    assert "said before" in str(header["COMMENT"])
    for keyword in ("GAIN", "DATAMAX", "BSCALE"):
        assert keyword not in header
    for name in ("IMAGE", "MASK", "VARIANCE"):
        assert fits.getheader(work.output, name)["CRPIX1"] == 24.0


def test_a_difference_with_its_own_planes(work, arrays):
    exposure(arrays[2], 20.0).writeto(work / "difference.fits", overwrite=True)
    header = work.succeeds()[0]["PRIMARY"][0]
    assert header["DDVARIN"] == pytest.approx(20.0)
    assert header["DDVAROUT"] == pytest.approx(13.0)
    assert opened(work.output)["IMAGE"][1].shape == SHAPE


def test_every_card_of_a_run_has_room_for_its_comment():
    for card in output_cards():
        comment = f"[{card.unit}] {card.comment}" if card.unit else card.comment
        assert len(comment) <= 47, card.keyword


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--mode", "whole", "--no-filters"),
        ("--significance", "--noise-realisation", "3", "--science-psf", "{psf}"),
        ("--no-scale-by-fwhm", "--cell-size", "15", "--grid-step", "12", "--blend", "none"),
    ],
)
def test_no_comment_of_an_output_is_cut_off(work, rewrite, caplog, options):
    """Astropy cuts with a warning, which is in the log; ours come whole or not at all."""
    rewrite(work / "difference.fits", lambda hdus: hdus[0].header.set("BUNIT", "electron/s"))
    caplog.set_level("DEBUG")
    work.succeeds(*(part.format(psf=work / "psf.fits") for part in options))
    assert "truncated" not in caplog.text
    comments = {}
    for card in output_cards():
        unit = f"[{card.unit}] " if card.unit else ""
        comments[card.keyword] = {f"{unit}{card.comment}", ""}
    with fits.open(work.output, checksum=True) as hdus:
        hdus.verify("exception")
        primary = hdus[0].header
        ours = [key for key in primary if key in comments]
        assert len(ours) > 40
        assert all(primary.comments[key] in comments[key] for key in ours)
        assert sum(primary.comments[key] == "" for key in ours) <= 3
    verify(work.output)
