"""The parts of the stores over one directory, from its opening to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import trio

from miniclaw.session.as_store.core import FileCore
from miniclaw.session.as_store.event_log import Announced, Due, EventLog, Swept
from miniclaw.session.as_store.listing import FileList
from miniclaw.session.as_store.maintenance import DirectoryMaintenance
from miniclaw.session.as_store.removal import FileRemoval
from miniclaw.session.runtime import SessionRuntime
from miniclaw.stores.leases import later
from miniclaw.stores.protocol import FileMaintenance
from miniclaw.stores.types import Candidate, Turn


class FileParts:
    """The parts, over one shared state.

    Attributes:
        core: The shared state.
        list: The headers of all sessions.
        removal: Removals, restores and the trash.
        maintenance: Leftovers, quarantine, disk and place.
    """

    def __init__(self, core: FileCore) -> None:
        self.core = core
        self.list: FileList = FileList(core)
        core.changed = self.list.changed
        self.removal: FileRemoval = FileRemoval(core)
        self.maintenance: FileMaintenance = DirectoryMaintenance(core)

    async def announce(self, candidates: Sequence[Candidate], delay: timedelta) -> int:
        """Announce removals, as `SessionStore.announce`; in a step that holds the sessions."""
        core, announced = self.core, list[Due]()
        until = later(core.now(), delay)
        for candidate in candidates:
            session = await core.read(candidate.session_id)
            if session is None or session.pinned or session.last_accessed != candidate.last_accessed:
                continue
            before = core.header(candidate.session_id, session).due_at
            due_at = until if before is None else min(until, before)
            announced.append(Due(candidate.session_id, candidate.last_accessed, due_at))
        if announced:
            await core.record(Announced(announced))
        for due in announced:
            core.changed(due.session_id)
        return len(announced)

    async def begin_sweep(self, owner: str, interval: timedelta, claim: timedelta) -> Turn:
        """Claim the sweep, as `SessionStore.begin_sweep`; in a step."""
        await trio.lowlevel.checkpoint()
        swept = self.core.events.swept
        return self.core.claim.begin(owner, interval, claim, None if swept is None else (swept.began, swept.note))

    async def end_sweep(self, token: int, note: bytes, *, completed: bool) -> bool:
        """End a claim, as `SessionStore.end_sweep`; in a step."""
        await trio.lowlevel.checkpoint()
        began = self.core.claim.began(token)
        if began is None:
            return False
        if completed:
            await self.core.record(Swept(began, note))
        self.core.claim.clear()
        return True


@asynccontextmanager
async def open_parts(runtime: SessionRuntime) -> AsyncIterator[FileParts]:
    """Read the log, settle what an earlier process has left open, and run the steps of a block.

    Raises:
        StoreError: The log cannot be read, or what was left open cannot be settled.
    """
    files = runtime.manager.store
    events = EventLog(files.state.folder)
    await files.look(partial(events.read, runtime.now()))
    errors: list[BaseException] = []
    async with trio.open_nursery() as nursery:
        parts = FileParts(FileCore(runtime, events, nursery))
        await parts.removal.settle_all()
        try:
            yield parts
        except BaseException as error:  # noqa: BLE001, ASYNC103 - raised below, and not in the nursery's group
            errors.append(error)
        finally:
            parts.core.closed = True
    if errors:
        raise errors[0]
