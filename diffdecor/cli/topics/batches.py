"""Batches: what a manifest is, what is done again, what is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from diffdecor.batch.model import FAILED, Record, Status
from diffdecor.cli.topics.blocks import Block, Row, Table, parsed
from diffdecor.fits.lock import DEAD
from diffdecor.pipeline.provenance import METRIC_CARDS
from diffdecor.pipeline.results_table import BATCH_COLUMNS

#: What each status means, and when the same command does the job again.
STATUSES: Mapping[Status, tuple[str, str]] = {
    Status.DONE: ("The output is there.", "if it is stale"),
    Status.SKIPPED: ("The output is there, and has no data in it.", "if it is stale"),
    Status.NOT_WHITE: (
        "The output is there, and its noise exceeds --max-rho or --max-factor.",
        "if it is stale",
    ),
    Status.REFUSED: (
        "There were warnings, and --strict allows none; nothing was written.",
        "if options or inputs are others, or with --redo",
    ),
    Status.ERROR: ("An input cannot be used, or the output cannot be written.", "yes"),
    Status.DIED: (
        "The process that did it died each time (killed, or out of memory), at last all alone.",
        "yes",
    ),
    Status.TIMEOUT: ("It took longer than --timeout.", "yes"),
    Status.UNDONE: (
        "It has not been started, was stopped at the deadline, or another process has it.",
        "yes",
    ),
}
#: Fields of a line of results.jsonl that the table has not, or by another name.
RECORDED: Mapping[str, str] = {
    "metrics": "metrics by name, as --json of run has them",
    "warnings": "texts of the warnings",
    "key": "sum of the algorithm, the options and the names of the inputs",
    "stamps": "size and times of every file that was read or written, by its name",
}
_CODES: Mapping[int, str] = {
    0: "all is done",
    2: "nothing was started: the table or an option is wrong; every wrong row is named",
    3: f"some failed: {', '.join(status for status in Status if status in FAILED)}",
    4: f"some are {Status.NOT_WHITE}, or were {Status.REFUSED}",
    75: f"some are {Status.UNDONE}: the same command again does them",
}
_TEXT = """
diffdecor batch MANIFEST does the jobs of a table, each as diffdecor run would, and diffdecor
manifest writes such a table.

## The table of jobs

A table that astropy reads (CSV, ECSV, FITS and others), with a row for every job. Its columns are
science, template, difference, kernel and output, of which only difference and output are needed,
and any option of run by its name, as in a file for --config (max_rho or max-rho). Names of files
are relative to the table. An empty cell means the default: the option that the batch has been
given, or else that of run: so a row without a kernel takes that of the difference, or finds it from
the images, as it does with fit in place of a kernel (a file called fit is ./fit). The whole table
is checked before any work; all wrong rows are named at once, with their lines. No two rows may have
one output. An input that is not there is no error of the table, but fails its own job. Columns
called comment or note, or by a name with # before it, are for you. The decimal separator is a
point.

```text
science,template,difference,output,max_rho
n1/sci_001.fits,n1/tmpl.fits,n1/diff_001.fits,out/001.fits,
n1/sci_002.fits,n1/tmpl.fits,n1/diff_002.fits,out/002.fits,0.05
```

## Files of several detectors

diffdecor manifest --each-hdu makes a row for every detector: the HDUs of one EXTNAME belong
together, and so do those of one number where there are no names. Two more columns say what the
output is part of: joined, a file, and detector, its name there. Once all outputs of a file are
there, diffdecor batch --join also writes that file, with the image of detector N1 in the HDU N1,
and its other planes in N1_MASK, N1_VARIANCE and so on, where diffdecor check FILE[N1] finds them.
diffdecor report takes the outputs of the detectors.

```sh
diffdecor manifest --science 'c4d_*_sci.fits' --template 'c4d_*_tmpl.fits' \\
    --difference 'c4d_*_diff.fits' --out-dir out --each-hdu
diffdecor batch out/manifest.csv --join
diffdecor check 'out/c4d_1_diff_decorr.fits[N1]'
ds9 'out/c4d_1_diff_decorr.fits[N1]'
```

## What becomes of a job

{}

The truth is the outputs: a job is done if its output is there, complete, and was made by the same
algorithm, from the same data, with the same options (diffdecor help reliability); otherwise it is
missing or stale. A stale output is replaced: so do not name files as outputs that are not. --redo
does all jobs again; --retry-failed does only those that failed. A job that fails for what may pass
(a network file system that loses a file for a moment) is tried again, --retries times, as is one
that dies or takes too long; after a death it is tried alone, so that it does not take others with
it. One failure stops nothing else, but with --fail-fast.

## What is recorded

In --out-dir, or beside the table of jobs: results.jsonl, to which a line is appended when a job
ends, and results.ecsv, which has one row for every job as it stands when the batch ends. Either is
whole after any crash. diffdecor report results.ecsv makes a page of it, outliers first. The columns
of the table besides the metrics, which are called as in diffdecor help cards:

{}

A line of results.jsonl has these, as far as they are known then, and:

{}

## Several at a time

An output is locked while it is written (diffdecor help reliability), and who has the lock looks
into results.jsonl before any work. So two batches on one table share the work and do nothing twice,
on one machine or on several. A lock whose process is gone is taken over at once, that of another
machine {dead} minutes after its last sign of life. No more than that is needed, and no flock.

## Exit codes

{}

If several hold, 75 goes before 3, and 3 before 4. --status has the same codes, and does nothing.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    titles = "status", "means", "done again by the same command"
    statuses = (
        Row(
            (status, *about),
            dict(zip(("status", "meaning", "again"), (status, *about), strict=True)),
        )
        for status, about in STATUSES.items()
    )
    metrics = {card.name for card in METRIC_CARDS}
    columns = {one.name: one.description for one in BATCH_COLUMNS if one.name not in metrics}
    recorded = {one.name: RECORDED[one.name] for one in fields(Record) if one.name in RECORDED}
    codes = (
        Row((str(code), text), {"code": code, "meaning": text}) for code, text in _CODES.items()
    )
    text = _TEXT.replace("{dead}", f"{DEAD / 60:.0f}")
    return parsed(
        text,
        Table("statuses", titles, tuple(statuses)),
        _fields("columns", columns),
        _fields("fields", recorded),
        Table("exit_codes", ("code", "meaning"), tuple(codes)),
    )


def _fields(name: str, described: Mapping[str, str]) -> Table:
    rows = (
        Row((field, text), {"field": field, "meaning": text}) for field, text in described.items()
    )
    return Table(name, (), tuple(rows))
