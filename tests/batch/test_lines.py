"""A record is the same after it was a line, and nothing else is taken for one."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.batch.lines import VERSION, is_beginning, line_of, plain, record_of
from diffdecor.batch.model import Record, Status
from diffdecor.pipeline.results_table import kind_of_metric

TEXTS = st.text(st.characters(codec=None), max_size=20)  # with surrogates
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
#: Hypothesis also takes texts of the modules it finds, and real metrics have kinds of their own.
NAMES = TEXTS.filter(lambda name: kind_of_metric(name) is None)
RECORDS = st.builds(
    Record,
    output=TEXTS,
    status=st.sampled_from(Status),
    exit_code=st.integers(0, 255),
    error=TEXTS,
    metrics=st.dictionaries(NAMES, NUMBERS | TEXTS | st.booleans() | st.integers(), max_size=5),
    warnings=st.lists(TEXTS, max_size=3).map(tuple),
    tries=st.integers(1, 9),
    started=TEXTS,
    wall_seconds=NUMBERS,
    cpu_seconds=NUMBERS,
    peak_memory=st.none() | st.integers(0, 2**60),
    host=TEXTS,
    manifest=TEXTS,
    key=TEXTS,
    stamps=st.dictionaries(TEXTS, st.lists(st.integers(-1, 2**64)).map(tuple), max_size=4),
)
RECORD = Record(
    output="/out/b\udcff.fits",
    status=Status.NOT_WHITE,
    exit_code=4,
    error='not white: "0.1"\u2028',
    metrics={"rho_after": 0.1, "gate": "failed"},
    stamps={"/in/a": (3, 2**62, 1), "/in/b": ()},
)


@given(RECORDS)
def test_a_line_is_read_back(record):
    line = line_of(record)
    assert line.isascii()
    assert line.count(b"\n") == 1 == line.endswith(b"\n")
    assert record_of(line) == record
    assert json.loads(line)["version"] == VERSION


def test_what_json_does_not_know():
    metrics = {
        "a": math.nan,
        "b": np.float64(np.inf),
        "c": np.float32(0.5),
        "d": np.int64(3),
        "e": np.bool_(True),
        "f": np.array(2.0),
        "g": (1, np.nan),
        "h": {"i": -math.inf},
    }
    record = Record(output="o", status=Status.DONE, exit_code=0, metrics=metrics)
    expected = {"a": None, "b": None, "c": 0.5, "d": 3, "e": True, "f": 2.0, "g": [1, None]}
    assert record_of(line_of(record)).metrics == expected | {"h": {"i": None}}
    assert plain(object)[:7] == "<class "


def changed(**values):
    return json.dumps(json.loads(line_of(RECORD)) | values).encode()


def test_unknown_fields_are_passed_over_and_missing_ones_have_their_defaults():
    assert record_of(changed(mood="good")) == RECORD
    short = {"version": 1, "output": "o", "status": "done", "exit_code": 0}
    expected = Record(output="o", status=Status.DONE, exit_code=0)
    assert record_of(json.dumps(short).encode()) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": ' + b"9" * 10_000 + b"}",
        changed(version=2),
        changed(version="1"),
        changed(status="fine"),
        changed(status=["done"]),
        changed(output=3),
        changed(exit_code=True),
        changed(exit_code=None),
        changed(metrics=[]),
        changed(metrics={"rho_after": "0.1"}),
        changed(metrics={"rho_after": [0.1]}),
        changed(metrics={"rho_after": True}),
        changed(metrics={"rho_after": 10**400}),
        changed(metrics={"filters": 10**30}),
        changed(metrics={"skipped": "no"}),
        changed(metrics={"side": 5}),
        changed(exit_code=10**30),
        changed(tries=-(10**30)),
        changed(wall_seconds=10**400),
        changed(peak_memory=1 << 63),
        changed(warnings=[1]),
        changed(wall_seconds="1"),
        changed(peak_memory=0.5),
        changed(stamps={"a": [0.5]}),
        changed(stamps={"a": None}),
        changed(wall_seconds=math.nan),
        b'{"version": 1, "status": "done", "exit_code": 0}',
    ],
)
def test_what_is_no_record(line):
    assert record_of(line) is None


@given(st.binary(max_size=50))
def test_no_bytes_are_an_error(line):
    assert record_of(line) is None


def test_a_part_of_a_line_is_no_record():
    line = line_of(RECORD).rstrip()
    assert record_of(line) == RECORD
    for end in range(len(line)):
        assert record_of(line[:end]) is None
    for start in range(1, len(line)):
        assert record_of(line[start:]) is None


def test_a_ledger_after_a_crash_of_the_machine():
    line = line_of(Record(output="/out/1.fits", status=Status.DONE, exit_code=0))
    for length in range(len(line)):
        for text in (line[:length], b"\0" * 99 + line[:length], line[:length] + b"\0" * 99):
            assert is_beginning(text)


@pytest.mark.parametrize("text", [b"\x89PNG\r\n\0\0", b"a,b\n", b"\0\0\x01\0", b"SIMPLE  =", b"{}"])
def test_files_of_others_are_no_ledgers(text):
    assert not is_beginning(text)
