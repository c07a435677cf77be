"""Removal of sessions from disk and memory in one step.

A session that is fresh, dirty or in use in memory is not touched. The files of the others are moved aside and verified
in a worker thread (`miniclaw.session.removal.transaction`). That thread asks for consent on the trio thread; with the
consent, memory forgets the session. A removal that outlasts its caller is still reported (`miniclaw.session.threads`).

The program is asked (`miniclaw.session.hooks`) before all of that, while no lock is held: a session that it uses, or
that another task uses meanwhile, is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Final

import trio

from miniclaw.clock import Now
from miniclaw.errors import (
    CorruptSessionError,
    MismatchedSessionError,
    RemovalPendingError,
    SessionFileError,
    SessionKeptError,
    SessionNotFoundError,
    StoreError,
)
from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.entries import StoredSession
from miniclaw.session.format.codec import snapshot_session
from miniclaw.session.format.growth import file_bytes
from miniclaw.session.hooks.hooks import Hooks
from miniclaw.session.hooks.types import RemovalCandidate, RemovedSession
from miniclaw.session.live.entry import Entry
from miniclaw.session.live.loader import load_copy
from miniclaw.session.live.locks import FileLocks, Lease
from miniclaw.session.live.memory import SessionMemory
from miniclaw.session.live.saver import SessionSaver
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.records.stats import CleanupStats
from miniclaw.session.removal.transaction import Removal, TrashOrder
from miniclaw.session.threads import PENDING, REFUSED, Epilogue, Job, Late
from miniclaw.session.types import Session, SessionHeader

log: Final = get_logger("miniclaw.session.manager")


USED_MEANWHILE: Final = "it was used while before_remove was asked"

_GONE: Final = frozenset({"removed", "vanished"})


def _candidate(session: SessionHeader | Session, size: int, reason: str, *, goes_to_trash: bool) -> RemovalCandidate:
    return RemovalCandidate(
        session_id=session.session_id, channel=session.channel, chat_id=session.chat_id,
        last_accessed=session.last_accessed, pinned=session.pinned, bytes=size,
        reason=reason, goes_to_trash=goes_to_trash,
    )  # fmt: skip


def _state(session: Session) -> tuple[datetime, int]:
    """Return the part of a session that each use changes."""
    return session.last_accessed, len(session.messages)


def _first_bad(removals: Sequence[Removal], session_id: str) -> Removal | None:
    """Return the first removal that left this session's file; files that hold another session are ignored."""
    for removal in removals:
        if removal.outcome not in _GONE and (removal.header is None or removal.header.session_id == session_id):
            return removal
    return None


