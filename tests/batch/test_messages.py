"""What a batch says of its jobs: no more than needs somebody, and nothing wrong in silence."""

import json

import pytest
from astropy.io import fits
from helpers.workplace import call, check_failure


@pytest.fixture
def doubtful(night, tmp_path):
    """A night whose first science image is one of two in its file."""
    made = night(2)
    with fits.open(made / made.rows[0]["science"]) as hdus:
        images = [fits.ImageHDU(hdu.data, hdu.header) for hdu in hdus for _ in range(2)]
        images[0].header["EXTNAME"], images[1].header["EXTNAME"] = "N1", "N2"
        fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "several.fits")
    made.rows[0]["science"] = "../several.fits"
    made.rows[0]["science_variance"] = "9"
    made.write()
    return made


def test_warnings_of_jobs_are_one_line(doubtful):
    """An image of several was taken: a night of files of detectors would be done in part."""
    out, err = doubtful.ends(0, "--jobs", 1, "--json", "--log-file", doubtful / "log")
    (line,) = err.splitlines()
    assert "night.csv: 1 of 2 jobs had warnings (results.jsonl has them all), the first: " in line
    assert "several.fits: several images could be meant" in line
    first, second = json.loads(out)["tasks"]
    assert "several images" in first["warnings"][0]
    assert second["warnings"] == []
    assert first["metrics"]["rho_after"] > 0
    assert "WARNING line 2: out/0.fits: " in (doubtful / "log").read_text()
    # What was done before is not news.
    assert doubtful.ends(0) == ("", "")
    assert doubtful.ends(0, "--jobs", 1, "--redo", "--quiet") == ("", "")


def test_status_lists_what_failed_and_counts_what_is_undone(night):
    made = night(4)
    made.rows[1]["difference"] = "no.fits"
    made.write()
    made.ends(3, "--jobs", 1, "--shard", "2/2")
    out, err = made.ends(75, "--status")
    assert err == ""
    failed, *summary = out.splitlines()
    assert failed.startswith("line 3: out/1.fits: error: ")
    assert "no.fits: no such file" in failed
    assert [line.split()[:2] for line in summary[:-1]] == [
        ["1", "done"],
        ["1", "error"],
        ["2", "undone,"],
    ]
    assert summary[2].endswith("undone, the first out/0.fits: missing")
    assert summary[3].split()[:4] == ["4", "jobs", "of", "night.csv"]


def test_the_last_line_says_how_many(night):
    made = night(2)
    _, err = made.ends(0, "--jobs", 1, "-v")
    assert err.splitlines()[-1] == f"diffdecor: INFO: night.csv: 2 done ({made / 'results.ecsv'})"


def test_an_output_is_named_once_in_a_line(night):
    made = night(1)
    _, err = made.ends(4, "--max-rho", "1e-9")
    said, summary = err.splitlines()
    assert said.startswith("diffdecor: ERROR: line 2: out/0.fits: not white in ")
    assert " s: its noise is not white enough: " in said
    assert summary.startswith("diffdecor: night.csv: 1 not white (")
    assert str(made.folder) not in made.ends(4, "--max-rho", "1e-9", "--status")[0].splitlines()[0]


def test_help_of_options_that_are_others_in_a_batch():
    """A job has one thread, and the memory is that of all jobs."""
    text = " ".join(call("batch", "--help").stdout.split())
    assert "Number of threads of each job; the result does not depend on it. [default: 1]" in text
    assert "memory of all jobs together" in text
    assert "[default: one a core" in call("run", "--help").stdout


def test_a_joined_file_is_no_output(tmp_path):
    header = fits.Header({"DDJOIN": "0", "ORIGIN": "x"})
    fits.PrimaryHDU(header=header).writeto(tmp_path / "joined.fits")
    result = call("report", tmp_path / "joined.fits", "-o", tmp_path / "page.html")
    check_failure(result, 3, "joined.fits: joined of the outputs of several detectors")
