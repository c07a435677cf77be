"""The planner, which judges scanned sessions and plans their removal. A dry run and a run use it alike.

It reads nothing itself. A caller feeds it the results of a scan and the leftovers, and takes a `plan`. As long as the
planner `wants` sessions to be read in full before that plan stands, the caller feeds it these, and takes a new plan.

The rules are applied in one order, and each removal names the one that decided: `ttl` judges each session alone, then
the budgets (`miniclaw.session.retention.budgets`) judge all that it keeps. Nothing here needs trio, so that a read-only
command starts quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from miniclaw.session.entries import BESIDE, Leftover, ProblemFile, ScanRow, StoredSession, Tally
from miniclaw.session.retention.budgets import Candidate, Taken, lru_first, oldest_first, stock_after_ttl
from miniclaw.session.retention.leftover_rules import judge_leftovers
from miniclaw.session.retention.notice import DueSession, Notice
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import PlanRow, RetentionPolicy, lead_of, notice_of

_ZERO: Final = timedelta(0)
_NONE: Final = Tally()


class LiveSession(Struct, frozen=True, gc=False):
    """The state of a session in memory.

    Attributes:
        last_accessed: Time of its last use.
        busy: True if it is in use or dirty.
        pinned: True if it is pinned.
    """

    last_accessed: datetime
    busy: bool
    pinned: bool = False


FindLive: TypeAlias = Callable[[str], LiveSession | None]
"""Looks up the state in memory of the session of this id; None: it is not loaded."""


class Planner:
    """Builds a plan from the results of a scan, batch by batch.

    For the TTL alone no row is made for a session that it simply keeps: there may be a hundred thousand.

    Args:
        policy: The rules.
        notice: The one moment at which all are judged, and the announcements of earlier runs.
        live: Called for sessions that a rule might remove; None: no session is loaded.
    """

    def __init__(self, policy: RetentionPolicy, notice: Notice, *, live: FindLive | None = None) -> None:
        self._policy = policy
        self._notice = notice
        self._live = live
        self._now = notice.ages.now
        self._young = policy.young(notice.ages, notice.rules.interval)
        # From here on an age is a difference of wall-clock times.
        self._recent_since = max(self._young.since, notice.ages.frame_since)
        self._found = CleanupPlan(notice.ages, policy=policy)  # all that does not depend on a budget
        self._candidates: list[Candidate] = []  # with a budget only
        self._in_use: set[str] = set()  # keys of candidates
        self._spared: set[str] = set()  # keys of sessions that are expired by their file, but not by memory
        self._leftovers: list[Leftover] = []
        self._confirmed: set[str] = set()

    def feed(self, rows: Iterable[ScanRow], kept: Tally = _NONE) -> None:
        """Judge a batch of scan results.

        Args:
            rows: The results.
            kept: Further sessions, which no rule can remove; they are counted only.
        """
        self._count(kept.sessions, kept.bytes)
        found, budgets = self._found, self._policy.has_budget
        since, until = self._recent_since if budgets else self._young.since, self._young.until
        for row in rows:
            if isinstance(row, ProblemFile):
                found.problems.append(row)
                found.sessions_scanned += row.kind not in BESIDE
                continue
            self._count(1, row.size)
            header = row.header
            if header.pinned or not since <= header.last_accessed <= until:
                self._judge(row)
            elif budgets:
                self._add_recent(row)

    def _count(self, sessions: int, size: int) -> None:
        self._found.sessions_scanned += sessions
        self._found.readable += sessions
        self._found.sessions_bytes += size

    def _add_recent(self, row: StoredSession) -> None:
        """Consider for the budgets a session that no TTL removes."""
        used = row.header.last_accessed
        live = self._live(row.header.session_id) if self._live is not None else None
        if live is not None and (live.pinned or live.busy or live.last_accessed != used):
            self._judge(row)
            return
        by_number = self._by_number(row)
        self._candidates.append(Candidate(row, self._now - used, used, by_number, by_number))

    def _by_number(self, row: StoredSession) -> int | None:
        """Return when a session was announced for `max_sessions`."""
        if self._policy.max_sessions is None:
            return None
        return self._notice.due.find(row.identity_by_number, row.mark)

    def _judge(self, row: StoredSession) -> None:
        header, found, notice = row.header, self._found, self._notice
        live = self._live(header.session_id) if self._live is not None else None
        used, age, noted = self._last_use(row, live)
        if age is None:
            found.future.append(PlanRow(row, "future", notice.ages.now - used, used))
            return
        if header.pinned or (live is not None and live.pinned):
            found.pinned += 1
            return
        ttl = self._policy.ttl_of(header.channel)
        expired = ttl is not None and age > ttl
        in_use = live is not None and live.busy
        if used != header.last_accessed and not in_use and not expired and ttl is not None:
            in_use = (notice.ages.age(header.last_accessed) or _ZERO) > ttl
        if in_use and (expired or used != header.last_accessed):
            self._spared.add(row.key)
        if ttl is not None and not in_use and age > ttl - lead_of(ttl, notice.rules.interval):
            before = None if notice.last is None else notice.last.rules.ttl_of(header.channel)
            noted = notice.announced(noted, age, ttl, before)
            self._note(row.identity, row.mark, noted)
            stays = max(ttl - age, notice.stays(noted, notice_of(ttl, notice.rules.interval)))
            why = notice.why(age, ttl, before) if noted is None else None
            found.due.append(DueSession(row, "ttl", age, noted, stays, why))
            if expired and notice.is_ready(noted, notice_of(ttl, notice.rules.interval)):
                found.removals.append(PlanRow(row, "ttl", age, used))
                return
        if self._policy.has_budget:
            by_number = self._by_number(row)
            self._candidates.append(Candidate(row, age, used, by_number if noted is None else noted, by_number))
            if in_use:
                self._in_use.add(row.key)

    def _last_use(self, row: StoredSession, live: LiveSession | None) -> tuple[datetime, timedelta | None, int | None]:
        """Return the time of a session's last use, its age, and when that was announced."""
        notice, used = self._notice, row.header.last_accessed
        if live is None or live.last_accessed == used:
            noted = notice.due.find(row.identity, row.mark)
            return used, notice.age(used, row.identity, noted), noted
        # Unsaved, or the file was changed by hand: the younger of both counts, and no run has announced that one.
        age, its_age = notice.ages.age(used), notice.ages.age(live.last_accessed)
        if age is None or (its_age is not None and age <= its_age):
            return used, age, None
        return live.last_accessed, its_age, None

    def _note(self, which: int, mark: int, noted: int | None) -> None:
        """Keep an existing announcement, or announce now."""
        due = self._notice.due
        if noted is None:
            due.add(which, self._notice.ages.lived, mark)
        else:
            due.keep(which, mark)

    def feed_leftovers(self, leftovers: Iterable[Leftover]) -> None:
        """Add a batch of leftovers."""
        self._leftovers += leftovers

    def plan(self, *, free_disk: int | None = None) -> CleanupPlan:
        """Return the plan over everything fed so far; may be called again.

        Args:
            free_disk: Bytes that are free on the disk; None: not known, and `min_free_disk` removes nothing.
        """
        found, policy = self._found, self._policy
        leftovers, staying, due_files = judge_leftovers(self._leftovers, policy, self._notice)
        expired = [row.session for row in sorted(found.removals, key=lambda row: (-row.age, row.session.key))]
        freed = [row.leftover.size for row in leftovers if row.frees]
        scanned = Tally(found.readable, found.sessions_bytes)
        stock = stock_after_ttl(policy, scanned, expired=expired, kept=staying, freed=freed, free_bytes=free_disk)
        moving = {row.leftover.key for row in leftovers if row.reason == "legacy"}
        trash = [entry for entry in staying if entry.kind == "trash"]
        lru_first(self._candidates)
        oldest_first(trash)
        taken = Taken(
            policy, stock, self._candidates, trash,
            busy=self._in_use, trashing=expired if policy.trashes("ttl") else [],
            moving=[row.leftover for row in leftovers if row.trashes], is_ready=self._is_ready,
        )  # fmt: skip
        return replace(
            found,
            removals=found.removals + taken.removals,
            # A file that moves to quarantine is ours, and so not foreign.
            problems=[each for each in found.problems if each.kind != "foreign" or each.key not in moving],
            future=found.future.copy(),
            leftovers=leftovers + taken.trash,
            in_use=len(self._spared | taken.in_use),
            min_idle=len(taken.min_idle),
            unmet=[*taken.unmet],
            for_good=frozenset(taken.for_good),
            due=self._all_due(taken),
            due_files=due_files,
            notes=len(found.due)
            + len(taken.waiting)
            + sum(row.reason == "max_sessions" for row in taken.removals)
            + len(due_files),
        )

    def _is_ready(self, candidate: Candidate) -> bool:
        return self._notice.is_ready(candidate.by_number, notice_of(None, self._notice.rules.interval))

    def _all_due(self, taken: Taken) -> list[DueSession]:
        """Return the due sessions, and those that `max_sessions` announces or removes, each by its earliest rule."""
        notice, period = self._notice, notice_of(None, self._notice.rules.interval)
        due = {each.session.key: each for each in self._found.due}
        sooner = {row.session.key: row.reason for row in taken.removals}  # than by their TTL
        for key in due.keys() & sooner.keys():
            due[key] = replace(due[key], reason=sooner[key], stays=_ZERO)
        taking = [each for each in self._candidates if sooner.get(each.key) == "max_sessions"]
        for each in [*taken.waiting, *taking]:
            self._note(each.session.identity_by_number, each.session.mark, each.by_number)
            stays = _ZERO if each.key in sooner else notice.stays(each.by_number, period)
            known = due.get(each.key)
            if known is None or stays < known.stays:
                why = notice.why_too_many() if each.by_number is None else None
                due[each.key] = DueSession(each.session, "max_sessions", each.age, each.by_number, stays, why)
        return [*due.values()]

    def wants(self, plan: CleanupPlan) -> list[StoredSession]:
        """Return the sessions that this planner's plan removes for a budget and that were not read in full.

        A session that differs on a full read is replaced in the plan by another.
        """
        return [row.session for row in plan.removals if row.reason != "ttl" and row.session.key not in self._confirmed]

    def feed_whole(self, found: Mapping[str, ScanRow | None]) -> None:
        """Correct the plan by sessions that were read in full.

        Args:
            found: By the keys of sessions that `wants` returned; None: the session no longer exists.
        """
        self._confirmed.update(found)
        changed = {each.key for each in self._candidates if each.key in found and found[each.key] != each.session}
        for each in self._candidates:
            if each.key in changed:
                self._count(-1, -each.session.size)
        self._candidates = [each for each in self._candidates if each.key not in changed]
        self._found.due = [each for each in self._found.due if each.session.key not in changed]
        self.feed(row for key in changed if (row := found[key]) is not None)
