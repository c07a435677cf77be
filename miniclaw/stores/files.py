"""A store over a sessions directory: the files of a `SessionRuntime`, by the protocol of a store.

One process owns the directory. Leases, the claim on a sweep and the names of changes are therefore kept in memory, and
end with the owner; revisions begin above all of an earlier one. Whatever a method returned is durable, in the journal
or in the session's file. Announcements, the last sweep and the audit log are in a file of the store
(`miniclaw.session.as_store.event_log`); messages, pins and the trash are where a runtime over the directory has them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from msgspec.structs import replace

from miniclaw.clock import Clock, Now
from miniclaw.errors import RevisionConflictError, RuntimeClosedError, SessionNotFoundError
from miniclaw.session.names import split_session_id
from miniclaw.stores.conditions import fits, outcome_of, trash_page
from miniclaw.stores.protocol import SessionStore
from miniclaw.stores.types import (
    CLOCK_TOLERANCE,
    AuditLine,
    Candidate,
    Change,
    Header,
    Lease,
    Outcome,
    Restoration,
    Saved,
    Stored,
    Totals,
    Trashed,
    Turn,
)

if TYPE_CHECKING:  # start-up time: most programs open no such store
    from miniclaw.session.as_store.parts import FileParts
    from miniclaw.stores.protocol import FileMaintenance

_ALL = ""  # the name of the lock on trash and log


class FileStore(SessionStore):
    """A `SessionStore` over a sessions directory; made by `FileStore.open`.

    Messages are returned byte for byte, and metadata as canonical JSON. Ids are those of any sessions directory. A
    message may be refused with `SessionFullError`: a session's file takes up to 192 MiB.

    If another program changes a session's file, the session has another revision. A file that holds no session counts
    as none, and is moved to quarantine when its session begins anew.
    """

    def __init__(self, parts: FileParts, owner: str) -> None:
        """Make another view of open files; programs use `open` and `beside`."""
        self._parts = parts
        self._core = parts.core
        self._owner = owner

    @classmethod
    @asynccontextmanager
    async def open(
        cls, sessions_dir: Path | str, *, owner: str = "files", clock: Clock | Now | None = None
    ) -> AsyncIterator[FileStore]:
        """Own a sessions directory for a block, as `open_runtime` does, without a daily cleanup.

        Args:
            sessions_dir: The directory; a missing one is created.
            owner: Name in leases and claims; not empty.
            clock: As for `open_runtime`.

        Raises: as `open_runtime`.

        Cancellation: the block is cancelled; steps under way are whole or settled at the next start.
        """
        from miniclaw.session.as_store.parts import open_parts  # noqa: PLC0415 - likewise
        from miniclaw.session.runtime import open_runtime  # noqa: PLC0415 - start-up time

        async with open_runtime(sessions_dir, cleanup=None, clock=clock) as runtime, open_parts(runtime) as parts:
            yield cls(parts, owner)

    def beside(self, owner: str) -> FileStore:
        """Return a store over the same directory, with another owner, for another part of this program."""
        return FileStore(self._parts, owner)

    @property
    def owner(self) -> str:
        return self._owner

    @property
    def clock(self) -> Callable[[], datetime]:
        return self._core.now

    @property
    def maintenance(self) -> FileMaintenance:
        """What only files have."""
        return self._parts.maintenance

    # Leases --------------------------------------------------------------------------------------------------

    async def acquire(self, session_id: str, duration: timedelta) -> Lease:
        split_session_id(session_id)

        async def take() -> Lease:
            revision = self._core.know(session_id, await self._core.read(session_id)).revision
            return Lease(session_id, self._core.leases.take(session_id, self._owner, duration), revision)

        return await self._core.step(take, session_id)

    async def renew(self, leases: Sequence[Lease], duration: timedelta) -> AbstractSet[str]:
        await self._checkpoint()
        return self._core.leases.renew(leases, duration)

    async def release(self, lease: Lease) -> None:
        await self._checkpoint()
        self._core.leases.release(lease)

    async def _checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._core.closed:
            raise RuntimeClosedError

    # Reading -------------------------------------------------------------------------------------------------

    async def load(self, session_id: str, *, tail: int | None = None) -> Stored | None:
        split_session_id(session_id)

        async def read() -> Stored | None:
            from miniclaw.session.as_store.core import to_text  # noqa: PLC0415 - start-up time

            session = await self._core.read(session_id)
            if session is None:
                return None
            skipped = 0 if tail is None else max(0, len(session.messages) - tail)
            return Stored(self._core.header(session_id, session), [*map(to_text, session.messages[skipped:])])

        return await self._core.step(read, session_id)

    async def header(self, session_id: str) -> Header | None:
        stored = await self.load(session_id, tail=0)
        return None if stored is None else stored.header

    async def headers(
        self,
        *,
        channel: str | None = None,
        older_than: timedelta | None = None,
        younger_than: timedelta | None = None,
        pinned: bool | None = None,
        after: str = "",
        limit: int = 200,
    ) -> Sequence[Header]:
        await self._checkpoint()
        fit = partial(
            fits, now=self._core.now(), channel=channel, older_than=older_than, younger_than=younger_than, pinned=pinned
        )
        return await self._parts.list.page(fit, channel=channel, after=after, limit=limit)

    async def totals(self) -> Totals:
        trashed = await self._core.step(self._parts.removal.trashed, _ALL)
        headers = await self._parts.list.page(lambda _: True, channel=None, after="", limit=-1)
        sizes = [header.size for header in headers]
        return Totals(len(sizes), sum(sizes), len(trashed), sum(entry.size for entry in trashed))

    # Changing ------------------------------------------------------------------------------------------------

    async def commit(self, lease: Lease, change: Change) -> Saved:
        change = replace(change, messages=tuple(change.messages))  # the caller may change its list meanwhile
        return await self._core.step(partial(self._commit, lease, change), lease.session_id)

    async def _commit(self, lease: Lease, change: Change) -> Saved:
        from miniclaw.session.as_store.core import Known, state_of, to_messages  # noqa: PLC0415 - likewise
        from miniclaw.session.format.growth import MOST_GROWTH_BYTES  # noqa: PLC0415 - start-up time

        core, session_id = self._core, lease.session_id
        await self._parts.removal.settle(session_id)
        known = core.know(session_id, await core.read(session_id))
        if known.saved is not None and known.op == change.op:
            await core.manager.saver.make_durable(session_id)  # the first time may have failed to
            return replace(known.saved, lease=replace(known.saved.lease, token=lease.token))
        core.leases.check(lease)
        if lease.revision != known.revision:
            raise RevisionConflictError(session_id)
        metadata = None
        if change.metadata is not None:
            metadata = msgspec.json.decode(change.metadata, type=dict) if change.metadata else {}
        try:
            session = await core.manager.editor.change(
                session_id, to_messages(change.messages, core.now()), MOST_GROWTH_BYTES, keep=change.keep,
                new_metadata=metadata, touch=change.touch, create=not known.revision,
            )  # fmt: skip
        except SessionNotFoundError as error:  # another program has deleted its file just now
            raise RevisionConflictError(session_id) from error
        saved = Saved(replace(lease, revision=core.next_number()), session.last_accessed)
        core.known[session_id] = Known(saved.lease.revision, state_of(session), change.op, saved)
        if change.touch:
            core.events.due.pop(session_id, None)
        self._core.changed(session_id)
        await core.manager.saver.make_durable(session_id)
        return saved

    async def pin(self, session_id: str, pinned: bool) -> bool:
        split_session_id(session_id)

        async def pin() -> bool:
            if await self._core.read(session_id) is None:
                raise SessionNotFoundError(session_id)
            changes = await self._core.manager.set_pinned(session_id, pinned)
            self._core.changed(session_id)
            await self._core.manager.saver.make_durable(session_id)
            return changes

        return await self._core.step(pin, session_id)

    # Removing ------------------------------------------------------------------------------------------------

    async def announce(self, candidates: Sequence[Candidate], delay: timedelta) -> int:
        ids = {candidate.session_id for candidate in candidates}
        return await self._core.step(partial(self._parts.announce, list(candidates), delay), *ids)

    async def remove_if_unused(
        self,
        candidates: Sequence[Candidate],
        *,
        min_age: timedelta,
        trash_for: timedelta | None,
        reason: str,
        by: str,
        op: str,
        now: datetime,
        announced: bool = False,
    ) -> Sequence[Outcome]:
        is_right_clock = abs(now - self._core.now()) <= CLOCK_TOLERANCE
        outcomes = []
        for candidate in candidates:
            remove = partial(
                self._parts.removal.remove_if_unused, candidate, min_age=min_age, trash_for=trash_for, reason=reason,
                by=by, op=op, announced=announced, is_right_clock=is_right_clock,
            )  # fmt: skip
            outcomes.append(await self._core.step(remove, _ALL, candidate.session_id))
        return outcomes

    async def remove(self, lease: Lease, *, trash_for: timedelta | None, reason: str, by: str, op: str) -> Outcome:
        session_id, removal = lease.session_id, self._parts.removal

        async def remove() -> Outcome:
            await removal.settle(session_id)
            if done := removal.done(op, session_id):
                return outcome_of(done)
            self._core.leases.check(lease)
            session = await self._core.read(session_id)
            if session is None:
                return Outcome(session_id, "gone")
            return await removal.remove(session, lambda _: True, trash_for=trash_for, reason=reason, by=by, op=op)

        return await self._core.step(remove, _ALL, session_id)

    # Trash ---------------------------------------------------------------------------------------------------

    async def trash(
        self, *, session_id: str | None = None, before: Trashed | None = None, limit: int = 200
    ) -> Sequence[Trashed]:
        entries = await self._core.step(partial(self._parts.removal.trashed, session_id), _ALL)
        return trash_page(entries, before, limit)

    async def restore(self, entry_id: str, *, by: str, op: str) -> Restoration:
        removal = self._parts.removal
        entries = await self._core.step(removal.trashed, _ALL)
        session_id = next((entry.session_id for entry in entries if entry.entry_id == entry_id), "")
        names = [session_id] if session_id else []
        restore = partial(removal.restore, entry_id, by=by, op=op)
        return await self._core.step(restore, _ALL, *names)

    async def empty_trash(self, entry_ids: Sequence[str] | None, *, by: str, op: str) -> Sequence[Trashed]:
        wanted = None if entry_ids is None else set(entry_ids)
        return await self._core.step(partial(self._parts.removal.empty, wanted, by=by, op=op), _ALL)

    # Records -------------------------------------------------------------------------------------------------

    async def note(self, text: str, *, by: str, op: str) -> None:
        line = partial(self._core.line, "noted", op, by, text)

        async def write() -> None:
            await self._parts.removal.end(line())

        await self._core.step(write, _ALL)

    async def audit(self, *, before: int | None = None, limit: int = 200) -> Sequence[AuditLine]:
        async def read() -> list[AuditLine]:
            await trio.lowlevel.checkpoint()
            lines = self._core.events.lines
            return nlargest(
                limit, (line for number, line in lines.items() if before is None or number < before), key=_number
            )

        return await self._core.step(read, _ALL)

    async def begin_sweep(self, interval: timedelta, claim: timedelta) -> Turn:
        return await self._core.step(partial(self._parts.begin_sweep, self._owner, interval, claim), _ALL)

    async def end_sweep(self, token: int, note: bytes, *, completed: bool) -> bool:
        return await self._core.step(partial(self._parts.end_sweep, token, note, completed=completed), _ALL)


def _number(line: AuditLine) -> int:
    return line.number
