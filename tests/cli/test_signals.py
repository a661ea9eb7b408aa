"""Runs that are stopped at any moment, and messages that nobody can read."""

import os
import random
import re
import signal
import time

import pytest
from astropy.io import fits
from helpers.workplace import call, described, verify

from diffdecor.cli.text import printable

KILLS = int(os.environ.get("DIFFDECOR_KILLS", "8"))
SIGNALS = ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"]
# A run of the script, whose file of the output says when it appears.
BOMB = """
import os, signal, sys
from diffdecor.fits import atomic
moment, number = sys.argv.pop(1), getattr(signal, sys.argv.pop(1))
times = int(sys.argv.pop(1))
def stop():
    for _ in range(times):
        os.kill(os.getpid(), number)
real_part, real_named = atomic._part, atomic._named
def part(*arguments):
    context = real_part(*arguments)
    enter = context.__enter__
    class Opened:
        def __enter__(self):
            file = enter()
            stop()
            return file
        def __exit__(self, *about):
            return context.__exit__(*about)
    return Opened()
def named(*arguments, **options):
    if moment == "before the rename":
        stop()
    real_named(*arguments, **options)
    if moment == "after the rename":
        stop()
if moment == "part":
    atomic._part = part
atomic._named = named
if moment == "swallowed":
    import numpy
    real = numpy.fft.rfft2
    from diffdecor.pipeline import run
    prepare = run.prepare
    def swallowed(subtraction):
        try:
            stop()
        except BaseException:
            pass
        return prepare(subtraction)
    run.prepare = swallowed
if moment == "turned":
    from diffdecor.pipeline import run
    def turned(subtraction):
        try:
            stop()
        except BaseException as error:
            raise RuntimeError("something else") from error
    run.prepare = turned
from diffdecor.__main__ import main
main()
"""


def hidden(folder):
    return [path.name for path in folder.glob(".*")]


def of_python(err):
    """Whether an interrupt came while Python started, before our own code could do anything."""
    return "KeyboardInterrupt" in err and not re.search(
        r"diffdecor.(\w+.)?(?!__main__)\w+\.py", err
    )


def seen(folder):
    return {name: sum_ for name, sum_ in described(folder).items() if not name.startswith(".")}


def test_runs_killed_at_random_moments_lose_nothing(work, process):  # noqa: PLR0915
    """The exit code says what is there: the new output where it is 0, else the old one."""
    rng = random.Random(12)  # noqa: S311
    work.succeeds("--variance", "weighted")
    old = work.output.read_bytes()
    started = time.monotonic()
    done = process(*work.arguments("--overwrite"))
    done.communicate()
    assert done.returncode == 0
    usual = time.monotonic() - started
    new = fits.getdata(work.output, "IMAGE").tobytes()
    codes = []
    for number in range(KILLS):
        work.output.write_bytes(old)
        before, left = seen(work.folder), set(hidden(work.folder))
        running = process(*work.arguments("--overwrite"))
        name = SIGNALS[number % len(SIGNALS)]
        time.sleep(rng.uniform(0.0, 1.1) * usual)
        running.send_signal(getattr(signal, name))
        _, err = running.communicate(timeout=60)
        codes.append(running.returncode)
        value = int(getattr(signal, name))
        if of_python(err):
            continue
        assert running.returncode in {0, -value, 128 + value}
        if running.returncode == 0:
            assert fits.getdata(work.output, "IMAGE").tobytes() == new
        elif name != "SIGKILL":
            # What a run left that was killed before may stand until one has written its output.
            assert set(hidden(work.folder)) <= left
            assert seen(work.folder) == before
        assert "Traceback" not in err
        assert len(err.splitlines()) <= 1
    assert len(set(codes)) > 2
    work.succeeds("--overwrite")
    assert hidden(work.folder) == []
    assert fits.getdata(work.output, "IMAGE").tobytes() == new


