"""The public face of a session runtime: one class of methods, whatever stores the sessions.

`SessionRuntime`, over a directory, and the runtime over another store inherit from `Sessions`. A method here checks its
arguments and then calls the method of the same name with an underscore, which a runtime implements. Both runtimes thus
refuse the same mistakes with the same words.

Ids of sessions are ``{channel}_{chat_id}``. Durations are `timedelta`. From the end of the runtime on, every call
raises `RuntimeClosedError`, and so does an iterator that was made before.
"""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import TypeVar

from miniclaw.session.calls import arguments
from miniclaw.session.entries import Deletion, SessionEntry, TrashedSession
from miniclaw.session.format.metadata import merged
from miniclaw.session.names import make_session_id, split_session_id
from miniclaw.session.records.history import HistoryEvent
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.types import JSON, Message, Session

T = TypeVar("T")


class Sessions(ABC):
    """The sessions of a running runtime, as `open_runtime` yields them.

    A session object that a method returns is the live one: read it freely, change it through these methods only. It
    keeps its identity while it is referenced. `read` alone returns a copy.

    A wrong argument is a `TypeError`, a `ValueError` or an `InvalidSessionIdError`, raised by the call, with a sentence
    that names the argument. Every method that needs the store may raise a `StoreError`: the disk or the server refused,
    and the session is unchanged. `RuntimeClosedError`, `OwnershipLostError` and `ForkedRuntimeError` are among them.

    Cancellation: a method that is cancelled has changed the session wholly or not at all.
    """

    @abstractmethod
    def now(self) -> datetime:
        """Return the present in UTC, by the clock of the runtime: the time for a new message."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raise `RuntimeClosedError` from the end of the runtime on."""

    # Access ---------------------------------------------------------------------------------------------------

    async def get_or_create(self, channel: str, chat_id: str) -> Session:
        """Return the session of a chat, and create a missing one. Counts as an access.

        Args:
            channel: ``[a-z0-9-]{1,32}``.
            chat_id: Any non-empty text.

        Raises:
            InvalidSessionIdError: A part is not of that form.
            StoreError: The session exists but could not be read; none is created.
        """
        make_session_id(channel, chat_id)
        return await self._get_or_create(channel, chat_id)

    async def get(self, session_id: str) -> Session | None:
        """Return a session, or None if it does not exist. Counts as an access.

        Raises:
            StoreError: The session exists but could not be read.
        """
        split_session_id(session_id)
        return await self._get(session_id)

    async def read(self, session_id: str) -> Session | None:
        """Return a copy of a session as it is now, or None if it does not exist. Does not count as an access.

        The copy has the changes that are not saved yet. It is not kept in memory, and no later change reaches it.

        Raises:
            StoreError: The session exists but could not be read.
        """
        split_session_id(session_id)
        return await self._read(session_id)

    def using(self, session_id: str, *, create: bool = False) -> AbstractAsyncContextManager[Session]:
        """Hold a session in use for a block, such as an answer to a message. Counts as an access.

        It stays in memory, and no cleanup removes it, however long the block takes. The end of the block is no access.

        Args:
            session_id: The session.
            create: If true, a missing session is created.

        Raises:
            SessionNotFoundError: The session does not exist, and `create` is false.
            StoreError: The session could not be read.
        """
        split_session_id(session_id)
        arguments.check_bool("create", create)
        return self._using(session_id, create=create)

    # Changes --------------------------------------------------------------------------------------------------

    async def add_message(self, session_id: str, message: Message, *, durable: bool = False) -> Session:
        """Append a message to a session, and return the session. Counts as an access.

        The message is in memory when this returns, and on disk after the next autosave.

        Args:
            session_id: An existing session.
            message: The message; its time is kept, in UTC.
            durable: If true, it survives a power cut when this returns, as after `durable`, whose errors this raises.

        Raises:
            InvalidMessageError: The message could not be saved; the session is unchanged.
            SessionFullError: The message is a person's, and would pass `max_session_bytes`; the session is unchanged.
            SessionNotFoundError: The session does not exist; it may have been removed just now.
            StoreError: The session exists but could not be read.

        Cancellation: the message is not in the session; with `durable`, it may be, and a repeated call would double it.
        """
        split_session_id(session_id)
        arguments.check_message("message", message)
        arguments.check_bool("durable", durable)
        return await self._add_messages(session_id, [message], durable=durable)

    async def add_messages(self, session_id: str, messages: Iterable[Message], *, durable: bool = False) -> Session:
        """Append messages to a session, all or none, and return the session. Counts as one access.

        Args:
            session_id: An existing session.
            messages: The messages, oldest first; without any, the call is an access and nothing else.
            durable: As for `add_message`. A power cut leaves all of the messages or none of them.

        Raises: As `add_message`; none of the messages is in the session then. `NotConfirmedError` is the exception: all
            of them are in memory.

        Cancellation: none of the messages is in the session; with `durable`, all may be, and repeating doubles them.
        """
        split_session_id(session_id)
        checked = arguments.checked_messages("messages", messages)
        arguments.check_bool("durable", durable)
        return await self._add_messages(session_id, checked, durable=durable)

    async def pop_messages(self, session_id: str, count: int) -> builtins.list[Message]:
        """Remove the newest messages of a session, and return them, oldest first. Counts as an access.

        The change is in memory when this returns, and on disk after the next autosave, or after `durable`.

        Args:
            session_id: An existing session.
            count: How many messages, at least 1. A session with fewer loses all it has.

        Raises:
            SessionNotFoundError: The session does not exist.
            StoreError: The session could not be read.
        """
        split_session_id(session_id)
        arguments.check_count("count", count)
        return await self._pop_messages(session_id, count)

    async def clear(self, session_id: str) -> int:
        """Remove all messages of a session, and return their number. Counts as an access.

        The session remains, with its metadata and its pin. The change is on disk as that of `pop_messages` is.

        Raises:
            SessionNotFoundError: The session does not exist.
            StoreError: The session could not be read.
        """
        split_session_id(session_id)
        return len(await self._pop_messages(session_id, None))

    async def set_metadata(self, session_id: str, /, **values: JSON) -> Session:
        """Set some keys of a session's metadata, and return the session. Does not count as an access.

        The change is in memory when this returns, and on disk after the next autosave, or after `durable`.

        Args:
            session_id: An existing session.
            values: The value of each key, as JSON has it: text, number, bool, list, or dict with keys of text. None
                deletes the key. Other keys keep their values.

        Raises:
            InvalidMetadataError: A key is empty, a value is none of JSON, or the whole metadata would take more than
                16 KiB; or the session's file, edited by hand, has a `metadata` that is no object of JSON, which the
                change would replace. Nothing is changed.
            SessionNotFoundError: The session does not exist.
            StoreError: The session could not be read.
        """
        split_session_id(session_id)
        merged({}, values)
        return await self._set_metadata(session_id, values)

    async def set_pinned(self, session_id: str, pinned: bool) -> bool:
        """Pin a session, which exempts it from all rules of retention, or unpin it. Does not count as an access.

        Returns:
            True if that changed the session. The change is on disk after the next autosave, or after `durable`.

        Raises:
            SessionNotFoundError: The session does not exist.
            StoreError: The session could not be read.
        """
        split_session_id(session_id)
        arguments.check_bool("pinned", pinned)
        return await self._set_pinned(session_id, pinned)

    async def durable(self, session_id: str) -> None:
        """Return when the present state of a session survives a power cut. Does not count as an access.

        Raises:
            SessionNotFoundError: The session does not exist; it may have been deleted before that.
            NotConfirmedError: The disk refuses, or has not answered in time; the next autosave tries again.
        """
        split_session_id(session_id)
        self._check_open()
        await self._durable(session_id)

    # Lists ----------------------------------------------------------------------------------------------------

    def list(
        self,
        *,
        channel: str | None = None,
        older_than: timedelta | None = None,
        younger_than: timedelta | None = None,
        pinned: bool | None = None,
    ) -> AsyncIterator[SessionEntry]:
        """Iterate over the sessions, in no particular order, without their messages. Does not count as an access.

        Each session is listed once, also one that is not saved yet. A session that is created or removed during the
        iteration may be listed or not. Files that are no sessions are left out.

        Args:
            channel: Only sessions of this channel.
            older_than: Only sessions unused for longer than this, exclusive. A session whose age is not known, because
                it was used ahead of the clock, is neither older nor younger than any duration.
            younger_than: Only sessions used within this time, exclusive.
            pinned: Only sessions that are pinned, or only those that are not.

        Raises:
            StoreError: The store cannot be listed.
        """
        arguments.check_channel("channel", channel)
        arguments.check_duration("older_than", older_than)
        arguments.check_duration("younger_than", younger_than)
        if pinned is not None:
            arguments.check_bool("pinned", pinned)
        self._check_open()
        found = self._list(channel=channel, older_than=older_than, younger_than=younger_than, pinned=pinned)
        return _WhileOpen(self, found)

    def trash(self) -> AsyncIterator[TrashedSession]:
        """Iterate over the sessions in the trash, the newest removal first.

        Damaged entries, and files from quarantine, are left out.

        Raises:
            StoreError: The trash cannot be listed.
        """
        self._check_open()
        return _WhileOpen(self, self._trash())

    def history(self) -> AsyncIterator[HistoryEvent]:
        """Iterate over the history: what was removed, restored or announced, when and why; the newest event first.

        Raises:
            StoreError: The history cannot be read.
        """
        self._check_open()
        return _WhileOpen(self, self._history())

    # Removal --------------------------------------------------------------------------------------------------

    async def delete(self, session_id: str, *, erase: bool = False) -> Deletion:
        """Delete a session now, regardless of its age and of a pin; the history has an event of it.

        The session is moved to the trash if the policy has one.

        Args:
            session_id: The session.
            erase: If true, delete it for good, with its copies in trash and quarantine. Its events in the history
                remain.

        Raises:
            SessionNotFoundError: The session does not exist.
            RemovalPendingError: The disk takes longer than a caller can wait; the deletion continues.
            StoreError: The session was not deleted, or not completely erased, as the text says.
        """
        split_session_id(session_id)
        arguments.check_bool("erase", erase)
        return await self._delete(session_id, erase=erase)

    async def restore(self, text: str) -> str:
        """Restore a session from the trash, as used just now, and return its id; the history has an event of it.

        Args:
            text: `TrashedSession.entry_id`, or the id of a session for its newest entry.

        Raises:
            TrashEntryNotFoundError: The trash has no such entry.
            SessionExistsError: A session of that id exists.
            CorruptTrashError: The entry is damaged.
            StoreError: The session could not be restored; the trash still has the entry.
        """
        arguments.check_text("text", text)
        return await self._restore(text)

    async def plan(self) -> CleanupPlan:
        """Return the plan of a cleanup that would begin now, and change nothing.

        Raises:
            StoreError: The store cannot be listed.
        """
        self._check_open()
        return await self._plan()

    async def clean_up(self, *, confirmed: bool = False) -> CleanupResult:
        """Run a cleanup now. It removes every expired session, also one that the daily run would only announce.

        Args:
            confirmed: If true, remove also what `max_removed_fraction` of the policy would hold.

        Raises:
            StoreError: The store cannot be listed.

        Cancellation: a batch that has begun is completed; log and history have the outcome.
        """
        arguments.check_bool("confirmed", confirmed)
        self._check_open()
        return await self._clean_up(confirmed=confirmed)

    # For a runtime to implement: the arguments are checked ------------------------------------------------------

    @abstractmethod
    async def _get_or_create(self, channel: str, chat_id: str) -> Session: ...

    @abstractmethod
    async def _get(self, session_id: str) -> Session | None: ...

    @abstractmethod
    async def _read(self, session_id: str) -> Session | None: ...

    @abstractmethod
    def _using(self, session_id: str, *, create: bool) -> AbstractAsyncContextManager[Session]: ...

    @abstractmethod
    async def _add_messages(self, session_id: str, messages: Sequence[Message], *, durable: bool) -> Session: ...

    @abstractmethod
    async def _pop_messages(self, session_id: str, count: int | None) -> builtins.list[Message]: ...  # None: all

    @abstractmethod
    async def _set_metadata(self, session_id: str, values: Mapping[str, JSON]) -> Session: ...  # by `metadata.merged`

    @abstractmethod
    async def _set_pinned(self, session_id: str, pinned: bool) -> bool: ...

    @abstractmethod
    async def _durable(self, session_id: str) -> None: ...

    @abstractmethod
    def _list(
        self, *, channel: str | None, older_than: timedelta | None, younger_than: timedelta | None, pinned: bool | None
    ) -> AsyncIterator[SessionEntry]: ...

    @abstractmethod
    def _trash(self) -> AsyncIterator[TrashedSession]: ...

    @abstractmethod
    def _history(self) -> AsyncIterator[HistoryEvent]: ...

    @abstractmethod
    async def _delete(self, session_id: str, *, erase: bool) -> Deletion: ...

    @abstractmethod
    async def _restore(self, text: str) -> str: ...

    @abstractmethod
    async def _plan(self) -> CleanupPlan: ...

    @abstractmethod
    async def _clean_up(self, *, confirmed: bool) -> CleanupResult: ...


class _WhileOpen(AsyncIterator[T]):
    """An iterator that raises `RuntimeClosedError` from the end of its runtime on."""

    def __init__(self, sessions: Sessions, items: AsyncIterator[T]) -> None:
        self._sessions = sessions
        self._items = items

    async def __anext__(self) -> T:
        self._sessions._check_open()
        return await anext(self._items)
