"""Reading tile-compressed images of an open file, their tables looked through first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO
from weakref import WeakKeyDictionary

import numpy as np

from diffdecor.fits.bounds import data_size, table_of
from diffdecor.fits.raw_headers import Stored, header_at
from diffdecor.fits.tiles import check_streams, tile_size
from diffdecor.fits.unpacking import Unpacked

_careful: Callable[[int], AbstractContextManager[None]]
try:  # it builds on names of astropy that are not public; without it, only cards are checked
    from diffdecor.fits.codecs import careful_codecs as _careful
except ImportError:

    def _careful(_pixels: int) -> AbstractContextManager[None]:
        return nullcontext()


#: Pixels of the tiles of the compressed images of a file, by the byte where they begin.
_known: WeakKeyDictionary[BinaryIO, dict[int, int]] = WeakKeyDictionary()


def careful_tiles(file: Unpacked, place: int, name: object) -> AbstractContextManager[None]:
    """Return a context in which astropy unpacks the image whose header begins at a byte of a file.

    InputError if its table cannot be true; in the context ValueError or EOFError if a stream is
    damaged.
    """
    known = _known.setdefault(file.content, {})
    if place not in known:
        known[place] = _checked(file, place, name)
    return _careful(known[place])


def _checked(file: Unpacked, place: int, name: object) -> int:
    """Look through the table of a compressed image; return the pixels of its largest tile."""
    number = [hdu.header for hdu in file.hdus].index(place)
    content = Stored(file.content)
    header = header_at(content, place, number, name)
    table = table_of(header, data_size(header))
    rows = np.frombuffer(content.at(file.hdus[number].data, table.rows * table.width), np.uint8)
    check_streams(header, table, rows.reshape(table.rows, table.width))
    return tile_size(header)
