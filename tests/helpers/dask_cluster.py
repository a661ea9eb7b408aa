"""A Dask scheduler and workers that are started from the shell, and tasks to be done there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from helpers.processes import TESTS, wait_until

from diffdecor.batch.model import Ended, Order, Record, Status, Task
from diffdecor.pipeline.job import Job

TARGET = "helpers.dask_cluster:do"
# Seconds until a test gives up.
PATIENCE = 60.0


def order(folder, number, manner="", tries=1):
    """A task that writes a file; in what manner is told by its `detector`."""
    output = str(folder / f"out{number}")
    return Order(
        task=Task(
            number=number,
            place=f"line {number + 1}",
            job=Job(difference="difference.fits", output=output),
            output=Path(output).name,
            detector=manner,
        ),
        ledger=folder / "results.jsonl",
        since=0,
        tries=tries,
    )


def do(one):
    """Do a task of `order`, as `work.do` does: not what has been done already."""
    output = Path(one.task.job.output)
    _note(output, f"begun {os.getpid()} {os.getppid()}")
    manner, _, rest = one.task.detector.partition(" ")
    if manner == "wait" and not output.exists():
        wait_until(Path(rest).exists)
    elif manner == "die":
        os.kill(os.getpid(), int(rest))
    elif manner == "hang":
        time.sleep(1000)
    if not output.exists():
        output.write_text(f"result {one.task.number}")
        _note(output, "done")
    record = Record(output=str(output), status=Status.DONE, exit_code=0)
    return Ended(order=one, record=record)


def _note(output, line):
    with output.with_suffix(".log").open("a") as log:
        log.write(f"{line}\n")


def notes(output):
    """What was done about an output: pairs of a word and numbers of processes."""
    try:
        lines = Path(output).with_suffix(".log").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [line.split() for line in lines]


def has_begun(output):
    return any(note[0] == "begun" for note in notes(output))


class Cluster:
    """A scheduler, and workers with one thread each; a context that kills what is left of them."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.scheduler = None
        self.workers = []

    def __enter__(self):
        self.start_scheduler()
        return self

    def __exit__(self, *_):
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()

    def _start(self, command, *options, path=str(TESTS)):
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([path, os.environ.get("PYTHONPATH", "")])
        }
        with (self.folder / f"{command}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{command}", *options],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start_scheduler(self):
        self.file.unlink(missing_ok=True)
        self.scheduler = self._start(
            *("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
            *("--scheduler-file", str(self.file)),
        )

    def start_worker(self, **about):
        """Start one that is a single process, which a test can kill."""
        worker = self._start(
            *("worker", "--scheduler-file", str(self.file), "--nthreads", "1", "--no-nanny"),
            *("--no-dashboard", "--memory-limit", "0", "--death-timeout", "60"),
            **about,
        )
        self.workers.append(worker)
        return worker

    def kill(self, process):
        process.send_signal(signal.SIGKILL)
        process.wait()
