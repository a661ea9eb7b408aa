"""A job whose kernel is found from its images: when that is, what is recorded, what is refused."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.closeness import assert_same
from helpers.workplace import convolved, exposure, gaussian

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.errors import ConfigError, InputError, KernelError, OutputExistsError
from diffdecor.kernels.registry import read_kernel
from diffdecor.pipeline.inputs import read_inputs
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.kernel_fits import found_kernel, write_fitted_kernel
from diffdecor.pipeline.provenance import is_done
from diffdecor.pipeline.run import convert_kernel, run_job, verify_job

SHAPE = (160, 160)
HOTPANTS = Path(__file__).parents[1] / "data" / "hotpants-a1"
pytestmark = pytest.mark.usefixtures("as_a_command")


def stamp():
    """Return a kernel of 7 x 7 pixels that has no symmetry."""
    kernel = 1.3 * gaussian(3, 1.2)
    kernel[3, 5] += 0.1
    kernel[1, 2] -= 0.05
    return kernel


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Files of a triple, never to be changed; the images with and without noise planes."""
    folder = tmp_path_factory.mktemp("triple")
    random = np.random.default_rng(5)
    science, template = (random.normal(10.0, sigma, SHAPE) for sigma in (3.0, 2.0))
    science, template = (image.astype(np.float32) for image in (science, template))
    for name, variance in (("", True), ("_plain", False)):
        exposure(science, 9.0 if variance else None).writeto(folder / f"s{name}.fits")
        exposure(template, 4.0 if variance else None).writeto(folder / f"t{name}.fits")
    difference = science - convolved(template.astype(float), stamp())
    fits.PrimaryHDU(difference.astype(np.float32)).writeto(folder / "d.fits", checksum=True)
    side = fits.Header({"CONVSIDE": "TEMPLATE"})
    fits.PrimaryHDU(stamp(), side).writeto(folder / "k.fits")
    return folder


def job_in(folder):
    names = {"science": "s", "template": "t", "difference": "d", "output": "out"}
    return Job(**{role: str(folder / f"{name}.fits") for role, name in names.items()})


@pytest.fixture
def job(originals, tmp_path):
    """A job without a kernel, in a folder of its own."""
    for file in originals.iterdir():
        shutil.copy(file, tmp_path)
    return job_in(tmp_path)


@pytest.fixture(scope="module")
def output(originals, tmp_path_factory):
    """What that job makes."""
    folder = tmp_path_factory.mktemp("output")
    made = replace(job_in(originals), output=str(folder / "out.fits"))
    run_job(made)
    return folder / "out.fits"


@pytest.fixture
def done(job, output):
    """The same job, done."""
    shutil.copy(output, job.output)
    return job


@pytest.fixture
def carrying(job, tmp_path):
    """The same with a difference that carries its kernel."""
    native = str(tmp_path / "native.fits")
    convert_kernel(str(tmp_path / "k.fits"), native)
    with fits.open(job.difference) as hdus, fits.open(native) as kernel:
        both = fits.HDUList([hdus[0].copy(), *(hdu.copy() for hdu in kernel[1:])])
        both[0].header.extend(kernel[0].header, unique=True)
        both.writeto(job.difference, overwrite=True, checksum=True)
    return job


def header(job):
    return fits.getheader(job.output)


def known(job):
    """Whether the job knows its output again."""
    read = read_inputs(job)
    return is_done(read.job, lambda: read.sources)


