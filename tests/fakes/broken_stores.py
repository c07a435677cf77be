"""Stores in memory with one bug each, of the kinds that authors of stores make."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import trio
from msgspec.structs import replace

from miniclaw.errors import LeaseLostError, RevisionConflictError
from miniclaw.stores.leases import LeaseTable, later
from miniclaw.stores.memory import MemoryStore
from miniclaw.stores.types import (
    AuditLine,
    Candidate,
    Change,
    Header,
    Lease,
    Outcome,
    Restoration,
    Saved,
    Stored,
    Trashed,
    Turn,
)


class _Broken(MemoryStore):
    def beside(self, owner: str) -> MemoryStore:
        other = type(self)(owner=owner, clock=self._wall)
        other._data = self._data
        return other


class LeaseOfAnyone(_Broken):
    """Gives a leased session to another owner."""

    async def acquire(self, session_id: str, duration: timedelta) -> Lease:
        self._data.leases.held.pop(session_id, None)
        return await super().acquire(session_id, duration)


class _AnyToken(LeaseTable):
    def _holds(self, lease: Lease) -> bool:
        return self.is_leased(lease.session_id)


class TokenUnchecked(_Broken):
    """Accepts any token while some lease is in force."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._data.leases = _AnyToken(self._now, self._data.fence.__next__)


class LeaseRevived(_Broken):
    """Renews a lease that is over."""

    async def renew(self, leases: Sequence[Lease], duration: timedelta) -> set[str]:
        for lease in leases:
            held = self._data.leases.held.get(lease.session_id)
            if held is not None and held.token == lease.token:
                self._data.leases.held[lease.session_id] = replace(held, until=later(self._now(), duration))
        return set(await super().renew(leases, duration))


class OpForgotten(_Broken):
    """Makes a repeated change again."""

    async def commit(self, lease: Lease, change: Change) -> Saved:
        session = self._data.sessions.get(lease.session_id)
        if session is not None:
            session.op = ""
            if session.header.revision != lease.revision and session.messages[-1:] == [*change.messages][-1:]:
                lease = replace(lease, revision=session.header.revision)
        return await super().commit(lease, change)


class RevisionUnchecked(_Broken):
    """Appends to a session that another program has changed."""

    async def commit(self, lease: Lease, change: Change) -> Saved:
        session = self._data.sessions.get(lease.session_id)
        return await super().commit(replace(lease, revision=session.header.revision if session else 0), change)


class RevisionPerSession(_Broken):
    """Counts the revision of a session from 1, so that a new session has that of an old one."""

    async def commit(self, lease: Lease, change: Change) -> Saved:
        saved = await super().commit(lease, change)
        session = self._data.sessions[lease.session_id]
        revision = min(session.header.revision, lease.revision + 1)
        session.header = replace(session.header, revision=revision)
        session.saved = replace(saved, lease=replace(saved.lease, revision=revision))
        return session.saved


class TouchAlways(_Broken):
    """Counts a change of metadata as a use."""

    async def commit(self, lease: Lease, change: Change) -> Saved:
        return await super().commit(lease, replace(change, touch=True))


class KeepIgnored(_Broken):
    """Never cuts messages."""

    async def commit(self, lease: Lease, change: Change) -> Saved:
        return await super().commit(lease, replace(change, keep=None))


class MessagesReformatted(_Broken):
    """Stores a message in a form of its own."""

    async def load(self, session_id: str, *, tail: int | None = None) -> Stored | None:
        stored = await super().load(session_id, tail=tail)
        if stored is None:
            return None
        return Stored(stored.header, [msgspec.json.format(each) for each in stored.messages])


class CommitInTwoSteps(_Broken):
    """Appends one message after the other."""

    async def commit(self, lease: Lease, change: Change) -> Saved:
        first, rest = change.messages[:1], change.messages[1:]
        saved = await super().commit(lease, replace(change, messages=first))
        if not rest or self._data.sessions[lease.session_id].messages[-1] == rest[-1]:
            return saved
        return await super().commit(saved.lease, replace(change, messages=rest, op=f"{change.op} 2"))


