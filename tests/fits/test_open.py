"""Opening files and reading pixels: everything that can be wrong is one clear InputError."""

import gzip
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.core.planes import in_memory
from diffdecor.errors import InputError
from diffdecor.fits.open import (
    OpenFiles,
    file_of,
    find_extension,
    image_shape,
    open_fits,
    read_pixels,
)
from diffdecor.fits.read_rows import stored_integers


def _opened(path, files=None):
    with open_fits(path, files) as (hdus, extension):
        return [hdu.name for hdu in hdus], extension


def test_a_good_file_opens(mef, pixels):
    path = mef(("IMAGE", pixels), ("MASK", pixels.astype("i4")))
    assert _opened(path) == (["PRIMARY", "IMAGE", "MASK"], None)
    assert _opened(f"{path}[MASK]")[1] == "MASK"


def _missing(tmp_path):
    return tmp_path / "missing.fits"


def _folder(tmp_path):
    return tmp_path


def _empty(tmp_path):
    path = tmp_path / "empty.fits"
    path.touch()
    return path


def _text(tmp_path):
    path = tmp_path / "text.fits"
    path.write_text("no FITS, whatever its name says\n" * 200)
    return path


def _cut(tmp_path, size):
    path = tmp_path / "cut.fits"
    path.write_bytes(_bytes()[:size])
    return path


def _bytes():
    file = io.BytesIO()
    planes = [fits.ImageHDU(np.ones((10, 10), "f4"), name=name) for name in ("IMAGE", "VARIANCE")]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(file)
    return file.getvalue()


def _cut_gzip(tmp_path):
    path = tmp_path / "cut.fits.gz"
    path.write_bytes(gzip.compress(_bytes())[:-30])
    return path


def _bad_gzip(tmp_path):
    path = tmp_path / "bad.fits.gz"
    packed = bytearray(gzip.compress(_bytes()))
    packed[20:40] = b"\xff" * 20
    path.write_bytes(packed)
    return path


def _fifo(tmp_path):
    path = tmp_path / "pipe.fits"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_missing, "no such file"),
        (_folder, "is a directory"),
        (_empty, "is empty"),
        (_text, "not a readable FITS file"),
        (lambda tmp: _cut(tmp, 100), "not a readable FITS file"),
        (lambda tmp: _cut(tmp, 4000), "damaged after HDU 0"),
        (lambda tmp: _cut(tmp, 6000), "truncated"),
        (lambda tmp: _cut(tmp, 11600), "truncated"),
        (_cut_gzip, "not a readable FITS file"),
        (_bad_gzip, "not a readable FITS file"),
        (_fifo, "not a regular file"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, make, says):
    path = make(tmp_path)
    with pytest.raises(InputError, match=says) as caught, open_fits(path):
        pass
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_cut_is_noticed_unless_it_falls_between_two_hdus(tmp_path):
    # Primary header to 2880; header, 400 bytes of data and padding to 8640; again to 14400.
    complete = {*range(2880, 2881), *range(6160, 8641), *range(11920, 14401)}
    for size in set(range(1, 14400, 241)) - complete:
        with pytest.raises(InputError), open_fits(_cut(tmp_path, size)):
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(mef, pixels):
    path = mef(("IMAGE", pixels))
    path.chmod(0)
    with pytest.raises(InputError, match="Permission denied"), open_fits(path):
        pass


def test_permission_is_reported_by_name(mef, pixels, monkeypatch):
    path = mef(("IMAGE", pixels))

    def refuse(*_args, **_more):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("diffdecor.fits.open.fits.open", refuse)
    with (
        pytest.raises(InputError, match=r"in\.fits: not a readable .*Permission denied"),
        open_fits(path),
    ):
        pass


def test_missing_padding_and_trailing_zeros_do_not_matter(tmp_path):
    content = _bytes()
    for odd in (content[: -(2880 - 400)], content + bytes(100), content + bytes(2880)):
        path = tmp_path / "odd.fits"
        path.write_bytes(odd)
        with open_fits(path) as (hdus, _):
            assert read_pixels(hdus["VARIANCE"], path).sum() == 100


def test_odd_headers_are_tolerated_in_silence(tmp_path):
    content = _bytes()
    content = content.replace(b"EXTEND  =                    T", b"BAD.KEY =                  nan")
    path = tmp_path / "odd.fits"
    path.write_bytes(content)
    assert _opened(path)[0] == ["PRIMARY", "IMAGE", "VARIANCE"]


@pytest.mark.parametrize("suffix", [".fits", ".fit", ".fits.gz"])
def test_names_and_compression_of_the_whole_file(tmp_path, pixels, suffix):
    path = tmp_path / f"image{suffix}"
    fits.PrimaryHDU(pixels).writeto(path)
    with open_fits(path) as (hdus, _):
        np.testing.assert_array_equal(read_pixels(hdus[0], path), pixels)


@pytest.mark.parametrize("options", [{"quantize_level": 0, "compression_type": "GZIP_2"}, {}])
def test_tile_compression(tmp_path, pixels, options):
    path = tmp_path / "image.fits.fz"
    pixels[3, 4] = np.nan
    packed = fits.CompImageHDU(pixels, **options)
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path)
    with open_fits(path) as (hdus, _):
        assert image_shape(hdus[0]) == ()
        assert image_shape(hdus[1]) == pixels.shape
        read = read_pixels(hdus[1], path)
    assert read.dtype == np.float32
    assert np.isnan(read[3, 4])
    np.testing.assert_allclose(read, pixels, atol=0 if options else 1.0, rtol=0)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("f4", "f4"), ("f8", "f8"), ("i2", "f4"), ("u1", "f4"), ("i1", "f4"), ("u2", "f4"),
        ("i4", "f8"), ("u4", "f8"), ("i8", "f8"), ("u8", "f8"),
    ],
)  # fmt: skip
def test_types_of_pixels(tmp_path, stored, read):
    values = np.arange(60).reshape(6, 10).astype(stored)
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(values).writeto(path)
    with open_fits(path) as (hdus, _):
        pixels = read_pixels(hdus[0], path)
        if stored[0] != "f":
            np.testing.assert_array_equal(
                in_memory(stored_integers(hdus[0], path)), np.arange(60).reshape(6, 10)
            )
    assert pixels.dtype == np.dtype(read)
    assert pixels.dtype.isnative
    np.testing.assert_array_equal(pixels, values)


