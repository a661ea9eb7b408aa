"""`--log-file` and `--log-json`: what was done, with UTC times, whatever is said on stderr."""

import datetime as dt
import gzip
import json
import logging
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import call, described, json_object

LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (DEBUG|INFO|WARNING|ERROR) \S.*")


def records(path):
    """Return level and text of every record; every line is one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(LINE.fullmatch(line) for line in lines), lines
    return [tuple(line.split(" ", 2)[1:]) for line in lines]


def test_a_run_is_logged(work):
    log = work / "my.log"
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=0.01)
    _, result = work.succeeds("--log-file", log)
    first, *_, last = log.read_text().splitlines()
    assert "diffdecor" not in result.stderr.replace(str(work), "").replace("diffdecor: WARNING", "")
    for line in (first, last):
        moment = dt.datetime.fromisoformat(line.split()[0])
        assert before <= moment <= dt.datetime.now(dt.UTC)
    texts = [text for _, text in records(log)]
    assert any("out.fits: neighbour correlation x" in text for text in texts)
    assert re.search(r"out.fits: done in [\d.e-]+ s \([\d.e-]+ s of processors\)$", texts[-1])
    length = len(texts)
    work.succeeds("--log-file", log)
    texts = [text for _, text in records(log)]
    assert "out.fits: already done in" in texts[-1]
    assert len(texts) > length + 1  # it is appended to


@pytest.mark.usefixtures("doubted")
@pytest.mark.parametrize("flags", [(), ("-q",), ("-v",), ("-q", "-v")])
def test_warnings_and_the_result_are_logged_whatever_q_says(work, flags):
    log = work / "my.log"
    _, result = work.succeeds("--log-file", log, *flags)
    levels = [level for level, _ in records(log)]
    assert "WARNING" in levels
    assert any("neighbour correlation" in text for _, text in records(log))
    assert ("WARNING" in result.stderr) == ("-q" not in flags)
    assert "DEBUG" not in levels


def test_an_error_is_logged(work):
    log = work / "my.log"
    result = work.run("--log-file", log, "-q", difference=work / "no.fits")
    assert result.exit_code == 3
    level, text = records(log)[-1]
    assert level == "ERROR"
    assert result.stderr == f"diffdecor: {text}\n"


def test_verdicts_are_logged(work):
    log = work / "my.log"
    result = call("verify", *work.arguments()[1:4], *work.arguments()[4:6], "--log-file", log, "-q")
    assert result.exit_code == 0, result.stderr
    level, text = records(log)[-1]
    assert level == "INFO"
    assert text == f"{work / 'difference.fits'}: {result.stdout.strip()}"


def test_every_file_that_is_checked_is_logged(tmp_path):
    noise = np.random.default_rng(8).normal(size=(300, 300)).astype(np.float32)
    fits.PrimaryHDU(noise).writeto(tmp_path / "a.fits")
    (tmp_path / "b.fits").write_text("no image")
    log = tmp_path / "my.log"
    result = call("check", tmp_path / "a.fits", tmp_path / "b.fits", "--log-file", log)
    assert result.exit_code == 3
    verdicts = [one for one in records(log) if re.search("fits: (white|cannot be judged)", one[1])]
    (first, words), (second, problem) = verdicts
    assert (first, second) == ("INFO", "ERROR")
    assert "a.fits: white: max |rho|" in words
    assert "b.fits: cannot be judged: " in problem


UNFIT = {
    "an input": "science.fits",
    "an input by its HDU": "science.fits",
    "the kernel": "kernel.fits",
    "an input by a link": "link",
    "another FITS file": "psf.fits",
    "the output": "out.fits",
    "a part of the result": "part.fits",
    "the configuration": "my.toml",
    "a folder": "folder",
    "a pipe": "pipe",
    "no folder": "nowhere/my.log",
    "below a file": "science.fits/my.log",
    "something binary": "binary",
    "something packed": "packed",
}


@pytest.mark.parametrize("option", ["--log-file", "--log-json"])
@pytest.mark.parametrize("name", UNFIT)
def test_no_log_is_appended_to_what_is_no_log(work, name, option):
    (work / "link").symlink_to("template.fits")
    (work / "folder").mkdir()
    (work / "binary").write_bytes(b"some\0thing")
    (work / "my.toml").write_text("mode = 'whole'\n")
    (work / "packed").write_bytes(gzip.compress(b"text"))
    os.mkfifo(work / "pipe")
    before = {k: v for k, v in described(work.folder).items() if k != "pipe"}
    files = {"science": f"{work / 'science.fits'}[IMAGE]"} if name == "an input by its HDU" else {}
    options = ("--config", work / "my.toml", "--write", f"noisecov={work / 'part.fits'}")
    result = work.run(*options, option, work / UNFIT[name], **files)
    own = {"an input", "an input by its HDU", "the kernel", "an input by a link"}
    expected = 2 if name in own | {"the output", "a part of the result", "the configuration"} else 3
    assert result.exit_code == expected, result.stderr
    (line,) = result.stderr.splitlines()
    assert UNFIT[name].split("/")[0] in line
    assert "name" in line
    assert {k: v for k, v in described(work.folder).items() if k != "pipe"} == before


@pytest.mark.parametrize("option", ["--log-file", "--log-json"])
def test_a_log_that_cannot_be_written_on_ends_with_a_warning(work, monkeypatch, option):
    """The work goes on: it is what counts."""
    write = os.write

    def full(file, content):
        if os.fstat(file).st_ino == (work / "my.log").stat().st_ino:
            raise OSError(28, "No space left on device")
        return write(file, content)

    monkeypatch.setattr(os, "write", full)
    _, result = work.succeeds(option, work / "my.log")
    assert result.stderr.count("my.log: cannot be written: No space left on device") == 1
    assert "Traceback" not in result.stderr


def test_names_that_are_not_utf_8_are_logged(work):
    odd = work / b"odd \xff.fits".decode(errors="surrogateescape")
    odd.write_bytes((work / "difference.fits").read_bytes())
    work.succeeds("--log-file", work / "my.log", difference=odd)
    assert any("odd" in text for _, text in records(work / "my.log"))


@pytest.mark.parametrize("option", ["--log-file", "--log-json"])
@pytest.mark.parametrize("name", ["/dev/stdout", "out.json"])
def test_no_log_among_what_is_printed(work, name, option):
    with (work / "out.json").open("w") as stdout:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "diffdecor"),
                *map(str, work.arguments("--json", option, name)),
            ],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=work.folder,
        )
    assert done.returncode == 3
    assert "standard output" in done.stderr
    assert json_object((work / "out.json").read_text())["exit_code"] == 3
    assert not work.output.exists()


def objects(path):
    """Return the JSON objects of a log, one a line; each has time, level and message first."""
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    found = [json_object(line) for line in lines]
    for one in found:
        assert [*one][:3] == ["time", "level", "message"]
        assert one["time"].endswith("Z")
        assert dt.datetime.fromisoformat(one["time"]).tzinfo is dt.UTC
    return found


def test_a_run_is_logged_as_json(work):
    files = work / "my.log", work / "my.jsonl"
    work.succeeds("--log-file", files[0], "--log-json", files[1], "-q")
    text, found = records(files[0]), objects(files[1])
    assert [(one["level"], one["message"]) for one in found] == text
    last = found[-1]
    assert (last["output"], last["status"]) == (str(work.output), "done")
    assert last["exit_code"] == 0
    assert last["wall_seconds"] > 0
    work.succeeds("--log-json", files[1])
    assert objects(files[1])[-1]["status"] == "already done"
    assert len(objects(files[1])) > len(found)


def test_errors_are_logged_as_json(work):
    log = work / "my.jsonl"
    work.run("--log-json", log, difference=work / "no.fits")
    last = objects(log)[-1]
    assert (last["level"], last["status"], last["exit_code"]) == ("ERROR", "error", 3)
    assert last["output"] == str(work.output)
    work.run("--log-json", log, "--max-factor", "0.01", "--science-psf", work / "psf.fits")
    *_, done, gate = objects(log)
    assert (done["status"], done["exit_code"]) == ("done", 4)
    assert (gate["level"], gate["exit_code"]) == ("ERROR", 4)


def test_checks_and_verdicts_are_logged_as_json(work):
    log = work / "my.jsonl"
    call("verify", *work.arguments()[1:4], *work.arguments()[4:6], "--log-json", log, "-q")
    assert objects(log)[-1]["file"] == str(work / "difference.fits")
    call("check", work / "difference.fits", "--log-json", log, "-q")
    assert objects(log)[-1]["file"] == str(work / "difference.fits")


def test_what_is_no_name_for_a_terminal_is_kept_in_json(work):
    odd = work / b"odd \xff\x1b[1m.fits".decode(errors="surrogateescape")
    odd.write_bytes((work / "difference.fits").read_bytes())
    work.succeeds("--log-json", work / "my.log", difference=odd, output=work / "out\n.fits")
    assert objects(work / "my.log")[-1]["output"] == str(work / "out\n.fits")
    assert all(byte >= 32 or byte == 10 for byte in (work / "my.log").read_bytes())


def test_fields_of_records_are_logged(tmp_path):
    """Whatever fields there are, they replace nothing; numbers that are none are null."""
    from diffdecor.cli import logs

    log = tmp_path / "my.jsonl"
    logs.start(0, quiet=True, json_file=str(log))
    try:
        fields = {"status": "done", "message": "no", "rho": float("nan")}
        logs.to_file("text", "WARNING", fields)
        logging.getLogger("diffdecor.x").info("%d rows", 3, extra={"fields": {"rows": 3}})
    finally:
        logs.stop()
    first, second = objects(log)
    assert (first["message"], first["status"], first["rho"]) == ("text", "done", None)
    assert (second["message"], second["rows"]) == ("3 rows", 3)


def test_both_logs_are_two_files(work):
    for other in ("my.log", "link"):
        (work / "link").unlink(missing_ok=True)
        (work / "link").symlink_to("my.log")
        result = work.run("--log-file", work / "my.log", "--log-json", work / other)
        assert result.exit_code == 2
        assert "is the other log, too; give --log-json another name" in result.stderr
    assert not (work / "my.log").exists()
    assert not work.output.exists()


def test_no_json_is_appended_to_another_text(work):
    (work / "night.csv").write_text("difference,output\n")
    result = work.run("--log-json", work / "night.csv")
    assert result.exit_code == 3
    assert "does not hold JSON objects" in result.stderr


@pytest.mark.parametrize("option", ["--log-file", "--log-json"])
def test_a_line_that_was_torn_stays_alone(work, option):
    torn = '{"time": "2026-11-'
    (work / "my.log").write_text(torn)
    work.succeeds(option, work / "my.log")
    first, *others = (work / "my.log").read_text().splitlines()
    assert first == torn
    assert others
    if option == "--log-json":
        assert all(json.loads(line) for line in others)


def test_lines_of_several_processes_do_not_mix(tmp_path):
    code = (
        "from diffdecor.cli import logs\n"
        "import sys\n"
        "logs.start(0, quiet=True, json_file=sys.argv[1])\n"
        "for number in range(200): logs.to_file(sys.argv[2] * 2000, fields={'n': number})\n"
    )
    log = tmp_path / "my.jsonl"
    started = [subprocess.Popen([sys.executable, "-c", code, log, name]) for name in "ab"]
    assert [process.wait() for process in started] == [0, 0]
    found = objects(log)
    for name in "ab":
        assert [one["n"] for one in found if one["message"] == name * 2000] == list(range(200))
