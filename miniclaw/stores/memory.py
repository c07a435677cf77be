"""A store in memory: for tests, and for programs whose sessions may end with them. It keeps the whole protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import nsmallest
from itertools import count, islice
from operator import attrgetter
from typing import Final

import trio
from msgspec import Struct
from msgspec.structs import replace

from miniclaw.clock import Clock, Now, as_clock, utc_now
from miniclaw.errors import RevisionConflictError, SessionNotFoundError
from miniclaw.session.names import split_session_id
from miniclaw.stores.conditions import fits, outcome_of, trash_page, why_not
from miniclaw.stores.leases import LATEST, LeaseTable, SweepClaim, later
from miniclaw.stores.protocol import SessionStore
from miniclaw.stores.types import (
    CLOCK_TOLERANCE,
    AuditKind,
    AuditLine,
    Candidate,
    Change,
    Header,
    Lease,
    Outcome,
    Restoration,
    Saved,
    Stored,
    Totals,
    Trashed,
    Turn,
    Verdict,
)

MAX_AUDIT_LINES: Final = 100_000
"""Most lines of the audit log, inclusive; the oldest are dropped."""


class _Session(Struct):
    """A session; `op` names its latest change, and `saved` is the answer to it."""

    header: Header
    messages: list[bytes]
    op: str
    saved: Saved


class _Data:
    """The content of a store; each method of `MemoryStore` changes it in one synchronous step."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.sessions: dict[str, _Session] = {}
        self.fence = count(1)  # of tokens, revisions, entries and lines
        self.leases = LeaseTable(now, self.fence.__next__)
        self.claim = SweepClaim(now, self.fence.__next__)
        self.trash: dict[str, tuple[Trashed, _Session]] = {}
        self.audit: dict[int, AuditLine] = {}
        self.done: dict[tuple[str, str], AuditLine] = {}  # by `op` and what it was done to; as long as its line
        self.swept: tuple[datetime, bytes] | None = None


