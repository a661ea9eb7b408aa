"""Cards that size something are held against the standard and the file, before astropy reads."""

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.errors import InputError
from diffdecor.fits.bounds import MOST_HDUS, raw_hdus
from diffdecor.fits.open import file_of, open_fits, read_pixels
from diffdecor.fits.raw_headers import BLOCK, CARD, MOST_CARDS, Stored
from diffdecor.fits.unpacking import MOST_PADDING


def card(keyword, value):
    return f"{keyword:8}= {value:>20}".ljust(CARD).encode("latin-1")


def with_card(path, keyword, value, number=-1):
    """Replace a card of a keyword, by default the last one in the file; or write it before END."""
    content = bytearray(path.read_bytes())
    places = range(0, len(content), CARD)
    there = [p for p in places if content[p : p + 8] == keyword.ljust(8).encode()]
    if there:
        content[there[number] : there[number] + CARD] = card(keyword, value)
    else:
        end = [p for p in places if content[p : p + 8] == b"END     "][number]
        content[end : end + 2 * CARD] = card(keyword, value) + b"END".ljust(CARD)
    path.write_bytes(content)
    return path


def refused(path, *words):
    with pytest.raises(InputError) as caught, open_fits(path):
        pass
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert message.isprintable()
    for word in words:
        assert word in message
    return message


@pytest.fixture
def tiled(tmp_path):
    """A compressed image of 64 x 48 pixels in tiles of 16 x 16."""

    def write(codec="RICE_1", dtype="i4", **options):
        pixels = np.random.default_rng(1).normal(100, 10, (48, 64)).astype(dtype)
        path = tmp_path / f"{codec}.fits.fz"
        packed = fits.CompImageHDU(pixels, compression_type=codec, tile_shape=(16, 16), **options)
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path)
        return path

    return write


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("NAXIS", 1000), ("NAXIS", -1), ("NAXIS", 2**31), ("NAXIS", "T"), ("NAXIS", "2.5"),
        ("NAXIS1", -16), ("NAXIS1", "''"), ("NAXIS2", 10**30),
        ("BITPIX", 0), ("BITPIX", 17), ("BITPIX", "T"), ("BITPIX", -8),
        ("PCOUNT", -1), ("GCOUNT", 0), ("TFIELDS", 2**31),
        ("WCSAXES", 100), ("WCSAXES", 99999), ("WCSAXESA", 99999), ("A_ORDER", 2000),
        ("BP_ORDER", -1),
    ],
)  # fmt: skip
def test_cards_out_of_the_bounds_of_the_standard(mef, pixels, keyword, value):
    refused(with_card(mef(("IMAGE", pixels)), keyword, value), "HDU 1", keyword)


@pytest.mark.parametrize(("keyword", "value"), [("NAXIS1", 1000), ("NAXIS2", 10**9)])
def test_more_data_than_there_are(mef, pixels, keyword, value):
    refused(with_card(mef(("IMAGE", pixels)), keyword, value), "truncated", "HDU 1")


def test_a_required_card_is_missing(mef, pixels):
    path = mef(("IMAGE", pixels))
    content = path.read_bytes()
    last = content.rindex(b"BITPIX  ")
    path.write_bytes(content[:last] + b"COMMENT " + content[last + 8 :])
    refused(path, "HDU 1", "has no BITPIX")


def test_an_empty_axis_excuses_no_other(mef, pixels):
    path = mef(("IMAGE", pixels))
    header = fits.ImageHDU(pixels).header
    header["NAXIS1"] = 0
    path.write_bytes(path.read_bytes()[:BLOCK] + header.tostring().encode())
    with open_fits(path):
        pass
    refused(with_card(path, "NAXIS2", 10**12), "axis")


def test_a_constant_image_has_a_bound(tmp_path):
    path = tmp_path / "constant.fits"
    header = fits.Header({"NPIX1": 100, "NPIX2": 100, "PIXVALUE": 3.0})
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(header=header)]).writeto(path)
    with open_fits(path) as (hdus, _):
        assert read_pixels(hdus[1], path).shape == (100, 100)
    refused(with_card(path, "NPIX2", 10**10), "NPIX2")


def test_several_values_of_one_card(mef, pixels):
    path = mef(("IMAGE", pixels, {"FREE": 0}))
    content = path.read_bytes()
    place = content.rindex(b"FREE    ")
    for value, good in ((12, True), (13, False)):
        path.write_bytes(content[:place] + card("NAXIS2", value) + content[place + CARD :])
        if good:
            with open_fits(path):
                pass
        else:
            refused(path, "HDU 1", "NAXIS2 of several values")


