"""The commits of the journal: all that waits is written and synced together, in one thread.

While one commit is under way, the next one gathers. A commit that hangs for `WAIT_SECONDS` is given up: its callers are
told, and one more segment and thread are tried, never more than `MAX_THREADS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import Final

import trio
from msgspec import Struct

from miniclaw.errors import ForkedRuntimeError, OwnershipLostError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.journal.journal import SEGMENT_BYTES, WAIT_SECONDS, Batch
from miniclaw.session.journal.records import Body, add_body, body, cut_body, digest, use_body
from miniclaw.session.live.entry import Entry, Recorded
from miniclaw.session.live.locks import Lease
from miniclaw.session.live.memory import SessionMemory
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.names import file_name_of_live

MAX_THREADS: Final = 2
"""Most commits under way at once; more than one only where an earlier one hangs."""

MAX_NEWS_BYTES: Final = SEGMENT_BYTES // 2
"""Most bytes of one session in a commit; a session with more news is saved as a whole instead.

A commit that has as many begins with no further session; the others wait for the next one.
"""

_REFUSED: Final = "Journal could not be written; sessions are saved as a whole"

log: Final = get_logger("miniclaw.session.manager")


class _Request(Struct):
    ids: set[str]
    ended: trio.Event
    is_hung: bool = False


class _Note(Struct):
    """What the journal does not know yet of a session's file, in this order.

    Attributes:
        has_begun: True if the session has begun anew, without a file.
        upto: The last record that a synced file holds; 0: all of them; None: no news.
    """

    has_begun: bool = False
    upto: int | None = None

    def bodies(self, session_id: str) -> list[Body]:
        """Return the records that tell it."""
        told = [body("void", {"s": session_id})] if self.has_begun else []
        return told if self.upto is None else [*told, body("saved", {"s": session_id, "upto": self.upto})]


class _State(Struct):
    """What a batch has of a session, to be entered once it is synced."""

    entry: Entry
    recorded: Recorded
    revision: int
    messages: int
    digest: str | None
    pinned: bool
    described: int = -1


class Committer:
    """The committing part of a `SessionManager`, whose store and memory it shares. Used on the trio thread.

    Attributes:
        is_running: True while commits are made; else all sessions are saved as a whole.
    """

    def __init__(self, store: FileSessionStore, memory: SessionMemory) -> None:
        self._store = store
        self._memory = memory
        self._requests: list[_Request] = []
        self._notes: dict[str, _Note] = {}  # by session id
        self._under_way: set[str] = set()  # ids of the sessions in the batch that is being made or written
        self._wanted = trio.Event()
        self._threads = 0
        self._limiter = trio.CapacityLimiter(MAX_THREADS)
        self._keeper = trio.CapacityLimiter(1)  # makes and deletes segments; a thread that hangs delays no commit
        self._scope = trio.CancelScope(shield=True)  # the runtime's end commits, too; ended by `stop`
        self._is_refused = False  # the last commit failed, and the log has it
        self._is_idle = False
        self._is_stopping = False
        self.is_running: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit what is asked for, until `stop`.

        Cancellation: has no effect before `stop`; so a nursery that may be cancelled runs it by `start_soon`.
        """
        self.is_running = True
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    task_status.started()
                    while True:
                        self._is_idle = not nursery.child_tasks
                        await self._wanted.wait()
                        self._is_idle = False
                        if self._is_stopping:
                            return
                        self._wanted = trio.Event()
                        await self._round()
                        if self._store.journal.needs_spare and self._keeper.available_tokens:
                            nursery.start_soon(self._prepare)
        finally:
            self.is_running = False
            _answer(self._requests)

    async def _prepare(self) -> None:
        try:
            await self._store.run(self._store.journal.prepare, self._keeper)
        except Exception as error:  # noqa: BLE001 - no memory, or no thread: the next commit makes the segment
            log.warning("Next journal segment could not be made; a later commit tries again", error=repr(error))

    def stop(self) -> None:
        """End `run`; a commit under way ends in the background."""
        self._is_stopping = True
        self._wanted.set()
        if not self._is_idle:
            self._scope.cancel()

    async def commit(self, session_ids: Iterable[str]) -> bool:
        """Commit the news of sessions, once; `Entry.durable` tells of each whether it is durable then.

        Returns:
            False if the disk does not answer, so that a save would hang as well.

        Cancellation: the commit goes on.
        """
        request = _Request(set(session_ids), trio.Event())
        if not self.is_running:
            await trio.lowlevel.checkpoint()
            return True
        self._requests.append(request)
        self._wanted.set()
        await request.ended.wait()
        return not request.is_hung

    def note_saved(self, session_id: str, upto: int) -> None:
        """Record, with the next commit, that a synced file holds a session; it was copied after this record.

        With 0, the file holds another content, by another program, and all records before this one count no more.
        """
        if self.is_running and self._has_records(session_id):
            self._note(session_id, _Note(upto=upto))

    def note_begun(self, session_id: str) -> None:
        """Record, with the next commit, that a session begins anew, without a file."""
        if self.is_running and self._has_records(session_id):
            self._note(session_id, _Note(has_begun=True))

    def forget(self, session_id: str) -> None:
        """Record nothing more of the file of a session: it is deleted, and so are its records."""
        self._notes.pop(session_id, None)

    def _note(self, session_id: str, note: _Note) -> None:
        before = self._notes.get(session_id)
        if before is not None and not note.has_begun:
            note.has_begun = before.has_begun
            if before.upto == 0:  # the batch under way since then counts no more, either, and may get higher numbers
                note.upto = 0
        self._notes[session_id] = note

    def _has_records(self, session_id: str) -> bool:
        """Return whether the journal has records of a session, or gets them now; kept ones do not count."""
        return session_id in self._under_way or self._store.journal.holds(file_name_of_live(session_id))

    def is_behind(self, entry: Entry) -> bool:
        """Return whether a save would get ahead of the journal, whose records would undo a part of it after a crash.

        A record that tells another pin would, and the records of messages that were removed.
        """
        recorded = entry.recorded
        is_ahead = bool(recorded.pins - {bool(entry.session.pinned)}) or (
            recorded.kept is not None and recorded.described != entry.revision
        )
        return self.is_running and is_ahead and self._has_records(entry.session_id)

    async def tidy(self, *, whole: bool = False) -> None:
        """Delete the segments that no session needs any more, and record which files are written.

        Args:
            whole: If true, the present segment as well, as at the end; also if it has records of a removed session.

        A failure is logged, and the next call tries again.
        """
        journal = self._store.journal
        # A deletion that hangs is not tried twice.
        if self._keeper.available_tokens and (numbers := journal.spent(whole=whole or journal.has_removed)):
            try:
                await self._store.run(partial(journal.delete, numbers), self._keeper)
            except StoreError as error:
                log.warning("Journal segments could not be deleted; it is tried again", error=str(error))
        self._notes = {key: note for key, note in self._notes.items() if self._has_records(key)}
        if self._notes:
            await self.commit(())

    async def _round(self) -> None:
        requests, self._requests = self._requests, []
        notes, self._notes = self._notes, {}
        states: list[_State] = []
        is_written = False
        try:
            batch = self._make(requests, notes, states)
            if rest := [request for request in requests if request.ids]:  # the batch was full before
                requests = [request for request in requests if not request.ids]
                self._requests[:0] = rest
                self._wanted.set()
            is_written = not batch.records or await self._commit(batch, requests)
        except (OwnershipLostError, ForkedRuntimeError):
            pass  # logged once, for all that is refused then
        except StoreError as error:
            if not self._is_refused:
                log.error(_REFUSED, error=str(error))
            self._is_refused = True
        except Exception as error:  # noqa: BLE001 - no memory, or no thread: it costs this commit only
            log.bug(_REFUSED, error)
        finally:
            self._store.journal.end()
            self._under_way.clear()
            if is_written:
                self._enter(states)
            else:
                later, self._notes = self._notes, notes
                for session_id, note in later.items():
                    self._note(session_id, note)
            _answer(requests)

    def _make(self, requests: Iterable[_Request], notes: dict[str, _Note], states: list[_State]) -> Batch:
        """Make a batch of the notes and of the requests, whose ids it takes; add its states to `states`."""
        self._store.journal.begin()
        batch = Batch()
        for session_id, note in notes.items():
            told = [(session_id, each) for each in note.bodies(session_id)]
            entry = self._memory.peek(session_id)
            if entry is not None and entry.recorded.begins:
                continue  # it is of an earlier file
            if note.upto == 0 and entry is not None and not entry.durable:
                # Records since then count no more, either: the batch has to have what they told.
                at = len(batch.records)
                if not self._add(session_id, batch, states):
                    self._notes[session_id] = note
                    continue
                batch.records[at:at] = told
            else:
                batch.records += told
                self._under_way.add(session_id)
        added = {state.entry.session_id for state in states}
        size = batch.size
        for request in requests:
            while request.ids and size < MAX_NEWS_BYTES:
                session_id = request.ids.pop()
                if session_id not in added:
                    added.add(session_id)
                    size += self._add(session_id, batch, states)
        return batch

    def _add(self, session_id: str, batch: Batch, states: list[_State]) -> int:
        """Add the news of a session to a batch; return their bytes; 0: none.

        A session that has to be saved as a whole has no news but a record that keeps older ones from undoing its save.
        """
        entry = self._memory.peek(session_id)
        if entry is None or entry.durable:
            return 0
        is_behind = self.is_behind(entry)
        if entry.leaving and not is_behind:  # its records may be void already
            return 0
        if (found := _news_of(entry)) is None and is_behind:
            found = _state_for_save(entry, self._store.journal.last_record)
        if found is None:
            return 0
        bodies, state = found
        recorded = entry.recorded
        if recorded.begins and state.revision > recorded.revision:
            # Behind the messages: a torn commit must not have it without them.
            bodies.append(body("void", {"s": session_id, "upto": self._store.journal.last_record}))
        recorded.pins.add(state.pinned)  # also if the commit fails: its record may be on the disk
        batch.records += [(session_id, each) for each in bodies]
        self._under_way.add(session_id)
        batch.needs[session_id] = entry.saved_from(entry.revision)
        states.append(state)
        return sum(map(len, bodies))

    def _enter(self, states: Collection[_State]) -> None:
        for state in states:
            recorded = state.recorded
            if state.entry.recorded is not recorded:  # memory follows another program's file since then
                continue
            recorded.begins &= state.revision == recorded.revision
            recorded.revision = state.revision
            recorded.messages = max(recorded.messages, state.messages)
            recorded.digest = state.digest if recorded.messages == state.messages else None
            recorded.pins = {state.pinned}
            recorded.described = state.described

    async def _commit(self, batch: Batch, requests: Iterable[_Request]) -> bool:
        """Commit a batch, also in a second segment if the first one hangs; return False if both hang.

        The requests are answered as soon as a thread hangs.

        Raises:
            StoreError: The batch is not written.
        """
        journal = self._store.journal
        while self._threads < MAX_THREADS:
            copy = Batch(batch.records, batch.needs)
            self._threads += 1
            lease = Lease(self._thread_ended)
            try:
                with trio.move_on_after(WAIT_SECONDS) as waiting:
                    await self._store.run(partial(journal.commit, copy), self._limiter, lease)
            except trio.Cancelled:
                journal.give_up(copy)
                raise
            finally:
                lease.leave()
            if not waiting.cancelled_caught:
                self._is_refused = False
                return True
            journal.give_up(copy)
            log.error("Journal does not answer; messages are not confirmed", path=str(journal.path),
                      seconds=WAIT_SECONDS)  # fmt: skip
            _answer(requests, is_hung=True)
        _answer(requests, is_hung=True)
        return False

    def _thread_ended(self) -> None:
        self._threads -= 1


