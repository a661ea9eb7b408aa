"""Tasks as command lines, for job arrays, xargs and GNU parallel."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from diffdecor.batch.model import Task
from diffdecor.config.options import Option, options
from diffdecor.errors import ConfigError
from diffdecor.pipeline.job import Job

_PROGRAM = "diffdecor"


def as_arguments(job: Job, *, overwrite: bool = False) -> list[str]:
    """Return the words after ``diffdecor`` that repeat a job.

    Every option is named that is not its default, wherever it came from: so the file of a job's
    `configuration` is not. A ConfigError if there is no command line for the job.
    """
    words = [] if job.kernel is None else ["--kernel", job.kernel]
    words += ["-o", job.output] if job.output else []
    for config in (job.decorrelation, job.files):
        for item in options(type(config)):
            value = item.value_in(config)
            if value != item.default:
                words += _option(item, value)
    words += ["--overwrite"] if overwrite or job.overwrite else []
    words += [] if job.plot is None else ["--plot", job.plot]
    images = list(job.images.values())
    if any(image.startswith("-") for image in images):
        return ["run", *words, "--", *images]
    return ["run", *images, *words]


def commands(tasks: Iterable[Task], *, overwrite: Collection[str] = ()) -> Iterator[str]:
    """Give a line for sh for every task; those of the outputs in `overwrite` replace them.

    It makes the folders of the output first, where these are not there now. Names that are not text
    are in it as Python has them (surrogateescape): `os.fsencode` gives the bytes. A ConfigError if
    a word has a line break, which the readers of lines cannot tell from the end of a command.
    """
    for task in tasks:
        make = _making_folders(task.job)
        words = [_PROGRAM, *as_arguments(task.job, overwrite=task.job.output in overwrite)]
        for word in [*make, *words]:
            if "\n" in word:
                msg = (
                    f"{task.place}: {word!r} has a line break, and commands are printed one a "
                    "line; rename the file"
                )
                raise ConfigError(msg)
        yield " && ".join(shlex.join(part) for part in (make, words) if part)


def _making_folders(job: Job) -> list[str]:
    """Return the words that make the folders that a job writes to, none if they are there."""
    folders = (str(Path(file).absolute().parent) for file in job.written)
    missing = [folder for folder in dict.fromkeys(folders) if not os.path.isdir(folder)]  # noqa: PTH112  Path raises on odd ones
    return ["mkdir", "-p", *missing] if missing else []


def _option(item: Option, value: Any) -> list[str]:  # noqa: ANN401
    """Return the words that give an option its value."""
    if item.is_switch:
        return [item.flag_name if value else f"--no-{item.flag_name[2:]}"]
    if item.kind.several:
        return [word for one in value for word in (item.flag_name, str(one))]
    if item.name == "cell_centroids" and not isinstance(value, str):
        msg = (
            f"{item.flag_name}: positions are not for the command line; write them to a file, and "
            "name it"
        )
        raise ConfigError(msg)
    if value is None:
        msg = f"{item.flag_name}: the command line cannot give it no value"
        raise ConfigError(msg)
    return [item.flag_name, _text(value)]


def _text(value: object) -> str:
    """Return a value as the parsers of options read it."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return repr(value) if isinstance(value, float) else str(value)
