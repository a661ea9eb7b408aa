"""`diffdecor check`: verdicts, numbers, limits, figures."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.noise import gaussian_psf, smooth_noise
from helpers.workplace import RUNNER, call

from diffdecor.cli import main

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def rng():
    return np.random.default_rng(77)


@pytest.fixture
def save(tmp_path):
    """Write an image with a variance, a PSF and a mask, where they are given."""

    def write(name, image, variance=None, psf=None, mask=None):
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(image, name="IMAGE")]
        if mask is not None:
            hdus.append(fits.ImageHDU(mask.astype(np.int32), name="MASK"))
            hdus[-1].header["MP_BAD"] = 0
        if variance is not None:
            plane = np.broadcast_to(np.float32(variance), image.shape)
            hdus.append(fits.ImageHDU(plane.copy(), name="VARIANCE"))
        if psf is not None:
            hdus.append(fits.ImageHDU(psf, name="PSF"))
        path = tmp_path / f"{name}.fits"
        fits.HDUList(hdus).writeto(path)
        return str(path)

    return write


@pytest.fixture
def white(save, rng):
    return save("white", rng.normal(5, 2, (400, 400)).astype(np.float32), 4.0, gaussian_psf(1.5))


@pytest.fixture
def red(save, rng):
    return save(
        "red", smooth_noise(rng, (400, 400), 0.7).astype(np.float32), 1.0, gaussian_psf(1.5)
    )


def check(*arguments, code=0):
    done = RUNNER.invoke(main, ["check", *map(str, arguments)])
    assert done.exit_code == code, done.output + done.stderr
    return done


def values(*arguments, code=0):
    return json.loads(check(*arguments, "--json", code=code).stdout)


def test_white_noise(white):
    (line,) = check(white).stdout.splitlines()
    assert line.startswith(f"{white}: white: max |rho| 0.0")
    assert "claimed/measured variance" in line
    (found,) = values(white)
    assert found["version"] == 1
    assert found["file"] == white
    assert found["verdict"] == "white"
    assert found["sky_pixels"] > 0.97 * 400**2
    assert found["rho_max"] < 5 * found["rho_error"]
    assert found["rho_error"] == pytest.approx(1 / 400, rel=0.1)
    assert min(found["q_p"], found["rho_max_p"], found["worst_block_p"]) > 0.001
    assert found["q_lags"] == 44
    assert found["factor"] == pytest.approx(1, abs=4 * found["factor_error"])
    assert found["factor_error"] < 0.02
    assert found["variance_ratio"] == pytest.approx(1, abs=0.02)
    assert found["variance_claimed"] == pytest.approx(4)
    assert found["variance_measured"] == pytest.approx(4, rel=0.02)
    assert found["line_p"] > 0.001
    assert found["gate"] is None


def test_correlated_noise(red):
    """Of a Gaussian of 0.7 pixels: neighbours at exp(-1 / 4 0.7^2), and the filter's I above 2."""
    line = check(red).stdout
    assert "correlated: max |rho| 0.6" in line
    assert "p < 1e-99" in line
    (found,) = values(red)
    assert found["rho_max"] == pytest.approx(np.exp(-1 / (4 * 0.49)), abs=0.01)
    assert found["rho_max_lag"] in ([1, 0], [0, 1])
    assert found["factor"] > 2
    assert found["q_p"] < 1e-50


def test_significant_is_not_large(save, rng):
    """In many pixels a small correlation is beyond doubt, and of no weight: the words say so."""
    noise = rng.normal(size=(1400, 1400))
    name = save("small", (noise + 0.006 * np.roll(noise, 1, axis=1)).astype(np.float32), 1.0)
    assert ": nearly white: " in check(name).stdout
    (found,) = values(name)
    assert found["rho_max_p"] < 0.01
    check(name, "--max-rho", "0.01")
    check(name, "--max-rho", "0.001", code=4)


