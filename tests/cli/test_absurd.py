"""Numbers that are finite, and beyond all that is measured; exceptions of those who read bytes."""

import csv
import struct
import tomllib

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import call

from diffdecor.core.magnitudes import are_factors, are_possible
from diffdecor.errors import InputError, KernelError
from diffdecor.fits import open as opening
from diffdecor.fits.damage import UNREADABLE, damage_named
from diffdecor.kernels.model import BasisKernel, Box, Region, StampKernel, Term
from diffdecor.psfs.model import BasisPsf, StampPsf


def flip(path, offset, bit):
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("bit", range(7))
def test_a_flipped_bit_in_the_exponent_of_a_kernel_pixel(work, bit):
    """Refused, or used; never a warning of numpy, which the tests make an exception."""
    flip(work / "kernel.fits", 2880 + 8 * 24, bit)
    result = work.run("--no-verify")
    assert result.exit_code in {0, 3}, result.stderr
    assert "RuntimeWarning" not in result.stderr
    assert work.output.exists() == (result.exit_code == 0)


def test_a_kernel_of_1e160_is_refused(work):
    with fits.open(work / "kernel.fits", mode="update") as hdus:
        hdus[0].data[0, :2] = 1e160, -2e160
    work.fails(3, work / "kernel.fits", "larger than any flux ratio", options=["--no-verify"])


@pytest.mark.parametrize("option", ["science-scale", "template-scale"])
@pytest.mark.parametrize("value", ["1e308", "-1e61", "1e-61", "1e-308"])
def test_scales(work, option, value):
    work.fails(2, f"--{option}", value, options=[f"--{option}={value}"])


@pytest.mark.parametrize("card", ["SSCALE", "TSCALE"])
def test_scales_in_the_file(work, card):
    with fits.open(work / "kernel.fits", mode="update") as hdus:
        hdus[0].header[card] = 1e308
    work.fails(3, work / "kernel.fits", "scale")


@pytest.mark.parametrize("weight", ["1e308", "-1e200"])
def test_weights_of_a_stack(work, weight):
    (work / "stack.toml").write_text(f"[[member]]\nvariance = 4.0\nweight = {weight}\n")
    options = ["--science-stack", str(work / "stack.toml")]
    work.fails(3, work / "stack.toml", "weight", options=options)


def test_sigmas_of_3e38(work):
    """Some are pixels without data; all of them leave nothing to work with."""
    pixels = np.full((40, 48), 3.0, np.float32)
    options = ["--science-noise", str(work / "sigma.fits"), "--science-noise-kind", "sigma"]
    for where in (np.s_[7, 9], np.s_[:, :]):
        pixels[where] = 3e38
        fits.PrimaryHDU(pixels).writeto(work / "sigma.fits", overwrite=True)
        if where == np.s_[7, 9]:
            found, _ = work.succeeds(*options, "--overwrite")
            assert found["MASK"][1][7, 9] & 1 << found["MASK"][0]["MP_NO_DATA"]
            assert np.isfinite(found["IMAGE"][1]).all()
        else:
            work.fails(3, "science.fits", options=[*options, "--overwrite"])


def test_pixels_of_1e38(work):
    for role in ("science", "template", "difference"):
        with fits.open(work / f"{role}.fits", mode="update") as hdus:
            hdus[0 if role == "difference" else 1].data[5, 6] = 3e38
    assert work.run("--no-verify").exit_code == 0
    assert work.run("--overwrite").exit_code in {0, 3}


@pytest.mark.parametrize("gain", ["1e-60", "1e40"])
def test_gains(work, gain):
    work.fails(2, "--science-gain", gain, options=["--science-gain", gain])


def region(**changes):
    about = {"box": Box(0, 99, 0, 99), "side": "template", "coefficients": np.ones((1, 1))}
    return Region(**(about | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"xs": 1e-300},
        {"xs": 1e-61},
        {"x0": 1e300},
        {"science_scale": 1e308},
        {"coefficients": np.full((1, 1), 1e70)},
        {"coefficients": np.full((1, 1), 1e50), "xs": 1e-5},
    ],
)
def test_coefficients_that_run_away(changes):
    about = {"basis": np.ones((1, 3, 3)), "origin": (1, 1), "terms": (Term("POLY", 9, 0),)}
    BasisKernel(**about, regions=(region(xs=100.0),))
    with pytest.raises(KernelError, match=r"kernel: .* again"):
        BasisKernel(**about, regions=(region(**changes),))


def test_knots_that_are_none():
    knots = np.zeros(6)
    term = Term("BSPLINE", 0, 0, 2, (knots, knots))
    with pytest.raises(KernelError, match="functions of position are impossible"):
        BasisKernel(basis=np.ones((1, 3, 3)), origin=(1, 1), terms=(term,), regions=(region(),))


