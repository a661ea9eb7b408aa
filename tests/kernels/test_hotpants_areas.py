"""Where HOTPANTS solved for kernels, without its kernel table: as the reader of the table says."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from kernels.conftest import DATA

from diffdecor.fits.headers import merged_header
from diffdecor.kernels.hotpants_areas import hotpants_areas
from diffdecor.kernels.model import Blocks, Box, KernelArea
from diffdecor.kernels.registry import read_kernel

CASES = ["A1", "A2", "A3", "B1", "B2", "B3", "C1", "C2", "M1", "S1"]


def header_of(path):
    """Return the header of a difference as an exposure has it, and the shape of its image."""
    with fits.open(path) as hdus:
        image = next(hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS") == 2)
        return merged_header(hdus[0].header, image.header), image.shape


def of_kernel(kernel):
    return tuple(KernelArea(region.box, region.blocks) for region in kernel.regions)


@pytest.mark.parametrize("case", CASES)
def test_they_are_those_of_the_kernel_table(hotpants, case):
    path, expected, _ = hotpants
    kernel_file = expected[case]["kernel_file"].removesuffix(".fits")
    difference = path(f"{case}_diff.fits")
    kernel = read_kernel(path(f"{kernel_file}.fits"), difference)
    header, shape = header_of(difference)
    assert hotpants_areas(header, shape, str(difference)) == of_kernel(kernel)


@pytest.mark.parametrize("case", ["A1", "B1", "M1"])
def test_those_of_a_cut_out_are_moved(tmp_path, case):
    x, y, shape = 30, 41, (90, 120)
    path = tmp_path / "diff.fits"
    with gzip.open(DATA / "hotpants" / f"{case}_diff.fits.gz") as stream, fits.open(stream) as hdus:
        hdus[0].data = np.zeros(shape, "f4")
        hdus[0].header.update(LTV1=-float(x), LTV2=-float(y))
        hdus.writeto(path, output_verify="silentfix")
    header, _ = header_of(path)
    assert hotpants_areas(header, shape) == of_kernel(read_kernel(path))
    del header["LTV1"]  # nothing says of where it was cut
    assert hotpants_areas(header, shape) == ()


def plain(**cards):
    """Return the header of a difference of 200 x 100 pixels with one region."""
    header = fits.Header({"REGION00": "[1:200,1:100]", "CONVOL00": "TEMPLATE"})
    header.update(cards)
    return header


def test_without_a_command_regions_have_no_blocks():
    whole = KernelArea(Box(0, 199, 0, 99))
    assert hotpants_areas(plain(), (100, 200)) == (whole,)
    command = plain(DIFFCMD="hotpants -inim a -r 7")
    assert hotpants_areas(command, (100, 200), diffcmd=False) == (whole,)
    cut = plain(DIFFCMD="hotpants")  # by a build that keeps nothing else
    assert hotpants_areas(cut, (100, 200)) == (whole,)


@pytest.mark.parametrize(
    ("options", "width", "step"),
    [
        ("", 21, 21),  # its default
        (" -r 7", 15, 15),
        (" -r 7.9", 15, 15),
        (" -kcs 5 -r 3", 7, 5),
        (" -rss 12 -r 4 -nrx 1", 9, 9),
    ],
)
def test_blocks_are_of_the_size_that_the_command_says(options, width, step):
    (area,) = hotpants_areas(plain(DIFFCMD=f"hotpants -inim a{options}"), (100, 200))
    half = width // 2
    assert area.blocks == Blocks(half, half, step, half)


def test_a_command_without_spaces_is_understood():
    (area,) = hotpants_areas(plain(DIFFCMD="-inima.fits-rss12-r6-kcs4"), (100, 200))
    assert area.blocks == Blocks(6, 6, 4, 6)


@pytest.mark.parametrize(
    "header",
    [
        None,
        fits.Header(),
        fits.Header({"DIFFCMD": "hotpants -inim a"}),
        fits.Header({"REGION00": "[1:9,1:9]"}),  # of somebody else: no side
        fits.Header({"REGION00": "everything", "CONVOL00": "TEMPLATE"}),
        fits.Header({"CONVOL00": "TEMPLATE"}),
    ],
)
def test_of_other_images_there_are_none(header):
    assert hotpants_areas(header, (100, 200)) == ()


def test_regions_that_were_skipped_are_left_out():
    header = plain(REGION03="[101:200,51:100]", CONVOL03="IMAGE")
    first, last = hotpants_areas(header, (100, 200))
    assert (first.box, last.box) == (Box(0, 199, 0, 99), Box(100, 199, 50, 99))


@pytest.mark.parametrize("options", ["-kcs 1e999", "-nsx 0 -nrx 2"])
def test_commands_that_cannot_be_are_not_used(options, caplog):
    caplog.set_level("INFO")
    assert hotpants_areas(plain(DIFFCMD=f"hotpants -inim a {options}"), (100, 200), "d.fits") == ()
    assert "d.fits: its DIFFCMD cannot be" in caplog.text


@pytest.mark.parametrize("options", ["-r -3", "-r 1e9"])
def test_widths_that_cannot_be_say_nothing_of_blocks(options):
    (area,) = hotpants_areas(plain(DIFFCMD=f"hotpants -inim a {options}"), (100, 200))
    assert area.blocks is None