def test_many_small_correlations_are_not_small(save, rng):
    """No pair of pixels shows much, but a PSF gathers many of them."""
    broad = rng.normal(size=(600, 600)) + 0.2 * smooth_noise(rng, (600, 600), 3.0)
    (found,) = values(save("broad", broad.astype(np.float32), 1.04), "--fwhm", "4")
    assert 0.03 < found["rho_max"] < 0.05
    fainter = rng.normal(size=(600, 600)) + 0.15 * smooth_noise(rng, (600, 600), 3.0)
    name = save("fainter", fainter.astype(np.float32), 1.0225)
    (found,) = values(name, "--fwhm", "4")
    assert found["rho_max"] < 0.03
    assert found["factor"] > 1.1
    assert found["verdict"] == "correlated"
    line = check(name, "--fwhm", "4").stdout
    change = re.search(r"all lags together change the noise of point sources by (\d+) %", line)
    assert float(change[1]) == pytest.approx(100 * (found["factor"] - 1), abs=2)


def test_a_wrong_variance_is_told_apart_from_correlation(save, rng):
    image = rng.normal(size=(400, 400)).astype(np.float32)
    image[:, 200:] *= 2
    (found,) = values(save("wrong", image, 1.0, gaussian_psf(1.5)))
    assert found["verdict"] == "white"
    assert found["variance_ratio"] == pytest.approx(1 / 2.5, rel=0.03)
    assert found["factor"] == pytest.approx(np.sqrt(2.5), rel=0.03)


def test_without_variance_and_psf(save, rng):
    name = save("bare", rng.normal(size=(300, 300)).astype(np.float32))
    line = check(name).stdout
    assert "no variance plane" in line
    assert " I = " not in line
    (found,) = values(name)
    assert found["factor"] is None
    assert found["variance_ratio"] is None
    assert found["variance_measured"] == pytest.approx(1, abs=0.03)
    (found,) = values(name, "--fwhm", "3.5")
    assert found["factor"] == pytest.approx(1, abs=0.06)


def test_fwhm_is_for_images_without_a_psf(save, rng):
    """The same I as with the PSF that it stands for; one that is there goes first."""
    image = smooth_noise(rng, (400, 400), 0.7).astype(np.float32)
    name, with_psf = save("a", image, 1.0), save("b", image, 1.0, gaussian_psf(1.5))
    (gauss,), (own,), (both,) = (
        values(name, "--fwhm", 1.5 * 2.3548),
        values(with_psf),
        values(with_psf, "--fwhm", "9"),
    )
    assert gauss["factor"] == pytest.approx(own["factor"], rel=0.02)
    assert both["factor"] == own["factor"]


def test_options_of_the_image(rng, tmp_path):
    """Noise, mask and PSF in files of their own."""
    image = rng.normal(0, 3, (400, 400)).astype(np.float32)
    image[:, :100] += smooth_noise(rng, (400, 100), 2.0) * 40
    name = tmp_path / "plain.fits"
    fits.PrimaryHDU(image).writeto(name)
    files = {
        "noise": np.full(image.shape, 3.0, np.float32),
        "mask": (np.indices(image.shape)[1] < 110).astype(np.int16),
        "psf": gaussian_psf(1.5),
    }
    for role, pixels in files.items():
        fits.PrimaryHDU(pixels).writeto(tmp_path / f"{role}.fits")
    options = [f"--{role}={tmp_path / role}.fits" for role in files]
    options += ["--noise-kind", "sigma", "--mask-preset", "nonzero"]
    (found,) = values(name, *options)
    assert found["verdict"] == "white"
    assert found["variance_claimed"] == pytest.approx(9)
    assert found["variance_ratio"] == pytest.approx(1, abs=0.03)
    assert found["factor"] == pytest.approx(1, abs=0.06)
    assert values(name)[0]["verdict"] == "correlated"


def test_messages_name_the_options_of_check(rng, tmp_path):
    image = rng.normal(size=(64, 64)).astype(np.float32)
    for name in ("image", "noise"):
        fits.PrimaryHDU(np.abs(image)).writeto(tmp_path / f"{name}.fits")
    done = check(tmp_path / "image.fits", "--noise", tmp_path / "noise.fits", code=3)
    assert "--noise-kind" in done.stderr
    assert "difference" not in done.stderr
    for option, value in (("--fwhm", "-2"), ("--noise-kind", "rms"), ("--max-rho", "-1")):
        done = check(tmp_path / "image.fits", option, value, code=2)
        assert option in done.stderr
        assert "difference" not in done.stderr


def test_limits(white, red):
    check(white, "--max-rho", "0.03", "--max-factor", "0.05")
    done = check(red, "--max-rho", "0.03", code=4)
    assert "failed: max |rho| is 0.6" in done.stdout
    done = check(red, "--max-factor", "0.03", code=4)
    assert "failed: I is 2" in done.stdout
    assert values(white, "--max-rho", "0.03")[0]["gate"] == "passed"
    assert values(red, "--max-rho", "0.03", code=4)[0]["gate"] == "failed"