@pytest.mark.parametrize("what", ["pixels", "primary", "file"])
def test_a_header_without_an_end(mef, pixels, what):
    path = mef(("IMAGE", np.abs(pixels) * 1e-30), ("MASK", np.zeros((12, 16), "i4")))
    content = bytearray(path.read_bytes())
    ends = [p for p in range(0, len(content), CARD) if content[p : p + CARD] == b"END".ljust(CARD)]
    end = ends[0 if what == "primary" else 1]
    content[end : end + CARD] = b" " * CARD
    path.write_bytes(content[: BLOCK * 2] if what == "file" else content)
    refused(path, "END" if what != "primary" else "has 2 cards")


def test_accents_and_tabs_in_comments_are_tolerated(mef, pixels):
    path = mef(("IMAGE", pixels, {"OBSERVER": ("Andre", "name")}))
    content = path.read_bytes().replace(b"'Andre   '", b"'Andr\xe9   '")
    path.write_bytes(content.replace(b"/ name", b"/ n\xc3\xa4\t"))
    with open_fits(path) as (hdus, _):
        np.testing.assert_array_equal(read_pixels(hdus[1], path), pixels)


def test_a_header_of_too_many_cards(tmp_path, pixels):
    hdu = fits.PrimaryHDU(pixels)
    for number in range(MOST_CARDS - 20):
        hdu.header.append(("HISTORY", f"step {number}"), end=True)
    path = tmp_path / "long.fits"
    hdu.writeto(path)
    with open_fits(path):
        pass
    content = path.read_bytes()
    path.write_bytes(content[:BLOCK] + b"HISTORY".ljust(CARD) * 72 + content[BLOCK:])
    refused(path, f"more than {MOST_CARDS} cards", "HISTORY")


def test_a_file_of_too_many_hdus(tmp_path):
    path = tmp_path / "many.fits"
    path.write_bytes(b"")
    hdu = b"".join([b"XTENSION= 'IMAGE   '".ljust(CARD), card("BITPIX", 8), card("NAXIS", 0)])
    hdu = (hdu + b"END").ljust(BLOCK)
    with path.open("wb") as file:
        file.write(hdu.replace(b"XTENSION= 'IMAGE   '", b"SIMPLE  =          T") + hdu * MOST_HDUS)
    with path.open("rb") as file, pytest.raises(InputError, match=f"more than {MOST_HDUS} HDUs"):
        raw_hdus(Stored(file), path)


@pytest.mark.parametrize(
    ("keyword", "value"), [("TTYPE1", 64), ("TFORM1", "'?'"), ("TFORM1", "'9D'"), ("NAXIS1", 4)]
)
def test_columns_that_do_not_make_the_rows(tmp_path, keyword, value):
    path = tmp_path / "table.fits"
    columns = [fits.Column("X", "D", array=np.arange(4.0))]
    fits.BinTableHDU.from_columns(columns).writeto(path)
    refused(with_card(path, keyword, value), "HDU 1", "TTYPE1" if keyword == "TTYPE1" else "column")


@pytest.mark.parametrize(
    ("codec", "keyword", "value"),
    [
        ("RICE_1", "ZNAXIS", 0), ("RICE_1", "ZNAXIS", 10**9), ("RICE_1", "ZNAXIS1", -64),
        ("RICE_1", "ZNAXIS1", 65), ("HCOMPRESS_1", "ZNAXIS2", 3), ("RICE_1", "ZTILE1", 0),
        ("HCOMPRESS_1", "ZTILE2", 15), ("RICE_1", "ZBITPIX", "T"), ("RICE_1", "ZIMAGE", 64),
        ("RICE_1", "ZIMAGE", "'T'"), ("RICE_1", "ZBITPIX", 24),
        ("RICE_1", "ZCMPTYPE", "'RICE_9'"), ("RICE_1", "ZVAL1", 0), ("RICE_1", "ZVAL1", 2**31),
        ("RICE_1", "ZVAL2", -7), ("RICE_1", "ZVAL2", 8), ("RICE_1", "ZNAME1", 3),
        ("HCOMPRESS_1", "ZVAL2", "'T'"), ("RICE_1", "NAXIS2", 11), ("PLIO_1", "THEAP", 10**9),
        ("GZIP_1", "TTYPE1", "'OTHER'"), ("GZIP_2", "TFORM1", "'2J'"), ("RICE_1", "TFORM1", "'PL'"),
    ],
)  # fmt: skip
def test_cards_of_compressed_images(tiled, codec, keyword, value):
    refused(with_card(tiled(codec), keyword, value), "HDU 1")


