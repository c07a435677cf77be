"""What an administrator does to sessions: delete, restore, pin, clean up, empty the trash; each with a receipt.

The same for a command that owns the workspace for a moment and for a program that runs. The receipt is an event in the
history; a history that cannot be written is an ERROR in the log and stops nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio
from msgspec import Struct

from miniclaw.errors import SessionFileError, SessionNotFoundError, StoreError
from miniclaw.session.cleanup import Cleanup, OnProgress
from miniclaw.session.cleanup_result import CleanupResult
from miniclaw.session.clock import Clock, utc_now
from miniclaw.session.erasing import erase_traces
from miniclaw.session.history import Actor, EventKind, FileTally, History, HistoryEvent, HistorySession, Tally
from miniclaw.session.logs import get_logger
from miniclaw.session.manager import SessionManager
from miniclaw.session.retention import RetentionPolicy
from miniclaw.session.state import CleanupState, StateDirectory
from miniclaw.session.store import FileSessionStore, open_store
from miniclaw.session.trash_rows import TrashRemoval

T = TypeVar("T")

log = get_logger("miniclaw.session.operations")


class Deleted(Struct, frozen=True):
    """What became of a session that was to be deleted.

    Attributes:
        session_id: The session.
        bytes_freed: What the disk got back.
        entry_id: By which it can be restored from the trash; empty where it is gone for good.
        error: Why it was not deleted, or not for good; None where it was.
    """

    session_id: str
    bytes_freed: int = 0
    entry_id: str = ""
    error: StoreError | None = None


class SessionOperations:
    """The operations on one owned workspace. From `open_operations`, or made of the parts of a running program."""

    def __init__(
        self,
        manager: SessionManager,
        store: FileSessionStore,
        cleanup: Cleanup,
        state: StateDirectory,
        history: History,
        *,
        by: Actor = "command",
        clock: Clock = utc_now,
    ) -> None:
        self._manager = manager
        self._store = store
        self._cleanup = cleanup
        self._state = state
        self._history = history
        self._by = by
        self._clock = clock
        self._limiter = trio.CapacityLimiter(1)

    async def delete(self, session_ids: Sequence[str], *, erase: bool = False) -> list[Deleted]:
        """Delete sessions now, whatever their age and whether they are pinned.

        Args:
            session_ids: Which; an id that names no session is an error of that one.
            erase: Whether all that is kept of them goes, too: in the trash, and in quarantine.

        Returns:
            What became of each, in their order.

        Cancellation: what was deleted until then is written down.
        """
        done: list[Deleted] = []
        told: list[HistorySession] = []
        try:
            for session_id in session_ids:
                deleted, session = await self._delete(session_id, erase=erase)
                done.append(deleted)
                if deleted.error is None:
                    told.append(session)
        finally:
            if told:
                with trio.move_on_after(2, shield=True):
                    await self._tell_deleted(told, sum(each.bytes_freed for each in done), erase=erase)
        return done

    async def _delete(self, session_id: str, *, erase: bool) -> tuple[Deleted, HistorySession]:
        session = HistorySession(session_id, reason="deleted")
        freed, entry_id, found = 0, "", False
        try:
            deletion = await self._manager.delete_session(session_id, erase=erase, by=self._by)
            freed, entry_id, found = deletion.bytes_freed, deletion.entry_id, True
            if header := deletion.header:
                session = HistorySession(session_id, header.last_accessed, deletion.size, "deleted")
        except SessionNotFoundError as error:
            if not erase:
                return Deleted(session_id, error=error), session
        except StoreError as error:
            return Deleted(session_id, error=error), session
        if erase:
            traces = await self._in_thread(partial(erase_traces, self._store.directory, self._store.trash, session_id))
            freed += traces.bytes_freed
            if traces.failed:
                return Deleted(session_id, freed, error=StoreError(f"{session_id}: {traces.failed[0]}")), session
            if not (found or traces.files):
                return Deleted(session_id, error=SessionNotFoundError(session_id)), session
        return Deleted(session_id, freed, entry_id), session

    async def _tell_deleted(self, sessions: list[HistorySession], freed: int, *, erase: bool) -> None:
        tally = Tally(len(sessions), sum(session.size for session in sessions))
        await self._tell("erased" if erase else "deleted", reasons={"deleted": tally}, freed=freed, sessions=sessions)

    async def restore(self, text: str) -> str:
        """Take a session out of the trash; see `SessionManager.restore_session`."""
        session_id = await self._manager.restore_session(text)
        await self._tell("restored", sessions=[HistorySession(session_id, self._clock(), reason="restored")])
        return session_id

    async def empty_trash(self, entry_ids: Sequence[str]) -> list[TrashRemoval]:
        """Remove entries of the trash for good; return what became of each, in their order."""
        removals = await self._in_thread(partial(self._store.trash.remove, entry_ids))
        gone = [removal for removal in removals if removal.outcome == "removed"]
        if gone:
            freed = sum(removal.bytes_freed for removal in gone)
            await self._tell("trash_emptied", freed=freed, leftovers={"trash": FileTally(len(gone), freed)})
        return removals

    async def set_pinned(self, session_id: str, pinned: bool) -> bool:
        """Pin a session, or unpin it, on disk; return whether that changed anything.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: It could not be read or saved.
        """
        changed = await self._manager.set_pinned(session_id, pinned)
        if changed and session_id in (await self._manager.save_all_sessions()).failed:
            path = Path(self._store.describe(self._store.keys(session_id)[0]))
            raise SessionFileError(path, "it could not be saved; the log says why")
        return changed

    async def cleanup(self, *, confirmed: bool = False, on_progress: OnProgress | None = None) -> CleanupResult:
        """Run a cleanup now; see `Cleanup.run`. The daily one need not announce what somebody has ordered.

        Args:
            confirmed: Whether to remove also what the guard against mass removal would hold.
            on_progress: See `OnProgress`.

        Raises:
            CleanupBusyError: Another run is going.
            StoreError: The directory cannot be listed, or the state not be written.
        """
        started = self._clock()
        result = await self._cleanup.run(confirmed=confirmed, on_progress=on_progress)
        if not result.interrupted and not result.held and self._cleanup.policy.removes_anything:
            await self._in_thread(partial(self._state.write_cleanup, CleanupState(last_run_at=started)))
        return result

    def stop_cleanup(self) -> None:
        """Have a run end after the batch it is at."""
        self._cleanup.stop()

    async def _tell(
        self,
        event: EventKind,
        *,
        reasons: dict[str, Tally] | None = None,
        freed: int = 0,
        sessions: list[HistorySession] | None = None,
        leftovers: dict[str, FileTally] | None = None,
    ) -> None:
        told = HistoryEvent(
            at=self._clock(),
            event=event,
            by=self._by,
            reasons=reasons or {},
            bytes_freed=freed,
            sessions=sessions or [],
            leftovers=leftovers or {},
        )
        try:
            await self._in_thread(partial(self._history.append, told))
        except StoreError as error:
            log.error("Event could not be written into the history", event_kind=event, error=str(error))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._store.run(work, self._limiter)


@asynccontextmanager
async def open_operations(
    sessions_dir: Path,
    *,
    state_dir: Path,
    trash_dir: Path,
    policy: RetentionPolicy,
    by: Actor = "command",
    clock: Clock = utc_now,
) -> AsyncIterator[SessionOperations]:
    """Own a workspace for a block, and operate on it.

    Args:
        sessions_dir: The sessions; not made where it is missing.
        state_dir: Where state and history lie.
        trash_dir: Where the trash lies.
        policy: The rules.
        by: Who operates, for trash and history.
        clock: The wall clock.

    Raises:
        SessionsDirectoryError: The directory is missing or cannot be used.
        WorkspaceHeldError: A running gateway owns it.
        StoreError: What an earlier process left unfinished cannot be resolved.
    """
    async with open_store(sessions_dir, create=False, trash_dir=trash_dir) as store:
        manager = SessionManager(store, clock=clock, policy=policy)
        state = StateDirectory(state_dir)
        history = History(lambda create: state.folder.open(create=create), state.path)
        cleanup = Cleanup(
            sessions_dir,
            policy=policy,
            clock=clock,
            manager=manager,
            store=store,
            history=history,
            by=by,
            run=store.run,
        )
        yield SessionOperations(manager, store, cleanup, state, history, by=by, clock=clock)
