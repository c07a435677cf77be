"""The budgets: they remove the least recently used sessions, and the trash before any of them. Pure.

They are applied in one order, each to the result of the ones before: `max_sessions`, `max_disk_bytes`,
`min_free_disk`. None removes a session that is pinned, ahead of the clock, in use, or was used within `min_idle`. A
budget that cannot be met for that reason is reported; `max_sessions` and `max_disk_bytes` then remove all they can, and
`min_free_disk` removes no session in vain.

Files in quarantine count for no budget. In the trash they count for `min_free_disk` alone, which removes them before
anything else: no session pays for a damaged file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from miniclaw.session.entries import Leftover, StoredSession, Tally
from miniclaw.session.retention.leftover_rules import LeftoverRow
from miniclaw.session.retention.policy import PlanRow, RetentionPolicy

BLOCK_BYTES: Final = 4096
"""Unit of the disk: a file is estimated to occupy its size, rounded up to this."""


class Candidate(Struct, frozen=True, gc=False):
    """A session that a budget may remove.

    Attributes:
        session: The session as stored.
        age: Time since its last use, by file and memory.
        used: Time of its last use.
        noted: When it was announced, by any rule, on `Timeline.lived`; None: it was not.
        by_number: When it was announced for `max_sessions`.
    """

    session: StoredSession
    age: timedelta
    used: datetime
    noted: int | None = None
    by_number: int | None = None

    @property
    def key(self) -> str:
        """The key of the session."""
        return self.session.key


Budget: TypeAlias = Literal["max_sessions", "max_disk_bytes", "min_free_disk"]

_NOT_KNOWN: Final = datetime.max.replace(tzinfo=UTC)  # sorts entries of the trash without a known age last


class Stock(Struct):
    """The sessions and the disk space, as they would be after the rules so far.

    Attributes:
        sessions: Number of readable sessions, including protected ones.
        disk_bytes: The sum of the sizes of sessions and of their entries in the trash; those that this plan moves there
            count in full, though they are compressed.
        free_bytes: Bytes free on the disk, by the estimate; None: not known, and `min_free_disk` removes nothing.
    """

    sessions: int
    disk_bytes: int
    free_bytes: int | None

    def freed(self, size: int) -> None:
        """Count a file as removed from the disk."""
        if self.free_bytes is not None:
            self.free_bytes += on_disk(size)


def on_disk(size: int) -> int:
    """Return the estimated bytes that a file of this size occupies on the disk."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def lru_first(candidates: list[Candidate]) -> None:
    """Sort sessions in place as budgets remove them: announced first, then least recently used; ties by key."""
    candidates.sort(key=lambda candidate: (candidate.noted is None, -candidate.age, candidate.session.key))


def oldest_first(trash: list[Leftover]) -> None:
    """Sort entries of the trash in place as budgets remove them."""
    trash.sort(key=lambda entry: (entry.since or _NOT_KNOWN, entry.key))


def exceeded(policy: RetentionPolicy, stock: Stock) -> bool:
    """Return whether any budget is not met; otherwise none removes anything."""
    return (
        (policy.max_sessions is not None and stock.sessions > policy.max_sessions)
        or (policy.max_disk_bytes is not None and stock.disk_bytes > policy.max_disk_bytes)
        or (
            policy.min_free_disk is not None
            and stock.free_bytes is not None
            and stock.free_bytes < policy.min_free_disk
        )
    )


def stock_after_ttl(
    policy: RetentionPolicy,
    sessions: Tally,
    *,
    expired: Sequence[StoredSession],
    kept: Iterable[Leftover],
    freed: Iterable[int],
    free_bytes: int | None,
) -> Stock:
    """Return the stock before the budgets.

    Args:
        policy: The rules.
        sessions: The readable sessions before the run.
        expired: Those of them that the TTL removes.
        kept: The leftovers that remain.
        freed: The sizes of removed leftovers.
        free_bytes: Bytes free on the disk before the run; None: not known.
    """
    deleted = [] if policy.trashes("ttl") else [session.size for session in expired]
    trashed = sum(entry.size for entry in kept if entry.kind == "trash" and not entry.from_quarantine)
    stock = Stock(sessions.sessions - len(expired), sessions.bytes - sum(deleted) + trashed, free_bytes)
    for size in (*freed, *deleted):
        stock.freed(size)
    return stock


