"""The sessions in memory.

The trio thread owns all state here: it decides and changes in one synchronous step, and the store then changes the
disk. There is one lock per session, for its file (`miniclaw.session.live.locks`).

A session is loaded on its first use, is kept while it is dirty, and may be evicted when it is clean and others were
used more recently. While an object is referenced it keeps its identity: the next call returns the same object, unless
another program has changed or deleted the file. The disk wins over a clean copy in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from miniclaw.clock import Now, utc_now
from miniclaw.errors import SessionExistsError, SessionNotFoundError
from miniclaw.loggers import get_logger
from miniclaw.session.calls.editor import SessionEditor
from miniclaw.session.calls.in_use import SessionInUse
from miniclaw.session.format import codec, growth
from miniclaw.session.hooks.hooks import Hooks
from miniclaw.session.live.committer import Committer
from miniclaw.session.live.entry import Entry, SaveState
from miniclaw.session.live.gate import Gate
from miniclaw.session.live.loader import SessionLoader
from miniclaw.session.live.locks import FileLocks, Lease
from miniclaw.session.live.memory import MAX_LIVE_BYTES, MAX_LIVE_SESSIONS, SessionMemory
from miniclaw.session.live.mover import SessionMover
from miniclaw.session.live.remover import SessionRemover
from miniclaw.session.live.save_job import SaveReport
from miniclaw.session.live.saver import SessionSaver
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.names import make_session_id, split_session_id
from miniclaw.session.records.stats import SessionStats
from miniclaw.session.removal.relocation import Relocation
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.planner import LiveSession
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.threads import Late
from miniclaw.session.types import Message, Session

log: Final = get_logger("miniclaw.session.manager")


class SessionManager:
    """Hands out sessions, tracks unsaved changes, and forgets removed sessions.

    Args:
        store: The store of the sessions; owned by this process.
        clock: Returns the present, with which each use is stamped.
        ages: Returns the ages of sessions; None: computed by `clock` alone.
        policy: The retention policy; None: 30 days.
        max_live_sessions: Bound on the sessions in memory, at least 1; dirty ones and those in use may exceed it.
        max_live_bytes: Approximate bound on their bytes, at least 1; the session used last alone may exceed it as well.
        max_session_bytes: Bound on the growth of each session, from 1 to `growth.MOST_GROWTH_BYTES`.
        hooks: The hooks of the program; None: it has none.
        on_overfull: Called when memory exceeds a bound, so that a save makes room.

    Attributes:
        store, clock: As the arguments.
        policy: The policy in force; replaced by `SessionRuntime.set_rules`.
        max_session_bytes: The bound in force; replaced likewise. A larger session is loaded and kept as any other.
        stats: Statistics of saves and removals since the start.
        saver: The saving part, for the runtime; `mover`, for the operations, is the moving part; `remover`, for the
            cleanup, the removing one; `editor` changes and reads sessions.
    """

    def __init__(
        self,
        store: FileSessionStore,
        *,
        clock: Now = utc_now,
        ages: Callable[[], Ages] | None = None,
        policy: RetentionPolicy | None = None,
        max_live_sessions: int = MAX_LIVE_SESSIONS,
        max_live_bytes: int = MAX_LIVE_BYTES,
        max_session_bytes: int = growth.GROWTH_BYTES,
        hooks: Hooks | None = None,
        on_overfull: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.clock = clock
        self._ages = ages or (lambda: Ages.by_wall_clock(clock()))
        self.policy: RetentionPolicy = policy or RetentionPolicy()
        growth.check_bound(max_session_bytes)
        self.max_session_bytes = max_session_bytes
        self.on_overfull = on_overfull
        self._memory = SessionMemory(max_live_sessions, max_live_bytes)
        self._locks = FileLocks()
        self.stats: SessionStats = SessionStats(clock)
        self.saver: SessionSaver = SessionSaver(
            store, self._memory, self._locks, Committer(store, self._memory), self.stats.saves
        )
        self.remover: SessionRemover = SessionRemover(
            store, self._memory, self._locks, self.saver,
            clock=clock, stats=self.stats.cleanups, hooks=hooks or Hooks(),
        )  # fmt: skip
        self._gate = Gate(store)
        self.check_open: Callable[[], None] = self._gate.check_open
        self._loader = SessionLoader(
            store, self._memory, self._locks, self.saver, self._gate, clock=clock,
            call_for_save=lambda: self.on_overfull(),  # noqa: PLW0108 - it is replaced later
        )  # fmt: skip
        self.editor: SessionEditor = SessionEditor(
            store, self._memory, self._locks, self._gate, self._loader,
            touch=self._touch, call_for_save=lambda: self.on_overfull(),  # noqa: PLW0108 - likewise
        )  # fmt: skip
        self.mover: SessionMover = SessionMover(store, self._memory, self._locks, self.saver, self._loader)
        self._memory.add_replayed(store.unsaved, store.journal)

    def __repr__(self) -> str:
        return f"<SessionManager live={len(self._memory)} dirty={len(self.dirty_sessions())} {self._locks!r}>"

    # Access ---------------------------------------------------------------------------------------------------

    async def get_or_create_session(self, channel: str, chat_id: str) -> Session:
        """Return the session of a chat, and create a missing one. Counts as an access.

        A file in its place that is no session, or another chat's, is moved to quarantine, with an ERROR, and the chat
        gets a new session: one unusable conversation must not block the chat for ever.

        Args:
            channel: ``[a-z0-9-]{1,32}``.
            chat_id: Any non-empty text.

        Raises:
            InvalidSessionIdError: A part is not of that form.
            StoreError: The session could not be read (EACCES, EIO, …). No session is created in that case.

        Cancellation: nothing has happened, or a session was loaded and not touched.
        """
        return self._touch(await self._loader.use(make_session_id(channel, chat_id), create=True))

    async def get_session(self, session_id: str) -> Session | None:
        """Return a session, or None if it does not exist. Counts as an access.

        Raises:
            InvalidSessionIdError: The id is not of the form ``{channel}_{chat_id}``.
            StoreError: The session exists but could not be read.
        """
        try:
            return self._touch(await self._loader.use(session_id))
        except SessionNotFoundError:
            return None

    async def add_message(self, session_id: str, message: Message, *, durable: bool = False) -> Session:
        """Append a message to a session. Counts as an access.

        The message is in memory when this returns, and on disk after the next autosave.

        Args:
            session_id: An existing session.
            message: The message; its time is kept, in UTC.
            durable: If true, it is on disk when this returns, as after `durable`, whose errors this raises as well.

        Raises:
            InvalidMessageError: The message could not be saved; the session is unchanged.
            SessionFullError: It is a person's, and would pass `max_session_bytes`; the session is unchanged.
            SessionNotFoundError: The session does not exist; it may have been removed just now.
            StoreError: The session exists but could not be read.

        Cancellation: the message is not in the session; with `durable`, it may be.
        """
        session = await self.editor.add(session_id, [message], self.max_session_bytes)
        if durable:
            await self.saver.make_durable(session_id)
        return session

    @asynccontextmanager
    async def using(self, session_id: str, *, create: bool = False) -> AsyncIterator[Session]:
        """Hold a session in use for a block, such as a turn of the agent. Counts as an access.

        A session in use is not evicted from memory and not removed by the cleanup, however long the block takes.

        Args:
            session_id: The session.
            create: If true, a missing session is created, as by `get_or_create_session`.

        Raises:
            SessionNotFoundError: The session does not exist, and `create` is false.
            StoreError: The session could not be read.
        """
        entry = await self._loader.use(session_id, create=create)
        with entry.in_use():
            yield self._touch(entry)

    def turn(self, session_id: str, now: datetime) -> SessionInUse:
        """Return a context manager that holds a session in use from now on, by `clock`, for a turn of the agent."""
        return SessionInUse(self._loader, session_id, now, self._touch, self._append)

    async def is_session_expired(self, session_id: str) -> bool:
        """Return whether the policy lets a session be removed now. Does not count as an access.

        Raises:
            SessionNotFoundError: The session does not exist.
            StoreError: The session could not be read.
        """
        return self.policy.is_expired(await self._loader.header(session_id), self._ages())

    # The end, in this order: close, drain, flush, seal (`miniclaw.session.live.gate`) -----------------------------

    def close(self) -> None:
        """Refuse new operations with `RuntimeClosedError`; those that wait for the disk continue."""
        self._gate.close()

    @asynccontextmanager
    async def operation(self) -> AsyncIterator[None]:
        """Count a block as an operation: the end of the runtime waits for it, and so for its receipt.

        Raises:
            RuntimeClosedError: The runtime has ended or is ending; the block does not begin.
        """
        await self._gate.enter()
        with self._gate.under_way():
            yield

    async def drain(self) -> None:
        """Wait until no operation is under way."""
        await self._gate.drain()

    def seal(self) -> tuple[str, ...]:
        """Make operations still under way fail; return the ids of the sessions with changes that are not on disk."""
        self._gate.seal()
        return tuple(self._memory.unsaved())

    def dirty_sessions(self) -> list[str]:
        """Return the ids of the sessions whose files lack changes."""
        return self._memory.dirty()

    def peek(self, session_id: str) -> Session | None:
        """Return a copy of a session with unsaved changes; None: it has none. Does not count as an access."""
        entry = self._memory.peek(session_id)
        return None if entry is None or not entry.dirty else codec.snapshot_session(entry.session, session_id)

    def live_sessions(self) -> int:
        """Return how many sessions are in memory."""
        return len(self._memory)

    def live_bytes(self) -> int:
        """Return the approximate number of bytes that the sessions in memory take."""
        return self._memory.bytes

    def _touch(self, entry: Entry, now: datetime | None = None) -> Session:
        entry.session.last_accessed = now or self.clock()  # may go backwards: the last one's clock was wrong then
        entry.revision += 1
        self._memory.used(entry)
        return entry.session

    def _append(self, entry: Entry, message: Message, size: int, now: datetime | None = None) -> Session:
        return self.editor.append(entry, [(message, size)], self.max_session_bytes, now)

    # Saving ---------------------------------------------------------------------------------------------------

    async def save_all_sessions(self) -> SaveReport:
        """Save the files of all dirty sessions, as `SessionSaver.save_all` does; `RuntimeClosedError` after the end."""
        self.check_open()
        return await self.saver.save_all()

    async def save_sessions(self, session_ids: Iterable[str]) -> SaveReport:
        """Save the files of some sessions, likewise."""
        return await self.saver.save(session_ids)

    async def durable(self, session_id: str) -> None:
        """Return when the present state of a session survives a power cut.

        Raises:
            SessionNotFoundError: There is no such session; it may have been deleted before that.
            NotConfirmedError: The disk refuses, or has not answered in time; the next autosave tries again.
        """
        self.check_open()
        if self._memory.peek(session_id) is None:
            await self._loader.header(session_id)  # raises if there is none
        await self.saver.make_durable(session_id)

    def watch_save(self, session_id: str) -> Callable[[], SaveState]:
        """Return a function that reports the `SaveState` of the session's present revision.

        Call this in the step in which the session was changed. A session that is not in memory counts as saved.
        """
        return self._memory.watch(session_id)

    # Removal --------------------------------------------------------------------------------------------------

    def live(self, session_id: str) -> LiveSession | None:
        """Return the state of a session in memory, for a plan; None: it is not in memory."""
        if (entry := self._memory.peek(session_id)) is None:
            return None
        return LiveSession(entry.session.last_accessed, entry.dirty or entry.users > 0, entry.session.pinned)

    async def delete_session(
        self, session_id: str, *, erase: bool = False, by: str = "program", late: Late[Removal] | None = None
    ) -> Removal:
        """Delete one session now from disk and memory, regardless of its age and of a pin.

        Before a session is moved to the trash, its unsaved changes are saved. A message that arrives meanwhile waits,
        and then finds no session.

        Args:
            session_id: Its id.
            erase: If true, the session is deleted for good, even if the policy keeps a trash.
            by: The actor, for the trash and the log.
            late: Takes a deletion that happened after `RemovalPendingError`; log and statistics have it by then.

        Raises:
            SessionNotFoundError: The session does not exist, on disk or in memory.
            SessionKeptError: The program's `before_remove` keeps it.
            CorruptSessionError: Its file cannot be read; such files are never deleted.
            RemovalPendingError: The disk takes longer than a caller can wait; the deletion goes on.
            StoreError: The session was not deleted; or it was, and a power cut may undo that.

        Cancellation: as for `Job.run`: a deletion that ends within `threads.GRACE_SECONDS` is returned.
        """
        split_session_id(session_id)
        async with self.operation():
            keep_for, reason = (None, "erased") if erase else (self.policy.trash_for, "deleted")
            return await self.remover.delete(session_id, keep_for=keep_for, by=by, late=late, reason=reason)

    async def restore_session(self, text: str) -> str:
        """Restore a session from the trash, as used just now, and return its id.

        Args:
            text: The id of an entry, or the id of a session for its newest entry.

        Raises:
            TrashEntryNotFoundError: The trash has no such entry.
            SessionExistsError: A session of that id exists, on disk or in memory.
            CorruptTrashError: The entry is damaged.
            StoreError: The session could not be restored; the trash still has the entry.

        Cancellation: the session may be restored or not; the entry or the session exists.
        """
        async with self.operation():
            session_id, entry_id = await self.store.find_trashed(text)
            async with self.locked(session_id, vacant=True) as lease:
                await self.store.restore(entry_id, self.clock(), lease)
        log.info("Session restored", session_id=session_id, trash_entry=entry_id)
        return session_id

    @asynccontextmanager
    async def locked(self, session_id: str, *, vacant: bool = False) -> AsyncIterator[Lease]:
        """Hold the lock of a session's file for a block and for all work that joins the lease.

        With `vacant`, the session must not be in memory, because a file is about to be put into its place.

        Raises:
            SessionExistsError: `vacant` is true, and the session is in memory.
        """
        async with self._locks.hold(session_id) as lease:
            if vacant and await self._loader.current(session_id, lease):
                raise SessionExistsError(self.store.path_of(session_id), session_id)
            yield lease

    async def move_session(
        self, session_id: str, target_id: str, *, by: str = "program", late: Late[Relocation] | None = None
    ) -> Relocation:
        """Move a session to another chat: change its ids on disk, and nothing else. Does not count as an access.

        A message to the old id that arrives meanwhile waits, and then finds no session or begins a new one.

        Args:
            session_id: The session.
            target_id: Its new id, ``{channel}_{chat_id}``; no session of that id may exist.
            by: The actor, for the log.
            late: Takes a move that happened after `RemovalPendingError`; the log has it by then.

        Raises:
            InvalidSessionIdError: An id is not of that form, or both are the same.
            SessionNotFoundError: The session does not exist, on disk or in memory.
            SessionExistsError: A session of the new id exists, on disk or in memory.
            SessionInUseError: A block is `using` the session.
            RemovalPendingError: The disk takes longer than a caller can wait; the move goes on.
            StoreError: The session was not moved; or it was, and its old file remains as well, as the message says.

        Cancellation: as for `Job.run`: a move that ends within `threads.GRACE_SECONDS` is returned.
        """
        for each in (session_id, target_id):
            split_session_id(each)
        async with self.operation():
            return await self.mover.move(session_id, target_id, by=by, late=late)

    async def set_pinned(self, session_id: str, pinned: bool) -> bool:
        """Pin a session, which exempts it from all rules of retention, or unpin it. Does not count as an access.

        Returns:
            True if that changed the session. The change is on disk after the next save.

        Raises:
            SessionNotFoundError: The session does not exist.
            StoreError: The session could not be read.
        """
        return await self.editor.set_pinned(session_id, pinned)
