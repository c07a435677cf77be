"""The operations of an administrator on files in quarantine: list, add, restore, delete; each change with a receipt.

A command that owns the workspace for a moment and a running program use the same operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from miniclaw.errors import (
    CorruptSessionError,
    MiniclawError,
    NotQuarantinedError,
    QuarantinedFileNotFoundError,
    RemovalPendingError,
    SessionFileError,
    StoreError,
)
from miniclaw.formats import printable
from miniclaw.session.cleanup import RECORD_SECONDS
from miniclaw.session.entries import FileTally, Leftover, LeftoverRemoval, QuarantinedFile
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME
from miniclaw.session.operations.acts import Acts, log
from miniclaw.session.records.history import EventKind, HistoryEvent, HistorySession
from miniclaw.session.removal.quarantine_admission import find_file, move_to_quarantine
from miniclaw.session.removal.quarantine_files import find_quarantined, list_quarantined
from miniclaw.session.removal.quarantine_removal import leftover_of, remove_quarantined
from miniclaw.session.removal.restore import restore_quarantined, return_to_quarantine
from miniclaw.session.removal.transaction import TrashOrder
from miniclaw.session.retention.leftover_rules import goes_to_trash
from miniclaw.session.threads import PENDING, telling
from miniclaw.session.trash.entries import TrashEntry

_NAMED: Final = 20  # files that a receipt names

_WHAT_TO_DO: Final = "edit it there and try again, or delete it"


class FileOutcome(Struct, frozen=True):
    """The outcome of moving a file to quarantine, or of deleting it there.

    Attributes:
        name: The name as the caller gave it.
        file_id: Its id in quarantine; empty if it is not known.
        bytes_freed: Bytes freed on disk; negative if the entry in the trash is larger than the file.
        entry_id: The entry of the trash; empty: there is none.
        error: The reason of a failure; None: the operation succeeded.
    """

    name: str
    file_id: str = ""
    bytes_freed: int = 0
    entry_id: str = ""
    error: MiniclawError | None = None


class QuarantineOperations(Acts):
    """The operations on the quarantine of one owned workspace, from `SessionOperations.quarantine`."""

    async def files(self) -> list[QuarantinedFile]:
        """Return the files in quarantine, the oldest first, each as it is now.

        Raises:
            StoreIOError: The folder cannot be listed.
        """
        async with self._manager.operation():
            return await self._in_thread(partial(list_quarantined, self._store.directory))

    async def add(self, files: Sequence[str]) -> list[FileOutcome]:
        """Move files that are no sound sessions in their places from the sessions directory to quarantine.

        Args:
            files: Their names.

        Returns:
            The outcomes, in the order of the files; a refused file has an error.

        A session in memory is saved again, as a whole, if its file is moved.

        Cancellation: the file in progress may be moved or not; the receipt names the files before it.
        """
        moved: list[tuple[str, int]] = []
        async with self._manager.operation():
            try:
                return [await self._add(file, moved) for file in files]
            finally:
                with trio.move_on_after(RECORD_SECONDS, shield=True):
                    await self._tell_files("quarantined", moved)

    async def _add(self, text: str, moved: list[tuple[str, int]]) -> FileOutcome:
        directory = self._store.directory
        try:
            name = await self._in_thread(partial(find_file, directory, text))
            async with self._manager.mover.aside(name) as (lease, is_live, moved_aside):

                def work() -> tuple[str, int] | StoreError:
                    try:
                        return move_to_quarantine(directory, name, is_live=is_live)
                    except StoreError as error:
                        return error

                def settled(outcome: tuple[str, int] | StoreError) -> None:
                    if not isinstance(outcome, NotQuarantinedError):  # after any other error it may be moved as well
                        moved_aside()

                outcome = await self._in_thread(telling(work, settled), lease)
        except MiniclawError as error:
            return FileOutcome(text, error=error)
        if isinstance(outcome, StoreError):
            return FileOutcome(text, error=outcome)
        file_id, size = outcome
        moved.append((file_id, size))
        log.info("File moved to quarantine", file=name, kept=file_id, by=self._by)
        return FileOutcome(text, file_id)

    async def restore(self, text: str) -> str:
        """Restore the session in a file to its place, as used just now, and return its id.

        Args:
            text: Names the file, by the rules of `find_quarantined`.

        Raises:
            QuarantinedFileNotFoundError: The text names no file; `AmbiguousQuarantineIdError`: it names several.
            CorruptSessionError: The file holds no usable session.
            SessionExistsError: A session of that id exists, on disk or in memory.
            StoreError: The session could not be restored; the file is still in quarantine.

        Cancellation: the session may be restored or not; it is in its place or in quarantine.
        """
        directory = self._store.directory
        async with self._manager.operation():
            file = await self._in_thread(partial(find_quarantined, directory, text))
            if file.header is None:
                raise CorruptSessionError(self._path(file.id), f"it cannot be used: {file.problem}; {_WHAT_TO_DO}")
            session_id, now = file.header.session_id, self._clock()
            async with self._manager.locked(session_id, vacant=True) as lease:
                work = partial(restore_quarantined, directory, file.id, session_id, now)
                await self._in_thread(work, lease)
            log.info("Session restored", session_id=session_id, quarantined=file.id, by=self._by)
            session = HistorySession(session_id, now, file.size, "restored")
            await self._tell(self._event("restored", sessions=[session], because="from quarantine"))
        return session_id

    async def take_back(self, entry: TrashEntry) -> str:
        """Return a file from the trash to quarantine, from which it was removed, and return its new id.

        Raises:
            TrashEntryNotFoundError: The entry no longer exists.
            StoreError: The file could not be returned; the trash still has the entry.

        Cancellation: as for `restore`.
        """
        async with self._manager.operation():
            work = partial(return_to_quarantine, self._store.directory, self._store.trash, entry.id)
            file_id = await self._in_thread(work)
            await self._tell_files("restored", [(file_id, entry.size)])
        return file_id

    async def delete(self, texts: Sequence[str], *, erase: bool = False) -> list[FileOutcome]:
        """Delete files now, regardless of their age and of pins of the sessions in them.

        They are moved to the trash if the policy keeps one; a file that is too large for it is deleted for good.

        Args:
            texts: Name the files, by the rules of `find_quarantined`.
            erase: If true, delete for good.

        Returns:
            The outcomes, in the order of the texts; a text that names no file has an error.

        Cancellation: the deletion in progress is completed, and the receipt names all deleted files.
        """
        removals: list[LeftoverRemoval] = []
        async with self._manager.operation():
            try:
                return [await self._delete(text, removals, erase=erase) for text in texts]
            finally:
                gone = [removal for removal in removals if removal.outcome == "removed"]
                self._count(gone)
                # The program may exit before the outcome of these is known.
                pending = [removal for removal in removals if removal.outcome == "pending"]
                with trio.move_on_after(2 * RECORD_SECONDS, shield=True):
                    await self._tell_files("deleted", _named(gone), freed=sum(each.bytes_freed for each in gone))
                    await self._tell_files("pending", _named(pending))

    async def _delete(self, text: str, removals: list[LeftoverRemoval], *, erase: bool) -> FileOutcome:
        directory, trash = self._store.directory, self._store.trash
        try:
            leftover = leftover_of(await self._in_thread(partial(find_quarantined, directory, text)))
            order = None if erase else self._order(leftover)
            work = partial(remove_quarantined, directory, [leftover], trash=trash, order=order)
            done = await self._see_through(work, self._deleted_late)
        except MiniclawError as error:
            return FileOutcome(text, error=error)
        (removal,) = done or [LeftoverRemoval(leftover, "pending", reason=PENDING)]
        removals.append(removal)
        if removal.outcome != "removed":
            return FileOutcome(text, leftover.key, error=self._error_of(removal))
        log.info("File deleted from quarantine", file=leftover.key, by=self._by, trash_entry=removal.entry_id or None)
        return FileOutcome(text, leftover.key, removal.bytes_freed, removal.entry_id)

    def _error_of(self, removal: LeftoverRemoval) -> MiniclawError:
        path = self._path(removal.leftover.key)
        if removal.outcome == "vanished":
            return QuarantinedFileNotFoundError(path.parent, path.name)
        return (RemovalPendingError if removal.outcome == "pending" else SessionFileError)(path, removal.reason)

    def _order(self, leftover: Leftover) -> TrashOrder | None:
        keep_for = self._cleanup.policy.trash_for
        if keep_for is None or not goes_to_trash(leftover, self._cleanup.policy):
            return None
        return TrashOrder({leftover.key: "deleted"}, self._by, self._clock(), keep_for)

    def _deleted_late(self, removals: Sequence[LeftoverRemoval]) -> HistoryEvent | None:
        gone = [removal for removal in removals if removal.outcome == "removed"]
        for removal in removals:
            if removal.outcome == "failed":
                log.error(
                    "Deletion that outlasted its caller has failed", file=removal.leftover.key, reason=removal.reason
                )
        if not gone:
            return None
        self._count(gone)
        tally = FileTally(len(gone), sum(removal.leftover.size for removal in gone))
        freed = sum(removal.bytes_freed for removal in gone)
        return self._event("late", freed=max(0, freed), leftovers={"quarantined": tally}, because="deleted")

    def _count(self, removals: Sequence[LeftoverRemoval]) -> None:
        if removals:
            freed = sum(removal.bytes_freed for removal in removals)
            self._cleanup.stats.gone({}, {"quarantined": len(removals)}, freed)

    async def _tell_files(self, event: EventKind, files: Sequence[tuple[str, int]], *, freed: int = 0) -> None:
        """Write an event about files, given by their ids and sizes, into the history; without files write none."""
        if not files:
            return
        named = ", ".join(printable(file_id) for file_id, _ in files[:_NAMED])
        more = f" and {len(files) - _NAMED:,} more" if len(files) > _NAMED else ""
        tally = FileTally(len(files), sum(size for _, size in files))
        receipt = self._event(event, freed=max(0, freed), leftovers={"quarantined": tally}, because=named + more)
        await self._tell(receipt)

    def _path(self, file_id: str) -> Path:
        return self._store.directory.path / QUARANTINE_NAME / file_id


def _named(removals: Iterable[LeftoverRemoval]) -> list[tuple[str, int]]:
    return [(removal.leftover.key, removal.leftover.size) for removal in removals]