@pytest.mark.parametrize(
    ("moment", "name", "times"),
    [
        *(("part", name, 1) for name in SIGNALS),
        *(("before the rename", name, 1) for name in SIGNALS),
        *(("after the rename", name, 1) for name in SIGNALS[:2]),
        *(pytest.param("after the rename", n, 1, marks=pytest.mark.long) for n in SIGNALS[2:]),
        *((moment, "SIGINT", 2) for moment in ("part", "swallowed", "turned")),
        *((moment, "SIGTERM", 2) for moment in ("part", "swallowed", "turned")),
    ],
)
def test_the_code_says_whether_the_output_is_complete(work, process, moment, name, times):
    before = described(work.folder)
    arguments = [moment, name, times, *work.arguments()]
    running = process("-c", BOMB, *arguments, module=False)
    out, err = running.communicate(timeout=60)
    assert out == ""
    if name == "SIGKILL":
        assert running.returncode == -signal.SIGKILL
        work.succeeds()
    elif moment in {"before the rename", "after the rename"}:
        # It comes when the output is complete, or too late to stop that.
        assert (running.returncode, err) == (0, "")
    else:
        value = int(getattr(signal, name))
        said = "diffdecor: interrupted\n" if name == "SIGINT" else ""
        assert (running.returncode, err) == (128 + value, said)
        assert described(work.folder) == before
        work.succeeds()
    verify(work.output)
    assert hidden(work.folder) == []


def test_two_signals_in_a_row_leave_nothing(work, process):
    rng = random.Random(5)  # noqa: S311
    before = described(work.folder)
    for number in range(max(4, KILLS // 6)):
        running = process(*work.arguments())
        time.sleep(rng.uniform(0.15, 0.6))
        for gap in (0.0, 0.02):
            time.sleep(gap)
            running.send_signal([signal.SIGTERM, signal.SIGINT][number % 2])
        _, err = running.communicate(timeout=60)
        assert of_python(err) or "Traceback" not in err
        assert hidden(work.folder) == []
        if running.returncode == 0:
            work.output.unlink()
        assert described(work.folder) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize(
    ("options", "code"),
    [
        *(([], 0), (["-vv"], 0), (["--max-rho", "-1"], 2), (["--convolved"], 2)),
        (["--template-psf", "missing.fits"], 3),
    ],
)
def test_a_full_stderr_changes_no_exit_code(work, process, options, code):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        running = process(*work.arguments(*options), stderr=full)
        running.communicate()
    assert running.returncode == code
    assert work.output.exists() == (code == 0)


def test_control_characters_never_reach_a_terminal(work, tmp_path):
    assert printable("a\x1b[31mred\x07\x9b1m\u202etxt\tb\nc") == "a?[31mred??1m?txt\tb\nc"
    name = tmp_path / "bad\x1b[2Jname\n.fits"
    for result in (
        call("run", name, name, name, "-o", work.output),
        call("check", name),
        call("kernel", "info", name),
    ):
        assert result.exit_code == 3
        assert "\x1b" not in result.stdout + result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_plots_write_nothing_to_the_home_folder(work, process, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    home = tmp_path / "home"
    home.mkdir()
    work.succeeds()
    jobs = [
        ("check", work.output, "--plot", tmp_path / "check.png"),
        (*work.arguments(), "--plot", tmp_path / "run.png"),
        ("report", work.output, "-o", tmp_path / "report.html"),
    ]
    for arguments in jobs:
        running = process(*arguments, env={"HOME": str(home)})
        _, err = running.communicate(timeout=100)
        assert running.returncode in {0, 4}, err
    assert (tmp_path / "check.png").stat().st_size > 1000
    # Older versions of astropy make a folder of their own when they are imported.
    assert {path.name for path in home.iterdir()} <= {".astropy"}


def test_names_with_dollars_are_no_formulas(work, tmp_path):
    pytest.importorskip("matplotlib")
    odd = work / "k$_{x}^$ernel$ $a_{1}^$ b.fits"
    (work / "kernel.fits").rename(odd)
    work.succeeds(kernel=odd)
    out = work / "o$_{x}^$ $a_{1}^$ b.fits"
    work.output.rename(out)
    for command in (("kernel", "plot", odd, "-o"), ("check", out, "--plot")):
        done = call(*command, tmp_path / "drawn.png")
        assert done.exit_code == 0, done.stderr
        assert (tmp_path / "drawn.png").stat().st_size > 1000
        (tmp_path / "drawn.png").unlink()
