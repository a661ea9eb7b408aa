"""A manifest: a table with a row for every job, checked whole before any work is done.

Its columns are the files of a job and the options of `diffdecor run`, by their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from diffdecor.batch.files import FileNames, Use, absolute, clashes
from diffdecor.batch.model import Task
from diffdecor.batch.tables import ManifestError, Row, TextTable, read_table
from diffdecor.config import DecorrelationConfig, FilesConfig, kinds
from diffdecor.config.flat import JOB_FILES, all_options, own_values, similar_names
from diffdecor.config.options import Option
from diffdecor.errors import ConfigError, DiffdecorError, OutputError
from diffdecor.fits.atomic import name_problem
from diffdecor.fits.paths import split_extension
from diffdecor.pipeline.job import Job

__all__ = ["COLUMNS", "Manifest", "ManifestError", "read_manifest"]

#: Columns that no option of `run` has.
JOINED = Option("", "", kinds.OUTPUT, "File that the output is to be joined into.", name="joined")
DETECTOR = Option("", "", kinds.Kind(str, "NAME"), "What it is called there.", name="detector")
#: Every column by its name; the files of a job come first.
COLUMNS: Mapping[str, Option] = {
    **{item.name: item for item in (*JOB_FILES, JOINED, DETECTOR)},
    **all_options(),
}
#: Columns that are for people.
_REMARKS = {"comment", "comments", "note", "notes"}
_NEEDED = ("difference", "output")
#: Columns of files that are read.
_READ = tuple(
    item.name for item in COLUMNS.values() if item.is_file and item.name not in {"output", "joined"}
)
_OF_JOB = tuple(item.name for item in JOB_FILES)
_SWITCHES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
#: What tables have in place of a number that there is not, if they cannot have empty cells.
_NO_NUMBER = "nan"
#: Separates what an option that may be given several times is given.
_SEVERAL = ";"
#: The folder that options of the command line are relative to.
_CURRENT = "."
_DETECTOR = re.compile(r"(?!\d+$)[\w.-]{1,50}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest that can be worked on."""

    #: Absolute.
    file: Path
    #: In the order of the rows.
    tasks: tuple[Task, ...]


class _Given(NamedTuple):
    """What a row says."""

    row: Row
    number: int
    #: Its cells that are not empty, as values of options.
    values: Mapping[str, Any]
    #: The cell.
    output: str
    problems: Sequence[str]


def read_manifest(
    file: str,
    shared: Mapping[str, Any],
    *,
    configuration: str | None = None,
    own: Mapping[str, str] = MappingProxyType({}),
) -> Manifest:
    """Read a manifest and check all of it: every row is a job that could be done.

    `shared` are values of options that hold for all rows: cells go before them, and empty cells
    mean them; files in it are relative to the current folder, those in cells to the manifest. The
    values may be those of `configuration`, a file that no row may write to. `own` are the files
    that the batch itself writes, by what they are called: no row may have anything to do with them.
    Inputs are not looked for: a job that lacks one fails by itself. ManifestError if anything is
    wrong.
    """
    return checked_manifest(file, read_table(file, _is_heading), shared, configuration, own)


def checked_manifest(
    file: str,
    table: TextTable,
    shared: Mapping[str, Any] = MappingProxyType({}),
    configuration: str | None = None,
    own: Mapping[str, str] = MappingProxyType({}),
) -> Manifest:
    """Return what a table means that is, or will be, in a file; see `read_manifest`."""
    names = _columns(file, table)
    if not table.rows and not table.problems:
        raise ManifestError(file, ["there are no rows in it, only the heading"])
    folder = str(Path(absolute(file)).parent)
    given = [_given(row, number, names, folder) for number, row in enumerate(table.rows, 1)]
    shared = _absolute_values(_hashable(shared))
    _refuse_shared_parts(file, shared, given)
    jobs = _Jobs(shared, configuration and absolute(configuration))
    problems = list(table.problems)
    tasks = []
    for one in given:
        task, found = jobs.task(one)
        problems += [f"{one.row.place}: {text}" for text in found]
        if task is not None:
            tasks.append(task)
    written = _absolute_files(own)
    uses = [Use("the batch", written, {}), *(_use(one, shared) for one in given)]
    problems += clashes(uses, jobs.kept(file), FileNames())
    if problems:
        raise ManifestError(file, sorted(problems, key=_place))
    return Manifest(file=Path(absolute(file)), tasks=tuple(tasks))


