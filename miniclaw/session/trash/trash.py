"""The trash: removed sessions, compressed, each with the reason and the time of its removal. Synchronous, for threads.

One folder holds one file for each entry: ``{stem}.{YYYYmmddTHHMMSSZ}-{8 hex}.gz``, in the format of
`miniclaw.session.trash.format`. The stem is that of the session's own file name (`miniclaw.session.names`); an entry
whose line names another session counts as damaged. The stem of a file from quarantine is its name there, and restoring
returns it to quarantine. A file with another kind of name, or one that is not regular, is foreign: it is listed, but
never read or deleted.

A removal prepares the entries before it asks for consent, commits them before it unlinks, and abandons those of
sessions that are kept. At any moment a session is in its place, captured, or whole in the trash, perhaps in two of
these.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

from miniclaw.errors import InvalidSessionIdError, StoreError, TrashEntryNotFoundError
from miniclaw.formats import printable
from miniclaw.session.disk.atomic import (
    READ_FLAGS,
    TEMPORARY_PREFIX,
    close_quietly,
    create_file,
    opened,
    unlink_quietly,
    write_all,
)
from miniclaw.session.disk.directories import why_no_session_file
from miniclaw.session.disk.sync import sync_directory, sync_file
from miniclaw.session.disk.unlink import unlink_all, unlink_file
from miniclaw.session.entries import Leftover, ProblemFile
from miniclaw.session.files.subdirectory import Folder
from miniclaw.session.names import stamped
from miniclaw.session.trash.entries import Prepared, TrashEntry, TrashRemoval
from miniclaw.session.trash.folder import (
    PATTERN,
    SUFFIX,
    Sizes,
    entry_id_of,
    is_temporary,
    names_in,
    sizes_in,
    split_entry_id,
    stem_of,
    stem_of_quarantined,
    trash_errors,
)
from miniclaw.session.trash.format import EntryLine, pack_line, pack_session
from miniclaw.session.trash.reader import newest_ids, read_entries, read_session, read_some
from miniclaw.session.types import SessionHeader

_OPERATION: Final = "move the session to the trash"
_PIECE_BYTES: Final = 256 * 1024
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


class Trash:
    """A folder with removed sessions. Its methods block, and may be called from any thread.

    Only the owner of the sessions directory may write; a reader sees each entry whole.
    """

    def __init__(self, folder: Folder) -> None:
        """Make a trash over a folder. The first write creates the folder; until then the trash is empty."""
        self.path: Path = folder.path
        self._folder = folder
        self._fs = folder.fs

    def path_of(self, entry_id: str) -> Path:
        """Return the path of an entry's file."""
        return self.path / (entry_id.removesuffix(SUFFIX) + SUFFIX)

    # Adding ---------------------------------------------------------------------------------------------------

    def prepare(
        self,
        key: str,
        header: SessionHeader | None,
        *,
        dir_fd: int,
        reason: str,
        by: str,
        now: datetime,
        keep_for: timedelta,
        from_quarantine: bool = False,
    ) -> Prepared:
        """Copy a session, or a file in quarantine, into the trash, compressed, under a temporary name.

        Args:
            key: The session's file, or the id of the file in quarantine.
            header: Its header, as captured; None for a file in quarantine that holds no session.
            dir_fd: The directory that contains the file.
            reason: The rule or the command that removes it.
            by: The actor that removes it.
            now: Time of the removal, aware.
            keep_for: How long the entry is kept, from `now`.
            from_quarantine: True for a file in quarantine.

        Durability: the copy's content is on the disk when this returns.

        Raises:
            StoreIOError: There is no copy; a partial one is deleted unless that fails as well.
        """
        with trash_errors(self.path, _OPERATION):
            session_id = "" if header is None else header.session_id
            entry_id = stamped(stem_of_quarantined(key) if from_quarantine else stem_of(session_id), now)
        temporary = TEMPORARY_PREFIX + os.urandom(8).hex()
        with (
            trash_errors(self.path_of(entry_id), _OPERATION),
            self._folder.made() as folder,
            opened(self._fs, key, READ_FLAGS, dir_fd=dir_fd) as source,
        ):
            status = self._fs.fstat(source)
            if problem := why_no_session_file(status.st_mode):
                raise ValueError(problem)
            line = EntryLine(
                session_id=session_id,
                key=printable(key) if from_quarantine else key,
                removed_at=now,
                expires_at=now + keep_for if keep_for < _LATEST - now else _LATEST,
                reason=reason,
                last_accessed=None if header is None else header.last_accessed,
                size=status.st_size,
                by=by,
            )
            packed = chain([pack_line(line)], pack_session(self._pieces(source, status.st_size)))
            stored_size = self._create(temporary, packed, folder)
        return Prepared(key, session_id, entry_id, temporary, status.st_size, stored_size)

    def _pieces(self, source: int, size: int) -> Iterator[bytes]:
        left = size
        while piece := self._fs.read(source, _PIECE_BYTES):
            left -= len(piece)
            yield piece
        if left:
            raise ValueError("the session's file changed while it was copied")

    def _create(self, name: str, pieces: Iterable[bytes], folder: int) -> int:
        """Create a file of these pieces, synced, and return its size in bytes."""
        size = 0
        fd = create_file(self._fs, name, dir_fd=folder)
        try:
            try:
                for piece in pieces:
                    write_all(self._fs, fd, piece)
                    size += len(piece)
                sync_file(self._fs, fd)
            finally:
                close_quietly(self._fs, fd)
        except BaseException:
            unlink_quietly(self._fs, name, dir_fd=folder)
            raise
        return size

    def commit(self, prepared: Sequence[Prepared]) -> None:
        """Turn all prepared copies into entries, or none of them.

        Durability: the entries are on the disk when this returns.

        Raises:
            StoreIOError: None of them is an entry, unless withdrawing one failed as well; the sessions must be kept.
        """
        if not prepared:
            return
        try:
            with trash_errors(self.path, "sync the trash"), self._folder.opened(to_change=True) as folder:
                for copy in prepared:
                    with trash_errors(self.path_of(copy.entry_id), _OPERATION):
                        target = copy.entry_id + SUFFIX
                        self._fs.rename(copy.temporary, target, src_dir_fd=folder, dst_dir_fd=folder)
                sync_directory(self._fs, folder)
        except BaseException:
            self.abandon(prepared)
            raise

    def abandon(self, prepared: Sequence[Prepared]) -> None:
        """Withdraw the copies of sessions that are kept, whether they were committed or not.

        It never fails: a copy that cannot be deleted is swept at the next start, or expires.
        """
        if not prepared:
            return
        with suppress(OSError), self._folder.opened() as folder:
            for copy in prepared:
                unlink_quietly(self._fs, copy.temporary, dir_fd=folder)
                unlink_quietly(self._fs, copy.entry_id + SUFFIX, dir_fd=folder)

    # Reading --------------------------------------------------------------------------------------------------

    def entries(self) -> list[TrashEntry]:
        """Return the entries, the oldest first; only the first few KiB of each are read.

        Raises:
            StoreIOError: The folder cannot be listed. An error in a single entry is reported in its `problem`.
        """
        return read_entries(self._folder)

    def newest_ids(self) -> list[str]:
        """Return the ids of all entries, the newest removal first; errors as `entries`."""
        return newest_ids(self._folder)

    def read_some(self, entry_ids: Sequence[str]) -> list[TrashEntry]:
        """Return these entries, in this order, without those that are gone; errors as `entries`."""
        return read_some(self._folder, entry_ids)

    def find_all(self, session_id: str) -> list[TrashEntry]:
        """Return all entries of a session, the oldest first; damaged ones are recognised by their names.

        Raises:
            StoreIOError: The folder cannot be listed.
        """
        try:
            return read_entries(self._folder, stem_of(session_id))
        except InvalidSessionIdError:
            return []

    def find(self, text: str) -> TrashEntry:
        """Return an entry by its id, or the newest entry of a session by the session's id.

        Raises:
            TrashEntryNotFoundError: There is no such entry.
            StoreIOError: The folder cannot be listed.
        """
        entry_id = text.removesuffix(SUFFIX)
        if stem := split_entry_id(entry_id):
            for entry in read_entries(self._folder, stem):
                if entry.id == entry_id:
                    return entry
        found = self.find_all(text)
        if not found:
            raise TrashEntryNotFoundError(self.path, text)
        return found[-1]

    def leftovers(self) -> list[Leftover]:
        """Return the entries as leftovers. A damaged one has no `expires_at`.

        Raises:
            StoreIOError: The folder cannot be listed.
        """
        return [
            Leftover(
                "trash", entry.id + SUFFIX, entry.stored_size, entry.removed_at, entry.expires_at,
                from_quarantine=entry.from_quarantine,
            )
            for entry in self.entries()
        ]  # fmt: skip

    def sizes(self) -> Sizes:
        """Yield the size of each entry in bytes, from a listing alone.

        Raises:
            StoreIOError: The folder cannot be listed.
        """
        return sizes_in(self._folder)

    def foreign(self) -> list[ProblemFile]:
        """Return the files in the folder that are neither entries nor temporary files of ours.

        Raises:
            StoreIOError: The folder cannot be listed.
        """
        found = []
        for name, is_file in names_in(self._folder):
            if entry_id_of(name) is None and not is_temporary(name):
                found.append(ProblemFile(name, "foreign", f"its name is not that of an entry, {PATTERN}"))
            elif not is_file:
                found.append(ProblemFile(name, "foreign", "it is not a file"))
        return found

    def read(self, entry_id: str) -> bytes:
        """Return the unchanged bytes of an entry's session.

        Raises:
            TrashEntryNotFoundError: There is no such entry.
            CorruptTrashError: The entry is damaged, or contains another session than its name says.
            StoreIOError: The entry cannot be read.
        """
        return read_session(self._folder, entry_id.removesuffix(SUFFIX))

    # Deleting -------------------------------------------------------------------------------------------------

    def remove(self, entry_ids: Sequence[str]) -> list[TrashRemoval]:
        """Delete entries for good, whatever state they are in.

        Durability: an entry that is reported as removed is deleted from the disk.

        Returns:
            One removal for each id, in order. A file that is not an entry of ours is not touched.
        """
        ids = [entry_id.removesuffix(SUFFIX) for entry_id in entry_ids]
        done = unlink_all(self._fs, partial(self._folder.opened, to_change=True), self.path, ids, self._unlink)
        return [TrashRemoval(entry_id, *each) for entry_id, each in zip(ids, done, strict=True)]

    def _unlink(self, folder: int, entry_id: str) -> int:
        if split_entry_id(entry_id) is None:
            raise StoreError(f"its name is not that of an entry, {PATTERN}")
        return unlink_file(self._fs, entry_id + SUFFIX, dir_fd=folder)

    def sweep(self) -> int:
        """Delete the copies that a dead process had prepared, and return their number. Only for the owner, at start.

        Raises:
            StoreIOError: The folder cannot be listed. A copy that cannot be deleted is left in place.
        """
        temporary = [name for name, is_file in names_in(self._folder) if is_file and is_temporary(name)]
        swept = 0
        if temporary:
            with trash_errors(self.path, "sweep the trash"), self._folder.opened(to_change=True) as folder:
                for name in temporary:
                    with suppress(OSError):
                        self._fs.unlink(name, dir_fd=folder)
                        swept += 1
        return swept
