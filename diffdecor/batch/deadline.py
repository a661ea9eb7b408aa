"""Durations, and the times by which a batch is to end."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

from diffdecor.config.kinds import Kind

#: Seconds of the units of durations.
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(
    "".join(rf"(?:(?P<{unit}>\d+(?:\.\d*)?|\.\d+)\s*{unit}\s*)?" for unit in _UNITS),
    re.ASCII | re.IGNORECASE,
)
_LONGEST_DAYS = 1000
_LONGEST = _LONGEST_DAYS * _UNITS["d"]
#: Characters of any duration or time.
_MOST_CHARACTERS = 64
#: Digits of a number that can only be seconds from now, and of one that is seconds since 1970.
_FEW_DIGITS, _EPOCH_DIGITS = 6, 10
_A_DURATION = "a duration above zero, such as 45s, 90m, 1h30m or 1.5h"
_A_DEADLINE = (
    "a duration such as 90m or 1h30m, a time such as 07:30 or 2026-11-30T07:30Z, or seconds since "
    "1970 (@N)"
)


def parse_duration(value: object) -> float:
    """Parse a duration: ``45s``, ``90m``, ``1h30m``, ``2d``, or a number of seconds.

    Returns seconds; ValueError with what is expected.
    """
    seconds = _seconds(value)
    if seconds is None or not seconds > 0:
        msg = f"expected {_A_DURATION}"
        raise ValueError(msg)
    if seconds > _LONGEST:
        msg = f"expected a duration of at most {_LONGEST_DAYS}d"
        raise ValueError(msg)
    return seconds


def _seconds(value: object) -> float | None:
    """Return the seconds of a duration, None if it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(max(min(value, 2 * _LONGEST), 0))  # an integer may be beyond all floats
    if not isinstance(value, str) or len(value) > _MOST_CHARACTERS:
        return None
    text = value.strip()
    if re.fullmatch(r"\d+(\.\d*)?|\.\d+", text, re.ASCII):
        return float(text)
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    parts = {unit: part for unit, part in match.groupdict().items() if part is not None}
    return sum(float(part) * _UNITS[unit] for unit, part in parts.items()) if parts else None


def seconds_until(value: object, now: float | None = None) -> float:
    """Return the seconds until a deadline that is a duration, or a time to come.

    Times are ``HH:MM`` (the next such local time), ISO 8601 (local without Z or an offset) and
    seconds since 1970 (``@N``, or a number of ten digits, as in SLURM_JOB_END_TIME). `now` is in
    seconds since 1970. ValueError with what is expected.
    """
    now = time.time() if now is None else now
    moment = _moment(value, now)
    if moment is None:
        return _from_now(value)
    left = moment - now
    if left <= 0:
        msg = f"expected a time to come; this one was {_in_words(abs(left))} ago"
        raise ValueError(msg)
    if left > _LONGEST:
        msg = f"expected a time within {_LONGEST_DAYS} days"
        raise ValueError(msg)
    return left


def _from_now(value: object) -> float:
    """Return the seconds of a duration, which a number with many digits is not for sure."""
    text = _text(value)
    if re.fullmatch(r"\d+", text, re.ASCII) and len(text) > _FEW_DIGITS:
        msg = (
            f"expected {_A_DEADLINE}; a number is seconds from now if it has at most "
            f"{_FEW_DIGITS} digits, and seconds since 1970 if it has {_EPOCH_DIGITS}"
        )
        raise ValueError(msg)
    if _seconds(value) is None:
        msg = f"expected {_A_DEADLINE}"
        raise ValueError(msg)
    return parse_duration(value)


def _moment(value: object, now: float) -> float | None:
    """Return a time in seconds since 1970, None if it is none."""
    text = _text(value)
    if len(text) > _MOST_CHARACTERS:
        return None
    since_1970 = re.fullmatch(rf"@(\d+(?:\.\d*)?)|(\d{{{_EPOCH_DIGITS}}})", text, re.ASCII)
    if since_1970:
        return float(since_1970[1] or since_1970[2])
    of_day = re.fullmatch(r"(\d{1,2}):(\d\d)(?::(\d\d))?", text, re.ASCII)
    try:
        if of_day:
            return _next(*(int(part or 0) for part in of_day.groups()), now=now)
        if re.match(r"\d{4}-?[\dW]", text, re.ASCII) and not text.isdigit():
            return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _text(value: object) -> str:
    """Return a value as a text; Python writes no numbers of thousands of digits."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64
    return str(value).strip() if is_number or isinstance(value, str) else ""


def _next(hour: int, minute: int, second: int, *, now: float) -> float:
    """Return the next time after now that local clocks show this."""
    today = datetime.fromtimestamp(now)  # noqa: DTZ006  local clocks
    first = today.replace(hour=hour, minute=minute, second=second, microsecond=0, fold=0)
    days = (first + timedelta(days=number) for number in range(2))
    # Where the clock is set back, a time comes twice.
    moments = sorted(day.replace(fold=fold).timestamp() for day in days for fold in (0, 1))
    return next(moment for moment in moments if moment > now)


def _in_words(seconds: float) -> str:
    """Return a duration roughly."""
    for unit in ("d", "h", "m"):
        if seconds >= 2 * _UNITS[unit]:
            return f"{seconds / _UNITS[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"


#: The kinds of options: seconds, of the latter from now on.
DURATION = Kind(parse_duration, "DURATION")
DEADLINE = Kind(seconds_until, "TIME|DURATION")
