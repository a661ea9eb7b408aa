"""What an output says of itself: cards of version, inputs, options and metrics.

By them a later run knows whether it is done already. Every card is declared once: the header, the
JSON of the command line and the tables of the README are made from these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

from astropy.io import fits

from diffdecor._version import __version__
from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.options import Option, recorded_options
from diffdecor.errors import InputError
from diffdecor.fits.headers import Card, cards_to_header
from diffdecor.fits.open import Header, open_fits
from diffdecor.fits.paths import split_extension
from diffdecor.fits.reading import Reading
from diffdecor.fits.sums import InputSum
from diffdecor.pipeline.job import Job

VERSION_CARD = Card("version", "DDVERS", "", "version of diffdecor that made this")
PART_CARD = Card("part", "DDPART", "", "part of the result, if not the whole (--write)")
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
METRIC_CARDS = (
    Card("skipped", "DDSKIP", "", "True: no data, the difference is as it was"),
    Card("side", "DDCONVOL", "", "image that was convolved; at the position"),
    Card("side_source", "DDSIDEBY", "", "what says so: file, option, rebuilt or assumed"),
    Card("position_x", "DDXPOS", "pixel", "1-based position of the metrics below"),
    Card("position_y", "DDYPOS", "pixel", "1-based position of the metrics below"),
    Card("kernel_sum", "DDKSUM", "", "sum of the matching kernel"),
    Card("science_scale", "DDASCI", "", "a_S, scale of the science side"),
    Card("template_scale", "DDATMP", "", "a_T, scale of the template side"),
    Card("science_level", "DDSNOISE", "image unit2", "s, noise variance, science image"),
    Card("template_level", "DDTNOISE", "image unit2", "t, noise variance of the template"),
    Card("science_weight", "DDSWGHT", "", "weight of the science variance"),
    Card("template_weight", "DDTWGHT", "", "weight of the template variance"),
    Card("residual", "DDRESID", "sigma", "rms of rebuilt less real difference"),
    Card("residual_bright", "DDRESIDB", "sigma", "the same on bright pixels"),
    Card("noise_model", "DDNMODEL", "", "noise model used: white, measured or known"),
    Card("noise_reason", "DDNWHY", "", "why"),
    Card("noise_pixels", "DDNPIX", "pixel", "sky pixels whose noise was measured"),
    Card("held_out_white", "DDRHOW", "", "max |rho| on windows not fitted, white noise"),
    Card("held_out_measured", "DDRHOM", "", "max |rho| on windows not fitted, measured"),
    Card("filter_error", "DDPSIERR", "", "1 sigma of log psi at zero frequency"),
    Card("filters", "DDNFILT", "", "number of filters (nodes or cells)"),
    Card("nodes_bounded", "DDNBOUND", "", "True: noise changes faster than these follow"),
    Card("filter_half_width", "DDHWIDTH", "pixel", "arm of the filters"),
    Card("filter_tail", "DDTAIL", "", "share of their L2 norm cut off"),
    Card("fallbacks", "DDNFALL", "", "nodes or cells without their own noise level"),
    Card("filled_pixels", "DDNFILL", "pixel", "pixels filled before filtering"),
    Card("variance_before", "DDVARIN", "image unit2", "mean variance of the difference"),
    Card("variance_after", "DDVAROUT", "image unit2", "mean variance of the result"),
    Card("correlation_x_before", "DDCORX0", "", "x neighbour correlation, as it was"),
    Card("correlation_y_before", "DDCORY0", "", "y neighbour correlation, as it was"),
    Card("correlation_x_after", "DDCORX1", "", "x neighbour correlation of the result"),
    Card("correlation_y_after", "DDCORY1", "", "y neighbour correlation of the result"),
    Card("correlation_rms_before", "DDCORR0", "", "rms correlation to lag 3, as it was"),
    Card("correlation_rms_after", "DDCORR1", "", "rms correlation to lag 3 of the result"),
    Card("correlation_error", "DDCORERR", "", "1 sigma error of these if noise is white"),
    Card("rho_before", "DDRHO0", "", "max |rho| within 5 pixels, as it was"),
    Card("rho_after", "DDRHO1", "", "max |rho| within 5 pixels of the result"),
    Card("rho_error", "DDRHOERR", "", "1 sigma error of one rho if noise is white"),
    Card("factor_before", "DDFACT0", "", "matched-filter noise factor I, as it was"),
    Card("factor_after", "DDFACT1", "", "matched-filter noise factor I of the result"),
    Card("factor_error", "DDFACTER", "", "1 sigma error of the latter"),
    Card("covariance_factor", "DDCOVFAC", "", "sum of covariance over variance, result"),
    Card("chi_before", "DDCHI0", "", "measured/claimed variance, difference as it was"),
    Card("chi_after", "DDCHI1", "", "measured/claimed variance of the result"),
    Card("chi_error", "DDCHIERR", "", "1 sigma error of these"),
    Card("chi_worst", "DDCHIMAX", "", "that of its window farthest from 1"),
    Card("warnings", "DDWARN", "", "number of warnings, which are in HISTORY"),
    Card("gate", "DDGATE", "", "passed or failed --max-rho, --max-factor"),
    Card("sky_pixels", "DDNSKY", "pixel", "source-free pixels that were measured"),
    Card("fwhm_before", "DDFWHM0", "pixel", "PSF FWHM at half maximum, as it was"),
    Card("fwhm_after", "DDFWHM1", "pixel", "PSF FWHM at half maximum of the result"),
    Card("moment_fwhm_before", "DDFWHMM0", "pixel", "PSF FWHM of adaptive moments, as it was"),
    Card("moment_fwhm_after", "DDFWHMM1", "pixel", "PSF FWHM of adaptive moments, result"),
    Card("area_before", "DDNEA0", "pixel", "PSF noise-equivalent area, as it was"),
    Card("area_after", "DDNEA1", "pixel", "PSF noise-equivalent area, result"),
)
#: Roles of the files that have cards of their own.
_NAMED = ("science", "template", "difference", "kernel")
#: Role of a file that is read, but does not count: the options in it do.
_CONFIGURATION = "configuration"


def record(job: Job, sources: Mapping[str, object], metrics: Mapping[str, object]) -> Header:
    """Return the cards that record version, inputs (of `source_values`), options and metrics."""
    table = list(output_cards())
    values: dict[str, object] = {VERSION_CARD.keyword: __version__, **sources}
    for config in (job.decorrelation, job.files):
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
    return [VERSION_CARD, PART_CARD, *SOURCE_CARDS, *METRIC_CARDS, *recorded]


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
            # Without a file of its own the kernel is in the difference, or is found through it.
            # The unit of a noise power is in its cards.
            all_cards="kernel" in role
            or role.endswith("_noise_power")
            or (role == "difference" and job.kernel is None and not job.is_alone),
        )
        for role, file in files.items()
        if role != _CONFIGURATION
    }


def source_values(
    files: Mapping[str, str], sums: Mapping[str, Callable[[], int]]
) -> dict[str, object]:
    """Return the values of the cards of the input files, which are given by their role."""
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

    That is so if all cards but the metrics are as they would be written now; `sources` gives what
    `source_values` does, if that is needed.
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
    metrics = {card.keyword for card in METRIC_CARDS}
    compared = [card.keyword for card in output_cards() if card.keyword not in metrics]
    return all(there.get(keyword) == wanted.get(keyword) for keyword in compared)


def recorded_metrics(output: str) -> dict[str, object]:
    """Return the metrics that an output's header holds, None for those it does not."""
    with open_fits(output) as (hdus, _):
        header = hdus[0].header
        return {card.name: header.get(card.keyword) for card in METRIC_CARDS}
