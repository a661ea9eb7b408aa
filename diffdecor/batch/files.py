"""Files of many jobs: which names mean one file, and whether jobs are in each other's way."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from diffdecor.batch.model import Task
from diffdecor.fits.paths import split_extension


class FileNames:
    """Tells files apart, whatever their names: by links, or with ``..`` in them.

    Folders are listed once each, so that thousands of files take no time, on network file systems
    either.
    """

    def __init__(self) -> None:
        self._folder = cache(self._listed)

    def file(self, name: str) -> Hashable:
        """Return what all names of a file have in common; it need not be there."""
        folder, base = os.path.split(name)
        if base in {"", ".", ".."}:
            return os.path.realpath(name)
        key, there = self._folder(folder)
        if base not in there:
            return key, base
        number = there[base]
        # Of a link, the file that it leads to.
        return self.file(os.path.realpath(name)) if number is None else (key[0], number)

    @staticmethod
    def _listed(folder: str) -> tuple[tuple[Hashable, ...], dict[str, int | None]]:
        """Return what tells a folder, its device first, and the numbers of the files in it.

        Of a link there is no number.
        """
        there: dict[str, int | None] = {}
        try:
            state = Path(folder).stat()
        except OSError:
            return (None, os.path.realpath(folder)), there
        with suppress(OSError), os.scandir(folder or ".") as entries:
            there = {one.name: None if one.is_symlink() else one.inode() for one in entries}
        return (state.st_dev, state.st_ino), there


def clashes(tasks: Sequence[Task], kept: Sequence[str], names: FileNames) -> list[str]:
    """Return a problem for every file that is written twice, or written and read.

    Each begins with the place of the task that must write elsewhere. Of inputs it counts what the
    tasks name; those that are `kept` must not be written either.
    """
    written: dict[Hashable, tuple[Task, str]] = {}
    problems = []
    for task in tasks:
        for what, file in _written(task):
            other, role = written.setdefault(names.file(file), (task, what))
            if (other, role) != (task, what):
                problems.append(f"{task.place}: {what} {file} is {role} of {other.place}, too")
    joined = {names.file(task.joined): task for task in tasks if task.joined}
    for key in written.keys() & joined.keys():
        task, what = written[key]
        problems.append(f"{task.place}: {what} is the joined file of {joined[key].place}, too")
    parts: set[tuple[Hashable, str]] = set()
    for task in tasks:
        part = (names.file(task.joined), task.detector.upper())
        if task.joined and part in parts:
            problems.append(f"{task.place}: there is another detector {task.detector} of this file")
        parts.add(part)
    return problems + _read_and_written(tasks, kept, names, written, joined)


def _written(task: Task) -> Iterator[tuple[str, str]]:
    """Give every file that a task writes, and what it is."""
    yield "output", task.job.output
    for name, file in task.job.files.written.items():
        yield f"--write {name}", file


def _read_and_written(
    tasks: Sequence[Task],
    kept: Sequence[str],
    names: FileNames,
    written: dict[Hashable, tuple[Task, str]],
    joined: dict[Hashable, Task],
) -> list[str]:
    """Return a problem for every file that is written and read."""
    targets = {key: (task, "joined") for key, task in joined.items()} | written
    seen: dict[str, str] = {}
    for file in kept:
        seen.setdefault(file, "the manifest, or a file of options")
    for task in tasks:
        for role, file in task.job.inputs.items():
            seen.setdefault(file, f"{role.replace('_', '-')} of {task.place}")
    problems = {}
    for file, what in seen.items():
        key = names.file(str(split_extension(file)[0]) if file.endswith("]") else file)
        if key in targets and key not in problems:
            task, role = targets[key]
            problems[key] = f"{task.place}: {role} {file} is an input: {what}"
    return list(problems.values())
