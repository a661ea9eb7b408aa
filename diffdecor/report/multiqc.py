"""Custom content for MultiQC: a table of a set of outputs, in a file ``*_mqc.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffdecor.pipeline.results_table import COLUMNS, printable
from diffdecor.report.outputs import Output

#: Metrics of the table: title, decimals, scale of colours.
_SHOWN = {
    "rho_before": ("max |rho| before", 3, "OrRd"),
    "rho_after": ("max |rho|", 4, "OrRd"),
    "factor_before": ("I before", 3, "OrRd"),
    "factor_after": ("I", 3, "RdYlBu"),
    "chi_after": ("measured/claimed", 3, "RdYlBu"),
    "fwhm_before": ("FWHM before", 2, "Blues"),
    "fwhm_after": ("FWHM", 2, "Blues"),
    "warnings": ("warnings", 0, "OrRd"),
}


def multiqc_json(outputs: Sequence[Output]) -> bytes:
    """Return the content of a file for MultiQC; outputs of one name keep their folders."""
    described = {column.name: column for column in COLUMNS}
    headers: dict[str, Any] = {
        "verdict": {"title": "noise", "description": "what the noise of the result is"},
    }
    for name, (title, decimals, scale) in _SHOWN.items():
        headers[name] = {
            "title": title,
            "description": described[name].description,
            "format": f"{{:,.{decimals}f}}",
            "scale": scale,
        }
        if described[name].unit:
            headers[name]["suffix"] = f" {described[name].unit}"
    content = {
        "id": "diffdecor",
        "section_name": "diffdecor",
        "description": "Noise of decorrelated difference images: correlation of two pixels "
        "within 5 pixels (0 is best), point-source noise I and measured/claimed variance "
        "(1 is best).",
        "plot_type": "table",
        "pconfig": {
            "id": "diffdecor_table",
            "title": "diffdecor: noise of difference images",
            "col1_header": "Output",
        },
        "headers": headers,
        "data": {
            name: _values(output) for name, output in zip(_names(outputs), outputs, strict=True)
        },
    }
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _values(output: Output) -> dict[str, Any]:
    known = {name: output.metrics[name] for name in _SHOWN if name in output.metrics}
    return {"verdict": output.verdict, **known}


def _names(outputs: Sequence[Output]) -> list[str]:
    """Return what outputs are called: the name of the file where that is enough."""
    stems = [Path(output.file).name for output in outputs]
    unique = len(set(stems)) == len(stems)
    names = stems if unique else [output.file for output in outputs]
    return [printable(name) for name in names]