@pytest.mark.parametrize("blank", [0, 7])
def test_scaled_integers_with_blank(tmp_path, blank):
    path = tmp_path / "image.fits"
    hdu = fits.PrimaryHDU(np.arange(20, dtype="f4").reshape(4, 5) * 0.5 + 3)
    hdu.scale("int16", bscale=0.5, bzero=3)
    hdu.header["BLANK"] = blank
    hdu.writeto(path)
    with open_fits(path) as (hdus, _):
        pixels = read_pixels(hdus[0], path)
    expected = np.arange(20, dtype="f4").reshape(4, 5) * 0.5 + 3
    expected[expected == blank * 0.5 + 3] = np.nan
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("shape", "left"),
    [((1, 4, 5), (4, 5)), ((1, 1, 4, 5), (4, 5)), ((2, 4, 5), (2, 4, 5)), ((1, 5), (1, 5)),
     ((1, 1, 5), (1, 5)), ((4, 1, 5), (4, 5)), ((5,), (5,))],
)  # fmt: skip
def test_axes_of_length_one_are_taken_away(tmp_path, shape, left):
    path = tmp_path / "cube.fits"
    fits.PrimaryHDU(np.ones(shape, "f4")).writeto(path)
    with open_fits(path) as (hdus, _):
        assert image_shape(hdus[0]) == left
        assert read_pixels(hdus[0], path).shape == left


def test_an_unknown_extension_is_answered_with_those_there_are(mef, pixels):
    path = mef(("IMAGE", pixels), ("VARIANCE", pixels))
    with open_fits(path) as (hdus, _):
        assert find_extension(hdus, 2, path).name == "VARIANCE"
        assert find_extension(hdus, ("image", 1), path).name == "IMAGE"
        for extension in ("SCI", 3, ("IMAGE", 2)):
            with pytest.raises(InputError, match="0 PRIMARY, 1 IMAGE, 2 VARIANCE"):
                find_extension(hdus, extension, path)


def test_masks_must_be_whole_numbers(mef, pixels):
    path = mef(("A", pixels), ("B", np.round(pixels)), ("C", pixels * np.nan))
    with open_fits(path) as (hdus, _):
        np.testing.assert_array_equal(in_memory(stored_integers(hdus["B"], path)), np.round(pixels))
        for name in ("A", "C"):
            with pytest.raises(InputError, match="whole numbers"):
                in_memory(stored_integers(hdus[name], path))


def test_a_header_that_astropy_gives_up_is_no_image(mef, pixels):
    path = mef(("IMAGE", pixels))
    content = bytearray(path.read_bytes())
    content[30] = 0
    path.write_bytes(content)
    with open_fits(path) as (hdus, _):
        assert image_shape(hdus[0]) == ()
        assert file_of(hdus[0]) is None


def test_files_of_a_job_are_opened_once(mef, pixels, monkeypatch):
    path, other = mef(("A", pixels)), mef(("B", pixels), name="b.fits")
    opened = []
    real = fits.open
    monkeypatch.setattr(
        "diffdecor.fits.open.fits.open", lambda *a, **more: opened.append(a) or real(*a, **more)
    )
    with OpenFiles() as files:
        for _ in range(3):
            assert _opened(path, files)[0] == ["PRIMARY", "A"]
            assert _opened(f"{other}[B]", files)[1] == "B"
        assert len(opened) == 2
        path.unlink()
        mef(("C", pixels))
        assert _opened(path, files)[0] == ["PRIMARY", "A"]  # as it was
        assert _opened(path)[0] == ["PRIMARY", "C"]
    assert len(opened) == 3
    assert _opened(path, files)[0] == ["PRIMARY", "C"]


def test_gzipped_files_are_unpacked_on_disk(tmp_path, pixels, monkeypatch):
    path = tmp_path / "image.fits.gz"
    fits.PrimaryHDU(pixels).writeto(path)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_fits(path) as (hdus, _):
        assert sorted(tmp_path.iterdir()) == before  # the file has no name
        np.testing.assert_array_equal(read_pixels(hdus[0], path), pixels)


@pytest.mark.parametrize("limit", [0, 100_000])
def test_no_room_to_unpack_is_named(tmp_path, limit):
    """In a process of its own, that may not write large files."""
    path = tmp_path / "image.fits.gz"
    fits.PrimaryHDU(np.ones((300, 300))).writeto(path)
    code = (
        "import resource, signal, sys\n"
        "from diffdecor.errors import InputError\n"
        "from diffdecor.fits.open import open_fits\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n"
        "    with open_fits(sys.argv[1]): pass\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{path}: cannot be unpacked into the folder of temporary files")
    assert "TMPDIR" in done.stdout


def test_a_file_of_compress_is_refused(tmp_path):
    path = tmp_path / "a.fits.Z"
    path.write_bytes(b"\x1f\x9d\x90" + bytes(3000))
    with pytest.raises(InputError, match=r"a\.fits\.Z: not a readable FITS file"), open_fits(path):
        pass
