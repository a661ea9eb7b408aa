"""`--json`: what was done, or what went wrong, in one object."""

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import call, check_failure, json_object

import diffdecor
from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.options import options
from diffdecor.pipeline.provenance import METRIC_CARDS


def test_what_a_run_tells(work):
    before = dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=1)
    given = ("--mode", "whole", "--science-psf", work / "psf.fits", "--fill-planes", "BAD,SAT")
    found = json_object(work.run("--json", *given).stdout)
    assert found["version"] == 1
    assert found["diffdecor_version"] == diffdecor.__version__
    assert (found["status"], found["exit_code"]) == ("done", 0)
    assert found["output"] == str(work.output)
    assert found["inputs"] == {
        role: str(work / f"{role}.fits") for role in ("science", "template", "difference", "kernel")
    } | {"science_psf": str(work / "psf.fits")}
    names = {item.name for kind in (DecorrelationConfig, FilesConfig) for item in options(kind)}
    assert set(found["options"]) == names
    chosen = {name: found["options"][name] for name in ("mode", "fill_planes", "threads", "verify")}
    assert chosen == {
        "mode": "whole",
        "fill_planes": ["BAD", "SAT"],
        "threads": None,
        "verify": True,
    }
    assert found["started"].endswith("Z")
    assert before <= dt.datetime.fromisoformat(found["started"]) <= dt.datetime.now(dt.UTC)
    assert 0 < found["cpu_seconds"] < 100
    assert 0 < found["wall_seconds"] < 1000
    assert {card.name for card in METRIC_CARDS} <= set(found)


def test_what_is_new_hides_no_metric():
    ours = {"version", "diffdecor_version", "status", "exit_code", "output", "inputs", "options"}
    ours |= {"started", "wall_seconds", "cpu_seconds", "warning_texts", "error"}
    assert not ours & {card.name for card in METRIC_CARDS}


def test_files_that_were_found_are_inputs_too(work):
    (work / "difference.mask.fits").write_bytes(b"")
    sigma = np.full((40, 48), 3, np.float32)
    fits.PrimaryHDU(sigma).writeto(work / "difference.weight.fits")
    found = json_object(work.run("--json").stdout)
    assert set(found["inputs"]) >= {"science", "template", "difference", "kernel"}


FAILURES = {
    "no file": (3, ["no.fits"], "no.fits"),
    "the output is there": (2, ["--mode", "whole"], "--overwrite"),
    "a wrong value": (2, ["--cell-size", "a"], "--cell-size"),
    "no such option": (2, ["--no-such-option"], "--no-such-option"),
    "too many files": (2, ["fourth.fits"], "fourth.fits"),
    "options that contradict": (2, ["--score"], "--preconvolution-kernel"),
    "no log": (3, ["--log-file", "/no/folder/my.log"], "my.log"),
    "a wrong configuration": (2, ["--config", "/no/my.toml"], "my.toml"),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("last", [True, False])
def test_what_a_failure_tells(work, name, last):
    code, given, says = FAILURES[name]
    arguments = work.arguments()
    if name == "no file":
        arguments, given = work.arguments(difference=work / given[0]), []
    if name == "the output is there":
        work.succeeds()
    arguments = [arguments[0], *(["--json"] if not last else []), *arguments[1:], *given]
    result = call(*arguments, *(["--json"] if last else []))
    found = json_object(result.stdout)
    assert result.exit_code == found["exit_code"] == code
    assert (found["version"], found["status"]) == (1, "error")
    assert says in found["error"]
    assert found["error"] in " ".join(result.stderr.split())


def test_without_output(work):
    result = call(*work.arguments(output=None), "--json")
    found = json_object(result.stdout)
    assert (found["exit_code"], found["error"]) == (2, "Missing option '-o' / '--output'.")


def test_a_result_that_is_not_white_enough_is_told_of_once(work):
    result = work.run("--json", "--max-rho", "1e-9")
    found = json_object(result.stdout)
    if result.exit_code == 4:  # by chance it may be
        assert (found["status"], found["gate"], found["exit_code"]) == ("done", "failed", 4)


@pytest.mark.usefixtures("doubted")
def test_a_doubtful_result_is_told_of_once(work):
    result = work.run("--json", "--strict")
    found = json_object(result.stdout)
    assert result.exit_code == found["exit_code"] == 4
    assert found["status"] == "doubtful"
    assert found["warning_texts"]
    assert "--strict" in found["error"]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("oh"), KeyboardInterrupt()])
