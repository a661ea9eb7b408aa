"""The cards of an output, and their names in JSON."""

from __future__ import annotations

from collections.abc import Iterable

from diffdecor.cli.topics.blocks import Block, Row, Table, parsed
from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.options import recorded_options
from diffdecor.fits.headers import Card
from diffdecor.pipeline.provenance import METRIC_CARDS, output_cards

_TITLES = ("card", "in JSON", "what it is")
_TEXT = """
The primary header of an output has these cards beside those of the observation, which come from the
difference. A later run knows by them whether its output is there already.

diffdecor run --json prints an object with version (of its layout; a field that is added does not
change it), diffdecor_version, output, status (done or already done; doubtful or error if it fails,
with error and exit_code), inputs, options, warning_texts, times (started, wall_seconds,
cpu_seconds), and the metrics below by the name in the second column; what was not measured is null.

## Version and inputs

{}

The sum of an input is the DATASUM over all HDUs of its file (see diffdecor help reliability).

## Metrics

{}

Variances and neighbour correlations are those of the middle of the image (256 rows of 1024 pixels
in large images), of good pixels without light of sources. Positions are 1-based, as in FITS.

## Options

Every option that shapes the result is recorded; files by their name without folder.

{}
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    recorded = [
        Card(item.name, item.keyword, "", item.flag_name)
        for config_type in (DecorrelationConfig, FilesConfig)
        for item in recorded_options(config_type)
    ]
    elsewhere = {card.keyword for card in (*METRIC_CARDS, *recorded)}
    of_inputs = [card for card in output_cards() if card.keyword not in elsewhere]
    return parsed(
        _TEXT,
        _table(of_inputs, "input", in_json=False),
        _table(METRIC_CARDS, "metric", in_json=True),
        Table("cards", ("card", "option"), tuple(_row(card, "option") for card in recorded)),
    )


def _table(cards: Iterable[Card], kind: str, *, in_json: bool) -> Table:
    titles = _TITLES if in_json else (_TITLES[0], _TITLES[2])
    return Table("cards", titles, tuple(_row(card, kind, in_json=in_json) for card in cards))


def _row(card: Card, kind: str, *, in_json: bool = False) -> Row:
    text = f"{card.comment} ({card.unit})" if card.unit else card.comment
    facts = {
        "card": card.keyword,
        "kind": kind,
        "json": card.name if in_json else None,
        "unit": card.unit or None,
        "text": card.comment,
    }
    return Row((card.keyword, card.name, text) if in_json else (card.keyword, text), facts)
