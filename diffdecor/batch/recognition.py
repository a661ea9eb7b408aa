"""Whether a task is done already, by its record and by what the file system says of its files.

Sizes, times and numbers of files are compared with those of the record, and nothing is opened: that
takes a tenth of a millisecond, where `run_job` takes a tenth of a second to read sums. A file of
which anything differs, as after a restore from a backup, is not taken for changed, only looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from diffdecor.batch.model import FAILED, THERE, Record, Status, Task
from diffdecor.config.kinds import FIT
from diffdecor.config.options import Option, recorded_options
from diffdecor.errors import WhitenessError
from diffdecor.fits.atomic import tidy_output
from diffdecor.fits.paths import split_extension
from diffdecor.images.inferred import MASKS, SIGMAS, names_beside
from diffdecor.images.surveys.recognise import companion_names
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.provenance import ALGORITHM
from diffdecor.pipeline.run import limit_failures

#: A file that is not there, and one of which nothing can be said.
ABSENT: tuple[int, ...] = ()
UNSURE = (-1,)
#: Nanoseconds in which a file may change and keep its time: where times are fine, ticks of the
#: system's clock; else two seconds, as on FAT.
_TICK, _COARSE, _SECOND = 100_000_000, 2_000_000_000, 1_000_000_000
#: Role of a file that is read, but does not count: the options in it do.
_CONFIGURATION = "configuration"


def job_key(job: Job) -> str:
    """Return a sum of all that the results of a job depend on, but the content of its files."""
    values: dict[str, Any] = {
        item.name: _of_option(item.value_in(config), item)
        for config in (job.decorrelation, job.files)
        for item in recorded_options(type(config))
    }
    files = {role: _absolute(file) for role, file in job.images.items()}
    named = {"kernel": job.kernel_file, "output": job.output}
    files |= {role: _absolute(file) for role, file in named.items() if file}
    if job.kernel == FIT:
        values["kernel"] = FIT
    written = {name: _absolute(file) for name, file in job.files.written.items()}
    whole = [ALGORITHM, values, files, written, job.files.strict]
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()


def _of_option(value: object, item: Option) -> object:
    is_file = isinstance(value, str) and (item.is_file or item.name == "cell_centroids")
    return _absolute(value) if is_file else value


def _absolute(file: object) -> str:
    return os.path.abspath(str(file))  # noqa: PTH100  links stay what they are


class Folders:
    """What the file system says at one moment; every folder and file is looked at once."""

    def __init__(self) -> None:
        self._names: dict[str, Collection[str]] = {}
        self._stamps: dict[str, Sequence[int]] = {}

    def names(self, folder: str) -> Collection[str]:
        """Return the names of what is in a folder, nothing if it cannot be read."""
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder or "."))  # noqa: PTH208
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]

    def stamp(self, file: str) -> Sequence[int]:
        """Return the stamp of a file."""
        if file not in self._stamps:
            self._stamps[file] = stamp(file)
        return self._stamps[file]


def stamp(file: str, moment: int | None = None) -> tuple[int, ...]:
    """Return what tells whether a file has changed: its size, time (ns) and number.

    With a `moment` (ns) it is `UNSURE` if the file may have changed after it and kept its time.
    """
    try:
        found = os.stat(file)  # noqa: PTH116  of many files
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except (OSError, ValueError):
        return UNSURE
    if moment is not None and any(
        time > moment - (_TICK if time % _SECOND else _COARSE)
        for time in (found.st_mtime_ns, found.st_ctime_ns)
    ):
        return UNSURE
    return found.st_size, found.st_mtime_ns, found.st_ino


def bare(file: str) -> str:
    """Return the absolute name of a file, without an extension in brackets."""
    return _absolute(split_extension(file)[0]) if file.endswith("]") else _absolute(file)


def named_files(job: Job) -> list[str]:
    """Return the files that a job names, those of its options too."""
    return [file for role, file in job.inputs.items() if role != _CONFIGURATION]


def files_beside(job: Job) -> dict[str, list[str]]:
    """Return the names that would be taken for noise or masks of the images, by their folder."""
    names: dict[str, list[str]] = {}
    for role, image in job.images.items():
        options = getattr(job.files, role)
        folder, name = os.path.split(bare(image))
        found = companion_names(name)
        if job.files.diffcmd:
            ends = (() if options.noise else SIGMAS) + (() if options.mask else MASKS)
            found += [one for packed in names_beside(name, ends) for one in packed]
        names.setdefault(folder, []).extend(found)
    return names


def existing_beside(job: Job) -> list[str]:
    """Return those of `files_beside` that are there, looked for one by one: for a single job."""
    files = [
        os.path.join(folder, name)  # noqa: PTH118  of many names
        for folder, names in files_beside(job).items()
        for name in names
    ]
    return [file for file in files if os.path.lexists(file)]


def recognised(task: Task, record: Record, folders: Folders | None = None) -> Record | None:
    """Return the record of a task that is done already; None if it is to be done, or looked at.

    The output is there, and nothing has changed since it was made; or there were warnings, --strict
    allows none, and nothing has changed since. The limits are those of the task now.
    """
    return None if why_undone(task, record, folders) else judged(task.job, record)


def judged(job: Job, record: Record) -> Record:
    """Return the record of an output that is there, judged by the limits of the job."""
    if record.status not in THERE:
        return record
    too_much = limit_failures(job.files, record.metrics)
    if too_much:
        code = WhitenessError.exit_code
        text = f"{job.output}: its noise is not white enough: {'; '.join(too_much)}"
        return replace(record, status=Status.NOT_WHITE, exit_code=code, error=text)
    status = Status.SKIPPED if record.metrics.get("skipped") else Status.DONE
    return replace(record, status=status, exit_code=0, error="")


def why_undone(task: Task, record: Record | None, folders: Folders | None = None) -> str:
    """Return why a task is to be done, or to be looked at, in a few words; empty if it is done."""
    folders = folders or Folders()
    job = task.job
    if record is None:
        return _without_record(job, folders)
    if record.status not in THERE | {Status.REFUSED}:
        return _failed(record)
    output = bare(job.output)
    if record.status in THERE and not _is_there(output, folders):
        return "missing"
    if record.key != job_key(job):
        return "stale: options, names of files, or the algorithm have changed"
    return _changed(job, record, folders) or _unmeasured(job, record)


def _without_record(job: Job, folders: Folders) -> str:
    return "no record of it" if _is_there(bare(job.output), folders) else "missing"


def _failed(record: Record) -> str:
    if record.status in FAILED:
        return f"failed before: {record.status}, exit code {record.exit_code}"
    return "undone"


def is_there(task: Task, folders: Folders) -> bool:
    """Say whether the output of a task is there, complete or not."""
    return _is_there(bare(task.job.output), folders)


def _is_there(output: str, folders: Folders) -> bool:
    # Of many outputs in a folder: one look at the folder.
    folder, name = os.path.split(output)
    return name in folders.names(folder)


def _changed(job: Job, record: Record, folders: Folders) -> str:
    """Return which file is not as it was, empty if all are."""
    for file, known in record.stamps.items():
        now = folders.stamp(file)
        if tuple(known) == tuple(now) and tuple(now) != UNSURE:
            continue
        if tuple(known) == UNSURE:
            return f"to be looked at: {file} was new when it was read"
        missing = tuple(now) == ABSENT
        return f"stale: {file} {'is missing' if missing else 'has changed'}"
    expected = {*named_files(job), *(job.written if record.status in THERE else ())}
    unknown = [file for file in map(bare, expected) if file not in record.stamps]
    unknown += [
        os.path.join(folder, name)  # noqa: PTH118  of many names
        for folder, names in files_beside(job).items()
        for name in names
        if name in folders.names(folder) and os.path.join(folder, name) not in record.stamps  # noqa: PTH118
    ]
    return f"stale: {unknown[0]} is new" if unknown else ""


def _unmeasured(job: Job, record: Record) -> str:
    """Say whether a limit is of something that was not measured: `run_job` knows what to do."""
    known = record.metrics.get("factor_after") is not None or record.metrics.get("skipped")
    if job.files.max_factor is not None and record.status in THERE and not known:
        return "to be looked at: a limit is of what was not measured"
    return ""


def tidy(task: Task) -> None:
    """Remove what a process that was killed left beside the files of a task."""
    for file in task.job.written:
        tidy_output(file, inputs=task.job.inputs.values())