class MemoryStore(SessionStore):
    """A `SessionStore` in memory. For one trio program; `beside` gives another program's view of it to tests.

    Args:
        owner: Name in leases and claims.
        clock: Its clock: a `Clock` or a function that returns an aware datetime; None: that of the machine. A test
            gives the store and the runtime the same `FakeClock`.
    """

    def __init__(self, *, owner: str = "memory", clock: Clock | Now | None = None) -> None:
        self._owner = owner
        self._wall = utc_now if clock is None else as_clock(clock).wall
        self._data = _Data(self._now)

    def beside(self, owner: str) -> MemoryStore:
        """Return a store over the same sessions, with another owner."""
        other = MemoryStore(owner=owner, clock=self._wall)
        other._data = self._data
        return other

    @property
    def owner(self) -> str:
        return self._owner

    @property
    def clock(self) -> Callable[[], datetime]:
        return self._now

    def _now(self) -> datetime:
        return self._wall().astimezone(UTC)

    # Leases --------------------------------------------------------------------------------------------------

    async def acquire(self, session_id: str, duration: timedelta) -> Lease:
        split_session_id(session_id)
        await trio.lowlevel.checkpoint()
        token = self._data.leases.take(session_id, self._owner, duration)
        session = self._data.sessions.get(session_id)
        return Lease(session_id, token, 0 if session is None else session.header.revision)

    async def renew(self, leases: Sequence[Lease], duration: timedelta) -> AbstractSet[str]:
        await trio.lowlevel.checkpoint()
        return self._data.leases.renew(leases, duration)

    async def release(self, lease: Lease) -> None:
        await trio.lowlevel.checkpoint()
        self._data.leases.release(lease)

    # Reading -------------------------------------------------------------------------------------------------

    async def load(self, session_id: str, *, tail: int | None = None) -> Stored | None:
        await trio.lowlevel.checkpoint()
        session = self._data.sessions.get(session_id)
        if session is None:
            return None
        skipped = 0 if tail is None else max(0, len(session.messages) - tail)
        return Stored(session.header, session.messages[skipped:])

    async def header(self, session_id: str) -> Header | None:
        await trio.lowlevel.checkpoint()
        session = self._data.sessions.get(session_id)
        return None if session is None else session.header

    async def headers(
        self,
        *,
        channel: str | None = None,
        older_than: timedelta | None = None,
        younger_than: timedelta | None = None,
        pinned: bool | None = None,
        after: str = "",
        limit: int = 200,
    ) -> Sequence[Header]:
        await trio.lowlevel.checkpoint()
        now = self._now()

        fit = partial(fits, now=now, channel=channel, older_than=older_than, younger_than=younger_than, pinned=pinned)
        found = (
            session.header
            for session_id, session in self._data.sessions.items()
            if session_id > after and fit(session.header)
        )
        return nsmallest(limit, found, key=attrgetter("session_id"))

    async def totals(self) -> Totals:
        await trio.lowlevel.checkpoint()
        sizes = [session.header.size for session in self._data.sessions.values()]
        trashed = [entry.size for entry, _ in self._data.trash.values()]
        return Totals(len(sizes), sum(sizes), len(trashed), sum(trashed))

    # Changing ------------------------------------------------------------------------------------------------

    async def commit(self, lease: Lease, change: Change) -> Saved:
        await trio.lowlevel.checkpoint()
        session = self._data.sessions.get(lease.session_id)
        if session is not None and session.op == change.op:
            return replace(session.saved, lease=replace(session.saved.lease, token=lease.token))
        self._data.leases.check(lease)
        if lease.revision != (0 if session is None else session.header.revision):
            raise RevisionConflictError(lease.session_id)
        now, revision = self._now(), next(self._data.fence)
        if session is None:
            header = Header(lease.session_id, *split_session_id(lease.session_id), now, now, revision, 0, 0)
            old: list[bytes] = []
        else:
            header, old = session.header, session.messages[: change.keep]
        messages = [*old, *change.messages]
        metadata = header.metadata if change.metadata is None else change.metadata
        header = replace(
            header, revision=revision, count=len(messages), size=sum(map(len, messages)) + len(metadata),
            metadata=metadata,
        )  # fmt: skip
        if change.touch:
            header = replace(header, last_accessed=now, due_at=None)
        saved = Saved(replace(lease, revision=revision), header.last_accessed)
        self._data.sessions[lease.session_id] = _Session(header, messages, change.op, saved)
        return saved

    async def pin(self, session_id: str, pinned: bool) -> bool:
        await trio.lowlevel.checkpoint()
        session = self._data.sessions.get(session_id)
        if session is None:
            raise SessionNotFoundError(session_id)
        changes = session.header.pinned != pinned
        session.header = replace(session.header, pinned=pinned)
        return changes

    # Removing ------------------------------------------------------------------------------------------------

    async def announce(self, candidates: Sequence[Candidate], delay: timedelta) -> int:
        await trio.lowlevel.checkpoint()
        announced = 0
        for candidate in candidates:
            session = self._data.sessions.get(candidate.session_id)
            if session is None or session.header.pinned or session.header.last_accessed != candidate.last_accessed:
                continue
            due_at = min(later(self._now(), delay), session.header.due_at or LATEST)
            session.header = replace(session.header, due_at=due_at)
            announced += 1
        return announced

    async def remove_if_unused(
        self,
        candidates: Sequence[Candidate],
        *,
        min_age: timedelta,
        trash_for: timedelta | None,
        reason: str,
        by: str,
        op: str,
        now: datetime,
        announced: bool = False,
    ) -> Sequence[Outcome]:
        outcomes = []
        for candidate in candidates:
            await trio.lowlevel.checkpoint()
            session_id = candidate.session_id
            done = self._data.done.get((op, session_id))
            if done is not None and done.last_accessed == candidate.last_accessed:
                outcomes.append(outcome_of(done))
            elif why := self._why_not(candidate, min_age, now, announced):
                outcomes.append(Outcome(session_id, why))
            else:
                outcomes.append(self._remove(session_id, trash_for, reason, by, op))
        return outcomes

    def _why_not(self, candidate: Candidate, min_age: timedelta, theirs: datetime, announced: bool) -> Verdict | None:
        session, now = self._data.sessions.get(candidate.session_id), self._now()
        return why_not(
            candidate, None if session is None else session.header, now, min_age=min_age, announced=announced,
            is_right_clock=abs(theirs - now) <= CLOCK_TOLERANCE,
            is_leased=self._data.leases.is_leased(candidate.session_id),
        )  # fmt: skip

    async def remove(self, lease: Lease, *, trash_for: timedelta | None, reason: str, by: str, op: str) -> Outcome:
        await trio.lowlevel.checkpoint()
        if done := self._data.done.get((op, lease.session_id)):
            return outcome_of(done)
        self._data.leases.check(lease)
        if lease.session_id not in self._data.sessions:
            return Outcome(lease.session_id, "gone")
        return self._remove(lease.session_id, trash_for, reason, by, op)

    def _remove(self, session_id: str, trash_for: timedelta | None, reason: str, by: str, op: str) -> Outcome:
        session, now = self._data.sessions.pop(session_id), self._now()
        header, entry_id = session.header, "" if trash_for is None else f"{next(self._data.fence):016d}"
        until = now if trash_for is None else later(now, trash_for)
        entry = Trashed(entry_id, session_id, now, until, reason, by, header.last_accessed, header.size)
        if entry_id:
            self._data.trash[entry_id] = entry, session
        line = self._write("removed", op, by, reason, entry)
        self._data.done[op, session_id] = line
        return outcome_of(line)

    # Trash ---------------------------------------------------------------------------------------------------

    async def trash(
        self, *, session_id: str | None = None, before: Trashed | None = None, limit: int = 200
    ) -> Sequence[Trashed]:
        await trio.lowlevel.checkpoint()
        fitting = (entry for entry, _ in self._data.trash.values() if session_id in {None, entry.session_id})
        return trash_page(fitting, before, limit)

    async def restore(self, entry_id: str, *, by: str, op: str) -> Restoration:
        await trio.lowlevel.checkpoint()
        if done := self._data.done.get((op, entry_id)):
            return Restoration("restored", done.session_id)
        if entry_id not in self._data.trash:
            return Restoration("gone")
        entry, session = self._data.trash[entry_id]
        if entry.session_id in self._data.sessions:
            return Restoration("taken", entry.session_id)
        now, revision = self._now(), next(self._data.fence)
        header = replace(session.header, last_accessed=now, revision=revision, due_at=None)
        self._data.sessions[entry.session_id] = _Session(header, session.messages, op, session.saved)
        del self._data.trash[entry_id]
        line = self._write("restored", op, by, "restored", replace(entry, last_accessed=now))
        self._data.done[op, entry_id] = line
        return Restoration("restored", entry.session_id)

    async def empty_trash(self, entry_ids: Sequence[str] | None, *, by: str, op: str) -> Sequence[Trashed]:
        await trio.lowlevel.checkpoint()
        now, trash = self._now(), self._data.trash
        if entry_ids is None:
            entry_ids = [entry.entry_id for entry, _ in trash.values() if entry.expires_at <= now]
        gone = [trash.pop(entry_id)[0] for entry_id in dict.fromkeys(entry_ids) if entry_id in trash]
        for entry in gone:
            self._write("emptied", op, by, entry.reason, entry)
        return gone

    def _write(self, kind: AuditKind, op: str, by: str, reason: str, removed: Trashed | None = None) -> AuditLine:
        number, audit = next(self._data.fence), self._data.audit
        line = AuditLine(number, self._now(), kind, op, by, reason)
        if removed is not None:
            line = replace(
                line, session_id=removed.session_id, last_accessed=removed.last_accessed, size=removed.size,
                entry_id=removed.entry_id,
            )  # fmt: skip
        audit[number] = line
        if len(audit) > MAX_AUDIT_LINES:
            oldest = audit.pop(next(iter(audit)))
            for name in (oldest.session_id, oldest.entry_id):
                self._data.done.pop((oldest.op, name), None)
        return line

    async def note(self, text: str, *, by: str, op: str) -> None:
        await trio.lowlevel.checkpoint()
        self._write("noted", op, by, text)

    async def audit(self, *, before: int | None = None, limit: int = 200) -> Sequence[AuditLine]:
        await trio.lowlevel.checkpoint()
        newest_first = reversed(self._data.audit.values())
        return list(islice((line for line in newest_first if before is None or line.number < before), limit))

    async def begin_sweep(self, interval: timedelta, claim: timedelta) -> Turn:
        await trio.lowlevel.checkpoint()
        return self._data.claim.begin(self._owner, interval, claim, self._data.swept)

    async def end_sweep(self, token: int, note: bytes, *, completed: bool) -> bool:
        await trio.lowlevel.checkpoint()
        began = self._data.claim.began(token)
        if began is None:
            return False
        if completed:
            self._data.swept = began, note
        self._data.claim.clear()
        return True