class RemovalOfTheUsed(_Broken):
    """Looks at the age when it begins, and not at the moment of the removal."""

    async def remove_if_unused(self, candidates: Sequence[Candidate], **rest: Any) -> Sequence[Outcome]:
        verdicts = {each.session_id: self._why_not(each, rest["min_age"], rest["now"], False) for each in candidates}
        for _ in range(50):  # time enough for a whole use, in whatever order the tasks run
            await trio.lowlevel.checkpoint()
        found = [
            replace(each, last_accessed=session.header.last_accessed)
            if verdicts[each.session_id] is None and (session := self._data.sessions.get(each.session_id))
            else each
            for each in candidates
        ]
        return await super().remove_if_unused(found, **rest)


class LeasesIgnored(_Broken):
    """Removes a session in use."""

    async def remove_if_unused(self, candidates: Sequence[Candidate], **rest: Any) -> Sequence[Outcome]:
        leases, self._data.leases.held = self._data.leases.held, {}
        outcomes = await super().remove_if_unused(candidates, **rest)
        self._data.leases.held |= leases
        return outcomes


class PinsIgnored(_Broken):
    """Removes a pinned session."""

    async def remove_if_unused(self, candidates: Sequence[Candidate], **rest: Any) -> Sequence[Outcome]:
        for candidate in candidates:
            if session := self._data.sessions.get(candidate.session_id):
                session.header = replace(session.header, pinned=False)
        return await super().remove_if_unused(candidates, **rest)


class AgeInclusive(_Broken):
    """Removes a session at exactly its TTL."""

    async def remove_if_unused(
        self, candidates: Sequence[Candidate], *, min_age: timedelta, **rest: Any
    ) -> Sequence[Outcome]:
        return await super().remove_if_unused(candidates, min_age=min_age - timedelta(microseconds=1), **rest)


class AnnouncementIgnored(_Broken):
    """Removes sessions that were not announced."""

    async def remove_if_unused(self, candidates: Sequence[Candidate], **rest: Any) -> Sequence[Outcome]:
        return await super().remove_if_unused(candidates, **(rest | {"announced": False}))


class AnnouncementKept(_Broken):
    """Keeps an announcement over a use."""

    async def commit(self, lease: Lease, change: Change) -> Saved:
        session = self._data.sessions.get(lease.session_id)
        due_at = session.header.due_at if session else None
        saved = await super().commit(lease, change)
        session = self._data.sessions[lease.session_id]
        session.header = replace(session.header, due_at=due_at)
        return saved


class ClockIgnored(_Broken):
    """Removes at the wish of a program whose clock is wrong."""

    async def remove_if_unused(
        self, candidates: Sequence[Candidate], *, now: datetime, **rest: Any
    ) -> Sequence[Outcome]:
        return await super().remove_if_unused(candidates, now=self._now(), **rest)


class RestoreOverwrites(_Broken):
    """Restores a session over a new one."""

    async def restore(self, entry_id: str, *, by: str, op: str) -> Restoration:
        if found := self._data.trash.get(entry_id):
            self._data.sessions.pop(found[0].session_id, None)
        return await super().restore(entry_id, by=by, op=op)


class RestoreAsOld(_Broken):
    """Restores a session with its last use, so that the next sweep removes it again."""

    async def restore(self, entry_id: str, *, by: str, op: str) -> Restoration:
        found = self._data.trash.get(entry_id)
        answer = await super().restore(entry_id, by=by, op=op)
        if found and answer.verdict == "restored":
            session = self._data.sessions[answer.session_id]
            session.header = replace(session.header, last_accessed=found[0].last_accessed)
        return answer


class PagesByPlace(_Broken):
    """Counts places for its pages, so that sessions move from one page to the next."""

    async def headers(self, *, after: str = "", limit: int = 200, **rest: Any) -> Sequence[Header]:
        every = await super().headers(limit=1_000_000, **rest)
        places = self._places = getattr(self, "_places", {"": 0})
        place = places.get(after, 0)
        page = [*every][place : place + limit]
        if page:
            places[page[-1].session_id] = place + len(page)
        return page


