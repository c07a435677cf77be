"""What a cleanup would do: the scanned sessions, judged. Made the same way for a dry run and for a run.

The rules are applied in one order, and each removal names the one that decided: `ttl` goes by each session alone, then
the budgets (`miniclaw.session.retention.budgets`) by all that stay. Nothing here needs trio, so that a command which only looks
starts quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias

from msgspec import Struct

from miniclaw.session.directory import SessionDirectory
from miniclaw.session.ledger import Ledger
from miniclaw.session.retention.budgets import Candidate, Stock, lru_first, oldest_first, take
from miniclaw.session.retention.leftover_rules import LeftoverRow, judge_leftovers
from miniclaw.session.retention.plan import CleanupPlan, Count, why_held
from miniclaw.session.retention.policy import FUTURE_TOLERANCE, PlanRow, Reason, RetentionPolicy
from miniclaw.session.rows import Leftover, ProblemFile, ScanRow, StoredSession
from miniclaw.session.scanning import DirectoryScan

__all__ = ["CleanupPlan", "Count", "FindLive", "LeftoverRow", "LiveSession", "Planner", "scan_sync"]

_STAYING: Final[frozenset[Reason]] = frozenset({"within_ttl", "never"})

_STEP_SECONDS = 0.2  # between two reports of the progress


class LiveSession(Struct, frozen=True, gc=False):
    """What memory knows about a session.

    Attributes:
        last_accessed: When it was last used.
        busy: Whether it is in use, or has changes that are not saved.
        pinned: Whether it is pinned.
    """

    last_accessed: datetime
    busy: bool
    pinned: bool = False


FindLive: TypeAlias = Callable[[str], LiveSession | None]
"""What memory knows about the session of this id; None: nothing."""


class Planner:
    """Makes a plan of what a scan finds, bit by bit.

    For the TTL alone no row is made for what simply stays: there may be a hundred thousand.

    Args:
        policy: The rules.
        now: The one time that all are judged at, aware.
        live: Asked about sessions that a rule might take; None: nothing is in memory.
    """

    def __init__(self, policy: RetentionPolicy, now: datetime, *, live: FindLive | None = None) -> None:
        self._policy = policy
        self._now = now
        self._live = live
        self._found = CleanupPlan(now, policy=policy)  # what needs no budget to be told
        self._candidates: list[Candidate] = []  # with a budget only
        self._in_use: set[str] = set()  # keys of candidates
        self._spared: set[str] = set()  # keys of what is expired by its file, but not by memory
        self._leftovers: list[Leftover] = []
        self._confirmed: set[str] = set()

    def add(self, rows: Iterable[ScanRow]) -> None:
        """Judge some more of what was scanned."""
        found, policy, now = self._found, self._policy, self._now
        by_itself = not policy.has_budget
        for row in rows:
            if isinstance(row, ProblemFile):
                found.problems.append(row)
                found.sessions_scanned += row.kind != "foreign"
                continue
            found.sessions_scanned += 1
            found.readable += 1
            found.sessions_bytes += row.size
            reason = policy.judge(row.header, now)
            if not (by_itself and reason in _STAYING):
                self._add_judged(row, reason)

    def add_kept(self, sessions: int, size: int) -> None:
        """Count sessions that no rule can take, and their bytes."""
        self._found.sessions_scanned += sessions
        self._found.readable += sessions
        self._found.sessions_bytes += size

    def _add_judged(self, row: StoredSession, reason: Reason) -> None:
        header = row.header
        last_accessed = header.last_accessed
        live = self._live(header.session_id) if self._live is not None else None
        if live is not None:
            last_accessed = max(last_accessed, live.last_accessed)
        age = self._now - last_accessed
        if reason == "future" or age < -FUTURE_TOLERANCE:
            self._found.future.append(PlanRow(row, "future", age))
            return
        if reason == "pinned" or (live is not None and live.pinned):
            self._found.pinned += 1
            return
        ttl = self._policy.ttl_of(header.channel)
        in_use = live is not None and (live.busy or (reason == "ttl" and ttl is not None and age <= ttl))
        if reason == "ttl":
            if not in_use:
                self._found.removals.append(PlanRow(row, "ttl", age))
                return
            self._spared.add(row.key)
        if self._policy.has_budget:
            self._candidates.append((last_accessed, row.key, row))
            if in_use:
                self._in_use.add(row.key)

    def add_leftovers(self, leftovers: Iterable[Leftover]) -> None:
        """Take some more of what lies beside the sessions into account."""
        self._leftovers += leftovers

    def finish(self, *, free_disk: int | None = None) -> CleanupPlan:
        """Return the plan over all that was added; may be called again after more was.

        Args:
            free_disk: Bytes that are free on the disk; None: not known, and `min_free_disk` takes nothing.
        """
        found, policy, now = self._found, self._policy, self._now
        leftovers, staying = judge_leftovers(self._leftovers, policy, now)
        stock = Stock(
            found.readable - len(found.removals),
            found.sessions_bytes
            - (0 if policy.trashes("ttl") else found.bytes)
            + sum(entry.size for entry in staying if entry.kind == "trash"),
            free_disk,
        )
        for freeing in leftovers:
            if freeing.frees:
                stock.freed(freeing.leftover.size)
        if not policy.trashes("ttl"):
            for row in found.removals:
                stock.freed(row.session.size)
        moving = {row.leftover.key for row in leftovers if row.reason == "legacy"}
        trash = [entry for entry in staying if entry.kind == "trash"]
        lru_first(self._candidates)
        oldest_first(trash)
        trashing = [row.session for row in found.removals] if policy.trashes("ttl") else []
        trashing.sort(key=lambda session: (session.header.last_accessed, session.key))
        taken = take(policy, now, stock, self._candidates, trash, in_use=self._in_use, trashing=trashing)
        plan = CleanupPlan(
            now,
            found.removals + taken.removals,
            # What moves to quarantine is no stranger.
            [problem for problem in found.problems if problem.kind != "foreign" or problem.key not in moving],
            found.future.copy(),
            found.sessions_scanned,
            leftovers + taken.trash,
            pinned=found.pinned,
            in_use=len(self._spared | taken.in_use),
            min_idle=len(taken.min_idle),
            readable=found.readable,
            sessions_bytes=found.sessions_bytes,
            unmet=[*taken.unmet],
            for_good=frozenset(taken.for_good),
            policy=policy,
        )
        plan.held = why_held(plan)
        return plan

    def unconfirmed(self, plan: CleanupPlan) -> list[StoredSession]:
        """Return which sessions of this planner's plan go for a budget, and were only seen by their beginning.

        Each that turns out not to be as it seemed makes another one go in its place. So they are read whole and
        given to `confirm`, and the plan is made anew, until there are none.
        """
        return [row.session for row in plan.removals if row.reason != "ttl" and row.session.key not in self._confirmed]

    def confirm(self, found: Mapping[str, ScanRow | None]) -> None:
        """Take note of what sessions are when they are read whole.

        Args:
            found: By the keys of sessions that `unconfirmed` returned; None: it is gone.
        """
        self._confirmed.update(found)
        changed = {key for _, key, session in self._candidates if key in found and found[key] != session}
        for _, key, session in self._candidates:
            if key in changed:
                self._found.sessions_scanned -= 1
                self._found.readable -= 1
                self._found.sessions_bytes -= session.size
        self._candidates = [candidate for candidate in self._candidates if candidate[1] not in changed]
        self.add(row for key in changed if (row := found[key]) is not None)


def scan_sync(
    directory: SessionDirectory,
    policy: RetentionPolicy,
    now: datetime,
    *,
    on_progress: Callable[[int], None] | None = None,
    leftovers: Sequence[Leftover] = (),
    free_disk: int | None = None,
    ledger: Ledger | None = None,
) -> CleanupPlan:
    """Plan a cleanup of a directory that need not be owned. Blocks.

    What would go is read whole, as the removal will: a damaged file is told from an expired one.

    Args:
        directory: The sessions directory.
        policy: How long sessions are kept.
        now: The time that all are judged at.
        on_progress: Called with the number of entries scanned so far.
        leftovers: What lies beside the sessions.
        free_disk: Bytes that are free on the disk; None: not known, and `min_free_disk` takes nothing.
        ledger: What an earlier scan knows of the files, if there is one.

    Raises:
        StoreIOError: The directory cannot be listed.
    """
    planner = Planner(policy, now)
    planner.add_leftovers(leftovers)
    entries = 0
    expired, staying = partial(policy.is_expired, now=now), policy.surely_staying(now)
    with DirectoryScan(directory, expired, ledger=ledger, staying=staying) as scan:
        while not scan.complete:
            rows = scan.next_batch(seconds=_STEP_SECONDS)
            kept, kept_bytes = scan.take_kept()
            planner.add(rows)
            planner.add_kept(kept, kept_bytes)
            entries += len(rows) + kept
            if on_progress is not None:
                on_progress(entries)
    plan = planner.finish(free_disk=free_disk)
    while sessions := planner.unconfirmed(plan):
        planner.confirm({each.key: directory.read_row(each.key, verify=lambda _: True) for each in sessions})
        plan = planner.finish(free_disk=free_disk)
    return plan
