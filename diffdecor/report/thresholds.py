"""Which outputs of a set are unlike the others: limits of their metrics, from the set or a file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from diffdecor.errors import InputError
from diffdecor.fits.damage import damage_named
from diffdecor.fits.open import check_file, quiet_astropy
from diffdecor.pipeline.results_table import number_of
from diffdecor.report.outputs import Output
from diffdecor.report.results import FAILED


class _Compared(NamedTuple):
    """A metric that is compared: whether small values are as odd as large ones, and its error."""

    both: bool
    error: str = ""


#: Metrics that are compared.
COMPARED = {
    "rho_after": _Compared(both=False, error="rho_error"),
    "factor_after": _Compared(both=True, error="factor_error"),
    "covariance_factor": _Compared(both=True),
    "chi_after": _Compared(both=True, error="chi_error"),
    "chi_worst": _Compared(both=True, error="chi_error"),
    "residual": _Compared(both=False),
    "fwhm_after": _Compared(both=True),
    "kernel_sum": _Compared(both=True),
}
#: Robust sigmas beyond which an output is an outlier, and outputs that tell a sigma.
_SIGMAS, _FEWEST = 5.0, 8
#: A sigma is at least this share of the median: outputs that are all alike have none.
_LEAST = 1e-3
_LARGEST_FILE = 1 << 20
_COLUMNS = ("metric", "low", "high")


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The range of a metric; what is outside is an outlier."""

    metric: str
    low: float = -math.inf
    high: float = math.inf
    #: Where the range is from: median, robust sigma, and the number of outputs; NaN if not known.
    median: float = math.nan
    sigma: float = math.nan
    number: int = 0

    def off(self, value: float) -> float:
        """Return how far outside a value is, in units of sigma; 0 inside."""
        beyond = max(self.low - value, value - self.high)
        if not beyond > 0:
            return 0.0
        scale = self.sigma if self.sigma > 0 else max(abs(value), 1e-30)
        return _SIGMAS + beyond / scale


@dataclass(frozen=True, kw_only=True)
class Oddity:
    """A metric of an output that is outside of its range."""

    threshold: Threshold
    value: float

    @property
    def words(self) -> str:
        """The oddity in a few words."""
        one = self.threshold
        limit = f"above {one.high:.4g}" if self.value > one.high else f"below {one.low:.4g}"
        return f"{one.metric} {self.value:.4g} is {limit}"


def thresholds_of(outputs: Sequence[Output]) -> list[Threshold]:
    """Return the ranges median +- 5 robust sigma (from the MAD) of the metrics of a set.

    Of metrics that fewer than 8 outputs have there is none. A sigma is not below the typical error
    of the metric, nor a thousandth of its median.
    """
    from astropy.stats import mad_std

    found = []
    for name, how in COMPARED.items():
        values = _known(outputs, name)
        if len(values) < _FEWEST:
            continue
        median = float(np.median(values))
        errors = _known(outputs, how.error)
        error = float(np.median(errors)) if errors else 0.0
        sigma = max(float(mad_std(values)), error, _LEAST * abs(median))
        reach = _SIGMAS * sigma
        found.append(
            Threshold(
                metric=name,
                low=median - reach if how.both else -math.inf,
                high=median + reach,
                median=median,
                sigma=sigma,
                number=len(values),
            )
        )
    return found


def _known(outputs: Sequence[Output], name: str) -> list[float]:
    values = (number_of(output.metrics, name) for output in outputs)
    return [value for value in values if math.isfinite(value)]


def oddities(output: Output, thresholds: Sequence[Threshold]) -> list[Oddity]:
    """Return the metrics of an output that are outside of their ranges, the farthest first."""
    found = [
        Oddity(threshold=one, value=value)
        for one in thresholds
        if one.off(value := number_of(output.metrics, one.metric)) > 0
    ]
    return sorted(found, key=lambda odd: -odd.threshold.off(odd.value))


