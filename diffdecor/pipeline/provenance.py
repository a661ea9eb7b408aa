"""What an output says of itself: cards of version, inputs, options and metrics.

By them a later run knows whether it is done already. Every card is declared once: the header, the
JSON of the command line and `diffdecor help cards` are made from these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

from astropy.io import fits

from diffdecor._version import __version__
from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.kinds import FIT
from diffdecor.config.options import Option, recorded_options
from diffdecor.decorrelation.metrics import metric_table
from diffdecor.errors import InputError
from diffdecor.fits.headers import Card, cards_to_header
from diffdecor.fits.open import Header, open_fits
from diffdecor.fits.paths import split_extension
from diffdecor.fits.reading import Reading
from diffdecor.fits.sums import InputSum
from diffdecor.pipeline.job import Job

#: Number of the algorithm. Raise it when, and only when, results of the same files and options
#: change by more than rounding: pixels, variances, masks, PSFs, metrics. Outputs of another number
#: are not "done already". `tests/pipeline/test_algorithm.py` notices where it is forgotten.
ALGORITHM = 2
VERSION_CARD = Card("version", "DDVERS", "", "version of diffdecor that made this")
_SUM = "sum of its data and of BSCALE, BZERO, BLANK"
ALGORITHM_CARD = Card("algorithm", "DDALGO", "", "number of the algorithm that made this")
PART_CARD = Card("part", "DDPART", "", "part of the result that --write made")
SOURCE_CARDS = (
    Card("science", "DDSCI", "", "science file"),
    Card("science_sum", "DDSCISUM", "", _SUM),
    Card("template", "DDTMP", "", "template file"),
    Card("template_sum", "DDTMPSUM", "", _SUM),
    Card("difference", "DDDIF", "", "difference file"),
    Card("difference_sum", "DDDIFSUM", "", _SUM),
    Card("kernel", "DDKER", "", "kernel file if not the difference; fit: found"),
    Card("kernel_sum", "DDKERSUM", "", "sum of its data and of its cards"),
    Card("others_sum", "DDOTHSUM", "", "sums of noise, masks, PSFs, stacks, in order"),
)
#: Metrics that only a job knows, by that which they follow.
_OF_JOBS = {
    "side": (
        Card("side_source", "DDSIDEBY", "", "how known: file, option, fit, rebuilt, assumed"),
    ),
    "template_scale": (
        Card("fit_family", "DDFITFAM", "", "how the kernel varies that was found"),
        Card("fit_residual", "DDFITRES", "sigma", "rms that it leaves of the difference"),
        Card("fit_rounding", "DDFITRND", "", "the same in units of its rounding"),
        Card("fit_error", "DDFITERR", "", "error of that kernel, in units of its peak"),
        Card("fit_pixels", "DDFITPIX", "pixel", "held-out pixels it was compared with"),
        Card("fit_exact", "DDFITEX", "", "True: it leaves no more than rounding"),
    ),
    "template_weight": (
        Card("residual", "DDRESID", "sigma", "rms of rebuilt minus real difference"),
        Card("residual_bright", "DDRESIDB", "sigma", "the same on bright pixels"),
    ),
    "chi_worst": (
        Card("warnings", "DDWARN", "", "number of warnings (see HISTORY)"),
        Card("gate", "DDGATE", "", "passed or failed --max-rho, --max-factor"),
    ),
}
METRIC_CARDS = tuple(
    card
    for name, metric in metric_table().items()
    for card in (Card(name, *metric), *_OF_JOBS.get(name, ()))
)
#: Roles of the files that have cards of their own.
_NAMED = ("science", "template", "difference", "kernel")
#: Role of a file that is read, but does not count: the options in it do.
_CONFIGURATION = "configuration"


def record(job: Job, sources: Mapping[str, object], metrics: Mapping[str, object]) -> Header:
    """Return the cards that record version, inputs (of `source_values`), options and metrics."""
    return cards_of((job.decorrelation, job.files), sources, metrics)


def cards_of(
    configs: Sequence[DecorrelationConfig | FilesConfig],
    sources: Mapping[str, object],
    metrics: Mapping[str, object],
) -> Header:
    """Return the cards of version, inputs, the options of configs, and metrics."""
    table = list(output_cards())
    values: dict[str, object] = {
        VERSION_CARD.keyword: __version__,
        ALGORITHM_CARD.keyword: ALGORITHM,
        **sources,
    }
    for config in configs:
        for item in recorded_options(type(config)):
            values[item.keyword] = _recorded(item.value_in(config), item)
    by_name = {card.name: card.keyword for card in METRIC_CARDS}
    values |= {by_name[name]: value for name, value in metrics.items()}
    return cards_to_header(values, table)


def output_cards() -> Sequence[Card]:
    """Return every card that a run adds to the primary header, in their order."""
    recorded = [
        Card(item.name, item.keyword, "", f"option {item.flag_name}")
        for config_type in (DecorrelationConfig, FilesConfig)
        for item in recorded_options(config_type)
    ]
    return [VERSION_CARD, ALGORITHM_CARD, PART_CARD, *SOURCE_CARDS, *METRIC_CARDS, *recorded]


def _recorded(value: object, item: Option) -> object:
    """Return an option's value as its card holds it; files by their name."""
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return ",".join(f"{x:g}:{y:g}" for x, y in value)
    return Path(value).name if item.is_file and isinstance(value, str) else value


