"""What an output says of itself: its cards, its metrics, the warnings of its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.interpolate import Interpolation, Stamps
from diffdecor.errors import DiffdecorError, InputError
from diffdecor.fits.damage import damage_named
from diffdecor.fits.open import Header, image_shape, open_fits, quiet_astropy, read_pixels
from diffdecor.images.noise_power import NOISE_COVARIANCE, OF_DIFFERENCE, OF_RESULT
from diffdecor.pipeline.provenance import METRIC_CARDS, PART_CARD, VERSION_CARD, output_cards
from diffdecor.pipeline.results_table import ResultRow, as_kind, metric_kinds, verdict_of
from diffdecor.report.results import Told

#: The card of files that `batch --join` has made.
_JOINED = "DDJOIN"
#: Cards of the observation that say which image it is.
_OBSERVATION = ("OBJECT", "TELESCOP", "INSTRUME", "DETECTOR", "FILTER", "DATE-OBS", "EXPTIME")
_WARNING, _MORE = "diffdecor warning: ", "diffdecor: there are further warnings"


@dataclass(frozen=True, eq=False, kw_only=True)
class Output:
    """An output of a run, as its headers describe it; or why it cannot be read."""

    file: str
    error: DiffdecorError | None = None
    #: Metrics by name, those that are known.
    metrics: Mapping[str, Any] = field(default_factory=dict)
    #: Cards of diffdecor: keyword, value and comment.
    cards: Sequence[tuple[str, Any, str]] = ()
    #: Which image it is: keyword and value.
    observation: Sequence[tuple[str, Any]] = ()
    warnings: Sequence[str] = ()
    header: Header = None
    #: What the table of a batch says of it, if it was named by one.
    told: Told | None = None

    @property
    def missing(self) -> str:
        """Why there is no output, as the table of a batch has it: its status; or nothing."""
        return "" if self.told is None or self.told.is_there else self.told.status

    @property
    def has_pixels(self) -> bool:
        """Whether it can be drawn, as far as is known."""
        return self.error is None and not self.missing and not self.metrics.get("skipped")

    @property
    def status(self) -> str:
        """``done``, ``skipped`` or ``error``, or what the table of a batch says."""
        if self.error is not None:
            return "error"
        if self.told is not None:
            return self.told.status
        return "skipped" if self.metrics.get("skipped") else "done"

    @property
    def verdict(self) -> str:
        """What its noise is, in a word or two; or why there is none."""
        if self.error is not None:
            return "unreadable"
        return self.missing or verdict_of(self.metrics)

    @property
    def reason(self) -> str:
        """What is wrong with it, one line."""
        if self.error is not None:
            return " ".join(str(self.error).split())
        return "" if self.told is None else self.told.error

    @property
    def row(self) -> ResultRow:
        """Its row in a table of results."""
        return ResultRow(
            output=self.file,
            status=self.status,
            error=self.reason,
            metrics=self.metrics,
            of_batch={} if self.told is None else self.told.facts,
        )

    @property
    def planes_to_ignore(self) -> list[str]:
        """Mask planes whose pixels did not count."""
        return [name for name in str(self.header.get("DDIGNORE", "")).split(",") if name]


def read_output(file: str, told: Told | None = None) -> Output:
    """Read the headers of an output; what is wrong with it is in the result.

    One that is not there, as the table of a batch has `told`, is not looked for.
    """
    if told is not None and not told.is_there:
        return Output(file=file, told=told)
    try:
        with open_fits(file) as (hdus, _), quiet_astropy(file):
            header = hdus[0].header
            if _JOINED in header:
                msg = (
                    f"{file}: joined of the outputs of several detectors; name those, or the "
                    "results.ecsv of their batch"
                )
                raise InputError(msg)
            if VERSION_CARD.keyword not in header:
                msg = (
                    f"{file}: not an output of diffdecor run: it has no card "
                    f"{VERSION_CARD.keyword}; name outputs"
                )
                raise InputError(msg)
            if PART_CARD.keyword in header:
                msg = f"{file}: only a part of an output, which --write made; name the output"
                raise InputError(msg)
            if not any(hdu.name == "IMAGE" for hdu in hdus):
                msg = f"{file}: there is no HDU IMAGE in it; make it again"
                raise InputError(msg)
            return Output(
                file=file,
                metrics=_metrics(header),
                cards=_cards(header),
                observation=[(name, header[name]) for name in _OBSERVATION if name in header],
                warnings=_warnings(header),
                header=header.copy(),
                told=told,
            )
    except DiffdecorError as error:
        return Output(file=file, error=error, told=told)


def _metrics(header: Header) -> dict[str, Any]:
    """Return the metrics that are what they must be; hands may have edited cards."""
    kinds = metric_kinds()
    found = {
        card.name: as_kind(header.get(card.keyword), kinds[card.name]) for card in METRIC_CARDS
    }
    return {name: value for name, value in found.items() if value is not None}


def _cards(header: Header) -> list[tuple[str, Any, str]]:
    """Return the cards of diffdecor, in their order."""
    return [
        (card.keyword, header[card.keyword], header.comments[card.keyword])
        for card in output_cards()
        if card.keyword in header
    ]


def _warnings(header: Header) -> list[str]:
    """Return the warnings of the run, put together from the lines of HISTORY."""
    texts: list[str] = []
    inside = False
    for line in map(str, header.get("HISTORY", [])):
        if line.startswith(_WARNING):
            texts.append(line.removeprefix(_WARNING))
            inside = True
        elif line == _MORE:
            texts.append("There were further warnings, for which there was no room.")
            inside = False
        elif inside:
            # Written last, so that whatever follows a warning belongs to it.
            texts[-1] += f" {line}"
    return texts


def lag_images(file: str) -> dict[str, NDArray[np.float64]]:
    """Return the lag images of an output, by ``before`` and ``after``."""
    names = {(NOISE_COVARIANCE, OF_DIFFERENCE): "before", (NOISE_COVARIANCE, OF_RESULT): "after"}
    found = {}
    with open_fits(file) as (hdus, _):
        for hdu in hdus:
            when = names.get((hdu.name, hdu.ver))
            if when is not None and len(image_shape(hdu)) == 2:
                found[when] = read_pixels(hdu, file).astype(np.float64)
    return found


def filters_of(file: str) -> Stamps | None:
    """Return the decorrelation kernels of an output, None where they were not written."""
    with open_fits(file) as (hdus, _), quiet_astropy(file):
        by_name = {hdu.name: hdu for hdu in hdus}
        if "PSI" not in by_name:
            return None
        with damage_named(file, "its kernels PSI cannot be read", "make it again"):
            return _filters(by_name, file)


def _filters(by_name: Mapping[str, Any], file: str) -> Stamps | None:
    hdu = by_name["PSI"]
    stamps = read_pixels(hdu, file).astype(np.float64)
    if stamps.ndim == 2:
        stamps = stamps[np.newaxis]
    if stamps.ndim != 3 or not np.isfinite(stamps).all():
        return None
    positions = np.zeros((1, 2))
    if len(stamps) > 1:
        table = by_name["PSIPOS"].data
        positions = np.column_stack([table["X"], table["Y"]]).astype(np.float64) - 1.0
    nearest = str(hdu.header.get("INTERP", "")).strip().upper() == "NEAREST"
    how: Interpolation = "NEAREST" if nearest else "LINEAR"
    origin = int(hdu.header["CTRX"]) - 1, int(hdu.header["CTRY"]) - 1
    return Stamps(stamps=stamps, positions=positions, origin=origin, interpolation=how)


def short_name(file: str) -> str:
    """Return the name of a file without its folder."""
    return Path(file).name or file
