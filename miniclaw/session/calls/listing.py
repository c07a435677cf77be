"""Lists over a directory, in batches: each is read in a worker thread when the one before is used up.

They are no async generators: nothing is open between two batches but the scan, which closes when its list is dropped.
A loop may therefore end early, without `aclosing`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

import trio
from msgspec import Struct

from miniclaw.session.calls.details import Details, read_details
from miniclaw.session.calls.editor import SessionEditor
from miniclaw.session.entries import SessionEntry, StoredSession, TrashedSession
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.live.store_scan import FileScan
from miniclaw.session.records.history import HistoryEvent, read_lines
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.threads import soon
from miniclaw.session.trash.entries import TrashEntry

BATCH: Final = 100
"""Number of files, or lines, that one call of a worker thread reads."""

T = TypeVar("T")
S = TypeVar("S")


class Filter(Struct, frozen=True):
    """The sessions that a list has; None admits all. The durations are exclusive."""

    channel: str | None
    older_than: timedelta | None
    younger_than: timedelta | None
    pinned: bool | None

    def admits(self, entry: SessionEntry, ages: Ages) -> bool:
        """Return whether a list has the session."""
        if self.channel not in {None, entry.channel} or self.pinned not in {None, entry.pinned}:
            return False
        if self.older_than is None and self.younger_than is None:
            return True
        age = ages.age(entry.last_accessed)
        if age is None:
            return False
        return (self.older_than is None or age > self.older_than) and (
            self.younger_than is None or age < self.younger_than
        )


class SessionList(AsyncIterator[SessionEntry]):
    """The sessions of a directory and of memory, each once.

    The sessions without a file come first, as they are in memory; then those of the scan. The ones that change
    meanwhile are listed as they are in memory when their batch is made.
    """

    def __init__(
        self, store: FileSessionStore, editor: SessionEditor, ages: Callable[[], Ages], admitted: Filter
    ) -> None:
        self._store = store
        self._editor = editor
        self._ages = ages
        self._admitted = admitted
        self._ready: deque[SessionEntry] = deque()
        self._rows: deque[StoredSession] = deque()
        self._token = trio.lowlevel.current_trio_token()
        self._scan: FileScan | None = None
        self._is_complete = False
        self._listed: frozenset[str] = frozenset()  # the sessions without a file, at the beginning

    def __del__(self) -> None:
        if self._scan is not None:
            soon(self._token, self._scan.close)  # the garbage collector may run in any thread

    async def __anext__(self) -> SessionEntry:
        if self._scan is None and not self._is_complete:
            self._scan = self._store.begin_scan()
            self._begin()
        while not self._ready:
            if self._rows:
                await self._read_details()
            elif self._scan is None:
                raise StopAsyncIteration
            elif self._scan.complete:
                self._scan.close()
                self._scan, self._is_complete = None, True
            else:
                rows = await self._scan.next_batch()
                self._rows.extend(row for row in rows if isinstance(row, StoredSession))
        return self._ready.popleft()

    def _begin(self) -> None:
        without_file, ages = self._editor.without_file(), self._ages()
        self._listed = frozenset(without_file)
        found = map(self._editor.unsaved_entry, without_file)
        self._ready.extend(entry for entry in found if entry is not None and self._admitted.admits(entry, ages))

    async def _read_details(self) -> None:
        ages = self._ages()
        rows: list[StoredSession] = []
        while self._rows and len(rows) < BATCH:
            row = self._rows.popleft()
            entry = self._editor.unsaved_entry(row.header.session_id) or _entry(row)
            if row.header.session_id not in self._listed and self._admitted.admits(entry, ages):
                rows.append(row)
        wanted = [(row.key, row.header.session_id) for row in rows]
        if not wanted:
            return
        details = await self._store.look(partial(read_details, self._store.directory, wanted))
        for row, found in zip(rows, details, strict=True):
            present = self._editor.unsaved_entry(row.header.session_id)
            if present is None and found is not None:
                present = _entry(row, found)
            if present is not None and self._admitted.admits(present, ages):
                self._ready.append(present)


def _entry(row: StoredSession, details: Details | None = None) -> SessionEntry:
    header = row.header
    return SessionEntry(
        session_id=header.session_id,
        channel=header.channel,
        chat_id=header.chat_id,
        created_at=header.last_accessed if details is None else details.created_at,
        last_accessed=header.last_accessed,
        pinned=header.pinned,
        bytes=row.size,
        metadata={} if details is None else details.metadata,
    )


class BatchList(AsyncIterator[T]):
    """The items of a list whose parts are known at the beginning, such as names, and read in batches.

    Args:
        store: Runs the work in worker threads.
        begin: Returns all parts.
        read: Returns the items of some parts.
    """

    def __init__(
        self, store: FileSessionStore, begin: Callable[[], Sequence[S]], read: Callable[[Sequence[S]], Sequence[T]]
    ) -> None:
        self._store = store
        self._begin = begin
        self._read: Callable[[Sequence[Any]], Sequence[T]] = read
        self._parts: Sequence[Any] | None = None
        self._at = 0
        self._ready: deque[T] = deque()

    async def __anext__(self) -> T:
        parts = self._parts
        if parts is None:
            found: Sequence[Any] = await self._store.look(self._begin)
            parts = self._parts = found
        while not self._ready:
            batch = parts[self._at : self._at + BATCH]
            if not batch:
                raise StopAsyncIteration
            self._ready.extend(await self._store.look(partial(self._read, batch)))
            self._at += len(batch)
        return self._ready.popleft()


def trash_list(store: FileSessionStore) -> AsyncIterator[TrashedSession]:
    """Return the sessions in the trash, the newest removal first."""
    return BatchList(store, store.trash.newest_ids, lambda ids: sessions_of(store.trash.read_some(ids)))


def sessions_of(entries: Sequence[TrashEntry]) -> list[TrashedSession]:
    """Return the entries that can be restored as sessions, without damaged ones and files from quarantine."""
    return [
        TrashedSession(
            entry_id=entry.id,
            session_id=entry.session_id,
            removed_at=entry.removed_at,
            expires_at=entry.expires_at,
            last_accessed=entry.last_accessed,
            reason=entry.reason,
            by=entry.by,
            bytes=entry.size,
        )
        for entry in entries
        if entry.session_id and entry.expires_at and entry.last_accessed
        if not entry.problem and not entry.from_quarantine
    ]


def history_list(store: FileSessionStore) -> AsyncIterator[HistoryEvent]:
    """Return the events of the history, the newest first."""
    history = store.state.history()
    return BatchList(store, lambda: history.lines()[::-1], read_lines)
