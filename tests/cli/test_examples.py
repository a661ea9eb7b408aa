"""The examples of every help, run as they are on real files of these names."""

import glob
import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import all_commands, call

SAMPLE = Path(__file__).parents[2] / "sample_data" / "hotpants"
TRIPLE = {"sci.fits": "science", "tmpl.fits": "template", "diff.fits": "difference"}
GAINS = {"sci": (1.6, 5.0), "tmpl": (6.6, 5.1962)}
COMMANDS = {
    " ".join(path): command
    for path, command in all_commands()
    if path in {("run",), ("check",), ("verify",), *(("kernel", n) for n in ("info", "plot"))}
    or path == ("kernel", "convert")
}


def examples(command):
    """Return the examples in the epilog of a help, and what is said of each."""
    pattern = r"^  (diffdecor (?:.*\\\n)*.*)\n?((?:      .*\n?)*)"
    found = re.findall(pattern, command.epilog, re.MULTILINE)
    return [(text.replace("\\\n", " "), said.strip()) for text, said in found]


ALL = [
    pytest.param(*example, number == 0, id=f"{name}-{number}")
    for name, command in COMMANDS.items()
    for number, example in enumerate(examples(command))
]


@pytest.fixture
def triple(tmp_path, monkeypatch):
    """A folder with the three images that HOTPANTS had and wrote, and nothing else."""
    monkeypatch.chdir(tmp_path)
    for name, original in TRIPLE.items():
        shutil.copy(SAMPLE / f"{original}.fits", name)
    return tmp_path


@pytest.fixture
def folder(triple):
    """One with everything that is named in any example, too."""
    for name, (gain, read_noise) in GAINS.items():
        pixels = fits.getdata(f"{name}.fits").astype(float)
        sigma = np.sqrt(np.maximum(pixels, 0) / gain + (read_noise / gain) ** 2)
        fits.PrimaryHDU(sigma.astype("f4")).writeto(f"{name}_sigma.fits")
    for name in ("1_diff.fits", "2_diff.fits"):
        shutil.copy("diff.fits", name)
    assert call("kernel", "convert", "diff.fits", "kernel.fits").exit_code == 0
    return triple


def run(text):
    if "plot" in text and find_spec("matplotlib") is None:
        pytest.skip("needs matplotlib")
    words = shlex.split(text)[1:]
    return call(*(file for word in words for file in (sorted(glob.glob(word)) or [word])))  # noqa: PTH207


def test_every_command_has_one():
    assert len(COMMANDS) == 6
    assert all(examples(command) for command in COMMANDS.values())
    assert examples(COMMANDS["run"])[0][0] == (
        "diffdecor run sci.fits tmpl.fits diff.fits -o out.fits"
    )


@pytest.mark.parametrize(("text", "said", "first"), ALL)
def test_all_work(request, text, said, first):
    """The first of a command needs nothing but the three images."""
    folder = request.getfixturevalue("triple" if first else "folder")
    there = set(folder.iterdir())
    done = run(text)
    assert done.exit_code in ({0, 4} if "exit code 4" in said else {0}), done.stderr
    if first:
        assert done.stderr == ""
    written = {path.name for path in set(folder.iterdir()) - there}
    named = re.search(r"(?:-o|--output|--plot|convert diff.fits) (\S+)", text)
    assert written == ({named[1]} if named else set())
    assert done.stdout or written
