"""Any table as rows of texts, each with its place in the file: what messages name.

Texts with separated cells are read here, for astropy tells neither the lines nor "001" from 1. All
other tables are read by astropy, and what is a number there becomes the shortest text of it.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from diffdecor.config.kinds import shown
from diffdecor.errors import ConfigError, DiffdecorError
from diffdecor.fits.paths import split_extension

#: Bytes; 10 000 rows take a few million.
_LARGEST = 256 << 20
#: Characters of what is said of a row: some names are long.
_LONGEST = 1000
_GZIP_MAGIC = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: Characters that may separate cells. White space comes last: it may also be within cells.
_DELIMITERS = (",", ";", "\t", " ")
#: A heading in which white space separates the names has nothing but names in it.
_WORD = re.compile(r"[\w#][\w-]*$")
#: Formats that are no texts, by how their files begin.
_BINARY = {b"\x89HDF": "hdf5", b"PAR1": "parquet"}
_ECSV = re.compile(r"#\s*%ECSV\b")
_ECSV_DELIMITER = re.compile(r"^#\s*delimiter:\s*(['\"]?)(.)\1\s*$", re.MULTILINE)


class ManifestError(ConfigError):
    """A manifest that cannot be worked on; `problems` has everything that is wrong with it."""

    def __init__(self, file: str | Path, problems: Sequence[str]) -> None:
        """Keep the problems, each of one line that begins with its place, where it has one."""
        self.file = str(file)
        self.problems = tuple(map(_one_line, problems))
        more = len(self.problems) - 1
        rest = f" (and {more} more problem{'s' if more > 1 else ''})" if more > 0 else ""
        super().__init__(f"{file}: {self.problems[0]}{rest}")


def _one_line(text: str) -> str:
    """Return a text without line breaks, no longer than anybody reads."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


class Row(NamedTuple):
    """A row of a table."""

    #: "line 12", or "row 11" where there are no lines, or they are not known.
    place: str
    #: Texts without white space around them; empty where there is nothing.
    cells: tuple[str, ...]


class TextTable(NamedTuple):
    """A table, every cell of which is a text."""

    #: The place of the heading, like that of a row.
    place: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    #: What is to be said of rows with too few cells or too many, which are not among `rows`.
    problems: tuple[str, ...] = ()


def read_table(file: str, is_heading: Callable[[Sequence[str]], bool]) -> TextTable:
    """Read a table of any format; `is_heading` says of cells of a text whether they are names.

    Of texts, lines that begin with ``#`` and blank lines do not count. ManifestError if the file
    cannot be read, or is no table with such a heading.
    """
    path, extension = split_extension(file)
    content = _content(file, path)
    if content is None or extension is not None or b"<VOTABLE" in content[:4096]:
        return _typed(file, path)
    text = _decoded(file, content)
    for delimiter in _delimiters(text):
        table = _separated(file, text, delimiter, is_heading)
        if table is not None:
            return table
    return _guessed(file, text, is_heading)


def _content(file: str, path: Path) -> bytes | None:
    """Return what is in a text, gzipped or not; None for files that are no text."""
    try:
        # Opening a pipe would wait for a writer; and results are written beside the manifest.
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ManifestError(file, ["is not a regular file; write it to disk first"])
        with path.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
    except OSError as error:
        raise ManifestError(file, [f"cannot read the manifest: {error.strerror}"]) from None
    if content.startswith(_GZIP_MAGIC):
        import gzip

        with _damage_named(file), gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
            content = unpacked.read(_LARGEST + 1)
    if content.startswith(_UTF16):
        raise ManifestError(file, ["it is text in UTF-16; save it as CSV in UTF-8"])
    if not content.strip():
        raise ManifestError(file, ["it is empty; a manifest has a heading, and a row for each job"])
    if content.startswith(b"SIMPLE") or b"\0" in content[:4096]:
        return None
    if len(content) > _LARGEST:
        raise ManifestError(file, [f"more than {_LARGEST} bytes are no manifest"])
    return content


