"""What a batch says of its jobs: no more than needs somebody, and nothing wrong in silence."""

import json

import pytest
from astropy.io import fits


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
    out, err = doubtful.ends(0, "--json", "--log-file", doubtful / "log")
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
    assert doubtful.ends(0, "--redo", "--quiet") == ("", "")


def test_status_lists_what_failed_and_counts_what_is_undone(night):
    made = night(4)
    made.rows[1]["difference"] = "no.fits"
    made.write()
    made.ends(3, "--shard", "2/2")
    out, err = made.ends(75, "--status")
    assert err == ""
    failed, summary = out.splitlines()
    assert failed.startswith("line 3: out/1.fits: error: ")
    assert "no.fits: no such file" in failed
    assert summary.startswith("night.csv: 1 done, 1 error, 2 undone")
    assert summary.endswith("; the first undone is out/0.fits: missing")
