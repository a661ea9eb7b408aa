"""A job: what one run reads and writes, and the cards by which a later run knows it again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from astropy.io import fits

from diffdecor._version import __version__
from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.options import Declared, options, recorded_options
from diffdecor.errors import InputError
from diffdecor.fits.headers import cards_to_header
from diffdecor.fits.open import Header, open_fits
from diffdecor.fits.paths import split_extension
from diffdecor.fits.reading import Reading
from diffdecor.fits.sums import InputSum
from diffdecor.kernels.model import MatchingKernel
from diffdecor.pipeline.cards import METRIC_CARDS, Card

VERSION_CARD = Card("version", "DDVERS", "", "version of diffdecor that made this")
_SUM = "sum of its data, and of BSCALE, BZERO, BLANK"
SOURCE_CARDS = (
    Card("science", "DDSCI", "", "science file"),
    Card("science_sum", "DDSCISUM", "", _SUM),
    Card("template", "DDTMP", "", "template file"),
    Card("template_sum", "DDTMPSUM", "", _SUM),
    Card("difference", "DDDIF", "", "difference file"),
    Card("difference_sum", "DDDIFSUM", "", _SUM),
    Card("kernel", "DDKER", "", "kernel file, if it is not the difference"),
    Card("kernel_sum", "DDKERSUM", "", "sum of its data, and of its cards"),
    Card("others_sum", "DDOTHSUM", "", "sums of noise, masks, PSFs, stacks, in order"),
)
_NAMED = ("science", "template", "difference", "kernel")
"""Roles of the files that have cards of their own."""
_CONFIGURATION = "configuration"
"""Role of a file that is read, but does not count: the options in it do."""


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
    def inputs(self) -> dict[str, str]:
        """Every file that is named, by its role: what the job or its options call it."""
        files = {role: getattr(self, role) for role in (*_NAMED, _CONFIGURATION)}
        for item in options(FilesConfig):
            if item.option.metavar == "FILE":
                files[item.name] = getattr(self.files, item.name)
        centroids = self.decorrelation.cell_centroids
        files["cell_centroids"] = centroids if isinstance(centroids, str) else None
        return {role: file for role, file in files.items() if file}


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Parameters
    ----------
    status : str
        ``done``, or ``already done``.
    metrics : mapping
        Figures of the result by name.
    """

    status: str
    metrics: Mapping[str, object]


def record(job: Job, sources: Mapping[str, object], metrics: Mapping[str, object]) -> Header:
    """Return the cards that record version, inputs (of `source_values`), options and metrics."""
    table = list(output_cards())
    values: dict[str, object] = {VERSION_CARD.keyword: __version__, **sources}
    for config in (job.decorrelation, job.files):
        for item in recorded_options(type(config)):
            values[item.option.keyword] = _recorded(getattr(config, item.name), item)
    by_name = {card.name: card.keyword for card in METRIC_CARDS}
    values |= {by_name[name]: value for name, value in metrics.items()}
    return cards_to_header(values, table)


def output_cards() -> Sequence[Card]:
    """Return every card that a run adds to the primary header, in their order."""
    recorded = [
        Card(item.name, item.option.keyword, "", f"option {item.flag_name}")
        for config_type in (DecorrelationConfig, FilesConfig)
        for item in recorded_options(config_type)
    ]
    return [VERSION_CARD, *SOURCE_CARDS, *METRIC_CARDS, *recorded]


def _recorded(value: object, item: Declared) -> object:
    """Return an option's value as its card holds it; files by their name."""
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return ",".join(f"{x:g}:{y:g}" for x, y in value)
    is_file = isinstance(value, str) and item.option.metavar == "FILE"
    return Path(str(value)).name if is_file else value


def found_file(role: str, kernel: MatchingKernel, named: str) -> dict[str, str]:
    """Return the file that a kernel is really in, where the file that was named only leads to it.

    Parameters
    ----------
    role : str
        What the file is for.
    kernel : MatchingKernel
        The kernel.
    named : str
        The file that was to be read.

    Returns
    -------
    dict of str to str
        The file by its role; empty if it is the one that was named.
    """
    file = split_extension(kernel.name)[0]
    # Formats of other packages may call their kernels anything.
    is_other = file != split_extension(named)[0] and file.is_file()
    return {role: kernel.name} if is_other else {}


def input_sums(
    job: Job,
    files: Mapping[str, str],
    unneeded: Mapping[str, Collection[int]],
    reading: Reading,
) -> dict[str, Callable[[], int]]:
    """Open the input files to add them up.

    Parameters
    ----------
    job : Job
        The job.
    files : mapping of str to str
        Every file that is read, by its role.
    unneeded : mapping of str to collection of int
        HDUs that the pixels of the result do not depend on, by role of the file.
    reading : Reading
        What is read of the files for another reason need not be read again.

    Returns
    -------
    dict of str to callable
        What gives the sum of a file, by its role.

    Raises
    ------
    InputError
        If a file cannot be read.
    """

    @cache
    def opened(file: Path, hdus: tuple[int, ...], *, all_cards: bool) -> Callable[[], int]:
        return cache(InputSum(file, hdus, reading, all_cards=all_cards))

    return {
        role: opened(
            split_extension(file)[0],
            tuple(unneeded.get(role, ())),
            # Without a file of its own the kernel is in the difference, or is found through it.
            all_cards="kernel" in role or (role == "difference" and job.kernel is None),
        )
        for role, file in files.items()
        if role != _CONFIGURATION
    }


def source_values(
    files: Mapping[str, str], sums: Mapping[str, Callable[[], int]]
) -> dict[str, object]:
    """Return names and sums of the input files by keyword.

    Parameters
    ----------
    files : mapping of str to str
        Every file that is read, by its role.
    sums : mapping of str to callable
        What gives the sum of a file, by its role.

    Returns
    -------
    dict
        Values of the cards.
    """
    by_name = {card.name: card.keyword for card in SOURCE_CARDS}
    values: dict[str, object] = {}
    others = []
    for role, file in files.items():
        if role in _NAMED:
            values[by_name[role]] = Path(file).name
            values[by_name[f"{role}_sum"]] = str(sums[role]())
        elif role != _CONFIGURATION:
            # In order of their roles: the same files in other roles are another job.
            others.append(str(sums[role]()))
    if others:
        values[by_name["others_sum"]] = " ".join(others)
    return values


def is_done(job: Job, sources: Callable[[], Mapping[str, object]]) -> bool:
    """Say whether the output is there and was made by this very job.

    Parameters
    ----------
    job : Job
        The job.
    sources : callable
        Gives what `source_values` does, if that is needed.

    Returns
    -------
    bool
        Whether all cards but the metrics are as they would be written now.
    """
    path = Path(job.output)
    if not _ours(path):
        return False
    # As they are when they have been written: some texts and long numbers are cut off then.
    wanted = fits.Header.fromstring(record(job, sources(), {}).tostring())
    metrics = {card.keyword for card in METRIC_CARDS}
    compared = [card.keyword for card in output_cards() if card.keyword not in metrics]
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


def recorded_metrics(output: str) -> dict[str, object]:
    """Return the metrics that an output's header holds, None for those it does not."""
    with open_fits(output) as (hdus, _):
        header = hdus[0].header
        return {card.name: header.get(card.keyword) for card in METRIC_CARDS}
