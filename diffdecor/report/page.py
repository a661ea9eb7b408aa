"""The page: what was found, in words and numbers, put into one HTML file that needs no other."""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from diffdecor._version import __version__
from diffdecor.errors import ConfigError
from diffdecor.pipeline.provenance import METRIC_CARDS
from diffdecor.pipeline.results_table import COLUMNS, number_of, printable
from diffdecor.report.citation import SOFTWARE, WORKS, sentence
from diffdecor.report.drawing import Picture, require_matplotlib
from diffdecor.report.outputs import Output, short_name
from diffdecor.report.results import FAILED, UNDONE
from diffdecor.report.thresholds import Oddity, Threshold

#: Columns of the table of outputs: title, what it is, whether it holds words.
_COLUMNS = (
    ("output", "file", True),
    ("noise", "what the noise of the result is", True),
    ("|rho| before", "largest correlation of two pixels within 5 pixels, as it was", False),
    ("|rho|", "the same of the result; 0 is best", False),
    ("I before", "point-source noise, as it was", False),
    ("I", "the same of the result; 1 is best", False),
    ("claimed/measured", "variance of the result; 1 is best", False),
    ("FWHM", "of the PSF of the result, pixels", False),
    ("warnings", "of the run", False),
    ("limits", "--max-rho, --max-factor", False),
    ("why first", "what is unlike the others, or wrong", True),
)
_WORDS = {
    "white": "The noise is white",
    "nearly white": "The noise is nearly white",
    "correlated": "The noise is still correlated",
    "not measured": "The noise could not be measured (too few pixels of sky)",
    "skipped": "No pixel has data: the difference was left as it was",
    "unreadable": "Unreadable",
    "refused": "Refused",
    "error": "Failed",
    "died": "Its process died",
    "timeout": "Took too long",
    "undone": "Not done yet",
}
_GOOD = {"white", "nearly white"}
#: Columns beside these of what a batch says: title, what it is, whether it holds words.
_OF_BATCHES = (
    ("status", "what became of the job", True),
    ("time", "of the job, seconds", False),
    ("host", "where it was done", True),
)
#: What stands for a number that is not known, and digits of numbers.
_UNKNOWN = "\N{EN DASH}"
_DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pictures under one heading."""

    title: str
    pictures: Sequence[Picture]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What was drawn of an output, and what is to be said of it."""

    groups: Sequence[Group] = ()
    notes: Sequence[str] = field(default=())

    @property
    def pictures(self) -> list[Picture]:
        """All pictures."""
        return [picture for group in self.groups for picture in group.pictures]


def require_report() -> None:
    """Raise a ConfigError unless there is what pages are made with."""
    try:
        require_matplotlib("report")
        import jinja2 as _  # noqa: F401
    except ImportError as error:
        msg = f"reports need jinja2 ({error}); pip install 'diffdecor[report]'"
        raise ConfigError(msg) from error


def page_of_one(output: Output, drawn: Drawn, odd: Sequence[Oddity]) -> bytes:
    """Return the page of one output."""
    part = _part(output, drawn, odd) | {"cards": _cards(output)}
    return _rendered(
        several=False,
        title=f"{_shown(short_name(output.file))}: before and after decorrelation",
        state="bad" if odd else _state(output),
        parts=[part],
        sentence=sentence(str(output.header.get("DDVERS", __version__))),
    )


