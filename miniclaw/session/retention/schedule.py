"""When the daily cleanup runs. Pure.

It runs every `cleanup_interval`, counted from the beginning of one run to the beginning of the next, by the time that
was witnessed or by the wall clock, whichever comes first: so restarts, sleep and wrong clocks neither postpone it for
ever nor multiply it. Or it runs at a time of day (`miniclaw.session.retention.time_of_day`). One that fell due while
nobody was there runs at the start.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta, tzinfo
from typing import Final

from miniclaw.clock import MICROSECOND, from_microseconds
from miniclaw.session.retention.notice import LastRun
from miniclaw.session.retention.policy import DAILY
from miniclaw.session.retention.time_of_day import latest_time_of_day, next_time_of_day
from miniclaw.session.retention.timeline import Ages

CLEANUP_INTERVAL_SECS: Final = 24 * 60 * 60
"""Seconds between two runs, unless configured otherwise."""

SETTLING: Final = timedelta(minutes=15)
"""No run comes so soon after the start of the machine: a time server may set the clock first."""


class Schedule:
    """When runs are due.

    Args:
        interval: From the beginning of one run to the beginning of the next, positive; None: never.
        at: A time of day, naive, instead of `interval`.
        tz: Where that is meant; None: where the machine is.

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
        """Between two runs; None: there are none."""
        return self._interval if self._at is None else DAILY

    def delay(self, ages: Ages, last: LastRun | None, boottime: int) -> timedelta | None:
        """Return how long it is until the next run, as far as is known now; zero: it is due. None: there is none.

        Args:
            ages: The moment.
            last: The last run; None: none is known.
            boottime: Since the start of the machine, in microseconds.
        """
        delay = self._delay(ages, last)
        return None if delay is None else max(timedelta(0), delay, SETTLING - boottime * MICROSECOND)

    def _delay(self, ages: Ages, last: LastRun | None) -> timedelta | None:
        if self.interval is None or last is None:
            return self.interval and timedelta(0)
        passed = (ages.lived - last.lived) * MICROSECOND
        # A run in the future was written down by a wrong clock.
        began = from_microseconds(last.at) if last.at <= ages.present else ages.now - passed
        if self._at is None:
            return self.interval - max(passed, ages.now - began)
        if began < latest_time_of_day(ages.now, self._at, self._tz):
            return timedelta(0)
        return next_time_of_day(ages.now, self._at, self._tz) - ages.now

    def due_at(self, run: LastRun, last: LastRun | None) -> LastRun:
        """Return a run as it is to be remembered: as if it had begun when it fell due, so that the next is not late.

        Args:
            run: As it began.
            last: The one before.
        """
        if self._at is not None or self._interval is None or last is None:
            return run
        late = run.lived - last.lived - self._interval // MICROSECOND
        if not 0 < late < self._interval // MICROSECOND:
            return run
        return LastRun(run.at - late, run.lived - late, run.count - late, run.rules)

    def run_from(self, next_run: datetime | None, moment: datetime) -> datetime | None:
        """Return the first of the coming runs that is not before a moment; None: none comes by itself.

        Args:
            next_run: The next run; None: there is none.
            moment: The moment.
        """
        if next_run is None or self.interval is None or moment <= next_run:
            return None if self.interval is None else next_run
        if self._at is not None:
            return next_time_of_day(moment - MICROSECOND, self._at, self._tz)
        return next_run + -((next_run - moment) // self.interval) * self.interval
