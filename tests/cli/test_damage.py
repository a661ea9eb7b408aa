"""Inputs that are not what their writer wrote: sums that are wrong, files that change meanwhile."""

import gzip
import os
import re

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import call

from diffdecor import read_exposure, read_kernel
from diffdecor.decorrelation import decorrelate
from diffdecor.errors import InputError
from diffdecor.fits import reading, sums

GOES_ON = "--ignore-checksums"


@pytest.fixture(autouse=True)
def every_row_counts(monkeypatch):
    monkeypatch.setattr(reading, "_FEW", 0)


def with_sums(path, number=None):
    """Give a file its sums; flip a bit in the data of one HDU. Returns its name in messages."""
    with fits.open(path, memmap=False) as hdus:
        for hdu in hdus:
            hdu.data  # noqa: B018  read it before the file goes
        hdus.writeto(path, checksum=True, overwrite=True)
    with fits.open(path, disable_image_compression=True) as hdus:
        places = [hdu.fileinfo()["datLoc"] for hdu in hdus]
        names = [hdu.name for hdu in hdus]
    if number is not None:
        content = bytearray(path.read_bytes())
        content[places[number] + 2] ^= 1
        path.write_bytes(content)
        return f"HDU {number} {names[number]}"
    return ""


def packed(path):
    """Compress the images of a file tile by tile, without loss; return the new file."""
    with fits.open(path, memmap=False) as hdus:
        tiles = [
            hdu
            if hdu.data is None
            else fits.CompImageHDU(hdu.data, hdu.header, hdu.name, "GZIP_1", quantize_level=0)
            for hdu in hdus
        ]
        first = [] if isinstance(tiles[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
        fits.HDUList([*first, *tiles]).writeto(path.with_suffix(".fits.fz"))
    return path.with_suffix(".fits.fz")


@pytest.mark.parametrize(
    ("role", "number"),
    [("difference", 0), ("science", 2), ("science", 3), ("template", 3), ("kernel", 0)],
)
def test_data_that_do_not_add_up_are_refused(work, role, number):
    file = work / f"{role}.fits"
    name = with_sums(file, number)
    before = file.read_bytes()
    error = work.fails(3, file, f"the data of {name} add up to", "DATASUM", GOES_ON)
    assert "fetch it again" in error
    (found, result) = work.succeeds(GOES_ON)
    assert str(file) in result.stderr
    assert "DATASUM" in result.stderr
    assert found["PRIMARY"][0]["DDIGNSUM"] is True
    assert found["PRIMARY"][0]["DDWARN"] >= 1
    assert any("DATASUM" in line for line in found["PRIMARY"][0]["HISTORY"])
    assert file.read_bytes() == before


def test_sums_that_are_right(work):
    for role in ("science", "template", "difference", "kernel"):
        with_sums(work / f"{role}.fits")
    _, result = work.succeeds()
    assert result.stderr == ""


def test_an_image_that_is_not_read_is_not_judged(work, monkeypatch):
    """The pixels of the science image play no part: its variance does."""
    monkeypatch.setattr(reading, "_FEW", 1 << 18)
    with_sums(work / "science.fits", 1)
    work.succeeds("--no-verify")


@pytest.mark.parametrize("text", ["", "-1", "5000000000", "none", "0.5"])
def test_a_sum_that_says_nothing(work, text):
    with fits.open(work / "difference.fits", mode="update") as hdus:
        hdus[0].header["DATASUM"] = text
        hdus[0].header["CHECKSUM"] = ""
    _, result = work.succeeds()
    assert result.stderr == ""


@pytest.mark.parametrize("how", ["psf", "noise", "mask"])
def test_files_beside_the_image(work, how):
    with fits.open(work / "science.fits") as hdus:
        number = {"noise": 3, "mask": 2}.get(how)
        if number is not None:
            fits.PrimaryHDU(hdus[number].data, hdus[number].header).writeto(work / "own.fits")
        else:
            fits.PrimaryHDU(fits.getdata(work / "psf.fits")).writeto(work / "own.fits")
    with_sums(work / "own.fits", 0)
    kind = ["--science-noise-kind", "variance"] if how == "noise" else []
    options = [f"--science-{how}", str(work / "own.fits"), *kind]
    work.fails(3, work / "own.fits", "DATASUM", options=options)
    work.succeeds(*options, GOES_ON)


def test_unsigned_and_scaled_numbers(work):
    with fits.open(work / "difference.fits", memmap=False) as hdus:
        pixels, header = np.array(hdus[0].data), hdus[0].header.copy()
    for scaled in ({"bscale": 0.01, "bzero": 3.0}, {"bzero": 32768}):
        hdu = fits.PrimaryHDU(pixels if len(scaled) > 1 else np.rint(pixels) + 100, header)
        hdu.scale("int16", **scaled)
        hdu.writeto(work / "difference.fits", overwrite=True, checksum=True)
        work.succeeds("--no-verify", "--overwrite")
        with_sums(work / "difference.fits", 0)
        work.fails(3, "DATASUM", options=["--no-verify", "--overwrite"])


@pytest.mark.parametrize("role", ["difference", "science"])
def test_tiles_and_gzip(work, role):
    """Of tiles the sum is that of the table; astropy and fpack keep that of the image, too."""
    with_sums(work / f"{role}.fits")
    file = packed(work / f"{role}.fits")
    with_sums(file)
    _, result = work.succeeds(**{role: file})
    assert result.stderr == ""
    content = re.sub(rb"(?<!Z)DATASUM = '\d{4}", b"DATASUM = '1234", file.read_bytes())
    file.write_bytes(content)
    work.fails(3, file, "DATASUM, 1234", options=["--overwrite"], **{role: file})
    with_sums(work / f"{role}.fits", {"difference": 0, "science": 3}[role])
    zipped = work / f"{role}.fits.gz"
    zipped.write_bytes(gzip.compress((work / f"{role}.fits").read_bytes()))
    work.fails(3, zipped, "DATASUM", options=["--overwrite"], **{role: zipped})


@pytest.mark.parametrize("card", ["OBJECT", "DATASUM"])
def test_a_stale_checksum_is_a_warning(work, card):
    """Cards were changed; or nothing says what the data add up to, and it may be they."""
    file = work / "difference.fits"
    with_sums(file)
    with fits.open(file) as hdus:
        length = hdus[0].fileinfo()["datLoc"]
        header = hdus[0].header.copy()
    checksum = header["CHECKSUM"]
    if card == "DATASUM":
        del header["DATASUM"]
    header["OBJECT"] = "changed"
    header["CHECKSUM"] = checksum
    content = file.read_bytes()
    file.write_bytes(header.tostring().encode() + content[length:])
    _, result = work.succeeds()
    (line,) = result.stderr.splitlines()
    assert "WARNING" in line
    assert f"{file}: the CHECKSUM of HDU 0 PRIMARY is stale" in line
    work.fails(4, "CHECKSUM", options=["--strict", "--overwrite"])
    _, result = work.succeeds(GOES_ON, "--overwrite")
    assert result.stderr == ""


def test_a_sum_copied_to_a_header_without_data(work):
    with fits.open(work / "science.fits", mode="update") as hdus:
        hdus[0].header["DATASUM"] = "12345"
    _, result = work.succeeds()
    assert result.stderr == ""


def test_large_images_are_compared_as_they_are_read(work, monkeypatch):
    """What the run reads is added up then; only what is left is read for it."""
    monkeypatch.setattr(sums, "_CHUNK", 2880)
    monkeypatch.setattr(sums, "_SMALL", 0)
    with_sums(work / "difference.fits", 0)
    work.fails(3, "difference.fits", "DATASUM", options=["--no-verify"])


def test_other_commands(work):
    file = work / "difference.fits"
    with_sums(file, 0)
    triple = [work / f"{role}.fits" for role in ("science", "template", "difference")]
    for command in (
        ["check", file],
        ["verify", *triple, "--kernel", work / "kernel.fits"],
    ):
        result = call(*command)
        assert result.exit_code == 3, result.stderr
        assert "DATASUM" in result.stderr
        result = call(*command, GOES_ON)
        assert result.exit_code in {0, 3}
        assert "diffdecor: " not in result.stderr.replace("diffdecor: WARNING", "")
    with_sums(work / "kernel.fits", 0)
    for command in (
        ["kernel", "info", work / "kernel.fits"],
        ["kernel", "convert", work / "kernel.fits", work / "native.fits"],
        ["kernel", "plot", work / "kernel.fits", "-o", work / "kernel.png"],
    ):
        result = call(*command)
        assert result.exit_code == 3
        assert f"{work / 'kernel.fits'}: the data of HDU 0 PRIMARY add up" in result.stderr
        assert call(*command, GOES_ON).exit_code == 0


def test_in_python(work):
    with_sums(work / "science.fits", 3)
    with pytest.raises(InputError, match="HDU 3 VARIANCE add up"):
        read_exposure(work / "science.fits")
    assert read_exposure(work / "science.fits", ignore_checksums=True).variance is not None
    with_sums(work / "kernel.fits", 0)
    with pytest.raises(InputError, match="HDU 0 PRIMARY add up"):
        read_kernel(work / "kernel.fits")
    assert read_kernel(work / "kernel.fits", ignore_checksums=True).shape == (7, 7)


def changing(monkeypatch, change):
    """Have something done to files once filters are made, before pixels are read."""
    original = decorrelate.make_mask

    def made(*arguments):
        change()
        return original(*arguments)

    monkeypatch.setattr(decorrelate, "make_mask", made)


@pytest.mark.parametrize("role", ["science", "template", "difference", "kernel"])
def test_a_file_that_is_changed_while_it_is_read(work, monkeypatch, role):
    file = work / f"{role}.fits"

    def change():
        with file.open("r+b") as opened:
            opened.seek(-8, os.SEEK_END)
            opened.write(b"changed!")

    changing(monkeypatch, change)
    result = work.run()
    assert result.exit_code == 3
    assert f"{file}: the file was changed while it was read" in result.stderr
    assert not work.output.exists()
    monkeypatch.undo()


@pytest.mark.parametrize("pixel", ["changed", "as it was"])
def test_a_change_that_keeps_the_time(work, monkeypatch, pixel):
    """Rows that were read are read once more where only the time of the inode is another."""
    file = work / "difference.fits"
    times = file.stat()

    def change():
        with file.open("r+b") as opened:
            opened.seek(2880 + 400)
            byte = opened.read(1)
            opened.seek(2880 + 400)
            opened.write(byte if pixel == "as it was" else bytes([byte[0] ^ 1]))
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    changing(monkeypatch, change)
    result = work.run("--no-verify")
    assert result.exit_code == (0 if pixel == "as it was" else 3), result.stderr


def test_a_file_that_is_moved_or_replaced_is_read_as_it_was(work, monkeypatch):
    file = work / "difference.fits"
    content = file.read_bytes()

    def change():
        file.rename(work / "moved.fits")
        file.write_bytes(b"another one")

    changing(monkeypatch, change)
    assert work.run().exit_code == 0
    assert (work / "moved.fits").read_bytes() == content


def test_a_text_that_is_changed_meanwhile(work, monkeypatch):
    file = work / "stack.toml"
    file.write_text("[[member]]\nvariance = 9.0\n")
    changing(monkeypatch, lambda: file.write_text("[[member]]\nvariance = 4.0\n"))
    result = work.run("--science-stack", str(file))
    assert result.exit_code == 3
    assert f"{file}: the file was changed while it was read" in result.stderr
    assert not work.output.exists()


def test_files_gzipped_twice_are_no_other_files(work):
    """Their sum was 0, whatever they held, so that a changed one was done already."""
    file = work / "twice.fits.gz"
    for number in (0, 1):
        with fits.open(work / "difference.fits", mode="update") as hdus:
            hdus[0].data[3, 4] += number
        file.write_bytes(gzip.compress(gzip.compress((work / "difference.fits").read_bytes())))
        result = work.run("--json", "--no-verify", difference=file)
        assert "already done" not in result.stdout
        assert result.exit_code in {0, 2, 3}


def test_an_hdu_whose_kind_cannot_be_told(work):
    """Astropy gives its header up; it is none of those that are needed."""
    path = work / "difference.fits"
    with fits.open(path, memmap=False) as hdus:
        hdus.append(fits.ImageHDU(np.zeros((4, 4)), name="OTHER"))
        hdus[0].data  # noqa: B018  read it before the file goes
        hdus.writeto(path, overwrite=True)
    content = path.read_bytes()
    assert content.count(b"XTENSION= 'IMAGE   '") == 1
    path.write_bytes(content.replace(b"XTENSION= 'IMAGE   '", b"XTENSION= '\x1b[31mre'"))
    result = work.run()
    assert result.exit_code in {0, 3}
    assert "internal error" not in result.stderr
    assert "\x1b" not in result.stderr