def test_without_a_kernel_it_is_found_from_the_images(job, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    found = run_job(job).metrics
    assert "d.fits: the difference carries no matching kernel that is known; it is to be found" in (
        caplog.text
    )
    assert "d.fits: found its kernel, of " in caplog.text
    given = replace(job, kernel=str(tmp_path / "k.fits"), output=str(tmp_path / "given.fits"))
    expected = run_job(given).metrics
    with fits.open(job.output) as ours, fits.open(given.output) as theirs:
        error = np.nanstd(ours["IMAGE"].data - theirs["IMAGE"].data)
        assert error < 1e-4 * np.nanstd(theirs["IMAGE"].data)
    assert found["side"] == "template"
    assert found["kernel_sum"] == pytest.approx(stamp().sum(), rel=1e-5)
    assert found["science_scale"] == pytest.approx(1.0, rel=1e-5)
    assert (found["side_source"], expected["side_source"]) == ("fit", "file")
    assert found["fit_exact"] is True
    assert found["fit_residual"] < 1e-3
    assert 0 < found["fit_error"] < 1e-3
    assert found["fit_pixels"] > 100
    assert expected["fit_family"] is expected["fit_residual"] is None


def test_what_is_recorded_of_it(done):
    cards = header(done)
    assert cards["DDKER"] == "fit"
    assert "DDKERSUM" not in cards
    assert cards["DDSIDEBY"] == "fit"
    assert cards["DDFITFAM"] == "constant"
    assert cards["DDFITEX"] is True
    assert cards["DDFITRES"] < 1e-3
    assert cards["DDWARN"] == 0


def test_both_ways_of_asking_are_one_job(done):
    asked = replace(done, kernel="fit")
    assert known(done)
    assert known(asked)
    assert run_job(asked).status == "already done"
    assert run_job(done).metrics["fit_family"] == "constant"


def test_what_is_done_is_not_fitted_again(done, monkeypatch):
    monkeypatch.setattr("diffdecor.pipeline.kernel_fits.with_fitted_kernel", None)
    assert run_job(done).status == "already done"


@pytest.mark.parametrize("role", ["science", "template"])
def test_pixels_of_the_images_count(done, role):
    """Elsewhere they do not: a kernel that was given does not depend on them."""
    with fits.open(getattr(done, role), mode="update") as hdus:
        hdus["IMAGE"].data[50, 60] += 1
    assert not known(done)
    with pytest.raises(OutputExistsError):
        run_job(done)


def test_cards_of_the_difference_count(done):
    fits.setval(done.difference, "REGION00", value="[1:160,1:160]")
    assert not known(done)


def test_the_kernel_of_the_difference_goes_first(carrying, monkeypatch):
    asked = replace(carrying, kernel="fit")
    with monkeypatch.context() as patch:
        patch.setattr("diffdecor.pipeline.kernel_fits.with_fitted_kernel", None)
        run_job(carrying)
    assert "DDKER" not in header(carrying)
    assert not known(asked)
    run_job(replace(asked, overwrite=True))
    assert header(carrying)["DDKER"] == "fit"
    assert known(asked)
    assert not known(carrying)


def test_a_file_goes_before_all(job, tmp_path, monkeypatch):
    monkeypatch.setattr("diffdecor.pipeline.kernel_fits.with_fitted_kernel", None)
    run_job(replace(job, kernel=str(tmp_path / "k.fits")))
    assert header(job)["DDKER"] == "k.fits"


def test_a_file_called_fit(job, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k.fits").rename("fit")
    named = replace(job, kernel="./fit")
    run_job(named)
    assert (header(job)["DDKER"], "DDKERSUM" in header(job)) == ("./fit", True)
    assert "found its kernel" not in caplog.text
    asked = replace(job, kernel="fit")
    assert not known(asked)
    run_job(replace(asked, overwrite=True))
    assert "--kernel fit is not a file; ./fit would be the one that is here" in caplog.text
    assert header(job)["DDKER"] == "fit"
    assert not known(named)


def test_a_kernel_in_the_difference_that_is_damaged_is_an_error(carrying):
    with fits.open(carrying.difference, mode="update") as hdus:
        del hdus[0].header["CTRX"]
    with pytest.raises(KernelError, match=r"--kernel fit leaves it aside"):
        run_job(carrying)
    run_job(replace(carrying, kernel="fit"))


def test_where_none_is_found_the_error_says_what_to_do(job, monkeypatch):
    def fit_kernel(*_given):
        message = "d.fits: no kernel explains it"
        raise KernelError(message)

    monkeypatch.setattr("diffdecor.decorrelation.kernel_fit.fit_kernel", fit_kernel)
    advice = (
        r"no kernel explains it; give the kernel with --kernel FILE, or run .*d\.fits alone: its "
        "noise is then "
    )
    with pytest.raises(KernelError, match=rf"{advice}measured \(there is no kernel in the diff"):
        run_job(job)
    with pytest.raises(KernelError, match=rf"{advice}measured$"):
        run_job(replace(job, kernel="fit"))
    assert not Path(job.output).exists()


@pytest.mark.parametrize("kernel", [None, "fit"])
def test_score_images_do_not_show_it(job, kernel):
    score = replace(job, kernel=kernel, decorrelation=DecorrelationConfig(score=True))
    with pytest.raises(ConfigError, match=r"the images do not show .*; give its file with --kern"):
        run_job(score)


def test_a_difference_alone_does_not_show_it(job):
    alone = replace(job, science=None, template=None, kernel="fit")
    with pytest.raises(ConfigError, match=r"--kernel fit cannot be used: the difference .* alone"):
        run_job(alone)


def test_images_with_kernels_of_their_own_do_not_show_it(job, tmp_path):
    own = replace(job, files=FilesConfig.of(template_kernel=str(tmp_path / "k.fits")))
    with pytest.raises(ConfigError, match="--kernel fit and kernels or stacks of the images excl"):
        run_job(replace(own, kernel="fit"))
    run_job(own)  # the matching kernel is none, as before
    assert "DDKER" not in header(job)


def test_shapes_are_compared_first(job, monkeypatch):
    monkeypatch.setattr("diffdecor.pipeline.kernel_fits.with_fitted_kernel", None)
    with fits.open(job.difference) as hdus:
        fits.writeto(job.difference, hdus[0].data[:, :-1], overwrite=True)
    with pytest.raises(InputError, match="shape"):
        run_job(job)


def test_options_of_stamps_are_not_used(job, caplog):
    read_inputs(replace(job, files=FilesConfig(kernel_sense="correlation")))
    assert "--kernel-center are for plain stamps, not for one that is found; not used" in (
        caplog.text
    )


def test_a_scale_of_one_over_the_sum_is_that_of_the_kernel_found(job):
    config = DecorrelationConfig(template_scale="1/k")
    inputs, fit = found_kernel(read_inputs(replace(job, decorrelation=config)))
    x, y = 80.0, 80.0
    assert fit.kernel.scales(x, y) == pytest.approx((1.0, 1.0), rel=1e-5)
    scales = inputs.subtraction.scales(x, y)
    assert scales == pytest.approx((1.0, 1 / stamp().sum()), rel=1e-5)


def test_verify_finds_it_too(job):
    assert verify_job(job).belongs
    assert verify_job(replace(job, kernel="fit")).fit.residual < 1e-3


def test_its_file_gives_the_same_kernel(job, tmp_path):
    """Noise planes are not needed for it."""
    plain = {"science": str(tmp_path / "s_plain.fits"), "template": str(tmp_path / "t_plain.fits")}
    output = str(tmp_path / "found.fits")
    fit = write_fitted_kernel(replace(job, **plain, output=output))
    with pytest.raises(InputError, match="no noise plane"):
        run_job(replace(job, **plain))
    again = read_kernel(output)
    assert again.format == "native (fit)"
    assert again.side(9, 9) == "template"
    assert_same(again.stamp(80, 80), fit.kernel.stamp(80, 80))
    assert fits.getheader(output)["DDFITFAM"] == fit.family
    run_job(replace(job, kernel=output))
    with pytest.raises(OutputExistsError, match="exists already"):
        write_fitted_kernel(replace(job, output=output))
    with pytest.raises(OutputExistsError, match="is an input"):
        write_fitted_kernel(replace(job, output=job.science, overwrite=True))


def test_headers_of_hotpants_say_where_it_was_held_constant(monkeypatch):
    """And where they are not to be used they are not."""
    asked = []

    def stop(*given):
        asked.append(given[2])
        message = "seen"
        raise KernelError(message)

    monkeypatch.setattr("diffdecor.pipeline.kernel_fits.with_fitted_kernel", stop)
    names = ("science", "template", "difference")
    job = Job(**{name: str(HOTPANTS / f"{name}.fits") for name in names}, kernel="fit")
    for diffcmd in (True, False):
        levels = DecorrelationConfig(science_variance=180, template_variance=22)
        files = FilesConfig(diffcmd=diffcmd)
        with pytest.raises(KernelError, match="seen"):
            found_kernel(read_inputs(replace(job, decorrelation=levels, files=files)))
    ((first,), (second,)) = asked
    kernel = read_kernel(job.difference)
    assert first == type(first)(kernel.regions[0].box, kernel.regions[0].blocks)
    assert second == type(first)(kernel.regions[0].box)


def test_a_kernel_file_that_is_lost_is_found(tmp_path):
    """HOTPANTS names the file of the kernel in the difference; it may be gone."""
    names = ("science", "template", "difference")
    for name in names:
        shutil.copy(HOTPANTS / f"{name}.fits", tmp_path)
    with fits.open(tmp_path / "difference.fits") as hdus:
        hdus[0].header["KERFILE"] = "gone.fits"
        del hdus[1:]
        hdus[0].header["NGAUSS"] = 3
        hdus.writeto(tmp_path / "difference.fits", overwrite=True)
    job = Job(**{name: str(tmp_path / f"{name}.fits") for name in names})
    levels = DecorrelationConfig(science_variance=180, template_variance=22)
    assert read_inputs(replace(job, decorrelation=levels)).is_fitted
