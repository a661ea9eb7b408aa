"""A job: what one run reads and writes, and the cards by which a later run knows it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from astropy.io import fits

from diffdecor import __version__
from diffdecor.cards import FIGURE_CARDS, Card
from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.errors import InputError
from diffdecor.fits.headers import cards_to_header
from diffdecor.fits.sums import input_sum
from diffdecor.fitsfile import Header, open_fits
from diffdecor.options import Declared, options

VERSION_CARD = Card("version", "DDVERS", "", "version of diffdecor that made this")
SOURCE_CARDS = (
    Card("science", "DDSCI", "", "science file"),
    Card("science_sum", "DDSCISUM", "", "sum of its data units, as DATASUM"),
    Card("template", "DDTMP", "", "template file"),
    Card("template_sum", "DDTMPSUM", "", "sum of its data units, as DATASUM"),
    Card("difference", "DDDIF", "", "difference file"),
    Card("difference_sum", "DDDIFSUM", "", "sum of its data units, as DATASUM"),
    Card("kernel", "DDKER", "", "kernel file"),
    Card("kernel_sum", "DDKERSUM", "", "sum of its data units, as DATASUM"),
    Card("others_sum", "DDOTHSUM", "", "sums of the files of noise, masks, PSFs"),
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one run reads and writes, and how.

    Parameters
    ----------
    science, template, difference : str
        Image files, with an extension in brackets if need be.
    kernel : str, optional
        Kernel file; by default the difference carries its kernel.
    output : str
        File to write; empty for a job that writes nothing.
    configuration : str, optional
        File that the options came from; like all inputs it is never overwritten.
    decorrelation : DecorrelationConfig
        How to decorrelate.
    files : FilesConfig
        How to read and write.
    overwrite : bool
        Replace the output if it is there.
    """

    science: str
    template: str
    difference: str
    kernel: str | None = None
    output: str = ""
    configuration: str | None = None
    decorrelation: DecorrelationConfig = field(default_factory=DecorrelationConfig)
    files: FilesConfig = field(default_factory=FilesConfig)
    overwrite: bool = False

    @property
    def other_inputs(self) -> list[str]:
        """Files of noise, masks, PSFs and the like."""
        names = [getattr(self.files, item.name) for item in options(FilesConfig)]
        metavars = [item.option.metavar for item in options(FilesConfig)]
        others = [name for name, kind in zip(names, metavars, strict=True) if kind == "FILE"]
        return [*filter(None, others), *self._centroid_file]

    @property
    def _centroid_file(self) -> list[str]:
        centroids = self.decorrelation.cell_centroids
        return [centroids] if isinstance(centroids, str) else []

    @property
    def inputs(self) -> list[str]:
        """Every file that is read."""
        others = filter(None, [self.kernel, self.configuration])
        return [self.science, self.template, self.difference, *others, *self.other_inputs]


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Parameters
    ----------
    status : str
        ``done``, or ``already done``.
    figures : mapping
        Figures of the result by name.
    """

    status: str
    figures: Mapping[str, object]


def record(job: Job, figures: Mapping[str, object]) -> Header:
    """Return the cards that record version, inputs, options and figures."""
    table = list(output_cards())
    values: dict[str, object] = {VERSION_CARD.keyword: __version__}
    values |= _source_values(job)
    for config in (job.decorrelation, job.files):
        for item in options(type(config)):
            values[item.option.keyword] = _recorded(getattr(config, item.name), item)
    by_name = {card.name: card.keyword for card in FIGURE_CARDS}
    values |= {by_name[name]: value for name, value in figures.items()}
    return cards_to_header(values, table)


def output_cards() -> Sequence[Card]:
    """Return every card that a run adds to the primary header, in their order."""
    recorded = [
        Card(item.name, item.option.keyword, "", f"option {item.flag_name}")
        for config_type in (DecorrelationConfig, FilesConfig)
        for item in options(config_type)
    ]
    return [VERSION_CARD, *SOURCE_CARDS, *FIGURE_CARDS, *recorded]


def _recorded(value: object, item: Declared) -> object:
    """Return an option's value as its card holds it; files by their name."""
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return ",".join(f"{x:g}:{y:g}" for x, y in value)
    is_file = isinstance(value, str) and item.option.metavar == "FILE"
    return Path(str(value)).name if is_file else value


def _source_values(job: Job) -> dict[str, object]:
    """Return names and sums of the input files by keyword."""
    values: dict[str, object] = {}
    named = [("science", job.science), ("template", job.template), ("difference", job.difference)]
    if job.kernel:
        named.append(("kernel", job.kernel))
    by_name = {card.name: card.keyword for card in SOURCE_CARDS}
    for role, file in named:
        values[by_name[role]] = Path(file).name
        values[by_name[f"{role}_sum"]] = str(input_sum(file))
    if job.other_inputs:
        values[by_name["others_sum"]] = " ".join(
            str(input_sum(file)) for file in sorted(set(job.other_inputs))
        )
    return values


def is_done(job: Job) -> bool:
    """Say whether the output is there and was made by this very job."""
    path = Path(job.output)
    if job.overwrite or not _ours(path):
        return False
    # As they are when they have been written: some texts and long numbers are cut off then.
    wanted = fits.Header.fromstring(record(job, {}).tostring())
    figures = {card.keyword for card in FIGURE_CARDS}
    compared = [card.keyword for card in output_cards() if card.keyword not in figures]
    with open_fits(path) as (hdus, _):
        there = hdus[0].header
        return all(there.get(keyword) == wanted.get(keyword) for keyword in compared)


def _ours(path: Path) -> bool:
    """Say whether a file is a complete output of ours."""
    try:
        if not path.is_file():
            return False
        with open_fits(path) as (hdus, _):
            return VERSION_CARD.keyword in hdus[0].header
    except (InputError, OSError):  # a name too long, a folder that may not be searched
        return False


def recorded_figures(output: str) -> dict[str, object]:
    """Return the figures that an output's header holds, None for those it does not."""
    with open_fits(output) as (hdus, _):
        header = hdus[0].header
        return {card.name: header.get(card.keyword) for card in FIGURE_CARDS}
