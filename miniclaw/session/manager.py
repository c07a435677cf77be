"""The sessions in memory.

The trio thread owns all state here: it is decided and changed in one synchronous step, and what follows on disk
happens in the store. There is one lock per session, around its file (`miniclaw.session.live.locks`).

A session is loaded when somebody asks for it, stays while it is changed and not yet saved, and may leave when it is
clean and others were used more recently. While anybody holds the object it keeps its identity: asked for again, it is
the same one, unless another program has changed or deleted its file. The disk wins over a clean copy in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from miniclaw.clock import Now, utc_now
from miniclaw.errors import SessionExistsError, SessionNotFoundError
from miniclaw.loggers import get_logger
from miniclaw.session.entries import StoredSession
from miniclaw.session.format import codec
from miniclaw.session.live.gate import Gate
from miniclaw.session.live.loader import SessionLoader
from miniclaw.session.live.locks import FileLocks, Lease
from miniclaw.session.live.memory import Entry, SaveState, SessionMemory
from miniclaw.session.live.mover import SessionMover
from miniclaw.session.live.remover import Deletion, SessionRemover
from miniclaw.session.live.save_job import SaveReport
from miniclaw.session.live.saver import SessionSaver
from miniclaw.session.live.store_protocol import SessionStore
from miniclaw.session.names import make_session_id, split_session_id
from miniclaw.session.records.stats import SessionStats
from miniclaw.session.removal.relocation import Relocation
from miniclaw.session.removal.transaction import Removal, TrashOrder
from miniclaw.session.retention.planner import LiveSession
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.threads import Late
from miniclaw.session.types import Message, Session, SessionHeader

MAX_LIVE_SESSIONS: Final = 1000
"""How many sessions stay in memory, unless told otherwise. Unsaved ones are never dropped for it."""

MAX_LIVE_BYTES: Final = 32 * 1024 * 1024
"""How many bytes they take at most, unless told otherwise; likewise.

