"""Removing sessions from disk and memory in one step.

What is fresh, unsaved or in use in memory is not touched. Of the rest the files are moved aside and verified in a
thread (`miniclaw.session.removal`), which asks here, on the trio thread, for the last word; the session is forgotten
with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from miniclaw.errors import CorruptSessionError, SessionFileError, SessionNotFoundError, StoreError
from miniclaw.session.locks import FileLocks, Lease
from miniclaw.session.memory import Entry, SessionMemory
from miniclaw.session.removal import Removal, TrashOrder
from miniclaw.session.rows import StoredSession
from miniclaw.session.store_protocol import SessionStore
from miniclaw.session.types import Session, SessionHeader

REMOVAL_DEADLINE_SECONDS: Final = 5
"""How long a batch of removals that has begun may hold up its caller; the disk may hang."""


class Deletion(Struct, frozen=True):
    """What the deletion of one session did.

    Attributes:
        bytes_freed: What the disk got back.
        entry_id: By which it can be restored from the trash; empty where it is gone for good.
        header: As it was on the disk; None where it was only in memory.
        size: Bytes of its file; 0 where it was only in memory.
    """

    bytes_freed: int
    entry_id: str = ""
    header: SessionHeader | None = None
    size: int = 0


class SessionRemover:
    """The removing part of a `SessionManager`, whose store, memory and locks it shares."""

    def __init__(self, store: SessionStore, memory: SessionMemory, locks: FileLocks) -> None:
        self._store = store
        self._memory = memory
        self._locks = locks

    async def remove(
        self,
        sessions: Sequence[StoredSession],
        is_expired: Callable[[SessionHeader | Session], bool],
        *,
        order: TrashOrder | None = None,
    ) -> list[Removal]:
        """Remove expired sessions, from disk and memory in one step.

        Not touched are those that memory knows to be fresh, unsaved, in use, or just being loaded, saved or deleted.
        The others are moved aside, verified, and kept after all if they turn out not to be expired or if somebody
        has come back to them in that moment.

        Args:
            sessions: As they were listed; few enough that a thread is done with them in well under 100 ms.
            is_expired: The verdict, on a header from the disk or a session in memory.
            order: What goes to the trash; None: nothing does.

        Returns:
            One removal for each, in their order.

        Cancellation: a batch that has begun is completed, for up to `REMOVAL_DEADLINE_SECONDS`.
        """
        locked: dict[str, str] = {}  # key -> session id
        for session in sessions:
            session_id = session.header.session_id
            if self._is_removable(session_id, is_expired) and self._locks.acquire_nowait(session_id):
                locked[session.key] = session_id

        def consent(headers: Sequence[SessionHeader]) -> list[bool]:
            verdicts = []
            for header in headers:
                may_go = is_expired(header) and self._is_removable(header.session_id, is_expired)
                if may_go:
                    self._memory.forget(header.session_id)
                verdicts.append(may_go)
            return verdicts

        def finished() -> None:
            self._locks.release_all(locked.values())

        outcomes = {session.key: Removal(session.key, "active", header=session.header) for session in sessions}
        reason = f"the disk did not answer within {REMOVAL_DEADLINE_SECONDS} s; the removal may still happen"
        with trio.move_on_after(REMOVAL_DEADLINE_SECONDS, shield=True):
            outcomes |= {key: Removal(key, "failed", reason=reason) for key in locked}
            try:
                removals = await self._store.remove(list(locked), consent, finished=finished, order=order)
            except StoreError as error:  # the batch could not be begun
                removals = [Removal(key, "failed", reason=str(error)) for key in locked]
            outcomes |= {removal.key: removal for removal in removals}
        return [outcomes[session.key] for session in sessions]

    async def delete(self, session_id: str, order: TrashOrder | None) -> Deletion:
        """Delete one session now; see `SessionManager.delete_session`."""
        async with self._locks.hold(session_id) as lease:
            return await self._delete(session_id, lease, order)

    async def _delete(self, session_id: str, lease: Lease, order: TrashOrder | None) -> Deletion:
        forgotten: list[Entry] = []

        def consent(headers: Sequence[SessionHeader]) -> list[bool]:
            if entry := self._memory.forget(session_id):
                forgotten.append(entry)
            return [header.session_id == session_id for header in headers]

        removals: list[Removal] | None = None
        with trio.move_on_after(REMOVAL_DEADLINE_SECONDS, shield=True):
            keys = self._store.keys(session_id)
            removals = await self._store.remove(keys, consent, finished=lease.join(), order=order)
        if removals is None:
            reason = "the disk did not answer; it may be deleted later or not at all"
            raise SessionFileError(self._path(self._store.keys(session_id)[0]), reason)
        bad = [removal for removal in removals if removal.outcome not in {"removed", "vanished"}]
        if bad:
            if bad[0].outcome != "unsynced":
                for entry in forgotten:
                    # Where its file is by now is not certain: memory is what there is, and is to be saved.
                    entry.revision += 1
                    self._memory.add(entry)
            kind = CorruptSessionError if bad[0].outcome == "corrupt" else SessionFileError
            raise kind(self._path(bad[0].key), bad[0].reason)
        if not forgotten and all(removal.outcome == "vanished" for removal in removals):
            raise SessionNotFoundError(session_id)
        return Deletion(
            max(0, sum(removal.bytes_freed for removal in removals)),
            next((removal.entry_id for removal in removals if removal.entry_id), ""),
            next((removal.header for removal in removals if removal.header), None),
            sum(removal.size for removal in removals),
        )

    def _path(self, key: str) -> Path:
        return Path(self._store.describe(key))

    def _is_removable(self, session_id: str, is_expired: Callable[[SessionHeader | Session], bool]) -> bool:
        entry = self._memory.find(session_id)
        return entry is None or not (entry.dirty or entry.users or not is_expired(entry.session))
