"""Outputs: where they may go, when they are left alone, and what a second run does."""

import os
import shutil

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import (
    call,
    check_failure,
    described,
    exposure,
    json_object,
    opened,
    verify,
)

from diffdecor.fits import atomic

INPUTS = {
    "science": "science.fits",
    "template": "template.fits",
    "difference": "difference.fits",
    "kernel": "kernel.fits",
    "science-noise": "noise.fits",
    "template-mask": "mask.fits",
    "difference-psf": "psf.fits",
    "cell-centroids": "centroids.txt",
}


@pytest.fixture
def all_inputs(work):
    """Name every kind of input on the command line."""
    fits.PrimaryHDU(np.full((40, 48), 9.0)).writeto(work / "noise.fits")
    fits.PrimaryHDU(np.zeros((40, 48), np.int16)).writeto(work / "mask.fits")
    (work / "centroids.txt").write_text("x y\n24 20\n")
    (work / "my.toml").write_text("blend = 'copy'\n")
    options = ["--science-noise-kind", "variance"]
    return options, {name: work / file for name, file in INPUTS.items() if "." in file}


def same(path):
    return path


def relative(path):
    return os.path.relpath(path)


def roundabout(path):
    return path.parent / ".." / path.parent.name / "." / path.name


def symlink(path):
    link = path.with_name("link.fits")
    link.symlink_to(path.name)
    return link


def folder_link(path):
    (path.parent.parent / "elsewhere").symlink_to(path.parent)
    return path.parent.parent / "elsewhere" / path.name


def hard_link(path):
    link = path.with_name("hard.fits")
    os.link(path, link)
    return link


@pytest.mark.parametrize("way", [same, relative, roundabout, symlink, folder_link, hard_link])
@pytest.mark.parametrize("name", INPUTS)
def test_an_input_is_never_overwritten(work, all_inputs, name, way):
    options, files = all_inputs
    output = way(files[name])
    options = [*options, "--blend", "copy", "--overwrite"]
    work.fails(2, "is an input", options=options, **files, output=output)


def test_the_configuration_is_an_input_too(work):
    (work / "my.toml").write_text("mode = 'whole'\n")
    options = ("--config", work / "my.toml", "--overwrite")
    work.fails(2, "my.toml", "is an input", options=options, output=work / "my.toml")


def test_the_kernel_file_that_the_difference_names_is_an_input_too(work):
    from pathlib import Path

    data = Path(__file__).parents[1] / "data" / "hotpants"
    for name in ("A2_diff.fits.gz", "A2_kernel.fits"):
        shutil.copy(data / name, work / name)
    with fits.open(work / "A2_diff.fits.gz") as hdus:
        named = next(hdu.header["KERFILE"] for hdu in hdus if "KERFILE" in hdu.header)
        shape = hdus[0].shape
    assert Path(named).name == "A2_kernel.fits"
    fits.PrimaryHDU(np.ones(shape, np.float32)).writeto(work / "flat.fits")
    roles = {"science": work / "flat.fits", "template": work / "flat.fits", "kernel": None}
    levels = ("--science-variance", "9", "--template-variance", "4", "--no-verify")
    difference = work / "A2_diff.fits.gz"
    work.succeeds(*levels, **roles, difference=difference)
    message = work.fails(
        2,
        "A2_kernel.fits",
        options=(*levels, "--overwrite"),
        **roles,
        difference=difference,
        output=work / "A2_kernel.fits",
    )
    assert "is an input" in message


@pytest.mark.parametrize("extension", ["[IMAGE]", "[0]", "[IMAGE,1]"])
def test_an_input_named_with_its_extension_is_an_input(work, extension):
    science = f"{work / 'science.fits'}"
    if extension == "[0]":
        extension = "[1]"
    work.fails(
        2,
        "is an input",
        options=["--overwrite"],
        science=f"{science}{extension}",
        output=work / "science.fits",
    )


@pytest.mark.parametrize("extension", ["[IMAGE]", "[1]", "[SCI,2]"])
def test_an_output_is_a_whole_file(work, extension):
    work.fails(3, "[", "whole file", output=f"{work / 'new.fits'}{extension}")
    work.fails(3, "[", "whole file", output=f"{work / 'science.fits'}{extension}")


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("missing/out.fits", 3, "no folder"),
        ("science.fits/out.fits", 3, "no folder"),
        (".", 3, "not a regular file"),
        ("out.fits.bz2", 3, "not packed so"),
        ("out.fits.Z", 3, "not packed so"),
        ("x" * 300 + ".fits", 3, "too long"),
        ("fifo", 3, "not a regular file"),
        ("folder", 3, "not a regular file"),
        ("/dev/null", 3, "not a regular file"),
        ("/proc/out.fits", 3, "cannot be written"),
        ("/dev/null/out.fits", 3, "no folder"),
        ("old.fits", 2, "--overwrite"),
        ("link-to-old.fits", 2, "--overwrite"),
    ],
)
def test_outputs_that_cannot_be(work, name, code, says):
    (work / "folder").mkdir()
    (work / "old.fits").write_bytes(b"old")
    (work / "link-to-old.fits").symlink_to("old.fits")
    os.mkfifo(work / "fifo")
    work.fails(code, says, output=work / name)


