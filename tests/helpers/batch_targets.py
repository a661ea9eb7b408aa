"""What a worker's process does in tests: how an order ends is the output's name."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from diffdecor.batch.model import Ended, Order, Record, Status, Task
from diffdecor.pipeline.job import Job

#: For a `Worker`.
TARGET = "helpers.batch_targets:do"


def found(ended):
    """Return what a process found out."""
    return ended.record.metrics["found"]


def order(what, *arguments, folder="/nowhere", **fields):
    """Return an order to do one of the things below."""
    output = str(Path(folder, "-".join([what, *map(str, arguments)])))
    task = Task(number=1, place="line 2", job=Job(difference="d", output=output), output=output)
    return Order(task=task, ledger=Path(folder, "results.jsonl"), since=0, **fields)


def record(given, status=Status.DONE, exit_code=0, **fields):
    return Record(output=given.task.job.output, status=status, exit_code=exit_code, **fields)


def do(given):
    what, *arguments = Path(given.task.job.output).name.split("-")
    if what == "error":
        return Ended(order=given, record=record(given, Status.ERROR, 3, error="bad input"))
    if what in _IN_FOLDER:
        found = _IN_FOLDER[what](Path(given.task.job.output).parent, *arguments)
    else:
        found = _THINGS[what](*arguments)
    return Ended(order=given, record=record(given, metrics={"found": found}))


def _sleep(seconds, *_):
    Path(os.environ.get("DIFFDECOR_TEST_MARK", os.devnull)).write_text(str(os.getpid()))
    time.sleep(float(seconds))


def _kill(number):
    os.kill(os.getpid(), int(number))
    time.sleep(5)


def _deaf(seconds):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(float(seconds))


def _swallow(seconds):
    """Lose the exception of a signal, as a library may."""
    with suppress(SystemExit):
        time.sleep(float(seconds))


def _noise():
    print("from Python")  # noqa: T201
    os.system("echo from C")  # noqa: S605


def _fail():
    msg = "a bug"
    raise RuntimeError(msg)


def _mark(folder, name):
    """Leave the number of the process in a file, and sleep."""
    (folder / f"{name}.mark").write_text(str(os.getpid()))
    time.sleep(60)


def _deaf_mark(folder, name):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _mark(folder, name)


def _meet(folder, own, other):
    """Wait for another task, which waits for this one."""
    (folder / own).touch()
    end = time.monotonic() + 30
    while not (folder / other).exists() and time.monotonic() < end:
        time.sleep(0.01)
    return (folder / other).exists()


_IN_FOLDER = {"mark": _mark, "deafmark": _deaf_mark, "meet": _meet}
_THINGS = {
    "sleep": _sleep,
    "kill": _kill,
    "deaf": _deaf,
    "swallow": _swallow,
    "noise": _noise,
    "fail": _fail,
    "process": lambda *_: os.getpid(),
    "exit": lambda code: os._exit(int(code)),
    "where": lambda: [
        sys.flags.isolated,
        sys.flags.utf8_mode,
        sys.warnoptions,
        os.environ.get("OMP_NUM_THREADS"),
    ],
    "interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
}
