"""The schedule of the daily cleanup. Pure.

It runs every `cleanup_interval`, counted from the beginning of one run to the beginning of the next, by witnessed time
or by the wall clock, whichever comes first. Restarts, sleep and wrong clocks therefore neither postpone it for ever nor
multiply it. Alternatively it runs at a time of day. A run that fell due while the program was not running takes place
at the start.

A time of day is exactly one moment for each day of the local calendar: if the clock jumps over the time, the moment of
the jump; if the time comes twice, the first; a day that the calendar leaves out has none. The rule needs only the local
time of an instant, which every `tzinfo` and the system can give.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from miniclaw.clock import MICROSECOND, from_microseconds
from miniclaw.session.retention.notice import LastRun
from miniclaw.session.retention.policy import DAILY
from miniclaw.session.retention.timeline import Ages

CLEANUP_INTERVAL_SECS: Final = 24 * 60 * 60
"""Seconds between two runs, unless configured otherwise."""

SETTLING: Final = timedelta(minutes=15)
"""No run begins this soon after the start of the machine: a time server may set the clock first."""

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)


class Schedule:
    """The rule by which runs fall due.

    Args:
        interval: From the beginning of one run to the beginning of the next, positive; None: never.
        at: A time of day, naive, instead of `interval`.
        tz: The time zone of `at`; None: that of the machine.

    Raises:
        ValueError: `at` is no naive time of day.
    """

    def __init__(self, interval: timedelta | None, at: time | None = None, tz: tzinfo | None = None) -> None:
        if at is not None and not (isinstance(at, time) and at.tzinfo is None):
            raise ValueError(f"cleanup_at is a datetime.time without a zone, not {at!r}")
        self._interval = interval
        self._at = at
        self._tz = tz

    @property
    def interval(self) -> timedelta | None:
        """The time between two runs; None: there are none."""
        return self._interval if self._at is None else DAILY

    def delay(self, ages: Ages, last: LastRun | None, boottime: int) -> timedelta | None:
        """Return the time until the next run, as far as is known now; zero: it is due. None: there is none.

        Args:
            ages: The moment.
            last: The last run; None: none is known.
            boottime: Time since the start of the machine, in microseconds.
        """
        delay = self._delay(ages, last)
        return None if delay is None else max(timedelta(0), delay, SETTLING - boottime * MICROSECOND)

    def next_run(self, ages: Ages, last: LastRun | None, boottime: int) -> datetime | None:
        """Return the time of the next run; now: it is due. None: there is none. Arguments as for `delay`."""
        delay = self.delay(ages, last, boottime)
        return None if delay is None else ages.now + delay

    def _delay(self, ages: Ages, last: LastRun | None) -> timedelta | None:
        if self.interval is None or last is None:
            return self.interval and timedelta(0)
        passed = (ages.lived - last.lived) * MICROSECOND
        # A wrong clock has recorded a run in the future.
        began = from_microseconds(last.at) if last.at <= ages.present else ages.now - passed
        if self._at is None:
            return self.interval - max(passed, ages.now - began)
        if began < latest_time_of_day(ages.now, self._at, self._tz):
            return timedelta(0)
        return next_time_of_day(ages.now, self._at, self._tz) - ages.now

    def due_at(self, run: LastRun, last: LastRun | None) -> LastRun:
        """Return the record of a run, dated back to when it fell due, so that the next is not late.

        Args:
            run: The run with its actual beginning.
            last: The run before.
        """
        if self._at is not None or self._interval is None or last is None:
            return run
        late = run.lived - last.lived - self._interval // MICROSECOND
        if not 0 < late < self._interval // MICROSECOND:
            return run
        return LastRun(run.at - late, run.lived - late, run.count - late, run.rules)

    def run_from(self, next_run: datetime | None, moment: datetime) -> datetime | None:
        """Return the first of the coming runs that is not before a moment; None: no run is scheduled.

        Args:
            next_run: The next run; None: there is none.
            moment: The moment.
        """
        if next_run is None or self.interval is None or moment <= next_run:
            return None if self.interval is None else next_run
        if self._at is not None:
            return next_time_of_day(moment - MICROSECOND, self._at, self._tz)
        return next_run + -((next_run - moment) // self.interval) * self.interval


def next_time_of_day(now_utc: datetime, at: time, tz: tzinfo | None = None) -> datetime:
    """Return the next moment of a time of day, in UTC, later than now.

    Args:
        now_utc: Now, aware.
        at: The time of day, naive.
        tz: Its time zone; None: that of the machine.

    Raises:
        ValueError: `now_utc` is naive or `at` is aware.
    """
    return next(moment for moment in _moments(now_utc, at, tz, days=range(-1, 5)) if moment > now_utc)


def latest_time_of_day(now_utc: datetime, at: time, tz: tzinfo | None = None) -> datetime:
    """Return the latest moment of a time of day, in UTC, not later than now; arguments as in `next_time_of_day`."""
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

    No clock is assumed to change twice within 48 hours.
    """
    wanted = datetime.combine(day, at)
    as_utc = wanted.replace(tzinfo=UTC)
    # The possible offsets of the local clock from UTC; all are shorter than a day.
    offsets = {_local(as_utc - _DAY, tz) - (wanted - _DAY), _local(as_utc + _DAY, tz) - (wanted + _DAY)}
    possible = sorted(as_utc - offset for offset in offsets)
    for moment in possible:
        if _local(moment, tz) == wanted:
            return moment
    # The clock jumps over the time, between these two: search for the second of the jump.
    low, high = 0, -(-(possible[-1] - possible[0]) // _SECOND)
    start = possible[0].replace(microsecond=0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _local(start + middle * _SECOND, tz) >= wanted else (middle, high)
    jump = start + high * _SECOND
    before, after = _local(jump - _SECOND, tz), _local(jump, tz)
    return jump if day in {before.date(), after.date()} else None


def _local(moment: datetime, tz: tzinfo | None) -> datetime:
    """Return the time on the local clock, naive."""
    return moment.astimezone(tz).replace(tzinfo=None)
