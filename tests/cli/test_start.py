"""What a process of the command line does before it works, and what it leaves undone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[1] / "data" / "hotpants-a1"
TRIPLE = [str(SAMPLE / f"{role}.fits") for role in ("science", "template", "difference")]
GAINS = ["--science-gain", "1.6", "--template-gain", "6.6"]
#: What is imported of what few commands need.
UNNEEDED = "sorted({'scipy', 'matplotlib', 'jinja2', 'PIL'} & set(sys.modules))"
BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def after(code, *arguments, **environment):
    """Run the command line in a process of its own; return what `code` prints at its end."""
    program = (
        f"import atexit, gc, os, sys\natexit.register(lambda: print({code}))\n"
        f"from diffdecor.__main__ import main\nsys.argv[1:] = {list(arguments)!r}\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in BLAS} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("mode", ["whole", "grid"])
def test_an_ordinary_run_does_without_scipy_and_draws_nothing(tmp_path, mode):
    arguments = ["run", *TRIPLE, *GAINS, "-o", str(tmp_path / "out.fits"), "--mode", mode]
    assert after(f"'numpy' in sys.modules, {UNNEEDED}", *arguments) == "True []"


def test_help_draws_nothing():
    assert after(UNNEEDED, "report", "--help") == "[]"


def test_linear_algebra_gets_one_thread():
    shown = f"[os.environ[name] for name in {BLAS!r}]"
    assert after(shown, "--version") == "['1', '1', '1']"
    assert after(shown, "--version", OMP_NUM_THREADS="3") == "['1', '1', '3']"


def test_garbage_is_collected_once_the_work_begins(tmp_path):
    assert after("gc.isenabled()", "--help") == "False"
    assert after("gc.get_freeze_count() > 1000", "--help") == "True"
    arguments = ["run", *TRIPLE, *GAINS, "-o", str(tmp_path / "out.fits")]
    assert after("gc.isenabled()", *arguments) == "True"


def test_calling_a_command_leaves_the_collector_of_others_alone():
    import gc

    from diffdecor.process import begin_work

    frozen = gc.get_freeze_count()
    assert gc.isenabled()
    begin_work()
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_both_ways_to_start_are_one():
    scripts = [
        [sys.executable, "-m", "diffdecor", "--help"],
        [sys.executable, "-c", "from diffdecor.__main__ import main; main()", "--help"],
    ]
    texts = [subprocess.run(s, capture_output=True, text=True, check=True).stdout for s in scripts]
    assert texts[0] == texts[1]
    assert texts[0].startswith("Usage: diffdecor ")
