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
from diffdecor.fits.open import Hdu, Hdus

_INDEX = "ARCHIVE_INDEX"
_DATA = "ARCHIVE_DATA"
_PSF_NUMBER = ("ARCHIVE_ID_PSF", "PSF_ID")

_WHY = {
    "PiffPsf": "a Python pickle, which diffdecor never opens",
    "PsfexPsf": "stored in a layout of its own",
    "CoaddPsf": "made of the PSFs and coordinates of all its input images",
    "WarpedPsf": "another PSF and a transform",
    "AnalyticKernel": "a function without pixels",
    "SeparableKernel": "two functions without pixels",
}


def has_archive(hdus: Hdus) -> bool:
    """Say whether there is an archive; looks at headers only."""
    return any(_kind(hdu) == _INDEX for hdu in hdus)


def is_exposure(hdus: Hdus) -> bool:
    """Say whether the archive holds what belongs to an image, not one object of its own."""
    return any("AR_HDU" in hdu.header for hdu in hdus)


def psf_number(hdus: Hdus) -> int:
    """Return the number of the PSF of an exposure in its archive, 0 if it has none."""
    numbers = (hdu.header.get(keyword) for hdu in hdus for keyword in _PSF_NUMBER)
    return next((int(number) for number in numbers if isinstance(number, int) and number > 0), 0)


def parent_origin(hdus: Hdus) -> tuple[float, float] | None:
    """Return the 0-based parent position (XY0) of the first pixel of an image.

    None if no card gives it. Of several HDUs of the file the image comes first.
    """
    for hdu in hdus:
        cards = hdu.header
        if cards.get("CRPIX1A") == 1 and cards.get("CRPIX2A") == 1:
            sign, values = 1.0, (cards.get("CRVAL1A"), cards.get("CRVAL2A"))
        else:
            sign, values = -1.0, (cards.get("LTV1"), cards.get("LTV2"))
        if all(isinstance(value, int | float) and np.isfinite(value) for value in values):
            return sign * float(values[0]), sign * float(values[1])
    return None


class _Place(NamedTuple):
    """Where an object, or the part of it in one table, is stored."""

    order: int
    table: int
    row: int
    kind: str


@dataclass(frozen=True, eq=False)
class Archive:
    """An opened archive of a file: tables of data and places of objects, both by number.

    Valid only while the file is open.
    """

    name: str
    tables: dict[int, Hdu]
    places: dict[int, _Place]

    def record(self, number: int, above: tuple[int, ...] = ()) -> Record:
        """Return the object of a number, which is a part of the objects `above`.

        1 is what was written, if that was an object and not an image.
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
    """One object of an archive: its number, its class in the stack, and its cells."""

    archive: Archive
    number: int
    kind: str
    row: Any
    #: Numbers of the objects that it is a part of, and its own.
    path: tuple[int, ...]

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.archive.name}: {self.kind} {self.number}"

    def has(self, column: str) -> bool:
        """Say whether there is anything in a column of this name."""
        return column in self.row.array.names and np.size(self.row[column]) > 0

    def numbers(self, column: str, count: int | None = None) -> NDArray[np.float64]:
        """Return a cell as a vector of finite numbers, `count` of them."""
        if column not in self.row.array.names:
            self.refuse(f"{self.kind} {self.number} has no column {column}")
        values = np.array(self.row[column], dtype=np.float64).reshape(-1)
        if not np.isfinite(values).all():
            self.refuse(f"{column} of {self.kind} {self.number} is NaN or infinite")
        if count not in (None, len(values)):
            found = f"{len(values)} numbers in {column} of {self.kind} {self.number}"
            self.refuse(f"{found}, expected {count}")
        return values

    def number_in(self, column: str) -> float:
        """Return a cell that holds one number."""
        return float(self.numbers(column, 1)[0])

    def pair(self, column: str) -> tuple[float, float]:
        """Return x and y: one column of two numbers in old files, two columns in newer ones."""
        if column in self.row.array.names:
            x, y = self.numbers(column, 2)
            return float(x), float(y)
        return self.number_in(f"{column}_x"), self.number_in(f"{column}_y")

    def pixel(self, column: str) -> tuple[int, int]:
        """Return x and y that are whole numbers."""
        x, y = self.pair(column)
        if x != int(x) or y != int(y):
            self.refuse(f"{column} of {self.kind} {self.number} is not a pixel: {(x, y)}")
        return int(x), int(y)

    def parts(self, column: str) -> list[Record]:
        """Return the objects whose numbers are in a cell."""
        return [self.archive.record(int(n), self.path) for n in self.numbers(column)]

    def part(self, column: str) -> Record:
        """Return the object whose number is in a cell."""
        return self.archive.record(int(self.number_in(column)), self.path)

    def refuse(self, problem: str) -> NoReturn:
        """Raise an `InputError` that names the file."""
        self.archive.refuse(problem)

    def refuse_kind(
        self, thing: str, advice: str, error: type[InputError] = InputError
    ) -> NoReturn:
        """Raise the error for a class that cannot be read without the stack."""
        why = _WHY.get(self.kind, "of a class that diffdecor does not know")
        msg = f"{self.name} is not a {thing} that can be read here: it is {why}; {advice}"
        raise error(msg)


def open_archive(hdus: Hdus, name: str) -> Archive:
    """Read the index of the archive in a file; objects are read when they are asked for."""
    archive = Archive(name, {}, {})
    index = next((n for n, hdu in enumerate(hdus) if _kind(hdu) == _INDEX), None)
    if index is None or not _is_table(hdus[index]) or hdus[index].data is None:
        archive.refuse("there is no table EXTTYPE = 'ARCHIVE_INDEX'")
    for hdu in hdus[index + 1 :]:
        if _kind(hdu) == _INDEX:
            break  # another archive
        if _kind(hdu) == _DATA and _is_table(hdu):
            archive.tables.setdefault(int(hdu.header["AR_CATN"]), hdu)
    rows = hdus[index].data
    # The oldest files write _ for the dot.
    dot = "." if "cat.archive" in rows.dtype.names else "_"
    columns = ("id", f"cat{dot}persistable", f"cat{dot}archive", "row0", "name")
    for number, order, table, row, kind in zip(*(rows[name] for name in columns), strict=True):
        place = _Place(int(order), int(table), int(row), str(kind).strip())
        archive.places[int(number)] = min(place, archive.places.get(int(number), place))
    return archive


def _is_table(hdu: Hdu) -> bool:
    return isinstance(hdu, fits.BinTableHDU) and not isinstance(hdu, fits.CompImageHDU)


def _kind(hdu: Hdu) -> str:
    """Return what an HDU of an archive is: ARCHIVE_INDEX, ARCHIVE_DATA, or something else."""
    return str(hdu.header.get("EXTTYPE", "")).strip().upper()