def _hashable(value: Any) -> Any:  # noqa: ANN401  of any option
    """Return the values of options with tuples for lists, which a file of options has."""
    if isinstance(value, Mapping):
        return {name: _hashable(one) for name, one in value.items()}
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _refuse_shared_parts(file: str, shared: Mapping[str, Any], given: Sequence[_Given]) -> None:
    """Refuse parts that hold for all rows: they would all write one file."""
    if shared.get("write") and sum("write" not in one.values for one in given) > 1:
        texts = " ".join(f"--write {text}" for text in shared["write"])
        problem = f"{texts} would be one file for all rows; give the manifest a column write"
        raise ManifestError(file, [problem])


def _is_heading(cells: Sequence[str]) -> bool:
    """Say whether these are the names of columns."""
    return "difference" in map(_name, cells)


def _name(column: str) -> str:
    """Return the name of an option as Python has it."""
    return column.strip().lower().replace("-", "_")


def _place(problem: str) -> int:
    """Return the number of the line or row that a problem is in."""
    digits = problem.partition(":")[0].rpartition(" ")[2]
    return int(digits) if digits.isdecimal() else 0


def _columns(file: str, table: TextTable) -> list[str | None]:
    """Return the names of the columns; None for those that are for people."""
    names: list[str | None] = []
    problems = []
    for number, column in enumerate(table.columns):
        name = _name(column)
        if name.startswith("#") or name in _REMARKS:
            names.append(None)
            continue
        if not name and not any(row.cells[number] for row in table.rows):
            names.append(None)
            continue
        if not name:
            problems.append(
                f"column {number + 1} has no name, and is not empty; name or remove it (pandas "
                "writes no such column with index=False)"
            )
        elif name in names:
            problems.append(f"the column {column} is there twice")
        elif name not in COLUMNS:
            like = similar_names(name, COLUMNS) or (
                "; begin its name with # if it is not meant to be one"
            )
            problems.append(f"there is no option {column} of diffdecor run{like}")
        names.append(name)
    problems += [f"there is no column {name}" for name in _NEEDED if name not in names]
    if problems:
        raise ManifestError(file, [f"{table.place}: {text}" for text in problems])
    return names


def _given(row: Row, number: int, names: Sequence[str | None], folder: str) -> _Given:
    """Read the cells of a row; their paths become absolute."""
    values: dict[str, Any] = {}
    problems = []
    for name, cell in zip(names, row.cells, strict=True):
        if name is None or not cell:
            continue
        item = COLUMNS[name]
        if cell.lower() == _NO_NUMBER and not item.is_file and name != "detector":
            continue
        try:
            values[name] = _value(item, cell, folder)
        except ValueError as error:
            shown = name.replace("_", "-") if name in _OF_JOB else item.flag_name
            problems.append(f"{shown} is {kinds.shown(cell)}: {error}")
    return _Given(row, number, values, row.cells[names.index("output")], problems)


def _value(item: Option, cell: str, folder: str) -> Any:  # noqa: ANN401  of any option
    """Return what a cell says; ValueError if it is nothing that its option takes."""
    if item.is_switch:
        if cell.lower() not in _SWITCHES:
            msg = "expected true or false"
            raise ValueError(msg)
        return _SWITCHES[cell.lower()]
    if item.kind.several:
        texts = [text.strip() for text in cell.split(_SEVERAL) if text.strip()]
        item.kind.parse(texts)
        return _placed(item, texts, folder)
    return _placed(item, item.kind.parse(cell), folder)


def _placed(item: Option, value: Any, folder: str) -> Any:  # noqa: ANN401  of any option
    """Return a value of an option with absolute names of files."""
    if item.kind.several:
        pairs = (text.partition("=") for text in value)
        return tuple(f"{name.strip()}={_absolute(file.strip(), folder)}" for name, _, file in pairs)
    return _absolute(value, folder) if item.names_file(value) else value