def test_a_limit_is_not_exceeded_by_chance(save, rng):
    """In 2000 pixels white noise has coefficients of 0.06."""
    name = save("tiny", rng.normal(size=(45, 45)).astype(np.float32), 1.0)
    (found,) = values(name, "--max-rho", "0.03")
    assert found["rho_max"] > 0.03
    assert found["gate"] == "passed"


def test_a_limit_below_the_error_cannot_be_shown_to_hold(white):
    assert "above 0.0001" in check(white, "--max-rho", "0.0001", code=4).stdout


def test_a_limit_of_what_cannot_be_measured(save, rng):
    name = save("bare", rng.normal(size=(300, 300)).astype(np.float32))
    assert "--fwhm" in check(name, "--max-factor", "0.03", code=3).stderr


def test_several_files_make_a_table(white, red, tmp_path):
    """A file that cannot be judged, or that fails, does not stop the others."""
    broken = tmp_path / "broken.fits"
    broken.write_bytes(b"not a FITS file")
    done = check(broken, red, white, "--max-rho", "0.03", code=3)
    head, *rows = done.stdout.splitlines()
    assert head.split()[:3] == ["file", "verdict", "max"]
    assert "cannot be judged" in rows[0]
    assert "correlated" in rows[1]
    assert rows[1].endswith("failed")
    assert rows[2].endswith("passed")
    assert len(done.stderr.splitlines()) == 1
    assert str(broken) in done.stderr
    check(red, white, "--max-rho", "0.03", code=4)
    found = values(broken, white, code=3)
    assert str(broken) in found[0]["error"]
    assert found[1]["verdict"] == "white"


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((200, 200), np.float32),
        np.full((200, 200), 7, np.int16),
        np.full((200, 200), np.nan, np.float32),
        np.ones((3, 3), np.float32),
    ],
    ids=["zeros", "constant", "nan", "tiny"],
)
def test_without_noise_there_is_no_verdict(save, image):
    done = check(save("flat", image), code=3)
    assert not done.stdout
    assert "pixels of sky" in done.stderr


def test_a_masked_image_is_not_judged(save, rng):
    image = rng.normal(size=(200, 200)).astype(np.float32)
    done = check(save("masked", image, 1.0, mask=np.ones(image.shape)), code=3)
    assert "not masked" in done.stderr


def test_whole_numbers(save, rng):
    name = save("counts", rng.poisson(50, (400, 400)).astype(np.int16))
    (found,) = values(name)
    assert found["verdict"] == "white"
    assert found["variance_measured"] == pytest.approx(50, rel=0.02)


def test_holes_and_sources(save, rng):
    image = rng.normal(size=(400, 400)).astype(np.float32)
    y, x = np.indices(image.shape)
    for row, column in rng.uniform(20, 380, (30, 2)):
        image += 300 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4)
    image[::37, ::11] = np.nan
    assert values(save("sources", image, 1.0))[0]["verdict"] == "white"


def test_a_ripple_of_the_variance_is_named(save, rng):
    x = np.indices((600, 600))[1]
    sigma = np.sqrt(1 + 0.2 * np.cos(2 * np.pi * x / 30))
    name = save("moire", (sigma * rng.normal(size=x.shape)).astype(np.float32), 1.0)
    assert "variance ripples by " in check(name).stdout
    (found,) = values(name)
    assert found["line_period"] == pytest.approx(30, rel=0.03)
    assert found["line_amplitude"] == pytest.approx(0.2, abs=0.05)


def test_lsst_references_are_told_apart():
    """Before LSST's decorrelation, and after it."""
    raw, *decorrelated = values(
        *(
            f"{DATA}/lsst/grid-default/{name}.fits"
            for name in ("difference", "expected", "expected-whole")
        )
    )
    assert raw["verdict"] == "correlated"
    assert raw["factor"] > 1.15
    for found in decorrelated:
        assert found["verdict"] == "white"
        assert found["rho_max"] < 0.4 * raw["rho_max"]