def test_errors_that_are_not_ours(work, monkeypatch, error):
    import diffdecor.pipeline.run

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(diffdecor.pipeline.run, "run_job", fail)
    monkeypatch.delenv("DIFFDECOR_TRACEBACK", raising=False)
    result = work.run("--json")
    found = json_object(result.stdout)
    assert result.exit_code == found["exit_code"]
    assert f"diffdecor: {found['error']}\n" == result.stderr
    assert set(found["inputs"]) == {"science", "template", "difference", "kernel"}


def test_a_signal(work, process):
    program = """
import sys, time
import diffdecor.pipeline.run
from diffdecor.__main__ import main

def wait(*_, **__):
    print("ready", flush=True, file=sys.stderr)
    time.sleep(60)

diffdecor.pipeline.run.run_job = wait
main()
"""
    child = process("-c", program, *work.arguments(), "--json", module=False)
    assert child.stderr.readline() == "ready\n"
    child.terminate()
    stdout, _ = child.communicate(timeout=60)
    found = json_object(stdout)
    assert child.returncode == found["exit_code"] == 143
    assert found["status"] == "error"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_what_cannot_be_told_changes_no_exit_code(work, process):
    with Path("/dev/full").open("w") as full:
        child = process(*work.arguments(science=work / "no.fits"), "--json", stdout=full)
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 3
    (line,) = stderr.splitlines()
    assert "no.fits" in line


def test_what_verify_tells(work):
    arguments = ["verify", *work.arguments()[1:6], "--json"]
    found = json_object(call(*arguments).stdout)
    assert found["version"] == 1
    assert found["belongs"] is True
    assert {"fit", "alternative", "cause"} <= set(found)
    result = call(*arguments, "--score")
    found = json_object(result.stdout)
    assert (found["status"], found["exit_code"]) == ("error", result.exit_code)


def test_what_check_tells_is_a_list(tmp_path):
    noise = np.random.default_rng(8).normal(size=(300, 300)).astype(np.float32)
    fits.PrimaryHDU(noise).writeto(tmp_path / "a.fits")
    result = call("check", tmp_path / "a.fits", tmp_path / "no.fits", "--json")
    good, bad = json_object(result.stdout)
    assert (good["version"], good["verdict"]) == (1, "white")
    assert (bad["version"], bad["status"], bad["exit_code"]) == (1, "error", 3)
    assert "no.fits" in bad["error"]
    result = call("check", tmp_path / "a.fits", "--json", "--fwhm", "x")
    (only,) = json_object(result.stdout)
    assert (only["status"], only["exit_code"]) == ("error", 2)
    assert "--fwhm" in only["error"]


def test_commands_without_json_print_none(work):
    result = call("kernel", "convert", work / "no.fits", work / "k.fits", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    found = json_object(call("kernel", "info", work / "no.fits", "--json").stdout)
    assert found["exit_code"] == 3


def test_json_is_what_the_words_before_two_dashes_ask_for(work):
    result = call(*work.arguments(), "--", "--json")
    assert (result.exit_code, result.stdout) == (2, "")


def test_off_a_terminal_a_run_that_succeeds_says_nothing(work, process):
    arguments = work.arguments("--science-psf", work / "psf.fits")
    child = process(*arguments)
    assert child.communicate(timeout=60) == ("", "")
    assert child.returncode == 0
    child = process(*arguments)
    assert child.communicate(timeout=60) == ("", "")
    assert child.returncode == 0


def test_a_file_of_options_is_no_json(work):
    result = work.run("--json", "--print-config")
    check_failure(result, 2, "--print-config", "--json")
    assert json_object(result.stdout)["exit_code"] == 2
