"""The store of a running program: each call runs in a worker thread, and holds its leases until the thread has ended.

The callbacks are synchronous and called on the trio thread, the only thread that may decide about the state in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from miniclaw.errors import SessionFileError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.entries import Leftover, LeftoverRemoval, ScanRow, Verify, always
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ledger import LedgerFile
from miniclaw.session.files.on_disk import Difference, compare
from miniclaw.session.files.ownable import Place
from miniclaw.session.files.quarantine_folder import quarantine_session
from miniclaw.session.files.saved_files import SavedFiles
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.files.subdirectory import TRASH_NAME, EarlierFolders, Folder
from miniclaw.session.journal.journal import Journal
from miniclaw.session.journal.records import Record
from miniclaw.session.journal.replay import check_read, replay
from miniclaw.session.live.locks import Lease
from miniclaw.session.live.save_job import SaveJob, SaveOutcome
from miniclaw.session.live.store_scan import FileScan
from miniclaw.session.ownership.opener import OpeningRun
from miniclaw.session.ownership.patience import own_when_free
from miniclaw.session.records.migration import move_in
from miniclaw.session.records.state import StateDirectory
from miniclaw.session.removal.leftovers import list_leftovers, remove_leftovers
from miniclaw.session.removal.relocation import Relocation, relocate
from miniclaw.session.removal.restore import find_entry, restore, session_of
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.removal.transaction import Consent, Removal, TrashOrder, remove_batch
from miniclaw.session.retention.policy import Staying
from miniclaw.session.threads import Epilogue, run_in_thread, telling
from miniclaw.session.trash.entries import TrashEntry
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import Session, SessionHeader

T = TypeVar("T")
log: Final = get_logger("miniclaw.session.store")

SAVE_THREADS: Final = 4
LOAD_THREADS: Final = 8
SWEEP_THREADS: Final = 2

SAYING_SECONDS: Final = 1
"""Longest time that an owner spends on announcing its stop on a hung disk."""


class FileSessionStore:
    """A store over a directory of JSON files. Made by `open_store`.

    Attributes:
        directory: The sessions directory.
        trash: The removed sessions that can be restored.
        state: The persistent state of the services.
        earlier: Folders of an earlier version; entries that could not be moved into `directory` are still there.
        journal: The journal of what is not in the session files yet.
        unsaved: Sessions that the journal of an earlier process has, and that could not be saved at the start.
        unread: Records that it has of sessions whose files could not be read at the start, as `Replay.unread`.
    """

    def __init__(self, directory: SessionDirectory, earlier: EarlierFolders | None = None) -> None:
        self.directory = directory
        self.earlier = earlier
        self.trash: Trash = Trash(Folder.within(directory, TRASH_NAME))
        self.state: StateDirectory = StateDirectory.within(directory)
        self.journal: Journal = Journal(directory)
        self.unsaved: list[Session] = []
        self.unread: dict[str, Sequence[Record]] = {}
        self._ledger_file: LedgerFile | None = None
        # Separate limiters: saves that hang must not block loads.
        self._save_limiter = trio.CapacityLimiter(SAVE_THREADS)
        self._load_limiter = trio.CapacityLimiter(LOAD_THREADS)
        self._sweep_limiter = trio.CapacityLimiter(SWEEP_THREADS)
        # A thread on a hung disk still uses the descriptors: once closed, their numbers could be those of other files.
        self._open = Lease(self._close)
        self._opener = OpeningRun()

    def keep_ledger(self, file: LedgerFile) -> None:
        """Speed up scans by a ledger, which is stored in this file."""
        self._ledger_file = file
        self.directory.saved_files = SavedFiles()

    async def load(self, session_id: str, *leases: Lease) -> Session:
        """Load a session, as `SessionDirectory.load` for the owner.

        `leases` are the caller's hold on the session's lock, which the worker thread joins; as for all methods.
        """
        return await self.run(partial(self.directory.load, session_id, adopt=True), self._load_limiter, *leases)

    async def compare(self, session: Session, *leases: Lease) -> Difference:
        """Compare a session that was loaded or saved with its file; `StoreError`: the file could not be examined."""
        return await self.run(partial(compare, self.directory, session), self._load_limiter, *leases)

    async def header(self, session_id: str, *leases: Lease) -> SessionHeader:
        """Read only the header of a session; raise the errors of `load`."""
        return await self.run(partial(self.directory.header, session_id), self._load_limiter, *leases)

    async def save(self, sessions: Sequence[Session], settled: Callable[[SaveOutcome], None]) -> None:
        """Save snapshots of sessions, in up to `SAVE_THREADS` threads.

        Args:
            sessions: The snapshots; the caller holds the lock of each session.
            settled: Called exactly once for each session, when no work on it is under way any more.

        Cancellation: a save that has not begun is settled as an error at once; one that has begun, when it ends.
        """
        job = SaveJob(self.directory, sessions, settled)
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(min(SAVE_THREADS, len(sessions))):
                    nursery.start_soon(self.run, job.work, self._save_limiter)
        finally:
            job.give_up()

    @asynccontextmanager
    async def scan(self, verify: Verify | None = None, staying: Staying | None = None) -> AsyncIterator[FileScan]:
        """List the whole directory once, in batches, as `begin_scan`, and close the scan at the end."""
        scan = self.begin_scan(verify, staying)
        try:
            yield scan
        finally:
            scan.close()

    def begin_scan(self, verify: Verify | None = None, staying: Staying | None = None) -> FileScan:
        """Return a scan that lists the whole directory once, in batches, and is to be closed.

        Args:
            verify: Selects the headers to check against the whole session; called in a worker thread.
            staying: Selects the sessions that may be counted only and get no row.
        """
        return FileScan(
            lambda ledger: DirectoryScan(self.directory, verify, ledger=ledger, staying=staying),
            self._ledger_file, self.look,
        )  # fmt: skip

    async def look(self, work: Callable[[], T], *leases: Lease) -> T:
        """Run work that reads a part of a list, in a worker thread of those for scans."""
        return await self.run(work, self._sweep_limiter, *leases)

    def path_of(self, session_id: str) -> Path:
        """Return the path of a session's own file."""
        return self.directory.path / names.file_name(session_id)

    def check_caller(self) -> None:
        """Refuse a call from elsewhere, as `OpeningRun.check`."""
        self._opener.check()

    def check_owned(self) -> None:
        """Refuse a change that could not be saved, before it is accepted.

        Raises:
            OwnershipLostError: Another process owns the sessions by now.
            ForkedRuntimeError, ForeignRunError: As `check_caller`.
        """
        self._opener.check()
        self.directory.check_owned()

    async def check_place(self) -> Place:
        """Check that the path still leads to the directory, and that this process still owns it."""
        return await self.run(self.directory.check_place, self._load_limiter)

    async def say_stopping(self) -> None:
        """Announce, for up to `SAYING_SECONDS`, that this process is stopping, so that the next owner waits for it.

        Cancellation: the announcement is made nevertheless.
        """
        with trio.move_on_after(SAYING_SECONDS, shield=True):
            await self.run(self.directory.say_stopping, self._load_limiter)

    async def examine(self, keys: Sequence[str]) -> dict[str, ScanRow | None]:
        """Read whole sessions, as a removal does, one per thread call; None for a vanished one."""
        found: dict[str, ScanRow | None] = {}
        for key in keys:
            work = partial(self.directory.read_row, key, verify=always)
            found[key] = await self.run(work, self._sweep_limiter)
        return found

    async def remove(
        self,
        keys: Sequence[str],
        consent: Consent,
        *leases: Lease,
        settled: Callable[[list[Removal]], Epilogue],
        order: TrashOrder | None = None,
        without_file: Callable[[], bool] = lambda: False,
    ) -> None:
        """Remove sessions, each verified at the last moment, as `remove_batch`.

        Args:
            keys: The keys from the listing.
            consent: Called once, with the headers of the sound sessions, maybe none; the removal follows at once.
            leases: The caller's holds on the locks of the sessions.
            settled: Called with one removal for each key, in the order of the keys; not called if nothing was begun.
                The epilogue runs in the worker thread.
            order: The sessions to move to the trash; None: none.
            without_file: As for `remove_batch`; called in the worker thread.

        Raises:
            StoreError: The batch could not be begun; nothing was removed.

        Cancellation: the caller returns at once; a removal that has begun ends in the background and is settled then.
        """
        token = trio.lowlevel.current_trio_token()

        def ask(headers: Sequence[SessionHeader]) -> Sequence[bool]:
            # With the token the call belongs to no task, and thus also works after a cancellation.
            return trio.from_thread.run_sync(consent, headers, trio_token=token)

        work = partial(
            remove_batch, self.directory, keys, ask, trash=self.trash, order=order, without_file=without_file
        )
        await self.run(telling(work, settled), self._sweep_limiter, *leases)

    async def quarantine(self, session_id: str, *leases: Lease) -> str:
        """Move an unreadable file from the session's place to quarantine, as `quarantine`, and return its new path.

        Records that the start could keep in the journal only (`Index.keep_records`) stay there.
        """
        is_kept = self.journal.index.keeps(names.file_name(session_id))
        work = partial(quarantine_session, self.directory, session_id, session_remains=is_kept)
        return str(await self.run(work, self._load_limiter, *leases))

    async def leftovers(self, now: datetime, names: Sequence[str]) -> list[Leftover]:
        """List the leftovers beside the sessions, as `list_leftovers`; `names` are those of no sessions in a scan."""
        work = partial(list_leftovers, self.directory, now=now, trash=self.trash, names=names)
        return await self.run(work, self._sweep_limiter)

    async def remove_leftovers(
        self,
        leftovers: Sequence[Leftover],
        settled: Callable[[list[LeftoverRemoval]], Epilogue],
        *,
        order: TrashOrder | None = None,
    ) -> None:
        """Remove leftovers, as the function of this name; `settled` and cancellation as for `remove`."""
        work = partial(remove_leftovers, self.directory, leftovers, trash=self.trash, order=order)
        await self.run(telling(work, settled), self._sweep_limiter)

    async def free_disk(self) -> int | None:
        """Return the number of free bytes on the disk of the sessions; None if it is unknown."""
        return await self.run(self.directory.free_disk, self._sweep_limiter)

    async def find_trashed(self, text: str) -> tuple[str, str]:
        """Return the session id and the entry id for a text: an entry's id, or a session's for its newest entry.

        Raises:
            TrashEntryNotFoundError: The trash has no such entry.
            CorruptTrashError: The entry is damaged.
        """
        entry = await self.find_entry(text)
        return session_of(self.trash, entry), entry.id

    async def find_entry(self, text: str) -> TrashEntry:
        """Return the trash entry that a text means, by the rules and errors of `Trash.find`."""
        return await self.run(partial(find_entry, self.directory, self.trash, self.earlier, text), self._load_limiter)

    async def restore(self, entry_id: str, now: datetime, *leases: Lease) -> str:
        """Restore a session that is not in memory from the trash, as the function of this name."""
        return await self.run(partial(restore, self.directory, self.trash, entry_id, now), self._load_limiter, *leases)

    async def relocate(
        self,
        session_id: str,
        target_id: str,
        may_begin: Callable[[], bool],
        *leases: Lease,
        settled: Callable[[Relocation | StoreError], Epilogue],
    ) -> None:
        """Give a session another id and change nothing else, as the function of this name.

        Args:
            session_id: The session.
            target_id: The new id.
            may_begin: Asked before anything is changed.
            leases: The caller's holds on the locks of both ids; as for `remove`.
            settled: Called with the outcome; as for `remove`.

        Cancellation: as `remove`.
        """
        token = trio.lowlevel.current_trio_token()

        def ask() -> bool:
            return trio.from_thread.run_sync(may_begin, trio_token=token)  # as in `remove`

        def work() -> Relocation | StoreError:
            try:
                return relocate(self.directory, session_id, target_id, ask)
            except StoreError as error:
                return error
            except Exception as error:  # noqa: BLE001 - out of memory, or trio has ended: also an outcome
                return SessionFileError(self.path_of(session_id), f"could not move it: {error!r}")

        await self.run(telling(work, settled), self._load_limiter, *leases)

    async def run(self, work: Callable[[], T], limiter: trio.CapacityLimiter, *leases: Lease) -> T:
        """Run work on the directory in a worker thread, as `miniclaw.session.threads.run_in_thread` does.

        The leases are held, and the directory remains open and locked, until the thread has ended.

        Raises:
            ForkedRuntimeError, ForeignRunError: As `check_caller`.
        """
        self._opener.check()
        held = (*leases, self._open)
        for lease in held:
            lease.join()

        def finished() -> None:
            for lease in held:
                lease.leave()

        return await run_in_thread(work, limiter=limiter, finished=finished)

    def replay(self) -> None:
        """Apply the journal of an earlier process, as the function of this name; blocks."""
        replayed = replay(self.directory)
        self.journal, self.unsaved, self.unread = replayed.journal, replayed.unsaved, replayed.unread
        self.directory.void = self._void

    def _void(self, file_names: Iterable[str]) -> None:
        voided = set(file_names)
        check_read(self.directory.path, self.unread, voided)
        self.journal.void(voided)

    def _close(self) -> None:
        self.journal.close()
        self.directory.close()

    def close(self) -> None:
        """Close the directory: at once, or when the last worker thread has left it."""
        if self._open.is_shared:
            log.warning("Sessions directory stays held by a hung operation", path=str(self.directory.path))
        self._open.leave()


