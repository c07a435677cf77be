"""Moves of a session to another chat: on disk (`miniclaw.session.removal.relocation`), and out of memory with it.

Unsaved changes are saved first, so that the file holds the whole session. The locks of both ids are held meanwhile.
They are taken in the order of the ids, so that two moves never deadlock. An operation on either id waits, and then
finds the old session gone, or the new one in place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from miniclaw.errors import (
    InvalidSessionIdError,
    NotRemovedError,
    RemovalPendingError,
    SessionExistsError,
    SessionFileError,
    SessionInUseError,
    StoreError,
)
from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.live.entry import Entry
from miniclaw.session.live.loader import SessionLoader
from miniclaw.session.live.locks import FileLocks, Lease
from miniclaw.session.live.memory import SessionMemory
from miniclaw.session.live.saver import SessionSaver
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.removal.relocation import CALLED_OFF, Relocation
from miniclaw.session.threads import Epilogue, Job, Late

PENDING: Final = "the disk has not answered yet; the move goes on, and the log says how it ends"

log: Final = get_logger("miniclaw.session.manager")


class SessionMover:
    """The moving part of a `SessionManager`, whose store, memory, locks, saver and loader it shares."""

    def __init__(
        self,
        store: FileSessionStore,
        memory: SessionMemory,
        locks: FileLocks,
        saver: SessionSaver,
        loader: SessionLoader,
    ) -> None:
        self._store = store
        self._memory = memory
        self._locks = locks
        self._saver = saver
        self._loader = loader

    async def move(self, session_id: str, target_id: str, *, by: str, late: Late[Relocation] | None) -> Relocation:
        """Move one session; `SessionManager.move_session` has the errors and the rules.

        Args:
            session_id: The session.
            target_id: Its new id.
            by: The actor, for the log.
            late: Takes a move whose caller got `RemovalPendingError`.
        """
        if session_id == target_id:
            raise InvalidSessionIdError(target_id, "it is the session itself; name another chat")
        log_it = partial(log.info, "Session moved", session_id=session_id, to=target_id, by=by)
        async with self._locks.hold(session_id, target_id) as lease:
            if await self._loader.current(target_id, lease) is not None:
                raise SessionExistsError(self._store.path_of(target_id), target_id)
            entry = self._memory.set_aside(session_id)

            def end_late(outcome: Relocation | StoreError) -> Epilogue:
                if not isinstance(outcome, StoreError):
                    log_it()
                    return late(outcome) if late is not None else None
                if job.committed:  # else it was called off in time, and the caller has got an error
                    log.error("Move that outlasted its caller has failed", session_id=session_id, error=str(outcome))
                return None

            job = Job(end_late)
            try:
                if entry is not None:
                    await self._save(entry, lease)
                moved = await self._relocate(session_id, target_id, entry, job, lease)
            finally:
                if entry is not None and not job.committed:
                    entry.leaving = False
        log_it()
        return moved

    @asynccontextmanager
    async def aside(self, name: str) -> AsyncIterator[tuple[Lease, bool, Callable[[], None]]]:
        """Hold, for a block that moves a file to quarantine, the locks of the sessions whose file it may be.

        Args:
            name: The name of the file.

        Yields the lease of these locks, whether the file's session is in memory, and a function to be called once the
        file is moved: memory then saves its copy of the session as a whole, for a file that this process moved is not a
        deleted one. Until then the journal may be the only place that has the latest of it.
        """
        ids = names.ids_of(name) or sorted(each for each in self._memory.ids() if names.file_name(each) == name)
        owner = next((each for each in ids if names.file_name(each) == name), "")  # empty: it is no session's own file
        async with self._locks.hold(*ids) as lease:
            entry = self._memory.find(owner)

            def moved() -> None:
                if entry is not None:
                    self._memory.lost_file(entry)

            yield lease, entry is not None, moved

    async def _save(self, entry: Entry, lease: Lease) -> None:
        if entry.users:  # a turn holds the session, and would continue with one that no longer exists
            raise SessionInUseError(entry.session_id)
        if entry.dirty and not await self._saver.save_held(entry, lease):
            raise SessionFileError(self._store.path_of(entry.session_id), "not moved: it could not be saved before")

    async def _relocate(
        self,
        session_id: str,
        target_id: str,
        entry: Entry | None,
        job: Job[Relocation | StoreError],
        lease: Lease,
    ) -> Relocation:
        def settled(outcome: Relocation | StoreError) -> Epilogue:
            if entry is not None:
                self._end(entry, outcome)
            return job.settle(outcome)

        outcome = await job.run(
            partial(self._store.relocate, session_id, target_id, job.commit, lease, settled=settled)
        )
        if outcome is None and job.committed:
            raise RemovalPendingError(self._store.path_of(session_id), PENDING)
        if outcome is None:
            raise SessionFileError(self._store.path_of(session_id), CALLED_OFF)
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    def _end(self, entry: Entry, outcome: Relocation | StoreError) -> None:
        """Apply the outcome of a move to memory, still under both locks."""
        if not isinstance(outcome, StoreError):
            self._memory.drop(entry)
            return
        # The location of its file is uncertain: memory has the session and has to save it. A file that is certainly in
        # its place is not saved again, for it may have another program's change, which memory has not.
        entry.revision += isinstance(outcome, NotRemovedError)
        entry.leaving = False