def test_the_figure(white, tmp_path):
    pytest.importorskip("matplotlib")
    png = tmp_path / "out.png"
    check(white, "--plot", png)
    assert png.read_bytes().startswith(b"\x89PNG")
    check(white, "--plot", png, code=2)
    check(white, "--plot", png, "--overwrite")
    check(white, white, "--plot", png, "--overwrite", code=2)
    check(white, "--plot", white, "--overwrite", code=2)


def test_the_result_of_a_run(work):
    """What diffdecor has made is judged by itself, its own flags left out."""
    work.succeeds()
    (found,) = values(work.output)
    assert found["verdict"] == "white"


def test_a_run_judges_its_own_result(work):
    """The output is kept, the verdict stands in a card, and a rerun ends in the same way."""
    cards, _ = work.succeeds("--max-rho", "0.5")
    header = cards["PRIMARY"][0]
    assert header["DDGATE"] == "passed"
    assert header["DDRHO0"] > header["DDRHO1"] > 0
    assert header["DDRHOERR"] == pytest.approx((40 * 48) ** -0.5, rel=0.3)
    work.output.unlink()
    # As if all noise were the template's: the filter undoes a kernel that most of it never saw.
    options = ["--science-variance", "0.05", "--max-rho", "0.03", "--no-verify", "--json"]
    for status in ("done", "already done"):
        result = work.run(*options)
        assert result.exit_code == 4, result.stderr
        found = json.loads(result.stdout)
        assert found["status"] == status
        assert found["gate"] == "failed"
        *_, line = [one for one in result.stderr.splitlines() if one.startswith("diffdecor: ")]
        assert "max |rho|" in line
        assert fits.getheader(work.output)["DDGATE"] == "failed"
    # Without a limit nothing fails, and the file is the same one.
    result = work.run(*options[:2], *options[4:])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["status"] == "already done"
    # With another limit the verdict is that of this run.
    result = work.run(*options[:2], "--max-rho", "0.99", *options[4:])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["gate"] == "passed"


def test_without_limits_there_is_no_verdict(work):
    cards, _ = work.succeeds()
    assert "DDGATE" not in cards["PRIMARY"][0]


def test_a_run_without_a_psf_cannot_be_held_to_a_factor(work):
    work.fails(3, "--max-factor", "--difference-psf", options=["--max-factor", "0.03"])


def test_a_run_with_a_psf_measures_the_factor(work):
    psf = ["--science-psf", str(work / "psf.fits")]
    cards, _ = work.succeeds(*psf, "--max-factor", "0.5")
    header = cards["PRIMARY"][0]
    assert header["DDFACT1"] == pytest.approx(1, abs=4 * header["DDFACTER"])
    assert header["DDGATE"] == "passed"
    assert "DDCOVFAC" not in header  # so few pixels do not tell


@pytest.mark.reference
@pytest.mark.parametrize("name", ["sfft_ref", "sfft_sci", "hotpants"])
def test_nircam(reference, name):
    folder = reference / "real-nircam"
    (found,) = values(folder / f"{name}_diff.fits", "--psf", folder / "science_psf.fits")
    assert found["verdict"] == "correlated"
    assert found["rho_max"] == pytest.approx(0.46, abs=0.02)
    assert found["factor"] > 1.6


def test_noise_and_mask_of_a_hotpants_difference_are_those_that_it_names(tmp_path):
    """Its command names both; a figure takes the place of none."""
    sample = Path(__file__).parents[1] / "data" / "hotpants-a1"
    for name, original in (
        ("A1_diff", "difference"), ("A1_noise", "science_sigma"), ("A1_mask", "difference_mask")
    ):  # fmt: skip
        shutil.copy(sample / f"{original}.fits", tmp_path / f"{name}.fits")
    file, noise = str(tmp_path / "A1_diff.fits"), tmp_path / "A1_noise.fits"
    explicit = ["--noise", noise, "--noise-kind", "sigma", "--mask", tmp_path / "A1_mask.fits"]
    found = [
        json.loads(call("check", file, "--json", *options).stdout)[0]
        for options in ([], explicit, ["--no-diffcmd"])
    ]
    assert found[0] == found[1] != found[2]
    assert found[0]["variance_claimed"] is not None
    assert found[2]["variance_claimed"] is None
    pytest.importorskip("matplotlib")
    before = noise.read_bytes()
    done = call("check", file, "--plot", noise, "--overwrite")
    assert done.exit_code == 2
    assert "A1_noise.fits" in done.stderr
    assert noise.read_bytes() == before