@asynccontextmanager
async def open_store(
    sessions_dir: Path,
    *,
    create: bool = True,
    own: bool = True,
    briefly: bool = False,
    earlier: EarlierFolders | None = None,
    fs: OsCalls | None = None,
) -> AsyncIterator[FileSessionStore]:
    """Open a sessions directory as its one owner, and recover unfinished work of an earlier process.

    Args:
        sessions_dir: The directory; its last component may not be a link.
        create: If true, create a missing directory, with mode 0700.
        own: If false, open the directory only for reading, without any change to it.
        briefly: If true, this owner holds the directory for a moment only, as a command does, and others wait for it.
        earlier: Folders of an earlier version whose content the owner moves into `sessions_dir`; None: there are none.
        fs: The system calls; None: the real ones.

    Raises:
        SessionsDirectoryError: The directory cannot be used.
        WorkspaceHeldError: Another process owns the directory. The caller waits up to `STOPPING_SECONDS` for an owner
            that is stopping, before this is raised.
        StoreError: The recovery failed.

    Cancellation: the directory is not owned.
    """
    limiter = trio.CapacityLimiter(1)
    directory = await trio.to_thread.run_sync(
        partial(SessionDirectory.open, sessions_dir, create=create, fs=fs), limiter=limiter
    )
    store = FileSessionStore(directory, earlier)

    def prepare() -> None:
        if earlier is not None:
            move_in(directory, earlier)
        StagingArea(directory).recover()
        store.replay()
        try:
            store.trash.sweep()
        except StoreError as error:
            log.error("Trash could not be swept", error=str(error))

    try:
        if own:
            await own_when_free(partial(directory.own, briefly=briefly), directory.path, limiter)
            await trio.to_thread.run_sync(prepare, limiter=limiter)
        yield store
    finally:
        store.close()