def page_of_several(
    outputs: Sequence[Output],
    drawn: Mapping[str, Drawn],
    odd: Mapping[str, Sequence[Oddity]],
    thresholds: Sequence[Threshold],
    about: Mapping[str, str],
) -> bytes:
    """Return the page of several outputs, which are in the order that they are to be shown in.

    `about` has the name of the file of raw values, and where thresholds are from.
    """
    numbered = list(enumerate(outputs))
    of_batch = any(one.told is not None for one in outputs)
    columns = [_COLUMNS[0], *(_OF_BATCHES if of_batch else ()), *_COLUMNS[1:]]
    rows = [
        {
            "anchor": f"o{number}",
            "name": _shown(short_name(one.file)),
            "state": "bad" if _is_first(one, odd[one.file]) else "",
            "cells": [*(_of_batch(one) if of_batch else ()), *_cells(one, odd[one.file])],
        }
        for number, one in numbered
    ]
    nothing = Drawn()
    parts = [
        _part(one, drawn.get(one.file, nothing), odd[one.file])
        | {"anchor": f"o{number}", "metrics": _numbers(one) if one.file in drawn else []}
        for number, one in numbered
    ]
    first = sum(row["state"] == "bad" for row in rows)
    ordering = (
        "First are outputs that cannot be read or were not made, failed their limits, are "
        "outliers, or whose noise is correlated or unknown."
        if first or any(one.missing for one in outputs)
        else "They are in the order of their names."
    )
    if not thresholds:
        ordering += " There are too few outputs to tell outliers."
    if len(drawn) < len(outputs):
        ordering += f" The first {len(drawn)} that can be drawn have pictures (--pictures)."
    return _rendered(
        several=True,
        title=_title(outputs),
        verdict=_verdict(outputs, first),
        state="bad" if first else "unknown" if any(one.missing for one in outputs) else "good",
        ordering=ordering,
        raw=_shown(about["raw"]),
        thresholds_from=about["thresholds"],
        thresholds=[_range(one) for one in thresholds],
        columns=[{"title": t, "about": a, "words": w} for t, a, w in columns],
        rows=rows,
        parts=parts,
        sentence=sentence(),
    )


def _title(outputs: Sequence[Output]) -> str:
    """Return how many outputs there are, and how many there are to be."""
    there = sum(not one.missing for one in outputs)
    if there == len(outputs):
        return f"{there} decorrelated differences"
    return f"{len(outputs)} differences, {there} of them decorrelated"


def _verdict(outputs: Sequence[Output], first: int) -> str:
    """Return what a set of outputs is worth, in one line."""
    good = sum(one.verdict in _GOOD for one in outputs)
    words = [f"{good} of {len(outputs)} outputs have white or nearly white noise"]
    words.append(f"{first} to look at" if first else "none is unlike the others")
    unreadable = sum(one.error is not None for one in outputs)
    missing = Counter(one.missing for one in outputs if one.missing)
    failed = missing.total() - missing[UNDONE]
    counts = {"failed": failed, "not done yet": missing[UNDONE], "unreadable": unreadable}
    words += [f"{number} {what}" for what, number in counts.items() if number]
    return "; ".join(words)


def _rendered(**values: Any) -> bytes:  # noqa: ANN401
    """Return the page with these values; whatever they hold is escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    folder = files("diffdecor.report") / "pages"
    template, style, script = (
        (folder / name).read_text(encoding="utf-8")
        for name in ("page.html.j2", "style.css", "table.js")
    )
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(template)
    return page.render(
        version=__version__,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        style=Markup(style),  # noqa: S704  our own
        style_hash=_hash(style),
        script=Markup(script),  # noqa: S704
        script_hash=_hash(script),
        software=SOFTWARE,
        works=[work._asdict() for work in WORKS],
        **values,
    ).encode()


def _hash(text: str) -> str:
    """Return what a browser knows our own style and script by: it runs no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _part(output: Output, drawn: Drawn, odd: Sequence[Oddity]) -> dict[str, Any]:
    """Return the part of the page on one output."""
    groups = [
        {"title": group.title, "pictures": [_embedded(one) for one in group.pictures]}
        for group in drawn.groups
    ]
    return {
        "name": _shown(output.file),
        "verdict": verdict_line(output),
        "odd": ", ".join(one.words for one in odd),
        "about": ", ".join(f"{key} {_shown(value)}" for key, value in output.observation),
        "job": "" if output.told is None else _shown(output.told.words),
        "notes": [_shown(note) for note in drawn.notes],
        "warnings": [_shown(text) for text in output.warnings],
        "groups": groups,
        "pictures": [one for group in groups for one in group["pictures"]],
        "metrics": _numbers(output),
    }


