"""Results of many jobs as one table."""

import io

import numpy as np
import pytest
from astropy.table import Table
from astropy.units import Unit

from diffdecor.pipeline.provenance import METRIC_CARDS
from diffdecor.pipeline.results_table import (
    BATCH_COLUMNS,
    COLUMNS,
    OF_BATCHES,
    ResultRow,
    as_kind,
    results_table,
    results_text,
)

ROWS = [
    ResultRow(
        output="a.fits",
        status="done",
        metrics={"rho_after": 0.01, "filters": 4, "side": "science", "skipped": False},
    ),
    ResultRow(output="b\udcff\n.fits", status="error", error='b.fits: no, "really" <no>'),
    ResultRow(output="c.fits", status="skipped", metrics={"skipped": True, "rho_after": np.nan}),
]


def test_every_metric_is_a_column_with_a_description():
    assert [one.name for one in COLUMNS[:3]] == ["output", "status", "error"]
    assert [one.name for one in COLUMNS[3:]] == [card.name for card in METRIC_CARDS]
    assert all(one.description for one in COLUMNS)
    for one in COLUMNS:
        Unit(one.unit)  # astropy knows it


def test_what_is_written_is_read_back():
    text = io.StringIO()
    results_table(ROWS).write(text, format="ascii.ecsv")
    text.getvalue().encode()  # whatever the names of files are
    found = Table.read(text.getvalue(), format="ascii.ecsv")
    assert found.colnames == [one.name for one in COLUMNS]
    assert found["rho_after"][0] == pytest.approx(0.01)
    assert found["filters"].dtype.kind == "i"
    assert found["skipped"].tolist() == [False, None, True]
    assert found["rho_after"].mask.tolist() == [False, True, True]
    assert found["error"][1] == ROWS[1].error
    assert found["output"][1] == "b??.fits"
    assert found["fwhm_after"].unit == Unit("pix")
    assert "image unit2" in found["variance_after"].description


def test_tables_of_batches_have_more_columns():
    names = [one.name for one in BATCH_COLUMNS]
    assert set(names) == {one.name for one in (*COLUMNS, *OF_BATCHES)}
    assert len(set(names)) == len(names)
    assert names[:5] == ["output", "status", "exit_code", "verdict", "error"]
    for one in BATCH_COLUMNS:
        Unit(one.unit)
        assert one.description


@pytest.mark.parametrize("columns", [COLUMNS, BATCH_COLUMNS])
def test_the_text_that_is_made_quickly_is_the_same_table(columns):
    strange = ['#x, "y".fits', "", "a b", "-1", "True", "x,y", "'", "#z", '"', "é"]
    rows = [
        *ROWS,
        *(ResultRow(output=name or "o", status="done", error=name) for name in strange),
        ResultRow(
            output="d.fits",
            status="timeout",
            metrics={"rho_after": 1 / 3, "factor_after": 1e-300, "side": "both"},
            of_batch={"exit_code": 124, "peak_memory": 2**40, "wall_seconds": 0.1, "tries": True},
        ),
    ]
    found = Table.read(results_text(rows, columns), format="ascii.ecsv")
    expected = results_table(rows, columns)
    assert found.colnames == expected.colnames
    for name in expected.colnames:
        assert found[name].tolist() == expected[name].tolist(), name
        assert found[name].unit == expected[name].unit
        assert found[name].description == expected[name].description
        assert found[name].dtype.kind == expected[name].dtype.kind
    assert len(Table.read(results_text([], columns), format="ascii.ecsv")) == 0


def test_no_rows_make_a_table_too():
    assert results_table([]).colnames == [one.name for one in COLUMNS]


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1.0, int, 1),
        (2, float, 2.0),
        (True, float, None),
        (1, bool, None),
        ("x", float, None),
        (3, str, None),
        (np.inf, float, None),
        (None, str, None),
    ],
)
def test_what_is_nothing_of_the_kind_is_unknown(value, kind, expected):
    assert as_kind(value, kind) == expected
