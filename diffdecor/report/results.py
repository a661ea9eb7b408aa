"""Tables of results (results.ecsv), as batches write them: what became of every output."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffdecor.errors import InputError
from diffdecor.fits.damage import damage_named
from diffdecor.fits.open import check_file, quiet_astropy
from diffdecor.pipeline.results_table import OF_BATCHES, as_kind
from diffdecor.pipeline.status import THERE, Status

UNDONE = Status.UNDONE
#: What a batch says where there is no output, and there will be none if nothing changes.
FAILED = frozenset(Status) - THERE - {UNDONE}
#: How an ECSV table begins.
_BEGINNING = b"# %ECSV"
#: Columns that every table of results has.
_NEEDED = ("output", "status", "error")
#: What is said of a job besides, where a table has it, with its type.
_FACTS = {column.name: column.kind for column in OF_BATCHES}
#: Bytes of a table, of which ten thousand rows take some ten million; and of its header.
_LARGEST, _LARGEST_HEADER = 1 << 28, 1 << 18
_ADVICE = "name the results.ecsv of a batch, or outputs"


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a table of results says of an output."""

    status: str
    #: One line.
    error: str = ""
    #: Of the columns `OF_BATCHES`, those that are known.
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        """Whether there is an output."""
        return self.status in THERE

    @property
    def words(self) -> str:
        """What became of the job, in one line."""
        known = self.facts
        parts = [self.status]
        if isinstance(known.get("tries"), int) and known["tries"] > 1:
            parts.append(f"{known['tries']} tries")
        for name, what in (("wall_seconds", "s"), ("cpu_seconds", "s of processors")):
            if name in known:
                parts.append(f"{known[name]:.3g} {what}")
        if "peak_memory" in known:
            parts.append(f"{known['peak_memory'] / (1 << 20):.0f} MB")
        if "host" in known:
            parts.append(f"on {known['host']}")
        if "started" in known:
            parts.append(f"started {known['started']}")
        return ", ".join(parts)


def is_table(file: str) -> bool:
    """Say whether a file is an ECSV table, by how it begins."""
    with suppress(OSError, ValueError):
        path = Path(file)
        if stat.S_ISREG(path.stat().st_mode):
            with path.open("rb") as opened:
                return opened.read(len(_BEGINNING)) == _BEGINNING
    return False


def read_results(file: str) -> dict[str, Told]:
    """Return what a table of results says, by the files of the outputs, in its order.

    Outputs are relative to the folder of the table. InputError if it is not such a table, or a
    column that is needed is not there.
    """
    from astropy.table import Table

    check_file(Path(file))
    with damage_named(file, "not a table of results that can be read", _ADVICE):
        names = _columns(file)
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            msg = f"{file}: not a table of results: there is no column {missing[0]}; {_ADVICE}"
            raise InputError(msg)
        wanted = [name for name in (*_NEEDED, *_FACTS) if name in names]
        with quiet_astropy(file):
            table = Table.read(file, format="ascii.ecsv", include_names=wanted)
        columns = {name: table[name].tolist() for name in wanted}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if not rows:
        msg = f"{file}: there is no row in it; {_ADVICE}"
        raise InputError(msg)
    return _by_output(file, rows)


def _columns(file: str) -> Sequence[str]:
    """Return the names of the columns, from a header that is as long as any may be."""
    if Path(file).stat().st_size > _LARGEST:
        msg = f"{file}: has more than {_LARGEST} bytes, too many for results; {_ADVICE}"
        raise InputError(msg)
    with Path(file).open("rb") as opened:
        beginning = opened.read(_LARGEST_HEADER)
    lines = beginning.decode("utf-8", "replace").split("\n")
    names = next((line for line in lines[:-1] if line.strip() and not line.startswith("#")), None)
    if names is None:
        msg = f"{file}: there are no columns in its first {len(beginning)} bytes; {_ADVICE}"
        raise InputError(msg)
    return [name.strip('"\r') for name in re.split("[ ,]", names)]


def _by_output(file: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Told]:
    folder = Path(file).parent
    found: dict[str, Told] = {}
    for number, row in enumerate(rows, 1):
        output, status, error = (row[name] for name in _NEEDED)
        if not isinstance(output, str) or not output or "\0" in output:
            msg = f"{file}: row {number} does not say which output it is about; {_ADVICE}"
            raise InputError(msg)
        if status not in set(Status):
            msg = f"{file}: the status of row {number} is {str(status)[:50]!r}; {_ADVICE}"
            raise InputError(msg)
        path = str(folder / output)
        if path in found:
            msg = f"{file}: row {number} is about {output}, too; leave one of these rows"
            raise InputError(msg)
        facts = {name: as_kind(row.get(name), kind) for name, kind in _FACTS.items()}
        found[path] = Told(
            status=status,
            error=" ".join(error.split()) if isinstance(error, str) else "",
            facts={name: value for name, value in facts.items() if value not in {None, ""}},
        )
    return found
