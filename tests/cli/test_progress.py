"""A bar on the terminal while work takes long: on stderr, off the lines of the log, only there."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import opened

from diffdecor.cli import progress
from diffdecor.core.planes import copy_planes
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.run import run_job

SAMPLE = Path(__file__).parents[1] / "data" / "hotpants-a1"
TRIPLE = [str(SAMPLE / f"{role}.fits") for role in ("science", "template", "difference")]
LEVELS = ["--science-variance", "180", "--template-variance", "22"]
AT_ONCE = (
    "import diffdecor.cli.progress as p; p.DELAY = p.INTERVAL = 0\n"
    "from diffdecor.__main__ import main; main()"
)
CLEARED, HIDDEN, SHOWN = "\r\033[K", "\033[?25l", "\033[?25h"


def on_a_terminal(*arguments, program=AT_ONCE, env=None, **about):
    """Run with stderr on a terminal; return exit code, stdout, and what the terminal was sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm"} | (env or {}),
        **about,
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
        stdout = process.stdout.read().decode()
    os.close(ours)
    return process.returncode, stdout, shown.decode()


def lines_of(shown):
    """Return what is in every line of a terminal in the end."""
    lines = []
    for line in shown.replace(HIDDEN, "").replace(SHOWN, "").split("\r\n"):
        text = ""
        for part in re.split(r"\r(?!\n)", line):  # which writes over what is there
            piece = part.removeprefix("\033[K")
            text = piece + (text[len(piece) :] if piece == part else "")
        lines.append(text.rstrip())
    return lines


@pytest.fixture(scope="module")
def run_on_a_terminal(tmp_path_factory):
    output = tmp_path_factory.mktemp("terminal") / "out.fits"
    options = ["--threads", "1", "--max-memory", "64M"]
    return on_a_terminal("run", *TRIPLE, *LEVELS, *options, "-o", output)


def test_a_run_shows_megapixels_per_second(run_on_a_terminal):
    code, stdout, shown = run_on_a_terminal
    assert (code, stdout) == (0, "")
    assert re.search(r"filtering  \[#+-*\] +\d+%.*  [\d.e-]+ megapixels/s", shown)
    assert re.search(r"filtering  \[#+\]  100%  [\d.e-]+ megapixels/s", shown)
    assert shown.rindex(SHOWN) > shown.rindex(HIDDEN)


def test_no_line_of_the_log_is_mangled(run_on_a_terminal):
    """Every line is one of the log, whole, or the bar."""
    lines = [line for line in lines_of(run_on_a_terminal[2]) if line]
    kinds = [re.match(r"diffdecor: [A-Z]+: |filtering  \[", line) for line in lines]
    assert all(kinds), lines
    assert sum("filtering" in line for line in lines) == 1
    assert any("neighbour correlation" in line for line in lines)


