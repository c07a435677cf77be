"""Loading of sessions into memory, and detection of sessions that another program changed on disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from miniclaw.clock import Now
from miniclaw.errors import (
    CorruptSessionError,
    MismatchedSessionError,
    NoSessionFileError,
    SessionNotFoundError,
    SessionTooLargeError,
    StoreError,
)
from miniclaw.loggers import get_logger
from miniclaw.session.files.on_disk import Difference
from miniclaw.session.live.entry import Entry, replayed_entry
from miniclaw.session.live.gate import Gate
from miniclaw.session.live.locks import FileLocks, Lease
from miniclaw.session.live.memory import SessionMemory
from miniclaw.session.live.saver import SessionSaver
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.names import split_session_id
from miniclaw.session.types import Session, SessionHeader

LOOK_SECONDS: Final = 1
"""Longest time that a hung disk delays the use of a session in memory."""

PAUSE_SECONDS: Final = 30
"""Time after which a session that the journal holds, and its file does not yet, is compared with its file again."""

_UNUSABLE: Final = (CorruptSessionError, MismatchedSessionError, NoSessionFileError, SessionTooLargeError)

log: Final = get_logger("miniclaw.session.manager")


class SessionLoader:
    """The loading part of a `SessionManager`, whose store, memory, locks, saver and gate it shares.

    Args:
        call_for_save: Called when memory is over its bounds.
    """

    def __init__(
        self,
        store: FileSessionStore,
        memory: SessionMemory,
        locks: FileLocks,
        saver: SessionSaver,
        gate: Gate,
        *,
        clock: Now,
        call_for_save: Callable[[], None],
    ) -> None:
        self._store = store
        self._memory = memory
        self._locks = locks
        self._saver = saver
        self._gate = gate
        self._clock = clock
        self._call_for_save = call_for_save

    async def use(self, session_id: str, *, create: bool = False) -> Entry:
        """Return a session for an operation that begins now, from memory or from the disk.

        A clean copy in memory is compared with its file first; the disk wins if it has the session.

        Args:
            session_id: The session.
            create: If true, a missing session is created. A file in its place that is no session, or another session's,
                is then moved to quarantine, with an ERROR.

        Raises:
            SessionNotFoundError: The session does not exist, and `create` is false.
            StoreError: The session could not be read; or the runtime ends, as in `Gate.admit` and `Gate.check`.

        Cancellation: nothing has changed, or a session was loaded.
        """
        await trio.lowlevel.checkpoint()
        if (entry := self.at_hand(session_id)) is not None:
            return entry
        split_session_id(session_id)
        with self._gate.under_way():
            async with self._locks.hold(session_id) as lease:
                entry = await self.current(session_id, lease)
                if entry is None:
                    entry = await self._load(session_id, lease, create=create)
                    if self._memory.add(entry):
                        self._call_for_save()
        self._gate.check()
        return entry

    def at_hand(self, session_id: str) -> Entry | None:
        """Return a session for an operation that begins now, as `use` does, or None if that has to ask the disk first.

        Raises:
            StoreError: The runtime ends, as in `Gate.admit`.
        """
        self._gate.admit()
        entry = self._memory.find(session_id)
        # No wait for the lock: a save under way compares the file itself, and a removal asks memory once more.
        return entry if entry is not None and (self._is_sure(entry) or self._locks.is_held(session_id)) else None

    def _is_sure(self, entry: Entry) -> bool:
        """Return whether a session need not be compared with its file now: its next save compares it soon."""
        return entry.dirty and not (entry.durable and trio.current_time() > entry.looked_at + PAUSE_SECONDS)

    async def header(self, session_id: str) -> SessionHeader | Session:
        """Return the header of a session, from memory or else from the disk. Does not count as an access.

        Raises:
            SessionNotFoundError: The session does not exist.
            StoreError: The session could not be read; or the runtime ends, as in `Gate.admit`.
        """
        await self._gate.enter()
        if entry := self._memory.find(session_id):
            return entry.session
        async with self._locks.hold(session_id) as lease:
            if entry := self._memory.find(session_id):
                return entry.session
            return await self._store.header(session_id, lease)

    async def current(self, session_id: str, lease: Lease) -> Entry | None:
        """Return a session in memory, a clean one as its file has it now; forget it and return None if that is gone.

        A file that cannot be read as the session replaces nothing in memory: the session is dirty from then on, and its
        save moves the file to quarantine.

        Args:
            session_id: The session.
            lease: The caller's hold on its lock.
        """
        entry = self._memory.find(session_id)
        if entry is None or self._is_sure(entry):
            return entry
        session = entry.session
        found: Session | None = session
        try:
            difference: Difference = "same"
            with trio.move_on_after(LOOK_SECONDS), suppress(StoreError):  # the same error will refuse a save
                difference = await self._store.compare(session, lease)
            entry.looked_at = trio.current_time()
            if entry.dirty and difference != "same":  # the journal has the rest, and its save decides what remains
                await self._saver.save_held(entry, lease)
            elif difference == "changed":
                found = await self._store.load(session_id, lease)
            elif difference == "gone":
                found = None
        except SessionNotFoundError:
            found = None
        except StoreError as error:
            return self._doubted(session_id, str(error))
        entry = self._memory.find(session_id)  # once more: it may be evicted meanwhile
        if entry is None or entry.dirty or found is session:  # dirty by now: its save compares again
            return entry
        self._saver.committer.note_saved(session_id, 0)
        if found is None:
            self._memory.forget(session_id)
            log.info("Session file is gone; memory forgets the session", session_id=session_id)
            return None
        self._memory.follow(entry, session, found)
        log.info("Session file was changed by another program; it is read again", session_id=session_id)
        return entry

    def _doubted(self, session_id: str, problem: str) -> Entry | None:
        """Keep a session in memory whose file cannot be read any more: its save moves the file to quarantine."""
        entry = self._memory.find(session_id)
        if entry is not None and not entry.dirty:
            entry.revision += 1
            log.warning(
                "Session file was changed by another program and cannot be read; the session in memory is kept",
                session_id=session_id, reason=problem,
            )  # fmt: skip
        return entry

    async def _load(self, session_id: str, lease: Lease, *, create: bool) -> Entry:
        # No local name for the entry: the frame of a caught error may outlive the call and keep the session alive.
        try:
            session = await self._store.load(session_id, lease)
            if (records := self._store.unread.pop(session_id, None)) is None:
                return Entry(session, saved=True)
            return replayed_entry(session, records, self._store.journal)
        except SessionNotFoundError:
            if not create:
                raise
        except _UNUSABLE as error:
            if not create:
                raise
            kept = await self._store.quarantine(session_id, lease)
            log.error(
                "Session could not be read; begun anew",
                session_id=session_id, path=str(error.path), reason=error.reason, kept=kept,
            )  # fmt: skip
        self._saver.committer.note_begun(session_id)
        now = self._clock()
        return Entry(Session(session_id, *split_session_id(session_id), now, now), saved=False)


async def load_copy(session_id: str, store: FileSessionStore, memory: SessionMemory, locks: FileLocks) -> Session:
    """Return a copy of a session as it would be saved now. Does not count as an access.

    A session without unsaved changes is read from the disk, as another program may have changed its file.

    Raises:
        SessionNotFoundError: The session does not exist.
        StoreError: The session could not be read.
    """
    async with locks.hold(session_id) as lease:
        return memory.unsaved_copy(session_id) or await store.load(session_id, lease)
