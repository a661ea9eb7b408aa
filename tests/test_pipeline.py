"""One job as Python calls it: errors are exceptions, and nothing is printed."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from cli.workplace import convolved, exposure, gaussian

from diffdecor.cards import FIGURE_CARDS
from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.errors import (
    AlreadyDecorrelatedError,
    ConfigError,
    InputError,
    KernelError,
    OutputError,
    OutputExistsError,
)
from diffdecor.inputs import read_inputs
from diffdecor.job import Job, input_sums, is_done, source_values
from diffdecor.pipeline import convert_kernel, run_job

SHAPE = (40, 48)


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
    inputs = read_inputs(job)
    sums = input_sums(job, inputs.unneeded, inputs.reading)
    return is_done(job, lambda: source_values(job, sums))


def test_done_and_done_already(job, capfd):
    first = run_job(job)
    assert first.status == "done"
    assert set(first.figures) == {card.name for card in FIGURE_CARDS}
    assert known(job)
    second = run_job(job)
    assert second.status == "already done"
    for name, value in first.figures.items():
        again = second.figures[name]
        if isinstance(value, float) and np.isnan(value):
            assert again is None
        else:
            assert again == (pytest.approx(value) if isinstance(value, float) else value), name
    assert capfd.readouterr() == ("", "")


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
        ({"kernel": None}, KernelError),
        ({"output": "/nowhere/out.fits"}, OutputError),
        ({"files": FilesConfig(science_gain=1, science_noise="x")}, ConfigError),
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
    files = FilesConfig(science_mask="m.fits[1]", template_psf="p.fits", dtype="float64")
    config = DecorrelationConfig(cell_centroids="c.txt")
    named = replace(job, files=files, decorrelation=config, configuration="my.toml")
    others = {"m.fits[1]", "p.fits", "c.txt", "my.toml"}
    assert set(named.inputs) == {job.science, job.template, job.difference, job.kernel} | others


def test_converting_a_kernel_of_another_image_keeps_it(job, tmp_path):
    output = tmp_path / "native.fits"
    convert_kernel(job.kernel, str(output))
    first = run_job(job).figures["kernel_sum"]
    native = replace(job, kernel=str(output), output=str(tmp_path / "2.fits"))
    assert run_job(native).figures["kernel_sum"] == first
    with pytest.raises(OutputExistsError):
        convert_kernel(job.kernel, job.kernel, overwrite=True)