def ordered(outputs: Sequence[Output], odd: Mapping[str, Sequence[Oddity]]) -> list[Output]:
    """Return outputs with those first that somebody should look at.

    Unreadable ones and jobs that failed, those that failed their limits, outliers by how far they
    are off, those whose noise is correlated or unknown, those that are still undone; then the
    others, by name.
    """

    def place(output: Output) -> tuple[int, float, str]:
        off = max((one.threshold.off(one.value) for one in odd[output.file]), default=0.0)
        if output.error is not None or output.missing in FAILED:
            rank = 0
        elif output.missing:
            rank = 4
        elif output.metrics.get("gate") == "failed":
            rank = 1
        elif off:
            rank = 2
        else:
            rank = 5 if output.verdict in {"white", "nearly white"} else 3
        return rank, -off, output.file

    return sorted(outputs, key=place)


def write_thresholds(thresholds: Sequence[Threshold], file: BinaryIO) -> None:
    """Write ranges as an ECSV table, which `read_thresholds` reads and anybody can edit."""
    import io

    from astropy.table import Table

    about = {
        "metric": "metric, as in report.ecsv",
        "low": "smallest value that is not an outlier",
        "high": "largest value that is not an outlier",
        "median": "median of the outputs",
        "sigma": "robust sigma of the outputs, from their MAD",
        "number": "number of outputs",
    }
    rows = [tuple(getattr(one, name) for name in about) for one in thresholds]
    table = Table(rows=rows or None, names=list(about), dtype=["U32", *(["f8"] * 4), "i8"])
    for name, description in about.items():
        table[name].description = description
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    file.write(text.getvalue().encode())


def read_thresholds(path: str) -> list[Threshold]:
    """Read ranges from an ECSV table with the columns metric, low and high.

    InputError if it cannot be read, or if a value is not what it must be.
    """
    from astropy.table import Table

    check_file(Path(path))
    advice = "make it with --write-thresholds"
    with damage_named(path, "not an ECSV table of thresholds", advice):
        if Path(path).stat().st_size > _LARGEST_FILE:
            msg = f"{path}: has more than {_LARGEST_FILE} bytes, too many for thresholds; {advice}"
            raise InputError(msg)
        with quiet_astropy(path):
            table = Table.read(path, format="ascii.ecsv")
    missing = [name for name in _COLUMNS if name not in table.colnames]
    if missing:
        msg = f"{path}: there is no column {', '.join(missing)}; {advice}"
        raise InputError(msg)
    found = [_threshold(row, path) for row in table]
    for metric, number in Counter(one.metric for one in found).items():
        if number > 1:
            msg = f"{path}: there are {number} rows for {metric}; leave one of them"
            raise InputError(msg)
    return found


def _threshold(row: Any, path: str) -> Threshold:  # noqa: ANN401  astropy has no types
    metric = str(row["metric"])
    if metric not in COMPARED:
        msg = f"{path}: {metric!r} is not a metric that is compared: {', '.join(COMPARED)}"
        raise InputError(msg)
    values = {}
    for name in ("low", "high", "median", "sigma"):
        if name in row.colnames and row[name] is not np.ma.masked:
            try:
                # Of a text: what is complex, or has a unit, is not a number that floats can be.
                values[name] = float(str(row[name]))
            except ValueError:
                msg = f"{path}: {name} of {metric} is {row[name]!r}; give a number"
                raise InputError(msg) from None
    low, high = values.get("low", math.nan), values.get("high", math.nan)
    # NaN, like nothing at all, is not a limit.
    values["low"] = -math.inf if math.isnan(low) else low
    values["high"] = math.inf if math.isnan(high) else high
    if values["low"] > values["high"]:
        msg = f"{path}: low is above high for {metric}; correct it"
        raise InputError(msg)
    return Threshold(
        metric=metric,
        low=values["low"],
        high=values["high"],
        median=values.get("median", math.nan),
        sigma=values.get("sigma", math.nan),
    )