@pytest.mark.parametrize("seed", [0, -5, 10**6])
def test_the_seed_of_the_dither(tiled, seed):
    path = tiled(dtype="f4", quantize_method=1, dither_seed=7)
    refused(with_card(path, "ZDITHER0", seed), "ZDITHER0")


def test_a_small_file_promises_no_large_image(tiled):
    path = tiled("HCOMPRESS_1")
    for keyword, value in {
        "ZNAXIS1": 64000,
        "ZNAXIS2": 48000,
        "ZTILE1": 16000,
        "ZTILE2": 16000,
    }.items():
        with_card(path, keyword, value)
    refused(path, "cannot hold an image")


@pytest.mark.parametrize(
    ("pointer", "says"),
    [((-1, 0), "points beyond"), ((40, 10**6), "points beyond"), ((2**31 - 1, 0), "points beyond"),
     ((None, 0), "overlap")],
)  # fmt: skip
def test_pointers_into_the_heap(tiled, pointer, says):
    path = tiled()
    with fits.open(path, disable_image_compression=True) as hdus:
        start, heap = hdus[1].fileinfo()["datLoc"], hdus[1].header["PCOUNT"]
    content = bytearray(path.read_bytes())
    count, place = (heap if pointer[0] is None else pointer[0]), pointer[1]
    content[start + 8 : start + 16] = np.array([count, place], ">i4").tobytes()
    path.write_bytes(content)
    with open_fits(path) as (hdus, _), pytest.raises(InputError, match=says):
        read_pixels(hdus[1], path)


def test_what_follows_the_last_hdu(mef, pixels):
    path = mef(("IMAGE", pixels))
    content = path.read_bytes()
    for padding in (b"\0" * 5 * BLOCK, b" " * 100, b"\n"):
        path.write_bytes(content + padding)
        with open_fits(path) as (hdus, _):
            assert len(hdus) == 2
            np.testing.assert_array_equal(read_pixels(hdus[1], path), pixels)
    for junk in (b"junk", b"\0" * BLOCK + b"x" * BLOCK):
        path.write_bytes(content + junk)
        refused(path, "damaged after HDU 1")
    with path.open("wb") as file:
        file.write(content)
        file.truncate(len(content) + MOST_PADDING + BLOCK)
    refused(path, "damaged after HDU 1")


def _zip(content):
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in.fits", content)
    return file.getvalue()


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zip": _zip}


@pytest.mark.parametrize("kind", PACKERS)
def test_packed_files(mef, pixels, kind):
    path = mef(("IMAGE", pixels))
    packed = PACKERS[kind](path.read_bytes() + bytes(3 * BLOCK))
    path.write_bytes(packed)
    with open_fits(path) as (hdus, _):
        assert file_of(hdus[1]) is not None
        np.testing.assert_array_equal(read_pixels(hdus[1], path), pixels)
    for cut in (len(packed) // 2, 30, 12):
        path.write_bytes(packed[:cut])
        refused(path)
    path.write_bytes(PACKERS[kind](b"no FITS at all " * 10**5))
    refused(path, "does not begin with SIMPLE")


def test_only_what_is_promised_is_unpacked(mef, pixels, monkeypatch):
    """A gzipped file of zeros behind its HDUs, and one that promises more than it can hold."""
    path = mef(("IMAGE", pixels))
    content = path.read_bytes()
    path.write_bytes(gzip.compress(content + bytes(MOST_PADDING + BLOCK), 1))
    refused(path, "damaged after HDU 1")
    header = fits.PrimaryHDU(np.zeros((2, 2), "u1")).header
    header["NAXIS1"] = header["NAXIS2"] = 50_001
    path.write_bytes(gzip.compress(header.tostring().encode() + bytes(10**6)))
    refused(path, "unpack it yourself")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Disk", (), {"free": 10**6}))
    header["NAXIS1"] = header["NAXIS2"] = 5_000
    path.write_bytes(gzip.compress(header.tostring().encode() + bytes(25 * 10**6)))
    refused(path, "folder of temporary files", "No space left")
