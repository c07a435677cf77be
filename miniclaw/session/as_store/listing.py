"""The headers of all sessions of a directory, in pages: found by a scan, and kept while their files do not change."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from msgspec import Struct

from miniclaw.session.as_store.core import FileCore
from miniclaw.session.entries import StoredSession
from miniclaw.session.names import parts_of
from miniclaw.stores.types import Header


class _Listed(Struct):
    """A session in the list; `header` is None until it is wanted, and after each change."""

    mark: tuple[int, int] | None
    header: Header | None = None


class FileList:
    """The list of the sessions, of those that are saved and of those that only the journal has.

    The header of a session counts its messages, so each session is read once, whole. Takes about 1 KiB of memory for
    each session.

    Args:
        core: The shared state.
    """

    def __init__(self, core: FileCore) -> None:
        self._core = core
        self._listed: dict[str, _Listed] = {}

    def changed(self, session_id: str) -> None:
        """Note that a session was changed, made or removed."""
        self._listed[session_id] = _Listed(None)

    async def page(
        self, fits: Callable[[Header], bool], *, channel: str | None, after: str, limit: int
    ) -> list[Header]:
        """Return the first headers after an id that fit. The first page begins with a scan of the directory."""
        if not after or not self._listed:
            await self._scan()
        found: list[Header] = []
        ids = sorted(self._listed)
        for session_id in ids[bisect_right(ids, after) :]:
            if channel is None or parts_of(session_id)[0] == channel:
                header = await self.header(session_id)
                if header is not None and fits(header):
                    found.append(header)
                    if len(found) == limit:
                        break
        return found

    async def header(self, session_id: str) -> Header | None:
        """Return the header of a session of the list; None: it is gone, and leaves the list."""
        listed = self._listed.get(session_id)
        if listed is not None and listed.header is not None:
            return listed.header

        async def read() -> Header | None:
            session = await self._core.read(session_id)
            listed = self._listed.get(session_id)
            if session is None:
                self._listed.pop(session_id, None)
                return None
            header = self._core.header(session_id, session)
            if listed is not None:
                listed.header = header
            return header

        return await self._core.step(read, session_id)

    async def _scan(self) -> None:
        marks: dict[str, tuple[int, int]] = {}
        before = set(self._listed)
        async with self._core.files.scan() as scan:
            while not scan.complete:
                for row in await scan.next_batch():
                    if isinstance(row, StoredSession):
                        marks[row.header.session_id] = row.file, row.mark
        unsaved = set(self._core.manager.dirty_sessions())
        for session_id in before - set(marks) - unsaved:
            self.changed(session_id)  # it is looked up when it is wanted
        for session_id in unsaved - set(marks):
            self._listed.setdefault(session_id, _Listed(None))
        for session_id, mark in marks.items():
            listed = self._listed.get(session_id)
            if listed is None or listed.mark != mark:
                self._listed[session_id] = _Listed(mark)
