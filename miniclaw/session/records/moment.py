"""One moment, as a program or a command knows it: the ages of sessions, the last run, and what is due."""

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
    """What is known of the time, of earlier runs and of what is due, at one moment.

    Attributes:
        ages: The ages at this moment.
        boottime: Since the start of the machine, in microseconds.
        last_run: The last run of the daily cleanup; None: none is known.
        due: What it found due.
        ahead: What it found ahead of the clock.
        held: Why it was held; empty where it was not.
    """

    ages: Ages
    boottime: int
    last_run: LastRun | None
    due: Noted
    ahead: Noted
    held: str = ""

    def notice(self, policy: RetentionPolicy, interval: timedelta | None, *, waits: bool, on: bool = True) -> Notice:
        """Return the notice for a run at this moment.

        Args:
            policy: The rules.
            interval: Between two runs; None: none comes by itself.
            waits: Whether it deletes only what was announced.
            on: Whether the daily runs do.
        """
        rules = Rules(
            DAILY if interval is None else interval, policy.ttl, dict(policy.ttl_by_channel), policy.quarantine_for,
            policy.max_sessions,
        )  # fmt: skip
        # Views: what one run finds and announces is not yet known to any other.
        return Notice(self.ages, rules, self.last_run, self.due.view(), self.ahead.view(), waits=waits, on=on)


def look_at(state: StateDirectory, clock: Clock) -> Moment:
    """Return the moment as the state's files have it; where there are none, ages are by the wall clock. Blocks.

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
    """Return the moment where nothing is known but the wall clock."""
    return Moment(Ages.by_wall_clock(clock.wall()), uptime(clock, read_clock(clock)), None, Noted(), Noted())
