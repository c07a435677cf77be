"""Nothing goes unannounced: a run deletes only what an earlier run has announced, a notice period ago. Pure.

What a run finds due stands in a list until the next run. A session that is used, or whose file is another one, is not
recognised there, and is announced anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from msgspec import Struct, field

from miniclaw.clock import MICROSECOND, from_microseconds
from miniclaw.session.entries import Leftover, StoredSession
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.policy import Reason, RetentionPolicy, Staying, lead_of
from miniclaw.session.retention.timeline import Ages

Why: TypeAlias = Literal["first_run", "tightened_rule", "absence", "new_file"]
"""Why something is announced that is expired at first sight, and so was not announced in time.

``first_run``: no earlier run is known, as after an installation over old files, or with the state lost.
``tightened_rule``: by the rules of the last run it was not due. ``absence``: nobody was there for long, and a time
server says so. ``new_file``: it was not there at the last run, or pinned: it was restored, put in, or changed by hand.
"""


class Rules(Struct, frozen=True):
    """What of the rules decides whether something is due.

    Attributes:
        interval: Between two runs.
        ttl: See `RetentionPolicy.ttl`.
        ttl_by_channel: See `RetentionPolicy.ttl_by_channel`.
        quarantine_for: See `RetentionPolicy.quarantine_for`.
        max_sessions: See `RetentionPolicy.max_sessions`.
    """

    interval: timedelta
    ttl: timedelta | None = None
    ttl_by_channel: dict[str, timedelta | None] = field(default_factory=dict)
    quarantine_for: timedelta | None = None
    max_sessions: int | None = None

    def ttl_of(self, channel: str) -> timedelta | None:
        """Return the TTL of a channel."""
        return self.ttl_by_channel.get(channel, self.ttl)


class LastRun(Struct, frozen=True):
    """A run of the daily cleanup.

    Attributes:
        at: When it began, in microseconds since 1970.
        lived: What `Timeline.lived` was.
        count: What `Timeline.count` was.
        rules: By which it went.
    """

    at: int
    lived: int
    count: int
    rules: Rules


class Notice:
    """What earlier runs have announced, and what this one has to.

    Args:
        ages: The moment.
        rules: By which this run goes.
        last: The run before; None: none is known.
        due: What it and earlier ones have announced.
        ahead: What they have found ahead of the clock.
        waits: Whether this run waits for a notice period; else it deletes what it finds.
        on: Whether the daily runs do.
    """

    def __init__(
        self,
        ages: Ages,
        rules: Rules,
        last: LastRun | None = None,
        due: Noted | None = None,
        ahead: Noted | None = None,
        *,
        waits: bool = True,
        on: bool = True,
    ) -> None:
        self.ages = ages
        self.rules = rules
        self.last = last
        self.due = Noted() if due is None else due
        self.ahead = Noted() if ahead is None else ahead
        self.waits = waits
        self.on = on

    def age(self, stamp: datetime, which: int, announced: int | None = None) -> timedelta | None:
        """Return the age of something; see `Ages.age`. What is ahead of the clock counts from when a run found it.

        Args:
            stamp: When it was used.
            which: Its `identity`.
            announced: When it was announced, on `Timeline.lived`; None: it was not.

        Returns:
            None where this is the first run that finds it ahead, or where the clock is in doubt.
        """
        age = self.ages.age(stamp)
        if age is not None:
            return age if announced is None else self.ages.age(stamp, known=announced)
        found = self.ahead.find(which)
        if found is not None or not self.ages.doubted:
            self.ahead.note(which, self.ages.lived if announced is None else announced)
        return self.ages.age(stamp, known=announced if found is None else found)

    def stays(self, announced: int | None, period: timedelta) -> timedelta:
        """Return how long a daily run leaves something at least that was announced then, or only now; not negative."""
        if not self.on:
            return timedelta(0)
        passed = 0 if announced is None else self.ages.lived - announced
        return max(timedelta(0), period - passed * MICROSECOND)

    def is_ready(self, announced: int | None, period: timedelta) -> bool:
        """Return whether something may go for which an earlier run has announced it, or that waits for no notice."""
        return not self.waits or (announced is not None and self.stays(announced, period) <= timedelta(0))

    def announced(self, noted: int | None, age: timedelta, ttl: timedelta, ttl_before: timedelta | None) -> int | None:
        """Return when something was announced to go as soon as by this TTL; None: it was not.

        Args:
            noted: When a run found it due.
            age: Its age.
            ttl: What it expires by.
            ttl_before: What it expired by at the last run; None: never.
        """
        if noted is None or self.last is None or not _is_tighter(age, ttl, ttl_before):
            return noted
        return None

    def why(self, age: timedelta, ttl: timedelta, ttl_before: timedelta | None) -> Why | None:
        """Return why something was not announced before it expired; None: that is as it should be.

        Args:
            age: Its age.
            ttl: What it expires by.
            ttl_before: What it would have expired by at the last run; None: never.
        """
        if age <= ttl:
            return None
        if self.last is None:
            return "first_run"
        age_then = age - (self.ages.count - self.last.count) * MICROSECOND
        if age_then < timedelta(0):
            return None  # it was used since then
        if age_then <= ttl - lead_of(ttl, self.rules.interval):
            return "absence"
        return "tightened_rule" if _is_tighter(age, ttl, ttl_before) else "new_file"

    def why_too_many(self) -> Why | None:
        """Return the same for what `max_sessions` takes."""
        if self.last is None:
            return "first_run"
        before, now = self.last.rules.max_sessions, self.rules.max_sessions
        return "tightened_rule" if before is None or (now is not None and now < before) else None

    def staying(self, policy: RetentionPolicy) -> Staying | None:
        """Return which sessions a run need not look at; see `RetentionPolicy.surely_staying`."""
        if not self.waits:
            return policy.surely_staying(self.ages)  # nobody asks what is due
        young = policy.surely_staying(self.ages, self.rules.interval)
        if young is None or policy.ttl is None or policy.ttl_by_channel or not self.ages.is_plain:
            return young
        before = None if self.last is None else self.last.rules.ttl
        if before is None or before > policy.ttl:
            return young  # what was announced by another rule is looked at
        since = from_microseconds(self.ages.young_since(policy.ttl))
        return Staying(young.since, young.until, self.due, since)

    def after(self, by: timedelta) -> Notice:
        """Return the notice of a run that comes so much later, if the machine goes on."""
        return Notice(self.ages.after(by), self.rules, self.last, self.due, self.ahead, waits=self.waits, on=self.on)

    def ended(self) -> LastRun:
        """Return this run, for the next one."""
        return LastRun(self.ages.present, self.ages.lived, self.ages.count, self.rules)


def _is_tighter(age: timedelta, ttl: timedelta, ttl_before: timedelta | None) -> bool:
    """Return whether something goes sooner than it would have gone by the TTL of before."""
    return ttl_before is None or (ttl < ttl_before and age <= ttl_before)


class DueSession(Struct, frozen=True, gc=False):
    """A session that a rule will take if nobody uses it.

    Attributes:
        session: As it is stored.
        reason: The rule.
        age: Since it was last used.
        noted: When that was announced, on `Timeline.lived`; None: not by an earlier run.
        stays: How long it stays at least; then the next run deletes it.
        why: Why it was not announced in time; None: it was, or is now.
    """

    session: StoredSession
    reason: Reason
    age: timedelta
    noted: int | None
    stays: timedelta
    why: Why | None = None


class DueFile(Struct, frozen=True, gc=False):
    """A file in quarantine that will be deleted; see `DueSession`."""

    leftover: Leftover
    age: timedelta
    noted: int | None
    stays: timedelta
    why: Why | None = None
