"""Inputs that cannot be used: named in one line, with nothing written and nothing changed."""

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import NX, NY, SHAPE, call, described, exposure, opened

INPUTS = {
    "science": "science.fits",
    "template": "template.fits",
    "difference": "difference.fits",
    "kernel": "kernel.fits",
    "science-noise": "noise.fits",
    "template-noise": "noise.fits",
    "science-mask": "mask.fits",
    "template-mask": "mask.fits",
    "difference-mask": "mask.fits",
    "science-psf": "psf.fits",
    "template-psf": "psf.fits",
    "difference-psf": "psf.fits",
    "preconvolution-kernel": "psf.fits",
}


@pytest.fixture
def bad():
    """Give a bad file to every input in turn: ``bad("science-noise", path)``."""

    def using(name, path):
        extra = [part for part in ("--score",) if name == "preconvolution-kernel"]
        if name.endswith("-noise"):
            extra += [f"--{name}-kind", "variance"]
        return {name: path, "options": tuple(extra)}

    return using


def random_bytes(path):
    path.write_bytes(np.random.default_rng(1).bytes(5000))


def wrong_start(path):
    path.write_bytes(b"SIMPLE  = nonsense" + bytes(3000))


def cut_header(path):
    path.write_bytes(path.read_bytes()[:1000])