def _embedded(picture: Picture) -> dict[str, Any]:
    """Return a picture as the template wants it."""
    return {
        "data": base64.b64encode(picture.png).decode(),
        "width": picture.width,
        "height": picture.height,
        "alt": picture.alt,
        "title": picture.title,
        "caption": picture.caption,
    }


def verdict_line(output: Output) -> str:
    """Return what an output is worth, in one line."""
    if output.error is not None or output.missing:
        words = [_WORDS[output.verdict], *filter(None, [_shown(output.reason)])]
        return ": ".join(words) + ("" if output.reason else ".")
    words = [_WORDS[output.verdict]]
    known = output.metrics
    for what, name, digits in (("max |rho|", "rho", 3), ("point-source noise I", "factor", 3)):
        after, error = number_of(known, f"{name}_after"), number_of(known, f"{name}_error")
        if error > 0 and math.isfinite(after):
            before = _number(number_of(known, f"{name}_before"), digits)
            words.append(f"{what} {before} → {after:.{digits}f} ± {error:.{digits}f}")
    if "gate" in known:
        words.append(f"limits {known['gate']}")
    return f"{words[0]}: {', '.join(words[1:])}" if len(words) > 1 else f"{words[0]}."


def _state(output: Output) -> str:
    bad = {"correlated", "unreadable", *FAILED}
    if output.metrics.get("gate") == "failed" or output.verdict in bad:
        return "bad"
    return "good" if output.verdict in _GOOD else "unknown"


def _is_first(output: Output, odd: Sequence[Oddity]) -> bool:
    return output.missing != UNDONE and (bool(odd) or _state(output) != "good")


def _cells(output: Output, odd: Sequence[Oddity]) -> list[str]:
    """Return the cells of a row, without the first."""
    known = output.metrics
    ratio = number_of(known, "chi_after")
    why = "; ".join(one.words for one in odd)
    if output.error is not None or output.missing:
        why = _shown(output.reason).removeprefix(f"{_shown(output.file)}: ")
    return [
        output.verdict,
        _number(number_of(known, "rho_before"), 3),
        _number(number_of(known, "rho_after"), 4),
        _number(number_of(known, "factor_before"), 3),
        _number(number_of(known, "factor_after"), 3),
        _number(1 / ratio if ratio else math.nan, 3),
        _number(number_of(known, "fwhm_after"), 2),
        _number(number_of(known, "warnings"), 0),
        str(known.get("gate", _UNKNOWN)),
        why,
    ]


def _of_batch(output: Output) -> list[str]:
    """Return the cells of what a batch says."""
    if output.told is None:
        return [_UNKNOWN] * len(_OF_BATCHES)
    seconds = number_of(output.told.facts, "wall_seconds")
    host = _shown(output.told.facts.get("host", _UNKNOWN))
    return [output.told.status, _number(seconds, 1), host]


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else _UNKNOWN


def _range(one: Threshold) -> dict[str, str]:
    """Return a threshold as the template wants it."""
    values = {"low": one.low, "high": one.high, "median": one.median}
    shown = {
        name: f"{value:.{_DIGITS}g}" if math.isfinite(value) else _UNKNOWN
        for name, value in values.items()
    }
    return {"metric": one.metric, **shown}


def _numbers(output: Output) -> list[dict[str, str]]:
    """Return every metric that is known, with what it is."""
    found = []
    for column in COLUMNS:
        value = output.metrics.get(column.name)
        if value is None:
            continue
        text = f"{value:.{_DIGITS}g}" if isinstance(value, float) else _shown(value)
        unit = {"pix": "pixel"}.get(column.unit, "")
        described = column.description
        found.append({"name": column.name, "text": described, "value": text, "unit": unit})
    return found


def _cards(output: Output) -> list[tuple[str, str, str]]:
    """Return the cards that are not metrics: version, inputs, options."""
    metrics = {card.keyword for card in METRIC_CARDS}
    return [
        (keyword, _shown(value), comment)
        for keyword, value, comment in output.cards
        if keyword not in metrics
    ]


def _shown(value: object) -> str:
    """Return a text in one line, without characters that control anything."""
    return printable(" ".join(str(value).split()))
