"""What a shell completes: commands, options, choices and files."""

import shutil
import subprocess
import sys

import pytest

BASH = shutil.which("bash")


@pytest.fixture
def completions(process):
    """Return kind and value of what there is for the last of some words, as a shell is told."""

    def ask(*words):
        env = {
            "_DIFFDECOR_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["diffdecor", *words]),
            "COMP_CWORD": str(len(words)),
        }
        child = process(env=env)
        stdout, stderr = child.communicate(timeout=60)
        assert (child.returncode, stderr) == (0, "")
        return [tuple(line.split(",", 1)) for line in stdout.splitlines()]

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([""], ["run", "check"]),
        (["ver"], ["verify"]),
        (["kernel", ""], ["info", "convert", "plot"]),
        (["run", "--template-g"], ["--template-gain"]),
        (["run", "--adj"], ["--adjust-grid"]),
        (["verify", "--log"], ["--log-file"]),
        (["check", "--fw"], ["--fwhm"]),
        (["kernel", "info", "--ig"], ["--ignore-checksums"]),
        (["help", "ph"], ["photometry"]),
        (["help", "ver"], ["verify"]),
        (["run", "--mode", ""], ["whole", "grid"]),
        (["kernel", "f"], ["fit"]),
        (["run", "--science-noise-kind", "s"], ["sigma"]),
        (["check", "--mask-preset", "decam-"], ["decam-bits", "decam-codes"]),
    ],
)
def test_names_are_completed(completions, words, expected):
    found = completions(*words)
    assert {kind for kind, _ in found} == {"plain"}
    assert [value for _, value in found][: len(expected)] == expected


@pytest.mark.parametrize(
    "words",
    [
        ["run", "sci"],
        ["run", "a.fits", "b.fits", "diff"],
        ["run", "a.fits", "-o", "out"],
        ["run", "--config", "my"],
        ["run", "--kernel", "k"],
        ["run", "--science-noise", "s"],
        ["run", "--cell-centroids", "s"],
        ["verify", "a.fits", "te"],
        ["check", "a.fits", "b.fits", "c"],
        ["check", "--plot", "c"],
        ["check", "--log-file", "c"],
        ["check", "--psf", "c"],
        ["kernel", "info", "k"],
        ["kernel", "convert", "k.fits", "o"],
        ["kernel", "plot", "--difference", "d"],
    ],
)
def test_files_are_completed_by_the_shell(completions, words):
    assert completions(*words) == [("file", words[-1])]


def test_a_kernel_may_be_a_word(completions):
    assert completions("run", "--kernel", "f") == [("plain", "fit"), ("file", "f")]


def test_parts_of_the_result_are_completed_and_then_their_files(completions):
    assert ("plain", "noisecov=") in completions("run", "--write", "noise")
    assert completions("run", "--write", "noisecov=a") == [("file", "noisecov=a")]


@pytest.mark.skipif(BASH is None, reason="no bash")
def test_bash_completes(tmp_path):
    """With the line of the documentation: eval "$(_DIFFDECOR_COMPLETE=bash_source diffdecor)"."""
    program = tmp_path / "diffdecor"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m diffdecor "$@"\n')
    program.chmod(0o755)
    script = f"""
PATH={tmp_path}:$PATH
eval "$(_DIFFDECOR_COMPLETE=bash_source diffdecor)"
complete -p diffdecor
COMP_WORDS=(diffdecor run --science-r)
COMP_CWORD=2
_diffdecor_completion diffdecor
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        [BASH, "--norc", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    registered, completed = done.stdout.splitlines()
    assert registered.endswith("-F _diffdecor_completion diffdecor")
    assert completed == "--science-read-noise"
