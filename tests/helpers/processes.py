"""Processes in tests: start them, wait for what they do, see whether they are gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
#: What a process of its own finds: as little as possible of what is set here.
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": os.environ.get("HOME", "/"),
    # Without it free-threaded Python warns of modules that want its lock.
    **{name: value for name, value in os.environ.items() if name == "PYTHON_GIL"},
}


def wait_until(is_so, seconds=60):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def heeding():
    """Heed the signals that tests in the background, or of `nohup`, and their children ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def is_gone(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    # What nobody waits for stays as a zombie where process 1 is an ordinary program.
    # It can be waited for when its last thread has ended.
    stat, tasks = (Path(f"/proc/{number}/{name}") for name in ("stat", "task"))
    try:
        is_dead = stat.read_text().rpartition(")")[2].split()[0] in "ZX"
        return is_dead and len(list(tasks.iterdir())) == 1
    except OSError:  # now it is gone, or there is no /proc
        return tasks.parent.parent.exists()


def python(code, *flags, **options):
    """Start Python with the tests' helpers on its path, to use workers as another program does."""
    head = f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
    options.setdefault("preexec_fn", heeding)
    return subprocess.Popen(
        [sys.executable, *flags, "-c", head + code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