def test_the_log_goes_around_the_bar(capsys, monkeypatch):
    """A line that comes while the bar is shown takes its place; the bar comes back below."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(progress, "INTERVAL", 0)
    monkeypatch.setenv("TERM", "xterm")
    with progress.progress("working", "parts") as told:
        told(0, 10)
        told(3, 10)
        with progress.paused():
            sys.stderr.write("a line of the log\n")
        told(7, 10)
        told(10, 10)
    lines = lines_of(capsys.readouterr().err.replace("\n", "\r\n"))
    assert lines[0] == "a line of the log"
    assert re.match(r"working  \[#+\]  100%  [\d.e+]+ parts/s$", lines[1])
    assert lines[2:] == [""]


def test_work_of_less_than_two_seconds_shows_nothing(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    clock = iter([0.0, 0.0, 1.0, 1.9, 1.95, 0.0, 0.0, 1.0, 2.1, 2.2])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setenv("TERM", "xterm")
    for shows in (False, True):
        with progress.progress("working", "parts") as told:
            for done in (0, 2, 4, 10 if not shows else 6):
                told(done, 10)
        assert bool(capsys.readouterr().err) == shows


@pytest.mark.parametrize("case", ["quiet", "dumb", "no terminal", "closed"])
def test_where_no_bar_is_shown(case, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: case != "no terminal")
    monkeypatch.setenv("TERM", "dumb" if case == "dumb" else "xterm")
    if case == "closed":
        monkeypatch.setattr(sys, "stderr", None)
    with progress.progress("working", "parts", quiet=case == "quiet") as told:
        assert told is None


def test_a_quiet_run_shows_nothing_on_a_terminal(tmp_path):
    arguments = ["run", *TRIPLE, *LEVELS, "-q", "-o", tmp_path / "out.fits"]
    assert on_a_terminal(*arguments) == (0, "", "")


def test_a_failure_leaves_the_terminal_as_it_was(tmp_path):
    """The cursor is shown again, and the error has a line of its own."""
    program = AT_ONCE.replace(
        "from diffdecor.__main__",
        "import diffdecor.pipeline.run as r\n"
        "def fail(*_): raise MemoryError\n"
        "r.result_of = fail\n"
        "from diffdecor.__main__",
    )
    output = ["-o", tmp_path / "out.fits"]
    code, _, shown = on_a_terminal("run", *TRIPLE, *LEVELS, *output, program=program)
    assert code == 3
    assert shown.rindex(SHOWN) > shown.rindex(HIDDEN)
    assert [line for line in lines_of(shown) if line][-1].startswith("diffdecor: not enough memory")


def test_checking_several_files_counts_them(tmp_path):
    random = np.random.default_rng(3)
    for number in range(3):
        pixels = random.normal(size=(300, 300)).astype(np.float32)
        fits.PrimaryHDU(pixels).writeto(tmp_path / f"{number}.fits")
    code, stdout, shown = on_a_terminal("check", *sorted(tmp_path.iterdir()))
    assert code == 0
    assert len(stdout.splitlines()) == 4
    assert re.search(r"checking  \[#+-*\] +33%.*  [\d.e+-]+ files/s", shown)
    assert re.search(r"checking  \[#+\]  100%  [\d.e+-]+ files/s", shown)


def jobs(work, folder):
    return Job(
        **{role: str(work / f"{role}.fits") for role in ("science", "template", "difference")},
        kernel=str(work / "kernel.fits"),
        output=str(work / folder),
    )


@pytest.mark.parametrize("significance", [False, True])
def test_a_job_tells_of_its_pixels(work, significance):
    """From none to all of them, in steps that only rise; the result does not depend on it."""
    from dataclasses import replace

    told = []
    job = jobs(work, "told.fits")
    config = replace(job.decorrelation, significance=significance)
    files = replace(job.files, science=replace(job.files.science, psf=str(work / "psf.fits")))
    job = replace(job, decorrelation=config, files=files)
    run_job(job, progress=lambda done, total: told.append((done, total)))
    run_job(replace(job, output=str(work / "untold.fits")))
    assert {total for _, total in told} == {40 * 48}
    done = [number for number, _ in told]
    assert done[0] == 0
    assert done[-1] == 40 * 48
    assert done == sorted(set(done))
    first, second = opened(work / "told.fits"), opened(work / "untold.fits")
    assert ("SIGNIF" in first) == significance
    for name, (_, pixels) in first.items():
        if pixels is not None and pixels.dtype.kind in "fi":
            assert np.array_equal(pixels, second[name][1], equal_nan=True), name


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_are_told_of_in_order_and_in_one_thread(threads):
    from threading import get_ident

    told = []
    plane = np.arange(35.0).reshape(7, 5)
    target = np.zeros_like(plane)
    bands = [slice(0, 3), slice(3, 6), slice(6, 7)]
    copy_planes([(plane, target)], bands, threads, lambda *rows: told.append((*rows, get_ident())))
    assert told == [(done, 7, get_ident()) for done in (3, 6, 7)]
    assert np.array_equal(plane, target)


def test_verifying_a_large_image_counts_its_parts(tmp_path):
    """Two kernels of one pixel: the difference is the science image less the template."""
    random = np.random.default_rng(5)
    science, template = random.normal(100, 3, (2, 1030, 1030)).astype(np.float32)
    images = {"science": science, "template": template, "difference": science - template}
    for name, pixels in (images | {"kernel": np.ones((1, 1))}).items():
        fits.PrimaryHDU(pixels).writeto(tmp_path / f"{name}.fits")
    files = [tmp_path / f"{name}.fits" for name in images]
    options = ["--kernel", tmp_path / "kernel.fits", "--convolved", "template"]
    levels = ["--science-variance", "9", "--template-variance", "9"]
    code, stdout, shown = on_a_terminal("verify", *files, *options, *levels)
    assert code == 0, shown
    assert stdout.startswith("yes")
    assert re.search(r"rebuilding  \[#+-*\] +11%.*  [\d.e+-]+ parts/s", shown)
    assert re.search(r"rebuilding  \[#+\]  100%  [\d.e+-]+ parts/s", shown)
