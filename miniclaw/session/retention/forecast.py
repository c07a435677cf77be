"""Forecast of the next days' cleanups, if no session is used meanwhile. Pure.

Day by day the rules of `miniclaw.session.retention.planner` are applied to the result of the day before. Sessions in
use, plans that are held, and other use of the disk are not foreseen. A session in the trash counts with its full size,
though it is compressed: the forecast does not promise bytes that may not come free.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Final

from msgspec import Struct

from miniclaw.session.entries import Leftover, StoredSession, Tally
from miniclaw.session.retention.budgets import (
    Candidate,
    Stock,
    Taken,
    exceeded,
    lru_first,
    oldest_first,
    stock_after_ttl,
)
from miniclaw.session.retention.leftover_rules import goes_to_trash, judge_leftover, waits
from miniclaw.session.retention.notice import Notice
from miniclaw.session.retention.policy import Reason, RetentionPolicy, lead_of, notice_of

MAX_FORECAST_DAYS: Final = 36_500
"""Greatest number of days of a forecast, inclusive."""

_DAY: Final = timedelta(days=1)


class ForecastDay(Struct, frozen=True):
    """The removals of the run of one day.

    Attributes:
        at: The time of the run.
        sessions: Number of sessions that it removes.
        bytes: The sum of their sizes.
        sessions_left: Number of sessions after it.
        bytes_left: The sum of the sizes of sessions and leftovers after it.
    """

    at: datetime
    sessions: int
    bytes: int
    sessions_left: int
    bytes_left: int


class Forecast(Struct, frozen=True):
    """The removals of the runs from now on.

    Attributes:
        now: The time of the first run.
        bytes_now: The sum of the sizes of sessions, trash, quarantine and other leftovers. A session captured by an
            unfinished removal counts neither here nor later.
        sessions_now: Number of readable sessions.
        due: The sessions that are due: announced, or to be announced by the first run.
        days: A run now, and one after each day.
    """

    now: datetime
    bytes_now: int
    sessions_now: int
    due: Tally
    days: list[ForecastDay]


def forecast(
    sessions: Iterable[StoredSession],
    policy: RetentionPolicy,
    notice: Notice,
    days: int,
    *,
    leftovers: Iterable[Leftover] = (),
    free_disk: int | None = None,
) -> Forecast:
    """Forecast the cleanups of some days.

    Args:
        sessions: All readable sessions, in any order.
        policy: The rules.
        notice: The time of the first run, and the announcements before it; a run follows every 24 hours.
        days: Number of following runs, from 0 to `MAX_FORECAST_DAYS`, both inclusive.
        leftovers: The leftovers of the store.
        free_disk: Bytes that are free on the disk; None: not known, and `min_free_disk` removes nothing.

    Raises:
        ValueError: `days` is out of these bounds.
    """
    if not 0 <= days <= MAX_FORECAST_DAYS:
        raise ValueError(f"days: from 0 to {MAX_FORECAST_DAYS:,}, not {days}")
    course = _Course(policy, sessions, notice, leftovers=leftovers, free_disk=free_disk, last_day=days)
    sessions_now, bytes_now = course.sessions, course.bytes_left()
    runs = [course.run(day, notice.after(day * _DAY)) for day in range(days + 1)]
    return Forecast(notice.ages.now, bytes_now, sessions_now, course.due, runs)


class _Course:
    """The remaining sessions and leftovers, day after day."""

    def __init__(
        self,
        policy: RetentionPolicy,
        sessions: Iterable[StoredSession],
        notice: Notice,
        *,
        leftovers: Iterable[Leftover],
        free_disk: int | None,
        last_day: int,
    ) -> None:
        self._policy = policy
        self._notice = notice
        self._free = free_disk
        self.sessions = 0
        self._sessions_bytes = 0
        self._expiring: list[list[StoredSession]] = [[] for _ in range(last_day + 1)]  # by day
        self._candidates: list[Candidate] = []  # the remaining ones; with a budget only
        self._gone: set[str] = set()  # keys of sessions that budgets have removed
        # Each group is of one kind and age, and the verdict on its first entry holds for all.
        self._groups = [[entry] for entry in leftovers if entry.kind != "unfinished"]
        self._due: dict[str, int] = {}  # sizes by keys
        for session in sessions:
            self.sessions += 1
            self._sessions_bytes += session.size
            self._add(session, notice, last_day)
        lru_first(self._candidates)

    def _add(self, session: StoredSession, notice: Notice, last_day: int) -> None:
        header, policy = session.header, self._policy
        noted = notice.due.find(session.identity, session.mark)
        known = notice.age(header.last_accessed, session.identity, noted)
        if header.pinned:
            return
        # Negative for a session that is ahead of the clock: some day the clock passes it.
        age = notice.ages.shown(header.last_accessed) if known is None else known
        ttl = policy.ttl_of(header.channel)
        if ttl is not None:
            if known is not None and age > ttl - lead_of(ttl, notice.rules.interval):
                self._due[session.key] = session.size
            before = None if notice.last is None else notice.last.rules.ttl_of(header.channel)
            noted = notice.announced(noted, age, ttl, before)
            day = _day_of_expiry(age, ttl, last_day)
            if day == 0 and not notice.is_ready(noted, notice_of(ttl, notice.rules.interval)):
                day = 1 if last_day else None  # the first run announces it
            if day is not None:
                self._expiring[day].append(session)
        if policy.has_budget:
            by_number = notice.due.find(session.identity_by_number, session.mark)
            self._candidates.append(
                Candidate(session, age, header.last_accessed, by_number if noted is None else noted, by_number)
            )

    @property
    def due(self) -> Tally:
        """The sessions announced already, and those that the first run announces or removes."""
        return Tally(len(self._due), sum(self._due.values()))

    def bytes_left(self) -> int:
        """Return the sum of the sizes of all that remains."""
        return self._sessions_bytes + sum(entry.size for group in self._groups for entry in group)

    def run(self, day: int, notice: Notice) -> ForecastDay:
        """Simulate the run of a day; to be called for each day in order."""
        at = notice.ages.now
        expired = [session for session in self._expiring[day] if session.key not in self._gone]
        gone: list[tuple[Reason, StoredSession]] = [("ttl", session) for session in expired]
        freed, moving = self._sweep(notice, is_first=day == 0)
        before = Tally(self.sessions, self._sessions_bytes)
        stock = stock_after_ttl(
            self._policy, before, expired=expired, kept=chain(*self._groups), freed=freed, free_bytes=self._free
        )
        for_good: set[str] = set()
        if self._policy.has_budget:
            if expired:
                keys = {session.key for session in expired}
                self._candidates = [candidate for candidate in self._candidates if candidate.key not in keys]
            if exceeded(self._policy, stock):
                taken = self._take(day, stock, expired if self._policy.trashes("ttl") else [], moving)
                for_good = taken.for_good
                gone += [(row.reason, row.session) for row in taken.removals]
                stock = taken.stock
        self._free = stock.free_bytes
        size = sum(session.size for _, session in gone)
        self.sessions -= len(gone)
        self._sessions_bytes -= size
        if trashed := [
            session for reason, session in gone if self._policy.trashes(reason) and session.key not in for_good
        ]:
            self._groups.append([Leftover("trash", session.key, session.size, at) for session in trashed])
        self._groups += [
            [Leftover("trash", file.key, file.size, at, from_quarantine=True)]
            for file in moving
            if file.key not in for_good
        ]
        return ForecastDay(at, len(gone), size, self.sessions, self.bytes_left())

    def _sweep(self, notice: Notice, *, is_first: bool) -> tuple[list[int], list[Leftover]]:
        """Remove expired leftovers; return the sizes that come free, and the files that move to the trash."""
        freed: list[int] = []
        moving: list[Leftover] = []
        groups, self._groups = self._groups, []
        for group in groups:
            reason = judge_leftover(group[0], self._policy, notice)
            if is_first and group[0].kind == "quarantined" and waits(group[0], self._policy, notice):
                reason = None  # the first run announces it
            if reason == "legacy":
                self._groups.append(
                    [
                        Leftover("quarantined", entry.key, entry.size, notice.ages.now, header=entry.header)
                        for entry in group
                    ]
                )
            elif reason is None:
                self._groups.append(group)
            elif goes_to_trash(group[0], self._policy):
                moving += group
            else:
                freed += [entry.size for entry in group]
        return freed, moving

    def _take(self, day: int, stock: Stock, trashing: list[StoredSession], moving: list[Leftover]) -> Taken:
        trash = [entry for group in self._groups if group[0].kind == "trash" for entry in group]
        oldest_first(trash)
        trashing.sort(key=lambda session: (session.header.last_accessed, session.key))
        taken = Taken(
            self._policy, stock, self._candidates, trash,
            trashing=trashing, moving=moving, is_ready=partial(self._is_ready, day), later=day * _DAY,
        )  # fmt: skip
        if day == 0:
            too_many = [row.session for row in taken.removals if row.reason == "max_sessions"]
            self._due |= {each.key: each.size for each in [*too_many, *(each.session for each in taken.waiting)]}
        if taken.trash:
            emptied = {id(row.leftover) for row in taken.trash}
            groups = ([entry for entry in group if id(entry) not in emptied] for group in self._groups)
            self._groups = [group for group in groups if group]
        if taken.removals:
            self._gone |= taken.gone
            self._candidates = [candidate for candidate in self._candidates if candidate.key not in taken.gone]
        return taken

    def _is_ready(self, day: int, candidate: Candidate) -> bool:
        """Return whether `max_sessions` may remove a session; after the first day it has always been announced."""
        period = notice_of(None, self._notice.rules.interval)
        return day > 0 or self._notice.is_ready(candidate.by_number, period)


def _day_of_expiry(age: timedelta, ttl: timedelta | None, last_day: int) -> int | None:
    """Return the first day on which a session of this age now is expired; None: not up to the last day."""
    if ttl is None or age + last_day * _DAY <= ttl:
        return None
    return 0 if age > ttl else (ttl - age) // _DAY + 1
