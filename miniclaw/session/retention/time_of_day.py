"""A time of day, every day, on a wall clock that is put forward and back. Pure.

There is exactly one moment for each day of the local calendar: where the clock jumps over the time, it is the moment of
the jump; where the time comes twice, it is the first; a day that the calendar leaves out has none. The rule needs only
what every `tzinfo` and the system can do, to tell the local time of an instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)


def next_time_of_day(now_utc: datetime, at: time, tz: tzinfo | None = None) -> datetime:
    """Return the next moment of a time of day, in UTC, later than now.

    Args:
        now_utc: Now, aware.
        at: The time of day, naive.
        tz: Where it is meant; None: where the machine is.

    Raises:
        ValueError: `now_utc` is naive or `at` is aware.
    """
    return next(moment for moment in _moments(now_utc, at, tz, days=range(-1, 5)) if moment > now_utc)


def latest_time_of_day(now_utc: datetime, at: time, tz: tzinfo | None = None) -> datetime:
    """Return the latest moment of a time of day, in UTC, not later than now; as `next_time_of_day`."""
    return next(moment for moment in _moments(now_utc, at, tz, days=range(1, -5, -1)) if moment <= now_utc)


def _moments(now_utc: datetime, at: time, tz: tzinfo | None, *, days: range) -> Iterator[datetime]:
    if now_utc.tzinfo is None or at.tzinfo is not None:
        raise ValueError("now is aware, the time of day naive")
    today = now_utc.astimezone(tz).date()
    for day in days:
        if (moment := _moment_on(today + day * _DAY, at, tz)) is not None:
            yield moment


def _moment_on(day: date, at: time, tz: tzinfo | None) -> datetime | None:
    """Return the first instant of a local day at which its clock shows the time or later; None: there is no such day.

    It is assumed that no clock is changed twice within 48 hours.
    """
    wanted = datetime.combine(day, at)
    as_utc = wanted.replace(tzinfo=UTC)
    # What the local clock may be ahead of UTC by: no offset is a day or more.
    offsets = {_local(as_utc - _DAY, tz) - (wanted - _DAY), _local(as_utc + _DAY, tz) - (wanted + _DAY)}
    possible = sorted(as_utc - offset for offset in offsets)
    for moment in possible:
        if _local(moment, tz) == wanted:
            return moment
    # The clock jumps over the time, between these two: look for the second of the jump.
    low, high = 0, -(-(possible[-1] - possible[0]) // _SECOND)
    start = possible[0].replace(microsecond=0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _local(start + middle * _SECOND, tz) >= wanted else (middle, high)
    jump = start + high * _SECOND
    before, after = _local(jump - _SECOND, tz), _local(jump, tz)
    return jump if day in {before.date(), after.date()} else None


def _local(moment: datetime, tz: tzinfo | None) -> datetime:
    """Return what the local clock shows, naive."""
    return moment.astimezone(tz).replace(tzinfo=None)