class Taken:
    """The budgets of a policy, applied: their removals and the remaining stock.

    Args:
        policy: The budgets.
        stock: The stock before them; not changed.
        candidates: The sessions that nothing but `min_idle` and `busy` protects, as `lru_first` sorts them.
        trash: Its entries, as `oldest_first` sorts them.
        busy: Keys of candidates that memory is using.
        trashing: Sessions that the TTL moves to the trash, in the order in which a disk budget deletes them for good
            instead.
        moving: Files that move to the trash out of quarantine, in any order.
        is_ready: Called with a session; true if its notice period is over, so that `max_sessions` may remove it.
        later: Time that has passed since the candidates' ages were measured.

    Attributes:
        stock: The stock after the removals.
        removals: The sessions, in the order of their removal.
        gone: The keys of these sessions.
        trash: The entries of the trash, likewise.
        for_good: Keys of sessions and files that a disk budget keeps out of the trash, to which other rules move them.
        in_use: Keys of sessions that would have been removed, were they not in use.
        min_idle: Keys of sessions that would have been removed, had they been idle for longer.
        waiting: Sessions that `max_sessions` will remove at the end of their notice period.
        unmet: Budgets that are not met after all.
    """

    def __init__(
        self,
        policy: RetentionPolicy,
        stock: Stock,
        candidates: Sequence[Candidate],
        trash: Sequence[Leftover],
        *,
        busy: AbstractSet[str] = frozenset(),
        trashing: Sequence[StoredSession] = (),
        moving: Sequence[Leftover] = (),
        is_ready: Callable[[Candidate], bool] = lambda _: True,
        later: timedelta = timedelta(0),
    ) -> None:
        self.stock: Stock = replace(stock)
        self.removals: list[PlanRow] = []
        self.gone: set[str] = set()
        self.trash: list[LeftoverRow] = []
        self.for_good: set[str] = set()
        self.in_use: set[str] = set()
        self.min_idle: set[str] = set()
        self.waiting: list[Candidate] = []
        self.unmet: list[Budget] = []
        self._policy = policy
        self._most_recent = policy.least_idle - later  # the greatest age, inclusive, that protects a session
        self._candidates = candidates
        self._entries = deque(entry for entry in trash if not entry.from_quarantine)
        self._damaged = [entry for entry in trash if entry.from_quarantine]
        self._damaged += sorted(moving, key=lambda file: file.key)
        self._busy = busy
        self._trashing = [*trashing]  # sessions that this plan moves to the trash
        self._is_ready = is_ready
        self._max_sessions()
        self._max_disk_bytes()
        self._min_free_disk()
        self.waiting = [each for each in self.waiting if each.key not in self.gone]

    def _max_sessions(self) -> None:
        if (most := self._policy.max_sessions) is not None:
            self._take_sessions("max_sessions", self.stock.sessions - most, lambda _: 1)
            if self.stock.sessions - len(self.waiting) > most:
                self.unmet.append("max_sessions")

    def _max_disk_bytes(self) -> None:
        most, low_water = self._policy.max_disk_bytes, self._policy.low_water_bytes
        if most is None or low_water is None or self.stock.disk_bytes <= most:
            return
        need = self._take_trash("max_disk_bytes", self.stock.disk_bytes - low_water, lambda size: size)
        self._take_sessions("max_disk_bytes", need, lambda size: size)
        if self.stock.disk_bytes > most:
            self.unmet.append("max_disk_bytes")

    def _min_free_disk(self) -> None:
        least, free = self._policy.min_free_disk, self.stock.free_bytes
        if least is None or free is None or free >= least:
            return
        # If all that may be removed is not enough, another program fills the disk: nothing is removed in vain.
        if least - free > self._in_reach():
            self.unmet.append("min_free_disk")
            return
        need = self._take_damaged(least - free)
        need = self._take_trash("min_free_disk", need, on_disk)
        self._take_sessions("min_free_disk", need, on_disk)

    def _in_reach(self) -> int:
        """Return the bytes that the trash and all unprotected sessions would free."""
        sizes = [entry.size for entry in (*self._damaged, *self._entries)]
        sizes += [session.size for session in self._trashing if session.key not in self.for_good]
        sizes += [
            each.session.size
            for each in self._candidates
            if each.key not in self.gone and each.key not in self._busy and each.age > self._most_recent
        ]
        return sum(map(on_disk, sizes))

    def _take_damaged(self, need: int) -> int:
        """Delete trashed files that came from quarantine, and keep others out of the trash; return the rest needed."""
        for file in self._damaged:
            if need <= 0:
                break
            if file.kind == "trash":
                self.trash.append(LeftoverRow(file, "min_free_disk"))
            else:
                self.for_good.add(file.key)
            self.stock.freed(file.size)
            need -= on_disk(file.size)
        return need

    def _take_trash(
        self, budget: Literal["max_disk_bytes", "min_free_disk"], need: int, weigh: Callable[[int], int]
    ) -> int:
        """Empty the trash, then keep sessions out of it, as far as needed; return the rest of the need."""
        while self._entries and need > 0:
            entry = self._entries.popleft()
            self.trash.append(LeftoverRow(entry, budget))
            self.stock.disk_bytes -= entry.size
            self.stock.freed(entry.size)
            need -= weigh(entry.size)
        for session in self._trashing:
            if need <= 0:
                break
            if session.key not in self.for_good:
                self.for_good.add(session.key)
                self.stock.disk_bytes -= session.size
                self.stock.freed(session.size)
                need -= weigh(session.size)
        return need

    def _take_sessions(self, budget: Budget, need: int, weigh: Callable[[int], int]) -> int:
        """Remove sessions until the need is met or all others are protected; return the rest of the need."""
        blocked = 0  # the part of the need that protected sessions so far would have met
        for candidate in self._candidates:
            key, session = candidate.key, candidate.session
            if need <= 0:
                break
            if key in self.gone:
                continue
            too_recent = candidate.age <= self._most_recent
            if too_recent and blocked >= need and candidate.noted is None:
                break  # all that follow are too recent as well, and none of them is needed
            if too_recent or key in self._busy:
                if blocked < need:
                    (self.in_use if key in self._busy else self.min_idle).add(key)
                    blocked += weigh(session.size)
                continue
            need -= weigh(session.size)
            if budget == "max_sessions" and not self._is_ready(candidate):
                self.waiting.append(candidate)
                continue
            self.gone.add(key)
            self.removals.append(PlanRow(session, budget, candidate.age, candidate.used))
            self.stock.sessions -= 1
            if self._policy.trashes(budget):
                self._trashing.append(session)
            else:
                self.stock.disk_bytes -= session.size
                self.stock.freed(session.size)
        return need
