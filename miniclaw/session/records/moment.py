"""One moment, as a program or a command knows it: the ages of sessions, the last run, and the sessions due."""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from miniclaw.clock import Clock, read_clock, uptime
from miniclaw.session.records.state import StateDirectory
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.notice import LastRun, Notice, Rules
from miniclaw.session.retention.policy import DAILY, RetentionPolicy
from miniclaw.session.retention.timeline import Ages


class Moment(Struct, frozen=True):
    """The facts known at one moment about the time, earlier runs, and the sessions and files due.

    Attributes:
        boottime: Time since the start of the machine, in microseconds.
        last_run: The last run of the daily cleanup; None: none is known.
        due: The sessions and files that it found due.
        ahead: Those that it found ahead of the clock.
        held: Why it was held; empty if it was not.
    """

    ages: Ages
    boottime: int
    last_run: LastRun | None
    due: Noted
    ahead: Noted
    held: str = ""

    def notice(self, policy: RetentionPolicy, interval: timedelta | None, *, waits: bool, on: bool = True) -> Notice:
        """Return the notice for a run at this moment; without an `interval` there are no scheduled runs.

        With `waits` the run deletes only sessions and files that were announced; with `on` the daily runs do so.
        """
        rules = Rules(
            DAILY if interval is None else interval, policy.ttl, dict(policy.ttl_by_channel), policy.quarantine_for,
            policy.max_sessions,
        )  # fmt: skip
        # Views: the finds and announcements of one run are not yet known to any other.
        return Notice(self.ages, rules, self.last_run, self.due.view(), self.ahead.view(), waits=waits, on=on)


def look_at(state: StateDirectory, clock: Clock) -> Moment:
    """Return the moment from the state's files. Blocks. If there are none, the ages follow the wall clock.

    Raises:
        SessionFileError: There is a state, and it cannot be read.
    """
    found, reading = state.load(), read_clock(clock)
    if found is None:
        return by_wall_clock(clock)
    due, ahead = state.read_due(found)
    found.timeline.observe(reading, keeps=None)
    return Moment(found.timeline.ages(), uptime(clock, reading), found.last_run, due, ahead, found.held)


def by_wall_clock(clock: Clock) -> Moment:
    """Return the moment if nothing is known but the wall clock."""
    return Moment(Ages.by_wall_clock(clock.wall()), uptime(clock, read_clock(clock)), None, Noted(), Noted())
