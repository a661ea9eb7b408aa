"""Inputs that are far larger than anybody's: refused before they cost time or memory."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import WCS


def test_shapes_are_compared_before_pixels_are_read(work):
    """The image takes no disk, and 10 GB of memory if it is read."""
    header = fits.PrimaryHDU(np.zeros((2, 2), np.float32)).header
    header["NAXIS1"] = header["NAXIS2"] = 50_001
    with (work / "large.fits").open("wb") as file:
        file.write(header.tostring().encode())
        file.truncate(2880 + -(-4 * 50_001**2 // 2880) * 2880)
    for role in ("science", "difference"):
        result = work.run(**{role: work / "large.fits"})
        assert result.exit_code == 3
        assert "50001" in result.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mode = " + "[" * 2000 + "]" * 2000, "brackets"),
        ("# " + "x" * (1 << 20), "bytes"),
        ("spacing = " + "9" * 5000, "TOML"),
    ],
)
def test_options_that_are_no_options(work, text, says):
    (work / "options.toml").write_text(text)
    work.fails(2, "options.toml", says, options=("--config", work / "options.toml"))
    work.fails(3, "options.toml", says, options=("--science-stack", work / "options.toml"))


def test_a_stack_of_too_many_images(work):
    (work / "stack.toml").write_text("[[member]]\nvariance = 1.0\n" * 1001)
    work.fails(3, "stack.toml", "1001", options=("--science-stack", work / "stack.toml"))


@pytest.mark.parametrize(
    "text",
    ["x y\n1 " + "2" * 20_000, "x y\n" + "1 2\n" * 100_001, "x y\n" + "1 2\n" * (1 << 22) + "\n"],
)
def test_positions_of_too_many_cells(work, text):
    (work / "cells.txt").write_text(text)
    work.fails(3, "cells.txt", options=("--cell-centroids", work / "cells.txt"))


@pytest.mark.parametrize("place", [-(2**31), 2**31 - 1, 5000])
def test_a_kernel_whose_origin_is_nowhere(work, place):
    fits.setval(work / "kernel.fits", "CTRX", value=place)
    work.fails(3, "kernel.fits", "CTRX")


@pytest.mark.parametrize("size", [1e160, 5e269, 1e300])
def test_pixels_that_are_no_pixels_end_the_search_for_a_reading(work, arrays, size):
    """LAPACK looks for the singular values of NaN for ever."""
    science = arrays[0].copy()
    science[36] *= size
    fits.PrimaryHDU(science, fits.Header(WCS)).writeto(work / "science.fits", overwrite=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert work.run("--science-gain", "1.6").exit_code == 3
