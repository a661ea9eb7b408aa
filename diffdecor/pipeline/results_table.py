"""Results of many jobs as one table: its columns are those of reports and of batches.

One row an output: what became of it, and every metric of its cards, with units and descriptions.
What is not known is masked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args, get_type_hints

from diffdecor.decorrelation.metrics import Metrics
from diffdecor.pipeline.provenance import METRIC_CARDS

#: Types of the metrics that only a job knows, where they are not real numbers.
_OF_JOBS = {"side_source": str, "gate": str, "warnings": int}
#: Units of cards, as astropy writes them; those of others depend on the image.
_UNITS = {"pixel": "pix"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table."""

    name: str
    kind: type
    unit: str = ""
    description: str


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """What became of one output."""

    output: str
    #: ``done``, ``skipped`` where there was no data, or ``error``.
    status: str
    error: str = ""
    #: Metrics by name, None where not known.
    metrics: Mapping[str, Any] = field(default_factory=dict)


def _kind_of(name: str) -> type:
    """Return the type of a metric: as it is declared, or of one that only a job knows."""
    declared = get_type_hints(Metrics).get(name, _OF_JOBS.get(name, float))
    kind = next(iter(get_args(declared)), declared)  # of one that may be None
    return kind if isinstance(kind, type) else str  # one of a few words


def _of_card(name: str, unit: str, comment: str) -> Column:
    described = f"{comment} [{unit}]" if unit and unit not in _UNITS else comment
    return Column(name=name, kind=_kind_of(name), unit=_UNITS.get(unit, ""), description=described)


#: Every column, in order.
COLUMNS = (
    Column(name="output", kind=str, description="output file"),
    Column(name="status", kind=str, description="done, skipped (no data) or error"),
    Column(name="error", kind=str, description="what is wrong with it, one line"),
    *(_of_card(card.name, card.unit, card.comment) for card in METRIC_CARDS),
)


def results_table(rows: Sequence[ResultRow]) -> Any:  # noqa: ANN401  astropy has no types
    """Return the rows as an astropy table with all `COLUMNS`, masked where nothing is known."""
    from astropy.table import MaskedColumn, Table

    table = Table()
    for column in COLUMNS:
        values = [_value(row, column) for row in rows]
        unknown = [value is None for value in values]
        filled = [column.kind() if value is None else value for value in values]
        table[column.name] = MaskedColumn(
            filled,
            mask=unknown,
            dtype=column.kind,
            unit=column.unit or None,
            description=column.description,
        )
    return table


def _value(row: ResultRow, column: Column) -> Any:  # noqa: ANN401
    """Return what a row has in a column, None if nothing."""
    if column.name in {"output", "status", "error"}:
        text = printable(getattr(row, column.name))
        return text or None
    return as_kind(row.metrics.get(column.name), column.kind)


def as_kind(value: object, kind: type) -> Any:  # noqa: ANN401
    """Return a value as its column holds it; None if it is nothing of the kind."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is str:
        return printable(value) if isinstance(value, str) else None
    if kind is bool:
        return value if isinstance(value, bool) else None
    if not number or not math.isfinite(value):  # type: ignore[arg-type]
        return None
    return kind(value)


def printable(text: object) -> str:
    """Return a text that any file can hold: names of files may be any bytes."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def metric_kinds() -> dict[str, type]:
    """Return the type of every metric."""
    return {card.name: _kind_of(card.name) for card in METRIC_CARDS}
