"""The commits of the journal: all that waits is written and synced together, in one thread.

While one commit is under way, the next one gathers. A commit that hangs for `WAIT_SECONDS` is given up: its sessions
are not confirmed, and one more segment and thread are tried, never more than `MAX_THREADS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import Final

import trio
from msgspec import Struct

from miniclaw.errors import StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.journal.journal import SEGMENT_BYTES, WAIT_SECONDS, Batch
from miniclaw.session.journal.records import Body, add_body, body, digest, use_body
from miniclaw.session.live.locks import Lease
from miniclaw.session.live.memory import Entry, SessionMemory
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.names import file_name_of_live

MAX_THREADS: Final = 2
"""Most commits under way at once; more than one only where an earlier one hangs."""

MAX_NEWS_BYTES: Final = SEGMENT_BYTES // 2
"""Most bytes of one session in a commit; a session with more news is saved as a whole instead."""

log = get_logger("miniclaw.session.manager")


class _Request(Struct):
    ids: set[str]
    ended: trio.Event
    is_hung: bool = False


class _State(Struct):
    """What a batch has of a session, to be entered once it is synced."""

    entry: Entry
    revision: int
    messages: int
    digest: str


class Committer:
    """The committing part of a `SessionManager`, whose store and memory it shares. Used on the trio thread."""

    def __init__(self, store: FileSessionStore, memory: SessionMemory) -> None:
        self._store = store
        self._memory = memory
        self._requests: list[_Request] = []
        self._notes: list[tuple[str, Body]] = []  # records that concern files, with their session ids
        self._wanted = trio.Event()
        self._threads = 0
        self._limiter = trio.CapacityLimiter(MAX_THREADS)
        self._scope = trio.CancelScope(shield=True)  # the runtime's end commits, too; ended by `stop`
        self._ended = trio.Event()
        self.is_running = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit what is asked for, until `stop`.

        Cancellation: has no effect before `stop`.
        """
        self.is_running = True
        try:
            with self._scope:
                task_status.started()
                while True:
                    await self._wanted.wait()
                    self._wanted = trio.Event()
                    await self._round()
        finally:
            self.is_running = False
            self._ended.set()
            for request in self._requests:
                request.ended.set()

    async def stop(self) -> None:
        """End `run`; a commit under way ends in the background.

        Cancellation: has no effect.
        """
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()

    async def commit(self, session_ids: Iterable[str]) -> bool:
        """Commit the news of sessions, once; `Entry.durable` tells of each whether it is durable then.

        Returns:
            False if the disk does not answer, so that a save would hang as well.

        Cancellation: the commit goes on.
        """
        request = _Request(set(session_ids), trio.Event())
        if not self.is_running:
            return True
        self._requests.append(request)
        self._wanted.set()
        await request.ended.wait()
        return not request.is_hung

    def note_saved(self, session_id: str, upto: int) -> None:
        """Record, with the next commit, that a synced file holds a session; it was copied after this record."""
        if self.is_running and self._store.journal.holds(file_name_of_live(session_id)):
            self._notes.append((session_id, body("saved", {"s": session_id, "upto": upto})))

    def note_begun(self, session_id: str) -> None:
        """Record, with the next commit, that a session begins anew, without a file."""
        if self.is_running and self._store.journal.holds(file_name_of_live(session_id)):
            self._notes.append((session_id, body("void", {"s": session_id})))

    def is_behind(self, entry: Entry) -> bool:
        """Return whether a save would get ahead of the journal, whose last record would undo a pin after a crash."""
        pinned = entry.recorded.pinned
        return pinned is not None and pinned != bool(entry.session.pinned)

    async def tidy(self, *, whole: bool = False) -> None:
        """Delete the segments that no session needs any more, and record which files are written.

        Args:
            whole: If true, the present segment as well, as at the end; nothing is recorded then.

        A failure is logged, and the next call tries again.
        """
        journal = self._store.journal
        if numbers := journal.spent(whole=whole):
            try:
                await self._store.run(partial(journal.delete, numbers), self._limiter)
            except StoreError as error:
                log.warning("Journal segments could not be deleted; it is tried again", error=str(error))
        self._notes = [note for note in self._notes if journal.holds(file_name_of_live(note[0]))]
        if self._notes and not whole:
            await self.commit(())

    async def _round(self) -> None:
        requests, self._requests = self._requests, []
        notes, self._notes = self._notes, []
        ids = {session_id for request in requests for session_id in request.ids}
        batch = Batch([note for _, note in notes], {session_id for session_id, _ in notes})
        states = [state for session_id in ids if (state := self._add(session_id, batch)) is not None]
        is_hung = False
        try:
            if batch.bodies:
                is_hung = not await self._commit(batch)
        except StoreError as error:
            log.error("Journal could not be written; sessions are saved as a whole", error=str(error))
            self._notes[:0] = notes
        else:
            if is_hung:
                self._notes[:0] = notes
            else:
                self._enter(states)
        for request in requests:
            request.is_hung = is_hung
            request.ended.set()
        if self._store.journal.needs_spare and not is_hung:
            with trio.move_on_after(WAIT_SECONDS):
                await self._store.run(self._store.journal.prepare, self._limiter)

    def _add(self, session_id: str, batch: Batch) -> _State | None:
        """Add the news of a session to a batch; None: there is none, or the session has to be saved as a whole."""
        entry = self._memory.find(session_id)
        if entry is None or entry.durable:
            return None
        session, recorded, revision = entry.session, entry.recorded, entry.revision
        count = len(session.messages)
        if recorded.messages > count:  # a caller has changed the session around the manager
            return None
        bodies: list[Body] = []
        try:
            last = recorded.digest
            if last is None:
                last = digest(session.messages[recorded.messages - 1]) if recorded.messages else ""
            for n in range(recorded.messages, count):
                found, last = add_body(session_id, session, n, last)
                bodies.append(found)
                if sum(map(len, bodies)) > MAX_NEWS_BYTES:
                    return None
            bodies = bodies or [use_body(session_id, session)]
        except (ValueError, TypeError, AttributeError):  # what its save reports
            return None
        recorded.pinned = bool(session.pinned)  # also if the commit fails: its record may be on the disk
        batch.bodies += bodies
        batch.ids.add(session_id)
        batch.needs[session_id] = lambda: entry.removed or entry.saved_revision >= revision
        return _State(entry, revision, count, last)

    def _enter(self, states: Collection[_State]) -> None:
        for state in states:
            recorded = state.entry.recorded
            recorded.revision = state.revision
            recorded.messages = max(recorded.messages, state.messages)
            recorded.digest = state.digest if recorded.messages == state.messages else None

    async def _commit(self, batch: Batch) -> bool:
        """Commit a batch, also in a second segment if the first one hangs; return False if both hang.

        Raises:
            StoreError: The batch is not written.
        """
        journal = self._store.journal
        while self._threads < MAX_THREADS:
            copy = Batch(batch.bodies, batch.ids, batch.needs)
            self._threads += 1
            lease = Lease(self._thread_ended)
            try:
                with trio.move_on_after(WAIT_SECONDS) as waiting:
                    await self._store.run(partial(journal.commit, copy), self._limiter, lease)
            finally:
                lease.leave()
            if not waiting.cancelled_caught:
                return True
            journal.give_up_writer()
            copy.is_given_up = True
            log.error("Journal does not answer; messages are not confirmed", path=str(journal.path),
                      seconds=WAIT_SECONDS)  # fmt: skip
        return False

    def _thread_ended(self) -> None:
        self._threads -= 1