def input_sums(
    job: Job,
    files: Mapping[str, str],
    unneeded: Mapping[str, Collection[int]],
    reading: Reading,
) -> dict[str, Callable[[], int]]:
    """Return what gives the sum of every input file, by its role.

    `unneeded` are the HDUs that the pixels of the result do not depend on, by role of the file.
    """

    @cache
    def taken(file: Path, hdus: tuple[int, ...], *, all_cards: bool) -> Callable[[], int]:
        return cache(InputSum(file, hdus, reading, all_cards=all_cards))

    return {
        role: taken(
            split_extension(file)[0],
            tuple(unneeded.get(role, ())),
            # Without a file of its own the kernel is in the difference, or is found through it;
            # and cards of the difference help to find one from the images.
            # The unit of a noise power is in its cards.
            all_cards="kernel" in role
            or role.endswith("_noise_power")
            or (role == "difference" and job.kernel_file is None and not job.is_alone),
        )
        for role, file in files.items()
        if role != _CONFIGURATION
    }


def source_values(
    files: Mapping[str, str],
    sums: Mapping[str, Callable[[], int]],
    *,
    is_fitted: bool = False,
) -> dict[str, object]:
    """Return the values of the cards of the input files, which are given by their role.

    Without a file, the kernel may have been found from the images.
    """
    by_name = {card.name: card.keyword for card in SOURCE_CARDS}
    values: dict[str, object] = {by_name["kernel"]: FIT} if is_fitted else {}
    others = []
    for role, file in files.items():
        if role in _NAMED:
            name = Path(file).name
            values[by_name[role]] = f"./{name}" if (role, name) == ("kernel", FIT) else name
            values[by_name[f"{role}_sum"]] = str(sums[role]())
        elif role != _CONFIGURATION:
            # In order of their roles: the same files in other roles are another job.
            others.append(str(sums[role]()))
    if others:
        values[by_name["others_sum"]] = " ".join(others)
    return values


def is_done(job: Job, sources: Callable[[], Mapping[str, object]]) -> bool:
    """Say whether the output is there and was made by this very job.

    That is so if all cards but metrics and version are as they would be written now: another
    version with the same algorithm makes the same of it. `sources` gives what `source_values`
    does, if that is needed.
    """
    try:
        if not Path(job.output).is_file():
            return False
        with open_fits(job.output) as (hdus, _):
            there = hdus[0].header
    except (InputError, OSError):  # a name too long, a folder that may not be searched
        return False
    if VERSION_CARD.keyword not in there:
        return False
    # As they are when they have been written: some texts and long numbers are cut off then.
    wanted = fits.Header.fromstring(record(job, sources(), {}).tostring())
    others = {VERSION_CARD.keyword, *(card.keyword for card in METRIC_CARDS)}
    compared = [card.keyword for card in output_cards() if card.keyword not in others]
    return all(there.get(keyword) == wanted.get(keyword) for keyword in compared)


def recorded_metrics(output: str) -> dict[str, object]:
    """Return the metrics that an output's header holds, None for those it does not."""
    with open_fits(output) as (hdus, _):
        header = hdus[0].header
        return {card.name: header.get(card.keyword) for card in METRIC_CARDS}