class SessionRemover:
    """The removing part of a `SessionManager`, whose store, memory, locks, saver, clock and statistics it shares.

    Attributes:
        hooks: The hooks of the program.
    """

    def __init__(
        self,
        store: FileSessionStore,
        memory: SessionMemory,
        locks: FileLocks,
        saver: SessionSaver,
        *,
        clock: Now,
        stats: CleanupStats,
        hooks: Hooks,
    ) -> None:
        self._store = store
        self._memory = memory
        self._locks = locks
        self._saver = saver
        self._clock = clock
        self._stats = stats
        self.hooks: Hooks = hooks

    async def ask(
        self, sessions: Sequence[StoredSession], reasons: Mapping[str, str], trashes: Callable[[str], bool]
    ) -> dict[str, str]:
        """Ask the program before the removal of sessions by a rule, as `Hooks.ask` does.

        Args:
            sessions: The sessions.
            reasons: Key -> the rule.
            trashes: Returns whether the session of a key is moved to the trash.

        Returns:
            Key -> the reason for which the program keeps the session; the others may be removed.
        """
        candidates = [
            _candidate(each.header, each.size, reasons.get(each.key, ""), goes_to_trash=trashes(each.key))
            for each in sessions
        ]
        loads = [partial(self._copy, candidate.session_id) for candidate in candidates]
        answers = await self.hooks.ask([*zip(candidates, loads, strict=True)])
        return {each.key: kept for each, kept in zip(sessions, answers, strict=True) if kept is not None}

    async def _copy(self, session_id: str) -> Session:
        return await load_copy(session_id, self._store, self._memory, self._locks)

    async def remove(
        self,
        sessions: Sequence[StoredSession],
        is_expired: Callable[[SessionHeader | Session], bool],
        *,
        late: Late[list[Removal]],
        order: TrashOrder | None = None,
        reasons: Mapping[str, str] | None = None,
        by: str = "program",
    ) -> list[Removal]:
        """Remove expired sessions, about which the program was asked, from disk and memory in one step.

        A session that is fresh, dirty or in use in memory, or whose lock is held, is not touched. The files of the
        others are moved aside and verified. A session that turns out not to be expired, or that was used meanwhile, is
        put back.

        Args:
            sessions: The sessions from the listing; few enough that a thread removes them in well under 100 ms.
            is_expired: The verdict on a header from the disk or on a session in memory.
            late: Takes the outcome of removals that were returned as pending.
            order: The sessions to move to the trash; None: none.
            reasons: Key -> the rule that removes it, for the program.
            by: The actor, likewise.

        Returns:
            One removal for each session, in the same order.

        Raises:
            OwnershipLostError, ForkedRuntimeError: As in `FileSessionStore.check_owned`.

        Cancellation: as for `Job.run`.
        """
        self._store.check_owned()
        locked: dict[str, str] = {}  # key -> session id
        for session in sessions:
            session_id = session.header.session_id
            if self._is_removable(session_id, is_expired) and self._locks.acquire_nowait(session_id):
                locked[session.key] = session_id
        lease = Lease(lambda: self._locks.release_all(locked.values()))
        tell = partial(self._tell_removed, reasons or {}, by)

        def tell_late(removals: list[Removal]) -> Epilogue:
            tell(removals)
            return late(removals)

        job = Job(tell_late)

        def consent(headers: Sequence[SessionHeader]) -> list[bool]:
            verdicts = []
            in_time = job.commit()
            for header in headers:
                may_go = in_time and is_expired(header) and self._is_removable(header.session_id, is_expired)
                if may_go:
                    self._memory.forget(header.session_id)
                verdicts.append(may_go)
            return verdicts

        outcomes = {session.key: Removal(session.key, "active", header=session.header) for session in sessions}
        keys = list(locked)
        try:
            removals = await job.run(partial(self._store.remove, keys, consent, lease, settled=job.settle, order=order))
        except StoreError as error:  # the batch could not be begun
            removals = [Removal(key, "failed", reason=str(error)) for key in keys]
        finally:
            lease.leave()
        if removals is None and job.committed:
            removals = [Removal(key, "pending", reason=PENDING) for key in keys]
        elif removals is None:
            removals = [Removal(key, "unanswered", reason=REFUSED) for key in keys]
        tell(removals)
        outcomes |= {removal.key: removal for removal in removals}
        return [outcomes[session.key] for session in sessions]

    async def delete(
        self,
        session_id: str,
        *,
        keep_for: timedelta | None,
        by: str,
        late: Late[Removal] | None,
        reason: str = "deleted",
    ) -> Removal:
        """Delete one session now; `SessionManager.delete_session` has the errors and the rules.

        Args:
            session_id: The session.
            keep_for: Retention in the trash; None: the session is deleted for good.
            by: The actor, for the trash and the log.
            late: Takes a deletion that was reported as pending.
            reason: For the trash and the program.
        """
        seen = await self._ask_to_delete(session_id, reason, goes_to_trash=keep_for is not None)
        order = None
        if keep_for is not None:
            reasons = dict.fromkeys(names.file_names(session_id), reason)
            order = TrashOrder(reasons, by, self._clock(), keep_for)

        def tell(deletion: Removal) -> None:
            self._stats.gone({"deleted": 1}, {}, deletion.bytes_freed)
            log.info("Session deleted", session_id=session_id, by=by, trash_entry=deletion.entry_id or None)
            self._tell_program(session_id, reason, by, deletion)

        def tell_late(deletion: Removal) -> Epilogue:
            tell(deletion)
            return late(deletion) if late is not None else None

        deletion = await self._delete_locked(session_id, order, tell_late, seen)
        tell(deletion)
        return deletion

    def _tell_removed(self, reasons: Mapping[str, str], by: str, removals: Sequence[Removal]) -> None:
        for removal in removals:
            if removal.outcome == "removed" and removal.header is not None:
                self._tell_program(removal.header.session_id, reasons.get(removal.key, ""), by, removal)

    def _tell_program(self, session_id: str, reason: str, by: str, removal: Removal) -> None:
        self.hooks.removed(
            RemovedSession(
                session_id=session_id, reason=reason, bytes_freed=removal.bytes_freed, entry_id=removal.entry_id, by=by
            )
        )

    async def _ask_to_delete(self, session_id: str, reason: str, *, goes_to_trash: bool) -> Session | None:
        """Ask the program before a deletion; return the session as the program has seen it, None: it is not asked.

        Raises:
            SessionKeptError: The program keeps the session.
        """
        if not self.hooks.asks:
            return None
        try:
            seen = await self._copy(session_id)
        except MismatchedSessionError as error:
            raise SessionNotFoundError(session_id) from error
        candidate = _candidate(seen, file_bytes(seen), reason, goes_to_trash=goes_to_trash)

        async def load() -> Session:
            await trio.lowlevel.checkpoint()
            return snapshot_session(seen, session_id)

        (kept,) = await self.hooks.ask([(candidate, load)])
        if kept is not None:
            raise SessionKeptError(session_id, kept)
        return seen

    async def _delete_locked(
        self, session_id: str, order: TrashOrder | None, late: Late[Removal], seen: Session | None
    ) -> Removal:
        keys = names.file_names(session_id)
        # A bare name may be another session's, whose Unicode text differs in its normal form only.
        async with self._locks.hold(session_id, *chain.from_iterable(map(names.ids_of, keys))) as lease:
            used = self._memory.find(session_id)
            if seen is not None and used is not None and _state(used.session) != _state(seen):
                raise SessionKeptError(session_id, USED_MEANWHILE)
            entry = self._memory.set_aside(session_id)

            def end_late(removals: list[Removal]) -> Epilogue:
                # One that was called off in time has been reported to the caller as an error.
                return self._end_late(session_id, entry, late, removals) if job.committed else None

            job = Job(end_late)
            try:
                if entry is not None and not await self._is_kept(entry, lease, order):
                    reason = "not deleted: it could not be saved before, and would go to the trash without"
                    raise SessionFileError(self._store.path_of(session_id), reason)
                # The file of an unsaved session that is erased is older; memory was compared just now.
                is_unsaved = entry is not None and entry.dirty
                last_accessed = None if seen is None or is_unsaved else seen.last_accessed
                return await self._delete(session_id, entry, job, lease, order, last_accessed=last_accessed)
            finally:
                if entry is not None and not job.committed:
                    entry.leaving = False

    async def _is_kept(self, entry: Entry, lease: Lease, order: TrashOrder | None) -> bool:
        """Save a session before it is removed; return False if it would go to the trash without its latest changes.

        Also one that is erased, if the journal has some of it: a crash between the end of its records and the end of
        its file brings the file back. A full disk must not keep it, so a failure counts only with a trash.
        """
        if not entry.dirty or (order is None and not self._store.journal.holds(names.file_name(entry.session_id))):
            return True
        return await self._saver.save_held(entry, lease) or order is None

    async def _delete(
        self,
        session_id: str,
        entry: Entry | None,
        job: Job[list[Removal]],
        lease: Lease,
        order: TrashOrder | None,
        *,
        last_accessed: datetime | None,
    ) -> Removal:
        """Delete a session; with `last_accessed`, only if its file has that time."""

        def consent(headers: Sequence[SessionHeader]) -> list[bool]:
            is_it = [header.session_id == session_id for header in headers]
            used = {header.last_accessed for header, it in zip(headers, is_it, strict=True) if it}
            if last_accessed is not None and not used <= {last_accessed}:
                return [False] * len(headers)
            in_time = job.commit()
            return [in_time and it for it in is_it]

        def settled(removals: list[Removal]) -> Epilogue:
            if entry is not None:
                self._end(entry, removals)
            return job.settle(removals)

        keys = names.file_names(session_id)
        work = partial(
            self._store.remove, keys, consent, lease, settled=settled, order=order, without_file=lambda: job.committed
        )
        removals = await job.run(work)
        if removals is None and job.committed:
            raise RemovalPendingError(self._store.path_of(session_id), PENDING)
        if removals is None:
            raise SessionFileError(self._store.path_of(session_id), REFUSED)
        return self._deletion(session_id, entry, removals)

    def _end(self, entry: Entry, removals: Sequence[Removal]) -> None:
        """Apply the outcome of a deletion to memory, still under the session's lock."""
        bad = _first_bad(removals, entry.session_id)
        if bad is None or bad.outcome == "unsynced":
            self._memory.drop(entry)
        else:
            # The location of its file is uncertain: memory has the session and has to save it.
            if bad.outcome == "failed":  # maybe after its records were made to count no more
                entry.begin_anew()
            entry.revision += 1
            entry.leaving = False

    def _deletion(self, session_id: str, entry: Entry | None, removals: Sequence[Removal]) -> Removal:
        """Return the removals of a session's files as one; raise a `StoreError` if the deletion is not complete."""
        if bad := _first_bad(removals, session_id):
            if bad.outcome == "kept":
                raise SessionKeptError(session_id, USED_MEANWHILE)
            kind = CorruptSessionError if bad.outcome == "corrupt" else SessionFileError
            raise kind(self._store.directory.path / bad.key, bad.reason)
        if entry is None and not any(removal.outcome == "removed" for removal in removals):
            raise SessionNotFoundError(session_id)
        return Removal(
            names.file_name(session_id),
            "removed",
            max(0, sum(removal.bytes_freed for removal in removals)),
            next((removal.header for removal in removals if removal.header), None),
            entry_id=next((removal.entry_id for removal in removals if removal.entry_id), ""),
            size=sum(removal.size for removal in removals),
        )

    def _end_late(self, session_id: str, entry: Entry | None, late: Late[Removal], removals: list[Removal]) -> Epilogue:
        try:
            deletion = self._deletion(session_id, entry, removals)
        except StoreError as error:
            log.error("Deletion that outlasted its caller has failed", session_id=session_id, error=str(error))
            return None
        return late(deletion)

    def _is_removable(self, session_id: str, is_expired: Callable[[SessionHeader | Session], bool]) -> bool:
        if session_id in self._store.unread:  # the journal has more of it than the file
            return False
        entry = self._memory.find(session_id)
        return entry is None or not (entry.dirty or entry.users or not is_expired(entry.session))