A gateway takes 50 MB besides, and what is being loaded the size of its file again: half of a board's 256 MB is left.
"""

log = get_logger("miniclaw.session.manager")


class SessionManager:
    """Hands out sessions, keeps track of what is not saved, and forgets what is removed.

    Args:
        store: Where the sessions lie; owned by this process.
        clock: The present, which each use stamps.
        ages: Tells how long ago a use was; None: by `clock` alone.
        policy: How long sessions are kept; 30 days where None.
        max_live_sessions: How many may stay in memory once they are saved; positive.
        max_live_bytes: How many bytes of memory these may take, about; positive. The one used last may take more.
        on_overfull: Called when there is more in memory than that, so that a save makes room.

    Attributes:
        policy: The policy in force; exchanged by `SessionRuntime.set_rules`.
        stats: What was saved and removed since the start.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        clock: Now = utc_now,
        ages: Callable[[], Ages] | None = None,
        policy: RetentionPolicy | None = None,
        max_live_sessions: int = MAX_LIVE_SESSIONS,
        max_live_bytes: int = MAX_LIVE_BYTES,
        on_overfull: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ages = ages or (lambda: Ages.by_wall_clock(clock()))
        self.policy = policy or RetentionPolicy()
        self.on_overfull = on_overfull
        self._memory = SessionMemory(max_live_sessions, max_live_bytes)
        self._locks = FileLocks()
        self.stats = SessionStats(clock)
        self._saver = SessionSaver(store, self._memory, self._locks, self.stats.saves)
        self._remover = SessionRemover(
            store, self._memory, self._locks, self._saver, clock=clock, stats=self.stats.cleanups
        )
        self._gate = Gate(store)
        self._loader = SessionLoader(
            store, self._memory, self._locks, self._gate, clock=clock, call_for_save=self._call_for_save
        )
        self._mover = SessionMover(store, self._memory, self._locks, self._saver, self._loader)

    def __repr__(self) -> str:
        return f"<SessionManager live={len(self._memory)} dirty={len(self.dirty_sessions())} {self._locks!r}>"

    # Access ---------------------------------------------------------------------------------------------------

    async def get_or_create_session(self, channel: str, chat_id: str) -> Session:
        """Return the session of a chat, and make a new one if there is none. Counts as an access.

        What stands in its place and is no session, or another chat's, goes to quarantine, with an ERROR, and the person
        gets a new session: a conversation that cannot be had must not be the end of all others.

        Args:
            channel: ``[a-z0-9-]{1,32}``.
            chat_id: Any non-empty text.

        Raises:
            InvalidSessionIdError: A part is not of that form.
            StoreError: It could not be read (EACCES, EIO, …). Nothing is created in that case.

        Cancellation: nothing has happened, or a session was loaded and not touched.
        """
        return self._touch(await self._loader.use(make_session_id(channel, chat_id), create=True))

    async def get_session(self, session_id: str) -> Session | None:
        """Return a session, or None if there is none. Counts as an access.

        Raises:
            InvalidSessionIdError: The id names no session.
            StoreError: It is there but could not be read.

        Cancellation: as in `get_or_create_session`.
        """
        try:
            return self._touch(await self._loader.use(session_id))
        except SessionNotFoundError:
            return None

    async def add_message(self, session_id: str, message: Message) -> Session:
        """Append a message to a session. Counts as an access.

        It is in memory when this returns, and on disk after the next save.

        Args:
            session_id: An existing session.
            message: Its time is kept, in UTC.

        Raises:
            InvalidMessageError: It could not be saved; the session is unchanged.
            SessionNotFoundError: There is no such session; it may have been removed just now.
            StoreError: The session is there but could not be read.

        Cancellation: the message is not in the session.
        """
        message = codec.check_message(message)
        entry = await self._loader.use(session_id)
        if self._memory.append(entry, message):
            self._call_for_save()
        return self._touch(entry)

    @asynccontextmanager
    async def using(self, session_id: str) -> AsyncIterator[Session]:
        """Hold a session in use for a block, such as a turn of the agent. Counts as an access.

        While it is in use it stays in memory and the cleanup does not remove it, however long the block takes.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: It could not be read.
        """
        entry = await self._loader.use(session_id)
        session = self._touch(entry)
        entry.users += 1
        try:
            yield session
        finally:
            entry.users -= 1

    async def is_session_expired(self, session_id: str) -> bool:
        """Return whether the policy lets a session be removed now. Does not count as an access.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: It could not be read.
        """
        return self.policy.is_expired(await self._loader.header(session_id), self._ages())

    # The end, in this order: close, drain, flush, seal; see `miniclaw.session.live.gate`. ---------------------------

    def close(self) -> None:
        """Begin no operation any more: each raises `RuntimeClosedError`. Those that wait for the disk go on."""
        self._gate.close()

    @asynccontextmanager
    async def operation(self) -> AsyncIterator[None]:
        """Count a block as an operation: it does not begin after the end, and the end waits for it and its receipt.

        Raises:
            RuntimeClosedError: The runtime has ended, or ends.
        """
        await self._gate.enter()
        with self._gate.under_way():
            yield

    async def drain(self) -> None:
        """Wait until no operation is under way."""
        await self._gate.drain()

    async def flush(self) -> None:
        """Save until nothing is unsaved, or until a save of all that is left has failed.

        Cancellation: as `save_all_sessions`.
        """
        self._store.check_process()
        while dirty := self.dirty_sessions():
            if not (await self._saver.save(dirty)).saved:
                return

    def seal(self) -> tuple[str, ...]:
        """Let operations that are still under way fail, and return the ids of what is not saved."""
        self._gate.seal()
        return tuple(self.dirty_sessions())

    def dirty_sessions(self) -> list[str]:
        """Return the ids of the sessions with changes that are not saved."""
        return self._memory.dirty()

    def peek(self, session_id: str) -> Session | None:
        """Return a copy of a session that has unsaved changes; None: the disk has it. Does not count as an access."""
        entry = self._memory.peek(session_id)
        return None if entry is None or not entry.dirty else codec.snapshot_session(entry.session, session_id)

    def live_sessions(self) -> int:
        """Return how many sessions are in memory."""
        return len(self._memory)

    def live_bytes(self) -> int:
        """Return about how many bytes the sessions in memory take."""
        return self._memory.bytes

    def _call_for_save(self) -> None:
        if self.on_overfull:
            self.on_overfull()

    def _touch(self, entry: Entry) -> Session:
        session = entry.session
        session.last_accessed = self._clock()  # also backwards: the last stamp was made under a wrong clock then
        entry.revision += 1
        self._memory.used(entry)
        return session

    # Saving ---------------------------------------------------------------------------------------------------

    async def save_all_sessions(self) -> SaveReport:
        """Save every session that has unsaved changes; see `SessionSaver.save`."""
        self._store.check_process()
        return await self._saver.save(self.dirty_sessions())

    async def save_sessions(self, session_ids: Iterable[str]) -> SaveReport:
        """Save some sessions now, as far as they are in memory and have unsaved changes; see `SessionSaver.save`."""
        self._store.check_process()
        return await self._saver.save(session_ids)

    def watch_save(self, session_id: str) -> Callable[[], SaveState]:
        """Return a function that tells what became of a session as it is now; see `SaveState`.

        To be called in the step in which the session was changed. A session that is not in memory has nothing unsaved.
        """
        entry = self._memory.peek(session_id)
        return entry.watch() if entry is not None else lambda: "saved"

    async def check_place(self) -> None:
        """Say once in the log when what is saved is no longer where people look for it, and once when it is again."""
        await self._saver.check_place()

    # Removing -------------------------------------------------------------------------------------------------

    def live(self, session_id: str) -> LiveSession | None:
        """Return what memory knows about a session, for a plan; None: nothing."""
        entry = self._memory.peek(session_id)
        if entry is None:
            return None
        return LiveSession(entry.session.last_accessed, entry.dirty or entry.users > 0, entry.session.pinned)

    async def remove_sessions(
        self,
        sessions: Sequence[StoredSession],
        may_go: Callable[[SessionHeader | Session], bool],
        *,
        late: Late[list[Removal]],
        order: TrashOrder | None = None,
    ) -> list[Removal]:
        """Remove sessions, from disk and memory in one step; see `SessionRemover.remove`."""
        self._store.check_owned()
        return await self._remover.remove(sessions, may_go, late=late, order=order)

    async def delete_session(
        self, session_id: str, *, erase: bool = False, by: str = "program", late: Late[Deletion] | None = None
    ) -> Deletion:
        """Delete one session now, whatever its age and whether it is pinned, from disk and memory.

        Where it goes to the trash, what is not saved of it is saved before. A message that comes meanwhile waits, and
        finds no session.

        Args:
            session_id: The session.
            erase: Whether it is gone for good, also where the policy keeps a trash.
            by: Who deletes it, for the trash.
            late: Takes a deletion that happened after `RemovalPendingError`; log and statistics have it by then.

        Raises:
            SessionNotFoundError: There is no such session, on disk or in memory.
            CorruptSessionError: Its file cannot be read; such files are never deleted.
            RemovalPendingError: The disk takes longer than anybody can wait; the deletion goes on.
            StoreError: It could not be deleted, and is still there; or it is, and a power cut may undo that.

        Cancellation: as `Job.run`: a deletion that ends within `job.GRACE_SECONDS` is returned.
        """
        split_session_id(session_id)
        await self._gate.enter()
        keep_for = None if erase else self.policy.trash_for
        with self._gate.under_way():
            return await self._remover.delete(session_id, keep_for=keep_for, by=by, late=late)

    async def restore_session(self, text: str) -> str:
        """Take a session out of the trash; it counts as used now. Return its id.

        Args:
            text: The id of an entry, or of a session, whose newest entry is meant.

        Raises:
            TrashEntryNotFoundError: There is none.
            SessionExistsError: There is a session of that id already, on disk or in memory.
            CorruptTrashError: The entry is damaged.
            StoreError: It could not be restored; the entry is still there.

        Cancellation: the session may be restored or not; the entry or the session is there.
        """
        await self._gate.enter()
        with self._gate.under_way():
            session_id, entry_id = await self._store.find_trashed(text)
            async with self.locked(session_id, vacant=True) as lease:
                await self._store.restore(entry_id, self._clock(), finished=lease.join())
        log.info("Session restored", session_id=session_id, trash_entry=entry_id)
        return session_id

    @asynccontextmanager
    async def locked(self, session_id: str, *, vacant: bool = False) -> AsyncIterator[Lease]:
        """Hold the lock of a session's file for a block, and for the work that joins the lease.

        Raises:
            SessionExistsError: It is in memory, and is to be `vacant`: something is about to be put into its place.
        """
        async with self._locks.hold(session_id) as lease:
            if vacant and await self._loader.current(session_id, lease):
                raise SessionExistsError(Path(self._store.describe(self._store.keys(session_id)[0])), session_id)
            yield lease

    async def move_session(
        self, session_id: str, target_id: str, *, by: str = "program", late: Late[Relocation] | None = None
    ) -> Relocation:
        """Move a session to another chat: its ids change, on disk, and nothing else of it. Does not count as an access.

        A message to the old id that comes meanwhile waits, and finds no session, or begins a new one.

        Args:
            session_id: The session.
            target_id: Its new id, ``{channel}_{chat_id}``, of which there is no session.
            by: Who moves it, for the log.
            late: Takes a move that happened after `RemovalPendingError`; the log has it by then.

        Raises:
            InvalidSessionIdError: An id names no session, or both are the same.
            SessionNotFoundError: There is no such session, on disk or in memory.
            SessionExistsError: There is a session of the new id, on disk or in memory.
            SessionInUseError: A block is `using` it.
            RemovalPendingError: The disk takes longer than anybody can wait; the move goes on.
            StoreError: It was not moved; or it was, and is there under its old id as well, as the text says.

        Cancellation: as `Job.run`: a move that ends within `job.GRACE_SECONDS` is returned.
        """
        for each in (session_id, target_id):
            split_session_id(each)
        await self._gate.enter()
        with self._gate.under_way():
            return await self._mover.move(session_id, target_id, by=by, late=late)

    async def set_pinned(self, session_id: str, pinned: bool) -> bool:
        """Pin a session, so that no rule of retention takes it, or unpin it. Does not count as an access.

        Returns:
            Whether that changed anything. It is on disk after the next save.

        Raises:
            SessionNotFoundError: There is no such session.
            StoreError: It could not be read.
        """
        entry = await self._loader.use(session_id)
        if entry.session.pinned == pinned:
            return False
        entry.session.pinned = pinned
        entry.revision += 1
        return True
