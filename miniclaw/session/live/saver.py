"""Saves of sessions in memory: each under its lock, and settled for exactly the revision that was written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import trio

from miniclaw.errors import NotConfirmedError, SessionFileError, SessionNotFoundError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.files.on_disk import Written, on_disk_of, remember, remember_cut
from miniclaw.session.format import codec
from miniclaw.session.live.committer import Committer
from miniclaw.session.live.entry import Entry
from miniclaw.session.live.locks import FileLocks, Lease
from miniclaw.session.live.memory import SessionMemory
from miniclaw.session.live.save_job import NotBegunError, SaveOutcome, SaveReport, log_failed_save
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.records.stats import SaveStats
from miniclaw.session.types import Session

CONFIRM_SECONDS: Final = 10
"""Longest wait for the file of a session that the journal does not take."""

log: Final = get_logger("miniclaw.session.manager")


class SessionSaver:
    """The saving part of a `SessionManager`, whose store, memory, locks, committer and statistics it shares."""

    def __init__(
        self,
        store: FileSessionStore,
        memory: SessionMemory,
        locks: FileLocks,
        committer: Committer,
        stats: SaveStats,
    ) -> None:
        self.committer = committer
        self._store = store
        self._memory = memory
        self._locks = locks
        self._stats = stats

    async def save(self, session_ids: Iterable[str]) -> SaveReport:
        """Save the given sessions as far as they are in memory and dirty.

        A failure is logged as an ERROR, with path and errno, and delays no other session. A session whose lock is held
        is saved when the lock is free.

        Durability: a session that counts as saved survives a power cut.

        Cancellation: saves that have begun end in the background; the other sessions remain dirty in memory.
        """
        outcomes = await self._save(session_ids)
        failed = tuple(session_id for session_id, error in outcomes.items() if error is not None)
        return SaveReport(len(outcomes) - len(failed), failed)

    async def _save(self, session_ids: Iterable[str]) -> dict[str, StoreError | None]:
        """Save sessions as `save`; return the reasons for which those are not saved that were dirty; None: it is."""
        self._store.check_caller()
        outcomes: dict[str, StoreError | None] = {}
        wanted = list(session_ids)
        free = [session_id for session_id in wanted if self._locks.acquire_nowait(session_id)]
        busy = set(wanted).difference(free)
        async with trio.open_nursery() as nursery:
            for session_id in busy:
                nursery.start_soon(self._save_in_turn, session_id, outcomes)
            await self._save_locked(free, outcomes)
        return outcomes

    async def save_due(self, interval_seconds: float) -> SaveReport:
        """Make every change durable: in the files that are due, and else in the journal.

        A small session is due at each call. A large one, of which the journal holds all, is due in proportion to its
        size, at the latest after `MAX_CHECKPOINT_SECONDS`; and at once if it keeps old segments of the journal.

        Args:
            interval_seconds: Time between two calls.

        Cancellation: as for `save`.
        """
        self._store.check_caller()
        await self.committer.tidy()  # first: a save that hangs leaves no time for it
        due = self._memory.due(trio.current_time(), interval_seconds) | self._store.journal.index.wanting()
        due |= await self._committed(set(self._memory.dirty()) - due)
        report = await self.save(due.intersection(self._memory.dirty()))
        await self.committer.tidy()
        return report

    async def save_all(self) -> SaveReport:
        """Save the files of all dirty sessions, due or not, and record in the journal that they are written.

        Without the record, a start after a crash would make a file again that a person deletes meanwhile.

        Cancellation: as for `save`.
        """
        report = await self.save(self._memory.dirty())
        await self.committer.tidy()
        return report

    async def flush(self) -> None:
        """Save until no session is dirty, or until a save of all dirty sessions has failed.

        All is in the journal first, in one commit. Its segments are deleted once the files hold all of them.

        Cancellation: as for `save`.
        """
        self._store.check_caller()
        await self._committed(self._memory.dirty())
        while dirty := self._memory.dirty():
            if not (await self.save(dirty)).saved:
                break
        await self.committer.tidy(whole=True)

    async def make_durable(self, session_id: str) -> None:
        """Return when a session's present revision survives a power cut: in the journal or, if it refuses, in the file.

        A session that is not in memory counts as saved.

        Raises, and cancellation: as `SessionManager.durable`.
        """
        state = self._memory.watch(session_id)
        self._store.check_caller()
        answers = state() != "unsaved" or await self.committer.commit([session_id])
        error: StoreError | None = None
        if answers and state() == "unsaved":
            with trio.move_on_after(CONFIRM_SECONDS):
                error = (await self._save([session_id])).get(session_id)
        if state() == "unsaved":
            raise NotConfirmedError(session_id, str(error or "the disk does not answer"))
        if state() == "removed":
            raise SessionNotFoundError(session_id)

    async def commit_all(self) -> None:
        """Make all changes durable, so that readers of the disk see them, as far as the disk takes them at once.

        Cancellation: as for `save`.
        """
        unsaved = self._memory.unsaved()
        if await self.committer.commit(unsaved):
            await self.save(set(unsaved).intersection(self._memory.unsaved()))

    async def _committed(self, session_ids: Iterable[str]) -> set[str]:
        """Commit sessions to the journal; return the ids of those that are not durable then."""
        wanted = set(session_ids)
        if news := wanted.intersection(self._memory.unsaved()):
            await self.committer.commit(news)
        return wanted.intersection(self._memory.unsaved())

    async def check_place(self) -> None:
        """Log once that the sessions directory has left its path, and once that it is back."""
        place = await self._store.check_place()
        problem = place.problem
        before, self._stats.misplaced = self._stats.misplaced, problem
        self._stats.lost_to = place.lost_to
        if problem != before and problem:
            log.error(
                "Sessions directory is no longer in its place; sessions are saved where it is now",
                path=str(self._store.directory.path), problem=problem,
            )  # fmt: skip
        elif problem != before:
            log.info("Sessions directory is in its place again", path=str(self._store.directory.path))

    async def _save_in_turn(self, session_id: str, outcomes: dict[str, StoreError | None]) -> None:
        await self._locks.acquire(session_id)
        await self._save_locked([session_id], outcomes)

    async def save_held(self, entry: Entry, lease: Lease) -> bool:
        """Save one session whose lock the caller holds and keeps; return whether the save succeeded.

        Cancellation: as for `save`.
        """
        outcomes: dict[str, StoreError | None] = {}
        lease.join()
        await self._write({entry.session_id: entry}, lambda _: lease.leave(), outcomes)
        return outcomes[entry.session_id] is None

    async def _save_locked(self, session_ids: Sequence[str], outcomes: dict[str, StoreError | None]) -> None:
        """Save sessions whose locks the caller holds; release each lock when its session is settled."""
        saving: dict[str, Entry] = {}
        for session_id in session_ids:
            entry = self._memory.find(session_id)
            if entry is None or not entry.dirty:  # removed or saved during the wait for the lock
                self._locks.release(session_id)
            else:
                saving[session_id] = entry
        await self._write(saving, self._locks.release, outcomes)
        self._memory.evict()

    async def _write(
        self, entries: Mapping[str, Entry], release: Callable[[str], None], outcomes: dict[str, StoreError | None]
    ) -> None:
        try:
            behind = await self._commit_ahead(entries)
        except BaseException:
            for session_id in entries:
                release(session_id)
            raise
        saving = {session_id: (entry, entry.revision) for session_id, entry in entries.items()}
        upto = self._store.journal.last_record

        def ended(session_id: str, error: StoreError | None) -> None:
            release(session_id)
            outcomes[session_id] = error
            if not isinstance(error, NotBegunError):
                self._stats.settled(saved=error is None)
            if error is not None:
                log_failed_save(session_id, error)

        def settled(outcome: SaveOutcome) -> None:
            session_id = outcome.session.session_id
            self._settle(*saving[session_id], outcome, upto)
            ended(session_id, outcome.error)

        snapshots = []
        for session_id, entry in entries.items():
            if session_id in behind:
                ended(
                    session_id, SessionFileError(self._store.path_of(session_id), "the journal does not take its state")
                )
                continue
            try:
                snapshots.append(codec.snapshot_session(entry.session, session_id))
            except Exception as error:  # noqa: BLE001 - a session that a program has broken fails its own save only
                path = self._store.path_of(session_id)
                ended(session_id, SessionFileError(path, f"could not encode it: {error!r}"))
        await self._store.save(snapshots, settled)

    def _settle(self, entry: Entry, revision: int, outcome: SaveOutcome, upto: int) -> None:
        """Enter the outcome of a save of this revision, copied after the record `upto`."""
        session, written = outcome.session, outcome.written
        remember(entry.session, on_disk_of(session if written is None else written.session))
        kept = entry.kept_since(revision)
        if kept is not None:
            remember_cut(entry.session, kept)
        is_followed = written is not None and written.session is not session
        if written is not None and is_followed:
            self._follow(entry, session, written, kept)
            if on_disk_of(written.session) is None and entry.revision == revision:
                self._memory.drop(entry)
        if outcome.error is None:
            if not entry.removed:
                # Only up to the revision that was written: changes made meanwhile are still unsaved.
                entry.saved(revision, 0 if is_followed else len(session.messages))
            if on_disk_of(entry.session) is None:  # deleted by another program, and there is nothing new
                self.committer.note_begun(entry.session_id)
            else:
                self.committer.note_saved(entry.session_id, 0 if is_followed else upto)

    async def _commit_ahead(self, entries: Mapping[str, Entry]) -> set[str]:
        """Commit what keeps older records from undoing a save; return the ids of the sessions where that failed."""
        failed: set[str] = set()
        while behind := [each for each in entries if each not in failed and self.committer.is_behind(entries[each])]:
            before = {each: entries[each].recorded.pins for each in behind}
            await self.committer.commit(behind)
            # No record was entered; none is needed where the older ones were deleted before the commit.
            unchanged = [each for each in behind if entries[each].recorded.pins is before[each]]
            is_over = not self.committer.is_running  # it has ended without an answer
            failed |= {each for each in unchanged if is_over or self.committer.is_behind(entries[each])}
        return failed

    def _follow(self, entry: Entry, before: Session, written: Written, kept: int | None) -> None:
        """Adapt a session in memory, of which a snapshot was to be saved, to the file that the save has found."""
        if written.lost is None:
            log.info("Session file was changed by another program; it is read again", session_id=entry.session_id)
        else:
            log.warning(
                "Session file was deleted while the session was in use; only what came after it is kept",
                session_id=entry.session_id, messages_lost=written.lost,
            )  # fmt: skip
        self._memory.follow(entry, before, written.session, kept)