def cut_data(path):
    content = path.read_bytes()
    path.write_bytes(content[: 2880 * (len(content) // 2880 - 1) + 300])


def cut_gzip(path):
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(packed[: len(packed) * 2 // 3])


def bad_gzip(path):
    packed = bytearray(gzip.compress(path.read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)


def table_only(path):
    table = fits.BinTableHDU.from_columns([fits.Column("X", "D", array=np.arange(3.0))])
    table.writeto(path, overwrite=True)


def nothing_in_it(path):
    fits.PrimaryHDU().writeto(path, overwrite=True)


def folder(path):
    path.unlink()
    path.mkdir()


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def loop(path):
    path.unlink()
    path.symlink_to(path)


def dangling(path):
    path.unlink()
    path.symlink_to("nowhere")


HURT = {
    "missing": (Path.unlink, "no such file"),
    "folder": (folder, "directory"),
    "text": (lambda path: path.write_text("hello\n"), "not a readable FITS file"),
    "random bytes": (random_bytes, "not a readable FITS file"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "cut in the header": (cut_header, ""),
    "cut in the data": (cut_data, "truncated"),
    "cut gzip": (cut_gzip, "not a readable FITS file"),
    "damaged gzip": (bad_gzip, "not a readable FITS file"),
    "wrong start": (wrong_start, ""),
    "only a table": (table_only, ""),
    "no image": (nothing_in_it, ""),
    "fifo": (fifo, "not a regular file"),
    "symlink loop": (loop, "symbolic link"),
    "dangling symlink": (dangling, "no such file"),
}


USUAL = ("missing", "folder", "cut in the data", "only a table")


@pytest.mark.parametrize(
    ("name", "damaged"),
    [(name, damaged) for name in ("science", "kernel", "science-mask") for damaged in HURT]
    + [(name, damaged) for name in INPUTS for damaged in USUAL],
)  # fmt: skip
def test_a_damaged_file_is_named(work, bad, name, damaged):
    make, says = HURT[damaged]
    path = work / "damaged.fits"
    source = work / INPUTS[name]
    shutil.copy(source if source.exists() else work / "difference.fits", path)
    make(path)
    chosen = bad(name, path)
    work.fails(3, "damaged.fits", says, **chosen)


@pytest.mark.parametrize("name", INPUTS)
def test_devices_and_other_places(work, bad, name):
    work.fails(3, "/dev/null", "regular file", **bad(name, "/dev/null"))
    work.fails(3, "science.fits/x", **bad(name, work / "science.fits" / "x"))
    long = work / ("x" * 300 + ".fits")
    work.fails(3, "too long", **bad(name, long))


@pytest.mark.parametrize("name", INPUTS)
def test_an_extension_that_is_not_there(work, bad, name):
    for extension in ("NOSUCH", "7", "IMAGE,9", "0,1", "99999999999999999999999"):
        file = f"{work / 'difference.fits'}[{extension}]"
        work.fails(3, "difference.fits", extension.split(",")[0], **bad(name, file))


@pytest.mark.parametrize("role", ["science", "template", "difference"])
@pytest.mark.parametrize("shape", [(3, NY, NX), (NX,), (NY, NX - 1), (NX, NY), (2, 2, NY, NX)])
def test_an_image_of_another_shape(work, role, shape):
    fits.PrimaryHDU(np.ones(shape, np.float32)).writeto(work / "other.fits")
    work.fails(3, "other.fits", **{role: work / "other.fits"}, options=WITH_LEVELS)


WITH_LEVELS = ("--science-variance", "9", "--template-variance", "4")


@pytest.mark.parametrize("role", ["science", "template"])
@pytest.mark.parametrize("shape", [(3, NY, NX), (NX,), (NY, NX - 1), (NX, NY)])
@pytest.mark.parametrize("plane", ["noise", "mask"])
def test_a_plane_of_another_shape(work, role, plane, shape):
    fits.PrimaryHDU(np.ones(shape, np.int16)).writeto(work / "other.fits")
    kind = (f"--{role}-noise-kind", "sigma") if plane == "noise" else ()
    work.fails(3, "other.fits", **{f"{role}-{plane}": work / "other.fits"}, options=kind)


def test_shapes_that_disagree_name_both_files(work, arrays):
    exposure(arrays[1][:-1], 4.0).writeto(work / "cut.fits")
    message = work.fails(3, "cut.fits", template=work / "cut.fits")
    assert "science.fits" in message


@pytest.mark.parametrize("role", ["template", "difference"])
def test_another_sky_names_both_files(work, rewrite, role):
    def shift(hdus):
        hdus[-3 if role == "template" else 0].header["CRPIX1"] += 5

    rewrite(work / f"{role}.fits", shift)
    message = work.fails(3, f"{role}.fits", "science.fits")
    assert "5 pixels apart" in message


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.full(SHAPE, 0.5), "whole numbers"),
        (np.full(SHAPE, np.nan), "whole numbers"),
        (np.full(SHAPE, -1, np.int32), "31"),
        (np.full(SHAPE, 2**40, np.int64), "31"),
    ],
)
@pytest.mark.parametrize("role", ["science", "template", "difference"])
def test_no_mask(work, role, pixels, says):
    fits.PrimaryHDU(pixels).writeto(work / "mask.fits")
    work.fails(3, "mask.fits", says, **{f"{role}-mask": work / "mask.fits"})


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda k: np.where(k == k.max(), np.nan, k), "NaN"),
        (lambda k: np.where(k == k.max(), np.inf, k), "infinite"),
        (lambda k: k - k.mean(), "zero"),
        (lambda k: k * 0, "zero"),
        (lambda k: np.pad(k, 30), "larger than the image"),
        (lambda k: np.pad(k, ((0, 0), (30, 30))), "larger than the image"),
        (lambda k: np.ones((2000, len(k)), np.float32), "kernel"),
        (lambda k: k[np.newaxis].repeat(3, axis=0), "two axes"),
        (lambda k: k[0], "two axes"),
    ],
)
@pytest.mark.parametrize("mode", ["whole", "grid"])
def test_kernels_that_cannot_be(work, arrays, edit, says, mode):
    fits.PrimaryHDU(edit(arrays[3])).writeto(work / "bad.fits")
    work.fails(3, "bad.fits", says, kernel=work / "bad.fits", options=("--mode", mode))


def test_a_kernel_for_another_image(work):
    kernel = Path(__file__).parents[1] / "data" / "native" / "B1_native.fits"
    assert (fits.getval(kernel, "IMNY"), fits.getval(kernel, "IMNX")) != SHAPE
    work.fails(3, kernel.name, "difference.fits", f"{NX} x {NY}", "--force", kernel=kernel)


def test_without_a_kernel_that_the_images_show_it_says_what_to_do(work):
    noise = np.random.default_rng(4).normal(0.0, 3.0, SHAPE)
    exposure(noise, 9.0).writeto(work / "other.fits")
    for difference in (work / "other.fits", f"{work / 'other.fits'}[IMAGE]"):
        says = ("other.fits", "--kernel FILE", "alone", "no kernel in the difference")
        work.fails(3, *says, kernel=None, difference=difference)


def test_a_difference_carries_its_kernel_whichever_hdu_is_named(work, hotpants_job):
    arguments = hotpants_job("[0]")
    assert call(*arguments, "--output", work.output).exit_code == 0
    assert opened(work.output)["PRIMARY"][0]["DDKSUM"] == pytest.approx(0.8458, abs=1e-3)


@pytest.mark.parametrize("pixels", [np.zeros((5, 5)), -np.ones((5, 5)), np.full((5, 5), np.nan)])
@pytest.mark.parametrize("name", ["science-psf", "difference-psf", "preconvolution-kernel"])
def test_psfs_that_cannot_be(work, bad, name, pixels):
    fits.PrimaryHDU(pixels).writeto(work / "bad.fits")
    work.fails(3, "bad.fits", **bad(name, work / "bad.fits"))


@pytest.mark.parametrize("name", ["science-psf", "difference-psf", "preconvolution-kernel"])
def test_an_image_is_no_psf(work, bad, name):
    work.fails(3, "science.fits", "exposure", **bad(name, work / "science.fits"))
    fits.PrimaryHDU(np.ones((3, 1200), np.float32)).writeto(work / "large.fits")
    work.fails(3, "large.fits", "1200 x 3", **bad(name, work / "large.fits"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a b\n1 2\n",
        b"x y\n1 nan\n",
        b"x y\n1 inf\n",
        b"x y\n",
        b"x y\none two\n",
        b"\x00\x01\x02\xff\xfe" * 100,
        b"x y\n1\n",
        b"SIMPLE",
    ],
)
def test_centroids_that_cannot_be(work, content):
    (work / "centroids.txt").write_bytes(content)
    options = ("--blend", "copy", "--cell-centroids", work / "centroids.txt")
    work.fails(3, "centroids.txt", options=options)


@pytest.mark.parametrize("name", ["missing.txt", ".", "centroids.txt/x", "/dev/null", "x" * 300])
def test_centroids_that_are_not_there(work, name):
    options = ("--blend", "copy", "--cell-centroids", work / name)
    work.fails(3, Path(name).name, options=options)


def test_centroids_from_text_and_table(work):
    text, table = work / "c.txt", work / "c.fits"
    text.write_text("# x y\nid X Y\n1 10 10\n2 30.5 20\n")
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.BinTableHDU.from_columns(
                [
                    fits.Column(n, "D", array=np.array(v))
                    for n, v in (("x", [10, 30.5]), ("y", [10, 20]))
                ]
            ),
            fits.BinTableHDU.from_columns([fits.Column("z", "D", array=np.zeros(1))]),
        ]
    ).writeto(table)
    common = ("--blend", "average", "--cell-size", "21", "--overwrite", "--cell-centroids")
    first, _ = work.succeeds(*common, text)
    second, result = work.succeeds(*common, table)
    assert first["PRIMARY"][0]["DDNFILT"] == 2
    assert np.array_equal(first["IMAGE"][1], second["IMAGE"][1], equal_nan=True)
    assert "Warning" not in result.stderr


def test_a_difference_that_is_done_is_refused_unless_forced(work):
    work.succeeds()
    again = work / "again.fits"
    work.fails(3, "out.fits", "--force", difference=work.output, output=again)
    work.succeeds("--force", difference=work.output, output=again)
    assert opened(again)["PRIMARY"][0]["DDVERS"]


def test_a_zogy_difference_is_warned_of(work, rewrite):
    rewrite(work / "difference.fits", lambda hdus: hdus[0].header.set("Z-P", 1))
    _, result = work.succeeds()
    assert "ZOGY" in result.stderr


def test_inputs_are_never_changed(work):
    for path in work.folder.iterdir():
        path.chmod(0o444)
    before = described(work.folder)
    work.succeeds()
    after = described(work.folder)
    assert after.pop("out.fits")
    assert after == before
