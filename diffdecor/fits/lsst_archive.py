"""Archives of the LSST stack: objects of many classes as rows of binary tables.

One index table says in which table and row an object is; tables of data follow it. Objects refer to
their parts by number. Nothing is unpickled here, and no code in a file is ever run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.errors import InputError
from diffdecor.fits.lsst_headers import INDEX, hdu_kind
from diffdecor.fits.open import Hdu, Hdus

_DATA = "ARCHIVE_DATA"

_WHY = {
    "PiffPsf": "a Python pickle, which diffdecor never opens",
    "PsfexPsf": "stored in a layout of its own",
    "CoaddPsf": "made of the PSFs and coordinates of all its input images",
    "WarpedPsf": "another PSF and a transform",
    "AnalyticKernel": "a function without pixels",
    "SeparableKernel": "two functions without pixels",
}


class _Place(NamedTuple):
    """Where an object, or the part of it in one table, is stored."""

    order: int
    table: int
    row: int
    kind: str


@dataclass(frozen=True, eq=False)
class Archive:
    """An opened archive; valid only while its file is.

    Parameters
    ----------
    name : str
        The file, for messages.
    tables : dict of int to HDU
        Tables of data by their number.
    places : dict of int to _Place
        Where every object is, by its number.
    """

    name: str
    tables: dict[int, Hdu]
    places: dict[int, _Place]

    def record(self, number: int, above: tuple[int, ...] = ()) -> Record:
        """Return an object.

        Parameters
        ----------
        number : int
            Its number; 1 is what was written, if that was an object and not an image.
        above : tuple of int
            Objects that it is a part of.

        Returns
        -------
        Record
            The object.

        Raises
        ------
        InputError
            If there is no such object, or if it is a part of itself.
        """
        if number in above:
            self.refuse(f"object {number} is a part of itself")
        if number not in self.places:
            self.refuse(f"there is no object {number}")
        _, table, row, kind = self.places[number]
        if table not in self.tables:
            self.refuse(f"table {table} of {kind} {number} is missing")
        rows = self.tables[table].data
        if rows is None or not 0 <= row < len(rows):
            self.refuse(f"row {row} of {kind} {number} is missing")
        return Record(self, number, kind, rows[row], (*above, number))

    def refuse(self, problem: str) -> NoReturn:
        """Raise an `InputError` that names the file."""
        msg = f"{self.name}: damaged LSST archive: {problem}; fetch or write it again"
        raise InputError(msg)


@dataclass(frozen=True, eq=False)
class Record:
    """One object of an archive.

    Parameters
    ----------
    archive : Archive
        Where it is.
    number : int
        Its number.
    kind : str
        Its class, as the stack calls it.
    row : astropy.io.fits.FITS_record
        Its cells.
    path : tuple of int
        Numbers of the objects that it is a part of, and its own.
    """

    archive: Archive
    number: int
    kind: str
    row: Any
    path: tuple[int, ...]

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.archive.name}: {self.kind} {self.number}"

    def has(self, column: str) -> bool:
        """Say whether there is anything in a column of this name."""
        return column in self.row.array.names and np.size(self.row[column]) > 0

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a cell as a vector of finite numbers."""
        if column not in self.row.array.names:
            self.archive.refuse(f"{self.kind} {self.number} has no column {column}")
        values = np.array(self.row[column], dtype=np.float64).reshape(-1)
        if not np.isfinite(values).all():
            self.archive.refuse(f"{column} of {self.kind} {self.number} is NaN or infinite")
        return values

    def number_in(self, column: str) -> float:
        """Return a cell that holds one number."""
        return float(self._exactly(column, self.numbers(column), 1)[0])

    def pair(self, column: str) -> tuple[float, float]:
        """Return x and y: one column of two numbers in old files, two columns in newer ones."""
        if column in self.row.array.names:
            x, y = self._exactly(column, self.numbers(column), 2)
            return float(x), float(y)
        return self.number_in(f"{column}_x"), self.number_in(f"{column}_y")

    def pixel(self, column: str) -> tuple[int, int]:
        """Return x and y that are whole numbers."""
        x, y = self.pair(column)
        if x != int(x) or y != int(y):
            self.archive.refuse(f"{column} of {self.kind} {self.number} is no pixel: {(x, y)}")
        return int(x), int(y)

    def parts(self, column: str) -> list[Record]:
        """Return the objects whose numbers are in a cell."""
        return [self.archive.record(int(n), self.path) for n in self.numbers(column)]

    def part(self, column: str) -> Record:
        """Return the object whose number is in a cell."""
        return self.archive.record(int(self.number_in(column)), self.path)

    def refuse_kind(
        self, thing: str, advice: str, error: type[InputError] = InputError
    ) -> NoReturn:
        """Raise the error for a class that cannot be read without the stack."""
        why = _WHY.get(self.kind, "of a class that diffdecor does not know")
        msg = f"{self.name} is no {thing} that can be read here: it is {why}; {advice}"
        raise error(msg)

    def _exactly(self, column: str, values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        if len(values) != n:
            found = f"{len(values)} numbers in {column} of {self.kind} {self.number}"
            self.archive.refuse(f"{found}, expected {n}")
        return values


def open_archive(hdus: Hdus, name: str) -> Archive:
    """Read the index of an archive.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        All HDUs of the file.
    name : str
        The file, for messages.

    Returns
    -------
    Archive
        Objects are read when they are asked for.

    Raises
    ------
    InputError
        If index or tables are missing or contradictory.
    """
    archive = Archive(name, {}, {})
    index = next((n for n, hdu in enumerate(hdus) if hdu_kind(hdu) == INDEX), None)
    if index is None or not _is_table(hdus[index]) or hdus[index].data is None:
        archive.refuse("there is no table EXTTYPE = 'ARCHIVE_INDEX'")
    for hdu in hdus[index + 1 :]:
        if hdu_kind(hdu) == INDEX:
            break  # another archive
        if hdu_kind(hdu) == _DATA and _is_table(hdu):
            archive.tables.setdefault(int(hdu.header["AR_CATN"]), hdu)
    for number, place in _places(hdus[index].data):
        archive.places[number] = min(place, archive.places.get(number, place))
    return archive


def _places(index: Any) -> list[tuple[int, _Place]]:  # noqa: ANN401  astropy has no types
    """Return number and place of every part of every object; the oldest files spell with ``_``."""
    dot = "." if "cat.archive" in index.dtype.names else "_"
    columns = [index[name] for name in (f"cat{dot}persistable", f"cat{dot}archive", "row0", "name")]
    return [
        (int(number), _Place(int(order), int(table), int(row), str(kind).strip()))
        for number, order, table, row, kind in zip(index["id"], *columns, strict=True)
    ]


def _is_table(hdu: Hdu) -> bool:
    return isinstance(hdu, fits.BinTableHDU) and not isinstance(hdu, fits.CompImageHDU)