def test_a_folder_that_cannot_be_written(work, monkeypatch):
    def refused(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic.os, "open", refused)
    work.fails(3, "out.fits", "Permission denied")


@pytest.mark.parametrize(("code", "says"), [(30, "Read-only file system"), (28, "disk is full")])
def test_a_disk_that_cannot_be_written(work, monkeypatch, code, says):
    def refused(_file):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, "fsync", refused)
    work.fails(3, "out.fits", says)


def test_an_empty_output_name(work):
    work.fails(2, "--output", output="")
    check_failure(call(*work.arguments(output=None)), 2, "--output")


def test_a_link_to_nowhere_is_followed(work):
    work.output.symlink_to("nowhere.fits")
    work.succeeds()
    assert work.output.is_symlink()
    assert not (work / "nowhere.fits").is_symlink()
    verify(work / "nowhere.fits")


def test_a_link_to_itself_is_refused(work):
    work.output.symlink_to("out.fits")
    work.fails(3, "out.fits", "symbolic link to itself")
    assert work.output.is_symlink()


def test_a_second_run_does_nothing(work):
    work.succeeds()
    before = described(work.folder), work.output.stat().st_mtime_ns
    result = work.run("--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json_object(result.stdout)["status"] == "already done"
    assert (described(work.folder), work.output.stat().st_mtime_ns) == before
    assert "done already" in work.run("-v").stderr


def test_a_second_run_from_elsewhere_is_the_same(work, monkeypatch):
    work.succeeds()
    monkeypatch.chdir(work.folder.parent)
    names = {name: f"work/{name}.fits" for name in ("science", "template", "difference", "kernel")}
    assert work.run(**names, output="work/out.fits").exit_code == 0
    (work.folder.parent / "moved").mkdir()
    for name in ("science", "template", "difference", "kernel"):
        shutil.copy(work / f"{name}.fits", work.folder.parent / "moved")
    moved = {name: f"moved/{name}.fits" for name in names}
    assert work.run(**moved).exit_code == 0


EXACT = [
    ("--science-variance", "1.2345678901234567e-33"),
    ("--science-variance", "0.1234567890123456789"),
    ("--template-scale", "-1.2345678901234567e+45"),
    ("--kernel-position", "1.2345678901234567,2.1"),
    ("--fill-planes", ""),
    ("--flag-share", "1e-3"),
    ("--science-psf", "psf with a blank .fits"),
    ("--science-psf", 'psf\'s "quotes" & ünïcode.fits'),
    ("--science-psf", "very long " + "n" * 150 + ".fits"),
    ("--science-psf", "ends in a blank "),
]


@pytest.mark.parametrize("option", EXACT, ids=" ".join)
def test_whatever_the_option_it_is_known_again(work, option):
    if option[0].endswith("psf"):
        shutil.copy(work / "psf.fits", work / option[1])
        option = (option[0], work / option[1])
    common = ("--mode", "whole", "--no-verify")  # the images do not have such a scale
    work.succeeds(*common, *option)
    assert json_object(work.run(*common, "--json", *option).stdout)["status"] != "done"


def test_names_with_odd_characters(work):
    names = {
        "science": "science é ü.fits",
        "template": "template [1].fits",
        "difference": "dif'fer\"ence\n.fits",
        "kernel": "ker%nel;$(x).fits",
    }
    for role, name in names.items():
        shutil.move(work / f"{role}.fits", work / name)
    paths = {role: work / name for role, name in names.items()}
    output = work / "aus gäbe [2].fits"
    work.succeeds(**paths, output=output)
    header = opened(output)["PRIMARY"][0]
    assert header["DDTMP"] == "template [1].fits"
    verify(output)
    assert json_object(work.run("--json", **paths, output=output).stdout)["output"] == str(output)


def test_names_of_undecodable_bytes(work):
    name = os.fsdecode(b"difference\xff.fits")
    shutil.move(work / "difference.fits", work / name)
    work.succeeds(difference=work / name)
    assert work.run(difference=work / name).exit_code == 0
    work.fails(3, "no such file", difference=work / (name + "x"))


def test_a_long_path(work):
    folder = work.folder
    while len(str(folder)) < 1000:
        folder /= "d" * 100
    folder.mkdir(parents=True)
    for role in ("science", "template", "difference", "kernel"):
        shutil.copy(work / f"{role}.fits", folder)
    paths = {
        role: folder / f"{role}.fits" for role in ("science", "template", "difference", "kernel")
    }
    work.succeeds(**paths, output=folder / "out.fits")
    verify(folder / "out.fits")
    work.succeeds(output=folder / ("n" * 240 + ".fits"))


CHANGES = {
    "another option": ("--variance", "full"),
    "another file option": ("--dtype", "float64"),
    "a given level": ("--science-variance", "9"),
    "force": ("--force",),
}


@pytest.mark.parametrize("options", CHANGES.values(), ids=CHANGES)
def test_another_job_does_not_replace_it(work, options):
    work.succeeds()
    work.fails(2, "out.fits", "--overwrite", options=options)
    work.succeeds("--overwrite", *options)
    assert work.run(*options).exit_code == 0


@pytest.mark.parametrize("role", ["science", "template", "difference", "kernel"])
def test_another_input_does_not_pass_for_the_old_one(work, rewrite, role):
    work.succeeds()

    def change(hdus):
        image = next(hdu for hdu in hdus if hdu.data is not None)
        image.data[3, 3] += 0.01

    rewrite(work / f"{role}.fits", change)
    work.fails(2, "out.fits", "--overwrite")
    work.succeeds("--overwrite")


def test_an_input_that_is_gone_is_named_even_if_the_output_is_there(work):
    work.succeeds()
    (work / "template.fits").unlink()
    work.fails(3, "template.fits")


@pytest.mark.parametrize("damaged", ["cut", "empty", "text", "foreign"])
def test_a_damaged_output_does_not_pass_for_done(work, damaged):
    work.succeeds()
    content = work.output.read_bytes()
    if damaged == "foreign":
        fits.PrimaryHDU(np.ones((4, 4))).writeto(work.output, overwrite=True)
    else:
        work.output.write_bytes({"cut": content[:-5000], "empty": b"", "text": b"x"}[damaged])
    work.fails(2, "out.fits", "--overwrite")
    work.succeeds("--overwrite")
    assert work.output.stat().st_size == len(content)


def test_overwriting_gives_the_same_pixels(work):
    first, _ = work.succeeds()
    second, _ = work.succeeds("--overwrite")
    for name in ("IMAGE", "VARIANCE", "MASK", "PSI"):
        assert first[name][1].tobytes() == second[name][1].tobytes()


@pytest.mark.parametrize("options", [(), ("--fill-planes", "SAT")])
def test_which_pixels_are_bad_is_one_line(work, arrays, options):
    mask = np.zeros((40, 48), np.int32)
    mask[10, 12], mask[20, 30], mask[30, 7] = 1, 2, 4  # BAD, SAT, CR
    exposure(arrays[0], 9.0, mask).writeto(work / "science.fits", overwrite=True)
    header, pixels = work.succeeds(*options)[0]["MASK"]
    names = header["BADPLANE"].split(",")
    filled = ["SAT"] if options else ["SAT", "CR", "BAD"]
    assert set(names) == {*filled, "NO_DATA", "EDGE", "NEAR_FILLED"}
    expected = np.zeros((40, 48), bool)
    for name in names:
        expected |= (pixels >> header[f"MP_{name}"]) & 1 == 1
    assert expected[20, 30]
    assert not expected.all()
    found = (pixels & header["BADVALUE"]) != 0
    np.testing.assert_array_equal(found, expected)


def test_an_output_without_filters_is_read_like_others(work):
    toml = work / "my.toml"
    printed = call(*work.arguments("--no-filters", "--print-config")).stdout
    assert "filters = false" in printed
    toml.write_text("filters = false\n")
    output, _ = work.succeeds("--config", toml, "--science-psf", work / "psf.fits")
    assert output["PRIMARY"][0]["DDFILTRS"] is False
    assert not {"PSI", "PSIPOS"} & set(output)
    assert "PSF" in output
    assert call("check", work.output, "--json").exit_code == 0
    # The same job is done already; with filters it is another.
    assert (
        "done already" in work.run("--no-filters", "--science-psf", work / "psf.fits", "-v").stderr
    )
    work.fails(2, "out.fits", "--overwrite", options=("--science-psf", work / "psf.fits"))


def test_a_failing_run_leaves_the_old_output_alone(work):
    work.succeeds()
    (work / "template.fits").write_bytes(b"")
    work.fails(3, "template.fits", options=["--overwrite"])


def test_a_file_of_a_hidden_name_is_not_ours(work):
    part = work.folder / ".out.fits.part"
    part.write_bytes(b"half a file")
    work.succeeds()
    verify(work.output)
    assert part.read_bytes() == b"half a file"