class FiltersIgnored(_Broken):
    """Ignores the filters of lists."""

    async def headers(self, *, after: str = "", limit: int = 200, **_: Any) -> Sequence[Header]:
        return await super().headers(after=after, limit=limit)


class TrashOldestFirst(_Broken):
    """Lists the trash in the wrong order."""

    async def trash(
        self, *, session_id: str | None = None, before: Trashed | None = None, limit: int = 200
    ) -> Sequence[Trashed]:
        return [*await super().trash(session_id=session_id, before=before, limit=limit)][::-1]


class AuditTwice(_Broken):
    """Writes the line of a removal before it knows that there is one."""

    async def remove_if_unused(self, candidates: Sequence[Candidate], *, op: str, **rest: Any) -> Sequence[Outcome]:
        for candidate in candidates:
            if candidate.session_id not in self._data.sessions:
                line = AuditLine(next(self._data.fence), self._now(), "removed", op, "x", "x", candidate.session_id)
                self._data.audit[line.number] = line
        return await super().remove_if_unused(candidates, op=op, **rest)


class SweepForAll(_Broken):
    """Gives every program its turn."""

    async def begin_sweep(self, interval: timedelta, claim: timedelta) -> Turn:
        self._data.claim.clear()
        return await super().begin_sweep(interval, claim)


class SweepUncompletedCounts(_Broken):
    """Counts a sweep that was broken off."""

    async def end_sweep(self, token: int, note: bytes, *, completed: bool) -> bool:
        return await super().end_sweep(token, note, completed=True)


class WrongErrors(_Broken):
    """Raises the wrong error for a lost lease."""

    async def commit(self, lease: Lease, change: Change) -> Saved:
        try:
            return await super().commit(lease, change)
        except LeaseLostError:
            raise RevisionConflictError(lease.session_id) from None


class Hangs(_Broken):
    """Does not answer."""

    async def load(self, session_id: str, *, tail: int | None = None) -> Stored | None:
        await trio.sleep_forever()
        raise AssertionError


BROKEN: Final[dict[type[MemoryStore], tuple[str, ...]]] = {
    LeaseOfAnyone: ("lease_excludes_other_owners",),
    TokenUnchecked: ("own_lease_is_replaced", "holder_without_its_lease_removes_nothing"),
    LeaseRevived: ("lost_lease_is_reported_and_not_revived",),
    OpForgotten: ("repeated_change_happens_once",),
    RevisionUnchecked: ("wrong_revision_is_refused",),
    RevisionPerSession: ("revision_is_never_used_twice",),
    TouchAlways: ("metadata_changes_alone",),
    KeepIgnored: ("old_messages_are_cut",),
    MessagesReformatted: ("messages_return_in_order_byte_for_byte",),
    CommitInTwoSteps: ("cancelled_commit_is_whole",),
    RemovalOfTheUsed: ("use_beside_a_removal_is_kept",),
    LeasesIgnored: ("leased_session_is_kept",),
    PinsIgnored: ("pinned_session_is_kept", "pin_beside_a_removal"),
    AgeInclusive: ("young_session_is_kept",),
    AnnouncementIgnored: ("unannounced_session_is_kept",),
    AnnouncementKept: ("unannounced_session_is_kept", "announcement_shows_in_the_header"),
    ClockIgnored: ("wrong_clock_removes_nothing",),
    RestoreOverwrites: ("nothing_is_restored_over_a_session",),
    RestoreAsOld: ("restored_session_is_whole",),
    PagesByPlace: ("many_headers_in_pages",),
    FiltersIgnored: ("headers_fit_their_filters",),
    TrashOldestFirst: ("trash_is_listed_newest_first",),
    AuditTwice: ("repeated_removal_is_answered_alike",),
    SweepForAll: ("sweep_is_claimed_by_one",),
    SweepUncompletedCounts: ("uncompleted_sweep_does_not_count",),
    WrongErrors: ("lease_that_ended_is_free", "released_lease_is_free_at_once"),
}
"""Each broken store with the checks that have to find its bug."""
