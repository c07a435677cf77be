"""Changes of sessions in memory, and copies of them: messages added and removed, metadata, and the pin.

A change is one synchronous step on the trio thread, after the session was loaded: it happens as a whole or not at all.
The journal takes added messages, uses and pins. Removed messages and metadata need the session's file
(`miniclaw.session.live.memory.Recorded.edited_at`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import datetime

from miniclaw.errors import InvalidMessageError, SessionNotFoundError
from miniclaw.session.entries import SessionEntry
from miniclaw.session.files.on_disk import on_disk_of
from miniclaw.session.format import codec, growth, metadata
from miniclaw.session.live.entry import Entry
from miniclaw.session.live.gate import Gate
from miniclaw.session.live.loader import SessionLoader, load_copy
from miniclaw.session.live.locks import FileLocks
from miniclaw.session.live.memory import SessionMemory
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.types import JSON, Message, Session


class SessionEditor:
    """The changing part of a `SessionManager`, whose store, memory, locks, gate and loader it shares.

    Every method raises the errors of `SessionLoader.use`; the session is unchanged then.

    Args:
        touch: Stamps a session with a time, or with the present, and returns it.
        call_for_save: Called when memory is over its bounds.
    """

    def __init__(
        self,
        store: FileSessionStore,
        memory: SessionMemory,
        locks: FileLocks,
        gate: Gate,
        loader: SessionLoader,
        *,
        touch: Callable[[Entry, datetime | None], Session],
        call_for_save: Callable[[], None],
    ) -> None:
        self._store = store
        self._memory = memory
        self._locks = locks
        self._gate = gate
        self._loader = loader
        self._touch = touch
        self._call_for_save = call_for_save

    async def add(self, session_id: str, messages: Sequence[Message], bound: int) -> Session:
        """Append messages, all or none. Counts as an access.

        Args:
            session_id: An existing session.
            messages: The messages, oldest first.
            bound: The bound on the session's growth that is in force.

        Raises:
            InvalidMessageError: A message could not be saved.
            SessionFullError: A message is a person's, and would pass the bound.

        Cancellation: none of the messages is in the session.
        """
        measured = [_measured(messages, at) for at in range(len(messages))]
        return self.append(await self._loader.use(session_id), measured, bound)

    def append(
        self, entry: Entry, measured: Sequence[tuple[Message, int]], bound: int, now: datetime | None = None
    ) -> Session:
        """Append messages with their encoded sizes, all or none, as an access at a time; None: the present."""
        total = 0
        for message, size in measured:
            growth.check_room(entry.session, message, size, bound, earlier=total)
            total += size
        crossed = [self._memory.append(entry, message, size) for message, size in measured]
        if any(crossed):
            self._call_for_save()
        return self._touch(entry, now)

    async def pop(self, session_id: str, count: int | None) -> list[Message]:
        """Remove the newest messages, or all without a count, and return them, oldest first. Counts as an access."""
        entry = await self._loader.use(session_id)
        removed = self._memory.remove_last(entry, count)
        self._touch(entry, None)
        return removed

    async def change(
        self,
        session_id: str,
        messages: Sequence[Message],
        bound: int,
        *,
        keep: int | None,
        new_metadata: dict[str, JSON] | None,
        touch: bool,
        create: bool,
    ) -> Session:
        """Make one change of a `SessionStore` (`miniclaw.stores.types.Change`), all of it or nothing.

        Args:
            session_id: The session.
            messages: The messages to append.
            bound: As for `add`.
            keep: Number of old messages that stay; None: all.
            new_metadata: The new metadata, not to be changed by the caller any more; None: they stay.
            touch: If true, the change counts as an access.
            create: If true, the session does not exist: it is created, with one time for both of its stamps.

        Raises, and cancellation: as `add`.
        """
        measured = [_measured(messages, at) for at in range(len(messages))]
        entry = await self._loader.use(session_id, create=create)
        session = entry.session
        if new_metadata is not None:
            metadata.check_replaceable(session)
        if keep is not None and keep < len(session.messages):
            self._memory.remove_last(entry, len(session.messages) - keep if keep else None)
        if new_metadata is not None:
            self._memory.set_metadata(entry, new_metadata)
        stamp = session.last_accessed if create or not touch else None
        return self.append(entry, measured, bound, stamp)

    async def set_metadata(self, session_id: str, changes: Mapping[str, JSON]) -> Session:
        """Change keys of the metadata, as `metadata.merged`. Does not count as an access.

        Raises:
            InvalidMetadataError: The metadata could not be saved, or the file has one that cannot be used.
        """
        entry = await self._loader.use(session_id)
        metadata.check_replaceable(entry.session)
        self._memory.set_metadata(entry, metadata.merged(entry.session.metadata, changes))
        return entry.session

    async def set_pinned(self, session_id: str, pinned: bool) -> bool:
        """Pin a session or unpin it; return whether that changed it. Does not count as an access."""
        entry = await self._loader.use(session_id)
        if entry.session.pinned == pinned:
            return False
        entry.session.pinned = pinned
        entry.revision += 1
        return True

    async def read(self, session_id: str) -> Session | None:
        """Return a copy of a session, or None if there is none. Does not count as an access.

        A session without unsaved changes is read from the disk, as another program may have changed its file.
        """
        await self._gate.enter()
        if (session := self._memory.unsaved_copy(session_id)) is not None:
            return session
        with self._gate.under_way():
            try:
                return await load_copy(session_id, self._store, self._memory, self._locks)
            except SessionNotFoundError:
                return None

    def unsaved_entry(self, session_id: str) -> SessionEntry | None:
        """Return a session with unsaved changes as an item of a list; None: it has none."""
        entry = self._memory.find(session_id)
        if entry is None or not entry.dirty:
            return None
        session = entry.session
        return SessionEntry(
            session_id=session_id,
            channel=session.channel,
            chat_id=session.chat_id,
            created_at=session.created_at,
            last_accessed=session.last_accessed,
            pinned=bool(session.pinned),
            bytes=growth.file_bytes(session),
            metadata=deepcopy(session.metadata),
        )

    def without_file(self) -> list[str]:
        """Return the ids of the sessions that have no file yet."""
        found = ((session_id, self._memory.find(session_id)) for session_id in self._memory.dirty())
        return [session_id for session_id, entry in found if entry is not None and on_disk_of(entry.session) is None]


def _measured(messages: Sequence[Message], at: int) -> tuple[Message, int]:
    try:
        return codec.measure_message(messages[at])
    except InvalidMessageError as error:
        if len(messages) == 1:
            raise
        raise InvalidMessageError(f"messages[{at}]: {error.problem}") from error