def test_stamps_that_are_none():
    about = {"origin": (0, 0), "positions": np.zeros((1, 2))}
    for stamps, positions in ((np.full((1, 1, 1), 1e61), 0.0), (np.ones((1, 1, 1)), 1e10)):
        with pytest.raises(KernelError, match="make the kernel again"):
            StampKernel(stamps=stamps, origin=(0, 0), positions=np.full((1, 2), positions))
    assert StampKernel(stamps=np.full((1, 1, 1), 1e-40), **about).sum(0, 0) == pytest.approx(1e-40)
    for stamp in (np.full((3, 3), 1e308), np.full((3, 3), 1e-70)):
        with pytest.raises(InputError, match="absurdly"):
            StampPsf(stamp)
    with pytest.raises(InputError, match="absurdly"):
        BasisPsf(
            basis=np.full((1, 3, 3), 1e300),
            origin=(1, 1),
            terms=(Term("POLY", 0, 0),),
            coefficients=np.ones((1, 1)),
        )


def test_magnitudes():
    assert are_possible([])
    assert are_possible([1e60, -1e60, 0.0])
    assert not are_possible([1.0, 1.1e60])
    assert not are_possible([np.nan])
    assert not are_possible(np.inf)
    assert are_factors((1e-60, -1e60))
    assert not are_factors((1.0, 0.0))


RAISED = [
    AssertionError("a name must be short"),
    AttributeError("no name"),
    OverflowError("too large"),
    RuntimeError("changed size"),
    RecursionError("maximum depth"),
    KeyError("TTYPE1"),
    IndexError("out of range"),
    MemoryError(),
    ZeroDivisionError("division by zero"),
    TypeError("not a number"),
    UnicodeDecodeError("ascii", b"\xff", 0, 1, "no ASCII"),
    csv.Error("field larger than limit"),
    struct.error("needs 4 bytes"),
    tomllib.TOMLDecodeError("no value"),
    EOFError(),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("role", ["science", "difference", "kernel"])
def test_what_breaks_while_a_file_is_opened(work, monkeypatch, error, role):
    real = opening.fits.open

    def broken(file, **about):
        if file.name == str(work / f"{role}.fits"):
            raise error
        return real(file, **about)

    monkeypatch.setattr(opening.fits, "open", broken)
    text = work.fails(3, work / f"{role}.fits", "not a readable FITS file (")
    assert "()" not in text


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_one_place_names_them_all(error):
    assert isinstance(error, UNREADABLE)
    named = damage_named("a.txt", "no table", "make it again")
    with pytest.raises(InputError, match=r"^a\.txt: no table \(.+\); make it again$"), named:
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), RuntimeWarning("overflow")])
def test_what_is_no_damage(error):
    with pytest.raises(type(error)), damage_named("a.txt", "no table"):
        raise error


def test_our_own_bugs_are_none_of_the_input(work, monkeypatch):
    def broken(*_arguments):
        raise AttributeError("a slip of ours")  # noqa: EM101, TRY003

    monkeypatch.setattr("diffdecor.decorrelation.decorrelate.make_filters", broken)
    result = work.run()
    assert result.exit_code == 1
    assert "internal error: AttributeError: a slip of ours" in result.stderr


@pytest.mark.parametrize(
    "text", ["x y\n" + "1" * 200_000 + " 2\n", "x y\n1 \x00\n", "x,y\n1\n2,3,4\n", '"', "\xff\xfe"]
)
def test_tables_of_centroids(work, text):
    (work / "cells.txt").write_text(text, encoding="latin-1")
    options = ["--mode", "grid", "--blend", "average", "--cell-size", "20", "--no-scale-by-fwhm"]
    options += ["--cell-centroids", str(work / "cells.txt")]
    work.fails(3, work / "cells.txt", options=options)


@pytest.mark.parametrize("blend", ["average", "copy", "sum"])
@pytest.mark.parametrize("positions", ["12 12\n", "12 12\n36 12\n12 28\n36 28\n"])
def test_pixels_in_no_cell(work, blend, positions):
    (work / "cells.txt").write_text("x y\n" + positions)
    size = 26 if len(positions) > 10 else 10
    options = ["--mode", "grid", "--blend", blend, f"--cell-size={size}", "--no-scale-by-fwhm"]
    options += ["--cell-border", "4", "--cell-centroids", str(work / "cells.txt"), "--no-filters"]
    found, result = work.succeeds(*options)
    header, mask = found["MASK"]
    flagged = mask & (1 << header["MP_NO_DATA"]) != 0
    outside = np.ones(mask.shape, dtype=bool)
    for x, y in np.loadtxt((work / "cells.txt"), skiprows=1, ndmin=2).astype(int):
        first, last = y - size // 2, y + size // 2
        outside[max(0, first) : last, max(0, x - size // 2) : x + size // 2] = False
    np.testing.assert_array_equal(flagged, outside)
    if blend != "sum":
        np.testing.assert_array_equal(np.isnan(found["IMAGE"][1]), outside)
    assert ("no cell serves" in result.stderr) == (size == 10)


def test_check_does_the_same(work):
    flip(work / "difference.fits", 2880 * 2, 6)
    result = call("check", work / "difference.fits")
    # One pixel is absurd: it is no sky, and says nothing of the noise.
    assert (result.exit_code, result.stderr) == (0, "")
