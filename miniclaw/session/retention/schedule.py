"""When the cleanup runs, and whether it may remove or has to announce first. Pure.

It runs every `CLEANUP_INTERVAL_SECS`, counted from the beginning of one run to the beginning of the next, or at a time
of day (`miniclaw.session.retention.time_of_day`). The time of the last run is kept, so that restarts neither postpone nor
multiply it; one that fell due while nobody was there runs at the start.

Three things make a run announce what it would remove, and leave the removing to the one 24 hours later: a workspace
that was never swept, a wall clock that ran ahead, and a long absence (which is what a clock that is wrong at boot
looks like). So neither a first installation over old sessions nor a wrong clock costs anybody anything in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta, tzinfo
from typing import Final, Literal, TypeAlias

from miniclaw.session.clock import Clock
from miniclaw.session.retention.time_of_day import latest_time_of_day, next_time_of_day
from miniclaw.session.state import Announcement, CleanupState, Suspicion

CLEANUP_INTERVAL_SECS: Final = 24 * 60 * 60
"""Seconds between two runs, unless configured otherwise."""

ANNOUNCE_PERIOD: Final = timedelta(hours=24)
"""From an announcement to the removal."""

CLOCK_SLACK: Final = timedelta(days=1)
"""Steps of the clock up to this, inclusive, are not suspicious."""

Decision: TypeAlias = Suspicion | Literal["remove"]
"""What a run is to do: announce, for that reason, or remove."""


def absence_limit(shortest_age: timedelta | None) -> timedelta | None:
    """Return how long an absence may be before it is suspicious: half of the shortest age, and never less than a day.

    Without the day a gateway with a TTL of hours that is switched off every night would announce for ever.
    """
    return None if shortest_age is None else max(shortest_age / 2, CLOCK_SLACK)


def was_long_absent(last_seen: datetime | None, now: datetime, shortest_age: timedelta | None) -> bool:
    """Return whether by the wall clock nobody was there for longer than is plausible."""
    limit = absence_limit(shortest_age)
    return last_seen is not None and limit is not None and now - last_seen > limit


def corrected(state: CleanupState, now: datetime) -> CleanupState:
    """Return the state without times in the future, which a wrong clock wrote: they count as now.

    It is to be kept: otherwise each start would wait for a whole period anew.
    """
    announcement = state.announcement
    if announcement is not None and announcement.at > now:
        announcement = Announcement(at=now, reason=announcement.reason)
    last_run_at = state.last_run_at if state.last_run_at is None else min(state.last_run_at, now)
    return CleanupState(last_run_at, announcement, state.held)


def delay_until_next_run(state: CleanupState, now: datetime, interval: timedelta) -> timedelta:
    """Return how long to wait at a start; zero where a run is due.

    Times in the future were written by a wrong clock; they delay a run by one full period at the most.
    """
    if state.announcement is not None:
        period, since = ANNOUNCE_PERIOD, state.announcement.at
    elif state.last_run_at is not None:
        period, since = interval, state.last_run_at
    else:
        return timedelta(0)
    return max(timedelta(0), min(period, period - (now - since)))


def delay_until_time_of_day(state: CleanupState, now: datetime, at: time, tz: tzinfo | None = None) -> timedelta:
    """Return how long to wait at a start where the cleanup runs at a time of day; zero where a run is due.

    Due is one that nobody was there for: the last run was before the latest time that has passed. An announcement is
    waited for as in `delay_until_next_run`, whatever the time of day.

    Args:
        state: What is known of earlier runs.
        now: The wall clock, aware.
        at: When it runs every day, naive.
        tz: Where that time of day is meant; None: where the machine is.
    """
    if state.announcement is not None:
        return delay_until_next_run(state, now, ANNOUNCE_PERIOD)
    if state.last_run_at is None or state.last_run_at < latest_time_of_day(now, at, tz):
        return timedelta(0)
    return next_time_of_day(now, at, tz) - now


def decide(state: CleanupState, suspicion: Suspicion | None) -> Decision:
    """Return what a run is to do.

    Args:
        state: What is known of earlier runs. The period of an announcement in it is over: who calls has waited for
            `delay_until_next_run`, on a clock that nobody can set.
        suspicion: What has been noticed of the wall clock since the last run or announcement.
    """
    if suspicion is not None:
        return suspicion
    return "first_sweep" if state == CleanupState() else "remove"


def announced(now: datetime, reason: Suspicion, state: CleanupState) -> CleanupState:
    """Return the state after an announcement."""
    return CleanupState(last_run_at=state.last_run_at, announcement=Announcement(at=now, reason=reason))


class ClockWatch:
    """Notices when the wall clock runs ahead of the monotonic one, as by a bad time server.

    A machine that was suspended looks the same, because the monotonic clock stands still meanwhile; it costs a day's
    delay.
    """

    def __init__(self, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self.rebase()

    def rebase(self) -> None:
        """Take the present as the new base."""
        self._wall_base = self._clock()
        self._monotonic_base = self._monotonic()

    def ran_ahead(self) -> bool:
        """Return whether the wall clock has run more than `CLOCK_SLACK` ahead since the base."""
        elapsed = timedelta(seconds=self._monotonic() - self._monotonic_base)
        return self._clock() - self._wall_base - elapsed > CLOCK_SLACK