def _decoded(file: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(content[: error.start + 1].splitlines())
        problem = f"line {line}: not text in UTF-8, as manifests are; save it in UTF-8"
        raise ManifestError(file, [problem]) from None


def _delimiters(text: str) -> Sequence[str]:
    """Return what may separate the cells of a text: of ECSV its header says it."""
    if not _ECSV.match(text):
        return _DELIMITERS
    stated = _ECSV_DELIMITER.search(text)
    return (stated[2] if stated else " ",)


class _Lines:
    """The lines of a text for a `csv.reader`, which takes several where a cell has line breaks.

    What does not count is left out only where a record begins.
    """

    def __init__(self, text: str, delimiter: str) -> None:
        # Line breaks within cells stay what they are.
        self._lines = iter(io.StringIO(text, newline=""))
        self._delimiter = delimiter
        self._number = 0
        #: The line in which the last record begins.
        self.start = 0
        self.between = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Return the next line that counts."""
        for line in self._lines:
            self._number += 1
            if self.between and (not line.strip() or line.lstrip().startswith("#")):
                continue
            if self.between:
                self.start, self.between = self._number, False
            return line if self._delimiter != " " else self._spaced(line)
        raise StopIteration

    @staticmethod
    def _spaced(line: str) -> str:
        """Return a line in which single spaces separate cells, but for what is in quotes."""
        return line.replace("\t", " ").strip() + "\n" if '"' in line else " ".join(line.split())


def _separated(
    file: str, text: str, delimiter: str, is_heading: Callable[[Sequence[str]], bool]
) -> TextTable | None:
    """Read a text whose cells are separated by a character; None if its heading is not."""
    lines = _Lines(text, delimiter)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    columns: tuple[str, ...] = ()
    place = ""
    rows: list[Row] = []
    problems: list[str] = []
    while True:
        lines.between = True
        try:
            cells = tuple(cell.strip() for cell in next(reader))
        except StopIteration:
            return TextTable(place, columns, tuple(rows), tuple(problems)) if columns else None
        except csv.Error as error:
            if not columns:
                return None
            problem = f"line {lines.start}: {error}; is a quotation mark not closed, or misplaced?"
            raise ManifestError(file, [*problems, problem]) from None
        if not columns:
            if not is_heading(cells) or (delimiter == " " and not all(map(_WORD.match, cells))):
                return None
            columns, place = cells, f"line {lines.start}"
        elif any(cells[len(columns) :]) or len(cells) < len(columns):
            problems.append(
                f"line {lines.start}: it has {len(cells)} cells, and the heading {len(columns)}"
            )
        elif any(cells):  # programs of spreadsheets leave rows of delimiters behind
            rows.append(Row(f"line {lines.start}", cells[: len(columns)]))


def _guessed(file: str, text: str, is_heading: Callable[[Sequence[str]], bool]) -> TextTable:
    """Read a text of another format that astropy knows, every column as text."""
    first = next((line for line in text.splitlines() if line.strip()), "").strip()
    problem = (
        "there is no heading with the names of columns, difference and output at least, but "
        f"{shown(first)}; write the manifest as CSV, or with diffdecor manifest"
    )
    if "difference" not in text.lower():  # guessing takes its time
        raise ManifestError(file, [problem])
    from astropy.io import ascii as tables
    from astropy.io.ascii import convert_numpy

    from diffdecor.fits.damage import UNREADABLE
    from diffdecor.fits.open import quiet_astropy

    as_text = {"converters": {"*": [convert_numpy(str)]}, "fill_values": []}
    # Formats that say what their columns are allow no other converters; one is never guessed.
    for how in (as_text, {}, {"format": "fixed_width", **as_text}):
        with suppress(*UNREADABLE), quiet_astropy(file):
            table = tables.read(text.splitlines(), **how)
            if is_heading(table.colnames):
                return _of_astropy(file, table)
    raise ManifestError(file, [problem])


def _typed(file: str, path: Path) -> TextTable:
    """Read a table that is no text, and has columns of types."""
    from astropy.table import Table

    from diffdecor.fits.open import FITS_STARTS, find_extension, open_fits, quiet_astropy

    with _damage_named(file), quiet_astropy(file):
        with path.open("rb") as opened:
            start = opened.read(4096)
        if b"<VOTABLE" in start:
            return _of_astropy(file, Table.read(path, format="votable"))
        if start[:4] in _BINARY:
            return _of_astropy(file, Table.read(path, format=_BINARY[start[:4]]))
        if not start.startswith(FITS_STARTS):
            what = "neither text nor another table that can be read; name the manifest"
            if start.startswith(_ZIP):
                what = "a spreadsheet or an archive; save the table as CSV"
            raise ManifestError(file, [what])
        with open_fits(file) as (hdus, extension):
            found = [hdu for hdu in hdus if "TFIELDS" in hdu.header and hdu.columns is not None]
            chosen = found[:1] if extension is None else [find_extension(hdus, extension, file)]
            if not chosen or chosen[0] not in found:
                raise ManifestError(file, ["there is no table in it, so it is no manifest"])
            return _of_astropy(file, Table.read(chosen[0]))


def _of_astropy(file: str, table: Any) -> TextTable:  # noqa: ANN401  astropy has no types
    """Return a table of astropy as one of texts."""
    for name in table.colnames:
        if len(table[name].shape) != 1:
            raise ManifestError(file, [f"the column {name} has several values in a row"])
    columns = [[_text(value) for value in table[name]] for name in table.colnames]
    rows = [
        Row(f"row {number}", cells) for number, cells in enumerate(zip(*columns, strict=True), 1)
    ]
    names = tuple(str(name).strip() for name in table.colnames)
    return TextTable("heading", names, tuple(row for row in rows if any(row.cells)))


def _text(value: Any) -> str:  # noqa: ANN401  of any type
    """Return a value as a text, empty where there is none."""
    import numpy as np

    missing = isinstance(value, float | np.floating) and math.isnan(value)
    if value is np.ma.masked or value is None or missing:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8").strip()
    return str(value).strip()


@contextmanager
def _damage_named(file: str) -> Iterator[None]:
    """Read a file: whatever is wrong with its bytes becomes a ManifestError."""
    from diffdecor.fits.damage import UNREADABLE, reason_of

    try:
        yield
    except ManifestError:
        raise
    except DiffdecorError as error:
        raise ManifestError(file, [str(error).removeprefix(f"{file}: ")]) from error
    except UNREADABLE as error:
        problem = f"it cannot be read as a table ({reason_of(error)})"
        raise ManifestError(file, [problem]) from error
