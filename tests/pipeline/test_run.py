"""One job as Python calls it: errors are exceptions, and nothing is printed."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import convolved, exposure, gaussian

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.errors import (
    AlreadyDecorrelatedError,
    ConfigError,
    InputError,
    OutputError,
    OutputExistsError,
)
from diffdecor.kernels.registry import read_opened_kernel
from diffdecor.pipeline import inputs, kernels
from diffdecor.pipeline.inputs import read_inputs
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.provenance import METRIC_CARDS, is_done
from diffdecor.pipeline.run import convert_kernel, run_job

SHAPE = (40, 48)
KINDS = {"science_noise_kind": "variance", "template_noise_kind": "variance"}
DATA = Path(__file__).parents[1] / "data" / "hotpants"


@pytest.fixture
def job(tmp_path):
    random = np.random.default_rng(1)
    science, template = (random.normal(10.0, sigma, SHAPE) for sigma in (3.0, 2.0))
    kernel = gaussian(3, 1.2)
    exposure(science, 9.0).writeto(tmp_path / "s.fits")
    exposure(template, 4.0).writeto(tmp_path / "t.fits")
    difference = science - convolved(template, kernel)
    fits.PrimaryHDU(difference.astype(np.float32)).writeto(tmp_path / "d.fits")
    side = fits.Header({"CONVSIDE": "TEMPLATE"})
    fits.PrimaryHDU(kernel, side).writeto(tmp_path / "k.fits")
    names = {"science": "s", "template": "t", "difference": "d", "kernel": "k", "output": "out"}
    return Job(**{role: str(tmp_path / f"{name}.fits") for role, name in names.items()})


def known(job):
    """Whether the job knows its output again."""
    read = read_inputs(job)
    return is_done(read.job, lambda: read.sources)


def test_done_and_done_already(job, capfd):
    first = run_job(job)
    assert first.status == "done"
    assert set(first.metrics) == {card.name for card in METRIC_CARDS}
    assert known(job)
    second = run_job(job)
    assert second.status == "already done"
    for name, value in first.metrics.items():
        again = second.metrics[name]
        if isinstance(value, float) and np.isnan(value):
            assert again is None
        else:
            assert again == (pytest.approx(value) if isinstance(value, float) else value), name
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("scale", ["1/k", 2.0])
def test_the_kernel_is_read_once(job, monkeypatch, scale):
    reads = []
    monkeypatch.setattr(
        kernels, "read_opened_kernel", lambda *a: reads.append(a) or read_opened_kernel(*a)
    )
    config = DecorrelationConfig(template_scale=scale)
    read = inputs.read_inputs(replace(job, decorrelation=config))
    assert len(reads) == 1
    expected = 1 / fits.getdata(job.kernel).sum() if scale == "1/k" else scale
    assert read.subtraction.scales(0, 0)[1] == pytest.approx(expected, rel=1e-12)


def test_every_file_is_opened_once(job, monkeypatch):
    opened, real = [], fits.open
    monkeypatch.setattr(fits, "open", lambda file, **how: opened.append(file) or real(file, **how))
    inputs.read_inputs(job)
    assert len(opened) == 4


def test_centroids_may_be_a_file_or_numbers(job, tmp_path):
    (tmp_path / "c.txt").write_text("x y\n10 10\n30 30\n")
    common = {"blend": "copy", "cell_size": 15}
    results = []
    for name, centroids in (("a", str(tmp_path / "c.txt")), ("b", ((10, 10), (30, 30)))):
        config = DecorrelationConfig(cell_centroids=centroids, **common)
        output = str(tmp_path / f"{name}.fits")
        run_job(replace(job, decorrelation=config, output=output))
        results.append(fits.getdata(output, "IMAGE"))
        assert known(replace(job, decorrelation=config, output=output))
    assert np.array_equal(*results, equal_nan=True)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"science": "missing.fits"}, InputError),
        ({"kernel": "d.fits"}, InputError),
        ({"output": "/nowhere/out.fits"}, OutputError),
        ({"files": FilesConfig.of(science_gain=1, science_noise="x")}, ConfigError),
        ({"decorrelation": DecorrelationConfig(score=True)}, ConfigError),
        ({"decorrelation": DecorrelationConfig(fill_planes="NONE")}, ConfigError),
    ],
)
def test_errors(job, changes, error, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error):
        run_job(replace(job, **changes))
    assert sorted(tmp_path.iterdir()) == before


def test_another_job_is_not_this_one(job):
    run_job(job)
    full = replace(job, decorrelation=DecorrelationConfig(variance="full"))
    assert not known(full)
    with pytest.raises(OutputExistsError):
        run_job(full)
    assert run_job(replace(full, overwrite=True)).status == "done"
    assert known(full)


def test_a_result_is_no_difference(job, tmp_path):
    run_job(job)
    again = replace(job, difference=job.output, output=str(tmp_path / "again.fits"))
    with pytest.raises(AlreadyDecorrelatedError):
        run_job(again)
    run_job(replace(again, files=FilesConfig(force=True)))
    # Its cards are those of the second run alone.
    header = fits.getheader(again.output)
    assert header["DDDIF"] == "out.fits"
    assert header.count("DDDIF") == 1


def test_inputs_are_all_named(job):
    files = FilesConfig.of(science_mask="m.fits[1]", template_psf="p.fits", dtype="float64")
    config = DecorrelationConfig(cell_centroids="c.txt")
    named = replace(job, files=files, decorrelation=config, configuration="my.toml")
    triple = {role: getattr(job, role) for role in ("science", "template", "difference", "kernel")}
    assert named.inputs == triple | {
        "configuration": "my.toml",
        "science_mask": "m.fits[1]",
        "template_psf": "p.fits",
        "cell_centroids": "c.txt",
    }


@pytest.fixture
def with_noise(job, tmp_path):
    """A job with files of noise that share their name, and the files."""
    noise = {}
    for role, value in (("science", 9.0), ("template", 4.0)):
        (tmp_path / role).mkdir()
        noise[f"{role}_noise"] = str(tmp_path / role / "var.fits")
        fits.PrimaryHDU(np.full(SHAPE, value)).writeto(noise[f"{role}_noise"])
    return replace(job, files=FilesConfig.of(**noise, **KINDS)), noise


def test_files_in_each_others_place_are_another_job(with_noise):
    job, noise = with_noise
    one, other = noise.values()
    exchanged, twice = (
        FilesConfig.of(science_noise=file, template_noise=one, **KINDS) for file in (other, one)
    )
    for files in (exchanged, twice):
        run_job(replace(job, files=files, overwrite=True))
        assert known(replace(job, files=files))
        assert not known(job)


def test_the_same_files_by_other_paths_are_the_same_job(with_noise, tmp_path, monkeypatch):
    job, noise = with_noise
    run_job(job)
    monkeypatch.chdir(tmp_path)
    for changes in (
        {"science_noise": "science/var.fits"},
        {"template_noise": "./template/../template/var.fits"},
        {name: str(Path(file).relative_to(tmp_path)) for name, file in noise.items()},
    ):
        files = FilesConfig.of(**noise | changes, **KINDS)
        assert run_job(replace(job, files=files)).status == "already done"


def test_cards_of_the_kernel_count(job):
    run_job(job)
    fits.setval(job.kernel, "DATE", value="2026-01-01T00:00:00")
    assert known(job)
    fits.setval(job.kernel, "CONVSIDE", value="SCIENCE")
    assert not known(job)


@pytest.fixture
def hotpants(job, tmp_path):
    """A job whose difference names the file of its kernel in KERFILE, and that file."""
    for name in ("A2_diff.fits.gz", "A2_kernel.fits"):
        shutil.copy(DATA / name, tmp_path / name)
    shape = fits.getdata(tmp_path / "A2_diff.fits.gz").shape
    fits.PrimaryHDU(np.ones(shape, np.float32)).writeto(tmp_path / "flat.fits")
    flat = str(tmp_path / "flat.fits")
    named = replace(
        job,
        science=flat,
        template=flat,
        difference=str(tmp_path / "A2_diff.fits.gz"),
        kernel=None,
        decorrelation=DecorrelationConfig(science_variance=9, template_variance=4),
        files=FilesConfig(verify=False),
    )
    return named, tmp_path / "A2_kernel.fits"


@pytest.mark.parametrize("is_named", [False, True])
def test_a_kernel_that_another_file_leads_to_counts(hotpants, is_named):
    job, kernel = hotpants
    if is_named:
        job = replace(job, kernel=job.difference)
    run_job(job)
    assert known(job)
    expected = "A2_diff.fits.gz" if is_named else "A2_kernel.fits"
    assert fits.getheader(job.output)["DDKER"] == expected
    with fits.open(kernel, mode="update") as hdus:
        hdus[1].data["Region0"][3] *= 1.001
    assert not known(job)
    with pytest.raises(OutputExistsError, match="is an input"):
        run_job(replace(job, output=str(kernel), overwrite=True))


def test_a_difference_with_its_kernel_counts_with_its_cards(job, tmp_path):
    native = str(tmp_path / "native.fits")
    convert_kernel(job.kernel, native)
    carrying = replace(job, kernel=None)
    with fits.open(job.difference) as hdus, fits.open(native) as kernel:
        both = fits.HDUList([hdus[0].copy(), *(hdu.copy() for hdu in kernel[1:])])
        both[0].header.extend(kernel[0].header, unique=True)
        both.writeto(job.difference, overwrite=True, checksum=True)
    run_job(carrying)
    assert known(carrying)
    assert "DDKER" not in fits.getheader(job.output)
    fits.setval(job.difference, "ANYTHING", value=1)
    assert not known(carrying)


def test_converting_a_kernel_of_another_image_keeps_it(job, tmp_path):
    output = tmp_path / "native.fits"
    convert_kernel(job.kernel, str(output))
    first = run_job(job).metrics["kernel_sum"]
    native = replace(job, kernel=str(output), output=str(tmp_path / "2.fits"))
    assert run_job(native).metrics["kernel_sum"] == pytest.approx(first, rel=1e-14)
    with pytest.raises(OutputExistsError):
        convert_kernel(job.kernel, job.kernel, overwrite=True)