def _absolute_values(shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return values that hold for all rows with absolute names of files."""
    return {name: _placed(COLUMNS[name], value, _CURRENT) for name, value in shared.items()}


def _absolute(file: str, folder: str) -> str:
    """Return the absolute name of a file that is named relative to a folder."""
    # Not with pathlib, which forgets that a name ends with a slash.
    if folder == _CURRENT and not file.startswith("/"):
        return absolute(file) + "/" * file.endswith("/")
    return file if file.startswith("/") else f"{folder.rstrip('/')}/{file.removeprefix('./')}"


def _absolute_files(files: Mapping[str, str]) -> dict[str, str]:
    return {name: _absolute(file, _CURRENT) for name, file in files.items()}


def _use(one: _Given, shared: Mapping[str, Any]) -> Use:
    """Return the files that a row names, also where something else is wrong with it."""
    written = {"output": one.values["output"]} if "output" in one.values else {}
    for text in one.values.get("write", shared.get("write", ())):
        name, _, file = text.partition("=")
        written[f"--write {name}"] = file
    return Use(
        place=one.row.place,
        written=written,
        read=_read(one.values),
        joined=one.values.get("joined", ""),
        detector=one.values.get("detector", ""),
    )


def _read(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that are read, of the values of options, by the names of these."""
    return {name: values[name] for name in _READ if COLUMNS[name].names_file(values.get(name))}


class _Jobs:
    """Makes the tasks of rows; those with the same values share their configs."""

    def __init__(self, shared: Mapping[str, Any], configuration: str | None) -> None:
        self._files = {name: shared[name] for name in _OF_JOB if name in shared}
        options = {name: value for name, value in shared.items() if name not in _OF_JOB}
        self._shared = {"threads": 1, **options}
        self._configuration = configuration
        self._configs = cache(self._make)

    def kept(self, manifest: str) -> dict[str, str]:
        """Return the files that are not to be written: the manifest, and inputs of all rows."""
        kept = {"the manifest": absolute(manifest)}
        if self._configuration:
            kept["the file of options"] = self._configuration
        shared = {**self._files, **self._shared}
        named = _read(shared)
        return kept | {f"--{name.replace('_', '-')}": file for name, file in named.items()}

    def task(self, one: _Given) -> tuple[Task | None, Sequence[str]]:
        """Return the task of a row, or what is wrong with the row."""
        if one.problems:
            return None, one.problems
        named = self._files | {name: one.values[name] for name in _OF_JOB if name in one.values}
        problems = _missing(named)
        if problems:
            return None, problems
        values = {**self._shared, **one.values}
        try:
            job = Job(
                **named,
                configuration=self._configuration,
                decorrelation=self._config(DecorrelationConfig, values),
                files=self._config(FilesConfig, values),
            )
            task = Task(
                number=one.number,
                place=one.row.place,
                job=job,
                output=one.output,
                joined=one.values.get("joined", ""),
                detector=one.values.get("detector", ""),
            )
            _check(task)
        except DiffdecorError as error:
            return None, [str(error)]
        return task, ()

    def _config(self, config_type: type, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
        return self._configs(config_type, tuple(own_values(config_type, values).items()))

    @staticmethod
    def _make(config_type: type, items: Sequence[tuple[str, Any]]) -> Any:  # noqa: ANN401
        make = FilesConfig.of if config_type is FilesConfig else config_type
        return make(**dict(items))


def _missing(named: Mapping[str, str]) -> list[str]:
    """Return what a row lacks: it is a triple, or a difference alone."""
    problems = [f"there is no {name}" for name in _NEEDED if name not in named]
    for name, other in (("science", "template"), ("template", "science")):
        if name in named and other not in named:
            problems.append(f"there is {name} and no {other}; give both, or the difference alone")
    return problems


def _check(task: Task) -> None:
    """Refuse what cannot be done whatever the files hold: in the words of `run`."""
    from diffdecor.pipeline.inputs import check_alone
    from diffdecor.pipeline.parts import check_exclusive

    job = task.job
    for file in filter(None, (*job.written, task.joined)):
        problem = name_problem(file, packable=True) or _bracketed(file)
        if problem is not None:
            raise problem
    check_exclusive(job)
    _refuse_twice(job)
    if job.is_alone:
        check_alone(job)
    if bool(task.joined) != bool(task.detector):
        msg = "joined and detector belong together; give both or neither"
        raise ConfigError(msg)
    if task.detector and not _DETECTOR.fullmatch(task.detector):
        msg = (
            f"detector is {kinds.shown(task.detector)}: expected the name of an HDU: letters, "
            "digits, - . _, not only digits, and at most 50"
        )
        raise ConfigError(msg)


def _refuse_twice(job: Job) -> None:
    """Refuse an image in two roles, as of patterns that describe the same files."""
    roles = {file: role for role, file in job.images.items()}
    for role, file in job.images.items():
        if roles[file] != role:
            msg = f"{role} and {roles[file]} are one file, {file}; name the images of a triple"
            raise ConfigError(msg)


def _bracketed(file: str) -> OutputError | None:
    """Refuse brackets in the name of an output, which would be read as those of an HDU."""
    if split_extension(file)[1] is None:
        return None
    return OutputError(f"{file}: the output is a whole file; leave out the brackets")
