"""Removals, restores and the trash of a `FileStore`, each with its line in the audit log.

An event is recorded before the files change, and once more after that. In between a crash, or a disk that does not
answer, leaves it open; the next step on the session, or the next start, looks at the files and settles it:

* A removal has happened if the session does not exist. Otherwise it has not, and its copy in the trash is deleted.
* A restore has happened if the session exists with the time of the restore. Its entry is deleted then.
* The deletion of an entry has happened if the trash does not have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from functools import partial

from msgspec.structs import replace

from miniclaw.errors import CorruptTrashError, SessionExistsError, StoreUnavailableError, TrashEntryNotFoundError
from miniclaw.session import names
from miniclaw.session.as_store.core import UNUSABLE, FileCore
from miniclaw.session.as_store.event_log import Begun, Dropped, Ended
from miniclaw.session.calls.listing import sessions_of
from miniclaw.session.entries import StoredSession
from miniclaw.session.removal.transaction import TrashOrder
from miniclaw.session.trash.entries import TrashEntry
from miniclaw.session.types import Session, SessionHeader
from miniclaw.stores.conditions import outcome_of, why_not
from miniclaw.stores.types import AuditLine, Candidate, Outcome, Restoration, Trashed

_GONE = {"removed", "unsynced"}


class FileRemoval:
    """Removes and restores sessions. Each method is called in a step that holds `ALL` and the session.

    Args:
        core: The shared state.
    """

    def __init__(self, core: FileCore) -> None:
        self._core = core
        self._trash = core.files.trash
        self._done: dict[tuple[str, str], AuditLine] = {}  # by `op` and the session, or the restored entry
        for line in core.events.lines.values():
            self._remember(line)

    def _remember(self, line: AuditLine) -> None:
        if line.kind in {"removed", "restored"}:
            self._done[line.op, line.entry_id if line.kind == "restored" else line.session_id] = line
        while len(self._done) > len(self._core.events.lines):
            del self._done[next(iter(self._done))]

    def done(self, op: str, name: str) -> AuditLine | None:
        """Return the line of a removal of this session, or of a restore of this entry, by this operation."""
        return self._done.get((op, name))

    async def end(self, line: AuditLine) -> None:
        """Write the line of an event that has happened."""
        await self._core.record(Ended(line))
        self._remember(line)

    # Removal --------------------------------------------------------------------------------------------------

    async def remove_if_unused(
        self,
        candidate: Candidate,
        *,
        min_age: timedelta,
        trash_for: timedelta | None,
        reason: str,
        by: str,
        op: str,
        announced: bool,
        is_right_clock: bool,
    ) -> Outcome:
        """Remove one candidate, as `SessionStore.remove_if_unused`."""
        core, session_id = self._core, candidate.session_id
        await self.settle(session_id)
        done = self.done(op, session_id)
        if done is not None and done.last_accessed == candidate.last_accessed:
            return outcome_of(done)
        session = await core.read(session_id)
        if session is None:
            return Outcome(session_id, "gone")
        why = why_not(
            candidate, core.header(session_id, session), core.now(), min_age=min_age, announced=announced,
            is_right_clock=is_right_clock, is_leased=core.leases.is_leased(session_id),
        )  # fmt: skip
        if why is not None:
            return Outcome(session_id, why)
        used = candidate.last_accessed

        def is_unused(found: SessionHeader | Session) -> bool:
            return found.last_accessed == used and not found.pinned

        return await self.remove(session, is_unused, trash_for=trash_for, reason=reason, by=by, op=op)

    async def remove(
        self,
        session: Session,
        is_it: Callable[[SessionHeader | Session], bool],
        *,
        trash_for: timedelta | None,
        reason: str,
        by: str,
        op: str,
    ) -> Outcome:
        """Remove a session that was just read.

        Args:
            session: The session.
            is_it: Asked at the last moment about the session in memory, and in the captured file.
            trash_for: As for `SessionStore.remove`.
            reason: Likewise.
            by: Likewise.
            op: Likewise.

        Raises:
            StoreUnavailableError: The session was not removed, or it is not known whether it was.
        """
        core, session_id = self._core, session.session_id
        core.changed(session_id)
        size = core.header(session_id, session).size
        line = replace(
            core.line("removed", op, by, reason), session_id=session_id, last_accessed=session.last_accessed, size=size
        )
        await core.record(Begun(line))
        await core.manager.save_sessions([session_id])
        rows = await core.files.examine(names.file_names(session_id))
        found = [row for row in rows.values() if isinstance(row, StoredSession) and row.header.session_id == session_id]
        reasons = dict.fromkeys((row.key for row in found), reason)
        order = None if trash_for is None else TrashOrder(reasons, by, line.at, trash_for)
        removals = await core.manager.remover.remove(
            found, is_it, late=lambda _: None, order=order, reasons=reasons, by=by
        )
        outcomes = {each.outcome for each in removals}
        if "pending" in outcomes:
            raise StoreUnavailableError("the disk takes too long to remove the session")
        if outcomes & _GONE:
            core.known.pop(session_id, None)
            line = replace(line, entry_id=next((each.entry_id for each in removals if each.entry_id), ""))
            await self.end(line)
            return outcome_of(line)
        await core.record(Dropped(line.number))
        if outcomes <= {"vanished"}:
            return Outcome(session_id, "gone")
        if outcomes <= {"kept", "active"}:
            return Outcome(session_id, "used")
        raise StoreUnavailableError(next((each.reason for each in removals if each.reason), "it was not removed"))

    async def settle(self, session_id: str) -> None:
        """Settle the open events of a session by its files; in a step that holds the session."""
        await self._settle([each for each in self._core.events.begun.values() if each.session_id == session_id])

    async def settle_all(self) -> None:
        """Settle the open events of an earlier process."""
        await self._settle([*self._core.events.begun.values()])

    async def _settle(self, lines: Sequence[AuditLine]) -> None:
        check = {"removed": self._removed, "restored": self._restored, "emptied": self._emptied}
        for line in lines:
            happened = await check[line.kind](line)
            self._core.changed(line.session_id)
            if happened is None:
                await self._core.record(Dropped(line.number))
            else:
                await self.end(happened)

    async def _removed(self, line: AuditLine) -> AuditLine | None:
        entries = await self._entries(line.session_id)
        copies = [entry.id for entry in entries if (entry.removed_at, entry.reason) == (line.at, line.reason)]
        try:
            session = await self._core.manager.editor.read(line.session_id)
        except UNUSABLE:
            return None
        if session is None:
            self._core.known.pop(line.session_id, None)
            return replace(line, entry_id=copies[-1] if copies else "")
        if session.last_accessed == line.last_accessed:
            await self._delete(copies)
        return None

    # Trash ----------------------------------------------------------------------------------------------------

    async def trashed(self, session_id: str | None = None) -> list[Trashed]:
        """Return the entries of the trash that can be restored, in no order."""
        return [
            Trashed(
                entry.entry_id, entry.session_id, entry.removed_at, entry.expires_at, entry.reason, entry.by,
                entry.last_accessed, entry.bytes,
            )
            for entry in sessions_of(await self._entries(session_id))
        ]  # fmt: skip

    async def restore(self, entry_id: str, *, by: str, op: str) -> Restoration:
        """Restore a session, as `SessionStore.restore`; in a step that holds its session, if there is the entry."""
        core = self._core
        if done := self.done(op, entry_id):
            return Restoration("restored", done.session_id)
        entry = next((each for each in await self.trashed() if each.entry_id == entry_id), None)
        if entry is None:
            return Restoration("gone")
        session_id = entry.session_id
        await self.settle(session_id)
        taken = Restoration("taken", session_id)
        if await self._is_taken(session_id):
            return taken
        line = core.line("restored", op, by, "restored")
        line = replace(line, session_id=session_id, last_accessed=line.at, size=entry.size, entry_id=entry.entry_id)
        await core.record(Begun(line))
        try:
            async with core.manager.locked(session_id, vacant=True) as lease:
                await core.files.restore(entry.entry_id, line.at, lease)
        except (SessionExistsError, TrashEntryNotFoundError, CorruptTrashError) as error:
            await core.record(Dropped(line.number))
            return taken if isinstance(error, SessionExistsError) else Restoration("gone")
        core.changed(session_id)
        core.known.pop(session_id, None)  # a new revision, whatever it was before
        await self.end(line)
        return Restoration("restored", session_id)

    async def _is_taken(self, session_id: str) -> bool:
        try:
            return await self._core.manager.editor.read(session_id) is not None
        except UNUSABLE:
            return True

    async def _restored(self, line: AuditLine) -> AuditLine | None:
        session = await self._core.read(line.session_id)
        if session is None or session.last_accessed != line.last_accessed:
            return None
        await self._delete([line.entry_id])
        return line

    async def empty(self, entry_ids: AbstractSet[str] | None, *, by: str, op: str) -> list[Trashed]:
        """Delete these entries, or the expired ones, for good, and return them."""
        core, now = self._core, self._core.now()
        await self._settle([each for each in core.events.begun.values() if each.kind == "emptied"])
        entries = [
            entry
            for entry in await self.trashed()
            if (entry.expires_at <= now if entry_ids is None else entry.entry_id in entry_ids)
        ]
        lines = [
            replace(
                core.line("emptied", op, by, entry.reason), session_id=entry.session_id,
                last_accessed=entry.last_accessed, size=entry.size, entry_id=entry.entry_id,
            )
            for entry in entries
        ]  # fmt: skip
        if not lines:
            return []
        await core.record(*map(Begun, lines))
        await self._delete([entry.entry_id for entry in entries])
        await core.record(*map(Ended, lines))
        return entries

    async def _emptied(self, line: AuditLine) -> AuditLine | None:
        is_there = line.entry_id in {entry.id for entry in await self._entries(line.session_id)}
        return None if is_there else line

    async def _entries(self, session_id: str | None) -> list[TrashEntry]:
        work = self._trash.entries if session_id is None else partial(self._trash.find_all, session_id)
        return await self._core.files.look(work)

    async def _delete(self, entry_ids: Sequence[str]) -> None:
        if entry_ids:
            for removal in await self._core.files.look(partial(self._trash.remove, entry_ids)):
                if removal.outcome == "failed":
                    raise StoreUnavailableError(removal.reason)
