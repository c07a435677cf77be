"""The operations of an administrator on sessions: delete, restore, move, pin, clean up, empty the trash.

A command that owns the workspace for a moment and a running program use the same operations. Each leaves a receipt, an
event in the history; a failure to write it is logged as an ERROR and stops nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from miniclaw.clock import Clock, Now
from miniclaw.errors import MiniclawError, RemovalPendingError, SessionFileError, SessionNotFoundError, StoreError
from miniclaw.formats import printable
from miniclaw.loggers import get_logger
from miniclaw.session.cleanup import RECORD_SECONDS, OnProgress
from miniclaw.session.entries import FileTally, ProblemFile, Tally
from miniclaw.session.executor import REMOVAL_BATCH
from miniclaw.session.files.subdirectory import EarlierFolders
from miniclaw.session.journal.erasure import erase_records
from miniclaw.session.live.store import open_store
from miniclaw.session.operations.acts import Acts
from miniclaw.session.operations.parts import SessionParts
from miniclaw.session.operations.quarantine import QuarantineOperations
from miniclaw.session.records.history import Actor, EventKind, HistoryEvent, HistorySession
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.removal.erase import ByIds, Remaining, Traces, erase_traces
from miniclaw.session.removal.relocation import Relocation
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.threads import PENDING, Epilogue
from miniclaw.session.timekeeper import open_time
from miniclaw.session.trash.entries import Restored, TrashRemoval

log: Final = get_logger("miniclaw.session.operations")


class Deleted(Struct, frozen=True):
    """The outcome of a deletion for one session.

    Attributes:
        session_id: The session.
        bytes_freed: Bytes freed on disk.
        entry_id: The trash entry from which it can be restored; empty: there is none.
        error: The reason why it was not deleted, or not completely erased; None: the operation succeeded.
        remaining: After an erasure, the files of other programs, or under another name, that hold messages of it or may
            hold some.
    """

    session_id: str
    bytes_freed: int = 0
    entry_id: str = ""
    error: MiniclawError | None = None
    remaining: Sequence[ProblemFile] = ()


class _Gone:
    """The sessions deleted so far, each with the bytes freed, for the receipt."""

    def __init__(self) -> None:
        self.complete: list[tuple[HistorySession, int]] = []
        self.partly: list[tuple[HistorySession, int]] = []
        self.problems: list[str] = []
        self.pending: list[HistorySession] = []


class SessionOperations(Acts):
    """The operations on one owned workspace. Made by `open_operations` or `SessionRuntime.operations`."""

    @property
    def quarantine(self) -> QuarantineOperations:
        """The operations on files in quarantine."""
        return QuarantineOperations.beside(self)

    async def delete(self, session_ids: Sequence[str], *, erase: bool = False) -> list[Deleted]:
        """Delete sessions now, regardless of their age and of pins.

        Args:
            session_ids: The sessions; an id without a session is an error in its own outcome.
            erase: If true, delete for good, and erase their copies in trash and quarantine, and their records in the
                journal, as well. An error names the files that could not be deleted.

        Returns:
            One outcome for each session, in the same order.

        Raises:
            StoreError: The directory cannot be searched for files that an erasure leaves; nothing was deleted.

        Cancellation: the receipt names the sessions deleted until then; an erasure that still searches deletes nothing.
        """
        gone = _Gone()
        async with self._manager.operation():
            remaining = Remaining(await self._find_problems()) if erase else None
            try:
                outcomes = [await self._delete(session_id, gone, remaining) for session_id in session_ids]
            finally:
                with trio.move_on_after(2 * RECORD_SECONDS, shield=True):
                    if gone.complete:
                        await self._tell_deleted("erased" if erase else "deleted", gone.complete)
                    if gone.partly:
                        await self._tell_deleted("deleted", gone.partly, because="; ".join(gone.problems))
                    if gone.pending:  # the program may exit before their outcome is known
                        await self._tell(self._event("pending", sessions=gone.pending, because="deleted"))
            await self._manager.remover.hooks.told()
        return outcomes

    async def _find_problems(self) -> list[ProblemFile]:
        problems: list[ProblemFile] = []
        async with self._store.scan() as scan:
            while not scan.complete:
                problems += [row for row in await scan.next_batch() if isinstance(row, ProblemFile)]
        return problems

    async def _delete(self, session_id: str, gone: _Gone, remaining: Remaining | None) -> Deleted:
        """Delete a session; with `remaining`, erase it."""
        session, freed, entry_id, found = _deleted_session(session_id), 0, "", False
        try:
            late = partial(self._deleted_late, session_id)
            deletion = await self._manager.delete_session(
                session_id, erase=remaining is not None, by=self._by, late=late
            )
            freed, entry_id, found = deletion.bytes_freed, deletion.entry_id, True
            session = _deleted_session(session_id, deletion)
        except SessionNotFoundError as error:
            if remaining is None:
                return Deleted(session_id, error=error)
        except MiniclawError as error:
            if isinstance(error, RemovalPendingError):
                gone.pending.append(session)
            return Deleted(session_id, error=error)
        if remaining is not None:
            return await self._erase(session, freed, gone, remaining.of(ByIds([session_id])), found=found)
        gone.complete.append((session, freed))
        return Deleted(session_id, freed, entry_id)

    async def _erase(
        self, session: HistorySession, freed: int, gone: _Gone, left: Sequence[ProblemFile], *, found: bool
    ) -> Deleted:
        """Erase the copies of a session that was deleted just now, or was not `found`; `left` are files that remain."""
        session_id, files = session.session_id, 0
        problem = "broken off before all that is kept of it was erased"
        try:
            traces = await self._erase_traces(session_id)
            left = [*left, *traces.remaining]
            freed, files, failed = freed + traces.bytes_freed, traces.files, list(traces.failed)
            self._cleanup.stats.gone({}, {}, traces.bytes_freed)
            try:
                files += await erase_records(self._store, self._manager.saver, session_id)
            except StoreError as error:
                failed.append(str(error))
            problem = "; ".join(failed)
        except StoreError as error:
            problem = str(error)
        finally:
            named = ", ".join(printable(each.key) for each in left)
            remain = f"files with its messages may remain: {named}" if left else ""
            problems = "; ".join(filter(None, (problem, remain)))
            if problems and (found or files):
                gone.partly.append((session, freed))
                gone.problems.append(f"{session_id}: {problems}")
        if problem or (left and not (found or files)):
            return Deleted(session_id, freed, error=StoreError(f"{session_id}: {problems}"), remaining=left)
        if not (found or files):
            return Deleted(session_id, error=SessionNotFoundError(session_id))
        if not left:
            gone.complete.append((session, freed))
        return Deleted(session_id, freed, remaining=left)

    async def _erase_traces(self, session_id: str) -> Traces:
        work = partial(erase_traces, self._store.directory, self._store.trash, session_id, self._store.earlier)
        traces = await self._see_through(work, partial(self._erased_late, session_id))
        return Traces(0, 0, [PENDING]) if traces is None else traces

    def _deleted_late(self, session_id: str, deletion: Removal) -> Epilogue:
        session = _deleted_session(session_id, deletion)
        tally = {"deleted": Tally(1, session.size)}
        return self._record_late(
            self._event("late", reasons=tally, freed=deletion.bytes_freed, sessions=[session], because="deleted")
        )

    def _erased_late(self, session_id: str, traces: Traces) -> HistoryEvent | None:
        if traces.failed:
            log.error("Erasure that outlasted its caller has failed", session_id=session_id, reasons=traces.failed)
        if not traces.files:
            return None
        self._cleanup.stats.gone({}, {}, traces.bytes_freed)
        session = _deleted_session(session_id)
        return self._event("late", freed=traces.bytes_freed, sessions=[session], because="erased beside the session")

    async def _tell_deleted(
        self, event: EventKind, gone: Sequence[tuple[HistorySession, int]], *, because: str = ""
    ) -> None:
        sessions = [session for session, _ in gone]
        tally = Tally(len(sessions), sum(session.size for session in sessions))
        freed = sum(freed for _, freed in gone)
        await self._tell(
            self._event(event, reasons={"deleted": tally}, freed=freed, sessions=sessions, because=because)
        )

    async def restore(self, text: str) -> Restored:
        """Restore a session from the trash, by the rules and errors of `SessionManager.restore_session`.

        A file removed from quarantine returns to quarantine, as moved there just now.
        """
        async with self._manager.operation():
            entry = await self._store.find_entry(text)
            if entry.from_quarantine:
                return Restored(None, await self.quarantine.take_back(entry))
            session_id = await self._manager.restore_session(entry.id)
            session = HistorySession(session_id, self._clock(), reason="restored")
            await self._tell(self._event("restored", sessions=[session]))
        return Restored(session_id)

    async def move(self, session_id: str, target_id: str) -> None:
        """Move a session to another chat, by the rules and errors of `SessionManager.move_session`."""

        def event(kind: EventKind, moved: Relocation | None = None) -> HistoryEvent:
            used, size = (None, 0) if moved is None else (moved.last_accessed, moved.size)
            session = HistorySession(session_id, used, size, "moved")
            return self._event(kind, sessions=[session], because=f"moved to {target_id}")

        async with self._manager.operation():
            try:
                moved = await self._manager.move_session(
                    session_id, target_id, by=self._by, late=lambda moved: self._record_late(event("late", moved))
                )
            except RemovalPendingError:
                await self._tell(event("pending"))  # noqa: ASYNC120 - shielded
                raise
            await self._tell(event("moved", moved))

    async def empty_trash(self, entry_ids: Sequence[str]) -> list[TrashRemoval]:
        """Remove entries of the trash for good; return one removal for each, in the same order.

        Cancellation: a batch that has begun is completed, and the receipt counts the entries removed until then.
        """
        removals: list[TrashRemoval] = []
        async with self._manager.operation():
            try:
                for start in range(0, len(entry_ids), REMOVAL_BATCH):
                    await trio.lowlevel.checkpoint()
                    removals += await self._remove_entries(entry_ids[start : start + REMOVAL_BATCH])
            finally:
                if gone := self._count_emptied(removals):
                    with trio.move_on_after(RECORD_SECONDS, shield=True):
                        await self._tell(self._event("trash_emptied", freed=gone.bytes, leftovers={"trash": gone}))
        return removals

    async def _remove_entries(self, entry_ids: Sequence[str]) -> list[TrashRemoval]:
        removals = await self._see_through(partial(self._store.trash.remove, entry_ids), self._emptied_late)
        if removals is None:
            return [TrashRemoval(entry_id, "pending", reason=PENDING) for entry_id in entry_ids]
        return removals

    def _emptied_late(self, removals: Sequence[TrashRemoval]) -> HistoryEvent | None:
        gone = self._count_emptied(removals)
        return (
            self._event("late", freed=gone.bytes, leftovers={"trash": gone}, because="trash emptied") if gone else None
        )

    def _count_emptied(self, removals: Sequence[TrashRemoval]) -> FileTally | None:
        """Count the removed entries of the trash in the statistics, and return the count; None: none was removed."""
        freed = [removal.bytes_freed for removal in removals if removal.outcome == "removed"]
        if not freed:
            return None
        self._cleanup.stats.gone({}, {"trash": len(freed)}, sum(freed))
        return FileTally(len(freed), sum(freed))

    async def set_pinned(self, session_id: str, pinned: bool) -> bool:
        """Pin a session, or unpin it, on disk; return whether that changed anything.

        Raises:
            SessionNotFoundError: The session does not exist.
            StoreError: The session could not be read or saved.
        """
        changed = await self._manager.set_pinned(session_id, pinned)
        # Also without a change: since a failed save, the pin may be in memory only.
        if (await self._manager.save_sessions([session_id])).failed:
            raise SessionFileError(self._store.path_of(session_id), "it could not be saved; the log says why")
        return changed

    async def cleanup(self, *, confirmed: bool = False, on_progress: OnProgress | None = None) -> CleanupResult:
        """Run a cleanup now, as `Cleanup.run` does. It deletes at once, without a notice period.

        Args:
            confirmed: If true, remove also the sessions that the guard against mass removal would hold.
            on_progress: Called on the trio thread with the number of entries scanned so far.

        Raises:
            StoreError: The directory cannot be listed.
        """
        return await self._cleanup.run(confirmed=confirmed, on_progress=on_progress, by=self._by)

    def stop_cleanup(self) -> bool:
        """End the run under way, of any actor, after its present batch; return whether there is one."""
        return self._cleanup.interrupt()


def _deleted_session(session_id: str, deletion: Removal | None = None) -> HistorySession:
    if deletion is None or deletion.header is None:
        return HistorySession(session_id, reason="deleted")
    return HistorySession(session_id, deletion.header.last_accessed, deletion.size, "deleted")


@asynccontextmanager
async def open_operations(
    sessions_dir: Path,
    *,
    policy: RetentionPolicy,
    by: Actor = "command",
    clock: Clock | Now | None = None,
    earlier: EarlierFolders | None = None,
) -> AsyncIterator[SessionOperations]:
    """Own a workspace for a moment, and operate on it. Other processes that want to own it wait meanwhile.

    Args:
        sessions_dir: The sessions directory; a missing one is not created.
        policy: The retention policy.
        by: The actor, for trash and history.
        clock: The clocks; None: those of this machine.
        earlier: Folders of an earlier version whose content is moved into `sessions_dir`; None: there are none.

    Raises:
        SessionsDirectoryError: The directory is missing or cannot be used.
        WorkspaceHeldError: A running gateway owns the directory.
        StoreError: Unfinished work of an earlier process cannot be recovered.
    """
    async with open_store(sessions_dir, create=False, briefly=True, earlier=earlier) as store:
        time = await open_time(store, clock, policy)
        try:
            parts = SessionParts(store, time, policy=policy, by=by)
            yield SessionOperations(parts.manager, parts.cleanup, parts.audit_log, by=by)
        finally:
            with trio.move_on_after(RECORD_SECONDS, shield=True):
                await time.save()  # the stamps made here are read by the state saved here
