"""Make a report: read the outputs, draw some of them, write the page and what goes with it."""

from __future__ import annotations

import io
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from diffdecor.errors import ConfigError, DiffdecorError, OutputError
from diffdecor.fits.atomic import atomic_output, check_output
from diffdecor.fits.open import check_file
from diffdecor.fits.paths import split_extension
from diffdecor.pipeline.results_table import BATCH_COLUMNS, COLUMNS, results_text
from diffdecor.report.drawn import PICTURES, SUMMARY, Drawing, draw_all, draw_summary
from diffdecor.report.multiqc import multiqc_json
from diffdecor.report.outputs import Output, read_output
from diffdecor.report.page import Drawn, page_of_one, page_of_several, require_report
from diffdecor.report.results import Told, is_table, read_results
from diffdecor.report.thresholds import (
    Oddity,
    Threshold,
    oddities,
    ordered,
    read_thresholds,
    thresholds_of,
    write_thresholds,
)

log = logging.getLogger(__name__)

#: Name of the page beside which the file for MultiQC is called after diffdecor.
_USUAL = "report"


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report is made of, and what is written."""

    #: Outputs, and tables of results of batches.
    outputs: Sequence[str]
    page: str
    #: The difference before, of one output, or folders where differences are.
    difference: Sequence[str] = ()
    #: Folder for the pictures.
    png: str | None = None
    #: Number of outputs that have pictures, of several.
    pictures: int = 20
    thresholds: str | None = None
    write_thresholds: str | None = None
    overwrite: bool = False
    threads: int | None = None
    max_memory: int = 1 << 30
    #: The tables that outputs were named by, and what these say of each.
    tables: Sequence[str] = ()
    told: Mapping[str, Told] = field(default_factory=dict)

    def expanded(self) -> ReportOptions:
        """Return options with the outputs of the tables instead of these."""
        tables = [file for file in self.outputs if is_table(file)]
        told: dict[str, Told] = {}
        outputs: list[str] = []
        for file in self.outputs:
            found = read_results(file) if file in tables else {file: None}
            told |= {output: one for output, one in found.items() if one is not None}
            outputs += found
        return replace(self, outputs=outputs, tables=tables, told=told)

    @property
    def table(self) -> str:
        """File of the raw values."""
        return str(Path(self.page).with_suffix(".ecsv"))

    @property
    def multiqc(self) -> str:
        """File for MultiQC."""
        page = Path(self.page)
        stem = "diffdecor" if page.stem == _USUAL else page.stem
        return str(page.with_name(f"{stem}_mqc.json"))

    @property
    def inputs(self) -> list[str]:
        """Files that are never overwritten."""
        return [*self.tables, *self.outputs, *self.named, *filter(None, (self.thresholds,))]

    @property
    def named(self) -> list[str]:
        """Differences that are named themselves, not by their folder."""
        return [one for one in self.difference if not os.path.isdir(one)]  # noqa: PTH112  Path raises on odd ones

    @property
    def written(self) -> list[str]:
        """Files that are written besides pictures."""
        return [*filter(None, (self.write_thresholds,)), self.table, self.multiqc, self.page]


@dataclass(eq=False)
class _Found:
    """What a report is made from, as it is found."""

    outputs: list[Output]
    drawn: dict[str, Drawn] = field(default_factory=dict)
    #: Differences that were drawn, which are inputs, too.
    inputs: list[str] = field(default_factory=list)


def make_report(options: ReportOptions) -> list[DiffdecorError]:
    """Write a page on outputs of runs; return the errors of those that cannot be read.

    Those that a table of a batch says are not there are no errors. The only output of a report must
    be readable. Raises a DiffdecorError if something is contrary
    or cannot be written; nothing is written then, but what was complete before.
    """
    require_report()
    options = options.expanded()
    _check(options)
    limits = None if options.thresholds is None else read_thresholds(options.thresholds)
    found = _Found([read_output(file, options.told.get(file)) for file in options.outputs])
    one = len(found.outputs) == 1 and not options.tables
    if one and found.outputs[0].error is not None:
        raise found.outputs[0].error
    if limits is None:
        limits = thresholds_of(found.outputs)
    elif not limits:
        log.warning("%s: there is no threshold in it; no output is an outlier", options.thresholds)
    if options.write_thresholds and not limits:
        log.warning(
            "%s: there is nothing in it: too few of these outputs have metrics that are compared",
            options.write_thresholds,
        )
    page = _page_of_one(options, found, limits) if one else _page_of_several(options, found, limits)
    _write(options, found, limits, page)
    return [output.error for output in found.outputs if output.error is not None]


def _check(options: ReportOptions) -> None:
    """Refuse what cannot be done, before any work."""
    if Path(options.page).suffix.lower() not in {".html", ".htm"}:
        msg = f"{options.page}: the page is HTML; give it a name that ends in .html"
        raise ConfigError(msg)
    if options.named and (len(options.outputs) != 1 or len(options.named) != 1):
        msg = (
            f"--difference {options.named[0]}: is not a folder, and one file is the difference of "
            "one OUTPUT; of several name the folders that their differences are in"
        )
        raise ConfigError(msg)
    for file in options.named:
        check_file(split_extension(file)[0])
    repeated, number = Counter(options.outputs).most_common(1)[0]
    if number > 1:
        msg = f"{repeated}: is named {number} times; name every output once"
        raise ConfigError(msg)
    places = {os.path.realpath(file) for file in options.written}
    if len(places) < len(options.written):
        msg = f"{options.write_thresholds}: is written by the report itself; choose another name"
        raise ConfigError(msg)
    for file in options.written:
        check_output(file, overwrite=options.overwrite, inputs=options.inputs)
    if options.png is not None and _is_there(options.png):
        _check_pictures(options, options.png)


def _is_there(folder: str) -> bool:
    """Say whether a folder is there; OutputError if it is not, and cannot be made."""
    try:
        if Path(folder).exists():
            return True
        problem = "" if Path(folder).absolute().parent.is_dir() else "there is no folder above it"
    except OSError as error:
        problem = str(error.strerror)
    if problem:
        raise _no_folder(folder, problem)
    return False


def _check_pictures(options: ReportOptions, folder: str) -> None:
    """Refuse pictures that must not be replaced, as far as their names are known."""
    if not Path(folder).is_dir():
        msg = f"{folder}: is not a folder; --png names one for the pictures"
        raise OutputError(msg)
    names = PICTURES if len(options.outputs) == 1 else (SUMMARY,)
    for stem in _stems(options.outputs).values():
        for name in names:
            file = Path(folder) / f"{stem}_{name}.png"
            if os.path.lexists(file):  # most are not, and there may be thousands of outputs
                check_output(file, overwrite=options.overwrite, inputs=options.inputs)


def _page_of_one(options: ReportOptions, found: _Found, limits: Sequence[Threshold]) -> bytes:
    (output,) = found.outputs
    _draw(draw_all, options, output, found)
    return page_of_one(output, found.drawn[output.file], oddities(output, limits))


def _page_of_several(options: ReportOptions, found: _Found, limits: Sequence[Threshold]) -> bytes:
    odd = _oddities(found.outputs, limits)
    found.outputs = ordered(found.outputs, odd)
    for output in list(found.outputs):
        if len(found.drawn) == options.pictures:
            break
        if not output.has_pixels:
            continue
        try:
            _draw(draw_summary, options, output, found)
        except DiffdecorError as error:  # its pixels are read only now
            unread = Output(file=output.file, error=error, told=output.told)
            found.outputs[found.outputs.index(output)] = unread
    odd = _oddities(found.outputs, limits)
    found.outputs = ordered(found.outputs, odd)
    about = {
        "raw": Path(options.table).name,
        "thresholds": "from a file" if options.thresholds else "median ± 5 robust sigma of these",
    }
    return page_of_several(found.outputs, found.drawn, odd, limits, about)


def _oddities(
    outputs: Iterable[Output], limits: Sequence[Threshold]
) -> dict[str, Sequence[Oddity]]:
    return {output.file: oddities(output, limits) for output in outputs}


def _draw(
    draw: Callable[[Output, Sequence[str], int | None, int], Drawing],
    options: ReportOptions,
    output: Output,
    found: _Found,
) -> None:
    """Draw an output; raises a DiffdecorError if its pixels cannot be read."""
    log.info("%s: drawing", output.file)
    drawing = draw(output, options.difference, options.threads, options.max_memory)
    found.drawn[output.file] = drawing.drawn
    found.inputs += drawing.files


def _write(options: ReportOptions, found: _Found, limits: Sequence[Threshold], page: bytes) -> None:
    """Write everything, the page last."""
    inputs = [*options.inputs, *found.inputs]
    contents: dict[str, bytes] = {}
    if options.png is not None:
        contents |= _pictures(options, options.png, found)
    if options.write_thresholds is not None:
        file = io.BytesIO()
        write_thresholds(limits, file)
        contents[options.write_thresholds] = file.getvalue()
    columns = BATCH_COLUMNS if options.tables else COLUMNS
    rows = [output.row for output in found.outputs]
    contents[options.table] = results_text(rows, columns).encode()
    contents[options.multiqc] = multiqc_json(found.outputs)
    contents[options.page] = page
    for name in contents:
        if options.png is None or Path(options.png).is_dir() or name in options.written:
            check_output(name, overwrite=options.overwrite, inputs=inputs)
    if options.png is not None:
        _make_folder(options.png)
    for name, content in contents.items():
        with atomic_output(name, overwrite=options.overwrite, inputs=inputs) as out:
            out.write(content)


def _pictures(options: ReportOptions, folder: str, found: _Found) -> dict[str, bytes]:
    """Return the pictures by the names of their files: that of the output, and of the picture."""
    files: dict[str, bytes] = {}
    stems = _stems(options.outputs)
    for output, drawn in found.drawn.items():
        for picture in drawn.pictures:
            files[str(Path(folder) / f"{stems[output]}_{picture.name}.png")] = picture.png
    return files


def _stems(outputs: Sequence[str]) -> dict[str, str]:
    """Return a name for every output: that of its file, with a number where others have it, too."""
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    names = {}
    for output in outputs:
        stem = Path(output).name.removesuffix(".fz").removesuffix(".gz").removesuffix(".fits")
        name = stem
        while not numbers[stem] or name in taken:
            numbers[stem] += 1
            name = stem if numbers[stem] == 1 else f"{stem}-{numbers[stem]}"
        taken.add(name)
        names[output] = name
    return names


def _make_folder(folder: str) -> None:
    try:
        Path(folder).mkdir(exist_ok=True)
    except OSError as error:
        raise _no_folder(folder, str(error.strerror)) from error


def _no_folder(folder: str, problem: str) -> OutputError:
    return OutputError(f"{folder}: the folder cannot be made: {problem}; make it first")
