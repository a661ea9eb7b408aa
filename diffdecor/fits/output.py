"""A FITS file to be written, packed as its name says: ``.fits``, ``.fits.fz`` or ``.fits.gz``."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from diffdecor.fits.atomic import atomic_output
from diffdecor.fits.compress import Compression, compress
from diffdecor.fits.open import quiet_astropy

_COPIED = 1 << 20
#: What takes longer makes files of float noise no smaller.
_LEVEL = 6


def is_tiled(path: str | Path) -> bool:
    """Say whether a name is that of a file with compressed tiles."""
    return Path(path).suffix.lower() == ".fz"


def is_gzipped(path: str | Path) -> bool:
    """Say whether a name is that of a gzipped file."""
    return Path(path).suffix.lower() == ".gz"


@contextmanager
def fits_output(
    path: str | Path,
    *,
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
    compression: Compression | None = None,
) -> Iterator[BinaryIO]:
    """Write a FITS file as `atomic_output` does, and pack it if its name says so.

    What is written before it is packed is in a file without a name in the folder of the output, so
    there must be room for both. The file is open for reading, too.
    """
    with atomic_output(path, overwrite=overwrite, inputs=inputs, packable=True) as target:
        if not is_tiled(path) and not is_gzipped(path):
            yield target
            return
        folder = Path(path).resolve().parent
        with tempfile.TemporaryFile(dir=folder, buffering=0) as whole:
            file = cast("BinaryIO", whole)
            yield file
            if is_gzipped(path):
                _gzip(file, target)
            else:
                with quiet_astropy(path):
                    compress(file, target, compression or Compression())


def _gzip(source: BinaryIO, target: BinaryIO) -> None:
    """Pack all of a file; the same content gives the same bytes."""
    source.seek(0)
    with gzip.GzipFile("", "wb", _LEVEL, target, mtime=0) as packed:
        shutil.copyfileobj(source, packed, _COPIED)
