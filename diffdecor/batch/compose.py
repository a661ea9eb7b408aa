"""A manifest composed of the files that patterns describe, and written."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffdecor.batch.detectors import DetectorRow, Detectors
from diffdecor.batch.files import absolute, make_folder_of
from diffdecor.batch.manifest import checked_manifest
from diffdecor.batch.matching import DIFFERENCE, Lonely, Matched, match, meaning_of, output_names
from diffdecor.batch.tables import Row, TextTable
from diffdecor.config.kinds import FIT
from diffdecor.errors import ConfigError, InputError, OutputExistsError
from diffdecor.fits.atomic import atomic_output
from diffdecor.fits.paths import are_same_file, split_extension

#: Endings of manifests that are written.
ENDINGS = (".csv", ".ecsv", ".fits")
_ENDING = "_decorr"
_AFTER_FILES = ("output", "joined", "detector")
#: The column of kernels, in which a word may stand for none.
_KERNEL = "kernel"
_FIRST = ("science", "template", "difference", _KERNEL)
#: Names of detectors that a message lists.
_LISTED = 5


@dataclass(frozen=True)
class Composed:
    """The rows of a manifest, their columns by name, and what could not be used."""

    rows: Sequence[Mapping[str, str]]
    #: One line each.
    remarks: Sequence[str]


def compose(patterns: Mapping[str, str], out_dir: str, *, each_hdu: bool) -> Composed:
    """Match files by patterns, which are given by the names of the options that they are for.

    With `each_hdu` there is a row for every detector. Raises what `match` does, and an InputError
    if there would be no rows.
    """
    word = {_KERNEL: FIT} if patterns.get(_KERNEL) == FIT else {}
    patterns = {role: text for role, text in patterns.items() if role not in word}
    matched = match(patterns)
    remarks = [f"{_of_lonely(patterns, one)}; left out" for one in matched.lonely]
    names = [str(Path(out_dir, name + _ENDING)) for name in output_names(matched.matches)]
    # Of an earlier batch, whose outputs the pattern describes, too.
    outputs = {os.path.realpath(f"{name}.fits") for name in names}
    detectors = Detectors()
    rows: list[dict[str, str]] = []
    for one, name in zip(matched.matches, names, strict=True):
        difference = split_extension(one.files[DIFFERENCE])[0]
        if os.path.realpath(difference) in outputs:
            remarks.append(f"{difference}: is an output of this manifest; left out")
        elif each_hdu:
            found, lacking = _of_detectors(detectors, one.files)
            remarks += lacking
            rows += [_row(each, name) for each in found]
        else:
            rows.append(_row(DetectorRow("", one.files), name))
    rows = [{**_named(row), **word} for row in rows]
    if not rows:
        raise _nothing(patterns, matched, remarks)
    return Composed(rows, remarks)


def _of_lonely(patterns: Mapping[str, str], one: Lonely) -> str:
    """Return what to say of a file without partners."""
    if one.expected:
        return f"{one.file}: there is no {' and no '.join(one.expected)}"
    return f"{one.file}: it belongs to none of {_options(patterns, one.missing)}"


def _nothing(patterns: Mapping[str, str], matched: Matched, remarks: Sequence[str]) -> InputError:
    """Return why there would be no rows."""
    if matched.empty:
        hint = next(filter(None, (meaning_of(patterns[role]) for role in matched.empty)), "")
        return InputError(f"{_options(patterns, matched.empty)}: there are no such files{hint}")
    left_out = [_of_lonely(patterns, one) for one in matched.lonely]
    first = (*left_out, *remarks)[0]
    return InputError(f"no files belong together of {_options(patterns, patterns)}: {first}")


def _options(patterns: Mapping[str, str], roles: Sequence[str] | Mapping[str, str]) -> str:
    return " and ".join(f"--{role.replace('_', '-')} {patterns[role]}" for role in roles)


def _of_detectors(
    detectors: Detectors, files: Mapping[str, str]
) -> tuple[Sequence[DetectorRow], list[str]]:
    """Return the rows of files of detectors, and what to say of what they lack."""
    try:
        rows, lacking = detectors.rows(files)
    except InputError as error:
        # The job fails, and its record says why.
        return [DetectorRow("", files)], [f"{error}; its row is of whole files"]
    by_file: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in lacking:
        by_file[one.role, one.file].append(one.detector)
    remarks = []
    for (_, file), names in by_file.items():
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        remarks.append(f"{file}: has no HDU {', '.join(names[:_LISTED])}{more}; left out")
    return rows, remarks


def _named(row: Mapping[str, str]) -> dict[str, str]:
    """Return a row in which no file of a kernel looks like the word for a fit."""
    return {**row, _KERNEL: f"./{FIT}"} if row.get(_KERNEL) == FIT else dict(row)


def _row(one: DetectorRow, name: str) -> dict[str, str]:
    """Return a row with its outputs; `name` is theirs, without what tells detectors and files."""
    if not one.detector:
        return {**one.files, "output": f"{name}.fits"}
    output = f"{name.removesuffix(_ENDING)}_{one.detector}{_ENDING}.fits"
    joined = {"joined": f"{name}.fits", "detector": one.detector}
    return {**one.files, "output": output, **joined}


def check_name(file: str) -> None:
    """Refuse a name of a manifest that says no format; ConfigError."""
    if Path(file).suffix.lower() not in ENDINGS:
        msg = f"{file}: the ending says the format of a manifest; name it .csv, .ecsv or .fits"
        raise ConfigError(msg)


def write_manifest(
    file: str,
    rows: Sequence[Mapping[str, str]],
    *,
    overwrite: bool,
    make_folder: bool = False,
) -> bool:
    """Write rows as a manifest, in the format that its name says; False if it is there already.

    Names in it are relative to it, but where they have nothing in common. ManifestError if there
    could be no batch of it.
    """
    check_name(file)
    inputs = sorted(
        {
            name
            for row in rows
            for role, name in row.items()
            if role not in _AFTER_FILES and _is_file(role, name)
        }
    )
    columns = sorted({column for row in rows for column in row}, key=_rank)
    folder = os.path.realpath(Path(absolute(file)).parent)
    cells = [
        [
            _cell(text := row.get(column, ""), folder, is_file=_is_file(column, text))
            for column in columns
        ]
        for row in rows
    ]
    about = [Row(f"row {number}", tuple(row)) for number, row in enumerate(cells, 1)]
    checked_manifest(file, TextTable("heading", tuple(columns), tuple(about)))
    if make_folder:
        make_folder_of(file)
    content = _content(Path(file).suffix.lower(), columns, cells)
    if not overwrite and not any(are_same_file(file, split_extension(name)[0]) for name in inputs):
        try:
            if Path(file).read_bytes() == content:
                return False
        except OSError:
            pass  # it is not there, or cannot be written either
    try:
        with atomic_output(file, overwrite=overwrite, inputs=inputs) as out:
            out.write(content)
    except OutputExistsError as error:
        if "exists already" not in str(error):
            raise
        msg = f"{file}: exists already, with other rows; use --overwrite to replace it"
        raise OutputExistsError(msg) from None
    return True


def _is_file(column: str, text: str) -> bool:
    """Say whether what is in a column is the name of a file."""
    return column != "detector" and not (column == _KERNEL and text == FIT)


def _rank(column: str) -> tuple[int, str]:
    """Return where a column comes: images, kernel, other files, and outputs last."""
    if column in _FIRST:
        return _FIRST.index(column), ""
    if column in _AFTER_FILES:
        return 100 + _AFTER_FILES.index(column), ""
    return 50, column


def _cell(text: str, folder: str, *, is_file: bool) -> str:
    """Return what a manifest in a folder has for a name, relative to the folder."""
    if not text or not is_file:
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        msg = f"{os.fsencode(text)!r}: its name is not UTF-8, as manifests are; rename it"
        raise InputError(msg) from None
    if text != text.strip() or "\0" in text or len(text.splitlines()) > 1:
        msg = (
            f"{text!r}: a manifest has no names with line breaks, or white space at an end; "
            "rename it"
        )
        raise InputError(msg)
    parent, base = os.path.split(absolute(text))
    # Folders may be links: .. leads up from where they really are.
    place = os.path.join(os.path.realpath(parent) if ".." in text else parent, base)  # noqa: PTH118
    near = os.path.commonpath([place, folder]) != "/"
    name = os.path.relpath(place, folder) if near else place
    # Cells that mean something else than a file of their name.
    return f"./{name}" if name.startswith("#") or name == FIT else name


def _content(ending: str, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> bytes:
    """Return a manifest as it is in its file."""
    if ending == ".csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *cells])
        return text.getvalue().encode()
    from astropy.table import Table

    table = Table(
        rows=[list(row) for row in cells], names=list(columns), dtype=[str] * len(columns)
    )
    if ending == ".ecsv":
        text = io.StringIO()
        table.write(text, format="ascii.ecsv", delimiter=",")
        return text.getvalue().encode()
    binary = io.BytesIO()
    table.write(binary, format="fits")
    return binary.getvalue()
