"""Durations and deadlines, in every form that a person or a scheduler has for them."""

import datetime as dt
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.batch.deadline import DEADLINE, DURATION, seconds_until

NOW = dt.datetime(2026, 11, 30, 14, 0, 0, tzinfo=dt.UTC).timestamp()


@pytest.fixture(params=["UTC", "America/Santiago", "Asia/Kolkata"])
def zone(request, monkeypatch):
    """Live in another time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("text", "seconds"), [
    ("45s", 45), ("90m", 5400), ("1h30m", 5400), ("2h", 7200), ("1.5h", 5400), ("2d", 172800),
    ("1h 30m 5s", 5405), (" 10M ", 600), ("90", 90), ("0.5", 0.5), (".5h", 1800), (90, 90),
    (1.5, 1.5), ("1d2h3m4.5s", 93784.5),
])  # fmt: skip
def test_durations(text, seconds):
    assert DURATION.parse(text) == pytest.approx(seconds)
    assert seconds_until(text, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    ["", "0", "0s", "-5m", "5x", "m", "h30", "30m1h", "1h1h", "nan", "inf", "1e9", "90 min",
     "1h:30", "\N{ARABIC-INDIC DIGIT ONE}h", None, True, float("nan"), -3, [], "1" * 5000, "9" * 60,
     pytest.param(10**5000, id="huge"), float("inf")],
)  # fmt: skip
def test_what_is_no_duration(value):
    with pytest.raises(ValueError, match=r"^expected a duration"):
        DURATION.parse(value)


@pytest.mark.parametrize("value", ["1001d", 1e9, "99999999999h"])
def test_no_duration_is_longer_than_any_process_lives(value):
    with pytest.raises(ValueError, match="at most 1000d"):
        DURATION.parse(value)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_parts_of_durations_add_up(hours, minutes, seconds):
    text = f"{hours}h{minutes}m{seconds}s"
    assert DURATION.parse(text) == pytest.approx(3600 * hours + 60 * minutes + seconds)


@pytest.mark.parametrize("text", [
    "2026-11-30T15:30:00Z", "2026-11-30T15:30Z", "20261130T153000Z", "2026-11-30 15:30+00:00",
    "2026-11-30T21:00+05:30", f"@{NOW + 5400:.0f}", f"{NOW + 5400:.0f}",
])  # fmt: skip
@pytest.mark.usefixtures("zone")
def test_times_of_one_meaning_everywhere(text):
    assert seconds_until(text, NOW) == pytest.approx(5400)
    assert seconds_until(int(text) if text.isdigit() else text, NOW) == pytest.approx(5400)


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("ahead", [60, 3600, 12 * 3600, 23 * 3600 + 1800])
def test_local_times(ahead):
    local = dt.datetime.fromtimestamp(NOW + ahead)  # noqa: DTZ006
    assert seconds_until(local.isoformat(), NOW) == pytest.approx(ahead)
    assert seconds_until(f"{local:%H:%M:%S}", NOW) == pytest.approx(ahead)
    assert seconds_until(f"{local:%H:%M}", NOW) == pytest.approx(ahead, abs=60)


@pytest.mark.usefixtures("zone")
def test_what_the_clock_shows_now_is_tomorrow():
    now = dt.datetime.fromtimestamp(NOW)  # noqa: DTZ006
    assert seconds_until(f"{now:%H:%M}", NOW) == pytest.approx(86400)


def test_a_time_that_comes_twice_is_the_next_one(monkeypatch):
    """Where clocks are set back an hour at night."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        before = dt.datetime(2026, 10, 25, 0, 45, tzinfo=dt.UTC).timestamp()  # 02:45 in summer
        assert seconds_until("02:50", before) == pytest.approx(300)
        assert seconds_until("02:30", before) == pytest.approx(2700)  # again, in winter
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("text", "ago"), [
    ("2026-11-30T13:00Z", "60 m"), (f"@{NOW - 90:.0f}", "90 s"), ("2026-11-20T14:00Z", "10 d"),
    (f"{NOW - 3 * 3600:.0f}", "3 h"), (f"@{NOW:.0f}", "0 s"),
])  # fmt: skip
def test_times_that_have_passed(text, ago):
    with pytest.raises(ValueError, match=f"^expected a time to come; this one was {ago} ago$"):
        seconds_until(text, NOW)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "25:00",
        "7:61",
        "tomorrow",
        "2026-13-01T00:00",
        "@",
        "@x",
        "@-5",
        None,
        True,
        "x" * 99,
        pytest.param(10**5000, id="huge"),
    ],
)
def test_what_is_no_deadline(value):
    with pytest.raises(
        ValueError, match=r"^expected a duration.*( or seconds since 1970|at most 1000d)"
    ):
        seconds_until(value, NOW)


@pytest.mark.parametrize("value", ["20261201", 20261201, "17330544001"])
def test_numbers_that_may_mean_several_things(value):
    with pytest.raises(ValueError, match="at most 6 digits"):
        seconds_until(value, NOW)


def test_times_too_far_off():
    for text in ("@9999999999", "9999999999", "2099-01-01T00:00Z"):
        with pytest.raises(ValueError, match=r"within 1000 days"):
            seconds_until(text, NOW)
    with pytest.raises(ValueError, match=r"^expected"):
        seconds_until("@" + "9" * 50, NOW)


def test_a_deadline_is_in_seconds_from_now():
    assert DEADLINE.parse("1h") == 3600
    assert DEADLINE.parse(f"@{time.time() + 3600:.3f}") == pytest.approx(3600, abs=5)
