"""Tile compression of FITS files: HDU by HDU, and every plane by bands of rows.

What a tile becomes is astropy's work; here the tiles of several bands become one table, so that no
plane needs to be in memory. Floats and integers are compressed losslessly, unless floats are to be
quantised: in steps of the noise of a row over a number, with subtractive dithering, which keeps NaN
and 0 as they are.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffdecor.core.parallel import ordered_map
from diffdecor.core.planes import cut
from diffdecor.fits.checksum import BLOCK, datasum, header_with_sums, padded
from diffdecor.fits.open import Hdu, Header
from diffdecor.fits.pixels import numbers_at
from diffdecor.fits.read_rows import TYPES
from diffdecor.fits.write_rows import hdu_bytes, write_at

#: Bytes of the rows that are compressed together; a thread takes some six times that.
_BAND = 1 << 22
_COPIED = 1 << 20
#: Planes beyond that have tables with places of 64 bits.
_FAR = 1 << 31
#: `dither_seed` goes from 1 to this; a tile takes what its number and that of the image add up to.
_SEEDS = 10_000
_DITHER_2 = 2
#: Steps per sigma of which a row has more than 32 bits hold: it is then kept losslessly. For planes
#: beside quantised ones: funpack (CFITSIO 4.2) reads these wrongly after one of GZIP_2.
_TOO_FINE = 1e15
#: The integer that stands for NaN among those of a quantised row.
_BLANK = -(2**31)
_SUMS = ("CHECKSUM", "DATASUM")
#: Cards of an image that its table has under other names, or not.
_OF_BYTES = re.compile(r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|CHECKSUM|DATASUM")
#: Types of the columns of a table of tiles; arrays that vary in length have length and place.
_COLUMNS = {"D": ">f8", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4"}
_PLACES = {"P": ">i4", "Q": ">i8"}


@dataclass(frozen=True)
class Compression:
    """How the planes of a file are compressed."""

    #: Names of HDUs that stay as they are; tables, cubes and integers of 64 bits do, too.
    without: Collection[str] = ()
    #: Names of float images that are quantised, and the number of steps per sigma of the noise.
    quantised: Collection[str] = ()
    level: float | None = None
    #: Bands that are worked on at a time.
    threads: int = 1


def compress(source: BinaryIO, target: BinaryIO, how: Compression) -> None:
    """Write a FITS file, which is open for reading, to an empty one, its planes compressed."""
    source.seek(0)
    out, end = target.fileno(), 0
    # Astropy reads what is open for reading only.
    with (
        os.fdopen(os.dup(source.fileno()), "rb") as file,
        fits.open(file, memmap=False, do_not_scale_image_data=True, cache=False) as hdus,
    ):
        for number, hdu in enumerate(hdus):
            if not _is_plane(hdu) or hdu.name in how.without:
                end += _copied(source.fileno(), hdu, out, end)
                continue
            if number == 0:
                blocks = hdu_bytes(fits.PrimaryHDU())
                write_at(out, blocks, end)
                end += len(blocks)
            end = _Table(hdu, source.fileno(), how).write(out, end)


def _is_plane(hdu: Hdu) -> bool:
    image = isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU)
    # Of integers of 64 bits funpack makes nothing.
    return image and hdu.header["NAXIS"] == 2 and 0 not in hdu.shape and hdu.header["BITPIX"] != 64


def _copied(source: int, hdu: Hdu, target: int, place: int) -> int:
    """Copy an HDU as it is; return its length."""
    about = hdu.fileinfo()
    first, length = about["hdrLoc"], about["datLoc"] + about["datSpan"] - about["hdrLoc"]
    for start in range(0, length, _COPIED):
        chunk = os.pread(source, min(_COPIED, length - start), first + start)
        write_at(target, chunk, place + start)
    return int(length)


class _Table:
    """The table of the tiles of a plane: each is a row of pixels."""

    def __init__(self, hdu: Hdu, source: int, how: Compression) -> None:
        self._hdu = hdu
        self._ny, self._nx = hdu.shape
        self._dtype = np.dtype(TYPES[hdu.header["BITPIX"]])
        self._source = source
        self._how = how
        is_float = self._dtype.kind == "f"
        self._level = how.level if is_float and hdu.name in how.quantised else None
        self._options: dict[str, Any] = {"compression_type": "RICE_1"}
        if is_float and how.level is not None:
            level = _TOO_FINE if self._level is None else self._level
            self._options |= {"quantize_level": level, "quantize_method": _DITHER_2}
        elif is_float:
            self._options = {"compression_type": "GZIP_2", "quantize_level": 0.0}

    def write(self, target: int, place: int) -> int:
        """Write it to a file, from a place on; return where it ends."""
        rows = cut(slice(0, self._ny), max(1, _BAND // (self._nx * self._dtype.itemsize)))
        bands = ordered_map(self._band, rows, self._how.threads)
        first, content = next(bands)
        header = self._header(first)
        start = place + len(header_with_sums(header, 0))
        table = _Places(first, self._ny, wide=self._ny * self._nx * self._dtype.itemsize > _FAR)
        table.describe(header)
        heap = start + table.size
        for found, tiles in chain([(first, content)], bands):
            write_at(target, table.add(found, tiles), heap + table.heap)
            table.heap += found["PCOUNT"]
        table.describe(header)
        write_at(target, table.rows, start)
        end = start + padded(table.size + table.heap)
        write_at(target, bytes(end - (heap + table.heap)), heap + table.heap)
        write_at(target, header_with_sums(header, _sum_of(target, start, end)), place)
        return end

    def _band(self, rows: slice) -> tuple[Header, bytes]:
        """Return the header of the table of some rows, and its data."""
        shape = rows.stop - rows.start, self._nx
        place = self._hdu.fileinfo()["datLoc"] + rows.start * self._nx * self._dtype.itemsize
        pixels = numbers_at(self._source, place, shape, self._dtype)
        options = self._options | {"tile_shape": (1, self._nx)}
        if "quantize_method" in options:
            options["dither_seed"] = rows.start % _SEEDS + 1
        return _compressed(pixels, options)

    def _header(self, first: Header) -> Header:
        """Return the header of the whole table, from that of its first rows."""
        header, own = first.copy(), self._hdu.header
        header["ZNAXIS2"] = self._ny
        for number in range(1, 4):
            if header.get(f"ZNAME{number}") == "NOISEBIT" and self._options["quantize_level"]:
                header[f"ZVAL{number}"] = self._how.level
        if isinstance(self._hdu, fits.PrimaryHDU):
            _make_primary(header, own)
        header.remove("EXTNAME", ignore_missing=True)  # astropy gives one
        # At the end: anywhere else astropy looks through the whole header for each card.
        kept = [card for card in own.cards if not _OF_BYTES.fullmatch(card.keyword)]
        header.extend(kept, unique=False, end=True)
        if "quantize_method" in self._options:  # bands of rows without NaN say nothing of it
            header["ZBLANK"] = _BLANK
        else:  # astropy before 8.0.1 has these in lossless planes, and funpack other NaN for it
            for keyword in ("ZQUANTIZ", "ZBLANK"):
                header.remove(keyword, ignore_missing=True)
        if self._level is not None:
            header["QUANTLEV"] = (self._level, "steps of quantisation per sigma of the noise")
            header["QUANTVAR"] = (1 / (12 * self._level**2), "noise variance this adds, of a row's")
        else:
            sums = {keyword: f"Z{keyword[-7:]}" for keyword in _SUMS if keyword in own}
            header.update({z: (own[keyword], own.comments[keyword]) for keyword, z in sums.items()})
        return header


def _make_primary(header: Header, own: Header) -> None:
    """Make the header of a table that of an image which was the primary HDU."""
    header.set("ZSIMPLE", own["SIMPLE"], own.comments["SIMPLE"], before="ZTENSION")
    if "EXTEND" in own:
        header.set("ZEXTEND", own["EXTEND"], own.comments["EXTEND"], after="ZNAXIS2")
    for keyword in ("ZTENSION", "ZPCOUNT", "ZGCOUNT"):
        header.remove(keyword)


class _Places:
    """The rows of a table of tiles: where in the heap each tile is."""

    def __init__(self, first: Header, ny: int, *, wide: bool) -> None:
        self._forms = [_form(first[f"TFORM{n + 1}"]) for n in range(first["TFIELDS"])]
        self._narrow = _row_dtype(self._forms)
        if wide:
            self._forms = ["Q" + form[1:] if form[0] == "P" else form for form in self._forms]
        self.rows = np.zeros(ny, _row_dtype(self._forms))
        self._longest = [0] * len(self._forms)
        self._filled = 0
        #: Bytes in the heap.
        self.heap = 0

    @property
    def size(self) -> int:
        """Bytes of the rows."""
        return self.rows.nbytes

    def add(self, header: Header, content: bytes) -> bytes:
        """Take the rows of a band; return what goes to the end of the heap."""
        if [_form(header[f"TFORM{n + 1}"]) for n in range(header["TFIELDS"])] != [
            "P" + form[1:] if form[0] == "Q" else form for form in self._forms
        ]:
            msg = "bands of a plane were compressed into tables of different columns"
            raise RuntimeError(msg)
        count = header["NAXIS2"]
        found = np.frombuffer(content, self._narrow, count)
        rows = self.rows[self._filled : self._filled + count]
        for number, form in enumerate(self._forms):
            name = f"f{number}"
            rows[name] = found[name]
            if form[0] in _PLACES:
                rows[name][:, 1] += self.heap
                self._longest[number] = max(self._longest[number], int(found[name][:, 0].max()))
        self._filled += count
        size = found.nbytes
        return content[size : size + header["PCOUNT"]]

    def describe(self, header: Header) -> None:
        """Set the cards of a header that depend on the rows."""
        header["NAXIS1"], header["NAXIS2"] = self.rows.dtype.itemsize, len(self.rows)
        header["PCOUNT"] = self.heap
        for number, (form, longest) in enumerate(zip(self._forms, self._longest, strict=True)):
            if form[0] in _PLACES:
                header[f"TFORM{number + 1}"] = f"1{form}({longest})"


def _form(text: str) -> str:
    """Return the form of a column without its count: ``PB`` of ``1PB(3701)``."""
    return text.strip().lstrip("1").partition("(")[0]


def _row_dtype(forms: list[str]) -> np.dtype[Any]:
    """Return the type of a row with columns of some forms."""
    types: list[Any] = [
        (f"f{number}", _PLACES[form[0]], (2,))
        if form[0] in _PLACES
        else (f"f{number}", _COLUMNS[form])
        for number, form in enumerate(forms)
    ]
    return np.dtype(types)


def _compressed(pixels: NDArray[Any], options: dict[str, Any]) -> tuple[Header, bytes]:
    """Return the table of tiles that astropy makes of an image: its header and its data."""
    file = io.BytesIO()
    hdu = fits.CompImageHDU(pixels, **options)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file, output_verify="silentfix+ignore")
    file.seek(0)
    with fits.open(file, disable_image_compression=True, memmap=False) as hdus:
        table = hdus[1]
        start = table.fileinfo()["datLoc"]
        size = table.header["NAXIS1"] * table.header["NAXIS2"] + table.header["PCOUNT"]
        return table.header.copy(), file.getvalue()[start : start + size]


def _sum_of(descriptor: int, start: int, end: int) -> int:
    """Return the DATASUM of bytes of a file, whole blocks."""
    step, total = _COPIED // BLOCK * BLOCK, 0
    for place in range(start, end, step):
        total = datasum(os.pread(descriptor, min(step, end - place), place), total)
    return total
