"""What the output says of its noise: NOISECOV, NOISEREAL, files of their own; and read again."""

import os
import shutil

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import (
    WCS,
    Workplace,
    convolved,
    described,
    exposure,
    gaussian,
    json_object,
    verify,
)

from diffdecor import read_exposure
from diffdecor.config.files import LAYOUTS
from diffdecor.core.covariance import lag_sums
from diffdecor.errors import InputError, KernelError
from diffdecor.images.noise_power import read_noise_power
from diffdecor.kernels.registry import read_kernel
from diffdecor.pipeline.inputs import read_inputs
from diffdecor.pipeline.job import Job
from diffdecor.psfs.registry import read_psf

SHAPE = (256, 300)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A triple of noise large enough for its covariance to be measured; the depth varies."""
    folder = tmp_path_factory.mktemp("wide")
    random = np.random.default_rng(7)
    depth = np.where(np.arange(SHAPE[1]) < 140, 1.0, 2.0) * np.ones(SHAPE)
    science, template = (random.normal(0.0, s, SHAPE) * np.sqrt(depth) for s in (2.0, 4.0))
    kernel = gaussian(4, 1.2)
    difference = science + 100.0 - convolved(template, kernel)
    exposure(science + 100.0, 4.0 * depth, TELESCOP="T").writeto(folder / "science.fits")
    exposure(template, 16.0 * depth).writeto(folder / "template.fits")
    exposure(difference, None).writeto(folder / "difference.fits")
    fits.PrimaryHDU(kernel, fits.Header({"CONVSIDE": "TEMPLATE"})).writeto(folder / "kernel.fits")
    place = Workplace(folder)
    options = ["--write", f"noisecov={folder / 'cov.fits'}", "--noise-realisation", "5"]
    assert place.run("--mode", "whole", *options).exit_code == 0
    return place


@pytest.fixture
def there(wide, tmp_path):
    """The triple and its output in a folder of its own."""
    shutil.copytree(wide.folder, tmp_path / "there")
    return Workplace(tmp_path / "there")


def lag_images(path):
    with fits.open(path) as hdus:
        return [hdus["NOISECOV", version].data.copy() for version in (1, 2)]


def test_the_lag_images_are_those_of_the_noise(wide):
    after, before = lag_images(wide.output)
    assert after.shape == before.shape == (41, 41)
    for lags in (after, before):
        np.testing.assert_allclose(lags, lags[::-1, ::-1], atol=1e-12 * lags[20, 20])
        assert np.unravel_index(np.argmax(lags), lags.shape) == (20, 20)
    with fits.open(wide.output) as hdus:
        variance = hdus["VARIANCE"].data.mean(dtype=np.float64)
    assert after[20, 20] == pytest.approx(variance, rel=0.02)
    assert np.abs(np.delete(after.ravel(), 20 * 41 + 20)).max() < 0.02 * after[20, 20]
    # Before: that of the model, s + t k * k at the mean depth.
    depth = variance / 20.0
    wrapped = np.zeros((64, 64))
    wrapped[:9, :9] = gaussian(4, 1.2)
    power = np.abs(np.fft.fft2(wrapped)) ** 2
    expected = np.fft.fftshift(np.fft.ifft2((4.0 + 16.0 * power) * depth).real)[12:53, 12:53]
    assert np.abs(before - expected).max() < 0.02 * expected[20, 20]


def test_the_lag_images_say_what_they_are(wide):
    with fits.open(wide.output) as hdus:
        header = hdus["NOISECOV", 2].header
        assert [hdus[name].header.get("BUNIT") for name in ("IMAGE", "NOISEREAL")] == ["adu"] * 2
    assert header["BUNIT"] == "adu2"
    for axis in (1, 2):
        cards = [header[f"{name}{axis}"] for name in ("CRPIX", "CRVAL", "CDELT", "CUNIT")]
        assert cards == [21.0, 0.0, 1.0, "pixel"]
    assert (header["CTYPE1"], header["CTYPE2"]) == ("LAGX", "LAGY")


def test_fitsverify_finds_nothing(wide):
    verify(wide.output)
    verify(wide / "cov.fits")


def test_a_file_of_its_own_has_the_lag_image_in_its_primary_hdu(wide):
    after, _ = lag_images(wide.output)
    with fits.open(wide / "cov.fits", checksum=True) as hdus:
        assert len(hdus) == 1
        assert np.array_equal(hdus[0].data, after)
        header = hdus[0].header
    assert (header["EXTNAME"], header["BUNIT"]) == ("NOISECOV", "adu2")
    assert (header["CRPIX1"], header["DDDIF"]) == (21.0, "difference.fits")


def test_the_realisation_is_that_of_the_noise_of_the_result(wide):
    with fits.open(wide.output) as hdus:
        noise, variance = (hdus[name].data.astype(np.float64) for name in ("NOISEREAL", "VARIANCE"))
        assert hdus["NOISEREAL"].data.dtype == np.dtype(">f4")
        assert hdus["NOISEREAL"].header["CTYPE1"] == WCS["CTYPE1"]
    unit = noise / np.sqrt(variance)
    assert unit.var() == pytest.approx(1.0, abs=0.03)
    found = lag_sums(unit, np.ones(SHAPE, bool), 5).covariance
    after, _ = lag_images(wide.output)
    expected = after[20:26, 15:26] / after[20, 20]
    assert np.abs(found - expected).max() < 6 / np.sqrt(noise.size)


def test_it_is_the_same_whatever_the_threads(there):
    first = fits.getdata(there.output, "NOISEREAL").tobytes()
    options = ["--mode", "whole", "--noise-realisation", "5", "--overwrite"]
    for more in (["--threads", "1"], ["--threads", "3", "--max-memory", "64M"]):
        there.succeeds(*options, *more)
        assert fits.getdata(there.output, "NOISEREAL").tobytes() == first
    other, _ = there.succeeds(*options[:3], "6", "--overwrite")
    assert other["NOISEREAL"][1].tobytes() != first
    assert other["PRIMARY"][0]["DDNREAL"] == 6


def test_no_realisation_where_there_is_no_variance(there):
    variance = np.full(SHAPE, 16.0, np.float32)
    variance[50:60, 70:90] = np.nan
    with fits.open(there / "template.fits", mode="update") as hdus:
        hdus["VARIANCE"].data = variance
    options = ["--noise-realisation", "5", "--variance", "full", "--overwrite", "--no-verify"]
    planes, _ = there.succeeds(*options)
    known = np.isfinite(planes["VARIANCE"][1])
    assert not known.all()
    assert np.array_equal(np.isfinite(planes["NOISEREAL"][1]), known)


@pytest.mark.parametrize("seed", ["-1", "1.5", "", "a", "nan", "inf", "1,2"])
def test_no_seed(work, seed):
    work.fails(2, "--noise-realisation", options=("--noise-realisation", seed))


@pytest.mark.parametrize(
    "value", ["", "noisecov", "noisecov=", "=x.fits", "other=x.fits", "x.fits"]
)
def test_nothing_that_can_be_written(work, value):
    work.fails(2, "'--write': ", value, "noisecov", options=("--write", value))


def test_a_part_is_written_once(work):
    twice = ("--write", f"noisecov={work / 'a.fits'}", "--write", f"noisecov={work / 'b.fits'}")
    work.fails(2, "--write", "once", options=twice)


def test_what_is_to_be_written_can_stand_in_a_file_of_options(there):
    for text in ("'noisecov={}'", "['noisecov={}']"):
        (there / "my.toml").write_text("write = " + text.format(there / "new.fits"))
        config = ("--config", there / "my.toml", "--mode", "whole", "--noise-realisation", "5")
        printed = there.run("--print-config", *config).stdout
        assert f'write = ["noisecov={there / "new.fits"}"]' in printed
        assert there.run(*config).exit_code == 0
        (there / "new.fits").unlink()


def part_of(place, name):
    return ("--mode", "whole", "--noise-realisation", "5", "--write", f"noisecov={place / name}")


def test_a_second_run_does_nothing(there):
    before = described(there.folder)
    result = there.run("--json", *part_of(there, "cov.fits"))
    assert result.exit_code == 0, result.stderr
    assert json_object(result.stdout)["status"] == "already done"
    assert json_object(result.stdout)["version"] == 1
    assert described(there.folder) == before


def test_a_part_can_be_written_later(there):
    content = (there / "cov.fits").read_bytes()
    (there / "cov.fits").unlink()
    time = there.output.stat().st_mtime_ns
    assert there.run(*part_of(there, "new.fits")).exit_code == 0
    assert there.output.stat().st_mtime_ns == time
    assert np.array_equal(fits.getdata(there / "new.fits"), lag_images(there.output)[0])
    assert len((there / "new.fits").read_bytes()) == len(content)


def test_the_realisation_in_a_file_of_its_own(there):
    real = ["--write", f"noisereal={there / 'real.fits'}"]
    assert there.run(*part_of(there, "cov.fits"), *real).exit_code == 0
    expected = fits.getdata(there.output, "NOISEREAL")
    assert fits.getdata(there / "real.fits").tobytes() == expected.tobytes()
    verify(there / "real.fits")


def test_a_file_that_is_there_is_not_replaced_unless_asked_for(there):
    (there / "old.fits").write_bytes(b"old")
    options = part_of(there, "old.fits")
    there.fails(2, "old.fits", "--overwrite", options=options)
    there.fails(2, "old.fits", "--overwrite", options=options, output=there / "new.fits")
    there.succeeds(*options, "--overwrite")
    assert np.array_equal(fits.getdata(there / "old.fits"), lag_images(there.output)[0])


@pytest.mark.parametrize("name", ["science", "template", "difference", "kernel"])
@pytest.mark.parametrize("done", [True, False])
def test_a_part_never_replaces_an_input(there, name, done):
    output = there.output if done else there / "new.fits"
    options = (*part_of(there, f"{name}.fits"), *(() if done else ("--overwrite",)))
    there.fails(2, f"{name}.fits", "is an input", options=options, output=output)


def test_a_part_is_not_the_output(there):
    for name in ("out.fits", "../there/out.fits", "new.fits"):
        output = there / name.split("/")[-1]
        options = (*part_of(there, name), "--overwrite")
        there.fails(2, "--write", "the output itself", options=options, output=output)
    os.link(there.output, there / "link.fits")
    options = (*part_of(there, "link.fits"), "--overwrite")
    there.fails(2, "--write", "the output itself", options=options)


def test_where_a_part_cannot_go(there):
    for name, says in (("no/x.fits", "no folder"), ("x.fits.bz2", "not packed so"), (".", "not a")):
        options = part_of(there, name)
        there.fails(3, says, options=options, output=there / "new.fits")


def test_noise_that_cannot_be_measured_is_not_given(work):
    """There are fewer sky pixels than tell a covariance."""
    mask = np.zeros((40, 48), np.int32)
    mask[:, 10:] = 1
    with fits.open(work / "science.fits", mode="update") as hdus:
        hdus["MASK"].data = mask
    work.succeeds()
    with fits.open(work.output) as hdus:
        assert "NOISECOV" not in hdus
        assert "PSI" in hdus
    for options in (("--noise-realisation", "1"), ("--write", f"noisecov={work / 'c.fits'}")):
        work.fails(3, options[0], "cannot be measured", options=(*options, "--overwrite"))
    message = work.fails(3, "NOISECOV", options=("--write", f"noisecov={work / 'c.fits'}"))
    assert "out.fits" in message


def test_without_data_there_is_no_noise(work):
    with fits.open(work / "difference.fits", mode="update") as hdus:
        hdus[0].data[:] = np.nan
    work.fails(3, "cannot be measured", options=("--noise-realisation", "1"))


# Read again.


@pytest.mark.parametrize("layout", [None, *(name for name in LAYOUTS if name != "lsst-images")])
@pytest.mark.parametrize("role", ["science", "template", "difference"])
def test_of_an_output_the_image_is_read(wide, layout, role):
    found = read_exposure(wide.output, layout=layout, role=role)
    assert np.array_equal(found.image, fits.getdata(wide.output, "IMAGE"))


@pytest.mark.parametrize("layout", [None, *(name for name in LAYOUTS if name != "lsst-images")])
def test_no_noise_hdu_is_taken_for_another_plane(wide, tmp_path, layout):
    """Whatever comes first in the file, and though there is no variance, mask or PSF."""
    with fits.open(wide.output) as hdus:
        names = [("NOISECOV", 1), ("NOISECOV", 2), ("NOISEREAL", 1), ("PSI", 1), ("IMAGE", 1)]
        fits.HDUList([hdus[0].copy(), *(hdus[name].copy() for name in names)]).writeto(
            tmp_path / "odd.fits"
        )
        image = hdus["IMAGE"].data.copy()
    found = read_exposure(tmp_path / "odd.fits", layout=layout)
    assert np.array_equal(found.image, image)
    assert (found.variance, found.psf) == (None, None)
    assert found.mask is None or not found.mask.any()


@pytest.mark.parametrize("cards", [{"INSTRUME": "DECam"}, {"INSTRUME": "ZTF/MOSAIC"}, {}])
@pytest.mark.parametrize("hdu", ["NOISECOV", "NOISEREAL", "PSI"])
def test_a_file_of_nothing_else_is_no_image_noise_or_mask(wide, tmp_path, hdu, cards):
    with fits.open(wide.output) as hdus:
        alone = [fits.PrimaryHDU(header=fits.Header(cards)), hdus[hdu].copy()]
        fits.HDUList(alone).writeto(tmp_path / "x.fits")
    for options in ({}, {"noise_kind": "variance", "noise": tmp_path / "x.fits"}):
        path = wide / "difference.fits" if options else tmp_path / "x.fits"
        with pytest.raises(InputError, match=r"x\.fits: there is no image in it"):
            read_exposure(path, **options)
    with pytest.raises(InputError, match=r"x\.fits: there is no image in it"):
        read_exposure(wide / "difference.fits", mask=tmp_path / "x.fits")
    with pytest.raises(KernelError, match=r"x\.fits"):
        read_kernel(tmp_path / "x.fits")


def test_a_lag_image_is_no_image_kernel_or_psf(wide):
    with pytest.raises(InputError, match="there is no image in it"):
        read_exposure(wide / "cov.fits")
    with pytest.raises(KernelError, match="not the matching kernel"):
        read_kernel(wide / "cov.fits")
    with pytest.raises(InputError, match="give the file of the PSF"):
        read_psf(wide / "cov.fits")


# The noise of a sibling.


def powers(place, **options):
    from diffdecor.config import FilesConfig

    named = {name: str(place / f"{name}.fits") for name in ("science", "template", "difference")}
    named["kernel"] = str(place / "kernel.fits")
    job = Job(**named, files=FilesConfig.of(**{n: str(file) for n, file in options.items()}))
    return read_inputs(job).subtraction.noise_powers


def test_what_was_written_is_the_noise_of_a_difference(wide):
    assert powers(wide) == {}
    found = powers(wide, difference_noise_power=wide.output)["difference"]
    _, before = lag_images(wide.output)
    assert found.absolute
    assert found.variance == pytest.approx(before[20, 20], rel=1e-12)
    assert np.abs(found.covariance() - before).max() < 1e-4 * before[20, 20]
    again = read_noise_power(f"{wide.output}[NOISECOV,2]")
    np.testing.assert_allclose(again.spectrum.power(), found.spectrum.power(), rtol=1e-12)


def test_noise_of_both_sides(wide, tmp_path):
    noise = np.random.default_rng(1).normal(0, 2.3, (400, 300))
    fits.PrimaryHDU(noise).writeto(tmp_path / "noise.fits")
    lags = np.zeros((5, 5))
    lags[2, 2], lags[2, 1], lags[2, 3] = 1.0, 0.2, 0.2
    fits.PrimaryHDU(lags).writeto(tmp_path / "lags.fits")
    options = {"science": "noise.fits", "template": "lags.fits"}
    found = powers(wide, **{f"{r}_noise_power": tmp_path / f for r, f in options.items()})
    assert set(found) == {"science", "template"}
    assert (found["science"].absolute, found["template"].absolute) == (True, False)
    assert found["template"].name == str(tmp_path / "lags.fits")


@pytest.fixture
def given(there):
    """Arguments for the noise of the difference from a file in the folder."""
    fits.PrimaryHDU(np.pad([[4.0]], 3), fits.Header({"BUNIT": "adu2"})).writeto(there / "lags.fits")
    return ("--science-noise-power", there / "lags.fits")


def test_it_is_an_input(there, given):
    output = there / "new.fits"
    planes, _ = there.succeeds(*given, output=output)
    header = planes["PRIMARY"][0]
    assert header["DDSNPOWR"] == "lags.fits"
    assert "DDOTHSUM" in header
    assert json_object(there.run(*given, "--json", output=output).stdout)["status"] != "done"
    there.fails(2, "is an input", options=(*given, "--overwrite"), output=there / "lags.fits")
    with fits.open(there / "lags.fits", mode="update") as hdus:
        hdus[0].header["BUNIT"] = "adu**2"
    there.fails(2, "--overwrite", options=given, output=output)
    with fits.open(there / "lags.fits", mode="update") as hdus:
        hdus[0].header["BUNIT"] = "adu2"
    assert there.run(*given, output=output).exit_code == 0
    with fits.open(there / "lags.fits", mode="update") as hdus:
        hdus[0].data[3, 2] = hdus[0].data[3, 4] = 0.1
    there.fails(2, "--overwrite", options=given, output=output)


@pytest.mark.parametrize("role", ["science", "template", "difference"])
@pytest.mark.parametrize("variance", [4e4, 1e-3])
def test_another_unit_is_refused(there, role, variance):
    header = fits.Header({"BUNIT": "nJy2"})
    fits.PrimaryHDU(np.pad([[variance]], 3), header).writeto(there / "lags.fits")
    options = (f"--{role}-noise-power", there / "lags.fits")
    message = there.fails(
        3, "lags.fits", f"{variance:.4g}", options=options, output=there / "new.fits"
    )
    assert "unit" in message
    assert f"{role}.fits" in message


def test_a_given_level_is_the_variance_of_the_image(there, given):
    level = ("--science-variance", "400")
    there.fails(3, "lags.fits", "400", options=(*given, *level), output=there / "new.fits")


def test_noise_that_is_given_twice(there, given):
    (there / "stack.toml").write_text("[[member]]\nvariance = 4\n")
    new = there / "new.fits"
    for option, file in (("--science-kernel", "kernel.fits"), ("--science-stack", "stack.toml")):
        options = (*given, option, there / file)
        there.fails(2, "--science-noise-power", option, options=options, output=new)
    options = (*given, "--difference-noise-power", there.output)
    there.fails(2, "--science-noise-power", "--difference", options=options, output=new)


def test_a_file_that_is_no_noise(there):
    options = ("--template-noise-power", there / "missing.fits")
    there.fails(3, "missing.fits", "no such file", options=options, output=there / "new.fits")
    options = ("--difference-noise-power", there / "cov.fits")
    there.fails(3, "cov.fits", "NOISECOV,2", options=options, output=there / "new.fits")
