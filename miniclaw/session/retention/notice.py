"""The notice period: a run deletes only sessions and files that an earlier run has announced, long enough ago. Pure.

The findings of a run are kept in a list until the next run. A session that is used, or whose file is another one, is
not recognised there, and is announced anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from msgspec import Struct, field
from msgspec.structs import replace

from miniclaw.clock import MICROSECOND, from_microseconds
from miniclaw.session.entries import Leftover, StoredSession
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.policy import Reason, RetentionPolicy, Staying, lead_of
from miniclaw.session.retention.timeline import Ages

Why: TypeAlias = Literal["first_run", "tightened_rule", "absence", "new_file"]
"""Why something is already expired when it is announced, and so was not announced in time.

``first_run``: no earlier run is known, as after an installation over old files, or with the state lost.
``tightened_rule``: by the rules of the last run it was not due. ``absence``: no run took place for long, as a time
server confirms. ``new_file``: at the last run it did not exist, or was pinned: it was restored, added, or changed by
hand.
"""


class Rules(Struct, frozen=True):
    """The rules that decide which sessions and files are due, as in `RetentionPolicy`.

    Attributes:
        interval: Time between two runs.
        ttl: Inactivity after which a session is expired, exclusive; None: never.
        ttl_by_channel: TTLs of single channels, which override `ttl`.
        quarantine_for: Time for which files are kept in quarantine; None: for ever.
        max_sessions: Largest number of sessions; None: any.
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
        at: Its beginning, in microseconds since 1970.
        lived: `Timeline.lived` at its beginning.
        count: `Timeline.count` at its beginning.
        rules: Its rules.
    """

    at: int
    lived: int
    count: int
    rules: Rules


class Notice(Struct, eq=False):
    """The announcements of earlier runs, and those that this run makes.

    Attributes:
        ages: The moment.
        rules: The rules of this run.
        last: The run before; None: none is known.
        due: Announcements of that and earlier runs.
        ahead: Their findings ahead of the clock.
        waits: If true, this run waits for a notice period; otherwise it deletes at once.
        on: If true, the daily runs wait for a notice period.
    """

    ages: Ages
    rules: Rules
    last: LastRun | None = None
    due: Noted = field(default_factory=Noted)
    ahead: Noted = field(default_factory=Noted)
    waits: bool = True
    on: bool = True

    def age(self, stamp: datetime, which: int, announced: int | None = None) -> timedelta | None:
        """Return the age of something, as `Ages.age` does; ahead of the clock, it counts from the first finding.

        Args:
            stamp: Time of the last use.
            which: Its `identity`.
            announced: When it was announced, on `Timeline.lived`; None: it was not.

        Returns:
            None if this is the first run that finds it ahead, or if the clock is in doubt.
        """
        age = self.ages.age(stamp)
        if age is not None:
            return age if announced is None else self.ages.age(stamp, known=announced)
        found = self.ahead.find(which)
        if found is not None or not self.ages.doubted:
            self.ahead.note(which, self.ages.lived if announced is None else announced)
        return self.ages.age(stamp, known=announced if found is None else found)

    def stays(self, announced: int | None, period: timedelta) -> timedelta:
        """Return the rest of the daily runs' notice period; zero if over or off. `announced` None: it begins now."""
        if not self.on:
            return timedelta(0)
        passed = 0 if announced is None else self.ages.lived - announced
        return max(timedelta(0), period - passed * MICROSECOND)

    def is_ready(self, announced: int | None, period: timedelta) -> bool:
        """Return whether something may be removed: its notice period is over, or this run waits for none."""
        return not self.waits or (announced is not None and self.stays(announced, period) <= timedelta(0))

    def announced(self, noted: int | None, age: timedelta, ttl: timedelta, ttl_before: timedelta | None) -> int | None:
        """Return when an expiry at least as early as by this TTL was announced; None: it was not.

        Args:
            noted: When a run found it due.
            age: Its age.
            ttl: Its TTL.
            ttl_before: Its TTL by the rules of the last run; None: never.
        """
        if noted is None or self.last is None or not _is_tighter(age, ttl, ttl_before):
            return noted
        return None

    def why(self, age: timedelta, ttl: timedelta, ttl_before: timedelta | None) -> Why | None:
        """Return why something was not announced before it expired; None: no announcement was missed.

        Args:
            age: Its age.
            ttl: Its TTL.
            ttl_before: Its TTL by the rules of the last run; None: never.
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
        """Return why `max_sessions` did not announce something earlier; None: no announcement was missed."""
        if self.last is None:
            return "first_run"
        before, now = self.last.rules.max_sessions, self.rules.max_sessions
        return "tightened_rule" if before is None or (now is not None and now < before) else None

    def staying(self, policy: RetentionPolicy) -> Staying | None:
        """Return the sessions that a run can skip; None: each has to be judged, as for a budget."""
        if not self.waits:
            return policy.surely_staying(self.ages)  # due sessions need no announcement
        young = policy.surely_staying(self.ages, self.rules.interval)
        if young is None or policy.ttl is None or policy.ttl_by_channel or not self.ages.is_plain:
            return young
        before = None if self.last is None else self.last.rules.ttl
        if before is None or before > policy.ttl:
            return young  # sessions announced by another rule have to be judged
        since = from_microseconds(self.ages.young_since(policy.ttl))
        return Staying(young.since, young.until, self.due, since)

    def after(self, by: timedelta) -> Notice:
        """Return the notice of a run that comes this much later, if the machine keeps running."""
        return replace(self, ages=self.ages.after(by))

    def ended(self) -> LastRun:
        """Return the record of this run for the next one."""
        return LastRun(self.ages.present, self.ages.lived, self.ages.count, self.rules)


def _is_tighter(age: timedelta, ttl: timedelta, ttl_before: timedelta | None) -> bool:
    """Return whether something expires sooner than it would have by the earlier TTL."""
    return ttl_before is None or (ttl < ttl_before and age <= ttl_before)


class DueSession(Struct, frozen=True, gc=False):
    """A session that a rule will remove unless it is used.

    Attributes:
        session: The session as stored.
        reason: The rule.
        age: Time since its last use.
        noted: When that was announced, on `Timeline.lived`; None: not by an earlier run.
        stays: Least time that it is kept; then the next run deletes it.
        why: Why it was not announced in time; None: it was, or is now.
    """

    session: StoredSession
    reason: Reason
    age: timedelta
    noted: int | None
    stays: timedelta
    why: Why | None = None


class DueFile(Struct, frozen=True, gc=False):
    """A file in quarantine that will be deleted; the attributes are those of `DueSession`."""

    leftover: Leftover
    age: timedelta
    noted: int | None
    stays: timedelta
    why: Why | None = None
