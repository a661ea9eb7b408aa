"""What Python programs call does what the commands do; and their programs have types."""

import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from helpers.workplace import convolved, exposure, gaussian

import diffdecor
from diffdecor import (
    DecorrelationConfig,
    Exposure,
    Member,
    StampKernel,
    StampPsf,
    check,
    decorrelate,
    fit_kernel,
    read_exposure,
    read_kernel,
    verify,
    write_result,
)
from diffdecor.config import FilesConfig
from diffdecor.errors import (
    ConfigError,
    DiffdecorError,
    InputError,
    KernelError,
    OutputExistsError,
)
from diffdecor.pipeline.check import CheckOptions, check_file
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.provenance import SOURCE_CARDS
from diffdecor.pipeline.run import run_job, verify_job

SHAPE = (150, 190)
KERNEL = gaussian(4, 1.3)
KERNEL[6, 5] += 0.1  # not symmetric
#: Cards that only a job knows.
OF_JOBS = {"DDSIDEBY", "DDRESID", "DDRESIDB", "DDWARN", "DDGATE"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A triple in files, with masks, PSF and units, and the job that decorrelates it."""
    folder = tmp_path_factory.mktemp("triple")
    random = np.random.default_rng(31)
    science, template = (random.normal(10.0, sigma, SHAPE) for sigma in (3.0, 2.0))
    mask = np.zeros(SHAPE, np.int32)
    mask[40:43, 60:66] = 1
    exposure(science, 9.0, mask).writeto(folder / "s.fits")
    exposure(template, 4.0).writeto(folder / "t.fits")
    exposure(science - convolved(template, KERNEL), 13.0).writeto(folder / "d.fits")
    fits.PrimaryHDU(KERNEL, fits.Header({"CONVSIDE": "TEMPLATE"})).writeto(folder / "k.fits")
    fits.PrimaryHDU(gaussian(8, 2.0)).writeto(folder / "psf.fits")
    return folder


def names(folder):
    roles = {"science": "s", "template": "t", "difference": "d", "kernel": "k"}
    return {role: str(folder / f"{name}.fits") for role, name in roles.items()}


KINDS = {"science_noise_kind": "variance", "template_noise_kind": "variance"}


def read(folder):
    files = names(folder)
    images = [
        read_exposure(files[role], noise_kind="variance", role=role, psf=folder / "psf.fits")
        for role in ("science", "template", "difference")
    ]
    return *images, read_kernel(files["kernel"])


def job(folder, output, config, **more):
    options = {f"{role}_psf": str(folder / "psf.fits") for role in ("science", "template")}
    options |= {"difference_psf": str(folder / "psf.fits"), "difference_noise_kind": "variance"}
    return Job(
        **names(folder),
        output=str(output),
        decorrelation=config,
        files=FilesConfig.of(**KINDS, **options, **more),
    )


CONFIGS = {
    "whole": {"mode": "whole"},
    "grid": {},
    "significance": {"mode": "whole", "significance": True},
    "double": {"mode": "whole", "precision": "double"},
    "cells": {"blend": "none", "scale_by_fwhm": False, "cell_size": 90, "grid_step": 80},
    "averaged": {"blend": "average", "scale_by_fwhm": False, "cell_size": 90, "grid_step": 80},
}


@pytest.mark.parametrize("case", CONFIGS)
def test_write_result_writes_what_a_run_does(files, tmp_path, case):
    config = DecorrelationConfig(noise_model="white", **CONFIGS[case])
    run_job(job(files, tmp_path / "run.fits", config))
    result = decorrelate(*read(files), config=config)
    write_result(result, tmp_path / "python.fits")
    with fits.open(tmp_path / "run.fits") as one, fits.open(tmp_path / "python.fits") as two:
        assert [(hdu.name, hdu.ver) for hdu in one] == [(hdu.name, hdu.ver) for hdu in two]
        for known, found in zip(one[1:], two[1:], strict=True):
            assert found.header.get("BUNIT") == known.header.get("BUNIT")
            assert found.data.dtype == known.data.dtype
            if known.is_image:
                scale = np.nanmax(np.abs(known.data[np.isfinite(known.data)]))
                np.testing.assert_allclose(found.data, known.data, rtol=1e-5, atol=1e-5 * scale)
            assert {"CRVAL1", "CTYPE1"} <= set(found.header) or "CRVAL1" not in known.header
        cards = {keyword for keyword in one[0].header if keyword.startswith("DD")}
        theirs = {keyword for keyword in two[0].header if keyword.startswith("DD")}
        of_files = {card.keyword for card in SOURCE_CARDS}
        options = {item.keyword for item in diffdecor.config.options.options(FilesConfig)}
        assert cards - theirs <= OF_JOBS | of_files | options
        assert theirs <= cards
        for keyword in theirs:
            known, found = one[0].header[keyword], two[0].header[keyword]
            if isinstance(known, float):
                assert found == pytest.approx(known, rel=1e-4, abs=1e-6), keyword
            else:
                assert found == known, keyword
    assert sorted(path.name for path in tmp_path.iterdir()) == ["python.fits", "run.fits"]
    again = read_exposure(tmp_path / "python.fits", role="difference")
    single = result.exposure.image.astype("f4")
    np.testing.assert_array_equal(again.image, single)
    assert again.mask_planes == result.exposure.mask_planes


def test_what_was_read_is_never_overwritten(files, tmp_path):
    folder = shutil.copytree(files, tmp_path / "own")
    *images, kernel = read(folder)
    config = DecorrelationConfig(mode="whole")
    odd = replace(images[0], name="x" * 5000)
    results = [decorrelate(*images, kernel, config=config), decorrelate(None, None, odd, None)]
    for path in map(Path, names(folder).values()):
        before = path.read_bytes()
        with pytest.raises(OutputExistsError, match="never overwritten"):
            write_result(results[0], path, overwrite=True)
        assert path.read_bytes() == before
    for result in results:
        write_result(result, folder / "new.fits", overwrite=True)
    member = Member(images[1], kernel)
    result = decorrelate(*images, np.ones((1, 1)), config=config, template_members=[member])
    with pytest.raises(OutputExistsError, match="never overwritten"):
        write_result(result, folder / "k.fits", overwrite=True)


def test_what_is_written_is_never_replaced_unasked(files, tmp_path):
    result = decorrelate(*read(files), config=DecorrelationConfig(mode="whole"))
    path = tmp_path / "out.fits"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="use `overwrite` to replace it"):
        write_result(result, path)
    assert path.read_text() == "mine"
    write_result(result, path, overwrite=True)
    assert fits.getheader(path)["DDMODE"] == "whole"
    with pytest.raises(DiffdecorError, match="nowhere"):
        write_result(result, tmp_path / "nowhere" / "out.fits")
    with pytest.raises(ConfigError, match="`dtype` is 'f8': expected one of float32, float64"):
        write_result(result, path, overwrite=True, dtype="f8")
    write_result(result, path, overwrite=True, dtype="float64")
    assert fits.getdata(path, "IMAGE").dtype == np.dtype(">f8")


def test_results_without_noise_or_numbers_are_written(tmp_path):
    nothing = Exposure(image=np.full((30, 40), np.nan), variance=1.0)
    result = decorrelate(nothing, nothing, nothing, np.ones((1, 1)))
    assert result.metrics == diffdecor.Metrics(skipped=True)
    write_result(result, tmp_path / "nothing.fits")
    assert fits.getheader(tmp_path / "nothing.fits")["DDSKIP"] is True
    # 1e-30 squared is nothing in single precision.
    faint = np.random.default_rng(3).normal(0, 1e-30, (200, 200))
    one = Exposure(image=faint, variance=1e-60)
    write_result(decorrelate(one, one, one, np.ones((1, 1))), tmp_path / "faint.fits")
    with fits.open(tmp_path / "faint.fits") as hdus:
        assert np.median(hdus["VARIANCE"].data) == pytest.approx(2e-60, rel=0.01)
        assert hdus["IMAGE"].data.std() == pytest.approx(1e-30, rel=0.05)


def test_check_says_what_the_command_says(files):
    difference = read(files)[2]
    found = check(difference)
    file = check_file(
        names(files)["difference"],
        CheckOptions(
            image=diffdecor.config.ImageOptions(
                role="difference", noise_kind="variance", psf=str(files / "psf.fits")
            )
        ),
    )
    assert str(found) == file.words
    assert found.as_dict() == {
        name: value for name, value in file.values.items() if name in found.as_dict()
    }
    assert found.verdict == "correlated"
    (reason,) = found.exceeds(max_rho=found.whiteness.largest / 2)
    assert reason.startswith("max |rho| is 0.")
    assert found.exceeds(max_rho=1.0) == []


def test_check_of_arrays():
    noise = np.random.default_rng(5).normal(size=(256, 300))
    assert check(noise).verdict == check(noise.tolist()).verdict == "white"
    assert np.isnan(check(noise).factor[0])
    assert check(noise, fwhm=2.5).factor[0] == pytest.approx(1, abs=0.1)
    image = Exposure(image=noise, variance=4.0)
    assert check(image, threads=1).variance_ratio == pytest.approx(4, rel=0.05)
    with pytest.raises(InputError, match=r"image: only .* pixels of sky"):
        check(noise[:10, :10])
    with pytest.raises(InputError, match="image: the image holds complex128"):
        check(noise + 0j)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"fwhm": 0}, "fwhm is 0: expected a number above zero"),
        ({"threads": 1.5}, "threads is 1.5: expected a whole number"),
        ({"ignore_planes": [3]}, r"ignore_planes is \[3\]: expected names"),
        ({"max_memory": 10}, "max_memory is 10: expected a size"),
    ],
)
def test_arguments_that_cannot_be(given, says):
    with pytest.raises(ConfigError, match=says):
        check(np.random.default_rng(1).normal(size=(200, 200)), **given)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("function", [decorrelate, verify])
def test_what_is_no_exposure(number, function):
    one = Exposure(image=np.zeros((9, 9)), variance=1.0)
    role = ("science", "template", "difference")[number]
    for other in (CCDData(one.image, unit="adu"), one.image):
        images = [one, one, one]
        images[number] = other
        says = f"{role} is of the class {type(other).__name__}, not an Exposure; make one"
        with pytest.raises(InputError, match=says):
            function(*images, np.ones((1, 1)))
    with pytest.raises(InputError, match=r"is a CCDData .* Exposure.from_ccddata"):
        check(CCDData(one.image, unit="adu"))


def test_verify_says_what_the_command_says(files):
    *images, kernel = read(files)
    config = DecorrelationConfig()
    found = verify(*images, kernel)
    assert found.belongs
    known = verify_job(job(files, files / "none.fits", config))
    assert known.fit.residual == pytest.approx(found.fit.residual, rel=1e-3, abs=1e-9)
    flipped = verify(*images, KERNEL[::-1, ::-1])
    assert not flipped.belongs
    assert "flipped in both axes" in flipped.cause
    assert flipped.alternative.good
    exchanged = verify(images[1], images[0], images[2], KERNEL)
    assert not exchanged.belongs
    with pytest.raises(ConfigError, match=r"score images, .* cannot be verified"):
        verify(*images, kernel, config=DecorrelationConfig(score=True))
    with pytest.raises(InputError, match="shape"):
        verify(images[0], Exposure(image=np.zeros((4, 4)), variance=1.0), images[2], kernel)


def test_verify_finds_the_side():
    random = np.random.default_rng(9)
    science, template = random.normal(0, 5, (2, 200, 220))
    difference = convolved(science, KERNEL) - template
    images = [Exposure(image=one, variance=25.0) for one in (science, template, difference)]
    assert verify(*images, KERNEL).side == "science"
    assert verify(*images, StampKernel(stamps=KERNEL, convolved="science")).belongs
    known = verify(*images, StampKernel(stamps=KERNEL, convolved="template"))
    assert not known.belongs
    assert 'convolved="science"' in known.cause


def test_kernels_from_arrays():
    """A stamp, its origin, its side, its scales; and stamps at positions."""
    stamp = np.arange(12.0).reshape(3, 4)
    kernel = StampKernel(stamps=stamp.tolist(), science_scale=2)
    assert (kernel.origin, kernel.shape, kernel.convolved) == ((2, 1), (3, 4), None)
    assert kernel.scales(0, 0) == (2, 1.0)
    np.testing.assert_array_equal(kernel.stamp(5, 6), stamp)
    moved = StampKernel(stamps=stamp, origin=(-1, 0))
    assert moved.origin == (-1, 0)
    stamp[:] = 7  # the kernel has its own
    assert kernel.stamp(0, 0)[0, 0] == 0
    positions = [(x, y) for y in (0, 100) for x in (0, 50)]
    stamps = np.arange(4.0)[:, np.newaxis, np.newaxis] * np.ones((4, 3, 3))
    several = StampKernel(stamps=stamps, positions=positions)
    assert several.stamp(25, 50)[0, 0] == pytest.approx(1.5)
    nearest = StampKernel(stamps=stamps, positions=positions, interpolation="NEAREST")
    assert nearest.stamp(26, 51)[0, 0] == 3


def test_sides_and_origins_of_arrays_count():
    """The same difference, of a kernel that is given in several ways, is the same result."""
    random = np.random.default_rng(6)
    science, template = random.normal(0, 3, (2, 120, 130))
    difference = convolved(science, KERNEL) - template
    images = [Exposure(image=one, variance=9.0) for one in (science, template, difference)]
    config = DecorrelationConfig(mode="whole", noise_model="white", precision="double")
    wide = np.pad(KERNEL, ((0, 0), (0, 3)))
    kernels = [
        StampKernel(stamps=KERNEL, convolved="science"),
        StampKernel(stamps=[KERNEL], origin=(4, 4), convolved="science"),
        StampKernel(stamps=wide, origin=(4, 4), convolved="science"),
        StampKernel(stamps=[KERNEL] * 2, positions=[(0, 60), (129, 60)], convolved="science"),
    ]
    first, *others = (decorrelate(*images, kernel, config=config) for kernel in kernels)
    assert first.metrics.side == "science"
    for other in others:
        np.testing.assert_allclose(other.exposure.image, first.exposure.image, atol=1e-9)
    assert first.metrics.rho_after < 5 * first.metrics.rho_error


def test_members_take_arrays():
    one = Exposure(image=np.zeros((9, 9)), variance=1.0)
    assert Member(one, KERNEL).kernel.shape == KERNEL.shape
    assert Member(one).kernel is None
    with pytest.raises(DiffdecorError, match="not an array of numbers"):
        Member(one, "kernel.fits")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"stamps": np.ones(3)}, r"kernel: is one stamp \(ny, nx\), or several"),
        ({"stamps": np.ones((2, 3, 3))}, "2 stamps without positions; give the position"),
        ({"stamps": np.ones((2, 3, 3)), "positions": [(1, 2)]}, r"positions of shape \(1, 2\)"),
        ({"stamps": np.full((3, 3), np.inf)}, "NaN or infinite"),
        ({"stamps": np.ones((3, 3)), "convolved": "Science"}, "convolved is 'Science', not one of"),
        ({"stamps": np.ones((3, 3)), "interpolation": "CUBIC"}, "neither LINEAR nor NEAREST"),
        ({"stamps": np.ones((3, 3)), "science_scale": 0.0}, "a scale is zero"),
        ({"stamps": np.ones((3, 3)), "origin": (2000, 1)}, "farther away than"),
        ({"stamps": np.ones((3, 3)), "origin": (0.5, 1)}, "origin .* is not a pixel"),
        ({"stamps": np.ma.ones((3, 3))}, "masked array"),
        ({"stamps": "kernel.fits"}, "read_kernel and read_psf read files"),
        ({"stamps": np.ones((2, 3, 3)), "positions": [(1, 2), (np.nan, 2)]}, "NaN or infinite"),
    ],
)
def test_kernels_that_cannot_be(given, says):
    with pytest.raises(InputError, match=says):
        StampKernel(**given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"stamps": np.ones((2, 3, 3))}, "2 stamps without positions"),
        ({"stamps": np.ones((2, 3, 3)), "positions": [1, 2]}, "positions of shape"),
        ({"stamps": -np.ones((3, 3))}, "positive sum"),
        ({"stamps": np.ones((3, 3)), "origin": (3, 1)}, "outside the 3 x 3 pixel stamp"),
        ({"stamps": np.ones((3, 3)), "interpolation": "CUBIC"}, "neither LINEAR nor NEAREST"),
        ({"stamps": np.ones((3, 3)) > 0}, "not an array of numbers"),
    ],
)
def test_psfs_that_cannot_be(given, says):
    with pytest.raises(InputError, match=says):
        StampPsf(**given)


def test_a_kernel_array_is_refused_as_a_kernel():
    one = Exposure(image=np.zeros((9, 9)), variance=1.0)
    with pytest.raises(KernelError, match="kernel array"):
        decorrelate(one, one, one, np.ones((2, 2, 2)))


def test_the_kernel_may_be_found_from_the_images(files):
    science, template, difference, kernel = read(files)
    fit = fit_kernel(science, template, difference)
    assert (fit.side, fit.is_exact) == ("template", True)
    x, y = 90.0, 70.0
    assert fit.kernel.sum(x, y) == pytest.approx(kernel.sum(x, y), rel=1e-5)
    expected = decorrelate(science, template, difference, kernel)
    for how in ("fit", fit.kernel):
        result = decorrelate(science, template, difference, how)
        error = np.nanstd(result.exposure.image - expected.exposure.image)
        assert error < 1e-3 * np.nanstd(expected.exposure.image)
        assert result.metrics.side == "template"


def test_a_kernel_that_is_not_there_is_not_found(files):
    science, _, difference, _ = read(files)
    advice = r"give the kernel with `kernel`, or run .* alone: its noise is then measured"
    for find in (fit_kernel, lambda *images: decorrelate(*images, "fit")):
        with pytest.raises(KernelError, match=advice):
            find(science, science, difference)
    with pytest.raises(ConfigError, match=r"score image .*; give its file with `kernel`"):
        fit_kernel(science, science, difference, config=DecorrelationConfig(score=True))
    with pytest.raises(ConfigError, match="alone has no kernel to be found"):
        decorrelate(None, None, difference, "fit")
    with pytest.raises(ConfigError, match="convolved or stacked themselves"):
        decorrelate(*read(files)[:3], "fit", science_members=[Member(science, KERNEL)])
    with pytest.raises(InputError, match="not an Exposure"):
        fit_kernel(science.image, science, difference)


PROGRAM = """
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import diffdecor
from diffdecor import DecorrelationConfig, Exposure, StampKernel, StampPsf


def significance(folder: Path, stamp: NDArray[np.float64]) -> NDArray[np.floating]:
    science = diffdecor.read_exposure(folder / "science.fits", gain=1.5)
    template = Exposure(image=np.zeros((9, 9)), variance=4.0, mask_planes={"BAD": 0}, psf=stamp)
    sky: float = float(np.median(science.image[10:20] - 3.0))
    config = DecorrelationConfig(mode="whole", convolved="science", science_scale="1/k")
    kernel = StampKernel(stamps=stamp, origin=(3, 4), convolved="template")
    result = diffdecor.decorrelate(science, template, science, kernel, config=config)
    assert result.exposure.variance is not None
    rho = result.metrics.rho_after
    if rho is not None and rho + sky > 0.02 and result.metrics.side == "science":
        raise ValueError(result.metrics.noise_reason)
    judgement = diffdecor.check(result.exposure, fwhm=2.0)
    print(judgement.verdict, judgement.variance_ratio * 2, StampPsf(stamp).stamps.sum())
    verdict = diffdecor.verify(science, template, science, stamp)
    print(verdict.cause.upper(), verdict.fit.residual + 1)
    fit = diffdecor.fit_kernel(science, template, science, config=config)
    print(fit.family.upper(), fit.kernel.sum(0, 0) + fit.residual)
    diffdecor.decorrelate(science, template, science, "fit")
    diffdecor.decorrelate(science, template, science, fit.kernel)
    diffdecor.write_result(result, folder / "out.fits", overwrite=True)
    return result.exposure.image / result.exposure.variance**0.5
"""
WRONG = (
    ('mode="whole"', 'mode="wole"'),
    ('convolved="template"', 'convolved="both"'),
    ("result.metrics.rho_after", "result.metrics.rho"),
    ("judgement.verdict,", "judgement.verdit,"),
    ("fit.family.upper()", "fit.famly.upper()"),
)


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is for developers")
def test_programs_have_types(tmp_path):
    """Those of a right one pass, and every fault of a wrong one is found."""
    wrong = PROGRAM
    for right, other in WRONG:
        assert right in wrong
        wrong = wrong.replace(right, other)
    for name, program in (("right", PROGRAM), ("wrong", wrong)):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"),
         "--config-file", "", "right.py", "wrong.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    faults = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(faults) == len(WRONG), done.stdout
    assert all(line.startswith("wrong.py") for line in faults), done.stdout
