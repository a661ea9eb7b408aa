"""The number of the algorithm is raised when, and only when, results change.

Outputs that were made with the number of today are taken for done, so results of the samples must
be those that are stored beside that number.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.provenance import ALGORITHM, ALGORITHM_CARD, VERSION_CARD, is_done
from diffdecor.pipeline.run import run_job

SAMPLES = Path(__file__).parents[2] / "sample_data"
STORED = Path(__file__).parents[1] / "data" / "results.json"
ROLES = ("science", "template", "difference")
#: Relative to the number, or to the scale where it is near zero: rounding of other machines.
TOLERANCE = 1e-5
#: They are differences of large numbers, or far below anything that matters.
ROUGH = {"residual", "residual_bright", "filter_tail", "filter_error"}
HOW = (
    "results changed: if that is meant, raise ALGORITHM in diffdecor/pipeline/provenance.py, so "
    "that outputs are made anew, and store the new ones: python tests/pipeline/test_algorithm.py"
)


def jobs(folder):
    """Make a job of each kind on the samples: by name."""
    nircam, hotpants = SAMPLES / "nircam", SAMPLES / "hotpants"
    sigmas = {
        name: value
        for role in ROLES
        for name, value in (
            (f"{role}_noise", str(nircam / f"{role}_sigma.fits")),
            (f"{role}_noise_kind", "sigma"),
        )
    }
    psfs = {f"{role}_psf": str(nircam / f"{role}_psf.fits") for role in ROLES[:2]}
    psf = {"difference_psf": str(hotpants / "difference_psf.fits")}
    about = {
        "nircam": (nircam, {}, sigmas | psfs),
        "hotpants": (hotpants, {}, psf),
        "white": (hotpants, {"mode": "whole", "noise_model": "white"}, psf),
        "alone": (hotpants, {}, psf),
    }
    for name, (where, options, files) in about.items():
        images = {role: str(where / f"{role}.fits") for role in ROLES}
        if name == "alone":
            images = {"difference": images["difference"]}
        if name == "nircam":
            images["kernel"] = str(where / "kernel.fits")
        yield (
            name,
            Job(
                **images,
                output=str(folder / f"{name}.fits"),
                decorrelation=DecorrelationConfig(**options, significance=True, threads=1),
                files=FilesConfig.of(**files),
            ),
        )


def numbers(job):
    """Run a job; return numbers of its result: metrics, and of every plane what sums up its values.

    Weights that vary over the plane let no pixel be exchanged for another.
    """
    found = {name: value for name, value in run_job(job).metrics.items() if name != "warnings"}
    with fits.open(job.output) as hdus:
        for hdu in hdus:
            if hdu.data is None or hdu.data.dtype.names:
                continue
            values = np.asarray(hdu.data, np.float64).ravel()
            finite = np.isfinite(values)
            weights = 1 + 0.5 * np.cos(np.arange(values.size) / 7.0)
            kept = np.where(finite, values, 0.0)
            found[f"{hdu.name}{hdu.ver} finite"] = int(finite.sum())
            found[f"{hdu.name}{hdu.ver} rms"] = float(np.sqrt(np.mean(weights * kept**2)))
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in found.items()
    }


@pytest.fixture(scope="module")
def stored():
    return json.loads(STORED.read_text())


def test_the_stored_results_are_of_this_algorithm(stored):
    assert stored["algorithm"] == ALGORITHM, "store the results of the new algorithm, too"


@pytest.mark.parametrize("name", ["nircam", "hotpants", "white", "alone"])
def test_results_are_those_of_the_algorithm(stored, name, tmp_path):
    found = numbers(dict(jobs(tmp_path))[name])
    expected = stored["results"][name]
    assert set(found) == set(expected), HOW
    for metric, value in found.items():
        one = expected[metric]
        if isinstance(one, float):
            relative, absolute = (1e-2, 1e-5) if metric in ROUGH else (TOLERANCE, TOLERANCE)
            near = pytest.approx(one, rel=relative, abs=absolute)
            assert value == near, f"{name}: {metric}: {HOW}"
        else:
            assert value == one, f"{name}: {metric}: {HOW}"


def known(job):
    from diffdecor.pipeline.inputs import read_inputs

    read = read_inputs(job)
    return is_done(read.job, lambda: read.sources)


@pytest.mark.parametrize(
    ("card", "value", "again"),
    [
        (VERSION_CARD, "9.9.9", False),
        (ALGORITHM_CARD, ALGORITHM + 1, True),
        (ALGORITHM_CARD, None, True),
    ],
)
def test_done_already_goes_by_the_algorithm_not_by_the_version(tmp_path, card, value, again):
    job = dict(jobs(tmp_path))["white"]
    run_job(job)
    with fits.open(job.output, mode="update") as hdus:
        if value is None:
            del hdus[0].header[card.keyword]
        else:
            hdus[0].header[card.keyword] = value
    assert known(job) != again


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        results = {name: numbers(job) for name, job in jobs(Path(folder))}
    STORED.write_text(
        json.dumps({"algorithm": ALGORITHM, "results": results}, indent=1, allow_nan=False) + "\n"
    )