def _news_of(entry: Entry) -> tuple[list[Body], _State] | None:
    """Return records of all news of a session; None: it has to be saved as a whole, or its save reports a problem."""
    session, recorded = entry.session, entry.recorded
    count = len(session.messages)
    if recorded.edited_at or recorded.messages > count:  # or a caller has changed the session around the manager
        return None
    bodies: list[Body] = []
    size = 0
    try:
        last = recorded.digest
        if last is None:
            last = digest(session.messages[recorded.messages - 1]) if recorded.messages else ""
        for n in range(recorded.messages, count):
            found, last = add_body(entry.session_id, session, n, last, count - n - 1)
            bodies.append(found)
            size += len(found)
            if size > MAX_NEWS_BYTES:
                return None
        bodies = bodies or [use_body(entry.session_id, session, count)]
    except (ValueError, TypeError, AttributeError):
        return None
    return bodies, _State(entry, recorded, entry.revision, count, last, bool(session.pinned))


def _state_for_save(entry: Entry, upto: int) -> tuple[list[Body], _State] | None:
    """Return a record that keeps those up to `upto` from undoing a session's save; None: that reports the problem.

    It has the pin, where the recorded messages end, or describes the file of a session of which messages were removed.
    """
    session, recorded = entry.session, entry.recorded
    described = -1 if recorded.kept is None else entry.revision
    try:
        if recorded.kept is None:
            told = use_body(entry.session_id, session, min(recorded.messages, len(session.messages)))
        else:
            told = cut_body(entry.session_id, session, upto)
    except (ValueError, TypeError, AttributeError):
        return None
    pinned = bool(session.pinned)
    state = _State(entry, recorded, recorded.revision, recorded.messages, recorded.digest, pinned, described)
    return [told], state


def _answer(requests: Iterable[_Request], *, is_hung: bool = False) -> None:
    for request in requests:
        if not request.ended.is_set():
            request.is_hung = is_hung
            request.ended.set()
