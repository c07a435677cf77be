"""The public calls over a sessions directory: those of the manager, the operations and the cleanup."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from miniclaw.errors import TrashEntryNotFoundError
from miniclaw.formats import printable
from miniclaw.session.calls.listing import Filter, SessionList, history_list, trash_list
from miniclaw.session.entries import Deletion, SessionEntry, TrashedSession
from miniclaw.session.operations.parts import SessionParts
from miniclaw.session.records.history import Actor, HistoryEvent
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.sessions import Sessions
from miniclaw.session.types import JSON, Message, Session

if TYPE_CHECKING:  # start-up time: imported with the first operation
    from miniclaw.session.operations.operations import SessionOperations


class DirectorySessions(SessionParts, Sessions):
    """The public calls of `Sessions`, over the parts of a runtime that owns a directory."""

    def operations(self, *, by: Actor = "program") -> SessionOperations:
        """Return the operations of an administrator, named as this actor in trash and history, on these sessions."""
        from miniclaw.session.operations.operations import SessionOperations  # noqa: PLC0415 - start-up time

        return SessionOperations(self.manager, self.cleanup, self.audit_log, by=by)

    def now(self) -> datetime:
        """Return the present, as the runtime keeps it: a wrong wall clock is corrected where that is possible."""
        return self.time.now()

    def _check_open(self) -> None:
        self.manager.check_open()

    async def _get_or_create(self, channel: str, chat_id: str) -> Session:
        return await self.manager.get_or_create_session(channel, chat_id)

    async def _get(self, session_id: str) -> Session | None:
        return await self.manager.get_session(session_id)

    async def _read(self, session_id: str) -> Session | None:
        return await self.manager.editor.read(session_id)

    def _using(self, session_id: str, *, create: bool) -> AbstractAsyncContextManager[Session]:
        return self.manager.using(session_id, create=create)

    async def _add_messages(self, session_id: str, messages: Sequence[Message], *, durable: bool) -> Session:
        session = await self.manager.editor.add(session_id, messages, self.manager.max_session_bytes)
        if durable:
            await self.manager.saver.make_durable(session_id)
        return session

    async def _pop_messages(self, session_id: str, count: int | None) -> builtins.list[Message]:
        return await self.manager.editor.pop(session_id, count)

    async def _set_metadata(self, session_id: str, values: Mapping[str, JSON]) -> Session:
        return await self.manager.editor.set_metadata(session_id, values)

    async def _set_pinned(self, session_id: str, pinned: bool) -> bool:
        return await self.manager.set_pinned(session_id, pinned)

    async def _durable(self, session_id: str) -> None:
        await self.manager.durable(session_id)

    def _list(
        self, *, channel: str | None, older_than: timedelta | None, younger_than: timedelta | None, pinned: bool | None
    ) -> AsyncIterator[SessionEntry]:
        admitted = Filter(channel, older_than, younger_than, pinned)
        return SessionList(self.manager.store, self.manager.editor, self.time.ages, admitted)

    def _trash(self) -> AsyncIterator[TrashedSession]:
        return trash_list(self.manager.store)

    def _history(self) -> AsyncIterator[HistoryEvent]:
        return history_list(self.manager.store)

    async def _delete(self, session_id: str, *, erase: bool) -> Deletion:
        (deleted,) = await self.operations().delete([session_id], erase=erase)
        if deleted.error is not None:
            raise deleted.error
        remaining = tuple(printable(each.key) for each in deleted.remaining)
        return Deletion(session_id, deleted.bytes_freed, deleted.entry_id, remaining)

    async def _restore(self, text: str) -> str:
        async with self.manager.operation():
            entry = await self.manager.store.find_entry(text)
            if entry.from_quarantine:  # it is restored by `operations().restore`
                raise TrashEntryNotFoundError(self.manager.store.trash.path, text)
            restored = await self.operations().restore(entry.id)
        return restored.session_id or ""

    async def _plan(self) -> CleanupPlan:
        return await self.cleanup.plan()

    async def _clean_up(self, *, confirmed: bool) -> CleanupResult:
        return await self.cleanup.run(confirmed=confirmed, by="program")
