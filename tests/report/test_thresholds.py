"""What is unlike the others, and the file that says so."""

import io

import numpy as np
import pytest

from diffdecor.errors import InputError
from diffdecor.pipeline.provenance import METRIC_CARDS
from diffdecor.report.outputs import Output
from diffdecor.report.thresholds import (
    COMPARED,
    oddities,
    ordered,
    read_thresholds,
    thresholds_of,
    write_thresholds,
)


def outputs(number=200, **metrics):
    random = np.random.default_rng(2)
    usual = {"rho_after": 0.01, "rho_error": 0.003, "factor_after": 1.0, "fwhm_after": 3.0}
    return [
        Output(
            file=f"o{n:03d}.fits",
            metrics={name: value * random.normal(1, 0.02) for name, value in usual.items()}
            | metrics,
        )
        for n in range(number)
    ]


def odd_of(several, limits):
    return {one.file: oddities(one, limits) for one in several}


def test_every_metric_that_is_compared_is_one():
    names = {card.name for card in METRIC_CARDS}
    assert set(COMPARED) <= names
    assert {how.error for how in COMPARED.values()} - {""} <= names


def test_normal_scatter_makes_no_outlier():
    several = outputs()
    limits = thresholds_of(several)
    assert {one.metric for one in limits} == {"rho_after", "factor_after", "fwhm_after"}
    assert not any(odd_of(several, limits).values())
    (fwhm,) = (one for one in limits if one.metric == "fwhm_after")
    assert fwhm.sigma == pytest.approx(0.06, rel=0.3)
    assert fwhm.number == 200


def test_a_third_of_bad_ones_does_not_hide_that_they_are_bad():
    several = [
        *outputs(140),
        *(Output(file=f"x{n}", metrics={"factor_after": 1.8}) for n in range(60)),
    ]
    odd = odd_of(several, thresholds_of(several))
    assert all(odd[f"x{n}"] for n in range(60))
    assert not any(odd[f"o{n:03d}.fits"] for n in range(140))


def test_little_correlation_is_never_odd_but_a_narrow_psf_is():
    several = outputs()
    limits = thresholds_of(several)
    assert not oddities(Output(file="a", metrics={"rho_after": 0.0}), limits)
    (odd,) = oddities(Output(file="a", metrics={"fwhm_after": 1.0}), limits)
    assert odd.words.startswith("fwhm_after 1 is below 2.")


def test_few_outputs_or_equal_ones_have_no_outliers():
    assert thresholds_of(outputs(7)) == []
    same = [Output(file=f"{n}", metrics={"kernel_sum": 1.0}) for n in range(20)]
    limits = thresholds_of([*same, Output(file="x", metrics={"kernel_sum": 1.0 + 1e-6})])
    assert not oddities(Output(file="x", metrics={"kernel_sum": 1.0 + 1e-6}), limits)
    assert oddities(Output(file="x", metrics={"kernel_sum": 1.1}), limits)


def test_the_order_is_that_of_urgency():
    several = outputs(20)
    first = [
        Output(file="broken", error=InputError("broken: no")),
        Output(file="failed", metrics=several[0].metrics | {"gate": "failed"}),
        Output(file="far", metrics=several[0].metrics | {"fwhm_after": 9.0}),
        Output(file="off", metrics=several[0].metrics | {"fwhm_after": 4.0}),
        Output(file="empty", metrics={"skipped": True}),
    ]
    limits = thresholds_of(several)
    mixed = [*several[::-1], *first[::-1]]
    found = [one.file for one in ordered(mixed, odd_of(mixed, limits))]
    assert found[:5] == [one.file for one in first]
    assert found[5:] == sorted(found[5:])


def written(limits, path):
    file = io.BytesIO()
    write_thresholds(limits, file)
    path.write_bytes(file.getvalue())
    return str(path)


def test_they_are_read_back(tmp_path):
    limits = thresholds_of(outputs())
    found = read_thresholds(written(limits, tmp_path / "limits.ecsv"))
    assert [(one.metric, one.low, one.high) for one in found] == [
        (one.metric, pytest.approx(one.low), pytest.approx(one.high)) for one in limits
    ]
    assert read_thresholds(written([], tmp_path / "none.ecsv")) == []


def test_anybody_can_write_some(tmp_path):
    path = tmp_path / "own.ecsv"
    path.write_text(
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: metric, datatype: string}\n"
        "# - {name: low, datatype: float64}\n# - {name: high, datatype: float64}\n"
        "metric low high\nrho_after nan 0.05\nfactor_after 0.9 1.1\n"
    )
    limits = read_thresholds(str(path))
    assert not oddities(Output(file="a", metrics={"rho_after": -9.0}), limits)
    (odd,) = oddities(Output(file="a", metrics={"rho_after": 0.06}), limits)
    assert odd.words == "rho_after 0.06 is above 0.05"


HEAD = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: metric, datatype: string}\n"
LIMITS = "# - {name: low, datatype: string}\n# - {name: high, datatype: string}\nmetric low high\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("no table at all", "not an ECSV table"),
        (f"{HEAD}metric\nrho_after\n", "no column low, high"),
        (f"{HEAD}{LIMITS}colour 1 2\n", "'colour' is not a metric"),
        (f"{HEAD}{LIMITS}rho_after x 2\n", "low of rho_after"),
        (f"{HEAD}{LIMITS}rho_after 3 2\n", "low is above high"),
        (f"{HEAD}{LIMITS}rho_after 1 2\nrho_after 3 4\n", "2 rows for rho_after"),
        (f"{HEAD}{LIMITS.replace('string', 'complex128')}rho_after 1 2\n", "low of rho_after"),
    ],
)
def test_what_is_no_such_file(tmp_path, text, problem):
    path = tmp_path / "bad.ecsv"
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        read_thresholds(str(path))
    with pytest.raises(InputError, match="no such file"):
        read_thresholds(str(tmp_path / "missing.ecsv"))
