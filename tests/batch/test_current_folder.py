"""A batch from a folder that is gone, as it is where a cron job cleans up, and of a pipe."""

import os

import pytest
from helpers.workplace import call


@pytest.fixture
def gone(tmp_path, monkeypatch):
    """Be in a folder that has been removed."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()


@pytest.fixture
def manifest(tmp_path):
    file = tmp_path / "night.csv"
    file.write_text("difference,output\nd.fits,o.fits\n")
    return file


@pytest.mark.usefixtures("gone")
def test_absolute_names_need_no_current_folder(manifest, tmp_path):
    options = ("--dry-run", "--out-dir", tmp_path / "out")
    assert call("batch", manifest, *options).exit_code == 0


@pytest.mark.usefixtures("gone")
@pytest.mark.parametrize("option", ["--out-dir", "--difference-psf", "--log-file"])
def test_relative_names_are_named_in_the_error(option, manifest):
    result = call("batch", manifest, "--dry-run", option, "name")
    assert result.exit_code == 3
    assert result.stderr.startswith("diffdecor: name: ")
    assert ("the current folder is gone" in result.stderr) == (option != "--log-file")


@pytest.mark.usefixtures("gone")
def test_manifests_are_written_from_absolute_patterns(tmp_path):
    (tmp_path / "d1.fits").write_bytes(b"")
    result = call("manifest", "--difference", tmp_path / "d*.fits", "--out-dir", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "d1.fits" in (tmp_path / "out" / "manifest.csv").read_text()


def test_a_pipe_is_no_manifest(tmp_path):
    os.mkfifo(tmp_path / "night.csv")
    result = call("batch", tmp_path / "night.csv")
    assert result.exit_code == 2
    assert "is not a regular file; write it to disk first" in result.stderr
